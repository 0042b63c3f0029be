"""Which volumes lie in files and folders, in an order that is always the same, and whether one has changed since."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mriqf.io import ReadError
from mriqf.io.dicom import is_dicom

ENDINGS = (
    ".nii", ".nii.gz", ".hdr", ".cfl", ".h5", ".hdf5", ".mrd", ".npy", ".npz", ".png", ".jpg", ".jpeg", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
DICOM = (".dcm", ".ima")
PAIR = (".hdr", ".cfl", ".img")  # of one stem: BART's or NIfTI's two files


def find_inputs(paths: Sequence[str], problem: Callable[[str], object]) -> dict[str, str]:
    """Volumes in files and, with all that is below them, in folders.

    A file is taken as it is. Below a folder, a folder that holds DICOM files is one volume (a series); other files are
    one volume each, known by their endings; further files are passed over, as is what is hidden. Links to folders are
    not followed.

    Parameters
    ----------
    paths
        Files and folders, as they were typed.
    problem
        Is called with one line for what cannot be read below a folder, or for a folder in which nothing is found.

    Returns
    -------
    dict
        Absolute path of each volume, once, to its name: the path as it was typed, or begins as it was typed. In the
        order of `paths`; in folders by name.
    """
    found: dict[str, str] = {}
    for path in paths:
        names = list(_below(path, problem)) if Path(path).is_dir() else [path]
        if not names:
            problem(f"{path}: no images are in it: give files, or folders of {', '.join((*ENDINGS, *DICOM))}")
        for name in names:
            found.setdefault(str(Path(name).absolute()), name)  # not resolved: equal files may be links to one
    return found


def state(path: str) -> str:
    """Digest of what tells that a volume has changed: names, sizes and times of change of its files.

    Not of the contents: to read an archive again in order to see that nothing changed would cost as much as to score
    it.

    Raises
    ------
    ReadError
        If there is no such file.
    """
    files = _files(path)
    if not files:
        raise ReadError(f"{path}: does not exist: check the path")
    found = hashlib.sha256()
    for file in files:
        known = file.stat()
        found.update(os.fsencode(file.name) + f"\0{known.st_size}\0{known.st_mtime_ns}\0".encode())
    return found.hexdigest()


def _files(path: str) -> list[Path]:
    """Files that a volume is made of."""
    volume = Path(path)
    if volume.is_dir():
        return sorted(file for file in volume.iterdir() if file.is_file())
    if volume.suffix not in PAIR and volume.exists():
        return [volume]
    stem = path.removesuffix(volume.suffix) if volume.suffix in PAIR else path
    return [file for ending in PAIR if (file := Path(stem + ending)).is_file()]


def _below(folder: str, problem: Callable[[str], object]) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        problem(f"{error.filename}: {error.strerror}: make it readable, or leave it out")

    def starts_as_dicom(file: Path) -> bool:
        try:
            with file.open("rb") as stream:
                return is_dicom(stream.read(132))
        except OSError as error:
            unreadable(error)
            return False

    for name, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(name)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = sorted(name for name in names if not name.startswith(".") and (here / name).is_file())
        known = {name for name in files if name.lower().endswith(ENDINGS)}
        if any(starts_as_dicom(here / name) for name in files if name not in known):
            yield name
        else:  # those that are DICOM by name only will be told of
            known |= {name for name in files if name.lower().endswith(DICOM)}
        # Of BART's two files, one stands for both.
        yield from (
            str(here / name) for name in files
            if name in known and not (name.endswith(".hdr") and name.removesuffix(".hdr") + ".cfl" in known)
        )  # fmt: skip

"""Search of folders for inputs, by one rule for all commands, with a reason for each skipped file."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mriqf.io.bounds import words
from mriqf.io.dicom import INDEX, find_series, is_dicom

ENDINGS = (
    ".nii", ".nii.gz", ".hdr", ".cfl", ".h5", ".hdf5", ".mrd", ".npy", ".npz", ".png", ".jpg", ".jpeg", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
RAW = (".h5", ".hdf5", ".mrd", ".cfl", ".hdr", ".npy", ".npz")
"""Endings of files that may hold k-space."""
DICOM = (".dcm", ".ima")
NAMED = 12  # files with one reason that are named one by one; of more, how many there are of each ending

Told = Callable[[str, str], object]


def find_inputs(
    paths: Sequence[str],
    problem: Callable[[str], object],
    skip: Told = lambda path, reason: None,  # noqa: ARG005
    endings: tuple[str, ...] = (),
) -> dict[str, str]:
    """Find volumes in files and, recursively, in folders.

    A file is taken as it is. Below a folder, files are known by their endings, DICOM by content. The DICOM files of one
    series in one folder are one volume: the folder, or ``folder#3`` if there are several series in it, or the file
    if there is one only. Hidden files and folders are passed over, and links to folders are not followed.

    Parameters
    ----------
    paths
        Files and folders, as they were typed.
    problem
        Called with one line for what cannot be read below a folder, or for a folder without inputs.
    skip
        Is called with the path of each file that is passed over, and the reason.
    endings
        Endings of the files to look for, instead of all that `mriqf.read` reads; then DICOM files are passed over.

    Returns
    -------
    dict
        Absolute path of each volume, once, to its name: the path as it was typed, or begins as it was typed. In the
        order of `paths`; in folders by name.
    """
    names_by_path: dict[str, str] = {}
    for path in paths:
        names = list(_below(path, problem, skip, endings)) if Path(path).is_dir() else [path]
        if not names:
            wanted = ", ".join(endings or (*ENDINGS, *DICOM))
            problem(f"{path}: nothing to read is in it: give files, or folders of {wanted}")
        for name in names:
            names_by_path.setdefault(str(Path(name).absolute()), name)  # not resolved: equal files may be links to one
    return names_by_path


def passed_over(skipped: Mapping[str, str]) -> list[str]:
    """Lines with the skipped files and the reason; many files with one reason are counted by ending."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, reason in skipped.items():
        groups[reason].append(path)
    lines = []
    for reason, paths in groups.items():
        if len(paths) <= NAMED:
            lines += [f"{path}: {reason}" for path in paths]
            continue
        kinds = Counter("".join(Path(path).suffixes[-1:]) or "without ending" for path in paths)
        text = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        lines.append(f"{len(paths)} files ({text}{', …' if len(kinds) > 5 else ''}): {reason}; the first is {paths[0]}")
    return lines


def _below(folder: str, problem: Callable[[str], object], skip: Told, endings: tuple[str, ...]) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        problem(f"{error.filename}: {words(error)}")

    for name, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(name)
        for inner in sorted(folders):
            if inner.startswith("."):
                skip(f"{here / inner}{os.sep}", "is hidden")
            elif (here / inner).is_symlink():
                skip(str(here / inner), "is a link to a folder, which is not followed")
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        known, others = [], []
        for file in sorted(names):
            if file.startswith("."):
                skip(str(here / file), "is hidden")
            elif not (here / file).is_file():
                skip(str(here / file), "is no ordinary file")
            elif file.lower().endswith(endings or ENDINGS):
                known.append(file)
            else:
                others.append(file)
        yield from _series(here, [here / file for file in others], unreadable, skip, wanted=not endings)
        present = {*known, *others}
        # One file of a BART pair represents both.
        yield from (
            str(here / file) for file in known
            if not (file.endswith(".hdr") and file.removesuffix(".hdr") + ".cfl" in present)
        )  # fmt: skip


def _series(
    folder: Path, files: list[Path], unreadable: Callable[[OSError], None], skip: Told, *, wanted: bool
) -> Iterator[str]:
    """DICOM volumes among files without a known ending."""
    images = []
    for file in files:
        try:
            with file.open("rb") as stream:
                dicom = is_dicom(stream.read(132))
        except OSError as error:
            unreadable(error)
            continue
        if dicom and file.name.upper() == INDEX:
            skip(str(file), "is an index of DICOM files")
        elif wanted and dicom:
            images.append(file)
        elif wanted and file.suffix.lower() in DICOM:  # by name only: reading it will raise the error
            yield str(file)
        elif not (file.suffix == ".img" and file.with_suffix(".hdr").is_file()):  # half of a pair
            skip(str(file), "is of no format that is read")
    if len(images) == 1:
        yield str(images[0])
        return
    series, empty = find_series(images)
    for file in empty:
        skip(str(file), "is DICOM without an image")
    if len(series) == 1:
        yield str(folder)
    else:
        yield from (f"{folder}#{number}" for number in series)

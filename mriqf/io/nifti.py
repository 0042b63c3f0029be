"""NIfTI: volumes read slice by slice, and maps written the same way."""

import gzip
import math
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from mriqf.io.atomic import atomic_path
from mriqf.io.bounds import check_claim, check_regular, stored_bytes
from mriqf.io.volume import ReadError, Volume, optional, reading, stack

EXTENSIONS = 2**26  # bytes between header and image, which nibabel reads into memory; as many may come behind it
BLOCK = 2**20  # bytes that are unpacked at once


def read_nifti(path: Path) -> Volume:
    """Volume in a NIfTI file ``(x, y[, z[, t]])``: rows along y, columns along x, slices along z and then t."""
    return nifti_volume(_open(path), path)


def nifti_volume(image: Any, path: Path | str) -> Volume:
    """Volume of an open nibabel image."""
    w, h, *grid = (*image.shape, 1)[: max(len(image.shape), 3)]
    if image.get_data_dtype().names:
        raise ReadError(f"{path}: holds RGB colours: save a map of numbers, or the picture as PNG")

    def load(index: int) -> np.ndarray:
        slices = np.unravel_index(index, grid, order="F")
        return np.asarray(image.dataobj[(slice(None), slice(None), *map(int, slices))[: len(image.shape)]]).T

    return stack(path, load, (h, w), grid=tuple(grid), affine=np.asarray(image.affine, np.float64), rows_up=True)


def _open(path: Path) -> Any:
    nib = optional("nibabel", path)
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped != (path.suffix == ".gz"):  # nibabel goes by the name
        ending = ".nii.gz" if zipped else ".nii"
        raise ReadError(f"{path}: is {'' if zipped else 'not '}compressed with gzip: rename it to end in {ending}")
    with gzip.open(path) if zipped else path.open("rb") as file, reading(path):
        start = file.read(540)
    second = start[4:7] in (b"n+2", b"ni2")
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    pair = b"ni" in (start[4:6], start[344:346])
    with reading(path), _silent(nib.imageglobals.logger):
        header = kind.header_class(start if second else start[:348], check=False)
        w, h, *grid = (*header.get_data_shape(), 1, 1)
        files = [path.with_suffix(ending) for ending in (".hdr", ".img")] if pair else [path]
        for file in files:
            check_regular(file)
        check_claim(path, math.prod(grid), 1, (h, w), sum(stored_bytes(file) for file in files))
        if not 0 <= header["vox_offset"] <= EXTENSIONS:
            raise ReadError(f"{path}: its image starts at byte {header['vox_offset']}: write it again")
        if zipped:
            stored = header.get_data_dtype().itemsize * math.prod((w, h, *grid))
            _check_stream(path, int(header["vox_offset"]) + stored)
        # One open file for all slices: in a compressed file, going back to its start for each would take ages.
        if pair:
            return nib.load(path, keep_file_open=True)
        holder = nib.FileHolder(filename=str(path))
        return kind.from_file_map({"header": holder, "image": holder}, keep_file_open=True)


def _check_stream(path: Path, image_end: int) -> None:
    """Refuse a gzip stream whose checksums, which stand at its end, are not those of its content.

    Slices are read no further than the image goes, and so would never come to them.
    """
    left = image_end + EXTENSIONS
    try:
        with gzip.open(path) as stream:
            while block := stream.read(BLOCK):
                left -= len(block)
                if left < 0:
                    raise ReadError(f"{path}: has more than {EXTENSIONS} bytes behind its image: write it again")
    except (gzip.BadGzipFile, zlib.error) as error:
        said = " ".join(str(error).split())[:100]
        raise ReadError(f"{path}: has changed since it was compressed ({said}): copy or export it again") from error


@contextmanager
def _silent(logger: Any) -> Iterator[None]:
    """Silence nibabel's messages about headers that it repairs."""
    before = logger.disabled
    try:
        logger.disabled = True
        yield
    finally:
        logger.disabled = before


def write_map(
    path: str | Path,
    volume: Volume,
    maps: Iterable[Float32[np.ndarray, "h w"]],
    *,
    limits: tuple[int | float, int | float] | None = None,
    description: str = "",
    force: bool = False,
) -> Path:
    """Write a map of a volume as float32 NIfTI, slice by slice, in the space of the volume.

    Parameters
    ----------
    path
        File to write, ending in ``.nii`` or ``.nii.gz``.
    volume
        The volume that the maps are of: its affine and its grid become the map's.
    maps
        One map for each slice, in order, of the slices' shape, in any unit; NaN where there is no value.
    limits
        Lowest and highest value that viewers are to show (``cal_min``, ``cal_max``).
    description
        Description of maps that are estimates (the header's intent), in at most 79 letters of ASCII.
    force
        Replace an existing file.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ReadError
        When ``path`` has another ending, or nibabel is not installed.
    FileExistsError
        When the file exists and ``force`` is not given.
    ValueError
        When the maps are not as many as the slices, or of another shape; no file is left then.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ReadError(f"{path}: maps are written as NIfTI: choose a name that ends in .nii or .nii.gz")
    nib = optional("nibabel", path)
    wide = max(*volume.shape, *volume.grid) > np.iinfo(np.int16).max  # more than NIfTI-1 can count
    header = (nib.Nifti2Header if wide else nib.Nifti1Header)(endianness="<")
    header.set_data_dtype("<f4")
    header.set_data_shape((*volume.shape[::-1], *volume.grid))
    header.set_sform(volume.affine, code="aligned")
    with suppress(nib.spatialimages.HeaderDataError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.set_qform(volume.affine, code="unknown")  # a flat affine has none
    header.set_xyzt_units("mm", "sec")
    if limits is not None:
        header["cal_min"], header["cal_max"] = limits
    if description:
        header.set_intent("estimate", name="quality")
        header["descrip"] = description.encode("ascii", "replace")[:79]
    written = 0
    with atomic_path(path, force) as temporary, ExitStack() as files:
        file = files.enter_context(temporary.open("wb"))
        if path.suffix == ".gz":  # without name and time, equal maps give equal files
            file = files.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        header.write_to(file)
        for written, values in enumerate(maps, start=1):
            if values.shape != volume.shape:
                raise ValueError(f"{path}: map {written - 1} has shape {values.shape}, the slices {volume.shape}")
            file.write(values.astype("<f4").tobytes())  # (h, w) row by row is NIfTI's (x, y) with x fastest
        if written != volume.n_slices:
            raise ValueError(f"{path}: {written} maps for the {volume.n_slices} slices of {volume.source}")
    return path

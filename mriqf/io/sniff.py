"""Detection of file formats, by the first bytes rather than by the name."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mriqf.io.arrays import NO_PICKLES, from_array, read_npy, read_npz
from mriqf.io.bart import read_bart
from mriqf.io.dicom import is_dicom, read_dicom
from mriqf.io.dicom_study import read_series
from mriqf.io.hdf5 import read_hdf5
from mriqf.io.nifti import nifti_volume, read_nifti
from mriqf.io.raster import read_raster
from mriqf.io.volume import ReadError, Volume, find_file, reading, split_series

FORMATS = "HDF5 (fastMRI, ISMRMRD), NIfTI, DICOM, BART, NumPy, PNG, JPEG, TIFF or WebP"
NIFTI_2 = (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")  # at byte 4; NIfTI-1 has its mark at byte 344
STARTS: dict[bytes, Callable[[Path], Volume]] = {
    b"\x89HDF\r\n\x1a\n": read_hdf5,
    b"\x93NUMPY": read_npy,
    b"PK\x03\x04": read_npz,
    b"# Dimensions": read_bart,
    b"\x89PNG\r\n\x1a\n": read_raster,
    b"\xff\xd8\xff": read_raster,
    b"II*\0": read_raster,
    b"MM\0*": read_raster,
}


def read(path: str | Path) -> Volume:
    """Open a file of images of any known format for reading slice by slice.

    Parameters
    ----------
    path
        File in HDF5 (fastMRI or ISMRMRD images), NIfTI, DICOM, NumPy, PNG, JPEG, TIFF or WebP; either file, or the
        common stem, of a BART pair; or the folder of a DICOM series, with its number where there are several in it:
        ``folder#3``, or ``export#1/3`` as `mriqf dicom` names series of an export. Known by content, not by name.

    Returns
    -------
    Volume
        Its slices in the units of the file, complex values as magnitude.

    Raises
    ------
    ReadError
        When the file is missing, empty, incomplete, of another format, or holds no images; reading a slice may
        raise it as well, since pixels are read no earlier.

    Examples
    --------
    >>> import tempfile, numpy as np, mriqf
    >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    ...     np.save(file.name, np.ones((3, 64, 48), np.complex64))
    ...     volume = mriqf.read(file.name)
    ...     volume.n_slices, volume.shape, volume.read_slice(2).dtype
    (3, (64, 48), dtype('float32'))
    """
    file, series = find_file(path), split_series(path)[1]
    if series is not None and "/" in series:
        reader = partial(read_series, name=series)
    elif file.is_dir():
        reader = partial(read_dicom, series=series)
    elif file.suffix == ".cfl":  # raw numbers, known by nothing but the name
        reader = read_bart
    else:
        with reading(file), file.open("rb") as stream:
            head = stream.read(348)
        reader = _reader(file, head)
    return replace(reader(file), source=str(path))


def as_volume(images: Any, source: str = "array") -> Volume:
    """Volume of a source of images: a volume, a path (`read`), a nibabel image, or an array (`from_array`).

    Parameters
    ----------
    images
        A `Volume`, a path, a nibabel image, a NumPy array, a tensor, or anything that becomes an array.
    source
        Name of an array in errors.

    Raises
    ------
    ReadError
        When it holds no images.
    """
    if isinstance(images, Volume):
        return images
    if isinstance(images, str | Path):
        return read(images)
    if hasattr(images, "dataobj") and hasattr(images, "affine"):
        return nifti_volume(images, images.get_filename() or "NIfTI image")
    return from_array(images, source)


def _reader(file: Path, head: bytes) -> Callable[[Path], Volume]:
    """Reader of the format that a file begins with."""
    if not head:
        raise ReadError(f"{file}: is empty: write or copy it again")
    if is_dicom(head):  # first, since the preamble of a DICOM file may pretend to be TIFF
        return read_dicom
    for start, reader in STARTS.items():
        if head.startswith(start):
            return reader
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return read_raster
    if head[:2] == b"\x1f\x8b":
        with reading(file), gzip.open(file) as stream:
            head = stream.read(348)
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:12] in NIFTI_2:
        return read_nifti
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        raise ReadError(f"{file}: {NO_PICKLES}")
    raise ReadError(f"{file}: its format is not known, or it is cut short: give {FORMATS}")

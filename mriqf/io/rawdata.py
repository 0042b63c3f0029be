"""Which format raw data have, by content, and the readers of fastMRI, BART and NumPy."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mriqf.io.bart import COIL_DIM, read_header
from mriqf.io.bounds import check_claim, listed, stored_bytes
from mriqf.io.hdf5 import check_stored, member, members, small, unpacked
from mriqf.io.kspace import KSpace, along_z, as_mask, layout, recon_matrix, refuse_gaps
from mriqf.io.mrd import read_mrd
from mriqf.io.volume import ReadError, find_file, reading

FORMATS = "HDF5 (fastMRI, ISMRMRD), a BART pair or .npy"
TARGETS = ("reconstruction_rss", "reconstruction_esc", "reconstruction")
ATTRS = ("max", "norm")


def read_kspace(path: str | Path) -> KSpace:
    """Open a file of k-space, whatever its format, for reading slice by slice.

    Parameters
    ----------
    path
        HDF5 with fastMRI's ``kspace`` ``(s, c, h, w)``, or ``(s, h, w)`` of one coil; Cartesian ISMRMRD raw data;
        either file, or the common stem, of a BART pair (read-out, phase encoding, z, coils); or complex ``.npy``
        ``(s, c, h, w)`` or ``(c, h, w)``. Known by content, not by name.

    Returns
    -------
    KSpace
        Its slices, in the units of the file. 3-D data are transformed along z.

    Raises
    ------
    ReadError
        When the file is missing, incomplete or holds no k-space; reading a slice may raise it as well, since samples
        are read no earlier.
    """
    file = find_file(path)
    if file.is_dir():
        raise ReadError(f"{path}: is a folder: give one file of k-space, {FORMATS}")
    with reading(file), file.open("rb") as stream:
        head = stream.read(16)
    if file.suffix == ".cfl" or head.startswith(b"# Dimensions"):
        found = _bart(file)
    elif head.startswith(b"\x89HDF\r\n\x1a\n"):
        found = _hdf5(file)
    elif head.startswith(b"\x93NUMPY"):
        found = _npy(file)
    else:
        raise ReadError(f"{path}: is no format of k-space, or is cut short: give {FORMATS}")
    return replace(found, source=str(path))


def _hdf5(path: Path) -> KSpace:
    import h5py

    with reading(path), h5py.File(path) as file:
        if isinstance(data := member(file, "kspace"), h5py.Dataset):
            return _fastmri(path, file, data)
        groups = {name: group for name, group in members(file) if isinstance(group, h5py.Group)}
        raw = [name for name, group in groups.items()
               if isinstance(member(group, "data"), h5py.Dataset) and "xml" in group]  # fmt: skip
        if len(raw) > 1:
            raise ReadError(f"{path}: holds {len(raw)} measurements ({listed(raw)}): save one in its own file")
        inner = [f"{top}/{name}" for top, group in groups.items() for name in group]
        keys = listed([*file, *inner]) or "none at all"
        images = any(key in file for key in TARGETS) or any("/image_" in name for name in inner)
    if raw:
        return read_mrd(path, raw[0])
    if images:
        raise ReadError(f"{path}: holds images ({keys}), not k-space: score them as they are, or give the raw data")
    raise ReadError(f"{path}: its keys are {keys}: store k-space under 'kspace', of shape (s, c, h, w)")


def _fastmri(path: Path, file: Any, data: Any) -> KSpace:
    import h5py

    n_slices, n_coils, h, w = layout(path, data.shape, data.dtype, "slices")
    check_stored(path, "kspace", data)
    mask = image_shape = None
    if (values := member(file, "mask")) is not None:
        mask = as_mask(path, small(path, "mask", values), (h, w))
    for key in TARGETS:
        if isinstance(target := member(file, key), h5py.Dataset) and target.ndim >= 2:
            image_shape = min(target.shape[-2], h), min(target.shape[-1], w)
            break
    else:
        if (header := member(file, "ismrmrd_header")) is not None:
            image_shape = recon_matrix(small(path, "ismrmrd_header", header)[()], (h, w))
    # Numbers alone: how long a text is could not be checked before HDF5 makes room for it.
    kinds = {key: file.attrs.get_id(key).dtype for key in ATTRS if key in file.attrs}
    attrs = {key: file.attrs[key] for key, kind in kinds.items() if kind.kind in "iuf" and kind.itemsize <= 8}
    load = partial(_load_hdf5, path, data.ndim, (n_coils, h, w))
    return KSpace(str(path), n_slices, n_coils, (h, w), load, mask, image_shape, attrs)


def _load_hdf5(path: Path, ndim: int, shape: tuple[int, int, int], index: int) -> Shaped[np.ndarray, "c h w"]:
    import h5py

    with h5py.File(path) as file:
        data: Any = member(file, "kspace")
        return unpacked(path, "kspace", data, (index,) if ndim > 2 else ()).reshape(shape)


def _npy(path: Path) -> KSpace:
    with reading(path):
        data = np.load(path, mmap_mode="r", allow_pickle=False)
        n_slices, n_coils, h, w = layout(path, data.shape, data.dtype, "coils")
    return KSpace(str(path), n_slices, n_coils, (h, w), partial(_load_npy, path, (n_slices, n_coils, h, w)))


def _load_npy(path: Path, shape: tuple[int, int, int, int], index: int) -> Shaped[np.ndarray, "c h w"]:
    return np.load(path, mmap_mode="r", allow_pickle=False).reshape(shape)[index]


def _bart(path: Path) -> KSpace:
    data, dims = read_header(path)
    h, w, nz, n_coils = dims[: COIL_DIM + 1]
    n_volumes = math.prod(dims[COIL_DIM + 1 :])
    check_claim(data, nz * n_volumes, n_coils, (h, w), stored_bytes(data))
    shape = (h, w, nz, n_coils, n_volumes)
    if h == 1:  # BART's radial and spiral data have samples along 1 and spokes along 2
        raise ReadError(f"{data}: dimensions {dims} are of non-Cartesian samples: grid them first, e.g. bart nufft")
    if nz > 1:
        with reading(data):
            refuse_gaps(data, (_cfl(data, shape)[h // 2] != 0).any(axis=(2, 3)))
    return KSpace(str(data), nz * n_volumes, n_coils, (h, w), partial(_load_bart, data, shape))


def _cfl(path: Path, shape: tuple[int, int, int, int, int]) -> Shaped[np.ndarray, "h w z c v"]:
    return np.memmap(path, dtype="<c8", mode="r", shape=shape, order="F")


def _load_bart(path: Path, shape: tuple[int, int, int, int, int], index: int) -> Shaped[np.ndarray, "c h w"]:
    volume, z = divmod(index, shape[2])
    data = np.moveaxis(_cfl(path, shape)[..., volume], -1, 0)  # coils first
    return data[..., 0] if shape[2] == 1 else along_z(lambda k: data[..., k], shape[2], z)

"""Detection of the format of raw data, by content, and the readers of fastMRI, BART and NumPy."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mriqf.io.arrays import check_member, refusing_pickles
from mriqf.io.bart import COIL_DIM, read_header
from mriqf.io.bounds import check_claim, listed, stored_bytes
from mriqf.io.hdf5 import check_stored, member, members, small, unpacked
from mriqf.io.kspace import (
    KSpace,
    along_z,
    as_mask,
    as_noise,
    layout,
    recon_matrix,
    refuse_gaps,
    require_calibration,
)
from mriqf.io.mrd import read_mrd
from mriqf.io.volume import ReadError, find_file, reading

FORMATS = "HDF5 (fastMRI, ISMRMRD), a BART pair, .npy or .npz"
TARGETS = ("reconstruction_rss", "reconstruction_esc", "reconstruction")
ATTRS = ("max", "norm")
SLICE_DIM = 13  # of BART
NOISE = 2**20  # samples of noise that are read at most


def read_kspace(path: str | Path) -> KSpace:
    """Open a file of k-space of any known format for reading slice by slice.

    Parameters
    ----------
    path
        HDF5 with fastMRI's ``kspace`` ``(s, c, h, w)``, or ``(s, h, w)`` of one coil; Cartesian ISMRMRD raw data;
        either file, or the common stem, of a BART pair (read-out, phase encoding, z, coils); or complex ``.npy``
        ``(s, c, h, w)`` or ``(c, h, w)``, or the same as ``kspace`` or the only array of a ``.npz``. Known by content,
        not by name. ``noise`` ``(c, n)`` and separate ``calibration`` lines ``(s, c, _, _)`` are read beside
        ``kspace`` in HDF5 and ``.npz``; ISMRMRD marks them.

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
        kspace = _bart(file)
    elif head.startswith(b"\x89HDF\r\n\x1a\n"):
        kspace = _hdf5(file)
    elif head.startswith(b"\x93NUMPY"):
        kspace = _npy(file)
    elif head.startswith(b"PK\x03\x04"):
        kspace = _npz(file)
    else:
        raise ReadError(f"{path}: is no format of k-space, or is cut short: give {FORMATS}")
    return replace(kspace, source=str(path))


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
    noise = calibration = None
    if isinstance(samples := member(file, "noise"), h5py.Dataset) and (samples.size or 0) <= NOISE * n_coils:
        check_stored(path, "noise", samples)
        noise = as_noise(path, unpacked(path, "noise", samples, ()), n_coils)
    if isinstance(lines := member(file, "calibration"), h5py.Dataset):
        check_stored(path, "calibration", lines)
        require_calibration(path, lines.shape, lines.dtype, n_slices, n_coils)
        calibration = partial(_load_calibration, path)
    return KSpace(
        str(path), n_slices, n_coils, (h, w), load, mask, image_shape, attrs,
        noise=noise, load_calibration=calibration,
    )  # fmt: skip


def _load_calibration(path: Path, index: int) -> Shaped[np.ndarray, "c _ _"]:
    import h5py

    with h5py.File(path) as file:
        return unpacked(path, "calibration", member(file, "calibration"), (index,))


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


def _npz(path: Path) -> KSpace:
    with reading(path), path.open("rb") as file, refusing_pickles(path), np.load(file, allow_pickle=False) as archive:
        names = archive.files
        if "kspace" not in names and len(names) != 1:
            raise ReadError(f"{path}: holds {len(names)} arrays ({listed(names)}): call that of k-space 'kspace'")
        for key in ("kspace" if "kspace" in names else names[0], "noise", "calibration"):
            check_member(path, archive, key)
        data = archive["kspace" if "kspace" in names else names[0]]
        n_slices, n_coils, h, w = layout(path, data.shape, data.dtype, "coils")
        noise = as_noise(path, archive["noise"], n_coils) if "noise" in names else None
        calibration = None
        if "calibration" in names:
            lines = archive["calibration"]
            require_calibration(path, lines.shape, lines.dtype, n_slices, n_coils)
            calibration = lines.__getitem__
    load = data.reshape(n_slices, n_coils, h, w).__getitem__
    return KSpace(str(path), n_slices, n_coils, (h, w), load, noise=noise, load_calibration=calibration)


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
    places = np.arange(n_volumes)  # of volumes, the first of their dimensions fastest
    further = math.prod(dims[COIL_DIM + 1 : SLICE_DIM])
    places = places // further % (dims[SLICE_DIM] if len(dims) > SLICE_DIM else 1)
    positions = (
        tuple((places[:, None] * nz + np.arange(nz)).ravel().tolist()) if places.size > places.max() + 1 else None
    )
    load = partial(_load_bart, data, shape)
    return KSpace(str(data), nz * n_volumes, n_coils, (h, w), load, positions=positions)


def _cfl(path: Path, shape: tuple[int, int, int, int, int]) -> Shaped[np.ndarray, "h w z c v"]:
    return np.memmap(path, dtype="<c8", mode="r", shape=shape, order="F")


def _load_bart(path: Path, shape: tuple[int, int, int, int, int], index: int) -> Shaped[np.ndarray, "c h w"]:
    volume, z = divmod(index, shape[2])
    data = np.moveaxis(_cfl(path, shape)[..., volume], -1, 0)  # coils first
    return data[..., 0] if shape[2] == 1 else along_z(lambda k: data[..., k], shape[2], z)

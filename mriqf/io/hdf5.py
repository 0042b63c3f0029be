"""HDF5: reconstructions in fastMRI's layout, and the images of ISMRMRD (MRD) files."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from mriqf.io.volume import ReadError, Volume, reading, stack

KEYS = ("reconstruction", "reconstruction_rss", "reconstruction_esc")


def read_hdf5(path: Path) -> Volume:
    """Volume in an HDF5 file, which is opened for each slice that is read."""
    import h5py

    with reading(path), h5py.File(path) as file:
        for key in KEYS:
            if isinstance(images := file.get(key), h5py.Dataset):
                return _fastmri(path, key, images.shape)
        sets = {
            f"{top}/{name}/data": data.shape
            for top, group in file.items()
            if isinstance(group, h5py.Group)
            for name, images in group.items()
            if isinstance(images, h5py.Group) and isinstance(data := images.get("data"), h5py.Dataset)
        }
        if len(sets) > 1:
            raise ReadError(f"{path}: holds {len(sets)} sets of images ({', '.join(sets)}): save one in its own file")
        for key, shape in sets.items():
            return _ismrmrd(path, key, shape)
        if "kspace" in file or any(isinstance(top, h5py.Group) and "data" in top for top in file.values()):
            raise ReadError(f"{path}: holds k-space, not images: reconstruct it first")
        keys = ", ".join(file) or "none at all"
        raise ReadError(f"{path}: its keys are {keys}: store the images under {KEYS[0]!r}, of shape (s, h, w)")


def _fastmri(path: Path, key: str, shape: tuple[int, ...]) -> Volume:
    match shape:
        case (h, w):
            return stack(path, lambda _: _load(path, key, ()), (h, w))
        case (s, h, w):
            return stack(path, lambda i: _load(path, key, (i,)), (h, w), grid=(s,))
        case (s, 1, h, w):
            return stack(path, lambda i: _load(path, key, (i, 0)), (h, w), grid=(s,))
    raise ReadError(f"{path}: {key!r} has shape {shape}: combine coils and save it as (s, h, w)")


def _ismrmrd(path: Path, key: str, shape: tuple[int, ...]) -> Volume:
    match shape:
        case (n, 1, z, h, w):  # ISMRMRD's order: images, channels, z, y, x
            grid = (z, n) if z > 1 and n > 1 else (z * n,)
            return stack(path, lambda i: _load(path, key, (i // z, 0, i % z)), (h, w), grid=grid)
        case (_, channels, _, _, _):
            raise ReadError(f"{path}: {key!r} holds {channels} coils: combine them first")
    raise ReadError(f"{path}: {key!r} has shape {shape}, not ISMRMRD's (n, 1, z, y, x): write it with ismrmrd")


def _load(path: Path, key: str, index: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    import h5py

    with h5py.File(path) as file:
        pixels = np.asarray(file[key][index])  # pyright: ignore[reportIndexIssue]
    if pixels.dtype.names == ("real", "imag"):  # ISMRMRD's complex numbers
        return pixels["real"] + 1j * pixels["imag"]
    return pixels

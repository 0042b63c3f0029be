"""HDF5: reconstructions in fastMRI's layout, and the images of ISMRMRD (MRD) files."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mriqf.io.bounds import CHUNK, WHOLE, listed
from mriqf.io.sequences import check_sequences
from mriqf.io.volume import ReadError, Volume, reading, stack

DEFLATE, FLETCHER32 = 1, 3  # HDF5's numbers of its filters
KEYS = ("reconstruction", "reconstruction_rss", "reconstruction_esc")
COMPLEX = "reconstruction_complex"
"""Complex values of `reconstruction`, as `mriqf recon --complex` stores them."""


def read_hdf5(path: Path) -> Volume:
    """Volume in an HDF5 file, which is opened for each slice that is read."""
    import h5py

    with reading(path), h5py.File(path) as file:
        for key in KEYS:
            if isinstance(images := member(file, key), h5py.Dataset):
                check_stored(path, key, images)
                values = member(file, COMPLEX)
                beside = isinstance(values, h5py.Dataset) and values.shape == images.shape
                return _fastmri(path, key, images.shape, COMPLEX if beside else key)
        sets = {
            f"{top}/{name}/data": data
            for top, group in members(file)
            if isinstance(group, h5py.Group)
            for name, images in members(group)
            if isinstance(images, h5py.Group) and isinstance(data := member(images, "data"), h5py.Dataset)
        }
        if len(sets) > 1:
            raise ReadError(f"{path}: holds {len(sets)} sets of images ({listed(sets)}): save one in its own file")
        for key, data in sets.items():
            check_stored(path, key, data)
            return _ismrmrd(path, key, data.shape)
        if "kspace" in file or any(isinstance(top, h5py.Group) and "data" in top for _, top in members(file)):
            raise ReadError(f"{path}: holds k-space, not images: reconstruct it first, by mriqf recon")
        names = (name if member(file, name) is not None else f"{name} (link, not followed)" for name in map(str, file))
        keys = listed(names) or "none at all"
        raise ReadError(f"{path}: its keys are {keys}: store the images under {KEYS[0]!r}, of shape (s, h, w)")


def _fastmri(path: Path, key: str, shape: tuple[int, ...], values: str) -> Volume:
    match shape:
        case (h, w):
            index, size, grid = (lambda _: ()), (h, w), (1,)
        case (s, h, w):
            index, size, grid = (lambda i: (i,)), (h, w), (s,)
        case (s, 1, h, w):
            index, size, grid = (lambda i: (i, 0)), (h, w), (s,)
        case _:
            raise ReadError(f"{path}: {key!r} has shape {shape}: combine coils and save it as (s, h, w)")
    return stack(
        path, lambda i: _load(path, key, index(i)), size, grid=grid,
        load_complex=lambda i: _load(path, values, index(i), check=True),
    )  # fmt: skip


def _ismrmrd(path: Path, key: str, shape: tuple[int, ...]) -> Volume:
    match shape:
        case (n, 1, z, h, w):  # ISMRMRD's order: images, channels, z, y, x
            grid = (z, n) if z > 1 and n > 1 else (z * n,)
            return stack(path, lambda i: _load(path, key, (i // z, 0, i % z)), (h, w), grid=grid)
        case (_, channels, _, _, _):
            raise ReadError(f"{path}: {key!r} holds {channels} coils: combine them first")
    raise ReadError(f"{path}: {key!r} has shape {shape}, not ISMRMRD's (n, 1, z, y, x): write it with ismrmrd")


def _load(path: Path, key: str, index: tuple[int, ...], *, check: bool = False) -> Shaped[np.ndarray, "..."]:
    import h5py

    with h5py.File(path) as file:
        node: Any = file
        for name in key.split("/"):
            node = member(node, name)
        if check:
            check_stored(path, key, node)
        pixels = unpacked(path, key, node, index)
    if pixels.dtype.names == ("real", "imag"):  # ISMRMRD's complex numbers
        return pixels["real"] + 1j * pixels["imag"]
    return pixels


def member(group: Any, name: str) -> Any:
    """Object of a group by name; None if absent, and for links, which may lead into any other file."""
    import h5py

    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None


def members(group: Any) -> list[tuple[str, Any]]:
    """Names and objects of a group, without links."""
    return [(name, item) for name in group if (item := member(group, name)) is not None]


def check_stored(path: Path, key: str, data: Any) -> None:
    """Raise for a data set that is not all in this file, or whose chunks are too large to be unpacked one by one."""
    what = f"{path}: {key!r} of shape {data.shape}"
    if not _ordinary(data.id.get_type()):
        raise ReadError(f"{what} has values of no usual kind: save it as float32 or complex64")
    if data.is_virtual or data.external:
        raise ReadError(f"{what} lies in other files: copy it into this one")
    if data.size and not data.id.get_storage_size():
        raise ReadError(f"{what} was never written: export it again")
    if data.chunks is None:
        return
    if (size := math.prod(data.chunks) * data.dtype.itemsize) > CHUNK:
        raise ReadError(f"{what} has pieces of {size} bytes, more than {CHUNK}: save it with chunks of one slice")
    n_chunks = math.prod(-(-n // chunk) for n, chunk in zip(data.shape, data.chunks, strict=True))
    if (written := data.id.get_num_chunks()) < n_chunks:
        raise ReadError(f"{what} is incomplete, {written} of its {n_chunks} pieces were written: export it again")


def _ordinary(kind: Any) -> bool:
    """True for common number types; for others, HDF5 and h5py disagree on the size."""
    from h5py import h5t

    match kind:
        case h5t.TypeCompoundID():
            return all(_ordinary(kind.get_member_type(k)) for k in range(kind.get_nmembers()))
        case h5t.TypeEnumID() | h5t.TypeArrayID() | h5t.TypeVlenID():
            return _ordinary(kind.get_super())
        case h5t.TypeIntegerID():
            return kind.get_precision() == 8 * kind.get_size() and not kind.get_offset()
        case h5t.TypeFloatID():
            usual = (f"IEEE_F{bits}{order}" for bits in (16, 32, 64) for order in ("LE", "BE"))
            return any(kind.equal(getattr(h5t, name)) for name in usual)
    return isinstance(kind, h5t.TypeStringID)


def small(path: Path, key: str, data: Any) -> Any:
    """Read a data set that fits into memory."""
    check_stored(path, key, data)
    if data.size * data.dtype.itemsize > WHOLE:
        raise ReadError(f"{path}: {key!r} of shape {data.shape} takes more than {WHOLE} bytes: correct it")
    return unpacked(path, key, data, ())


def unpacked(path: Path, key: str, data: Any, index: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    """Read a part of a data set by its first indices."""
    check_pieces(path, key, data, index)
    if data.dtype.hasobject:
        check_sequences(path, key, data)
    return np.asarray(data[index])


def check_pieces(path: Path, key: str, data: Any, index: tuple[int, ...] = ()) -> None:
    """Raise for compressed chunks that unpack to more than their size, which HDF5 would unpack all the same.

    To unpack them twice is a small part of what scoring a slice takes.
    """
    creation = data.id.get_create_plist()
    filters = [creation.get_filter(k)[0] for k in range(creation.get_nfilters())]
    if DEFLATE in filters:
        place = filters.index(DEFLATE)
        if set(filters[place + 1 :]) - {FLETCHER32}:
            raise ReadError(f"{path}: {key!r} is compressed several times: save it with gzip alone")
        size = math.prod(data.chunks) * data.dtype.itemsize + 64  # and checksums
        where = tuple(slice(i, i + 1) for i in index) + (slice(None),) * (data.ndim - len(index))
        for box in data.iter_chunks(where):
            start = tuple(s.start // chunk * chunk for s, chunk in zip(box, data.chunks, strict=True))
            skipped, piece = data.id.read_direct_chunk(start)
            if not skipped >> place & 1 and len(zlib.decompressobj().decompress(piece, size + 1)) > size:
                raise ReadError(f"{path}: a piece of {key!r} unpacks to more than its {size} bytes: save it again")

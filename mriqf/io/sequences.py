"""Texts and sequences of variable length in HDF5: the file says how long, and HDF5 makes room before it looks."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mriqf.io.bounds import stored_bytes
from mriqf.io.volume import ReadError

POINTER = 16  # bytes of the file: how many items, and where they lie


def check_sequences(path: Path, key: str, data: Any) -> None:
    """Refuse a data set whose texts and sequences together claim more bytes than the whole file has.

    Raises
    ------
    ReadError
        Also if their lengths cannot be seen beforehand.
    """
    size, places = _layout(data.id.get_type())
    stored = _stored(path, data, size) if size else None
    if stored is None or stored.size != data.size * size:
        raise ReadError(f"{path}: {key!r} is stored in an unusual way: write it with ismrmrd or h5py, uncompressed")
    rows = stored.reshape(data.size, size)
    counts = [rows[:, k : k + 4].copy().view("<u4").astype(np.int64).sum() * item for k, item in places]
    if sum(counts) > (bound := stored_bytes(path)):
        raise ReadError(f"{path}: {key!r} claims {sum(counts)} bytes, the file has {bound}: export it again")


def _layout(kind: Any) -> tuple[int, list[tuple[int, int]]]:
    """Bytes of an element in the file, and where its sequences begin, with the bytes of an item; 0 if not known."""
    from h5py import h5t

    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
        return POINTER, [(0, 1)]
    if isinstance(kind, h5t.TypeVlenID):
        return POINTER, [(0, kind.get_super().get_size())]
    found: list[tuple[int, int]] = []
    if isinstance(kind, h5t.TypeCompoundID):
        for k in range(kind.get_nmembers()):
            member = kind.get_member_type(k)
            size, inside = _layout(member)
            if size != member.get_size():  # of a text: HDF5 tells offsets in memory, where it takes less room
                return 0, []
            found += [(kind.get_member_offset(k) + offset, item) for offset, item in inside]
    if kind.detect_class(h5t.VLEN) and not found:
        return 0, []
    return kind.get_size(), found


def _stored(path: Path, data: Any, size: int) -> UInt8[np.ndarray, " n"] | None:
    """What the file itself has for the elements; None where that cannot be found."""
    if data.id.get_create_plist().get_nfilters() or not data.size:
        return None
    places: list[tuple[int, int]] = []
    if data.chunks is None:
        if (start := data.id.get_offset()) is not None:
            places.append((start, data.id.get_storage_size()))
    elif data.ndim == 1:
        data.id.chunk_iter(lambda chunk: places.append((chunk.byte_offset, chunk.size)))
    if not places:
        return None
    whole = np.memmap(path, np.uint8, "r")
    return np.concatenate([whole[start : start + n] for start, n in places])[: data.size * size]

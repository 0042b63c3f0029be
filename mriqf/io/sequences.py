"""Checks of texts and sequences of variable length in HDF5 files, since HDF5 trusts the sizes in the file.

References
----------
HDF5 File Format Specification, version 3, III.E: Global Heap.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mriqf.io.bounds import ReadError

POINTER = 16  # bytes of the file: how many items, the heap that they lie in, and their number there
KIND = np.dtype([("count", "<u4"), ("heap", "<u8"), ("index", "<u4")])
HEAD = 16  # bytes in front of a heap, and of each object in it


def check_sequences(path: Path, key: str, data: Any) -> None:
    """Raise ReadError for a data set whose texts and sequences do not lie in the file.

    HDF5 itself takes memory for any length that is claimed, and finds no end in a heap that does not go on.

    Raises
    ------
    ReadError
        If one is damaged, if all together claim more bytes than the file has, or if that cannot be seen beforehand.
    """
    size, places = _layout(data.id.get_type())
    whole = np.asarray(np.memmap(path, np.uint8, "r"))
    stored = _stored(whole, data, size) if size else None
    if stored is None or stored.size < data.size * size:
        raise ReadError(f"{path}: {key!r} is stored in an unusual way: write it with ismrmrd or h5py, uncompressed")
    rows, claimed = stored[: data.size * size].reshape(data.size, size), 0
    heaps: dict[int, dict[int, int]] = {}
    for place, item in places:
        for count, heap, index in rows[:, place : place + POINTER].copy().view(KIND)[:, 0].tolist():
            if not count:
                continue
            if heap not in heaps:
                heaps[heap] = _sizes(whole, heap)
            if count * item > heaps[heap].get(index, 0):
                raise ReadError(f"{path}: {key!r} has a text or sequence that is damaged: export it again")
            claimed += count * item
    if claimed > whole.size:
        raise ReadError(f"{path}: {key!r} claims {claimed} bytes, the file has {whole.size}: export it again")


def _sizes(whole: UInt8[np.ndarray, " n"], start: int) -> dict[int, int]:
    """Bytes of each object in a heap, by number; none if it is damaged."""
    sizes: dict[int, int] = {}
    if bytes(whole[start : start + 4]) != b"GCOL" or start + HEAD > whole.size:
        return sizes
    end = start + int.from_bytes(whole[start + 8 : start + HEAD].tobytes(), "little")
    place = start + HEAD
    while place + HEAD <= end <= whole.size:
        index, _, _, size = struct.unpack_from("<HHIQ", whole.data, place)
        place += HEAD + -(-size // 8) * 8 if index else size
        if place > end or not (index or size):
            return {}
        if index:
            sizes[index] = size
    return sizes


def _layout(kind: Any) -> tuple[int, list[tuple[int, int]]]:
    """Bytes of an element in the file, and where its sequences begin, with the bytes of an item; 0 if not known."""
    from h5py import h5t

    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
        return POINTER, [(0, 1)]
    if isinstance(kind, h5t.TypeVlenID):
        # An unknown type would make HDF5 access invalid memory.
        exists = h5t.vlen_create(kind.get_super()).encode() == kind.encode()
        return (POINTER, [(0, kind.get_super().get_size())]) if exists else (0, [])
    sequences: list[tuple[int, int]] = []
    if isinstance(kind, h5t.TypeCompoundID):
        for k in range(kind.get_nmembers()):
            member = kind.get_member_type(k)
            size, inside = _layout(member)
            if size != member.get_size():  # of a text: HDF5 tells offsets in memory, where it takes less room
                return 0, []
            sequences += [(kind.get_member_offset(k) + offset, item) for offset, item in inside]
    if kind.detect_class(h5t.VLEN) and not sequences:
        return 0, []
    return kind.get_size(), sequences


def _stored(whole: UInt8[np.ndarray, " n"], data: Any, size: int) -> UInt8[np.ndarray, " m"] | None:
    """Stored bytes of the elements; None if their place is unknown."""
    if data.id.get_create_plist().get_nfilters() or not data.size:
        return None
    places: list[tuple[int, int, int]] = []
    if data.chunks is None:
        piece = data.size * size
        if (start := data.id.get_offset()) is not None:
            places.append((0, start, data.id.get_storage_size()))
    else:
        piece = data.chunks[0] * size
        if data.ndim == 1:
            data.id.chunk_iter(lambda chunk: places.append((chunk.chunk_offset[0], chunk.byte_offset, chunk.size)))
    if not places or any(n != piece or start + n > whole.size for _, start, n in places):
        return None
    return np.concatenate([whole[start : start + n] for _, start, n in sorted(places)])

"""Lengths beyond the end of a file are refused before they are read; everything else is left alone."""

import struct

import h5py
import numpy as np
import pytest

from mriqf.io import ReadError
from mriqf.io.sequences import check_sequences

FLOATS = h5py.vlen_dtype(np.float32)
LINE = np.dtype([("head", "i2", (3,)), ("line", FLOATS)])


def check(path):
    with h5py.File(path) as file:
        check_sequences(path, "x", file["x"])
        file["x"][()]


@pytest.fixture
def lines():
    result = np.zeros(5, LINE)
    for k, row in enumerate(result):
        row["line"] = np.arange(100 * k + 1, dtype=np.float32)
    return result


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (1,)}, {"chunks": (3,)}, {"chunks": (2,), "maxshape": (None,)}], ids=str
)
def test_lines_of_all_lengths_pass(tmp_path, lines, options):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=lines, **options)
    check(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["", "a", "b" * 5000], h5py.string_dtype()), ("title", h5py.string_dtype()), ([[[]], [[]]], FLOATS)],
    ids=["texts", "scalar", "nothing"],
)
def test_texts_pass(tmp_path, values, kind):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind is FLOATS:
            file.create_dataset("x", (2,), kind)[:] = [np.zeros(0, np.float32)] * 2
        else:
            file.create_dataset("x", data=values, dtype=kind)
    check(tmp_path / "a.h5")


@pytest.mark.parametrize("options", [{}, {"chunks": (1,)}], ids=str)
def test_many_that_are_one_and_the_same(tmp_path, options):
    """Each is as long as it says, but all of them lie in one place."""
    path, n = tmp_path / "a.h5", 200
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (n,), FLOATS, **options)
        data[:] = [np.ones(10_000 if k == 0 else 1, np.float32) for k in range(n)]
    with h5py.File(path) as file:
        places = []
        if options:
            file["x"].id.chunk_iter(lambda chunk: places.append(chunk.byte_offset))
        else:
            places = [file["x"].id.get_offset() + 16 * k for k in range(n)]
    whole = bytearray(path.read_bytes())
    one = bytes(whole[places[0] : places[0] + 16])
    assert struct.unpack("<I", one[:4]) == (10_000,)
    for start in places:
        whole[start : start + 16] = one
    path.write_bytes(whole)
    with h5py.File(path) as file, pytest.raises(ReadError, match="claims 8000000 bytes, the file has"):
        check_sequences(path, "x", file["x"])


def test_compressed_ones_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (2,), FLOATS, compression="gzip")[0] = np.ones(9, np.float32)
    with pytest.raises(ReadError, match="is stored in an unusual way: write it with ismrmrd or h5py, uncompressed"):
        check(tmp_path / "a.h5")


@pytest.mark.parametrize("harm", [(8, 2**40), (8, 0), (16, 0), (24, 0), (24, 2**63)], ids=str)
def test_damaged_heap(tmp_path, harm):
    """Length of the heap; number, and size of its first object: HDF5 would go round and round in some of these."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=["abc"], dtype=h5py.string_dtype())
    whole = bytearray(path.read_bytes())
    place, value = whole.index(b"GCOL") + harm[0], harm[1]
    whole[place : place + (2 if harm[0] == 16 else 8)] = value.to_bytes(2 if harm[0] == 16 else 8, "little")
    path.write_bytes(whole)
    with h5py.File(path) as file, pytest.raises(ReadError, match="that is damaged"):
        check_sequences(path, "x", file["x"])


def test_pieces_of_another_size(tmp_path, lines):
    """The rest would be looked for at other places than HDF5 does."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=lines, chunks=(1,))
    with h5py.File(path) as file:
        size = file["x"].id.get_chunk_info(0).size
    whole = bytearray(path.read_bytes())
    place = whole.index(struct.pack("<IIQQ", size, 0, 0, 0))  # in the tree that says where the pieces are
    whole[place : place + 4] = struct.pack("<I", size + 128)
    path.write_bytes(whole)
    with h5py.File(path) as file, pytest.raises(ReadError, match="is stored in an unusual way"):
        check_sequences(path, "x", file["x"])

"""Checks of every slice, whatever its format."""

import numpy as np
import pytest

from mriqf.io import ReadError, read
from mriqf.io.volume import optional, reading, stack


def save(path, array):
    np.save(path, array)
    return path


def test_complex_becomes_magnitude(tmp_path):
    array = np.array([[[3 + 4j, 0], [1j, -2]]], np.complex64)
    volume = read(save(tmp_path / "a.npy", array))
    np.testing.assert_array_equal(volume.read_slice(0), np.abs(array))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_not_finite(tmp_path, bad):
    array = np.ones((3, 4, 5))
    array[1, 2, 3] = bad
    volume = read(save(tmp_path / "a.npy", array))
    volume.read_slice(0)
    with pytest.raises(ReadError, match=r"a\.npy: slice 1 holds NaN or infinite values.*nan_to_num"):
        volume.read_slice(1)


@pytest.mark.parametrize("array", [np.zeros((2, 2), "U3"), np.zeros((2, 2), [("a", "f4")])])
def test_not_numbers(tmp_path, array):
    volume = read(save(tmp_path / "a.npy", array))
    with pytest.raises(ReadError, match=r"a\.npy: slice 0 holds .*, not numbers"):
        volume.read_slice(0)


@pytest.mark.parametrize("index", [-1, 3])
def test_no_such_slice(tmp_path, index):
    volume = read(save(tmp_path / "a.npy", np.ones((3, 4, 5))))
    with pytest.raises(IndexError, match="slices 0 to 2"):
        volume.read_slice(index)


def test_no_pixels(tmp_path):
    with pytest.raises(ReadError, match="holds no pixels"):
        read(save(tmp_path / "a.npy", np.ones((0, 4, 5))))


def test_slices_of_other_size():
    volume = stack("file", lambda i: np.ones((4 + i, 5)), (4, 5), grid=(2,))
    volume.read_slice(0)
    with pytest.raises(ReadError, match=r"file: slice 1 has shape \(1, 5, 5\)"):
        volume.read_slice(1)


def test_library_errors_become_one_line():
    with pytest.raises(ReadError) as error, reading("file"):
        raise OSError("first\n  second")
    assert str(error.value) == "file: cannot be read (first second): check that the file is complete and readable"


def test_missing_package():
    with pytest.raises(ReadError, match=r"^file: this format needs no_such: pip install no_such$"):
        optional("no_such", "file")

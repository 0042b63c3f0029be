"""NumPy files: layouts, memory, pickles."""

import tracemalloc

import numpy as np
import pytest

from mriqf.io import ReadError, read

RNG = np.random.default_rng(0)


def save(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("shape", "n_slices", "channels"),
    [((6, 7), 1, 1), ((4, 6, 7), 4, 1), ((4, 1, 6, 7), 4, 1), ((4, 3, 6, 7), 4, 3), ((1, 6, 7), 1, 1)],
)
def test_layouts(tmp_path, shape, n_slices, channels):
    array = RNG.uniform(size=shape)
    volume = read(save(tmp_path / "a.npy", array))
    assert (volume.n_slices, volume.shape, volume.channels, volume.grid) == (n_slices, (6, 7), channels, (n_slices,))
    np.testing.assert_array_equal(volume.affine, np.eye(4))
    slices = np.stack([volume.read_slice(i) for i in range(n_slices)])
    np.testing.assert_array_equal(slices, array.reshape(n_slices, channels, 6, 7).astype(np.float32))


def test_colours_last(tmp_path):
    array = RNG.integers(0, 255, (6, 7, 3), np.uint8)
    volume = read(save(tmp_path / "a.npy", array))
    np.testing.assert_array_equal(volume.read_slice(0), array.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "array",
    [np.ones(5), np.ones((2, 4, 6, 7)), np.ones((2, 3, 6, 7), np.complex64), np.ones((1, 1, 1, 6, 7))],
)
def test_other_shapes(tmp_path, array):
    path = save(tmp_path / "a.npy", array)
    with pytest.raises(ReadError) as error:
        read(path)
    assert f"{path}: shape {array.shape}" in str(error.value)


@pytest.mark.parametrize("names", [["images", "other"], ["reconstruction", "x"], ["anything"]])
def test_npz(tmp_path, names):
    array = RNG.uniform(size=(4, 6, 7)).astype(np.float32)
    np.savez(tmp_path / "a.npz", **{names[0]: array}, **{name: np.ones(1) for name in names[1:]})
    volume = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(volume.read_slice(2)[0], array[2])


def test_npz_that_does_not_say_which(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    with pytest.raises(ReadError, match=r"a\.npz: holds 2 arrays \(a, b\)"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("save_as", [np.save, np.savez])
def test_objects_are_pickles(tmp_path, save_as):
    path = tmp_path / ("a.npy" if save_as is np.save else "a.npz")
    save_as(path, np.array([{}, None], dtype=object))
    with pytest.raises(ReadError, match="pickle, which is never loaded"):
        read(path)


def test_one_slice_in_memory(tmp_path):
    path = save(tmp_path / "large.npy", np.ones((200, 256, 256), np.float32))  # 50 MiB
    tracemalloc.start()
    try:
        volume = read(path)
        for index in range(0, 200, 20):
            volume.read_slice(index)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 256 * 256 * 4


def test_complex_values_keep_their_phase(tmp_path):
    values = np.exp(1j * np.arange(24.0)).reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", values)
    volume = read(tmp_path / "a.npy")
    np.testing.assert_allclose(volume.read_complex(1), values[1], rtol=1e-6)
    np.testing.assert_allclose(volume.read_slice(1), 1, rtol=1e-6)
    np.save(tmp_path / "b.npy", values.real)
    assert read(tmp_path / "b.npy").read_complex(1) is None

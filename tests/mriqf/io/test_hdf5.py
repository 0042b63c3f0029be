"""HDF5: fastMRI's keys and ISMRMRD's images."""

import tracemalloc

import h5py
import ismrmrd
import numpy as np
import pytest

from mriqf.io import ReadError, read

RNG = np.random.default_rng(0)
STACK = RNG.uniform(size=(4, 6, 7)).astype(np.float32)


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return path


def write_images(path, images, name="image_0"):
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as dataset:
        dataset.write_xml_header(b"<ismrmrdHeader/>")
        for image in images:
            dataset.append_image(name, ismrmrd.Image.from_array(image, transpose=False))
    return path


@pytest.mark.parametrize("key", ["reconstruction", "reconstruction_rss", "reconstruction_esc"])
@pytest.mark.parametrize("shape", [(4, 6, 7), (4, 1, 6, 7)])
def test_fastmri(tmp_path, key, shape):
    path = write(tmp_path / "a.h5", kspace=STACK.astype(np.complex64), **{key: STACK.reshape(shape)})
    volume = read(path)
    assert (volume.n_slices, volume.shape, volume.channels, volume.grid) == (4, (6, 7), 1, (4,))
    np.testing.assert_array_equal(np.stack([volume.read_slice(i)[0] for i in range(4)]), STACK)


def test_complex_values(tmp_path):
    """Beside magnitudes, as `mriqf recon --complex` writes them, or in their place."""
    values = (STACK * np.exp(1j * STACK)).astype(np.complex64)
    beside = read(write(tmp_path / "a.h5", reconstruction=np.abs(values), reconstruction_complex=values))
    alone = read(write(tmp_path / "b.h5", reconstruction=values[:, None]))
    for volume in (beside, alone):
        np.testing.assert_array_equal(np.stack([volume.read_complex(i) for i in range(4)]), values)
        np.testing.assert_allclose(volume.read_slice(2)[0], STACK[2], rtol=1e-6)
    other = write(tmp_path / "c.h5", reconstruction=STACK, reconstruction_complex=values[:2])
    assert read(other).read_complex(0) is None
    assert read(write(tmp_path / "d.h5", reconstruction=STACK)).read_complex(0) is None
    values[1, 2, 3] = np.nan
    broken = read(write(tmp_path / "e.h5", reconstruction=STACK, reconstruction_complex=values))
    assert np.isfinite(broken.read_slice(1)).all()
    with pytest.raises(ReadError, match=r"slice 1: its complex values .* are not finite"):
        broken.read_complex(1)


def test_prediction_goes_first(tmp_path):
    path = write(tmp_path / "a.h5", reconstruction_rss=STACK, reconstruction=2 * STACK)
    np.testing.assert_array_equal(read(path).read_slice(1)[0], 2 * STACK[1])


def test_one_complex_slice(tmp_path):
    image = (STACK[0] * np.exp(1j * STACK[1])).astype(np.complex64)
    volume = read(write(tmp_path / "a.h5", reconstruction=image))
    np.testing.assert_allclose(volume.read_slice(0)[0], STACK[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.uint16])
def test_ismrmrd(tmp_path, dtype):
    images = (100 * STACK).astype(dtype)
    volume = read(write_images(tmp_path / "a.h5", images))
    assert (volume.n_slices, volume.shape, volume.grid) == (4, (6, 7), (4,))
    for index in range(4):
        np.testing.assert_array_equal(volume.read_slice(index)[0], np.abs(images[index]))


def test_ismrmrd_volumes(tmp_path):
    images = RNG.uniform(size=(2, 1, 5, 6, 7)).astype(np.float32)  # images, channels, z, y, x
    volume = read(write_images(tmp_path / "a.h5", images))
    assert (volume.n_slices, volume.shape, volume.grid) == (10, (6, 7), (5, 2))
    np.testing.assert_array_equal(volume.read_slice(7)[0], images[1, 0, 2])


def test_ismrmrd_refusals(tmp_path):
    coils = write_images(tmp_path / "coils.h5", np.ones((2, 8, 1, 6, 7), np.float32))
    with pytest.raises(ReadError, match=r"coils\.h5: .* holds 8 coils: combine them"):
        read(coils)
    sets = write_images(write_images(tmp_path / "sets.h5", STACK), STACK, "image_1")
    with pytest.raises(ReadError, match=r"sets\.h5: holds 2 sets of images \(dataset/image_0/data"):
        read(sets)


def test_kspace(tmp_path):
    with pytest.raises(ReadError, match=r"a\.h5: holds k-space, not images: reconstruct it first"):
        read(write(tmp_path / "a.h5", kspace=np.ones((2, 4, 6, 7), np.complex64)))
    with ismrmrd.Dataset(str(tmp_path / "raw.h5"), "dataset", create_if_needed=True) as dataset:
        dataset.append_acquisition(ismrmrd.Acquisition.from_array(np.ones((2, 16), np.complex64)))
    with pytest.raises(ReadError, match=r"raw\.h5: holds k-space"):
        read(tmp_path / "raw.h5")


def test_unknown(tmp_path):
    with pytest.raises(ReadError, match=r"a\.h5: its keys are first, second: store the images under 'reconstruction'"):
        read(write(tmp_path / "a.h5", first=STACK, second=STACK))
    with pytest.raises(ReadError, match="none at all"):
        read(write(tmp_path / "empty.h5"))
    with pytest.raises(ReadError, match=r"shape \(2, 8, 6, 7\): combine coils"):
        read(write(tmp_path / "coils.h5", reconstruction=np.ones((2, 8, 6, 7), np.float32)))


def test_one_slice_in_memory(tmp_path):
    path = write(tmp_path / "large.h5", reconstruction_rss=np.ones((200, 256, 256), np.float32))  # 50 MiB
    tracemalloc.start()
    try:
        volume = read(path)
        for index in range(0, 200, 20):
            volume.read_slice(index)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 256 * 256 * 4

"""Raw data in fastMRI's layout, BART's pairs and NumPy files."""

import tracemalloc

import h5py
import ismrmrd
import numpy as np
import pytest

from mriqf.io import ReadError, read_kspace

RNG = np.random.default_rng(0)
MULTI = (RNG.normal(size=(3, 4, 12, 10)) + 1j * RNG.normal(size=(3, 4, 12, 10))).astype(np.complex64)
HEADER = (
    '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><reconSpace><matrixSize><x>6</x><y>8</y><z>1</z>'
    "</matrixSize></reconSpace></encoding></ismrmrdHeader>"
)


def write(path, *, attrs=None, **arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
        file.attrs.update(attrs or {})
    return path


def write_cfl(stem, array):
    stem.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    stem.with_suffix(".cfl").write_bytes(array.astype("<c8").tobytes(order="F"))
    return stem


def everything(kspace):
    return np.stack([kspace.read_slice(i) for i in range(kspace.n_slices)])


def test_fastmri_multicoil(tmp_path):
    attrs = {"acquisition": "CORPD_FBK", "max": 1e-3, "norm": 0.5, "patient_id": "secret"}
    rss = np.ones((3, 6, 8), np.float32)
    kspace = read_kspace(write(tmp_path / "a.h5", kspace=MULTI, reconstruction_rss=rss, attrs=attrs))
    assert (kspace.n_slices, kspace.n_coils, kspace.shape, kspace.image_shape) == (3, 4, (12, 10), (6, 8))
    assert kspace.mask is None
    assert kspace.source == str(tmp_path / "a.h5")
    assert dict(kspace.attrs) == {"max": 1e-3, "norm": 0.5}  # no texts: their length cannot be trusted
    np.testing.assert_array_equal(everything(kspace), MULTI)


def test_fastmri_singlecoil_test_file(tmp_path):
    mask = np.array([0, 1, 0, 1, 1, 1, 0, 0, 1, 0], np.float32)
    path = write(tmp_path / "a.h5", kspace=MULTI[:, 0] * mask, mask=mask, ismrmrd_header=HEADER)
    kspace = read_kspace(path)
    assert (kspace.n_slices, kspace.n_coils, kspace.shape, kspace.image_shape) == (3, 1, (12, 10), (6, 8))
    np.testing.assert_array_equal(kspace.mask, mask.astype(bool))
    np.testing.assert_array_equal(everything(kspace)[:, 0], MULTI[:, 0] * mask)


def test_image_is_never_larger_than_k_space(tmp_path):
    path = write(tmp_path / "a.h5", kspace=MULTI, reconstruction_rss=np.ones((3, 320, 8), np.float32))
    assert read_kspace(path).image_shape == (12, 8)


def test_files_have_sizes_of_their_own(tmp_path):
    paths = [write(tmp_path / f"{n}.h5", kspace=MULTI[:n, :n, :, : 5 + n]) for n in (1, 2, 3)]
    assert [read_kspace(p).shape for p in paths] == [(12, 6), (12, 7), (12, 8)]
    assert [read_kspace(p).n_slices for p in paths] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"reconstruction_rss": np.ones((3, 6, 8))}, r"holds images \(reconstruction_rss\), not k-space"),
        ({"first": MULTI, "second": MULTI}, "its keys are first, second: store k-space under 'kspace'"),
        ({}, "its keys are none at all"),
        ({"kspace": MULTI.real}, "real numbers are no k-space"),
        ({"kspace": np.stack([MULTI.real, MULTI.imag], -1)}, "real and imaginary parts: view it as complex"),
        ({"kspace": RNG.normal(size=(2, 12, 10, 4)) + 0j}, "last axis of 4 looks like coils"),
        ({"kspace": MULTI, "mask": np.ones(11)}, r"mask of shape \(11,\) fits neither \(10,\)"),
        ({"kspace": MULTI, "mask": np.zeros(10)}, "samples nothing"),
        ({"kspace": np.complex64(1)}, "0 axes"),
    ],
)
def test_fastmri_refusals(tmp_path, arrays, message):
    with pytest.raises(ReadError, match=rf"a\.h5: .*{message}") as caught:
        read_kspace(write(tmp_path / "a.h5", **arrays))
    assert "\n" not in str(caught.value)


def test_broken_samples_are_told_when_read(tmp_path):
    broken = MULTI.copy()
    broken[1, 2, 3, 4] = np.nan
    broken[2] = 0
    kspace = read_kspace(write(tmp_path / "a.h5", kspace=broken))
    np.testing.assert_array_equal(kspace.read_slice(0), MULTI[0])
    for index, message in ((1, "NaN"), (2, "all zeros")):
        with pytest.raises(ReadError, match=rf"a\.h5: slice {index} \(4, 12, 10\) .*{message}"):
            kspace.read_slice(index)


def test_truncated_and_missing(tmp_path):
    path = write(tmp_path / "a.h5", kspace=MULTI)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ReadError, match=r"a\.h5: cannot be read .*truncated.*: check that") as caught:
        read_kspace(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ReadError, match=r"b\.h5: does not exist: check the path"):
        read_kspace(tmp_path / "b.h5")
    with pytest.raises(ReadError, match="is a folder: give one file"):
        read_kspace(tmp_path)
    (tmp_path / "c.h5").write_bytes(b"abc")
    with pytest.raises(ReadError, match=r"c\.h5: is no format of k-space, or is cut short: give HDF5"):
        read_kspace(tmp_path / "c.h5")


def test_images_of_ismrmrd_are_no_k_space(tmp_path):
    with ismrmrd.Dataset(str(tmp_path / "a.h5"), "dataset", create_if_needed=True) as dataset:
        dataset.append_image("image_0", ismrmrd.Image.from_array(np.ones((6, 7), np.float32), transpose=False))
    with pytest.raises(ReadError, match=r"holds images \(dataset, dataset/image_0\), not k-space"):
        read_kspace(tmp_path / "a.h5")


@pytest.mark.parametrize("ending", ["", ".hdr", ".cfl"])
@pytest.mark.parametrize("rest", [(), (1, 1, 1, 1, 1, 1, 1, 1, 1, 3)])
def test_bart(tmp_path, ending, rest):
    volumes = MULTI[: rest[-1] if rest else 1]  # slices in BART's dimension 13
    array = np.moveaxis(volumes, (2, 3, 1, 0), (0, 1, 2, 3))[:, :, None].reshape(12, 10, 1, 4, *rest)
    kspace = read_kspace(f"{write_cfl(tmp_path / 'a', array)}{ending}")
    assert (kspace.n_slices, kspace.n_coils, kspace.shape) == (len(volumes), 4, (12, 10))
    np.testing.assert_array_equal(everything(kspace), volumes)


def test_bart_3d(tmp_path):
    images = np.fft.ifftshift(MULTI[:, :, :, :], axes=0)  # (z, c, h, w): the slices that must come out
    partitions = np.fft.fftshift(np.fft.fft(images, axis=0, norm="ortho"), axes=0)
    kspace = read_kspace(write_cfl(tmp_path / "a", partitions.transpose(2, 3, 0, 1)))
    assert (kspace.n_slices, kspace.n_coils) == (3, 4)
    np.testing.assert_allclose(everything(kspace), MULTI, atol=1e-5)
    partitions[1, :, :, 3] = 0
    with pytest.raises(ReadError, match=r"a\.cfl: 3-D k-space with gaps along z"):
        read_kspace(write_cfl(tmp_path / "a", partitions.transpose(2, 3, 0, 1)))


def test_bart_refusals(tmp_path):
    with pytest.raises(ReadError, match=r"a\.cfl: dimensions \[1, 64, 30, 4\] are of non-Cartesian samples"):
        read_kspace(write_cfl(tmp_path / "a", np.ones((1, 64, 30, 4))))
    stem = write_cfl(tmp_path / "b", np.ones((12, 10, 1, 4)))
    stem.with_suffix(".cfl").write_bytes(b"0" * 100)
    with pytest.raises(ReadError, match=r"b\.cfl: has 100 bytes, not the 3840"):
        read_kspace(stem)


@pytest.mark.parametrize(("index", "n_slices"), [(slice(None), 3), (1, 1)])
def test_npy(tmp_path, index, n_slices):
    np.save(tmp_path / "a.npy", MULTI[index])
    kspace = read_kspace(tmp_path / "a.npy")
    assert (kspace.n_slices, kspace.n_coils, kspace.shape) == (n_slices, 4, (12, 10))
    np.testing.assert_array_equal(everything(kspace), MULTI[index].reshape(n_slices, 4, 12, 10))


def test_npy_refusals(tmp_path):
    np.save(tmp_path / "a.npy", MULTI.real)
    with pytest.raises(ReadError, match=r"a\.npy: k-space has shape \(3, 4, 12, 10\) of float32: real numbers"):
        read_kspace(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ReadError, match=r"b\.npy: cannot be read"):
        read_kspace(tmp_path / "b.npy")


def test_one_slice_in_memory(tmp_path):
    path = tmp_path / "large.h5"
    write(path, kspace=np.ones((40, 8, 128, 128), np.complex64))  # 40 MiB
    tracemalloc.start()
    try:
        kspace = read_kspace(path)
        for index in range(0, 40, 8):
            kspace.read_slice(index)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 8 * 128 * 128 * 8


def test_npz(tmp_path):
    noise = MULTI[0].reshape(4, 120)
    np.savez(tmp_path / "a.npz", kspace=MULTI, noise=noise, other=np.ones(3))
    kspace = read_kspace(tmp_path / "a.npz")
    np.testing.assert_array_equal(everything(kspace), MULTI)
    np.testing.assert_array_equal(kspace.noise, noise)
    np.savez(tmp_path / "b.npz", MULTI)
    np.testing.assert_array_equal(everything(read_kspace(tmp_path / "b.npz")), MULTI)
    np.savez(tmp_path / "c.npz", one=MULTI, two=MULTI)
    with pytest.raises(ReadError, match=r"c\.npz: holds 2 arrays \(one, two\): call that of k-space 'kspace'"):
        read_kspace(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", kspace=np.array([{}]))
    with pytest.raises(ReadError, match=r"d\.npz: is a pickle, which is never loaded"):
        read_kspace(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", kspace=MULTI, noise=np.full((4, 120), np.nan + 0j))
    with pytest.raises(ReadError, match=r"e\.npz: noise of shape \(4, 120\) holds NaN"):
        read_kspace(tmp_path / "e.npz")


def test_positions_of_bart(tmp_path):
    """Slices lie along dimension 13; what is repeated shares their positions."""
    array = MULTI.ravel()[:576].reshape(6, 8, 1, 2, *[1] * 6, 3, 1, 1, 2)
    write_cfl(tmp_path / "a", array)
    kspace = read_kspace(tmp_path / "a.cfl")
    assert kspace.positions == (0, 0, 0, 1, 1, 1)
    np.testing.assert_array_equal(
        kspace.read_slice(4), np.moveaxis(array[:, :, 0, :, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1], -1, 0)
    )

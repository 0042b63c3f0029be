"""K-space as reconstruction sees it: layouts, masks, crops and 3-D data; what is wrong is said in one line."""

import pickle

import numpy as np
import pytest

from mriqf.io import KSpace, ReadError
from mriqf.io.kspace import along_z, as_mask, layout, recon_matrix, refuse_gaps

RNG = np.random.default_rng(0)
C64, F32 = np.dtype("complex64"), np.dtype("float32")
HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>640</x><y>368</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>320</x><y>300</y><z>1</z></matrixSize></reconSpace></encoding></ismrmrdHeader>"""
SAMPLES = (RNG.normal(size=(2, 3, 6, 8)) + 1j * RNG.normal(size=(2, 3, 6, 8))).astype(np.complex64)


def stored(array, **fields):
    return KSpace("a.h5", len(array), array.shape[1], array.shape[2:], array.__getitem__, **fields)


@pytest.mark.parametrize(
    ("shape", "lone", "expected"),
    [
        ((5, 4, 16, 12), "slices", (5, 4, 16, 12)),
        ((35, 640, 368), "slices", (35, 1, 640, 368)),
        ((15, 640, 368), "coils", (1, 15, 640, 368)),
        ((16, 12), "coils", (1, 1, 16, 12)),
        ((1, 64, 64, 64), "coils", (1, 64, 64, 64)),
    ],
)
def test_layout(shape, lone, expected):
    assert layout("a", shape, C64, lone) == expected


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((5, 4, 16, 12, 2), F32, r"real and imaginary parts: view it as complex, k\[\.\.\., 0\] \+ 1j"),
        ((5, 4, 16, 12), F32, r"\(5, 4, 16, 12\) of float32: real numbers are no k-space: save the complex"),
        ((5, 320, 320, 8), C64, r"last axis of 8 looks like coils: transpose it to \(s, c, h, w\)"),
        ((320, 256, 16), C64, "last axis of 16 looks like coils"),
        ((2, 5, 4, 16, 12), C64, r"5 axes: save it as \(s, c, h, w\)"),
        ((7,), C64, "1 axes"),
        ((0, 4, 16, 12), C64, "holds no samples: export it again"),
    ],
)
def test_layout_refuses(shape, dtype, message):
    with pytest.raises(ReadError, match=rf"^a\.h5: k-space has shape .*{message}") as caught:
        layout("a.h5", shape, dtype, "slices")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [bool, np.float32, np.int64, np.uint8])
@pytest.mark.parametrize("shape", [(8,), (1, 1, 8, 1), (6, 8), (1, 6, 8)])
def test_masks_of_every_type_become_bool(dtype, shape):
    values = RNG.integers(0, 2, shape).astype(dtype)
    mask = as_mask("a", values, (6, 8))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, values.squeeze().astype(bool))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(9), r"shape \(9,\) fits neither \(8,\) nor \(6, 8\): store one that does"),
        (np.ones(6), "runs along the read-out: transpose"),
        (np.full(8, 0.5), "other values than 0 and 1"),
        (np.array(["1"] * 8), "other values than 0 and 1"),
        (np.zeros(8), "samples nothing"),
    ],
)
def test_masks_refused(values, message):
    with pytest.raises(ReadError, match=rf"a\.h5: mask of .*{message}"):
        as_mask("a.h5", values, (6, 8))


def test_slices_are_checked_when_read():
    kspace = stored(SAMPLES.astype(np.complex128))
    assert kspace.read_slice(1).dtype == np.complex64
    np.testing.assert_array_equal(kspace.read_slice(1), SAMPLES[1])
    with pytest.raises(IndexError, match=r"slice 2 of a\.h5, which has slices 0 to 1"):
        kspace.read_slice(2)
    for value, message in ((np.nan, "NaN or infinite"), (1e300, "NaN or infinite")):
        broken = SAMPLES.astype(np.complex128)
        broken[1, 0, 0, 0] = value
        assert stored(broken).read_slice(0) is not None
        with pytest.raises(ReadError, match=rf"a\.h5: slice 1 \(3, 6, 8\) holds {message}"):
            stored(broken).read_slice(1)
    with pytest.raises(ReadError, match=r"slice 0 \(3, 6, 8\) is all zeros: nothing was measured"):
        stored(0 * SAMPLES).read_slice(0)
    with pytest.raises(ReadError, match=r"slice 0 has shape \(3, 6, 7\), not \(3, 6, 8\)"):
        KSpace("a", 1, 3, (6, 8), lambda i: SAMPLES[i, :, :, :7]).read_slice(0)


def test_what_is_read_is_the_callers_own():
    array = SAMPLES.copy()
    stored(array).read_slice(0)[:] = 0
    np.testing.assert_array_equal(array, SAMPLES)


def test_crop_keeps_the_centre():
    image = np.arange(48).reshape(1, 6, 8)
    np.testing.assert_array_equal(stored(SAMPLES).crop(image), image)
    np.testing.assert_array_equal(stored(SAMPLES, image_shape=(2, 6)).crop(image), image[:, 2:4, 1:7])
    assert stored(SAMPLES, image_shape=(3, 5)).crop(image).shape == (1, 3, 5)


def test_recon_matrix():
    assert recon_matrix(HEADER, (640, 368)) == (320, 300)
    assert recon_matrix(HEADER.encode(), (640, 256)) == (320, 256)
    for other in ("", "<a/>", HEADER.replace("<x>320</x>", ""), "<unclosed"):
        assert recon_matrix(other, (640, 368)) is None


@pytest.mark.parametrize("n", [4, 5])
def test_slices_along_z_are_the_inverse_transform(n):
    volume = RNG.normal(size=(n, 2, 6, 8)) + 1j * RNG.normal(size=(n, 2, 6, 8))
    volume = volume.astype(np.complex64)
    centred = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(volume, axes=0), axis=0, norm="ortho"), axes=0)
    for z in range(n):
        np.testing.assert_allclose(along_z(volume.__getitem__, n, z), centred[z], atol=1e-5)


def test_gaps_along_z_are_refused():
    sampled = np.zeros((6, 5), bool)
    sampled[1:4, 1:4] = sampled[2] = True  # cut corners, as elliptical scanning leaves them, and lines not taken at all
    refuse_gaps("a", sampled)
    sampled[2, 2] = False
    with pytest.raises(ReadError, match=r"a: 3-D k-space with gaps along z \(10 of 30 lines\)"):
        refuse_gaps("a", sampled)


def test_pickles_for_workers(tmp_path):
    from mriqf.io import read_kspace

    np.save(tmp_path / "a.npy", SAMPLES)
    kspace = pickle.loads(pickle.dumps(read_kspace(tmp_path / "a.npy")))
    np.testing.assert_array_equal(kspace.read_slice(1), SAMPLES[1])

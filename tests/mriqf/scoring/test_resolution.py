"""The support of k-space: found where an image was interpolated, the whole of it where not."""

import numpy as np
import pytest
import torch

import mriqf
from mriqf.io import from_array
from mriqf.predictors.unit import error_of_score
from mriqf.scoring.resolution import crop_to_support, on_grid, resolve, support, unresolved_error, volume_support
from mriqf.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def image(disc):
    return torch.from_numpy(disc(1, 144, 128, seed=3))[None]


def enlarged(image, size):
    """The image on a finer grid, by an empty rim of k-space."""
    h, w = image.shape[2:]
    spectrum = torch.zeros(1, 1, *size, dtype=torch.complex128)
    top, left = (n // 2 - m // 2 for n, m in zip(size, (h, w), strict=True))
    spectrum[..., top : top + h, left : left + w] = torch.fft.fftshift(torch.fft.fft2(image.double()), dim=(-2, -1))
    fine = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real
    return (fine.abs() * (size[0] * size[1] / (h * w))).float()


def test_an_image_that_fills_its_kspace_is_left_alone(image):
    cropped, size = crop_to_support(image)
    assert size == (144, 128)
    assert torch.equal(cropped, image)


@pytest.mark.parametrize("size", [(216, 192), (288, 128), (144, 256)])
def test_the_support_of_an_interpolated_image_is_that_of_the_original(image, size):
    fine = enlarged(image, size)
    found = support(fine)
    for n, m, whole in zip(found, (144, 128), size, strict=True):
        assert n == whole if m == whole else abs(n - m) <= 4  # of a magnitude image, whose edge is not quite sharp


def test_cropping_gives_the_original_back(image):
    cropped, (h, w) = crop_to_support(enlarged(image, (216, 192)))
    expected = enlarged_or_cropped(image, (h, w))
    assert (cropped - expected).square().mean().sqrt() < 0.06 * image.square().mean().sqrt()
    assert cropped.mean() == pytest.approx(image.mean().item(), rel=0.01)


def enlarged_or_cropped(image, size):
    h, w = image.shape[2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(image.double()), dim=(-2, -1))
    padded = torch.nn.functional.pad(spectrum, (8, 8, 8, 8))
    top, left = ((n + 16) // 2 - m // 2 for n, m in zip((h, w), size, strict=True))
    part = padded[..., top : top + size[0], left : left + size[1]]
    again = torch.fft.ifft2(torch.fft.ifftshift(part, dim=(-2, -1))).real
    return (again * (size[0] * size[1] / (h * w))).clamp_min(0).float()


@pytest.mark.parametrize("columns", [29, 31, 33, 35])
def test_no_image_becomes_too_small_to_be_scored(image, columns):
    few = torch.nn.functional.interpolate(image, (144, columns), mode="bicubic", antialias=True)
    fine = enlarged(few, (144, 128))
    assert support(fine)[1] >= 32
    assert Scorer("qf-mri", calibration=None).image(fine[0, 0].numpy()).map.shape == (144, 128)


def test_scale_does_not_matter(image):
    fine = enlarged(image, (216, 192))
    assert support(fine) == support(1e-6 * fine) == support(1e6 * fine)


def test_images_without_anything_keep_their_size():
    assert support(torch.zeros(1, 1, 96, 80)) == (96, 80)
    assert support(torch.ones(1, 1, 40, 40)) == (40, 40)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 96, 96))).abs().float()
    assert support(noise) == (96, 96)


def drawn(kind, n=192):
    """Shapes without noise: nothing that was interpolated."""
    y, x = np.mgrid[:n, :n] - n / 2 + 0.5
    r = np.hypot(y, x)
    return {
        "blob": np.exp(-(r**2) / 1800),
        "small blob": np.exp(-(r**2) / 200),
        "disc": (r < 60) * 1.0,
        "square": (np.maximum(abs(x), abs(y)) < 50) * 1.0,
        "ramp": (x + n) / n,
        "rings": (1 + np.cos(r / 2)) * np.exp(-(r**2) / 3000),
        "cosine": (1 + np.cos(x / 3)) * (r < 70),
    }[kind]


@pytest.mark.parametrize("kind", ["blob", "small blob", "disc", "square", "ramp", "rings", "cosine"])
@pytest.mark.parametrize("levels", [0, 255])
def test_drawn_shapes_are_left_alone(kind, levels):
    shape = drawn(kind)
    shape = np.round(levels * shape / shape.max()) if levels else shape
    assert support(torch.from_numpy(shape.astype(np.float32))[None, None]) == (192, 192)


@pytest.fixture
def volumes(disc):
    """Three slices with noise in their background, and the same interpolated."""
    plain = disc(3, 144, 128, background=0.03)
    fine = np.stack([enlarged(torch.from_numpy(image)[None, None], (216, 256))[0, 0].numpy() for image in plain])
    return from_array(plain), from_array(fine)


def test_all_slices_of_a_volume_have_one_support(volumes):
    plain, fine = volumes
    assert volume_support(plain) == (144, 128)
    rows, columns = volume_support(fine)
    assert abs(rows - 144) <= 4
    assert abs(columns - 128) <= 4
    assert volume_support(from_array(np.zeros((2, 80, 96), np.float32))) == (80, 96)


def test_interpolation_hardly_moves_the_score(volumes, error_file):
    plain, fine = volumes
    scorer = Scorer(error_file())
    before, after = scorer(plain), scorer(fine)
    assert before.resolved == (144, 128)
    assert after.resolved == volume_support(fine)
    assert after.value == pytest.approx(before.value, abs=2)
    assert Scorer("qf-gray")(fine).resolved is None


def test_what_was_scored_lies_on_the_grid_of_the_image(volumes, error_file):
    plain, fine = volumes
    scorer = Scorer(error_file())
    for one, other in zip(scorer(plain).slices, scorer(fine).slices, strict=True):
        assert other.map.shape == other.foreground.shape == other.image.shape[1:] == (216, 256)
        assert np.abs(on_grid(one.map, (216, 256)) - other.map)[other.foreground].mean() < 5
        assert (on_grid(one.foreground, (216, 256), nearest=True) == other.foreground).mean() > 0.98
        assert other.foreground_fraction == other.foreground.mean()


def test_a_mask_is_given_on_the_grid_of_the_image(volumes, error_file):
    _, fine = volumes
    mask = np.zeros((3, 216, 256), bool)
    mask[:, 80:140, 90:170] = True
    result = mriqf.score(fine, error_file(), mask=mask)
    np.testing.assert_array_equal(np.stack([s.foreground for s in result.slices]), mask)


def test_as_it_is_what_lacks_is_an_error(volumes, error_file):
    plain, fine = volumes
    own, as_is = (Scorer(error_file(), resolution=mode) for mode in ("own", "as-is"))
    assert as_is(plain).value == own(plain).value
    size = own(fine).resolved
    for index, (a, b) in enumerate(zip(own(fine).slices, as_is(fine).slices, strict=True)):
        more = unresolved_error(resolve(torch.tensor(fine.read_slice(index))[None], size), (216, 256))
        assert b.error == pytest.approx(np.hypot(a.error, more), rel=1e-3)
        assert 0.001 < more < 0.2
        assert (b.map <= a.map + 1e-3).all()


@pytest.mark.usefixtures("unchecked")
def test_other_ways_to_count_are_refused(error_file):
    for make in (Scorer, mriqf.Quality):
        with pytest.raises(ValueError, match=r"resolution is 'full': choose own or as-is"):
            make(error_file(), resolution="full")


def test_the_rim_of_a_power_law_is_what_was_cut_off():
    """Error of an image whose amplitude falls with frequency to the power of -1.5; what is cut off is known."""
    rng = np.random.default_rng(0)
    n, m = 256, 160
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n)))
    spectrum = np.fft.fft2(rng.standard_normal((n, n))) / np.maximum(frequency, 1) ** 1.5
    spectrum[0, 0] = 40 * abs(spectrum).max()
    whole = torch.from_numpy(np.fft.ifft2(spectrum).real)[None, None]
    kept = torch.fft.fftshift(torch.fft.fft2(whole), dim=(-2, -1))[..., 48 : 48 + m, 48 : 48 + m]
    padded = torch.nn.functional.pad(kept, (48, 48, 48, 48))
    cut = torch.fft.ifft2(torch.fft.ifftshift(padded, dim=(-2, -1))).real
    true = ((cut - whole).square().mean() / whole.square().mean()).sqrt().item()
    small = torch.fft.ifft2(torch.fft.ifftshift(kept, dim=(-2, -1))).real * (m / n) ** 2
    assert unresolved_error(small.float(), (n, n)) == pytest.approx(true, rel=0.1)
    assert unresolved_error(whole.float(), (n, n)) < 0.3 * true


@pytest.mark.parametrize("resolution", ["own", "as-is"])
def test_tensors_are_scored_at_their_own_resolution_with_a_gradient(volumes, error_file, resolution):
    _, fine = volumes
    image = torch.tensor(fine.read_slice(0))[None].requires_grad_()
    model = mriqf.load(error_file())
    found = mriqf.quality(image, model, resolution=resolution)
    expected = Scorer(model, resolution=resolution, exact=True).image(fine.read_slice(0)[0])
    assert found.item() == pytest.approx(expected.value, abs=1e-3)
    assert 0 < error_of_score(found.item()) < 0.32
    found.sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0

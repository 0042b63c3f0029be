"""Measures of pictures: the properties of a measure, and slow implementations written from the definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from mriqf import jpeg
from mriqf.metrics.jpeg import hue_shift, psnr, psnr_b, ssim_gaussian, ssim_uniform

MEASURES = (psnr, ssim_gaussian, ssim_uniform, psnr_b)


@pytest.fixture(scope="module")
def pair(texture):
    """Maker of an image and its JPEG, (b, ch, h, w) in [0, 1]."""

    def make(channels=3, height=40, width=56, quality=20):
        pixels = [texture(height, width, seed=seed, channels=channels) for seed in range(2)]
        truth = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        return jpeg.compress(truth, quality), truth

    return make


def slow_ssim(a, b, kernel, unbiased=False):
    """SSIM of one channel, windows within the image."""
    rim = len(kernel) // 2, (len(kernel) - 1) // 2

    def window(x):
        for axis in (0, 1):
            x = correlate1d(x, kernel, axis=axis, mode="constant")
        return x[rim[0] : x.shape[0] - rim[1], rim[0] : x.shape[1] - rim[1]]

    weight = len(kernel) ** 2 / (len(kernel) ** 2 - 1) if unbiased else 1
    mu, nu = window(a), window(b)
    va, vb, cov = (weight * (window(x * y) - m * n) for x, y, m, n in ((a, a, mu, mu), (b, b, nu, nu), (a, b, mu, nu)))
    c1, c2 = 1e-4, 9e-4
    return float(np.mean((2 * mu * nu + c1) * (2 * cov + c2) / ((mu**2 + nu**2 + c1) * (va + vb + c2))))


def slow_blocking(x):
    """Blocking effect factor of one channel, pair of neighbours by pair; borders counted as for whole blocks."""
    h, w = x.shape
    sums = {True: 0.0, False: 0.0}
    for i in range(h):
        for j in range(w):
            for di, dj, at in ((0, 1, j), (1, 0, i)):
                if i + di < h and j + dj < w:
                    sums[at % 8 == 7] += (x[i, j] - x[i + di, j + dj]) ** 2
    borders = h * (w // 8 - 1) + w * (h // 8 - 1)
    excess = sums[True] / borders - sums[False] / (h * (w - 1) + w * (h - 1) - borders)
    return max(excess, 0) * math.log2(8) / math.log2(min(h, w))


def test_psnr_is_its_definition(pair):
    image, truth = pair()
    expected = [-10 * math.log10(np.mean((image[n] - truth[n]).double().numpy() ** 2)) for n in range(2)]
    np.testing.assert_allclose(psnr(image, truth), expected)
    off = torch.full((1, 3, 20, 20), 0.5)
    assert psnr(off + 0.1, off).item() == pytest.approx(20, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_its_definition(pair, channels):
    image, truth = pair(channels)
    gauss = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    kinds = (
        (ssim_gaussian(image, truth), gauss / gauss.sum(), False),
        (ssim_uniform(image, truth), np.full(8, 1 / 8), False),
        (ssim_uniform(image, truth, side=7, unbiased=True), np.full(7, 1 / 7), True),
    )
    a, b = image.double().numpy(), truth.double().numpy()
    for result, kernel, unbiased in kinds:
        each = [[slow_ssim(a[n, c], b[n, c], kernel, unbiased) for c in range(channels)] for n in range(2)]
        np.testing.assert_allclose(result, np.mean(each, 1), rtol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (37, 50)])
def test_psnr_b_is_its_definition(pair, height, width):
    image, truth = pair(3, height, width)
    for n in range(2):
        a, b = image[n].double().numpy(), truth[n].double().numpy()
        errors, blocks = ((a - b) ** 2).mean((1, 2)), np.array([slow_blocking(x) for x in a])
        luma = slow_blocking(np.tensordot([0.299, 0.587, 0.114], a, 1) * 219 / 255)
        assert blocks.min() > 0 and luma > 0
        expected = {
            "luma": -10 * np.log10(errors.mean() + luma),
            "channels": np.mean(-10 * np.log10(errors + blocks)),
            "summed": -10 * np.log10(errors.mean() + blocks.sum()),
        }
        for blocking, value in expected.items():
            assert psnr_b(image, truth, blocking)[n].item() == pytest.approx(value, rel=1e-6)
        grey = psnr_b(image[:, :1], truth[:, :1])[n].item()
        assert grey == pytest.approx(-10 * np.log10(errors[0] + blocks[0]), rel=1e-9)


def test_psnr_b_is_psnr_where_borders_are_no_rougher(pair):
    image, truth = pair(1)
    assert (psnr_b(image, truth) < psnr(image, truth)).all()
    smooth = torch.linspace(0, 1, 56).expand(2, 1, 40, 56)
    torch.testing.assert_close(psnr_b(smooth, truth), psnr(smooth, truth), rtol=1e-4, atol=0)


@pytest.mark.parametrize("measure", MEASURES)
def test_properties_of_a_measure(pair, measure):
    good, truth = pair(quality=80)
    bad, _ = pair(quality=10)
    assert (measure(good, truth) > measure(bad, truth)).all()
    assert measure(good, truth).dtype == torch.float64
    torch.testing.assert_close(measure(good[1:], truth[1:]), measure(good, truth)[1:])
    if measure is not psnr_b:
        torch.testing.assert_close(measure(good, truth), measure(truth, good))
    best = 1 if measure in (ssim_gaussian, ssim_uniform) else math.inf
    assert measure(torch.full_like(truth, 0.5), torch.full_like(truth, 0.5)).tolist() == pytest.approx([best] * 2)


def test_too_small(pair):
    image, truth = pair(1, 16, 16)
    for measure, need in ((ssim_gaussian, 11), (ssim_uniform, 8), (psnr_b, 16)):
        cut = (..., slice(need - 1), slice(16))
        with pytest.raises(
            ValueError, match=f"images are \\({need - 1}, 16\\): this measure needs at least {need}×{need}"
        ):
            measure(image[cut], truth[cut])


@pytest.mark.usefixtures("unchecked")
def test_no_such_blocking(pair):
    with pytest.raises(ValueError, match="blocking is 'red': it is one of luma, channels, summed"):
        psnr_b(*pair(), blocking="red")


def colour(degrees, chroma=40.0, grey=120.0):
    """An image of one colour at an angle around the grey axis."""
    red, other = chroma * np.cos(np.radians(degrees)), chroma * np.sin(np.radians(degrees)) / 3**0.5
    pixel = np.array([grey + 2 * red / 3, grey - red / 3 + other, grey - red / 3 - other])
    return torch.from_numpy(np.broadcast_to(pixel[:, None, None] / 255, (3, 8, 8)).astype(np.float32))[None]


@pytest.mark.parametrize(("hue", "other", "shift"), [(20, 65, 45), (350, 20, 30), (10, 200, 170), (90, 90, 0)])
def test_hue_shift_is_an_angle(hue, other, shift):
    assert hue_shift(colour(other), colour(hue)).item() == pytest.approx(shift, abs=1)
    assert hue_shift(colour(other, chroma=10.0), colour(hue)).item() == pytest.approx(shift, abs=4)  # paler, not turned


def test_lost_colour_counts_as_a_right_angle_and_grey_truth_not_at_all():
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert hue_shift(grey, colour(70)).item() == 90
    assert hue_shift(colour(70), grey).isnan().all()
    half = torch.cat([colour(0)[..., :4], grey[..., :4]], -1)  # only its left half has a hue
    assert hue_shift(colour(60), half).item() == pytest.approx(60, abs=1)
    mixed = torch.cat([colour(0), colour(90)])
    assert hue_shift(mixed, colour(0)).tolist() == pytest.approx([0, 90], abs=1)

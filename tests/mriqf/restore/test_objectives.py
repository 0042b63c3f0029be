"""Objectives that an image is fitted to without its target: divergences of colours, Stein's estimate, JPEG's noise."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from mriqf.jpeg import block_dct, block_idct, compress, tables
from mriqf.jpeg.colour import ycbcr
from mriqf.restore.objectives import colour_kl, divergence, draw_quantisation_noise, quantisation_variance, sure

ROUNDING = 1 / (12 * 255**2)
readings = pytest.mark.parametrize("reading", ["moments", "histogram"])


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shuffled(images, seed=0):
    order = torch.randperm(images[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    return images.flatten(2)[..., order].view(images.shape)


def blurred(images):
    """A circular filter with a weight of 0.4 at its own pixel."""
    return 0.4 * images + 0.15 * sum(images.roll(k, axis) for k in (-1, 1) for axis in (2, 3))


def test_kl_of_moments_is_that_of_gaussians():
    given, result = uniform(2, 3, 8, 9), 0.2 + 0.3 * uniform(2, 3, 8, 9, seed=1)
    p, q = (Normal(x.mean((2, 3)), (x.var((2, 3), correction=0) + ROUNDING).sqrt()) for x in (given, result))
    assert torch.allclose(colour_kl(given, result), kl_divergence(p, q).sum(1), rtol=1e-9)
    assert (colour_kl(given, result) > 0.1).all()


def test_kl_of_moments_is_zero_where_they_are_equal():
    given = uniform(1, 3, 16, 16)
    result = normal(1, 3, 16, 16)
    result = (result - result.mean((2, 3), keepdim=True)) / result.std((2, 3), keepdim=True, correction=0)
    result = result * given.std((2, 3), keepdim=True, correction=0) + given.mean((2, 3), keepdim=True)
    assert colour_kl(given, result).item() == pytest.approx(0, abs=1e-12)
    assert colour_kl(given, result + 0.01).item() > 1e-4


def test_kl_of_histogram_is_that_of_counts_where_levels_are_centres_of_bins():
    given = uniform(1, 1, 16, 16)
    levels = torch.randint(0, 64, (1, 1, 16, 16), generator=torch.Generator().manual_seed(1))
    mean, variance = given.mean().item(), given.var(correction=0).item() + ROUNDING
    edges = norm.cdf(np.arange(1, 64) / 64, mean, np.sqrt(variance))
    p = np.diff(np.concatenate(([0], edges, [1])))
    q = 0.999 * np.bincount(levels.flatten().numpy(), minlength=64) / 256 + 0.001 / 64
    expected = np.sum(p * np.log(p / q))
    divergences = colour_kl(given, (levels.double() + 0.5) / 64, "histogram")
    assert divergences.item() == pytest.approx(expected, rel=1e-9)


def test_histogram_sees_shapes_that_moments_do_not():
    given = (0.5 + 0.1 * normal(1, 1, 64, 64)).clamp(0, 1)
    two = torch.where(normal(1, 1, 64, 64, seed=1) > 0, 0.6, 0.4)
    assert colour_kl(given, two.double()).item() < 0.01
    assert colour_kl(given, two.double(), "histogram").item() > 1
    assert colour_kl(given, shuffled(given), "histogram").item() < 0.1


@readings
def test_kl_does_not_see_where_pixels_are_nor_other_images(reading):
    given, result = uniform(2, 3, 8, 8), uniform(2, 3, 8, 8, seed=1) ** 2
    expected = colour_kl(given, result, reading)
    assert torch.allclose(colour_kl(shuffled(given), shuffled(result, 1), reading), expected, rtol=1e-9)
    assert torch.allclose(colour_kl(given[:1], result[:1], reading), expected[:1], rtol=1e-9)


@readings
def test_gradient_of_kl(reading):
    given, result = uniform(1, 3, 4, 5), uniform(1, 3, 4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: colour_kl(given, x, reading, 8), (result,))


@readings
def test_flat_channels_have_a_finite_kl_and_gradient(reading):
    given, result = torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.51, requires_grad=True)
    value = colour_kl(given, result, reading)
    value.sum().backward()
    assert value.isfinite().all() and result.grad is not None and result.grad.isfinite().all()


@pytest.mark.usefixtures("unchecked")
def test_a_reading_that_does_not_exist():
    with pytest.raises(ValueError, match="reading is 'both': it is moments or histogram"):
        colour_kl(uniform(1, 1, 4, 4), uniform(1, 1, 4, 4), "both")  # pyright: ignore[reportArgumentType]


def test_divergence_of_the_identity_is_the_number_of_pixels():
    given, signs = uniform(2, 3, 8, 8), normal(2, 3, 8, 8).sign()
    assert divergence(lambda x: x, given, signs, 2**-10).item() == pytest.approx(given.numel(), rel=1e-9)
    assert divergence(lambda x: 5 - x / 2, given, signs, 2**-10).item() == pytest.approx(-given.numel() / 2, rel=1e-9)


def test_divergence_of_a_filter_is_unbiased():
    given = uniform(1, 1, 16, 16)
    draws = torch.stack([divergence(blurred, given, normal(1, 1, 16, 16, seed=k), 0.01) for k in range(400)])
    error = (draws.mean() - 0.4 * given.numel()) / (draws.std() / 20)
    assert error.abs() < 4
    assert draws.std() / 20 < 2  # the test can tell: of 102


def soft(images):
    return images.sign() * (images.abs() - 0.3).clamp_min(0)


@pytest.mark.parametrize("colour", ["white", "jpeg"])
@pytest.mark.parametrize("function", [blurred, soft, lambda x: x])
def test_sure_is_the_mean_squared_error_on_average(colour, function):
    truth = uniform(1, 1, 16, 16) - 0.5
    variance = 255**2 * quantisation_variance(truth + 0.5, tables(10, 1)[None]) / 1e5

    def draw(seed):
        if colour == "white":
            return 0.2 * normal(1, 1, 16, 16, seed=seed)
        return draw_quantisation_noise(variance, truth, np.random.default_rng(seed))

    estimates, errors = [], []
    for k in range(400):
        given = truth + draw(k)
        estimates.append(sure(function, given, draw(1000 + k), 1e-4))
        errors.append(functional.mse_loss(function(given), truth))
    estimates, errors = torch.stack(estimates), torch.stack(errors)
    spread = (estimates - errors).std() / 20
    assert (estimates - errors).mean().abs() < 4 * spread
    assert 20 * spread < errors.mean()  # the test can tell
    known = function(truth)
    assert torch.equal(sure(function, truth, draw(0), 1e-4, known), sure(function, truth, draw(0), 1e-4))


def test_expected_error_of_laplacian_coefficients():
    axis = torch.arange(8).double()
    scale = 60 / torch.hypot(axis[:, None], axis).clamp_min(1)
    uniforms = uniform(40, 40, 8, 8) - 0.5
    coefficients = -scale * uniforms.sign() * (1 - 2 * uniforms.abs()).log()
    steps = torch.full((8, 8), 40.0, dtype=torch.float64)
    steps[:, 4:] = 4
    decoded = (coefficients / steps).round() * steps
    given = (block_idct(decoded)[None, None] + 128) / 255
    variances = quantisation_variance(given, steps[None, None])[0]
    error = (decoded - coefficients).square().mean((0, 1))
    assert (variances / error - 1).abs().max() < 0.25
    assert (variances.mean() / error.mean()).item() == pytest.approx(1, abs=0.05)
    assert torch.allclose(variances[:, 4:], torch.tensor(4**2 / 12, dtype=torch.float64), rtol=0.2)


def photograph(side=128):
    """Magnitudes fall with the frequency, as in nature."""
    axis = torch.fft.fftfreq(side, dtype=torch.float64)
    spectrum = torch.fft.fft2(normal(1, 1, side, side)) / torch.hypot(axis[:, None], axis).clamp_min(1 / side)
    image = torch.fft.ifft2(spectrum).real
    return (0.5 + 0.15 * (image - image.mean()) / image.std()).clamp(0, 1).mul(255).round() / 255


@pytest.mark.parametrize("quality", [5, 10, 30, 60, 90])
def test_expected_error_of_a_jpeg(quality):
    truth = photograph()
    given = compress(truth, quality)
    variances = quantisation_variance(given, tables(quality, 1)[None])[0]
    error = block_dct(255 * (given - truth)[0, 0]).square().mean((0, 1))
    assert 0.5 < variances.mean() / error.mean() < 2
    never = ~(block_dct(255 * given[0, 0] - 128).abs() > tables(quality, 1)[0] / 2).flatten(0, 1).any(0)
    if quality < 40:
        assert never.sum() > 10
        assert 0.3 < variances[never].mean() / error[never].mean() < 3
        assert variances[never].mean() < 0.1 * (tables(quality, 1)[0].square() / 12)[never].mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_has_the_variance_it_is_drawn_for(texture, channels):
    given = compress(torch.from_numpy(texture(channels=3)).permute(2, 0, 1)[None, :channels] / 255, 20)
    variance = quantisation_variance(given, tables(20, channels)[None])
    assert variance.shape == (channels, 8, 8)
    draws = torch.cat([draw_quantisation_noise(variance, given, np.random.default_rng(k)) for k in range(20)])
    assert draws.shape == (20, *given.shape[1:])
    luma = draws if channels == 1 else ycbcr(draws)[:, :1]
    power = block_dct(255 * luma[:, 0].double()).square().mean((0, 1, 2))
    assert torch.allclose(power, variance[0], rtol=0.15)
    assert draws.mean().abs() < 0.1 * draws.std()


def test_noise_of_any_size():
    for size in ((1, 1), (17, 40)):
        given = uniform(1, 3, *size).float()
        variance = quantisation_variance(given, tables(20, 3)[None])
        assert variance.isfinite().all() and (variance > 0).all()
        assert draw_quantisation_noise(variance, given, np.random.default_rng(0)).shape == given.shape

"""JPEG: Pillow is the reference."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from properties import relative_error
from scipy.fft import dctn

from mriqf import jpeg


def through_pillow(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def as_batch(*pixels):
    """Images in [0, 1] as (b, ch, h, w), of 8-bit (h, w) or (h, w, 3)."""
    stacked = np.stack([p[None] if p.ndim == 2 else np.moveaxis(p, -1, 0) for p in pixels])
    return torch.from_numpy(stacked).float() / 255


@pytest.mark.parametrize("quality", range(1, 101))
def test_tables_are_libjpegs(quality):
    written = through_pillow(np.zeros((16, 16, 3), np.uint8), quality).quantization
    for index, component in enumerate(("luma", "chroma")):
        assert jpeg.quantization_table(quality, component).flatten().tolist() == list(written[index])


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_no_such_quality(quality):
    for call in (lambda: jpeg.quantization_table(quality), lambda: jpeg.compress(torch.zeros(1, 1, 8, 8), quality)):
        with pytest.raises(ValueError, match=f"quality is {quality}: JPEG's quality factor runs from 1 to 100"):
            call()


@pytest.mark.parametrize("channels", [None, 3])
def test_compress_is_pillows_round_trip(texture, channels):
    pixels = [texture(41, 67, seed=seed, channels=channels) for seed in range(3)]  # no whole blocks
    images, qualities = as_batch(*pixels), [5, 50, 97]
    before = images.clone()
    expected = as_batch(*(np.asarray(through_pillow(p, q)) for p, q in zip(pixels, qualities, strict=True)))
    assert torch.equal(jpeg.compress(images, qualities), expected)
    assert torch.equal(images, before)
    assert torch.equal(jpeg.compress(images, 50)[1], expected[1])


def test_compress_keeps_type_and_clips():
    compressed = jpeg.compress(torch.full((2, 1, 8, 8), 7.0, dtype=torch.float64), 90)
    assert compressed.dtype == torch.float64
    assert torch.equal(compressed, torch.ones_like(compressed))


def test_compress_refuses():
    with pytest.raises(ValueError, match="quality has 2 values for 3 images"):
        jpeg.compress(torch.zeros(3, 1, 8, 8), [50, 60])
    with pytest.raises(ValueError, match="images have 2 channels"):
        jpeg.compress(torch.zeros(3, 2, 8, 8), 50)


def test_block_dct_is_orthonormal_and_inverted():
    levels = torch.randn(2, 3, 24, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    coefficients = jpeg.block_dct(levels)
    assert coefficients.shape == (2, 3, 3, 5, 8, 8)
    torch.testing.assert_close(coefficients.norm(), levels.norm())
    torch.testing.assert_close(jpeg.block_idct(coefficients), levels)
    block = levels[1, 2, 8:16, 32:40]
    np.testing.assert_allclose(coefficients[1, 2, 1, 4], dctn(block.numpy(), norm="ortho"), atol=1e-12)


def test_block_dct_leaves_out_what_fills_no_block():
    levels = torch.randn(31, 23, generator=torch.Generator().manual_seed(0))
    assert torch.equal(jpeg.block_dct(levels), jpeg.block_dct(levels[:24, :16]))


def test_coefficients_of_a_compressed_image_are_multiples_of_the_table(texture):
    compressed = jpeg.compress(as_batch(texture(grain=4)), 40)[0, 0].double()
    steps = jpeg.block_dct(compressed * 255 - 128) / jpeg.quantization_table(40)
    lattice = jpeg.block_idct(steps.round() * jpeg.quantization_table(40)) + 128
    assert relative_error(lattice, compressed * 255) < 0.005  # rounding to integers


def test_tables_of_grey_and_colour():
    assert torch.equal(jpeg.tables(30, 1), jpeg.quantization_table(30)[None].float())
    assert torch.equal(jpeg.tables(30, 3)[1], jpeg.quantization_table(30, "chroma").float())


@pytest.mark.parametrize("quality", [5, 10, 20, 50, 75, 90, 95])
@pytest.mark.parametrize("shape", [(64, 96), (43, 69), (8, 8)])
def test_differentiable_is_libjpeg_grey(texture, quality, shape):
    images = as_batch(texture(*shape), texture(*shape, seed=1, grain=4))
    off = ((jpeg.compress_differentiable(images, quality) - jpeg.compress(images, quality)) * 255).abs()
    assert (off < 1.5).double().mean() >= 0.97
    assert off.mean() < 0.1


@pytest.mark.parametrize("quality", [5, 20, 50, 90, 95])
@pytest.mark.parametrize("shape", [(64, 96), (43, 69), (48, 33), (17, 40), (9, 3)])
def test_differentiable_is_libjpeg_in_colour(texture, quality, shape):
    """Odd sizes too: chroma is filled up and filtered at the edges as libjpeg does it."""
    images = as_batch(*(texture(*shape, channels=3, seed=seed) for seed in range(2)))
    off = ((jpeg.compress_differentiable(images, quality) - jpeg.compress(images, quality)) * 255).abs()
    assert (off < 1.5).double().mean() >= 0.97
    edges = torch.cat((off[..., -2:, :].flatten(), off[..., -2:].flatten()))
    assert edges.mean() < 0.2


def test_nearest_chroma_is_another_decoder(texture):
    """Chroma of a grey image is flat under both; of colours, each 2×2 pixels share it under "nearest" alone."""
    colours = as_batch(texture(32, 48, channels=3) // 2 + 64)
    grey = colours[:, :1].expand(-1, 3, -1, -1)
    nearest = {
        name: jpeg.compress_differentiable(x, 60, upsampling="nearest") for name, x in (("c", colours), ("g", grey))
    }
    assert torch.equal(nearest["g"], jpeg.compress_differentiable(grey, 60))
    red_minus_blue = (nearest["c"][:, 0] - nearest["c"][:, 2]) * 255
    spread = red_minus_blue.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
    assert (spread.amax((2, 4)) - spread.amin((2, 4))).max() < 1.5
    fancy = jpeg.compress_differentiable(colours, 60)
    assert ((fancy[:, 0] - fancy[:, 2]) * 255).unflatten(1, (-1, 2)).diff(dim=2).abs().max() > 5


def test_qualities_of_a_batch_are_those_of_single_runs(texture):
    images = as_batch(*(texture(24, 40, seed=seed, channels=3) for seed in range(3)))
    before = images.clone()
    together = jpeg.compress_differentiable(images, [7, 50, 93])
    for n, quality in enumerate((7, 50, 93)):
        torch.testing.assert_close(together[n : n + 1], jpeg.compress_differentiable(images[n : n + 1], quality))
    assert torch.equal(images, before)
    assert jpeg.compress_differentiable(images.double(), 50).dtype == torch.float64


def test_straight_through_gradient_of_grey_is_the_identitys(texture):
    images = as_batch(texture(21, 35)).double().requires_grad_()
    weights = torch.randn(images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (weights * jpeg.compress_differentiable(images, 30)).sum().backward()
    torch.testing.assert_close(images.grad, weights)


def test_straight_through_gradient_of_colour_keeps_luma_and_smooths_chroma(texture):
    images = as_batch(texture(32, 32, channels=3)).double().requires_grad_()
    weights = torch.zeros_like(images)
    weights[..., 13, 14] = torch.tensor([0.299, 0.587, 0.114])  # luma of one pixel
    (weights * jpeg.compress_differentiable(images, 30)).sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad, weights, atol=1e-7, rtol=0)
    images.grad = None
    jpeg.compress_differentiable(images, 30)[0, 0, 13, 14].backward()
    assert images.grad is not None
    red_of_neighbours = images.grad[0, 0, 10:17, 11:18]
    assert red_of_neighbours.sum() == pytest.approx(1)
    assert (red_of_neighbours > 1e-3).sum() == 16  # 2×2 samples of chroma, 4 pixels each


@pytest.mark.parametrize("rounding", ["straight-through", "smooth"])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_points_downhill(texture, rounding, channels):
    truth = as_batch(texture(32, 32, channels=channels)).double()
    images = (truth * 0.6 + 0.1).requires_grad_()

    def loss():
        return (jpeg.compress_differentiable(images, 60, rounding=rounding) - truth).square().mean()

    before = loss()
    before.backward()
    assert images.grad is not None and torch.isfinite(images.grad).all()
    with torch.no_grad():
        images -= 0.1 * images.grad / images.grad.abs().max()
    assert loss() < before


def test_smooth_rounding_has_the_gradient_of_what_it_computes():
    generator = torch.Generator().manual_seed(3)
    images = 0.3 + 0.4 * torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=generator)
    images = ((images * 255).floor() + 0.2) / 255  # no pixel at an edge of rounding
    images.requires_grad_()

    def run(x):
        return jpeg.compress_differentiable(x, 40, rounding="smooth")

    assert torch.autograd.gradcheck(run, (images,), eps=1e-9, atol=1e-4)
    assert (run(images) - jpeg.compress(images.detach(), 40)).abs().max() * 255 < 60
    with torch.no_grad():
        straight = jpeg.compress_differentiable(images, 40)
        assert not torch.equal(run(images), straight)


@pytest.mark.usefixtures("unchecked")
def test_differentiable_refuses():
    black = torch.zeros(3, 1, 8, 8)
    for call, message in (
        (lambda: jpeg.compress_differentiable(black, [50, 60]), "quality has 2 values for 3 images"),
        (lambda: jpeg.compress_differentiable(black, 0), "quality is 0"),
        (lambda: jpeg.compress_differentiable(black.expand(3, 2, 8, 8), 50), "images have 2 channels"),
        (lambda: jpeg.compress_differentiable(black, 50, rounding="hard"), "rounding='hard'"),
        (lambda: jpeg.compress_differentiable(black, 50, upsampling="cubic"), "upsampling='cubic'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()

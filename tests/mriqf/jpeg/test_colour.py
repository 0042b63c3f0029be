"""Luma and chroma: defined values, inverse, Pillow's and a floating-point reference."""

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf.jpeg.colour import limited_luma, rgb, ycbcr


def random_rgb(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 4, 4), (2, 2, 3, 4, 4)])
def test_rgb_is_the_inverse(shape):
    colours = random_rgb(*shape)
    torch.testing.assert_close(rgb(ycbcr(colours)), colours)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), (0, 0.5, 0.5)),
        ((1, 1, 1), (1, 0.5, 0.5)),
        ((1, 0, 0), (0.299, 0.331264, 1)),  # printed in T.871: 0.5 − 0.168736 and 0.5 + 0.5
        ((0, 1, 0), (0.587, 0.168736, 0.081312)),
        ((0, 0, 1), (0.114, 1, 0.418688)),
    ],
)
def test_corners_of_the_cube(colour, expected):
    converted = ycbcr(torch.tensor(colour, dtype=torch.float64)[:, None, None])
    torch.testing.assert_close(converted.flatten(), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_levels_are_pillows(texture):
    pixels = texture(channels=3)
    levels = ycbcr(torch.from_numpy(pixels).permute(2, 0, 1).double() / 255) * 255
    levels[1:] += 0.5  # JPEG's 8-bit chroma is centred on 128
    expected = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    beyond = levels.permute(1, 2, 0).numpy() - expected  # Pillow rounds down, in whole 64ths
    assert beyond.min() > -0.05 and beyond.max() < 1.05


def test_both_are_differentiable():
    colours = random_rgb(1, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(ycbcr, (colours,))
    assert torch.autograd.gradcheck(rgb, (colours,))


def test_limited_luma_is_rounded_from_its_definition():
    pixels = torch.randint(256, (2, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)
    exact = 16 + torch.einsum("bchw, c -> bhw", pixels.double() / 255, weights)[:, None]
    result = limited_luma(pixels)
    assert result.shape == (2, 1, 40, 40) and result.dtype == torch.uint8
    assert (result - exact).abs().max() <= 0.5 + 1e-9
    for level, luma in ((0, 16), (255, 235), (128, 126)):
        assert limited_luma(torch.full((3, 1, 1), level, dtype=torch.uint8)).item() == luma

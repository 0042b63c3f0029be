"""JPEG: Pillow is the reference; what was compressed is read back, what was not is left alone."""

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


@pytest.mark.parametrize("quality", [3, 10, 25, 40, 49, 50, 51, 60, 75, 80, 88, 90, 93, 95])
def test_quality_is_read_back_exactly(texture, quality):
    for seed in range(2):
        image = jpeg.compress(as_batch(texture(seed=seed)), quality)[0, 0]
        assert jpeg.estimate_quality(image).quality == quality


@pytest.mark.parametrize(("phase", "quality", "size"), [((3, 0), 30, 150), ((5, 6), 85, 72)])
def test_crop_hides_neither_phase_nor_quality(texture, phase, quality, size):
    image = jpeg.compress(as_batch(texture(176, 176)), quality)[0, 0]
    crop = image[8 - phase[0] :, 8 - phase[1] :][:size, :size]
    found = jpeg.estimate_quality(crop, unknown_phase=True)
    assert (found.quality, found.phase) == (quality, phase)


@pytest.mark.parametrize("grain", [1.0, 5.0, 25.0])
def test_no_quality_where_nothing_was_compressed(texture, grain):
    image = as_batch(texture(grain=grain))[0, 0]
    found = jpeg.estimate_quality(image)
    assert found.quality is None
    assert found.evidence < jpeg.EVIDENCE_THRESHOLD


def test_no_quality_at_any_phase(texture):
    assert jpeg.estimate_quality(as_batch(texture())[0, 0], unknown_phase=True).quality is None


def test_quality_of_the_smallest_images(texture):
    assert jpeg.estimate_quality(torch.full((8, 8), 0.5)).quality is None
    assert jpeg.estimate_quality(as_batch(texture(16, 16))[0, 0], unknown_phase=True).quality is None
    for size, unknown_phase in ((7, False), (15, True)):
        with pytest.raises(ValueError, match=f"the lattice needs at least {size + 1}×{size + 1} pixels"):
            jpeg.estimate_quality(torch.zeros(size, 64), unknown_phase)


def test_as_8bit_undoes_a_linear_rescale(texture):
    image = jpeg.compress(as_batch(texture()), 70)[0, 0]
    for scaled in (image, 3.7 * image + 12, image * 1e-3, (image.double() * 4095 - 100)):
        levels = jpeg.as_8bit(scaled)
        assert levels is not None
        torch.testing.assert_close((levels * 255).float(), (image - image.min()) * 255)
        assert jpeg.estimate_quality(levels).quality == 70


def test_as_8bit_refuses_other_data():
    continuous = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    uneven = torch.tensor([[0.0, 1.0, 2.5, 4.0]])
    for image in (continuous, (continuous * 4095).round(), uneven, torch.ones(8, 8), torch.tensor([[0.0, 1.0, 300.0]])):
        assert jpeg.as_8bit(image) is None

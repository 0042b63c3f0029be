"""The lattice of JPEG: what was compressed is read back, what was not is left alone."""

import pytest
import torch

from mriqf import jpeg
from mriqf.jpeg import lattice


def as_unit(pixels):
    """Image in [0, 1], of 8-bit (h, w)."""
    return torch.from_numpy(pixels).float() / 255


def compressed(pixels, quality):
    return jpeg.compress(as_unit(pixels)[None, None], quality)[0, 0]


@pytest.mark.parametrize("quality", [3, 10, 25, 40, 49, 50, 51, 60, 75, 80, 88, 90, 93, 95])
def test_quality_is_read_back_exactly(texture, quality):
    for seed in range(2):
        image = compressed(texture(seed=seed), quality)
        assert lattice.estimate_quality(image).quality == quality


@pytest.mark.parametrize(("phase", "quality", "size"), [((3, 0), 30, 150), ((5, 6), 85, 72)])
def test_crop_hides_neither_phase_nor_quality(texture, phase, quality, size):
    image = compressed(texture(176, 176), quality)
    crop = image[8 - phase[0] :, 8 - phase[1] :][:size, :size]
    estimate = lattice.estimate_quality(crop, unknown_phase=True)
    assert (estimate.quality, estimate.phase) == (quality, phase)


@pytest.mark.parametrize("grain", [1.0, 5.0, 25.0])
def test_no_quality_where_nothing_was_compressed(texture, grain):
    image = as_unit(texture(grain=grain))
    estimate = lattice.estimate_quality(image)
    assert estimate.quality is None
    assert estimate.evidence < lattice.EVIDENCE_THRESHOLD


def test_clipped_blocks_hide_nothing(texture):
    """Detail that was clipped at black and white is off the lattice; blocks without are enough."""
    pixels = texture(128, 256).astype(float)
    pixels[:, 128:] = 128 + 6 * (pixels[:, 128:] - 128)
    image = compressed(pixels.clip(0, 255).astype("uint8"), 60)
    assert lattice.estimate_quality(image, max_blocks=256).quality == 60


def test_no_quality_at_any_phase(texture):
    assert lattice.estimate_quality(as_unit(texture()), unknown_phase=True).quality is None


def test_quality_of_the_smallest_images(texture):
    assert lattice.estimate_quality(torch.full((8, 8), 0.5)).quality is None
    assert lattice.estimate_quality(as_unit(texture(16, 16)), unknown_phase=True).quality is None
    for size, unknown_phase in ((7, False), (15, True)):
        with pytest.raises(ValueError, match=f"the lattice needs at least {size + 1}×{size + 1} pixels"):
            lattice.estimate_quality(torch.zeros(size, 64), unknown_phase)


def test_as_8bit_undoes_a_linear_rescale(texture):
    image = compressed(texture(), 70)
    for scaled in (image, 3.7 * image + 12, image * 1e-3, (image.double() * 4095 - 100)):
        levels = lattice.as_8bit(scaled)
        assert levels is not None
        torch.testing.assert_close((levels * 255).float(), (image - image.min()) * 255)
        assert lattice.estimate_quality(levels).quality == 70


def test_levels_are_found_where_bright_ones_were_clipped_between_two(texture):
    image = compressed(texture(), 70)
    clipped = (1.7 * image).clamp_max(1.7 * 150.4 / 255)
    levels = lattice.as_8bit(clipped)
    assert levels is not None
    assert lattice.estimate_quality(levels).quality == 70
    low, step = lattice.grey_levels(clipped)
    assert (low, step) == pytest.approx((1.7 * image.min().item(), 1.7 / 255), rel=1e-5)


def test_as_8bit_refuses_other_data():
    continuous = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    uneven = torch.tensor([[0.0, 1.0, 2.5, 4.0]])
    for image in (continuous, (continuous * 4095).round(), uneven, torch.ones(8, 8), torch.tensor([[0.0, 1.0, 300.0]])):
        assert lattice.as_8bit(image) is None

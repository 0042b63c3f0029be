import pytest
import torch
from properties import check_homogeneous, relative_error

from recon import fft2c, ifft2c, smooth_phase
from recon.partial_fourier import fill, missing_side

SHAPE = (32, 64)


def scan(reach):
    """An image with a smooth phase, and what is left of it without the last columns of k-space."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    image = (((y / 0.7) ** 2 + (x / 0.8) ** 2 < 1) * (0.7 + 0.3 * torch.sin(20 * x + 3 * y)))[None, None]
    image = image * smooth_phase(SHAPE, 0, std=0.3)
    mask = torch.ones(SHAPE[1], dtype=torch.bool)
    mask[SHAPE[1] // 2 + reach :] = False
    return image, ifft2c(mask * fft2c(image)), mask


@pytest.mark.parametrize("method", ["homodyne", "pocs"])
def test_the_missing_side_is_filled(method):
    image, partial, mask = scan(8)
    sampled = missing_side(mask[None])
    assert sampled == (0, SHAPE[1] // 2 + 7)
    result = fill(partial, sampled, method)
    assert relative_error(result.abs(), image.abs()) < 0.6 * relative_error(partial.abs(), image.abs())
    mirrored = fill(partial.flip(-1).roll(1, -1), (SHAPE[1] // 2 - 7, SHAPE[1] - 1), method)
    assert relative_error(mirrored.abs(), result.abs().flip(-1).roll(1, -1)) < 0.02
    check_homogeneous(lambda x: fill(x, sampled, method), partial)


def test_pocs_keeps_what_was_sampled():
    _, partial, mask = scan(8)
    result = fft2c(fill(partial, missing_side(mask[None]), "pocs"))
    assert relative_error(mask * result, mask * fft2c(partial)) < 1e-5


def test_symmetric_sampling_is_left_alone():
    image, _, _ = scan(8)
    mask = torch.ones(SHAPE[1], dtype=torch.bool)
    mask[:4] = mask[-3:] = False  # both ends
    assert missing_side(mask[None]) == (0, SHAPE[1] - 1)
    assert missing_side(0 * mask[None] > 0) == (0, SHAPE[1] - 1)
    assert torch.equal(fill(image, (0, SHAPE[1] - 1), "pocs"), image)


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments():
    image, _, _ = scan(8)
    with pytest.raises(ValueError, match="method 'half' is unknown"):
        fill(image, (0, 40), "half")
    with pytest.raises(ValueError, match="do not hold the centre"):
        fill(image, (0, 20), "pocs")


def test_gaps_of_undersampling_are_no_missing_side():
    mask = torch.zeros(96, dtype=torch.bool)
    mask[12:96:8] = True  # begins 36 columns before the centre, ends 44 behind it
    assert missing_side(mask[None]) == (0, 95)
    mask = torch.ones(96, dtype=torch.bool)
    mask[:12] = False
    assert missing_side(mask[None]) == (12, 95)

"""Error that JPEG left: near the true one, of blocks and of the whole, wherever the grid starts."""

import numpy as np
import pytest
import torch

from mriqf import jpeg
from mriqf.jpeg.quantisation import quantisation_error


def compressed(pixels, quality):
    image = torch.from_numpy(pixels).float()[None, None] / 255
    return 255 * jpeg.compress(image, quality)[0, 0]


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90])
def test_error_is_near_the_true_one(quality, natural):
    for seed in range(2):
        pixels = natural(128, 160, seed=seed)
        decoded = compressed(pixels, quality)
        true = (decoded - torch.from_numpy(pixels)).square().mean().sqrt().item()
        told = quantisation_error(decoded, quality).square().mean().sqrt().item()
        assert 0.6 < told / true < 1.4


def test_coarser_steps_leave_more(natural):
    pixels = natural(seed=3)
    told = [quantisation_error(compressed(pixels, q), q).square().mean().item() for q in (95, 80, 60, 40, 20, 10)]
    assert told == sorted(told)


def test_grid_that_starts_anywhere_and_blocks_that_are_cut(natural):
    decoded = compressed(natural(seed=4), 40)
    whole = quantisation_error(decoded, 40)
    assert whole.shape == decoded.shape
    part = quantisation_error(decoded[3:, 5:101], 40, (5, 3))
    torch.testing.assert_close(part[5:, 3:91], whole[8:, 8:96], rtol=0.1, atol=0)
    assert (part[:5] == part[5]).all()
    assert (part[:, 91:] == part[:, 90:91]).all()


def test_law_is_that_of_the_object(natural):
    """A detailed surrounding makes a flat object's error no larger."""
    pixels = natural(seed=5)
    pixels[32:96, 32:96] = 100 + pixels[32:96, 32:96] // 16
    inside = torch.zeros(128, 128, dtype=torch.bool)
    inside[32:96, 32:96] = True
    decoded = compressed(pixels, 30)
    own, common = (quantisation_error(decoded, 30, inside=i)[inside].mean() for i in (inside, None))
    assert own < 0.7 * common
    assert torch.equal(quantisation_error(decoded, 30, inside=~inside & inside), quantisation_error(decoded, 30))


def test_flat_image_has_the_error_of_its_mean():
    error = quantisation_error(torch.full((16, 16), 128.0), 50)
    assert error.isfinite().all()
    assert error.max() < 16 / np.sqrt(12)


def test_no_whole_block():
    with pytest.raises(ValueError, match=r"levels are 16×12: no whole block of 8×8 pixels starts at \(0, 5\)"):
        quantisation_error(torch.zeros(16, 12), 50, (0, 5))

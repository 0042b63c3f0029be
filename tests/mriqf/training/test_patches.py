"""Patches: compressed once, twice, on another grid, with finer chroma, from smaller images; always the same ones."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf.jpeg import compress_pixels, tables
from mriqf.jpeg.lattice import estimate_quality
from mriqf.training.patches import History, draw_batch, encode
from mriqf.training.restorer_recipe import RestorerTrainConfig

PLAIN = RestorerTrainConfig(batch=24, patch=32, worst=10, best=30)
VARIED = replace(PLAIN, skew=2.0, double=0.5, shifted=0.5, smaller=0.5, finer=0.5)


def pool(texture, channels, side=96):
    return [[texture(side, side, seed=seed, channels=channels) for seed in (0, 1)]]


def draw(pools, config, seed=0):
    return draw_batch(pools, [1.0], np.random.default_rng(seed), config)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [32, 40, 96])
def test_same_generator_same_batch_of_any_image(texture, channels, side):
    pools = pool(texture, channels, side)
    first, again, other = (draw(pools, VARIED, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == first[1].shape == (24, channels, 32, 32)


@pytest.mark.parametrize("field", ["double", "shifted", "smaller", "finer"])
def test_every_variation_changes_what_is_drawn(texture, field):
    pools = pool(texture, 3)
    assert not torch.equal(draw(pools, PLAIN)[0], draw(pools, replace(PLAIN, **{field: 1.0}))[0])


def test_low_qualities_are_drawn_more_often(texture):
    config = replace(PLAIN, batch=300, patch=16, worst=5, best=98)
    known = torch.stack([tables(q, 1) for q in range(1, 101)])
    results = {}
    for skew in (1.0, 2.0):
        steps = draw(pool(texture, 1), replace(config, skew=skew))[2]
        results[skew] = np.array([1 + next(q for q in range(100) if torch.equal(known[q], s)) for s in steps])
        assert results[skew].min() >= 5 and 90 < results[skew].max() <= 98
    assert np.median(results[1.0]) == pytest.approx(51.5, abs=8)
    assert np.median(results[2.0]) == pytest.approx(5 + 94 / 4, abs=8)


def test_compressed_twice_is_what_libjpeg_makes_of_libjpegs(texture):
    pixels = texture(64, 64)[..., None]
    given, truth = encode(pixels, History(60, first=20, step=(3, 5)), 48)
    once = compress_pixels(pixels[..., 0], 20)[3:51, 5:53]
    np.testing.assert_array_equal(given[..., 0], compress_pixels(once, 60))
    np.testing.assert_array_equal(truth, pixels[3:51, 5:53])


def test_shifted_grid_lies_where_it_is_said_and_the_truth_with_it(texture):
    pixels = texture(160, 160)[..., None]
    given, truth = encode(pixels, History(40, shift=(3, 6)), 128)
    np.testing.assert_array_equal(truth, pixels[3:131, 6:134])
    result = estimate_quality(torch.from_numpy(given[..., 0].copy()) / 255, unknown_phase=True)
    assert (result.quality, result.phase) == (40, (5, 2))
    # Blocks that are cut were whole when they were coded.
    np.testing.assert_array_equal(given[..., 0], compress_pixels(pixels[..., 0], 40)[3:131, 6:134])


@pytest.mark.parametrize("sampling", ["4:2:0", "4:2:2", "4:4:4"])
def test_chroma_is_coded_as_said(texture, sampling):
    pixels = texture(32, 32, channels=3)
    given, _ = encode(pixels, History(50, sampling=sampling), 32)
    file = io.BytesIO()
    options = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
    Image.fromarray(pixels).save(file, "JPEG", quality=50, subsampling=options[sampling])
    np.testing.assert_array_equal(given, np.asarray(Image.open(file)))


def test_smaller_images_have_more_detail():
    wave = 128 + 100 * np.sin(2 * np.pi * np.arange(128) / 24)
    coarse = np.tile(wave, (128, 1)).astype(np.uint8)[..., None]

    def detail(config):
        truth = draw([[coarse]], config)[1]
        return sum(truth.diff(dim=axis).abs().mean().item() for axis in (-1, -2))

    config = replace(PLAIN, batch=60)
    assert detail(replace(config, smaller=1.0)) > 1.15 * detail(config)

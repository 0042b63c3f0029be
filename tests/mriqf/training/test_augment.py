"""Batches: what is drawn is what is said."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from mriqf import jpeg
from mriqf.jpeg import lattice
from mriqf.training import augment

PLAIN = augment.Augmentation(**dict.fromkeys((f.name for f in dataclasses.fields(augment.Augmentation)), 0.0))


@pytest.mark.parametrize(("law", "share"), [("neglog", 0.51), ("log", 0.25), ("uniform", 0.20)])
def test_laws_put_their_share_above_80(law, share):
    quality = augment.draw_quality(np.random.default_rng(0), 100_000, law)
    assert quality.min() >= 1
    assert quality.max() <= 100
    assert (quality > 80).mean() == pytest.approx(share, abs=0.02)
    assert set(range(5, 101)) <= set(quality.tolist())
    np.testing.assert_array_equal(quality, augment.draw_quality(np.random.default_rng(0), 100_000, law))


@pytest.mark.usefixtures("unchecked")
def test_unknown_law():
    with pytest.raises(ValueError, match="law is 'square': choose uniform, log or neglog"):
        augment.draw_quality(np.random.default_rng(0), 3, "square")


@pytest.fixture
def pools(texture):
    return [[texture(seed=seed).astype(np.float32) / 255 for seed in range(3)]]


def test_batch_repeats_with_its_seed(pools):
    first, second, other = (augment.make_batch(pools, [1.0], np.random.default_rng(s), 12, 64) for s in (0, 0, 1))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("channels", [None, 3])
def test_batch_has_shape_and_range_under_every_variation(texture, channels):
    pools = [[texture(channels=channels).astype(np.float32) / 255]]
    always = augment.Augmentation(*[1.0] * 6, clean=0.0, shifted_grid=1.0, resampled=0.5, rescale=1.0)
    for augmentation in (augment.Augmentation(), always, dataclasses.replace(always, resampled=0.0, clean=0.5)):
        images, quality = augment.make_batch(pools, [2.0], np.random.default_rng(0), 40, 48, augmentation=augmentation)
        assert images.shape == (40, channels or 1, 48, 48)
        assert quality.shape == (40,)
        assert images.dtype == quality.dtype == torch.float32
        assert images.isfinite().all()
        assert images.min() >= 0
        assert images.max() <= 1
        assert quality.min() >= 1
        assert quality.max() <= 100


def test_label_is_the_quality_in_the_pixels(pools):
    images, quality = augment.make_batch(pools, [1.0], np.random.default_rng(0), 20, 96, "uniform", PLAIN)
    for image, label in zip(images, quality.tolist(), strict=True):
        if 3 <= label <= 94:  # beyond, two tables are alike, or the steps are lost in the rounding
            assert lattice.estimate_quality(image[0]).quality == label


def test_clean_patches_are_called_100_and_bear_no_lattice(pools):
    clean = dataclasses.replace(PLAIN, clean=1.0)
    images, quality = augment.make_batch(pools, [1.0], np.random.default_rng(0), 8, 64, augmentation=clean)
    assert (quality == 100).all()
    assert all(lattice.estimate_quality(image[0]).quality is None for image in images)


def test_shifted_grid_starts_anywhere(pools):
    shifted = dataclasses.replace(PLAIN, shifted_grid=1.0)
    images, quality = augment.make_batch(pools, [1.0], np.random.default_rng(0), 30, 80, "uniform", shifted)
    phases = set()
    for image, label in zip(images[:, 0] * 255 - 128, quality.tolist(), strict=True):
        if 10 <= label <= 80:
            steps = jpeg.quantization_table(int(label))
            grids = {s: jpeg.block_dct(image[s[0] :, s[1] :]) / steps for s in itertools.product(range(8), repeat=2)}
            off = {s: (grid - grid.round()).abs()[..., :4, :4].mean().item() for s, grid in grids.items()}
            best, second = sorted(off.values())[:2]
            assert best < 0.5 * second
            phases.add(min(off, key=off.get))
    assert len({y for y, _ in phases}) > 3
    assert len({x for _, x in phases}) > 3


def test_sources_are_drawn_by_weight():
    pools = [[np.zeros((16, 16), np.float32)], [np.ones((16, 16), np.float32)]]
    images, _ = augment.make_batch(pools, [1.0, 3.0], np.random.default_rng(0), 600, 8, augmentation=PLAIN)
    assert images.mean() == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("name", ["contrast", "gain", "offset", "noise", "empty_background", "coarse_levels"])
def test_each_variation_changes_the_patch_and_keeps_what_it_is(pools, name):
    patch = pools[0][0]
    varied = augment.vary(patch, np.random.default_rng(0), dataclasses.replace(PLAIN, **{name: 1.0}))
    assert not np.array_equal(varied, patch)
    assert np.corrcoef(varied.flat, patch.flat)[0, 1] > 0.9
    assert np.array_equal(augment.vary(patch, np.random.default_rng(0), PLAIN), patch)


def test_resample_of_a_ramp_is_a_ramp():
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))
    cut = augment.resample(ramp, 20, 8.0, 10.0, 0.5)
    np.testing.assert_allclose(cut, np.tile(10 - 0.25 + 0.5 * np.arange(20), (20, 1)), atol=1e-3)

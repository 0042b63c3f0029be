"""Scale and foreground: what carries no signal changes nothing."""

import numpy as np
import pytest

from mriqf.io import from_array
from mriqf.metrics.foreground import foreground_mask
from mriqf.scoring.scale import Scale, full_range_scale, normalise, percentile_scale, spread, volume_scale


def slices_of(volume):
    return list(volume[:, None])


def test_black_canvas_does_not_change_the_scale(disc):
    volume = disc(3)
    canvas = np.pad(volume, ((1, 2), (30, 11), (5, 40)))
    assert percentile_scale(slices_of(canvas)) == percentile_scale(slices_of(volume))


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**10])
def test_scale_follows_the_unit_exactly(disc, factor):
    volume = disc(2)
    scale, other = percentile_scale(slices_of(volume)), percentile_scale(slices_of(volume * np.float32(factor)))
    assert other == Scale(scale.low * factor, scale.high * factor, scale.threshold)


def test_scale_ignores_a_bright_spot(disc):
    volume = disc(3)
    scale = percentile_scale(slices_of(volume))
    volume[1, 50, 50] = 1e7
    spot = percentile_scale(slices_of(volume))
    assert spot.high == pytest.approx(scale.high, rel=0.02)
    assert spot.low == pytest.approx(scale.low, rel=0.02)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_nothing_to_score(value):
    cause = "empty" if value == 0 else "constant"
    with pytest.raises(ValueError, match=f"image is {cause} .*: nothing to score"):
        percentile_scale([np.full((1, 9, 9), value, np.float32)])


def test_binary_image_has_a_scale():
    image = np.zeros((1, 20, 20), np.float32)
    image[0, 5:15, 5:15] = 3
    scale = percentile_scale([image])
    np.testing.assert_array_equal(normalise(image, scale), image / 3)


@pytest.mark.parametrize(("top", "high"), [(0.5, 1.0), (1.0, 1.0), (200.0, 255.0), (3000.0, 65535.0)])
def test_photographs_keep_their_range(top, high):
    image = np.linspace(0, top, 75, dtype=np.float32).reshape(3, 5, 5)
    assert full_range_scale([image]) == Scale(0.0, high, 0.0)
    with pytest.raises(ValueError, match="image is constant"):
        full_range_scale([np.full((3, 5, 5), top, np.float32)])


def test_normalised_is_clipped_and_increasing(disc):
    volume = disc(1)
    scale = percentile_scale(slices_of(volume))
    image = normalise(volume, scale)
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0, 1)
    inside = (image > 0) & (image < 1)
    order = np.argsort(volume[inside])
    assert (np.diff(image[inside][order]) >= 0).all()


def test_scale_of_a_volume_is_that_of_its_kind(disc, texture):
    grey, colour = disc(40), texture(20, 30, channels=3)
    assert volume_scale(from_array(colour)) == Scale(0.0, 255.0, 0.0)
    assert volume_scale(from_array(grey)) == percentile_scale([grey[i][None] for i in spread(range(40), 32)])


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 200])
def test_spread_takes_few_from_end_to_end(n):
    chosen = spread(range(n), 32)
    assert len(chosen) == min(n, 32)
    assert (chosen[0], chosen[-1]) == (0, n - 1)
    assert np.ptp(np.diff(chosen)) <= 1 if n > 1 else True


@pytest.mark.parametrize("background", [0.0, 0.03])
def test_foreground_is_the_object_with_its_holes(disc, background):
    volume = disc(1, 128, 128, background=background)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    radius = np.hypot(y, x)
    volume[0][radius < 0.3] = 0.1  # an organ without signal
    scale = percentile_scale(slices_of(volume))
    mask = foreground_mask(normalise(volume, scale), scale.threshold)
    assert mask[radius < 0.7].all()
    assert not mask[radius > 0.88].any()


def test_foreground_without_threshold_is_everything():
    assert foreground_mask(np.zeros((3, 4, 5), np.float32), 0.0).all()


def test_from_zero_keeps_the_top_and_the_foreground():
    rng = np.random.default_rng(0)
    raw = (40 + 10 * rng.random((1, 64, 64))).astype(np.float32)
    raw[0, 16:48, 16:48] += 200
    scale = percentile_scale([raw])
    whole = scale.from_zero()
    assert (whole.low, whole.high) == (0, scale.high)
    assert whole.from_zero() == whole
    top = normalise(raw, whole)
    assert top.max() == 1
    assert top.min() == pytest.approx(raw.min() / scale.high, rel=1e-3)
    a, b = (foreground_mask(normalise(raw, s), s.threshold) for s in (scale, whole))
    assert (a != b).mean() < 0.01
    signed = percentile_scale([raw - 100])
    assert signed.from_zero() == signed

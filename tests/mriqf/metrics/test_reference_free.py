"""Classical measures: against plain loops, and what may not and what must change them."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mriqf.metrics.foreground import foreground_mask
from mriqf.metrics.reference_free import BASELINES, baselines
from mriqf.scoring.scale import normalise, percentile_scale

IN_THE_FOREGROUND = sorted(BASELINES.keys() - {"efc", "background_sd"})


def scene(seed=0, height=27, width=32):
    """Smooth structures and a little grain, with an irregular object that touches one border."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal((height, width)), 2.5)
    image = 0.45 + 0.18 * smooth / smooth.std() + 0.01 * rng.standard_normal((height, width))
    image[rng.random((height, width)) < 0.03] = 0
    y, x = np.mgrid[:height, :width]
    foreground = np.hypot(y - 14, x - 9) < 13 + 2 * np.sin(y)
    return image.clip(0, 1).astype(np.float32), foreground


def prepare(raw):
    """A raw slice as `score` prepares it."""
    scale = percentile_scale([raw[None]])
    image = normalise(raw[None], scale)
    return image[0], foreground_mask(image, scale.threshold)


def sobel(image, y, x):
    """Derivatives down and across at one pixel."""
    down = across = 0.0
    for k, weight in ((-1, 1), (0, 2), (1, 1)):
        down += weight * (float(image[y + 1, x + k]) - float(image[y - 1, x + k])) / 8
        across += weight * (float(image[y + k, x + 1]) - float(image[y + k, x - 1])) / 8
    return down, across


def interior(foreground):
    """Pixels whose 3×3 window is foreground."""
    height, width = foreground.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if all(foreground[y + j, x + i] for j in (-1, 0, 1) for i in (-1, 0, 1)):
                yield y, x


def gradients(image, foreground):
    return [math.hypot(*sobel(image, y, x)) for y, x in interior(foreground)]


def plain_energy_entropy(values):
    root, n = math.sqrt(sum(v * v for v in values)), len(values)
    total = -sum(v / root * math.log(v / root) for v in values if v > 0)
    return total / (n * (1 / math.sqrt(n)) * math.log(math.sqrt(n)))


def plain_entropy(image, foreground):
    return plain_energy_entropy([float(v) for v in image[foreground]])


def plain_efc(image, _):
    return plain_energy_entropy([float(v) for v in image.ravel()])


def plain_tenengrad(image, foreground):
    g = gradients(image, foreground)
    return sum(v * v for v in g) / len(g)


def plain_gradient_entropy(image, foreground):
    g = gradients(image, foreground)
    return -sum(v / sum(g) * math.log(v / sum(g)) for v in g) / math.log(len(g))


def plain_normalised_gradient_squared(image, foreground):
    g = gradients(image, foreground)
    return len(g) * sum((v / sum(g)) ** 2 for v in g)


def plain_laplacian_variance(image, foreground):
    x = image.astype(float)
    values = [x[j - 1, i] + x[j + 1, i] + x[j, i - 1] + x[j, i + 1] - 4 * x[j, i] for j, i in interior(foreground)]
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / len(values)


def plain_background_sd(image, foreground):
    values = [float(v) for v in image[~foreground] if v != 0]
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))


def plain_average_edge_strength(image, foreground):
    """Canny pixel by pixel: smoothed over the foreground, ridges of the gradient, grown from the strong ones."""
    (height, width), radius = image.shape, 6
    smooth = np.zeros((height + 2, width + 2))
    for y in range(-1, height + 1):
        for x in range(-1, width + 1):
            total = weights = 0.0
            for j in range(max(0, y - radius), min(height, y + radius + 1)):
                for i in range(max(0, x - radius), min(width, x + radius + 1)):
                    if foreground[j, i]:
                        weight = math.exp(-((j - y) ** 2 + (i - x) ** 2) / 4)
                        total, weights = total + weight * image[j, i], weights + weight
            smooth[y + 1, x + 1] = total / weights if weights else 0
    slopes = {(y, x): sobel(smooth, y + 1, x + 1) for y in range(height) for x in range(width)}

    def bilinear(y, x):
        j, i = math.floor(y), math.floor(x)
        near = [(j, i, (j + 1 - y) * (i + 1 - x)), (j + 1, i, (y - j) * (i + 1 - x))]
        near += [(j, i + 1, (j + 1 - y) * (x - i)), (j + 1, i + 1, (y - j) * (x - i))]
        return sum(weight * math.hypot(*slopes[b, a]) for b, a, weight in near if weight > 0)

    ridge = {}
    for y, x in interior(foreground):
        down, across = slopes[y, x]
        step = max(abs(down), abs(across))
        sides = [bilinear(y + s * down / step, x + s * across / step) for s in (1, -1)] if step else [0]
        if math.hypot(down, across) + 1e-6 >= max(sides):
            ridge[y, x] = math.hypot(down, across)
    result = {pixel for pixel, value in ridge.items() if value > 0.025}
    waiting = list(result)
    while waiting:
        y, x = waiting.pop()
        more = {p for j in (-1, 0, 1) for i in (-1, 0, 1) if ridge.get(p := (y + j, x + i), 0) > 0.0125} - result
        result |= more
        waiting += more
    return math.sqrt(sum(sum(v * v for v in sobel(image, y, x)) for y, x in result)) / len(result)


@pytest.mark.parametrize("name", BASELINES)
def test_as_plain_loops(name):
    image, foreground = scene()
    assert BASELINES[name](image, foreground) == pytest.approx(globals()[f"plain_{name}"](image, foreground), rel=1e-9)


def test_edges_as_scikit_image():
    feature = pytest.importorskip("skimage.feature")
    image, foreground = scene(1, 90, 110)
    edges = feature.canny(image.astype(float), sigma=2**0.5, mask=foreground, mode="constant")
    strength = math.sqrt(sum(sum(v * v for v in sobel(image, y, x)) for y, x in np.argwhere(edges))) / edges.sum()
    assert edges.sum() > 20
    assert BASELINES["average_edge_strength"](image, foreground) == pytest.approx(strength, rel=1e-9)


def test_all_at_once():
    image, foreground = scene()
    result = baselines(image, foreground)
    assert result == {name: measure(image, foreground) for name, measure in BASELINES.items()}
    assert all(type(value) is float and math.isfinite(value) for value in result.values())


@pytest.mark.parametrize("flip", [np.flipud, np.fliplr, np.transpose])
def test_flips_change_nothing(flip):
    image, foreground = scene(2)
    for x in (image, np.round(8 * image) / np.float32(8)):  # few grey levels: gradients tie
        assert baselines(flip(x), flip(foreground)) == pytest.approx(baselines(x, foreground), rel=1e-9)


@pytest.mark.parametrize(("factor", "tolerance"), [(2.0**-30, 0), (2.0**12, 0), (3.7e-6, 1e-3)])
def test_unit_changes_nothing(disc, factor, tolerance):
    raw = disc()[0]
    image, foreground = prepare(raw)
    assert 0.3 < foreground.mean() < 0.7
    same = baselines(*prepare(raw * np.float32(factor)))
    assert same == pytest.approx(baselines(image, foreground), rel=tolerance)


@pytest.mark.parametrize("name", IN_THE_FOREGROUND)
def test_background_does_not_count(name):
    image, foreground = scene(3)
    other = np.where(foreground, image, np.random.default_rng(0).random(image.shape, np.float32))
    assert BASELINES[name](other, foreground) == BASELINES[name](image, foreground)


def test_background_counts_where_it_should():
    image, foreground = scene(3)
    noise = 0.1 * np.random.default_rng(0).random(image.shape, np.float32)
    empty, noisy = np.where(foreground, image, 0), np.where(foreground, image, noise)
    assert BASELINES["efc"](noisy, foreground) > BASELINES["efc"](empty, foreground) + 0.05
    sd = BASELINES["background_sd"](noisy, foreground)
    assert sd == pytest.approx(0.1 / 12**0.5, rel=0.1)
    assert BASELINES["background_sd"](np.where(foreground, 0, noisy), foreground) == sd
    half = np.where(np.arange(image.shape[1]) % 2 == 0, noisy, 0).astype(np.float32)  # zeros are canvas, not noise
    assert BASELINES["background_sd"](half, foreground) == pytest.approx(sd, rel=0.1)


def test_known_values():
    everywhere = np.ones((40, 50), dtype=bool)
    flat = np.full((40, 50), 0.3, np.float32)
    spot = np.zeros((40, 50), np.float32)
    spot[9, 9] = 0.7
    for name in ("entropy", "efc"):
        assert BASELINES[name](flat, everywhere) == pytest.approx(1)
        assert BASELINES[name](spot, everywhere) == pytest.approx(0)
    y, x = np.mgrid[:40, :50]
    ramp = baselines((0.003 * y + 0.004 * x).astype(np.float32), everywhere)
    assert ramp["tenengrad"] == pytest.approx(0.005**2, rel=1e-4)
    assert ramp["gradient_entropy"] == pytest.approx(1)
    assert ramp["normalised_gradient_squared"] == pytest.approx(1)
    assert ramp["laplacian_variance"] == pytest.approx(0, abs=1e-12)
    bowl = (0.0002 * ((y - 20) ** 2 + (x - 25) ** 2)).astype(np.float32)
    assert BASELINES["laplacian_variance"](bowl, everywhere) == pytest.approx(0, abs=1e-12)
    assert BASELINES["laplacian_variance"](((x + y) % 2).astype(np.float32), everywhere) == pytest.approx(16)
    step = (0.8 * (x >= 25)).astype(np.float32)  # two pixels wide, whatever the rounding
    assert BASELINES["average_edge_strength"](step, everywhere) == pytest.approx(0.4 / (2 * 38) ** 0.5)


@pytest.mark.parametrize(
    ("name", "sign"),
    [("tenengrad", -1), ("average_edge_strength", -1), ("laplacian_variance", -1), ("entropy", 1)],
)
def test_blur(name, sign):
    image, foreground = scene(4, 96, 96)
    values = [BASELINES[name](gaussian_filter(image, s) if s else image, foreground) for s in (0, 0.7, 1, 1.5, 2)]
    assert (sign * np.diff(values) > 0).all()


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("efc", 1),
        ("gradient_entropy", 1),
        ("background_sd", 1),
        ("normalised_gradient_squared", -1),
        ("tenengrad", 1),
        ("laplacian_variance", 1),
    ],
)
def test_noise(disc, name, sign):
    image, foreground = prepare(disc(background=0.0)[0])
    noise = np.random.default_rng(0).standard_normal((2, *image.shape)).astype(np.float32)
    noisy = [np.hypot(image + level * noise[0], level * noise[1]) for level in (0.01, 0.03, 0.06, 0.1, 0.15)]
    assert (sign * np.diff([BASELINES[name](i, foreground) for i in noisy]) > 0).all()


def test_noise_raises_the_entropy_of_dark_objects():
    image, foreground = scene(5, 64, 64)
    dark = np.where(image > 0.7, image, 0)
    noise = np.abs(np.random.default_rng(0).standard_normal(image.shape)).astype(np.float32)
    values = [BASELINES["entropy"](dark + level * noise, foreground) for level in (0.0, 0.02, 0.05, 0.1)]
    assert (np.diff(values) > 0).all()


def test_nothing_to_measure_is_nan():
    image, foreground = scene()
    nowhere, everywhere = np.zeros_like(foreground), np.ones_like(foreground)
    for name in IN_THE_FOREGROUND:
        assert math.isnan(BASELINES[name](image, nowhere))
    assert math.isnan(BASELINES["background_sd"](image, everywhere))
    assert math.isnan(BASELINES["background_sd"](np.where(foreground, image, 0), foreground))
    black = baselines(np.zeros_like(image), foreground)
    assert {name for name, value in black.items() if not math.isnan(value)} == {"tenengrad", "laplacian_variance"}
    assert black["tenengrad"] == black["laplacian_variance"] == 0


@pytest.mark.usefixtures("unchecked")
def test_foreground_of_another_size():
    image, foreground = scene()
    with pytest.raises(ValueError, match=r"foreground is \(27, 31\), the image \(27, 32\): give one of the image's"):
        baselines(image, foreground[:, 1:])

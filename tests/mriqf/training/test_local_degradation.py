"""Local flaws: they are where they are said to be, and as large."""

import numpy as np
import pytest

from mriqf.training import local_degradation as module
from mriqf.training.local_degradation import KINDS, SIGMA, degrade_locally


@pytest.fixture
def scene():
    """A textured object in the middle, and its error."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    image = np.zeros((128, 128), np.float32)
    image[16:112, 16:112] = 0.5 + 0.1 * gaussian_filter(rng.standard_normal((96, 96)), 1)
    error = np.full(image.shape, -1, np.float32)
    error[16:112, 16:112] = 0.02
    return image, error, float((image[16:112, 16:112] ** 2).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_error_grows_where_the_image_changes(scene, kind, monkeypatch):
    monkeypatch.setattr(module, "KINDS", (kind,))
    image, error, power = scene
    for seed in range(4):
        result, worse = degrade_locally(image, error, power, np.random.default_rng(seed))
        assert np.array_equal(result, degrade_locally(image, error, power, np.random.default_rng(seed))[0])
        changed = np.abs(result - image) > 1e-6
        assert 0 < changed.mean() < 0.95
        inside = error >= 0
        assert np.array_equal(worse >= 0, inside)
        assert (worse[inside] >= error[inside] - 1e-7).all()
        y, x = np.nonzero(changed)
        far = np.ones_like(inside)
        reach = int(5 * SIGMA)
        far[max(y.min() - reach, 0) : y.max() + reach, max(x.min() - reach, 0) : x.max() + reach] = False
        np.testing.assert_allclose(worse[far & inside], 0.02, rtol=1e-5)
        change = np.where(inside, (result - image) ** 2, 0).sum() / power
        total = (worse[inside].astype(float) ** 2 - 0.02**2).sum()
        assert total == pytest.approx(change, rel=0.3)  # the window mixes, and loses little at the object's border


def test_unit_changes_nothing(scene):
    image, error, power = scene
    for seed in range(6):
        a, b = (
            degrade_locally(s * image, error, float(s) ** 2 * power, np.random.default_rng(seed))
            for s in (np.float32(1), np.float32(50))
        )
        np.testing.assert_allclose(b[0], 50 * a[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(b[1], a[1], rtol=1e-3, atol=1e-5)


def test_without_an_object_only_the_image_changes():
    image = np.random.default_rng(0).random((64, 64), np.float32)
    error = np.full((64, 64), -1, np.float32)
    result, same = degrade_locally(image, error, 0.3, np.random.default_rng(0))
    assert np.array_equal(same, error)
    assert result.shape == image.shape

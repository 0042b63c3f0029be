import numpy as np
import pytest

from mriqf.calibration.isotonic import Isotonic


@pytest.mark.parametrize("sign", [1, -1])
def test_follows_either_direction(sign):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 100, 300)
    y = sign * np.sqrt(x) + 0.1 * rng.standard_normal(300)
    found = Isotonic(x, y)
    grid = np.linspace(-10, 110, 60)
    assert (sign * np.diff(found(grid)) >= -1e-12).all()
    np.testing.assert_allclose(found(np.array([25.0, 64.0])), [sign * 5, sign * 8], atol=0.4)


def test_equal_scores_have_their_mean():
    found = Isotonic(np.array([1.0, 1.0, 2.0]), np.array([0.0, 4.0, 6.0]))
    np.testing.assert_allclose(found(np.array([0.0, 1.0, 2.0, 3.0])), [2, 2, 6, 6])


def test_direction_that_is_told():
    x = np.arange(6.0)
    np.testing.assert_allclose(Isotonic(x, x, increasing=False)(x), np.full(6, 2.5))
    np.testing.assert_allclose(Isotonic(x, x, increasing=True)(x), x)


@pytest.mark.parametrize("increasing", [True, False])
def test_agrees_with_the_whole_regression_everywhere(increasing):
    from scipy.optimize import isotonic_regression

    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 1, 200))
    y = (x if increasing else -x) + rng.standard_normal(200)
    found = Isotonic(x, y, increasing=increasing)
    full = isotonic_regression(y, increasing=increasing).x
    grid = np.linspace(-0.1, 1.1, 997)
    np.testing.assert_allclose(found(grid), np.interp(grid, x, full), atol=1e-12)
    assert len(found.knots) < 60  # the ends of flat stretches alone

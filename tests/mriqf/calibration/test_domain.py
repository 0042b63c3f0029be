"""Known and unknown images are told apart."""

import numpy as np
import pytest
import torch

from mriqf.calibration.domain import describe, fit_domain


def ood_features(n, rng, shift=0.0):
    """Correlated features of very different sizes, one of which never varies."""
    mixing = np.random.default_rng(0).standard_normal((6, 6)) * [1, 10, 100, 0.01, 1, 1]
    return np.hstack([rng.standard_normal((n, 6)) @ mixing + shift * mixing[0], np.full((n, 1), 3.0)])


def test_false_alarms_are_as_rare_as_promised():
    rate = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        domain = fit_domain(ood_features(100, rng), ood_features(100, rng), 0.05)
        rate.append((domain.distance(ood_features(200, rng)) > 1).mean())
    assert 0.03 < np.mean(rate) < 0.06


def test_what_is_far_is_called_unknown():
    rng = np.random.default_rng(0)
    domain = fit_domain(ood_features(200, rng), ood_features(200, rng))
    assert (domain.distance(ood_features(50, rng, shift=8.0)) > 1).all()


def test_far_means_against_the_correlation():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(500)
    known = np.stack([x, x + 0.1 * rng.standard_normal(500)], 1)
    domain = fit_domain(known[:250], known[250:])
    along, across = domain.distance(np.array([[1.5, 1.5], [1.0, -1.0]]))
    assert across > 2 > 2 * along


def test_units_of_features_do_not_matter():
    rng = np.random.default_rng(0)
    known, held, new = ood_features(80, rng), ood_features(80, rng), ood_features(9, rng)
    one, other = fit_domain(known, held), fit_domain(7 * known + 2, 7 * held + 2)
    np.testing.assert_allclose(one.distance(new), other.distance(7 * new + 2), rtol=1e-6)


def test_too_few_held_out_images():
    rng = np.random.default_rng(0)
    fit_domain(ood_features(30, rng), ood_features(19, rng))
    with pytest.raises(ValueError, match=r"18 held-out images are too few for a false-alarm rate of 0\.05"):
        fit_domain(ood_features(30, rng), ood_features(18, rng))


def test_description_is_of_the_object():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((3, 4, 4)))
    foreground = np.zeros((32, 32), bool)
    foreground[:16] = True
    weight = torch.zeros(4, 4)
    weight[:2] = 1
    image = np.where(foreground, rng.random((32, 32)), 0.25).astype(np.float32)[None]
    found = describe(features, weight, image, foreground)
    np.testing.assert_allclose(found[:3], features[:, :2].mean((1, 2)).numpy())
    assert found[3] == 0.5
    np.testing.assert_allclose(found[4:9], np.percentile(image[0, :16], (5, 25, 50, 75, 95)), rtol=1e-6)
    assert found[9] == pytest.approx(0.25)
    features[:, 2:] = 99
    np.testing.assert_array_equal(describe(features, weight, image, foreground), found)


def test_no_object_has_no_looks():
    found = describe(
        torch.rand(3, 4, 4), torch.zeros(4, 4), np.zeros((1, 32, 32), np.float32), np.zeros((32, 32), bool)
    )
    assert len(found) == 10
    assert np.isnan(found).all()

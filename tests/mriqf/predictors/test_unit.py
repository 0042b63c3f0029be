"""The unit of errors: 20 points a doubling, an inverse that is exact inside the range."""

import math

import numpy as np
import pytest
import torch

from mriqf.predictors.unit import error_of_score, score_of_error


@pytest.mark.parametrize(("error", "score"), [(0.01, 100), (0.02, 80), (0.04, 60), (0.08, 40), (0.16, 20), (0.32, 0)])
def test_a_doubling_takes_twenty_points(error, score):
    assert score_of_error(error) == pytest.approx(score, abs=1e-9)
    assert error_of_score(float(score)) == pytest.approx(error, rel=1e-12)


def test_the_range_ends_at_1_and_32_per_cent():
    assert score_of_error(0.001) == 100
    assert score_of_error(2.0) == 0
    assert score_of_error(0.005, clamp=False) == pytest.approx(120)
    assert score_of_error(0.64, clamp=False) == pytest.approx(-20)
    assert math.isnan(score_of_error(math.nan))


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_arrays_as_numbers(kind):
    errors = [0.003, 0.01, 0.05, 0.3, 1.0]
    found = score_of_error(kind(errors))
    assert isinstance(found, type(kind(errors)))
    np.testing.assert_allclose(np.asarray(found), [score_of_error(e) for e in errors], rtol=1e-5, atol=1e-4)
    inside = kind([0.011, 0.05, 0.3])
    np.testing.assert_allclose(
        np.asarray(error_of_score(score_of_error(inside))), np.asarray(inside), rtol=1e-5, atol=1e-4
    )


def test_a_point_is_three_tenths_of_a_decibel():
    assert 20 * math.log10(error_of_score(50.0) / error_of_score(51.0)) == pytest.approx(0.30, abs=0.002)


def test_beyond_the_range_there_is_a_gradient_without_the_clamp():
    error = torch.tensor([0.5], requires_grad=True)
    score_of_error(error, clamp=False).sum().backward()
    assert error.grad is not None
    assert error.grad.item() == pytest.approx(-20 / (0.5 * math.log(2)))

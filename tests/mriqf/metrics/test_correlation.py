"""Agreement with opinions: scipy's correlations, logistics found again, hopeless data survived."""

import numpy as np
import pytest
from scipy import stats

from mriqf.metrics.correlation import agreement, kcc, logistic_fit, pcc, srcc


def pairs(n=40):
    rng = np.random.default_rng(0)
    return rng.integers(0, 6, n).astype(float), rng.standard_normal(n)


@pytest.mark.parametrize(("ours", "theirs"), [(pcc, stats.pearsonr), (srcc, stats.spearmanr), (kcc, stats.kendalltau)])
def test_correlations_are_scipys_with_ties_and_gaps(ours, theirs):
    x, y = pairs()
    assert ours(x, y) == pytest.approx(theirs(x, y).statistic, abs=1e-12)
    assert ours(np.append(x, [np.nan, 3.0]), np.append(y, [0.0, np.inf])) == ours(x, y)


@pytest.mark.parametrize("correlation", [pcc, srcc, kcc])
def test_a_constant_tells_nothing(correlation):
    assert correlation(np.ones(5), np.arange(5.0)) == 0
    assert np.isnan(correlation(np.ones(2), np.arange(2.0)))


@pytest.mark.parametrize("parameters", [4, 5])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_a_logistic_is_found_again(parameters, direction, unit):
    scores = np.linspace(-3, 5, 50)
    opinions = 20 + 60 / (1 + np.exp(-direction * (scores - 1.2) / 0.7)) + (parameters == 5) * direction * scores
    fit = logistic_fit(unit * scores + 7, opinions, parameters)
    assert fit.logistic
    np.testing.assert_allclose(fit.opinions, opinions, atol=1e-3)


def test_agreement_of_a_metric_that_saturates():
    scores = np.linspace(0, 10, 60)
    opinions = -100 / (1 + np.exp(-2 * (scores - 3)))
    result = agreement(scores, opinions)
    assert result["logistic"]
    assert result["pcc"] == pytest.approx(1, abs=1e-6)
    assert abs(pcc(scores, opinions)) < 0.9
    assert result["srcc"] == pytest.approx(-1) and result["kcc"] == pytest.approx(-1)


def test_agreement_leaves_out_what_is_not_finite():
    x, y = pairs()
    assert agreement(np.append(x, np.nan), np.append(y, 1.0)) == agreement(x, y)


@pytest.mark.parametrize(
    ("scores", "opinions"),
    [
        (np.ones(20), np.arange(20.0)),
        (np.arange(20.0), np.ones(20)),
        (np.arange(4.0), np.arange(4.0)),
        (np.zeros(0), np.zeros(0)),
    ],
)
def test_hopeless_data_get_a_line(scores, opinions):
    fit = logistic_fit(scores, opinions)
    assert not fit.logistic
    assert np.isfinite(fit.opinions).all()
    if len(scores) == 4:
        np.testing.assert_allclose(fit.opinions, opinions, atol=1e-12)


@pytest.mark.parametrize("parameters", [4, 5])
def test_a_fit_never_fails(parameters):
    rng = np.random.default_rng(1)
    steps = (np.arange(30) > 14).astype(float)
    noise = rng.standard_normal((2, 30))
    for scores, opinions in ((*noise,), (np.arange(30.0), steps), (np.geomspace(1e-9, 1e9, 30), steps)):
        fit = logistic_fit(scores, opinions, parameters)
        line = np.polynomial.Polynomial.fit(scores, opinions, 1)(scores)
        assert np.isfinite(fit.opinions).all()
        assert np.square(fit.opinions - opinions).sum() <= np.square(line - opinions).sum() * (1 + 1e-6)

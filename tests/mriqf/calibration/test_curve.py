"""Intervals that hold for whatever the errors are distributed as."""

import numpy as np
import pytest
from scipy import stats

from mriqf.calibration.curve import fit_band, halves, least


def draw(n, rng, noise=0.3):
    """Scores and figures that fall with them, spread wider at low scores, in a skewed way."""
    score = rng.uniform(0, 100, n)
    spread = noise * (1.5 - score / 100)
    return score, 0.3 * np.exp(-score / 40 + spread * (rng.gamma(2, 1, n) - 2))


@pytest.mark.parametrize("n", [60, 200, 1200])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_coverage_is_as_promised(n, coverage):
    inside = tested = 0
    for seed in range(40):
        rng = np.random.default_rng((seed, n))
        band = fit_band(*draw(n, rng), np.arange(n) % 2 == 0, coverage)
        score, figure = draw(100, rng)
        ends = np.array([band(s) for s in score.tolist()])
        inside += int(((ends[:, 1] <= figure) & (figure <= ends[:, 2])).sum())
        tested += 100
    # Coverage of one calibration scatters as Beta(n/2): of 40, and of 4000 images, this is what is left of it.
    sd = np.sqrt(coverage * (1 - coverage) * (1 / tested + 1 / (n / 2 + 2) / 40))
    slack = 2 / (n / 2 + 1)  # a promise of at least; whole ranks give somewhat more
    assert coverage - 4 * sd < inside / tested < coverage + slack + 4 * sd


def test_interval_is_wide_where_errors_scatter():
    rng = np.random.default_rng(0)
    band = fit_band(*draw(2000, rng), np.arange(2000) % 2 == 0, 0.9)
    width = [np.log(high / low) for _, low, high in map(band, (5.0, 50.0, 95.0))]
    assert width[0] > 1.25 * width[1] > 1.25 * 1.25 * width[2]


@pytest.mark.parametrize("shift", [0.2, 1.0, 5.0])
def test_curve_falls_and_lies_in_its_interval(shift):
    rng = np.random.default_rng(1)
    score, figure = draw(120, rng)
    first = np.arange(120) < 60
    figure[~first] *= shift  # the held-out subjects are worse, or better
    band = fit_band(score, figure, first, 0.9)
    ends = np.array([band(s) for s in np.linspace(-20, 120, 300).tolist()])
    assert (np.diff(ends[:, 0]) <= 0).all()
    assert (ends[:, 1] <= ends[:, 0]).all()
    assert (ends[:, 0] <= ends[:, 2]).all()
    assert (ends > 0).all()


@pytest.mark.parametrize(("coverage", "n"), [(0.8, 9), (0.9, 19), (0.95, 39)])
def test_least_images_are_those_whose_extremes_are_the_ends(coverage, n):
    assert least(coverage) == n
    # P(a new one lies beyond the extremes of n) = 2 / (n + 1), no more than what may lie outside.
    assert 2 / (n + 1) <= 1 - coverage + 1e-9 < 2 / n


def test_ends_are_the_extremes_of_as_few_images_as_will_do():
    score = np.arange(40.0)
    rng = np.random.default_rng(0)
    figure = np.exp(rng.standard_normal(40))
    first = np.arange(40) < 21
    band = fit_band(score, figure, first, 0.9)
    found = np.array([band(s) for s in score[~first].tolist()])
    inside = (found[:, 1] * (1 - 1e-9) <= figure[~first]) & (figure[~first] <= found[:, 2] * (1 + 1e-9))
    assert inside.all()


def test_subjects_are_not_divided():
    rng = np.random.default_rng(0)
    subject = rng.permutation(np.repeat(np.array(["a", "b", "c", "d", "e"]), (50, 30, 20, 15, 5)))
    first, said = halves(subject)
    assert not set(subject[first]) & set(subject[~first])
    assert abs(first.sum() - 60) <= 10
    assert said == "subjects: 2 fitted, 3 held out"
    np.testing.assert_array_equal(first, halves(subject)[0])


def test_one_subject_is_divided_and_said():
    first, said = halves(np.full(7, "a"))
    assert first.tolist() == [True, False] * 3 + [True]
    assert said == "images of one subject"


def test_scaled_scores_change_nothing():
    rng = np.random.default_rng(2)
    score, figure = draw(200, rng)
    first = np.arange(200) % 2 == 0
    one, other = fit_band(score, figure, first, 0.9), fit_band(score / 10, figure, first, 0.9)
    for s in (3.0, 40.0, 99.0):
        np.testing.assert_allclose(one(s), other(s / 10), rtol=1e-6)


def test_a_perfect_score_has_an_interval_of_a_finite_width():
    score = np.linspace(0, 100, 100)
    band = fit_band(score, np.exp(-score / 30), np.arange(100) % 2 == 0, 0.9)
    value, low, high = band(50.0)
    assert 0 < low <= value <= high
    assert stats.pearsonr(score, [band(s)[0] for s in score.tolist()]).statistic < -0.8

"""From scores to errors: what is promised holds on examples that were not seen."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mriqf.calibration import Expected, Scored, fit, leave_one_out
from mriqf.predictors.unit import error_of_score
from mriqf.scoring.pooling import volume_nrmse


def scored(n=240, seed=0, n_subjects=6, reconstructions=0.5):
    """Synthetic examples: error, similarity and acceleration go with the score, with some scatter."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(5, 95, n)
    nrmse = 0.35 * np.exp(-score / 35 + 0.25 * rng.standard_normal(n))
    ssim = 1 - np.minimum(2 * nrmse * np.exp(0.2 * rng.standard_normal(n)), 1.2)
    acceleration = np.where(rng.random(n) < reconstructions, 1 + 30 * nrmse, np.nan)
    ood_features = np.hstack([rng.standard_normal((n, 5)), score[:, None]])
    return Scored(score, nrmse, ssim, np.array([f"s{k % n_subjects}" for k in range(n)]), ood_features, acceleration)


@pytest.fixture(scope="module")
def calibration():
    return fit(scored(), weights="w")


def expect(calibration, score):
    return calibration.expect(float(score), np.array([0, 0, 0, 0, 0, float(score)]))


def test_maps_are_monotone_and_lie_in_their_intervals(calibration):
    found = [expect(calibration, s) for s in np.linspace(0, 100, 101)]
    assert all(e.in_domain and e.reason == "" for e in found)
    for name, sign in (("nrmse", -1), ("ssim", 1), ("acceleration", -1)):
        value, low, high = (np.array([getattr(e, name + end) for e in found]) for end in ("", "_low", "_high"))
        assert (sign * np.diff(value) >= 0).all()
        assert (low <= value).all()
        assert (value <= high).all()
        assert np.ptp(value) > 0.2


def test_intervals_hold_for_other_subjects(calibration):
    new = scored(2000, seed=1)
    found = [expect(calibration, s) for s in new.score.tolist()]
    for name in ("nrmse", "ssim", "acceleration"):
        true = getattr(new, name)
        kept = np.isfinite(true)
        low, high = (np.array([getattr(e, name + end) for e in found])[kept] for end in ("_low", "_high"))
        assert 0.83 < ((low <= true[kept]) & (true[kept] <= high)).mean() < 0.97


def test_as_read_score_and_error_say_the_same():
    examples = scored()
    score = 100 - 20 * np.log2(examples.nrmse / 0.01) + np.random.default_rng(2).normal(0, 8, len(examples))
    as_read = fit(replace(examples, score=score), weights="w", as_read=True)
    for value in (-10.0, 37.0, 90.0):
        expected = as_read.expect(value, np.array([0, 0, 0, 0, 0, 50.0]))
        assert expected.nrmse == pytest.approx(error_of_score(value))
        assert expected.nrmse_low < expected.nrmse < expected.nrmse_high
    checks = leave_one_out(replace(examples, score=score), as_read=True)
    assert len(checks) == 6 and all(0.7 < check.nrmse_coverage <= 1 for check in checks)


def test_cut_off_by_brute_force(calibration):
    score, nrmse = np.array(calibration.held_score), np.array(calibration.held_nrmse)
    assert len(score) == 120
    for limit in (0.05, 0.1, 0.15):
        cut = calibration.cut_off(limit)
        good = [s for s, e in zip(score.tolist(), nrmse.tolist(), strict=True) if e <= limit]
        bad = [s for s, e in zip(score.tolist(), nrmse.tolist(), strict=True) if e > limit]
        assert (cut.n_within, cut.n_beyond, cut.limit) == (len(good), len(bad), limit)
        assert cut.within_rejected == pytest.approx(sum(s < cut.score for s in good) / len(good))
        assert cut.beyond_passed == pytest.approx(sum(s >= cut.score for s in bad) / len(bad))
        assert cut.within_rejected <= 0.05
        higher = min(s for s in good if s > cut.score)  # with the next, a new good image might be rejected too often
        assert (sum(s < higher for s in good) + 1) / (len(good) + 1) > 0.05


def test_cut_offs_reject_few_good_images_that_were_not_seen():
    rejected = []
    for seed in range(60):
        cut = fit(scored(seed=seed), weights="w").cut_off(0.1)
        new = scored(300, seed=1000 + seed)
        rejected.append((new.score[new.nrmse <= 0.1] < cut.score).mean())
    assert 0.02 < np.mean(rejected) < 0.06


def test_a_limit_that_hardly_any_image_keeps(calibration):
    with pytest.raises(ValueError, match=r"limit is 0\.001: the calibration has 0 images .*: choose a larger limit"):
        calibration.cut_off(0.001)
    assert math.isnan(calibration.cut_off(9.0).beyond_passed)


def test_outside_the_domain_there_are_reasons_and_no_numbers(calibration):
    far = calibration.expect(50.0, np.array([30.0, 0, 0, 0, 0, 50]))
    assert far.distance is not None
    assert not far.in_domain
    assert far == Expected(distance=far.distance, reason=far.reason)
    assert far.reason.startswith("unlike calibration (distance ")
    assert calibration.expect(math.nan, np.full(6, np.nan)) == Expected(reason="no foreground")


def test_familiar_images_are_in_the_domain():
    images = scored()
    shifted = replace(images, ood_features=images.ood_features + np.array([6, 0, 0, 0, 0, 0]))
    known = fit(images, weights="w", familiar=shifted.ood_features)
    other = fit(images, weights="w")
    assert (other.domain.distance(shifted.ood_features) > 1).mean() > 0.9
    assert (known.domain.distance(shifted.ood_features) > 1).mean() < 0.5
    assert known.nrmse == other.nrmse


def test_reconstructions_are_few_or_none():
    assert fit(scored(reconstructions=0.0), weights="w").acceleration is None
    assert fit(replace(scored(), acceleration=None), weights="w").acceleration is None
    assert fit(scored(reconstructions=0.1), weights="w").acceleration is None
    assert expect(fit(scored(reconstructions=0.0), weights="w"), 50).acceleration is None


def test_examples_without_foreground_are_left_out():
    images = scored()
    empty = replace(images, score=np.where(np.arange(240) < 6, np.nan, images.score))
    assert fit(empty, weights="w") == fit(images.part(np.arange(240) >= 6), weights="w")


@pytest.mark.parametrize(("n", "coverage"), [(30, 0.9), (60, 0.95)])
def test_too_few_examples(n, coverage):
    with pytest.raises(ValueError, match=f"{n} scored images are too few for a coverage of {coverage}"):
        fit(scored(n), weights="w", coverage=coverage)


def test_each_subject_is_left_out_in_turn():
    images = scored(600)
    # One subject's errors are three times as large as its scores say: only its own row may tell.
    odd = images.subject == "s2"
    checks = leave_one_out(replace(images, nrmse=np.where(odd, 3 * images.nrmse, images.nrmse)))
    assert [c.subject for c in checks] == [f"s{k}" for k in range(6)]
    assert [c.n for c in checks] == [100] * 6
    coverage = {c.subject: c.nrmse_coverage for c in checks}
    assert coverage.pop("s2") < 0.3
    assert min(coverage.values()) > 0.75
    by_name = {c.subject: c for c in checks}
    assert by_name["s2"].nrmse_mae > 3 * by_name["s0"].nrmse_mae
    assert max(c.false_alarm for c in checks) < 0.2
    assert leave_one_out(scored(240, n_subjects=1)) == []


def test_volume_is_the_mean_of_its_slices_in_the_domain(calibration):
    a, b = expect(calibration, 30), expect(calibration, 70)
    out = Expected(distance=9.0, reason="unlike")
    found = volume_nrmse([(a, 0.5), (out, 0.9), (b, 0.25), (None, 0.1)])
    assert found == pytest.approx(
        [(2 * getattr(a, n) + getattr(b, n)) / 3 for n in ("nrmse", "nrmse_low", "nrmse_high")]
    )
    assert volume_nrmse([(out, 0.5)]) is None
    assert volume_nrmse([]) is None


def test_intervals_of_an_images_own_width_hold():
    def drawn(n, seed):
        rng = np.random.default_rng(seed)
        base = scored(n, seed)
        width = np.exp(rng.uniform(-2.5, -0.5, (n, 2)))
        z = rng.standard_normal(n)
        nrmse = 0.35 * np.exp(-base.score / 35) * np.exp(z * np.where(z < 0, *width.T) / 1.6)
        return replace(base, nrmse=nrmse, width=width)

    calibration, new = fit(drawn(400, 0), weights="w"), drawn(2000, 1)
    assert new.width is not None
    figures = zip(new.score.tolist(), new.width.tolist(), strict=True)
    ends = np.array([calibration.nrmse(score, (below, above)) for score, (below, above) in figures])
    inside = (ends[:, 1] <= new.nrmse) & (new.nrmse <= ends[:, 2])
    assert 0.85 < inside.mean() < 0.96
    sure = new.width.sum(1) < np.median(new.width.sum(1))
    assert inside[sure].mean() > 0.82 and inside[~sure].mean() > 0.82  # those of a common width would not
    with pytest.raises(ValueError, match="give their width"):
        calibration.nrmse(50.0)


def test_intervals_widen_away_from_the_familiar_until_there_are_none(calibration):
    mean = np.array(calibration.domain.mean)
    direction = np.eye(len(mean))[0]
    unit = calibration.domain.distance((mean + direction)[None])[0]
    near, far, farther, beyond = (calibration.expect(50.0, mean + direction * d / unit) for d in (0.5, 1.5, 1.9, 2.1))
    assert near.nrmse == far.nrmse == farther.nrmse
    spans = [math.log(e.nrmse_high / e.nrmse_low) for e in (near, far, farther)]
    np.testing.assert_allclose(spans, [spans[0], 1.5 * spans[0], 1.9 * spans[0]], rtol=1e-6)
    assert beyond.nrmse is None and "unlike" in beyond.reason

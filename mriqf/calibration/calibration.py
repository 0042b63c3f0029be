"""From a score to the error that is to be expected, with an interval that is honest, or the reason why there is none.

A predictor's score ranks images; a calibration, made on images whose errors are known, says what error a score stands
for, how often that is wrong, and below which score images should be rejected.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from mriqf.calibration.curve import SMALLEST, Band, fit_band, halves, least
from mriqf.calibration.domain import Domain, fit_domain

LIMIT = 0.10
"""NRMSE that a cut-off is for, if nobody says otherwise."""
REJECTED = 0.05
"""Share of images within the limit that a cut-off may reject."""
LEAST_FIT = 10  # images to fit a curve to
REFUSED = 2.0
"""Distance from the familiar from which on no numbers are given; from 1 on, intervals are as many times wider."""


@dataclass(frozen=True)
class Scored:
    """Scores of images whose errors are known."""

    score: Float[np.ndarray, " n"]
    """Not cut off at 0 and 100: `mriqf.predictors.unit`."""
    nrmse: Float[np.ndarray, " n"]
    ssim: Float[np.ndarray, " n"]
    subject: Shaped[np.ndarray, " n"]
    ood_features: Float[np.ndarray, "n m"]
    """See `mriqf.calibration.domain.describe`."""
    acceleration: Float[np.ndarray, " n"] | None = None
    """Effective; NaN for images that are no reconstructions."""
    width: Float[np.ndarray, "n 2"] | None = None
    """The predictor's own spread of the logarithm (base e) of NRMSE, below and above, if it has one."""

    def __len__(self) -> int:
        return len(self.score)

    def part(self, rows: Bool[np.ndarray, " n"]) -> "Scored":
        """Some of the images."""
        sampled, width = (None if v is None else v[rows] for v in (self.acceleration, self.width))
        return Scored(
            self.score[rows], self.nrmse[rows], self.ssim[rows], self.subject[rows], self.ood_features[rows],
            sampled, width,
        )  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """Error expected of a slice from its score; the reason instead of numbers outside the calibration's domain."""

    nrmse: float | None = None
    nrmse_low: float | None = None
    nrmse_high: float | None = None
    ssim: float | None = None
    ssim_low: float | None = None
    ssim_high: float | None = None
    acceleration: float | None = None
    """At which reconstructions score alike; also None where the calibration had no reconstructions."""
    acceleration_low: float | None = None
    acceleration_high: float | None = None
    distance: float | None = None
    """From the images of the calibration: intervals widen beyond 1, and there are none beyond `REFUSED`."""
    reason: str = ""
    """Why there are no numbers; empty inside the domain."""

    @property
    def in_domain(self) -> bool:
        """True if the image lies in the calibration's domain."""
        return not self.reason

    @property
    def unlike(self) -> bool:
        """True if the image was tested and lies outside the domain: its score is not to be trusted."""
        return self.distance is not None and bool(self.reason)


@dataclass(frozen=True)
class CutOff:
    """A score to reject images below, and what that costs."""

    score: float
    limit: float
    """NRMSE, the limit that it is for."""
    within_rejected: float
    """Share of images within the limit that score below."""
    beyond_passed: float
    """Share of images beyond the limit that score above; NaN if there was none."""
    n_within: int
    n_beyond: int


@dataclass(frozen=True)
class Calibration:
    """Map from scores to errors with intervals, for one predictor's weights and one pool."""

    weights: str
    """Hash of the weights: `mriqf.predictors.inference.fingerprint`."""
    pool: str
    coverage: float
    """Share of images whose figure lies in its interval, at least, if they are drawn as the calibration's were."""
    split: str
    """Subjects that the curves were fitted on, and those that their intervals were measured on."""
    nrmse: Band
    dissimilarity: Band
    """Band of 1 − SSIM."""
    acceleration: Band | None
    domain: Domain
    held_score: tuple[float, ...]
    """Scores of the images that the intervals were measured on, from the worst; cut-offs come from these."""
    held_nrmse: tuple[float, ...]

    def expect(
        self,
        score: float,
        ood_features: Float[np.ndarray, " m"],
        width: tuple[float, float] | None = None,
        *,
        wider: float = 1.0,
    ) -> Expected:
        """Error expected of one slice.

        Parameters
        ----------
        score
            Not cut off at 0 and 100.
        ood_features
            See `mriqf.calibration.domain.describe`.
        width
            See `Scored.width`.
        wider
            Factor on the width of intervals, for a score that is less certain than those of the calibration.
        """
        if math.isnan(score):
            return Expected(reason="no foreground")
        distance = float(self.domain.distance(ood_features[None])[0])
        if distance > REFUSED:
            return Expected(distance=distance, reason=f"unlike calibration (distance {distance:.2f} > {REFUSED:g})")
        wider *= max(distance, 1.0)
        unlike, unlike_low, unlike_high = self.dissimilarity(score, None, wider)
        accelerations = (None, None, None) if self.acceleration is None else self.acceleration(score, None, wider)
        similar = (1 - unlike, max(1 - unlike_high, 0.0), 1 - unlike_low)
        at_least_one = (None if r is None else max(r, 1.0) for r in accelerations)
        return Expected(*self.nrmse(score, width, wider), *similar, *at_least_one, distance=distance)

    def cut_off(self, limit: float = LIMIT) -> CutOff:
        """Score to reject images below, for a limit of NRMSE: at most 5 % of images within the limit score lower.

        Raises
        ------
        ValueError
            If too few images within the limit are known to say so.
        """
        score, beyond = np.array(self.held_score), np.array(self.held_nrmse) > limit
        within = np.sort(score[~beyond])
        rank = math.floor(REJECTED * (len(within) + 1))
        if rank < 1:
            raise ValueError(
                f"limit is {limit:g}: the calibration has {len(within)} images with a smaller NRMSE, too few to allow "
                f"{100 * REJECTED:g} % of them below a cut-off: choose a larger limit"
            )
        cut = float(within[rank - 1])
        passed = float((score[beyond] >= cut).mean()) if beyond.any() else math.nan
        return CutOff(cut, limit, float((within < cut).mean()), passed, len(within), int(beyond.sum()))


def fit(
    scored: Scored,
    *,
    weights: str,
    pool: str = "rms",
    coverage: float = 0.9,
    familiar: Float[np.ndarray, "k m"] | None = None,
    as_read: bool = False,
) -> Calibration:
    """Curves from score to NRMSE, SSIM and acceleration, their intervals, and the domain where they hold.

    Half of the subjects give the curves, which are isotonic, and the local spread about them. The other half gives the
    intervals by split-conformal prediction: the residuals over the spread, each tail with half of what may lie outside.

    Parameters
    ----------
    scored
        Images with known errors, of at least two subjects if possible: images of one subject are alike, and the
        interval then promises nothing for others.
    weights, pool
        Hash of the predictor's weights, and pool of its maps; kept in the result.
    coverage
        Share of images whose figure shall lie in its interval.
    familiar
        OOD features of further images that the predictor knows, such as those that it was trained on; their errors
        do not count.
    as_read
        Take the errors that scores stand for by their unit, and calibrate their intervals alone: expected NRMSE and
        score then say the same.

    Raises
    ------
    ValueError
        If there are too few images.

    References
    ----------
    Lei et al., Distribution-free predictive inference for regression, JASA 2018, doi:10.1080/01621459.2017.1307116.
    """
    scored = scored.part(np.isfinite(scored.score))
    first, split = halves(scored.subject)
    known = scored.ood_features[first] if familiar is None else np.concatenate((scored.ood_features[first], familiar))
    if min(first.sum(), (~first).sum()) < max(LEAST_FIT, least(coverage)):
        raise ValueError(
            f"{len(scored)} scored images are too few for a coverage of {coverage:g}: give {4 * least(coverage)} or so"
        )
    acceleration = None
    if scored.acceleration is not None:
        sampled = np.isfinite(scored.acceleration)
        parts = (first & sampled).sum(), (~first & sampled).sum()
        if parts[0] >= LEAST_FIT and parts[1] >= least(coverage):
            acceleration = fit_band(scored.score[sampled], scored.acceleration[sampled], first[sampled], coverage)
    order = np.lexsort((scored.nrmse[~first], scored.score[~first]))
    return Calibration(
        weights, pool, coverage, split,
        fit_band(scored.score, scored.nrmse, first, coverage, scored.width, as_read=as_read),
        fit_band(scored.score, 1 - scored.ssim, first, coverage),
        acceleration,
        fit_domain(known, scored.ood_features[~first]),
        tuple(scored.score[~first][order].tolist()),
        tuple(scored.nrmse[~first][order].tolist()),
    )  # fmt: skip


@dataclass(frozen=True)
class Check:
    """Coverage and errors of a calibration on a subject left out of it."""

    subject: str
    n: int
    nrmse_coverage: float
    ssim_coverage: float
    nrmse_mae: float
    ssim_mae: float
    false_alarm: float
    """Share of the subject's images called unknown; the others' figures are over all its images."""


def leave_one_out(
    scored: Scored,
    *,
    coverage: float = 0.9,
    familiar: Float[np.ndarray, "k m"] | None = None,
    as_read: bool = False,
) -> list[Check]:
    """Calibrate without each subject in turn, and look at that one; empty if there is one only, or too few images."""
    scored = scored.part(np.isfinite(scored.score))
    checks = []
    for subject in np.unique(scored.subject):
        out = scored.subject == subject
        try:
            calibration = fit(scored.part(~out), weights="", coverage=coverage, familiar=familiar, as_read=as_read)
        except ValueError:
            return []
        seen = scored.part(out)
        distance = calibration.domain.distance(seen.ood_features)
        wider = np.maximum(distance, 1).tolist()
        widths = [None] * len(seen) if seen.width is None else [(float(a), float(b)) for a, b in seen.width]
        figures = list(zip(seen.score.tolist(), widths, wider, strict=True))
        nrmse = np.array([calibration.nrmse(score, width, far) for score, width, far in figures])
        ssim = 1 - np.array([calibration.dissimilarity(score, None, far) for score, _, far in figures])
        far = distance > REFUSED
        true_nrmse = np.maximum(seen.nrmse, SMALLEST)
        checks.append(Check(
            str(subject), len(seen),
            float(((nrmse[:, 1] <= true_nrmse) & (true_nrmse <= nrmse[:, 2])).mean()),
            float(((ssim[:, 2] <= seen.ssim) & (seen.ssim <= ssim[:, 1])).mean()),
            float(np.abs(nrmse[:, 0] - seen.nrmse).mean()), float(np.abs(ssim[:, 0] - seen.ssim).mean()),
            float(far.mean()),
        ))  # fmt: skip
    return checks

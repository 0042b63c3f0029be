"""Metrics applied to each image: the weights under test, others, controls, and the classical measures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32

from mriqf.calibration import Calibration
from mriqf.calibration.file import attached
from mriqf.metrics.reference_free import baselines
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.predictors.inference import for_inference
from mriqf.predictors.unit import ERROR_UNIT, error_of_score, score_of_error
from mriqf.scoring.pooling import choose_pool
from mriqf.scoring.resolution import Resolution
from mriqf.scoring.result import SliceScore
from mriqf.scoring.scorer import check_channels
from mriqf.studies.jpeg_report.acceleration.measure import score_image
from mriqf.training.degraded import FAMILIES

EXPECTED = (
    "nrmse_expected", "nrmse_low", "nrmse_high", "ssim_expected", "ssim_low", "ssim_high",
    "acceleration_expected", "acceleration_low", "acceleration_high", "distance", "in_domain",
)  # fmt: skip
"""Estimates by the calibration of the first weights, only inside its domain."""
PLAIN_MAPS = ("intensity", "gradient")
"""Control maps that do not depend on errors: the image and its gradient, smoothed."""
_SIGMA = 6.0  # pixels, as the local error is smoothed


@dataclass(frozen=True)
class Metrics:
    """Predictors by the names of their columns."""

    weights: Mapping[str, Predictor]
    controls: Mapping[str, Predictor]
    left_out: Mapping[str, Predictor]
    """Predictors by the family that each was not trained on."""
    calibration: Calibration | None
    """Calibration of the first weights, if they have one."""

    @property
    def scores(self) -> tuple[str, ...]:
        """Columns of the scores."""
        return (
            *(f"score {name}" for name in self.weights),
            *(f"control {name}" for name in self.controls),
            *(f"left-out {family}" for family in self.left_out),
        )

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that every image gets."""
        return (*self.weights, *self.controls, *PLAIN_MAPS)

    def apply(self, image: Float32[np.ndarray, "h w"], family: str = "", resolution: Resolution = "own") -> "Values":
        """Score a magnitude image, any unit, as `mriqf score` would; networks without a family score only that one."""
        scores = {f"score {name}": score_image(image, model, resolution) for name, model in self.weights.items()}
        scores |= {f"control {name}": score_image(image, model, resolution) for name, model in self.controls.items()}
        first = next(iter(scores.values()))
        row = dict.fromkeys((*self.scores, *EXPECTED), float("nan"))
        row |= {column: slice_score.value for column, slice_score in scores.items()}
        if family in self.left_out:
            row[f"left-out {family}"] = score_image(image, self.left_out[family], resolution).value
        row |= baselines(first.image[0], first.foreground) | _expected(first, self.calibration)
        names = (*self.weights, *self.controls)
        models = (*self.weights.values(), *self.controls.values())
        errors = {
            name: error_map(model, slice_score.map)
            for name, model, slice_score in zip(names, models, scores.values(), strict=True)
        }
        return Values(row, errors | plain_maps(first.image[0]), first)


@dataclass(frozen=True)
class Values:
    """Scores and error maps of an image."""

    row: dict[str, float]
    errors: dict[str, Float[np.ndarray, "h w"]]
    """Error map by name, larger where the error is thought to be larger."""
    first: SliceScore
    """Expected errors by the first weights."""


def read_metrics(weights: Sequence[str], controls: Sequence[str], left_out: Sequence[str]) -> Metrics:
    """Load all predictors.

    Raises
    ------
    ValueError
        If there are none, one is not to be had or two have one name, or a file of `left_out` is not called
        `without-<family>`, with a seed behind it as the study of the pretext has, or without.
    """
    if not weights:
        raise ValueError("weights has no name: give one or more, such as qf-mri")
    groups = []
    for names in (weights, controls):
        groups.append({Path(name).stem: for_inference(load_predictor(name)) for name in names})
        if len(groups[-1]) < len(names):
            raise ValueError(f"weights {', '.join(names)} share a name: rename one")
    families = {}
    for name in left_out:
        prefix, _, rest = Path(name).stem.partition("-")
        family = re.sub(r"-\d+$", "", rest)
        if prefix != "without" or family not in FAMILIES:
            raise ValueError(f"left-out weights {name!r} do not say what they lack: call the file without-<family>")
        families[family] = for_inference(load_predictor(name))
    for model in (*groups[0].values(), *groups[1].values(), *families.values()):
        check_channels(1, model)
    first = load_predictor(weights[0])
    return Metrics(groups[0], groups[1], families, attached("auto", first, choose_pool("auto", first)))


def error_map(model: Predictor, quality: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Predicted local error of an error predictor; 100 minus the quality map of any other."""
    if model.unit != ERROR_UNIT:
        return 100.0 - quality.astype(np.float64)
    return error_of_score(quality.astype(np.float64))


def plain_maps(image: Float[np.ndarray, "h w"]) -> dict[str, Float[np.ndarray, "h w"]]:
    """`PLAIN_MAPS` of an image."""
    from scipy.ndimage import gaussian_filter

    down, across = np.gradient(image.astype(np.float64))
    steep = np.hypot(down, across)
    return {"intensity": gaussian_filter(image.astype(np.float64), _SIGMA), "gradient": gaussian_filter(steep, _SIGMA)}


def pearson(a: Float[np.ndarray, "h w"], b: Float[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"]) -> float:
    """Correlation of two maps in the object; NaN if one is constant there."""
    x, y = a[inside].astype(np.float64), b[inside].astype(np.float64)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def auroc(error: Float[np.ndarray, "h w"], wrong: Bool[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"]) -> float:
    """AUROC of degraded against other pixels of the object; ties count half; NaN without pixels of either kind.

    References
    ----------
    Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic (ROC) curve, Radiology
    1982, doi:10.1148/radiology.143.1.7063747.
    """
    from scipy.stats import rankdata

    values, positive = error[inside], wrong[inside]
    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return float("nan")
    return float((rankdata(values)[positive].sum() - n * (n + 1) / 2) / (n * m))


def _expected(slice_score: SliceScore, calibration: Calibration | None) -> dict[str, float]:
    """Expected errors from the calibration inside its domain, and the distance from it."""
    if calibration is None or slice_score.ood_features is None or slice_score.error is None:
        return {}
    score = score_of_error(slice_score.error, clamp=False)
    expected = calibration.expect(score, slice_score.ood_features, slice_score.width)
    values = {name: getattr(expected, name.removesuffix("_expected")) for name in EXPECTED[:-1]}
    known = {name: float(value) for name, value in values.items() if value is not None}
    return known | {"in_domain": float(expected.in_domain)}

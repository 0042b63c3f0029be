"""Out-of-distribution detection: outside the images that a calibration was made on, scores promise nothing."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32
from torch import Tensor

SHRINKAGE = 0.05
"""Share of the identity in the correlation of features: of 0.01 to 1, what told photographs and tiny objects best."""
LEAST_SD = 1e-6  # of a feature: one that never varies would make any change infinitely far


def describe(
    features: Float[Tensor, "k i j"],
    weight: Float[Tensor, "i j"],
    image: Float32[np.ndarray, "ch h w"],
    foreground: Bool[np.ndarray, "h w"],
) -> Float[np.ndarray, " m"]:
    """Out-of-distribution features of an image, k + 7 numbers; NaN without foreground.

    Mean features of the object, by which a predictor tells errors; and seven plain figures of the picture,
    to which a predictor of errors is blind on purpose: the share of foreground, percentiles 5, 25, 50, 75 and 95 of its
    values, and the mean of what is around it.

    Parameters
    ----------
    features
        See `mriqf.predictors.error.ErrorPredictor.features`.
    weight
        Share of each cell that is foreground, 0–1.
    image
        The normalised slice, [0, 1].
    foreground
        Mask of the object.
    """
    weight = weight.double()
    if not foreground.any() or weight.sum() == 0:
        return np.full(len(features) + 7, np.nan)
    mean = ((features.double() * weight).sum((1, 2)) / weight.sum()).numpy()
    flat = image.mean(0, dtype=np.float64)
    around = flat[~foreground]
    values = np.percentile(flat[foreground], (5, 25, 50, 75, 95))
    return np.concatenate((mean, [foreground.mean()], values, [around.mean() if around.size else 0.0]))


@dataclass(frozen=True)
class Domain:
    """Mean and correlation of the OOD features of known images, and the distance beyond which an image is unknown.

    The distance is Mahalanobis', with 5 % of the identity in the correlation.
    """

    mean: tuple[float, ...]
    """Mean of the OOD features (`describe`) over known images."""
    whitener: tuple[tuple[float, ...], ...]
    """Matrix that makes known images' numbers uncorrelated, and their distances such that 1 is the limit."""
    false_alarm: float
    """Share of images of the known kind that lie beyond 1, at most: on average over sets of held-out images."""

    @cached_property
    def _matrix(self) -> Float[np.ndarray, "m m"]:
        return np.array(self.whitener)

    def distance(self, ood_features: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
        """Mahalanobis distance of images over the threshold: out of distribution above 1; NaN without foreground."""
        return np.sqrt((((ood_features - np.array(self.mean)) @ self._matrix) ** 2).mean(1))


def fit_domain(
    known: Float[np.ndarray, "n m"], held_out: Float[np.ndarray, "k m"], false_alarm: float = 0.05
) -> Domain:
    """Distance from known images, such that few held-out images of their kind lie beyond 1.

    Parameters
    ----------
    known
        OOD features (`describe`) of known images.
    held_out
        The same of other images of this kind; of other subjects, or distances will look smaller than they are.
    false_alarm
        Share of images of this kind that may be called unknown.

    Raises
    ------
    ValueError
        If the held-out images are too few for the false-alarm rate.

    References
    ----------
    Lee et al., A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018, arXiv:1807.03888;
    threshold: Bates et al., Testing for outliers with conformal p-values, Ann Statist 2023, doi:10.1214/22-AOS2244.
    """
    n = len(held_out)
    rank = math.ceil((n + 1) * (1 - false_alarm))
    if rank > n:
        raise ValueError(f"{n} held-out images are too few for a false-alarm rate of {false_alarm}: give more examples")
    mean, sd = known.mean(0), np.maximum(known.std(0), LEAST_SD)
    scaled = (known - mean) / sd
    correlation = (1 - SHRINKAGE) * scaled.T @ scaled / len(known) + SHRINKAGE * np.eye(len(mean))
    whitener = np.linalg.cholesky(np.linalg.inv(correlation)) / sd[:, None]
    threshold = np.sort(np.sqrt((((held_out - mean) @ whitener) ** 2).mean(1)))[rank - 1]
    whitener /= threshold * (1 + 1e-9)  # rounding must not push the image that set the limit beyond it
    return Domain(tuple(mean.tolist()), tuple(tuple(row) for row in whitener.tolist()), false_alarm)

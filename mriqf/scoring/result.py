"""Results of scoring: a slice's, a volume's, with everything needed to get the same numbers again.

The unit of scores and maps is that of the weights: see `mriqf.predictors.unit`.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32

from mriqf.calibration import Calibration, Expected
from mriqf.jpeg.lattice import Lattice
from mriqf.scoring.scale import Scale


@dataclass(frozen=True)
class SliceScore:
    """Quality of one slice."""

    index: int
    value: float
    """Score, 0–100, higher is better; NaN where there is no foreground to score."""
    foreground_fraction: float
    """Share of the slice's pixels that the foreground holds, 0–1."""
    map: Float32[np.ndarray, "h w"] = field(repr=False)
    """Score map at the slice's own size, 0–100."""
    foreground: Bool[np.ndarray, "h w"] = field(repr=False)
    image: Float32[np.ndarray, "ch h w"] = field(repr=False)
    """The normalised slice, [0, 1]."""
    error: float | None = None
    """Error that a predictor of errors reads, relative to the object's root mean square, before any calibration."""
    total: float | None = None
    """The same against the object without noise, if the predictor tells that apart."""
    width: tuple[float, float] | None = None
    """Distance from `error` to the ends of the predictor's own 90 % interval, in the logarithm (base e)."""
    ood_features: Float[np.ndarray, " m"] | None = field(repr=False, default=None)
    """Features of the slice as an error predictor sees it: `mriqf.calibration.domain.describe`."""
    expected: Expected | None = None
    """Errors to expect at this score, for weights that have a calibration."""

    @property
    def score(self) -> float:
        """Earlier name of `value`, for one release."""
        return self.value

    @property
    def quality(self) -> Float32[np.ndarray, "h w"]:
        """Earlier name of `map`, for one release."""
        return self.map


@dataclass(frozen=True)
class Score:
    """Quality of a volume, with everything needed to get the same number again."""

    value: float
    """Mean over the scored slices, weighted by their foreground; 0–100, higher is better."""
    slices: tuple[SliceScore, ...] = field(repr=False)
    pool: str
    weights: str
    unit: str
    """Unit of the score and the map: `mriqf.predictors.unit.ERROR_UNIT` or `JPEG_UNIT`."""
    scale: Scale
    lattice: Lattice | None
    """Lattice of an earlier JPEG compression, if the pixels still show it."""
    calibration: Calibration | None = field(repr=False, default=None)
    resolved: tuple[int, int] | None = None
    """Rows and columns of k-space that the slices fill, at which they were scored; None for predictors of JPEG quality,
    which see pixels as they are."""
    notes: tuple[str, ...] = ()
    """Reasons to doubt the numbers: see `notes`."""

    @property
    def per_slice(self) -> Float[np.ndarray, " s"]:
        """Scores of the slices, NaN where a slice has no foreground."""
        return np.array([s.value for s in self.slices])

    @property
    def map(self) -> Float32[np.ndarray, "s h w"]:
        """Score maps of the scored slices at their own size, 0–100."""
        return np.stack([s.map for s in self.slices])

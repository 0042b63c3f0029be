"""Intensity scale and foreground: both belong to a score, and are stored with it.

The same predictor gives other numbers under another scale or mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32

from mriqf.io import Volume
from mriqf.jpeg.lattice import Lattice, grey_levels
from mriqf.metrics.foreground import from_zero, in_range, intensity_range

_SAMPLED_SLICES = 32  # the scale of a volume comes from this many evenly spaced slices, so memory stays bounded
_SAMPLED_PIXELS = 2**25  # or fewer, where slices are larger than 1024²


@dataclass(frozen=True)
class Scale:
    """Linear map from raw units to [0, 1], and the foreground threshold."""

    low: float
    """Raw value mapped to 0: percentile 1 of the non-zero pixels (0 for photographs)."""
    high: float
    """Raw value mapped to 1: percentile 99.9 of the non-zero pixels (full range for photographs and JPEG)."""
    threshold: float
    """Foreground threshold on the smoothed, normalised slice; 0 takes everything."""

    def from_zero(self) -> "Scale":
        """The same top and foreground, with raw zero at 0: how high a noise floor lies says how bad it is.

        The scale itself where raw values lie below zero.
        """
        return Scale(*from_zero(self.low, self.high, self.threshold))


def volume_scale(volume: Volume, lattice: Lattice | None = None) -> Scale:
    """Scale of a volume, from at most 32 evenly spaced slices: percentiles for MR, full range for photographs (RGB).

    Parameters
    ----------
    volume
        Volume to score.
    lattice
        Lattice of an earlier JPEG compression, if its grey levels show one: then those levels are kept, since
        stretching them by a few percent would make quantisation steps look coarser than they are.

    Raises
    ------
    ValueError
        If the volume is empty or constant.
    """
    most = max(1, min(_SAMPLED_SLICES, _SAMPLED_PIXELS // math.prod(volume.shape)))
    slices = [volume.read_slice(i) for i in spread(range(volume.n_slices), most)]
    if volume.channels != 1:
        return full_range_scale(slices)
    scale = percentile_scale(slices)
    levels = None if lattice is None else grey_levels(torch.from_numpy(np.concatenate(slices)))
    if levels is None:
        return scale
    low, high = levels[0], levels[0] + 255 * levels[1]
    threshold = scale.low + scale.threshold * (scale.high - scale.low)
    return replace(scale, low=low, high=high, threshold=max((threshold - low) / (high - low), 1e-6))


def percentile_scale(slices: Sequence[Float32[np.ndarray, "ch h w"]]) -> Scale:
    """Scale of a volume from some of its slices.

    Raises
    ------
    ValueError
        If all pixels are zero, or all have one value.
    """
    return Scale(*intensity_range(slices))


def full_range_scale(slices: Sequence[Float32[np.ndarray, "ch h w"]]) -> Scale:
    """Scale of photographs: the range of their file type (1, 255 or 65535), no foreground.

    Raises
    ------
    ValueError
        If a photograph is constant.
    """
    top = max(float(s.max()) for s in slices)
    if all(np.ptp(s) == 0 for s in slices):
        raise ValueError(f"image is constant ({top:g} everywhere): nothing to score")
    return Scale(0.0, 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0, 0.0)


def normalise(raw: Float32[np.ndarray, "ch h w"], scale: Scale) -> Float32[np.ndarray, "ch h w"]:
    """Raw units to [0, 1]; what lies outside is clipped."""
    return in_range(raw, scale.low, scale.high)


def spread(indices: Sequence[int], n: int) -> list[int]:
    """At most `n` of the indices, evenly spaced, always the same."""
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), n)).round().astype(int))
    return [indices[int(k)] for k in chosen]

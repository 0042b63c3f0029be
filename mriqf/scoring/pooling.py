"""From the predictor's map to numbers, and to a map of the image's size."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from mriqf.calibration import Expected
from mriqf.predictors.base import Predictor
from mriqf.tiles import padding

POOLS = ("foreground", "mean", "center", "minkowski:p")
"""Pools of score maps; predictors of errors have `rms` beside them."""


def pool_map(quality: Float[Tensor, "i j"], weight: Float[Tensor, "i j"], pool: str = "foreground") -> float:
    """One number from a score map; NaN if the weights are all zero.

    Parameters
    ----------
    quality
        Score of each cell, 0–100.
    weight
        Share of each cell that is foreground, 0–1.
    pool
        `foreground`: mean weighted by `weight`. `mean`: all cells alike. `center`: all cells of the central quarter
        (half of each side), the report's central patch. `minkowski:p`: power mean of order p, weighted by `weight`;
        p below 1 lets the worst cells count more.

    Raises
    ------
    ValueError
        If `pool` is none of these.
    """
    return float(pooled(quality, weight, pool))


def pooled(quality: Float[Tensor, "i j"], weight: Float[Tensor, "i j"], pool: str) -> Float[Tensor, ""]:
    """As `pool_map`, with a gradient."""
    quality, weight = quality.double(), weight.double()
    name, order = check_pool(pool)
    if name == "center":
        rows, columns = (slice(n // 4, n - n // 4) for n in quality.shape)
        return quality[rows, columns].mean()
    if name == "mean":
        return quality.mean()
    total = weight.sum()
    if total == 0:
        return quality.new_tensor(math.nan)
    if name == "foreground":
        return (quality * weight).sum() / total
    return minkowski(quality.clamp_min(1e-3), order, weight)


def minkowski(
    values: Float[Tensor, "*b h w"], exponent: int | float, weights: Float[Tensor, "*b h w"] | None = None
) -> Float[Tensor, "*b"]:
    """Power mean of each map: (Σ w vᵖ / Σ w)^(1/p); NaN where the weights are all zero.

    Grows with the exponent from the least value over the harmonic (−1), geometric (0, the limit) and arithmetic (1)
    mean to the greatest; below 1, the worst places count more. Scales with its values.

    Parameters
    ----------
    values
        Not negative; gradients are finite where they are positive.
    exponent
        Any finite p.
    weights
        Not negative; all alike without.

    """
    axes = (-2, -1)
    weights = torch.ones_like(values, dtype=torch.float64) if weights is None else weights.double()
    share, kept = weights / weights.sum(axes, keepdim=True), weights > 0
    # Logarithms, because powers of small values leave the range of numbers; double, for exponents near 0.
    logs = values.double().log()
    if exponent == 0:
        return torch.where(kept, share * logs, share).sum(axes).exp().to(values)
    terms = torch.where(kept, share.log() + exponent * logs, share.log())
    return (terms.logsumexp(axes) / exponent).exp().to(values)


def check_pool(pool: str) -> tuple[str, float]:
    """Name and order of a pool; ValueError, saying what there is, for an unknown one."""
    name, colon, order = pool.partition(":")
    if name == "minkowski" and colon:
        try:
            if math.isfinite(float(order)):
                return name, float(order)
        except ValueError:
            pass
    elif name in ("foreground", "mean", "center") and not colon:
        return name, 1.0
    raise ValueError(f"pool is {pool!r}: choose one of {', '.join(POOLS)}, for example minkowski:-2")


def cell_weight(
    masks: Bool[Tensor, "b h w"], stride: int, grid_offset: tuple[int, int] = (0, 0)
) -> Float[Tensor, "b 1 i j"]:
    """Share of each cell of the quality map that lies in the foreground, 0–1."""
    padded = torch.nn.functional.pad(
        masks[:, None].double(), padding((masks.shape[1], masks.shape[2]), grid_offset, stride)
    )
    return torch.nn.functional.avg_pool2d(padded, stride)


def upsample_map(
    quality: Float[Tensor, "b 1 i j"], shape: tuple[int, ...], stride: int, grid_offset: tuple[int, int] = (0, 0)
) -> Float32[np.ndarray, "b h w"]:
    """The score map at the image's size, bilinear between the centres of its cells."""
    full = torch.nn.functional.interpolate(quality, scale_factor=float(stride), mode="bilinear", align_corners=False)
    return full[:, 0, grid_offset[0] : grid_offset[0] + shape[0], grid_offset[1] : grid_offset[1] + shape[1]].numpy()


def weighted_mean(scores: Sequence[tuple[float, float]]) -> float:
    """Score of a volume from its slices' scores and foreground fractions; NaN if no slice has foreground."""
    kept = [(s, f) for s, f in scores if not math.isnan(s)]
    total = sum(f for _, f in kept)
    return sum(s * f for s, f in kept) / total if total else math.nan


def volume_nrmse(slices: Sequence[tuple[Expected | None, float]]) -> tuple[float, float, float] | None:
    """NRMSE of a volume and the ends of its interval, from its slices and their shares of foreground.

    Means over the slices inside the domain; None if there is none. The ends are those of slices that all err to the
    same side, as slices of one scan do at worst: were they independent, the interval would be narrower.
    """
    kept = [(e, share) for e, share in slices if e is not None and e.nrmse is not None]
    if not kept:
        return None
    names = ("nrmse", "nrmse_low", "nrmse_high")
    return tuple(weighted_mean([(getattr(e, name), share) for e, share in kept]) for name in names)  # pyright: ignore[reportReturnType]


def choose_pool(pool: str, model: Predictor) -> str:
    """Pool to use; `auto` is the predictor's own.

    Parameters
    ----------
    pool
        One of those of `pool_map`; or `rms`, for predictors of errors, which is their own: the score of the root mean
        square error of the object. Other predictors' own is `foreground`.

    Raises
    ------
    ValueError
        If there is no such pool, or the predictor has none.
    """
    if pool == "auto":
        return model.default_pool
    if pool != "rms":
        try:
            check_pool(pool)
        except ValueError:
            kinds = ", ".join((*POOLS, "rms (of predictors of errors)", "auto"))
            raise ValueError(f"pool is {pool!r}: choose one of {kinds}, for example minkowski:-2") from None
    elif model.default_pool != "rms":
        raise ValueError(f"pool is 'rms', of errors, which {model.name} does not know: choose foreground, or qf-mri")
    return pool

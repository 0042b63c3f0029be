"""Fully sampled centre of k-space, and checks of k-space."""

from jaxtyping import Complex, Shaped
from torch import Tensor


def calibration_size(kspace: Complex[Tensor, "b c h w"]) -> int:
    """Return the side of the largest centred square that every slice samples fully, in points; 0 if there is none.

    Parameters
    ----------
    kspace
        Measured k-space, any unit, exactly zero in all coils where it was not sampled.
    """
    sampled = (kspace != 0).any(1).all(0)
    n = 0
    while n < min(sampled.shape) and bool(central(sampled, (n + 1, n + 1)).all()):
        n += 1
    return n


def calibration_region(kspace: Complex[Tensor, "b c h w"], most: int = 24) -> tuple[int, int]:
    """Return the rows and columns of a centred rectangle that every slice samples fully; (0, 0) if there is none.

    The largest square, made longer along an axis where sampling allows: a few fully sampled columns have many rows.

    Parameters
    ----------
    kspace
        Measured k-space, any unit, exactly zero in all coils where it was not sampled.
    most
        Upper bound of both sides, in points.
    """
    sampled = (kspace != 0).any(1).all(0)
    rows = columns = min(calibration_size(kspace), most)
    while rows and rows < min(most, sampled.shape[0]) and bool(central(sampled, (rows + 1, columns)).all()):
        rows += 1
    while columns and columns < min(most, sampled.shape[1]) and bool(central(sampled, (rows, columns + 1)).all()):
        columns += 1
    return rows, columns


def central(x: Shaped[Tensor, "*batch h w"], sides: tuple[int, int]) -> Shaped[Tensor, "*batch n m"]:
    """Return the central points, as many along each axis, cut so that the zero frequency stays at ``n // 2``."""
    top, left = (size // 2 - n // 2 for size, n in zip(x.shape[-2:], sides, strict=True))
    return x[..., top : top + sides[0], left : left + sides[1]]


def require_kspace(kspace: Tensor) -> None:
    """Raise unless k-space is complex (b, c, h, w), finite, and not zero in any slice."""
    shape = tuple(kspace.shape)
    if not kspace.is_complex():
        raise ValueError(
            f"kspace is {kspace.dtype} with shape {shape}, must be complex (b, c, h, w): join real and imaginary parts "
            "by torch.complex, or by torch.view_as_complex where they are the last axis"
        )
    if kspace.ndim != 4:
        raise ValueError(f"kspace has shape {shape}, not (b, c, h, w): add the missing axis, such as kspace[None]")
    if not kspace.isfinite().all():
        raise ValueError(
            f"kspace {shape} holds NaN or infinity: look for them in the raw data, or leave those slices out"
        )
    empty = [i for i, y in enumerate(kspace) if not y.any()]
    if empty:
        raise ValueError(f"kspace {shape} is zero in all coils of slice {empty[0]}: leave empty slices out")

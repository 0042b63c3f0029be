"""Seeded masks for 2-D Cartesian undersampling; True marks a sampled phase-encoding column, or a sampled point.

``acceleration`` is the nominal factor asked for. Results should be reported against `effective_acceleration`, which
counts what the mask really samples. `draw` chooses a family by its name in `FAMILIES`.
"""

from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

_FASTMRI = ("random", "equispaced", "equispaced_fraction", "magic", "magic_fraction")

FAMILIES = ("random", "equispaced", "gaussian", "poisson", *(f"fastmri-{kind}" for kind in _FASTMRI))
"""Names that `draw` knows."""


def random(width: int, acceleration: int | float, center_fraction: float, seed: int) -> Bool[Tensor, " w"]:
    """Sample exactly ``round(width / acceleration)`` columns: the centre, and the rest uniformly at random.

    The count is exact, not an expectation, so the effective acceleration is the nominal one within half a column.

    Parameters
    ----------
    width
        Number of phase-encoding columns.
    acceleration
        Nominal undersampling factor, in [1, width].
    center_fraction
        Part of the columns that forms the fully sampled centre (ACS), in [0, 1]; counted in the total.
    seed
        Seed of the draw: the same arguments give the same mask.

    Raises
    ------
    ValueError
        If an argument is out of range, or the centre alone takes more columns than the acceleration allows.

    References
    ----------
    Lustig et al., Sparse MRI, Magn Reson Med 2007, doi:10.1002/mrm.21391.
    """
    mask = _center(width, acceleration, center_fraction)
    n_outside = _n_outside(mask, acceleration, center_fraction)
    mask[np.random.default_rng(seed).choice(np.flatnonzero(~mask), n_outside, replace=False)] = True
    return torch.from_numpy(mask)


def gaussian(
    width: int, acceleration: int | float, center_fraction: float, seed: int, std: int | float = 0.2
) -> Bool[Tensor, " w"]:
    """Sample exactly ``round(width / acceleration)`` columns: the centre, and others the likelier the nearer to it.

    The others are drawn one after the other without replacement, with Gaussian weights about the zero frequency.

    Parameters
    ----------
    width, acceleration, center_fraction, seed
        As in `random`.
    std
        Standard deviation of the weights as a part of the width, above 0; a large one approaches `random`.

    Raises
    ------
    ValueError
        If an argument is out of range, or the centre alone takes more columns than the acceleration allows.

    References
    ----------
    Lustig et al., Sparse MRI, Magn Reson Med 2007, doi:10.1002/mrm.21391.
    """
    mask = _center(width, acceleration, center_fraction)
    if not std > 0:
        raise ValueError(f"std={std} gives no density: use std > 0, a part of the width such as 0.2")
    n_outside = _n_outside(mask, acceleration, center_fraction)
    log_weight = -0.5 * ((np.arange(width) - width // 2) / (std * width)) ** 2
    # The largest of log weights plus Gumbel noise are a weighted draw without replacement, without underflow.
    key = np.where(mask, -np.inf, log_weight + np.random.default_rng(seed).gumbel(size=width))
    mask[np.argsort(-key)[:n_outside]] = True
    return torch.from_numpy(mask)


def equispaced(width: int, acceleration: int | float, center_fraction: float, seed: int) -> Bool[Tensor, " w"]:
    """Sample every ``acceleration``-th column from a random offset, and the centre.

    The centre comes on top of the regular columns, so the effective acceleration is *below* the nominal one: 320
    columns at ``acceleration=8, center_fraction=0.04`` give about 6.3. Record `effective_acceleration`.

    Parameters
    ----------
    width
        Number of phase-encoding columns.
    acceleration
        Column spacing, a whole number in [1, width].
    center_fraction
        Part of the columns that forms the fully sampled centre (ACS), in [0, 1].
    seed
        Seed of the offset: the same arguments give the same mask.

    Raises
    ------
    ValueError
        If an argument is out of range, or the acceleration is not whole.

    References
    ----------
    Zbontar et al., fastMRI, arXiv 2018, doi:10.48550/arXiv.1811.08839.
    """
    mask = _center(width, acceleration, center_fraction)
    if acceleration != int(acceleration):
        raise ValueError(f"acceleration={acceleration} is no column spacing: use a whole number, or masks.random")
    step = int(acceleration)
    mask[np.random.default_rng(seed).integers(step) :: step] = True
    return torch.from_numpy(mask)


def poisson(
    shape: tuple[int, int], acceleration: int | float, center_fraction: float, seed: int
) -> Bool[Tensor, "h w"]:
    """Sample exactly ``round(h * w / acceleration)`` points: a Poisson disc whose radius grows from the full centre.

    The disc is SigPy's. Points in excess are removed at random, which keeps the distances; at accelerations below 2,
    where a disc is hardly larger than a point, missing ones are added at random. Takes a second or a few.

    Parameters
    ----------
    shape
        Height and width of k-space in points.
    acceleration
        Nominal undersampling factor, in [1, h * w].
    center_fraction
        Part of each side that forms the fully sampled central rectangle (ACS), in [0, 1]; counted in the total.
    seed
        Seed of the draw: the same arguments give the same mask. NumPy's global random state is left alone.

    Raises
    ------
    ValueError
        If an argument is out of range, or the centre alone takes more points than the acceleration allows.
    ImportError
        If sigpy is not installed.

    References
    ----------
    Bridson, Fast Poisson disk sampling in arbitrary dimensions, SIGGRAPH sketches 2007, doi:10.1145/1278780.1278807.
    """
    height, width = shape
    if height < 1 or width < 1:
        raise ValueError(f"shape={shape} has no points: use a height and width of 1 or more")
    if not 1 <= acceleration <= height * width:
        raise ValueError(
            f"acceleration={acceleration} is out of range: use a value in [1, {height * width}] for shape {shape}"
        )
    mask = np.outer(*(_center(side, 1, center_fraction) for side in shape))
    n_outside, rng = _n_outside(mask, acceleration, center_fraction), np.random.default_rng(seed)
    outside = ~mask
    if 0 < n_outside < outside.sum():
        mask |= _poisson_disc(shape, acceleration, center_fraction, int(rng.integers(2**31)))
    drawn, n_missing = np.flatnonzero(mask & outside), n_outside - int((mask & outside).sum())
    if n_missing < 0:
        mask.flat[rng.choice(drawn, -n_missing, replace=False)] = False
    else:
        mask.flat[rng.choice(np.flatnonzero(~mask), n_missing, replace=False)] = True
    return torch.from_numpy(mask)


def thin(
    mask: Bool[Tensor, " w"] | Bool[Tensor, "h w"], acceleration: int | float, seed: int, center: float = 0.32
) -> Bool[Tensor, " w"] | Bool[Tensor, "h w"]:
    """Leave samples of a mask out, as if the scan had been shorter: whole lines where it takes whole lines.

    The count is exact, ``round(n / acceleration)``. The centre stays as far as it fits, others are chosen at random.

    Parameters
    ----------
    mask
        True where k-space was sampled.
    acceleration
        Effective undersampling factor of the result, at least that of the mask.
    seed
        Seed of the choice: the same arguments give the same mask.
    center
        Share of the result that is its centre, if the mask has one.

    Raises
    ------
    ValueError
        If the mask samples too little for that.
    """
    if mask.ndim == 2 and bool((mask == mask[:1]).all()):
        return thin(mask[0], acceleration, seed, center).expand_as(mask).clone()
    if mask.ndim == 2 and bool((mask == mask[:, :1]).all()):
        return thin(mask[:, 0], acceleration, seed, center)[:, None].expand_as(mask).clone()
    sampled = mask.numpy()
    n = round(sampled.size / acceleration)
    if not 0 < n <= sampled.sum():
        raise ValueError(
            f"acceleration={acceleration} cannot be had by leaving out samples of a mask of "
            f"{effective_acceleration(mask):.2f}: use a higher one"
        )
    fraction = min(center / acceleration, 1.0) ** (1 / mask.ndim)
    middle = _center(mask.shape[-1], 1, fraction)
    kept = sampled & (middle if mask.ndim == 1 else np.outer(_center(mask.shape[0], 1, fraction), middle))
    rng = np.random.default_rng(seed)
    if (excess := int(kept.sum()) - n) > 0:
        kept.flat[rng.choice(np.flatnonzero(kept), excess, replace=False)] = False
    kept.flat[rng.choice(np.flatnonzero(sampled & ~kept), max(-excess, 0), replace=False)] = True
    return torch.from_numpy(kept)


def fastmri(
    kind: str, width: int, acceleration: int | float, center_fraction: float, seed: int | tuple[int, ...]
) -> Bool[Tensor, " w"]:
    """Sample the columns that fastMRI's own mask function samples, to repeat a published set-up.

    Parameters
    ----------
    kind
        fastMRI's name of the mask: random, equispaced, equispaced_fraction, magic or magic_fraction. Only the
        fractions aim at the nominal factor exactly, and random in the mean.
    width
        Number of phase-encoding columns.
    acceleration
        Nominal undersampling factor, in [1, width]; a whole number for equispaced and magic.
    center_fraction
        Part of the columns that forms the fully sampled centre (ACS), in [0, 1].
    seed
        Seed of the call. fastMRI seeds a volume by its file's name, ``tuple(map(ord, "file1000001.h5"))``.

    Raises
    ------
    ValueError
        If an argument is out of range, or fastMRI's function fails for these arguments.
    ImportError
        If fastmri is not installed.

    References
    ----------
    Zbontar et al., fastMRI, arXiv 2018, doi:10.48550/arXiv.1811.08839. Defazio, Offset sampling improves deep learning
    based accelerated MRI reconstructions by exploiting symmetry, arXiv 2019, doi:10.48550/arXiv.1912.01101.
    """
    if kind not in _FASTMRI:
        raise ValueError(_unknown("kind", kind, _FASTMRI))
    _center(width, acceleration, center_fraction)
    try:
        from fastmri.data.subsample import create_mask_for_mask_type
    except ImportError as error:
        # With its dependencies comes a torchvision that need not fit torch, beside which other packages fail.
        cure = "pip install --no-deps fastmri, and pip install pandas pyyaml requests"
        raise ImportError(f"masks.fastmri needs fastmri ({error}): {cure}") from error
    step = int(acceleration) if acceleration == int(acceleration) else acceleration
    try:
        function = create_mask_for_mask_type(kind, [center_fraction], [step])  # pyright: ignore[reportArgumentType]
        columns, _ = function((1, width, 2), seed=seed)
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ValueError(
            f"fastMRI's {kind} mask fails for width={width}, acceleration={acceleration}, "
            f"center_fraction={center_fraction} ({error}): use a lower, whole acceleration and "
            f"center_fraction < {1 / acceleration:.3g}"
        ) from error
    return columns.flatten() != 0


def draw(
    family: str, shape: tuple[int, int], acceleration: int | float, center_fraction: float, seed: int
) -> Bool[Tensor, " w"] | Bool[Tensor, "h w"]:
    """Draw a mask of a family given by name: columns, or points for ``poisson``.

    Parameters
    ----------
    family
        One of `FAMILIES`.
    shape
        Height and width of k-space; a family of columns reads the width only.
    acceleration, center_fraction, seed
        As in the family's function.

    Raises
    ------
    ValueError
        If the family is unknown, or its function refuses the arguments.
    ImportError
        If the package that the family needs is not installed.

    Examples
    --------
    >>> mask = draw("random", (256, 320), acceleration=4, center_fraction=0.08, seed=0)
    >>> tuple(mask.shape), int(mask.sum())  # columns: a quarter of them, exactly
    ((320,), 80)
    """
    if family not in FAMILIES:
        raise ValueError(_unknown("family", family, FAMILIES))
    if family == "poisson":
        return poisson(shape, acceleration, center_fraction, seed)
    if family.startswith("fastmri-"):
        return fastmri(family.removeprefix("fastmri-"), shape[1], acceleration, center_fraction, seed)
    columns = {"random": random, "equispaced": equispaced, "gaussian": gaussian}[family]
    return columns(shape[1], acceleration, center_fraction, seed)


def effective_acceleration(mask: Bool[Tensor, "..."]) -> float:
    """Return the undersampling factor that a mask really has: positions over sampled positions, 1 or more.

    Parameters
    ----------
    mask
        Sampling mask of any rank; a batch of masks gives their pooled factor.

    Raises
    ------
    ValueError
        If the mask samples nothing.

    Examples
    --------
    >>> mask = equispaced(320, acceleration=8, center_fraction=0.04, seed=0)
    >>> round(effective_acceleration(mask), 1)  # the centre comes on top
    6.3
    """
    n_sampled = int(mask.sum())
    if n_sampled == 0:
        raise ValueError("mask samples nothing, so it has no acceleration: pass a mask with at least one True")
    return mask.numel() / n_sampled


def _center(width: int, acceleration: int | float, center_fraction: float) -> np.ndarray:
    """Check the arguments that all masks share and return the mask of the centre alone."""
    if width < 1:
        raise ValueError(f"width={width} has no columns: use width >= 1")
    if not 1 <= acceleration <= width:
        raise ValueError(f"acceleration={acceleration} is out of range: use a value in [1, {width}] for this width")
    if not 0 <= center_fraction <= 1:
        raise ValueError(f"center_fraction={center_fraction} is no fraction: use a value in [0, 1], such as 0.08")
    n_center = round(width * center_fraction)
    start = (width - n_center + 1) // 2  # fastMRI's rounding: any non-empty centre holds the zero frequency
    mask = np.zeros(width, dtype=bool)
    mask[start : start + n_center] = True
    return mask


def _n_outside(center: np.ndarray, acceleration: int | float, center_fraction: float) -> int:
    """Return how many samples the acceleration leaves for outside the centre."""
    n_sampled, n_center = round(center.size / acceleration), int(center.sum())
    if n_center > n_sampled:
        unit = "columns" if center.ndim == 1 else "points"
        limit = (n_sampled / center.size) ** (1 / center.ndim)
        raise ValueError(
            f"center_fraction={center_fraction} takes {n_center} {unit} but acceleration={acceleration} allows only "
            f"{n_sampled} of {center.size}: use center_fraction <= {limit:.3g} or a lower acceleration"
        )
    return n_sampled - n_center


class _Tolerance:
    """Width of SigPy's bisection, which has no end of its own: after 12 steps any acceleration is near enough."""

    __array_ufunc__ = None  # so that NumPy's scalars leave the comparison to this class

    def __init__(self, width: float):
        self.width, self.n_steps = width, 0

    def __gt__(self, deviation: float) -> bool:
        self.n_steps += 1
        return self.n_steps >= 12 or bool(deviation < self.width)

    def __le__(self, deviation: float) -> bool:
        return self.n_steps < 12 and bool(deviation >= self.width)


def _poisson_disc(shape: tuple[int, int], acceleration: int | float, center_fraction: float, seed: int) -> np.ndarray:
    """Return SigPy's Poisson disc with a few per cent more samples than asked for, if there is one."""
    try:
        from sigpy.mri import poisson as disc
    except ImportError as error:
        raise ImportError("masks.poisson needs sigpy: pip install sigpy") from error
    # A centre of the side's parity lies where `_center` puts it; one as wide as the side would divide by zero.
    sides = [(side, min(round(side * center_fraction), side - 1)) for side in shape]
    calib = tuple(max(n - (side - n) % 2, 0) for side, n in sides)
    accel = 1 + 0.94 * (acceleration - 1)
    options: dict[str, Any] = {"dtype": bool, "tol": _Tolerance(0.03 * acceleration), "crop_corner": False}
    with np.errstate(divide="ignore"):  # a disc of a few points may hold none
        return disc(shape, accel, calib, seed=seed, **options)


def _unknown(name: str, value: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(value, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{name}={value!r} is unknown: {hint}use one of {', '.join(known)}"

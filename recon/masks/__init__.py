"""Seeded masks for 2-D Cartesian undersampling; True marks a sampled phase-encoding column, or a sampled point.

``acceleration`` is the nominal factor asked for. Results should be reported against `effective_acceleration`, which
counts what the mask really samples. `draw` chooses a family by its name in `FAMILIES`.
"""

from jaxtyping import Bool
from torch import Tensor

from recon.masks.columns import equispaced, gaussian, random
from recon.masks.count import effective_acceleration
from recon.masks.points import poisson
from recon.masks.published import KINDS, fastmri, unknown
from recon.masks.thinned import thin

__all__ = [
    "FAMILIES",
    "draw",
    "effective_acceleration",
    "equispaced",
    "fastmri",
    "gaussian",
    "poisson",
    "random",
    "thin",
]

FAMILIES = ("random", "equispaced", "gaussian", "poisson", *(f"fastmri-{kind}" for kind in KINDS))
"""Names that `draw` knows."""


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
        raise ValueError(unknown("family", family, FAMILIES))
    if family == "poisson":
        return poisson(shape, acceleration, center_fraction, seed)
    if family.startswith("fastmri-"):
        return fastmri(family.removeprefix("fastmri-"), shape[1], acceleration, center_fraction, seed)
    columns = {"random": random, "equispaced": equispaced, "gaussian": gaussian}[family]
    return columns(shape[1], acceleration, center_fraction, seed)

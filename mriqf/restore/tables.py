"""Scaling of quantisation tables for networks."""

from jaxtyping import Float
from torch import Tensor


def unit_tables(tables: Float[Tensor, "b t 8 8"] | None, batch: int, channels: int) -> Float[Tensor, "b t 8 8"]:
    """The tables with steps in (0, 1], 1 the coarsest, after a check that they belong to the images.

    Parameters
    ----------
    tables
        Steps 1–255 in natural order: of luma, and for colour images of chroma behind it.
    batch, channels
        Number of images, and of their channels, 1 or 3.

    Raises
    ------
    ValueError
        If there are no tables, or not as many as the images have.
    """
    expected = (batch, 1 if channels == 1 else 2, 8, 8)
    shape = "missing" if tables is None else tuple(tables.shape)
    if tables is None or shape != expected:
        raise ValueError(
            f"tables are {shape} for {batch} images of {channels} channels: give the quantisation tables, {expected}"
        )
    return tables / 255

"""Strength of a blind network's correction: large at low JPEG qualities, small at high ones.

A network that does not know the quality corrects by an average amount: too little at low quality, too much at high
quality, which it harms. One factor for each quality, measured on validation photographs, amends both; the network
itself stays as published.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mriqf.jpeg import BLOCK, quantization_table
from mriqf.jpeg import tables as standard_tables
from mriqf.jpeg.lattice import luma_lattice

QUALITIES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 98, 100)
"""Qualities of a configuration's strengths; linear interpolation between them."""
BLOCKS = 512  # number of blocks that the quality is estimated from; more take longer
UNKNOWN = 60  # quality assumed for images without a JPEG lattice: a blind network's correction is about right there
LEAST = 0.1
"""Strength below which a file is better left alone."""
HIGH = 90
"""Quality at and above which blind networks without a strength harm."""


def check_strength(strength: Sequence[float]) -> None:
    """Raise ValueError unless there is no strength, or one for each of `QUALITIES`."""
    if len(strength) not in (0, len(QUALITIES)):
        raise ValueError(f"strength has {len(strength)} values: give none, or {len(QUALITIES)}, one a quality")


def restored(
    output: Float[Tensor, "b ch h w"],
    images: Float[Tensor, "b ch h w"],
    tables: Float[Tensor, "b t 8 8"] | None,
    residual: bool,
    strength: Sequence[float] = (),
) -> Float[Tensor, "b ch h w"]:
    """Restored images from the output of a network's last layer, which is a correction of its input if `residual`.

    The correction is multiplied by the strength at the quality of each image, if there is any. Without tables, it is
    estimated from the pixels; images that show no JPEG lattice are taken for quality 60.
    """
    if not strength:
        return images + output if residual else output
    quality = table_quality(estimated_tables(images) if tables is None else tables)
    added = output if residual else output - images
    return images + added * strength_at(strength, quality).to(added)[:, None, None, None]


def strength_at(strength: Sequence[float], quality: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Strength at a quality, 1–100; that of the lowest known below it."""
    known, values = (torch.tensor(x, dtype=torch.float64, device=quality.device) for x in (QUALITIES, strength))
    q = quality.double().clamp(known[0], known[-1])
    right = torch.searchsorted(known, q).clamp_min(1)
    share = (q - known[right - 1]) / (known[right] - known[right - 1])
    return torch.lerp(values[right - 1], values[right], share).float()


def table_quality(tables: Float[Tensor, "b t 8 8"]) -> Float[Tensor, " b"]:
    """Quality, 1–100, whose standard luma table is nearest in the mean absolute log ratio of the steps."""
    known = torch.stack([quantization_table(q) for q in range(1, 101)]).to(tables).log()
    far = (tables[:, 0].log()[:, None] - known).abs().mean((2, 3))
    return (far.argmin(1) + 1).to(tables)


@torch.no_grad()
def estimated_tables(images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b t 8 8"]:
    """Standard tables of the quality estimated from the pixels of decoded JPEGs, for any offset of the block grid.

    If none can be estimated, tables of quality 60: for images smaller than two blocks, resized, rescaled or saturated.
    """
    large = min(images.shape[2:]) >= 2 * BLOCK
    qualities = [luma_lattice(image, BLOCKS).quality if large else None for image in images.cpu()]
    return torch.stack([standard_tables(q or UNKNOWN, images.shape[1]) for q in qualities]).to(images)


def better_alone(config: Any, tables: Float[Tensor, "b t 8 8"]) -> bool:
    """True if a network of this configuration hardly improves images with these tables, or harms them."""
    if not hasattr(config, "strength"):  # networks that take the tables have no strength
        return False
    quality = table_quality(tables)
    if not config.strength:
        return bool((quality >= HIGH).all())
    return bool((strength_at(config.strength, quality) < LEAST).all())

"""How much of what a blind network finds is added to the image: more at low qualities, little at high ones.

A network that does not know the quality adds what is right for many: too little to a coarse image, too much to a fine
one, which it harms. One factor for each quality, measured on validation photographs, puts both right; the network
itself stays as published.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mriqf.jpeg import quantization_table
from mriqf.jpeg import tables as standard_tables
from mriqf.jpeg.colour import ycbcr
from mriqf.jpeg.lattice import estimate_quality

QUALITIES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 98, 100)
"""Qualities that a configuration's strengths are for; between them, straight lines."""
BLOCKS = 512  # that quality is estimated from: more take longer and find the same
UNKNOWN = 60  # quality of pixels that show none: what a blind network adds is about right there
LEAST = 0.1
"""Strength below which a file is better left alone."""
HIGH = 90
"""Quality from which blind networks without a strength harm."""


def check_strength(strength: Sequence[float]) -> None:
    """Raise ValueError unless there are none, or one for each of `QUALITIES`."""
    if len(strength) not in (0, len(QUALITIES)):
        raise ValueError(f"strength has {len(strength)} values: give none, or {len(QUALITIES)}, one a quality")


def restored(
    output: Float[Tensor, "b ch h w"],
    images: Float[Tensor, "b ch h w"],
    tables: Float[Tensor, "b t 8 8"] | None,
    residual: bool,
    strength: Sequence[float] = (),
) -> Float[Tensor, "b ch h w"]:
    """The images that a network's last layer makes: what it gives, added to its input if `residual`; or nearer to it.

    What is added is taken times the strength at the quality of each image, if there is any. Without tables, quality is
    estimated from the pixels; images that show no JPEG lattice count as of quality 60.
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
    """The quality, 1–100, whose standard luma table is nearest, by the mean absolute log ratio of the steps."""
    known = torch.stack([quantization_table(q) for q in range(1, 101)]).to(tables).log()
    far = (tables[:, 0].log()[:, None] - known).abs().mean((2, 3))
    return (far.argmin(1) + 1).to(tables)


@torch.no_grad()
def estimated_tables(images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b t 8 8"]:
    """Standard tables of the quality that the pixels of decoded JPEGs show, wherever the grid starts.

    Where none is found, those of 60: in images smaller than two blocks, resized, rescaled or in garish colours.
    """
    luma = images if images.shape[1] == 1 else ycbcr(images)[:, :1]
    luma = (255 * luma.clamp(0, 1)).round() / 255
    qualities = [estimate_quality(x[0], True, BLOCKS).quality if min(x.shape[1:]) >= 16 else None for x in luma.cpu()]
    return torch.stack([standard_tables(q or UNKNOWN, images.shape[1]) for q in qualities]).to(images)


def better_alone(config: Any, tables: Float[Tensor, "b t 8 8"]) -> bool:
    """Whether a network of this configuration has next to nothing to add to images with these tables, or harms them."""
    if not hasattr(config, "strength"):  # it is told the tables
        return False
    quality = table_quality(tables)
    if not config.strength:
        return bool((quality >= HIGH).all())
    return bool((strength_at(config.strength, quality) < LEAST).all())

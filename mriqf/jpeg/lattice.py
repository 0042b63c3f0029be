"""Detection of the lattice that JPEG leaves in the DCT coefficients, and of the quality factor; nothing is trained.

References
----------
Fan, de Queiroz, Identification of bitmap compression history, IEEE TIP 12(2), 2003, doi:10.1109/TIP.2002.807361.
"""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mriqf.jpeg.codec import BLOCK, block_dct, quantization_table
from mriqf.jpeg.colour import ycbcr


@dataclass(frozen=True)
class Lattice:
    """JPEG lattice in pixels: quality and phase of an earlier compression."""

    quality: int | None
    """Quality factor, 1–100; None if there is no lattice: the pixels show no earlier (grey, 8-bit) JPEG compression."""
    candidate: int
    """Most likely quality under the assumption that the image is a JPEG."""
    evidence: float
    """Log-likelihood ratio of the best lattice against none, in nats; the decision is taken at `EVIDENCE_THRESHOLD`."""
    phase: tuple[int, int]
    """Row and column, 0–7, at which the first whole block starts."""


# Set on training photographs: never-JPEG patches of 64² stay below 203 (flat ones; textured ones below −500), of 256²
# below −5000; JPEG of quality 5–98 at 256² lies above 22 000.
EVIDENCE_THRESHOLD = 250.0
FEW_BLOCKS = 64
"""Blocks that were not clipped, from which number on the others are left out."""
_ROUNDING_SD = 0.295  # of a coefficient, grey levels: pixels rounded to integers (1/√12), and libjpeg's integer DCT
_OUTLIERS = 0.02  # share of coefficients off the lattice: blocks that were clipped at black or white


def estimate_quality(
    image: Float[Tensor, "h w"],
    unknown_phase: bool = False,
    max_blocks: int = 4096,
    clipped: Bool[Tensor, "h w"] | None = None,
) -> Lattice:
    """Quality factor of an earlier JPEG compression, read from the lattice of the DCT coefficients; nothing is trained.

    Every coefficient of a decoded JPEG lies within rounding error of a multiple of its quantisation step. For each of
    the 100 standard luma tables, the coefficients' likelihood under "Laplacian, quantised, rounded" is compared with
    that under "Laplacian, never quantised".

    Parameters
    ----------
    image
        Grey image in [0, 1] that is a multiple of 1/255 throughout: any other scale hides the lattice.
    unknown_phase
        Search all 64 positions of the 8×8 grid (a cropped image) and not only the one at the first pixel.
    max_blocks
        Blocks to use at most, those with most detail first.
    clipped
        Pixels that may have been clipped after decoding; the darkest and the brightest ones, if not given. Blocks that
        hold any are left out where there are enough others.

    Raises
    ------
    ValueError
        If the image is smaller than one block (with an unknown phase: than two).

    References
    ----------
    After Fan, de Queiroz, 2003, doi:10.1109/TIP.2002.807361.
    """
    need = 2 * BLOCK if unknown_phase else BLOCK
    if min(image.shape) < need:
        raise ValueError(f"image is {tuple(image.shape)}: the lattice needs at least {need}×{need} pixels")
    levels = image.double() * 255 - 128
    shifts = _likely_phases(levels) if unknown_phase else [(0, 0)]
    ends = (levels == levels.min()) | (levels == levels.max()) if clipped is None else clipped
    candidates = [(_evidence(levels[y:, x:], ends[y:, x:], max_blocks), (y, x)) for y, x in shifts]
    evidence, phase = max(candidates, key=lambda f: f[0].max().item())
    best = float(evidence.max())
    candidate = int(evidence.argmax()) + 1
    return Lattice(candidate if best > EVIDENCE_THRESHOLD else None, candidate, best, phase)


def luma_lattice(image: Float[Tensor, "ch h w"], max_blocks: int = 4096) -> Lattice:
    """`estimate_quality` of the luma of a decoded JPEG in [0, 1], grey or RGB, wherever its grid starts."""
    luma = image[0] if len(image) == 1 else ycbcr(image)[0]
    clipped = ((image <= 0) | (image >= 1)).any(0)
    return estimate_quality((255 * luma.clamp(0, 1)).round() / 255, True, max_blocks, clipped)


def as_8bit(image: Float[Tensor, "h w"]) -> Float[Tensor, "h w"] | None:
    """The image in steps of 1/255 if it has at most 256 evenly spaced values whatever their scale, else None.

    Undoes a linear rescale, so that `estimate_quality` can look for a lattice. The first value becomes 0.
    """
    levels = grey_levels(image)
    return None if levels is None else ((image.double() - levels[0]) / levels[1]).round() / 255


def grey_levels(image: Float[Tensor, "*b h w"]) -> tuple[float, float] | None:
    """Lowest value and step of at most 256 evenly spaced values, or None if the image has others.

    The largest may lie between two: what was brighter was clipped there.
    """
    values = torch.unique(image.double())
    if not 2 <= len(values) <= 256:
        return None
    found = _even(values)
    if found is None and len(values) > 2 and (below := _even(values[:-1])) and values[-1] - values[-2] < below[1]:
        return below
    return found


def _even(values: Float[Tensor, " n"]) -> tuple[float, float] | None:
    """First and step of rising values, if they are evenly spaced and no more than 256 with those between them."""
    extent = values[-1] - values[0]
    step = extent / (extent / values.diff().min()).round()  # over the whole range, where rounding matters least
    levels = (values - values[0]) / step
    if levels[-1] > 255.5 or (levels - levels.round()).abs().max() > 0.01:
        return None
    return float(values[0]), float(step)


def _likely_phases(levels: Tensor, n: int = 3, side: int = 256) -> list[tuple[int, int]]:
    """Grid positions at which coefficients come closest to whole numbers, as multiples of any step do."""
    middle = [slice(max((m - side) // 2, 0) // BLOCK * BLOCK, None) for m in levels.shape]
    part = levels[middle[0], middle[1]][: side + BLOCK, : side + BLOCK]
    wholeness = {
        (y, x): float(torch.cos(2 * math.pi * block_dct(part[y:, x:])).mean())
        for y in range(BLOCK)
        for x in range(BLOCK)
    }
    return sorted(wholeness, key=wholeness.__getitem__)[-n:]


def _evidence(levels: Tensor, clipped: Tensor, max_blocks: int) -> Float[Tensor, "100"]:
    """Log-likelihood ratio, in nats, of each quality 1–100 against no quantisation."""
    # Neighbouring blocks share their mean, so constant terms are no independent evidence: left out.
    coefficients = block_dct(levels).reshape(-1, BLOCK * BLOCK)[:, 1:]
    # Blocks that were clipped at black or white are off the lattice, and often those with most detail.
    kept = ~_holding(clipped)
    if int(kept.sum()) >= FEW_BLOCKS:
        coefficients = coefficients[kept]
    energy = coefficients.abs().sum(1)
    if len(coefficients) > max_blocks:
        coefficients = coefficients[energy.topk(max_blocks).indices]
    # Laplacian of each frequency; the floor is what rounding alone leaves of a flat block.
    scale = coefficients.abs().mean(0).clamp_min(_ROUNDING_SD * math.sqrt(math.pi / 2))
    free = -coefficients.abs() / scale - (2 * scale).log()
    result = torch.empty(100, dtype=levels.dtype)
    for quality, table in enumerate(_luma_tables(), start=1):
        step = table.to(levels).reshape(-1)[1:]
        order = (coefficients / step).round()
        residual = coefficients - order * step
        half = step / (2 * scale)
        mass = torch.where(
            order == 0,
            torch.log(-torch.expm1(-half)),
            -order.abs() * 2 * half + torch.log(torch.sinh(half.clamp_max(300))),
        )
        lattice = mass - residual.square() / (2 * _ROUNDING_SD**2) - math.log(_ROUNDING_SD * math.sqrt(2 * math.pi))
        mixed = torch.logaddexp(lattice - free + math.log1p(-_OUTLIERS), torch.full_like(free, math.log(_OUTLIERS)))
        result[quality - 1] = mixed.sum()
    return result


def _holding(pixels: Tensor) -> Bool[Tensor, " n"]:
    """Whether each block holds any of some pixels."""
    h, w = (n // BLOCK * BLOCK for n in pixels.shape)
    return pixels[:h, :w].reshape(h // BLOCK, BLOCK, w // BLOCK, BLOCK).any(3).any(1).flatten()


@functools.cache
def _luma_tables() -> tuple[Tensor, ...]:
    return tuple(quantization_table(quality) for quality in range(1, 101))

"""Training patches of restorers: cut from images, varied, and compressed as JPEG files are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from mriqf.jpeg import compress_pixels, tables
from mriqf.training.restorer_recipe import GRID, RestorerTrainConfig

OFFSETS = 8  # places, each way, that an 8×8 grid can have
SMALLEST = 0.5  # scale of a photograph that is made smaller
Pixels = UInt8[np.ndarray, "_ _ ch"]


@dataclass(frozen=True)
class History:
    """Compressions of a patch."""

    quality: int
    """Quality of the last compression, whose tables the file has."""
    first: int | None = None
    """Quality of an earlier compression, or None."""
    step: tuple[int, int] = (0, 0)
    """Rows and columns that were cut off between the two."""
    shift: tuple[int, int] = (0, 0)
    """Rows and columns that were cut off behind the last."""
    sampling: Literal["4:2:0", "4:2:2", "4:4:4"] = "4:2:0"
    """Resolution of chroma."""


def draw_batch(
    pools: Sequence[Sequence[Pixels]], shares: Sequence[float], rng: np.random.Generator, config: RestorerTrainConfig
) -> tuple[Float[Tensor, "b ch n n"], Float[Tensor, "b ch n n"], Float[Tensor, "b t 8 8"]]:
    """Patches, turned, flipped and compressed at a random quality; as they were; and their tables.

    The same generator gives the same batch. No more than the recipe asks for is drawn: without double compression,
    shifts, other scales and samplings, a recipe draws what it drew before there were any.
    """
    odds = np.divide(shares, sum(shares))
    cuts = [_cut(pools, odds, rng, config) for _ in range(config.batch)]
    histories = _histories(cuts, rng, config)
    pairs = [encode(cut, history, config.patch) for cut, history in zip(cuts, histories, strict=True)]
    given, truth = (unit(np.stack(pixels)) for pixels in zip(*pairs, strict=True))
    return given, truth, torch.stack([tables(h.quality, truth.shape[1]) for h in histories])


def encode(pixels: Pixels, history: History, side: int) -> tuple[Pixels, Pixels]:
    """A patch of `side`² pixels as its history left it, and as it was."""
    decoded = pixels
    if history.first is not None:
        decoded = _compressed(decoded, history.first, history.sampling)
    y, x = history.step
    decoded, truth = decoded[y:, x:], pixels[y:, x:]
    y, x = history.shift
    if (y, x) == (0, 0):  # code the patch alone, without its margin
        decoded, truth = decoded[:side, :side], truth[:side, :side]
    decoded = _compressed(decoded, history.quality, history.sampling)
    return decoded[y : y + side, x : x + side], truth[y : y + side, x : x + side]


def _compressed(pixels: Pixels, quality: int, sampling: Literal["4:2:0", "4:2:2", "4:4:4"]) -> Pixels:
    grey = pixels.shape[2] == 1
    return compress_pixels(pixels[..., 0] if grey else pixels, quality, sampling).reshape(pixels.shape)


def _cut(
    pools: Sequence[Sequence[Pixels]], odds: np.ndarray, rng: np.random.Generator, config: RestorerTrainConfig
) -> Pixels:
    """A part of an image, with a margin where grids move."""
    pool = pools[int(rng.choice(len(pools), p=odds))]
    image = pool[int(rng.integers(len(pool)))]
    room = min(image.shape[:2])
    side = min(config.patch + (GRID if config.double or config.shifted else 0), room)
    wide = side
    if config.smaller and rng.random() < config.smaller:
        wide = min(round(side / rng.uniform(SMALLEST, 1)), room)
    y, x = (int(rng.integers(n - wide + 1)) for n in image.shape[:2])
    patch = image[y : y + wide, x : x + wide]
    if wide > side:
        patch = _resized(patch, side)
    patch = np.rot90(patch, int(rng.integers(4)))
    return patch[:, ::-1] if rng.random() < 0.5 else patch


def _resized(pixels: Pixels, side: int) -> Pixels:
    grey = pixels.shape[2] == 1
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)).reshape(side, side, -1)


def _histories(cuts: Sequence[Pixels], rng: np.random.Generator, config: RestorerTrainConfig) -> list[History]:
    qualities = _qualities(rng, len(cuts), config)
    return [_history(cut, quality, rng, config) for cut, quality in zip(cuts, qualities, strict=True)]


def _history(cut: Pixels, quality: int, rng: np.random.Generator, config: RestorerTrainConfig) -> History:
    spare, first, step, shift = cut.shape[0] - config.patch, None, (0, 0), (0, 0)
    sampling: Literal["4:2:0", "4:2:2", "4:4:4"] = "4:2:0"
    if config.double and rng.random() < config.double:
        first = _qualities(rng, 1, config)[0]
        if rng.random() < 0.5:  # cut between the two; else their grids agree
            step = _offset(rng, spare)
    if config.shifted and rng.random() < config.shifted:
        shift = _offset(rng, spare - max(step))
    if config.finer and cut.shape[2] == 3 and rng.random() < config.finer:
        sampling = "4:2:2" if rng.random() < 0.5 else "4:4:4"
    return History(quality, first, step, shift, sampling)


def _offset(rng: np.random.Generator, spare: int) -> tuple[int, int]:
    y, x = rng.integers(min(OFFSETS, spare + 1), size=2).tolist()
    return y, x


def _qualities(rng: np.random.Generator, n: int, config: RestorerTrainConfig) -> list[int]:
    if config.skew == 1:
        return rng.integers(config.worst, config.best + 1, n).tolist()
    levels = config.best + 1 - config.worst
    return (config.worst + np.floor(levels * rng.random(n) ** config.skew)).astype(int).tolist()


def unit(pixels: UInt8[np.ndarray, "b h w ch"]) -> Float[Tensor, "b ch h w"]:
    """In [0, 1]. By numpy: torch's own threads are for the network."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 1), np.float32) / np.float32(255))

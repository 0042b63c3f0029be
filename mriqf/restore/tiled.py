"""Restoration of images of any size in overlapping tiles, with the result of the whole image."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mriqf.restore.qgcn import QGCN
from mriqf.restore.strength import estimated_tables
from mriqf.tiles import parts

GRID = 16  # pixels: multiple of the 4:2:0 unit and of the networks' strides, at which all tiles start


@torch.inference_mode()
def restore(
    model: Any,
    images: Float[Tensor, "b ch h w"],
    tables: Float[Tensor, "b t 8 8"] | None = None,
    tile: int = 768,
    *,
    half: bool = False,
) -> Float[Tensor, "b ch h w"]:
    """Restore images, not clipped; larger ones in tiles, so that memory does not grow with the image.

    Parameters
    ----------
    model
        A network of `mriqf.restore`.
    images
        Decoded JPEGs in [0, 1].
    tables
        Quantisation steps, 1–255, in natural order: of luma, and for colour of chroma. Networks that need none but know
        a strength for each quality estimate it from the pixels if there are none.
    tile
        Side of a tile in pixels, a multiple of 16; its input is larger by the receptive field of the network.
    half
        Convolve in bfloat16, except the layers that return pixels: half the time if the processor supports it.

    Raises
    ------
    ValueError
        If `tile` is no multiple of 16, or the network refuses the images.
    """
    if tile < GRID or tile % GRID:
        raise ValueError(f"tile is {tile}: use a multiple of {GRID} pixels")
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half):
        return _in_parts(model, images, tables, tile)


def _in_parts(model: Any, images: Tensor, tables: Tensor | None, tile: int) -> Tensor:
    h, w = images.shape[2:]
    if tables is None and getattr(model.config, "strength", ()):
        tables = estimated_tables(images)  # of the whole image, not of each tile
    if max(h, w) <= tile:
        return model(images, tables)
    whole = {"seen": model.look(images)} if isinstance(model, QGCN) else {}
    restored = torch.empty_like(images)
    for seen, kept, place in parts((h, w), tile, model.halo, GRID):
        restored[..., *place] = model(images[..., *seen], tables, **whole)[..., *kept]
    return restored

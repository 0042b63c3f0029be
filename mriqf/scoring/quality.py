"""Scores of tensors, as metrics of other packages are called: `quality(images)`, `Quality()(images)`."""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn import functional

from mriqf.io import from_array
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.base import ErrorModel, Predictor, load_predictor
from mriqf.predictors.unit import score_of_error
from mriqf.scoring.compression import compression_error, jpeg_trace
from mriqf.scoring.foreground import content
from mriqf.scoring.pooling import cell_weight, choose_pool, pooled
from mriqf.scoring.resolution import Resolution, on_grid, resolve, support, unresolved_error
from mriqf.scoring.scale import volume_scale
from mriqf.scoring.scorer import check_channels
from mriqf.scoring.slices import enlarge, grid_offset, own_scale
from mriqf.tiles import padding

Reduction = Literal["none", "mean", "sum"]


class Quality(nn.Module):
    """Reference-free quality of each image of a batch, 0–100, higher is better.

    Every image has its own intensity scale and foreground, as by `mriqf.score` for that image alone; the network runs
    in full precision, so the last digits differ from there. Gradients reach the images through network and pooling;
    scale and foreground are taken as constants, and a score of exactly 0 or 100 has none. `mriqf.QFLoss` is the loss to
    train with. `unit` says what a score means: `mriqf.predictors.unit`.

    Parameters
    ----------
    model
        Name or path of trained weights (`mriqf.list_models`), or a loaded predictor.
    reduction
        `none` for one score an image, `mean` or `sum` over the batch; NaN if an image has no foreground.
    pool
        Reduction of the quality map to one number: see `mriqf.scoring.pooling.choose_pool`.
    resolution
        Treatment of an empty rim of k-space: see `mriqf.Scorer`. The rim is looked for without a gradient.

    Raises
    ------
    ValueError
        If there are no such weights, pool, reduction or resolution.

    Examples
    --------
    >>> import torch, mriqf
    >>> images = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> mriqf.Quality("qf-mri")(images).shape
    torch.Size([2])
    """

    higher_is_better = True
    score_range = (0, 100)

    def __init__(
        self,
        model: str | Path | Predictor = "qf-mri",
        reduction: Reduction = "none",
        *,
        pool: str = "auto",
        resolution: Resolution = "own",
    ):
        super().__init__()
        if resolution not in get_args(Resolution):
            raise ValueError(f"resolution is {resolution!r}: choose own or as-is")
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"reduction is {reduction!r}: choose none, mean or sum")
        self.model = model if isinstance(model, Predictor) else load_predictor(model)
        self.reduction = reduction
        self.pool = choose_pool(pool, self.model)
        self.unit = self.model.unit
        self.resolution: Resolution = resolution
        self.train(False)

    def train(self, mode: bool = True) -> "Quality":  # noqa: ARG002 (the predictor is not trained)
        """Whatever the mode: the predictor stays in evaluation mode."""
        return super().train(False)

    def forward(self, images: Num[Tensor, "b ch h w"]) -> Float[Tensor, "*b"]:
        """Quality, reduced as asked for; NaN where an image has no foreground.

        Parameters
        ----------
        images
            In any unit: magnitude or complex `(b, 1, h, w)`, real and imaginary part `(b, 2, h, w)`, or, for weights of
            photographs, RGB `(b, 3, h, w)` in [0, 1] or [0, 255].

        Raises
        ------
        ValueError
            If an image is empty, constant, not finite, smaller than 32 pixels either way, or has other channels than
            the weights.
        """
        shown = magnitude(images)
        check_channels(shown.shape[1], self.model)
        scores = torch.stack([self._score(image) for image in shown]).float()
        return scores if self.reduction == "none" else getattr(scores, self.reduction)()

    def _score(self, image: Float[Tensor, "ch h w"]) -> Float[Tensor, ""]:
        model: Any = self.model
        whole, given = image, from_array(image.detach().cpu().numpy()[None], "image")
        if isinstance(model, ErrorModel) and image.detach().isfinite().all():
            image = resolve(whole[None], support(whole[None]))[0]
        volume = given if image is whole else from_array(image.detach().cpu().numpy()[None], "image")
        lattice = jpeg_trace(volume, [0]) if model.reads_grid else None
        scale = own_scale(volume_scale(volume, lattice), model)
        box = content(volume.read_slice(0), model.receptive_field)
        part = ((image.double() - scale.low) / (scale.high - scale.low)).clamp(0, 1).float()[:, box[0], box[1]]
        foreground = foreground_mask(part.detach().cpu().numpy(), scale.threshold)
        # Where each pixel of the enlarged image comes from: the same reflection, with a gradient.
        places = np.arange(foreground.size, dtype=np.float32).reshape(1, *foreground.shape)
        source, inside, _ = enlarge(places, foreground, model)
        index = torch.from_numpy(source[0].astype(np.int64)).to(image.device)
        enlarged = part.flatten(1)[:, index]
        offset = grid_offset(box, lattice)
        around = padding((index.shape[0], index.shape[1]), offset, model.stride)
        seen = functional.pad(enlarged[None], around, mode="replicate")
        weight = cell_weight(torch.from_numpy(inside[None]), model.stride, offset).to(seen)
        with torch.autocast(image.device.type, enabled=False):
            if not isinstance(model, ErrorModel):
                return pooled(model(seen)[0, 0], weight[0, 0], self.pool)
            reading = model.read(seen, weight)
        if (jpeg := jpeg_trace(given, [0])) is not None:
            empty = [(b.start, n - b.stop) for b, n in zip(box, image.shape[1:], strict=True)]
            inside = on_grid(np.pad(foreground, empty), given.shape, nearest=True)
            least = compression_error(given.read_slice(0)[0], jpeg, inside)
            reading = reading.at_least(reading.whole.new_tensor([least]))
        if self.resolution == "as-is" and image.shape != whole.shape:
            more = unresolved_error(image[None], (whole.shape[1], whole.shape[2]))
            reading = reading.plus(reading.whole.new_tensor([more]))
        if self.pool == "rms":
            return score_of_error(10 ** reading.whole[0])
        return pooled(score_of_error(10**reading.cells)[0, 0], weight[0, 0], self.pool)


def quality(
    images: Num[Tensor, "b ch h w"],
    model: str | Path | Predictor = "qf-mri",
    reduction: Reduction = "none",
    *,
    pool: str = "auto",
    resolution: Resolution = "own",
) -> Float[Tensor, "*b"]:
    """Reference-free quality of each image of a batch, 0–100, higher is better; for volumes, see `mriqf.score`.

    Parameters
    ----------
    images
        See `Quality.forward`.
    model, reduction, pool, resolution
        See `Quality`, which keeps its network between calls.

    Examples
    --------
    >>> import torch, mriqf
    >>> images = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> mriqf.quality(images).shape
    torch.Size([2])
    """
    return Quality(model, reduction, pool=pool, resolution=resolution).to(images.device)(images)


def magnitude(images: Num[Tensor, "b ch h w"]) -> Float[Tensor, "b ch2 h w"]:
    """One channel of magnitude, or three of colours, in single precision.

    Raises
    ------
    ValueError
        If the images are neither.
    """
    if images.ndim == 4:
        match images.shape[1], images.is_complex():
            case 1, True:
                return images.abs().float()
            case ((1 | 3), False):
                return images.float()
            case 2, False:
                return torch.linalg.vector_norm(images.float(), dim=1, keepdim=True)
    raise ValueError(
        f"images are {tuple(images.shape)} of {images.dtype}: give (b, 1, h, w), real or complex, (b, 2, h, w) with "
        "real and imaginary part, or RGB as (b, 3, h, w)"
    )

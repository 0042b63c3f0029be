"""The score as a differentiable loss.

A network that is trained on a predictor alone learns to exploit it, by means that are not quality: keep the data in
the loss, and judge the result by another score.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.base import ErrorModel, Predictor, load_predictor
from mriqf.predictors.unit import score_of_error
from mriqf.scoring.pooling import cell_weight
from mriqf.scoring.scale import percentile_scale
from mriqf.tiles import padding

DARKEST = 0.9
"""Least factor that varied images are multiplied by, with `variants`."""
SMALLEST, LARGEST = 0.75, 1.25
"""Factors between which drawn views are resized."""


class QFLoss(nn.Module):
    """1 − score / 100, mean over the foreground of each image, over predictors and variants: lower is better.

    Scores of predictors of errors go on beyond 0 and 100 here: there is a gradient everywhere.

    Predictors are copied, frozen and stay in evaluation mode, whatever becomes of the module around them. The same
    images and seed give the same loss.

    Parameters
    ----------
    predictors
        One or several: shipped names, paths of weights, or the networks. All take as many channels.
    variants
        0 looks at the images as they are. Otherwise so many copies, each moved against the predictor's cells and a
        little darker, by draws of the seed that `forward` is given: what pleases at one place in one light alone
        counts less.
    drawn
        Each of the variants is seen by one predictor, drawn, and is besides turned, mirrored and resized by 0.75 to
        1.25: an ensemble that differs from seed to seed. Needs `variants`.

    Raises
    ------
    ValueError
        If there is no predictor, they take different numbers of channels, or `drawn` has no variants.

    Examples
    --------
    >>> import torch, mriqf
    >>> from mriqf.jpeg import compress
    >>> loss = mriqf.QFLoss("qf-gray")
    >>> image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> bool(loss(compress(image, 10)) > loss(compress(image, 90)))
    True
    >>> loss(image.requires_grad_()).backward()
    >>> tuple(image.grad.shape)
    (1, 1, 64, 64)
    """

    def __init__(
        self, predictors: str | Path | nn.Module | Sequence = "qf-mri", variants: int = 0, *, drawn: bool = False
    ):
        super().__init__()
        several = predictors if isinstance(predictors, (list, tuple)) else [predictors]
        loaded: list[Predictor] = [
            load_predictor(p) if isinstance(p, (str, Path)) else copy.deepcopy(p)  # pyright: ignore[reportAssignmentType]
            for p in several
        ]
        channels = {model.config.channels for model in loaded}
        if len(channels) != 1:
            names = ", ".join(f"{m.name} {m.config.channels}" for m in loaded) or "none"
            raise ValueError(f"predictors with channels: {names}: give one, or several that take as many channels")
        if variants < 0:
            raise ValueError(f"variants is {variants}: use 0 (the images as they are) or more")
        if drawn and not variants:
            raise ValueError("drawn is True and variants is 0: give the number of views, 1 or more")
        self.channels = channels.pop()
        self.variants = variants
        self.drawn = drawn
        self.predictors = nn.ModuleList(loaded)
        self.requires_grad_(False).train()

    def train(self, mode: bool = True) -> "QFLoss":  # noqa: ARG002 (predictors are not trained)
        """Do nothing: predictors stay in evaluation mode."""
        return super().train(False)

    def forward(
        self,
        images: Float[Tensor, "b ch h w"],
        *,
        mask: Bool[Tensor, "b h w"] | None = None,
        seed: int | Sequence[int] = 0,
    ) -> Float[Tensor, ""]:
        """Loss of images in [0, 1], as the predictors were trained on: of MR magnitudes, see `unit_range`.

        Parameters
        ----------
        images
            Grey or RGB; in [0, 1], but for what a restorer adds beyond.
        mask
            The object. If not given, that of each grey image as scoring finds it, and all of RGB images. An image
            without foreground counts nothing.
        seed
            Seed of the variants.

        Raises
        ------
        ValueError
            If the images have other channels than the predictors take, or are smaller than one of them sees.
        """
        least = max(int(model.receptive_field) for model in self.predictors)  # pyright: ignore[reportArgumentType]
        if images.shape[1] != self.channels or min(images.shape[2:]) < least:
            raise ValueError(
                f"images are {tuple(images.shape)}: these predictors take {self.channels} channels "
                f"and sides of at least {least} pixels"
            )
        foreground = find_foreground(images) if mask is None else mask
        shown = images.clamp(0, 1)
        rng = np.random.default_rng(seed)
        if self.drawn:
            return torch.stack([self._view(shown, foreground, least, rng) for _ in range(self.variants)]).mean()
        losses = []
        for model in self.predictors:
            for variant in range(max(self.variants, 1)):
                grid_offset, gain = (0, 0), 1.0
                if self.variants:
                    grid_offset = _draw_offset(model, rng)
                    gain = 1 - (1 - DARKEST) * float(rng.random()) * (variant > 0)
                losses.append(_missing(model, gain * shown, foreground, grid_offset))
        return torch.stack(losses).mean()

    def _view(self, shown: Tensor, foreground: Tensor, least: int, rng: np.random.Generator) -> Tensor:
        """Loss of one drawn view by one drawn predictor."""
        model = self.predictors[int(rng.integers(len(self.predictors)))]
        side = min(shown.shape[2:])
        factor = max(SMALLEST * (LARGEST / SMALLEST) ** float(rng.random()), least / side)
        size = [max(round(factor * n), least) for n in shown.shape[2:]]
        view = functional.interpolate(shown, size, mode="bilinear", antialias=True)
        mask = functional.interpolate(foreground[:, None].to(view), size, mode="nearest")[:, 0] > 0
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        view, mask = view.rot90(turns, (2, 3)), mask.rot90(turns, (1, 2))
        if mirrored:
            view, mask = view.flip(3), mask.flip(2)
        gain = 1 - (1 - DARKEST) * float(rng.random())
        return _missing(model, gain * view, mask, _draw_offset(model, rng))


def qf_loss(
    images: Float[Tensor, "b ch h w"],
    predictor: str | Path | nn.Module = "qf-mri",
    *,
    mask: Bool[Tensor, "b h w"] | None = None,
) -> Float[Tensor, ""]:
    """1 − score / 100, mean over the foreground of images in [0, 1]; lower is better, and it has a gradient.

    `QFLoss` keeps its predictor between calls.
    """
    return QFLoss(predictor)(images, mask=mask)


def unit_range(magnitudes: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """MR magnitudes in any unit to [0, 1] as scoring has them, image by image; the scale itself has no gradient.

    Raises
    ------
    ValueError
        If an image is constant.
    """
    scales = [percentile_scale([image]) for image in magnitudes.detach().float().cpu().numpy()]
    low, high = (
        torch.tensor([getattr(s, name) for s in scales]).to(magnitudes)[:, None, None, None] for name in ("low", "high")
    )
    return ((magnitudes - low) / (high - low)).clamp(0, 1)


def find_foreground(images: Float[Tensor, "b ch h w"]) -> Bool[Tensor, "b h w"]:
    """The object of grey images in [0, 1], as scoring finds it; all of constant and of RGB images."""
    masks = []
    for image in images.detach().clamp(0, 1).float().cpu().numpy():
        threshold = 0.0
        if len(image) == 1 and np.ptp(image) > 0:
            scale = percentile_scale([image])
            threshold = scale.low + scale.threshold * (scale.high - scale.low)
        masks.append(foreground_mask(image, threshold))
    return torch.from_numpy(np.stack(masks)).to(images.device)


def _draw_offset(model: nn.Module, rng: np.random.Generator) -> tuple[int, int]:
    stride = int(model.stride)  # pyright: ignore[reportArgumentType]
    return int(rng.integers(stride)), int(rng.integers(stride))


def _missing(model: nn.Module, images: Tensor, foreground: Tensor, grid_offset: tuple[int, int]) -> Tensor:
    stride = int(model.stride)  # pyright: ignore[reportArgumentType]
    shape = (images.shape[2], images.shape[3])
    with torch.autocast(images.device.type, enabled=False):
        seen = functional.pad(images.float(), padding(shape, grid_offset, stride), mode="replicate")
        if isinstance(model, ErrorModel):
            quality = score_of_error(10 ** model.log_error(seen), clamp=False)
        else:
            quality = model(seen)
    weight = cell_weight(foreground, stride, grid_offset).to(quality)
    total = weight.sum((1, 2, 3))
    missing = ((1 - quality / 100) * weight).sum((1, 2, 3)) / total.clamp_min(1e-6)
    return missing.sum() / (total > 0).sum().clamp_min(1)

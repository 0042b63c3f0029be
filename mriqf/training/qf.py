"""Train a QF Predictor on images compressed at known qualities; every batch comes from (seed, step)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mriqf import weights
from mriqf.jpeg import compress_pixels
from mriqf.predictors.qf import CLASS_QUALITIES, QFConfig, QFPredictor
from mriqf.training.augment import MARGIN, Augmentation, Distribution, check_images, make_batch
from mriqf.training.loop import check_new, fit, fresh, origin
from mriqf.training.manifest import Manifest, read_source
from mriqf.training.parallel import own_device, pooled, share

VALIDATED = 64  # pixels, the side of patches that are validated


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of a QF Predictor."""

    steps: int = 18000
    """Optimiser steps."""
    lr: float = 3e-3
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    patch_sizes: tuple[int, ...] = (64, 128)
    """Sides of the training patches, pixels, taken in turn."""
    pixels: int = 196608
    """Pixels a batch: 48 patches of 64², or 12 of 128²."""
    law: Distribution = "neglog"
    """Distribution of the drawn qualities: neglog, log or uniform."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones kept."""
    seed: int = 0
    """Seed of the initial weights and of every batch."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, each with its validation."""
    model: QFConfig = field(default_factory=QFConfig)
    """The network."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Variation of patches."""


def train(
    manifest: Manifest,
    root: Path,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "cpu",
    start: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on a manifest's training split and write `out`; resume from `out` + `.checkpoint` if that exists.

    The metadata of the weights hold the `curve` of the training: at each checkpoint its step, the loss since the last
    one, and the errors on images that are held out and (`train_…`) on some that are not.

    Parameters
    ----------
    manifest, root
        The data, and their folder.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    start
        Weights of the same network to start from, instead of random ones.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If the data differ from the manifest, or a checkpoint from the recipe.
    """
    check_new(out, force)
    pools = [read_source(s, root, config.model.channels) for s in manifest.split("train")]
    shares = [s.weight for s in manifest.split("train")]
    held_out = [im for s in manifest.split("val") for im in read_source(s, root, config.model.channels)]
    familiar = [im for pool in pools for im in pool[:: max(len(pool) // 10, 1)][:10]]
    margin = MARGIN if config.augmentation.shifted_grid else 0
    check_images(pools, manifest.name, max(config.patch_sizes) + margin)
    if held_out:
        check_images([held_out], f"{manifest.name}, val,", VALIDATED)
    model = fresh(QFPredictor, config.model, config.seed, start)
    model = model.to(own_device(device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((config.seed, step))
        size = config.patch_sizes[step % len(config.patch_sizes)]
        n = max(config.pixels // size**2, 1)
        images, quality = map(share, make_batch(pools, shares, rng, n, size, config.law, config.augmentation))
        with torch.autocast(device.split(":")[0], dtype=torch.bfloat16):
            logits = model.logits(images.to(model.device).contiguous(memory_format=torch.channels_last))
        return pooled(prediction_loss(logits.float(), quality.to(model.device), config.model.head), len(images))

    def figures(average: nn.Module) -> dict[str, float]:
        known = {f"train_{name}": value for name, value in validate(average, familiar).items()}
        return validate(average, held_out) | known

    source = {"manifest": manifest.sha256, "start": origin(start)}
    return fit(
        model, out, config, loss=loss, validate=figures, terms=weights.config_dict(config) | source,
        half=True, force=force, report=report,
        card={
            "network": "qf",
            "config": weights.config_dict(config.model),
            "manifest": {"name": manifest.name, "sha256": manifest.sha256},
        },
    )  # fmt: skip


def prediction_loss(logits: torch.Tensor, quality: torch.Tensor, head: str) -> torch.Tensor:
    """Loss of a map of logits `(b, k, i, j)` against one quality a patch `(b,)`, 0–100.

    Regression: smooth absolute error of each cell, and of the patch's mean. Classes: cross-entropy of each cell
    with the nearest of 0, 20, 40, 60, 80.
    """
    if head == "classes":
        label = nearest_class(quality)
        return functional.cross_entropy(logits, label[:, None, None].expand(-1, *logits.shape[2:]))
    predicted, target = torch.sigmoid(logits[:, 0]), quality[:, None, None] / 100
    cells = functional.smooth_l1_loss(predicted, target.expand_as(predicted), beta=0.05)
    return cells + functional.smooth_l1_loss(predicted.mean((1, 2)), quality / 100, beta=0.02)


def nearest_class(quality: torch.Tensor) -> torch.Tensor:
    """Index of the nearest of 0, 20, 40, 60, 80; the lower one half-way between two."""
    return (quality[:, None] - torch.tensor(CLASS_QUALITIES, device=quality.device)).abs().argmin(1)


def likely_class(model: QFPredictor, patches: torch.Tensor) -> torch.Tensor:
    """Index of the likeliest of 0, 20, 40, 60, 80 over each patch's whole map, by a network with classes."""
    return model.logits(patches).float().softmax(1).mean((2, 3)).argmax(1)


@torch.inference_mode()
def validate(model: Any, images: list[np.ndarray], size: int = VALIDATED, seed: int = 1) -> dict[str, float]:
    """Error on patches of images: `mae` in quality, `within2` the share within ±2, `right` that of the right class."""
    if not images:
        return {}
    rng = np.random.default_rng(seed)
    errors, right = [], []
    for image in images:
        patches, qualities = [], rng.integers(5, 99, 4)
        for quality in qualities:
            y, x = (rng.integers(n - size + 1) for n in image.shape[:2])
            pixels = np.round(image[y : y + size, x : x + size] * 255).astype(np.uint8)
            patches.append(compress_pixels(pixels, int(quality)).reshape(size, size, -1).transpose(2, 0, 1))
        batch = torch.from_numpy(np.stack(patches)).to(model.device, torch.float32) / 255
        errors.append(np.abs(model(batch).mean((1, 2, 3)).cpu().numpy() - qualities))
        if model.config.head == "classes":
            right += (likely_class(model, batch).cpu() == nearest_class(torch.from_numpy(qualities))).tolist()
    error = np.concatenate(errors)
    figures = {"mae": float(error.mean()), "within2": float((error <= 2).mean())}
    return figures | ({"right": float(np.mean(right))} if right else {})

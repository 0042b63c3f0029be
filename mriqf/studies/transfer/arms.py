"""Networks that are compared, and their training: one architecture, one recipe, different training data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mriqf import weights
from mriqf.jpeg import compress_pixels
from mriqf.predictors.error import ErrorConfig, ErrorPredictor
from mriqf.studies._frame.arms import train_missing
from mriqf.training.augment import Augmentation, make_batch
from mriqf.training.degraded import FAMILIES
from mriqf.training.error import ErrorTrainConfig, Examples, train_error, validate
from mriqf.training.loop import fit, fresh

PRETEXT, PRETRAINED, SCRATCH, TWICE = "jpeg", "pretrained", "scratch", "scratch-twice"
CONTROLS = ("shuffled", "constant")
WHOLE_GRID = Augmentation(resampled=0.0)  # large parts leave no room to sample them more sparsely
QUALITIES = (99, 98, 95, 92, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10, 7, 5, 3, 1)
"""JPEG qualities whose errors are measured; without compression there is no error, and no logarithm of it."""


@dataclass(frozen=True)
class Config:
    """Trainings of the study."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """The arms of the question are trained once with each; controls and left-out families with the first."""
    steps: int = 800
    """Optimiser steps on MR degradations, and as many on JPEG before or instead; `scratch-twice` has twice as many."""
    sides: tuple[int, ...] = (128, 224)
    """Sides of the square parts of images that are trained on, pixels."""
    pixels: int = 200_000
    """Pixels of all parts of a step."""
    left_out: tuple[str, ...] = FAMILIES
    """Families of degradations; for each, one network is trained without it."""
    model: ErrorConfig = field(default_factory=ErrorConfig)
    """Architecture of all arms."""


@dataclass(frozen=True)
class Sources:
    """Training data of the arms."""

    examples: Examples
    """Degraded MR images with their errors."""
    held_out: Examples
    """Validation images, of other subjects."""
    pools: list[list[np.ndarray]]
    """Images that are compressed, in [0, 1], source by source; each with 16 pixels more than the largest part."""
    shares: list[float]
    """Frequency of draws of each source."""
    provenance: dict[str, Any]
    """Hashes of all that."""


def arms(config: Config) -> Iterator[tuple[str, int]]:
    """Name and seed of every network, in the order of training."""
    for seed in config.seeds:
        for name in (SCRATCH, PRETEXT, PRETRAINED, TWICE):
            yield name, seed
    for name in (*CONTROLS, *(f"without-{family}" for family in config.left_out)):
        yield name, config.seeds[0]


def weights_path(folder: Path, arm: str, seed: int) -> Path:
    """Path of an arm's weights."""
    return folder / "arms" / f"{arm}-{seed}.safetensors"


def recipe(arm: str, seed: int, config: Config) -> ErrorTrainConfig:
    """Training recipe of an arm on MR degradations."""
    steps = 2 * config.steps if arm == TWICE else config.steps
    plain = ErrorTrainConfig(
        steps=steps, sides=config.sides, pixels=config.pixels, seed=seed, checkpoint_every=steps, model=config.model
    )
    if arm in CONTROLS:
        return replace(plain, labels=arm)
    return replace(plain, without=arm.removeprefix("without-")) if arm.startswith("without-") else plain


def train_arms(
    folder: Path, config: Config, sources: Sources, device: str = "cpu", report: Callable[[str], None] = lambda _: None
) -> None:
    """Train the missing networks; an interrupted training continues from its last checkpoint.

    Raises
    ------
    ValueError
        If weights in the folder were trained otherwise.
    """
    for arm, seed in arms(config):
        path, wanted = weights_path(folder, arm, seed), recipe(arm, seed, config)
        if arm == PRETEXT:
            train = partial(_train_pretext, path, wanted, sources, device)
        else:
            train = partial(
                train_error, sources.examples, sources.held_out, path, wanted, provenance=sources.provenance,
                device=device, start=weights_path(folder, PRETEXT, seed) if arm == PRETRAINED else None,
            )  # fmt: skip
        train_missing(path, weights.config_dict(wanted) | sources.provenance, train, report)


def _train_pretext(
    path: Path, wanted: ErrorTrainConfig, sources: Sources, device: str, report: Callable[[str], None]
) -> None:
    """The report's task in the same unit: tell the quality at which an image was compressed, as the error it makes."""
    model = fresh(ErrorPredictor, wanted.model, wanted.seed)
    errors = jpeg_errors(sources.examples)
    model = model.to(torch.device(device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def loss(step: int) -> Tensor:
        side = wanted.sides[step % len(wanted.sides)]
        rng = np.random.default_rng((wanted.seed, step))
        n = max(wanted.pixels // side**2, 1)
        images, quality = make_batch(sources.pools, sources.shares, rng, n, side, "uniform", WHOLE_GRID)
        with torch.autocast(device.split(":")[0], dtype=torch.bfloat16):
            predicted = model.log_error(images.to(device).contiguous(memory_format=torch.channels_last)).float()
        known = np.interp(quality.numpy(), QUALITIES[::-1], errors[::-1])
        target = torch.from_numpy(known).to(predicted)[:, None, None, None].expand_as(predicted)
        whole = functional.smooth_l1_loss(predicted.mean((1, 2, 3)), target.mean((1, 2, 3)), beta=0.1)
        return functional.smooth_l1_loss(predicted, target, beta=0.1) + whole

    fit(
        model, path, wanted, loss=loss, validate=lambda average: validate(average, sources.held_out), report=report,
        terms=weights.config_dict(wanted) | sources.provenance,
        card={"network": "error", "config": weights.config_dict(wanted.model)},
    )  # fmt: skip


def jpeg_errors(examples: Examples, n: int = 60) -> Float[np.ndarray, " k"]:
    """Median logarithm of the error that JPEG makes of the least degraded images, for each of `QUALITIES`."""
    best = np.argsort(examples["nrmse"], kind="stable")[:n]
    errors = []
    for k in best:
        h, w = examples["shape"][k]
        inside = examples["error"][k][:h, :w] >= 0
        pixels = np.round(examples["image"][k][:h, :w].astype(np.float64) * 255).astype(np.uint8)
        errors.append([_relative(compress_pixels(pixels, int(q)), pixels, inside) for q in QUALITIES])
    return np.maximum.accumulate(np.log10(np.median(errors, 0)) + 1e-6 * np.arange(len(QUALITIES)))


def _relative(image: np.ndarray, target: np.ndarray, inside: np.ndarray) -> float:
    a, b = image[inside].astype(np.float64), target[inside].astype(np.float64)
    a *= (a @ b) / (a @ a)
    return float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean()))

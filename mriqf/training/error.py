"""Train an error predictor on degraded images whose local errors are known; every batch comes from (seed, step)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from mriqf import weights
from mriqf.metrics.correlation import srcc
from mriqf.predictors.error import MOST, ErrorConfig, ErrorPredictor
from mriqf.predictors.reading import object_error
from mriqf.training.local_degradation import degrade_locally
from mriqf.training.loop import check_new, fit, fresh, origin
from mriqf.training.parallel import own_device, pooled, share

Examples = dict[str, np.ndarray]
Labels = Literal["true", "shuffled", "constant"]
LEAST = 3e-3
"""Least error that is trained on: hardly any target is known better."""


@dataclass(frozen=True)
class ErrorTrainConfig:
    """Recipe of an error predictor."""

    steps: int = 12000
    """Optimiser steps."""
    lr: float = 2e-3
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 1e-3
    """Decoupled weight decay."""
    sides: tuple[int, ...] = (128, 256)
    """Sides of the square parts of images that are trained on, pixels; steps take one after the other: many small
    parts, then few whole images, whose background tells much."""
    pixels: int = 400_000
    """Pixels of all parts of a step."""
    pooled: float = 1.0
    """Weight of the error of a whole part beside that of its cells."""
    flawed: float = 0.25
    """Share of parts with a local flaw, beside what is wrong everywhere."""
    labels: Labels = "true"
    """For controls: the errors of other examples, or one error for all."""
    without: str | None = None
    """A family of degradations that is left out."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones kept."""
    seed: int = 0
    """Seed of the initial weights and of every batch."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, each with its validation."""
    model: ErrorConfig = field(default_factory=ErrorConfig)
    """The network."""


def train_error(
    examples: Examples,
    held_out: Examples,
    out: Path,
    config: ErrorTrainConfig,
    *,
    provenance: dict[str, Any],
    device: str = "cpu",
    start: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on degraded images and write `out`; resume from `out` + `.checkpoint` if that exists.

    Parameters
    ----------
    examples, held_out
        Degraded images and their errors, as `mriqf.training.degraded.read_shards` gives them: to train on, to validate.
        Subjects that are held out are not trained on, whatever the examples hold.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    provenance
        Origin of the examples, the `manifest` among others; kept in the metadata of the weights.
    start
        Weights of the same network to start from, instead of random ones.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If a checkpoint belongs to another recipe, or no example is left.
    """
    check_new(out, force)
    examples = choose(examples, held_out, config)
    model = fresh(ErrorPredictor, config.model, config.seed, start)
    model = model.to(own_device(device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def loss(step: int) -> Tensor:
        side = config.sides[step % len(config.sides)]
        n = max(config.pixels // side**2, 1)
        rng = np.random.default_rng((config.seed, step))
        flawed = config.flawed if config.labels == "true" else 0.0
        images, errors = map(share, make_batch(examples, n, side, rng, flawed))
        with torch.autocast(device.split(":")[0], dtype=torch.bfloat16):
            predicted = model.log_error(images.to(model.device).contiguous(memory_format=torch.channels_last))
        return error_loss(predicted.float(), errors.to(model.device), config.pooled)

    return fit(
        model, out, config, loss=loss, validate=lambda average: validate(average, held_out), half=True,
        force=force, report=report,
        terms=weights.config_dict(config) | provenance | {"start": origin(start)},
        card={"network": "error", "config": weights.config_dict(config.model)}
        | {name: value for name, value in provenance.items() if name == "manifest"},
    )  # fmt: skip


def choose(examples: Examples, held_out: Examples, config: ErrorTrainConfig) -> Examples:
    """Examples that are trained on: of other subjects than those held out, and with the labels that are wanted.

    Raises
    ------
    ValueError
        If a family that shall be left out is not there, or nothing is left.
    """

    def subjects(rows: Examples) -> np.ndarray:
        return np.char.add(np.char.add(rows["dataset"], "/"), rows["subject"])

    if config.without is not None and config.without not in examples["family"]:
        raise ValueError(
            f"without={config.without!r} is no family of the examples: {', '.join(np.unique(examples['family']))}"
        )
    kept = ~np.isin(subjects(examples), subjects(held_out)) & (examples["family"] != config.without)
    if not kept.any():
        raise ValueError("all examples are of subjects that are held out: make some of the training split")
    chosen = {name: values[kept] for name, values in examples.items()}
    if config.labels == "true":
        return chosen
    errors = chosen["nrmse"] if config.labels == "shuffled" else np.full(kept.sum(), np.median(chosen["nrmse"]))
    errors = np.random.default_rng(config.seed).permutation(errors).astype(chosen["error"].dtype)
    return chosen | {"error": np.where(chosen["error"] >= 0, errors[:, None, None], chosen["error"])}


def make_batch(
    examples: Examples, n: int, side: int, rng: np.random.Generator, flawed: float = 0.0
) -> tuple[Float32[Tensor, "b 1 s s"], Float32[Tensor, "b 1 s s"]]:
    """`n` parts of degraded images, turned, flipped, darker or brighter, and their errors, -1 outside the object.

    A share of them, `flawed`, is made worse in one place: see `degrade_locally`.
    """
    images, errors = [], []
    while len(images) < n:
        k = int(rng.integers(len(examples["nrmse"])))
        corner = [int(rng.integers(max(int(size) - side, 0) + 1)) for size in examples["shape"][k]]
        part = tuple(slice(c, c + side) for c in corner)
        error = examples["error"][k][part]
        if (error >= 0).mean() < 0.2:
            continue
        turns, flip, gain = int(rng.integers(4)), rng.random() < 0.5, rng.uniform(0.8, 1.1)
        image, error = examples["image"][k][part].astype(np.float32), error.astype(np.float32)
        if rng.random() < flawed:
            inside = examples["error"][k] >= 0
            power = float(np.mean(examples["image"][k][inside].astype(np.float32) ** 2))
            image, error = degrade_locally(image, error, power, rng)
        image, error = (np.rot90(x, turns) for x in (np.clip(image * gain, 0, 1), error))
        if flip:
            image, error = image[:, ::-1], error[:, ::-1]
        if rng.random() < 0.3:
            image = np.round(image * 255) / 255
        images.append(image)
        errors.append(error)
    return tuple(torch.from_numpy(np.ascontiguousarray(np.stack(x)[:, None], np.float32)) for x in (images, errors))  # pyright: ignore[reportReturnType]


def error_loss(predicted: Float[Tensor, "b 1 i j"], errors: Float[Tensor, "b 1 h w"], part_weight: float) -> Tensor:
    """Smooth absolute difference of logarithms of errors, of the cells and, with a weight, of whole parts."""
    true, share = cell_errors(errors, predicted.shape[2])
    weight = (share > 0.5).float()
    target = true.clamp(LEAST, MOST).log10()
    cells = functional.smooth_l1_loss(predicted, target, reduction="none", beta=0.1) * weight
    cells = pooled(cells.sum() / weight.sum().clamp_min(1), weight.sum())
    whole = functional.smooth_l1_loss(object_error(predicted, weight), object_error(target, weight), beta=0.1)
    return cells + part_weight * pooled(whole, len(predicted))


def cell_errors(
    errors: Float[Tensor, "b 1 h w"], cells: int
) -> tuple[Float[Tensor, "b 1 i j"], Float[Tensor, "b 1 i j"]]:
    """Root mean square error of each cell's object, and the object's share of the cell."""
    size = errors.shape[2] // cells
    inside = (errors >= 0).float()
    share = functional.avg_pool2d(inside, size)
    square = functional.avg_pool2d(errors.clamp_min(0).square(), size) / share.clamp_min(1e-6)
    return square.sqrt(), share


@torch.inference_mode()
def predict_nrmse(model: Any, examples: Examples) -> Float[np.ndarray, " n"]:
    """NRMSE of each example in its object, from the image alone."""
    values = []
    for image, error, shape in zip(examples["image"], examples["error"], examples["shape"], strict=True):
        h, w = (int(n) - int(n) % model.stride for n in shape)
        pair = (torch.from_numpy(x[None, None, :h, :w].astype(np.float32)).to(model.device) for x in (image, error))
        x, e = pair
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            predicted = model.log_error(x.contiguous(memory_format=torch.channels_last))
        _, share = cell_errors(e, predicted.shape[2])
        values.append(10 ** object_error(predicted.float(), share).item())
    return np.array(values)


def validate(model: Any, examples: Examples) -> dict[str, float]:
    """Rank correlation of predicted and true NRMSE, pooled and the least of a family, and mean absolute error."""
    predicted, true, family = predict_nrmse(model, examples), examples["nrmse"], examples["family"]
    by_family = {str(f): srcc(predicted[family == f], true[family == f]) for f in np.unique(family)}
    return {
        "pooled": srcc(predicted, true),
        "mae": float(np.abs(predicted - true).mean()),
    } | by_family

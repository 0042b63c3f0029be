"""Train an NRMSE predictor on groups of degraded images of one target each; every batch comes from (seed, step)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad, smooth_l1_loss, softplus

from mriqf import metrics, weights
from mriqf.metrics.correlation import srcc
from mriqf.predictors.nrmse import CELL, LEAST, MOST, NRMSEConfig, NRMSEPredictor, Prediction
from mriqf.predictors.reading import object_error
from mriqf.training.groups.shards import LEVELS
from mriqf.training.groups.variation import spliced, varied
from mriqf.training.loop import check_new, fit, fresh, origin
from mriqf.training.parallel import own_device

Examples = dict[str, Any]
QUANTILES = (0.05, 0.5, 0.95)
SMALL_ERROR = 0.04
"""Errors of images below which a local flaw stands out."""
LEAST_DIFFERENCE = 0.03
"""Difference of two images' errors, in their logarithm (base 10), from which on their order counts."""


@dataclass(frozen=True)
class NRMSETrainConfig:
    """Recipe of an NRMSE predictor."""

    steps: int = 8000
    """Optimiser steps."""
    lr: float = 2e-3
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 0.02
    """Decoupled weight decay."""
    groups: int = 3
    """Targets of a step, each with all of its degraded images; they are of similar size."""
    contrast: float = 1.0
    """Weight of the difference of cells from the mean of their image, beside their errors."""
    whole: float = 1.0
    """Weight of the object's error and interval beside the errors of cells."""
    order: float = 0.02
    """Weight of the order of the images of a target."""
    flawed: float = 0.15
    """Share of images with a local flaw, beside what is wrong everywhere; three times it where little is wrong."""
    spliced: float = 0.25
    """Share of images that show another image of their target in one place."""
    ema: float = 0.998
    """Decay of the averaged weights, which are the ones kept."""
    seed: int = 0
    """Seed of the initial weights and of every batch."""
    checkpoint_every: int = 500
    """Steps between checkpoints, each with its validation."""
    model: NRMSEConfig = field(default_factory=NRMSEConfig)
    """The network."""


@dataclass(frozen=True)
class Batch:
    """Degraded images of several sizes, continued to the largest, and their errors."""

    images: Float[Tensor, "b 1 h w"]
    sizes: Int[Tensor, "b 2"]
    cells: Float[Tensor, "b 2 i j"]
    """Excess and total error of cells, -1 outside the object, NaN where not known."""
    weight: Float[Tensor, "b 1 i j"]
    """Share of a cell that the image's own foreground takes."""
    nrmse: Float[Tensor, " b"]
    group: Int[Tensor, " b"]


def train_nrmse(
    examples: Examples,
    held_out: Examples,
    out: Path,
    config: NRMSETrainConfig,
    *,
    provenance: dict[str, Any],
    device: str = "cpu",
    start: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on groups of degraded images and write `out`; resume from `out` + `.checkpoint` if that exists.

    Parameters
    ----------
    examples, held_out
        As `mriqf.training.groups.shards.read_shards` gives them: to train on, to validate.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    provenance
        Origin of the examples, as plain JSON values; kept in the metadata of the weights.
    start
        Weights of the same network to start from, instead of random ones.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If a checkpoint belongs to another recipe.
    """
    check_new(out, force)
    model = fresh(NRMSEPredictor, config.model, config.seed, start)
    model = model.to(own_device(device)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    members = by_size(examples)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((config.seed, step))
        first = int(rng.integers(len(members)))
        near = members[max(first - 20, 0) : first + 20]  # similar sizes leave little padding in a batch
        chosen = rng.choice(len(near), min(config.groups, len(near)), replace=False)
        rows = [row for k in chosen for row in near[k]]
        batch = make_batch(examples, rows, rng, config.flawed, config.spliced)
        with torch.autocast(device.split(":")[0], dtype=torch.bfloat16), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            images = batch.images.to(model.device).contiguous(memory_format=torch.channels_last)
            prediction = model.predict(images, batch.sizes)  # every process sees all: targets stay whole
        return nrmse_loss(prediction, batch, config)

    return fit(
        model, out, config, loss=loss, validate=lambda average: validate(average, held_out), half=True,
        force=force, report=report,
        terms=weights.config_dict(config) | provenance | {"start": origin(start)},
        card={"network": "nrmse", "config": weights.config_dict(config.model)} | provenance,
    )  # fmt: skip


def by_size(examples: Examples) -> list[list[int]]:
    """Rows of each group, groups in order of their largest image."""
    members: dict[int, list[int]] = {}
    for row, group in enumerate(examples["group"].tolist()):
        members.setdefault(group, []).append(row)
    largest = {g: max(examples["image"][r].shape for r in rows) for g, rows in members.items()}
    return [members[g] for g in sorted(members, key=lambda g: (largest[g], g))]


def make_batch(
    examples: Examples,
    rows: Sequence[int],
    rng: np.random.Generator | None = None,
    flawed: float = 0.0,
    mixed: float = 0.0,
) -> Batch:
    """Images of some rows; with a generator turned, cropped, shaded and so on, and some with a local flaw.

    A share of them, `mixed`, shows another image of the same target in one place.
    """
    parts = []
    for row in rows:
        image, cells = _example(examples, row)
        nrmse = float(examples["nrmse"][row])
        if rng is not None:
            if rng.random() < mixed:
                partners = [r for r in rows if r != row and _comparable(examples, row, r)]
                if partners:
                    other = _example(examples, partners[int(rng.integers(len(partners)))])
                    image, cells, nrmse = spliced(image, cells, *other, rng)
            image, cells, nrmse = varied(image, cells, nrmse, rng, 3 * flawed if nrmse < SMALL_ERROR else flawed)
        parts.append((torch.from_numpy(image)[None, None], torch.from_numpy(cells)[None], nrmse))
    h, w = (max(-(-image.shape[axis] // 32) * 32 for image, *_ in parts) for axis in (2, 3))
    images, errors, inside = [], [], []
    for image, cells, _ in parts:
        margin = (0, w - image.shape[3], 0, h - image.shape[2])
        images.append(pad(image, margin, mode="replicate"))
        errors.append(pad(cells, (0, w // CELL - cells.shape[3], 0, h // CELL - cells.shape[2]), value=-1.0))
        inside.append(avg_pool2d(pad(metrics.object_mask(image).float(), margin), CELL))
    return Batch(
        torch.cat(images),
        torch.tensor([image.shape[2:] for image, *_ in parts]),
        torch.cat(errors),
        torch.cat(inside),
        torch.tensor([nrmse for *_, nrmse in parts], dtype=torch.float32),
        torch.from_numpy(np.asarray(examples["group"])[list(rows)]),
    )


def _example(examples: Examples, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude in [0, 1], and errors of cells: excess and total."""
    total, excess = examples["cells"][row].astype(np.float32)
    return examples["image"][row].astype(np.float32) / LEVELS, np.stack((excess, total))


def _comparable(examples: Examples, row: int, other: int) -> bool:
    """True if two images have the same target, size and object."""
    if examples["group"][row] != examples["group"][other]:
        return False
    if examples["image"][row].shape != examples["image"][other].shape:
        return False
    inside, same = (examples["cells"][r][1] >= 0 for r in (row, other))
    return bool(inside.any()) and np.array_equal(inside, same)


def nrmse_loss(prediction: Prediction, batch: Batch, config: NRMSETrainConfig) -> Tensor:
    """Smooth absolute difference of cells' logarithms, quantile loss of the object's, and order within targets."""
    cells, target = prediction.cells, batch.cells.to(prediction.cells.device)
    known = (target >= 0) & target.isfinite()
    logs = torch.where(known, target, 1).clamp(LEAST, MOST).log10()
    each = smooth_l1_loss(cells, logs, beta=0.1, reduction="none") * known
    n = known.sum((2, 3), keepdim=True).clamp_min(1)
    centred, target = (x - (x * known).sum((2, 3), keepdim=True) / n for x in (cells, logs))
    each = each + config.contrast * smooth_l1_loss(centred, target, beta=0.1, reduction="none") * known
    loss = (each.sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp_min(1)).mean()

    excess, total = object_error(cells, batch.weight.to(cells)).unbind(1)
    true = batch.nrmse.to(cells).clamp(LEAST, MOST).log10()
    centre = excess.detach()  # cells are to be right, whatever the interval
    ends = (centre - prediction.below, excess, centre + prediction.above)
    whole = sum(pinball(end, true, q) for end, q in zip(ends, QUANTILES, strict=True))
    parts = known[:, 1].float()
    has = parts.sum((1, 2)) > 0
    if has.any():
        whole = whole + (total[has] - object_error(logs[has, 1], parts[has])).abs().mean()

    group = batch.group.to(cells.device)
    worse = (group[:, None] == group) & (true[:, None] - true > LEAST_DIFFERENCE)
    doubt = softplus(-(excess[:, None] - excess) / 0.05) * worse
    return loss + config.whole * whole + config.order * doubt.sum() / worse.sum().clamp_min(1)


def pinball(predicted: Float[Tensor, " b"], true: Float[Tensor, " b"], quantile: float) -> Float[Tensor, ""]:
    """Quantile loss, Koenker and Bassett, doi:10.2307/1913643."""
    above = true - predicted
    return torch.maximum(quantile * above, (quantile - 1) * above).mean()


@torch.inference_mode()
def predict_examples(model: NRMSEPredictor, examples: Examples, batch_size: int = 8) -> dict[str, np.ndarray]:
    """Predicted NRMSE of each example, the ends of its interval, and correlation of its map with the true one.

    Returns
    -------
    dict
        `nrmse`, `low`, `high`; `total`, against the object without noise; `map`, NaN where there is nothing to see.
    """
    rows = sorted(range(len(examples["image"])), key=lambda row: examples["image"][row].shape)
    columns = {name: np.full(len(rows), np.nan) for name in ("nrmse", "low", "high", "total", "map")}
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        batch = make_batch(examples, part)
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            images = batch.images.to(model.device).contiguous(memory_format=torch.channels_last)
            prediction = model.predict(images, batch.sizes)
        centre, total = object_error(prediction.cells, batch.weight.to(prediction.cells)).unbind(1)
        columns["nrmse"][part] = 10 ** centre.cpu().numpy()
        columns["low"][part] = 10 ** (centre - prediction.below).cpu().numpy()
        columns["high"][part] = 10 ** (centre + prediction.above).cpu().numpy()
        columns["total"][part] = 10 ** total.cpu().numpy()
        for k, row in enumerate(part):
            true = batch.cells[k, 0]
            known = (true >= 0) & true.isfinite()
            if known.sum() > 20 and batch.nrmse[k] > 0.01:
                pair = prediction.cells[k, 0][known].cpu().float(), true[known].clamp_min(LEAST).log10()
                columns["map"][row] = float(torch.corrcoef(torch.stack(pair))[0, 1])
    return columns


def validate(model: Any, examples: Examples) -> dict[str, float]:
    """Rank correlation with the true NRMSE, pooled and of each family and dataset, and other figures of merit.

    `mae` is the mean absolute error; `held` the share of images whose error lies in the predicted interval; `order`
    the share of pairs of images of one target, of which one's error is a quarter larger, that are in order; `map` the
    median correlation of maps.
    """
    predicted, true = predict_examples(model, examples), np.maximum(examples["nrmse"], LEAST)
    figures = {
        "pooled": srcc(predicted["nrmse"], true),
        "mae": float(np.abs(predicted["nrmse"] - true).mean()),
        "held": float(((predicted["low"] <= true) & (true <= predicted["high"])).mean()),
        "order": _order(predicted["nrmse"], true, examples["group"]),
        "map": float(np.nanmedian(predicted["map"])),
    }
    for column in ("family", "dataset"):
        for name in np.unique(examples[column]):
            rows = examples[column] == name
            if rows.sum() > 20:
                figures[str(name)] = srcc(predicted["nrmse"][rows], true[rows])
    return figures


def _order(predicted: np.ndarray, true: np.ndarray, group: np.ndarray) -> float:
    same = group[:, None] == group
    worse = same & (true[:, None] > 1.25 * true)
    return float((predicted[:, None] > predicted)[worse].mean()) if worse.any() else math.nan

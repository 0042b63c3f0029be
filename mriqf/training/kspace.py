"""Train a k-space predictor on reconstructions with their evidence; every batch comes from (seed, step)."""

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn.functional import pad, smooth_l1_loss

from mriqf import weights
from mriqf.calibration import Calibration, Scored
from mriqf.calibration import fit as fit_calibration
from mriqf.metrics.correlation import srcc
from mriqf.predictors.inference import fingerprint
from mriqf.predictors.kspace import LEAST, MOST, KSpaceConfig, KSpacePredictor
from mriqf.predictors.unit import score_of_error
from mriqf.scoring.evidence import read_image
from mriqf.scoring.scorer import Scorer
from mriqf.training.groups.shards import LEVELS
from mriqf.training.loop import check_new, fit, fresh
from mriqf.training.nrmse import QUANTILES
from recon.evidence import CHANNELS, FINDINGS

LEAST_SD = 0.05
"""Least standard deviation of a feature, in decades: one that hardly varies would make any change large."""


@dataclass(frozen=True)
class KSpaceTrainConfig:
    """Recipe of a k-space predictor."""

    steps: int = 3000
    """Optimiser steps."""
    lr: float = 3e-3
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 0.1
    """Decoupled weight decay."""
    batch: int = 48
    """Reconstructions of a step."""
    map: float = 0.5
    """Weight of the map beside the number and its interval."""
    unread: float = 0.2
    """Share of examples from which the reading of the image is withheld."""
    ema: float = 0.99
    """Decay of the averaged weights, which are the ones kept."""
    seed: int = 0
    """Seed of the initial weights and of every batch."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, each with its validation."""
    members: int = 5
    """Networks whose results are averaged; each gives every target another weight."""
    width: int = 32
    """Hidden units of each."""


@dataclass(frozen=True)
class Examples:
    """Reconstructions with their evidence and true errors; maps of cells continued to the largest."""

    findings: Float[Tensor, "n f"]
    channels: Float[Tensor, "n k i j"]
    weight: Float[Tensor, "n 1 i j"]
    inside: Bool[Tensor, "n 1 i j"]
    image_error: Float[Tensor, " n"]
    image_cells: Float[Tensor, "n 1 i j"]
    cells: Float[Tensor, "n 1 i j"]
    """True errors; -1 outside the object."""
    nrmse: Float[Tensor, " n"]
    ssim: Shaped[np.ndarray, " n"]
    acceleration: Shaped[np.ndarray, " n"]
    family: Shaped[np.ndarray, " n"]
    method: Shaped[np.ndarray, " n"]
    subject: Shaped[np.ndarray, " n"]
    group: Shaped[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.nrmse)

    def part(self, rows: Bool[np.ndarray, " n"] | Shaped[np.ndarray, " m"]) -> "Examples":
        """Examples of some rows."""
        chosen = np.arange(len(self))[rows]
        picked: dict[str, Any] = {f.name: getattr(self, f.name)[chosen] for f in fields(self)}
        return Examples(**picked)


def prepare(evidence: dict[str, Any], scorer: Scorer, report: Callable[[int], object] = lambda _: None) -> Examples:
    """Examples of `mriqf.training.evidence.shards.read_evidence`, with what a predictor reads from their images alone.

    Parameters
    ----------
    scorer
        Scorer of the image predictor; a calibration is not needed.
    report
        Gets the number of images read, one at a time.
    """
    h, w = (max(cells.shape[axis] for cells in evidence["cells"]) for axis in (0, 1))

    def continued(x: Tensor, value: float = 0.0) -> Tensor:
        return pad(x, (0, w - x.shape[-1], 0, h - x.shape[-2]), value=value)

    read = []
    for image in evidence["image"]:
        read.append(read_image(scorer.image(image.astype(np.float32) / LEVELS)))
        report(1)
    cells = [torch.from_numpy(x)[None, None] for x in evidence["cells"]]
    channels = [torch.from_numpy(x)[None] for x in evidence["channels"]]
    named = np.array([f"{d}/{s}" for d, s in zip(evidence["dataset"], evidence["subject"], strict=True)])
    return Examples(
        torch.from_numpy(evidence["findings"]),
        torch.cat([continued(x) for x in channels]),
        torch.cat([continued(one.weight) for one in read]),
        torch.cat([continued(torch.ones_like(x)) for x in cells]) > 0,
        torch.cat([one.error for one in read]),
        torch.cat([continued(one.cells) for one in read]),
        torch.cat([continued(x, -1.0) for x in cells]),
        torch.from_numpy(evidence["nrmse"]),
        evidence["ssim"], evidence["acceleration"], evidence["family"], evidence["method"], named, evidence["group"],
    )  # fmt: skip


def train_kspace(
    examples: Examples,
    held_out: Examples,
    out: Path,
    config: KSpaceTrainConfig,
    *,
    provenance: dict[str, Any],
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on reconstructions and write `out`; resume from `out` + `.checkpoint` if that exists.

    Parameters
    ----------
    examples, held_out
        To train on, to validate.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    provenance
        Origin of the examples, as plain JSON values; kept in the metadata of the weights.
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
    network = KSpaceConfig(FINDINGS, CHANNELS, config.members, config.width)
    model = fresh(KSpacePredictor, network, config.seed)
    with torch.no_grad():
        seen = model.features(examples.findings, examples.channels, examples.weight, examples.image_error)
        model.mean.copy_(torch.nan_to_num(seen.nanmean(0)))
        spread = (seen - model.mean).square().nanmean(0).sqrt()
        model.sd.copy_(torch.nan_to_num(spread).clamp_min(LEAST_SD))
    importance = _importance(examples.group, config)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((config.seed, step))
        rows = rng.integers(len(examples), size=config.batch)
        batch = _turned(examples.part(rows), rng)
        withheld = torch.from_numpy(rng.random(config.batch) < config.unread)
        return kspace_loss(model, batch, importance[:, torch.from_numpy(rows)], withheld, config.map)

    return fit(
        model, out, config, loss=loss, validate=lambda average: validate(average, held_out), force=force, report=report,
        terms=weights.config_dict(config) | provenance,
        card={"network": "kspace", "config": weights.config_dict(network)} | provenance,
    )  # fmt: skip


def kspace_loss(
    model: KSpacePredictor,
    batch: Examples,
    importance: Float[Tensor, "e b"],
    withheld: Bool[Tensor, " b"],
    share: float,
) -> Tensor:
    """Quantile loss of each member's number and interval, and smooth absolute difference of the map's logarithms."""
    error = torch.where(withheld, math.nan, batch.image_error)
    image_cells = torch.where(withheld[:, None, None, None], math.nan, batch.image_cells)
    features = model.features(batch.findings, batch.channels, batch.weight, error)
    centre, below, above = model.members(features)
    true = batch.nrmse.clamp(LEAST, MOST).log10()
    ends = (centre.detach() - below, centre, centre.detach() + above)  # the number is to be right, whatever its ends
    loss = centre.new_zeros(())
    for end, quantile in zip(ends, QUANTILES, strict=True):
        above_it = true - end
        loss = loss + (importance * torch.maximum(quantile * above_it, (quantile - 1) * above_it)).mean()
    contrast = model.contrast(features, batch.channels, batch.weight, image_cells, batch.inside)
    known = batch.cells >= 0
    wrong = smooth_l1_loss(contrast, _contrast(batch.cells), beta=0.1, reduction="none") * known
    each = wrong.sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp_min(1)
    return loss + share * each.mean()


@torch.inference_mode()
def predict(model: KSpacePredictor, examples: Examples, *, unread: bool = False) -> dict[str, np.ndarray]:
    """Predicted NRMSE of each example, the ends of its interval, and correlation of its map with the true one.

    Parameters
    ----------
    unread
        Withhold the reading of the image.

    Returns
    -------
    dict
        `nrmse`, `low`, `high`; `below`, `above`, distances to the ends in the logarithm (base e); `features`, (n, m);
        `map`, NaN where there is nothing to see.
    """
    error, cells = examples.image_error, examples.image_cells
    if unread:
        error, cells = torch.full_like(error, math.nan), torch.full_like(cells, math.nan)
    reading = model.read(examples.findings, examples.channels, examples.weight, error, cells, examples.inside)
    assert reading.width is not None
    below, above = reading.width.unbind(1)
    known, true = examples.cells >= 0, _contrast(examples.cells)
    maps = np.full(len(examples), np.nan)
    for k, (predicted, target, inside) in enumerate(zip(reading.cells, true, known, strict=True)):
        if inside.sum() > 20 and examples.nrmse[k] > 0.01:
            maps[k] = torch.corrcoef(torch.stack((predicted[inside], target[inside])))[0, 1]
    columns = {
        "nrmse": 10**reading.whole, "low": 10 ** (reading.whole - below), "high": 10 ** (reading.whole + above),
        "below": math.log(10) * below, "above": math.log(10) * above, "features": reading.features[..., 0, 0],
    }  # fmt: skip
    return {name: column.double().numpy() for name, column in columns.items()} | {"map": maps}


def validate(model: Any, examples: Examples) -> dict[str, float]:
    """Rank correlation with the true NRMSE, pooled and of each family, and other figures of merit.

    `mae` is the mean absolute error; `held` the share of images whose error lies in the predicted interval; `map` the
    median correlation of maps; `unread` the pooled rank correlation without a reading of the image, and `image` that of
    this reading alone.
    """
    predicted, true = predict(model, examples), examples.nrmse.double().clamp_min(LEAST).numpy()
    figures = {
        "pooled": srcc(predicted["nrmse"], true),
        "mae": float(np.abs(predicted["nrmse"] - true).mean()),
        "held": float(((predicted["low"] <= true) & (true <= predicted["high"])).mean()),
        "map": float(np.nanmedian(predicted["map"])) if np.isfinite(predicted["map"]).any() else math.nan,
        "unread": srcc(predict(model, examples, unread=True)["nrmse"], true),
        "image": srcc(examples.image_error.double().numpy(), true),
    }
    for name in np.unique(examples.family):
        rows = examples.family == name
        if rows.sum() > 20:
            figures[str(name)] = srcc(predicted["nrmse"][rows], true[rows])
    return figures


def leave_one_out(
    examples: Examples, held_out: Examples, config: KSpaceTrainConfig
) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures of each family of reconstructions, by a predictor that was trained without it, one after the other."""
    for name in np.unique(held_out.family):
        seen, unseen = examples.family != name, held_out.family == name
        if unseen.sum() > 20 and seen.any():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "without.safetensors"
                recipe = replace(config, checkpoint_every=config.steps)
                train_kspace(examples.part(seen), held_out, path, recipe, provenance={})
                yield str(name), validate(weights.load(path), held_out.part(unseen))


def calibrate(model: KSpacePredictor, held_out: Examples, familiar: Examples) -> Calibration:
    """Calibration of a k-space predictor's scores, on reconstructions that it was not trained on.

    Parameters
    ----------
    familiar
        Those that it was trained on: their errors are not used, but evidence like theirs is in the domain.

    Raises
    ------
    ValueError
        If the reconstructions are too few.
    """
    predicted = predict(model, held_out)
    scored = Scored(
        np.asarray(score_of_error(predicted["nrmse"], clamp=False)),
        held_out.nrmse.double().numpy(),
        held_out.ssim.astype(np.float64),
        held_out.subject,
        predicted["features"],
        held_out.acceleration.astype(np.float64),
        np.stack((predicted["below"], predicted["above"]), 1),
    )
    return fit_calibration(scored, weights=fingerprint(model), familiar=predict(model, familiar)["features"])


def _contrast(cells: Float[Tensor, "b 1 i j"]) -> Float[Tensor, "b 1 i j"]:
    """Logarithm of true errors of cells, relative to their root mean square over the object."""
    known = cells >= 0
    square = torch.where(known, cells.clamp(LEAST, MOST).square(), 0)
    mean = square.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
    return 0.5 * (square.clamp_min(LEAST**2) / mean.clamp_min(LEAST**2)).log10()


def _importance(group: Shaped[np.ndarray, " n"], config: KSpaceTrainConfig) -> Float[Tensor, "e n"]:
    """Weight that each member gives to each example, the same for all of a target: Bayesian bootstrap.

    References
    ----------
    Rubin, The Bayesian bootstrap, Ann Statist 1981, doi:10.1214/aos/1176345338.
    """
    _, target = np.unique(group, return_inverse=True)
    drawn = np.random.default_rng(config.seed).exponential(size=(config.members, target.max() + 1))
    return torch.from_numpy(drawn[:, target].astype(np.float32))


def _turned(batch: Examples, rng: np.random.Generator) -> Examples:
    """Flip and transpose maps: the direction of phase encoding says nothing of the errors of cells."""
    axes = [axis for axis in (2, 3) if rng.random() < 0.5]
    swap = rng.random() < 0.5
    maps = {}
    for name in ("channels", "weight", "inside", "image_cells", "cells"):
        x = getattr(batch, name).flip(axes)
        maps[name] = x.mT if swap else x
    return replace(batch, **maps)

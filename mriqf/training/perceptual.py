"""Fine-tune a restorer by the score, without references: towards a high score of a predictor, held to its own input.

The report's set-up (its Figure 16) pulls the output to the input and to a high score. Further constraints, and an
independent judge, are off unless asked for. Errors against the reference are measured at checkpoints, and never
trained on or chosen by.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023, 5.3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, l1_loss

from mriqf import weights
from mriqf.jpeg import compress, tables
from mriqf.jpeg.cell import Cell, code, outside, project
from mriqf.jpeg.colour import to_8bit, ycbcr
from mriqf.loss import QFLoss, find_foreground
from mriqf.metrics.jpeg import hue_shift
from mriqf.restore import load_restorer, restore
from mriqf.scoring.scale import spread
from mriqf.training.loop import check_new, fit, fresh, origin
from mriqf.training.manifest import Manifest, content_hash
from mriqf.training.parallel import own_device, pooled, share
from mriqf.training.patches import Pixels, draw_batch
from mriqf.training.restorer import LOW, read_pixels, restored_half, validate
from mriqf.training.restorer_recipe import GRID, RestorerTrainConfig, check_draws

USUAL = {1: ("qf-gray",), 3: ("qf-rgb",)}
"""Predictors of grey and RGB images."""
SIDE = 160  # pixels of the central square of a validation image


@dataclass(frozen=True)
class PerceptualConfig:
    """Recipe of fine-tuning a restorer by the score."""

    steps: int = 1000
    """Optimiser steps."""
    lr: float = 1e-4
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    ema: float = 0.99
    """Decay of the averaged weights, which are the ones kept."""
    checkpoint_every: int = 100
    """Steps between checkpoints, each with its validation."""
    batch: int = 8
    """Patches a step."""
    patch: int = 128
    """Side of a patch in pixels, a multiple of 16 and not smaller than a predictor sees."""
    worst: int = 10
    """Lowest JPEG quality that is drawn, and one that is validated."""
    best: int = 40
    """Highest JPEG quality that is drawn, and one that is validated."""
    lam: float = 0.01
    """Weight of 1 − score/100 beside the mean absolute difference of output and input, in [0, 1]; 0 is the control."""
    consistency: float = 1.0
    """Weight of that difference: the report's data consistency; it pulls a restorer back to the JPEG image."""
    anchor: float = 0.0
    """Weight of the mean absolute difference of the output and what the network gave before it was fine-tuned."""
    schedule: Literal["constant", "ramp"] = "constant"
    """Schedule of `lam`: constant, or rising linearly from 0 over the first half of the steps."""
    cell: float = 0.0
    """Weight of the mean absolute distance of the output, in [0, 1], to the images that JPEG codes as the same file."""
    colour: float = 0.0
    """Weight of the mean absolute change of Cb and Cr, in [0, 1], averaged over 16×16 pixels; of RGB alone."""
    variants: int = 0
    """Copies of each image, shifted and a little darker, that the predictors score; 0 scores the image as it is."""
    drawn: bool = False
    """Each of these copies is also turned, mirrored and resized, and seen by one predictor, drawn anew each step."""
    predictors: tuple[str, ...] = ()
    """Names or paths of what scores, several for their mean; none gives qf-gray for grey, qf-rgb for RGB images."""
    judge: str = ""
    """Name or path of a predictor outside the loss; the checkpoint that it scores highest is kept, or else the last."""
    most: int = 16
    """Validation images at most, the middle of each; spread over the manifest's."""
    seed: int = 0
    """Seed of every draw."""


def train_perceptual(
    start: str | Path,
    manifest: Manifest,
    root: Path,
    out: Path,
    config: PerceptualConfig,
    *,
    device: str = "cpu",
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Fine-tune on images that are compressed on the way, and write `out`; resume from `out` + `.checkpoint`.

    Parameters
    ----------
    start
        Name or path of the restorer's weights, grey or RGB.
    manifest, root
        The images, and their folder; photographs become limited-range luma for a grey restorer.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe, start or predictor is refused.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If the recipe is impossible, `start` restores nothing or takes other channels than the predictors, the data
        differ from the manifest, or a checkpoint from the recipe.
    """
    check_new(out, force)
    original = load_restorer(start)
    channels = original.config.channels
    terms = perceptual_terms(start, manifest, config)
    config = replace(config, predictors=config.predictors or USUAL[channels])
    where = own_device(device)
    scores = {"score": QFLoss(config.predictors)} | ({"judge": QFLoss(config.judge)} if config.judge else {})
    scores = {name: score.to(where) for name, score in scores.items()}
    trained = QFLoss(list(scores["score"].predictors), config.variants, drawn=config.drawn)
    _check_predictors(scores, str(start), channels, config)
    model = fresh(type(original), original.config, config.seed, start)
    pools = [list(read_pixels(s, root, channels)) for s in manifest.split("train")]
    shares = [s.weight for s in manifest.split("train")]
    held_out = [image for s in manifest.split("val") for image in read_pixels(s, root, channels)]
    held_out = [held_out[k] for k in spread(range(len(held_out)), config.most)]
    _check_images(pools, held_out, manifest.name, config.patch, max(map(_least, scores.values())), config.judge)
    model, untuned = (network.to(where).to(memory_format=torch.channels_last) for network in (model, original))  # pyright: ignore[reportCallIssue]
    draws = RestorerTrainConfig(batch=config.batch, patch=config.patch, worst=config.worst, best=config.best)
    qualities = sorted({config.worst, config.best})
    before = figures(untuned, held_out, scores, qualities)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((config.seed, step))
        given, target, quantisation = (share(x).to(where) for x in draw_batch(pools, shares, rng, draws))
        restored = restored_half(model, given, quantisation)
        cell = code(target, quantisation) if config.cell else None  # as the file says; no more of the target is used
        with torch.no_grad():
            first = restored_half(untuned, given, quantisation) if config.anchor else None
        return tuning_loss(restored, given, first, cell, trained, config, step)

    def measure(average: nn.Module) -> dict[str, float]:
        now = figures(average, held_out, scores, qualities)
        added = [now[name] - before[name] for name in before if name in now and name.startswith("gain")]
        return now | ({"over_start": float(np.mean(added))} if added else {})

    chosen = {"network": model.name, "config": weights.config_dict(model.config)}
    return fit(
        model, out, config, loss=loss, validate=measure,
        half=True, best="judge" if config.judge else "", force=force, report=report,
        terms=terms,
        card=chosen | {"manifest": {"name": manifest.name, "sha256": manifest.sha256}, "before": before},
    )  # fmt: skip


def perceptual_terms(start: str | Path, manifest: Manifest, config: PerceptualConfig) -> dict[str, Any]:
    """Identity of a fine-tuning: the recipe, the network, and hashes of images, start and predictors.

    Raises
    ------
    ValueError
        If `start` restores nothing, or the recipe does not fit it.
    """
    model = load_restorer(start)
    _check(config, model.config.channels)
    config = replace(config, predictors=config.predictors or USUAL[model.config.channels])
    return weights.config_dict(config) | {
        "model": {"network": model.name, "config": weights.config_dict(model.config)},
        "manifest": manifest.sha256,
        "start": origin(start),
        "sha256": _hashes(config),
    }


def tuning_loss(
    restored: Float[Tensor, "b ch h w"],
    given: Float[Tensor, "b ch h w"],
    first: Float[Tensor, "b ch h w"] | None,
    cell: Cell | None,
    score: QFLoss,
    config: PerceptualConfig,
    step: int,
) -> Float[Tensor, ""]:
    """Mean absolute difference of output and input, and what the recipe puts beside it or instead.

    Parameters
    ----------
    restored, given
        The network's output and its input, in [0, 1]; the score is that of the input's foreground.
    first
        Output of the network before it was fine-tuned.
    cell
        Quantisation cell of the compressed images; these two are needed where the recipe has a weight for them.
    score
        The predictors.
    config, step
        The recipe, and the step of it.
    """
    loss = config.consistency * l1_loss(restored, given)
    if config.anchor and first is not None:
        loss = loss + config.anchor * l1_loss(restored, first)
    if config.cell and cell is not None:
        loss = loss + config.cell * l1_loss(restored, project(restored, cell))
    if config.colour:
        loss = loss + config.colour * l1_loss(tones(restored), tones(given))
    loss, lam = pooled(loss, len(given)), lam_at(config, step)
    if lam:
        foreground = find_foreground(given)
        scored = foreground.flatten(1).any(1).sum()  # images without foreground count nothing
        loss = loss + lam * pooled(score(restored, mask=foreground, seed=(config.seed, step)), scored)
    return loss


def lam_at(config: PerceptualConfig, step: int) -> float:
    """Weight of the score at a step."""
    return config.lam * (min(1.0, 2 * step / config.steps) if config.schedule == "ramp" else 1.0)


def tones(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 i j"]:
    """Cb and Cr, averaged over 16×16 pixels: what a change of tone changes, and sharper edges of colour do not."""
    return avg_pool2d(ycbcr(images)[:, 1:], GRID)


@torch.inference_mode()
def figures(
    model: nn.Module, images: Sequence[Pixels], scores: Mapping[str, QFLoss], qualities: Sequence[int]
) -> dict[str, float]:
    """Means over the restored middles of images.

    Parameters
    ----------
    model
        A network of `mriqf.restore`, in evaluation mode.
    images
        In grey levels, as they were before compression.
    scores
        Predictors by the name of their figure, 0–100, on the foreground of the JPEG image.
    qualities
        JPEG qualities of those figures, and of `outside`, the share of coefficients outside the quantisation cell, and
        `hue`, the shift of hues from the target in degrees (RGB).

    Returns
    -------
    Those, and the gains in PSNR over JPEG that all restorers are validated by, dB.
    """
    where = next(model.parameters()).device
    values: dict[str, list[float]] = {}
    for pixels in images:
        target = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(where) / 255
        target = centre(target, [min(SIDE, n) // GRID * GRID for n in target.shape[2:]])
        several = target.expand(len(qualities), -1, -1, -1)
        given = compress(several, qualities)
        steps = torch.stack([tables(q, target.shape[1]) for q in qualities]).to(where)
        restored = to_8bit(restore(model, given, steps, half=True))
        foreground = find_foreground(given)
        measured = {name: 100 * (1 - score(restored, mask=foreground)) for name, score in scores.items()}
        measured["outside"] = outside(restored, code(several, steps)).mean()
        if target.shape[1] == 3 and not (shift := hue_shift(restored, target).mean()).isnan():  # NaN without colours
            measured["hue"] = shift
        for name, value in measured.items():
            values.setdefault(name, []).append(value.item())
    return {name: float(np.mean(v)) for name, v in values.items()} | validate(model, images, SIDE, LOW)


def centre(images: Float[Tensor, "b ch h w"], shape: Sequence[int]) -> Float[Tensor, "b ch i j"]:
    """The middle of images, `shape` (height, width) pixels of it."""
    top, left = ((n - m) // 2 for n, m in zip(images.shape[2:], shape, strict=True))
    return images[..., top : top + shape[0], left : left + shape[1]]


def _hashes(config: PerceptualConfig) -> dict[str, str]:
    """Hashes of the predictors and the judge, by name."""
    hashes = {name: content_hash(weights.find(name)) for name in config.predictors}
    if not config.judge:
        return hashes
    judge = content_hash(weights.find(config.judge))
    if judge in hashes.values():
        raise ValueError(f"judge {config.judge!r} is among the predictors of the loss: choose an independent one")
    return hashes | {config.judge: judge}


def _least(score: QFLoss) -> int:
    """Pixels that a predictor sees at least."""
    return max(int(model.receptive_field) for model in score.predictors)  # pyright: ignore[reportArgumentType]


def _check(config: PerceptualConfig, channels: int) -> None:
    if channels not in USUAL:
        raise ValueError(f"the restorer takes {channels} channels: start from one of 1 (grey) or 3 (RGB)")
    check_draws(config.patch, config.worst, config.best)
    if config.batch < 1 or config.most < 1:
        raise ValueError(f"batch is {config.batch}, most {config.most}: use 1 or more of each")
    given = {name: getattr(config, name) for name in ("lam", "consistency", "anchor", "cell", "colour")}
    if min(given.values()) < 0 or not any(given.values()):
        listed = ", ".join(f"{name} {value}" for name, value in given.items())
        raise ValueError(f"weights are {listed}: use 0 or more, and not 0 everywhere")
    if config.colour and channels == 1:
        raise ValueError(f"colour is {config.colour}, but the restorer is grey: leave it out, or start from an RGB one")


def _check_predictors(scores: Mapping[str, QFLoss], start: str, channels: int, config: PerceptualConfig) -> None:
    for name, score in scores.items():
        if score.channels != channels:
            who = config.judge if name == "judge" else ", ".join(config.predictors)
            raise ValueError(f"{start} restores {channels} channels, and {who} scores {score.channels}: choose others")
    if config.patch < _least(scores["score"]):
        raise ValueError(f"patch is {config.patch}: a predictor sees {_least(scores['score'])} pixels, use so many")


def _check_images(
    pools: Sequence[Sequence[Pixels]], held_out: Sequence[Pixels], name: str, patch: int, least: int, judge: str
) -> None:
    if not pools or not all(pools):
        raise ValueError(f"manifest {name} has a training source without images, or none: name one that has")
    if judge and not held_out:
        raise ValueError(f"manifest {name} has no validation images for the judge: name some, or take no judge")
    for images, need, what in (([i for pool in pools for i in pool], patch, "patch"), (held_out, least, "predictor")):
        for height, width in (image.shape[:2] for image in images):
            if min(height, width) // GRID * GRID < need:
                raise ValueError(
                    f"manifest {name} has an image of {height}×{width}, and the {what} needs {need} pixels"
                )

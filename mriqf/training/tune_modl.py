"""Fine-tune a MoDL with targets, with held-out samples of the measurement, or with the score, alike otherwise.

References
----------
Yaman et al., Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference
data, Magn Reson Med 2020, doi:10.1002/mrm.28378.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

import recon
from mriqf import weights
from mriqf.loss import QFLoss, find_foreground, unit_range
from mriqf.training.loop import check_new, fit, origin
from mriqf.training.manifest import Manifest, content_hash, read_slices
from mriqf.training.modl import part, validate, validation_problems
from mriqf.training.parallel import own_device, pooled
from recon.operator import Sense
from recon.simulate import KNOWN_MAPS, Problem, SimulationConfig, simulate
from recon.validate import central

Objective = Literal["supervised", "held-out", "measured"]

ROWS = 64
"""Rows of the smallest image that a predictor takes."""


@dataclass(frozen=True)
class TuneConfig:
    """Recipe of fine-tuning a MoDL."""

    objective: Objective = "measured"
    """`supervised`: the error of the image. `held-out`: the error in samples that the network was not given, as in
    SSDU. `measured`: the error in all samples, all of which it was given."""
    lam: float = 0.0
    """Weight of 1 − score/100 of the magnitude image beside it."""
    predictors: tuple[str, ...] = ("qf-mri",)
    """Names or paths of what scores; several, and their mean counts."""
    variants: int = 0
    """Moved and darker copies of each image that are scored in its place; 0 scores the image itself."""
    share: float = 0.4
    """Part of the samples outside the centre that is held out of each step."""
    keep_center: float = 0.08
    """Part of the columns, or of each side for points, about the zero frequency that is never held out."""
    steps: int = 300
    """Optimiser steps."""
    lr: float = 1e-4
    """Peak learning rate of AdamW; linear warm-up over 200 steps, then cosine to zero."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    ema: float = 0.99
    """Decay of the averaged weights, which are the ones kept."""
    checkpoint_every: int = 100
    """Steps between checkpoints, each with its validation."""
    batch: int = 1
    """Samples a step."""
    pixels: int = 16384
    """Pixels of a sample: slabs of 64 rows of 256 columns, or squares of 128; wider slabs have 64 rows too."""
    seed: int = 0
    """Seed of every draw."""
    simulation: SimulationConfig = field(default_factory=lambda: replace(KNOWN_MAPS, acceleration=(4.0, 6.0)))
    """Simulation of measurements from images."""


def tune_modl(
    start: str | Path,
    manifest: Manifest,
    root: Path,
    out: Path,
    config: TuneConfig,
    *,
    device: str = "cpu",
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Fine-tune on a manifest's training split and write `out`; resume from `out` + `.checkpoint` if that exists.

    Truth is used by the supervised objective alone, and by the validation, which decides nothing; a manifest without
    validation split saves its time.

    Parameters
    ----------
    start
        Name or path of the MoDL.
    manifest, root
        The magnitude images, and their folder.
    out
        The weights file to write.
    config
        The recipe; a checkpoint of another recipe is refused.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    FileExistsError
        If `out` exists and `force` is not given.
    ValueError
        If the start is no MoDL, the recipe is impossible, the data differ from the manifest, or the loss stops being a
        number.
    """
    check_new(out, force)
    _check(config)
    model = weights.load(start)
    if not isinstance(model, recon.MoDL):
        raise ValueError(f"{start} holds no MoDL but a {type(model).__name__}: name weights of one")
    where = own_device(device)
    model = model.to(where).requires_grad_(True)
    sources = manifest.split("train")
    pools, shares = [list(read_slices(s, root)[0]) for s in sources], [s.weight for s in sources]
    held_out = [image for s in manifest.split("val") for image in read_slices(s, root)[0]]
    problems = validation_problems([[image] for image in held_out[:3]]) if held_out else {}
    quality_loss = QFLoss(config.predictors, config.variants).to(where) if config.lam else None

    def loss(step: int) -> Tensor:
        model.denoiser.eval()  # its statistics are of all unrolls, and of one each batch would spoil them
        rng = np.random.default_rng((config.seed, step))
        problem = draw(pools, shares, rng, config)
        with torch.autocast(where.type, dtype=torch.bfloat16):
            return tuning_loss(model, problem, config, quality_loss, rng)

    return fit(
        model, out, config, loss=loss, validate=lambda average: validate(average, problems),  # pyright: ignore[reportArgumentType]
        force=force, report=report,
        terms=tuning_terms(start, manifest, config),
        card={
            "network": "modl",
            "config": weights.config_dict(model.config),
            "manifest": {"name": manifest.name, "sha256": manifest.sha256},
        },
    )  # fmt: skip


def tuning_terms(start: str | Path, manifest: Manifest, config: TuneConfig) -> dict[str, Any]:
    """All that a fine-tuning depends on, as the metadata of its weights have it."""
    return weights.config_dict(config) | {
        "manifest": manifest.sha256,
        "start": origin(start),
        "predictors": [content_hash(weights.find(name)) for name in config.predictors if config.lam],
    }


def draw(
    pools: Sequence[Sequence[Float[np.ndarray, "h w"]]],
    shares: Sequence[int | float],
    rng: np.random.Generator,
    config: TuneConfig,
) -> Problem:
    """The measurements of a step: of one of the pools, each as likely as its share.

    Slabs have the rows that a predictor needs even where none scores, so that all objectives see the same.
    """
    slices = pools[rng.choice(len(pools), p=np.divide(shares, sum(shares)))]
    pixels = max(config.pixels, ROWS * max(slices[0].shape))
    return simulate(slices, rng, config.batch, pixels, config.simulation)


def tuning_loss(
    model: recon.MoDL, problem: Problem, config: TuneConfig, quality_loss: QFLoss | None, rng: np.random.Generator
) -> Float[Tensor, ""]:
    """The objective, and `lam` times what the score misses in the magnitude image.

    Errors are relative, so that objectives have one scale: ‖·‖₂ of the image; of samples, the mean of ‖·‖₂ and ‖·‖₁,
    as SSDU has them.
    """
    given = asked = problem.sense.mask
    if config.objective == "held-out":
        asked = hold_out(given, config.share, config.keep_center, rng)
        given = given & ~asked
    everything = (problem.kspace, problem.target, problem.sense.csm, given, asked)
    where, n = next(model.parameters()).device, len(problem.target)
    kspace, target, csm, given, asked = (part(x, n).to(where) for x in everything)
    known = Sense(given, csm)
    image = model.unroll(known.adjoint(kspace * given), known, model.config.unrolls)
    if config.objective == "supervised":
        loss = (_norm(image - target, 2) / _norm(target, 2)).mean()
    else:
        predicted, measured = Sense(asked, csm)(image), kspace * asked
        loss = torch.stack([_norm(predicted - measured, p) / _norm(measured, p) for p in (1, 2)]).mean()
    loss = pooled(loss, len(image))
    if quality_loss is None:
        return loss
    shown = unit_range(image.abs())
    foreground = find_foreground(shown)
    missing = quality_loss(shown, mask=foreground, seed=int(rng.integers(2**31)))
    return loss + config.lam * pooled(missing, foreground.flatten(1).any(1).sum())


def hold_out(
    mask: Bool[Tensor, "b 1 h w"], share: int | float, keep_center: int | float, rng: np.random.Generator
) -> Bool[Tensor, "b 1 h w"]:
    """Mask of the measured samples held out: columns where the mask takes columns, else points.

    Parameters
    ----------
    mask
        Mask of the measured samples.
    share
        Part of what was measured outside the centre, above 0 and below 1.
    keep_center
        Part of the columns, or of each side for points, about the zero frequency that is kept.
    rng
        Generator of the choice.
    """
    columns = bool((mask == mask[:, :, :1]).all())
    plane = mask[:, :, :1] if columns else mask
    drawn = torch.from_numpy(rng.random(plane.shape)) < share
    center = central(plane.shape[2:], keep_center)
    return (plane & drawn & ~center).expand_as(mask)


def _norm(x: Complex[Tensor, "b _ _ _"], p: int) -> Float[Tensor, " b"]:
    magnitude = x.abs().flatten(1)
    # Never zero: a mask may leave nothing to hold out.
    return magnitude.mean(1) + 1e-9 if p == 1 else (magnitude.square().mean(1) + 1e-18).sqrt()


def _check(config: TuneConfig) -> None:
    if config.objective not in get_args(Objective):
        raise ValueError(f"objective is {config.objective!r}: choose one of {', '.join(get_args(Objective))}")
    if config.lam < 0:
        raise ValueError(f"lam is {config.lam}: the score counts for good, use 0 or more")
    if not 0 < config.share < 1 or not 0 <= config.keep_center < 1:
        raise ValueError(f"share is {config.share}, keep_center {config.keep_center}: use shares between 0 and 1")

"""Restoration of one JPEG by a deep image prior: one network fitted to one image, without training data or target.

References
----------
Ulyanov, Vedaldi, Lempitsky, Deep image prior, Int J Comput Vis 2020, doi:10.1007/s11263-020-01303-4.
Metzler et al., Unsupervised learning with Stein's unbiased risk estimator, 2018, arXiv:1805.10531.
Jo, Chun, Choi, Rethinking deep image prior for denoising, ICCV 2021, doi:10.1109/ICCV48922.2021.00504.
Barrack, A deep learning approach to JPEG colour restoration without ground truth, poster, University of Toronto.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf import weights
from mriqf.restore.dip import DIP, DIPConfig
from mriqf.restore.objectives import colour_kl, draw_quantisation_noise, quantisation_variance, sure

Image = Float[Tensor, "1 ch h w"]


@dataclass(frozen=True)
class PriorConfig:
    """Recipe of a fit."""

    steps: int = 1000
    """Maximum number of optimiser steps."""
    lr: float = 0.01
    """Learning rate of Adam."""
    loss: Literal["mse", "sure"] = "mse"
    """Mean squared difference from the given image, or Stein's estimate (SURE) of that from the target."""
    kl: float = 0.0
    """λ: weight of the mean over channels of `colour_kl`."""
    reading: Literal["moments", "histogram"] = "moments"
    """Estimate of the distribution of a reconstruction's levels in `colour_kl`."""
    jitter: float = 1 / 30
    """Standard deviation of the noise that is added to the network's input at each step. SURE stays unbiased with it,
    and without it is driven below zero, since the network overfits its divergence."""
    sigma: float | None = None
    """For SURE: standard deviation of white noise in the image, in [0, 1] units; None for JPEG's, from its tables."""
    epsilon: float = 0.01
    """For SURE: length of its finite difference, in noises."""
    stop: Literal["count", "sure", "score"] = "count"
    """Rule that chooses the step whose image is kept: the last one, the lowest SURE, or the highest score."""
    every: int = 25
    """Steps between evaluations of SURE, score and watch; each is a point of the curve."""
    settle: int = 100
    """Steps before SURE and score choose."""
    patience: int = 12
    """Number of evaluations without improvement that ends the fit."""
    average: float = 0.99
    """Decay of the running means of the output, which is kept, and of SURE; 0 keeps the last output alone."""
    half: bool = False
    """Compute in bfloat16 where accuracy allows; not with SURE, whose differences are too small for it."""
    checkpoint_every: int = 250
    """Steps between checkpoints, if any are kept."""
    seed: int = 0
    """Seed of initial weights and of every draw."""
    model: DIPConfig = field(default_factory=DIPConfig)
    """Size of the network and kind of its input."""


@dataclass(frozen=True)
class Fitted:
    """Result of a fit."""

    image: Image
    """Restored image in (0, 1)."""
    step: int
    """Step of that image, from 1."""
    stopped: Literal["count", "sure", "score", "diverged"]
    """Reason for the end of the fit: all steps done, no improvement of SURE or score, or a loss that is not finite."""
    curve: list[dict[str, int | float]]
    """Values at each evaluation: step, loss, data (its first term), kl, sure (running mean), score, and `watch`'s."""


def fit_prior(
    given: Image,
    config: PriorConfig = PriorConfig(),
    tables: Float[Tensor, "1 t 8 8"] | None = None,
    *,
    score: Callable[[Tensor], float] | None = None,
    watch: Callable[[int, Tensor], dict[str, int | float]] | None = None,
    checkpoint: Path | None = None,
) -> Fitted:
    """Fit a deep image prior to an image, and stop before it reproduces the artefacts.

    Every draw is that of a seed and a step, none of torch's own generators; on a CPU, the same arguments give the same
    image to the last bit. It is computed in single precision.

    Parameters
    ----------
    given
        Decoded JPEG in [0, 1], on the device of the fit.
    config
        The recipe.
    tables
        Quantisation steps, 1–255, in natural order, of luma and for colour of chroma: SURE needs them for JPEG's error.
    score
        Score of an image, higher is better; needed for `stop="score"`, otherwise only recorded.
    watch
        Called with step and image at each evaluation; its result is recorded in the curve and does not change the fit.
    checkpoint
        File to keep the state in; an interrupted fit is resumed from it, a finished one removes it. It knows recipe,
        image and tables, not the score.

    Raises
    ------
    ValueError
        If the recipe is impossible, the image or the tables do not fit it, a checkpoint is another fit's, a score that
        decides is not a number, or the loss is not finite before the first look. Later on, what was kept last is
        returned, as "diverged".
    """
    given = given.float()
    _check(given, config, score)
    risky = "sure" in (config.loss, config.stop)
    noise = _noise(given, config, tables) if risky else None
    source = _input(given, config).contiguous(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = DIP(config.model)
    model = model.to(given.device)
    model = model.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.Adam(model.parameters(), config.lr)
    images = {"average": torch.zeros_like(given), "kept": torch.zeros_like(given)}
    # Steps done; the kept step, its criterion, and evaluations without improvement since; running mean of SURE.
    state: dict[str, Any] = {"step": 0, "kept": 0, "worth": -math.inf, "worse": 0, "sure": 0.0, "curve": []}
    terms = weights.config_dict(config) | {"given": _hash(given), "tables": None if tables is None else _hash(tables)}
    if checkpoint is not None and checkpoint.exists():
        state = _restore(checkpoint, terms, model, optimiser, images)
    stopped = "count"
    for step in range(state["step"] + 1, config.steps + 1):
        rng = np.random.default_rng((config.seed, step))
        risk = given.new_zeros(())
        jitter = config.jitter * torch.from_numpy(rng.standard_normal(source.shape, dtype=np.float32)).to(source)
        with torch.autocast(given.device.type, torch.bfloat16, enabled=config.half):
            restored = model(source + jitter)
        if noise is not None:
            with torch.set_grad_enabled(config.loss == "sure"):
                risk = sure(
                    lambda image, jitter=jitter: model(image + jitter), given, noise(rng), config.epsilon, restored
                )
        data = risk if config.loss == "sure" else functional.mse_loss(restored, given)
        kl = colour_kl(given, restored, config.reading).mean() / given.shape[1]
        loss = data + config.kl * kl if config.kl else data
        if not loss.isfinite():
            stopped = "diverged"
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        newest = max(1 - config.average, 1 / step)  # a plain mean at first
        images["average"].lerp_(restored.detach(), newest)
        state["step"] = step
        state["sure"] += newest * (risk.item() - state["sure"])
        if step % config.every == 0 or step == config.steps:
            point: dict[str, int | float] = {"step": step, "loss": loss.item(), "data": data.item(), "kl": kl.item()}
            point |= {"sure": state["sure"]} if risky else {}
            _evaluate(state, images, point, config, score, watch)
            if state["worse"] >= config.patience:
                stopped = config.stop
                break
        if checkpoint is not None and step % config.checkpoint_every == 0:
            _save(checkpoint, state | {"recipe": terms}, model, optimiser, images)
    if not state["kept"]:
        raise ValueError(
            f"the loss is not finite before the first look: use a lower lr than {config.lr}, or look sooner"
        )
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return Fitted(images["kept"], state["kept"], stopped, state["curve"])


def _evaluate(
    state: dict[str, Any],
    images: dict[str, Tensor],
    point: dict[str, int | float],
    config: PriorConfig,
    score: Callable[[Tensor], float] | None,
    watch: Callable[[int, Tensor], dict[str, int | float]] | None,
) -> None:
    """Add a point to the curve, and keep the image if it is the best one so far."""
    step, average = state["step"], images["average"]
    point |= {"score": float(score(average.clone()))} if score is not None else {}
    worth = {"count": step, "sure": -state["sure"], "score": point.get("score", 0.0)}[config.stop]
    if math.isnan(worth):
        raise ValueError(f"the score at step {step} is not a number: stop by count")
    point |= watch(step, average.clone()) if watch is not None else {}
    state["curve"].append(point)
    state["worse"] += 1
    if step <= config.settle or worth > state["worth"]:
        images["kept"].copy_(average)
        state |= {"kept": step, "worth": worth, "worse": 0}


def _input(given: Image, config: PriorConfig) -> Tensor:
    """Input of the network, without the jitter."""
    if config.model.start == "image":
        return given
    rng = np.random.default_rng((config.seed, 0))
    return 0.1 * torch.from_numpy(rng.random((1, config.model.seen, *given.shape[2:]), dtype=np.float32)).to(given)


def _noise(
    given: Image, config: PriorConfig, tables: Float[Tensor, "1 t 8 8"] | None
) -> Callable[[np.random.Generator], Tensor]:
    """Sampler of the noise that SURE assumes in the image."""
    sigma = config.sigma
    if sigma is not None:
        return lambda rng: sigma * torch.from_numpy(rng.standard_normal(given.shape, dtype=np.float32)).to(given)
    if tables is None or tables.shape != (1, 1 if given.shape[1] == 1 else 2, 8, 8):
        shape = "missing" if tables is None else tuple(tables.shape)
        raise ValueError(f"tables are {shape}: SURE needs luma's, and in colour chroma's; or give sigma")
    variance = quantisation_variance(given, tables)
    return lambda rng: draw_quantisation_noise(variance, given, rng)


def _hash(tensor: Tensor) -> str:
    array = tensor.detach().cpu().contiguous().numpy()
    return hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()


def _save(
    path: Path, state: dict[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer, images: dict[str, Tensor]
) -> None:
    tensors = images | {f"model.{k}": v for k, v in model.state_dict().items()}
    weights.write(path, tensors | weights.optimiser_tensors(optimiser), state, force=True)


def _restore(
    path: Path, terms: dict[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer, images: dict[str, Tensor]
) -> dict[str, Any]:
    tensors, card = weights.read_checkpoint(path, terms)
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    weights.load_optimiser(optimiser, tensors)
    for name, image in images.items():
        image.copy_(tensors[name])
    return card


def _check(given: Image, config: PriorConfig, score: Callable[[Tensor], float] | None) -> None:
    if len(given) != 1 or given.shape[1] != config.model.channels or not given.isfinite().all():
        raise ValueError(
            f"image is {tuple(given.shape)}: a prior of {config.model.channels} channels is fitted to one image of as "
            "many, with finite values"
        )
    least = min(config.steps, config.every, config.patience, config.checkpoint_every)
    if least < 1 or min(config.lr, config.epsilon) <= 0 or not 0 <= config.average < 1:
        raise ValueError(
            f"{config} cannot be run: use steps, every, patience and checkpoint_every >= 1, lr and epsilon above 0, "
            "0 <= average < 1"
        )
    if min(config.kl, config.jitter, config.settle, config.sigma or 0.0) < 0:
        raise ValueError(f"{config} has a negative kl, jitter, settle or sigma: use 0 or more")
    if config.loss not in ("mse", "sure") or config.stop not in ("count", "sure", "score"):
        raise ValueError(f"loss={config.loss!r}, stop={config.stop!r}: use mse or sure, and count, sure or score")
    if config.stop == "score" and score is None:
        raise ValueError("stop is score, and there is none: give a function, or stop by count or sure")
    if "sure" in (config.loss, config.stop) and config.model.start == "noise":
        raise ValueError("SURE is of a function of the image, and this network sees noise: use start='image'")
    if "sure" in (config.loss, config.stop) and config.half:
        raise ValueError("SURE takes small differences, which half precision has not: use half=False")

"""Arms of the study: one MoDL, fine-tuned for equally many steps with different objectives."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

import recon
from mriqf import weights
from mriqf.studies._frame.arms import is_trained, train_missing
from mriqf.training.loop import commit, fresh
from mriqf.training.manifest import Manifest, read_slices
from mriqf.training.tune_modl import Objective, TuneConfig, draw, tune_modl, tuning_terms
from recon.simulate import KNOWN_MAPS

START = "start"
NONE = "none"
"""Value of `start` for a network that is initialised as the identity."""
SEEN = 40
"""Samples from which its batch norms learn their statistics."""


@dataclass(frozen=True)
class TuningConfig:
    """Fine-tunings and measurements of the study."""

    start: str = NONE
    """Name or path of the MoDL that all arms start from; none: a network that does nothing yet, so that everything
    that an arm can do comes from its objective."""
    lams: tuple[float, ...] = (0.1, 1.0)
    """Weights of 1 − score/100, above 0; 0 is always compared."""
    predictor: str = "qf-mri"
    """Name or path of the predictor in the loss."""
    outside: str = "qf-gray"
    """Name or path of an independent predictor, which is in no loss."""
    steps: int = 500
    """Optimiser steps of an arm."""
    lr: float | None = None
    """Peak learning rate of AdamW; 0.002 from nothing and 0.0001 from weights if not given."""
    pixels: int = 16384
    """Pixels of a sample: slabs of 64 rows of 256 columns, or squares of 128; wider slabs have 64 rows too."""
    seed: int = 0
    """Seed of the initial network, and of every draw in training."""
    unrolls: int = 5
    """Unrolls of the initial network."""
    features: int = 32
    """Features of its denoiser."""
    families: tuple[str, ...] = ("random", "equispaced")
    """Masks that are trained with and measured; these take whole lines."""
    accelerations: tuple[int, ...] = (4, 6)
    """Accelerations that are measured; training draws from the lowest to the highest."""
    split: Literal["val", "test"] = "test"
    """Part of the manifest whose magnitude images are measured; no arm is chosen by them."""
    slices: int = 2
    """Slices of each subject, spread over its inner part."""
    seeds: int = 1
    """Draws of mask, coils, phase and noise for each slice."""


@dataclass(frozen=True)
class Arm:
    """Objective of a fine-tuning."""

    name: Literal["start"] | Objective
    """`start` as it begins, or the objective of `mriqf train tune-modl`."""
    lam: float = 0.0
    """Weight of 1 − score/100."""

    @property
    def label(self) -> str:
        """Label in figures and file names."""
        return f"{self.name}-{self.lam:g}" if self.lam else self.name


def chosen(config: TuningConfig) -> list[Arm]:
    """The arms, in the order of training.

    Raises
    ------
    ValueError
        If a weight of the score is not above 0, or stands there twice.
    """
    if any(lam <= 0 for lam in config.lams) or len(set(config.lams)) < len(config.lams):
        raise ValueError(f"lams are {', '.join(f'{lam:g}' for lam in config.lams)}: give different ones above 0")
    plain = [Arm(START), Arm("supervised"), Arm("held-out"), Arm("measured")]
    return plain + [Arm(name, lam) for lam in config.lams for name in ("held-out", "measured")]


def weights_path(folder: Path, arm: Arm, config: TuningConfig) -> Path:
    """Path of an arm's weights: in the folder of the arms, but for a start that was given."""
    if arm.name == START and config.start != NONE:
        return weights.find(config.start)
    return folder / f"{arm.label}.safetensors"


def recipe(arm: Arm, config: TuningConfig) -> TuneConfig:
    """Training recipe of an arm.

    Raises
    ------
    ValueError
        If the arm is not trained.
    """
    if arm.name == START:
        raise ValueError(f"{START} is not trained: ask for the recipe of another arm")
    lr = config.lr or (2e-3 if config.start == NONE else 1e-4)
    simulation = replace(
        KNOWN_MAPS,
        families=config.families,
        acceleration=(float(min(config.accelerations)), float(max(config.accelerations))),
    )
    return TuneConfig(
        objective=arm.name, lam=arm.lam, predictors=(config.predictor,), steps=config.steps, lr=lr,
        checkpoint_every=max(config.steps // 5, 1), pixels=config.pixels, seed=config.seed, simulation=simulation,
    )  # fmt: skip


def train_arms(
    folder: Path,
    manifest: Manifest,
    root: Path,
    config: TuningConfig,
    device: str = "cpu",
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Train the missing arms; an interrupted training continues from its last checkpoint.

    Parameters
    ----------
    folder
        Folder of the arms' weights.
    manifest, root
        Which magnitude images, and the folder that they lie in; the training split alone is read.
    report
        Gets one line at each checkpoint.

    Raises
    ------
    ValueError
        If weights in the folder were trained otherwise, or the recipe is impossible.
    """
    # No validation: no step is selected.
    trained = replace(manifest, sources=manifest.split("train"))
    start, *others = chosen(config)
    begin = weights_path(folder, start, config)
    if config.start == NONE:
        _write_start(begin, trained, root, config)
    for arm in others:
        path, wanted = weights_path(folder, arm, config), recipe(arm, config)
        train = partial(tune_modl, begin, trained, root, path, wanted, device=device)
        train_missing(path, tuning_terms(begin, trained, wanted), train, report)


def _write_start(path: Path, manifest: Manifest, root: Path, config: TuningConfig) -> None:
    """Write a network whose denoiser returns its input, so that its unrolls only repeat the data consistency.

    Its batch norms have the statistics of measured images, since tuning does not change them; no ground truth is used.
    """
    plain = recipe(Arm("measured"), config)
    size = recon.MoDLConfig(unrolls=config.unrolls, features=config.features)
    terms = weights.config_dict(plain.simulation) | {
        "manifest": manifest.sha256, "pixels": config.pixels, "seed": config.seed, "size": weights.config_dict(size),
    }  # fmt: skip
    if is_trained(path, terms):
        return
    model = fresh(recon.MoDL, size, config.seed)
    sources = manifest.split("train")
    pools, shares = [list(read_slices(s, root)[0]) for s in sources], [s.weight for s in sources]
    last = model.denoiser.body[-1]
    nn.init.zeros_(last.weight)  # pyright: ignore[reportArgumentType]
    model.denoiser.train()
    with torch.no_grad():
        for step in range(SEEN):
            problem = draw(pools, shares, np.random.default_rng((config.seed, step)), plain)
            model.denoiser(problem.sense.adjoint(problem.kspace))
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"network": "modl", "config": weights.config_dict(size), "recipe": terms, "commit": commit()}
    weights.write(path, model.state_dict(), metadata)

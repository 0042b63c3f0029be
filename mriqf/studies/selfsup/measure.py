"""Measurements of all arms on slices of other subjects than the training's."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

import recon
from mriqf import metrics, weights
from mriqf.metrics.reference_free import gradient_entropy
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.scoring.scorer import score
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.selfsup.arms import NONE, Arm, TuningConfig, chosen, weights_path
from mriqf.training.manifest import Manifest, content_hash, read_slices
from recon.simulate import Problem, measure

KEY = ("dataset", "subject", "slice", "family", "acceleration", "seed", "arm", "lam")
COLUMNS = (
    "psnr", "ssim", "nrmse", "score", "outside", "entropy", "true_score", "true_outside", "true_entropy", "predictor",
    "other", "budget",
)  # fmt: skip
"""Errors in the object; scores of the reconstruction by the loss's predictor and by the other, and its gradient entropy
(no loss has seen it; lower is better); the same of the truth; the predictors' names; how the arms were trained."""

SIDE = 144
"""Side of the middle of a slice that is shown, pixels."""

Arms = Mapping[Arm, recon.MoDL]
Predictors = tuple[Predictor, Predictor]


@dataclass(frozen=True)
class Case:
    """A slice that is measured."""

    dataset: str
    subject: int
    index: int
    """Index in the file."""
    image: Float[np.ndarray, "h w"] = field(repr=False)


def metadata(folder: Path, manifest: Manifest, config: TuningConfig) -> dict[str, Any]:
    """Metadata that identify the table of this study; `folder` is that of the arms."""
    hashes = {arm.label: weights.tensors_hash(weights_path(folder, arm, config)) for arm in chosen(config)}
    predictors = {name: content_hash(weights.find(name)) for name in (config.predictor, config.outside)}
    return {
        "study": "tuning",
        "config": weights.config_dict(config),
        "data": {manifest.name: manifest.sha256},
        "weights": hashes | predictors,
    }


def read_cases(manifest: Manifest, root: Path, config: TuningConfig) -> list[Case]:
    """Slices of the split that is measured; its raw k-space is left out.

    Raises
    ------
    ValueError
        If there are none, their files are not those of the manifest, or the masks are impossible.
    """
    _check(config)
    cases = []
    for source in manifest.split(config.split):
        if Path(source.path).suffix != ".npz":
            continue
        # All subjects, so that a slice has the same number, and with it the same draws, whichever are measured.
        images, subject = read_slices(replace(source, subjects=None), root)
        for s in source.subjects or sorted(set(subject.tolist())):
            inner = _inner(np.flatnonzero(subject == s), config.slices)
            cases += [Case(Path(source.path).stem, s, i, images[i]) for i in inner]
    if not cases:
        raise ValueError(f"manifest {manifest.name} has no slices marked {config.split}: choose another split")
    return cases


def load_arms(folder: Path, config: TuningConfig, device: str = "cpu") -> Arms:
    """The networks, ready for use."""
    return {arm: recon.for_inference(weights.load(weights_path(folder, arm, config), device)) for arm in chosen(config)}


def tasks(cases: Sequence[Case], arms: Arms, config: TuningConfig) -> list[Task]:
    """Task for each measurement: all arms."""
    predictors = (load_predictor(config.predictor), load_predictor(config.outside))
    begin = "a network that does nothing yet" if config.start == NONE else Path(config.start).stem
    budget = f"{config.steps} steps of {config.pixels} pixels, from {begin}"
    about = (Path(config.predictor).stem, Path(config.outside).stem, budget)

    def task(case: Case, family: str, acceleration: int, seed: int) -> Task:
        setting = (case.dataset, case.subject, case.index, family, acceleration, seed)
        problem = functools.partial(simulated, case, family, acceleration, seed)
        keys = tuple((*setting, arm.name, arm.lam) for arm in arms)
        return Task(keys, functools.partial(_measure, problem, arms, predictors, about))

    return [
        task(case, family, acceleration, seed)
        for case in cases
        for acceleration in config.accelerations
        for family in config.families
        for seed in range(config.seeds)
    ]


def simulated(case: Case, family: str, acceleration: int, seed: int) -> Problem:
    """A measurement of a slice, as `benchmarks/recon_quality.py` has it."""
    return measure(case.image, family, acceleration, 1000 * case.index + seed)


@torch.inference_mode()
def reconstruct(model: recon.MoDL, problem: Problem) -> Float[Tensor, "1 1 h w"]:
    """Magnitude in the unit that is nearest to the target's, by least squares in the object."""
    where, target = model.log_lam.device, problem.target.abs()
    image = model(problem.kspace.to(where), problem.sense.to(where)).abs().cpu()
    return metrics.match_scale(image, target, metrics.object_mask(target))


def pictures(cases: Sequence[Case], arms: Arms, config: TuningConfig) -> Mapping[str, np.ndarray]:
    """The middle of one slice, in grey levels: target and what the arms make of it, named "R/label"."""
    case, cuts = cases[len(cases) // 2], {}
    for acceleration in config.accelerations:
        problem = simulated(case, config.families[0], acceleration, 0)
        target = problem.target.abs()
        images = {"truth": target} | {arm.label: reconstruct(model, problem) for arm, model in arms.items()}
        top = target.quantile(0.999)
        for name, image in images.items():
            cuts[f"{acceleration}/{name}"] = (255 * _middle(image / top).clamp(0, 1)).round().byte().numpy()
    return cuts


def _measure(
    problem: functools.partial[Problem], arms: Arms, predictors: Predictors, about: tuple[str, ...]
) -> Iterator[dict[str, Value]]:
    case = problem()
    target = case.target.abs()
    region = metrics.object_mask(target)
    own = _scores(target, predictors)
    for model in arms.values():
        image = reconstruct(model, case)
        values = [metric(image, target, region).item() for metric in (metrics.psnr, metrics.ssim, metrics.nrmse)]
        yield dict(zip(COLUMNS, (*values, *_scores(image, predictors), *own, *about), strict=True))


def _scores(image: Float[Tensor, "1 1 h w"], predictors: Predictors) -> list[float]:
    """Scores by the two predictors, and gradient entropy."""
    first, second = (score(image[0, 0].numpy(), predictor, calibration=None) for predictor in predictors)
    shown = first.slices[0]
    return [first.value, second.value, gradient_entropy(shown.image[0], shown.foreground)]


def _inner(indices: Int[np.ndarray, " n"], n: int) -> list[int]:
    places = np.linspace(0, len(indices) - 1, n + 2).round().astype(int)[1:-1]
    return [int(indices[k]) for k in np.unique(places)]


def _middle(image: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "i j"]:
    h, w = image.shape[2:]
    top, left = max(h - SIDE, 0) // 2, max(w - SIDE, 0) // 2
    return image[0, 0, top : top + SIDE, left : left + SIDE]


def _check(config: TuningConfig) -> None:
    chosen(config)
    if not config.accelerations or min(config.accelerations) <= 1 or _twice(config.accelerations):
        text = ", ".join(map(str, config.accelerations)) or "none"
        raise ValueError(f"accelerations are {text}: give different ones above 1")
    if not config.families or _twice(config.families) or not set(config.families) <= set(recon.masks.FAMILIES):
        text = ", ".join(config.families) or "none"
        raise ValueError(f"families are {text}: choose different ones among {', '.join(recon.masks.FAMILIES)}")
    if config.slices < 1 or config.seeds < 1:
        raise ValueError(f"slices is {config.slices}, seeds {config.seeds}: use 1 or more")


def _twice(values: Sequence[Any]) -> bool:
    return len(set(values)) < len(values)

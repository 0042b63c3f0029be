"""Undersample fully sampled data more and more, reconstruct by every method, score magnitude images without reference.

Raw k-space is used as measured, with maps that ESPIRiT finds in what is left of it; magnitude images get a smooth
phase, simulated coils and noise, and known maps.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Float32
from torch import Tensor

import recon
from mriqf import __version__, metrics
from mriqf.io import KSpace, atomic_path, find_sampling
from mriqf.metrics.reference_free import BASELINES, baselines
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.predictors.inference import for_inference
from mriqf.scoring.resolution import Resolution
from mriqf.scoring.result import SliceScore
from mriqf.scoring.scorer import Scorer
from mriqf.studies._frame.inputs import Inputs, Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.training.manifest import content_hash
from mriqf.weights import find
from recon.simulate import measure as simulated
from recon.weights import load_network

KEY = ("dataset", "subject", "slice", "family", "acceleration", "seed", "method")
ERRORS = ("nrmse", "ssim", "psnr")
REGIONS = ("center", "whole", "foreground", "background", "background_low")
LOW = 50.0  # limit of background cells that the report shows as 0.20 to 0.50
FULL = "full"
"""Family name of the fully sampled data, which are R = 1 of all families."""
CALIBRATION = 16
"""Minimum number of central lines of raw k-space, for the estimation of coil maps."""

Reconstruction = Callable[[Tensor, recon.Sense], Tensor]


@dataclass(frozen=True)
class AccelerationConfig:
    """Masks, reconstructions and weights of the study."""

    families: tuple[str, ...] = ("random", "equispaced", "poisson")
    """Families of sampling masks."""
    accelerations: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8)
    """Nominal undersampling rates R."""
    methods: tuple[str, ...] = ("zero-filled", "cg-sense", "l1-wavelet", "modl")
    """Reconstructions."""
    weights: tuple[str, ...] = ("qf-gray",)
    """Names or paths of the predictors that score."""
    modl: str = "modl-knee"
    """Weights of the MoDL."""
    varnet: str = ""
    """Path of the weights of a VarNet, for the method ``varnet``."""
    slices: int = 3
    """Slices of each subject, evenly spaced."""
    seeds: int = 2
    """Draws of mask, coils, phase and noise for each slice."""
    n_coils: int = 8
    """Simulated coils, for magnitude images."""
    noise_std: float = 0.01
    """Noise of simulated k-space, in units of the image's scale."""


def columns(config: AccelerationConfig) -> tuple[str, ...]:
    """Columns measured of each reconstruction."""
    scores = [f"{Path(w).stem} {region}" for w in config.weights for region in REGIONS]
    return ("effective_acceleration", *ERRORS, "foreground_fraction", *BASELINES, *scores)


def metadata(inputs: Inputs, config: AccelerationConfig) -> dict[str, Any]:
    """Metadata that identify a table of this study."""
    names = (*config.weights, *([config.modl] if "modl" in config.methods else []))
    return {
        "study": "r",
        "config": {
            name: value for name, value in dataclasses.asdict(config).items() if (name, value) != ("varnet", "")
        },
        "data": inputs.hashes,
        "weights": {name: content_hash(find(name)) for name in names} | _varnet_hash(config),
    }


def tasks(inputs: Inputs, config: AccelerationConfig, folder: Path, images: Path | None = None) -> list[Task]:
    """Task for each undersampled slice, with a row for each method. Maps of the first slice are stored in the folder.

    Parameters
    ----------
    inputs, config
        Subjects, and the recipe of undersampling.
    folder
        Folder of the study.
    images
        Folder that keeps the reconstructions, so that other weights can score them without reconstructing again.

    Raises
    ------
    ValueError
        If the configuration names what there is not.
    """
    methods = find_methods(config)
    models = {Path(name).stem: for_inference(load_predictor(name)) for name in config.weights}
    if unknown := next((f for f in config.families if f not in recon.masks.FAMILIES), None):
        raise ValueError(f"families has {unknown!r}: choose among {', '.join(recon.masks.FAMILIES)}")
    if (least := min(config.accelerations)) < 1:
        raise ValueError(f"accelerations has {least}: give 1 (fully sampled) or more")
    pending = []
    slices = [(subject, index) for subject in inputs.subjects for index in subject.slices(config.slices)]
    for number, (subject, index) in enumerate(slices):
        if not isinstance(subject.data, KSpace) and subject.data.channels != 1:
            raise ValueError(f"{subject.data.source} is a colour photograph: give MR magnitude images or k-space")
        for family, acceleration, seed in settings(config):
            setting = (subject.dataset, subject.name, index, family, acceleration, seed)
            solve = functools.partial(reconstruct, subject, index, family, acceleration, seed, config, methods, images)
            shown = number == 0 and seed == 0 and family in (FULL, config.families[0])
            maps = folder / f"maps-{acceleration}.npz" if shown else None
            measure = functools.partial(_measure, solve, models, maps)
            pending.append(Task(tuple((*setting, name) for name in methods), measure))
    return pending


def settings(config: AccelerationConfig) -> Iterator[tuple[str, int, int]]:
    """Family, rate and seed of each measurement of a slice."""
    for seed in range(config.seeds):
        for acceleration in config.accelerations:
            for family in (FULL,) if acceleration == 1 else config.families:
                yield family, acceleration, seed


Problem = tuple[Complex[Tensor, "1 c h w"], recon.Sense, Float[Tensor, "1 1 y x"], Callable[[Tensor], Tensor]]


def undersample(
    subject: Subject, index: int, family: str, acceleration: int, seed: int, config: AccelerationConfig
) -> Problem:
    """K-space of a slice, operator, target magnitude image, and the function that crops images."""
    seed = 1000 * index + seed
    if not isinstance(subject.data, KSpace):
        image = subject.data.read_slice(index)[0]
        drawn = "random" if family == FULL else family
        problem = simulated(image, drawn, acceleration, seed, n_coils=config.n_coils, noise_std=config.noise_std)
        return problem.kspace, problem.sense, problem.target.abs(), lambda image: image
    data = subject.data
    if find_sampling(data, [index]).undersampled:
        raise ValueError(f"{data.source} is undersampled already: this study needs fully sampled k-space")
    kspace = torch.from_numpy(data.read_slice(index))[None]
    full, everything = _maps(kspace), torch.ones(kspace.shape[-1], dtype=torch.bool)
    target = recon.zero_filled(kspace, recon.Sense(everything, full)).abs()
    if family == FULL:
        return kspace, recon.Sense(everything, full), data.crop(target), data.crop
    h, w = data.shape
    center = 1 / 12 if family == "poisson" else min(max(0.32 / acceleration, CALIBRATION / w), 1.0)
    mask = recon.masks.draw(family, (h, w), acceleration, center, seed)
    return mask * kspace, recon.Sense(mask, _maps(mask * kspace)), data.crop(target), data.crop


def _maps(kspace: Complex[Tensor, "1 c h w"]) -> Complex[Tensor, "1 c h w"]:
    return recon.espirit(kspace) if kspace.shape[1] > 1 else torch.ones_like(kspace)


@dataclass(frozen=True)
class Solved:
    """Magnitude images of one measurement, by every method, and the target."""

    images: dict[str, Float32[np.ndarray, "h w"]]
    target: Float32[np.ndarray, "h w"]
    effective_acceleration: float


def reconstruct(
    subject: Subject,
    index: int,
    family: str,
    acceleration: int,
    seed: int,
    config: AccelerationConfig,
    methods: Mapping[str, Reconstruction],
    images: Path | None = None,
) -> Solved:
    """Undersample a slice and reconstruct it by every method, or read the result from the folder of reconstructions.

    Parameters
    ----------
    subject, index
        Which slice.
    family, acceleration, seed
        Sampling mask; `FULL` at 1.
    config
        Settings of the simulation.
    methods
        Those of `find_methods`.
    images
        Folder that keeps reconstructions, whichever study and manifest they were made for; none if not given.
    """

    def solve() -> Solved:
        kspace, sense, target, crop = undersample(subject, index, family, acceleration, seed, config)
        with torch.inference_mode():
            restored = {name: crop(method(kspace, sense)).abs()[0, 0].numpy() for name, method in methods.items()}
        return Solved(restored, target[0, 0].numpy(), recon.effective_acceleration(sense.mask))

    if images is None:
        return solve()
    path = images / f"{_digest(subject, config, (index, family, acceleration, seed))}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        target, effective = arrays.pop("truth"), float(arrays.pop("effective_acceleration"))
        return Solved(arrays, target, effective)
    solved = solve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, force=True) as temporary:
        np.savez(temporary, truth=solved.target, effective_acceleration=solved.effective_acceleration, **solved.images)  # pyright: ignore[reportArgumentType]
    return solved


def _digest(subject: Subject, config: AccelerationConfig, setting: tuple[int, str, int, int]) -> str:
    """Hash of all that a reconstruction depends on: the slice and the settings."""
    pixels = subject.data.read_slice(setting[0])
    crop = subject.data.image_shape if isinstance(subject.data, KSpace) else None
    data = [hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(), pixels.shape, crop]
    modl = content_hash(find(config.modl)) if "modl" in config.methods else None
    modl = [modl, *_varnet_hash(config).values()] if config.varnet else modl
    text = json.dumps([setting, data, config.methods, modl, config.n_coils, config.noise_std, __version__])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _measure(solve: Callable[[], Solved], models: Mapping[str, Predictor], maps: Path | None) -> list[dict[str, Value]]:
    solved = solve()
    target = torch.from_numpy(solved.target)[None, None]
    region = metrics.object_mask(target)
    rows, kept = [], {}
    for name, image in solved.images.items():
        matched = metrics.match_scale(torch.from_numpy(image)[None, None], target, region)
        row: dict[str, Value] = {
            "effective_acceleration": solved.effective_acceleration,
            **{error: getattr(metrics, error)(matched, target, region).item() for error in ERRORS},
        }
        scored = {weights: score_image(image, model) for weights, model in models.items()}
        for index, (weights, score) in enumerate(scored.items()):
            if index == 0:
                row["foreground_fraction"] = score.foreground_fraction
                row |= baselines(score.image[0], score.foreground)
                kept[f"{name}/image"] = score.image[0].astype(np.float16)
                kept[f"{name}/error"] = (matched - target)[0, 0].abs().numpy() / float(target.max())
            row |= {f"{weights} {r}": value for r, value in regions(score).items()}
            kept[f"{name}/{weights}"] = score.map.astype(np.float16)
        rows.append(row)
    if maps is not None:
        with atomic_path(maps, force=True) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **kept)
    return rows


def score_image(image: Float32[np.ndarray, "h w"], model: Predictor, resolution: Resolution = "own") -> SliceScore:
    """Score one magnitude image, in any unit, as by `mriqf score`."""
    return Scorer(model, calibration=None, resolution=resolution).image(image)


def regions(score: SliceScore) -> dict[str, float]:
    """Score of the foreground, and means of the map over its central quarter, the whole, and the background.

    `background_low` is the share of background pixels below 50.
    """
    quality = score.map
    inner = quality[tuple(slice(n // 4, n - n // 4) for n in quality.shape)]
    outside = quality[~score.foreground]
    return {
        "center": float(inner.mean()),
        "whole": float(quality.mean()),
        "foreground": score.value,
        "background": float(outside.mean()) if outside.size else float("nan"),
        "background_low": float((outside < LOW).mean()) if outside.size else float("nan"),
    }


def find_methods(config: AccelerationConfig) -> dict[str, Reconstruction]:
    """Reconstructions of a study by their names.

    Raises
    ------
    ValueError
        If there is no such method, or no MoDL where one is asked for.
    """
    return {name: _method(name, config) for name in config.methods}


def _varnet_hash(config: AccelerationConfig) -> dict[str, str]:
    return {config.varnet: content_hash(Path(config.varnet))} if "varnet" in config.methods else {}


def _method(name: str, config: AccelerationConfig) -> Reconstruction:
    if name == "modl":
        network = load_network(config.modl)
        if not isinstance(network, recon.MoDL):
            raise ValueError(f"modl is {config.modl!r}, which holds no MoDL: choose one, such as modl-knee")
        return network
    if name == "varnet":
        if not config.varnet:
            raise ValueError("methods has varnet, and no weights for it: give its file with --varnet")
        return load_network(config.varnet)
    known: dict[str, Reconstruction] = {
        "zero-filled": recon.zero_filled, "cg-sense": recon.cg_sense, "l1-wavelet": recon.l1_wavelet
    }  # fmt: skip
    if name not in known:
        raise ValueError(f"methods has {name!r}: choose among {', '.join(known)}, modl, varnet")
    return known[name]

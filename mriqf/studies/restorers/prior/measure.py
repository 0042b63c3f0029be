"""Measurements of priors during fits to compressed photographs: rows of a table, and pictures."""

import functools
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mriqf.io import atomic_path
from mriqf.jpeg import compress, tables
from mriqf.jpeg.colour import to_8bit, ycbcr
from mriqf.metrics.jpeg import psnr
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.predictors.inference import for_inference, predict_map
from mriqf.restore.dip import DIPConfig
from mriqf.restore.prior import PriorConfig, fit_prior
from mriqf.studies._frame.inputs import Inputs, Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.restorers.ordering.measure import GRID, central
from mriqf.studies.restorers.restoration.protocols import FBCNN, JPEG
from mriqf.studies.restorers.restoration.study import TRUTH, channels, read_photograph
from mriqf.training.manifest import content_hash
from mriqf.weights import config_dict, find

KEY = ("part", "image", "side", "arm", "lam", "step")
COLUMNS = ("psnr", "chroma", "ssim", "psnr_b", "loss", "sure", "score", "seconds", "quality", "fixed", "threads")

MAIN, SWEEP, TIMING = "arms", "sweep", "timing"
"""Parts of the table: every arm on every photograph; other λ on the first ones; seconds by the side of an image."""
NAN = math.nan

Pair = tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 3 h w"]]


@dataclass(frozen=True)
class Arm:
    """Objective and input of a fit, in which arms differ."""

    name: str
    label: str
    loss: Literal["mse", "sure"] = "mse"
    start: Literal["noise", "image"] = "noise"
    reading: Literal["moments", "histogram"] | None = None
    """Form of the colour term; None without it."""

    def lam(self, config: "PriorStudyConfig") -> float:
        """λ outside the sweep."""
        return {None: 0.0, "moments": config.lam, "histogram": config.lam_histogram}[self.reading]


ARMS = (
    Arm("dip", "DIP"),
    Arm("dip-kl", "DIP + KL, moments", reading="moments"),
    Arm("dip-kl-histogram", "DIP + KL, histogram", reading="histogram"),
    Arm("dip-image", "DIP from the image", start="image"),
    Arm("sure", "SURE", "sure", "image"),
    Arm("sure-kl", "SURE + KL, moments", "sure", "image", "moments"),
)
SWEPT = tuple(arm for arm in ARMS if arm.reading and arm.loss == "mse")
"""Arms whose λ is swept."""
TIMED = tuple(arm for arm in ARMS if arm.name in ("dip", "sure"))
WARM = 3  # steps that are not timed


@dataclass(frozen=True)
class PriorStudyConfig:
    """Fits and measurements of the study; the defaults take ten photographs about 45 minutes of one core."""

    quality: int = 10
    """JPEG quality, 1–100."""
    side: int = 64
    """Side of the middle of a photograph, pixels; a multiple of 16."""
    most: int | None = 10
    """Photographs of a data set, evenly spaced; all if not given."""
    width: int = 16
    """Channels of the network at the finest scale."""
    steps: int = 1000
    """Steps of each fit."""
    every: int = 50
    """Steps between evaluations, each a row of the table."""
    fixed: int = 500
    """Step at which a fit is stopped by count: one for all arms, set before."""
    lam: float = 0.03
    """λ of the colour term that reads moments, whose divergence is near 0 once brightness and contrast are right."""
    lam_histogram: float = 0.003
    """λ of the colour term that reads histograms, whose divergence is not: no photograph's colours are Gaussian."""
    lams: tuple[float, ...] = (0.003, 0.03, 0.3)
    """λ of the sweep, of either reading: fitted to the first photographs up to the fixed stop."""
    swept: int = 4
    """Photographs of the sweep."""
    weights: str = "qf-rgb"
    """Name or path of the predictor whose score may stop a fit."""
    timing: tuple[int, ...] = (64, 128, 256)
    """Sides of images that fits are timed on, pixels."""
    timed: int = 30
    """Steps that are timed."""
    shown: int = 3
    """Photographs of which pictures are kept."""
    device: str = "cpu"
    """auto, cpu or cuda."""


def metadata(inputs: Inputs, config: PriorStudyConfig) -> dict[str, Any]:
    """Metadata that identify a table of this study."""
    weights = {config.weights: content_hash(find(config.weights))}
    return {"study": "prior", "config": config_dict(config), "data": inputs.hashes, "weights": weights}


def photographs(inputs: Inputs, config: PriorStudyConfig) -> tuple[Subject, ...]:
    """Read the photographs, after a check that they suit the study.

    Raises
    ------
    ValueError
        If one is grey, or smaller than the side, or the configuration is impossible.
    """
    looks = (config.every, config.fixed, config.steps)
    if not 1 <= config.every <= config.fixed <= config.steps or any(n % config.every for n in looks):
        raise ValueError(f"every, fixed, steps are {looks}: use multiples of every that do not fall")
    if bad := [n for n in (config.side, *config.timing) if n < GRID or n % GRID]:
        raise ValueError(f"side is {bad[0]}: use a multiple of {GRID}, the pixels of a JPEG unit")
    if (
        min((config.lam, config.lam_histogram, *config.lams)) <= 0
        or min(config.swept, config.shown) < 0
        or config.timed < 1
    ):
        raise ValueError(f"{config} cannot be carried out: use every λ above 0, swept and shown >= 0, timed >= 1")
    for subject in inputs.subjects:
        if channels(subject) != 3:
            raise ValueError(f"{subject.name} is grey: colour is what is studied, give photographs in RGB")
        if min(read_photograph(subject).shape[1:]) < config.side:
            raise ValueError(f"{subject.name} is smaller than {config.side}×{config.side}: use a smaller --side")
    return inputs.subjects


def tasks(subjects: Sequence[Subject], config: PriorStudyConfig, pictures: Path) -> list[Task]:
    """A task for each fit, and one for each photograph as JPEG has it; those of a photograph stand together.

    Parameters
    ----------
    subjects
        As `photographs` returns them.
    config
        Settings of the study.
    pictures
        Folder for the pictures of the first photographs; made when the first is there.
    """
    predictor = for_inference(load_predictor(config.weights))
    pending = []
    for index, subject in enumerate(subjects):
        name, kept = f"{subject.dataset}/{subject.name}", pictures / f"{index}" if index < config.shown else None
        read = functools.partial(_pair, subject, config)
        pending.append(Task(((MAIN, name, config.side, JPEG, 0, 0),), functools.partial(_jpeg, read, config, kept)))
        fits = [(MAIN, arm, arm.lam(config)) for arm in ARMS]
        if index < config.swept:
            fits += [(SWEEP, arm, lam) for arm in SWEPT for lam in config.lams if lam != arm.lam(config)]
        for part, arm, lam in fits:
            steps = config.steps if part == MAIN else config.fixed
            recipe = _recipe(arm, lam, config, steps=steps, every=config.every, seed=zlib.crc32(name.encode()))
            keys = [(part, name, config.side, arm.name, lam, k) for k in range(config.every, steps + 1, config.every)]
            path = kept.with_name(f"{kept.name}-{arm.name}.png") if kept is not None and part == MAIN else None
            measure = functools.partial(_fit, read, recipe, predictor, config, f"{name}, {arm.name}, λ {lam:g}", path)
            pending.append(Task(tuple(keys), measure))
    for side in config.timing:
        for arm in TIMED:
            keys = ((TIMING, "noise", side, arm.name, 0, config.timed),)
            pending.append(Task(keys, functools.partial(_time, arm, side, config)))
    return pending


def figures(image: Float[Tensor, "1 3 h w"], target: Float[Tensor, "1 3 h w"]) -> dict[str, float]:
    """PSNR of RGB and of Cb and Cr alone, SSIM and PSNR-B, FBCNN's definitions, of an image as an 8-bit file has it."""
    written = to_8bit(image)
    values = {name: value.item() for name, value in FBCNN.compare(written, target).items()}
    return values | {"chroma": psnr(ycbcr(written)[:, 1:], ycbcr(target)[:, 1:]).item()}


def _recipe(arm: Arm, lam: float, config: PriorStudyConfig, **options: Any) -> PriorConfig:
    model = DIPConfig(channels=3, width=config.width, start=arm.start)
    return PriorConfig(loss=arm.loss, kl=lam, reading=arm.reading or "moments", model=model, **options)


def _pair(subject: Subject, config: PriorStudyConfig) -> Pair:
    """The middle of a photograph, and what JPEG makes of it."""
    target = central(read_photograph(subject), config.side)[None].float() / 255
    return target, compress(target, config.quality)


def _jpeg(read: Callable[[], Pair], config: PriorStudyConfig, kept: Path | None) -> Iterator[dict[str, Value]]:
    target, given = read()
    if kept is not None:
        _write(kept.with_name(f"{kept.name}-{TRUTH}.png"), target)
        _write(kept.with_name(f"{kept.name}-{JPEG}.png"), given)
    yield _row(figures(given, target), config)


def _fit(
    read: Callable[[], Pair],
    recipe: PriorConfig,
    predictor: Predictor,
    config: PriorStudyConfig,
    name: str,
    picture: Path | None,
) -> Iterator[dict[str, Value]]:
    target, given = read()

    def watch(step: int, image: Tensor) -> dict[str, int | float]:
        if picture is not None and step == config.fixed:
            _write(picture, image)
        return {"seconds": time.perf_counter() - began, **figures(image.cpu(), target)}

    def score(image: Tensor) -> float:
        return predict_map(predictor, image.clamp(0, 1).cpu()).mean().item()

    began = time.perf_counter()
    steps = tables(config.quality, 3)[None].to(config.device)
    fitted = fit_prior(given.to(config.device), recipe, steps, score=score, watch=watch)
    if fitted.stopped == "diverged":
        raise ValueError(f"the fit of {name} broke after step {fitted.step}: use smaller λ")
    yield from (_row(point, config) for point in fitted.curve)


def _time(arm: Arm, side: int, config: PriorStudyConfig) -> Iterator[dict[str, Value]]:
    """Seconds per step, independent of the content of the image."""
    given = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(side)).to(config.device)
    steps = tables(config.quality, 3)[None].to(config.device)
    marks: list[float] = []

    def watch(_: int, image: Tensor) -> dict[str, int | float]:
        image.cpu()  # waits for a GPU
        marks.append(time.perf_counter())
        return {}

    fit_prior(given, _recipe(arm, 0.0, config, steps=WARM, every=WARM), steps, watch=watch)
    began = time.perf_counter()
    fit_prior(given, _recipe(arm, 0.0, config, steps=config.timed, every=config.timed), steps, watch=watch)
    yield _row({"seconds": marks[-1] - began}, config)


def _row(known: dict[str, Any], config: PriorStudyConfig) -> dict[str, Value]:
    constant = {"quality": config.quality, "fixed": config.fixed, "threads": torch.get_num_threads()}
    return {name: known.get(name, NAN) for name in COLUMNS} | constant


def _write(path: Path, image: Float[Tensor, "1 3 h w"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (255 * to_8bit(image[0].cpu())).round().to(torch.uint8).permute(1, 2, 0).numpy()
    with atomic_path(path, force=True) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")

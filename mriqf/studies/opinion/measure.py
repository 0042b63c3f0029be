"""Scores of images with human opinions by raters: rows of a table."""

import csv
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from mriqf.jpeg.colour import ycbcr
from mriqf.jpeg.lattice import estimate_quality
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.predictors.inference import for_inference, predict_map
from mriqf.restore import QAIRN, load_restorer
from mriqf.scoring.pooling import minkowski
from mriqf.scoring.scorer import score
from mriqf.studies._frame.table import Task, Value
from mriqf.training.manifest import content_hash
from mriqf.weights import config_dict, find

KEY = ("dataset", "image", "rater", "map", "exponent")
COLUMNS = ("score", "opinion", "std", "better", "reference")

MAPS = (1, 2, 3)
"""γ1, γ2, γ3: QAIRN's gates at full, half and quarter resolution."""
EXPONENTS = (-4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4)
"""Exponents of the Minkowski mean of a gate: 0 is the geometric, 1 the arithmetic mean."""
LATTICE = "lattice"
ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class OpinionConfig:
    """Raters, and the direction of the opinions."""

    qairn: tuple[str, ...] = ()
    """Names or paths of QAIRNs, whose gates are pooled with all exponents."""
    predictors: tuple[str, ...] = ("qf-rgb",)
    """Names or paths of predictors; those of one channel see luma."""
    lower_is_better: tuple[str, ...] = ()
    """Data sets whose scores are differences from a reference (DMOS)."""
    higher_is_better: tuple[str, ...] = ()
    """Data sets whose scores are opinions (MOS)."""
    device: str = "cpu"
    """auto, cpu or cuda."""


@dataclass(frozen=True)
class Opinion:
    """Image and its human opinion."""

    dataset: str
    image: str
    path: Path
    opinion: float
    """Opinion, in the unit of the data set."""
    std: float
    """Spread of the opinion over people; NaN if the data set does not give it."""
    better: Better
    """Direction of opinions: lower or higher is better."""
    reference: str
    """Reference of the image; the image itself if unknown."""


@dataclass(frozen=True)
class Opinions:
    """Images of all data sets."""

    images: tuple[Opinion, ...]
    hashes: dict[str, str]
    """SHA-256 of each folder."""


@dataclass(frozen=True)
class Rater:
    """Function that scores pixels, with its name."""

    name: str
    keys: tuple[tuple[Value, Value], ...]
    """Map and exponent of each score; empty and NaN if there is none."""
    rate: Callable[[UInt8[Tensor, "3 h w"]], Sequence[float]]
    """Function from RGB pixels to as many scores, higher is better."""


SCALAR = (("", math.nan),)
"""Keys of a rater that gives one score."""


def metadata(opinions: Opinions, config: OpinionConfig) -> dict[str, Any]:
    """Metadata that identify a table of this study."""
    weights = {name: content_hash(find(name)) for name in (*config.qairn, *config.predictors)}
    return {"study": "opinion", "config": config_dict(config), "data": opinions.hashes, "weights": weights}


def read_opinions(
    folders: Sequence[Path], lower_is_better: Sequence[str] = (), higher_is_better: Sequence[str] = ()
) -> Opinions:
    """Images of some folders with the opinions that their ``scores.csv`` lists; images that it does not are left out.

    Parameters
    ----------
    folders
        Each a data set of its name: pictures, and ``scores.csv`` with columns ``image`` (name without ending),
        ``score`` and, where they are known, ``std`` and ``reference`` (what the image was made from).
    lower_is_better, higher_is_better
        Names of the data sets, every one in one of both: which way its scores go cannot be seen from them.

    Raises
    ------
    ValueError
        If a data set is not whole, or not in exactly one of both lists.
    """
    sets = {folder.absolute().name: folder for folder in folders}
    if len(sets) < len(folders):
        raise ValueError(f"folders are {', '.join(map(str, folders))}: give each another name")
    for name in (*lower_is_better, *higher_is_better):
        if name not in sets:
            raise ValueError(f"{name!r} is none of the data sets {', '.join(sets)}: give the name of a folder")
    images: list[Opinion] = []
    for name, folder in sets.items():
        if (name in lower_is_better) == (name in higher_is_better):
            raise ValueError(
                f"{name}: whether its scores are opinions or differences must be told once: --higher-is-better {name} "
                f"(MOS) or --lower-is-better {name} (DMOS)"
            )
        images += _read_set(name, folder, "lower" if name in lower_is_better else "higher")
    return Opinions(tuple(images), {name: content_hash(folder) for name, folder in sets.items()})


def _read_set(name: str, folder: Path, better: Better) -> Iterator[Opinion]:
    table = folder / "scores.csv"
    if not table.is_file():
        raise ValueError(f"{table} does not exist: give a folder of images with their scores")
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), reader.fieldnames or ()
    if missing := [c for c in ("image", "score") if c not in columns]:
        raise ValueError(f"{table} has no column {missing[0]}: it needs image and score, with commas between them")
    if not rows:
        raise ValueError(f"{table} lists no image: give one line for each")
    pictures: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
            pictures.setdefault(path.stem, []).append(path)
    seen = set()
    for row in rows:
        image = row["image"]
        if image in seen:
            raise ValueError(f"{table} lists {image!r} twice: leave one line")
        seen.add(image)
        files = pictures.get(image, [])
        if len(files) != 1:
            names = " and ".join(path.name for path in files) or "no such picture"
            raise ValueError(f"{table} lists {image!r}, but there is {names}: one file of that name, plus ending")
        with _opened(files[0]):  # whether it is a picture is known before hours of work
            pass
        place = f"of {image!r} in {table}"
        std = _number(row["std"], f"std {place}") if row.get("std") else math.nan
        opinion = _number(row["score"], f"score {place}")
        yield Opinion(name, image, files[0], opinion, std, better, row.get("reference") or image)


def _number(text: str | None, what: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text or ''!r}: give a number")
    return value


def load_raters(config: OpinionConfig) -> list[Rater]:
    """All raters: QAIRNs and predictors by the stems of their names, and the lattice.

    Raises
    ------
    ValueError
        If weights are of another network, or two raters have the same name.
    """
    raters = []
    for name in config.qairn:
        network = load_restorer(name, config.device)
        if not isinstance(network, QAIRN) or not network.config.attention:
            raise ValueError(f"weights {name!r} are not those of a QAIRN with attention: choose others")
        raters.append(qairn_rater(Path(name).stem, network))
    for name in config.predictors:
        raters += predictor_raters(Path(name).stem, load_predictor(name, config.device))
    raters.append(lattice_rater())
    names = [rater.name for rater in raters]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"weights {twice!r}: the name is taken: rename the file, or name it once")
    return raters


def qairn_rater(name: str, network: QAIRN) -> Rater:
    """Minkowski means of the gates of a QAIRN, 0–100, from one forward pass."""
    device = network.last.weight.device

    def rate(pixels: Tensor) -> list[float]:
        image = seen_by(pixels, network.config.channels).to(device)[None].float() / 255
        with torch.inference_mode():
            gates = [gate[0, 0].cpu().double() for gate in network.forward_with_maps(image)[1]]
        return [100 * minkowski(gate, exponent).item() for gate in gates for exponent in EXPONENTS]

    return Rater(name, tuple((number, exponent) for number in MAPS for exponent in EXPONENTS), rate)


def predictor_raters(name: str, model: Predictor) -> list[Rater]:
    """A predictor as `mriqf.score` uses it, and the plain mean of its map, called ``name, map``.

    The map is of the picture as it is: no stretch of grey levels, no foreground, no search for a lattice.
    """
    quick, channels = for_inference(model), model.config.channels

    def scored(pixels: Tensor) -> list[float]:
        return [score(seen_by(pixels, channels)[None], quick).value]

    def mapped(pixels: Tensor) -> list[float]:
        return [predict_map(quick, seen_by(pixels, channels)[None].float() / 255).mean().item()]

    return [Rater(name, SCALAR, scored), Rater(f"{name}, map", SCALAR, mapped)]


def lattice_rater() -> Rater:
    """The JPEG quality that the luma's lattice shows best, 1–100; nothing is trained.

    Images are taken for JPEGs: where the evidence would not do to call one so, its most likely quality counts.
    """

    def rate(pixels: Tensor) -> list[float]:
        return [float(estimate_quality(seen_by(pixels, 1)[0].float() / 255).candidate)]

    return Rater(LATTICE, SCALAR, rate)


def seen_by(pixels: UInt8[Tensor, "3 h w"], channels: int) -> UInt8[Tensor, "ch h w"]:
    """RGB pixels, or for one channel their full-range luma, rounded to 8 bit."""
    if channels == 3:
        return pixels
    return (255 * ycbcr(pixels.double() / 255)[:1]).round().to(torch.uint8)


def tasks(opinions: Opinions, raters: Sequence[Rater]) -> list[Task]:
    """Task for each image: the scores of all raters."""
    pending = []
    for image in opinions.images:
        keys = tuple((image.dataset, image.image, rater.name, *key) for rater in raters for key in rater.keys)
        pending.append(Task(keys, functools.partial(_measure, image, raters)))
    return pending


def _measure(image: Opinion, raters: Sequence[Rater]) -> Iterator[dict[str, Value]]:
    pixels = read_pixels(image.path)
    for rater in raters:
        try:
            scores = rater.rate(pixels)
        except ValueError as error:
            raise ValueError(f"{image.path}, {rater.name}: {error}") from None
        for value in scores:
            yield {
                "score": value,
                "opinion": image.opinion,
                "std": image.std,
                "better": image.better,
                "reference": image.reference,
            }


def read_pixels(path: Path) -> UInt8[Tensor, "3 h w"]:
    """A picture as Pillow decodes it, in RGB.

    Raises
    ------
    ValueError
        If it is none of 8 bit, grey or RGB, or is damaged.
    """
    with _opened(path) as image:
        try:
            pixels = np.array(image.convert("RGB"))
        except OSError:
            raise ValueError(f"{path} is damaged: copy it again") from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
    except OSError:
        raise ValueError(f"{path} is no picture, or is damaged: copy it again") from None
    if image.mode not in ("L", "RGB"):
        image.close()
        raise ValueError(f"{path} is a picture in {image.mode}: give grey or RGB ones of 8 bit")
    return image

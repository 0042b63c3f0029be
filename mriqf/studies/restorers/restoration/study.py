"""Measurements of restorers on photographs: rows of a table, and pictures."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mriqf.jpeg import BLOCK, tables
from mriqf.restore import Network, load_restorer, restore
from mriqf.studies._frame.inputs import Inputs, Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.restorers.restoration.protocols import JPEG, PROTOCOLS, Restorer, measure
from mriqf.training.manifest import content_hash
from mriqf.weights import config_dict, find

KEY = ("dataset", "image", "kind", "quality", "method")
COLUMNS = ("psnr", "ssim", "psnr_b", "seconds", "megapixels", "parameters", "protocol")

Kind = Literal["grey", "colour"]
CHANNELS: dict[Kind, int] = {"grey": 1, "colour": 3}

SIDE = 128  # of the pictures, pixels
TRUTH = "truth"


@dataclass(frozen=True)
class RestorationConfig:
    """Weights, qualities and protocols of the study."""

    protocol: Literal["fbcnn", "qgac", "qgcn"] = "fbcnn"
    """Protocol of compression, decoding and comparison; figures of different protocols do not compare."""
    weights: tuple[str, ...] = ()
    """Names or paths of restorers, each for the rows of its channels; JPEG alone if empty."""
    qualities: tuple[int, ...] = (10, 20, 30, 40)
    """JPEG qualities, 1–100."""
    only: Kind | None = None
    """Luma or colours alone; both if not given."""
    most: int | None = None
    """Images of a data set, evenly spaced; all if not given."""
    half: bool = False
    """Convolve in bfloat16: half the time where the processor can, and the same figures to a hundredth of a decibel."""
    device: str = "cpu"
    """auto, cpu or cuda."""


def metadata(inputs: Inputs, config: RestorationConfig) -> dict[str, Any]:
    """Metadata that identify a table of this study."""
    weights = {name: content_hash(find(name)) for name in config.weights}
    return {"study": "restoration", "config": config_dict(config), "data": inputs.hashes, "weights": weights}


def load_methods(config: RestorationConfig) -> dict[Kind, dict[str, Network]]:
    """The restorers of grey and of colour images, by the stem of their name.

    Raises
    ------
    ValueError
        If weights restore nothing, two have the same stem, or one restores what is not measured.
    """
    by_kind: dict[Kind, dict[str, Network]] = {kind: {} for kind in CHANNELS if config.only in (None, kind)}
    for name in config.weights:
        model, stem = load_restorer(name, config.device), Path(name).stem
        kind: Kind | None = next((k for k in by_kind if CHANNELS[k] == model.config.channels), None)
        if kind is None:
            raise ValueError(
                f"weights {name!r} restore {model.config.channels} channels: leave out --only {config.only}"
            )
        if stem in by_kind[kind] or stem in (JPEG, TRUTH):
            raise ValueError(f"weights {name!r}: the name {stem} is taken: rename the file")
        by_kind[kind][stem] = model
    return by_kind


def tasks(inputs: Inputs, methods: Mapping[Kind, Mapping[str, Network]], config: RestorationConfig) -> list[Task]:
    """A task for the luma and one for the colours of each photograph: all qualities by all methods.

    Raises
    ------
    ValueError
        If an input is no photograph of 8 bit, or the qualities are not.
    """
    check_qualities(config.qualities)
    pending = []
    for subject in inputs.subjects:
        for kind, models in methods.items():
            if channels(subject) >= CHANNELS[kind]:
                keys = tuple(
                    (subject.dataset, subject.name, kind, quality, method)
                    for quality in config.qualities
                    for method in (JPEG, *models)
                )
                pending.append(Task(keys, functools.partial(_measure, subject, kind, models, config)))
    return pending


def check_qualities(qualities: Sequence[int]) -> None:
    """Raise ValueError unless the qualities are distinct JPEG qualities, at least one."""
    if not qualities or len(set(qualities)) < len(qualities) or not all(1 <= q <= 100 for q in qualities):
        raise ValueError(f"qualities are {', '.join(map(str, qualities)) or 'none'}: give different ones, 1 to 100")


def _measure(
    subject: Subject, kind: Kind, models: Mapping[str, Network], config: RestorationConfig
) -> Iterator[dict[str, Value]]:
    pixels = read_photograph(subject)
    restorers = {name: restorer(model, config.half) for name, model in models.items()}
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    images = [(subject.name, pixels)]
    for row in measure(PROTOCOLS[config.protocol], images, config.qualities, restorers, kind == "colour"):
        yield {
            "psnr": row.psnr,
            "ssim": row.ssim,
            "psnr_b": row.psnr_b,
            "seconds": row.seconds,
            "megapixels": pixels[0].numel() / 1e6,
            "parameters": sizes.get(row.method, 0),
            "protocol": config.protocol,
        }


def pictures(
    inputs: Inputs, methods: Mapping[Kind, Mapping[str, Network]], config: RestorationConfig
) -> dict[str, UInt8[np.ndarray, "_ _ _"]]:
    """Part of the first photograph at the lowest quality, where the error of JPEG is largest.

    Returns
    -------
    Pixels by ``grey, quality 10/truth``, ``…/jpeg``, ``…/`` and each method; the same of ``colour``.
    """
    protocol, quality, cuts = PROTOCOLS[config.protocol], min(config.qualities), {}
    for kind, models in methods.items():
        first = next((s for s in inputs.subjects if channels(s) >= CHANNELS[kind]), None)
        if first is None:
            continue
        target = protocol.reference(read_photograph(first)[None], kind == "colour")
        decoded, steps = protocol.decoded(target, quality), tables(quality, target.shape[1])[None]
        shown = {TRUTH: target, JPEG: decoded}
        shown |= {name: restorer(model, config.half)(decoded, steps) for name, model in models.items()}
        side = min(SIDE, *target.shape[2:])
        harm = avg_pool2d((decoded - target).square().mean(1), side, stride=BLOCK)[0]
        y, x = (BLOCK * int(k) for k in divmod(int(harm.argmax()), harm.shape[1]))
        for name, image in shown.items():
            part = (255 * image[0, :, y : y + side, x : x + side].clamp(0, 1)).round().to(torch.uint8)
            cuts[f"{kind}, quality {quality}/{name}"] = part.permute(1, 2, 0).numpy()
    return cuts


def channels(subject: Subject) -> int:
    """Number of channels, 1 or 3, by the header of a photograph's file.

    Raises
    ------
    ValueError
        If it is no picture of 8 bit, grey or RGB.
    """
    with _opened(subject) as image:
        return len(image.getbands())


def read_photograph(subject: Subject) -> UInt8[Tensor, "ch h w"]:
    """Pixels as they are stored: a photograph in grey that is stored in colour has three channels.

    Raises
    ------
    ValueError
        If it is no picture of 8 bit, grey or RGB.
    """
    with _opened(subject) as image:
        pixels = np.array(image).reshape(image.height, image.width, -1)
    return torch.from_numpy(np.moveaxis(pixels, -1, 0).copy())


@contextmanager
def _opened(subject: Subject) -> Iterator[Image.Image]:
    source = getattr(subject.data, "source", subject.name)
    try:
        image = Image.open(source)
    except OSError:
        raise ValueError(f"{source} is no picture: give photographs that were never compressed") from None
    with image:
        if image.mode not in ("L", "RGB"):
            raise ValueError(f"{source} is a picture in {image.mode}: give grey or RGB ones of 8 bit")
        yield image


def restorer(model: Network, half: bool) -> Restorer:
    """Wrap a network as a `Restorer`: images and tables in, images out, on the CPU."""
    where = next(model.parameters()).device
    return lambda images, steps: restore(model, images.to(where), steps.to(where), half=half).cpu()

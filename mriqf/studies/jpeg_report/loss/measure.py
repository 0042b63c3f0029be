"""Measurements of each arm on compressed test images, rounded to 8 bit."""

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mriqf import metrics
from mriqf.io import Volume
from mriqf.jpeg import compress, tables
from mriqf.jpeg.cell import code, outside
from mriqf.jpeg.colour import to_8bit, ycbcr
from mriqf.loss import QFLoss, find_foreground
from mriqf.metrics import jpeg as jpeg_metrics
from mriqf.restore import Network, restore
from mriqf.scoring.scale import normalise, spread, volume_scale
from mriqf.studies._frame.inputs import Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.jpeg_report.loss.arms import Arm, LossConfig, Part, judge_name, predictor_names
from mriqf.training.perceptual import centre

KEY = ("kind", "network", "arm", "lam", "dataset", "subject", "slice", "quality")
COLUMNS = ("psnr", "ssim", "psnrb", "score", "judge", "hue", "dots", "outside", "changed")

JPEG = "jpeg"
NAN = float("nan")

DOT = 24
"""Grey levels of Cb or Cr from the target's, above which a pixel counts as a coloured dot."""
SHOWN, SHOWN_SIDE = 2, 96
"""Subjects of each kind that are shown, and the side of what is shown of them, pixels."""

Arms = Mapping[Arm, Network]


def tasks(parts: Sequence[Part], arms: Arms, config: LossConfig) -> list[Task]:
    """Task for each image: JPEG and all arms at all qualities."""
    pending = []
    for part in parts:
        scores = QFLoss(predictor_names(part.kind, config)), QFLoss(judge_name(part.kind, config))
        for network in config.networks:
            own = {a: model for a, model in arms.items() if (a.kind, a.network) == (part.kind, network)}
            names = [(JPEG, NAN), *((arm.name, arm.lam) for arm in own)]
            for subject in part.inputs.subjects:
                for index in subject.slices(config.slices):
                    keys = [
                        (part.kind, network, *name, subject.dataset, subject.name, index, quality)
                        for name in names
                        for quality in config.qualities
                    ]
                    measure = functools.partial(_measure, subject, index, own, scores, config)
                    pending.append(Task(tuple(keys), measure))
    return pending


def read_target(subject: Subject, index: int, side: int) -> Float[Tensor, "1 ch h w"]:
    """The middle of a slice in whole grey levels, in [0, 1], its sides multiples of 16."""
    volume = subject.data
    if not isinstance(volume, Volume):
        raise ValueError(f"{subject.name} is raw data: reconstruct it first")
    image = torch.from_numpy(normalise(volume.read_slice(index), volume_scale(volume)))[None]
    return to_8bit(centre(image, tuple(min(side, n) // 16 * 16 for n in volume.shape)))


def describe(
    images: Float[Tensor, "b ch h w"],
    given: Float[Tensor, "b ch h w"],
    target: Float[Tensor, "1 ch h w"],
    qualities: Sequence[int],
    scores: tuple[QFLoss, QFLoss],
) -> Iterator[dict[str, Value]]:
    """Figures of each image: PSNR and SSIM (of luma; in the object of grey images), PSNR-B, scores and changes.

    A pixel counts as changed if one of its channels is more than one grey level from the JPEG image.

    Parameters
    ----------
    images, given, target
        Images restored by an arm, the JPEG images given to it, and the references; whole grey levels.
    qualities
        JPEG quality of each image.
    scores
        The predictor that the arms were trained with, and the judge.
    """
    colour = target.shape[1] == 3
    luma, true = (ycbcr(x)[:, :1] if colour else x for x in (images, target))
    region = None if colour else metrics.object_mask(true)
    several = target.expand_as(images)
    steps = torch.stack([tables(q, target.shape[1]) for q in qualities])
    foreground = find_foreground(given)
    alone = [slice(k, k + 1) for k in range(len(images))]
    psnr, ssim = (torch.cat([f(luma[k], true, region) for k in alone]) for f in (metrics.psnr, metrics.ssim))
    score, judge = (torch.stack([100 * (1 - f(images[k], mask=foreground[k])) for k in alone]) for f in scores)
    none = torch.full((len(images),), NAN)
    chroma = 255 * (ycbcr(images) - ycbcr(several))[:, 1:].abs().amax(1) if colour else None
    values = {
        "psnr": psnr,
        "ssim": ssim,
        "psnrb": jpeg_metrics.psnr_b(images, several),
        "score": score,
        "judge": judge,
        "hue": jpeg_metrics.hue_shift(images, target) if colour else none,
        "dots": none if chroma is None else (chroma > DOT).double().mean((1, 2)),
        "outside": outside(images, code(several, steps)),
        "changed": ((images - given).abs().amax(1) > 1.5 / 255).double().mean((1, 2)),
    }
    for k in range(len(images)):
        yield {name: value[k].item() for name, value in values.items()}


def pictures(parts: Sequence[Part], arms: Arms, config: LossConfig) -> Mapping[str, np.ndarray]:
    """The middle of a few test images at the lowest quality, in grey levels: target, JPEG and every arm.

    Named "kind/network/subject/arm", with the weight of the score for a fine-tuned arm.
    """
    shown, lowest = {}, min(config.qualities)
    for part in parts:
        subjects = part.inputs.subjects
        for subject in (subjects[k] for k in spread(range(len(subjects)), SHOWN)):
            target = read_target(subject, subject.slices(1)[0], config.side)
            given = compress(target, lowest)
            for network in config.networks:
                images = {"truth": target, JPEG: given}
                for arm, model in arms.items():
                    if (arm.kind, arm.network) == (part.kind, network):
                        name = arm.name if arm.recipe is None else f"{arm.name} {arm.lam:g}"
                        images[name] = _restored(model, given, [lowest])
                for name, image in images.items():
                    cut = centre(image, [min(SHOWN_SIDE, n) for n in image.shape[2:]])[0]
                    pixels = (255 * cut).round().byte().permute(1, 2, 0).squeeze(-1).numpy()
                    shown[f"{part.kind}/{network}/{subject.name}/{name}"] = pixels
    return shown


@torch.inference_mode()
def _measure(
    subject: Subject, index: int, arms: Arms, scores: tuple[QFLoss, QFLoss], config: LossConfig
) -> Iterator[dict[str, Value]]:
    target = read_target(subject, index, config.side)
    given = compress(target.expand(len(config.qualities), -1, -1, -1), config.qualities)
    yield from describe(given, given, target, config.qualities, scores)
    for model in arms.values():
        yield from describe(_restored(model, given, config.qualities), given, target, config.qualities, scores)


@torch.inference_mode()
def _restored(model: Network, given: Float[Tensor, "b ch h w"], qualities: Sequence[int]) -> Float[Tensor, "b ch h w"]:
    steps = torch.stack([tables(q, given.shape[1]) for q in qualities])
    return to_8bit(restore(model, given, steps, half=True))

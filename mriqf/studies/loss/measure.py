"""What each arm makes of compressed test images, as the 8-bit pictures that a file would hold."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mriqf import metrics, weights
from mriqf.inference import Predictor, predict_map
from mriqf.io import Volume
from mriqf.jpeg import compress
from mriqf.scale import normalise, spread, volume_scale
from mriqf.studies.inputs import Subject
from mriqf.studies.loss.arms import Arms, Kind, LossConfig, Network, Part, predictor_name
from mriqf.studies.table import Task, Value

KEY = ("kind", "network", "arm", "lam", "dataset", "subject", "slice", "quality")
COLUMNS = ("psnr", "ssim", "score", "hue", "changed")

JPEG, PRETRAINED, TUNED = "jpeg", "pretrained", "tuned"
NAN = float("nan")

SATURATED = 0.1
"""Saturation of the truth above which hue is compared."""
NO_HUE = 90.0
"""Degrees: shift of a pixel that has lost its colour, as much as a hue at random would have on average."""
SHOWN, SHOWN_SIDE = 2, 96
"""Subjects of each kind that are shown, and the side of what is shown of them, pixels."""


def tasks(parts: Sequence[Part], arms: Arms, config: LossConfig) -> list[Task]:
    """One image a task: as JPEG, and as every arm restores it, at every quality."""

    def task(part: Part, predictor: Predictor, subject: Subject, index: int) -> Task:
        def measure() -> Iterator[dict[str, Value]]:
            truth = read_truth(subject, index, config.side)
            given = compress(truth.expand(len(config.qualities), -1, -1, -1), config.qualities)
            for network in config.networks:
                for image in restored(given, arms, part.kind, network).values():
                    yield from describe(image, given, truth, predictor)

        return Task(
            tuple(
                (part.kind, network, *arm, subject.dataset, subject.name, index, quality)
                for network in config.networks
                for arm in arm_keys(config.lams)
                for quality in config.qualities
            ),
            measure,
        )

    found = []
    for part in parts:
        predictor = weights.load_predictor(predictor_name(part.kind, config))
        for subject in part.inputs.subjects:
            found += [task(part, predictor, subject, index) for index in subject.slices(config.slices)]
    return found


def arm_keys(lams: Sequence[float]) -> list[tuple[str, float]]:
    """Names of what is measured, and weights of the score."""
    return [(JPEG, NAN), (PRETRAINED, NAN), *((TUNED, lam) for lam in lams)]


def read_truth(subject: Subject, index: int, side: int) -> Float[Tensor, "1 ch h w"]:
    """The middle of a slice in whole grey levels, in [0, 1], its sides multiples of 16."""
    volume = subject.data
    if not isinstance(volume, Volume):
        raise ValueError(f"{subject.name} is raw data: reconstruct it first")
    image = torch.from_numpy(normalise(volume.read_slice(index), volume_scale(volume)))[None]
    return to_8bit(centre(image, tuple(min(side, n) // 16 * 16 for n in volume.shape)))


@torch.inference_mode()
def restored(
    given: Float[Tensor, "b ch h w"], arms: Arms, kind: Kind, network: Network
) -> dict[tuple[str, float], Float[Tensor, "b ch h w"]]:
    """The JPEG images themselves, and what the arms make of them, in whole grey levels, in the order of `arm_keys`."""
    found = {(JPEG, NAN): given}
    for (k, n, lam), model in arms.items():
        if (k, n) == (kind, network):
            image = torch.cat([to_8bit(model(one)) for one in given.split(1)])
            found[(PRETRAINED, NAN) if lam is None else (TUNED, lam)] = image
    return found


def describe(
    images: Float[Tensor, "b ch h w"],
    given: Float[Tensor, "b ch h w"],
    truth: Float[Tensor, "1 ch h w"],
    predictor: Predictor,
) -> Iterator[dict[str, Value]]:
    """Figures of each image: PSNR and SSIM (of luma; in the object of grey images), score, hue, share of changes.

    A pixel counts as changed if one of its channels is more than one grey level from the JPEG image.
    """
    colour = truth.shape[1] == 3
    image, true = (luma(x) if colour else x for x in (images, truth))
    region = None if colour else metrics.object_mask(true)
    changed = ((images - given).abs().amax(1) > 1.5 / 255).double().mean((1, 2))
    hue = hue_shift(images, truth) if colour else torch.full((len(images),), NAN)
    psnr, ssim = (
        torch.cat([metric(one, true, region) for one in image.split(1)]) for metric in (metrics.psnr, metrics.ssim)
    )
    score = predict_map(predictor, images).mean((1, 2, 3))
    for values in zip(*(x.tolist() for x in (psnr, ssim, score, hue, changed)), strict=True):
        yield dict(zip(COLUMNS, values, strict=True))


def hue_shift(images: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "1 3 h w"]) -> Float[Tensor, " b"]:
    """Mean angle between the hues of images and truth in degrees, 0–180, where the truth is saturated.

    Hue is the angle around the grey axis; a pixel without any is taken to be 90° away. NaN where nothing is saturated.
    """
    x, y = opponents(images)
    a, b = opponents(truth)
    angle = torch.atan2(x * b - y * a, x * a + y * b).abs().rad2deg()
    angle = torch.where((x == 0) & (y == 0), NO_HUE, angle)
    saturation = 1 - truth.amin(1) / truth.amax(1).clamp_min(1e-6)
    inside = (saturation > SATURATED).expand_as(angle)
    return torch.where(inside, angle, 0).sum((1, 2)) / inside.sum((1, 2))


def opponents(images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"]]:
    """The two coordinates of a colour around the grey axis, exactly 0 for grey."""
    red, green, blue = (255 * images).round().unbind(1)
    return 2 * red - green - blue, 3**0.5 * (green - blue)


def luma(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Luma of BT.601, full range, as JPEG takes it."""
    return torch.einsum("c, bchw -> bhw", torch.tensor([0.299, 0.587, 0.114]), images)[:, None]


def to_8bit(images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b ch h w"]:
    """Clipped to [0, 1] and rounded to multiples of 1/255."""
    return (255 * images.clamp(0, 1)).round() / 255


def centre(images: Float[Tensor, "b ch h w"], shape: Sequence[int]) -> Float[Tensor, "b ch i j"]:
    """The middle of images, `shape` (height, width) pixels of it."""
    top, left = ((n - m) // 2 for n, m in zip(images.shape[2:], shape, strict=True))
    return images[..., top : top + shape[0], left : left + shape[1]]


def pictures(parts: Sequence[Part], arms: Arms, config: LossConfig) -> Mapping[str, np.ndarray]:
    """The middle of a few test images at the lowest quality, in grey levels: truth, JPEG and every arm.

    Named "kind/network/subject/arm", with the weight of the score for a fine-tuned arm.
    """
    found = {}
    for part in parts:
        subjects = part.inputs.subjects
        for subject in (subjects[k] for k in spread(range(len(subjects)), SHOWN)):
            truth = read_truth(subject, subject.slices(1)[0], config.side)
            given = compress(truth, min(config.qualities))
            for network in config.networks:
                images = {"truth": truth} | {
                    arm if arm != TUNED else f"{lam:g}": image
                    for (arm, lam), image in restored(given, arms, part.kind, network).items()
                }
                for arm, image in images.items():
                    cut = centre(image, [min(SHOWN_SIDE, n) for n in image.shape[2:]])[0]
                    pixels = (255 * cut).round().byte().permute(1, 2, 0).squeeze(-1).numpy()
                    found[f"{part.kind}/{network}/{subject.name}/{arm}"] = pixels
    return found

"""Targets to degrade: MR slices, and photographs that are made to look like slices, each varied.

Few subjects are available, so properties that say nothing of errors (contrast, pixel size, sharpness, anatomy) vary.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from recon.coils import smooth_phase

_SMALLEST = 160
"""Pixels, of the shorter side of a target that was resampled."""


def vary(image: Float[Tensor, "1 1 h w"], rng: np.random.Generator) -> Float[Tensor, "1 1 i j"]:
    """Turn and flip; in part of the draws resample, change the contrast by a power law, shade as a coil does.

    Enlarging makes a target that is smooth and yet without error, as scanners that interpolate make them.
    """
    turn, *flips = rng.integers(2, size=3)
    image = (image.transpose(2, 3) if turn else image).flip([2 + k for k in range(2) if flips[k]])
    if rng.random() < 0.35:
        image = resample(image, np.exp(rng.uniform(np.log(0.65), np.log(1.4))))
    if rng.random() < 0.4:
        image = (image / image.max()) ** rng.uniform(0.6, 1.5)
    if rng.random() < 0.3:
        shading = smooth_phase((image.shape[2], image.shape[3]), int(rng.integers(2**31)), 0.5, 3).angle()
        image = image * torch.exp(shading)
    return image


def resample(image: Float[Tensor, "1 1 h w"], factor: float) -> Float[Tensor, "1 1 i j"]:
    """Bicubic, `factor` times as many pixels on a side, without aliasing; small images are not made smaller."""
    factor = max(factor, min(_SMALLEST / min(image.shape[2:]), 1.0))
    size = [round(n * factor) for n in image.shape[2:]]
    return interpolate(image, size, mode="bicubic", antialias=True).clamp_min(0)


def as_slice(photo: Float[np.ndarray, "h w"], rng: np.random.Generator) -> Float[np.ndarray, "i j"]:
    """A photograph's square part, at 256² pixels, inside a smooth random outline on an empty ground.

    Parameters
    ----------
    photo
        Grey, any unit, at least 256 pixels a side.
    rng
        Generator of part and outline.
    """
    side = int(rng.integers(256, min(*photo.shape, 512) + 1))
    corner = [int(rng.integers(n - side + 1)) for n in photo.shape]
    part = torch.from_numpy(photo[corner[0] : corner[0] + side, corner[1] : corner[1] + side].astype(np.float32))
    small = interpolate(part[None, None], (256, 256), mode="bicubic", antialias=True)[0, 0].clamp_min(0).numpy()
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    angle = np.arctan2(y, x)
    radius = rng.uniform(0.75, 1.1) * (
        1 + sum(0.15 * rng.standard_normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(1, 6))
    )
    outline = np.clip((radius - np.hypot(y, x)) / 0.03, 0, 1)
    return (outline * (0.05 + small)).astype(np.float32)

"""Reconstructions of one target by one scanner, each with the evidence of its measurement and its true error."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import recon
from mriqf import metrics
from mriqf.predictors.kspace import cell_rms
from mriqf.training.groups.labels import cell_errors
from mriqf.training.groups.reconstructions import RECONSTRUCTIONS, Learned, draw_mask, draw_method
from mriqf.training.groups.targets import Image, Target
from mriqf.training.scanner import draw_scanner
from recon.coils import calibration_region, white_noise
from recon.evidence import Evidence, gather
from recon.pipeline import Coils, estimate_coils
from recon.scale import magnitude


@dataclass(frozen=True)
class EvidenceConfig:
    """Settings of the reconstructions of a target; shares are probabilities."""

    versions: int = 4
    """Reconstructions of a target."""
    acceleration: float = 10.0
    """Largest nominal undersampling rate."""
    n_coils: tuple[int, int] = (1, 16)
    """Receiver coils; more than 12, if their maps are estimated, are compressed to 12."""
    noise_std: tuple[float, float] = (0.001, 0.06)
    """Noise of k-space, in units of the target's root mean square; log-uniform."""
    estimated: float = 0.6
    """Reconstructions with maps estimated by ESPIRiT from what was sampled."""
    filtered: float = 0.15
    """Scanners that weaken the edges of k-space."""
    partial_fourier: float = 0.1
    """Masks without the last columns, up to a quarter of them."""
    families: tuple[str, ...] = field(default=RECONSTRUCTIONS)
    """Families that are drawn from."""


@dataclass(frozen=True)
class Example:
    """A reconstruction, its evidence and its errors."""

    image: Float[Tensor, "h w"]
    """Magnitude, any unit."""
    findings: Float[Tensor, " n"]
    """In the order of `recon.evidence.FINDINGS`."""
    channels: Float[Tensor, "k i j"]
    """Root mean squares of cells, in the order of `recon.evidence.CHANNELS`, relative to the largest of the image."""
    excess: Float[Tensor, "i j"]
    """Mean square of the relative error against the image of all samples, of each cell; -1 outside the object."""
    nrmse: float
    """Root mean square of the excess over the object."""
    ssim: float
    """Structural similarity with the image of all samples, over the object."""
    acceleration: float
    family: str
    method: str


def draw_examples(
    target: Target, rng: np.random.Generator, config: EvidenceConfig, learned: Sequence[tuple[str, Learned]] = ()
) -> list[Example]:
    """Draw reconstructions of one target: one scanner, several undersampling rates and methods.

    Parameters
    ----------
    target
        See `mriqf.training.groups.targets.draw_target`.
    learned
        Names and reconstructions of what the family ``learned`` draws from; without any, it is left out.
    """
    shape = (target.image.shape[2], target.image.shape[3])
    scanner = draw_scanner(shape, rng, config.n_coils, 0.0, config.noise_std)
    clean = recon.fft2c(scanner.csm * scanner.phase * target.image)
    kspace = clean + white_noise(clean.shape, scanner.noise_std, int(rng.integers(2**31)))
    if rng.random() < config.filtered:
        kspace = kspace * _window(shape, rng)
    truth = (scanner.csm.conj() * recon.ifft2c(kspace)).sum(1, keepdim=True).abs()
    families = [family for family in config.families if family != "learned" or learned]
    examples = []
    for level in rng.permutation((np.arange(config.versions) + rng.random(config.versions)) / config.versions):
        family = str(rng.choice(families))
        method, reconstruct = draw_method(family, rng, learned)
        if family == "zero-filled":
            reconstruct = recon.zero_filled  # evidence needs coil maps
        mask = draw_mask(shape, 1 + (config.acceleration - 1) * float(level) ** 1.2, rng)
        if rng.random() < config.partial_fourier:
            mask = mask.clone()
            mask[..., round(shape[1] * rng.uniform(0.75, 1)) :] = False
        coils = Coils(scanner.csm)
        estimated = rng.random() < config.estimated
        if estimated and clean.shape[1] > 1 and min(calibration_region(mask * kspace)) >= 8:
            coils = estimate_coils(mask * kspace)
        if coils.csm.any():
            evidence = gather(reconstruct, coils.mix(mask * kspace), recon.Sense(mask, coils.csm))
            if evidence.image.isfinite().all() and evidence.image.any():
                examples.append(_labelled(evidence, truth, family, method, recon.effective_acceleration(mask)))
    return examples


def _window(shape: tuple[int, int], rng: np.random.Generator) -> Float[Tensor, "h w"]:
    """Fermi's filter, of an ellipse that reaches about as far as k-space."""
    y, x = (2 * (torch.arange(n) - n // 2) / n for n in shape)
    radius, width = rng.uniform(0.8, 1.3), rng.uniform(0.02, 0.15)
    return torch.sigmoid((radius - torch.hypot(y[:, None], x)) / width)


def _labelled(evidence: Evidence, truth: Image, family: str, method: str, acceleration: float) -> Example:
    image, inside = magnitude(evidence.image), metrics.object_mask(truth)
    matched = metrics.match_scale(image, truth, inside)
    power = truth[inside].square().mean()
    return Example(
        image[0, 0],
        evidence.findings[0],
        cell_rms(evidence.channels / image.amax())[0],
        cell_errors((matched - truth).square() / power, inside),
        metrics.nrmse(matched, truth, inside).item(),
        metrics.ssim(matched, truth, inside).item(),
        acceleration, family, method,
    )  # fmt: skip

"""Errors of a reconstruction estimated from the measurement: held-out samples, and SURE for the measured ones."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from recon.coils import white_noise
from recon.operator import Sense

NORMAL = 0.6744897501960817
"""Median magnitude of a standard normal number."""
FEWEST = 200
"""Numbers that a noise is estimated from: then its relative standard error is below 0.1."""


@dataclass(frozen=True)
class HeldOut:
    """Relative error of a method in samples that it was not given: 0 is perfect, 1 is as bad as an empty image.

    NaN where noise takes all of the held-out energy.
    """

    residual: Float[Tensor, " b"]
    """``‖A x̂ - y‖ / ‖y‖`` over the held-out samples of all folds."""
    folds: Float[Tensor, "b f"]
    """Residual of each fold."""
    missing: Float[Tensor, " b"]
    """Error in all that was not sampled, relative to the whole k-space, if what was not sampled is on average as large
    and as hard to foretell as what was held out. 0 where nothing is missing."""


@torch.no_grad()
def held_out_residual(
    method: Callable[[Tensor, Sense], Tensor],
    kspace: Complex[Tensor, "b c h w"],
    sense: Sense,
    *,
    share: int | float = 0.1,
    folds: int | None = None,
    seed: int = 0,
    keep_center: int | float = 0.08,
    noise_std: int | float | Float[Tensor, " b"] = 0.0,
    known: Sequence[Complex[Tensor, "b m h w"]] = (),
) -> HeldOut:
    """Keep samples back, reconstruct from the others with the same coil maps, and compare with what was kept back.

    The samples outside the centre are dealt at random to ``1 / share`` folds, of neighbours one to each: columns if
    the mask takes columns, else points. Each fold costs a reconstruction. As that has less data than the one that is
    asked about, its error is larger, most where few lines are left.

    Parameters
    ----------
    method
        Reconstruction of k-space by an operator, into complex images (b, 1, h, w).
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask and coil maps of the measurement; maps should come from the centre alone.
    share
        Part of the samples outside the centre that is held out at a time, above 0 and at most 0.5.
    folds
        Number of the ``1 / share`` folds to use; all if not given: then each sample is held out once.
    seed
        Seed of the dealing: the same arguments give the same result.
    keep_center
        Part of the columns, or of each side for points, about the zero frequency that is never held out, at least 0
        and below 1. Not the mask's own centre, so that residuals of different masks are of the same frequencies.
    noise_std
        Standard deviation of the real, and of the imaginary, part of the noise of k-space, if it is known (see
        `estimate_noise`): its energy is taken off, and what is left is, on average, the error in the noiseless samples.
        Errors below 0 become 0.
    known
        Images of the first folds, if they are there already, such as `recon.evidence.gather` makes with the same seed
        and a share of 0.1: each saves a reconstruction.

    Raises
    ------
    ValueError
        If share, folds or keep_center is out of range, or the mask samples too little outside the centre.

    References
    ----------
    Yaman et al., Self-supervised learning of physics-guided reconstruction neural networks without fully sampled
    reference data, Magn Reson Med 2020, doi:10.1002/mrm.28378.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share={share} leaves nothing to test or too little to reconstruct: use 0 < share <= 0.5")
    if not 0 <= keep_center < 1:
        raise ValueError(f"keep_center={keep_center} is no part to keep: use 0 <= keep_center < 1, such as 0.08")
    n_groups = round(1 / share)
    n_folds = n_groups if folds is None else folds
    if not 1 <= n_folds <= n_groups:
        raise ValueError(f"folds={folds} is out of range: use 1 to {n_groups} for share={share}")
    plane, center = _planes(sense, keep_center)
    known = known[:n_folds]
    held = deal(plane & ~center, n_groups, seed)[:n_folds]
    others = (method(kspace * ~part, Sense(plane & ~part, sense.csm)) for part in held[len(known) :])
    images = itertools.chain(known, others)
    return compare_held_out(images, held, kspace, sense, keep_center=keep_center, noise_std=noise_std)


def compare_held_out(
    images: Iterable[Complex[Tensor, "b m h w"]],
    held: Sequence[Bool[Tensor, "#b 1 #h w"]],
    kspace: Complex[Tensor, "b c h w"],
    sense: Sense,
    *,
    keep_center: int | float = 0.08,
    noise_std: int | float | Float[Tensor, " b"] = 0.0,
) -> HeldOut:
    """Compare images with the samples that each was made without: the second half of `held_out_residual`.

    Parameters
    ----------
    images
        One of each fold.
    held
        Samples that the fold's image was made without, True there: of all rows where the mask takes columns.
    kspace, sense, keep_center, noise_std
        As in `held_out_residual`.
    """
    plane, center = _planes(sense, keep_center)
    # Of a complex sample of all coils, and of all rows where the mask takes columns.
    noise = 2 * torch.as_tensor(noise_std).to(kspace.device).double().square()
    noise = noise * kspace.shape[1] * kspace.shape[2] / plane.shape[2]

    def energy(x: Tensor, mask: Tensor) -> Tensor:
        return (mask * x).abs().double().square().sum((1, 2, 3)) - noise * _count(mask)

    errors, energies, n_held = [], [], []
    for image, part in zip(images, held, strict=True):
        errors.append(energy(Sense(part, sense.csm)(image) - kspace, part))
        energies.append(energy(kspace, part))
        n_held.append(_count(part))
    error, known = torch.stack(errors, 1), torch.stack(energies, 1)
    share_of_missing = _count(~plane) / sum(n_held)
    # The whole is the centre, filled up where it has gaps, and the rest, filled up from what was held out of it.
    inside = energy(kspace, plane & center) * _count(center) / _count(plane & center).clamp(min=1)
    whole = inside + known.sum(1) * _count(~center) / sum(n_held)
    return HeldOut(
        _ratio(error.sum(1), known.sum(1)), _ratio(error, known), _ratio(error.sum(1) * share_of_missing, whole)
    )


@dataclass(frozen=True)
class Sure:
    """Estimated error of what a reconstruction says of the samples measured; of the others it says nothing."""

    mse: Float[Tensor, " b"]
    """``‖A x̂ - A x‖²`` over the number of complex samples; as an unbiased estimate, it can fall below 0."""
    nrmse: Float[Tensor, " b"]
    """``‖A x̂ - A x‖ / ‖A x‖``; 0 where the estimate is below 0, NaN where nothing but noise was measured."""
    divergence: Float[Tensor, " b"]
    """Divergence of A x̂ by the measured numbers, real and imaginary: the real degrees of freedom of the method."""


@torch.no_grad()
def sure(
    method: Callable[[Tensor, Sense], Tensor],
    kspace: Complex[Tensor, "b c h w"],
    sense: Sense,
    noise_std: int | float | Float[Tensor, " b"],
    *,
    seed: int = 0,
    epsilon: int | float = 0.1,
    n_probes: int = 1,
) -> Sure:
    """Estimate the error of A x̂ in the measured samples from the measurement alone.

    With M real numbers measured, ``E‖A x̂ - A x‖² = E[‖A x̂ - y‖² - M σ² + 2 σ² div A x̂(y)]`` for any weakly
    differentiable method. The divergence is that of random probes by finite differences: each costs a reconstruction.

    It holds for white Gaussian noise of known strength, the same in all coils and samples, and for coil maps that do
    not depend on it; x is what was there without noise, so that what the maps cannot express counts as error. Too high
    a noise makes the estimate too low: by M times the excess of σ², which is much where the error is small.

    It is blind to k-space that was not sampled. Where all is sampled, and the squared maps sum to 1, it is the squared
    error of the image; under undersampling that error is larger, since ``‖A (x̂ - x)‖ <= ‖x̂ - x‖``, and a method that
    merely keeps to its data makes the estimate small whatever the image looks like.

    Parameters
    ----------
    method
        Reconstruction of k-space by an operator, into complex images (b, 1, h, w); deterministic.
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask and coil maps of the measurement.
    noise_std
        Standard deviation σ of the real, and of the imaginary, part of the noise, in the unit of k-space, above 0.
    seed
        Seed of the probes: the same arguments give the same result.
    epsilon
        Length of the probes' step in units of the noise, above 0. Far below 0.1, the rounding of methods in half
        precision and the tolerance of solvers show; far above 1, the curvature of methods.
    n_probes
        Number of probes, 1 or more. One suffices for images of usual size: the error goes with 1 / √(n_probes M).

    Raises
    ------
    ValueError
        If the noise, the step or the number of probes is not positive.

    References
    ----------
    Stein, Estimation of the mean of a multivariate normal distribution, Ann Statist 1981,
    doi:10.1214/aos/1176345632. Ramani et al., Monte-Carlo SURE: a black-box optimization of regularization parameters
    for general denoising algorithms, IEEE Trans Image Process 2008, doi:10.1109/TIP.2008.2001404. Aggarwal et al.,
    ENSURE: a general approach for unsupervised training of deep image reconstruction algorithms, IEEE Trans Med Imaging
    2023, doi:10.1109/TMI.2022.3224359.
    """
    std = torch.as_tensor(noise_std).to(kspace.device).expand(len(kspace)).to(kspace.real.dtype)
    if not (std > 0).all():
        raise ValueError(f"noise_std={std.min().item():g} is no noise: use one above 0, such as estimate_noise finds")
    if not epsilon > 0:
        raise ValueError(f"epsilon={epsilon} is no step: use one above 0, such as 0.1, in units of the noise")
    if n_probes < 1:
        raise ValueError(f"n_probes={n_probes} tells no divergence: use 1 or more")
    measured = sense.mask * kspace
    predicted = sense(method(measured, sense))
    step = (epsilon * std)[:, None, None, None]
    slopes = []
    for k in range(n_probes):
        probe = sense.mask * white_noise(kspace.shape, 1.0, seed + k, kspace.real.dtype).to(kspace.device)
        moved = sense(method(measured + step * probe, sense)) - predicted
        slopes.append(divergence_along(probe, moved, step.flatten()))
    return risk(measured, predicted, sense, std, torch.stack(slopes).mean(0))


def risk(
    measured: Complex[Tensor, "b c h w"],
    predicted: Complex[Tensor, "b c h w"],
    sense: Sense,
    noise_std: Float[Tensor, " b"],
    divergence: Float[Tensor, " b"],
) -> Sure:
    """Stein's estimate where the divergence is known already: the second half of `sure`.

    Parameters
    ----------
    measured
        Measured k-space, zero outside the mask.
    predicted
        What the reconstruction says of it, A x̂.
    sense, noise_std
        As in `sure`.
    divergence
        Of `predicted` by `measured`: `divergence_along`, or its mean over probes.
    """
    variance = noise_std.double().square()
    n_samples = sense.mask.expand(len(measured), 1, *measured.shape[2:]).sum((1, 2, 3)).double() * measured.shape[1]
    error = _energy(predicted - measured) + variance * (2 * divergence - 2 * n_samples)
    signal = _energy(measured) - 2 * variance * n_samples
    nrmse = torch.where(signal > 0, error.clamp(min=0) / signal, torch.nan).sqrt()
    return Sure((error / n_samples).float(), nrmse.float(), divergence.float())


def divergence_along(
    probe: Complex[Tensor, "#b c h w"], moved: Complex[Tensor, "b c h w"], step: Float[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """Divergence as a white random probe of unit standard deviation tells it.

    Parameters
    ----------
    probe
        Direction in which the measurement was changed.
    moved
        By how much what the reconstruction says of the measurement has changed.
    step
        How many times the probe was added.
    """
    # Real and imaginary parts are numbers of their own, and Re⟨b, Δ⟩ is their inner product.
    return (probe.conj() * moved).real.double().sum((1, 2, 3)) / step.double()


def estimate_noise(kspace: Complex[Tensor, "b c h w"], sense: Sense) -> Float[Tensor, " b"]:
    """Estimate the noise of k-space from its corners, where an image has little energy.

    The corners are the sampled points outside the ellipse that touches the sides; samples that are exactly zero, such
    as padding, are left out. The estimate is the median magnitude of real and imaginary parts, over all coils, so that
    a few strong samples change little. What the image has in the corners, and in it the noise of an image that k-space
    was simulated from, makes the estimate too high, and a filter of the scanner too low.

    Parameters
    ----------
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask of the measurement.

    Returns
    -------
    Tensor
        Standard deviation of the real, and of the imaginary, part of the noise of each sample of the batch.

    Raises
    ------
    ValueError
        If too little was sampled in the corners.
    """
    h, w = kspace.shape[2:]
    y, x = (2 * (torch.arange(n, device=kspace.device) - n // 2) / n for n in (h, w))
    corners = sense.mask & (y[:, None].square() + x.square() > 1)
    found = []
    for samples, plane in zip(kspace, corners.expand(len(kspace), -1, -1, -1), strict=True):
        numbers = torch.view_as_real(samples[plane.expand_as(samples)])
        numbers = numbers[(numbers != 0).any(-1)].flatten()
        if numbers.numel() < FEWEST:
            raise ValueError(
                f"kspace {tuple(kspace.shape)} has {numbers.numel()} numbers in its corners, too few to tell the noise "
                "from: measure the noise, and give it as noise_std"
            )
        found.append(numbers.abs().median() / NORMAL)
    return torch.stack(found)


def _count(mask: Bool[Tensor, "#b 1 #h w"]) -> Float[Tensor, "#b"]:
    return mask.sum((1, 2, 3)).double()


def _ratio(error: Tensor, energy: Tensor) -> Tensor:
    return torch.where(energy > 0, error.clamp(min=0) / energy, torch.nan).sqrt().float()


def _planes(sense: Sense, keep_center: int | float) -> tuple[Bool[Tensor, "#b 1 #h w"], Bool[Tensor, "1 1 #h w"]]:
    """What was sampled, and the centre that is never held out: rows are one where the mask takes columns."""
    plane = sense.mask[:, :, :1] if sense.separable else sense.mask
    return plane, central(plane.shape[2:], keep_center).to(plane.device)


def central(shape: tuple[int, ...], fraction: int | float) -> Bool[Tensor, "1 1 #h w"]:
    """Central columns, or the central rectangle, in the places where masks have theirs."""
    sides = [1.0 if n == 1 else fraction for n in shape]
    inside = []
    for n, side in zip(shape, sides, strict=True):
        width = round(n * side)
        start = (n - width + 1) // 2
        inside.append((torch.arange(n) >= start) & (torch.arange(n) < start + width))
    return (inside[0][:, None] & inside[1])[None, None]


def deal(outside: Bool[Tensor, "b 1 #h w"], n_groups: int, seed: int) -> list[Bool[Tensor, "b 1 #h w"]]:
    """Masks of the groups; of each run of samples, as many as there are groups, every group gets one at random."""
    groups = outside.new_zeros((n_groups, *outside.shape))
    for i, mask in enumerate(outside):
        places = mask.flatten().nonzero().flatten()
        if len(places) < n_groups:
            unit = "columns" if mask.shape[1] == 1 else "points"
            raise ValueError(
                f"mask samples {len(places)} {unit} outside the kept centre, too few to hold 1/{n_groups} of them out: "
                "use a larger share, a smaller keep_center or a lower acceleration"
            )
        rng = np.random.default_rng(seed)
        label = np.concatenate([rng.permutation(n_groups) for _ in range(-(-len(places) // n_groups))])[: len(places)]
        groups.flatten(2)[torch.from_numpy(label).to(outside.device), i, places] = True
    return list(groups)


def _energy(x: Tensor) -> Tensor:
    return x.abs().double().square().sum((1, 2, 3))

"""Error in the measured samples, estimated from the measurement alone: Stein's unbiased risk estimate (SURE)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from recon.coils import white_noise
from recon.operator import Sense


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
        Measurement that the reconstruction predicts, A x̂.
    sense, noise_std
        As in `sure`.
    divergence
        Divergence of `predicted` by `measured`: `divergence_along`, or its mean over probes.
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
    """Estimate the divergence by a white random probe of unit standard deviation.

    Parameters
    ----------
    probe
        Direction in which the measurement was changed.
    moved
        Change of the predicted measurement.
    step
        Factor of the probe that was added.
    """
    # Real and imaginary parts are numbers of their own, and Re⟨b, Δ⟩ is their inner product.
    return (probe.conj() * moved).real.double().sum((1, 2, 3)) / step.double()


def _energy(x: Tensor) -> Tensor:
    return x.abs().double().square().sum((1, 2, 3))

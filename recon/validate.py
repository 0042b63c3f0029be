"""What samples that were measured, but kept from the reconstruction, say of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from recon.operator import Sense


@dataclass(frozen=True)
class HeldOut:
    """How well a method foretells samples that it was not given: 0 is perfectly, 1 is as badly as an empty image.

    NaN where noise takes all of the held-out energy.
    """

    residual: Float[Tensor, " b"]
    """``‖A x̂ - y‖ / ‖y‖`` over the held-out samples of all folds."""
    folds: Float[Tensor, "b f"]
    """The same for each fold."""
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
        How many of the ``1 / share`` folds to use; all if not given: then each sample is held out once.
    seed
        Of the dealing: the same arguments give the same result.
    keep_center
        Part of the columns, or of each side for points, about the zero frequency that is never held out, at least 0
        and below 1. Not the mask's own centre, so that residuals of different masks are of the same frequencies.
    noise_std
        Standard deviation of the real, and of the imaginary, part of the noise of k-space, if it is known (see
        `estimate_noise`): its energy is taken off, and what is left is, on average, the error in the noiseless samples.
        Errors below 0 become 0.

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
    plane = sense.mask[:, :, :1] if sense.separable else sense.mask
    center = central(plane.shape[2:], keep_center).to(plane.device)
    # Of a complex sample of all coils, and of all rows where the mask takes columns.
    noise = 2 * torch.as_tensor(noise_std, device=kspace.device).double().square()
    noise = noise * kspace.shape[1] * kspace.shape[2] / plane.shape[2]

    def energy(x: Tensor, mask: Tensor) -> Tensor:
        return (mask * x).abs().double().square().sum((1, 2, 3)) - noise * _count(mask)

    errors, energies, n_held = [], [], []
    for held in _deal(plane & ~center, n_groups, seed)[:n_folds]:
        image = method(kspace * ~held, Sense(plane & ~held, sense.csm))
        errors.append(energy(Sense(held, sense.csm)(image) - kspace, held))
        energies.append(energy(kspace, held))
        n_held.append(_count(held))
    error, known = torch.stack(errors, 1), torch.stack(energies, 1)
    share_of_missing = _count(~plane) / sum(n_held)
    # The whole is the centre, filled up where it has gaps, and the rest, filled up from what was held out of it.
    inside = energy(kspace, plane & center) * _count(center) / _count(plane & center).clamp(min=1)
    whole = inside + known.sum(1) * _count(~center) / sum(n_held)
    return HeldOut(
        _ratio(error.sum(1), known.sum(1)), _ratio(error, known), _ratio(error.sum(1) * share_of_missing, whole)
    )


def _count(mask: Bool[Tensor, "#b 1 #h w"]) -> Float[Tensor, "#b"]:
    return mask.sum((1, 2, 3)).double()


def _ratio(error: Tensor, energy: Tensor) -> Tensor:
    return torch.where(energy > 0, error.clamp(min=0) / energy, torch.nan).sqrt().float()


def central(shape: tuple[int, ...], fraction: int | float) -> Bool[Tensor, "1 1 #h w"]:
    """Central columns, or the central rectangle, in the places where masks have theirs."""
    sides = [1.0 if n == 1 else fraction for n in shape]
    inside = []
    for n, side in zip(shape, sides, strict=True):
        width = round(n * side)
        start = (n - width + 1) // 2
        inside.append((torch.arange(n) >= start) & (torch.arange(n) < start + width))
    return (inside[0][:, None] & inside[1])[None, None]


def _deal(outside: Bool[Tensor, "b 1 #h w"], n_groups: int, seed: int) -> list[Bool[Tensor, "b 1 #h w"]]:
    """Masks of the groups; of each run of samples, as many as there are groups, every group gets one at random."""
    groups = torch.zeros((n_groups, *outside.shape), dtype=torch.bool)
    for i, mask in enumerate(outside.cpu().numpy()):
        places = np.flatnonzero(mask)
        if len(places) < n_groups:
            unit = "columns" if mask.shape[1] == 1 else "points"
            raise ValueError(
                f"mask samples {len(places)} {unit} outside the kept centre, too few to hold 1/{n_groups} of them out: "
                "use a larger share, a smaller keep_center or a lower acceleration"
            )
        rng = np.random.default_rng(seed)
        label = np.concatenate([rng.permutation(n_groups) for _ in range(-(-len(places) // n_groups))])[: len(places)]
        groups[torch.from_numpy(label), i, 0, torch.from_numpy(places // mask.shape[2]), places % mask.shape[2]] = True
    return list(groups.to(outside.device))

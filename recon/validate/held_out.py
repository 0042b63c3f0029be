"""Error in samples that a reconstruction was not given, and from it the error in all that were not measured."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from recon.operator import Sense


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
    # Energy of the noise of a sample: of all coils, and of all rows where the mask takes columns.
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


def _planes(sense: Sense, keep_center: int | float) -> tuple[Bool[Tensor, "#b 1 #h w"], Bool[Tensor, "1 1 #h w"]]:
    """Mask and the centre that is never held out; of one row where the mask takes columns."""
    plane = sense.mask[:, :, :1] if sense.separable else sense.mask
    return plane, central(plane.shape[2:], keep_center).to(plane.device)


def _count(mask: Bool[Tensor, "#b 1 #h w"]) -> Float[Tensor, "#b"]:
    return mask.sum((1, 2, 3)).double()


def _ratio(error: Tensor, energy: Tensor) -> Tensor:
    return torch.where(energy > 0, error.clamp(min=0) / energy, torch.nan).sqrt().float()

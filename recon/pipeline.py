"""From k-space to images in one call: what was sampled, coil maps, reconstruction, batch by batch on one device."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from recon.baselines import cg_sense, zero_filled
from recon.coils import compress_coils, whiten
from recon.espirit import espirit
from recon.operator import Sense
from recon.partial_fourier import PartialFourier, fill, missing_side
from recon.sparse import l1_wavelet, total_variation

Method = Literal["zero-filled", "cg-sense", "l1-wavelet", "total-variation", "modl", "varnet"]
Reconstruction = Callable[[Tensor, Sense], Tensor]

SOLVERS: dict[str, Callable[..., Tensor]] = {
    "zero-filled": zero_filled,
    "cg-sense": cg_sense,
    "l1-wavelet": l1_wavelet,
    "total-variation": total_variation,
}
NETWORKS = ("modl", "varnet")
MOST_COILS = 12
"""Virtual coils that more receivers are compressed to."""


def choose(method: str, lam: float | None = None, device: str | torch.device = "cpu") -> Reconstruction:
    """The reconstruction of a name: a solver, with a lam if it takes one, or a network of shipped weights.

    Raises
    ------
    ValueError
        If there is no such method, or it takes no lam.
    """
    if method in SOLVERS:
        if lam is None:
            return SOLVERS[method]
        if method != "zero-filled":
            return partial(SOLVERS[method], lam=lam)
    if lam is not None:
        raise ValueError(f"lam={lam} was given, but {method} takes none: leave it out, or use cg-sense or l1-wavelet")
    if method in NETWORKS:
        from recon.weights import load_network

        return load_network(method, device)
    raise ValueError(f"method={method!r} is unknown: use one of {', '.join((*SOLVERS, *NETWORKS))}")


@torch.no_grad()
def reconstruct(
    kspace: Complex[Tensor, "s c h w"],
    mask: Bool[Tensor, " w"] | Bool[Tensor, "h w"] | None = None,
    method: Method | Reconstruction = "modl",
    *,
    lam: float | None = None,
    csm: Complex[Tensor, "#s c h w"] | None = None,
    calibration: Complex[Tensor, "s c _ _"] | None = None,
    noise: Complex[Tensor, "c n"] | None = None,
    n_coils: int = MOST_COILS,
    n_sets: int = 1,
    partial_fourier: PartialFourier = "zero-filled",
    batch: int = 4,
) -> Complex[Tensor, "s m h w"]:
    """Reconstruct slices of k-space, on the device that it is on.

    Parameters
    ----------
    kspace
        Measured k-space of slices, any unit, centred, exactly zero where it was not sampled. Slices that are zero give
        zero.
    mask
        True where k-space was sampled; found from what is not zero if not given. Data outside the mask are ignored.
    method
        Name of a method, or a function of k-space and operator, such as a network.
    lam
        Weight of the regularisation, for methods that take one.
    csm
        Coil maps; by default `recon.espirit` estimates them of each slice from what was sampled.
    calibration
        Other k-space to estimate the maps from, such as separate calibration lines, with its centre at ``n // 2``.
    noise
        Samples of noise alone, by which the coils are made independent (`recon.coils.whiten`).
    n_coils
        Virtual coils that more receivers are compressed to.
    n_sets
        Sets of coil maps, see `recon.espirit`.
    partial_fourier
        How the side of k-space that was left out is filled, where one was.
    batch
        Slices that are reconstructed at a time.

    Returns
    -------
    Tensor
        Complex images, one for each set of maps.

    Raises
    ------
    ValueError
        If the shapes do not fit, nothing was sampled, or too few central lines were.

    Examples
    --------
    >>> import recon, torch
    >>> image = torch.ones(1, 1, 32, 32, dtype=torch.complex64)
    >>> kspace = recon.simulate_kspace(image, recon.loops(4, (32, 32), seed=0), noise_std=0.01, seed=0)
    >>> recon.reconstruct(kspace, method="cg-sense").shape
    torch.Size([1, 1, 32, 32])
    """
    if kspace.ndim != 4:
        raise ValueError(
            f"kspace has shape {tuple(kspace.shape)}, not (s, c, h, w): add the missing axis, kspace[None]"
        )
    mask = sampled(kspace) if mask is None else mask.to(kspace.device)
    solve = choose(method, lam, kspace.device) if isinstance(method, str) else method
    rows = mask.ndim == 2 and bool((mask == mask[:, :1]).all()) and not bool(mask.all())
    if rows:  # phase encoding along rows: the same problem, turned
        csm, calibration = (None if x is None else x.transpose(-2, -1) for x in (csm, calibration))
        kspace, mask = kspace.transpose(-2, -1), mask[:, 0]
    if mask.ndim == 2 and bool((mask == mask[:1]).all()):
        mask = mask[0]
    results = []
    for part in _batches(kspace, batch):
        maps = None if csm is None else csm if len(csm) == 1 else csm[part]
        lines = None if calibration is None else calibration[part]
        results.append(_reconstruct(kspace[part] * mask, mask, solve, maps, lines, noise, n_coils, n_sets))
    images = torch.cat(results)
    images = fill(images, missing_side(torch.atleast_2d(mask)), partial_fourier)
    return images.transpose(-2, -1) if rows else images


def sampled(kspace: Complex[Tensor, "s c h w"]) -> Bool[Tensor, "h w"]:
    """Where any slice and coil has a sample that is not zero."""
    return (kspace != 0).flatten(0, 1).any(0)


def _batches(kspace: Tensor, size: int) -> Sequence[slice]:
    if size < 1:
        raise ValueError(f"batch={size} holds no slice: use 1 or more")
    return [slice(start, start + size) for start in range(0, len(kspace), size)]


def _reconstruct(
    kspace: Tensor,
    mask: Tensor,
    solve: Reconstruction,
    csm: Tensor | None,
    calibration: Tensor | None,
    noise: Tensor | None,
    n_coils: int,
    n_sets: int,
) -> Tensor:
    filled = kspace.flatten(1).any(1)
    result = kspace.new_zeros(len(kspace), n_sets, *kspace.shape[2:])
    if not filled.any():
        return result
    y = kspace[filled]
    lines = y if calibration is None else calibration[filled]
    if noise is not None:
        y, lines = whiten(y, noise), whiten(lines, noise)
    if csm is not None:
        maps = csm if len(csm) == 1 else csm[filled]
    elif y.shape[1] == 1:
        maps = torch.ones_like(y)
    else:
        if y.shape[1] > n_coils:
            lines, matrix = compress_coils(lines, n_coils)
            y = torch.einsum("bvc, bchw -> bvhw", matrix, y)
        maps = espirit(lines if calibration is None else _placed(lines, y), n_sets=n_sets)
    found = solve(y, Sense(mask, maps))
    if n_sets > 1 and found.shape[1] != n_sets:
        warnings.warn(f"the maps have {found.shape[1]} set, not n_sets={n_sets}: they were given", stacklevel=4)
        result = result[:, :1]
    result[filled] = found
    return result


def _placed(lines: Tensor, like: Tensor) -> Tensor:
    """Calibration lines in the centre of a k-space of another size."""
    h, w = like.shape[2:]
    n, m = min(lines.shape[2], h), min(lines.shape[3], w)
    top, left = lines.shape[2] // 2 - n // 2, lines.shape[3] // 2 - m // 2
    placed = torch.zeros_like(like)
    placed[..., h // 2 - n // 2 : h // 2 - n // 2 + n, w // 2 - m // 2 : w // 2 - m // 2 + m] = (
        lines[..., top : top + n, left : left + m]
    )  # fmt: skip
    return placed

"""From k-space to images in one call: sampling, coil maps and reconstruction, batch by batch on one device."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from recon.coils import central, espirit, principal_coils, require_kspace, whitening
from recon.methods import Method, Reconstruction, choose
from recon.operator import Sense
from recon.partial_fourier import PartialFourier, fill, missing_side

MOST_COILS = 12
"""Virtual coils that more receivers are compressed to."""


@dataclass(frozen=True)
class Coils:
    """Coil maps of slices, and the mixture of receivers that they belong to."""

    csm: Complex[Tensor, "#s v h w"] | Complex[Tensor, "#s m v h w"]
    """Maps of the mixed coils."""
    mixing: Complex[Tensor, "#s v c"] | None = None
    """Matrices from receivers to mixed coils: noise made independent, then compressed; none leaves the receivers."""

    def mix(self, kspace: Complex[Tensor, "s c h w"]) -> Complex[Tensor, "s v h w"]:
        """K-space of the mixed coils."""
        return _mixed(kspace, self.mixing)


class Measurement(NamedTuple):
    """K-space and operator as solvers take them."""

    kspace: Tensor
    sense: Sense
    turned: bool
    """True if height and width are exchanged, so that phase encoding is along columns."""


@torch.no_grad()
def estimate_coils(
    kspace: Complex[Tensor, "s c h w"],
    csm: Complex[Tensor, "#s c h w"] | None = None,
    *,
    calibration: Complex[Tensor, "s c _ _"] | None = None,
    noise: Complex[Tensor, "c n"] | None = None,
    n_coils: int = MOST_COILS,
    n_sets: int = 1,
) -> Coils:
    """Estimate coil maps after pre-whitening and compression of the receivers, as `reconstruct` does.

    Parameters
    ----------
    kspace
        Measured k-space, none of its slices zero; exactly zero where it was not sampled.
    csm
        Maps of the receivers, if they are known: they are mixed as k-space is.
    calibration, noise, n_coils, n_sets
        As in `reconstruct`.

    Raises
    ------
    ValueError
        If the shapes do not fit, or too few central lines were sampled.
    """
    require_kspace(kspace)
    c = kspace.shape[1]
    if noise is not None and len(noise) != c:
        raise ValueError(f"noise {tuple(noise.shape)} does not fit {c} coils: give (c, n)")
    if n_coils < 1:
        raise ValueError(f"n_coils={n_coils} leaves no coil: use 1 or more")
    lines = kspace if calibration is None else calibration
    mixing = None if noise is None else whitening(noise).to(kspace.dtype)[None]
    lines = _mixed(lines, mixing)
    if c > n_coils:
        reduced = torch.stack([principal_coils(y / y.abs().max(), n_coils) for y in lines])
        lines = _mixed(lines, reduced)
        mixing = reduced if mixing is None else reduced @ mixing
    if csm is not None:
        if mixing is None:
            return Coils(csm)
        mixed = torch.einsum("bvc, bchw -> bvhw", mixing, csm)
        norm = torch.linalg.vector_norm(mixed, dim=1, keepdim=True)
        return Coils(mixed / torch.where(norm > 0, norm, 1), mixing)
    if c == 1:
        return Coils(torch.ones_like(kspace), mixing)
    return Coils(espirit(placed(lines, (kspace.shape[2], kspace.shape[3])), n_sets=n_sets), mixing)


def prepare(
    kspace: Complex[Tensor, "s c h w"], mask: Bool[Tensor, " w"] | Bool[Tensor, "h w"], coils: Coils
) -> Measurement:
    """K-space of mixed coils and its operator, turned where phase encoding is along rows.

    Parameters
    ----------
    kspace
        Measured k-space of the receivers; values outside the mask are ignored.
    mask
        True where k-space was sampled.
    coils
        Maps and mixing of the receivers.
    """
    kspace, csm = coils.mix(kspace * mask), coils.csm
    rows = mask.ndim == 2 and bool((mask == mask[:, :1]).all()) and not bool(mask.all())
    if rows:
        kspace, csm, mask = kspace.transpose(-2, -1), csm.transpose(-2, -1), mask[:, 0]
    elif mask.ndim == 2 and bool((mask == mask[:1]).all()):
        mask = mask[0]
    return Measurement(kspace, Sense(mask, csm), rows)


@torch.no_grad()
def reconstruct(
    kspace: Complex[Tensor, "s c h w"],
    mask: Bool[Tensor, " w"] | Bool[Tensor, "h w"] | None = None,
    method: Method | Reconstruction = "modl",
    *,
    lam: float | None = None,
    csm: Complex[Tensor, "#s c h w"] | Coils | None = None,
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
        Measured k-space of slices, any unit, centred, exactly zero where it was not sampled. Slices that are zero, or
        whose maps are, give zero.
    mask
        True where k-space was sampled; found from what is not zero if not given. Data outside the mask are ignored.
    method
        Name of a method, or a function of k-space and operator, such as a network.
    lam
        Weight of the regularisation, for methods that take one.
    csm
        Coil maps, or `Coils` that `recon.pipeline.estimate_coils` made; by default estimated of each slice from what
        was sampled, by `recon.espirit`.
    calibration
        Other k-space to estimate the maps from, such as separate calibration lines, with its centre at ``n // 2``.
    noise
        Samples of noise alone, by which the coils are made independent (`recon.coils.whiten`).
    n_coils
        Virtual coils that more receivers are compressed to.
    n_sets
        Sets of coil maps, see `recon.espirit`.
    partial_fourier
        Filling of the side of k-space that was left out, where one was.
    batch
        Slices that are reconstructed at a time.

    Returns
    -------
    Tensor
        Complex images in the unit of k-space, one for each set of maps.

    Raises
    ------
    ValueError
        If the shapes do not fit, nothing was sampled, or too few central lines were.

    Examples
    --------
    >>> import recon, torch
    >>> image = torch.ones(1, 1, 32, 32, dtype=torch.complex64)
    >>> kspace = recon.simulate_kspace(image, recon.surface_coils(4, (32, 32), seed=0), noise_std=0.01, seed=0)
    >>> recon.reconstruct(kspace, method="cg-sense").shape
    torch.Size([1, 1, 32, 32])
    """
    if kspace.ndim != 4:
        raise ValueError(
            f"kspace has shape {tuple(kspace.shape)}, not (s, c, h, w): add the missing axis, kspace[None]"
        )
    if batch < 1:
        raise ValueError(f"batch={batch} holds no slice: use 1 or more")
    mask = sampled(kspace) if mask is None else mask.to(kspace.device)
    solve = choose(method, lam, kspace.device) if isinstance(method, str) else method
    given = csm.csm if isinstance(csm, Coils) else csm
    images = kspace.new_zeros(len(kspace), n_sets if given is None else _sets(given), *kspace.shape[2:])
    filled = (kspace * mask).flatten(1).any(1).nonzero().flatten()
    for part in filled.split(batch) if len(filled) else ():
        y = kspace[part] * mask
        if isinstance(csm, Coils):
            coils = _chosen(csm, part)
        else:
            maps = csm if csm is None or len(csm) == 1 else csm[part]
            lines = None if calibration is None else calibration[part]
            coils = estimate_coils(y, maps, calibration=lines, noise=noise, n_coils=n_coils, n_sets=n_sets)
        if not coils.csm.any():
            continue
        y, sense, turned = prepare(y, mask, coils)
        image = fill(solve(y, sense), missing_side(sense.mask[0, 0]), partial_fourier)
        images[part] = image.transpose(-2, -1) if turned else image
    return images


def sampled(kspace: Complex[Tensor, "s c h w"]) -> Bool[Tensor, "h w"]:
    """Mask of the points at which any slice and coil has a sample that is not zero."""
    return (kspace != 0).flatten(0, 1).any(0)


def _mixed(kspace: Tensor, mixing: Tensor | None) -> Tensor:
    return kspace if mixing is None else (mixing @ kspace.flatten(2)).unflatten(2, kspace.shape[2:])


def _sets(csm: Tensor) -> int:
    return csm.shape[1] if csm.ndim == 5 else 1


def _chosen(coils: Coils, part: Tensor) -> Coils:
    """Maps or masks of some slices; one alone serves all."""
    csm, mixing = coils.csm, coils.mixing
    return Coils(
        csm if len(csm) == 1 else csm[part], mixing if mixing is None or len(mixing) == 1 else mixing[part]
    )  # fmt: skip


def placed(lines: Complex[Tensor, "s c n m"], shape: tuple[int, int]) -> Complex[Tensor, "s c h w"]:
    """Calibration lines in the centre of a k-space of another size, zero elsewhere.

    Parameters
    ----------
    lines
        With their centre at ``n // 2``.
    shape
        Height and width of the result.
    """
    if lines.shape[2:] == shape:
        return lines
    (h, w), (n, m) = shape, lines.shape[2:]
    n, m = min(n, h), min(m, w)
    padded = lines.new_zeros(*lines.shape[:2], h, w)
    central(padded, (n, m)).copy_(central(lines, (n, m)))
    return padded

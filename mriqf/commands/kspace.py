"""What commands share that start from k-space: which method, what was sampled, which coil maps."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Complex, Complex64
from torch import Tensor

import recon
from mriqf.cli import UsageError
from mriqf.commands.options import say
from mriqf.io import KSpace, ReadError, Sampling
from mriqf.weights import load

Method = Literal["zero-filled", "cg-sense", "l1-wavelet", "modl"]
Reconstruction = Callable[[Tensor, recon.Sense], Tensor]
LAM: dict[str, float] = {  # of methods that take one: their own defaults
    name: signature(function).parameters["lam"].default
    for name, function in (("cg-sense", recon.cg_sense), ("l1-wavelet", recon.l1_wavelet))
}
CALIBRATION = 0.32  # center fraction times acceleration, as fastMRI has it: 0.08 at 4, 0.04 at 8


def check_options(
    method: Method, lam: float | None, mask: str | None, acceleration: float | None, center_fraction: float | None
) -> None:
    """Refuse options that cannot be meant together, before anything is read."""
    if lam is not None and method not in LAM:
        raise UsageError(f"--lam is {lam}, but {method} takes none: leave it out, or use {' or '.join(LAM)}")
    if lam is not None and lam < 0:
        raise UsageError(f"--lam is {lam}: give 0 or more")
    if acceleration is None and (mask, center_fraction) != (None, None):
        raise UsageError("--mask and --center-fraction say how to undersample, but not how much: give --acceleration")
    if mask is not None and mask not in recon.masks.FAMILIES:
        raise UsageError(f"--mask is {mask!r}: choose {', '.join(recon.masks.FAMILIES)}")


def choose_method(
    name: Method, lam: float | None, weights: str, device: str, option: str = "--weights"
) -> Reconstruction:
    """The reconstruction of this name, with a lam if it takes one, or the MoDL of these weights."""
    if name != "modl":
        function = getattr(recon, name.replace("-", "_"))
        return function if lam is None else partial(function, lam=lam)
    try:
        model = load(weights, device)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not isinstance(model, recon.MoDL):
        raise UsageError(f"{option} {weights} holds no MoDL: choose one, such as modl-knee")
    return recon.fast(model)


def choose_pattern(
    data: KSpace,
    sampling: Sampling,
    family: str | None,
    acceleration: float | None,
    center_fraction: float | None,
    seed: int,
) -> Bool[np.ndarray, "*h w"]:
    """Mask to reconstruct with: what was measured, undersampled if asked for."""
    padding = data.shape[1] - (sampling.columns.stop - sampling.columns.start)
    if padding:
        say(f"{data.source}: {padding} of {data.shape[1]} columns at the edges are zero: padding, not in the mask")
    if acceleration is None:
        if sampling.undersampled:
            say(f"{data.source}: is undersampled: reconstructed as it is")
        return sampling.mask
    if sampling.undersampled:
        own = "by its own mask" if data.mask is not None else "where it is zero"
        raise UsageError(
            f"--acceleration is {acceleration:g}, but {data.source} is undersampled already, {own} "
            f"({effective_acceleration(sampling.mask, sampling):.2f} times): leave it out"
        )
    try:
        drawn = recon.masks.draw(
            family or "random", data.shape, acceleration, choose_center(acceleration, center_fraction), seed
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    pattern = drawn.numpy() & sampling.mask
    if not pattern.any():
        raise UsageError(f"--acceleration is {acceleration:g}: no column of {data.source} is left: choose a lower one")
    return pattern


def choose_center(acceleration: float, given: float | None) -> float:
    """Part of the columns that is always sampled."""
    return min(1.0, CALIBRATION / acceleration) if given is None else given


def effective_acceleration(mask: Bool[np.ndarray, "*h w"], sampling: Sampling) -> float:
    """Undersampling within what the scanner sampled: padding was saved by nobody."""
    inside = mask[sampling.columns] if mask.ndim == 1 else mask[sampling.rows, sampling.columns]
    return recon.effective_acceleration(torch.from_numpy(np.ascontiguousarray(inside)))


def read_coil_maps(path: Path, data: KSpace) -> Complex64[np.ndarray, "s c h w"]:
    """Coil maps of each slice, or one set for all, normalised as operators expect."""
    if not path.is_file():
        raise ReadError(f"{path}: does not exist: check --coil-maps")
    csm = np.load(path, allow_pickle=False)
    if csm.ndim == 3:
        csm = csm[None]
    fitting = [(n, data.n_coils, *data.shape) for n in (1, data.n_slices)]
    if csm.dtype.kind != "c" or csm.shape not in fitting:
        raise ReadError(f"{path}: coil maps {csm.shape} of {csm.dtype} do not fit k-space: save complex {fitting[-1]}")
    norm = np.linalg.norm(csm, axis=1, keepdims=True)
    return np.divide(csm, norm, out=np.zeros_like(csm), where=norm > 0).astype(np.complex64)


def measurement(
    samples: Complex64[np.ndarray, "c h w"],
    height: int | None,
    pattern: Bool[np.ndarray, "*h w"],
    csm: Complex64[np.ndarray, "c h w"] | None,
    device: str,
) -> tuple[Complex[Tensor, "1 c n w"], recon.Sense]:
    """K-space of a slice within the mask, and its operator; maps are estimated where none are given."""
    mask = torch.from_numpy(pattern).to(device)
    kspace = torch.from_numpy(samples)[None].to(device) * mask
    if csm is None and mask.ndim == 1 and height is not None:
        kspace = recon.crop_readout(kspace, height)  # the rows that are kept in the end do not need the others
    if csm is not None:
        maps = torch.from_numpy(csm)[None].to(device)
    elif len(samples) == 1:
        maps = torch.ones_like(kspace)
    else:
        maps = recon.espirit(kspace)  # of what is left after undersampling, as in an accelerated scan
    return kspace, recon.Sense(mask, maps)

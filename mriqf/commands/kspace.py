"""Shared code of commands that start from k-space: method, sampling, coils, slices on a device."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Complex64
from torch import Tensor

import recon
import recon.methods
import recon.pipeline
import recon.weights
from mriqf import weights as shipped
from mriqf.cli import UsageError
from mriqf.commands.options import say
from mriqf.io import KSpace, ReadError, Sampling
from recon.coils import calibration_region
from recon.fourier import crop_readout
from recon.methods import LAM, NETWORKS, STACK, Method, Reconstruction
from recon.partial_fourier import missing_side
from recon.pipeline import MOST_COILS, Coils, estimate_coils

CALIBRATION = 0.32  # center fraction times acceleration, as fastMRI has it: 0.08 at 4, 0.04 at 8
BATCH, SAMPLES = {"cpu": 4, "cuda": 16}, 2**25  # slices, and samples of all coils, that are reconstructed at a time
DEFAULT: Method = "modl"
"""The learned reconstruction for all anatomies."""


def check_options(
    method: Method, lam: float | None, mask: str | None, acceleration: float | None, center_fraction: float | None
) -> None:
    """Raise UsageError for options that contradict each other, before any file is read."""
    if lam is not None and method not in LAM:
        raise UsageError(f"--lam is {lam}, but {method} takes none: leave it out, or use {' or '.join(LAM)}")
    if lam is not None and lam < 0:
        raise UsageError(f"--lam is {lam}: give 0 or more")
    if acceleration is None and (mask, center_fraction) != (None, None):
        raise UsageError("--mask and --center-fraction say how to undersample, but not how much: give --acceleration")
    if mask is not None and mask not in recon.masks.FAMILIES:
        raise UsageError(f"--mask is {mask!r}: choose {', '.join(recon.masks.FAMILIES)}")


def choose_weights(method: Method, weights: str | None, option: str = "--modl") -> str | None:
    """Name or path of the network's weights, the method's own if none are given; none without a network."""
    if method == "stacked":
        return weights or STACK[0]
    if method not in NETWORKS:
        if weights is not None:
            raise UsageError(f"{option} is {weights}, but {method} takes none: leave it out, or use --method modl")
        return None
    return weights or method


def find_weights(weights: str) -> Path:
    """File of a reconstruction network's weights, by a shipped name or by path."""
    try:
        return shipped.find(weights)
    except ValueError:
        raise UsageError(
            f"weights {weights!r} not found: shipped for reconstruction are {', '.join(recon.weights.names())}; or "
            "give a .safetensors file"
        ) from None


def choose_method(
    name: Method, lam: float | None, weights: str | None, device: str, option: str = "--modl"
) -> Reconstruction:
    """The reconstruction of this name, with a lam if it takes one, or the network of these weights."""
    if weights is None:
        return recon.methods.choose(name, lam)
    if name == "stacked":
        return recon.methods.stack(choose_method("modl", None, weights, device, option))
    find_weights(weights)
    kind = {"modl": recon.MoDL, "varnet": recon.VarNet}[name]
    try:
        model = shipped.load(weights, device)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not isinstance(model, kind):
        raise UsageError(f"{option} {weights} holds no {kind.__name__}: choose one, such as {name}")
    return recon.fast(model)


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose_pattern(
    data: KSpace,
    sampling: Sampling,
    family: str | None,
    acceleration: float | None,
    center_fraction: float | None,
    seed: int,
) -> Bool[np.ndarray, "*h w"]:
    """Mask to reconstruct with: the measured samples, undersampled if an acceleration is given."""
    padding = data.shape[1] - (sampling.columns.stop - sampling.columns.start)
    if padding and _one_side(sampling.columns, data.shape[1]) is None:
        say(f"{data.source}: {padding} of {data.shape[1]} columns at the edges are zero: padding, not in the mask")
    if acceleration is None:
        if sampling.undersampled:
            say(f"{data.source}: is undersampled: reconstructed as it is")
        return _with_rows(data, sampling)
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


def say_partial_fourier(data: KSpace, pattern: Bool[np.ndarray, "*h w"], method: str) -> None:
    """Print a message if one side of k-space was not measured, with the method that fills it."""
    lines, what = _phase_encoding(pattern)
    side = _one_side(_extent(lines), lines.size)
    if side is None:
        if method != "none":
            say(f"{data.source}: both sides of k-space were measured: nothing for --partial-fourier {method} to fill")
        return
    fate = (
        f"filled by {method}"
        if method != "none"
        else "left to the method; --partial-fourier pocs or homodyne fill them"
    )
    count = side.stop - side.start
    say(f"{data.source}: {count} of {lines.size} {what} on one side were not measured (partial Fourier): {fate}")


def choose_center(acceleration: float, given: float | None) -> float:
    """Fraction of the columns that is always sampled."""
    return min(1.0, CALIBRATION / acceleration) if given is None else given


def effective_acceleration(mask: Bool[np.ndarray, "*h w"], sampling: Sampling) -> float:
    """Undersampling factor within the sampled region: zero padding does not count, a side left out does."""
    columns = _mirrored(sampling.columns, mask.shape[-1])
    inside = mask[columns] if mask.ndim == 1 else mask[_mirrored(sampling.rows, mask.shape[0]), columns]
    return recon.effective_acceleration(torch.from_numpy(np.ascontiguousarray(inside)))


def read_coil_maps(path: Path, data: KSpace) -> Complex64[np.ndarray, "s c h w"]:
    """Read coil maps of each slice, or one set for all, normalised to a root sum of squares of 1."""
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


@dataclass(frozen=True)
class Scan:
    """K-space of a file, prepared for reconstruction: masked, without read-out oversampling, on one device."""

    data: KSpace
    pattern: Bool[np.ndarray, "*h w"]
    csm: Complex64[np.ndarray, "s c h w"] | None = None
    """Coil maps to use; estimated if None."""
    n_coils: int = MOST_COILS
    """Virtual coils that more receivers are compressed to."""
    n_sets: int = 1
    """Sets of estimated maps."""
    device: str = "cpu"

    @cached_property
    def mask(self) -> Bool[Tensor, "*h w"]:
        """The pattern on the device."""
        return torch.from_numpy(self.pattern).to(self.device)

    @cached_property
    def noise(self) -> Complex[Tensor, "c n"] | None:
        """Noise samples of the file, on the device."""
        return None if self.data.noise is None else torch.from_numpy(self.data.noise).to(self.device)

    def kspace(self, indices: Sequence[int]) -> Complex[Tensor, "s c n w"]:
        """K-space of slices."""
        samples = np.stack([self.data.read_slice(index) for index in indices])
        return self._cropped(torch.from_numpy(samples).to(self.device) * self.mask)

    def coils(self, indices: Sequence[int], kspace: Complex[Tensor, "s c n w"]) -> Coils:
        """Coil maps and coil mixing of slices, from their k-space."""
        csm = calibration = None
        if self.csm is not None:
            chosen = self.csm if len(self.csm) == 1 else self.csm[list(indices)]
            csm = torch.from_numpy(chosen).to(self.device)
            if (height := self._height) is not None:  # rows that cropping keeps
                start = (csm.shape[2] - height) // 2
                csm = csm[:, :, start : start + height]
        else:
            calibration = self._calibration(indices, kspace)
        return estimate_coils(
            kspace, csm, calibration=calibration, noise=self.noise, n_coils=self.n_coils, n_sets=self.n_sets
        )

    def _calibration(self, indices: Sequence[int], kspace: Tensor) -> Complex[Tensor, "s c n w"] | None:
        """Separate calibration lines on the grid of k-space; None unless they outnumber its own central lines."""
        read = [self.data.read_calibration(index) for index in indices]
        lines = [part for part in read if part is not None]
        if len(lines) < len(read) or not lines:
            return None
        separate = torch.from_numpy(np.stack(lines)).to(self.device)
        rows = separate.shape[2]
        separate = self._cropped(recon.pipeline.placed(separate, self.data.shape))
        if (height := self._height) is not None and rows < self.data.shape[0]:  # outside, cropping leaves no lines
            keep = max(rows * height // self.data.shape[0], 1)
            top = height // 2 - keep // 2
            separate[:, :, :top] = separate[:, :, top + keep :] = 0
        more = min(calibration_region(separate)) > min(calibration_region(kspace))
        return separate if more else None

    @property
    def _height(self) -> int | None:
        """Rows of the image that cropping keeps, where rows are independent of each other."""
        shape = self.data.image_shape
        return None if shape is None or self.pattern.ndim == 2 else shape[0]

    def _cropped(self, kspace: Tensor) -> Tensor:
        return kspace if self._height is None else crop_readout(kspace, self._height)


def batches(data: KSpace, indices: Sequence[int], device: str) -> list[list[int]]:
    """Batches of neighbouring slices; where slices share a position, a batch has slices of one position only."""
    size = max(1, min(BATCH[device], SAMPLES // (data.n_coils * data.shape[0] * data.shape[1])))
    groups: dict[int, list[int]] = {}
    for index in indices:
        groups.setdefault(data.position(index), []).append(index)
    if len(groups) == len(indices):
        return [list(indices[start : start + size]) for start in range(0, len(indices), size)]
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]


def _phase_encoding(pattern: Bool[np.ndarray, "*h w"]) -> tuple[Any, str]:
    """Sampled phase-encoding lines, and their name: rows where these are sampled whole, else columns."""
    if pattern.ndim == 2 and (pattern == pattern[:, :1]).all():
        return pattern[:, 0], "rows"
    return np.atleast_2d(pattern).any(axis=0), "columns"


def _with_rows(data: KSpace, sampling: Sampling) -> Bool[np.ndarray, "*h w"]:
    """Mask of a file, False in rows that were not measured on one side."""
    mask, rows = sampling.mask, sampling.rows
    if mask.ndim == 1 and mask.all() and _one_side(rows, data.shape[0]) is not None:
        mask = np.zeros(data.shape, bool)
        mask[rows] = True
    return mask


def _extent(lines: Bool[np.ndarray, " n"]) -> slice:
    first, last = missing_side(torch.from_numpy(lines)[None])
    return slice(first, last + 1)


def _one_side(extent: slice, n: int) -> slice | None:
    """Lines that are missing on one side of k-space; None if both sides extend equally far, or nearly."""
    lines = np.zeros(n, bool)
    lines[extent] = True
    sampled = _extent(lines)
    if (sampled.start, sampled.stop) == (0, n):
        return None
    whole = _mirrored(sampled, n)
    return slice(whole.start, sampled.start) if sampled.start > whole.start else slice(sampled.stop, whole.stop)


def _mirrored(extent: slice, n: int) -> slice:
    """Lines up to the same distance on both sides of the centre."""
    lines = np.zeros(n, bool)
    lines[extent] = True
    sampled = _extent(lines)
    if (sampled.start, sampled.stop) == (0, n):
        return extent
    halfwidth = max(n // 2 - sampled.start, sampled.stop - 1 - n // 2)
    if halfwidth >= (n - 1) // 2:  # the first of an even number of lines has no mirror image
        return slice(0, n)
    return slice(n // 2 - halfwidth, n // 2 + halfwidth + 1)

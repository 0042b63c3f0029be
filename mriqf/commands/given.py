"""Images reconstructed elsewhere, checked against their k-space."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Complex
from torch import Tensor

import recon
from mriqf.commands.options import say
from mriqf.io import KSpace, ReadError, Volume, read
from recon.evidence import outermost_noise
from recon.given import anchored, disagreement, find_place, fit_scale, with_phase
from recon.methods import Method, Reconstruction

STAND_IN: Method = "cg-sense"
"""Method whose held-out reconstructions stand in for those of an image that cannot be reconstructed again."""
INTERVAL_FACTOR = 1.2
"""Factor that widens the interval of such an image: with it, 30 of 32 simulated validation images lie inside."""
FACTOR, LEAST = 2.0, 0.05
"""An image is said to disagree with its data if it misses them by as many times what noise and maps explain, and by as
much of them."""


class Fitted(NamedTuple):
    """An image scaled and aligned to its k-space, and the method that stands in for its reconstruction."""

    image: Complex[Tensor, "1 1 h w"]
    method: Reconstruction
    inconsistency: float
    """Relative error in the measured samples, 0–1."""
    note: str
    """Warning that the image disagrees with its data; empty if it does not."""


@dataclass(frozen=True)
class GivenImages:
    """Images of slices of one file of k-space."""

    volume: Volume
    indices: range
    """Slices of the k-space that are checked."""
    n_slices: int
    """Number of slices of the k-space."""

    def fit(
        self, index: int, data: KSpace, kspace: Tensor, sense: recon.Sense, turned: bool, stand_in: Reconstruction
    ) -> Fitted:
        """Scale and align the image of one slice to its k-space.

        Raises
        ------
        ValueError
            If it is of another size, or lies mirrored, turned or displaced.
        """
        number = index if self.volume.n_slices == self.n_slices else self.indices.index(index)
        values = self.volume.read_complex(number)
        given = torch.from_numpy(self.volume.read_slice(number)[0] if values is None else values).to(kspace.device)
        substitute = stand_in(kspace, sense)
        other = _turned(substitute, turned)
        inner = data.crop(other)
        if given.shape not in (inner.shape[2:], other.shape[2:], inner.shape[:1:-1]):
            raise ReadError(
                f"{self.volume.source}: is {given.shape[0]} × {given.shape[1]}, its k-space gives "
                f"{inner.shape[2]} × {inner.shape[3]}: export it at that size, without interpolation"
            )
        part = other if given.shape == other.shape[2:] else inner
        if cure := find_place(given.abs(), part[0, 0].abs()).cure:
            raise ReadError(
                f"{self.volume.source}: slice {number} does not lie as its k-space does: save {cure} in its place"
            )
        image = with_phase(given.abs()[None, None], part) if values is None else given[None, None]
        if part is inner and inner.shape != other.shape:  # what was cut off is the stand-in's
            image = (image.conj() * inner).sum() / image.abs().square().sum().clamp_min(1e-30) * image
            whole = other.clone()
            data.crop(whole).copy_(image)
            whole = _turned(whole, turned)
        else:
            whole = fit_scale(_turned(image, turned), kspace, sense)
        inconsistency = disagreement(whole, kspace, sense).item()
        noise = _noise(kspace, sense)
        explained = math.hypot(noise, disagreement(substitute, kspace, sense).item())
        note = ""
        if inconsistency > max(LEAST, FACTOR * explained):
            note = (
                f"disagrees with its own data: it misses {100 * inconsistency:.1f} % of the measured samples, of which "
                f"noise and coil maps explain {100 * explained:.1f} %"
            )
        return Fitted(whole, anchored(whole, kspace, sense, stand_in, substitute), inconsistency, note)


def open_given(path: str, data: KSpace, indices: range, stand_in: str) -> GivenImages:
    """Open a file of images that belong to slices of k-space.

    Raises
    ------
    ReadError
        If it holds no images, or not as many as there are slices.
    """
    volume = read(path)
    if volume.channels != 1:
        raise ReadError(f"{path}: holds colours: save magnitudes or complex values")
    if volume.n_slices not in (data.n_slices, len(indices)):
        raise ReadError(
            f"{path}: holds {volume.n_slices} images, the k-space {data.n_slices} slices: give as many, or choose "
            "slices by --slices"
        )
    if volume.read_complex(0) is None:
        say(f"{path}: holds magnitudes: their phase is that of {stand_in}")
    return GivenImages(volume, indices, data.n_slices)


def _noise(kspace: Tensor, sense: recon.Sense) -> float:
    """Noise norm relative to the norm of the measured samples, 0–1."""
    measured = sense.mask * kspace
    n = sense.mask.expand(1, 1, *kspace.shape[2:]).sum().item() * kspace.shape[1]
    size = measured.abs().double().square().sum().item()
    return outermost_noise(measured, sense.mask).item() * math.sqrt(2 * n / size) if size else 0.0


def _turned(image: Tensor, turned: bool) -> Tensor:
    return image.transpose(-2, -1) if turned else image

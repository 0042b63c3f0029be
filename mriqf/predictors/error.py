"""The error predictor: reads the local error of a reconstruction from its magnitude image."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.predictors.layers import Trunk, block_kernels, block_spectra, copies, filter_energy, unit
from mriqf.predictors.reading import ErrorReader, Reading, rms_error

LEAST, MOST = 0.002, 1.25
"""Errors that can be predicted: below, no image is known that well; above, nothing is left of it."""


@dataclass(frozen=True)
class ErrorConfig:
    """Size of the network."""

    widths: tuple[int, int, int] = (32, 64, 128)
    """Channels at half and quarter of the resolution, and from an eighth on."""
    spectra: int = 96
    """Channels that the local spectra are reduced to."""
    depths: tuple[int, int] = (2, 2)
    """Residual blocks at a 16th and at a 32nd of the resolution."""
    channels: int = 1
    """Channels of the image: magnitude."""


class ErrorPredictor(ErrorReader):
    """Magnitude images in [0, 1] to a map of their local error, or of its score, 0–100, higher is better."""

    def __init__(self, config: ErrorConfig = ErrorConfig()):
        super().__init__()
        self.config = config
        self.name = "error"
        # Full resolution holds most of the work and little of the knowledge: the stem sees it, and leaves it.
        self.stem = nn.Conv2d(config.channels, config.widths[0], 6, stride=2, padding=2)
        kernels = block_kernels()
        self.register_buffer("dct", kernels, persistent=False)
        self.trunk = _Trunk(config, 2 * len(kernels) * config.channels)
        self.head = nn.Conv2d(64, 1, 1)
        nn.init.zeros_(self.head.weight)
        # Start from about the error that training images have on average.
        start = (-1.2 - math.log10(LEAST)) / math.log10(MOST / LEAST)
        self.head.bias = nn.Parameter(torch.tensor([math.log(start / (1 - start))]))
        self.register_load_state_dict_pre_hook(_without_ladder)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.head.weight.device

    def features(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k i j"]:
        """Penultimate features, in full precision; also used for out-of-distribution detection."""
        h, w = images.shape[2:]
        images = functional.pad(images, (0, -w % 32, 0, -h % 32), mode="replicate")
        half = self.trunk.dtype
        # The first layers keep full precision: little noise on a bright ground is less than half precision has.
        with torch.autocast(images.device.type, enabled=False):
            seen = self.stem(images.float())
            energy = filter_energy(seen)
            spectra = block_spectra(images.float(), self.dct, self.config.channels)
            moved = copies(images.float())
        features = self.trunk(seen.to(half), energy.to(half), spectra.to(half), moved.to(half))
        return features.to(self.head.weight.dtype)[..., : -(-h // 8), : -(-w // 8)]

    def log_error(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Logarithm (base 10) of the root mean square error of each cell, relative to that of the whole object."""
        return self._log_error(self.features(images))

    def _log_error(self, features: Float[Tensor, "b k i j"]) -> Float[Tensor, "b 1 i j"]:
        # Bounded: a straight line through the logarithm would tell noise of a kind never seen as an error of thousands.
        return math.log10(LEAST) + math.log10(MOST / LEAST) * self.head(features).float().sigmoid()

    def read(self, images: Float[Tensor, "b ch h w"], weight: Float[Tensor, "b 1 i j"]) -> Reading:
        """Errors of images in [0, 1], of cells and of whole objects.

        Parameters
        ----------
        images
            Sides are whole multiples of `stride`.
        weight
            Share of each cell that is foreground, 0–1.
        """
        features = self.features(images)
        cells = self._log_error(features)
        return Reading(cells, rms_error(cells, weight), features.float())


def _without_ladder(module: nn.Module, tensors: dict[str, Tensor], prefix: str, *others: Any) -> None:  # noqa: ARG001
    """Leave out what weights whose unit was JPEG quality have beside: the errors of its steps."""
    tensors.pop(f"{prefix}ladder_error", None)


class _Trunk(Trunk):
    """Brings features of cells together with those of their surroundings and the whole image."""

    def __init__(self, config: ErrorConfig, n_spectra: int):
        super().__init__(config, n_spectra)
        self.judge = nn.Sequential(*unit(config.widths[2], 64, kernel=1))

    def forward(
        self,
        seen: Float[Tensor, "b k h w"],
        energy: Float[Tensor, "b e i j"],
        spectra: Float[Tensor, "b s i j"],
        copies: Float[Tensor, "b c i j"],
    ) -> Float[Tensor, "b 64 i j"]:
        """Features of cells, from those of the stem, energies of its filters and of block spectra, and copies."""
        known, eighth, sixteenth, coarse = self.encode(seen, energy, spectra, copies)
        # Noise, ghosts and aliasing show in the background; what they do to the object is known from there.
        axes = (2, 3)
        sd, mean = torch.std_mean(coarse.float(), axes, correction=0)
        whole = torch.cat((mean, coarse.float().amax(axes), sd, known.float().mean(axes)), 1)
        coarse = coarse + self.whole(whole.to(coarse.dtype))[..., None, None]
        return self.judge(self.decode(eighth, sixteenth, coarse))

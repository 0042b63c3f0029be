"""The NRMSE predictor: reads the error of a reconstruction from its magnitude image, of cells and of the whole object.

Two errors are told: against what the scanner would have shown with all samples, and against the object without noise.
Both are root mean squares relative to that of the object, after the best scaling.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mriqf.predictors.error import LEAST, MOST, ErrorConfig
from mriqf.predictors.layers import Trunk, block_kernels, block_spectra, copies, filter_energy, unit
from mriqf.predictors.levels import Levels
from mriqf.predictors.reading import ErrorReader, Reading, rms_error
from mriqf.predictors.statistics import N_STATISTICS, statistics

CELL = 8
"""Pixels of a side of a cell."""


@dataclass(frozen=True)
class NRMSEConfig(ErrorConfig):
    """Size of the network."""

    drop: float = 0.3
    """Share of training images whose statistics of the whole are withheld, so that cells are judged by themselves."""


class Prediction(NamedTuple):
    """Errors as their logarithms, base 10."""

    cells: Float[Tensor, "b 2 i j"]
    """Errors of cells, before `levels`: against the image of all samples, and against the object without noise."""
    below: Float[Tensor, " b"]
    """Distance from the object's error to the lower end of its 90 % interval."""
    above: Float[Tensor, " b"]
    """Distance to the upper end."""
    features: Float[Tensor, "b k i j"]
    """Penultimate features of cells."""


class NRMSEPredictor(ErrorReader):
    """Magnitude images in [0, 1], raw zero at 0, to the errors of cells and the width of an interval."""

    reads_transpose = True

    def __init__(self, config: NRMSEConfig = NRMSEConfig()):
        super().__init__()
        self.config = config
        self.name = "nrmse"
        # Full resolution holds most of the work and little of the knowledge: the stem sees it, and leaves it.
        self.stem = nn.Conv2d(config.channels, config.widths[0], 6, stride=2, padding=2)
        kernels = block_kernels()
        self.register_buffer("dct", kernels, persistent=False)
        self.statistics = nn.BatchNorm1d(N_STATISTICS)
        self.trunk = _Trunk(config, 2 * len(kernels))
        self.cells = nn.Conv2d(64, 2, 1)
        nn.init.zeros_(self.cells.weight)
        # Start from about the error that training images have on average.
        start = (-1.2 - math.log10(LEAST)) / math.log10(MOST / LEAST)
        self.cells.bias = nn.Parameter(torch.full((2,), math.log(start / (1 - start))))
        self.attention = nn.Conv2d(64, 1, 1)
        self.whole = nn.Sequential(nn.Linear(2 * 64 + N_STATISTICS, 64), nn.ReLU(), nn.Linear(64, 4))
        for parameter in self.whole[2].parameters():
            nn.init.zeros_(parameter)
        self.levels = Levels()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.cells.weight.device

    def predict(self, images: Float[Tensor, "b 1 h w"], sizes: Int[Tensor, "b 2"] | None = None) -> Prediction:
        """Errors of images as the network was trained to tell them.

        Parameters
        ----------
        images
            Magnitude in [0, 1], raw zero at 0.
        sizes
            Rows and columns of each image, if a batch holds images of several sizes, continued to one size to the right
            and below; cells beyond an image mean nothing.
        """
        b, _, h, w = images.shape
        rows, columns = -(-h // CELL), -(-w // CELL)
        images = functional.pad(images, (0, -w % 32, 0, -h % 32), mode="replicate")
        grid = images.shape[2] // CELL, images.shape[3] // CELL
        cells = [(rows, columns)] if sizes is None else (-(-sizes // CELL)).tolist()
        parts = (images,) if sizes is None else images.split(1)
        whole = [x[:, :, : CELL * i, : CELL * j].float() for x, (i, j) in zip(parts, cells, strict=True)]
        half = self.trunk.dtype
        # The first layers keep full precision: little noise on a bright ground is less than half precision has.
        with torch.autocast(images.device.type, enabled=False):
            seen = self.stem(images.float())
            energy = filter_energy(seen)
            spectra = block_spectra(images.float(), self.dct, self.config.channels)
            moved = torch.cat([_padded(copies(x), grid) for x in whole])
            known = self.statistics(torch.cat([statistics(x) for x in whole]))
            inside = torch.cat([_padded(torch.ones_like(x[:, :, ::CELL, ::CELL]), grid) for x in whole])
        if self.training:
            kept = (torch.rand(b, 2, device=images.device) >= self.config.drop).to(known.dtype)
        else:
            kept = known.new_ones(b, 2)
        trunk = self.trunk(
            seen.to(half), energy.to(half), spectra.to(half), moved.to(half), known.to(half), inside, kept[:, 0]
        )
        features = trunk.float()
        with torch.autocast(images.device.type, enabled=False):
            weight = self.attention(features).sigmoid() * inside + 1e-6
            mean, sd = _moments(features, weight)
            shift, below, above = self.whole(torch.cat((mean, sd, known * kept[:, 1:]), 1)).split((2, 1, 1), 1)
            # Bounded: a straight line through the logarithm would tell noise of a kind never seen as errors of
            # thousands.
            local = math.log10(LEAST) + math.log10(MOST / LEAST) * self.cells(features).sigmoid()
            cells = (local + 0.5 * torch.tanh(shift)[..., None, None]).clamp(-3, 0.2)
            widths = 0.2 * functional.softplus(torch.cat((below, above), 1))
        return Prediction(cells[..., :rows, :columns], widths[:, 0], widths[:, 1], features[..., :rows, :columns])

    def symmetric(self, images: Float[Tensor, "b 1 h w"]) -> Prediction:
        """Mean of the predictions for images and for their anti-transposes, whose sides are multiples of `CELL`.

        Mirrors and turns move this mean a third as much as a single prediction, nearly as little as that of all eight
        orientations.
        """
        seen, turned = self.predict(images), self.predict(_antitransposed(images).contiguous())
        cells, features = (
            0.5 * (a + _antitransposed(b)) for a, b in ((seen.cells, turned.cells), (seen.features, turned.features))
        )
        return Prediction(cells, 0.5 * (seen.below + turned.below), 0.5 * (seen.above + turned.above), features)

    def log_error(self, images: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 i j"]:
        """Logarithm (base 10) of the root mean square error of each cell against the image of all samples."""
        return self.levels(self.symmetric(images).cells[:, :1])

    def read(self, images: Float[Tensor, "b 1 h w"], weight: Float[Tensor, "b 1 i j"]) -> Reading:
        """Errors of images in [0, 1], of cells and of whole objects.

        Parameters
        ----------
        images
            Sides are whole multiples of `stride`.
        weight
            Share of each cell that is foreground, 0–1.
        """
        predicted = self.symmetric(images)
        cells = self.levels(predicted.cells[:, :1])
        whole = rms_error(cells, weight)
        total = torch.maximum(rms_error(predicted.cells[:, 1:], weight), whole)
        width = self.levels.width(whole, predicted.below, predicted.above)
        return Reading(cells, whole, predicted.features, total, width)


class _Trunk(Trunk):
    """Brings features of cells together with those of their surroundings and the whole image."""

    def __init__(self, config: NRMSEConfig, n_spectra: int):
        super().__init__(config, n_spectra, n_residuals=1, n_statistics=N_STATISTICS)
        self.judge = nn.Sequential(*unit(config.widths[2] + self.known, 128, kernel=1), *unit(128, 64, kernel=1))

    def forward(
        self,
        seen: Float[Tensor, "b k h w"],
        energy: Float[Tensor, "b e i j"],
        spectra: Float[Tensor, "b s i j"],
        copies: Float[Tensor, "b c i j"],
        statistics: Float[Tensor, "b n"],
        inside: Float[Tensor, "b 1 i j"],
        kept: Float[Tensor, " b"],
    ) -> Float[Tensor, "b 64 i j"]:
        """Features of cells, from those of the stem, energies of its filters and of block spectra, and copies."""
        known, eighth, sixteenth, coarse = self.encode(seen, energy, spectra, copies)
        # Noise, ghosts and aliasing show in the background; what they do to the object is known from there.
        part = functional.avg_pool2d(inside, 4)
        mean, sd = _moments(coarse.float(), part)
        most = torch.where(part > 0.5, coarse.float(), -1e4).amax((2, 3))
        whole = torch.cat((mean, sd, most, _moments(known.float(), inside)[0], statistics), 1)
        context = self.whole(whole.to(coarse.dtype)) * kept[:, None].to(coarse.dtype)
        coarse = coarse + context[..., None, None]
        return self.judge(torch.cat((self.decode(eighth, sixteenth, coarse), known), 1))


def _antitransposed(x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b c j i"]:
    """Images mirrored at their other diagonal, which is its own inverse."""
    return x.flip((2, 3)).transpose(2, 3)


def _padded(x: Float[Tensor, "b c i j"], grid: tuple[int, int]) -> Float[Tensor, "b c m n"]:
    """Cells of an image as those of a larger grid, zero beyond."""
    return functional.pad(x, (0, grid[1] - x.shape[3], 0, grid[0] - x.shape[2]))


def _moments(
    x: Float[Tensor, "b c i j"], weight: Float[Tensor, "b 1 i j"]
) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Weighted mean and standard deviation over cells."""
    share = weight / weight.sum((2, 3), keepdim=True)
    mean = (x * share).sum((2, 3))
    variance = ((x - mean[..., None, None]).square() * share).sum((2, 3))
    return mean, (variance + 1e-8).sqrt()

"""The error predictor: reads the local error of a reconstruction from its magnitude image, and says it as a quality.

A cell's value is the JPEG quality factor whose error is as large: one unit for every predictor, and one with a meaning.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.predictor import BlockHistogram

LADDER = (99, 98, 95, 92, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10, 7, 5, 3, 1)
"""JPEG qualities whose errors are measured, to say errors as qualities."""


@dataclass(frozen=True)
class ErrorConfig:
    """Which network."""

    widths: tuple[int, ...] = (32, 96, 128)
    """Channels at half, quarter and eighth of the resolution."""
    dilations: tuple[int, ...] = (1, 3, 8)
    """Of the 3×3 convolutions at an eighth of the resolution: aliasing and motion show only over a distance."""
    channels: int = 1
    """Of the image: magnitude."""


class ErrorPredictor(nn.Module):
    """Magnitude images in [0, 1] to a map of their local error, or of their quality, 0–100, higher is better.

    `stride` is the distance of two cells of the map, `receptive_field` the side of the smallest image, in pixels.
    """

    higher_is_better = True
    reads_grid = False
    """Whether an earlier JPEG's own grey levels and grid help it: it was trained on images that kept neither."""
    score_range = (0, 100)
    stride = 8
    receptive_field = 64
    halves = ("body", "count", "judge")
    """Layers that inference may run in half precision."""
    floor = 1e-6  # of energies of filters: a thousandth of the range is no error that counts

    ladder_error: Tensor
    ladder_quality: Tensor

    def __init__(self, config: ErrorConfig = ErrorConfig()):
        super().__init__()
        self.config = config
        self.name = "error"
        half, quarter, eighth = config.widths
        # Full resolution holds most of the work and little of the knowledge: the stem sees it, and leaves it.
        self.stem = nn.Conv2d(config.channels, half, 6, stride=2, padding=2)
        self.body = nn.Sequential(
            nn.BatchNorm2d(half), nn.ReLU(),
            *_unit(half, half), *_unit(half, quarter, stride=2), *_unit(quarter, quarter, stride=2),
        )  # fmt: skip
        # Noise, blur and missing detail are energies of filters, and errors are told apart by their logarithm.
        self.energy = nn.BatchNorm2d(half)
        # What quantisation, noise and blur do to a spectrum shows in how its coefficients are distributed.
        self.spectra = BlockHistogram(config.channels)
        self.count = nn.Sequential(
            nn.BatchNorm2d(self.spectra.features), nn.Conv2d(self.spectra.features, quarter, 1, bias=False),
            nn.BatchNorm2d(quarter), nn.ReLU(),
        )  # fmt: skip
        self.judge = nn.Sequential(
            *_unit(half + 2 * quarter, eighth, kernel=1),
            *(layer for d in config.dilations for layer in _unit(eighth, eighth, dilation=d)),
            *_unit(eighth, 64, kernel=1),
        )
        self.head = nn.Conv2d(64, 1, 1)
        nn.init.zeros_(self.head.weight)
        # Start from about the error that training images have on average.
        self.head.bias = nn.Parameter(torch.tensor([-1.2]))
        # Until training measures the errors, a straight ladder over the range that JPEG has.
        self.register_buffer("ladder_error", torch.linspace(-2.5, -0.5, len(LADDER)))
        self.register_buffer("ladder_quality", torch.tensor(LADDER, dtype=torch.float32), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    def log_error(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Logarithm (base 10) of the root mean square error of each cell, relative to that of the whole object."""
        h, w = images.shape[2:]
        images = functional.pad(images, (0, -w % 16, 0, -h % 16), mode="replicate")
        half = next(self.body.parameters()).dtype
        # What comes first keeps full precision: little noise on a bright ground is less than half precision has.
        with torch.autocast(images.device.type, enabled=False):
            features = self.stem(images.float())
            energy = self.energy((functional.avg_pool2d(features.square(), 4) + self.floor).log())
            counts = self.spectra(images.float())
        counts = functional.interpolate(self.count(counts.to(half)), scale_factor=2.0)
        judged = self.judge(torch.cat((self.body(features.to(half)), energy.to(half), counts), 1))
        return self.head(judged.to(self.head.weight.dtype))[..., : -(-h // 8), : -(-w // 8)]

    def quality(self, log_error: Float[Tensor, "*cells"]) -> Float[Tensor, "*cells"]:
        """JPEG quality whose error is as large; falls strictly, and stays above 0 where no JPEG is as bad."""
        error, quality = self.ladder_error, self.ladder_quality
        index = torch.searchsorted(error, log_error.detach().contiguous()).clamp(1, len(error) - 1)
        share = (log_error - error[index - 1]) / (error[index] - error[index - 1])
        inside = torch.lerp(quality[index - 1], quality[index], share)
        worse = quality[-1] * 10 ** (error[-1] - log_error)
        better = 100 - (100 - quality[0]) * 10 ** (log_error - error[0])
        return torch.where(log_error > error[-1], worse, torch.where(log_error < error[0], better, inside))

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Quality map, 0–100, one value for each `stride`×`stride` pixels."""
        return self.quality(self.log_error(images).float())


def _unit(n_in: int, n_out: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(
        n_in, n_out, kernel, stride=stride, padding=dilation * (kernel // 2), dilation=dilation, bias=False
    )
    return [conv, nn.BatchNorm2d(n_out), nn.ReLU()]

"""The QF Predictor: a small fully convolutional network that reads a JPEG quality factor from every part of an image.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023
(also doi:10.48550/arXiv.2405.02208).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.jpeg import dct_basis
from mriqf.predictors.unit import JPEG_UNIT

CLASS_QUALITIES = (0, 20, 40, 60, 80)

Arch = Literal["histogram", "cui", "cui-fov11", "cui-fov13", "cui-fov16", "cui-fov24"]


@dataclass(frozen=True)
class ReportLayers:
    """The report's seven layers, up to what its text leaves open."""

    layers: tuple[tuple[int, int], ...]
    """Channels and kernel of all convolutions but the last."""
    pools: tuple[int, int]
    """Behind which of them a 2×2 max-pool stands."""
    step: int = 2
    """Stride of the pools."""

    def geometry(self) -> tuple[int, int]:
        """Receptive field and stride, in pixels."""
        field = stride = 1
        for number, (_, kernel) in enumerate(self.layers, start=1):
            field += (kernel - 1) * stride
            if number in self.pools:
                field, stride = field + stride, stride * self.step
        return field, stride


# The report's text gives no channel widths: these are ours, for 10 to 11 thousand multiplications a pixel each.
REPORT = {
    "cui": ReportLayers(((32, 3), (32, 3), (64, 3), (64, 3), (128, 3), (64, 1)), pools=(1, 2)),
    "cui-fov11": ReportLayers(((21, 3), (21, 3), (21, 3), (21, 2), (64, 1), (64, 1)), pools=(4, 5)),
    "cui-fov13": ReportLayers(((16, 3), (16, 3), (16, 3), (16, 3), (16, 3), (64, 1)), pools=(1, 2), step=1),
    "cui-fov16": ReportLayers(((16, 3), (16, 3), (16, 3), (16, 3), (96, 3), (64, 1)), pools=(4, 5)),
    "cui-fov24": ReportLayers(((20, 3), (20, 3), (40, 3), (40, 3), (80, 3), (64, 1)), pools=(2, 4)),
}


@dataclass(frozen=True)
class QFConfig:
    """Architecture of the predictor."""

    arch: Arch = "histogram"
    """`histogram`: block spectra, counted over 8×8 blocks, then judged by three 1×1 convolutions. `cui`: the report's
    network, five 3×3 and two 1×1 convolutions, two 2×2 max-pools, with a field of view of 34 pixels. `cui-fov11`,
    `cui-fov13`, `cui-fov16`, `cui-fov24`: the same layers with a field of view of 11, 13, 16 or 24, by smaller kernels,
    pools without stride, or later pools."""
    channels: int = 1
    """1 grey, 3 RGB."""
    head: Literal["regression", "classes"] = "regression"
    """`regression` gives quality / 100; `classes` the probabilities of 0, 20, 40, 60, 80, whose mean is the quality."""
    width: int = 320
    """Channels of the histogram network's first judging layer."""


class QFPredictor(nn.Module):
    """Images in [0, 1] to a quality map, 0–100, higher is better.

    `stride` is the distance of two cells of the map, `receptive_field` the side of the square that one cell depends
    on, both in pixels; sides of the images are whole multiples of `stride`.
    """

    higher_is_better = True
    halves = ("body",)
    """Layers that inference may run in half precision."""
    reads_grid = True
    """Scoring looks for an earlier JPEG's own grey levels and grid, and gives them to this network."""
    score_range = (0, 100)
    unit = JPEG_UNIT
    """Unit of the score: see `mriqf.predictors.unit`."""
    default_pool = "foreground"
    """Pool that turns a map into one number, unless another is chosen."""
    zero_based = False
    """Images are scaled with raw zero at 0."""

    def __init__(self, config: QFConfig = QFConfig()):
        super().__init__()
        if config.channels not in (1, 3):
            raise ValueError(f"channels is {config.channels}: a predictor takes 1 (grey) or 3 (RGB)")
        self.config = config
        self.name = config.arch
        if config.arch in REPORT:
            report = REPORT[config.arch]
            self.stem, self.body = _report_layers(config.channels, report)
            self.receptive_field, self.stride = report.geometry()
            features = report.layers[-1][0]
        elif config.arch == "histogram":
            self.stem = BlockHistogram(config.channels)
            self.body = nn.Sequential(
                nn.BatchNorm2d(self.stem.features),
                *_unit(self.stem.features, config.width, 1),
                *_unit(config.width, 128, 1),
            )
            self.receptive_field, self.stride, features = 64, 16, 128
        else:
            raise ValueError(f"arch is {config.arch!r}: choose one of {', '.join(get_args(Arch))}")
        self.head = nn.Conv2d(features, 1 if config.head == "regression" else len(CLASS_QUALITIES), 1)
        # Start in the middle of what will be seen, not on the flank of a sigmoid.
        nn.init.zeros_(self.head.weight)
        self.head.bias = nn.Parameter(torch.full_like(self.head.weight[:, 0, 0, 0], float(config.head == "regression")))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.head.weight.device

    @property
    def halo(self) -> int:
        """Pixels, to each side, that a cell depends on, at most."""
        return self.receptive_field

    def logits(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k i j"]:
        """Output of the head: one channel before its sigmoid (regression), or five before their softmax (classes)."""
        # The stem keeps full precision: half a grey level decides between two high qualities.
        with torch.autocast(images.device.type, enabled=False):
            features = self.stem(images.float())
        body = self.body(features.to(next(self.body.parameters()).dtype))
        return self.head(body.to(self.head.weight.dtype))

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Quality map, 0–100, one value for each `stride`×`stride` pixels."""
        logits = self.logits(images).float()
        if self.config.head == "regression":
            return 100 * torch.sigmoid(logits)
        qualities = torch.tensor(CLASS_QUALITIES, dtype=logits.dtype, device=logits.device)
        return torch.einsum("bkij, k -> bij", logits.softmax(1), qualities)[:, None]


class BlockHistogram(nn.Module):
    """Histograms of DCT magnitudes, frequency by frequency, over windows of 8×8 blocks (64 pixels), every 16 pixels.

    A quantised spectrum leaves gaps in its histogram, blur empties its tail, noise fills it. Counting before judging
    is what makes one cell certain: a single block, often flat, says little. Nothing here is learned; all of it passes
    gradients.

    RGB is seen as luma and, at half the resolution as JPEG codes it, chroma.
    """

    n_bins = 40
    unit = 0.5  # grey levels: below it lies what rounding leaves of a zero
    per_octave = 3.75  # bins; the last one begins at 680, about what quality 5 makes of a strong edge

    dct: Tensor
    ycc: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.features = 63 * self.n_bins * (1 if channels == 1 else 2)
        basis = dct_basis()
        kernels = torch.einsum("ux, vy -> xyuv", basis, basis).reshape(64, 64)[:, 1:]  # the mean says nothing
        self.register_buffer("dct", (255 * kernels).float(), persistent=False)
        ycc = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
        self.register_buffer("ycc", ycc[..., None, None], persistent=False)

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b f i j"]:
        """Square roots of the histograms; a cell's window has fewer blocks at the border."""
        if self.channels == 1:
            return self.histogram(images[:, 0], halve=True)
        planes = functional.conv2d(images, self.ycc)
        luma, chroma = planes[:, 0], functional.avg_pool2d(planes[:, 1:], 2)
        both = (self.histogram(chroma[:, 0], halve=False) + self.histogram(chroma[:, 1], halve=False)) / 2
        return torch.cat((self.histogram(luma, halve=True), both), 1)

    def histogram(self, plane: Float[Tensor, "b h w"], halve: bool) -> Float[Tensor, "b f i j"]:
        """Histograms over 8×8 blocks at every second block (`halve`), or over 3×3 blocks at every block."""
        rows, columns = plane.shape[1] // 8, plane.shape[2] // 8
        blocks = plane.reshape(-1, rows, 8, columns, 8).transpose(2, 3).reshape(-1, rows, columns, 64)
        position = (self.per_octave * torch.log2(1 + (blocks @ self.dct).abs() / self.unit)).clamp(
            max=self.n_bins - 1.0
        )
        group = 2 if halve else 1
        counts = self._count(position, group)
        number = self._count(torch.zeros_like(position[:1, ..., :1]), group)[:, :1]
        return torch.sqrt(_window_sum(counts, group) / _window_sum(number, group) + 1e-3)

    def _count(self, position: Float[Tensor, "b r c k"], group: int) -> Float[Tensor, "b f i j"]:
        """Histograms of groups of blocks, each value shared between two bins: a count that has a gradient."""
        b, rows, columns, n = position.shape
        device = position.device
        # Groups of two start one block early, so that windows of four groups lie around a cell's own two blocks.
        row, column = ((torch.arange(m, device=device) + group - 1) // group for m in (rows, columns))
        height, width = rows // group + group - 1, columns // group + group - 1
        cell = (torch.arange(b, device=device)[:, None, None] * height + row[:, None]) * width + column
        lower = position.detach().floor()
        index = ((cell[..., None] * n + torch.arange(n, device=device)) * self.n_bins + lower.long()).flatten()
        upper_share = (position - lower).flatten()
        counts = torch.zeros(b * height * width * n * self.n_bins + 1, dtype=position.dtype, device=device)
        counts.scatter_add_(0, index, 1 - upper_share).scatter_add_(0, index + 1, upper_share)
        return counts[:-1].view(b, height, width, n * self.n_bins).permute(0, 3, 1, 2)


def _window_sum(counts: Tensor, group: int) -> Tensor:
    """Sum over four groups of two blocks, or over three single blocks, in each direction."""
    return functional.avg_pool2d(counts, 4 if group == 2 else 3, 1, 1, divisor_override=1)


def _report_layers(channels: int, report: ReportLayers) -> tuple[nn.Module, nn.Sequential]:
    """First convolution, and the rest: batch norm and ReLU behind every one, max-pools where they stand."""
    (width, kernel), *rest = report.layers
    stem = nn.Sequential(_Centre(), nn.Conv2d(channels, width, kernel, padding=kernel // 2))
    body: list[nn.Module] = [nn.BatchNorm2d(width), nn.ReLU()]
    for number, (n_out, kernel) in enumerate(rest, start=1):
        if number in report.pools:
            # Behind a ReLU, zeros never are the maximum.
            body += [*([] if report.step == 2 else _pad(2)), nn.MaxPool2d(2, report.step)]
        body += _unit(width, n_out, kernel)
        width = n_out
    return stem, nn.Sequential(*body)


def _unit(n_in: int, n_out: int, kernel: int) -> list[nn.Module]:
    conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2 if kernel % 2 else 0, bias=False)
    return [*_pad(kernel), conv, nn.BatchNorm2d(n_out), nn.ReLU()]


def _pad(kernel: int) -> list[nn.Module]:
    """An even kernel keeps the size only with one more row and column behind than in front."""
    return [] if kernel % 2 else [nn.ZeroPad2d((kernel // 2 - 1, kernel // 2, kernel // 2 - 1, kernel // 2))]


class _Centre(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * images - 1

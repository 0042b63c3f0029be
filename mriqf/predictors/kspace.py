"""The k-space predictor: the error of a reconstruction from what its measurement says of it.

It takes the numbers and local channels of `recon.evidence.gather`, and, if there is one, the reading that a predictor
of errors has of the image. It is small, since all that it has to learn is how far to trust each of them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.predictors.nrmse import CELL
from mriqf.predictors.reading import Reading
from mriqf.predictors.unit import ERROR_UNIT

LEAST, MOST = 0.002, 1.25
"""Errors of objects that are told apart."""
FARTHEST = 4.0
"""Standard deviations at which a feature stops: beyond, nothing was learned."""
DEPTH = 3.0
"""Decades below and one above its root mean square, at which a local channel stops."""


@dataclass(frozen=True)
class KSpaceConfig:
    """Size of the network, and what it takes."""

    findings: tuple[str, ...]
    """Names of the numbers: `recon.evidence.FINDINGS` of the version that it was trained with."""
    channels: tuple[str, ...]
    """Names of the local channels; the first is the image."""
    members: int = 5
    """Networks whose results are averaged."""
    width: int = 32
    """Hidden units of each."""
    cells: int = 24
    """Channels of the map's layers."""


class KSpacePredictor(nn.Module):
    """Findings and local channels of reconstructions to the error of the object, of its cells, and an interval."""

    unit = ERROR_UNIT
    """Unit of the score: see `mriqf.predictors.unit`."""
    default_pool = "rms"
    stride = CELL
    mean: Tensor
    sd: Tensor

    def __init__(self, config: KSpaceConfig):
        super().__init__()
        self.config = config
        self.name = "kspace"
        n, m, width = len(config.findings) + len(config.channels), config.members, config.width
        # Standardisation of the features; the last of them is the image predictor's reading.
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("sd", torch.ones(n))
        self.unread = nn.Parameter(torch.zeros(()))
        self.line = nn.Linear(n + 1, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.constant_(self.line.bias, -1.0)
        self.first = nn.Parameter(torch.empty(m, n + 1, width))
        self.first_bias = nn.Parameter(torch.zeros(m, 1, width))
        self.second = nn.Parameter(torch.empty(m, width, width))
        self.second_bias = nn.Parameter(torch.zeros(m, 1, width))
        nn.init.normal_(self.first, std=1 / math.sqrt(n + 1))
        nn.init.normal_(self.second, std=1 / math.sqrt(width))
        self.last = nn.Parameter(torch.zeros(m, width, 3))
        self.last_bias = nn.Parameter(torch.zeros(m, 1, 3))
        self.about = nn.Linear(n + 1, 8)
        k = 2 * (len(config.channels) - 1) + 3
        self.near = nn.Conv2d(k + 8, config.cells, 3, padding=1)
        self.far = nn.Conv2d(config.cells, config.cells, 3, padding=1)
        self.cells = nn.Conv2d(config.cells, 1, 1)
        nn.init.zeros_(self.cells.weight)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.line.weight.device

    def features(
        self,
        findings: Float[Tensor, "b n"],
        channels: Float[Tensor, "b k i j"],
        weight: Float[Tensor, "b 1 i j"],
        image_error: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b m"]:
        """Logarithms (base 10) that the object's error is predicted from, to be standardised by `mean` and `sd`.

        The findings; the root mean square over the object of each local channel, relative to that of the image; and
        the image predictor's reading, NaN where there is none.
        """
        energy = (channels.square() * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-9)
        parts = (energy[:, 1:] / energy[:, :1].clamp_min(1e-30)).clamp(1e-10, 1e4)
        read = findings.new_full((len(findings),), math.nan) if image_error is None else image_error.to(findings)
        return torch.cat((findings.clamp_min(1e-6).log10(), 0.5 * parts.log10(), read[:, None]), 1)

    def standardised(self, features: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """Features by the mean and standard deviation of training; a reading that is missing is at the mean."""
        return ((features - self.mean) / self.sd).nan_to_num(0.0).clamp(-FARTHEST, FARTHEST)

    def members(
        self, features: Float[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "e b"], Float[Tensor, "e b"], Float[Tensor, "e b"]]:
        """Logarithm (base 10) of the object's error, and the distances to the ends of its interval, by each member."""
        x = self._known(features)
        hidden = functional.silu(x @ self.first + self.first_bias)
        hidden = functional.silu(hidden @ self.second + self.second_bias)
        shift, below, above = (hidden @ self.last + self.last_bias).unbind(-1)
        return self.line(x)[:, 0] + shift, 0.2 * functional.softplus(below), 0.2 * functional.softplus(above)

    def read(
        self,
        findings: Float[Tensor, "b n"],
        channels: Float[Tensor, "b k i j"],
        weight: Float[Tensor, "b 1 i j"],
        image_error: Float[Tensor, " b"] | None = None,
        image_cells: Float[Tensor, "b 1 i j"] | None = None,
        inside: Bool[Tensor, "b 1 i j"] | None = None,
    ) -> Reading:
        """Errors of reconstructions, of cells and of whole objects.

        Parameters
        ----------
        findings
            Numbers of `recon.evidence.gather`, in the order of `config.findings`.
        channels
            Local channels, in the order of `config.channels`, as `cell_rms` has them; any unit.
        weight
            Share of each cell that is foreground, 0–1.
        image_error, image_cells
            Logarithms (base 10) of the errors that a predictor reads from the image alone, of the object and of cells;
            NaN, or not given, where there are none.
        inside
            Cells that belong to the image, if a batch holds images of several sizes, continued to one size.

        Returns
        -------
        Reading
            The mean square of its cells over the object is that of the whole; its features are the standardised ones,
            the same in all cells.
        """
        features = self.features(findings, channels, weight, image_error)
        centre, below, above = (part.mean(0) for part in self.members(features))
        centre = centre.clamp(math.log10(LEAST), math.log10(MOST))
        cells = self.contrast(features, channels, weight, image_cells, inside) + centre[:, None, None, None]
        seen = self.standardised(features)[..., None, None].expand(-1, -1, *weight.shape[2:])
        return Reading(cells, centre, seen, None, torch.stack((below, above), 1))

    def contrast(
        self,
        features: Float[Tensor, "b m"],
        channels: Float[Tensor, "b k i j"],
        weight: Float[Tensor, "b 1 i j"],
        image_cells: Float[Tensor, "b 1 i j"] | None = None,
        inside: Bool[Tensor, "b 1 i j"] | None = None,
    ) -> Float[Tensor, "b 1 i j"]:
        """Logarithm (base 10) of the error of cells, relative to that of the object."""
        part = torch.ones_like(weight) if inside is None else inside.to(weight)
        energy = channels.square()
        around = _window(energy * part) / _window(part).clamp_min(1e-9)
        logs = torch.cat((_relative(energy[:, 1:], weight), _relative(around[:, 1:], weight)), 1)
        bright = _relative(energy[:, :1], weight)
        if image_cells is None:
            image_cells = torch.full_like(weight, math.nan)
        known = image_cells.isfinite()
        read = torch.where(known, _relative(10 ** (2 * image_cells.nan_to_num(0.0)), weight), 0)
        about = torch.tanh(self.about(self._known(features)))[..., None, None].expand(-1, -1, *weight.shape[2:])
        seen = torch.cat((logs, bright, read, known.to(weight), about), 1) * part
        seen = functional.silu(self.near(seen)) * part
        seen = functional.silu(self.far(seen)) * part
        log_errors = 1.5 * torch.tanh(self.cells(seen))
        power = (10 ** (2 * log_errors) * weight).sum((2, 3), keepdim=True)
        power = power / weight.sum((2, 3), keepdim=True).clamp_min(1e-9)
        return log_errors - 0.5 * power.clamp_min(1e-9).log10()

    def _known(self, features: Tensor) -> Tensor:
        """Standardised features, a missing reading as it was learned, and whether there is one."""
        x, known = self.standardised(features), features[:, -1:].isfinite()
        return torch.cat((x[:, :-1], torch.where(known, x[:, -1:], self.unread), known.to(x)), 1)


def cell_rms(channels: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k i j"]:
    """Root mean square of each cell of 8×8 pixels, of those that the image has."""
    margin = (0, -channels.shape[3] % CELL, 0, -channels.shape[2] % CELL)
    share = functional.avg_pool2d(functional.pad(torch.ones_like(channels[:1, :1]), margin), CELL)
    return (functional.avg_pool2d(functional.pad(channels.square(), margin), CELL) / share).sqrt()


def _window(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)


def _relative(energy: Tensor, weight: Tensor) -> Tensor:
    """Logarithm (base 10) of the root of an energy, relative to its mean over the object."""
    mean = (energy * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1e-9)
    return 0.5 * (energy / mean.clamp_min(1e-30)).clamp(10 ** (-2 * DEPTH), 100.0).log10()

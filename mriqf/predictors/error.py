"""The error predictor: reads the local error of a reconstruction from its magnitude image."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.jpeg import BLOCK, dct_basis
from mriqf.predictors.reading import Reading, rms_error
from mriqf.predictors.unit import ERROR_UNIT, score_of_error

FOLDS = (2, 3, 4)
"""Parts of the field of view that copies are looked for at."""
FLOOR = 1e-6
"""Of energies of filters: a thousandth of the range is no error that counts."""
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
    """Of the image: magnitude."""


class ErrorPredictor(nn.Module):
    """Magnitude images in [0, 1] to a map of their local error, or of its score, 0–100, higher is better.

    `stride` is the distance of two cells of the map, `receptive_field` the side of the smallest image, in pixels; every
    cell also knows statistics of the whole image.
    """

    higher_is_better = True
    reads_grid = False
    """Whether an earlier JPEG's own grey levels and grid help it: it was trained on images that kept neither."""
    score_range = (0, 100)
    unit = ERROR_UNIT
    """Unit of the score: see `mriqf.predictors.unit`."""
    default_pool = "rms"
    """The score of the root mean square error of the object: this network knows errors."""
    zero_based = True
    """How high a noise floor lies says how bad an image is: raw zero stays 0."""
    sees_whole = True
    stride = 8
    receptive_field = 64
    halves = ("trunk",)
    """Layers that inference may run in half precision."""
    dct: Tensor

    def __init__(self, config: ErrorConfig = ErrorConfig()):
        super().__init__()
        self.config = config
        self.name = "error"
        # Full resolution holds most of the work and little of the knowledge: the stem sees it, and leaves it.
        self.stem = nn.Conv2d(config.channels, config.widths[0], 6, stride=2, padding=2)
        basis = dct_basis().float()
        kernels = torch.einsum("ux, vy -> uvxy", basis, basis).reshape(BLOCK**2, 1, BLOCK, BLOCK)[1:]
        self.register_buffer("dct", kernels, persistent=False)  # the mean says nothing
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
        # What comes first keeps full precision: little noise on a bright ground is less than half precision has.
        with torch.autocast(images.device.type, enabled=False):
            seen = self.stem(images.float())
            # Noise, blur and missing detail are energies of filters, and errors are told apart by their logarithm; the
            # mean of logarithms says how even they are: smoothing leaves many coefficients with next to nothing.
            few = _log(seen[..., ::2, ::2].square())
            energy = torch.cat((_log(functional.avg_pool2d(seen.square(), 4)), functional.avg_pool2d(few, 2)), 1)
            # Quantisation, noise and blur each leave another trace in the spectra of blocks: not of JPEG's own, which
            # have hardly a coefficient and look like no others, but half a block beside those of an uncropped image.
            kernels = self.dct.repeat(self.config.channels, 1, 1, 1)
            blocks = functional.pad(images.float(), (BLOCK // 2, 0, BLOCK // 2, 0), mode="replicate")
            spectra = functional.conv2d(blocks, kernels, stride=BLOCK, groups=self.config.channels)
            spectra = torch.cat((_log(_around(spectra.square())), _around(_log(spectra.square()))), 1)
            copies = self._copies(images.float())
        found = self.trunk(seen.to(half), energy.to(half), spectra.to(half), copies.to(half))
        return found.to(self.head.weight.dtype)[..., : -(-h // 8), : -(-w // 8)]

    def _copies(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b c i j"]:
        """Local correlation of details with those a half, third and quarter of the field of view away, either axis.

        That is where ghosts and the aliasing of regular masks come from, farther than any filter sees.
        """
        small = functional.avg_pool2d(images.mean(1, keepdim=True), 2)
        detail = small - functional.avg_pool2d(small, 3, 1, 1, count_include_pad=False)
        energy = functional.avg_pool2d(detail.square(), 8, 4, 2)
        found = []
        for axis in (2, 3):
            size = detail.shape[axis]
            for part in FOLDS:
                shift = (2 * size + part) // (2 * part)  # rounded; `round` and `roll` could not be exported
                stays = size - shift
                moved = torch.cat((detail.narrow(axis, stays, shift), detail.narrow(axis, 0, stays)), axis)
                both = functional.avg_pool2d(detail * moved, 8, 4, 2)
                other = functional.avg_pool2d(moved.square(), 8, 4, 2)
                found.append(both / (energy * other + FLOOR**2).sqrt())
        signed = torch.cat(found, 1)
        return torch.cat((signed, signed.abs()), 1)

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

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Score map, 0–100, one value for each `stride`×`stride` pixels."""
        return score_of_error(10 ** self.log_error(images))


def _without_ladder(module: nn.Module, tensors: dict[str, Tensor], prefix: str, *others: Any) -> None:  # noqa: ARG001
    """Leave out what weights whose unit was JPEG quality have beside: the errors of its steps."""
    tensors.pop(f"{prefix}ladder_error", None)


class _Trunk(nn.Module):
    """Brings features of an eighth of the resolution together with those of their surroundings and the whole image."""

    def __init__(self, config: ErrorConfig, n_spectra: int):
        super().__init__()
        half, quarter, width = config.widths
        self.body = nn.Sequential(
            nn.BatchNorm2d(half), nn.ReLU(), *_unit(half, quarter, stride=2), *_unit(quarter, width, stride=2)
        )
        self.energy = nn.Sequential(nn.BatchNorm2d(2 * half))
        self.spectra = nn.Sequential(nn.BatchNorm2d(n_spectra), *_unit(n_spectra, config.spectra, kernel=1))
        known = 2 * half + config.spectra + 4 * len(FOLDS)
        self.mix = nn.Sequential(*_unit(width + known, width, kernel=1))
        # To a 16th and a 32nd: most layers are where they cost least.
        self.down = nn.ModuleList(
            nn.Sequential(*_unit(width, width, stride=2), *(_Residual(width) for _ in range(n))) for n in config.depths
        )
        self.whole = nn.Sequential(nn.Linear(3 * width + known, width), nn.ReLU(), nn.Linear(width, width))
        self.up = nn.ModuleList(nn.Sequential(*_unit(width, width)) for _ in range(2))
        self.judge = nn.Sequential(*_unit(width, 64, kernel=1))

    @property
    def dtype(self) -> torch.dtype:
        """Precision that it runs in."""
        return next(self.parameters()).dtype

    def forward(
        self,
        seen: Float[Tensor, "b k h w"],
        energy: Float[Tensor, "b e i j"],
        spectra: Float[Tensor, "b s i j"],
        copies: Float[Tensor, "b c i j"],
    ) -> Float[Tensor, "b 64 i j"]:
        """Features of cells, from those of the stem, energies of its filters and of block spectra, and copies."""
        known = torch.cat((self.energy(energy), self.spectra(spectra), copies), 1)
        eighth = self.mix(torch.cat((self.body(seen), known), 1))
        sixteenth = self.down[0](eighth)
        coarse = self.down[1](sixteenth)
        # Noise, ghosts and aliasing show in the background; what they do to the object is known from there.
        axes = (2, 3)
        sd, mean = torch.std_mean(coarse.float(), axes, correction=0)
        whole = torch.cat((mean, coarse.float().amax(axes), sd, known.float().mean(axes)), 1)
        coarse = coarse + self.whole(whole.to(coarse.dtype))[..., None, None]
        sixteenth = self.up[0](sixteenth + functional.interpolate(coarse, scale_factor=2.0))
        return self.judge(self.up[1](eighth + functional.interpolate(sixteenth, scale_factor=2.0)))


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        last = nn.BatchNorm2d(width)
        nn.init.zeros_(last.weight)  # it starts as no change
        self.inside = nn.Sequential(*_unit(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), last)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.inside(x))


def _log(energy: Tensor) -> Tensor:
    return (energy + FLOOR).log()


def _around(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _unit(n_in: int, n_out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    ]

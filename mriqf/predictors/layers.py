"""Layers and fixed features that predictors of errors share."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mriqf.jpeg import BLOCK, dct_basis

FOLDS = (2, 3, 4)
"""Parts of the field of view that copies are looked for at."""
FLOOR = 1e-6
"""Least energy of a filter: a thousandth of the range is no error that counts."""


def block_kernels() -> Float[Tensor, "f 1 8 8"]:
    """Basis functions of the DCT of blocks as filters, without that of the mean, which says nothing."""
    basis = dct_basis().float()
    return torch.einsum("ux, vy -> uvxy", basis, basis).reshape(BLOCK**2, 1, BLOCK, BLOCK)[1:]


def filter_energy(seen: Float[Tensor, "b k h w"]) -> Float[Tensor, "b e i j"]:
    """Energies of filters in squares of 4 pixels, in logarithms, by which errors are told apart.

    Noise, blur and missing detail are such energies; the mean of logarithms says how even they are: smoothing leaves
    many coefficients with next to nothing.
    """
    few = _log(seen[..., ::2, ::2].square())
    return torch.cat((_log(functional.avg_pool2d(seen.square(), 4)), functional.avg_pool2d(few, 2)), 1)


def block_spectra(
    images: Float[Tensor, "b ch h w"], kernels: Float[Tensor, "f 1 8 8"], channels: int
) -> Float[Tensor, "b s i j"]:
    """Local spectra of blocks, in logarithms, in which quantisation, noise and blur each leave another trace.

    The blocks are not JPEG's own, which have hardly a coefficient and look like no others, but half a block beside
    those of an uncropped image.
    """
    blocks = functional.pad(images, (BLOCK // 2, 0, BLOCK // 2, 0), mode="replicate")
    spectra = functional.conv2d(blocks, kernels.repeat(channels, 1, 1, 1), stride=BLOCK, groups=channels)
    return torch.cat((_log(_around(spectra.square())), _around(_log(spectra.square()))), 1)


def copies(images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b c i j"]:
    """Local correlation of details with those a half, third and quarter of the field of view away, either axis.

    Ghosts and the aliasing of regular masks come from there, farther than any filter sees.
    """
    small = functional.avg_pool2d(images.mean(1, keepdim=True), 2)
    detail = small - functional.avg_pool2d(small, 3, 1, 1, count_include_pad=False)
    energy = functional.avg_pool2d(detail.square(), 8, 4, 2)
    correlations = []
    for axis in (2, 3):
        size = detail.shape[axis]
        for part in FOLDS:
            shift = (2 * size + part) // (2 * part)  # rounded; `round` and `roll` could not be exported
            stays = size - shift
            moved = torch.cat((detail.narrow(axis, stays, shift), detail.narrow(axis, 0, stays)), axis)
            both = functional.avg_pool2d(detail * moved, 8, 4, 2)
            other = functional.avg_pool2d(moved.square(), 8, 4, 2)
            correlations.append(both / (energy * other + FLOOR**2).sqrt())
    signed = torch.cat(correlations, 1)
    return torch.cat((signed, signed.abs()), 1)


class Residual(nn.Module):
    """Two convolutions whose output is added to their input; it starts as no change."""

    def __init__(self, width: int):
        super().__init__()
        last = nn.BatchNorm2d(width)
        nn.init.zeros_(last.weight)
        self.inside = nn.Sequential(*unit(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), last)

    def forward(self, x: Float[Tensor, "b k i j"]) -> Float[Tensor, "b k i j"]:
        """Features of the same size."""
        return torch.relu(x + self.inside(x))


class Trunk(nn.Module):
    """Layers that bring features of an eighth of the resolution together with those of their surroundings.

    `config` has `widths`, `spectra` and `depths`: see `mriqf.predictors.error.ErrorConfig`.
    """

    def __init__(self, config: Any, n_spectra: int, n_residuals: int = 0, n_statistics: int = 0):
        super().__init__()
        half, quarter, width = config.widths
        self.body = nn.Sequential(
            nn.BatchNorm2d(half), nn.ReLU(), *unit(half, quarter, stride=2), *unit(quarter, width, stride=2)
        )
        self.energy = nn.Sequential(nn.BatchNorm2d(2 * half))
        self.spectra = nn.Sequential(nn.BatchNorm2d(n_spectra), *unit(n_spectra, config.spectra, kernel=1))
        self.known = 2 * half + config.spectra + 4 * len(FOLDS)
        self.mix = nn.Sequential(
            *unit(width + self.known, width, kernel=1), *(Residual(width) for _ in range(n_residuals))
        )
        # To a 16th and a 32nd: most layers are where they cost least.
        self.down = nn.ModuleList(
            nn.Sequential(*unit(width, width, stride=2), *(Residual(width) for _ in range(n))) for n in config.depths
        )
        self.whole = nn.Sequential(
            nn.Linear(3 * width + self.known + n_statistics, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.up = nn.ModuleList(nn.Sequential(*unit(width, width)) for _ in range(2))

    @property
    def dtype(self) -> torch.dtype:
        """Precision that it runs in."""
        return next(self.parameters()).dtype

    def encode(self, seen: Tensor, energy: Tensor, spectra: Tensor, copies: Tensor) -> tuple[Tensor, ...]:
        """Fixed features, and features of an eighth, a 16th and a 32nd of the resolution."""
        known = torch.cat((self.energy(energy), self.spectra(spectra), copies), 1)
        eighth = self.mix(torch.cat((self.body(seen), known), 1))
        sixteenth = self.down[0](eighth)
        return known, eighth, sixteenth, self.down[1](sixteenth)

    def decode(self, eighth: Tensor, sixteenth: Tensor, coarse: Tensor) -> Tensor:
        """Features of an eighth of the resolution that know of the coarser ones."""
        sixteenth = self.up[0](sixteenth + functional.interpolate(coarse, scale_factor=2.0))
        return self.up[1](eighth + functional.interpolate(sixteenth, scale_factor=2.0))


def unit(n_in: int, n_out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch norm and rectifier."""
    return [
        nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    ]


def _log(energy: Tensor) -> Tensor:
    return (energy + FLOOR).log()


def _around(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

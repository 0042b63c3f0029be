"""Layers and fixed features that predictors of errors share."""

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

    That is where ghosts and the aliasing of regular masks come from, farther than any filter sees.
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

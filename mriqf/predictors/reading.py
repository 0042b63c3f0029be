"""Errors as a predictor reads them from images, in logarithms, and their root mean square over the object."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from mriqf.predictors.unit import ERROR_UNIT, score_of_error


@dataclass(frozen=True)
class Reading:
    """Errors of images, relative to the root mean square of their objects; logarithms (base 10)."""

    cells: Float[Tensor, "b 1 i j"]
    """Root mean square error of each cell of `stride`×`stride` pixels."""
    whole: Float[Tensor, " b"]
    """The same of the whole object; NaN where there is none."""
    features: Float[Tensor, "b k i j"]
    """Penultimate features, for out-of-distribution detection."""
    total: Float[Tensor, " b"] | None = None
    """Error of the object against what it would be without noise, if the predictor tells that apart."""
    width: Float[Tensor, "b 2"] | None = None
    """Distance from `whole` to the lower and upper end of the predictor's own 90 % interval, if it has one."""

    def plus(self, error: Float[Tensor, " b"]) -> "Reading":
        """With a further error of each image, evenly spread over its cells; independent errors add up as squares."""
        return self._plus_square(error.to(self.whole).square())

    def at_least(self, error: Float[Tensor, " b"]) -> "Reading":
        """With an error that each image is known to have: what lacks in `whole` comes on top."""
        lacking = (error.to(self.whole).square() - 10 ** (2 * self.whole)).nan_to_num(0).clamp_min(0)
        return self._plus_square(lacking)

    def _plus_square(self, square: Float[Tensor, " b"]) -> "Reading":
        cells = 10 ** (2 * self.cells) + square[:, None, None, None].to(self.cells)
        whole = 10 ** (2 * self.whole) + square
        total = None if self.total is None else 0.5 * (10 ** (2 * self.total) + square).log10()
        return replace(self, cells=0.5 * cells.log10(), whole=0.5 * whole.log10(), total=total)


class ErrorReader(nn.Module):
    """Network from magnitude images in [0, 1], raw zero at 0, to the errors of cells.

    `stride` is the distance of two cells of the map, `receptive_field` the side of the smallest image, in pixels; every
    cell also knows statistics of the whole image.
    """

    higher_is_better = True
    reads_grid = False
    """An earlier JPEG's own grey levels and grid are not looked for: training images kept neither."""
    reads_transpose = False
    """An image and its anti-transpose give the same reading: of eight orientations, the four mirrors are enough."""
    score_range = (0, 100)
    unit = ERROR_UNIT
    """Unit of the score: see `mriqf.predictors.unit`."""
    default_pool = "rms"
    """The score of the root mean square error of the object: this network knows errors."""
    zero_based = True
    """Raw zero stays 0: the height of the noise floor is a sign of an image's quality."""
    stride = 8
    receptive_field = 64
    halves = ("trunk",)
    """Layers that inference may run in half precision."""
    dct: Tensor

    def log_error(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Logarithm (base 10) of the root mean square error of each cell, relative to that of the whole object."""
        raise NotImplementedError

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Score map, 0–100, one value for each `stride`×`stride` pixels."""
        return score_of_error(10 ** self.log_error(images))


def rms_error(log_error: Float[Tensor, "b 1 i j"], weight: Float[Tensor, "b 1 i j"]) -> Float[Tensor, " b"]:
    """Logarithm (base 10) of the root mean square error of each object; NaN if its weights are all zero.

    Errors add up as squares: the mean of scores would let a good half hide a bad one.

    Parameters
    ----------
    log_error
        Logarithm (base 10) of each cell's relative error; above 0, an error of 100 %, it counts as 0.
    weight
        Share of each cell that is foreground, 0–1.
    """
    weight = weight.double()
    square = 10 ** (2 * log_error.double().clamp_max(0))
    return 0.5 * ((square * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))).log10()


def object_error(cells: Float[Tensor, "*b i j"], weight: Float[Tensor, "*#b i j"]) -> Float[Tensor, "*b"]:
    """As `rms_error`, for training: of any number of maps, without an upper bound, and finite without an object."""
    square = (weight * 10 ** (2 * cells)).sum((-2, -1)) / weight.sum((-2, -1)).clamp_min(1e-6)
    return 0.5 * square.clamp_min(1e-8).log10()

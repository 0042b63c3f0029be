"""Stacking: an average of reconstructions, with weights that foretell samples which none of them was given."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from recon.arrays import as_tensor
from recon.evidence import held_out_folds
from recon.operator import Sense


class Stacked:
    """Average the images of several methods, with weights that are fitted to each slice's own data.

    A tenth of the samples outside the centre is held out, each method reconstructs from the others, and the weights, at
    least 0 and of sum 1, are those whose average comes closest to what was held out. Then all samples are used. So a
    network counts as much as the data bear it out, and errors that the methods do not share cancel. Takes twice the
    time of all methods together.

    Parameters
    ----------
    methods
        Functions of k-space and operator that give complex images (b, m, h, w).
    seed
        Seed of the choice of samples: the same data give the same image.

    Raises
    ------
    ValueError
        If there is no method.

    References
    ----------
    Breiman, Stacked regressions, Machine Learning 1996, doi:10.1007/BF00117832. Held-out samples: see
    `recon.held_out_residual`.
    """

    name = "stacked"

    def __init__(self, methods: Sequence[Callable[[Tensor, Sense], Tensor]], seed: int = 0):
        if not methods:
            raise ValueError("no method is given: give one or more to average")
        self.methods = tuple(methods)
        self.seed = seed

    @torch.no_grad()
    def __call__(
        self, kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"], sense: Sense
    ) -> Complex[Tensor, "b m h w"]:
        """Reconstruct, in the unit of k-space; values outside the mask are ignored, and no gradient is recorded."""
        kspace = as_tensor(kspace)
        return self._average(kspace, sense, self.weights(kspace, sense))

    def fitted(
        self, kspace: Complex[Tensor, "b c h w"], sense: Sense
    ) -> Callable[[Complex[Tensor, "b c h w"], Sense], Complex[Tensor, "b m h w"]]:
        """The method with the weights of this k-space, for other data of the same slices."""
        weights = self.weights(kspace, sense)
        return lambda other, operator: self._average(other, operator, weights)

    @torch.no_grad()
    def weights(self, kspace: Complex[Tensor, "b c h w"], sense: Sense) -> Float[Tensor, "b n"]:
        """Weight of each method; all alike where fewer than two lines, or points, lie outside the centre."""
        plane = sense.mask[:, :, :1] if sense.separable else sense.mask
        held = held_out_folds(plane, 1, self.seed)[0]
        if not held.any() or len(self.methods) == 1:
            return kspace.real.new_full((len(kspace), len(self.methods)), 1 / len(self.methods))
        others, apart = Sense(plane & ~held, sense.csm), Sense(held, sense.csm)
        residuals = [(held * (apart(method(kspace * ~held, others)) - kspace)).flatten(1) for method in self.methods]
        stacked = torch.view_as_real(torch.stack(residuals, 1)).flatten(2).double()
        return simplex_minimum(stacked @ stacked.mT).to(kspace.real.dtype)

    def _average(self, kspace: Tensor, sense: Sense, weights: Tensor) -> Tensor:
        images = torch.stack([method(kspace, sense) for method in self.methods], 1)
        return (weights[:, :, None, None, None] * images).sum(1)


def simplex_minimum(gram: Float[Tensor, "b n n"]) -> Float[Tensor, "b n"]:
    """Weights w, at least 0 and of sum 1, that minimise ``wᵀ G w``, by trying every set of weights above 0.

    Parameters
    ----------
    gram
        Symmetric and positive semidefinite, of few methods: the effort grows as 2ⁿ.
    """
    n = gram.shape[-1]
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    # Methods with equal residuals share their weight; and of an empty slice all have residuals of 0.
    ridge = (1e-9 * diagonal.mean(-1)).clamp(min=torch.finfo(gram.dtype).tiny ** 0.5)
    gram = gram + ridge[:, None, None] * torch.eye(n, dtype=gram.dtype, device=gram.device)
    best, least = torch.zeros_like(diagonal), torch.full_like(ridge, torch.inf)
    for size in range(1, n + 1):
        for chosen in itertools.combinations(range(n), size):
            part = gram[:, chosen][:, :, chosen]
            solved = torch.linalg.solve(part / part.mean((1, 2), keepdim=True), part.new_ones(size, 1)[None])[..., 0]
            w = torch.zeros_like(diagonal)
            w[:, chosen] = solved / solved.sum(-1, keepdim=True)
            value = torch.einsum("bi, bij, bj -> b", w, gram, w)
            better = (w >= 0).all(-1) & (value < least)
            best, least = torch.where(better[:, None], w, best), torch.where(better, value, least)
    return best


def fitted(
    method: Callable[[Tensor, Sense], Tensor], kspace: Complex[Tensor, "b c h w"], sense: Sense
) -> Callable[[Tensor, Sense], Tensor]:
    """A method as it reconstructs this k-space: a stack keeps its weights, so that checks of it cost half."""
    return method.fitted(kspace, sense) if isinstance(method, Stacked) else method

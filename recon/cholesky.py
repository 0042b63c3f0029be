"""Exact data consistency by factorisation, for many solves with one mask, one set of coils and one weight."""

from collections.abc import Callable

import torch
from jaxtyping import Complex
from torch import Tensor

from recon.operator import Sense


@torch.no_grad()
def factorise(sense: Sense, lam: float) -> Callable[[Complex[Tensor, "b 1 h w"]], Complex[Tensor, "b 1 h w"]]:
    """Return the solver of ``(AᴴA + lam) x = b`` for a mask of columns, exact to rounding.

    Under a mask of columns each row of the image is a Hermitian system of its own, ``C ∘ (SᴴS) + lam`` with the
    mask's circulant C, which is inverted once through its Cholesky factor. That takes as long as hundreds of iterations
    of `cg` and 8 h w² bytes of memory, and each solve then about as long as ten: it pays for many solves of high
    accuracy (sweeps, fitting without ground truth), not for the unrolls of one reconstruction.

    Parameters
    ----------
    sense
        Operator of a mask of columns.
    lam
        Weight, above 0.

    Returns
    -------
    Callable
        From right-hand sides b, as many as the operator has samples or any number if it has one, to x; linear, and
        differentiable in b.

    Raises
    ------
    ValueError
        If lam is not positive, the mask does not take whole columns, or there are several sets of maps.
    """
    if not lam > 0:
        raise ValueError(f"lam={lam} leaves the problem without unique solution: use lam > 0, such as 0.05")
    if not sense.separable:
        raise ValueError(f"mask {tuple(sense.mask.shape)} does not take whole columns, so rows couple: use recon.cg")
    if sense.n_sets > 1:
        raise ValueError(f"csm {tuple(sense.csm.shape)} has {sense.n_sets} sets of maps, which couple: use recon.cg")
    w = sense.csm.shape[-1]
    # Impulse response of the mask.
    kernel = torch.fft.ifft(torch.fft.ifftshift(sense.mask[..., :1, :], dim=-1).to(sense.csm.dtype))
    lag = torch.arange(w, device=kernel.device)
    circulant = kernel[:, 0, :, (lag[:, None] - lag) % w]
    maps = sense.csm.movedim(1, -1)  # (b, h, w, c)
    gram = circulant * (maps.conj() @ maps.mT)
    gram.diagonal(dim1=-2, dim2=-1).add_(lam)
    # Applied to one vector at a time, the inverse is several times faster than the factor.
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))

    def solve(b: Complex[Tensor, "b 1 h w"]) -> Complex[Tensor, "b 1 h w"]:
        return (inverse @ b[:, 0, :, :, None])[:, None, :, :, 0]

    return solve

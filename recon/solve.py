"""Conjugate gradients for a batch, and the data-consistency layer of unrolled networks."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.operator import Sense


@torch.no_grad()
def cg(
    h: Callable[[Tensor], Tensor], b: Inexact[Tensor, "b ..."], max_iter: int = 50, tol: float = 1e-6
) -> Inexact[Tensor, "b ..."]:
    """Solve h(x) = b for each sample by conjugate gradients from zero; records no gradient.

    Every sample has its own step lengths and stops at its own relative tolerance, so its solution does not depend on
    its neighbours, and scaling b scales x. An h that is not Hermitian positive definite silently gives a wrong
    result; so does reaching ``max_iter`` first, with the residual left where it was.

    Parameters
    ----------
    h
        Linear Hermitian positive definite map that treats the samples separately.
    b
        Right-hand sides, any unit.
    max_iter
        Upper bound on the iterations, 0 or more.
    tol
        A sample stops when ``‖b - h(x)‖ <= tol ‖b‖``; in single precision not below about 1e-7.

    References
    ----------
    Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, J Res Natl Bur Stand 1952,
    doi:10.6028/jres.049.044.
    """
    x, r, p = torch.zeros_like(b), b, b
    rr = _dot(r, r)
    stop = tol**2 * rr
    for _ in range(max_iter):
        active = rr > stop
        if not active.any():
            break
        hp = h(p)
        alpha = torch.where(active, rr / _dot(p, hp), 0)  # 0 freezes a converged sample, whatever 0 / 0 it met
        x, r = x + alpha * p, r - alpha * hp
        rr, old = _dot(r, r), rr
        p = r + torch.where(active, rr / old, 0) * p
    return x


def data_consistency(
    sense: Sense,
    z: Complex[Tensor, "b 1 h w"],
    aty: Complex[Tensor, "b 1 h w"],
    lam: Float[Tensor, ""],
    max_iter: int = 50,
    tol: float = 1e-6,
) -> Complex[Tensor, "b 1 h w"]:
    """Return the image that minimises ``‖A x - y‖² + lam ‖x - z‖²``, differentiable in z, aty and lam.

    The gradient is implicit: the backward pass is one more solve with the same operator, so no iterate is stored
    and the gradient is as exact as ``tol``. No gradient reaches the coil maps, and second derivatives raise.

    Parameters
    ----------
    sense
        The operator A.
    z
        Image to stay close to, such as a denoiser's output, in the unit of the k-space.
    aty
        ``sense.adjoint(kspace)``, computed once for all steps of an unrolled network.
    lam
        Weight of z, above 0; relative to ``‖A‖ <= 1``, so it does not depend on the unit of the data.
    max_iter, tol
        As in `cg`, for the forward and for the backward solve.

    Raises
    ------
    ValueError
        If lam is not positive.

    References
    ----------
    Aggarwal et al., MoDL: model-based deep learning architecture for inverse problems, IEEE Trans Med Imaging 2019,
    doi:10.1109/TMI.2018.2865356.
    """
    if not lam > 0:
        raise ValueError(f"lam={lam.item():g} leaves the problem without unique solution: use lam > 0, such as 0.05")
    return _Solve.apply(sense.gram, aty + lam * z, lam, max_iter, tol)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each sample, shaped to broadcast."""
    return (a.conj() * b).real.sum(tuple(range(1, a.ndim)), keepdim=True)


class _Solve(torch.autograd.Function):
    """x = (G + lam)⁻¹ rhs for a Hermitian G: the backward pass is the same solve."""

    @staticmethod
    def forward(ctx: Any, gram: Callable[[Tensor], Tensor], rhs: Tensor, lam: Tensor, max_iter: int, tol: float):
        ctx.solve = lambda b, lam: cg(lambda v: gram(v) + lam * v, b, max_iter, tol)
        x = ctx.solve(rhs, lam)
        ctx.save_for_backward(x, lam)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, lam = ctx.saved_tensors
        v = ctx.solve(grad, lam)
        return None, v, -(v.conj() * x).real.sum(), None, None

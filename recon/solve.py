"""Conjugate gradients for a batch, and the data-consistency layer of unrolled networks."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.operator import Sense


class NotConverged(UserWarning):
    """A solver reached its limit of iterations; its last iterate was returned."""


@torch.no_grad()
def cg(
    h: Callable[[Tensor], Tensor],
    b: Inexact[Tensor, "b ..."],
    max_iter: int = 50,
    tol: float = 1e-6,
    *,
    x0: Inexact[Tensor, "b ..."] | None = None,
    separate: tuple[int, ...] = (0,),
    warn: bool = True,
) -> Inexact[Tensor, "b ..."]:
    """Solve h(x) = b for each sample by conjugate gradients; records no gradient.

    Every sample has its own step lengths and stops at its own relative tolerance, so its solution does not depend on
    its neighbours, and scaling b and x0 scales x. An h that is not Hermitian positive definite silently gives a wrong
    result.

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
    x0
        Start; zero if not given. A start near the solution saves iterations.
    separate
        Axes along which h does not mix its input: 0 for samples, and 2 for the rows of images under a mask of
        columns. Each such problem gets its own step lengths, which saves iterations.
    warn
        Warn when ``max_iter`` came before ``tol``.

    Raises
    ------
    ValueError
        If b is not finite.

    Warns
    -----
    NotConverged
        If ``max_iter`` was reached first.

    References
    ----------
    Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, J Res Natl Bur Stand 1952,
    doi:10.6028/jres.049.044.
    """
    # All arithmetic between transforms is real, in place, on views of the complex numbers: it is bound by memory.
    x = torch.zeros_like(b) if x0 is None else x0.clone()
    r = b.clone() if x0 is None else b - h(x0)
    p = r.clone()
    real_x, real_r, real_p = map(_real, (x, r, p))
    within = tuple(i for i in range(real_x.ndim) if i not in separate)
    whole = tuple(range(1, real_x.ndim))
    rr, bb = _dot(real_r, real_r, within), _dot(_real(b), _real(b), whole)
    if not bb.isfinite().all():
        raise ValueError("b holds NaN or infinite values: look for them in the k-space and in the coil maps")
    # Each of a sample's separate problems may leave its part of the sample's tolerance.
    stop = tol**2 * bb / (rr[0].numel() if len(rr) else 1)
    for _ in range(max_iter):
        active = rr > stop
        if not active.any():
            break
        hp = _real(h(p))
        alpha = torch.where(active, rr / _dot(real_p, hp, within), 0)  # 0 freezes the converged, whatever 0 / 0 is
        real_x.addcmul_(alpha, real_p)
        real_r.addcmul_(alpha, hp, value=-1)
        rr, old = _dot(real_r, real_r, within), rr
        real_p.mul_(torch.where(active, rr / old, 0)).add_(real_r)
    if warn and (rr > stop).any():
        left = (rr.sum(whole, keepdim=True) / bb).max().sqrt().item()
        warnings.warn(
            f"conjugate gradients stopped after max_iter={max_iter} at a relative residual of {left:.1e}, "
            f"not tol={tol:.0e}: allow more iterations, a larger tol or a larger lam",
            NotConverged,
            stacklevel=3,  # the caller of the decorated function
        )
    return x


def data_consistency(
    sense: Sense,
    z: Complex[Tensor, "b m h w"],
    aty: Complex[Tensor, "b m h w"],
    lam: Float[Tensor, ""],
    max_iter: int = 50,
    tol: float = 1e-6,
    *,
    warn: bool = True,
) -> Complex[Tensor, "b m h w"]:
    """Return the image that minimises ``‖A x - y‖² + lam ‖x - z‖²``, differentiable in z, aty and lam.

    The solver starts from z. The gradient is implicit: the backward pass is one more solve with the same operator, so
    no iterate is stored and the gradient is as exact as ``tol``. No gradient reaches the coil maps, and second
    derivatives raise.

    Parameters
    ----------
    sense
        The operator A; `recon.coils.virtual_coils` of it gives the same image sooner.
    z
        Image to stay close to, such as a denoiser's output, in the unit of the k-space.
    aty
        ``sense.adjoint(kspace)``, computed once for all steps of an unrolled network.
    lam
        Weight of z, above 0; relative to ``‖A‖ <= 1``, so it does not depend on the unit of the data.
    max_iter, tol, warn
        As in `cg`, for the forward and for the backward solve.

    Raises
    ------
    ValueError
        If lam is not positive.

    Warns
    -----
    NotConverged
        As in `cg`.

    References
    ----------
    Aggarwal et al., MoDL: model-based deep learning architecture for inverse problems, IEEE Trans Med Imaging 2019,
    doi:10.1109/TMI.2018.2865356.
    """
    if not lam > 0:
        raise ValueError(f"lam={lam.item():g} leaves the problem without unique solution: use lam > 0, such as 0.05")
    return _Solve.apply(sense, z, aty + lam * z, lam, {"max_iter": max_iter, "tol": tol, "warn": warn})


def _real(x: Tensor) -> Tensor:
    """View of complex numbers as pairs on a last axis, so that axes count from the front as before."""
    return torch.view_as_real(x) if x.is_complex() else x


def _dot(a: Tensor, b: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Real inner product over axes, shaped to broadcast."""
    return (a * b).sum(axes, keepdim=True)


class _Solve(torch.autograd.Function):
    """x = (AᴴA + lam)⁻¹ rhs from a start z: the operator is Hermitian, so the backward pass is the same solve."""

    @staticmethod
    def forward(ctx: Any, sense: Sense, z: Tensor, rhs: Tensor, lam: Tensor, options: dict[str, Any]):
        weight = lam.item()
        ctx.solve = lambda b, x0: cg(
            lambda v: sense.gram(v).add_(v, alpha=weight), b, x0=x0, separate=sense.separate, **options,
        )  # fmt: skip
        x = ctx.solve(rhs, z)
        ctx.save_for_backward(x, lam)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, lam = ctx.saved_tensors
        v = ctx.solve(grad.contiguous(), None)
        return None, None, v, -(v.conj() * x).real.sum().to(lam.dtype), None

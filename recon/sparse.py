"""Reconstructions that assume images to be sparse: wavelets and total variation."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from recon.arrays import as_tensor
from recon.coils import virtual_coils
from recon.operator import Sense
from recon.scale import image_scale
from recon.wavelets import wavelet as transform


@torch.no_grad()
def l1_wavelet(
    kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"],
    sense: Sense,
    lam: int | float = 0.005,
    max_iter: int = 80,
    wavelet: str = "db4",
    tol: float = 2e-3,
) -> Complex[Tensor, "b m h w"]:
    """Reconstruct the image that minimises ``½ ‖A x - y‖² + lam s ‖W x‖₁`` by accelerated proximal gradients (FISTA).

    W is an orthonormal wavelet transform, and s the scale of the slice's zero-filled image, the root mean square
    weighted by energy: so lam is free of the data's unit and of empty margins, and scaling the data scales the image.
    Nothing is random, samples of a batch do not influence each other, and all runs on the device of the data. No
    gradient is recorded.

    Parameters
    ----------
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask and coil maps of the measurement.
    lam
        Weight of the wavelets' magnitudes, 0 or more, in units of the image's scale: about the size of coefficients
        that are taken for noise or aliasing. The default is the best of a sweep over masks and accelerations of 2 to 8
        at a noise of 0.01 of that scale, by `benchmarks/tune_l1_wavelet.py`; more noise asks for more.
    max_iter
        Upper bound on the iterations.
    wavelet
        PyWavelets' name of an orthogonal wavelet.
    tol
        A sample stops when an iteration changes it by less than this part of its norm.

    Raises
    ------
    ValueError
        If lam is negative, or the wavelet is unknown or not orthogonal.
    ImportError
        If PyWavelets is not installed.

    References
    ----------
    Lustig et al., Sparse MRI, Magn Reson Med 2007, doi:10.1002/mrm.21391. Beck and Teboulle, A fast iterative
    shrinkage-thresholding algorithm for linear inverse problems, SIAM J Imaging Sci 2009, doi:10.1137/080716542.
    """
    _require_weight(lam, 0.005)
    shape = (kspace.shape[2], kspace.shape[3])
    sparsify = transform(wavelet, shape)

    def shrink(moved: Tensor, step: float) -> Tensor:
        return sparsify.inverse([_shrink(part, step * lam) for part in sparsify.forward(moved)], shape)

    return _fista(kspace, sense, shrink, max_iter, tol)


@torch.no_grad()
def total_variation(
    kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"],
    sense: Sense,
    lam: int | float = 0.003,
    max_iter: int = 80,
    tol: float = 2e-3,
    n_inner: int = 5,
) -> Complex[Tensor, "b m h w"]:
    """Reconstruct the image that minimises ``½ ‖A x - y‖² + lam s TV(x)`` by accelerated proximal gradients (FISTA).

    TV is the sum of the lengths of the complex image's gradients (isotropic), and s the scale of the slice's
    zero-filled image, as in `l1_wavelet`. The proximal operator is a few projected gradient steps on the dual variable,
    which goes on from where it was.

    Parameters
    ----------
    kspace, sense, max_iter, tol
        As in `l1_wavelet`.
    lam
        Weight of the total variation, 0 or more, in units of the image's scale.
    n_inner
        Dual steps an iteration.

    Raises
    ------
    ValueError
        If lam is negative.

    References
    ----------
    Beck and Teboulle, Fast gradient-based algorithms for constrained total variation image denoising and deblurring
    problems, IEEE Trans Image Process 2009, doi:10.1109/TIP.2009.2028250. Block et al., Undersampled radial MRI with
    multiple coils, Magn Reson Med 2007, doi:10.1002/mrm.21236.
    """
    _require_weight(lam, 0.003)
    kspace = as_tensor(kspace)

    def smooth(moved: Tensor, step: float) -> Tensor:
        nonlocal dual
        weight = max(step * lam, 1e-30)
        for _ in range(n_inner):
            image = moved + weight * _divergence(dual)
            # 8 bounds the norm of the differences' gram; in place, since this is bound by memory.
            dual[0, ..., :-1, :] += image.diff(dim=-2).div_(8 * weight)
            dual[1, ..., :-1] += image.diff(dim=-1).div_(8 * weight)
            dual /= _length(dual).clamp_min_(1)
        return moved + weight * _divergence(dual)

    dual = kspace.new_zeros(2, len(kspace), sense.n_sets, *kspace.shape[2:])
    return _fista(kspace, sense, smooth, max_iter, tol)


def _fista(
    kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"],
    sense: Sense,
    proximal: Callable[[Tensor, float], Tensor],
    max_iter: int,
    tol: float,
) -> Tensor:
    """Minimise ``½ ‖A x - y‖² + g(x)`` from the zero-filled image, in units of that image's scale."""
    aty = sense.adjoint(kspace)
    scale = image_scale(aty)
    aty, sense = aty / scale, virtual_coils(sense)
    # The maps bound the norm of A by their energy, so nothing needs to be estimated.
    step = 1 / max(1.0, sense.csm.abs().square().flatten(1, -3).sum(1).max().item())
    x = z = aty
    t = 1.0
    active = torch.ones_like(scale, dtype=torch.bool)
    for _ in range(max_iter):
        change = torch.where(active, proximal(z - step * (sense.gram(z) - aty), step) - x, 0)
        active = active & (_norms(change) > tol * _norms(x))
        before, t = t, (1 + math.sqrt(1 + 4 * t * t)) / 2
        x = x + change
        z = x + (before - 1) / t * change
        if not active.any():
            break
    return scale * x


def _require_weight(lam: int | float, usual: float) -> None:
    if not lam >= 0:
        raise ValueError(f"lam={lam} rewards noise: use lam >= 0, such as {usual}")


def _norms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)


def _shrink(x: Tensor, threshold: float) -> Tensor:
    """Soft thresholding of magnitudes."""
    magnitude = x.abs()
    return x * ((magnitude - threshold).clamp_min(0) / magnitude.clamp_min(1e-30))


def _length(pair: Complex[Tensor, "2 *b h w"]) -> Float[Tensor, "*b h w"]:
    return torch.view_as_real(pair).square().sum((0, -1)).sqrt_()


def _divergence(pair: Complex[Tensor, "2 *b h w"]) -> Complex[Tensor, "*b h w"]:
    """Minus the adjoint of forward differences along height and width, whose last row and column are zero."""
    result = pair[0] + pair[1]
    result[..., 1:, :] -= pair[0, ..., :-1, :]
    result[..., 1:] -= pair[1, ..., :-1]
    return result

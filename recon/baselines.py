"""Reconstructions without learning, for comparison and as starting points."""

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from recon.operator import Sense
from recon.scale import image_scale
from recon.solve import cg


def zero_filled(kspace: Complex[Tensor, "b c h w"], sense: Sense) -> Complex[Tensor, "b 1 h w"]:
    """Reconstruct with zeros in place of the samples not taken: the adjoint of the operator.

    Parameters
    ----------
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask and coil maps of the measurement.

    Returns
    -------
    Tensor
        Complex image in the unit of the k-space, aliased where undersampled.
    """
    return sense.adjoint(kspace)


def cg_sense(
    kspace: Complex[Tensor, "b c h w"], sense: Sense, lam: int | float = 1e-2, max_iter: int = 100, tol: float = 1e-6
) -> Complex[Tensor, "b 1 h w"]:
    """Reconstruct the image that minimises ``‖A x - y‖² + lam ‖x‖²`` by conjugate gradients; records no gradient.

    Parameters
    ----------
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask and coil maps of the measurement.
    lam
        Tikhonov weight, 0 or more. It is relative to ``‖A‖ <= 1`` and so free of the data's scale: 0.01 damps
        directions that the coils encode with less than a tenth of full strength. With 0, stop early by ``max_iter``.
    max_iter
        Upper bound on the iterations; 100 suffice for the default lam and tol, whatever the mask and the coils.
    tol
        Relative residual at which a sample stops.

    Returns
    -------
    Tensor
        Complex image in the unit of the k-space.

    Raises
    ------
    ValueError
        If lam is negative.

    Warns
    -----
    NotConverged
        If ``max_iter`` was reached first.

    References
    ----------
    Pruessmann et al., Advances in sensitivity encoding with arbitrary k-space trajectories, Magn Reson Med 2001,
    doi:10.1002/mrm.1241.
    """
    if lam < 0:
        raise ValueError(f"lam={lam} rewards noise: use lam >= 0, such as 0.01")
    aty = zero_filled(kspace, sense)
    return cg(lambda x: sense.gram(x) + lam * x, aty, max_iter, tol, separate=sense.separate)


@torch.no_grad()
def l1_wavelet(
    kspace: Complex[Tensor, "b c h w"], sense: Sense, lam: int | float = 0.005, max_iter: int = 80, wavelet: str = "db4"
) -> Complex[Tensor, "b 1 h w"]:
    """Reconstruct the image that minimises ``½ ‖A x - y‖² + lam s ‖W x‖₁`` by accelerated proximal gradients (FISTA).

    W is SigPy's orthogonal wavelet transform, and s the scale of the slice's zero-filled image, the root mean square
    weighted by energy: so lam is free of the data's unit and of empty margins, and scaling the data scales the image.
    Nothing is random. The wavelets are computed on the CPU; no gradient is recorded.

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
        Number of iterations. With 80, 20 more change an image's error by less than 0.001 at accelerations up to 8.
    wavelet
        PyWavelets' name of an orthogonal wavelet.

    Returns
    -------
    Tensor
        Complex image in the unit of the k-space.

    Raises
    ------
    ValueError
        If lam is negative, or the wavelet is unknown or not orthogonal.
    ImportError
        If sigpy is not installed.

    References
    ----------
    Lustig et al., Sparse MRI, Magn Reson Med 2007, doi:10.1002/mrm.21391. Beck and Teboulle, A fast iterative
    shrinkage-thresholding algorithm for linear inverse problems, SIAM J Imaging Sci 2009, doi:10.1137/080716542.
    """
    if not lam >= 0:
        raise ValueError(f"lam={lam} rewards noise: use lam >= 0, such as 0.005")
    try:
        from pywt import Wavelet, wavelist  # pyright: ignore[reportAttributeAccessIssue]
        from sigpy import linop, prox
        from sigpy.alg import GradientMethod
    except ImportError as error:
        raise ImportError("l1_wavelet needs sigpy: pip install sigpy") from error
    if wavelet not in wavelist(kind="discrete") or not Wavelet(wavelet).orthogonal:
        raise ValueError(f"wavelet={wavelet!r} is no orthogonal wavelet: use one such as 'db4', 'sym4' or 'haar'")
    zero_filled_image = zero_filled(kspace, sense)
    scale = image_scale(zero_filled_image)
    aty = zero_filled_image / scale
    transform = linop.Wavelet(aty.shape[2:], wave_name=wavelet)
    sparse = prox.UnitaryTransform(prox.L1Reg(transform.oshape, lam), transform)

    def gradient(x: np.ndarray) -> np.ndarray:
        return (sense.gram(torch.from_numpy(x).to(aty.device)) - aty).cpu().numpy()

    def shrink(step: float, x: np.ndarray) -> np.ndarray:
        return np.stack([sparse(step, image)[None] for image in x[:, 0]])

    # The maps bound the norm of A by their energy, so nothing needs to be estimated.
    step = 1 / max(1.0, sense.csm.abs().square().sum(1).max().item())
    solver = GradientMethod(gradient, np.zeros_like(aty.cpu()), step, shrink, accelerate=True, max_iter=max_iter)
    while not solver.done():
        solver.update()
    return scale * torch.from_numpy(solver.x).to(aty.device)

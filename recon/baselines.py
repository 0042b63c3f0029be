"""Reconstructions without learning, for comparison and as starting points."""

import numpy as np
from jaxtyping import Complex
from torch import Tensor

from recon.operator import Sense
from recon.solve import cg


def zero_filled(
    kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"], sense: Sense
) -> Complex[Tensor, "b m h w"]:
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
    kspace: Complex[Tensor, "b c h w"] | Complex[np.ndarray, "b c h w"],
    sense: Sense,
    lam: int | float = 1e-2,
    max_iter: int = 100,
    tol: float = 1e-6,
) -> Complex[Tensor, "b m h w"]:
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

"""Reconstruction methods by name; zero-filled and CG-SENSE, which assume nothing of the image."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from recon.operator import Sense
from recon.solve import cg
from recon.sparse import l1_wavelet, total_variation
from recon.stacked import Stacked

Method = Literal["zero-filled", "cg-sense", "l1-wavelet", "tv", "modl", "varnet", "stacked"]
Reconstruction = Callable[[Tensor, Sense], Tensor]


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


SOLVERS: dict[str, Callable[..., Tensor]] = {
    "zero-filled": zero_filled,
    "cg-sense": cg_sense,
    "l1-wavelet": l1_wavelet,
    "tv": total_variation,
}
NETWORKS = ("modl", "varnet")
STACK = ("modl", "l1-wavelet", "tv")
"""Methods that ``stacked`` averages, the network first."""
LAM: dict[str, float] = {
    name: signature(solver).parameters["lam"].default for name, solver in SOLVERS.items() if name != "zero-filled"
}
"""Default weights of the regularisation, of the methods that have one."""


def choose(method: str, lam: float | None = None, device: str | torch.device = "cpu") -> Reconstruction:
    """Look up a method by its name: a solver, with a lam if it takes one, a network with its weights, or a stack.

    Parameters
    ----------
    method
        One of `SOLVERS` or `NETWORKS`, or ``stacked`` (`recon.Stacked`) for the average of `STACK`; ``total-variation``
        is ``tv`` in full.
    lam
        Weight of the regularisation, 0 or more.
    device
        Device of a network.

    Raises
    ------
    ValueError
        If there is no such method, or it takes no lam.
    """
    method = "tv" if method == "total-variation" else method
    if method not in (known := (*SOLVERS, *NETWORKS, "stacked")):
        raise ValueError(f"method={method!r} is unknown: use one of {', '.join(known)}")
    if lam is not None and method not in LAM:
        raise ValueError(f"lam={lam} was given, but {method} takes none: leave it out, or use {' or '.join(LAM)}")
    if method == "stacked":
        return stack(choose(STACK[0], device=device))
    if method in NETWORKS:
        from recon.weights import load_network

        return load_network(method, device)
    return SOLVERS[method] if lam is None else partial(SOLVERS[method], lam=lam)


def stack(network: Reconstruction) -> Stacked:
    """``stacked`` with this network in the place of the shipped one."""
    return Stacked([network, *(SOLVERS[name] for name in STACK[1:])])

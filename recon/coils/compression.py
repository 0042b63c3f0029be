"""Compression of k-space to fewer, virtual coils."""

import torch
from jaxtyping import Complex
from torch import Tensor

from recon.coils.calibration import require_kspace


def compress_coils(
    kspace: Complex[Tensor, "b c h w"], n_coils: int
) -> tuple[Complex[Tensor, "b v h w"], Complex[Tensor, "b v c"]]:
    """Compress k-space to the virtual coils that keep most of each slice's energy.

    Parameters
    ----------
    kspace
        Measured k-space, any unit.
    n_coils
        Number of virtual coils, in [1, c]; with c the combination by `rss` stays as it was.

    Returns
    -------
    tuple
        The compressed k-space, strongest virtual coil first, and the matrices, with orthonormal rows. Maps of the
        real coils follow by ``torch.einsum("bvc,bchw->bvhw", matrix, csm)``.

    Raises
    ------
    ValueError
        If k-space is not complex, not finite or zero in a slice, or ``n_coils`` is out of range.

    References
    ----------
    Buehrer et al., Array compression for MRI with large coil arrays, Magn Reson Med 2007, doi:10.1002/mrm.21237.
    """
    require_kspace(kspace)
    if not 1 <= n_coils <= kspace.shape[1]:
        raise ValueError(f"n_coils={n_coils} is out of range: use 1 to {kspace.shape[1]} for these coils")
    matrix = torch.stack([principal_coils(y / y.abs().max(), n_coils) for y in kspace])
    return torch.einsum("bvc,bchw->bvhw", matrix, kspace), matrix


def principal_coils(y: Complex[Tensor, "c h w"], n_coils: int) -> Complex[Tensor, "v c"]:
    """Return the combinations of coils with most energy, strongest first, the largest weight of each real."""
    samples = y.flatten(1).to(torch.complex128)
    vectors = torch.linalg.eigh(samples @ samples.mH).eigenvectors.flip(1)[:, :n_coils].mH
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return (vectors * largest.conj().sgn()).to(y.dtype)

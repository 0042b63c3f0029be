"""Fewer, virtual coils with the same normal operator AᴴA, for solvers that apply it many times."""

import torch
from torch.nn.functional import pad

from recon.operator import Sense

BLOCK = 8  # rows that share their virtual coils: few make fewer coils, many cost fewer decompositions


@torch.no_grad()
def virtual_coils(sense: Sense, tol: float = 1e-3) -> Sense:
    """Return an operator with as few coils as have the same AᴴA.

    Every coil sees the same mask, so AᴴA does not change when the maps are mixed by a unitary matrix; mixed into
    their principal components, the weakest can be left out. Under a mask of columns, rows do not couple, and each
    block of rows has components of its own, of which fewer are needed.

    The k-space of the result is not what the receiver measured: take ``adjoint(kspace)`` from the operator given.

    Parameters
    ----------
    sense
        Operator of the measurement; with several sets of maps it is returned as it is.
    tol
        Largest energy Σ|s|² that may be left out at any pixel, where 1 is all of it: AᴴA changes by at most this in
        norm. Few pixels come near it, so that images change by far less: with ``lam = 0.05``, arrays of 8 and 15 loops
        and the default, by less than 1e-4 of their norm.

    References
    ----------
    Zhang et al., Coil compression for accelerated imaging with Cartesian sampling, Magn Reson Med 2013,
    doi:10.1002/mrm.24267.
    """
    if sense.n_sets > 1:
        return sense
    b, c, h, w = sense.csm.shape
    rows = BLOCK if sense.separable else h
    n_blocks = -(-h // rows)
    blocks = pad(sense.csm, (0, 0, 0, n_blocks * rows - h)).unflatten(2, (n_blocks, rows))
    maps = blocks.transpose(1, 2).reshape(b, n_blocks, c, rows * w)
    _, mixing = torch.linalg.eigh(maps @ maps.mH)  # weakest first
    mixed = (mixing.mH @ maps).flip(2)
    energy = mixed.real.square() + mixed.imag.square()
    left_out = energy.flip(2).cumsum(2).flip(2).amax((0, 1, 3))  # by leaving out the k-th and all weaker ones
    n_virtual = max(int((left_out > tol).sum()), 1)
    if n_virtual == c:
        return sense
    csm = mixed[:, :, :n_virtual].unflatten(3, (rows, w)).transpose(1, 2).flatten(2, 3)[:, :, :h]
    return Sense(sense.mask, csm.contiguous())

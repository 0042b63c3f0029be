import numpy as np
import pytest
import torch

import recon
from recon.arrays import as_tensor


@pytest.fixture
def problem():
    """K-space of a smooth object seen by four coils, and the operator, from arrays as h5py reads them."""
    y, x = np.mgrid[-1:1:48j, -1:1:40j]
    image = torch.from_numpy(np.exp(-4 * (x**2 + y**2)).astype(np.complex64))[None, None]
    csm = recon.surface_coils(4, (48, 40), seed=0)
    kspace = recon.simulate_kspace(image, csm, 1e-3, seed=0)
    return kspace, recon.Sense(torch.ones(40, dtype=torch.bool), csm)


@pytest.mark.parametrize("name", ["zero_filled", "cg_sense", "l1_wavelet", "total_variation"])
def test_methods_take_arrays(problem, name):
    kspace, sense = problem
    method = getattr(recon, name)
    assert torch.equal(method(kspace.numpy(), sense), method(kspace, sense))


def test_operator_maps_and_network_take_arrays(problem):
    kspace, sense = problem
    own = recon.Sense(np.ones(40, bool), sense.csm.numpy())
    assert torch.equal(own.adjoint(kspace.numpy()), sense.adjoint(kspace))
    assert torch.equal(recon.espirit(kspace.numpy()), recon.espirit(kspace))
    model = recon.MoDL(recon.MoDLConfig(unrolls=1, features=4))
    assert torch.equal(model(kspace.numpy(), sense), model(kspace, sense))


def test_arrays_are_copied_in_the_order_of_this_machine():
    array = np.arange(4, dtype=">c8")
    array.flags.writeable = False
    result = as_tensor(array)
    assert result.tolist() == array.tolist()
    assert as_tensor(result) is result

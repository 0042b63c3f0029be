from itertools import pairwise

import pytest
import torch
from properties import check_batch_invariant, check_finite_gradient, check_homogeneous, complex_normal, relative_error

from recon import MoDL, MoDLConfig, Sense, VarNet, VarNetConfig, for_inference, masks, surface_coils
from recon.denoisers import UNetDenoiser

SHAPE = (24, 32)
SENSE = Sense(masks.random(SHAPE[1], 2, 0.3, seed=0), surface_coils(4, SHAPE, 0))
KSPACE = SENSE(complex_normal(3, 1, *SHAPE))


def unet(widths=(6, 8, 10), unrolls=3):
    torch.manual_seed(0)
    network = UNetDenoiser(widths, unrolls).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("shape", [(24, 32), (17, 23), (8, 9)])
def test_unet_keeps_sizes_and_scales(shape):
    network, image = unet(), complex_normal(2, 1, *shape)
    assert network(image).shape == image.shape
    check_homogeneous(network, image)
    check_batch_invariant(network, image, rtol=1e-5)
    check_finite_gradient(network, image)


def test_unet_differs_by_unroll_and_acceleration():
    network, image = unet(), complex_normal(2, 1, *SHAPE)
    assert relative_error(network(image, 1), network(image, 0)) > 1e-3
    assert torch.equal(network(image, 9), network(image, 2))
    fast_scan = torch.tensor([0.0, 2.0])
    result = network(image, 0, fast_scan)
    assert torch.equal(result[:1], network(image, 0)[:1])
    assert relative_error(result[1:], network(image, 0)[1:]) > 1e-3


def networks():
    torch.manual_seed(0)
    modl = MoDL(MoDLConfig(denoiser="unet", unrolls=2, widths=(6, 8), cg_iter=20)).eval()
    varnet, gradient = (VarNet(VarNetConfig(cascades=2, features=6, cg_iter=n)).eval() for n in (20, 0))
    for learned in (modl.denoiser, varnet.cascades, gradient.cascades):
        for parameter in learned.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return {"modl": modl, "varnet": varnet, "gradient": gradient}


NETWORKS = ("modl", "varnet", "gradient")


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_properties_of_reconstructions(name):
    network = networks()[name]

    def reconstruct(y):
        return network(y, SENSE)

    check_homogeneous(reconstruct, KSPACE, rtol=1e-3)
    check_batch_invariant(reconstruct, KSPACE, rtol=1e-3)
    assert torch.equal(reconstruct(KSPACE), reconstruct(KSPACE * SENSE.mask))
    assert not reconstruct(0 * KSPACE).any() or name != "modl"  # whose regularisers have biases
    assert relative_error(for_inference(network)(KSPACE, SENSE), reconstruct(KSPACE)) < 0.02


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_sets_of_maps(name):
    csm = torch.stack([0.8 * surface_coils(4, SHAPE, 0), 0.6 * surface_coils(4, SHAPE, 1)], 1)
    sense = Sense(SENSE.mask, csm)
    result = networks()[name](KSPACE, sense)
    assert result.shape == (3, 2, *SHAPE)
    assert result.isfinite().all()


def test_each_unroll_has_its_own_weight():
    network = networks()["modl"]
    assert network.lam.shape == (2,)
    before = network(KSPACE, SENSE)
    with torch.no_grad():
        network.log_lam[1] += 3
    assert relative_error(network(KSPACE, SENSE), before) > 1e-3
    assert relative_error(network(KSPACE, SENSE, unrolls=1), networks()["modl"](KSPACE, SENSE, unrolls=1)) < 1e-6


@pytest.mark.parametrize("cg_iter", [20, 0])
def test_cascades_of_a_varnet_come_closer_to_the_data(cg_iter):
    """Without what was learned they are iterated regularisation, or gradient descent."""
    varnet = VarNet(VarNetConfig(cascades=6, features=6, cg_iter=cg_iter)).eval()
    for cascade in varnet.cascades:
        torch.nn.init.zeros_(cascade.last.weight)
    errors = [relative_error(SENSE(varnet(KSPACE, SENSE, unrolls=n)), KSPACE) for n in range(1, 7)]
    assert all(later < 0.95 * earlier for earlier, later in pairwise(errors))


def test_varnet_learns_the_weight_of_each_cascade():
    varnet = VarNet(VarNetConfig(cascades=3, features=6, lam=0.2))
    torch.testing.assert_close(varnet.log_lam.exp(), torch.full((3,), 0.2))
    varnet(KSPACE, SENSE).abs().sum().backward()
    assert (varnet.log_lam.grad != 0).all()


def test_impossible_sizes():
    with pytest.raises(ValueError, match="cascades >= 1"):
        VarNet(VarNetConfig(cascades=0))
    with pytest.raises(ValueError, match=r"lam=0\.0 leaves data consistency without unique solution"):
        VarNet(VarNetConfig(lam=0.0))

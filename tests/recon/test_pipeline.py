import pytest
import torch
from properties import check_homogeneous, complex_normal, relative_error

import recon
from recon import Sense, masks, simulate_kspace, smooth_phase, surface_coils
from recon.coils import whiten, whitening
from recon.methods import SOLVERS
from recon.pipeline import estimate_coils, reconstruct
from recon.weights import load_network

SHAPE = (40, 48)


def slices(n=3, n_coils=6, noise_std=0.005):
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, k) for k in SHAPE), indexing="ij")
    images = torch.stack([((y / 0.8) ** 2 + (x / 0.7) ** 2 < 1) * (0.6 + 0.4 * torch.sin(k + 7 * x)) for k in range(n)])
    images = images[:, None] * smooth_phase(SHAPE, 0, std=0.5)
    return images, simulate_kspace(images, surface_coils(n_coils, SHAPE, 0), noise_std, seed=1)


MASK = masks.random(SHAPE[1], 2, 0.3, seed=0)


@pytest.mark.parametrize("method", [*SOLVERS])
def test_volume_is_what_slices_are(method):
    _, kspace = slices()
    whole = reconstruct(MASK * kspace, method=method, batch=2)
    for k in range(3):
        assert relative_error(reconstruct(MASK * kspace[k : k + 1], method=method), whole[k : k + 1]) < 1e-4
    sense = Sense(MASK, recon.espirit(MASK * kspace))
    assert relative_error(whole, SOLVERS[method](MASK * kspace, sense)) < 1e-4
    check_homogeneous(lambda y: reconstruct(y, MASK, method), kspace[:1], rtol=1e-4)


def test_mask_is_found_and_data_outside_are_ignored():
    _, kspace = slices(1)
    result = reconstruct(MASK * kspace, method="cg-sense")
    assert torch.equal(result, reconstruct(kspace, MASK, "cg-sense"))
    assert torch.equal(result, reconstruct(kspace, MASK.expand(SHAPE), "cg-sense"))


def test_rows_are_columns_turned():
    _, kspace = slices(2)
    upright = reconstruct((MASK * kspace), method="cg-sense")
    turned = reconstruct((MASK * kspace).mT.contiguous(), method="cg-sense")
    assert relative_error(turned.mT, upright) < 1e-5


def test_empty_slices_are_zero():
    _, kspace = slices(3)
    kspace[1] = 0
    result = reconstruct(MASK * kspace, method="cg-sense")
    assert not result[1].any()
    assert relative_error(result[2:], reconstruct(MASK * kspace[2:], method="cg-sense")) < 1e-5
    assert not reconstruct(0 * kspace, MASK, "cg-sense").any()


def test_many_coils_are_compressed():
    images, kspace = slices(1, n_coils=20)
    few, all_ = (reconstruct(MASK * kspace, method="cg-sense", n_coils=n).abs() for n in (8, 20))
    assert relative_error(few, all_) < 0.05
    assert relative_error(few, images.abs()) < 0.25


def test_separate_calibration_lines():
    images, kspace = slices(1)
    regular = masks.equispaced(SHAPE[1], 2, 0.0, seed=0)
    with pytest.raises(ValueError, match="mask with more central lines"):
        reconstruct(regular * kspace, method="cg-sense")
    lines = kspace[..., 8:32, 12:36]
    result = reconstruct(regular * kspace, method="cg-sense", calibration=lines)
    assert relative_error(result.abs(), images.abs()) < 0.2


def test_given_maps_and_one_coil():
    images, kspace = slices(2)
    result = reconstruct(kspace, method="cg-sense", csm=surface_coils(6, SHAPE, 0), lam=1e-3)
    assert relative_error(result, images) < 0.03
    _, single = slices(2, n_coils=1)
    assert reconstruct(MASK * single, method="zero-filled").shape == (2, 1, *SHAPE)


def test_noise_is_made_independent_in_maps_too():
    """Whitened k-space of known maps is that of maps whitened alike."""
    images, kspace = slices(1)
    noise = complex_normal(6, 6) @ complex_normal(6, 2000, seed=1)
    csm = surface_coils(6, SHAPE, 0)
    result = reconstruct(kspace, method="cg-sense", csm=csm, noise=noise, lam=1e-4)
    mixed = torch.einsum("vc, bchw -> bvhw", whitening(noise), csm.to(torch.complex128))
    weight = torch.linalg.vector_norm(mixed, dim=1, keepdim=True).float()  # as whitened maps are normalised
    assert relative_error(result, weight * images) < 0.05


def test_maps_of_one_slice_serve_others():
    images, kspace = slices(3)
    coils = estimate_coils(MASK * kspace[:1], n_coils=4)
    result = reconstruct(MASK * kspace, method="cg-sense", csm=coils)
    assert relative_error(result[:1], reconstruct(MASK * kspace[:1], method="cg-sense", n_coils=4)) < 1e-5
    assert relative_error(result.abs(), images.abs()) < 0.25
    each = estimate_coils(MASK * kspace)
    whole = reconstruct(MASK * kspace, method="cg-sense", batch=2)
    assert relative_error(reconstruct(MASK * kspace, method="cg-sense", csm=each), whole) < 1e-5


def test_maps_that_are_zero_give_zero():
    _, kspace = slices(1)
    assert not reconstruct(MASK * kspace, method="cg-sense", csm=0 * surface_coils(6, SHAPE, 0)).any()


def test_two_sets_of_maps():
    _, kspace = slices(1)
    assert reconstruct(MASK * kspace, method="cg-sense", n_sets=2).shape == (1, 2, *SHAPE)


def test_whitened_noise_is_white():
    mixing = complex_normal(5, 5, dtype=torch.complex128)
    noise = mixing @ complex_normal(5, 4000, seed=1, dtype=torch.complex128)
    kspace = complex_normal(2, 5, 6, 7, seed=2, dtype=torch.complex128)
    white = whiten(noise[None, :, :, None], noise)[0, :, :, 0]
    covariance = white @ white.mH / 4000
    scale = covariance.diagonal().real.mean()
    assert (covariance / scale - torch.eye(5)).abs().max() < 0.1
    assert whiten(kspace, noise).shape == kspace.shape
    independent = complex_normal(5, 20000, seed=3)
    assert relative_error(whiten(kspace.to(torch.complex64), independent), kspace.to(torch.complex64)) < 0.1


@pytest.mark.usefixtures("unchecked")
def test_noise_must_fit():
    noise, kspace = complex_normal(5, 40), complex_normal(2, 5, 6, 7)
    for bad, says in ((noise[:4], "does not fit"), (noise[:, :6], "does not fit"), (0 * noise, "is constant")):
        with pytest.raises(ValueError, match=says):
            whiten(kspace, bad)


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments():
    _, kspace = slices(1)
    for options, says in (
        ({"method": "sense"}, "'sense' is unknown: use one of zero-filled, cg-sense"),
        ({"method": "zero-filled", "lam": 0.1}, "takes none"),
        ({"method": "cg-sense", "batch": 0}, "batch=0"),
        ({"method": "cg-sense", "n_coils": 0}, "n_coils=0"),
        ({"method": "cg-sense", "noise": complex_normal(5, 40)}, "does not fit 6 coils"),
    ):
        with pytest.raises(ValueError, match=says):
            reconstruct(kspace, MASK, **options)
    with pytest.raises(ValueError, match="not found: shipped are"):
        load_network("no-such-network")

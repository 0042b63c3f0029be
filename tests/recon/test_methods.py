import pytest
import torch
from properties import (
    check_batch_invariant,
    check_homogeneous,
    check_linear,
    complex_normal,
    phantom,
    relative_error,
)

from recon import (
    Sense,
    birdcage,
    cg_sense,
    l1_wavelet,
    masks,
    simulate_kspace,
    total_variation,
    zero_filled,
)

B, C, H, W = 3, 8, 24, 32
CSM = birdcage(C, (H, W))
SENSE = Sense(masks.random(W, 2, 0.2, seed=0), CSM)
KSPACE = complex_normal(B, C, H, W)


def test_zero_filled_is_the_adjoint():
    assert torch.equal(zero_filled(KSPACE, SENSE), SENSE.adjoint(KSPACE))
    check_homogeneous(lambda y: zero_filled(y, SENSE), KSPACE)


def test_zero_filled_recovers_full_sampling():
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)
    assert relative_error(zero_filled(simulate_kspace(phantom(H, W), CSM, 0.0, seed=0), sense), phantom(H, W)) < 1e-6


@pytest.mark.parametrize("reconstruct", [zero_filled, cg_sense, l1_wavelet, total_variation])
def test_unsampled_values_are_ignored(reconstruct):
    assert torch.equal(reconstruct(KSPACE, SENSE), reconstruct(KSPACE * SENSE.mask, SENSE))


@pytest.mark.filterwarnings("ignore::recon.solve.NotConverged")  # with 8 iterations it still moves
@pytest.mark.parametrize("max_iter", [8, 100])
def test_cg_sense_properties(max_iter):
    def reconstruct(y):
        return cg_sense(y, SENSE, max_iter=max_iter)

    check_homogeneous(reconstruct, KSPACE)
    check_batch_invariant(reconstruct, KSPACE)


def test_cg_sense_is_linear():
    check_linear(lambda y: cg_sense(y, SENSE), KSPACE, complex_normal(B, C, H, W, seed=1), rtol=1e-4)


def test_cg_sense_equals_dense_solve():
    shape, lam = (8, 10), 0.02
    sense = Sense(masks.random(10, 2, 0.2, seed=0), birdcage(4, shape).to(torch.complex128))
    kspace = complex_normal(2, 4, *shape, dtype=torch.complex128)
    basis = torch.eye(80, dtype=torch.complex128).reshape(-1, 1, *shape)
    a = sense(basis).flatten(1).T
    expected = torch.linalg.solve(a.mH @ a + lam * torch.eye(80, dtype=a.dtype), a.mH @ kspace.flatten(1).T)
    x = cg_sense(kspace, sense, lam=lam, max_iter=200, tol=1e-12)
    assert relative_error(x, expected.T.reshape(x.shape)) < 1e-10


def test_cg_sense_unfolds():
    # Every second column of eight coils is well posed, so noise-free data are recovered.
    sense = Sense(masks.equispaced(W, 2, 0.0, seed=0), CSM)
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.0, seed=0)
    assert relative_error(zero_filled(kspace, sense), phantom(H, W)) > 0.2
    assert relative_error(cg_sense(kspace, sense, lam=1e-5, max_iter=200), phantom(H, W)) < 0.01


def test_lam_must_not_be_negative():
    with pytest.raises(ValueError, match=r"lam=-0.1"):
        cg_sense(KSPACE, SENSE, lam=-0.1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("reconstruct", [zero_filled, cg_sense, l1_wavelet, total_variation])
def test_real_kspace(reconstruct):
    with pytest.raises(ValueError, match=r"kspace is torch.float32 .* torch.view_as_complex"):
        reconstruct(torch.view_as_real(KSPACE), SENSE)
    with pytest.raises(ValueError, match=r"kspace has shape \(3, 7, 24, 32\)"):
        reconstruct(KSPACE[:, 1:], SENSE)

import sys

import numpy as np
import pytest
import torch
from properties import (
    check_batch_invariant,
    check_homogeneous,
    check_linear,
    complex_normal,
    relative_error,
)

from recon import Sense, birdcage, cg_sense, l1_wavelet, masks, rss, simulate_kspace, smooth_phase, zero_filled

B, C, H, W = 3, 8, 24, 32
CSM = birdcage(C, (H, W))
SENSE = Sense(masks.random(W, 2, 0.2, seed=0), CSM)
KSPACE = complex_normal(B, C, H, W)


def phantom():
    image = torch.zeros(1, 1, H, W)
    image[..., 6:18, 8:24] = 1
    image[..., 10:14, 12:18] = 0.4
    return image * smooth_phase((H, W), seed=0)


def test_zero_filled_is_the_adjoint():
    assert torch.equal(zero_filled(KSPACE, SENSE), SENSE.adjoint(KSPACE))
    check_homogeneous(lambda y: zero_filled(y, SENSE), KSPACE)


def test_zero_filled_recovers_full_sampling():
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)
    assert relative_error(zero_filled(simulate_kspace(phantom(), CSM, 0.0, seed=0), sense), phantom()) < 1e-6


@pytest.mark.parametrize("reconstruct", [zero_filled, cg_sense, l1_wavelet])
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
    kspace = simulate_kspace(phantom(), CSM, noise_std=0.0, seed=0)
    assert relative_error(zero_filled(kspace, sense), phantom()) > 0.2
    assert relative_error(cg_sense(kspace, sense, lam=1e-5, max_iter=200), phantom()) < 0.01


def test_lam_must_not_be_negative():
    with pytest.raises(ValueError, match=r"lam=-0.1"):
        cg_sense(KSPACE, SENSE, lam=-0.1)


def wavelet_norm(x, wavelet="db4"):
    """Sum of the magnitudes of the wavelet coefficients of one image."""
    from sigpy.wavelet import fwt

    return np.abs(fwt(x[0, 0].numpy(), wave_name=wavelet)).sum()


def test_l1_wavelet_is_sigpys():
    from sigpy.mri.app import L1WaveletRecon

    kspace, lam = simulate_kspace(phantom(), CSM, 0.02, seed=0), 0.02
    zero = zero_filled(kspace, SENSE).abs()
    scale = (zero.pow(4).sum() / zero.square().sum()).sqrt().item()
    weights = SENSE.mask[0, 0].expand(H, W).float().numpy()
    app = L1WaveletRecon(
        kspace[0].numpy(), CSM[0].numpy(), lam * scale, weights, alpha=1, max_iter=100, show_pbar=False
    )
    assert relative_error(l1_wavelet(kspace, SENSE, lam, 100), torch.from_numpy(app.run())[None, None]) < 1e-5


@pytest.mark.parametrize("shape", [(24, 32), (21, 27), (17, 40)])
def test_l1_wavelet_minimises(shape):
    csm = birdcage(4, shape)
    sense, lam = Sense(masks.random(shape[1], 2, 0.2, seed=0), csm), 0.03
    kspace = sense(complex_normal(1, 1, *shape))
    x = l1_wavelet(kspace, sense, lam, max_iter=300)
    zero = zero_filled(kspace, sense).abs()
    weight = lam * (zero.pow(4).sum() / zero.square().sum()).sqrt().item()

    def objective(x):
        return 0.5 * (sense(x) - kspace).abs().square().sum().item() + weight * wavelet_norm(x)

    best = objective(x)
    steps = [0.03 * complex_normal(*x.shape, seed=seed) for seed in range(5)] + [0.03 * x, -0.03 * x, 0.03j * x]
    assert all(objective(x + step) > best for step in steps)
    assert best < min(objective(zero_filled(kspace, sense)), objective(cg_sense(kspace, sense)))


def test_l1_wavelet_properties():
    check_homogeneous(lambda y: l1_wavelet(y, SENSE, max_iter=10), KSPACE, scales=(1e-7, 1e-6, 1e3))
    check_batch_invariant(lambda y: l1_wavelet(y, SENSE, max_iter=10), KSPACE, rtol=1e-5)
    assert relative_error(l1_wavelet(1j * KSPACE, SENSE), 1j * l1_wavelet(KSPACE, SENSE)) < 1e-5


def test_l1_wavelet_does_not_see_empty_margins():
    # The weight goes with the object, so the image stays, but for the margin's part in the coarsest wavelets.
    image = phantom()
    results = []
    for margin in (0, 16):
        padded = torch.nn.functional.pad(image, [margin] * 4)
        csm = birdcage(1, tuple(padded.shape[-2:]))
        sense = Sense(torch.ones(padded.shape[-1], dtype=torch.bool), csm)
        x = l1_wavelet(sense(padded), sense, lam=0.1, max_iter=5, wavelet="haar")
        results.append(x[..., margin : margin + H, margin : margin + W] * csm[..., :1, :1].abs())
    assert relative_error(rss(results[1]), rss(results[0])) < 0.02


def test_l1_wavelet_is_deterministic_and_silent(capfd):
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(l1_wavelet(KSPACE, SENSE), l1_wavelet(KSPACE, SENSE))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002
    assert capfd.readouterr() == ("", "")


def test_measured_zeros_are_not_unsampled():
    # A coil image of zeros is data: with them as gaps, any image would explain it.
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)
    kspace = simulate_kspace(phantom(), CSM, noise_std=0.0, seed=0)
    kspace[..., ::2] = 0
    assert relative_error(l1_wavelet(kspace, sense, lam=0, max_iter=20), zero_filled(kspace, sense)) < 1e-5


def test_l1_wavelet_limits():
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)
    kspace = simulate_kspace(phantom(), CSM, noise_std=0.0, seed=0)
    assert relative_error(l1_wavelet(kspace, sense, lam=0, max_iter=3), phantom()) < 1e-5
    assert (l1_wavelet(KSPACE, SENSE, lam=100) == 0).all()
    assert (l1_wavelet(0 * KSPACE, SENSE) == 0).all()
    assert (l1_wavelet(KSPACE, SENSE, max_iter=0) == 0).all()


def test_l1_wavelet_denoises_and_unfolds():
    sense = Sense(masks.random(W, 2, 0.2, seed=1), CSM)
    kspace = simulate_kspace(phantom(), CSM, noise_std=0.02, seed=0)
    errors = [relative_error(f(kspace, sense), phantom()) for f in (l1_wavelet, cg_sense, zero_filled)]
    assert errors[0] < 0.8 * min(errors[1:])


def test_l1_wavelet_of_large_maps():
    # Maps of any norm converge to the image that goes with them.
    kspace = simulate_kspace(phantom(), CSM, noise_std=0.0, seed=0)
    sense = Sense(torch.ones(W, dtype=torch.bool), 5 * CSM)
    assert relative_error(5 * l1_wavelet(kspace, sense, lam=0, max_iter=5), phantom()) < 1e-5


def test_l1_wavelet_bad_arguments():
    for lam in (-0.1, float("nan")):
        with pytest.raises(ValueError, match=f"lam={lam} .* use lam >= 0"):
            l1_wavelet(KSPACE, SENSE, lam=lam)
    for wavelet in ("db", "bior2.2", "mexh"):
        with pytest.raises(ValueError, match=f"wavelet='{wavelet}' is no orthogonal wavelet: .* 'db4'"):
            l1_wavelet(KSPACE, SENSE, wavelet=wavelet)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("reconstruct", [zero_filled, cg_sense, l1_wavelet])
def test_real_kspace(reconstruct):
    with pytest.raises(ValueError, match=r"kspace is torch.float32 .* torch.view_as_complex"):
        reconstruct(torch.view_as_real(KSPACE), SENSE)
    with pytest.raises(ValueError, match=r"kspace has shape \(3, 7, 24, 32\)"):
        reconstruct(KSPACE[:, 1:], SENSE)


def test_l1_wavelet_without_sigpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy", None)
    with pytest.raises(ImportError, match="needs sigpy: pip install sigpy"):
        l1_wavelet(KSPACE, SENSE)

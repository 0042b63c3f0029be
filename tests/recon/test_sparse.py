import sys

import numpy as np
import pytest
import pywt
import torch
from properties import check_batch_invariant, check_homogeneous, complex_normal, phantom, relative_error

from recon import (
    Sense,
    birdcage,
    cg_sense,
    l1_wavelet,
    masks,
    rss,
    simulate_kspace,
    total_variation,
    zero_filled,
)

B, C, H, W = 3, 8, 24, 32
CSM = birdcage(C, (H, W))
SENSE = Sense(masks.random(W, 2, 0.2, seed=0), CSM)
KSPACE = complex_normal(B, C, H, W)


def wavelet_norm(x, wavelet="db4"):
    """Sum of the magnitudes of the wavelet coefficients of one image."""
    shape = x.shape[2:]
    rest, *details = pywt.wavedec2(x[0, 0].numpy(), wavelet, mode="zero", level=pywt.dwtn_max_level(shape, wavelet))
    return np.abs(rest).sum() + sum(np.abs(part).sum() for triple in details for part in triple)


def test_l1_wavelet_is_sigpys():
    from sigpy.mri.app import L1WaveletRecon

    kspace, lam = simulate_kspace(phantom(H, W), CSM, 0.02, seed=0), 0.02
    zero = zero_filled(kspace, SENSE).abs()
    scale = (zero.pow(4).sum() / zero.square().sum()).sqrt().item()
    weights = SENSE.mask[0, 0].expand(H, W).float().numpy()
    app = L1WaveletRecon(
        kspace[0].numpy(), CSM[0].numpy(), lam * scale, weights, alpha=1, max_iter=100, show_pbar=False
    )
    expected = torch.from_numpy(app.run())[None, None]
    assert relative_error(l1_wavelet(kspace, SENSE, lam, 200, tol=1e-6), expected) < 1e-3
    assert relative_error(l1_wavelet(kspace, SENSE, lam), expected) < 0.02


@pytest.mark.parametrize("shape", [(24, 32), (21, 27), (17, 40)])
def test_l1_wavelet_minimises(shape):
    csm = birdcage(4, shape)
    sense, lam = Sense(masks.random(shape[1], 2, 0.2, seed=0), csm), 0.03
    kspace = sense(complex_normal(1, 1, *shape))
    x = l1_wavelet(kspace, sense, lam, max_iter=300, tol=1e-6)
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
    image = phantom(H, W)
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
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.0, seed=0)
    kspace[..., ::2] = 0
    assert relative_error(l1_wavelet(kspace, sense, lam=0, max_iter=20), zero_filled(kspace, sense)) < 1e-4


def test_l1_wavelet_limits():
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.0, seed=0)
    assert relative_error(l1_wavelet(kspace, sense, lam=0, max_iter=3), phantom(H, W)) < 1e-4
    assert (l1_wavelet(KSPACE, SENSE, lam=100) == 0).all()
    assert (l1_wavelet(0 * KSPACE, SENSE) == 0).all()
    assert relative_error(l1_wavelet(KSPACE, SENSE, max_iter=0), zero_filled(KSPACE, SENSE)) < 1e-6


def test_l1_wavelet_denoises_and_unfolds():
    sense = Sense(masks.random(W, 2, 0.2, seed=1), CSM)
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.02, seed=0)
    errors = [relative_error(f(kspace, sense), phantom(H, W)) for f in (l1_wavelet, cg_sense, zero_filled)]
    assert errors[0] < 0.8 * min(errors[1:])


def test_l1_wavelet_of_large_maps():
    # Maps of any norm converge to the image that goes with them.
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.0, seed=0)
    sense = Sense(torch.ones(W, dtype=torch.bool), 5 * CSM)
    assert relative_error(5 * l1_wavelet(kspace, sense, lam=0, max_iter=5), phantom(H, W)) < 1e-5


def test_l1_wavelet_bad_arguments():
    for lam in (-0.1, float("nan")):
        with pytest.raises(ValueError, match=f"lam={lam} .* use lam >= 0"):
            l1_wavelet(KSPACE, SENSE, lam=lam)
    for wavelet in ("db", "bior2.2", "mexh"):
        with pytest.raises(ValueError, match=f"wavelet='{wavelet}' is no orthogonal wavelet: .* 'db4'"):
            l1_wavelet(KSPACE, SENSE, wavelet=wavelet)


@pytest.mark.parametrize("reconstruct", [l1_wavelet, total_variation])
def test_samples_stop_by_themselves(reconstruct):
    easy = simulate_kspace(phantom(H, W), CSM, 0.0, seed=0)
    both = torch.cat([easy, KSPACE[:1]])
    assert relative_error(reconstruct(both, SENSE)[:1], reconstruct(easy, SENSE)) < 1e-5


def total_variation_of(x):
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[..., :-1, :], right[..., :-1] = x.diff(dim=-2), x.diff(dim=-1)
    return (down.abs().square() + right.abs().square()).sqrt().sum().item()


@pytest.mark.parametrize("shape", [(24, 32), (21, 27)])
def test_total_variation_minimises(shape):
    csm = birdcage(4, shape)
    sense, lam = Sense(masks.random(shape[1], 2, 0.2, seed=0), csm), 0.03
    kspace = sense(complex_normal(1, 1, *shape))
    x = total_variation(kspace, sense, lam, max_iter=600, tol=1e-7)
    zero = zero_filled(kspace, sense).abs()
    weight = lam * (zero.pow(4).sum() / zero.square().sum()).sqrt().item()

    def objective(x):
        return 0.5 * (sense(x) - kspace).abs().square().sum().item() + weight * total_variation_of(x)

    best = objective(x)
    steps = [0.03 * complex_normal(*x.shape, seed=seed) for seed in range(5)] + [0.03 * x, -0.03 * x, 0.03j * x]
    assert all(objective(x + step) > best for step in steps)
    assert best < min(objective(zero_filled(kspace, sense)), objective(l1_wavelet(kspace, sense, lam)))


def test_total_variation_properties():
    check_homogeneous(lambda y: total_variation(y, SENSE, max_iter=10), KSPACE, scales=(1e-7, 1e3))
    check_batch_invariant(lambda y: total_variation(y, SENSE, max_iter=10), KSPACE, rtol=1e-5)
    assert relative_error(total_variation(1j * KSPACE, SENSE), 1j * total_variation(KSPACE, SENSE)) < 1e-5


def test_total_variation_limits():
    sense = Sense(torch.ones(W, dtype=torch.bool), CSM)
    kspace = simulate_kspace(phantom(H, W), CSM, noise_std=0.0, seed=0)
    assert relative_error(total_variation(kspace, sense, lam=0), phantom(H, W)) < 1e-4
    noisy = simulate_kspace(phantom(H, W), CSM, noise_std=0.05, seed=0)
    flat = total_variation(noisy, sense, lam=0.05)
    assert relative_error(flat, phantom(H, W)) < 0.7 * relative_error(zero_filled(noisy, sense), phantom(H, W))
    with pytest.raises(ValueError, match="use lam >= 0"):
        total_variation(KSPACE, SENSE, lam=-1.0)


def test_l1_wavelet_without_pywavelets(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(ImportError, match="pip install pywavelets"):
        l1_wavelet(KSPACE, SENSE)

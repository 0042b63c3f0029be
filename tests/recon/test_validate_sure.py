import pytest
import torch
from properties import complex_normal, relative_error

from recon import (
    Sense,
    birdcage,
    cg_sense,
    estimate_noise,
    l1_wavelet,
    masks,
    simulate_kspace,
    smooth_phase,
    sure,
    surface_coils,
    zero_filled,
)

C, H, W = 4, 48, 48
CSM = surface_coils(C, (H, W), seed=0)
FULL = Sense(torch.ones(W, dtype=torch.bool), CSM)
HALF = Sense(masks.random(W, 2, 0.1, seed=0), CSM)
POINTS = Sense(torch.rand(H, W, generator=torch.Generator().manual_seed(0)) < 0.4, CSM)


def phantom(side=H):
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    image = torch.sigmoid(20 * (0.7 - torch.hypot(x, y))) * (1 + 0.3 * torch.sin(5 * x))
    return image[None, None] * smooth_phase((side, side), seed=0)


TRUTH = phantom()
STD = 0.05
NOISY = simulate_kspace(TRUTH, CSM, STD, seed=0)


def shrink(factor):
    return lambda kspace, sense: factor * zero_filled(kspace, sense)


def test_divergence_of_linear_methods():
    # Of A α Aᴴ it is twice α tr(A Aᴴ) = 2 α tr(AᴴA), since a complex number is two real ones.
    for sense, n_sampled in ((FULL, H * W), (HALF, H * W / 2)):
        estimate = sure(shrink(0.6), NOISY, sense, STD, n_probes=8)
        assert estimate.divergence.item() == pytest.approx(2 * 0.6 * n_sampled, rel=0.02)


def test_divergence_is_that_of_the_dense_matrix():
    shape, lam = (8, 10), 0.02
    sense = Sense(masks.random(10, 2, 0.2, seed=0), birdcage(4, shape).to(torch.complex128))
    basis = torch.eye(80, dtype=torch.complex128).reshape(-1, 1, *shape)
    a = sense(basis).flatten(1).T
    trace = torch.linalg.solve(a.mH @ a + lam * torch.eye(80, dtype=a.dtype), a.mH @ a).diagonal().real.sum().item()
    kspace = complex_normal(1, 4, *shape, dtype=torch.complex128)
    estimate = sure(lambda y, s: cg_sense(y, s, lam, 200, 1e-12), kspace, sense, 0.1, n_probes=200)
    assert estimate.divergence.item() == pytest.approx(2 * trace, rel=0.03)


def test_conjugation_has_no_divergence():
    # y ↦ ȳ turns the imaginary parts: its real trace is 0, however large the map.
    sense = Sense(torch.ones(W, dtype=torch.bool), torch.ones(1, 1, H, W, dtype=torch.complex64))
    estimate = sure(lambda y, s: s.adjoint(y.conj()), NOISY[:, :1], sense, STD, n_probes=8)
    assert abs(estimate.divergence.item()) < 0.03 * 2 * H * W


@pytest.mark.parametrize("sense", [FULL, HALF, POINTS], ids=["full", "columns", "points"])
@pytest.mark.parametrize("factor", [0.3, 0.8, 1.0])
def test_unbiased_for_shrinkage(sense, factor):
    n_samples = C * sense.mask.expand(1, 1, H, W).sum()
    gaps, wrong = [], []
    for seed in range(12):
        kspace = simulate_kspace(TRUTH, CSM, STD, seed)
        true = (sense(shrink(factor)(kspace, sense) - TRUTH)).abs().square().sum() / n_samples
        gaps.append(sure(shrink(factor), kspace, sense, STD, seed=100 + 10 * seed).mse.item() - true.item())
        wrong.append(sure(shrink(factor), kspace, sense, 1.5 * STD, seed=100 + 10 * seed).mse.item() - true.item())
    gaps, wrong = torch.tensor(gaps), torch.tensor(wrong)
    assert gaps.mean().abs() < 4 * gaps.std() / 12**0.5
    assert wrong.mean().abs() > 10 * wrong.std() / 12**0.5  # a wrong σ is not forgiven


@pytest.mark.parametrize("method", [zero_filled, cg_sense, l1_wavelet, shrink(0.9)])
def test_fully_sampled_it_is_the_error_of_the_image(method):
    estimate = sure(method, NOISY, FULL, STD, n_probes=4)
    true = relative_error(method(NOISY, FULL), TRUTH)
    assert estimate.nrmse.item() == pytest.approx(true, rel=0.08)
    squared = (method(NOISY, FULL) - TRUTH).abs().square().sum().item() / (C * H * W)
    assert estimate.mse.item() == pytest.approx(squared, rel=0.16)


def test_undersampled_it_is_blind_to_the_rest():
    kspace = HALF.mask * NOISY
    result = sure(zero_filled, kspace, HALF, STD, n_probes=4).nrmse.item()
    image = zero_filled(kspace, HALF)
    assert result == pytest.approx(relative_error(HALF(image), HALF(TRUTH)), rel=0.05)
    assert result < 0.9 * relative_error(image, TRUTH)


def test_values_outside_the_mask_are_ignored():
    first, second = (sure(zero_filled, y, HALF, STD) for y in (NOISY, HALF.mask * NOISY))
    assert torch.equal(first.mse, second.mse)
    assert torch.equal(first.nrmse, second.nrmse)


@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_unit_of_the_data(scale):
    plain, scaled = (sure(cg_sense, s * NOISY, HALF, s * STD) for s in (1, scale))
    torch.testing.assert_close(scaled.nrmse, plain.nrmse, rtol=1e-3, atol=0)
    torch.testing.assert_close(scaled.mse / scale**2, plain.mse, rtol=1e-3, atol=0)
    torch.testing.assert_close(scaled.divergence, plain.divergence, rtol=1e-3, atol=0)


def test_seed_and_step():
    state = torch.get_rng_state()
    first, again, other = (sure(cg_sense, NOISY, HALF, STD, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.mse, again.mse)
    assert not torch.equal(first.mse, other.mse)
    assert torch.equal(torch.get_rng_state(), state)
    for epsilon in (0.01, 10):  # of a linear method, any step shows the slope
        torch.testing.assert_close(
            sure(cg_sense, NOISY, HALF, STD, epsilon=epsilon).divergence, first.divergence, rtol=1e-3, atol=0
        )


def test_batch():
    kspace, std = torch.cat([NOISY, 100 * NOISY.flip(3)]), torch.tensor([STD, 100 * STD])
    together = sure(zero_filled, kspace, HALF, std, n_probes=2)
    assert together.mse.shape == (2,)
    alone = sure(zero_filled, kspace[:1], HALF, STD, n_probes=2)
    assert together.nrmse[0].item() == pytest.approx(alone.nrmse.item(), rel=0.02)  # other probes


def test_nothing_but_noise():
    noise = simulate_kspace(0 * TRUTH, CSM, STD, seed=0)
    assert sure(zero_filled, noise, FULL, 1.1 * STD).nrmse.isnan().all()
    # Kept as it is, noise is all error; shrunk to nothing, there is none.
    assert sure(shrink(0.0), noise, FULL, STD).mse.item() == pytest.approx(0, abs=0.05 * STD**2)


def test_bad_arguments():
    for options, message in (
        ({"noise_std": 0.0}, r"noise_std=0 is no noise"),
        ({"noise_std": float("nan")}, r"noise_std=nan"),
        ({"noise_std": STD, "epsilon": 0}, r"epsilon=0 is no step"),
        ({"noise_std": STD, "n_probes": 0}, r"n_probes=0"),
    ):
        with pytest.raises(ValueError, match=message):
            sure(zero_filled, NOISY, FULL, **options)


@pytest.mark.parametrize("sense", [FULL, HALF, POINTS], ids=["full", "columns", "points"])
def test_noise_of_noise(sense):
    noise = simulate_kspace(torch.zeros(8, 1, H, W, dtype=torch.complex64), CSM, STD, seed=0)
    noise_std = estimate_noise(noise, sense)
    assert noise_std.shape == (8,)
    assert noise_std.mean().item() == pytest.approx(STD, rel=0.01)
    torch.testing.assert_close(estimate_noise(1e-5 * noise, sense), 1e-5 * noise_std)


@pytest.mark.parametrize("std", [0.01, 0.05])
def test_noise_beneath_an_image(std):
    image, csm = phantom(96), surface_coils(C, (96, 96), seed=0)
    kspace = simulate_kspace(image, csm, std, seed=1)
    result = estimate_noise(kspace, Sense(masks.random(96, 3, 0.1, seed=0), csm)).item()
    assert 0.99 * std < result < 1.05 * std  # the image's own corners raise it
    padded = torch.nn.functional.pad(kspace, (8, 8))  # zeros are no noise
    sense = Sense(torch.ones(112, dtype=torch.bool), surface_coils(C, (96, 112), seed=0))
    assert estimate_noise(padded, sense).item() == pytest.approx(std, rel=0.05)


def test_noise_that_cannot_be_told():
    low = torch.zeros(H, W, dtype=torch.bool)
    low[20:28, 20:28] = True
    with pytest.raises(ValueError, match=r"kspace \(1, 4, 48, 48\) has 0 numbers in its corners, too few .*noise_std"):
        estimate_noise(NOISY, Sense(low, CSM))

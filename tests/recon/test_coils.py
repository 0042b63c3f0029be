import sys

import pytest
import torch
from properties import check_finite_gradient, check_homogeneous, complex_normal, relative_error

from recon import birdcage, fft2c, ifft2c, rss, simulate_kspace, smooth_phase


def test_rss():
    x = torch.tensor([3.0, 4.0j]).reshape(1, 2, 1, 1)
    assert rss(x).item() == pytest.approx(5)
    x = complex_normal(2, 4, 5, 6)
    assert rss(x).shape == (2, 1, 5, 6)
    assert rss(x).dtype == torch.float32
    check_homogeneous(rss, x)
    check_finite_gradient(rss, x)


@pytest.mark.parametrize("n_coils", [1, 4, 8, 15])
def test_birdcage_is_normalised(n_coils):
    csm = birdcage(n_coils, (24, 31))
    assert csm.shape == (1, n_coils, 24, 31)
    assert csm.dtype == torch.complex64
    torch.testing.assert_close(rss(csm), torch.ones(1, 1, 24, 31))


def test_birdcage_coils_differ():
    peaks = birdcage(4, (32, 32)).abs().flatten(2).argmax(-1)
    assert len(peaks.unique()) == 4


def test_birdcage_needs_a_coil():
    with pytest.raises(ValueError, match="n_coils=0"):
        birdcage(0, (8, 8))


def test_birdcage_without_sigpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy.mri", None)
    with pytest.raises(ImportError, match=r'pip install "mriqf\[recon\]"'):
        birdcage(4, (8, 8))


def test_smooth_phase():
    phase = smooth_phase((64, 80), seed=1)
    assert phase.shape == (1, 1, 64, 80)
    torch.testing.assert_close(phase.abs(), torch.ones(1, 1, 64, 80))
    for axis in (-2, -1):
        step = (phase.narrow(axis, 1, phase.shape[axis] - 1) / phase.narrow(axis, 0, phase.shape[axis] - 1)).angle()
        assert 0 < step.abs().max() < 0.3
    assert torch.equal(phase, smooth_phase((64, 80), seed=1))
    assert not torch.equal(phase, smooth_phase((64, 80), seed=2))
    assert relative_error(smooth_phase((9, 9), seed=1, std=0.0), torch.ones(1, 1, 9, 9, dtype=torch.complex64)) == 0


@pytest.mark.parametrize(("arguments", "message"), [({"std": -1.0}, "std=-1.0"), ({"n_knots": 1}, "n_knots=1")])
def test_smooth_phase_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        smooth_phase((8, 8), seed=0, **arguments)


def test_simulate_without_noise():
    image, csm = complex_normal(2, 1, 16, 20), birdcage(4, (16, 20))
    kspace = simulate_kspace(image, csm, noise_std=0.0, seed=0)
    assert relative_error(kspace, fft2c(csm * image)) == 0
    assert relative_error(rss(ifft2c(kspace)), image.abs()) < 1e-6


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_noise_has_the_stated_level(dtype):
    image, csm = torch.zeros(2, 1, 128, 128, dtype=dtype), birdcage(4, (128, 128))
    noise = simulate_kspace(image, csm, noise_std=0.25, seed=0)
    assert noise.dtype == dtype
    n = noise.numel()
    for domain in (noise, ifft2c(noise)):
        for part in (domain.real, domain.imag):
            assert part.std().item() == pytest.approx(0.25, rel=4 / (2 * n) ** 0.5)  # four standard errors
            assert abs(part.mean().item()) < 4 * 0.25 / n**0.5


def test_noise_follows_the_seed():
    image, csm = torch.zeros(1, 1, 8, 8, dtype=torch.complex64), birdcage(2, (8, 8))
    draw = [simulate_kspace(image, csm, 1.0, seed) for seed in (5, 5, 6)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    with pytest.raises(ValueError, match=r"noise_std=-1.0"):
        simulate_kspace(image, csm, -1.0, seed=0)

import sys

import pytest
import torch
from properties import check_batch_invariant, check_finite_gradient, check_homogeneous, complex_normal, relative_error

from recon import (
    birdcage,
    compress_coils,
    espirit,
    fft2c,
    ifft2c,
    masks,
    rss,
    simulate_kspace,
    smooth_phase,
    surface_coils,
)
from recon.coils import calibration_region, calibration_size


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


@pytest.mark.parametrize(("n_coils", "shape"), [(1, (24, 31)), (8, (256, 256)), (15, (80, 61))])
def test_birdcage_is_that_of_sigpy(n_coils, shape):
    maps = torch.from_numpy(pytest.importorskip("sigpy.mri").birdcage_maps((n_coils, *shape)))[None]
    torch.testing.assert_close(birdcage(n_coils, shape), (maps / rss(maps)).to(torch.complex64), rtol=0, atol=1e-7)


def test_birdcage_does_without_sigpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sigpy", None)
    monkeypatch.setitem(sys.modules, "sigpy.mri", None)
    assert birdcage(4, (8, 8)).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("n_coils", [1, 8, 15])
@pytest.mark.parametrize("shape", [(24, 31), (32, 20)])
def test_loops_are_normalised(n_coils, shape):
    csm = surface_coils(n_coils, shape, seed=0)
    assert csm.shape == (1, n_coils, *shape)
    assert csm.dtype == torch.complex64
    torch.testing.assert_close(rss(csm), torch.ones(1, 1, *shape))


def test_loops_follow_the_seed():
    assert torch.equal(surface_coils(8, (32, 32), 1), surface_coils(8, (32, 32), 1))
    assert relative_error(surface_coils(8, (32, 32), 1), surface_coils(8, (32, 32), 2)) > 0.5


def test_loops_are_smooth_and_differ():
    csm = surface_coils(8, (64, 64), seed=0)
    for axis in (-2, -1):
        assert csm.diff(dim=axis).abs().max() < 0.2
    assert len(csm.abs().flatten(2).argmax(-1).unique()) == 8  # each is strongest elsewhere
    maps = csm[0].flatten(1)
    overlap = (maps @ maps.mH).abs() / (maps.norm(dim=1) * maps.norm(dim=1)[:, None])
    assert overlap.fill_diagonal_(0).max() < 0.9


def test_loops_need_a_coil():
    with pytest.raises(ValueError, match="n_coils=0"):
        surface_coils(0, (8, 8), seed=0)


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


def scan(shape=(48, 48), n_coils=4, seed=0, noise_std=0.01):
    """Image of an ellipse that leaves a margin, its maps, and its full k-space."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    image = ((y / 0.75) ** 2 + (x / 0.65) ** 2 < 1) * (0.7 + 0.3 * torch.sin(9 * x + 5 * y))
    image, csm = image * smooth_phase(shape, seed, std=0.5), surface_coils(n_coils, shape, seed)
    return image, csm, simulate_kspace(image, csm, noise_std, seed)


@pytest.mark.parametrize(("height", "width"), [(20, 32), (21, 33)])
@pytest.mark.parametrize("n_center", [0, 1, 6, 7])
def test_calibration_size_of_columns(height, width, n_center):
    mask = masks.random(width, width / (n_center + 3), n_center / width, seed=4)
    start = width // 2
    expected = 0
    while mask[start - (expected + 1) // 2 : start - (expected + 1) // 2 + expected + 1].all():
        expected += 1
    assert calibration_size(mask * complex_normal(2, 3, height, width)) == expected >= n_center - 1


def test_calibration_size():
    kspace = complex_normal(2, 3, 30, 24)
    assert calibration_size(kspace) == 24
    assert calibration_size(0 * kspace) == 0
    plane = torch.zeros(30, 24, dtype=torch.bool)
    plane[10:20, 8:16] = True
    assert calibration_size(plane * kspace) == 8
    missing = kspace.clone()
    missing[1, :, 15, 9] = 0  # three columns before the zero frequency, in one slice
    assert calibration_size(missing) == 5
    kspace[:, 1] = 0  # a dead coil leaves the points sampled
    assert calibration_size(kspace) == 24


def test_calibration_region_is_longer_where_sampling_is():
    kspace = complex_normal(2, 3, 40, 36)
    mask = torch.zeros(36, dtype=torch.bool)
    mask[15:22] = True
    assert calibration_region(mask * kspace) == (24, 7)
    assert calibration_region(mask[:, None] * complex_normal(1, 2, 36, 40)) == (7, 24)
    assert calibration_region(mask * kspace, most=5) == (5, 5)
    assert calibration_region(kspace) == (24, 24)
    assert calibration_region(0 * kspace) == (0, 0)


@pytest.mark.parametrize("n_coils", [1, 3, 6])
def test_compression_keeps_energy(n_coils):
    kspace = scan((20, 24), n_coils=6)[2]
    compressed, matrix = compress_coils(kspace, n_coils)
    assert compressed.shape == (1, n_coils, 20, 24)
    assert matrix.shape == (1, n_coils, 6)
    assert relative_error(matrix @ matrix.mH, torch.eye(n_coils, dtype=matrix.dtype)[None]) < 1e-6
    assert relative_error(compressed, torch.einsum("bvc,bchw->bvhw", matrix, kspace)) == 0
    singular = torch.linalg.svdvals(kspace[0].flatten(1))
    assert compressed[0].flatten(1).norm(dim=1) == pytest.approx(singular[:n_coils], rel=1e-4)  # most that is possible


def test_full_compression_keeps_rss():
    kspace = scan((20, 24), n_coils=6)[2]
    assert relative_error(rss(ifft2c(compress_coils(kspace, 6)[0])), rss(ifft2c(kspace))) < 1e-6
    check_homogeneous(lambda y: compress_coils(y, 3)[0], kspace)
    check_batch_invariant(lambda y: compress_coils(y, 3)[0], torch.cat([kspace, kspace.flip(-1)]), rtol=1e-5)


def test_compressed_maps_fit_compressed_kspace():
    image, csm, kspace = scan((20, 24), n_coils=6, noise_std=0.0)
    compressed, matrix = compress_coils(kspace, 4)
    maps = torch.einsum("bvc,bchw->bvhw", matrix, csm)
    assert relative_error(fft2c(maps * image), compressed) < 1e-5
    assert rss(maps).max() < 1 + 1e-6


@pytest.mark.parametrize("function", [espirit, lambda y: compress_coils(y, 1)], ids=["espirit", "compress_coils"])
@pytest.mark.usefixtures("unchecked")
def test_bad_kspace(function):
    kspace = complex_normal(2, 4, 24, 24)
    with pytest.raises(
        ValueError, match=r"torch.float32 .*\(2, 4, 24, 24, 2\), must be complex .* torch.view_as_complex"
    ):
        function(torch.view_as_real(kspace))
    with pytest.raises(ValueError, match=r"torch.float32 .*\(2, 4, 24, 24\), must be complex .* torch.complex"):
        function(kspace.real)
    with pytest.raises(ValueError, match=r"shape \(4, 24, 24\), not \(b, c, h, w\): .* kspace\[None\]"):
        function(kspace[0])
    with pytest.raises(ValueError, match=r"zero in all coils of slice 1: leave empty slices out"):
        function(kspace * torch.tensor([1, 0]).reshape(2, 1, 1, 1))
    kspace[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        function(kspace)


def test_compression_needs_a_coil():
    for n_coils in (0, 5):
        with pytest.raises(ValueError, match=f"n_coils={n_coils} is out of range: use 1 to 4"):
            compress_coils(complex_normal(1, 4, 8, 8), n_coils)

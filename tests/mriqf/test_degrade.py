"""Degradations have the severity that they are asked for."""

import math

import numpy as np
import pytest
import torch
from properties import check_linear, complex_normal, relative_error
from scipy.ndimage import gaussian_filter

from mriqf import degrade, jpeg
from mriqf.jpeg import lattice

H, W = 48, 64


def to_kspace(image):
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, dim=axes), norm="ortho"), dim=axes)


def to_image(kspace):
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=axes), norm="ortho"), dim=axes)


def blob(y, x, sigma=3.0, shape=(H, W)):
    rows, columns = (torch.arange(float(n)) for n in shape)
    return torch.exp(-((rows[:, None] - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))[None, None]


def centroid(image):
    rows, columns = (torch.arange(float(n)) for n in image.shape[2:])
    return [((image * axis).sum() / image.sum()).item() for axis in (rows[:, None], columns)]


KSPACE = complex_normal(2, 3, H, W, seed=1)


def test_noise_has_exactly_the_level_asked_for():
    added = degrade.noise(KSPACE, 0.3, seed=5) - KSPACE
    for plane in (added, to_image(added)):
        for part in (plane.real, plane.imag):
            assert part.std().item() == pytest.approx(0.3, rel=0.03)
            assert abs(part.mean().item()) < 0.02
    assert torch.equal(degrade.noise(KSPACE, 0.3, seed=5) - KSPACE, added)
    assert not torch.equal(degrade.noise(KSPACE, 0.3, seed=6) - KSPACE, added)
    assert torch.equal(degrade.noise(KSPACE, 0, seed=5), KSPACE)


@pytest.mark.parametrize(
    ("fraction", "kept"), [(0.5, (24, 32)), (0.3, (14, 19)), ((1, 0.25), (48, 16)), (1.0, (48, 64)), (0.001, (1, 1))]
)
def test_truncation_keeps_exact_counts_around_the_centre(fraction, kept):
    result = degrade.truncate(KSPACE, fraction)
    taken = (result != 0)[0, 0]
    assert (taken.any(1).sum().item(), taken.any(0).sum().item()) == kept
    assert taken[H // 2, W // 2]
    assert taken.sum().item() == kept[0] * kept[1]
    assert torch.equal(result[..., taken], KSPACE[..., taken])
    assert degrade.truncate(KSPACE, fraction, crop=True).shape == (2, 3, *kept)


@pytest.mark.parametrize("fraction", [0.5, 0.45, (0.33, 0.7)])
def test_cropped_kspace_shows_the_same_field_of_view(fraction):
    """A small image of the same unit, whose pixels' edges and not their centres meet."""
    truth = blob(21.3, 35.6, sigma=4.0)
    small = to_image(degrade.truncate(to_kspace(truth + 0j), fraction, crop=True)).real
    scale = [large / n for large, n in zip((H, W), small.shape[2:], strict=True)]
    place = [(p + 0.5) * s - 0.5 for p, s in zip(centroid(small), scale, strict=True)]
    assert place == pytest.approx([21.3, 35.6], abs=0.02)
    assert small.mean().item() == pytest.approx(truth.mean().item(), rel=1e-3)


def test_motion_of_nothing_is_the_identity():
    still = torch.zeros(W, 2)
    assert relative_error(degrade.motion(KSPACE, still, torch.zeros(W)), KSPACE) == 0


@pytest.mark.parametrize("shift", [(3, -5), (0, 7), (-11, 0)])
def test_constant_motion_shifts_the_image(shift):
    image = complex_normal(1, 2, H, W)
    moved = to_image(degrade.motion(to_kspace(image), torch.tensor(shift).float().expand(W, 2)))
    assert relative_error(moved, image.roll(shift, (2, 3))) < 1e-5


def test_fractional_shift():
    moved = to_image(degrade.motion(to_kspace(blob(20, 30) + 0j), torch.tensor([0.3, -1.6]).expand(W, 2)))
    assert relative_error(moved.real, blob(20.3, 28.4)) < 1e-4


def test_motion_of_some_columns_leaves_the_others():
    shift, rotation = torch.zeros(W, 2), torch.zeros(W)
    shift[:10], rotation[50:] = 2.5, 3.0
    moved = degrade.motion(KSPACE, shift, rotation)
    assert torch.equal(moved[..., 10:50], KSPACE[..., 10:50])
    assert relative_error(moved[..., 50:], KSPACE[..., 50:]) > 0.1
    assert relative_error(moved[..., :10].abs(), KSPACE[..., :10].abs()) < 1e-6  # a shift is a phase


def test_quarter_turn():
    image = torch.zeros(1, 2, 33, 33, dtype=torch.complex64)
    image[..., 4:-4, 4:-4] = complex_normal(1, 2, 25, 25)
    turned = to_image(degrade.motion(to_kspace(image), torch.zeros(33, 2), torch.full((33,), 90.0)))
    assert relative_error(turned, torch.rot90(image, -1, (2, 3))) < 1e-3  # from width towards height


def test_small_turn_of_an_oblong_image():
    """About the transform's centre, in pixels: angles stay what they are where height and width differ."""
    angle = math.radians(10)
    turned = to_image(degrade.motion(to_kspace(blob(24, 44) + 0j), torch.zeros(W, 2), torch.full((W,), 10.0)))
    assert centroid(turned.real) == pytest.approx([24 + 12 * math.sin(angle), 32 + 12 * math.cos(angle)], abs=0.02)


def test_motion_is_linear():
    path = degrade.random_motion(W, 3, 4, seed=0, severity_deg=2)
    check_linear(lambda x: degrade.motion(x, *path), KSPACE[:1], KSPACE[1:], rtol=1e-4)


@pytest.mark.parametrize("n_shots", [1, 4])
def test_random_motion_rests_at_the_centre(n_shots):
    for seed in range(20):
        shift, rotation = degrade.random_motion(W, 5, 6, seed, severity_deg=2, n_shots=n_shots)
        assert not shift[W // 2 - 1 : W // 2 + 2].any()
        assert not rotation[W // 2 - 1 : W // 2 + 2].any()
        assert 0.5 < shift.abs().max() <= 5
        assert 0.1 < rotation.abs().max() <= 2
        poses = torch.cat((shift, rotation[:, None]), 1)
        assert 2 <= len(poses.unique(dim=0)) <= 8  # of 7 periods, and at rest
        again = degrade.random_motion(W, 5, 6, seed, severity_deg=2, n_shots=n_shots)
        assert torch.equal(again[0], shift)
        assert torch.equal(again[1], rotation)


def test_poses_last_in_the_order_of_acquisition():
    changes = [0, 0]
    for seed in range(10):
        for k, n_shots in enumerate((1, 4)):
            shift, _ = degrade.random_motion(W, 5, 3, seed, n_shots=n_shots)
            in_order = torch.cat([shift[shot::n_shots] for shot in range(n_shots)])
            moving = in_order[in_order.any(1)]
            assert (moving.diff(dim=0) != 0).any(1).sum() <= 3
            changes[k] += int((shift.diff(dim=0) != 0).any(1).sum())
    assert changes[1] > 3 * changes[0]
    still = degrade.random_motion(W, 5, 0, seed=0)
    assert not still[0].any()
    assert not still[1].any()


@pytest.mark.parametrize("phase", [0.0, 1.0, math.pi / 2])
def test_ghost_is_a_copy_half_an_image_away(phase):
    truth = blob(20, 16)
    result = to_image(degrade.ghost(to_kspace(truth + 0j), 0.25, phase))
    assert relative_error(result[..., :32], truth[..., :32] + 0j) < 1e-3
    copy = 0.25 * complex(math.cos(phase), math.sin(phase)) * truth[..., :32]
    assert relative_error(result[..., 32:], copy) < 1e-2
    assert torch.equal(degrade.ghost(KSPACE, 0), KSPACE)


@pytest.mark.parametrize("sigma", [1.3, (2.0, 0.6), (0, 1.0), 0.0])
def test_blur_is_scipys(sigma):
    image = torch.rand(2, 1, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    along = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    expected = torch.from_numpy(gaussian_filter(image.numpy(), (0, 0, *along), mode="mirror"))
    assert relative_error(degrade.blur(image, sigma), expected) < 1e-9


def total_variation(u):
    dy, dx = (np.diff(u.numpy(), axis=axis, append=np.take(u.numpy(), [-1], axis)) for axis in (2, 3))
    return float(np.hypot(dy, dx).sum())


def test_oversmoothing_of_a_step_is_the_exact_solution():
    """Each of two flat halves moves towards the other by the weight over its width."""
    image = torch.zeros(1, 1, 6, 12)
    image[..., 4:] = 1
    result = degrade.oversmooth(image, 0.4, n_iter=3000)
    assert result[..., :4].flatten().tolist() == pytest.approx([0.4 / 4] * 24, abs=1e-3)
    assert result[..., 4:].flatten().tolist() == pytest.approx([1 - 0.4 / 8] * 48, abs=1e-3)


def test_oversmoothing_minimises_its_energy():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    result = degrade.oversmooth(image, 0.1, n_iter=500)

    def energy(u):
        return 0.5 * (u - image).square().sum().item() + 0.1 * total_variation(u)

    for seed in range(5):
        change = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
        assert energy(result) < min(energy(result + 0.02 * change), energy(result + 0.02 * (image - result)))
    assert result.mean().item() == pytest.approx(image.mean().item(), rel=1e-5)
    assert total_variation(degrade.oversmooth(image, 0.3)) < 0.5 * total_variation(result)
    assert relative_error(degrade.oversmooth(7 * image, 0.7, n_iter=500), 7 * result) < 1e-4
    assert torch.equal(degrade.oversmooth(image, 0), image)


def test_oversmoothing_treats_samples_apart():
    pair = torch.rand(2, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(degrade.oversmooth(pair, 0.1)[1:], degrade.oversmooth(pair[1:], 0.1))


def test_shrinking():
    pytest.importorskip("pywt")
    image = torch.rand(2, 1, 31, 48, generator=torch.Generator().manual_seed(0))
    assert relative_error(degrade.shrink(image, 0), image) < 1e-5
    result = degrade.shrink(image, 0.2)
    assert result.shape == image.shape
    assert relative_error(degrade.shrink(7 * image, 1.4), 7 * result) < 1e-5
    assert relative_error(degrade.shrink(image[1:], 0.2), result[1:]) < 1e-6
    # Haar, by hand: one detail of 3 beside a mean of 5, in one block of four pixels.
    block = torch.tensor([[6.5, 6.5], [3.5, 3.5]]).expand(1, 1, 2, 2)
    expected = torch.tensor([[6.0, 6.0], [4.0, 4.0]]).expand(1, 1, 2, 2)
    assert relative_error(degrade.shrink(block, 1, "haar"), expected) < 1e-6


@pytest.fixture
def photograph(texture):
    return torch.from_numpy(texture(128, 136)).float()[None, None] / 255


@pytest.mark.parametrize("phase", [(0, 0), (3, 5), (7, 0)])
def test_jpeg_starts_its_grid_anywhere(photograph, phase):
    result = lattice.estimate_quality(degrade.jpeg(photograph, 60, phase)[0, 0], unknown_phase=True)
    assert (result.quality, result.phase) == (60, phase)
    assert torch.equal(degrade.jpeg(photograph, 60), jpeg.compress(photograph, 60))


@pytest.mark.parametrize("step", [0.93, 1.08])
def test_resampled_jpeg_has_no_lattice_and_stays_in_place(photograph, step):
    smooth = degrade.blur(photograph, 1.5)
    result = degrade.jpeg(smooth, 95, (2, 6), step)
    assert result.shape == smooth.shape
    assert lattice.estimate_quality((result[0, 0] * 255).round() / 255, unknown_phase=True).quality is None
    here = relative_error(result, smooth)
    assert here < 0.02
    for axis in (2, 3):
        for direction in (-1, 1):
            moved = 0.8 * smooth + 0.2 * smooth.roll(direction, axis)  # a fifth of a pixel
            assert here < relative_error(result, moved)
    assert relative_error(degrade.jpeg(smooth, 5, step=step), smooth) > 2 * here


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: degrade.noise(KSPACE, -1, 0), "std=-1 is no standard deviation"),
        (lambda: degrade.truncate(KSPACE, 1.2), "fraction=1.2 is no part of k-space"),
        (lambda: degrade.truncate(KSPACE, (0.5, 0)), r"fraction=\(0.5, 0\) is no part"),
        (lambda: degrade.random_motion(8, 1, 8, 0), "n_events=8 do not fit between 8 columns: use 0 to 7"),
        (lambda: degrade.random_motion(8, 1, 2, 0, n_shots=0), "n_shots=0 acquires nothing"),
        (lambda: degrade.ghost(KSPACE, -0.1), "amplitude=-0.1 is negative"),
        (lambda: degrade.blur(torch.zeros(1, 1, 8, 8), 3.0), r"sigma=3.0 does not fit an image of \(8, 8\)"),
        (lambda: degrade.blur(torch.zeros(1, 1, 8, 8), -1), "sigma=-1 does not fit"),
        (lambda: degrade.oversmooth(torch.zeros(1, 1, 8, 8), -1), "weight=-1 rewards variation"),
        (lambda: degrade.shrink(torch.zeros(1, 1, 8, 8), -1), "threshold=-1 would enlarge details"),
        (lambda: degrade.jpeg(torch.zeros(1, 1, 8, 8), 50, step=0), "step=0 is no distance of pixels"),
        (lambda: degrade.jpeg(torch.zeros(1, 1, 8, 8), 0), "quality is 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)

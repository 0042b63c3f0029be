import numpy as np
import pytest
import torch
from properties import check_homogeneous

from mriqf import metrics


def pair(seed=0, shape=(2, 1, 40, 52)):
    rng = np.random.default_rng(seed)
    truth = np.abs(rng.standard_normal(shape)).cumsum(-1).astype(np.float32)
    return torch.from_numpy(truth + rng.standard_normal(shape).astype(np.float32)).abs(), torch.from_numpy(truth)


REGION = torch.zeros(1, 1, 40, 52, dtype=torch.bool)
REGION[..., 8:30, 10:40] = True


def test_as_scikit_image():
    skimage = pytest.importorskip("skimage.metrics")
    image, truth = pair()
    for i in range(2):
        a, b = truth[i, 0].numpy(), image[i, 0].numpy()
        peak = float(a.max())
        assert metrics.psnr(image, truth)[i].item() == pytest.approx(
            skimage.peak_signal_noise_ratio(a, b, data_range=peak), abs=1e-4
        )
        assert metrics.nrmse(image, truth)[i].item() == pytest.approx(skimage.normalized_root_mse(a, b), rel=1e-5)
        mean, full = skimage.structural_similarity(a, b, data_range=peak, full=True)
        assert metrics.ssim(image, truth)[i].item() == pytest.approx(mean, abs=1e-6)
        peak = float(a[REGION[0, 0]].max())
        _, full = skimage.structural_similarity(a, b, data_range=peak, full=True)
        inside = full[REGION[0, 0].numpy()].mean()
        assert metrics.ssim(image, truth, REGION)[i].item() == pytest.approx(inside, abs=1e-6)


def test_only_the_region_counts():
    image, truth = pair()
    spoiled = torch.where(REGION, image, 1e3)
    for metric in (metrics.psnr, metrics.nrmse):
        torch.testing.assert_close(metric(spoiled, truth, REGION), metric(image, truth, REGION))
        assert (metric(spoiled, truth) != metric(image, truth)).all()


def test_perfect_images():
    _, truth = pair()
    assert torch.equal(metrics.nrmse(truth, truth, REGION), torch.zeros(2))
    assert torch.isinf(metrics.psnr(truth, truth)).all()
    torch.testing.assert_close(metrics.ssim(truth, truth, REGION), torch.ones(2))


def test_no_unit():
    image, truth = pair()
    both = torch.cat([image, truth], 1)
    for metric in (metrics.psnr, metrics.ssim, metrics.nrmse):
        values = [metric(s * both[:, :1], s * both[:, 1:], REGION) for s in (1e-6, 1.0, 1e4)]
        torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(values[2], values[1], rtol=1e-4, atol=1e-6)


def test_matched_scale_is_the_best():
    image, truth = pair()
    matched = metrics.match_scale(image, truth, REGION)
    error = metrics.nrmse(matched, truth, REGION)
    for factor in (0.99, 1.01):
        assert (metrics.nrmse(factor * matched, truth, REGION) > error).all()
    torch.testing.assert_close(metrics.match_scale(7 * image, truth, REGION), matched)


def test_object_mask_finds_the_object():
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    radius = np.hypot(x, y)
    image = np.where(radius < 0.7, 1.0, 0.0) * (radius > 0.3) + 0.02 * np.random.default_rng(0).random((64, 64))
    result = metrics.object_mask(torch.from_numpy(image.astype(np.float32))[None, None])[0, 0].numpy()
    assert result[radius < 0.6].all()  # the dark hole too
    assert not result[radius > 0.85].any()
    check_homogeneous(
        lambda t: metrics.object_mask(t).float() * t, torch.from_numpy(image.astype(np.float32))[None, None]
    )

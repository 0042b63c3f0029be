"""Targets that are degraded: what is varied, and what stays."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mriqf.training.degraded.targets import as_slice, resample, vary


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return torch.from_numpy(100 * gaussian_filter(rng.random((200, 240)), 3).astype(np.float32))[None, None]


def test_same_generator_same_truth(image):
    a, b = (vary(image, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(a, b)


def test_unit_changes_nothing_but_the_unit(image):
    for seed in range(12):
        a, b = (vary(s * image, np.random.default_rng(seed)) for s in (1.0, 1e-3))
        torch.testing.assert_close(a / a.max(), b / b.max(), rtol=1e-4, atol=1e-4)


def test_much_is_varied(image):
    results = [vary(image, np.random.default_rng(seed)) for seed in range(40)]
    assert len({f.shape for f in results}) > 8
    assert sum(torch.equal(f.flatten().sort()[0], image.flatten().sort()[0]) for f in results) >= 4  # turned at most
    assert all((f >= 0).all() for f in results)


def test_resampling_keeps_mean_and_does_not_fold():
    x = torch.arange(256.0)
    fine = (1 + torch.cos(torch.pi * 0.9 * x)).expand(256, 256)[None, None]
    small = resample(fine, 0.65)
    assert small.shape[2:] == (166, 166)
    assert small.mean() == pytest.approx(1, abs=0.02)
    assert small[..., 8:-8].std() < 0.1  # what the pixels cannot hold is gone
    assert resample(fine, 0.2).shape[2:] == (160, 160)
    assert resample(fine[..., :100, :100], 0.5).shape[2:] == (100, 100)


def test_photograph_lies_in_an_outline():
    photo = np.random.default_rng(0).random((300, 500)).astype(np.float32)
    a, b = (as_slice(photo, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(a, b)
    assert a.shape == (256, 256)
    shares = [(as_slice(photo, np.random.default_rng(seed)) > 0).mean() for seed in range(10)]
    assert 0.25 < min(shares) < max(shares) <= 1
    assert min(shares) < 0.95

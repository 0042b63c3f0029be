"""From a map to one number: closed forms and limits."""

import math

import pytest
import torch
from properties import relative_error

from mriqf.scoring.pooling import cell_weight, check_pool, minkowski, pool_map, upsample_map, weighted_mean

GENERATOR = torch.Generator().manual_seed(0)
QUALITY = 5 + 90 * torch.rand(12, 9, generator=GENERATOR)
WEIGHT = torch.rand(12, 9, generator=GENERATOR) * (torch.rand(12, 9, generator=GENERATOR) > 0.4)


def test_closed_forms():
    mean = (QUALITY * WEIGHT).sum() / WEIGHT.sum()
    assert pool_map(QUALITY, WEIGHT) == pytest.approx(mean.item())
    assert pool_map(QUALITY, WEIGHT, "minkowski:1") == pytest.approx(mean.item())
    assert pool_map(QUALITY, WEIGHT, "mean") == pytest.approx(QUALITY.mean().item())
    assert pool_map(QUALITY, WEIGHT, "center") == pytest.approx(QUALITY[3:9, 2:7].mean().item())
    harmonic = WEIGHT.sum() / (WEIGHT / QUALITY).sum()
    assert pool_map(QUALITY, WEIGHT, "minkowski:-1") == pytest.approx(harmonic.item())
    geometric = ((WEIGHT * QUALITY.log()).sum() / WEIGHT.sum()).exp()
    assert pool_map(QUALITY, WEIGHT, "minkowski:0") == pytest.approx(geometric.item())


def test_minkowski_grows_with_its_order_from_worst_to_best():
    orders = (-30, -4, -1, -1e-4, 0, 1e-4, 0.5, 1, 2, 30)
    pooled = [pool_map(QUALITY, WEIGHT, f"minkowski:{p}") for p in orders]
    assert pooled == sorted(pooled)
    kept = QUALITY[WEIGHT > 0]
    assert kept.min() <= pooled[0] < pooled[-1] <= kept.max()
    assert pooled[4] == pytest.approx(pooled[3], abs=0.01)


def test_power_means_of_many_maps():
    generator = torch.Generator().manual_seed(1)
    values = 0.05 + torch.rand(3, 2, 7, 5, generator=generator)
    weights = torch.rand(3, 2, 7, 5, generator=generator)
    weights = weights * (weights > 0.4)
    for p in (-4, -1, 0.5, 1, 3):
        expected = ((values**p * weights).sum((2, 3)) / weights.sum((2, 3))) ** (1 / p)
        assert torch.allclose(minkowski(values, p, weights), expected)
        assert torch.allclose(minkowski(1e-20 * values, p, weights), 1e-20 * expected, rtol=1e-4, atol=0)  # homogeneous
    assert torch.allclose(minkowski(values, 1), values.mean((2, 3)))
    assert torch.allclose(minkowski(values, 0), values.log().mean((2, 3)).exp())
    assert torch.allclose(minkowski(values, 0), minkowski(values, 1e-4), rtol=1e-4)
    steps = torch.stack([minkowski(values, p, weights) for p in (-300, -4, -1, 0, 0.5, 2, 300)])
    assert (steps.diff(dim=0) > 0).all()
    kept = values.masked_fill(weights == 0, torch.nan)
    assert torch.allclose(steps[0], torch.nan_to_num(kept, nan=9.0).amin((2, 3)), rtol=0.02)
    assert torch.allclose(steps[-1], torch.nan_to_num(kept, nan=0.0).amax((2, 3)), rtol=0.02)


def test_power_means_of_zeros_and_nothing():
    values = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    assert minkowski(values, -2) == minkowski(values, 0) == 0
    assert minkowski(values, 2) > 0
    assert minkowski(torch.zeros(2, 2), 2) == 0
    nonzero = (values > 0).float()  # a place without weight does not count, whatever is there
    assert minkowski(values, 0, nonzero) == pytest.approx((0.5 * 1 * 0.25) ** (1 / 3))
    assert all(minkowski(values, p, torch.zeros(2, 2)).isnan() for p in (-1, 0, 1))
    values.requires_grad_()
    minkowski(values[1:], -3).backward()
    assert values.grad is not None
    assert values.grad[1].isfinite().all()
    assert values.grad[1, 1] > values.grad[1, 0] > 0


@pytest.mark.parametrize("pool", ["foreground", "mean", "center", "minkowski:-2", "minkowski:0", "minkowski:3"])
def test_flat_map_pools_to_its_value(pool):
    assert pool_map(torch.full((7, 5), 42.0), torch.rand(7, 5, generator=GENERATOR), pool) == pytest.approx(42)


def test_nothing_in_the_foreground():
    nothing = torch.zeros_like(QUALITY)
    assert math.isnan(pool_map(QUALITY, nothing))
    assert math.isnan(pool_map(QUALITY, nothing, "minkowski:-2"))


def test_quality_zero_pools_finitely():
    assert pool_map(torch.zeros(3, 3), torch.ones(3, 3), "minkowski:-2") == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    "pool", ["median", "minkowski", "minkowski:", "minkowski:x", "minkowski:nan", "mean:2", "", "Mean"]
)
def test_unknown_pools(pool):
    for call in (lambda: check_pool(pool), lambda: pool_map(QUALITY, WEIGHT, pool)):
        with pytest.raises(ValueError, match=r"pool is .*: choose one of foreground, mean, center, minkowski:p"):
            call()


def test_weighted_mean_of_slices():
    assert weighted_mean([(80.0, 0.5), (20.0, 0.25), (math.nan, 0.0)]) == pytest.approx(60)
    assert math.isnan(weighted_mean([(math.nan, 0.0)]))
    assert math.isnan(weighted_mean([]))


def test_cell_weight_is_the_share_of_the_cell():
    masks = torch.zeros(1, 40, 52, dtype=torch.bool)
    masks[0, :24, 8:] = True
    weight = cell_weight(masks, 16)
    assert weight.shape == (1, 1, 3, 4)
    assert weight[0, 0, 0].tolist() == [0.5, 1, 1, 0.25]  # the last column is cut off after 4 of 16 pixels
    assert (weight.sum() * 256).item() == masks.sum().item()


@pytest.mark.parametrize("shape", [(48, 64), (41, 57), (33, 49)])
def test_upsampled_map_has_the_images_shape_and_its_cells_in_place(shape):
    quality = 100 * torch.rand(2, 1, 3, 4, generator=GENERATOR)
    full = upsample_map(quality, shape, 16)
    assert full.shape == (2, *shape)
    assert full.min() >= quality.min()
    assert full.max() <= quality.max()
    middle = (full[:, 7:9, 7:9].mean((1, 2)), full[:, 23:25, 23:25].mean((1, 2)))
    for cell, found in zip((0, 1), middle, strict=True):
        assert found == pytest.approx(quality[:, 0, cell, cell].numpy(), abs=4)
    flat = upsample_map(torch.full((1, 1, 3, 4), 30.0), shape, 16)
    assert relative_error(torch.from_numpy(flat), torch.full((1, *shape), 30.0)) < 1e-6

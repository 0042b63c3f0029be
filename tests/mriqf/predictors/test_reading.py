"""Errors of cells add up to that of the object as squares."""

import math

import pytest
import torch

from mriqf.predictors.reading import rms_error


def test_root_mean_square_of_errors():
    generator = torch.Generator().manual_seed(0)
    error = 10 ** (-2 * torch.rand(2, 1, 7, 5, generator=generator))
    weight = torch.rand(2, 1, 7, 5, generator=generator)
    expected = ((error.square() * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))).sqrt().log10()
    torch.testing.assert_close(rms_error(error.log10(), weight), expected.double(), atol=1e-6, rtol=0)
    flat = torch.full((1, 1, 3, 3), -1.5)
    assert rms_error(flat, torch.rand(1, 1, 3, 3, generator=generator)).item() == pytest.approx(-1.5)


def test_nothing_is_worse_than_all_wrong():
    assert rms_error(torch.tensor([[[[3.0, 0.5]]]]), torch.ones(1, 1, 1, 2)) == 0


def test_one_half_may_be_perfect_and_none_may_be_there():
    half = torch.tensor([[[[-1.0, -math.inf]]]])
    assert rms_error(half, torch.ones(1, 1, 1, 2)).item() == pytest.approx(-1 - 0.5 * math.log10(2))
    assert math.isnan(rms_error(half, torch.zeros(1, 1, 1, 2)))

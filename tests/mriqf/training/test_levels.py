"""Fit of the curve of levels: finds what errors were read wrongly by, and is never flat or falling."""

import numpy as np
import pytest
import torch

from mriqf.predictors.levels import LOGS, rise
from mriqf.predictors.nrmse import NRMSEConfig, NRMSEPredictor, Prediction
from mriqf.training.groups.shards import LEVELS
from mriqf.training.levels import GENTLEST, STEEPEST, fit_levels


@pytest.fixture(scope="module")
def examples(disc):
    rng = np.random.default_rng(0)
    nrmse = 10 ** rng.uniform(-1.8, -0.5, 80)
    image = (LEVELS * disc(1, 64, 64)[0] / disc(1, 64, 64)[0].max()).astype(np.uint16)
    cells = [np.full((2, 8, 8), error, np.float16) for error in nrmse]
    return {"image": [image] * 80, "cells": cells, "nrmse": nrmse, "group": np.arange(80)}


class Reader(NRMSEPredictor):
    """Reads each example's error in turn, wrongly."""

    def __init__(self, readings):
        super().__init__(NRMSEConfig((4, 6, 8), spectra=4, depths=(1, 1)))
        self.readings = iter(readings)

    def symmetric(self, images):
        cells = torch.full((1, 2, images.shape[2] // 8, images.shape[3] // 8), float(next(self.readings)))
        return Prediction(cells, torch.zeros(1), torch.zeros(1), torch.zeros(1, 64, *cells.shape[2:]))


def test_finds_what_was_read_wrongly(examples):
    true = torch.from_numpy(examples["nrmse"]).log10()
    wrong = torch.where(true < -1.2, -1.2 + 0.5 * (true + 1.2), true) + 0.05
    values = fit_levels(Reader(wrong), examples)
    assert (rise(wrong, LOGS, values) - true).abs().max() < 0.05
    assert (wrong - true).abs().max() > 0.3


def test_slopes_have_bounds(examples):
    values = fit_levels(Reader(np.random.default_rng(1).uniform(-2, -0.4, 80)), examples)
    slopes = values.diff() / LOGS.diff()
    assert slopes.min() > 0.99 * GENTLEST and slopes.max() < 1.01 * STEEPEST

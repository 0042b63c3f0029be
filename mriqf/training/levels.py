"""Fit the curve from errors as an NRMSE predictor reads them to true ones, on images that it was not trained on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mriqf.predictors.levels import LOGS, rise
from mriqf.predictors.nrmse import NRMSEPredictor
from mriqf.training.nrmse import MOST, make_batch

GENTLEST, STEEPEST = 0.4, 3.0
"""Slopes of the curve: a flat part would make different images equal, a steep one would make noise of the reading."""
SMALLEST = 0.005
"""Error below which nothing is told apart: half of that at a score of 100."""
STEPS = 300


def fit_levels(
    model: NRMSEPredictor, examples: dict[str, Any], report: Callable[[int], object] = lambda _: None
) -> Float[Tensor, " k"]:
    """Values of the curve at its knots, by least absolute difference of the logarithms of objects' errors.

    Parameters
    ----------
    model
        In evaluation mode; the curve that it has does not count.
    examples
        As `mriqf.training.groups.shards.read_shards` gives them, of subjects that it was not trained on.
    report
        Gets the number of images read, one at a time.
    """
    cells, weights, owners = [], [], []
    with torch.inference_mode():
        for row in range(len(examples["image"])):
            batch = make_batch(examples, [row])
            cells.append(model.symmetric(batch.images.to(model.device)).cells[0, 0].flatten().double().cpu())
            weights.append(batch.weight[0, 0].flatten().double())
            owners.append(torch.full((len(cells[-1]),), row))
            report(1)
    read, weight, owner = (torch.cat(parts).clone() for parts in (cells, weights, owners))
    area = torch.zeros(len(cells), dtype=torch.float64).index_add(0, owner, weight)
    seen = area > 0
    true = torch.from_numpy(np.asarray(examples["nrmse"], np.float64)).clamp(SMALLEST, MOST).log10()[seen]
    free = torch.zeros(len(LOGS), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([free], 0.1)
    for _ in range(STEPS):
        square = weight * 10 ** (2 * rise(read, LOGS, _values(free)))
        total = torch.zeros_like(area).index_add(0, owner, square)[seen]
        optimiser.zero_grad()
        (0.5 * (total / area[seen]).log10() - true).abs().mean().backward()
        optimiser.step()
    return _values(free.detach()).float()


def _values(free: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Values at the knots: the last one's by itself, the others' by the slopes down from there."""
    slopes = GENTLEST + (STEEPEST - GENTLEST) * torch.sigmoid(free[1:] - 1)
    falls = (slopes * LOGS.double().diff()).flip(0).cumsum(0).flip(0)
    last = LOGS[-1].double() + 0.1 * free[:1]
    return torch.cat((last - falls, last))

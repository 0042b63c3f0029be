"""The score as a torchmetrics `Metric`: in evaluation loops, Lightning modules and metric collections.

>>> from mriqf.adapters.torchmetrics import QFScore  # doctest: +SKIP
>>> metric = QFScore("qf-mri")  # doctest: +SKIP
>>> metric.update(images)  # (b, 1, h, w)  # doctest: +SKIP
>>> metric.compute()  # mean score, 0–100  # doctest: +SKIP
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from mriqf.adapters.scorer import BatchScorer
from mriqf.predictors.base import Predictor
from mriqf.scoring.resolution import Resolution

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError(f"QFScore needs torchmetrics ({error}): pip install torchmetrics") from error
except RuntimeError as error:  # torchmetrics imports torchvision where there is one, which must be made for this torch
    raise ImportError(
        f"torchmetrics cannot be imported here ({error}): remove torchvision, or install the one of torch "
        f"{torch.__version__}"
    ) from error


class QFScore(Metric):
    """Mean score of all images seen, 0–100, higher is better; images without foreground count nothing.

    The score's unit is that of the weights: `mriqf.predictors.unit`.

    Images are scored each on its own intensity scale, as by `mriqf.adapters.scorer.BatchScorer`. States are sums, so
    processes are put together exactly. The network is no part of the metric's `state_dict`.

    Parameters
    ----------
    weights
        Name or path of trained weights, or a loaded predictor.
    pool
        Pool that turns the quality map into one number: see `mriqf.scoring.pooling.choose_pool`.
    resolution
        Treatment of an empty rim of k-space: see `mriqf.Scorer`.
    options
        Those of every torchmetrics `Metric`, as `dist_sync_on_step`.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 100.0
    total: Tensor
    count: Tensor

    def __init__(
        self,
        weights: str | Path | Predictor = "qf-mri",
        pool: str = "auto",
        *,
        resolution: Resolution = "own",
        **options: Any,
    ):
        super().__init__(**options)
        self.scorer = BatchScorer(weights, pool, resolution=resolution)
        self.add_state("total", torch.zeros((), dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Num[Tensor, "b ch h w"]) -> None:
        """Score the images of a batch: see `mriqf.adapters.scorer.BatchScorer`."""
        scores = self.scorer(images)
        known = scores[~scores.isnan()].to(self.total)
        self.total += known.sum()
        self.count += len(known)

    def compute(self) -> Float[Tensor, ""]:
        """Mean score; NaN if there was none."""
        return self.total / self.count

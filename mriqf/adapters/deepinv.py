"""The score as deepinv's metrics are: a module, called with a reconstruction, one number for each image.

Needs no deepinv.

>>> import deepinv  # doctest: +SKIP
>>> from mriqf.adapters.deepinv import QFScore  # doctest: +SKIP
>>> deepinv.test(model, dataloader, physics, metrics=[QFScore()])  # doctest: +SKIP
>>> deepinv.Trainer(model, physics, optimizer, train_dataloader=dataloader, metrics=[QFScore()])  # doctest: +SKIP
"""

from pathlib import Path
from typing import Any

from jaxtyping import Float, Num
from torch import Tensor, nn

from mriqf.adapters.scorer import BatchScorer
from mriqf.predictors.base import Predictor
from mriqf.scoring.resolution import Resolution


class QFScore(nn.Module):
    """Score of each reconstruction, 0–100, higher is better; its reference, if there is one, is not looked at.

    The score's unit is that of the weights: `mriqf.predictors.unit`.

    Complex images are complex, or have real and imaginary part as two channels, as deepinv keeps them. There is no
    gradient: to train with the score, see `mriqf.QFLoss`. The network is no part of the module's `state_dict`.

    Parameters
    ----------
    weights
        Name or path of trained weights, or a loaded predictor.
    pool
        Pool that turns the quality map into one number: see `mriqf.scoring.pooling.choose_pool`.
    resolution
        Treatment of an empty rim of k-space: see `mriqf.Scorer`.
    """

    lower_better = False

    def __init__(
        self, weights: str | Path | Predictor = "qf-mri", pool: str = "auto", *, resolution: Resolution = "own"
    ):
        super().__init__()
        self.scorer = BatchScorer(weights, pool, resolution=resolution)

    def forward(
        self,
        x_net: Num[Tensor, "b ch h w"],
        x: Tensor | None = None,  # noqa: ARG002 (as every metric of deepinv, like what follows)
        *args: Any,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> Float[Tensor, " b"]:
        """Score images in any unit; NaN where one has no foreground.

        Parameters
        ----------
        x_net
            See `mriqf.adapters.scorer.BatchScorer`.
        x
            Not used.
        args, kwargs
            Not used: deepinv also gives measurements, physics and model.

        Raises
        ------
        ValueError
            If an image is empty, constant, not finite, smaller than the predictor sees, or has other channels.
        """
        return self.scorer(x_net)

"""Scores of the images of a batch, as evaluation loops have them: what the metrics of other projects share."""

from pathlib import Path

import torch
from jaxtyping import Float, Num
from torch import Tensor

from mriqf.io import from_array
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.scoring.pooling import choose_pool
from mriqf.scoring.quality import magnitude
from mriqf.scoring.resolution import Resolution
from mriqf.scoring.scorer import Scorer


class BatchScorer:
    """Scores, 0–100, higher is better, of each image of a batch, as `mriqf.score` gives it for that image alone.

    Their unit is that of the weights: `mriqf.predictors.unit`.

    Every image has its own intensity scale, so a score does not depend on how images are put into batches; slices of
    one volume, scored together by `mriqf.score`, share theirs, and their scores differ from these. The network runs
    where the images are, scale and foreground on the processor. There is no gradient: for that, see `mriqf.QFLoss`.

    Parameters
    ----------
    weights
        Name or path of trained weights, or a loaded predictor.
    pool
        Pool that turns the quality map into one number: see `mriqf.scoring.pooling.choose_pool`.
    resolution
        Treatment of an empty rim of k-space: see `mriqf.Scorer`.
    """

    def __init__(
        self, weights: str | Path | Predictor = "qf-mri", pool: str = "auto", *, resolution: Resolution = "own"
    ):
        self._model = weights if isinstance(weights, Predictor) else load_predictor(weights)
        self._pool = choose_pool(pool, self._model)
        self._resolution: Resolution = resolution
        self._scorers: dict[torch.device, Scorer] = {}

    def __call__(self, images: Num[Tensor, "b ch h w"]) -> Float[Tensor, " b"]:
        """Score, NaN where an image has no foreground.

        Parameters
        ----------
        images
            In any unit: magnitude or complex `(b, 1, h, w)`, real and imaginary part `(b, 2, h, w)`, or, for weights of
            photographs, RGB `(b, 3, h, w)` in [0, 1] or [0, 255].

        Raises
        ------
        ValueError
            If an image is empty, constant, not finite, smaller than the predictor sees, or has other channels.
        """
        shown = magnitude(images.detach()).cpu()
        if (device := images.device) not in self._scorers:  # each device has a precision that is fast on it
            self._scorers[device] = Scorer(
                self._model, pool=self._pool, calibration=None, resolution=self._resolution, device=device
            )
        scorer = self._scorers[device]
        scores = [
            slice_score.value for image in shown for slice_score in scorer.slices(from_array(image[None], "image"))
        ]
        return torch.tensor(scores, dtype=torch.float32, device=device)

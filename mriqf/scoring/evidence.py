"""Scores of reconstructions from their k-space, by a k-space predictor with its calibration."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from mriqf.calibration import Expected
from mriqf.calibration.file import attached
from mriqf.predictors.base import Predictor
from mriqf.predictors.inference import fingerprint
from mriqf.predictors.kspace import KSpacePredictor, cell_rms
from mriqf.predictors.unit import error_of_score, score_of_error
from mriqf.scoring.pooling import cell_weight, upsample_map
from mriqf.scoring.result import SliceScore
from mriqf.weights import find, load, names, read

SHIPPED = "kspace"
"""Weights that are used unless others are named."""


@dataclass(frozen=True)
class ImageReading:
    """Reading of an image alone by a predictor of errors, on cells of 8×8 pixels."""

    error: Float[Tensor, " 1"]
    """Logarithm (base 10) of the object's error; NaN where the predictor knows no errors, or sees no object."""
    cells: Float[Tensor, "1 1 i j"]
    """The same of cells."""
    weight: Float[Tensor, "1 1 i j"]
    """Share of each cell that is foreground, 0–1."""

    def withheld(self) -> "ImageReading":
        """The foreground alone: what a predictor reads that the k-space predictor was not trained with is no help."""
        return ImageReading(torch.full_like(self.error, math.nan), torch.full_like(self.cells, math.nan), self.weight)


@dataclass(frozen=True)
class KSpaceScore:
    """Error of a reconstruction, as its k-space shows it."""

    value: float
    """Score, 0–100, higher is better."""
    error: float
    """Relative to the object's root mean square, before any calibration."""
    map: Float32[np.ndarray, "h w"]
    """Score of each pixel, 0–100."""
    cells: Float[Tensor, "i j"]
    """Error of each cell of 8×8 pixels."""
    expected: Expected | None
    """NRMSE with its interval, for weights that have a calibration."""


def read_image(scored: SliceScore) -> ImageReading:
    """The reading that a score was made of."""
    error = math.nan if scored.error is None else scored.error
    score = torch.from_numpy(np.ascontiguousarray(scored.map))[None, None]
    cells = cell_rms(error_of_score(score)).log10()
    if scored.error is None:  # the map is of something else
        cells = torch.full_like(cells, math.nan)
    weight = cell_weight(torch.from_numpy(np.ascontiguousarray(scored.foreground))[None], KSpacePredictor.stride)
    return ImageReading(torch.tensor([error]).log10(), cells, weight.float())


class KSpaceScorer:
    """Scores of reconstructions from the evidence of their k-space (`recon.evidence.gather`).

    Parameters
    ----------
    weights
        Name or path of trained weights, or a loaded predictor.

    Raises
    ------
    ValueError
        If there are no such weights, they are another network's, or their calibration is of others.
    """

    def __init__(self, weights: str | Path | KSpacePredictor = SHIPPED):
        model = load(weights) if isinstance(weights, str | Path) else weights
        if not isinstance(model, KSpacePredictor):
            raise ValueError(f"weights {str(weights)!r} are no k-space predictor's: train some by mriqf train kspace")
        self.predictor = model
        self.calibration = attached("auto", model, "rms")
        card = read(find(weights))[1] if isinstance(weights, str | Path) else {}
        self._image_weights = card.get("image_weights", {}).get("fingerprint")

    def knows(self, predictor: Predictor) -> bool:
        """True if it was trained with the readings of this predictor of images."""
        return self._image_weights is None or self._image_weights == fingerprint(predictor)

    @torch.inference_mode()
    def __call__(
        self,
        findings: Float[Tensor, " n"],
        channels: Float[Tensor, "k h w"],
        image: ImageReading,
        *,
        wider: float = 1.0,
    ) -> KSpaceScore:
        """Score of one reconstruction.

        Parameters
        ----------
        findings, channels
            Results of `recon.evidence.gather`, the channels as the image is shown.
        image
            `read_image` of the same image.
        wider
            Factor on the width of the calibration's interval, 1 or more.

        Raises
        ------
        ValueError
            If the findings or channels are others than the predictor knows.
        """
        model, shape = self.predictor, (channels.shape[1], channels.shape[2])
        config = model.config
        if (len(findings), len(channels)) != (len(config.findings), len(config.channels)):
            raise ValueError(f"weights {model.name} were trained on other findings: train them again")
        reading = model.read(findings[None], cell_rms(channels[None]), image.weight, image.error, image.cells)
        error = 10 ** reading.whole.item()
        expected = None
        if self.calibration is not None and reading.width is not None:
            below, above = (math.log(10) * reading.width[0]).tolist()
            features = reading.features[0, :, 0, 0].double().numpy()
            expected = self.calibration.expect(
                score_of_error(error, clamp=False), features, (below, above), wider=wider
            )
        cells = 10**reading.cells
        quality = upsample_map(score_of_error(cells), shape, model.stride)[0]
        return KSpaceScore(score_of_error(error), error, quality, cells[0, 0], expected)


def choose(name: str | None) -> KSpaceScorer | None:
    """The k-space predictor of a name or path; None for `none`, and for no name where none is shipped.

    Raises
    ------
    ValueError
        As `KSpaceScorer`.
    """
    if name is None and SHIPPED not in names():
        return None
    return None if name == "none" else KSpaceScorer(name or SHIPPED)

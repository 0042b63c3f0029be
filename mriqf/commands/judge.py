"""Score and expected error of a reconstruction, from its image alone and from its image and k-space."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from mriqf.calibration import Calibration, Expected
from mriqf.commands.score_table import resolved_in_words
from mriqf.io import from_array
from mriqf.scoring.evidence import KSpaceScorer, read_image
from mriqf.scoring.scorer import Scorer

JUDGED = ("nrmse", "nrmse_low", "nrmse_high", "score", "domain")
"""Columns of the expected error: by the k-space predictor if there is one, else by the image alone."""
IMAGE = ("image_nrmse", "image_nrmse_low", "image_nrmse_high", "image_score", "image_domain")
"""Columns of the expected error by the image alone, filled if there is a k-space predictor."""


@dataclass(frozen=True)
class Judge:
    """Image scorer and, optionally, k-space scorer, applied to one reconstruction at a time."""

    scorer: Scorer
    kspace: KSpaceScorer | None
    force_score: bool

    @property
    def evidence(self) -> str | None:
        """Name of the k-space predictor."""
        return None if self.kspace is None else self.kspace.predictor.name

    @property
    def name(self) -> str:
        """Name of the predictor whose number and map are given."""
        return self.scorer.predictor.name if self.kspace is None else self.kspace.predictor.name

    @property
    def calibration(self) -> Calibration | None:
        """Calibration of the expected errors in the NRMSE columns."""
        return self.scorer.calibration if self.kspace is None else self.kspace.calibration

    def __call__(
        self, image: Float32[np.ndarray, "h w"], evidence: tuple[Tensor, Tensor] | None, *, wider: float = 1.0
    ) -> tuple[dict[str, Any], Float32[np.ndarray, "h w"]]:
        """Score and expected NRMSE, or the reason why there are none; and the quality map.

        Parameters
        ----------
        image
            Magnitude, any unit.
        evidence
            Findings (n,) and local channels (k, h, w) of its k-space, as the image is shown.
        wider
            Factor that widens its interval, for k-space evidence from another method than the image's own.
        """
        volume_score = self.scorer(from_array(image, "image"))
        (slice_score,) = volume_score.slices
        columns = self._columns(slice_score.value, slice_score.expected) | {
            "resolved": resolved_in_words(volume_score.resolved, image.shape)
        }
        if self.kspace is None or evidence is None:
            return columns, slice_score.map
        columns = dict(zip(IMAGE, (columns[key] for key in JUDGED), strict=True)) | {"resolved": columns["resolved"]}
        reading = read_image(slice_score)
        if not self.kspace.knows(self.scorer.predictor):
            reading = reading.withheld()
        by_kspace = self.kspace(*evidence, reading, wider=wider)
        return columns | self._columns(by_kspace.value, by_kspace.expected), by_kspace.map

    def _columns(self, score: float, expected: Expected | None) -> dict[str, Any]:
        columns: dict[str, Any] = dict.fromkeys(JUDGED) | {"score": score}
        if expected is not None:
            columns |= {key: getattr(expected, key) for key in JUDGED[:3]} | {"domain": expected.reason or "ok"}
            if expected.unlike and not self.force_score:
                columns["score"] = None
        return columns

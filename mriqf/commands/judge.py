"""How good a reconstruction is: of its image alone, and by what its k-space says of it."""

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
"""Columns of the error to expect: by the k-space, where it is asked."""
IMAGE = ("image_nrmse", "image_nrmse_low", "image_nrmse_high", "image_score", "image_domain")
"""What the image alone says, where the k-space is asked, too."""


@dataclass(frozen=True)
class Judge:
    """Says how good a reconstruction is, of its image alone, and by what its k-space says of it."""

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
        """That of the errors in the columns of NRMSE."""
        return self.scorer.calibration if self.kspace is None else self.kspace.calibration

    def __call__(
        self, image: Float32[np.ndarray, "h w"], evidence: tuple[Tensor, Tensor] | None, *, wider: float = 1.0
    ) -> tuple[dict[str, Any], Float32[np.ndarray, "h w"]]:
        """Score and NRMSE to expect, or the reason why there are none; and the map.

        Parameters
        ----------
        image
            Magnitude, any unit.
        evidence
            Findings (n,) and local channels (k, h, w) of its k-space, as the image is shown.
        wider
            How many times wider its interval is, by k-space that says less than that of its own method would.
        """
        whole = self.scorer(from_array(image, "image"))
        (seen,) = whole.slices
        told = self._told(seen.value, seen.expected) | {"resolved": resolved_in_words(whole.resolved, image.shape)}
        if self.kspace is None or evidence is None:
            return told, seen.map
        told = dict(zip(IMAGE, (told[key] for key in JUDGED), strict=True)) | {"resolved": told["resolved"]}
        reading = read_image(seen)
        if not self.kspace.knows(self.scorer.predictor):
            reading = reading.withheld()
        better = self.kspace(*evidence, reading, wider=wider)
        return told | self._told(better.value, better.expected), better.map

    def _told(self, score: float, expected: Expected | None) -> dict[str, Any]:
        told: dict[str, Any] = dict.fromkeys(JUDGED) | {"score": score}
        if expected is not None:
            told |= {key: getattr(expected, key) for key in JUDGED[:3]} | {"domain": expected.reason or "ok"}
            if expected.unlike and not self.force_score:
                told["score"] = None
        return told

"""What `mriqf recon` says of its images: the error to expect, from their k-space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex
from torch import Tensor

import recon
from mriqf.commands.judge import JUDGED, Judge
from mriqf.commands.kspace import Reconstruction
from mriqf.commands.options import say
from mriqf.io import KSpace
from mriqf.scoring.evidence import choose
from mriqf.scoring.scorer import Scorer
from recon.evidence import gather
from recon.partial_fourier import PartialFourier, fill, missing_side
from recon.pipeline import Coils, prepare

TOLD = ("nrmse", "nrmse_low", "nrmse_high", "score")
"""Numbers of each image that are written beside it."""
MAP = "quality_map"
"""Score of each pixel, 0–100."""


@dataclass(frozen=True)
class Checked:
    """What is said of one image."""

    told: dict[str, Any]
    """`TOLD`, NaN for what is not known; and its map."""
    remark: str
    """Why something is not known; empty if all is."""


class Checker:
    """Says of images that were just made how large their error is to be expected.

    It takes two reconstructions more, one without a tenth of the lines and one of noisier data, of a batch at a time.

    Raises
    ------
    ValueError
        If no k-space predictor is shipped.
    """

    def __init__(self, device: str):
        by_kspace = choose(None)
        if by_kspace is None:
            raise ValueError("no k-space predictor is shipped with this copy: pass --no-check")
        self.judge = Judge(Scorer(device=device), by_kspace, force_score=False)

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes of the file that the numbers are written to."""
        image = self.judge.scorer.predictor
        return {"check": f"{self.judge.evidence}, {image.name}", "score_unit": image.unit}

    def __call__(
        self,
        solve: Reconstruction,
        kspace: Complex[Tensor, "s c h w"],
        mask: Bool[Tensor, "*h w"],
        coils: Coils,
        images: Complex[Tensor, "s m h w"],
        data: KSpace,
        partial_fourier: PartialFourier,
    ) -> list[Checked]:
        """One for each image of a batch, as `recon.reconstruct` made it of the k-space."""
        y, sense, turned = prepare(kspace, mask, coils)
        side = missing_side(sense.mask[0, 0])

        def method(measured: Tensor, operator: recon.Sense) -> Tensor:
            return fill(solve(measured, operator), side, partial_fourier)

        evidence = gather(method, y, sense, images.transpose(-2, -1) if turned else images)
        channels = data.crop(evidence.channels.transpose(-2, -1) if turned else evidence.channels).cpu()
        shown = data.crop(torch.linalg.vector_norm(images, dim=1)).cpu().numpy()
        return [self._told(*one) for one in zip(shown, evidence.findings.cpu(), channels, strict=True)]

    def _told(self, image: np.ndarray, findings: Tensor, channels: Tensor) -> Checked:
        try:
            told, quality = self.judge(image, (findings, channels))
        except ValueError as error:  # too small, or empty: the image is there all the same
            return Checked({}, str(error))
        numbers = {key: np.nan if told[key] is None else float(told[key]) for key in TOLD}
        return Checked(numbers | {MAP: quality}, "" if told[JUDGED[-1]] == "ok" else str(told[JUDGED[-1]]))


def say_remarks(name: str, indices: Sequence[int], checked: Sequence[Checked]) -> None:
    """One line for the slices of a batch that have the same remark."""
    for remark in dict.fromkeys(one.remark for one in checked if one.remark):
        mine = [str(i) for i, one in zip(indices, checked, strict=True) if one.remark == remark]
        say(f"{name}: slice{'s' * (len(mine) > 1)} {', '.join(mine)}: no error to expect: {remark}")


def row(checked: Checked | None) -> dict[str, Any]:
    """Columns of the printed row; None for what is not known."""
    numbers = {} if checked is None else checked.told
    return {key: None if np.isnan(numbers.get(key, np.nan)) else numbers[key] for key in TOLD}

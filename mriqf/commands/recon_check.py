"""Expected errors of the images of `mriqf recon`, from image and k-space."""

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
from recon.stacked import fitted

NUMBERS = ("nrmse", "nrmse_low", "nrmse_high", "score")
"""Values stored beside each image."""
MAP = "quality_map"
"""Score of each pixel, 0–100."""


@dataclass(frozen=True)
class Checked:
    """Result of the check of one image."""

    values: dict[str, Any]
    """`NUMBERS`, NaN for unknown values, and the quality map."""
    remark: str
    """Reason for unknown values; empty if all are known."""


class Checker:
    """Expected errors of a batch of new reconstructions.

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
        """Check each image of a batch that `recon.reconstruct` made of the k-space."""
        y, sense, turned = prepare(kspace, mask, coils)
        side, same = missing_side(sense.mask[0, 0]), fitted(solve, y, sense)

        def method(measured: Tensor, operator: recon.Sense) -> Tensor:
            return fill(same(measured, operator), side, partial_fourier)

        evidence = gather(method, y, sense, images.transpose(-2, -1) if turned else images)
        channels = data.crop(evidence.channels.transpose(-2, -1) if turned else evidence.channels).cpu()
        magnitudes = data.crop(torch.linalg.vector_norm(images, dim=1)).cpu().numpy()
        return [self._check_image(*one) for one in zip(magnitudes, evidence.findings.cpu(), channels, strict=True)]

    def _check_image(self, image: np.ndarray, findings: Tensor, channels: Tensor) -> Checked:
        try:
            columns, quality = self.judge(image, (findings, channels))
        except ValueError as error:  # too small, or empty: the image is there all the same
            return Checked({}, str(error))
        numbers = {key: np.nan if columns[key] is None else float(columns[key]) for key in NUMBERS}
        return Checked(numbers | {MAP: quality}, "" if columns[JUDGED[-1]] == "ok" else str(columns[JUDGED[-1]]))


def say_remarks(name: str, indices: Sequence[int], checked: Sequence[Checked]) -> None:
    """Print one line for the slices of a batch that have the same remark."""
    for remark in dict.fromkeys(one.remark for one in checked if one.remark):
        selected = [str(i) for i, one in zip(indices, checked, strict=True) if one.remark == remark]
        say(f"{name}: slice{'s' * (len(selected) > 1)} {', '.join(selected)}: no error to expect: {remark}")


def row(checked: Checked | None) -> dict[str, Any]:
    """Columns of the printed row; None for unknown values."""
    numbers = {} if checked is None else checked.values
    return {key: None if np.isnan(numbers.get(key, np.nan)) else numbers[key] for key in NUMBERS}

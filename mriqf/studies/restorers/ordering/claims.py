"""The papers' claims as comparisons of gains with a bar, fixed before measuring."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, where

Verdict = Literal["holds", "does not hold", "undecided", "not measured"]

LOW = (10, 20, 30, 40)
FLAT = (*LOW, 50)
COST = 0.5
"""Decibels that gated skips may cost."""
SPREAD = 0.6
"""Maximum range, in decibels, of mean gains that count as flat over qualities."""
MUCH = 0.5
"""Decibels by which an arm counts as far better than another; 1.4 in the paper."""
NOTHING = 0.1
"""Gain in decibels that counts as none."""
VANISHED = 1 / 3
"""Share of the gain at quality 10 below which a gain has vanished."""


@dataclass(frozen=True)
class Comparison:
    """Figure of the gains of some arms at some qualities, and the bar that it is compared with."""

    says: str
    cells: tuple[tuple[str, int], ...]
    """Arm and quality of each of the gains that the figure is made of."""
    figure: Callable[..., float]
    """Function of gains in PSNR over JPEG, dB, `(n,)` for each cell, photographs in the same order."""
    bar: float = 0.0
    above: bool = True
    """Side of the bar on which it must lie."""


@dataclass(frozen=True)
class Hypothesis:
    """Claim of a paper, and the comparisons that must all agree with it."""

    name: str
    says: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Judged:
    """Result of a comparison, decibels."""

    value: float
    low: float
    """Lower end of the 95 % interval over photographs, which all arms share; NaN for less than three."""
    high: float
    seeds: tuple[float, ...]
    """Figure of each seed."""
    verdict: Verdict


def gains(table: Columns, arm: str, quality: int) -> Float[np.ndarray, "s n"]:
    """Gains in PSNR over JPEG, decibels: seeds and photographs in order; (0, 0) if it was not measured."""
    rows = where(table, arm=arm, quality=quality)
    order = np.lexsort((rows["image"], rows["dataset"], rows["seed"]))
    seeds = len(np.unique(rows["seed"]))
    return (rows["psnr"] - rows["jpeg"])[order].reshape(seeds, len(order) // max(seeds, 1))


def compare(comparison: Comparison, table: Columns) -> Judged:
    """Figure of the mean gains over seeds, and the side of the bar on which its interval lies."""
    cells = [gains(table, *cell) for cell in comparison.cells]
    if not all(cell.size for cell in cells):
        return Judged(np.nan, np.nan, np.nan, (), "not measured")
    means = [cell.mean(0) for cell in cells]
    low, high = bootstrap(comparison.figure, np.arange(len(means[0])), *means)
    right, wrong = low > comparison.bar, high < comparison.bar
    if not comparison.above:
        right, wrong = wrong, right
    verdict: Verdict = "holds" if right else "does not hold" if wrong else "undecided"
    seeds = tuple(comparison.figure(*each) for each in zip(*cells, strict=True))
    return Judged(comparison.figure(*means), low, high, seeds, verdict)


def judge(claim: Hypothesis, table: Columns) -> tuple[Verdict, list[Judged]]:
    """A claim holds if all its comparisons do, and does not if one does not."""
    comparisons = [compare(comparison, table) for comparison in claim.comparisons]
    verdicts = {judged.verdict for judged in comparisons}
    worst: tuple[Verdict, ...] = ("not measured", "does not hold", "undecided", "holds")
    return next(verdict for verdict in worst if verdict in verdicts), comparisons


def _gain(*gains: np.ndarray) -> float:
    return float(np.mean(gains))


def _difference(*gains: np.ndarray) -> float:
    half = len(gains) // 2
    return _gain(*gains[:half]) - _gain(*gains[half:])


def _spread(*gains: np.ndarray) -> float:
    return float(np.ptp([g.mean() for g in gains]))


def _least(*gains: np.ndarray) -> float:
    return float(min(g.mean() for g in gains))


def _left(high: np.ndarray, low: np.ndarray) -> float:
    return _gain(high) - VANISHED * _gain(low)


def _better(arm: str, other: str, qualities: tuple[int, ...] = (10,), bar: float = 0.0) -> Comparison:
    cells = tuple((name, quality) for name in (arm, other) for quality in qualities)
    return Comparison(f"{arm} less {other} at {_range(qualities)}", cells, _difference, bar)


def _worse(arm: str, other: str, quality: int) -> Comparison:
    cells = ((arm, quality), (other, quality))
    return Comparison(f"{arm} less {other} at {quality}", cells, _difference, above=False)


def _gains(arm: str, quality: int, bar: float, above: bool = True) -> Comparison:
    return Comparison(f"gain of {arm} at {quality}", ((arm, quality),), _gain, bar, above)


def _range(qualities: tuple[int, ...]) -> str:
    return str(qualities[0]) if len(qualities) == 1 else f"{qualities[0]}–{qualities[-1]}"


def _over(arm: str, qualities: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
    return tuple((arm, quality) for quality in qualities)


CLAIMS = (
    Hypothesis(
        "B1",
        "Gated skips cost at most 0.5 dB (colour at quality 10: QAIRN 27.25, FBCNN, whose trunk it has, 27.77)",
        # Without a gain there is none to lose.
        (_better("qairn", "qairn-added", bar=-COST), _gains("qairn", 10, NOTHING)),
    ),
    Hypothesis(
        "C1",
        "Being told the table helps (QCN over EDSR, LIVE1, qualities 10–40: +0.12 to +0.21 dB)",
        (_better("qcn", "edsr", LOW),),
    ),
    Hypothesis(
        "C2",
        "The global branch helps (QGCN over QCN, LIVE1, qualities 10–40: +0.22 to +0.28 dB)",
        (_better("qgcn", "qcn", LOW),),
    ),
    Hypothesis(
        "C3",
        "One network gains evenly over qualities 10–50 (LIVE1, colour: 2.20 to 2.24 dB), where those of one quality "
        "collapse",
        (
            Comparison(
                "largest less smallest gain of qgcn, 10–50", _over("qgcn", FLAT), _spread, bar=SPREAD, above=False
            ),
            _worse("qgcn-q10", "qgcn", 50),
            _gains("qgcn-q10", 50, 0.0, above=False),
            _worse("qgcn-q40", "qgcn", 10),
        ),
    ),
    Hypothesis(
        "D1",
        "One network serves all qualities (LIVE1 at quality 50: QGAC +1.87 dB, IDCN trained at 10 −0.72 dB)",
        (Comparison("smallest gain of qgac, 10–50", _over("qgac", FLAT), _least),),
    ),
    Hypothesis(
        "D2",
        "Kernels made of the table beat no table, and the table as a channel (Classic5 at quality 10: 29.46, 29.38, "
        "29.32 dB)",
        (_better("qgac", "qgac-none"), _better("qgac", "qgac-concatenate")),
    ),
    Hypothesis(
        "D3",
        "The block network alone is far better than the frequency network alone (Classic5 at quality 10: 29.45, "
        "28.03 dB)",
        (_better("qgac-blocks", "qgac-frequency", bar=MUCH),),
    ),
    Hypothesis(
        "D4",
        "Without fusion nothing is gained (Classic5 at quality 10: 27.82 dB, as JPEG itself; with it 29.22 dB)",
        (_gains("qgac-unfused", 10, NOTHING, above=False), _gains("qgac", 10, NOTHING)),
    ),
    Hypothesis(
        "D5",
        "The gain vanishes at quality 90 and above (falls off steeply, figure 11)",
        (
            _gains("qgac", 10, NOTHING),
            Comparison(
                "gain of qgac at 90 less a third of that at 10", (("qgac", 90), ("qgac", 10)), _left, 0.0, False
            ),
        ),
    ),
)

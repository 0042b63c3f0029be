"""The twelve claims, how each is measured, and the bars that it must pass: fixed before the first held-out run.

Each claim has the bars that were proposed with it, and harder ones. `None` where there is none.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """Bounds that a figure must meet."""

    least: float = -float("inf")
    most: float = float("inf")

    def verdict(self, value: float) -> str:
        """`holds`, by how much it fails, or that nothing was measured."""
        if value != value:
            return "not measured"
        if self.least <= value <= self.most:
            return "holds"
        miss = self.least - value if value < self.least else value - self.most
        return f"**fails** by {miss:.2g}"

    def __str__(self) -> str:
        if self.least == -float("inf"):
            return f"≤ {self.most:.3g}"
        return f"≥ {self.least:g}" if self.most == float("inf") else f"{self.least:g}–{self.most:g}"


@dataclass(frozen=True)
class Claim:
    """One of the twelve."""

    number: int
    text: str
    protocol: str
    bars: dict[str, tuple[Bar | None, Bar | None]]
    """Of each measure: as proposed, and harder."""


def _least(proposed: float | None, harder: float | None = None) -> tuple[Bar | None, Bar | None]:
    return tuple(None if x is None else Bar(least=x) for x in (proposed, harder))  # pyright: ignore[reportReturnType]


def _most(proposed: float | None, harder: float | None = None) -> tuple[Bar | None, Bar | None]:
    return tuple(None if x is None else Bar(most=x) for x in (proposed, harder))  # pyright: ignore[reportReturnType]


CLAIMS = (
    Claim(
        1,
        "tracks error within a slice",
        "Spearman's correlation of score and NRMSE over R, for each slice, family of masks, seed and method",
        {"mean": _least(0.97), "least": _least(0.90)},
    ),
    Claim(
        2,
        "tracks error across subjects",
        "the same, all subjects × methods × masks × R pooled; nothing is normalised by subject",
        {
            "all": _least(0.85),
            "seen": _least(0.85, 0.965),
            "unseen": _least(0.85, 0.94),
            "modl": _least(None, 0.90),
            "other": (None, None),
        },
    ),
    Claim(
        3,
        "tracks error across families of degradation",
        "ten families × levels × slices pooled; each family across subjects; its sign within each slice; families "
        "that a network was not trained on",
        {
            "all": _least(0.80),
            "seen": _least(0.80, 0.965),
            "unseen": _least(0.80, 0.94),
            "family": _least(None, 0.80),
            "sign": _least(0.95),
            "left out": _least(None, 0.60),
        },
    ),
    Claim(
        4,
        "ranks neighbouring levels",
        "share of adjacent levels of one slice and family whose NRMSE differ by 0.01 or more that are ranked right; "
        "ties count as wrong",
        {"degraded": _least(0.95, 0.95), "recon": _least(0.95, 0.95)},
    ),
    Claim(
        5,
        "picks the better reconstruction",
        "all pairs of methods on the same data at the same R: the lower score has the higher NRMSE; ties are wrong",
        {"pairs": _least(0.80, 0.85), "clear": (None, None), "ssim": (None, None), "traps": (None, None)},
    ),
    Claim(
        6,
        "predicts NRMSE and SSIM in absolute terms",
        "calibrated on other subjects; mean absolute error, and slope of what is against what was predicted",
        {
            "nrmse all": _most(0.02),
            "nrmse seen": _most(0.02, 0.015),
            "nrmse unseen": _most(0.02, 0.03),
            "ssim": _most(0.05),
            "slope": (Bar(0.8, 1.2), None),
        },
    ),
    Claim(
        7,
        "gives honest intervals",
        "90 % intervals of NRMSE by split-conformal prediction, calibrated on other subjects: coverage by subject, and "
        "mean width over the range of NRMSE (percentiles 5 to 95)",
        {"coverage": (Bar(0.85, 0.95), Bar(0.87, 0.93)), "width": _most(1 / 3)},
    ),
    Claim(
        8,
        "raises few false alarms on clean images",
        "threshold below which 5 % of clean training slices lie; clean held-out slices, changed in ways that say "
        "little or nothing of quality; largest change of the score, of its range, under scaling, padding and flips",
        {"alarms": _most(0.10, 0.10), "change": _most(0.02), "other": (None, None)},
    ),
    Claim(
        9,
        "localises",
        "something is wrong in one quadrant: AUROC of the map against where, in the object; correlation of the map "
        "with the local error in the object",
        {"auroc": _least(0.80, 0.85), "voxel": _least(0.45, 0.50), "other": (None, None)},
    ),
    Claim(
        10,
        "predicts R",
        "isotonic map from the score to R, fitted on other subjects (and other families of masks): nearest R is the "
        "true one, mean absolute error",
        {"top1": _least(0.60), "mae": _most(0.7), "other": (None, None)},
    ),
    Claim(
        11,
        "reads JPEG",
        "patches of 64², qualities 5–95 and 80–98, on the grid and cropped off it, beside the lattice estimator",
        {"mae": _most(4.0), "within 2": (None, None), "lattice 5-95": _least(0.95), "lattice 80-98": _least(0.99)},
    ),
    Claim(
        12,
        "is fast and repeatable",
        "320×320, one and two threads, median of 20 after a warm-up; largest change of the score, as a share of its "
        "range, alone or in a batch, in single or double precision, on one thread or two",
        {"ms": _most(50.0, 20.0), "change": _most(1e-5)},
    ),
)
GAP = 0.01
"""Of NRMSE: smaller differences of adjacent levels are not asked for (claim 4)."""
CLEAR = 0.005
"""Of NRMSE: pairs of methods that differ by more are reported by themselves (claim 5)."""
ALARM = 0.05
"""Share of clean training slices below the threshold (claim 8)."""
COVERAGE = 0.90


def claim(number: int) -> Claim:
    """One of the twelve by its number."""
    return CLAIMS[number - 1]

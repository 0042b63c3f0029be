"""Twelve claims with their protocols and bars, fixed before the first run on these sets.

Where there is no bar, `None`. A set is unseen if none of its subjects is in the training part of the manifest.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """Bounds of a figure."""

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
    """Claim with its protocol and bars."""

    number: int
    text: str
    protocol: str
    bars: dict[str, Bar | None]
    """Bar of each measure."""


CLAIMS = (
    Claim(
        1,
        "tracks error within a slice",
        "Spearman's correlation of score and NRMSE over R, for each slice, family of masks, seed and method; and by "
        "how much the mean exceeds that of EFC, which costs nothing",
        {"mean": Bar(least=0.95), "least": Bar(least=0.90), "above EFC": Bar(least=-0.01), "other": None},
    ),
    Claim(
        2,
        "tracks error across subjects",
        "the same, subjects × methods × masks × R of each set pooled; nothing is normalised by subject",
        {
            "all": Bar(least=0.85),
            "seen": Bar(least=0.96),
            "unseen mean": Bar(least=0.94),
            "unseen": Bar(least=0.90),
            "learned": Bar(least=0.90),
            "other": None,
        },
    ),
    Claim(
        3,
        "tracks error across families of degradation",
        "ten families × levels × slices of each set pooled; each family across subjects; its sign within each slice; "
        "families that a network was not trained on. Images are compared at their own resolution, truncated ones also "
        "as they are",
        {
            "all": Bar(least=0.80),
            "seen": Bar(least=0.96),
            "unseen mean": Bar(least=0.94),
            "unseen": Bar(least=0.90),
            "family": Bar(least=0.80),
            "sign": Bar(least=0.95),
            "left out": Bar(least=0.60),
            "other": None,
        },
    ),
    Claim(
        4,
        "ranks neighbouring levels",
        "share of adjacent levels of one slice and family whose NRMSE differ by 0.01 or more that are ranked right; "
        "ties count as wrong",
        {"degraded": Bar(least=0.95), "recon": Bar(least=0.95), "other": None},
    ),
    Claim(
        5,
        "picks the better reconstruction",
        "all pairs of methods on the same data at the same R: the lower score has the higher NRMSE; ties are wrong",
        {"pairs": Bar(least=0.92), "other": None},
    ),
    Claim(
        6,
        "predicts NRMSE and SSIM in absolute terms",
        "calibrated on other subjects; mean absolute error, and slope of what is against what was predicted",
        {
            "nrmse all": Bar(most=0.02),
            "nrmse seen": Bar(most=0.015),
            "nrmse unseen mean": Bar(most=0.03),
            "ssim": Bar(most=0.05),
            "slope": Bar(0.8, 1.2),
            "other": None,
        },
    ),
    Claim(
        7,
        "gives honest intervals, and seldom refuses",
        "90 % intervals of NRMSE, calibrated on other subjects: coverage pooled, of each set and of each subject; mean "
        "width over the range of NRMSE (percentiles 5 to 95); share of images that get no number",
        {
            "coverage": Bar(0.87, 0.93),
            "coverage of a set": Bar(least=0.85),
            "width": Bar(most=1 / 3),
            "refused": Bar(most=0.10),
            "other": None,
        },
    ),
    Claim(
        8,
        "raises few false alarms on clean images",
        "clean slices, changed in ways that add no error but the noise that is named: a false alarm is a 90 % interval "
        "of NRMSE that lies above the slice's own noise (and above 0.01); largest change of the score, of its range, "
        "under scaling, padding and flips",
        {"alarms": Bar(most=0.10), "change": Bar(most=0.02), "other": None},
    ),
    Claim(
        9,
        "localises",
        "something is wrong in one quadrant: AUROC of the map against where, in the object; correlation of the map "
        "with the local error in the object",
        {"auroc": Bar(least=0.85), "voxel": Bar(least=0.50), "other": None},
    ),
    Claim(
        10,
        "predicts R",
        "isotonic map from the score to R, fitted on other subjects (and other families of masks): nearest R is the "
        "true one, mean absolute error; beside a ridge on all that is said of an image, and the constant",
        {"top1": Bar(least=0.60), "mae": Bar(most=0.7), "other": None},
    ),
    Claim(
        11,
        "reads JPEG",
        "patches of 64², qualities 5–95 and 80–98, on the grid and cropped off it, beside the lattice estimator",
        {"mae": Bar(most=4.0), "within 2": None, "lattice 5-95": Bar(least=0.95), "lattice 80-98": Bar(least=0.99)},
    ),
    Claim(
        12,
        "is fast and repeatable",
        "320×320, one and two threads, median of 20 after a warm-up; largest change of the score, as a share of its "
        "range, alone or in a batch, in single or double precision, on one thread or two",
        {"ms": Bar(most=50.0), "change": Bar(most=1e-5)},
    ),
)
GAP = 0.01
"""Difference in NRMSE below which adjacent levels are not compared (claim 4)."""
CLEAR = 0.005
"""Difference in NRMSE above which pairs of methods are reported by themselves (claim 5)."""
ALARM = 0.05
"""Share of clean training slices below the threshold that is reported beside the intervals (claim 8)."""
LEAST_ERROR = 0.01
"""NRMSE below which an alarm is false (claim 8)."""
COVERAGE = 0.90
ANATOMIES = ("heart", "cord", "prostate")
"""Sets that show an anatomy which no weights have learned from; of the other unseen sets, contrasts may be known."""
LEARNED = ("modl", "varnet")
"""Reconstruction methods that no score is trained on (claim 2)."""


def claim(number: int) -> Claim:
    """Claim by its number."""
    return CLAIMS[number - 1]

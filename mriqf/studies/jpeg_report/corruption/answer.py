"""Report of claim A5: fall of the score with severity, and rise by noise."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from mriqf.metrics.correlation import srcc
from mriqf.studies._frame.reporting import Claim, Interval, claims_table, markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap, group_rows
from mriqf.studies._frame.table import Columns
from mriqf.studies.jpeg_report.corruption.measure import LEVELS, N_LEVELS, UNITS

REPORTED = ("blur", "salt-and-pepper", "noise")
"""Corruptions in the report: its figure 12, and its abstract for Gaussian noise."""
NOISES = ("salt-and-pepper", "noise", "rician")

# Verdicts, fixed before the test images were read; the resolution after a look at validation images.
FALLS = -0.9
"""Mean of the images' rank correlations of score and level, at or below which a score decreases with severity."""
RESOLUTION = 0.1
"""Points; scoring in half precision moves a score by as much. A smaller difference counts as none."""
MIDDLE = N_LEVELS // 2
"""The level that ends the first half of a curve and begins the second."""


@dataclass(frozen=True)
class Curves:
    """Scores of the images of a data set under one corruption: a row per image, a column per level.

    The curve of an image is the mean of those of its patches.
    """

    dataset: str
    weights: str
    corruption: str
    subject: Shaped[np.ndarray, " n"]
    score: Float[np.ndarray, "n levels"]

    @property
    def name(self) -> str:
        """Data set and weights."""
        return f"{self.dataset} × {self.weights}"

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return len(set(self.subject.tolist()))

    @property
    def mean(self) -> Float[np.ndarray, " levels"]:
        """Over the images."""
        return self.score.mean(0)

    @property
    def sd(self) -> Float[np.ndarray, " levels"]:
        """Over the images; zero for one image."""
        return self.score.std(0, ddof=min(len(self.score) - 1, 1))

    @property
    def falling(self) -> float:
        """Fraction of adjacent pairs of levels in which the worse one has the lower score."""
        return float((np.diff(self._seen) < 0).mean())

    @property
    def slopes(self) -> tuple[float, float]:
        """Slopes of the two halves of the mean curve, points a level."""
        mean = self.mean
        return float(mean[MIDDLE] - mean[0]) / MIDDLE, float(mean[-1] - mean[MIDDLE]) / (N_LEVELS - 1 - MIDDLE)

    @property
    def spreads(self) -> tuple[float, float]:
        """Standard deviation over images in the two halves, averaged over levels; both have the middle one."""
        return float(self.sd[: MIDDLE + 1].mean()), float(self.sd[MIDDLE:].mean())

    @functools.cached_property
    def rho(self) -> Interval:
        """Rank correlation of score and level."""
        level = np.arange(N_LEVELS)
        return self._over_subjects(np.array([srcc(level, curve) for curve in self._seen]))

    @functools.cached_property
    def first_step(self) -> Interval:
        """Change of the score at the mildest level, points."""
        return self._over_subjects(self.score[:, 1] - self.score[:, 0])

    @functools.cached_property
    def overall(self) -> Interval:
        """Change of the score at the worst level, points."""
        return self._over_subjects(self.score[:, -1] - self.score[:, 0])

    @property
    def decreases(self) -> bool:
        """True if the score falls with severity."""
        return self.rho[0] <= FALLS

    @property
    def steeper_first(self) -> bool:
        """True if the first half falls, and faster than the second."""
        return -MIDDLE * self.slopes[0] >= RESOLUTION and self.slopes[0] < self.slopes[1]

    @property
    def tighter_first(self) -> bool:
        """True if the first half is less spread."""
        return self.spreads[0] < self.spreads[1]

    @property
    def _seen(self) -> Float[np.ndarray, "n levels"]:
        return (self.score / RESOLUTION).round()

    def _over_subjects(self, values: Float[np.ndarray, " n"]) -> Interval:
        return float(values.mean()), *bootstrap(np.mean, self.subject, values)


def curves(columns: Columns) -> list[Curves]:
    """Curves of each data set, weights and corruption; images whose levels are not all there are left out.

    Raises
    ------
    ValueError
        If that leaves none.
    """
    all_curves = []
    for rows in group_rows([columns["dataset"], columns["weights"], columns["corruption"]]):
        part = {name: column[rows] for name, column in columns.items()}
        subject, score = [], []
        for image in group_rows([part["subject"], part["slice"]]):
            level = part["level"][image].astype(int)
            count = np.bincount(level, minlength=N_LEVELS)
            if count.all():
                subject.append(part["subject"][image[0]])
                score.append(np.bincount(level, part["score"][image], N_LEVELS) / count)
        if score:
            dataset, weights, corruption = (str(part[name][0]) for name in ("dataset", "weights", "corruption"))
            all_curves.append(Curves(dataset, weights, corruption, np.array(subject), np.stack(score)))
    if not all_curves:
        raise ValueError("no image was measured at all levels: go on with the study")
    return sorted(all_curves, key=lambda c: list(LEVELS).index(c.corruption))


def claims(columns: Columns) -> list[Claim]:
    """Claim A5 for each weights; it holds where it does for every data set and every corruption of the report."""
    return _claims(curves(columns))


def _claims(all_curves: list[Curves]) -> list[Claim]:
    result = []
    for weights, group in _by("weights", all_curves).items():
        data, parts = _counts(group), _by("corruption", group)
        reported = [c for c in group if c.corruption in REPORTED]
        measured = ", ".join(f"{name} in {_share(c.decreases for c in part)}" for name, part in parts.items())
        says = "the score decreases with the severity of blur, salt and pepper, noise"
        result.append(Claim(f"A5, {weights}", says, measured, data, _all(c.decreases for c in reported)))
        both = [c.steeper_first and c.tighter_first for c in reported]
        measured = (
            f"steeper in {_share(c.steeper_first for c in reported)}, "
            f"less spread in {_share(c.tighter_first for c in reported)}, both in {_share(both)} curves"
        )
        says = "the first half of each curve is steeper and less spread"
        result.append(Claim(f"A5 halves, {weights}", says, measured, data, _all(both)))
        noisy = [c for c in group if c.corruption in NOISES]
        rising = any(_direction(c.first_step) == "rises" for c in noisy) if noisy else None
        says = "exception: the first step of noise raises the score of one data set (LIVE)"
        result.append(Claim(f"A5 exception, {weights}", says, _rising(noisy, "first_step"), data, rising))
    return result


def answer(columns: Columns) -> str:
    """The study's answer, markdown."""
    all_curves = curves(columns)
    lines = [
        "# Score against severity",
        "",
        "Fixed patches, corrupted after they were cut. The score of a patch is the mean of the network's map alone, "
        "without the search for a JPEG lattice. The curve of an image is the mean of those of its patches; means and "
        "sd are over images, 95 % intervals over subjects (none for fewer than three). Level 0 is untouched.",
        "",
        claims_table(_claims(all_curves)),
        "",
        *_sentences(all_curves),
        "",
        "## Does it fall",
        "",
        f"Falls: mean rho ≤ {FALLS}; scores that differ by less than {RESOLUTION} count as equal. Change: of the score "
        f"from level 0 to {N_LEVELS - 1}. Slope: points a level. Halves: levels 0–{MIDDLE}, {MIDDLE}–{N_LEVELS - 1}.",
        "",
        _falls(all_curves),
        "",
        "## Scores, mean ± sd over images",
    ]
    for corruption, group in _by("corruption", all_curves).items():
        heads = ["", "untouched", *(f"{value:g}" for value in LEVELS[corruption])]
        rows = [[c.name, *(f"{m:.1f} ± {sd:.1f}" for m, sd in zip(c.mean, c.sd, strict=True))] for c in group]
        lines += ["", UNITS[corruption], "", markdown_table(heads, rows)]
    lines += [
        "",
        "## Does noise raise the score",
        "",
        f"Change of the score, points. It rises or falls if it is {RESOLUTION} or more and its interval, where there "
        "are subjects enough for one, leaves out 0. A score that is near 100 untouched cannot rise.",
        "",
        markdown_table(
            ["noise", "data set × weights", "untouched", "mildest level", "", "worst level", ""],
            [
                [c.corruption, c.name, f"{c.mean[0]:.1f}"]
                + [cell for step in (c.first_step, c.overall) for cell in (_figure(step, 1), _direction(step))]
                for c in all_curves
                if c.corruption in NOISES
            ],
        ),
    ]
    return "\n".join(lines)


def _falls(all_curves: list[Curves]) -> str:
    heads = [
        "corruption", "data set × weights", "images (subjects)", "rho of score and level", "pairs in order", "change",
        "slope, 1st and 2nd half", "sd, 1st and 2nd half", "falls", "steeper, tighter first",
    ]  # fmt: skip
    rows = [
        [
            c.corruption, c.name, f"{len(c.score)} ({c.n_subjects})", _figure(c.rho, 2), f"{c.falling:.0%}",
            _figure(c.overall, 1), *(", ".join(_number(v, 1) for v in pair) for pair in (c.slopes, c.spreads)),
            _yes(c.decreases), f"{_yes(c.steeper_first)}, {_yes(c.tighter_first)}",
        ]
        for c in all_curves
    ]  # fmt: skip
    return markdown_table(heads, rows)


def _sentences(all_curves: list[Curves]) -> list[str]:
    lines = []
    for weights, group in _by("weights", all_curves).items():
        parts = _by("corruption", group)
        always = [name for name, part in parts.items() if all(c.decreases for c in part)]
        never = [name for name, part in parts.items() if not any(c.decreases for c in part)]
        noisy = [c for c in group if c.corruption in NOISES]
        lines.append(
            f"- {weights}: the score falls in every data set with {_list(always)}; in none with {_list(never)}."
            + f" The worst noise raises it in: {_rising(noisy, 'overall')}." * bool(noisy)
        )
    return lines


def _rising(noisy: list[Curves], step: str) -> str:
    """Data sets whose score each noise raises."""
    parts = _by("corruption", [c for c in noisy if _direction(getattr(c, step)) == "rises"])
    return "; ".join(f"{name}: {_list([c.dataset for c in part])}" for name, part in parts.items()) or "none"


def _by(attribute: str, all_curves: list[Curves]) -> dict[str, list[Curves]]:
    names = dict.fromkeys(getattr(c, attribute) for c in all_curves)
    return {name: [c for c in all_curves if getattr(c, attribute) == name] for name in names}


def _counts(group: list[Curves]) -> str:
    """Data sets, images, subjects, each counted once whatever the weights."""
    sets = _by("dataset", group).values()
    images, subjects = sum(len(part[0].score) for part in sets), sum(part[0].n_subjects for part in sets)
    return f"data sets: {len(sets)}, images: {images}, subjects: {subjects}"


def _all(holds: Iterable[bool]) -> bool | None:
    """True if all hold; None if there are none."""
    listed = list(holds)
    return all(listed) if listed else None


def _share(holds: Iterable[bool]) -> str:
    listed = list(holds)
    return f"{sum(listed)} of {len(listed)}"


def _direction(figure: Interval) -> str:
    mean, low, high = figure
    if abs(mean) < RESOLUTION:
        return "stays"
    if np.isnan(low):
        low = high = mean
    return "rises" if low > 0 else "falls" if high < 0 else "unclear"


def _figure(figure: Interval, digits: int) -> str:
    mean, low, high = (round(value, digits) + 0.0 for value in figure)  # no negative zero
    return with_interval((mean, low, high), f".{digits}f")


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"

"""Report of the correlations of all raters, and of claims B2 and B3 of QAIRN's paper.

A claim holds where 95 % intervals leave no doubt; the rules were fixed before any trained QAIRN was measured.

References
----------
Gedik, Venkataramanan, Bovik, Joint deep image restoration and unsupervised quality assessment, 2023,
arXiv:2311.16372, table II.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from mriqf.metrics.correlation import kcc, logistic_fit, pcc, srcc
from mriqf.studies._frame.reporting import Interval, markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap, group_rows
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.opinion.measure import LATTICE, MAPS
from mriqf.studies.opinion.published import PRINTED, Printed

MEAN = 1
"""Exponent of the arithmetic mean."""
PAPERS_MAP = 2
"""γ2, whose Minkowski mean is the paper's quality."""
USELESS = 0.43
"""Largest |SRCC| of the other maps in the paper, which calls them significantly lower."""


@dataclass(frozen=True)
class Scores:
    """Scores of the images of a data set by one rater, beside human opinion."""

    rater: str
    number: int | None
    """Number of the map, 1–3; None for other raters."""
    exponent: float | None
    score: Float[np.ndarray, " n"]
    quality: Float[np.ndarray, " n"]
    """Opinion, turned so that higher is better."""
    cluster: Shaped[np.ndarray, " n"]
    """Units of the bootstrap: references, or images."""

    @property
    def label(self) -> str:
        """Name in tables and figures."""
        return self.rater if self.number is None else f"{self.rater}, γ{self.number}, p = {_exponent(self.exponent)}"

    @functools.cached_property
    def srcc(self) -> float:
        """Spearman correlation, above 0 if higher scores go with better opinions."""
        return srcc(self.score, self.quality)

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the SRCC."""
        return bootstrap(srcc, self.cluster, self.score, self.quality)

    @functools.cached_property
    def strength(self) -> tuple[float, float]:
        """Interval of |SRCC|, 95 %."""
        return bootstrap(lambda s, q: abs(srcc(s, q)), self.cluster, self.score, self.quality)

    def over(self, other: "Scores") -> Interval:
        """SRCC less that of another rater on the same images, and its 95 % interval."""

        def difference(a: np.ndarray, b: np.ndarray, quality: np.ndarray) -> float:
            return srcc(a, quality) - srcc(b, quality)

        return self.srcc - other.srcc, *bootstrap(difference, self.cluster, self.score, other.score, self.quality)


@dataclass(frozen=True)
class Section:
    """Scores of all raters on one data set."""

    dataset: str
    better: str
    scores: tuple[Scores, ...]

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.scores[0].score)

    @property
    def n_clusters(self) -> int:
        """References, or as many as images where they are not told."""
        return len(set(self.scores[0].cluster.tolist()))

    @property
    def qairns(self) -> list[str]:
        """Names of the raters with maps."""
        return list(dict.fromkeys(s.rater for s in self.scores if s.number is not None))

    def pooled(self, rater: str, number: int) -> dict[float, Scores]:
        """Scores of a map of a QAIRN, by exponent."""
        return {s.exponent: s for s in self.scores if (s.rater, s.number) == (rater, number) and s.exponent is not None}

    def main(self) -> list[Scores]:
        """A row for each map, pooled by the mean, and for each other rater."""
        return [s for s in self.scores if s.exponent in (None, MEAN)]

    @property
    def printed(self) -> Printed | None:
        """Figures that the paper prints of these images, where it does."""
        name = "".join(filter(str.isalnum, self.dataset.lower()))
        return next((p for p in PRINTED if name in p.names and self.n in p.sizes), None)


def best(pooled: dict[float, Scores]) -> Scores:
    """Scores of the exponent with the highest SRCC; of the mean in case of a tie."""
    return max(pooled.values(), key=lambda s: (s.srcc, s.exponent == MEAN))


def sections(columns: Columns) -> list[Section]:
    """Section of each data set, without images that a running study has not finished."""
    by_dataset = []
    for dataset in dict.fromkeys(columns["dataset"].tolist()):
        rows = where(columns, dataset=dataset)
        images, counts = np.unique(rows["image"], return_counts=True)
        rows = where(rows, image=images[counts == counts.max()].tolist())
        better = str(rows["better"][0])
        scores = []
        for group in group_rows([rows["rater"], rows["map"].astype(str), rows["exponent"].astype(str)]):
            part = {name: column[group] for name, column in rows.items()}
            part = {name: column[np.argsort(part["image"])] for name, column in part.items()}
            exponent = float(part["exponent"][0])
            pooled = np.isfinite(exponent)
            scores.append(
                Scores(
                    rater=str(part["rater"][0]),
                    number=int(part["map"][0]) if pooled else None,
                    exponent=exponent if pooled else None,
                    score=part["score"].astype(float),
                    quality=part["opinion"] if better == "higher" else -part["opinion"],
                    cluster=part["reference"],
                )
            )
        by_dataset.append(Section(str(dataset), better, tuple(scores)))
    return by_dataset


def answer(columns: Columns) -> str:
    """The study's answer, markdown."""
    by_dataset = sections(columns)
    lines = [
        "# Scores and human opinion of JPEG images",
        "",
        "In every data set + means that a higher score goes with a better opinion. PCC is after the logistic fit of "
        "four parameters, and has the sign of that curve's direction; linear: without a fit. γ1, γ2, γ3 are "
        "QAIRN's gates at full, half and quarter resolution, Minkowski means with exponent p; p = 1, the mean, is the "
        "row to compare. lattice: the quality that the luma's JPEG lattice shows, without training. Brackets: 95 % "
        "intervals, bootstrapped as each data set says.",
        "",
        "## Claims",
        "",
        *claims(by_dataset),
    ]
    for section in by_dataset:
        lines += ["", f"## {section.dataset}: {section.n} images", "", *_about(section), "", _table(section)]
        if section.qairns:
            lines += ["", *_exponents(section)]
    return "\n".join(lines)


def _about(section: Section) -> Iterator[str]:
    what = "opinions (higher is better)" if section.better == "higher" else "differences (lower is better), turned"
    if section.n_clusters < section.n:
        over = f"Intervals are over {section.n_clusters} references, each with all its images."
    else:
        over = (
            "Intervals are over images, whose references are not told: images of one reference are alike, so that the "
            "intervals are too narrow."
        )
    yield f"Scores are {what}. {over}"
    gone = {s.rater: int(np.isnan(s.score).sum()) for s in section.main()}
    if missing := [f"{name} {n}" for name, n in gone.items() if n]:
        yield f"Images without a score, left out of that row: {', '.join(missing)}."
    control = next((s for s in section.scores if s.rater == LATTICE), None)
    if control is not None and control.interval[1] < 0:
        yield f"**{control.label} says the opposite of people ({_signed(control)}): is the direction of scores right?**"
    if section.qairns and (printed := section.printed):
        yield (
            f"As printed: the paper's table II, {printed.database}, which has {printed.whole}; it does not say which "
            "of them it used, which exponent, and whether PCC is after a fit."
        )


def _table(section: Section) -> str:
    rows, printed = [], section.printed
    for scores in section.main():
        rows.append(_row(scores))
        if scores.number is None:
            continue
        if (top := best(section.pooled(scores.rater, scores.number))) is not scores:
            rows.append(_row(top, ", best of those tried, chosen on this very set"))
        if printed:
            fitted, *others = (f"{v:+.3f}" for v in printed.rows[scores.number - 1])
            rows.append([f"γ{scores.number}, as printed", fitted, "", *others])
    return markdown_table(["rater", "PCC", "linear", "SRCC", "KCC"], rows)


def _row(scores: Scores, remark: str = "") -> list[str]:
    known = np.isfinite(scores.score)
    score, quality = scores.score[known], scores.quality[known]
    fit = logistic_fit(score, quality)
    fitted = np.copysign(pcc(fit.opinions, quality), srcc(score, fit.opinions))
    line = "" if fit.logistic else " (straight line)"
    linear, rank = pcc(score, quality), kcc(score, quality)
    return [f"{scores.label}{remark}", f"{fitted:+.3f}{line}", f"{linear:+.3f}", _signed(scores), f"{rank:+.3f}"]


def _exponents(section: Section) -> Iterator[str]:
    exponents = list(section.pooled(section.qairns[0], PAPERS_MAP))
    yield "SRCC of all exponents tried; p = 0 is the geometric mean."
    yield ""
    yield markdown_table(
        ["map", *(f"p = {_exponent(p)}" for p in exponents)],
        [
            [f"{rater}, γ{number}", *(f"{s.srcc:+.3f}" for s in section.pooled(rater, number).values())]
            for rater in section.qairns for number in MAPS
        ],
    )  # fmt: skip


def claims(by_dataset: list[Section]) -> Iterator[str]:
    """Claims B2 and B3 with their rules, a line for each data set and QAIRN."""
    pairs = [(section, rater) for section in by_dataset for rater in section.qairns]
    if not pairs:
        yield "No QAIRN was measured, so that the paper's claims B2 and B3 are not asked."
        return
    yield (
        f"B2, only γ2 follows opinion: holds where, pooled by the mean, the interval of γ2's SRCC is above {USELESS} "
        "(the largest |SRCC| that the paper prints for another map) and those of the others' |SRCC| are below it; "
        "fails where one of these intervals is on the wrong side; open otherwise."
    )
    yield ""
    yield from (_b2(*pair) for pair in pairs)
    yield ""
    yield (
        "B3, a Minkowski mean of γ2 follows opinion better than its mean (p = 1): holds where SRCC gains, with the "
        "whole interval, by the exponent that is best on the other data sets; fails where it loses so, where the "
        "others' best is the mean, or where no exponent gains; open otherwise, as on a data set alone."
    )
    yield ""
    yield from (_b3(*pair, by_dataset) for pair in pairs)


def _b2(section: Section, rater: str) -> str:
    maps = {number: section.pooled(rater, number)[MEAN] for number in MAPS}
    ours, others = maps.pop(PAPERS_MAP), maps.values()
    if ours.interval[0] > USELESS and all(o.strength[1] < USELESS for o in others):
        verdict = "holds"
    elif ours.interval[1] < USELESS or any(o.strength[0] > USELESS for o in others):
        verdict = "**fails**"
    else:
        verdict = "open"
    rest = ", ".join(f"γ{o.number} {_signed(o)}" for o in others)
    return f"- {section.dataset}, {rater}: {verdict}. SRCC of γ2 {_signed(ours)}; {rest}."


def _b3(section: Section, rater: str, by_dataset: list[Section]) -> str:
    pooled = section.pooled(rater, PAPERS_MAP)
    mean, top = pooled[MEAN], best(pooled)
    better = sum(s.srcc > mean.srcc for s in pooled.values())
    text = f"SRCC of the mean {_signed(mean)}; {better} of {len(pooled) - 1} other exponents are above it"
    if top is not mean:
        gain = with_interval(top.over(mean), "+.3f")
        text += f", most p = {_exponent(top.exponent)} by {gain}, which is chosen on this very set"
    verdict = "open" if better else "**fails**"
    if others := [s.pooled(rater, PAPERS_MAP) for s in by_dataset if s is not section and rater in s.qairns]:
        p = max(pooled, key=lambda p: (sum(other[p].srcc for other in others), p == MEAN))
        if p == MEAN:
            text += "; on the other data sets the mean is best"
            verdict = "**fails**"
        else:
            gain, low, high = pooled[p].over(mean)
            text += f"; p = {_exponent(p)}, the best on the other data sets: {with_interval((gain, low, high), '+.3f')}"
            verdict = "holds" if low > 0 else "**fails**" if high < 0 or not better else "open"
    return f"- {section.dataset}, {rater}: {verdict}. {text}."


def _exponent(p: float | None) -> str:
    return f"{p:g}".replace("-", "−")


def _signed(scores: Scores) -> str:
    return with_interval((scores.srcc, *scores.interval), "+.3f")

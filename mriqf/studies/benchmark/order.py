"""Claims 4 and 5: ranking of pairs of images."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from mriqf.studies._frame.statistics import group_rows
from mriqf.studies._frame.table import Columns
from mriqf.studies.benchmark.bars import CLEAR, GAP
from mriqf.studies.benchmark.evidence import (
    SLICE,
    UNKNOWN,
    Finding,
    curves_of,
    describe,
    goodness,
    groups_of,
    held_out,
    metric_names,
    over,
    take,
    units,
)


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows and the difference of their errors."""

    a: Shaped[np.ndarray, " n"]
    b: Shaped[np.ndarray, " n"]
    gap: Float[np.ndarray, " n"]
    """NRMSE of b less that of a."""

    def right(self, score: Float[np.ndarray, " m"], sign: Float[np.ndarray, " n"] | None = None) -> np.ndarray:
        """1 if the score ranks the pair right, 0 if not or if it ties; NaN without scores."""
        moved = score[self.b] - score[self.a]
        order = -np.sign(self.gap) if sign is None else sign
        return np.where(np.isfinite(moved), (moved * order > 0).astype(float), UNKNOWN)

    def part(self, chosen: np.ndarray) -> "Pairs":
        """Select pairs."""
        return Pairs(self.a[chosen], self.b[chosen], self.gap[chosen])


def adjacent(rows: Columns, group: Sequence[str]) -> Pairs:
    """Rows of one group at neighbouring levels."""
    pairs = []
    for members in group_rows([rows[name] for name in group]):
        ordered = members[np.argsort(rows["level"][members], kind="stable")]
        pairs += itertools.pairwise(ordered.tolist())
    return _pairs(pairs, rows)


def rivals(rows: Columns, group: Sequence[str]) -> Pairs:
    """All pairs of rows within each group."""
    pairs = []
    for members in group_rows([rows[name] for name in group]):
        pairs += itertools.combinations(members.tolist(), 2)
    return _pairs(pairs, rows)


def _pairs(pairs: list[tuple[int, int]], rows: Columns) -> Pairs:
    a, b = np.array(pairs, int).reshape(-1, 2).T
    return Pairs(a, b, rows["nrmse"][b] - rows["nrmse"][a])


def steps(table: Columns, part: str) -> tuple[Columns, Pairs]:
    """Held-out rows of a part, and their neighbouring levels."""
    rows = held_out(table, part)
    if part == "recon" and len(rows["nrmse"]):
        rows = curves_of(rows)
    return rows, adjacent(rows, (*SLICE, "family", "seed", "method"))


def monotone(table: Columns) -> list[Finding]:
    """Claim 4."""
    findings = []
    for part in ("degraded", "recon"):
        rows, pairs = steps(table, part)
        pairs = pairs.part(np.abs(pairs.gap) >= GAP)
        if not len(pairs.gap):
            continue
        column = "family" if part == "degraded" else "method"
        which = rows[column][pairs.a]
        sets = [(part, f"{part}, all", np.ones(len(which), bool))]
        for name, _, selected in list(groups_of(table, rows))[1:]:
            sets.append((part, f"{part}, {name}", rows["dataset"][pairs.a] == selected["dataset"][0]))
        sets += [("other", f"{part}, {name}", which == name) for name in dict.fromkeys(which.tolist())]
        findings += [
            _ranked(4, measure, name, rows, pairs.part(selected), metric_names(table))
            for measure, name, selected in sets
            if selected.any()
        ]
    return findings


def _ranked(number: int, measure: str, name: str, rows: Columns, pairs: Pairs, names: Sequence[str]) -> Finding:
    heads = take(rows, pairs.a)
    estimates = {j: over(units(heads), np.mean, pairs.right(goodness(rows, j))) for j in names}
    return Finding(number, measure, name, describe(heads, "pairs"), estimates)


def better_reconstruction(table: Columns) -> list[Finding]:
    """Claim 5."""
    rows, names = held_out(table, "recon"), metric_names(table)
    rows = take(rows, rows["level"] > 1)
    group = (*SLICE, "family", "level", "seed")
    pairs = rivals(rows, group)
    if not len(pairs.gap):
        return []
    findings = [_ranked(5, "pairs", "all pairs", rows, pairs, names)]
    for name, _, selected in list(groups_of(table, rows))[1:]:
        chosen = rows["dataset"][pairs.a] == selected["dataset"][0]
        if chosen.any():
            findings.append(_ranked(5, "pairs", f"all pairs, {name}", rows, pairs.part(chosen), names))
    clear = np.abs(pairs.gap) > CLEAR
    if clear.any():
        findings.append(_ranked(5, "other", f"pairs with NRMSE {CLEAR} or more apart", rows, pairs.part(clear), names))
    for a, b in itertools.combinations(dict.fromkeys(rows["method"].tolist()), 2):
        both = np.isin(rows["method"][pairs.a], (a, b)) & np.isin(rows["method"][pairs.b], (a, b))
        if both.any():
            findings.append(_ranked(5, "other", f"{a} or {b}", rows, pairs.part(both), names))
    heads, order = take(rows, pairs.a), np.sign(rows["ssim"][pairs.b] - rows["ssim"][pairs.a])
    right = {j: over(units(heads), np.mean, pairs.right(goodness(rows, j), order)) for j in names}
    findings.append(Finding(5, "other", "all pairs, by SSIM", describe(heads, "pairs"), right))
    traps = held_out(table, "traps")
    if len(traps["nrmse"]):
        both = {name: np.concatenate([rows[name], traps[name]]) for name in rows}
        against = rivals(both, group)
        is_trap = np.arange(len(both["nrmse"])) >= len(rows["nrmse"])
        chosen = is_trap[against.a] ^ is_trap[against.b]
        if chosen.any():
            what = "over-smoothed L1-wavelet against each method"
            findings.append(_ranked(5, "other", what, both, against.part(chosen), names))
    return findings

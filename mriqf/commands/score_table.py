"""Rows of scores: their columns in tables, the row of a whole volume, and what is printed of them."""

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from mriqf.calibration import Calibration, CutOff, Expected
from mriqf.commands.table import Column, Table
from mriqf.predictors.unit import ERROR_UNIT
from mriqf.scoring.pooling import weighted_mean

Row = Mapping[str, Any]
MEASURED = (
    "input", "slice", "time", "score", "unit", "resolved", "resolution", "pool", "weights", "foreground_fraction",
    "foreground", "axis", "low", "high", "threshold", "jpeg_quality", "map", "version", "note",
)  # fmt: skip
NUMBERS = tuple(field.name for field in fields(Expected) if field.name != "reason")
EXPECTED = (*NUMBERS, "domain", "cut_off", "limit")
PRINTED = (
    "input", "slice", "time", "nrmse", "nrmse_low", "nrmse_high", "score", "unit", "resolved",
    "foreground_fraction", "pool", "weights", "remark",
)  # fmt: skip
NO_EXPECTATION = dict.fromkeys(("nrmse", "nrmse_low", "nrmse_high"))


def columns(calibrated: bool) -> tuple[str, ...]:
    """Columns of a table of scores."""
    return MEASURED + EXPECTED * calibrated


def expected_columns(expected: Expected, cut: CutOff | None) -> dict[str, Any]:
    """Columns that a calibration gives: numbers, None where there are none, and `domain`, ok or why there are none."""
    numbers = asdict(expected)
    reason = numbers.pop("reason")
    return numbers | {
        "domain": reason or "ok",
        "cut_off": None if cut is None else cut.score,
        "limit": None if cut is None else cut.limit,
    }


def volume_row(rows: Sequence[Row]) -> dict[str, Any]:
    """The row of a volume: its slices' means, weighted by their foreground, without a slice of its own.

    Ends of intervals are means, too: those of slices that all err to the same side, as slices of one scan do at worst.
    """
    shares = [row["foreground_fraction"] for row in rows]

    def mean(key: str, of: Sequence[Row] = rows) -> float:
        return weighted_mean([(_number(row[key]), row["foreground_fraction"]) for row in of])

    summary = dict(rows[0]) | {"slice": None, "time": None, "score": mean("score")}
    summary["foreground_fraction"] = sum(shares) / len(shares)
    if "domain" in summary:
        known = [row for row in rows if row["domain"] == "ok"]
        for key in NUMBERS:
            value = math.nan if key == "distance" else mean(key, known)
            summary[key] = None if math.isnan(value) else value
        if len(known) < len(rows):
            reason = next(row["domain"] for row in rows if row["domain"] != "ok")
            summary["domain"] = f"ok in {len(known)} of {len(rows)} slices" if known else reason
    if math.isnan(summary["score"]) and any(row["score"] is None for row in rows):
        summary["score"] = None
    return summary


def failed_row(source: str, reason: str, names: Sequence[str]) -> dict[str, Any]:
    """The row of a volume that could not be scored: its name, and the reason as a note."""
    return dict.fromkeys(names) | {"input": source, "note": f"not scored: {reason}"}


def complain(source: str, error: object) -> str:
    """Message for an input that failed; most errors name it."""
    return str(error) if source in str(error) else f"{source}: {error}"


def jpeg_warning(source: str, quality: int) -> str:
    """Warning for a volume that was compressed before."""
    return (f"warning: {source}: pixels carry the lattice of JPEG quality {quality}; a study on such data "
            "is biased (doi:10.1073/pnas.2117203119)")  # fmt: skip


# What is printed


class SliceTable:
    """Table of slices, printed as they are scored; series in time have a column more on a terminal.

    Parameters
    ----------
    names
        Of all volumes that will come.
    calibration
        Of the scores.
    header
        Whether a tab-separated table begins with the names of its fields.
    """

    def __init__(self, names: Sequence[str], calibration: Calibration | None, *, header: bool):
        self._names, self._calibration, self._header = names, calibration, header
        self._in_time: bool | None = None
        self.aligned = sys.stdout.isatty()
        """Whether people read it."""

    def print(self, row: Row) -> None:
        """Print the row of a slice; where it has no score, the reason in place of the numbers."""
        if self._in_time is None or self._in_time != (row["time"] is not None):
            self._begin(row["time"] is not None)
        self._table.row({**NO_EXPECTATION, **row, "remark": _remark(row)}, "" if _known(row) else _remark(row))

    def print_failure(self, source: str, reason: str) -> None:
        """On a terminal, print the row of a volume that could not be scored."""
        if self._in_time is None:
            self._begin(in_time=False)
        self._table.row({"input": source, "slice": None, "time": None}, reason.removeprefix(f"{source}: "))

    def _begin(self, in_time: bool) -> None:
        places = [Column("slice", "", 5, lambda row: _text(row["slice"]))]
        if in_time:
            places.append(Column("time", "", 4, lambda row: _text(row["time"])))
        shown = [*places, *_judged(self._calibration), Column("remark", "", 0, lambda row: row["remark"], words=True)]
        self._table = Table(PRINTED, shown, self._names, "volume", header=self._header, keep=len(places))
        self._in_time, self._header = in_time, False


def print_volumes(volumes: Sequence[tuple[Row, Sequence[Row]]], calibration: Calibration | None) -> None:
    """Print one row a volume, from its own row and those of its slices."""
    shown = [
        Column("slices", "", 8, lambda row: row["slices"]),
        *_judged(calibration)[:-1],  # how much of each slice is object has been said
        Column("worst (slice)", "0–100", 13, lambda row: row["worst"]),
        Column("remark", "", 0, lambda row: row["remark"], words=True),
    ]
    table = Table(("input",), shown, [row["input"] for row, _ in volumes], "volume", keep=1)
    for row, slices in volumes:
        known = [s for s in slices if _known(s)]
        worst = min(known, key=lambda s: s["score"], default=None)
        told = {
            "slices": str(len(slices)) if len(known) == len(slices) else f"{len(known)} of {len(slices)}",
            "worst": "" if worst is None or len(slices) == 1 else f"{worst['score']:.1f} ({_place(worst)})",
            "remark": "; ".join(remarks(row, slices)),
        }
        table.row({**NO_EXPECTATION, **row, **told}, "" if known else told["remark"])


def summary(row: Row, slices: Sequence[Row]) -> str:
    """Summary of a volume in one line."""
    known = sum(map(_known, slices))
    if not known:
        return f"no score: {'; '.join(remarks(row, slices))}"
    count = f"{len(slices)} slice{'s' * (len(slices) > 1)}"
    said = f"score {row['score']:.1f} over {count if known == len(slices) else f'{known} of {count}'}"
    if row.get("nrmse") is not None:
        said = f"NRMSE {interval(row['nrmse'], row['nrmse_low'], row['nrmse_high'], ' %')}, {said}"
    return "; ".join((said, *remarks(row, slices)))


def remarks(row: Row, slices: Sequence[Row]) -> list[str]:
    """Remarks on a volume."""
    reasons = Counter(reason for s in slices if (reason := _reason(s)))
    if len(slices) == 1:
        said = list(reasons)
    else:
        kinds = Counter(reason.partition(" (")[0] for reason in reasons.elements())
        said = [f"{count} slice{'s' * (count > 1)} {kind}" for kind, count in kinds.items()]
    below = sum(map(_below, slices))
    if _below(row):
        said.append("below the cut-off")
    elif below:
        said.append(f"{below} slice{'s' * (below > 1)} below the cut-off")
    if row["jpeg_quality"] is not None:
        said.append(f"JPEG quality {row['jpeg_quality']}")
    if coarser(row):
        said.append(f"resolved {row['resolved']}")
    return [*said, *([row["note"]] if row["note"] else [])]


def legend(unit: str, calibration: Calibration | None, cut: CutOff | None) -> list[str]:
    """Legend: meaning of the numbers, and the cut-off with its error rates."""
    said = [f"Score: {unit_in_words(unit)}."]
    if calibration is not None:
        share = f"{100 * calibration.coverage:.0f} %"
        said.insert(0, f"NRMSE: the error to expect, relative to the object, with its {share} interval.")
    if cut is not None:
        said.append(cut_off(cut))
    return said


def cut_off(cut: CutOff) -> str:
    """A cut-off and its price, in a sentence."""
    passed = "" if math.isnan(cut.beyond_passed) else f", {100 * cut.beyond_passed:.0f} % of worse ones higher"
    return (
        f"Cut-off {cut.score:.1f}: {100 * cut.within_rejected:.0f} % of images with NRMSE up to {100 * cut.limit:g} % "
        f"score lower{passed}."
    )


def unit_in_words(unit: str) -> str:
    """A unit of scores, and what it means."""
    return f"{unit}; 100 at 1 % or less, 20 less for each doubling, 0 at 32 %" if unit == ERROR_UNIT else unit


def resolved_in_words(resolved: tuple[int, int] | None, shape: tuple[int, int]) -> str | None:
    """`192×115 of 256×256`: the resolution that slices were scored at, and their matrix; None where pixels count."""
    return None if resolved is None else f"{resolved[0]}×{resolved[1]} of {shape[0]}×{shape[1]}"


def coarser(row: Row) -> bool:
    """True where slices were scored at a lower resolution than that of their matrix."""
    own, _, whole = (row.get("resolved") or "").partition(" of ")
    return own != whole


def interval(value: float, low: float, high: float, unit: str = "") -> str:
    """`6 [4–9]`, in per cent, with a decimal below 5 %; the unit, if wanted, stands behind the first number."""
    digits = 0 if value >= 0.05 else 1
    return f"{100 * value:.{digits}f}{unit} [{100 * low:.{digits}f}–{100 * high:.{digits}f}]"


def nrmse_column(calibration: Calibration) -> Column:
    """The error to expect, with its interval."""
    return Column(f"NRMSE [{100 * calibration.coverage:.0f} %]", "%", 15, _percent)


def score_column() -> Column:
    """The score."""
    return Column("score", "0–100", 6, lambda row: _text(row["score"], ".1f"))


def _judged(calibration: Calibration | None) -> list[Column]:
    """Columns of the error, where known, and of the score."""
    inside = Column("object", "%", 6, lambda row: f"{100 * row['foreground_fraction']:.0f}")
    return [*([] if calibration is None else [nrmse_column(calibration)]), score_column(), inside]


def _percent(row: Row) -> str:
    return "" if row["nrmse"] is None else interval(row["nrmse"], row["nrmse_low"], row["nrmse_high"])


def _remark(row: Row) -> str:
    """Remark on a slice."""
    return "; ".join(filter(None, (_reason(row), "below the cut-off" if _below(row) else "")))


def _reason(row: Row) -> str:
    """Why a slice has no score, or would have none if it were not forced."""
    if (domain := row.get("domain", "ok")) != "ok":
        return domain
    return "no foreground" if row["score"] is not None and math.isnan(row["score"]) else ""


def _known(row: Row) -> bool:
    return row["score"] is not None and not math.isnan(row["score"])


def _below(row: Row) -> bool:
    return None not in (row["score"], row.get("cut_off")) and row["score"] < row["cut_off"]


def _place(row: Row) -> str:
    return _text(row["slice"]) if row["time"] is None else f"{row['slice']} t{row['time']}"


def _text(value: Any, form: str = "") -> str:
    return "" if value is None else format(value, form)


def _number(value: float | None) -> float:
    return math.nan if value is None else value

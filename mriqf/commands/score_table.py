"""Rows of scores: columns of tables, the row of a volume, and printed tables."""

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
    """Columns of a calibration: numbers, None if unknown, and `domain`, ok or the reason for unknown numbers."""
    numbers = asdict(expected)
    reason = numbers.pop("reason")
    return numbers | {
        "domain": reason or "ok",
        "cut_off": None if cut is None else cut.score,
        "limit": None if cut is None else cut.limit,
    }


def volume_row(rows: Sequence[Row]) -> dict[str, Any]:
    """Row of a volume: means over its slices, weighted by their foreground.

    Interval ends are averaged too: slices of one scan may all err to the same side.
    """
    shares = [row["foreground_fraction"] for row in rows]

    def mean(key: str, of: Sequence[Row] = rows) -> float:
        return weighted_mean([(_number(row[key]), row["foreground_fraction"]) for row in of])

    merged = dict(rows[0]) | {"slice": None, "time": None, "score": mean("score")}
    merged["foreground_fraction"] = sum(shares) / len(shares)
    if "domain" in merged:
        known = [row for row in rows if row["domain"] == "ok"]
        for key in NUMBERS:
            value = math.nan if key == "distance" else mean(key, known)
            merged[key] = None if math.isnan(value) else value
        if len(known) < len(rows):
            reason = next(row["domain"] for row in rows if row["domain"] != "ok")
            merged["domain"] = f"ok in {len(known)} of {len(rows)} slices" if known else reason
    if math.isnan(merged["score"]) and any(row["score"] is None for row in rows):
        merged["score"] = None
    return merged


def failed_row(source: str, reason: str, names: Sequence[str]) -> dict[str, Any]:
    """Row of a volume that could not be scored: its name, and the reason as a note."""
    return dict.fromkeys(names) | {"input": source, "note": f"not scored: {reason}"}


def complain(source: str, error: object) -> str:
    """Error message that names the input, which most errors do already."""
    return str(error) if source in str(error) else f"{source}: {error}"


def jpeg_warning(source: str, quality: int) -> str:
    """Warning for a volume that was compressed before."""
    return (f"warning: {source}: pixels carry the lattice of JPEG quality {quality}; a study on such data "
            "is biased (doi:10.1073/pnas.2117203119)")  # fmt: skip


# Printed tables


class SliceTable:
    """Table of slices, printed as they are scored; on a terminal, time series have a further column.

    Parameters
    ----------
    names
        Names of all volumes.
    calibration
        Calibration of the scores, if there is one.
    header
        Begin a tab-separated table with the names of its fields.
    """

    def __init__(self, names: Sequence[str], calibration: Calibration | None, *, header: bool):
        self._names, self._calibration, self._header = names, calibration, header
        self._in_time: bool | None = None
        self.aligned = sys.stdout.isatty()
        """True on a terminal: columns are aligned."""

    def print(self, row: Row) -> None:
        """Print the row of a slice; without a score, the reason in place of the numbers."""
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
        *_judged(calibration)[:-1],  # without the object's share, which the rows of slices show
        Column("worst (slice)", "0–100", 13, lambda row: row["worst"]),
        Column("remark", "", 0, lambda row: row["remark"], words=True),
    ]
    table = Table(("input",), shown, [row["input"] for row, _ in volumes], "volume", keep=1)
    for row, slices in volumes:
        known = [s for s in slices if _known(s)]
        worst = min(known, key=lambda s: s["score"], default=None)
        texts = {
            "slices": str(len(slices)) if len(known) == len(slices) else f"{len(known)} of {len(slices)}",
            "worst": "" if worst is None or len(slices) == 1 else f"{worst['score']:.1f} ({_place(worst)})",
            "remark": "; ".join(remarks(row, slices)),
        }
        table.row({**NO_EXPECTATION, **row, **texts}, "" if known else texts["remark"])


def summary(row: Row, slices: Sequence[Row]) -> str:
    """Summary of a volume in one line."""
    known = sum(map(_known, slices))
    if not known:
        return f"no score: {'; '.join(remarks(row, slices))}"
    count = f"{len(slices)} slice{'s' * (len(slices) > 1)}"
    text = f"score {row['score']:.1f} over {count if known == len(slices) else f'{known} of {count}'}"
    if row.get("nrmse") is not None:
        text = f"NRMSE {interval(row['nrmse'], row['nrmse_low'], row['nrmse_high'], ' %')}, {text}"
    return "; ".join((text, *remarks(row, slices)))


def remarks(row: Row, slices: Sequence[Row]) -> list[str]:
    """Remarks on a volume."""
    reasons = Counter(reason for s in slices if (reason := _reason(s)))
    if len(slices) == 1:
        texts = list(reasons)
    else:
        kinds = Counter(reason.partition(" (")[0] for reason in reasons.elements())
        texts = [f"{count} slice{'s' * (count > 1)} {kind}" for kind, count in kinds.items()]
    below = sum(map(_below, slices))
    if _below(row):
        texts.append("below the cut-off")
    elif below:
        texts.append(f"{below} slice{'s' * (below > 1)} below the cut-off")
    if row["jpeg_quality"] is not None:
        texts.append(f"JPEG quality {row['jpeg_quality']}")
    if coarser(row):
        texts.append(f"resolved {row['resolved']}")
    return [*texts, *([row["note"]] if row["note"] else [])]


def legend(unit: str, calibration: Calibration | None, cut: CutOff | None) -> list[str]:
    """Legend: meaning of the numbers, and the cut-off with its error rates."""
    lines = [f"Score: {unit_in_words(unit)}."]
    if calibration is not None:
        share = f"{100 * calibration.coverage:.0f} %"
        lines.insert(0, f"NRMSE: the error to expect, relative to the object, with its {share} interval.")
    if cut is not None:
        lines.append(cut_off(cut))
    return lines


def cut_off(cut: CutOff) -> str:
    """Sentence about a cut-off and its error rates."""
    passed = "" if math.isnan(cut.beyond_passed) else f", {100 * cut.beyond_passed:.0f} % of worse ones higher"
    return (
        f"Cut-off {cut.score:.1f}: {100 * cut.within_rejected:.0f} % of images with NRMSE up to {100 * cut.limit:g} % "
        f"score lower{passed}."
    )


def unit_in_words(unit: str) -> str:
    """Unit of scores, with an explanation for NRMSE."""
    return f"{unit}; 100 at 1 % or less, 20 less for each doubling, 0 at 32 %" if unit == ERROR_UNIT else unit


def resolved_in_words(resolved: tuple[int, int] | None, shape: tuple[int, int]) -> str | None:
    """Resolution of the scoring and the matrix, as `192×115 of 256×256`; None for predictors without a resolution."""
    return None if resolved is None else f"{resolved[0]}×{resolved[1]} of {shape[0]}×{shape[1]}"


def coarser(row: Row) -> bool:
    """True if slices were scored at a lower resolution than that of their matrix."""
    own, _, whole = (row.get("resolved") or "").partition(" of ")
    return own != whole


def interval(value: float, low: float, high: float, unit: str = "") -> str:
    """Value and interval in per cent as `6 [4–9]`, with a decimal below 5 %; an optional unit follows the value."""
    digits = 0 if value >= 0.05 else 1
    return f"{100 * value:.{digits}f}{unit} [{100 * low:.{digits}f}–{100 * high:.{digits}f}]"


def nrmse_column(calibration: Calibration) -> Column:
    """Column of the expected error and its interval."""
    return Column(f"NRMSE [{100 * calibration.coverage:.0f} %]", "%", 15, _percent)


def score_column() -> Column:
    """Column of the score."""
    return Column("score", "0–100", 6, lambda row: _text(row["score"], ".1f"))


def _judged(calibration: Calibration | None) -> list[Column]:
    """Columns of the expected error (with a calibration), of the score and of the object's share."""
    inside = Column("object", "%", 6, lambda row: f"{100 * row['foreground_fraction']:.0f}")
    return [*([] if calibration is None else [nrmse_column(calibration)]), score_column(), inside]


def _percent(row: Row) -> str:
    return "" if row["nrmse"] is None else interval(row["nrmse"], row["nrmse_low"], row["nrmse_high"])


def _remark(row: Row) -> str:
    """Remark on a slice."""
    return "; ".join(filter(None, (_reason(row), "below the cut-off" if _below(row) else "")))


def _reason(row: Row) -> str:
    """Reason why a slice has no score, or would have none without `force_score`."""
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

"""Tables of `mriqf score`, grouped into volumes, and detection of outliers among these."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Bool, Float

from mriqf.batch.dataset import read_rows
from mriqf.calibration import Expected
from mriqf.html.trends import about
from mriqf.io import Axis, ReadError
from mriqf.io.bounds import TEXT, read_text
from mriqf.io.volume import find_file, reading
from mriqf.scoring.pooling import volume_nrmse, weighted_mean
from mriqf.scoring.scale import Scale

NEEDED = ("input", "slice", "score", "pool", "weights", "foreground_fraction", "low", "high", "threshold")
FAR = 3.0
"""Deviation beyond which a volume is called an outlier: "very conservative" in the words of Leys et al."""
LEAST = 5
"""Minimum number of volumes for the detection of outliers."""


@dataclass(frozen=True)
class ScoredSlice:
    """Row of a table."""

    index: int
    """Index among the slices of its time."""
    score: float
    """Score, 0–100; NaN without foreground, or outside the domain of the calibration."""
    foreground_fraction: float
    expected: Expected | None
    """Expected error; None if the weights have no calibration."""
    time: int | None = None
    """Time index in a time series."""


@dataclass(frozen=True)
class ScoredVolume:
    """All rows of one input."""

    name: str
    """Name of the input, as typed."""
    path: Path
    """Present path, if the file still exists."""
    slices: tuple[ScoredSlice, ...] = field(repr=False)
    weights: str
    unit: str
    """Unit of the scores; empty in tables of older versions."""
    pool: str
    scale: Scale
    map: Path | None
    """Quality map that was written with the scores."""
    mask: Path | None
    """Foreground mask of the user; None for the automatic one."""
    jpeg_quality: float | None
    """Quality of an earlier JPEG compression that the pixels still show."""
    axis: Axis = "slice"
    """Axis across which it was cut."""
    cut_off: float | None = None
    """Score below which images are to be rejected, by the calibration."""
    limit: float | None = None
    """NRMSE limit of the cut-off."""
    note: str = ""
    """Remark on doubtful scores."""
    resolved: str = ""
    """Resolution of the scoring and matrix, as `192×115 of 256×256`; empty for predictors without a resolution."""
    about: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Dates and groups of the acquisition, by column."""

    @property
    def below(self) -> int:
        """Number of slices below the cut-off."""
        return 0 if self.cut_off is None else sum(s.score < self.cut_off for s in self.slices)

    @property
    def score(self) -> float:
        """Mean over the slices, weighted by their foreground; NaN if no slice has any."""
        return weighted_mean([(s.score, s.foreground_fraction) for s in self.slices])

    @property
    def nrmse(self) -> tuple[float, float, float] | None:
        """Expected NRMSE and the ends of its interval; None if unknown."""
        return volume_nrmse([(s.expected, s.foreground_fraction) for s in self.slices])

    @property
    def worst(self) -> ScoredSlice:
        """Slice with the lowest score; the first one if none has a score."""
        return min(self.slices, key=lambda s: math.inf if math.isnan(s.score) else s.score)


def read_scores(tables: Sequence[Path]) -> list[ScoredVolume]:
    """Scored volumes: the first result of `read_tables`."""
    return read_tables(tables)[0]


def read_tables(tables: Sequence[Path], by: Sequence[str] = ()) -> tuple[list[ScoredVolume], dict[str, str]]:
    """Read the volumes of tables of `mriqf score`, CSV or JSON (by ending) or folders of Parquet, in their order.

    A file that a table names is looked for from the working folder, or else from the table's. Rows of whole volumes,
    which have no slice, are passed over: they follow from the others. Columns `by` are kept as groups, beside those of
    `mriqf.html.trends`.

    Returns
    -------
    list
        Volumes that were scored.
    dict
        Names of volumes that were not scored, and the reason.

    Raises
    ------
    ReadError
        When a file is no such table, or holds no rows; when no table has a column of `by`; when a slice is in the
        tables twice, or the scores are of several weights, units or pools, and so do not compare.
    """
    volumes: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    unscored: dict[str, str] = {}
    for table in tables:
        for row in _rows(table):
            if row["slice"] not in (None, ""):
                volumes.setdefault(str(row["input"]), []).append((table, row))
            elif row["foreground_fraction"] in (None, ""):
                unscored[str(row["input"])] = str(row.get("note") or "not scored").removeprefix("not scored: ")
    if not volumes:
        raise ReadError(f"{', '.join(map(str, tables))}: holds no scores: give a table that mriqf score wrote")
    scored = [_volume(name, rows, by) for name, rows in volumes.items()]
    for column in by:
        if not any(column in row for rows in volumes.values() for _, row in rows):
            raise ReadError(f"{', '.join(map(str, tables))}: has no column {column}: name one that it has")
    for key in ("weights", "unit", "pool"):
        kinds = sorted({getattr(volume, key) for volume in scored})
        if len(kinds) > 1:
            given, kinds_text = ", ".join(map(str, tables)), " and ".join(kind or "none" for kind in kinds)
            raise ReadError(f"{given}: scores by {key} {kinds_text} do not compare: make a report of each")
    return scored, {name: reason for name, reason in unscored.items() if name not in volumes}


def deviations(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Distance of each score from the median, in units of the median absolute deviation × 1.4826.

    For scores that are normally distributed this is the z-score, but the outliers themselves do not move it. NaN where
    there is no score; all NaN for fewer than `LEAST` scores, or if half of them are the same.

    References
    ----------
    Leys et al., Detecting outliers, J Exp Soc Psychol 2013, doi:10.1016/j.jesp.2013.03.013.
    """
    known = scores[np.isfinite(scores)]
    if len(known) < LEAST:
        return np.full_like(scores, np.nan)
    away = scores - np.median(known)
    spread = 1.4826 * float(np.median(np.abs(known - np.median(known))))
    return away / spread if spread > 0 else np.full_like(scores, np.nan)


def worst_first(
    scores: Float[np.ndarray, " n"], away: Float[np.ndarray, " n"], below: Bool[np.ndarray, " n"] | None = None
) -> list[int]:
    """Order of volumes for inspection: without a score, below the cut-off, outliers, others.

    Each group begins with its lowest score.
    """
    rejected = np.zeros(len(scores), bool) if below is None else below
    outlier = np.abs(np.nan_to_num(away)) > FAR
    group = np.select([np.isnan(scores), rejected, outlier], [0, 1, 2], 3)
    return np.lexsort((scores, group)).tolist()


def _rows(table: Path) -> list[dict[str, Any]]:
    rows = read_rows(table) if table.is_dir() else _read_file(table)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ReadError(f"{table}: is no list of rows: give a table that mriqf score wrote")
    if not rows:
        raise ReadError(f"{table}: holds no scores: give a table that mriqf score wrote")
    if missing := [key for key in NEEDED if any(key not in row for row in rows)]:
        raise ReadError(f"{table}: has no column {missing[0]}: give a table that mriqf score wrote")
    return rows


def _read_file(table: Path) -> Any:
    # newline="": csv recognises line breaks inside names.
    is_json = table.suffix.lower() == ".json"
    with reading(table):
        text = read_text(table, TEXT if is_json else 2 * TEXT).decode("utf-8-sig", "surrogateescape")
        if is_json:
            return json.loads(text)
        file = io.StringIO(text, newline="")
        delimiter = "\t" if "\t" in file.readline() else ","
        file.seek(0)
        return list(csv.DictReader(file, delimiter=delimiter))


def _volume(name: str, rows: list[tuple[Path, dict[str, Any]]], by: Sequence[str]) -> ScoredVolume:
    slices = sorted((_slice(*row) for row in rows), key=_order)
    if twice := [a.index for a, b in pairwise(slices) if _order(a) == _order(b)]:
        raise ReadError(f"{name}: slice {twice[0]} is in the tables twice: leave one of them out")
    table, first = rows[0]
    low, high, threshold = (_number(table, first, key) for key in ("low", "high", "threshold"))
    if low is None or high is None or threshold is None or not low < high:
        raise ReadError(f"{table}: {name} has no low, high or threshold: give a table that mriqf score wrote")
    mask = str(first.get("foreground") or "automatic")
    return ScoredVolume(
        name,
        _find(name, table),
        tuple(slices),
        str(first["weights"]),
        str(first.get("unit") or ""),
        str(first["pool"]),
        Scale(low, high, threshold),
        _find(str(first["map"]), table) if first.get("map") else None,
        None if mask == "automatic" else _find(mask, table),
        _number(table, first, "jpeg_quality"),
        _axis(table, first),
        _number(table, first, "cut_off"),
        _number(table, first, "limit"),
        str(first.get("note") or ""),
        str(first.get("resolved") or ""),
        about(first, by),
    )


def _axis(table: Path, row: dict[str, Any]) -> Axis:
    axis = row.get("axis") or "slice"
    if axis not in get_args(Axis):
        raise ReadError(f"{table}: axis of {row['input']} is {axis!r}: write the table anew")
    return axis


def _order(scored: ScoredSlice) -> tuple[int, int]:
    return scored.time or 0, scored.index


def _slice(table: Path, row: dict[str, Any]) -> ScoredSlice:
    index, score, share = (_number(table, row, key) for key in ("slice", "score", "foreground_fraction"))
    if index is None or share is None:
        raise ReadError(f"{table}: a row of {row['input']} has no slice or foreground_fraction: write the table anew")
    expected = None
    if row.get("domain"):
        reason = "" if row["domain"] == "ok" else str(row["domain"])
        numbers = {f.name: _number(table, row, f.name) for f in fields(Expected) if f.name != "reason"}
        expected = Expected(**numbers, reason=reason)
    time = _number(table, row, "time")
    place = None if time is None else int(time)
    return ScoredSlice(int(index), math.nan if score is None else score, share, expected, place)


def _number(table: Path, row: dict[str, Any], key: str) -> float | None:
    value = row.get(key)
    try:
        number = None if value in (None, "") else float(value)
        if number is not None and not math.isfinite(number) and key != "score":
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ReadError(f"{table}: {key} of {row['input']} is {value!r}, no number: write the table anew") from None
    return number


def _find(name: str, table: Path) -> Path:
    for path in (Path(name), table.parent / name):
        try:
            find_file(path)
        except ReadError:
            continue
        return path
    return Path(name)

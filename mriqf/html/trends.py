"""Trends of scores over time and by group, from further columns of the tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from jaxtyping import Float

TIMES = ("acq_time", "acquisition_time", "acquisition_date", "acquisition_datetime", "study_date", "date")
"""Columns of dates, as BIDS, DICOM and people call them."""
GROUPS = (
    "site", "scanner", "station", "manufacturer", "model", "field_t", "protocol", "sequence", "coil", "session",
    "group",
)  # fmt: skip
"""Columns of scanners, protocols and sites."""
MOST = 20
"""Maximum number of groups in a column; a column with more identifies volumes rather than groups."""
WINDOW = 5
"""Minimum number of volumes of a running median."""
NOTHING = ("", "n/a", "nan", "none")


@dataclass(frozen=True)
class Trend:
    """Trend of the scores over one column."""

    column: str
    places: tuple[float | None, ...]
    """Group number, or days since the first date, of each volume; None if its cell is empty."""
    groups: tuple[str, ...] = ()
    """Names of the groups; empty for dates."""
    medians: tuple[float | None, ...] = ()
    """Median score of each group; None if no volume of it has a score."""
    counts: tuple[int, ...] = ()
    """Number of volumes with a score in each group."""
    span: tuple[str, str] = ("", "")
    """First and last date."""
    running: tuple[tuple[float, float], ...] = ()
    """Days since the first date, and running median of the scores."""
    window: int = 0
    """Number of volumes of each running median."""


def about(row: Mapping[str, Any], more: Iterable[str] = ()) -> dict[str, str]:
    """Cells of a row in the columns `TIMES`, `GROUPS` and `more`: date and place of the acquisition."""
    wanted = {*TIMES, *GROUPS, *more}
    return {
        name: text
        for key, value in row.items()
        if ((name := str(key)) in wanted or (name := name.lower()) in wanted)
        and (text := " ".join(str(value if value is not None else "").split())).lower() not in NOTHING
    }


def trends(
    scores: Float[np.ndarray, " n"], abouts: Sequence[Mapping[str, str]], more: Sequence[str] = ()
) -> list[Trend]:
    """Trends over all columns with two values or more: dates first, then groups.

    Parameters
    ----------
    scores
        Scores of volumes; NaN for none.
    abouts
        Results of `about` for the same volumes.
    more
        Columns of groups beside `GROUPS`.
    """
    candidates: list[Trend | None] = []
    for column in TIMES:
        candidates.append(_over_time(column, scores, [about.get(column) for about in abouts]))
    for column in dict.fromkeys((*more, *GROUPS)):
        candidates.append(_by_group(column, scores, [about.get(column) for about in abouts]))
    return [trend for trend in candidates if trend is not None]


def running_median(
    at: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], window: int
) -> list[tuple[float, float]]:
    """Medians of `window` consecutive values in time, each at the median of their times."""
    order = np.argsort(at, kind="stable")
    return [
        (float(np.median(at[chosen])), float(np.median(values[chosen])))
        for k in range(len(at) - window + 1)
        for chosen in [order[k : k + window]]
    ]


def read_date(text: str) -> datetime | None:
    """Parse a date, with or without time, in ISO 8601 or DICOM form (``20240131``, ``20240131120000.0``)."""
    for form in _FORMS:
        try:
            return form(text).replace(tzinfo=None)
        except ValueError:
            continue
    return None


_FORMS: tuple[Callable[[str], datetime], ...] = (
    datetime.fromisoformat,
    lambda text: datetime.strptime(text.partition(".")[0], "%Y%m%d%H%M%S"),
)


def _over_time(column: str, scores: Float[np.ndarray, " n"], cells: Sequence[str | None]) -> Trend | None:
    dates = [None if cell is None else read_date(cell) for cell in cells]
    known = sorted({date for date in dates if date is not None})
    if len(known) < 2:
        return None
    days = [None if date is None else (date - known[0]).total_seconds() / 86400 for date in dates]
    at = np.array([np.nan if day is None else day for day in days])
    used = np.isfinite(at) & np.isfinite(scores)
    window = max(WINDOW, 2 * round(used.sum() / 20) + 1)  # a tenth of the volumes
    return Trend(
        column,
        tuple(days),
        span=(_shown(known[0]), _shown(known[-1])),
        running=tuple(running_median(at[used], scores[used], window)),
        window=window,
    )


def _by_group(column: str, scores: Float[np.ndarray, " n"], cells: Sequence[str | None]) -> Trend | None:
    names = sorted({cell for cell in cells if cell is not None})
    if not 2 <= len(names) <= MOST:
        return None
    group_of = np.array([-1 if cell is None else names.index(cell) for cell in cells])
    known = [scores[(group_of == k) & np.isfinite(scores)] for k in range(len(names))]
    return Trend(
        column,
        tuple(None if k < 0 else float(k) for k in group_of.tolist()),
        tuple(names),
        tuple(float(np.median(part)) if part.size else None for part in known),
        tuple(len(part) for part in known),
    )


def _shown(date: datetime) -> str:
    return date.date().isoformat() if date.time() == datetime.min.time() else date.isoformat(" ", "minutes")

"""How scores are written: cells, lines, CSV and JSON."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, TextIO

from mriqf.calibration import CutOff, Expected, volume_nrmse
from mriqf.io.bounds import plain
from mriqf.pooling import weighted_mean

PRINTED = ("input", "slice", "score", "pool", "weights", "foreground_fraction")


def expected_columns(expected: Expected) -> dict[str, Any]:
    """Columns of a table: the numbers, None where there are none, and `domain`, ok or why there are none."""
    numbers = asdict(expected)
    reason = numbers.pop("reason")
    return numbers | {"domain": reason or "ok"}


def line(row: dict[str, Any], expected: Expected | None) -> str:
    """What is printed of a row, tab-separated."""
    cells = [_cell(row[key]) for key in PRINTED]
    if expected is not None:
        found = (expected.nrmse, expected.nrmse_low, expected.nrmse_high)
        cells += ["-" if None in found else interval(*found), expected.reason or "ok"]  # pyright: ignore[reportArgumentType]
    return "\t".join(cells)


def summary(slices: Sequence[tuple[float, float, Expected | None]], cut: CutOff | None) -> str:
    """What is said of a whole input, from its slices' scores, shares of foreground and expectations."""
    said = f"{weighted_mean([(score, share) for score, share, _ in slices]):.2f} over {len(slices)} slices"
    known = [expected for _, _, expected in slices if expected is not None]
    if not known:
        return said
    nrmse = volume_nrmse([(expected, share) for _, share, expected in slices])
    outside = [expected.reason for expected in known if not expected.in_domain]
    if nrmse is None:
        return f"{said}, NRMSE unknown: {outside[0]}"
    said += f", NRMSE {interval(*nrmse)}"
    if outside:
        said += f" over the {len(known) - len(outside)} in the domain"
    if cut is None:
        return said
    passed = "" if math.isnan(cut.bad_passed) else f", {100 * cut.bad_passed:.0f} % of bad ones pass"
    rejected = f"{100 * cut.good_rejected:.0f} % of good images fall below it"
    return f"{said}; cut-off {cut.score:.1f} for NRMSE {cut.limit:.2f} ({rejected}{passed})"


def interval(value: float, low: float, high: float) -> str:
    """`0.06 [0.04, 0.09]`, with a third decimal below 0.05."""
    digits = 2 if value >= 0.05 else 3
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def jpeg_warning(source: str, quality: int) -> str:
    """What is said of a volume that was compressed before."""
    return (f"warning: {source}: pixels carry the lattice of JPEG quality {quality}; a study on such data "
            "is biased (doi:10.1073/pnas.2117203119)")  # fmt: skip


def complain(source: str, error: object) -> str:
    """What is said of an input that failed; most errors name it."""
    return str(error) if source in str(error) else f"{source}: {error}"


def write_csv(rows: Iterable[dict[str, Any]], text: TextIO) -> None:
    """Table with a header; empty cells for None.

    A name that a spreadsheet would take for a formula becomes the same path by another name: `=a.png` is `./=a.png`.
    """
    rows = iter(rows)
    first = next(rows, None)
    table = csv.DictWriter(text, list(PRINTED) if first is None else list(first), lineterminator="\n")
    table.writeheader()
    if first is not None:
        table.writerows({k: _no_formula(v) for k, v in row.items()} for row in chain((first,), rows))


def as_json(rows: list[dict[str, Any]]) -> str:
    """JSON knows no NaN: a slice without foreground has a score of null."""
    plain = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]
    return json.dumps(plain, indent=1) + "\n"


def _no_formula(value: Any) -> Any:
    return f"./{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    # A tab or line break in a file's name would break the table.
    return plain(str(value).translate({9: " ", 10: " ", 13: " "}))

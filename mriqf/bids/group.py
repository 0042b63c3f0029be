"""The level `group`: one table and one page of all scans that were scored."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mriqf.bids.derivatives import ABOUT, records, write_json, write_text
from mriqf.bids.origin import Origins
from mriqf.bids.pages import make_page
from mriqf.html.trends import GROUPS, TIMES

PICTURED = 500  # scans: pages of more have no pictures, which the participants' pages show
MEANINGS = {  # descriptions of columns
    "bids_name": "Name of the scan without ending, as in the tables of MRIQC",
    "score": "Mean over the slices, weighted by their foreground; higher is better",
    "unit": "Unit of the score and of the map",
    "n_slices": "Slices that were read",
    "nrmse": "Error to expect relative to the object, mean over the slices",
    "nrmse_low": "Lower end of the interval of nrmse",
    "nrmse_high": "Upper end of the interval of nrmse",
    "foreground_fraction": "Share of the pixels that the object fills",
    "domain": "ok, or why nothing is said of errors: the calibration does not know such images",
    "jpeg_quality": "Quality of an earlier JPEG compression, if the pixels still show it",
    "note": "What makes the numbers doubtful",
    "acq_time": "Date and time of the acquisition, by the dataset's scans.tsv or sidecars",
    "field_t": "Field strength in tesla, by the sidecars",
}


def summarise(root: Path, out: Path) -> tuple[int, dict[str, str], dict[str, str]]:
    """Write ``group_quality.tsv``, its description, the page, and ``group_not_scored.tsv``.

    Returns
    -------
    int
        Number of scans in the table.
    dict
        Scans without a score, and the reason.
    dict
        Sidecars and tables of the dataset that cannot be read, and the reason.

    Raises
    ------
    ReadError
        If a record is damaged, or the scores are of several weights or pools.
    """
    recorded = list(records(out))
    scored = [record for _, record in recorded if "not_scored" not in record]
    unscored = {record["bids_meta"]["source"]: record["not_scored"] for _, record in recorded if "not_scored" in record}
    columns = list(dict.fromkeys(key for record in scored for key in record if key not in ABOUT))
    origin = Origins(root)
    origins = {record["bids_meta"]["source"]: origin.columns(record["bids_meta"]) for record in scored}
    origin_columns = [key for key in (*TIMES, *GROUPS) if any(key in one for one in origins.values())]
    header = ["bids_name", *columns, "n_slices", *origin_columns]
    table = []
    for record in scored:
        numbers = (record.get(key) for key in columns)
        fields = origins[record["bids_meta"]["source"]]
        table.append([record["bids_name"], *numbers, len(record["slices"]), *map(fields.get, origin_columns)])
    text = make_page(root, out, recorded, 1 if len(scored) <= PICTURED else 0, [out / "group_quality.tsv"], origins)
    write_text(out / "group_quality.tsv", tsv(header, sorted(table, key=lambda row: row[0])))
    write_json(out / "group_quality.json", {key: {"Description": MEANINGS[key]} for key in header if key in MEANINGS})
    write_text(out / "group_not_scored.tsv", tsv(("source", "reason"), unscored.items()))
    if text is not None:
        write_text(out / "group_quality.html", text)
    return len(scored), unscored, origin.damaged


def tsv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Table in the format of BIDS: tab-separated, ``n/a`` for missing values."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    return " ".join(f"{value:.6g}".split() if isinstance(value, float) else str(value).split())

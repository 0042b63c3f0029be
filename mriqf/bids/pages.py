"""Pages of scans and their quality maps: the report of `mriqf report` with the BIDS names of scans."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mriqf.bids.derivatives import rows
from mriqf.html import Picture, ScoredVolume, draw, page, read_tables
from mriqf.io.bounds import named


def make_page(
    root: Path,
    out: Path,
    recorded: Iterable[tuple[Path, Mapping[str, Any]]],
    pictures: int,
    tables: Sequence[Path] = (),
    origins: Mapping[str, Mapping[str, str]] | None = None,
) -> str | None:
    """HTML page of scans; None if none of them was scored.

    Parameters
    ----------
    root, out
        Roots of the dataset and of its derivatives, where the page will be.
    recorded
        Folder and record of each scan: `mriqf.bids.derivatives.records`.
    pictures
        Number of slices to show of each scan.
    tables
        Tables to link.
    origins
        When and where scans were made, by their path below the dataset: the page shows scores by these columns.
    """
    table: list[dict[str, Any]] = []
    unscored: dict[str, str] = {}
    names: dict[str, str] = {}
    for folder, record in recorded:
        if "not_scored" in record:
            unscored[record["bids_name"]] = record["not_scored"]
        else:
            fields = (origins or {}).get(record["bids_meta"]["source"], {})
            table += [{**row, **fields} for row in rows(record, root, folder)]
            names[table[-1]["input"]] = record["bids_name"]
    if not table:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:  # read by the reader of users' tables
        json.dump(table, file)
        file.flush()
        volumes = read_tables([Path(file.name)])[0]
    named_volumes = [replace(volume, name=names[volume.name]) for volume in volumes]
    drawn = [_drawn(volume, pictures) for volume in named_volumes]
    return page(named_volumes, drawn, unscored, tables=tables, folder=out.absolute())


def _drawn(volume: ScoredVolume, count: int) -> tuple[list[Picture], str]:
    try:
        return draw(volume, count)
    except (ValueError, OSError, ImportError) as error:
        return [], named(error)

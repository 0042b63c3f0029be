"""Pages of scans under their maps: the report of `mriqf report`, with the names that scans have in BIDS."""

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
    """Page of scans in HTML; None where none of them was scored.

    Parameters
    ----------
    root, out
        The dataset, and that of its derivatives, where the page will be.
    recorded
        Folders and records: `mriqf.bids.derivatives.records`.
    pictures
        Slices shown of each scan.
    tables
        Linked.
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
            told = (origins or {}).get(record["bids_meta"]["source"], {})
            table += [{**row, **told} for row in rows(record, root, folder)]
            names[table[-1]["input"]] = record["bids_name"]
    if not table:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:  # read back as the tables of users are
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

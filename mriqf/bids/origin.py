"""When and where scans were made: what the sidecars and tables of a BIDS dataset say of it."""

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from mriqf.bids.tree import strip_ending
from mriqf.html.trends import GROUPS, TIMES, about
from mriqf.io.bounds import read_text

SIDECAR = {
    "Manufacturer": "manufacturer",
    "ManufacturersModelName": "model",
    "MagneticFieldStrength": "field_t",
    "StationName": "station",
    "InstitutionName": "site",
    "AcquisitionDateTime": "acq_time",
}
"""Fields of a sidecar, and the columns that they become: those of `mriqf dicom`."""


class Origins:
    """What a dataset says of its scans. What is missing or damaged is passed over: the scores do not hang on it.

    Parameters
    ----------
    root
        The dataset.
    """

    def __init__(self, root: Path):
        self._root = root
        self._sidecars = lru_cache(maxsize=4096)(self._find_sidecars)
        self._content = lru_cache(maxsize=4096)(_read_json)
        self._table = lru_cache(maxsize=4096)(_read_tsv)

    def of(self, meta: Mapping[str, Any]) -> dict[str, str]:
        """Columns of one scan, of which a record has the ``bids_meta``.

        Sidecars of the folders above hold for all scans whose names have their entities, the nearest most (inheritance
        principle). ``scans.tsv`` and ``participants.tsv`` come next, the name's session last.
        """
        source = PurePosixPath(str(meta["source"]))
        parts = set(strip_ending(source.name).split("_"))
        found: dict[str, Any] = {}
        places = [self._root / folder for folder in reversed(source.parents)]
        for folder in places:
            for path, needed in self._sidecars(folder):
                if needed <= parts:
                    sidecar = self._content(path)
                    found |= {column: sidecar[key] for key, column in SIDECAR.items() if key in sidecar}
        subject = f"sub-{meta.get('sub', '')}"
        told = dict(self._table(self._root / "participants.tsv", "participant_id").get(subject, {}))
        for folder in places[1:]:
            for path in sorted(folder.glob("*_scans.tsv")):
                scans = self._table(path, "filename")
                told |= scans.get(source.relative_to(folder.relative_to(self._root)).as_posix(), {})
        found |= {key: value for key, value in told.items() if key in (*TIMES, *GROUPS)}
        if "ses" in meta:
            found.setdefault("session", meta["ses"])
        return about(found)

    @staticmethod
    def _find_sidecars(folder: Path) -> list[tuple[Path, set[str]]]:
        """Sidecars in a folder, those of fewest entities first, and parts of names of the scans that they hold for."""
        found = [(path, set(path.stem.split("_"))) for path in folder.glob("*.json")]
        return sorted(found, key=lambda one: (len(one[1]), one[0]))


def _read_json(path: Path) -> dict[str, Any]:
    with suppress(ValueError, OSError, RecursionError):
        found = json.loads(read_text(path))
        if isinstance(found, dict):
            return found
    return {}


def _read_tsv(path: Path, key: str) -> dict[str, dict[str, str]]:
    """Rows of a table by one of its columns."""
    with suppress(ValueError, OSError, csv.Error):
        text = read_text(path).decode("utf-8-sig", "replace")
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t")
        return {row[key]: {k: v for k, v in row.items() if k and v} for row in rows if row.get(key)}
    return {}

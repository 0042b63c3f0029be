"""When and where scans were acquired, from the sidecars and tables of a BIDS dataset."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from functools import partial
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
"""Fields of a sidecar to the columns of `mriqf dicom` that hold them."""


class Origins:
    """Acquisition dates and sites of the scans of a dataset.

    Parameters
    ----------
    root
        Root of the dataset.

    Attributes
    ----------
    damaged
        Files that cannot be read, and the reason. No score depends on them.
    """

    def __init__(self, root: Path):
        self.damaged: dict[str, str] = {}
        self._root = root
        self._known: dict[tuple[Path, str], Any] = {}

    def columns(self, meta: Mapping[str, Any]) -> dict[str, str]:
        """Columns of one scan, given the ``bids_meta`` of its record.

        Sidecars of the folders above hold for all scans whose names have their entities, the nearest most (inheritance
        principle). ``participants.tsv`` and ``scans.tsv`` come next; the session is that of the name.
        """
        source = PurePosixPath(str(meta["source"]))
        parts = set(strip_ending(source.name).split("_"))
        folders = [self._root / folder for folder in reversed(source.parents)]
        values: dict[str, Any] = {}
        for folder in folders:
            for path, needed in self._once(folder, "sidecars", _sidecars):
                if needed <= parts:
                    sidecar = self._once(path, "", lambda path: self._read(path, _json))
                    values |= {column: sidecar[key] for key, column in SIDECAR.items() if key in sidecar}
        fields = dict(self._rows(self._root / "participants.tsv", "participant_id").get(f"sub-{meta.get('sub')}", {}))
        for folder in folders[1:]:
            for path in self._once(folder, "scans", lambda folder: sorted(folder.glob("*_scans.tsv"))):
                below = source.relative_to(folder.relative_to(self._root).as_posix()).as_posix()
                fields |= self._rows(path, "filename").get(below, {})
        values |= {key: value for key, value in fields.items() if key in (*TIMES, *GROUPS)}
        if "ses" in meta:
            values.setdefault("session", meta["ses"])
        return about(values)

    def _once(self, path: Path, kind: str, read: Callable[[Path], Any]) -> Any:
        """Result of `read` for a path, cached by path and kind."""
        if (path, kind) not in self._known:
            self._known[path, kind] = read(path)
        return self._known[path, kind]

    def _rows(self, path: Path, key: str) -> dict[str, dict[str, str]]:
        """Rows of a table by the value of a column; empty if there is no table."""
        return self._once(path, key, lambda path: self._read(path, partial(_tsv, key)) if path.is_file() else {})

    def _read(self, path: Path, parse: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        try:
            return parse(read_text(path).decode("utf-8-sig"))
        except (ValueError, OSError, RecursionError, csv.Error) as error:
            self.damaged[path.relative_to(self._root).as_posix()] = f"is passed over, for it cannot be read ({error})"
            return {}


def _sidecars(folder: Path) -> list[tuple[Path, set[str]]]:
    """Sidecars in a folder with the parts of their names, fewest first; a scan's name must contain all parts."""
    sidecars = [(path, set(path.stem.split("_"))) for path in folder.glob("*.json")]
    return sorted(sidecars, key=lambda one: (len(one[1]), one[0]))


def _json(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content


def _tsv(key: str, text: str) -> dict[str, dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))
    if rows and key not in rows[0]:
        raise ValueError(f"it has no column {key}")
    return {row[key]: {k: v for k, v in row.items() if k and v} for row in rows if row[key]}

"""Table of a study: one row for each measurement, written at once.

A study is a folder: `study.json` says what is measured on what, `rows.csv` holds what was. A run that is killed at any
moment goes on where it was; figures and answers are made from the table alone.
"""

import csv
import hashlib
import io
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mriqf.io import atomic_path
from mriqf.io.bounds import check_regular

Value = str | int | float
Columns = dict[str, np.ndarray]

STAMP = ("card", "versions")


@dataclass(frozen=True)
class Task:
    """Unit of measurement: the rows with these keys, in this order."""

    keys: tuple[tuple[Value, ...], ...]
    measure: Callable[[], Iterable[Mapping[str, Value]]]
    """The other columns of each row."""


@dataclass(frozen=True)
class Table:
    """Rows of a study and their file.

    Attributes
    ----------
    folder
        Folder of the study; made if missing.
    key
        Columns that tell one row from another.
    columns
        The columns with what was measured.
    metadata
        Study, configuration, seeds, hashes of data and weights; part of every row as the first digits of its hash.
    """

    folder: Path
    key: tuple[str, ...]
    columns: tuple[str, ...]
    metadata: dict[str, Any]

    @property
    def path(self) -> Path:
        """File of the rows."""
        return self.folder / "rows.csv"

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """Run the tasks that are missing; yields the number of finished tasks, those of earlier runs first.

        Raises
        ------
        ValueError
            If the folder belongs to another study, or another process is at work in it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._sign()
            done = self._mend()
            missing = [task for task in tasks if any(_text(key) not in done for key in task.keys)]
            count = len(tasks) - len(missing)
            yield count
            for task in missing:
                rows = zip(task.keys, task.measure(), strict=True)
                self._append([(key, row) for key, row in rows if _text(key) not in done])
                count += 1
                yield count

    def _sign(self) -> None:
        """Write the metadata of the study, or check that those in the folder are the same."""
        path, text = self.folder / "study.json", json.dumps(self.metadata, indent=1) + "\n"
        if not path.exists():
            if self.path.exists():
                raise ValueError(f"{self.folder} has rows of an unknown study: choose another folder")
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        elif (stored := path.read_text(encoding="utf-8")) != text:
            raise ValueError(f"{self.folder} holds {_difference(stored, self.metadata)}: give that, or another folder")

    def _mend(self) -> set[tuple[str, ...]]:
        """Keys of the rows in the file, after removing an incomplete last line."""
        if not self.path.exists():
            return set()
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            os.truncate(self.path, len(whole))
        rows = csv.reader(io.StringIO(whole.decode(), newline=""))
        head = next(rows, None)
        if head is not None and head != [*self.key, *self.columns, *STAMP]:
            raise ValueError(f"{self.path} has other columns than this version writes: choose another folder")
        return {tuple(row[: len(self.key)]) for row in rows}

    def _append(self, rows: Iterable[tuple[tuple[Value, ...], Mapping[str, Value]]]) -> None:
        stamp = (hashlib.sha256(json.dumps(self.metadata).encode()).hexdigest()[:12], versions())
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow([*self.key, *self.columns, *STAMP])
            for key, row in rows:
                writer.writerow([*_text(key), *(_cell(row[name]) for name in self.columns), *stamp])
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder against a second process; the lock of a killed process is released."""
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield
            return
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(f"{self.folder} is being written by another process: wait, or stop it") from None
            yield


def read_table(path: Path) -> Columns:
    """Read the columns of a table: numbers if every cell is one (NaN for empty cells), else text.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist: run the study first")
    check_regular(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if None not in row.values()]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table ({error}): run the study again") from None
    if not rows:
        raise ValueError(f"{path} has no rows: run the study first")
    return {name: _column([row[name] for row in rows]) for name in rows[0]}


def where(table: Columns, **equal: Value | Sequence[Value]) -> Columns:
    """Rows whose columns have the given value, or one of the given values."""
    inside = np.ones(len(next(iter(table.values()))), bool)
    for name, value in equal.items():
        inside &= np.isin(table[name], value if isinstance(value, list | tuple) else [value])
    return {name: column[inside] for name, column in table.items()}


def versions() -> str:
    """Versions of this package, torch, NumPy and Python."""
    return ", ".join(
        [*(f"{name} {version(name)}" for name in ("mriqf", "torch", "numpy")), f"python {platform.python_version()}"]
    )


def _column(cells: list[str]) -> np.ndarray:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(cells)


def _text(key: tuple[Value, ...]) -> tuple[str, ...]:
    return tuple(_cell(value) for value in key)


def _cell(value: Value) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.9g}"
    return str(value)


def _difference(stored: str, metadata: Mapping[str, Any]) -> str:
    """Description of the first difference between the metadata of two studies."""
    try:
        old = json.loads(stored)
    except ValueError:
        return "no readable study.json"
    for name in sorted(old.keys() | metadata.keys()):
        a, b = old.get(name), json.loads(json.dumps(metadata.get(name)))
        if isinstance(a, dict) and isinstance(b, dict):
            name, a, b = next(
                ((f"{name}.{k}", a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)),
                (name, a, b),
            )
        if a != b:
            return f"a study with {name} = {json.dumps(a)}, not {json.dumps(b)}"
    return "the same study in another order"

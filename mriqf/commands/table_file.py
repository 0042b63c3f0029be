"""Tables on disk that grow row by row, so that an interrupted run keeps its rows."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mriqf.cli import OutputError
from mriqf.io.atomic import check_target
from mriqf.io.bounds import FULL, words


class TableFile:
    """CSV or JSON file that is valid after every row.

    Parameters
    ----------
    path
        File to write.
    columns
        Keys of every row. CSV has empty cells for None; a name that a spreadsheet would take for a formula becomes the
        same path by another name: `=a.png` is `./=a.png`.
    as_json
        Write a JSON list of objects, with null for NaN and None, rather than CSV.
    force
        Replace a file that exists.

    Raises
    ------
    FileExistsError, OSError
        If the file cannot be written there.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, as_json: bool = False, force: bool = False):
        check_target(path, force)
        self.path = path
        self.count = 0
        self._columns, self._json = columns, as_json
        self._file = path.open("wb", buffering=0)  # unbuffered: write errors show at once
        self._end = 0  # offset after the last complete row
        self._append(b"[" if as_json else self._line(columns), 0)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row.

        Raises
        ------
        OutputError
            If there is no room for it: the rows before it stay.
        """
        if self._json:
            text = json.dumps({key: _null(row[key]) for key in self._columns})
            made = f"{',' if self.count else ''}\n{text}".encode()
        else:
            made = self._line([_no_formula(row[key]) for key in self._columns])
        self._append(made, 1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, made: bytes, rows: int) -> None:
        closing = b"\n]\n" if self._json else b""
        try:
            self._put(self._end, made + closing)
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._end)
            if self._end:
                self._put(self._end, closing)  # it fitted before
            raise OutputError(f"{self.path}: {words(error)}; the {self.count} rows before are kept") from None
        self._end += len(made)
        self.count += rows

    def _put(self, place: int, made: bytes) -> None:
        self._file.seek(place)
        left = memoryview(made)
        while left:
            left = left[self._file.write(left) :]

    @staticmethod
    def _line(cells: Iterable[Any]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue().encode("utf-8", "surrogateescape")  # names may be of any bytes


@contextmanager
def tables(csv: Path | None, json: Path | None, columns: Sequence[str], *, force: bool) -> Iterator[list[TableFile]]:
    """Open the given tables for writing rows."""
    with ExitStack() as stack:
        files = []
        for path, as_json in ((csv, False), (json, True)):
            if path is not None:
                files.append(TableFile(path, columns, as_json=as_json, force=force))
                stack.callback(files[-1].close)
        yield files


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into an OutputError that names the file.

    Raises
    ------
    OutputError
        If there is no room for the file.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # h5py wraps the error of writing into a RuntimeError when it closes the file.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError) or cause.errno not in FULL:
            raise
        raise OutputError(f"{path}: {words(cause)}") from None


def check_targets(*paths: Path | None, force: bool) -> None:
    """Raise for tables that could not be written, before any work is done; see `check_target`."""
    for path in paths:
        if path is not None:
            check_target(path, force)


def _null(value: Any) -> Any:
    """None for NaN, which JSON cannot hold."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _no_formula(value: Any) -> Any:
    return f"./{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value

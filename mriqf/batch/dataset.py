"""Scores as a Parquet dataset: a folder with one part a volume.

A part appears whole, by rename. Its name says which volume it is of, in which state that was, and by which settings it
was scored: so a list of names tells what is done, and no reader ever meets a volume twice.
"""

import hashlib
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from mriqf.batch.state import state
from mriqf.io import ReadError, atomic_path
from mriqf.io.bounds import check_regular
from mriqf.io.volume import reading

PART = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{16})\.parquet")
TEXT = (
    "input", "unit", "resolved", "resolution", "pool", "weights", "foreground", "axis", "map", "version", "note",
    "domain",
)  # fmt: skip
WHOLE = ("slice", "time", "jpeg_quality")  # all other columns are float64
MOST_ROWS, LONGEST = 1 << 16, 1 << 13  # of a part: slices, and bytes of a text; a few bytes can claim any number


class Dataset:
    """Parts of one folder, all scored by the same settings.

    Parameters
    ----------
    folder
        Is made if it is not there.
    settings
        Digest of all that changes scores, but for the volume: 16 hexadecimal digits.

    Raises
    ------
    FileExistsError
        If the folder is a file, or holds parts by other settings, or other Parquet files.
    ImportError
        If pyarrow is not installed.
    """

    def __init__(self, folder: Path, settings: str):
        _pyarrow()  # missed now, not after the first volume
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file: name a folder for the dataset")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = settings
        self._parts: dict[str, str] = {}  # digest of a volume's path to the name of its part
        for name in _names(folder):
            match = PART.fullmatch(name)
            if match is None or match[3] != settings:
                other = "Parquet files of others" if match is None else "scores by other weights, options or version"
                raise FileExistsError(f"{folder} holds {other} ({name}): name another folder")
            self._parts[match[1]] = name

    def part(self, path: str) -> str:
        """Name that the part of a volume has, as the volume is now.

        Raises
        ------
        ReadError
            If there is no such volume.
        """
        return f"{_digest(path, 32)}-{state(path)[:16]}-{self.settings}.parquet"

    def __contains__(self, part: str) -> bool:
        return self._parts.get(part[:32]) == part

    def write(self, part: str, rows: list[dict[str, Any]]) -> None:
        """Write the rows of a volume, in place of those of an earlier state of it.

        Raises
        ------
        OSError
            If they cannot be written: then there is no part.
        """
        arrow, parquet = _pyarrow()
        kinds = {**dict.fromkeys(TEXT, arrow.string()), **dict.fromkeys(WHOLE, arrow.int64())}
        schema = arrow.schema([(name, kinds.get(name, arrow.float64())) for name in rows[0]])
        made = arrow.BufferOutputStream()
        parquet.write_table(arrow.Table.from_pylist(rows, schema), made)
        with atomic_path(self.folder / part, force=True) as temporary:
            with temporary.open("wb") as file:
                file.write(made.getvalue())
                file.flush()
                os.fsync(file.fileno())  # a part is never read to see if it is whole, so it is, even if the power fails
            # Before the rename: cut off in between, the volume is scored again; the other way it would be there twice.
            self.forget(part)
        self._parts[part[:32]] = part

    def forget(self, part: str) -> None:
        """Remove the part of another state of the same volume, if there is one: it is of a file that is no more."""
        old = self._parts.get(part[:32])
        if old not in (None, part):
            (self.folder / old).unlink(missing_ok=True)
            del self._parts[part[:32]]

    def rows(self, part: str) -> list[dict[str, Any]]:
        """Rows of one part, as they were written."""
        return _read(self.folder / part)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of a dataset with the columns of `mriqf score --csv`, by input and slice.

    Raises
    ------
    ReadError
        If a part is damaged, or has other columns than the first.
    ImportError
        If pyarrow is not installed.
    """
    rows: list[dict[str, Any]] = []
    for name in _names(folder):
        part = _read(folder / name)
        if rows and part and part[0].keys() != rows[0].keys():
            raise _foreign(folder / name, "has other columns than the parts before it")
        rows += part
    return sorted(rows, key=lambda row: (str(row.get("input")), row.get("time") or 0, row.get("slice") or 0))


def _read(path: Path) -> list[dict[str, Any]]:
    _, parquet = _pyarrow()
    with reading(path):
        check_regular(path)
        with parquet.ParquetFile(path) as file:
            about, schema = file.metadata, file.schema_arrow
        texts = [name for name in TEXT if name in schema.names]
        if any(str(column.type) not in ("double", "int64") for column in schema if column.name not in texts):
            raise _foreign(path, "has columns that are no numbers")
        if about.num_rows > MOST_ROWS:
            raise _foreign(path, f"claims {about.num_rows} rows, more than {MOST_ROWS}")
        # As dictionaries: a text is there once, whatever the rows that have it.
        with parquet.ParquetFile(path, metadata=about, read_dictionary=texts) as file:
            table = file.read()
        words = [word for name in texts for part in table[name].chunks for word in part.dictionary]
        if any(word.is_valid and word.as_buffer().size > LONGEST for word in words):
            raise _foreign(path, f"has a text of more than {LONGEST} bytes")
        return table.to_pylist()


def _foreign(path: Path, why: str) -> ReadError:
    return ReadError(f"{path}: {why}: it is no part of the dataset, move it elsewhere")


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:  # there may be a million
        return sorted(e.name for e in entries if e.name.endswith(".parquet") and not e.name.startswith("."))


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:digits]


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError("a dataset of scores needs pyarrow: pip install pyarrow") from None
    return pyarrow, parquet

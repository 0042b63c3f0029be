"""Tables on standard output: aligned rows with headings and units for people, tab-separated fields for programs."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from mriqf.cli import CLOSED, OutputError
from mriqf.io.bounds import plain, words

GAP = "  "
LEAST = 16  # characters of a name in a narrow terminal


@dataclass(frozen=True)
class Column:
    """Column of a table on a terminal."""

    title: str
    unit: str
    width: int
    """Minimum width in characters."""
    show: Callable[[Mapping[str, Any]], str]
    """Function that formats the cell of a row."""
    words: bool = False
    """Align to the left, as words, rather than to the right, as numbers."""

    def cell(self, text: str) -> str:
        """Pad a text to the width of the column."""
        return f"{text:<{self.width}}" if self.words else f"{text:>{self.width}}"


class Table:
    """Table that prints its rows one by one.

    On a terminal: names in a first column as wide as the longest of them, then `columns`, below a heading. Elsewhere:
    the fields called `fields`, separated by tabs, below their names if `header` is asked for.

    Parameters
    ----------
    fields
        Keys of a row, in the order of the tab-separated table; the first is the name.
    columns
        Columns after the name, on a terminal.
    names
        Names of all rows, which set the width of the first column.
    title
        Heading of the names.
    header
        Begin the tab-separated table with the names of its fields.
    keep
        Number of columns after the name that are printed for a row with a reason in place of its numbers.
    """

    def __init__(
        self,
        fields: Sequence[str],
        columns: Sequence[Column],
        names: Sequence[str],
        title: str,
        *,
        header: bool = False,
        keep: int = 0,
    ):
        self.aligned = sys.stdout.isatty()
        self._fields, self._columns, self._title, self._keep = fields, columns, title, keep
        self._header = header or self.aligned
        room = shutil.get_terminal_size().columns - sum(len(GAP) + c.width for c in columns)
        longest = max((len(plain(name)) for name in (*names, title)), default=0)
        self._width = min(longest, max(room, LEAST))

    def row(self, values: Mapping[str, Any], reason: str = "") -> None:
        """Print a row; on a terminal, `reason` replaces the numbers."""
        if self._header:
            self._header = False
            show("\n".join(self._heading()) if self.aligned else "\t".join(self._fields))
        if not self.aligned:
            show("\t".join(cell(values[field]) for field in self._fields))
            return
        shown = self._columns[: self._keep] if reason else self._columns
        parts = [_fit(plain(str(values[self._fields[0]])), self._width)]
        parts += [column.cell(plain(column.show(values))) for column in shown]
        show(GAP.join((*parts, plain(reason)) if reason else parts).rstrip())

    def _heading(self) -> list[str]:
        lines = [f"{self._title:<{self._width}}", " " * self._width]
        for column in self._columns:
            for k, text in enumerate((column.title, column.unit)):
                lines[k] += GAP + column.cell(text)
        return [line.rstrip() for line in lines if line.strip()]


def show(line: str) -> None:
    """Print one line on standard output, above any progress bar, and flush.

    Raises
    ------
    OutputError
        If nobody reads it any more, or it cannot be written.
    """
    try:
        if sys.stdout.isatty():
            tqdm.write(line, file=sys.stdout)
        else:
            print(line)  # noqa: T201 (the command line may)
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputError(status=CLOSED) from None
    except OSError as error:
        raise OutputError(f"standard output: {words(error)}") from None


def cell(value: Any) -> str:
    """Field of a tab-separated table; empty for None."""
    if isinstance(value, float):
        return f"{value:.4f}"
    # A tab or line break in a file's name would break the table.
    return "" if value is None else plain(str(value).translate({9: " ", 10: " ", 13: " "}))


def _fit(name: str, width: int) -> str:
    """Pad a name, or shorten it from the left: the end of a path tells more than its beginning."""
    return f"{name:<{width}}" if len(name) <= width else "…" + name[len(name) - width + 1 :]

"""Common steps of study commands: measure what is missing, then draw and answer from the table."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mriqf.io import atomic_path
from mriqf.studies._frame.table import Columns, Table, Task, read_table


def carry_out(table: Table, tasks: Sequence[Task]) -> None:
    """Measure with progress and an estimate of the time that is left, on standard error."""
    # Where nobody watches, a line a minute is enough.
    pace = 0.1 if sys.stderr.isatty() else 60
    with tqdm(total=len(tasks), desc=table.folder.name, unit="task", file=sys.stderr, mininterval=pace) as bar:
        for count in table.run(tasks):
            if bar.n == 0 and count:
                bar.initial = count  # what earlier runs did says nothing about the speed of this one
            bar.update(count - bar.n)


def keep_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write what a study draws beside its table, an .npz file."""
    with atomic_path(path, force=True) as temporary:
        np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read it again."""
    with np.load(path) as archive:
        return dict(archive)


def conclude(
    folder: Path, answer: Callable[[Columns], str], draw: Iterable[tuple[str, Callable[[Columns, Path], None]]]
) -> int:
    """Draw every figure and write `answer.md`, from the table alone; the answer goes to standard output too."""
    columns = read_table(folder / "rows.csv")
    for name, figure in draw:
        with atomic_path(folder / name, force=True) as temporary:
            figure(columns, temporary)
    text = answer(columns)
    with atomic_path(folder / "answer.md", force=True) as temporary:
        temporary.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(text.rstrip())  # noqa: T201
    return 0

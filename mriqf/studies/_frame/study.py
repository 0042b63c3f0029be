"""Description of a study: its options, its measurements, and the answer and figures made of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from cyclopts import Parameter

from mriqf.cli import UsageError
from mriqf.io import atomic_path
from mriqf.studies._frame.table import Table, Task, read_table
from mriqf.training.manifest import Split

Measurements = Iterator[tuple[Table, Sequence[Task]]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of every study."""

    out: Path
    """Folder of the study; one that was cut off goes on where it was."""
    threads: int | None = None
    """Processor threads; all if not given."""
    report: Annotated[Callable[[str], None], Parameter(parse=False)] = lambda _: None
    """Called with lines on progress and on omissions."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Options of a study that reads manifests."""

    data: Path | None = None
    """Folder that the paths in manifests start from."""

    def root(self, manifest: Path) -> Path:
        """Folder of the data.

        Raises
        ------
        UsageError
            If it is not given.
        """
        if self.data is None:
            raise UsageError(f"{manifest} is a manifest: say with --data where its files are")
        return self.data


@dataclass(frozen=True, kw_only=True)
class SplitOptions(DataOptions):
    """Options of a study of any files, or of a part of manifests."""

    split: Split = "test"
    """Part of a manifest that is measured: train, val or test."""


@dataclass(frozen=True, kw_only=True)
class ReconOptions(SplitOptions):
    """Options of a study that reconstructs."""

    images: Path | None = None
    """Folder that keeps the reconstructions, which several studies of the same data share."""


@dataclass(frozen=True, kw_only=True)
class ArmOptions(DataOptions):
    """Options of a study that trains networks on one manifest."""

    arms: Path | None = None
    """Folder of the trained networks, which may serve several studies; that of the study if not given."""
    device: str = "cpu"
    """auto, cpu or cuda."""

    @property
    def arms_folder(self) -> Path:
        """Folder of the trained networks."""
        return self.arms or self.out / "arms"


class Drawing(NamedTuple):
    """Figure of a study."""

    name: str
    """File in the folder of the study."""
    draw: Callable[[Any, Path], None]
    """Function that draws the content of `source` into a file."""
    source: str = "rows.csv"
    """Table, .npz file of arrays, or folder, in the folder of the study."""
    drawable: Callable[[Path], object] = lambda _: True
    """False for a source that has too little to be drawn."""


@dataclass(frozen=True)
class Study:
    """Study: a function that measures, and functions that report the measurements."""

    run: Callable[..., Measurements]
    """Yields tables, each with the tasks that fill it before the next is asked for. Takes inputs, `options` and
    `config`; its signature and docstring are those of the command."""
    answer: Callable[..., str]
    """Markdown; takes the tables that `tables` names."""
    figures: Sequence[Drawing]
    tables: tuple[str, ...] = ("rows.csv",)
    compare: Callable[[Any], str | None] = lambda _: None
    """Markdown of several runs, made of the options; replaces figures and answer unless it is None."""


def keep_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays that a study draws, an .npz file beside its table."""
    with atomic_path(path, force=True) as temporary:
        np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType]


def read_source(path: Path) -> Any:
    """Columns of a table (.csv), arrays by name (.npz), or the path of anything else."""
    if path.suffix == ".csv":
        return read_table(path)
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return dict(archive)
    return path

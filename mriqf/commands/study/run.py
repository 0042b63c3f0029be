"""Commands of studies: measure what is missing, then draw and answer from what was measured."""

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mriqf.commands.options import choose_device, say, set_threads
from mriqf.commands.study import PACKAGES
from mriqf.io import atomic_path
from mriqf.studies._frame.study import Drawing, Options, Study, read_source
from mriqf.studies._frame.table import Table, Task


def __getattr__(name: str) -> Callable[..., int]:
    """Command of a study, by its name: made when it is called, so that help loads no study."""
    if name not in PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return command(import_module(PACKAGES[name]).STUDY)


def command(study: Study) -> Callable[..., int]:
    """Command line of a study, with the signature and the docstring of its `run`."""
    signature = inspect.signature(study.run)
    first, *others = signature.parameters.values()
    if first.kind is not first.VAR_POSITIONAL:
        first = first.replace(default=None)

    @wraps(study.run)
    def run(*inputs: Path, options: Options, **given: Any) -> int:
        set_threads(options.threads)
        if inputs:
            bound = signature.bind(*inputs, options=replace(options, report=say), **given)
            bound.apply_defaults()
            for table, tasks in study.run(*bound.args, **{k: _placed(v) for k, v in bound.kwargs.items()}):
                carry_out(table, tasks)
        return conclude(options.out, study.answer, study.figures, study.tables)

    run.__signature__ = signature.replace(parameters=[first, *others])  # pyright: ignore[reportAttributeAccessIssue]
    return run


def carry_out(table: Table, tasks: Sequence[Task]) -> None:
    """Measure with progress and an estimate of the time that is left, on standard error."""
    # Where nobody watches, a line a minute is enough.
    pace = 0.1 if sys.stderr.isatty() else 60
    with tqdm(total=len(tasks), desc=table.folder.name, unit="task", file=sys.stderr, mininterval=pace) as bar:
        for count in table.run(tasks):
            if bar.n == 0 and count:
                bar.initial = count  # what earlier runs did says nothing about the speed of this one
            bar.update(count - bar.n)


def conclude(
    folder: Path,
    answer: Callable[..., str],
    figures: Iterable[tuple[Any, ...]],
    tables: Sequence[str] = ("rows.csv",),
) -> int:
    """Draw every figure and write `answer.md`, from files of the study alone; the answer goes to standard output too.

    Returns
    -------
    0.
    """
    columns = [read_source(folder / name) for name in tables]
    for figure in (Drawing(*figure) for figure in figures):
        if figure.drawable(source := folder / figure.source):
            with atomic_path(folder / figure.name, force=True) as temporary:
                figure.draw(read_source(source), temporary)
    text = answer(*columns)
    with atomic_path(folder / "answer.md", force=True) as temporary:
        temporary.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(text.rstrip())  # noqa: T201
    return 0


def _placed(options: Any) -> Any:
    """Options with the device that `auto` stands for, where they name one."""
    return replace(options, device=choose_device(options.device)) if hasattr(options, "device") else options

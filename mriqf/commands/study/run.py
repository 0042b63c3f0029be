"""Commands of studies: measure what is missing, then draw and answer from what was measured."""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mriqf.commands.options import choose_device, say, set_threads
from mriqf.commands.study import PACKAGES
from mriqf.io import atomic_path
from mriqf.studies._frame.study import Options, Study, read_source
from mriqf.studies._frame.table import Table, Task


def __getattr__(name: str) -> Callable[..., int]:
    """Command of a study by its name, built on access so that help loads no study."""
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
        conclude(study, options)
        return 0

    run.__signature__ = signature.replace(parameters=[first, *others])  # pyright: ignore[reportAttributeAccessIssue]
    return run


def carry_out(table: Table, tasks: Sequence[Task]) -> None:
    """Run the tasks with a progress bar on standard error."""
    # Outside a terminal, a line a minute is enough.
    pace = 0.1 if sys.stderr.isatty() else 60
    with tqdm(total=len(tasks), desc=table.folder.name, unit="task", file=sys.stderr, mininterval=pace) as bar:
        for count in table.run(tasks):
            if bar.n == 0 and count:
                bar.initial = count  # tasks of earlier runs do not count for the speed
            bar.update(count - bar.n)


def conclude(study: Study, options: Options) -> None:
    """Draw all figures and write `answer.md` from the files of a study, or write `comparison.md` of several runs.

    The text goes to standard output too.
    """
    folder, name = options.out, "comparison.md"
    if (text := study.compare(options)) is None:
        columns, name = [read_source(folder / table) for table in study.tables], "answer.md"
        for figure in study.figures:
            if figure.drawable(source := folder / figure.source):
                with atomic_path(folder / figure.name, force=True) as temporary:
                    figure.draw(read_source(source), temporary)
        text = study.answer(*columns)
    with atomic_path(folder / name, force=True) as temporary:
        temporary.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(text.rstrip())  # noqa: T201


def _placed(options: Any) -> Any:
    """Options with `auto` replaced by an available device, if they have a device."""
    return replace(options, device=choose_device(options.device)) if hasattr(options, "device") else options

"""Options and messages that several commands share."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mriqf.cli import CLOSED, OutputError, UsageError
from mriqf.io.bounds import plain


def parse_slices(text: str) -> slice:
    """Slice of a text such as `7`, `10:30` or `::5`; the step is positive, since maps are written in order."""
    try:
        parts = [int(p) if p.strip() else None for p in text.split(":")]
        chosen = slice(*parts) if len(parts) > 1 else slice(parts[0], None if parts[0] == -1 else (parts[0] or 0) + 1)
        if len(parts) > 3 or not text.strip() or (chosen.step is not None and chosen.step < 1):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(f"--slices is {text!r}: write it as 7, 10:30 or ::5") from None
    return chosen


def choose_device(name: str) -> str:
    """Resolve auto, cpu or cuda to cpu or cuda; a device that is not available is a usage error."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"--device is {name!r}, which is not to be had here: choose auto or cpu")
    return name


def say(line: str) -> None:
    """Print one line on standard error, above any progress bar.

    Raises
    ------
    OutputError
        If nobody reads it any more.
    """
    try:
        tqdm.write(plain(" ".join(line.splitlines())), file=sys.stderr)
    except BrokenPipeError:
        raise OutputError(status=CLOSED) from None


@contextmanager
def no_interrupt_lost() -> Iterator[Callable[[], None]]:
    """Context of a function that raises a KeyboardInterrupt that Python had to ignore, as it does in finalisers."""
    lost: list[object] = []
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            lost.append(unraisable)
        else:
            before(unraisable)

    def check() -> None:
        if lost:
            raise KeyboardInterrupt

    sys.unraisablehook = hook
    try:
        yield check
    finally:
        sys.unraisablehook = before


def set_threads(count: int | None) -> None:
    """Set the number of processor threads, if one is given."""
    if count is not None:
        torch.set_num_threads(count)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of every training."""

    out: Path
    """Weights to write (.safetensors)."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int | None = None
    """Processor threads; all if not given."""
    force: bool = False
    """Replace weights that exist."""

    def settings(self) -> dict[str, Any]:
        """Arguments of a training function: device, force, report of progress. Sets the number of threads."""
        set_threads(self.threads)
        return {"device": self.device, "force": self.force, "report": say}


@dataclass(frozen=True, kw_only=True)
class StartOptions(TrainOptions):
    """Options of a training that may start from weights."""

    start: str | None = None
    """Weights of the same network to start from."""

    def settings(self) -> dict[str, Any]:
        """The same, and the weights to start from."""
        return super().settings() | {"start": self.start}

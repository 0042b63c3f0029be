"""Batches prepared by a thread ahead of the step that needs them; a batch depends on its step alone."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Batch = TypeVar("Batch")
DEPTH = 1  # batches made while the network works on one: they take a small part of its time


class Ahead(Generic[Batch]):
    """Calls `make(step)` ahead of time, for one step after another.

    libjpeg and numpy release Python's lock, so that the network can compute meanwhile.

    Parameters
    ----------
    make
        Makes the batch of a step, and of it alone.
    steps
        Number of steps; no batch is made beyond.

    Attributes
    ----------
    waited
        Time in seconds for which batches were waited for.
    """

    def __init__(self, make: Callable[[int], Batch], steps: int):
        self.make = make
        self.steps = steps
        self.waited = 0.0
        self._thread = ThreadPoolExecutor(1, "batches")
        self._begun: dict[int, Future[Batch]] = {}

    def __enter__(self) -> "Ahead[Batch]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> Batch:
        """The batch of a step; an error in making it is raised here."""
        for later in range(step, min(step + DEPTH + 1, self.steps)):
            if later not in self._begun:
                self._begun[later] = self._thread.submit(self.make, later)
        begun = time.perf_counter()
        batch = self._begun.pop(step).result()
        self.waited += time.perf_counter() - begun
        return batch

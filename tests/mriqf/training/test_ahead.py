"""Batches made ahead: those of the step, in any order of asking, none beyond the last; errors come where asked for."""

import threading
import time

import pytest

from mriqf.training.ahead import DEPTH, Ahead


def test_gives_the_batch_of_each_step_and_makes_none_twice_or_beyond():
    made = []

    def make(step):
        made.append(step)
        return step * step

    with Ahead(make, 7) as batches:
        assert [batches(step) for step in range(2, 7)] == [4, 9, 16, 25, 36]
    assert made == [2, 3, 4, 5, 6]


def test_is_made_while_the_step_before_is_worked_on():
    begun = threading.Event()

    def make(step):
        if step == DEPTH:
            begun.set()
        return step

    with Ahead(make, 100) as batches:
        batches(0)
        assert begun.wait(10)


def test_waiting_is_counted_and_nothing_else():
    def slow(step):
        time.sleep(0.5)
        return step

    with Ahead(slow, 1) as batches:
        batches(0)
        assert 0.2 < batches.waited < 10
    with Ahead(lambda step: step, 2) as batches:
        batches(0)
        before = batches.waited
        time.sleep(0.5)
        batches(1)
        assert batches.waited - before < 0.3


def test_error_is_raised_at_its_step_and_the_thread_ends():
    def make(step):
        if step == 1:
            raise ValueError("broken")
        return step

    with pytest.raises(ValueError, match="broken"), Ahead(make, 5) as batches:
        assert batches(0) == 0
        batches(1)
    assert not [t for t in threading.enumerate() if t.name.startswith("batches")]

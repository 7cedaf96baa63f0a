"""Batches ahead: in order, never more than asked for, and errors reach the step that wanted the batch."""

from __future__ import annotations

import threading
import time

import pytest

from train.loader import Prefetcher


def test_items_come_in_order_and_a_few_are_made_ahead() -> None:
    made = []
    with Prefetcher(lambda number: made.append(number) or number, 3, 1000, depth=4) as batches:
        assert [batches.take() for _ in range(5)] == [3, 4, 5, 6, 7]
        time.sleep(0.05)
        assert len(made) <= 5 + 4 + 1
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_an_error_is_raised_by_the_step_that_wanted_the_batch() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("batch 2")
        return number

    with Prefetcher(make, 0, 10) as batches:
        assert [batches.take(), batches.take()] == [0, 1]
        with pytest.raises(ValueError, match="batch 2"):
            batches.take()


def test_leaving_early_ends_the_thread_even_when_nothing_is_left_to_make() -> None:
    for end in (0, 2, 50):
        with Prefetcher(lambda number: number, 0, end):
            pass
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]

"""The learning rate over a run, held against the formula of the paper."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.schedule import BatchSize, WarmupStableDecay


def test_plateau_lies_between_a_linear_rise_and_a_square_root_fall() -> None:
    schedule = WarmupStableDecay(peak=1e-3, total=100, warmup=10, cooldown=40)
    assert schedule.learning_rate(0) == pytest.approx(1e-4)
    assert schedule.learning_rate(5) == pytest.approx((1e-4 + 1e-3) / 2)
    assert {schedule.learning_rate(step) for step in range(10, 61)} == {1e-3}
    for step in range(60, 100):
        expected = 1e-4 + (1e-3 - 1e-4) * (1 - math.sqrt((step - 60) / 40))
        assert schedule.learning_rate(step) == pytest.approx(expected)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_rate_rises_then_falls_and_stays_within_its_bounds(warmup: int, cooldown: int, plateau: int) -> None:
    schedule = WarmupStableDecay(1.0, warmup + plateau + cooldown, warmup, cooldown, initial=0.1, final=0.05)
    rates = [schedule.learning_rate(step) for step in range(schedule.total)]
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert max(rates) == 1.0
    assert all(rate >= 0.05 for rate in rates)


def test_plateau_does_not_know_the_end_of_the_run() -> None:
    short, long = WarmupStableDecay(1.0, 100, 10, 20), WarmupStableDecay(1.0, 500, 10, 20)
    assert [short.learning_rate(s) for s in range(80)] == [long.learning_rate(s) for s in range(80)]


@given(st.integers(1, 9), st.lists(st.integers(1, 40), unique=True, max_size=3))
def test_batches_double_and_no_row_is_lost_or_met_twice(rows: int, double_at: list[int]) -> None:
    size = BatchSize(rows, tuple(sorted(double_at)))
    position = 0
    for step in range(60):
        assert size.rows_at(step) == rows * 2 ** sum(step >= at for at in double_at)
        assert size.position_at(step) == position
        assert {size.step_of(p) for p in (position, position + size.rows_at(step) - 1)} == {step}
        position += size.rows_at(step)

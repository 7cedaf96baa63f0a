"""The bound is Clopper and Pearson's: the share at which so few findings have the chance that confidence leaves."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.intervals import upper_bound


def test_nothing_found_is_the_rule_of_three():
    assert upper_bound(0, 15_000) == pytest.approx(1 - 0.05 ** (1 / 15_000), rel=1e-9)
    assert upper_bound(0, 15_000) == pytest.approx(3 / 15_000, rel=0.002)


def test_published_values():
    assert upper_bound(1, 10) == pytest.approx(0.3942, abs=1e-4)
    assert upper_bound(2, 20) == pytest.approx(0.2826, abs=1e-4)
    assert upper_bound(10, 10) == 1.0


@given(drawn=st.integers(1, 60), data=st.data())
def test_at_the_bound_the_binomial_tail_is_what_confidence_leaves(drawn, data):
    found = data.draw(st.integers(0, drawn - 1))
    share = Fraction(upper_bound(found, drawn))
    tail = sum(math.comb(drawn, k) * share**k * (1 - share) ** (drawn - k) for k in range(found + 1))
    assert float(tail) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(("found", "drawn", "confidence"), [(2, 1, 0.95), (-1, 5, 0.95), (0, 5, 1.0), (0, 5, 0.0)])
def test_no_sample_is_no_bound(found, drawn, confidence):
    with pytest.raises(ValueError, match="no such sample"):
        upper_bound(found, drawn, confidence)

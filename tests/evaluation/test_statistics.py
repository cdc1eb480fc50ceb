"""Intervals, tests and curves, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from autottt.evaluation.statistics import (
    cost_to_reach,
    frontier,
    hull,
    mcnemar,
    mean_height,
    paired,
    rejection_ratio,
)

POINTS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=1, max_size=20)


def test_the_interval_is_scipys_and_wider_over_groups() -> None:
    """Without groups it is the percentile bootstrap; tasks that go together count for fewer."""
    gaps = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=60, p=[0.1, 0.5, 0.4])
    found = paired(gaps)
    known = bootstrap((gaps,), np.mean, method="percentile", rng=0).confidence_interval
    assert found.mean == gaps.mean()
    assert found.low == pytest.approx(known.low, abs=0.04)
    assert found.high == pytest.approx(known.high, abs=0.04)
    repeated = np.repeat(gaps, 5)
    names = [str(k) for k in np.repeat(np.arange(60), 5)]
    alone, together = paired(repeated), paired(repeated, names)
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_the_interval_covers_the_truth() -> None:
    """In at least nine of ten draws of 40 tasks the true mean lies in the 95 % interval."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        found = paired(rng.choice([0.0, 1.0], size=40, p=[0.6, 0.4]))
        inside += found.low <= 0.4 <= found.high
    assert inside >= 88


def test_mcnemar_counts_what_differs() -> None:
    """Six against none is 2 / 2^6; nothing that differs is no evidence."""
    one = np.array([1.0] * 6 + [0.0] * 4)
    assert mcnemar(one, np.zeros(10)) == pytest.approx(2 / 64)
    assert mcnemar(one, one) == 1.0


@given(POINTS)
def test_a_hull_lies_over_every_point(points: list[tuple[float, float]]) -> None:
    """The frontier's points are among those given, and no point is above the hull."""
    edges = hull(points)
    assert set(edges) <= set(frontier(points)) <= set(points)
    seconds, heights = zip(*edges, strict=True)
    assert list(seconds) == sorted(seconds)
    for at, height in points:
        if at >= seconds[0]:
            assert height <= np.interp(at, seconds, heights) + 1e-6


def test_heights_and_costs_are_read_off_the_hull() -> None:
    """A hull from (1, 0.2) to (3, 0.6) has height 0.4 at 2; beyond its end it is flat."""
    points = [(1.0, 0.2), (3.0, 0.6), (2.0, 0.3), (4.0, 0.5)]
    assert hull(points) == [(1.0, 0.2), (3.0, 0.6)]
    assert mean_height(points, 1.0, 5.0) == pytest.approx((0.4 * 2 + 0.6 * 2) / 4)
    assert mean_height(points, 0.0, 3.0) == pytest.approx(0.4 * 2 / 3)  # nothing before its start
    assert mean_height(points, 0.0, 0.5) == 0.0
    assert cost_to_reach(points, 0.4) == pytest.approx(2.0)
    assert cost_to_reach(points, 0.1) == 1.0
    assert cost_to_reach(points, 0.7) is None


def test_rejection_is_between_chance_and_the_oracle() -> None:
    """The true order gives 1, the reverse of it less than 0, and equal confidence 0."""
    right = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    assert rejection_ratio(right, right) == pytest.approx(1.0)
    assert rejection_ratio(np.ones(5), right) == pytest.approx(0.0)
    worst = rejection_ratio(-right, right)
    assert worst is not None
    assert worst < 0
    assert rejection_ratio(right, np.ones(5)) is None

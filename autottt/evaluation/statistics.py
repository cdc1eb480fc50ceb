"""Statistics of comparisons over tasks: intervals, tests, frontiers, rejection curves.

Formulas: paired percentile bootstrap (Efron & Tibshirani, 1993) over groups; exact McNemar test;
AIQ, the mean height of the frontier (Hu et al., RouterBench, 2024); PRR, the prediction rejection
ratio (Malinin et al., 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 4000
Point = tuple[float, float]  # (seconds, accuracy)


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def paired(gaps: Array, groups: Sequence[str] | None = None, *, seed: int = 0) -> Interval:
    """Mean of paired differences, with a bootstrap interval over tasks, or over whole `groups`.

    Groups are drawn with all their tasks, as tasks of one group go right or wrong together.
    """
    if groups is None:
        groups = [str(place) for place in range(len(gaps))]
    names = sorted(set(groups))
    place = {name: k for k, name in enumerate(names)}
    member = np.array([place[name] for name in groups])
    sums = np.bincount(member, weights=gaps, minlength=len(names))
    sizes = np.bincount(member, minlength=len(names))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(gaps.mean()), float(low), float(high))


def mcnemar(one: Array, other: Array) -> float:
    """The exact two-sided p-value that two policies are right equally often (0/1 per task)."""
    from scipy.stats import binomtest

    gained, lost = int((one > other).sum()), int((one < other).sum())
    if gained + lost == 0:
        return 1.0
    return float(binomtest(gained, gained + lost).pvalue)


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats: seconds rising, accuracy rising strictly."""
    found: list[Point] = []
    for seconds, accuracy in sorted(points, key=lambda p: (p[0], -p[1])):
        if not found or accuracy > found[-1][1]:
            found.append((seconds, accuracy))
    return found


def hull(points: Sequence[Point]) -> list[Point]:
    """The upper concave hull of the frontier: what mixing policies at random can reach."""
    found: list[Point] = []
    for point in frontier(points):
        while len(found) > 1 and _below(found[-2], found[-1], point):
            found.pop()
        found.append(point)
    return found


def _below(a: Point, b: Point, c: Point) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def mean_height(points: Sequence[Point], low: float, high: float) -> float:
    """The mean accuracy of the hull between two costs in seconds; below its start it is zero."""
    edges = hull(points)
    if not edges or not high > low:
        return 0.0
    begin = min(max(low, edges[0][0]), high)
    grid = np.union1d([begin, high], np.clip([s for s, _ in edges], begin, high))
    seconds, accuracy = zip(*edges, strict=True)
    heights = np.interp(grid, seconds, accuracy)
    area = np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(grid))
    return float(area / (high - low))


def cost_to_reach(points: Sequence[Point], accuracy: float) -> float | None:
    """The fewest seconds on the hull with at least that accuracy, or None."""
    edges = hull(points)
    for k, (seconds, height) in enumerate(edges):
        if height >= accuracy - 1e-12:
            if k == 0:
                return seconds
            before, low = edges[k - 1]
            return before + (seconds - before) * max(0.0, (accuracy - low) / (height - low))
    return None


def rejection_ratio(confidence: Array, right: Array) -> float | None:
    """PRR: how much of what rejecting by an oracle gains rejecting by confidence gains.

    1 is the oracle's order, 0 a random one; None where all answers are right or all wrong. Ties
    count as a random order among them.
    """
    wrong = 1.0 - right
    if not 0 < wrong.sum() < len(wrong):
        return None

    def area(order: Array) -> float:
        values, place = np.unique(order, return_inverse=True)
        tied = np.bincount(place, weights=wrong, minlength=len(values)) / np.bincount(place)
        ranked = tied[place][np.argsort(-order, kind="stable")]  # the most confident first
        return float((np.cumsum(ranked) / len(ranked)).mean())

    chance = area(np.zeros(len(wrong)))
    return (chance - area(confidence)) / (chance - area(right))

"""The cost model."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.controller.cost import ArmCost, CostModel, fit_cost, timed_as
from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.errors import GateError

POINTS = st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1e4)), min_size=1, max_size=20)


def log(points: list[tuple[float, float]], error: str | None = None) -> list[Outcome]:
    return [
        Outcome(
            str(i), "g", "m", 0, {"prompt_tokens": x}, {"ttt": ArmOutcome(True, y, 1, {}, error)}
        )
        for i, (x, y) in enumerate(points)
    ]


def test_a_line_is_recovered(outcomes: list[Outcome]) -> None:
    """Costs that lie on a line are predicted exactly, for sizes never seen too."""
    cost = fit_cost(outcomes)
    assert cost.predict("ttt", {"prompt_tokens": 5000}) == pytest.approx(53.0)
    assert cost.predict("icl-vote", {"prompt_tokens": 0}) == pytest.approx(0.5)


@given(POINTS, st.floats(0, 1e5))
def test_no_prediction_is_negative(points: list[tuple[float, float]], tokens: float) -> None:
    """Whatever was measured, seconds are finite, at least zero, and grow with the prompt."""
    cost = fit_cost(log(points))
    small = cost.predict("ttt", {"prompt_tokens": tokens})
    assert 0 <= small <= cost.predict("ttt", {"prompt_tokens": tokens + 1}) < math.inf


def test_failed_attempts_do_not_count() -> None:
    """An attempt that ended in an error says nothing about how long one takes."""
    cost = fit_cost(log([(100, 5.0)]) + log([(100, 900.0)], error="diverged"))
    assert cost.predict("ttt", {"prompt_tokens": 100}) == pytest.approx(5.0)


@pytest.mark.parametrize("features", [{}, {"prompt_tokens": math.nan}])
def test_an_unknown_size_is_the_typical_one(features: dict[str, float]) -> None:
    """Without the size of the prompt the prediction is for the mean size."""
    cost = CostModel({"ttt": ArmCost(1.0, 0.5, 20.0)})
    assert cost.predict("ttt", features) == 11.0


def test_without_sizes_the_mean_is_predicted() -> None:
    """A log that never recorded the size still gives a cost."""
    assert fit_cost(log([(math.nan, 2.0), (math.nan, 4.0)])).predict("ttt", {}) == 3.0


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20), st.floats(0.1, 10))
def test_outcomes_take_the_seconds_of_another_machine(sizes: list[int], pace: float) -> None:
    """Timed as on a machine that is slower by a factor, all seconds grow by it, nothing else."""
    points = [(float(tokens), 1.0 + 0.01 * tokens) for tokens in sizes]
    slow = [
        replace(o, arms={"ttt": replace(o.arms["ttt"], seconds=pace * o.arms["ttt"].seconds)})
        for o in log(points)
    ]
    seen = {"look1_seconds": 3.0, "vote_share": 0.5}
    fast = [replace(o, arms={"ttt": replace(o.arms["ttt"], evidence=seen)}) for o in log(points)]
    for before, after in zip(fast, timed_as(fast, slow), strict=True):
        arm = after.arms["ttt"]
        assert arm.seconds == pytest.approx(pace * before.arms["ttt"].seconds, rel=1e-6)
        assert arm.evidence == {"look1_seconds": pytest.approx(3 * pace), "vote_share": 0.5}
        assert replace(after, arms={}) == replace(before, arms={})


def test_seconds_of_an_arm_that_was_not_measured_here_are_an_error() -> None:
    """Nothing is guessed of an arm that this machine has not run."""
    with pytest.raises(GateError, match="'ttt' was never measured"):
        timed_as(log([(1, 2.0)]), [])


def test_an_arm_never_measured_is_an_error() -> None:
    """No cost is invented."""
    with pytest.raises(GateError, match="never measured"):
        CostModel({}).predict("ttt", {})


def test_json_round_trip(outcomes: list[Outcome]) -> None:
    """The model is plain data."""
    cost = fit_cost(outcomes)
    assert CostModel.from_json(json.loads(json.dumps(cost.to_json()))) == cost

"""The cost model."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.controller.cost import SPEED_RANGE, ArmCost, CostModel, fit_cost
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


def test_speed_scales_to_this_machine() -> None:
    """After one measurement the prediction for the same arm and task is that measurement."""
    cost = CostModel({"icl-vote": ArmCost(1.0, 0.0, 1.0), "ttt": ArmCost(4.0, 0.0, 1.0)})
    slower = cost.with_speed(cost.speed_from("icl-vote", {}, 2.5))
    assert slower.predict("icl-vote", {}) == 2.5
    assert slower.predict("ttt", {}) == 10.0
    assert slower.speed_from("icl-vote", {}, 2.5) == 2.5  # of the log's seconds, not on top
    assert cost.speed_from("icl-vote", {}, 1e9) == SPEED_RANGE[1]
    assert cost.speed_from("other", {}, 3.0) == 1.0
    with pytest.raises(ValueError, match="above zero"):
        cost.with_speed(0.0)


def test_an_arm_never_measured_is_an_error() -> None:
    """No cost is invented."""
    with pytest.raises(GateError, match="never measured"):
        CostModel({}).predict("ttt", {})


def test_json_round_trip(outcomes: list[Outcome]) -> None:
    """The model is plain data."""
    cost = fit_cost(outcomes).with_speed(1.7)
    assert CostModel.from_json(json.loads(json.dumps(cost.to_json()))) == cost

"""Estimates of other policies from logged decisions, against what they truly earn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autottt.controller.cost import ArmCost, CostModel
from autottt.controller.difficulty import Gate
from autottt.controller.experience import Trace
from autottt.controller.heads import Head, Term
from autottt.controller.policy import Policy, decide, explored
from autottt.errors import InputError
from autottt.evaluation.off_policy import estimate
from autottt.types import Answer

COST = CostModel({"ttt": ArmCost(10.0, 0.0, 0.0)})
SLOPE = {"x": Term(4.0, 0.0, 1.0)}
# this gate is wrong about what training does, as one is on new tasks
GATE = Gate("m", {"icl_right": Head(0.5, 0.0, SLOPE), "ttt_fixes": Head(0.9)}, COST)


def logged(n: int, explore: float, *, price: float = 0.01) -> list[Trace]:
    """A world where the vote is right for x > 0, training for x < 1, and decisions explore."""
    rng = np.random.default_rng(0)
    traces = []
    for k in range(n):
        x = float(rng.normal())
        first = decide(Policy(price), GATE, {"x": x}, tried={}, arms=["ttt"])
        taken = explored(Policy(price, explore=explore), first, rng)
        right, seconds = outcome(taken.chosen, x)
        answer = Answer(str(k), (), taken.chosen, (taken,), (), 0.5, seconds, 0, True, 0)
        traces.append(Trace("m", {"x": x}, answer, right))
    return traces


def outcome(arm: str, x: float) -> tuple[bool, float]:
    """What truly happens."""
    return (x < 1, 11.0) if arm == "ttt" else (x > 0, 1.0)


@pytest.mark.parametrize("price", [0.001, 0.03, 0.2])
def test_estimates_come_near_what_a_policy_earns(price: float) -> None:
    """Both lie within three and a half standard errors of the truth, though the gate is wrong."""
    traces = logged(3000, explore=0.5)
    found = estimate(traces, GATE, Policy(price))
    truth = []
    for trace in traces:
        x = trace.features["x"]
        arm = decide(Policy(price), GATE, trace.features, tried={}, arms=["ttt"]).chosen
        right, seconds = outcome(arm, x)
        truth.append(right - price * seconds)
    assert abs(found.snips - np.mean(truth)) < 3.5 * found.snips_error + 0.01
    assert abs(found.doubly_robust - np.mean(truth)) < 3.5 * found.doubly_robust_error + 0.01
    assert found.tasks == 3000
    assert found.effective > 500


def test_without_support_nothing_is_claimed() -> None:
    """Too few decisions that the other policy would have made are refused."""
    with pytest.raises(InputError, match="explore more"):
        estimate(logged(20, explore=0.5), GATE, Policy(0.01))
    with pytest.raises(InputError, match=r"worth 0\.0"):
        estimate([], GATE, Policy(0.01))
    traces = logged(300, explore=0.0)
    assert estimate(traces, GATE, Policy(0.01)).snips > 0
    with pytest.raises(InputError, match="of 300 first decisions were logged without exploring"):
        estimate(traces, GATE, Policy(0.2))


def test_what_was_not_on_offer_is_not_known() -> None:
    """A least gain or a deadline leaves arms out, and without a gate there are none."""
    rng = np.random.default_rng(0)
    for policy, match in (
        (Policy(0.01, least=1.0), "without the arm on offer"),
        (Policy(0.01, least=1.0, explore=0.5), "without the arm on offer"),
    ):
        traces = []
        for trace in logged(100, explore=0.0):
            first = decide(policy, GATE, trace.features, tried={}, arms=["ttt"])
            first = explored(policy, first, rng)
            traces.append(replace(trace, answer=replace(trace.answer, decisions=(first,))))
        with pytest.raises(InputError, match=match):
            estimate(traces, GATE, Policy(0.0))
    first = decide(Policy(), None, {"x": 0.0}, tried={}, arms=["ttt-watch"])
    other = replace(logged(1, explore=0.0)[0])
    with pytest.raises(InputError, match="was not this gate's"):
        estimate([replace(other, answer=replace(other.answer, decisions=(first,)))], GATE, Policy())


def test_a_task_that_no_arm_could_try_is_the_same_for_every_policy() -> None:
    """Its one decision is the vote, whatever a price."""
    alone = decide(Policy(0.01), GATE, {"x": 0.5}, tried={}, arms=[])
    answer = Answer("alone", (), alone.chosen, (alone,), (), 0.5, 1.0, 0, True, 0)
    traces = [*logged(300, explore=0.5), Trace("m", {"x": 0.5}, answer, True)]
    assert estimate(traces, GATE, Policy(0.03)).tasks == 301


def test_exploring_draws_evenly_and_says_so() -> None:
    """Propensities are the frequencies, and add up to one."""
    rng = np.random.default_rng(1)
    first = decide(Policy(0.001), GATE, {"x": -2.0}, tried={}, arms=["ttt"])
    assert first.chosen == "ttt"
    drawn = [explored(Policy(explore=0.4), first, rng) for _ in range(4000)]
    share = np.mean([d.chosen == "icl-vote" for d in drawn])
    assert share == pytest.approx(0.2, abs=0.03)
    by_arm = {d.chosen: d.propensity for d in drawn}
    assert by_arm == pytest.approx({"icl-vote": 0.2, "ttt": 0.8})
    assert "Explored instead" in next(d for d in drawn if d.chosen == "icl-vote").reason
    assert explored(Policy(), first, rng) is first

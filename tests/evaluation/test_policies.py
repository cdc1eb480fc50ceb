"""Policies replayed on a log of known outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.controller.cost import ArmCost, CostModel, fit_cost
from autottt.controller.difficulty import Gate
from autottt.controller.heads import Head
from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.controller.policy import Policy
from autottt.evaluation.evaluate import two_by_two
from autottt.evaluation.policies import (
    always,
    by_threshold,
    fit_threshold,
    one_shot,
    oracle,
    random_mix,
    sequential,
)
from autottt.evaluation.table import from_outcomes


def outcome(name: str, vote: bool, ttt: bool, *, sure: float, error: str | None = None) -> Outcome:
    """A task whose probe finds the demonstrations answered (`sure` 1) or not (0)."""
    arms = {
        "icl-vote": ArmOutcome(vote, 1.0, 10, {"vote_share": sure, "probe_seconds": 1.5}),
        "ttt": ArmOutcome(ttt, 9.0, 90, {"vote_share": 0.9}, error),
    }
    return Outcome(name, name, "m", 0, {"loo_accuracy": sure, "vote_share": sure}, arms)


LOG = [
    outcome("easy", True, True, sure=1.0),
    outcome("broken", True, False, sure=1.0),
    outcome("fixed", False, True, sure=0.0),
    outcome("hopeless", False, False, sure=0.0, error="diverged"),
]
TABLE = from_outcomes(LOG)
COST = CostModel({"ttt": ArmCost(9.0, 0.0, 0.0)})
HEADS = {"icl_right": Head(0.1), "ttt_fixes": Head(0.9), "ttt_right": Head(0.9)}


def test_the_default_policy_pays_for_the_probe_and_for_what_it_trains() -> None:
    """It stays with ICL on the first two tasks and trains on the others."""
    auto = sequential(LOG, None, Policy())
    assert list(auto.right) == [1, 1, 1, 0]
    assert list(auto.seconds) == [1.5, 1.5, 10.5, 10.5]
    assert auto.answers == ("icl-vote", "icl-vote", "ttt", "icl-vote")


def test_fixed_arms_and_the_oracle_pay_for_one_arm() -> None:
    """The oracle takes the cheapest right arm; with a high price the vote, right or not."""
    assert [always(TABLE, arm).accuracy for arm in TABLE.arms] == [0.5, 0.5]
    best = oracle(TABLE)
    assert best.accuracy == 0.75
    assert best.mean_seconds == pytest.approx((1 + 1 + 9 + 1) / 4)
    assert set(oracle(TABLE, price=10.0).answers) == {"icl-vote"}


def test_only_the_controller_pays_for_comparing_answers() -> None:
    """A fixed arm does not ask what it thinks of the vote's answer."""
    evidence = {"vote_share": 0.9, "over_icl": 1.0, "comparing_seconds": 0.5}
    log = [
        replace(o, arms=o.arms | {"ttt": replace(o.arms["ttt"], evidence=evidence)}) for o in LOG
    ]
    assert always(from_outcomes(log), "ttt").mean_seconds == always(TABLE, "ttt").mean_seconds
    auto = sequential(log, None, Policy())
    assert list(auto.seconds) == [1.5, 1.5, 11.0, 11.0]
    assert fit_cost(log).predict("ttt", {}) == pytest.approx(9.5)


def test_a_training_ended_early_costs_the_seconds_until_then() -> None:
    """The controller looks at the training; where it promises nothing, the vote answers."""
    looked = {"look1_loss": 2.0, "look1_seconds": 0.5, "look2_seconds": 1.0}
    log = [replace(o, arms=o.arms | {"ttt": replace(o.arms["ttt"], evidence=looked)}) for o in LOG]
    for sign, seconds in ((0.0, [2.5, 2.5, 2.5, 10.5]), (1.0, [10.5] * 4)):
        gate = Gate("m", HEADS | {"ttt_look2": Head(sign)}, COST)
        auto = sequential(log, gate, Policy())
        assert list(auto.seconds) == seconds
        assert auto.accuracy == 0.5
        left = [bool(gone) for gone in auto.given_up]
        assert left == [spent == 2.5 for spent in seconds]
        assert [len(ran) == 2 for ran in auto.ran] == [not gone for gone in left[:3]] + [False]


def test_a_gate_asked_once_gives_the_answer_of_the_arm_it_named() -> None:
    """Whatever the attempt shows; where it failed, the vote's."""
    played = one_shot(LOG, Gate("m", HEADS, COST), Policy())
    assert played.answers == ("ttt", "ttt", "ttt", "icl-vote")
    assert list(played.seconds) == [10.5] * 4


def test_a_gate_asked_once_ends_with_the_best_arm_and_the_controller_may_go_on() -> None:
    """Asked once it cannot run another after one that failed."""
    cheap = ArmOutcome(False, 2.0, 9, {})
    log = [replace(o, arms=o.arms | {"light": cheap}) for o in LOG[:3]]
    heads = HEADS | {"light_fixes": Head(0.5), "light_right": Head(0.4)}
    costs = CostModel(COST.arms | {"light": ArmCost(2.0, 0.0, 0.0)})
    gate = Gate("m", heads, costs)
    assert one_shot(log, gate, Policy()).answers == ("ttt",) * 3
    played = sequential(log, gate, Policy())
    assert played.ran == (("icl-vote", "ttt", "light"),) * 3
    assert list(played.seconds) == [12.5] * 3


def test_a_random_mix_costs_what_it_should() -> None:
    """Between two arms' costs it has the cost asked for; outside, that of the nearest arm."""
    log = [replace(o, arms=o.arms | {"ttt": replace(o.arms["ttt"], right=True)}) for o in LOG]
    table = from_outcomes(log)
    for asked, cost, accuracy in ((5.0, 5.0, 0.75), (0.1, 1.0, 0.5), (99.0, 9.0, 1.0)):
        mixed = random_mix(table, asked)
        assert mixed.mean_seconds == pytest.approx(cost)
        assert mixed.accuracy == pytest.approx(accuracy)


def test_the_best_single_feature_is_found() -> None:
    """On a log where one feature tells all, the rule is right on every task it can be."""
    rule = fit_threshold(LOG, Policy())
    assert by_threshold(LOG, rule).accuracy == 0.75
    unknown = [replace(o, features={}) for o in LOG]
    assert list(by_threshold(unknown, rule).seconds) == [10.5] * 4, "what is not known trains"


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1)), min_size=1),
    st.floats(0, 0.2),
)
def test_no_policy_beats_the_oracle(tasks: list[tuple[bool, bool, float]], price: float) -> None:
    """Neither in accuracy nor, with a price, in utility."""
    log = [outcome(str(k), v, t, sure=s) for k, (v, t, s) in enumerate(tasks)]
    table, policy = from_outcomes(log), Policy(price)
    gate = Gate("m", HEADS, COST)
    found = [
        sequential(log, gate, policy),
        one_shot(log, gate, policy),
        by_threshold(log, fit_threshold(log, policy)),
        random_mix(table, 4.0),
        *(always(table, arm) for arm in table.arms),
    ]
    top, best = oracle(table), oracle(table, price)
    for played in found:
        assert played.accuracy <= top.accuracy + 1e-9
        utility = np.mean(played.right - price * played.seconds)
        assert utility <= np.mean(best.right - price * best.seconds) + 1e-9


def test_the_two_by_two_table_names_the_tasks() -> None:
    """Both, fixed, broken and neither."""
    assert two_by_two(TABLE, "ttt") == {
        "both": ["easy"],
        "fixed": ["fixed"],
        "broken": ["broken"],
        "neither": ["hopeless"],
    }

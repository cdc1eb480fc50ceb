"""Policies replayed on a log of known outcomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autottt.controller.cost import ArmCost, CostModel
from autottt.controller.difficulty import Gate
from autottt.controller.heads import Head
from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.controller.policy import Policy
from autottt.errors import InputError
from autottt.evaluation.replay import fixed_and_broken, replay


def outcome(name: str, vote: bool, ttt: bool, *, sure: float, error: str | None = None) -> Outcome:
    """A task whose probe finds the demonstrations answered (`sure` 1) or not (0)."""
    arms = {
        "icl-vote": ArmOutcome(vote, 1.0, 10, {"vote_share": sure}),
        "ttt": ArmOutcome(ttt, 9.0, 90, {"vote_share": 0.9}, error),
    }
    return Outcome(name, name, "m", 0, {"loo_accuracy": sure, "vote_share": sure}, arms)


LOG = [
    outcome("easy", True, True, sure=1.0),
    outcome("broken", True, False, sure=1.0),
    outcome("fixed", False, True, sure=0.0),
    outcome("hopeless", False, False, sure=0.0, error="diverged"),
]


def test_rows_count_what_the_arms_did() -> None:
    """The default policy stays with ICL on the first two tasks and trains on the others."""
    rows = {row.policy: row for row in replay(LOG, None, Policy())}
    assert (rows["icl-vote"].right, rows["ttt"].right, rows["oracle"].right) == (2, 2, 3)
    assert (rows["auto"].right, rows["auto"].trained) == (3, 2)
    assert rows["auto"].seconds == pytest.approx((1 + 1 + 10 + 10) / 4)
    assert rows["oracle"].seconds == pytest.approx((1 + 1 + 9 + 1) / 4)


def test_a_training_ended_early_costs_the_seconds_until_then() -> None:
    """The controller looks at the first steps; where they promise nothing, the vote answers."""
    looked = {"early_loss": 2.0, "early_seconds": 1.5}
    log = [replace(o, arms=o.arms | {"ttt": replace(o.arms["ttt"], evidence=looked)}) for o in LOG]
    heads = {"icl_right": Head(0.1), "ttt_fixes": Head(0.9), "ttt_right": Head(0.9)}
    cost = CostModel({"ttt": ArmCost(9.0, 0.0, 0.0)})
    for sign, right, seconds in ((0.0, 2, (2.5 * 3 + 10) / 4), (1.0, 2, 10.0)):
        gate = Gate("m", heads | {"ttt_early": Head(sign)}, cost)
        auto = next(row for row in replay(log, gate, Policy()) if row.policy == "auto")
        assert auto.right == right
        assert auto.seconds == pytest.approx(seconds)


def test_the_two_by_two_table_names_the_tasks() -> None:
    """Both, fixed, broken and neither."""
    assert fixed_and_broken(LOG) == {
        "both": ["easy"],
        "fixed": ["fixed"],
        "broken": ["broken"],
        "neither": ["hopeless"],
    }


def test_an_empty_or_uneven_log_is_refused() -> None:
    """A comparison needs every strategy on every task."""
    with pytest.raises(InputError, match="empty"):
        replay([], None, Policy())
    uneven = Outcome("x", "x", "m", 0, {}, {"icl-vote": LOG[0].arms["icl-vote"]})
    with pytest.raises(InputError, match="every strategy on every task"):
        replay([LOG[0], uneven], None, Policy())

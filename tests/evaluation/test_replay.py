"""Policies replayed on a log of known outcomes."""

from __future__ import annotations

import pytest

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

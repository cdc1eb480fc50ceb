"""Luck is told by tasks that ran twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.evaluation.repeats import repeats
from autottt.evaluation.table import Array, Table

ARMS = ("icl-vote", "ttt")


def table(runs: Array, seeds: tuple[int, ...] = (0, 1)) -> Table:
    """`runs` (seeds, tasks, arms): whether each arm was right on each task."""
    tasks = [f"t{k}" for k in range(runs.shape[1])]
    return Table(
        tasks=tuple(tasks * len(seeds)),
        groups=tuple(tasks * len(seeds)),
        seeds=tuple(seed for seed in seeds for _ in tasks),
        arms=ARMS,
        right=runs.reshape(-1, len(ARMS)),
        seconds=np.array([[1.0, 10.0]] * runs.shape[1] * len(seeds)),
    )


def test_what_repeats_and_what_does_not() -> None:
    """A task that one run alone has right counts half, and an oracle of the other run misses it."""
    once = [[0, 1], [0, 1], [0, 0], [1, 0]]
    again = [[0, 1], [0, 0], [0, 0], [1, 0]]
    found = repeats(table(np.array([once, again], dtype=float)), "icl-vote")
    assert found is not None
    assert found["tasks"] == 4
    ttt = found["arms"]["ttt"]
    assert ttt["accuracy"] == 3 / 8
    assert ttt["differ"] == 1 / 4
    assert ttt["better_of_two"] == 1 / 8
    assert found["base"] == 1 / 4
    assert found["best"] == 3 / 8
    assert found["oracle"] == 5 / 8
    assert found["informed_oracle"] == 5 / 8, "the arm of the lucky run is the best arm"
    assert found["informed_miser"] == 1 / 2, "told nothing, it stays with the vote"
    assert found["informed_seconds"] == pytest.approx(1 + 3 / 8 * 9)
    assert ttt["auroc"] == pytest.approx(2 / 3), "of three tasks, each asked of twice"
    assert found["arms"]["icl-vote"]["auroc"] is None


def test_without_a_repeated_task_or_with_shares_there_is_nothing_to_say() -> None:
    """One seed, or accuracies of sets of queries, tell nothing of luck."""
    runs = np.array([[[0.0, 1.0], [1.0, 1.0]]])
    assert repeats(table(runs, seeds=(3,)), "icl-vote") is None
    shares = np.array([[[0.0, 0.5]], [[0.0, 0.5]]])
    assert repeats(table(shares), "icl-vote") is None


@given(st.lists(st.tuples(*[st.booleans()] * 4), min_size=1, max_size=12))
def test_runs_that_agree_leave_nothing_to_luck(
    drawn: list[tuple[bool, bool, bool, bool]],
) -> None:
    """With equal runs the oracle knows all; with any runs it has no less than who is told less."""
    runs = np.array(drawn, dtype=float).reshape(-1, 2, 2).transpose(1, 0, 2)
    found = repeats(table(runs), "icl-vote")
    same = repeats(table(np.stack([runs[0], runs[0]])), "icl-vote")
    assert found is not None
    assert same is not None
    assert same["oracle"] == same["informed_oracle"]
    assert all(of["differ"] == of["better_of_two"] == 0 for of in same["arms"].values())
    assert max(found["best"], found["informed_oracle"]) <= found["oracle"] + 1e-12
    assert all(
        of["better_of_two"] == pytest.approx(of["differ"] / 2) for of in found["arms"].values()
    )

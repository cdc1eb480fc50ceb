"""Ranking candidates and the evidence of a vote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.models.base import Completion
from autottt.adapters.tasks.views import GridView
from autottt.strategies.proposals import Proposal
from autottt.strategies.vote import evidence, rank
from autottt.types import Grid


def proposal(grid: Grid | None, logp: float = -1.0) -> Proposal:
    """A proposal for query 0 under the plain view, of two tokens."""
    done = Completion("", (logp / 2, logp / 2), (1.0, 2.0), (0.5, 0.1), finished=grid is not None)
    return Proposal(0, GridView(), grid, done, 0)


A, B = ((1,),), ((2,),)


def test_the_most_frequent_answer_wins() -> None:
    """Votes come before log-probabilities, and shares count the views that gave no grid."""
    ranked = rank([proposal(A, -9.0), proposal(A, -8.0), proposal(B, -0.1), proposal(None)])
    assert [(c.output, c.score) for c in ranked] == [(A, 0.5), (B, 0.25)]
    assert ranked[0].log_probability == pytest.approx(-8.5)


def test_ties_go_to_the_more_probable() -> None:
    """Of two answers with as many votes the one with the higher log-probability is first."""
    assert rank([proposal(A, -2.0), proposal(B, -1.0)])[0].output == B


def test_no_grid_at_all_gives_no_candidate() -> None:
    """Without a single valid answer there is nothing to rank, and the evidence says so."""
    assert rank([proposal(None), proposal(None)]) == ()
    assert evidence([proposal(None)], 1)["vote_share"] == 0.0


@given(st.lists(st.sampled_from([A, B, None]), min_size=1, max_size=9))
def test_evidence_is_within_its_ranges(grids: list[Grid | None]) -> None:
    """Shares and the entropy lie in [0, 1]; unanimity has no entropy."""
    found = evidence([proposal(g) for g in grids], 1)
    for name in ("vote_share", "vote_entropy", "valid_share", "identity_agrees"):
        assert -1e-9 <= found[name] <= 1 + 1e-9, name
    if set(grids) == {A}:
        assert found["vote_share"] == 1.0
        assert found["vote_entropy"] == pytest.approx(0.0)

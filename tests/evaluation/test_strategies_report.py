"""The strategies report: figures by suite, the frontier, and the files that the command writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.errors import InputError
from autottt.evaluation.strategies_report import ALL, markdown, plot, standings


def outcome(task: str, group: str, **arms: tuple[bool, float]) -> Outcome:
    """An outcome whose arms are given as (right, seconds)."""
    return Outcome(
        task_id=task,
        group=group,
        model="m",
        seed=0,
        features={},
        arms={
            name.replace("_", "-"): ArmOutcome(right, seconds, 100, {})
            for name, (right, seconds) in arms.items()
        },
    )


LOG = [
    outcome("a", "x/1", icl_vote=(True, 1), ttt=(True, 5), slow=(True, 9)),
    outcome("b", "x/2", icl_vote=(False, 1), ttt=(True, 5), slow=(False, 9)),
    outcome("c", "y/1", icl_vote=(False, 1), ttt=(False, 5), slow=(False, 9)),
]


def test_standings_by_suite_and_over_all() -> None:
    """Means, paired differences to the vote, and who is on the frontier."""
    found = standings(LOG)
    assert list(found) == ["x", "y", ALL]
    best, *_, last = found["x"]
    assert (best.strategy, best.exact_match, best.difference, best.seconds) == ("ttt", 1, 0.5, 5)
    assert best.low <= best.difference <= best.high
    assert best.frontier
    assert last.strategy == "slow"
    assert not last.frontier
    assert [row.strategy for row in found["y"] if row.frontier] == ["icl-vote"]
    assert {row.tasks for row in found[ALL]} == {3}


def test_seeds_of_a_task_are_one_task() -> None:
    """Measured twice, it is no more known."""
    once, twice = standings(LOG), standings([*LOG, *(replace(o, seed=1) for o in LOG)])
    assert twice == once


def test_a_strategy_without_answers_is_named_and_not_compared() -> None:
    """It costs nothing and has nothing right, which is on no frontier and in no table."""
    none = ArmOutcome(False, 0.0, 0, {}, error="it cannot run on these tasks")
    found = standings([replace(o, arms={**o.arms, "odd": none}) for o in LOG])
    assert all(row.failed == 1 and not row.frontier for row in found[ALL] if row.strategy == "odd")
    assert [row.strategy for row in found["y"] if row.frontier] == ["icl-vote"]
    text = markdown(found)
    assert "| `odd`" not in text
    assert "Without an answer to any of these tasks: `odd`." in text
    assert "On no suite's frontier: `slow`." in text


def test_markdown_names_the_dominated_and_the_plot_is_reproducible(tmp_path: Path) -> None:
    """One log gives one text and, byte for byte, one picture."""
    found = standings(LOG)
    text = markdown(found)
    assert "On no suite's frontier: `slow`." in text
    assert "| `ttt` | 100% | +50%" in text
    pytest.importorskip("matplotlib", reason="the plot needs the extra `bench`")
    for name in ("a.svg", "b.svg"):
        plot(found, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_log_that_cannot_be_compared_is_refused() -> None:
    """No outcome, or tasks with other strategies, is an `InputError`."""
    with pytest.raises(InputError, match="empty"):
        standings([])
    with pytest.raises(InputError, match="same strategies"):
        standings([*LOG, outcome("d", "y/1", icl_vote=(True, 1))])

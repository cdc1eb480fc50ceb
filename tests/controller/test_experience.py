"""Traces and feedback: what a running system learns from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.controller.difficulty import fit_gate
from autottt.controller.experience import (
    Trace,
    give_feedback,
    not_measured,
    outcomes_of,
    read_traces,
)
from autottt.controller.outcomes import Outcome
from autottt.errors import InputError, UnknownNameError
from autottt.serialise import to_json
from autottt.types import Answer, Attempt, Candidate


def attempt(arm: str, output: int | None, error: str | None = None) -> Attempt:
    """An attempt whose winner is a grid of one cell."""
    found = () if output is None else ((Candidate(((output,),), 1.0, -0.1),),)
    evidence = {"vote_share": 0.5, "comparing_seconds": 0.25}
    return Attempt(arm, found, 1.0, 10, evidence=evidence, error=error)


def trace(
    path: Path, task: str, *attempts: Attempt, answer: str, hashed: str | None = None
) -> None:
    """Append what the state machine would."""
    given_ = next(a for a in attempts if a.strategy == answer)
    whole = Answer(task, given_.candidates, answer, (), attempts, 0.9, 2.0, 20, True, 0)
    with path.open("a") as file:
        told = {"model": "m", "features": {"vote_share": 0.5}, "task": hashed}
        file.write(json.dumps({**told, **to_json(whole)}) + "\n")


def test_what_was_measured_counts_once() -> None:
    """By id, model and seed, unless something else was asked under that id; of two the last."""
    one = Outcome("t", "g", "m", 0, {}, {}, asked="a")
    again, other = replace(one, group="h"), replace(one, asked="b")
    assert not_measured([one, again], []) == [again]
    assert not_measured([one, other], [one]) == [other]
    assert not_measured([one], [replace(one, asked=None)]) == []
    assert not_measured([replace(one, asked=None)], [one]) == []
    assert not_measured([one], [replace(one, seed=1)]) == [one]


def test_feedback_says_what_it_can_of_every_attempt(tmp_path: Path) -> None:
    """The same answer shares its fate; others are wrong where it is right, and else unknown.

    What failed was not right, and what was given up might have been.
    """
    path = tmp_path / "traces.jsonl"
    ran = [attempt("icl-vote", 1), attempt("a", 2), attempt("b", 2), attempt("c", None, "failed")]
    ran.append(replace(attempt("d", None, "given up"), stop_reason="abandoned"))
    for task in ("good", "bad", "unknown"):
        trace(path, task, *ran, answer="a")
    give_feedback(path, "good", right=False)
    give_feedback(path, "good", right=True)
    give_feedback(path, "bad", right=False)
    found = {o.task_id: o for o in outcomes_of(read_traces(path))}
    assert set(found) == {"good", "bad"}
    assert {o.model for o in found.values()} == {"m"}
    right = {task: {arm: a.right for arm, a in o.arms.items()} for task, o in found.items()}
    assert right["good"] == {"icl-vote": False, "a": True, "b": True, "c": False}
    assert right["bad"] == {"a": False, "b": False, "c": False}
    assert found["good"].arms["c"].error == "failed"
    assert found["good"].arms["a"].evidence == {"vote_share": 0.5, "comparing_seconds": 0.25}
    assert found["good"].arms["a"].seconds == 0.75
    assert found["good"].features == {"vote_share": 0.5}


def test_feedback_outlasts_the_same_answer(tmp_path: Path) -> None:
    """Solved again, a task keeps its feedback until its answer, model or seed is another."""
    path = tmp_path / "traces.jsonl"
    first, other = attempt("icl-vote", 1), attempt("ttt", 2)
    trace(path, "one", first, answer="icl-vote")
    give_feedback(path, "one", right=True)
    trace(path, "one", first, other, answer="icl-vote")
    (kept,) = read_traces(path)
    assert (kept.right, len(kept.answer.attempts)) == (True, 2)
    line = path.read_text().splitlines()[0]
    again = json.loads(line)
    for change in ({"model": "n"}, {"seed": 1}):
        path.write_text(
            f'{line}\n{{"feedback": "one", "right": true}}\n{json.dumps(again | change)}\n'
        )
        assert [t.right for t in read_traces(path)] == [None]
    trace(path, "one", first, other, answer="ttt")
    assert [t.right for t in read_traces(path)] == [None]
    give_feedback(path, "one", right=False)
    assert [t.right for t in read_traces(path)] == [False]


def test_a_trace_without_the_attempt_that_answered_is_left_out(tmp_path: Path) -> None:
    """Nothing is known of its arms."""
    path = tmp_path / "traces.jsonl"
    trace(path, "good", attempt("icl-vote", 1), answer="icl-vote")
    give_feedback(path, "good", right=True)
    (known,) = read_traces(path)
    strange = replace(known, answer=replace(known.answer, strategy="ttt"))
    assert [o.task_id for o in outcomes_of([strange, known])] == ["good"]


def test_a_reused_adapter_is_charged_its_training(tmp_path: Path) -> None:
    """As in a log of outcomes: where it is learnt from, training is not free."""
    path = tmp_path / "traces.jsonl"
    ran = replace(attempt("a", 2), reused=True)
    ran.evidence["training_seconds"] = 7.0
    trace(path, "good", attempt("icl-vote", 1), ran, answer="a")
    give_feedback(path, "good", right=True)
    (found,) = outcomes_of(read_traces(path))
    assert found.arms["a"].seconds == 7.75


def test_a_task_that_a_log_knows_keeps_its_group(tmp_path: Path) -> None:
    """So that it is left out with its family."""
    path = tmp_path / "traces.jsonl"
    for name in ("one", "other"):
        trace(path, name, attempt("icl-vote", 1), answer="icl-vote")
        give_feedback(path, name, right=True)
    known = {"one": "family"}
    found = outcomes_of(read_traces(path), lambda task: known.get(task, task))
    assert {o.task_id: o.group for o in found} == {"one": "family", "other": "other"}


def test_tasks_of_one_id_are_told_apart(tmp_path: Path) -> None:
    """Feedback is on the last that was answered; the same answer to another task has none."""
    path = tmp_path / "traces.jsonl"
    vote = attempt("icl-vote", 1)
    trace(path, "task", vote, answer="icl-vote", hashed="a")
    give_feedback(path, "task", right=True)
    trace(path, "task", vote, answer="icl-vote", hashed="b")
    assert [(t.task, t.right) for t in read_traces(path)] == [("a", True), ("b", None)]
    give_feedback(path, "task", right=False)
    trace(path, "task", vote, answer="icl-vote", hashed="a")
    assert [(t.task, t.right) for t in read_traces(path)] == [("b", False), ("a", True)]
    assert [o.asked for o in outcomes_of(read_traces(path))] == ["b", "a"]


def test_wrong_answers_of_a_training_are_learnt_from_like_right_ones() -> None:
    """Of a wrong one nothing is known of the vote; half right is half right all the same."""
    traces = []
    for k in range(40):
        tried = attempt("icl-vote", 1), attempt("a", 2)
        found = Answer(f"t{k}", tried[1].candidates, "a", (), tried, 0.9, 2.0, 20, True, 0)
        traces.append(Trace("m", {"vote_share": k / 40}, found, right=k % 2 == 0))
    gate = fit_gate(outcomes_of(traces))
    for head in ("a_right", "a_fixes"):
        assert (gate.report[head]["n"], gate.report[head]["positives"]) == (40, 20)
    assert gate.report["icl_right"]["n"] == 20


def test_feedback_on_a_task_that_was_never_answered(tmp_path: Path) -> None:
    """The name and those that there are; nothing is written."""
    path = tmp_path / "traces.jsonl"
    trace(path, "known", attempt("icl-vote", 1), answer="icl-vote")
    before = path.read_bytes()
    with pytest.raises(UnknownNameError, match="'other'; it has known"):
        give_feedback(path, "other", right=True)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="cannot read"):
        give_feedback(tmp_path / "missing", "known", right=True)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        '{"feedback": "x", "right": true}',
        '{"feedback": [1], "right": true}',
        '{"features": 3}',
        "not json",
        '"text"',
        pytest.param('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", id="deep"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, line: str) -> None:
    """A complaint names the line."""
    path = tmp_path / "traces.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="line 1"):
        read_traces(path)


@given(st.data())
def test_a_torn_last_line_loses_only_itself(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A process that died while it wrote leaves the earlier answers readable."""
    path = tmp_path_factory.mktemp("torn") / "traces.jsonl"
    for task in ("one", "two"):
        trace(path, task, attempt("icl-vote", 1), answer="icl-vote")
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    path.write_bytes(content[: data.draw(st.integers(first, len(content) - 2))])
    assert [t.answer.task_id for t in read_traces(path)] == ["one"]
    give_feedback(path, "one", right=True)
    assert [t.right for t in read_traces(path)] == [True]

"""The report of a run, from lines as the loop writes them."""

from __future__ import annotations

import html.parser
import json
from dataclasses import replace

import pytest

from autottt.evaluation.run_report import run_page, run_report
from autottt.runner.queue import Run
from autottt.runner.results import answer_line, error_line
from autottt.types import Answer, Attempt, Candidate, Decision, Grid, Task

RUN = Run("gate:x price:0.01", "m", 0)
RIGHT, WRONG = ((1,),), ((2,),)
TASK = Task.from_examples([([[0]], [[1]])], [[0]], id="t", target=[[1]])


def attempt(strategy: str, grid: Grid, seconds: float) -> Attempt:
    """An attempt with one candidate."""
    return Attempt(strategy, ((Candidate(grid, 1.0, -0.1),),), seconds, 10)


def answered(vote: Grid, trained: Grid | None, sure: float, task: Task = TASK) -> str:
    """The line of a task whose vote took 1 s and whose training, if any, 3 s."""
    attempts = [attempt("icl-vote", vote, 1.0)]
    if trained is not None:
        attempts.append(attempt("ttt", trained, 3.0))
    last = attempts[-1]
    decision = Decision(last.strategy, "", sure, {last.strategy: 0.25}, {}, {})
    seconds = sum(a.seconds for a in attempts)
    found = Answer(
        task.id,
        last.candidates,
        last.strategy,
        (decision,),
        tuple(attempts),
        sure,
        seconds,
        10 * len(attempts),
        True,
        0,
    )
    return answer_line(task, RUN, 1, found)


LINES = [
    answered(RIGHT, None, 0.9),
    answered(WRONG, RIGHT, 0.8),
    answered(RIGHT, WRONG, 0.3),
    answered(WRONG, RIGHT, 0.7),
    answered(WRONG, None, 0.4, replace(TASK, targets=None)),
    error_line("x", RUN, 3, "Crash", "it died"),
]


def test_the_numbers_are_those_of_the_lines() -> None:
    """Counted by hand: 4 of 5 answers have targets, 3 are right, training fixed 2 and broke 1."""
    found = run_report(LINES)
    assert (found["answered"], found["judged"], found["failed"]) == (5, 4, {"Crash": 1})
    assert found["accuracy"]["mean"] == 0.75
    assert found["accuracy"]["low"] < 0.75 < found["accuracy"]["high"]
    assert found["seconds"] == pytest.approx({"mean": 2.8, "p50": 4.0, "p95": 4.0})
    assert [(s["strategy"], s["tasks"], s["accuracy"]) for s in found["strategies"]] == [
        ("ttt", 3, 2 / 3),
        ("icl-vote", 2, 1.0),
    ]
    trained = found["trained"]
    assert [trained[kind] for kind in ("both", "fixed", "broken", "neither")] == [0, 2, 1, 0]
    assert trained["gain"]["mean"] == pytest.approx(1 / 3)
    assert (trained["promised"], trained["seconds"]) == (0.25, 9.0)
    assert (found["confidence"]["n"], found["confidence"]["auroc"]) == (4, 1.0)


def test_without_targets_or_answers_nothing_is_claimed() -> None:
    """What takes targets is absent, and the page is still made."""
    for lines in ([LINES[4]], [LINES[5]], []):
        found = run_report(lines)
        assert found["accuracy"] is found["trained"] is found["confidence"] is None
        assert "<h1>none</h1>" in run_page(found, "none")
        assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_page_escapes_and_loads_nothing() -> None:
    """A title is text, and no tag refers to another address."""
    seen: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append(tag)
            for name, value in attrs:
                assert name not in ("src", "href") or (value or "").startswith("#")

    page = run_page(run_report(LINES), "<script>a&b")
    Reader().feed(page)
    assert "script" not in seen
    assert {"svg", "table", "h1"} <= set(seen)
    assert "both 0, fixed 2, broken 1, neither 0" in page


def test_a_share_of_the_vote_is_no_confidence_to_judge() -> None:
    """Where the strategy was asked for there was nothing that calibrated it."""
    forced = json.loads(LINES[0])
    forced["answer"]["decisions"][0]["reason"] = "icl-vote was asked for"
    assert run_report([json.dumps(forced)])["confidence"] is None
    both = run_report([json.dumps(forced), LINES[1]])
    assert both["confidence"] == run_report([LINES[1]])["confidence"]

"""The state machine: routes, failures, resumption, and what it must not let through."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import TrainSettings
from autottt.adapters.models.fake import FakeModel
from autottt.controller.cost import ArmCost, CostModel
from autottt.controller.difficulty import Gate
from autottt.controller.graph import DAMAGED, build_graph
from autottt.controller.heads import Head
from autottt.controller.policy import Policy
from autottt.controller.probe import shape
from autottt.controller.state import SolveContext, first_state
from autottt.errors import ContextLengthError, LostModelError, StorageError, StrategyError
from autottt.serialise import from_json
from autottt.strategies.base import RunContext, Strategy
from autottt.strategies.icl import ICL
from autottt.strategies.ttt import TTT
from autottt.types import JSON, Answer, Attempt, Grid, Task


def mirror(grid: Grid) -> Grid:
    """The rule of the task."""
    return tuple(row[::-1] for row in grid)


def wrong(grid: Grid) -> Grid:
    """A model that has not understood: every cell becomes 9, whatever the view."""
    return tuple(tuple(9 for _ in row) for row in grid)


LINES = [[[1, 2, 0, 3]], [[4, 0, 0, 5]], [[6, 7, 8, 0]]]
TASK = Task.from_examples([(x, [x[0][::-1]]) for x in LINES], [[9, 1, 0, 0]], target=[[0, 0, 1, 9]])
STRATEGIES: Mapping[str, Strategy] = {
    "icl-vote": ICL(),
    "ttt": TTT(training=TrainSettings(steps=3)),
}
EAGER = Gate(  # it expects much of training
    "m",
    {"icl_right": Head(0.1), "ttt_fixes": Head(0.9), "ttt_right": Head(0.9)},
    CostModel({"ttt": ArmCost(1.0, 0.0, 0.0)}),
)


def context(model: FakeModel, **changes: Any) -> SolveContext:
    """A context without a gate: the default policy decides."""
    return SolveContext(model, **{"strategies": STRATEGIES, "policy": Policy(), **changes})


def solve(model: FakeModel, *, forced: str | None = None, seed: int = 0, **changes: Any) -> Answer:
    """Run the machine once, with a strict checkpointer so that state must be plain."""
    graph = build_graph(InMemorySaver())
    done = graph.invoke(
        first_state(TASK, seed=seed, forced=forced),
        context=context(model, **changes),
        config={"configurable": {"thread_id": "1"}},
    )
    return from_json(Answer, done["answer"])


def test_an_easy_task_stays_with_icl() -> None:
    """Where ICL is right on every held-out demonstration nothing is trained."""
    answer = solve(FakeModel(before=mirror, after=wrong))
    assert answer.strategy == "icl-vote"
    assert [a.strategy for a in answer.attempts] == ["icl-vote"]
    assert answer.answers[0][0].output == ((0, 0, 1, 9),)
    assert answer.restored


def test_a_hard_task_is_trained_on() -> None:
    """Where ICL fails on the held-out demonstrations TTT runs, and its answer is given."""
    answer = solve(FakeModel(before=wrong, after=mirror))
    assert answer.strategy == "ttt"
    assert [d.chosen for d in answer.decisions] == ["ttt", "ttt"]
    assert answer.answers[0][0].output == ((0, 0, 1, 9),)
    assert answer.restored


def test_what_is_trained_is_asked_about_the_answer_of_the_vote() -> None:
    """It is told what the vote answered, and the trace has what it thinks of it and the time."""
    answer = solve(FakeModel(before=wrong, after=mirror))
    evidence = answer.attempts[1].evidence
    assert evidence["over_icl"] == pytest.approx(math.log1p(20.0 - 0.1))
    assert 0 < evidence["comparing_seconds"] < answer.attempts[1].seconds
    alone = solve(FakeModel(before=wrong, after=mirror), forced="ttt")
    assert "over_icl" not in alone.attempts[0].evidence


def test_a_vote_that_the_trained_model_prefers_is_kept() -> None:
    """Where training makes the model write what it finds less probable, the vote's answer stays."""

    class Torn(FakeModel):
        """Once trained, it finds the reverse of what it writes the most probable."""

        def score_answers(
            self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]
        ) -> list[list[float]]:
            return [[-x for x in of] for of in super().score_answers(prompts, answers)]

    answer = solve(Torn(before=mirror, after=wrong), policy=Policy(price=0.0), gate=EAGER)
    assert [a.strategy for a in answer.attempts] == ["icl-vote", "ttt"]
    assert answer.attempts[1].evidence["over_icl"] < 0
    assert answer.strategy == "icl-vote"
    assert answer.answers[0][0].output == TASK.targets[0]  # type: ignore[index]


def test_a_damaged_base_is_found_and_loaded_again() -> None:
    """Whatever changed it: the answer says so, and the next one is of a sound model."""
    model = FakeModel(before=mirror, after=wrong)
    model.weights[0] = 3.0
    answer = solve(model)
    assert not answer.restored
    assert DAMAGED in answer.warnings
    assert model.verify()
    assert solve(model).restored


class Broken:
    """A strategy of someone else's that gives what it should not."""

    name, summary, trains = "ttt", "broken", True

    def __init__(self, given: Any) -> None:
        self.given = given

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        return None

    def run(self, task: Task, context: RunContext) -> Attempt:
        found: Attempt = self.given
        return found


@pytest.mark.parametrize(
    "given", [None, Attempt("ttt", (), 0.1, 1), Attempt("other", ((),), 0.1, 1)]
)
def test_a_strategy_that_breaks_its_contract_has_failed(given: Any) -> None:
    """The vote answers where the controller chose it; asked for, it is an error."""
    strategies = {**STRATEGIES, "ttt": Broken(given)}
    answer = solve(FakeModel(before=wrong, after=mirror), strategies=strategies)
    assert answer.strategy == "icl-vote"
    assert "is broken" in str(answer.attempts[1].error)
    with pytest.raises(StrategyError, match="is broken"):
        solve(FakeModel(before=wrong, after=mirror), strategies=strategies, forced="ttt")


@pytest.mark.parametrize("where", ["run", "unavailable"])
def test_whatever_a_strategy_of_others_raises_is_its_failure(where: str) -> None:
    """The vote is not lost; asked for, it is a typed error with its cause."""

    class Raising(Broken):
        """Runs into a bug of its own."""

    def bug(*_: Any) -> Any:
        raise KeyError("nothing")

    raising = Raising(None)
    setattr(raising, where, bug)
    strategies = {**STRATEGIES, "ttt": raising}
    answer = solve(FakeModel(before=wrong, after=mirror), strategies=strategies)
    assert answer.strategy == "icl-vote"
    assert answer.restored
    with pytest.raises(StrategyError, match="ttt is broken: KeyError: 'nothing'") as caught:
        solve(FakeModel(before=wrong, after=mirror), strategies=strategies, forced="ttt")
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_empty_sequence_that_stays_empty_is_no_change() -> None:
    """It has no cells, and the share of those that change is zero."""
    task = Task.from_examples([([], []), ([2, 1], [1, 2])], [3, 1])
    assert task.domain == "sequence"
    assert shape(task, FakeModel(mirror, mirror))["changed_share"] == 0.5


def test_a_strategy_asked_for_is_run_alone() -> None:
    """A forced strategy skips the probe."""
    answer = solve(FakeModel(before=mirror, after=mirror), forced="ttt")
    assert [a.strategy for a in answer.attempts] == ["ttt"]
    assert "asked for" in answer.decisions[0].reason


def test_a_failed_attempt_is_recorded_and_icl_answers() -> None:
    """Divergence in TTT costs nothing but time: the earlier answer is given, with the reason."""
    model = FakeModel(before=wrong, after=mirror, fail_at=1, failure=StrategyError)
    answer = solve(model)
    assert answer.strategy == "icl-vote"
    assert answer.attempts[1].error == "injected at step 1"
    assert "injected" in answer.decisions[-1].reason
    assert model.verify()


def test_an_answer_too_long_for_one_arm_costs_that_arm_alone() -> None:
    """What the vote has is given; a strategy that was asked for has nothing to fall back to."""
    model = FakeModel(before=wrong, after=mirror, fail_at=1, failure=TooLong)
    answer = solve(model)
    assert answer.strategy == "icl-vote"
    assert "context" in (answer.attempts[1].error or "")
    with pytest.raises(ContextLengthError):
        solve(FakeModel(before=wrong, after=mirror, fail_at=0, failure=TooLong), forced="ttt")


class TooLong(ContextLengthError):
    """Of one fixed length."""

    def __init__(self, where: str) -> None:
        super().__init__(40, 30)


def test_an_attempt_that_promises_nothing_is_abandoned_and_told() -> None:
    """The gate looks at a training as it goes; its reason is in the trace."""
    heads = {"icl_right": Head(0.1), "ttt_fixes": Head(0.9), "ttt_right": Head(0.9)}
    gate = Gate("m", heads | {"ttt_look2": Head(0.0)}, CostModel({"ttt": ArmCost(30.0, 0.0, 0.0)}))
    long = {**STRATEGIES, "ttt": TTT(training=TrainSettings(steps=20))}
    model = FakeModel(before=wrong, after=mirror)
    answer = solve(model, gate=gate, strategies=long)
    assert answer.strategy == "icl-vote"
    assert answer.attempts[1].stop_reason == "abandoned"
    assert answer.attempts[1].evidence["look"] == 2
    assert "going on would gain 0.0%" in (answer.attempts[1].error or "")
    assert "abandoned" in answer.decisions[-1].reason
    assert model.verify()


def test_an_arm_that_is_explored_is_run_to_its_end() -> None:
    """Given up at the first look, as it was not worth its price, it would show nothing."""
    heads = {"icl_right": Head(0.9), "ttt_fixes": Head(0.1), "ttt_right": Head(0.9)}
    gate = Gate("m", heads | {"ttt_look2": Head(0.0)}, CostModel({"ttt": ArmCost(30.0, 0.0, 0.0)}))
    long = {**STRATEGIES, "ttt": TTT(training=TrainSettings(steps=20))}
    drawn = []
    for explore in (0.0, 1.0):
        model, policy = FakeModel(before=wrong, after=mirror), Policy(explore=explore)
        for seed in range(6):
            answer = solve(model, gate=gate, strategies=long, policy=policy, seed=seed)
            drawn += [(explore, a.stop_reason) for a in answer.attempts[1:]]
    assert drawn
    assert {explore for explore, _ in drawn} == {1.0}
    assert all(reason != "abandoned" for _, reason in drawn)


def test_a_forced_strategy_that_fails_is_an_error() -> None:
    """There is nothing to fall back to when one strategy was asked for."""
    model = FakeModel(before=wrong, after=mirror, fail_at=0, failure=StrategyError)
    with pytest.raises(StrategyError, match="injected"):
        solve(model, forced="ttt")


def test_a_task_over_the_context_is_refused_before_any_forward() -> None:
    """The typed error names both lengths."""
    with pytest.raises(ContextLengthError, match="context is 30"):
        solve(FakeModel(mirror, mirror, context=30))


def test_the_target_never_enters_the_machine() -> None:
    """What is right is cut off before the state is built."""
    assert first_state(TASK)["task"]["targets"] is None


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_machine_that_died_goes_on_from_its_checkpoint(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    """A crash in the middle of TTT is resumed from SQLite without probing again."""
    heard: list[str] = []

    def listen(kind: str, payload: JSON) -> None:
        heard.append(kind)

    config: Any = {"configurable": {"thread_id": "one"}}
    database = tmp_path / "checkpoints.sqlite"
    dying = FakeModel(before=wrong, after=mirror, fail_at=2, failure=failure)
    with sqlite3.connect(database, check_same_thread=False) as connection:
        graph = build_graph(SqliteSaver(connection))
        with pytest.raises(failure):
            graph.invoke(first_state(TASK), context=context(dying, listener=listen), config=config)
    assert dying.verify()
    with sqlite3.connect(database, check_same_thread=False) as connection:
        graph = build_graph(SqliteSaver(connection))
        healthy = context(FakeModel(before=wrong, after=mirror), listener=listen)
        done = graph.invoke(None, context=healthy, config=config)
    connection.close()
    assert heard.count("probe") == 1
    assert done["answer"]["strategy"] == "ttt"
    assert done["answer"]["answers"][0][0]["output"] == [[0, 0, 1, 9]]


def test_the_trace_is_appended_to_the_log(tmp_path: Path) -> None:
    """Every answer leaves one JSON line where a log is kept."""
    log = tmp_path / "trace.jsonl"
    for _ in range(2):
        solve(FakeModel(before=mirror, after=mirror), log=log)
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    assert all(json.loads(line)["strategy"] == "icl-vote" for line in lines)


def test_a_lost_model_ends_a_task() -> None:
    """No further arm is trained on it, and no answer rests on it."""
    with pytest.raises(LostModelError):
        solve(FakeModel(before=wrong, after=mirror, fail_at=0, failure=LostModelError))


def test_what_is_trained_already_keeps_a_deadline() -> None:
    """With the same demonstrations there is no training to leave time for."""
    cost = CostModel({"ttt": ArmCost(40.0, 0.0, 0.0), "icl-vote": ArmCost(0.5, 0.0, 0.0)})
    model, cache = FakeModel(before=wrong, after=mirror), AdapterCache()

    def asked() -> Answer:
        until = time.monotonic() + 20
        return solve(model, gate=replace(EAGER, cost=cost), adapters=cache, deadline=until)

    assert asked().strategy == "icl-vote"
    solve(model, forced="ttt", adapters=cache)
    again = asked()
    assert again.strategy == "ttt"
    assert again.attempts[1].reused


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_trace_that_cannot_be_kept_costs_no_answer() -> None:
    """It is a warning in the answer; where checkpoints keep the answer, it ends the run."""
    full = Path("/dev/full")
    answer = solve(FakeModel(before=mirror, after=mirror), log=full)
    assert answer.answers[0][0].output == ((0, 0, 1, 9),)
    assert len(answer.warnings) == 1
    assert "No space left" in answer.warnings[0]
    with pytest.raises(StorageError, match="No space left"):
        solve(FakeModel(before=mirror, after=mirror), log=full, resumable=True)


def test_the_machine_is_drawn_as_designed() -> None:
    """The edges are those of the documentation, the loop included."""
    edges = {(e.source, e.target) for e in build_graph().get_graph().edges}
    assert edges == {
        ("__start__", "probe"),
        ("probe", "assess"),
        ("assess", "decide"),
        ("decide", "adapt"),
        ("decide", "answer"),
        ("adapt", "assess"),
        ("answer", "record"),
        ("record", "__end__"),
    }

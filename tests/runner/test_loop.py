"""The loop with a fake model: what is answered, tried again, given up, and left for later."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autottt.adapters.models.base import Completion, TrainRecord
from autottt.adapters.models.fake import FakeModel
from autottt.errors import LostModelError, StorageError, TaskError
from autottt.runner.attempts import Failed, Job, Settings, attempt
from autottt.runner.engines import Inline
from autottt.runner.loop import run
from autottt.runner.source import Known, Stream
from autottt.runner.stop import Stop
from autottt.runner.tally import Tally
from autottt.runner.watchdog import HUNG
from autottt.solver import Solver
from autottt.types import Answer, Decision, Example, Grid, Task


def mirror(grid: Grid) -> Grid:
    """The rule of the tasks."""
    return tuple(row[::-1] for row in grid)


def wrong(grid: Grid) -> Grid:
    """A model that has not understood, whatever the view."""
    return tuple(tuple(9 for _ in row) for row in grid)


def make(name: str, last: int = 1) -> Task:
    """A task whose rule is the mirror."""
    shown = [([[1, 2, 0]], [[0, 2, 1]]), ([[4, 0, 5]], [[5, 0, 4]]), ([[6, 7, 8]], [[8, 7, 6]])]
    return Task.from_examples(shown, [[9, 0, last]], id=name, target=[[last, 0, 9]])


TASKS = [make(f"t{k}", k) for k in range(4)]
# without an adapter in common
APART = [
    replace(
        task,
        demonstrations=tuple(
            Example(((*row, k),), (mirror(((*row, k),))))
            for row in ((1, 2, 0), (4, 0, 5), (6, 7, 8))
        ),
    )
    for k, task in enumerate(TASKS)
]


class Poisoned(FakeModel):
    """Raises `poison` wherever a query ends in 3."""

    poison: BaseException = RuntimeError("poison")

    def generate(self, prompts: Sequence[Sequence[int]], **given: Any) -> list[Completion]:
        if any(bytes(ids).decode().rstrip("\n>").endswith("3") for ids in prompts):
            raise self.poison
        return super().generate(prompts, **given)


def work(
    folder: Path, model: FakeModel | None = None, tasks: Sequence[Task] = TASKS, **given: Any
) -> Tally:
    """One start of the loop."""
    stop = given.pop("stop", None) or Stop()
    solver = Solver(model or FakeModel(mirror, mirror))
    return run(folder, Inline(solver), Known(tasks), Settings("icl", **given), stop=stop)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The results, each valid JSON."""
    return [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]


def test_every_task_is_answered_once(tmp_path: Path) -> None:
    """A second start does nothing, and both come to the same sums."""
    first, second = work(tmp_path), work(tmp_path)
    assert (first.answered, first.right, first.waiting) == (4, 4, 0)
    assert first == second
    found = lines(tmp_path)
    assert [o["task_id"] for o in found] == ["t0", "t1", "t2", "t3"]
    assert {(o["version"], o["policy"], o["attempt"], o["error"]) for o in found} == {
        (2, "strategy:icl", 1, None)
    }
    assert all(o["answer"]["restored"] for o in found)


def test_another_seed_is_answered_again(tmp_path: Path) -> None:
    """Results of two seeds are kept side by side, and summed apart."""
    work(tmp_path)
    assert work(tmp_path, seed=1).answered == 4
    assert [o["seed"] for o in lines(tmp_path)] == [0] * 4 + [1] * 4


@pytest.mark.parametrize("poison", [RuntimeError("poison"), ConnectionError("poison")])
def test_a_poison_task_is_given_up_and_the_rest_goes_on(tmp_path: Path, poison: Exception) -> None:
    """It is tried again after the others, as often as allowed, and its error recorded."""
    model = Poisoned(mirror, mirror)
    model.poison = poison
    tally = work(tmp_path, model, retries=1)
    assert (tally.answered, tally.failed, tally.waiting) == (3, 1, 0)
    last = lines(tmp_path)[-1]
    assert (last["task_id"], last["attempt"], last["answer"]) == ("t3", 2, None)
    assert last["error"] == {"kind": type(poison).__name__, "message": "poison"}


def test_a_task_that_ends_the_process_is_given_up(tmp_path: Path) -> None:
    """What nothing catches is counted; after the retries a later start records the failure."""
    model = Poisoned(mirror, mirror)
    model.poison = SystemExit("killed")
    for _ in range(3):
        with pytest.raises(SystemExit):
            work(tmp_path, model)
    assert len(lines(tmp_path)) == 3
    tally = work(tmp_path, model)
    assert (tally.answered, tally.failed) == (3, 1)
    assert lines(tmp_path)[-1]["error"]["kind"] == "Crash"


def test_a_task_over_the_context_is_given_up_at_once(tmp_path: Path) -> None:
    """Input that cannot be served is not tried again."""
    tally = work(tmp_path, FakeModel(mirror, mirror, context=10))
    assert tally.failed == 4
    assert {(o["error"]["kind"], o["attempt"]) for o in lines(tmp_path)} == {
        ("ContextLengthError", 1)
    }


def test_a_stop_leaves_the_rest_for_the_next_start(tmp_path: Path) -> None:
    """Nothing is begun after it, no attempt is held against a task, and the next start goes on."""
    stop = Stop()
    solver = Solver(FakeModel(mirror, mirror))

    def hear(tally: Tally) -> None:
        if tally.done == 2:
            stop.ask("SIGTERM")

    tally = run(tmp_path, Inline(solver), Known(TASKS), Settings("icl"), stop=stop, hear=hear)
    assert (tally.answered, tally.waiting, tally.stopped) == (2, 2, "SIGTERM")
    assert work(tmp_path, stop=Stop(0.0)).waiting == 2
    assert work(tmp_path).answered == 4
    assert {o["attempt"] for o in lines(tmp_path)} == {1}
    late = work(tmp_path / "late", stop=Stop(0.0))
    assert (late.waiting, late.stopped is None) == (4, False)
    assert work(tmp_path, stop=Stop(0.0)).stopped is None  # nothing was left to do


def test_a_stop_in_a_training_keeps_the_probe(tmp_path: Path) -> None:
    """The task goes on after its last node, with the answer of a run that was never stopped."""
    stop, probes = Stop(), []

    class Counting(FakeModel):
        def train(self, *given: Any, **named: Any) -> list[TrainRecord]:
            stop.ask("SIGTERM")
            return super().train(*given, **named)

        def generate(self, prompts: Sequence[Sequence[int]], **given: Any) -> list[Completion]:
            probes.append(self.trained)
            return super().generate(prompts, **given)

    model = Counting(wrong, mirror)
    solver = Solver(model)
    tally = run(tmp_path, Inline(solver), Known(TASKS[:1]), Settings(), stop=stop)
    assert (tally.waiting, tally.stopped) == (1, "SIGTERM")
    assert model.verify()
    before = probes.count(0)
    assert before
    model = Counting(wrong, mirror)
    done = run(tmp_path, Inline(Solver(model)), Known(TASKS[:1]), Settings(), stop=Stop())
    assert (done.answered, done.right) == (1, 1)
    assert probes.count(0) == before  # the probe was not run again
    straight = run(
        tmp_path / "b",
        Inline(Solver(FakeModel(wrong, mirror))),
        Known(TASKS[:1]),
        Settings(),
        stop=Stop(),
    )
    assert straight.strategies == done.strategies
    a, b = lines(tmp_path)[0]["answer"], lines(tmp_path / "b")[0]["answer"]
    assert a["answers"] == b["answers"]


class Short(Stop):
    """A limit that is reached when told so."""

    over = False

    def __init__(self) -> None:
        super().__init__(1000.0)

    @property
    def seconds_left(self) -> float:
        return 0.0 if self.over else super().seconds_left

    def lift(self) -> None:
        self.over = False
        super().lift()


class Trained(FakeModel):
    """Counts its trainings; at the one numbered `last` it does `then` first."""

    trainings = 0
    last = 0
    then: Callable[[], None]

    def train(self, *given: Any, **named: Any) -> list[TrainRecord]:
        self.trainings += 1
        if self.trainings == self.last:
            self.then()
        return super().train(*given, **named)


def test_with_a_limit_every_task_is_probed_before_any_is_trained(tmp_path: Path) -> None:
    """Those of a higher priority are trained first; each is one attempt with one decision to go."""
    order = []
    tasks = [replace(task, priority=k % 2) for k, task in enumerate(TASKS)]
    solver = Solver(Trained(wrong, mirror))
    real = solver.solve

    def solve(task: Task, **given: Any) -> Answer:
        order.append((task.id, generated[0]))
        return real(task, **given)

    generated = [0]
    offer = solver.offer

    def offered(task: Task, *given: Any, **named: Any) -> Decision | None:
        generated[0] += 1
        return offer(task, *given, **named)

    solver.solve, solver.offer = solve, offered  # type: ignore[method-assign]
    tally = run(tmp_path, Inline(solver), Known(tasks), Settings(), stop=Stop(1000.0))
    assert (tally.answered, tally.right, tally.stopped) == (4, 4, None)
    assert order == [("t1", 4), ("t3", 4), ("t0", 4), ("t2", 4)]
    for found in lines(tmp_path):
        assert found["attempt"] == 1
        assert [d["chosen"] for d in found["answer"]["decisions"]] == ["ttt-watch", "ttt-watch"]


@pytest.mark.parametrize("seconds", [None, 1000.0])
def test_every_task_is_heard_once_and_in_order(tmp_path: Path, seconds: float | None) -> None:
    """Whether the kind of task has changed is asked of the stream, not of those that are easy."""
    heard = []
    solver = Solver(Trained(wrong, mirror))
    solver.hear = lambda features: heard.append(len(features))  # type: ignore[method-assign]
    assert run(tmp_path, Inline(solver), Known(TASKS), Settings(), stop=Stop(seconds)).answered == 4
    assert len(heard) == 4


@pytest.mark.parametrize("seconds", [None, 1000.0])
def test_every_answer_has_its_trace(tmp_path: Path, seconds: float | None) -> None:
    """Also those that the vote gives at once, and where all tasks are probed first."""
    log = tmp_path / "traces.jsonl"
    for name, before in (("easy", mirror), ("hard", wrong)):
        settings = Settings(log=log)
        given = Inline(Solver(Trained(before, mirror))), Known(TASKS[:2]), settings
        assert run(tmp_path / name, *given, stop=Stop(seconds)).answered == 2
    traces = [json.loads(line) for line in log.read_text().splitlines()]
    assert [t["strategy"] for t in traces] == ["icl-vote"] * 2 + ["ttt-watch"] * 2


def test_what_was_not_trained_in_time_is_answered_with_the_probe(tmp_path: Path) -> None:
    """The training under way ends, no other begins, and every task that was probed has a result."""
    stop = Short()
    model = Trained(wrong, mirror)
    model.last, model.then = 2, lambda: setattr(stop, "over", True)
    tally = run(tmp_path, Inline(Solver(model)), Known(APART), Settings(), stop=stop)
    assert (tally.answered, tally.right, tally.waiting, tally.stopped) == (4, 1, 0, None)
    assert model.trainings == 2
    assert model.verify()
    first, *others = [o["answer"] for o in lines(tmp_path)]
    assert first["strategy"] == "ttt-watch"
    for answer in others:
        assert answer["strategy"] == "icl-vote"
        assert "no time is left" in answer["decisions"][-1]["reason"]


def test_a_training_that_fails_at_the_end_is_left_for_the_next_start(tmp_path: Path) -> None:
    """Its checkpoints are gone, so there is nothing in hand to answer with."""
    stop = Short()

    def fail() -> None:
        stop.over = True
        raise RuntimeError("injected")

    model = Trained(wrong, mirror)
    model.last, model.then = 1, fail
    tally = run(tmp_path, Inline(Solver(model)), Known(APART[:2]), Settings(), stop=stop)
    assert (tally.answered, tally.waiting) == (1, 1)
    done = run(
        tmp_path,
        Inline(Solver(FakeModel(wrong, mirror))),
        Known(APART[:2]),
        Settings(),
        stop=Stop(),
    )
    assert done.answered == 2
    assert all(found["answer"]["answers"][0] for found in lines(tmp_path))


def test_a_probe_whose_checkpoint_is_lost_is_no_answer(tmp_path: Path) -> None:
    """Without seconds left such a task waits for a later start, which probes it again."""
    stop = Stop(1000.0)
    model = Trained(wrong, mirror)
    model.last, model.then = 1, lambda: stop.ask("SIGTERM")
    assert run(tmp_path, Inline(Solver(model)), Known(APART), Settings(), stop=stop).answered == 0
    for path in tmp_path.glob("checkpoints*"):
        path.unlink()
    over = Short()
    over.over = True
    tally = run(tmp_path, Inline(Solver(model)), Known(APART), Settings(), stop=over)
    assert (tally.answered, tally.waiting) == (0, len(APART))
    engine = Inline(Solver(FakeModel(wrong, mirror)))
    assert run(tmp_path, engine, Known(APART), Settings(), stop=Stop()).answered == len(APART)
    assert all(found["answer"]["answers"][0] for found in lines(tmp_path))


def test_a_store_of_several_folders_tells_tasks_of_one_name_apart(tmp_path: Path) -> None:
    """What was under way in one folder is no beginning of another task with its id."""
    store, stop = tmp_path / "checkpoints.sqlite", Stop()
    model = Trained(wrong, mirror)
    model.last, model.then = 1, lambda: stop.ask("SIGTERM")

    def work_in(name: str, task: Task, model: FakeModel, stop: Stop) -> Tally:
        engine, known = Inline(Solver(model)), Known([task])
        return run(tmp_path / name, engine, known, Settings(), stop=stop, checkpoints=store)

    assert work_in("a", make("t", 1), model, stop).waiting == 1
    done = work_in("b", make("t", 2), FakeModel(wrong, mirror), Stop())
    assert (done.answered, done.right) == (1, 1)


def test_a_probe_is_made_in_full(tmp_path: Path) -> None:
    """It is kept for later starts, so the seconds left of the run are no deadline of its."""
    solver, deadlines = Solver(FakeModel(wrong, mirror)), []
    offer = solver.offer

    def offered(task: Task, *given: Any, **named: Any) -> Decision | None:
        deadlines.append(named["deadline"])
        return offer(task, *given, **named)

    solver.offer = offered  # type: ignore[method-assign]
    run(tmp_path, Inline(solver), Known(TASKS[:2]), Settings(), stop=Stop(1000.0))
    assert deadlines == [None, None]


def test_a_signal_leaves_what_was_probed_for_the_next_start(tmp_path: Path) -> None:
    """Only the end of the seconds answers with the probe; the next start trains."""
    stop = Stop(1000.0)
    model = Trained(wrong, mirror)
    model.last, model.then = 2, lambda: stop.ask("SIGTERM")
    tally = run(tmp_path, Inline(Solver(model)), Known(APART), Settings(), stop=stop)
    assert (tally.answered, tally.waiting, tally.stopped) == (1, 3, "SIGTERM")
    done = run(
        tmp_path, Inline(Solver(Trained(wrong, mirror))), Known(APART), Settings(), stop=Stop()
    )
    assert (done.answered, done.right) == (4, 4)
    assert {o["attempt"] for o in lines(tmp_path)} == {1}


def test_a_failing_disk_ends_the_loop_and_blames_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is typed; once there is room, the result that only the database had is written."""

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("autottt.runner.results.append", full)
        with pytest.raises(StorageError, match="No space left"):
            work(tmp_path)
    assert lines(tmp_path) == []
    assert work(tmp_path).answered == 4
    assert {o["attempt"] for o in lines(tmp_path)} == {1}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_log_that_takes_no_more_ends_the_loop_and_blames_no_task(tmp_path: Path) -> None:
    """The answer is in the checkpoints, and comes with the next start."""
    with pytest.raises(StorageError, match="/dev/full"):
        work(tmp_path, log=Path("/dev/full"))
    assert lines(tmp_path) == []
    assert work(tmp_path).answered == 4
    assert {o["attempt"] for o in lines(tmp_path)} == {1}


@pytest.mark.parametrize("lost", [LostModelError("gone"), torch.AcceleratorError("sticky")])
def test_a_process_that_can_solve_nothing_more_ends(tmp_path: Path, lost: Exception) -> None:
    """As one that hangs does, so that a new one goes on; its tasks are not given up."""
    ended: list[int] = []
    model = Poisoned(mirror, mirror)
    model.poison = lost
    job = Job("k", "k", make("t", 3), 1, probe=False, deadline=None, seconds_left=1e9)
    outcome = attempt(Solver(model), None, job, Settings(), Stop(), end=ended.append)
    assert ended == [HUNG]
    assert isinstance(outcome, Failed)


def test_a_stream_of_tasks_and_nonsense(tmp_path: Path) -> None:
    """Bad lines, and an id with a second meaning, become failures; the rest is answered."""
    out, into = os.pipe()
    pair = {"input": [[1, 2]], "output": [[2, 1]]}
    texts = [
        "{",
        *(json.dumps({"id": "a", "train": [pair], "test": [{"input": [[c]]}]}) for c in (1, 1, 2)),
    ]
    os.write(into, "\n".join(texts).encode())
    os.close(into)
    solver = Solver(FakeModel(mirror, mirror))
    tally = run(tmp_path, Inline(solver), Stream(out), Settings("icl"), stop=Stop())
    os.close(out)
    assert (tally.answered, tally.failed) == (1, 2)
    assert [o["error"]["kind"] for o in lines(tmp_path) if o["error"]] == ["TaskError"] * 2


def test_a_list_with_another_meaning_of_an_id_is_refused(tmp_path: Path) -> None:
    """A folder belongs to one set of tasks by id."""
    work(tmp_path)
    with pytest.raises(TaskError, match="'t1' is that of another"):
        work(tmp_path, tasks=[make("t1", 7)])

"""Outcome logs of every strategy: resumable, honest about failures, and without leaks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.fake import FakeModel
from autottt.controller.outcomes import read_outcomes
from autottt.errors import InputError, LostModelError, StrategyError, TaskError
from autottt.evaluation.collect import FIRST_SEED, _judge, measure, measure_all
from autottt.pretraining import validation
from autottt.pretraining.recipe import Recipe
from autottt.strategies import registry
from autottt.strategies.base import RunContext
from autottt.strategies.icl import ICL
from autottt.types import Attempt, Grid, Task


def mirror(grid: Grid) -> Grid:
    """The rule of the tasks."""
    return tuple(row[::-1] for row in grid)


def wrong(grid: Grid) -> Grid:
    """Never right."""
    return tuple(tuple(9 for _ in row) for row in grid)


LINES = [[[1, 2, 0, 3]], [[4, 0, 0, 5]], [[6, 7, 8, 0]]]


def task(name: str) -> Task:
    """A mirror task of that id."""
    examples = [(x, [x[0][::-1]]) for x in LINES]
    return Task.from_examples(examples, [[9, 1, 0, 0]], id=name, target=[[0, 0, 1, 9]])


def test_every_arm_is_judged_against_the_target() -> None:
    """A model that learns only by training is wrong under ICL and right under TTT."""
    model = FakeModel(before=wrong, after=mirror)
    outcome = measure(task("a"), "mirror", RunContext(model), ["icl", "icl-vote", "ttt"])
    assert {name: arm.right for name, arm in outcome.arms.items()} == {
        "icl": False,
        "icl-vote": False,
        "ttt": True,
    }
    assert outcome.features["loo_accuracy"] == 0.0
    trained = outcome.arms["ttt"]
    assert trained.evidence["agrees_with_icl"] == 0.0
    assert trained.evidence["over_icl"] > 0


def test_another_task_under_a_known_id_is_refused(tmp_path: Path) -> None:
    """It would be taken for the one that was measured, as it is where a log has no hashes."""
    out, model = tmp_path / "log.jsonl", FakeModel(mirror, mirror)
    first = task("a")
    assert measure_all([("g", first)], out, model, ["icl"], 0) == 1
    assert measure_all([("g", replace(first, priority=3))], out, model, ["icl"], 0) == 1
    other = replace(first, instruction="Otherwise.")
    with pytest.raises(InputError, match="another task by the name of 'a'"):
        measure_all([("g", other)], out, model, ["icl"], 0)
    assert measure_all([("g", other)], out, model, ["icl"], 1) == 2
    older = [json.loads(line) for line in out.read_text().splitlines()]
    out.write_text("".join(json.dumps({**o, "task": None}) + "\n" for o in older))
    assert measure_all([("g", other)], out, model, ["icl"], 0) == 2


def test_comparing_answers_is_no_part_of_an_arm() -> None:
    """An attempt took it; the arm by itself does not."""
    ran = Attempt("ttt", ((),), 3.0, 10, evidence={"over_icl": 1.0, "comparing_seconds": 1.0})
    arm = _judge(ran, task("a"), None)
    assert (arm.seconds, arm.compared_seconds) == (2.0, 3.0)


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Tasks in the log are not run again."""
    model, log = FakeModel(before=mirror, after=mirror), tmp_path / "log.jsonl"
    assert measure_all([("g", task("a"))], log, model, ["icl"], 0) == 1
    before = log.read_bytes()
    assert measure_all([("g", task("a")), ("g", task("b"))], log, model, ["icl"], 0) == 2
    assert log.read_bytes().startswith(before)
    assert [o.task_id for o in read_outcomes(log)] == ["a", "b"]


def test_what_a_log_lacks_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A task in the log is not run again with other strategies, nor in silence."""
    model, log = FakeModel(before=mirror, after=mirror), tmp_path / "log.jsonl"
    measure_all([("g", task("a"))], log, model, ["icl"], 0)
    measure_all([("g", task("a"))], log, model, ["icl"], 0)
    assert "measured without" not in caplog.text
    measure_all([("g", task("a"))], log, model, ["icl", "ttt"], 0)
    assert "measured without ttt" in caplog.text


def test_a_failed_arm_is_logged_with_its_reason() -> None:
    """An arm that cannot run counts as wrong and says why."""
    model = FakeModel(mirror, mirror, fail_at=0, failure=StrategyError)
    single = Task.from_examples([([[1]], [[1]])], [[2]], target=[[2]])
    failed = measure(task("a"), "g", RunContext(model), ["ttt"]).arms["ttt"]
    unavailable = measure(single, "g", RunContext(model), ["ttt"]).arms["ttt"]
    assert not failed.right
    assert "injected" in (failed.error or "")
    assert failed.seconds > 0, "what it took until it failed is paid"
    assert "at least two" in (unavailable.error or "")
    assert unavailable.seconds == 0


def test_a_strategy_of_others_that_is_broken_ends_no_collection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it raises is the arm's error, and so is an answer to other queries than asked."""

    class Broken(ICL):
        """Of someone else."""

        def run(self, task: Task, context: RunContext) -> Attempt:
            if self.name == "raises":
                raise ValueError("a bug")
            return Attempt(self.name, (), 0.1, 1)

    for name in ("raises", "short"):
        monkeypatch.setitem(registry._registered, name, Broken(name))
    arms = measure(task("a"), "g", RunContext(FakeModel(mirror, mirror)), ["raises", "short"]).arms
    assert "ValueError: a bug" in (arms["raises"].error or "")
    assert "0 queries of 1" in (arms["short"].error or "")


def test_a_lost_model_ends_a_collection(tmp_path: Path) -> None:
    """What would be measured with it is worth nothing, so nothing is logged."""
    model = FakeModel(mirror, mirror, fail_at=0, failure=LostModelError)
    with pytest.raises(LostModelError):
        measure_all([("g", task("a"))], tmp_path / "log.jsonl", model, ["ttt"], 0)
    assert not (tmp_path / "log.jsonl").exists()


def test_a_reused_adapter_is_charged_its_training() -> None:
    """What answers with an adapter that another strategy trained costs that training too."""
    context = RunContext(FakeModel(wrong, mirror), adapters=AdapterCache())
    arms = measure(task("a"), "g", context, ["ttt", "ttt+search"]).arms
    assert arms["ttt+search"].right
    assert arms["ttt+search"].tokens > 0
    spent = arms["ttt"].evidence["training_seconds"]
    assert arms["ttt+search"].evidence["training_seconds"] == spent
    assert arms["ttt+search"].seconds > spent


def test_a_task_without_targets_cannot_be_measured() -> None:
    """Nothing is judged by guess."""
    blind = Task.from_examples([([[1]], [[1]])], [[2]])
    with pytest.raises(TaskError, match="no targets"):
        measure(blind, "g", RunContext(FakeModel(mirror, mirror)), ["icl"])


SLOW = """
import sys, time
from pathlib import Path
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.evaluation.collect import measure_all


class Slow:
    id = "slow"

    def __init__(self, mark):
        self.mark = Path(mark)

    @property
    def targets(self):
        self.mark.touch()
        time.sleep(600)


tasks = [("g", Slow(mark)) for mark in sys.argv[2:]]
measure_all(tasks, Path(sys.argv[1]), HuggingFaceModel("embedded"), ["icl"], 0, jobs=2)
"""


def _two_at_work(folder: Path) -> subprocess.Popen[str]:
    """A run whose two workers have each begun a task that does not end."""
    marks = [folder / "a", folder / "b"]
    command = [sys.executable, "-c", SLOW, str(folder / "log"), *map(str, marks)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not all(mark.exists() for mark in marks):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"the workers have not begun: {process.communicate()[1]}")
        time.sleep(0.1)
    return process


def test_a_worker_that_is_killed_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    """As where memory runs out: the error says so and what to do, and nothing hangs."""
    with _two_at_work(tmp_path) as process:
        try:
            for child in psutil.Process(process.pid).children(recursive=True):
                if "LokyProcess" in " ".join(child.cmdline()):
                    child.kill()
                    break
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "WorkerError: one of 2 processes was killed" in said
    assert "go on with fewer --jobs" in said


def test_workers_end_with_the_process_that_is_killed(tmp_path: Path) -> None:
    """Killed outright, a run with two jobs leaves nothing behind that works on."""
    with _two_at_work(tmp_path) as process:
        try:
            children = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.kill()
    _, left = psutil.wait_procs(children, timeout=20)
    for child in left:
        child.kill()
    assert len(children) >= 2
    assert not left


def test_the_seeds_of_the_splits_are_apart() -> None:
    """Tasks for the gate are drawn from other seeds than the validation of the pretraining."""
    assert FIRST_SEED > validation.FIRST_SEED + 100_000 > Recipe().steps

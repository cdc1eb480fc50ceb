"""The loop over actors of a real Ray on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from autottt.adapters.models.base import Completion
from autottt.adapters.models.fake import FakeModel
from autottt.errors import InputError
from autottt.pretraining.sampling import draw_task
from autottt.runner.attempts import Settings
from autottt.runner.engines import Inline
from autottt.runner.loop import run
from autottt.runner.ray_engine import Fleet
from autottt.runner.source import Known
from autottt.runner.stop import Stop
from autottt.runner.tally import Tally
from autottt.solver import Solver
from autottt.types import Grid, Task
from tests.conftest import ROOT

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning")


def mirror(grid: Grid) -> Grid:
    """The rule of the tasks."""
    return tuple(row[::-1] for row in grid)


def wrong(grid: Grid) -> Grid:
    """A model that has not understood."""
    return tuple(tuple(9 for _ in row) for row in grid)


class Deadly(FakeModel):
    """Ends its process where a query ends in 3, and hangs where it ends in 4."""

    def generate(self, prompts: Sequence[Sequence[int]], **given: Any) -> list[Completion]:
        for ids in prompts:
            match bytes(ids).decode().rstrip("\n>")[-1]:
                case "3":
                    os._exit(9)
                case "4":
                    time.sleep(1000)
        return super().generate(prompts, **given)


def deadly() -> Solver:
    """What an actor loads."""
    return Solver(Deadly(mirror, mirror))


def late(folder: Path, workers: int) -> Solver:
    """What an actor loads, in no time by the first `workers` of them."""
    (folder / str(os.getpid())).touch()
    if len(list(folder.iterdir())) > workers:
        time.sleep(60.0)
    return deadly()


def learner() -> Solver:
    """A model that is right once trained."""
    return Solver(FakeModel(wrong, mirror))


def make(name: str, last: int) -> Task:
    """A task whose rule is the mirror, and whose demonstrations are its own."""
    shown = [([[a, b, last]], [[last, b, a]]) for a, b in ((1, 2), (4, 0), (6, 7))]
    return Task.from_examples(shown, [[9, 0, last]], id=name, target=[[last, 0, 9]])


TASKS = [make(f"t{k}", k) for k in range(8)]
FAMILIES = ("line_swap_colours", "grid_turn_whole", "line_stamp", "text_first_letters")


@pytest.fixture(autouse=True)
def _by_value() -> None:
    """Actors cannot import this module."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """The results by task; each task has one."""
    found = [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]
    assert len({line["task_id"] for line in found}) == len(found)
    return {line["task_id"]: line for line in found}


def wait_for(port: int) -> None:
    """Until somebody listens there."""
    for _ in range(120):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.5)
    raise AssertionError(f"nobody listens at {port}")


def test_actors_answer_as_one_process_does(tmp_path: Path) -> None:
    """The same answers, decisions and key on the embedded model, with one thread each."""
    tasks = [draw_task(name, 4_000_000, demonstrations=3, max_cells=150) for name in FAMILIES]
    settings = Settings(seed=3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(tmp_path / "one", Inline(Solver()), Known(tasks), settings, stop=Stop())
    finally:
        torch.set_num_threads(threads)
    with Fleet(Solver, workers=2) as fleet:
        tally = run(tmp_path / "two", fleet, Known(tasks), settings, stop=Stop())
    assert tally.answered == len(tasks)
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert any(len(line["answer"]["attempts"]) > 1 for line in one.values())  # something trained
    for name, line in one.items():
        other = two[name]
        assert [line[k] for k in ("policy", "model", "seed")] == [
            other[k] for k in ("policy", "model", "seed")
        ]
        assert line["answer"]["answers"] == other["answer"]["answers"]
        assert line["answer"]["strategy"] == other["answer"]["strategy"]
        assert line["answer"]["confidence"] == other["answer"]["confidence"]
        assert other["answer"]["restored"]


def test_a_dead_or_hung_actor_is_replaced(tmp_path: Path) -> None:
    """Its task is tried again and given up; the others are answered, each in one attempt."""
    settings = Settings("icl", retries=1, hard_seconds=2.0)
    with Fleet(deadly, workers=2) as fleet:
        tally = run(tmp_path, fleet, Known(TASKS), settings, stop=Stop())
    assert (tally.answered, tally.failed, tally.waiting) == (6, 2, 0)
    found = lines(tmp_path)
    for name in ("t3", "t4"):
        assert (found[name]["error"]["kind"], found[name]["attempt"]) == ("Crash", 2)
    assert {o["attempt"] for o in found.values() if o["error"] is None} == {1}


def test_others_go_on_while_an_actor_is_replaced(tmp_path: Path) -> None:
    """What they answer is recorded before the new one has loaded its model."""
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    tasks = TASKS[3:4] + TASKS[5:]
    with Fleet(partial(late, loaded, 2), workers=2) as fleet:
        fleet.describe(Settings("icl", retries=0))
        begin = time.monotonic()
        tally = run(tmp_path / "out", fleet, Known(tasks), Settings("icl", retries=0), stop=Stop())
        assert time.monotonic() - begin < 30
    assert (tally.answered, tally.failed, tally.waiting) == (3, 1, 0)


def test_a_new_actor_is_waited_for_where_there_is_no_other(tmp_path: Path) -> None:
    """The only actor dies, and the tasks that are left are answered all the same."""
    with Fleet(deadly, workers=1) as fleet:
        tally = run(tmp_path, fleet, Known(TASKS[:4]), Settings("icl", retries=1), stop=Stop())
    assert (tally.answered, tally.failed, tally.waiting) == (3, 1, 0)


def test_a_cluster_with_a_token(tmp_path: Path) -> None:
    """`ray start` and `autottt run --address`, as docs/scale.md says."""
    tasks = tmp_path / "tasks.jsonl"
    task = {
        "id": "a",
        "train": [{"input": [[k, 2, 3]], "output": [[3, 2, k]]} for k in (1, 4, 5)],
        "test": [{"input": [[7, 8, 9]], "output": [[9, 8, 7]]}],
    }
    tasks.write_text(json.dumps(task) + "\n", encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "7" * 32, "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **known}

    options = f"--head --block --port={port} --num-cpus=1 --include-dashboard=false"
    cluster = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", *options.split()],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        given = f"run {tasks} --out out --engine ray --address 127.0.0.1:{port} --workers 1"
        done = subprocess.run(
            [sys.executable, "-m", "autottt", *given.split()],
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert lines(tmp_path / "out")["a"]["answer"]["restored"]
    finally:
        cluster.terminate()
        cluster.wait(60)


def test_a_stop_and_a_limit(tmp_path: Path) -> None:
    """A stop gives back what is under way; a later start under a limit probes, then trains."""
    stop = Stop()

    def hear(tally: Tally) -> None:
        if tally.done == 2:
            stop.ask("SIGTERM")

    with Fleet(learner, workers=1) as fleet:
        first = run(tmp_path, fleet, Known(TASKS), Settings(), stop=stop, hear=hear)
        assert first.stopped == "SIGTERM"
        assert first.waiting >= 4
        second = run(tmp_path, fleet, Known(TASKS), Settings(), stop=Stop(1000.0))
    assert (second.answered, second.right, second.waiting) == (8, 8, 0)
    found = lines(tmp_path).values()
    assert {o["attempt"] for o in found} == {1}
    assert {o["answer"]["strategy"] for o in found} == {"ttt-watch"}
    assert not [p for p in psutil.Process().children(recursive=True) if "ray" in p.name()]


def test_what_cannot_start_says_so(tmp_path: Path) -> None:
    """A model that does not exist and a cluster that is not there are typed errors."""
    with (
        Fleet(partial(Solver, str(tmp_path / "none")), workers=1) as fleet,
        pytest.raises(InputError, match="none"),
    ):
        run(tmp_path, fleet, Known(TASKS), Settings(), stop=Stop())
    with (
        pytest.raises(InputError, match=r"no Ray cluster at '127.0.0.1:1'"),
        Fleet(deadly, address="127.0.0.1:1"),
    ):
        pass

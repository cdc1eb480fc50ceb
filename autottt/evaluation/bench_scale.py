"""How the seconds of a run grow with tasks and workers: measured here, modelled beyond.

The model of a run of n tasks on w workers is T = start + n * max(task / w, own): `task` is the mean
seconds that a worker has for a task, taken from the runs with the most workers measured, so that
what they take from each other is in it; `own` is what the loop itself has for one, with its queue
and results. So workers pay up to task / own of them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from autottt.evaluation.bench_serve import draw_tasks
from autottt.runner.attempts import Settings
from autottt.runner.engines import Engine, Inline
from autottt.runner.folder import RESULTS
from autottt.runner.loop import run
from autottt.runner.ray_engine import Fleet
from autottt.runner.source import Known
from autottt.runner.stop import Stop
from autottt.solver import Solver
from autottt.types import JSON, Task

BEYOND = ((1000, 8), (1000, 64), (10000, 64))  # (tasks, workers) that are modelled


def bench_scale(
    sizes: Sequence[int],
    workers: Sequence[int],
    *,
    seed: int = 0,
    hear: Callable[[JSON], None] = lambda row: None,
) -> JSON:
    """Run each number of tasks inline, then on each number of Ray workers; one CPU thread each."""
    torch.set_num_threads(1)
    tasks = draw_tasks(max(sizes), seed, max_cells=200)
    rows = []
    for size in sizes:
        for count in (0, *workers):  # 0 is inline
            rows.append(_measured(tasks[:size], count, seed))
            hear(rows[-1])
    return {"seed": seed, "rows": rows, "model": modelled(rows)}


def _measured(tasks: Sequence[Task], workers: int, seed: int) -> JSON:
    settings = Settings(seed=seed)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        begin = time.perf_counter()
        engine: Engine = (
            stack.enter_context(Fleet(Solver, workers=workers)) if workers else Inline(Solver())
        )
        engine.describe(settings)
        ready = time.perf_counter()
        run(Path(name), engine, Known(tasks), settings, stop=Stop())
        end = time.perf_counter()
        lines = (Path(name) / RESULTS).read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    spent = sum(answer["seconds"] for answer in answers if answer is not None)
    return {
        "tasks": len(tasks),
        "workers": workers,
        "start": ready - begin,
        "seconds": end - ready,
        "solving": spent,
        "answered": sum(answer is not None for answer in answers),
    }


def modelled(rows: Sequence[JSON]) -> JSON:
    """The model's parameters, in seconds, and what it says of the runs measured and of more."""
    inline = [row for row in rows if not row["workers"]]
    most = max(row["workers"] for row in rows)
    spread = [row for row in rows if row["workers"] == most]
    tasks = sum(row["tasks"] for row in inline)
    own = sum(row["seconds"] - row["solving"] for row in inline) / tasks
    task = sum(row["solving"] for row in spread) / sum(row["tasks"] for row in spread)
    start = sum(row["start"] for row in spread) / len(spread)
    return {
        "start": start,
        "task": task,
        "own": own,
        "workers_that_pay": task / own,
        "modelled": [
            {"tasks": n, "workers": w, "seconds": start + n * max(task / w, own)}
            for n, w in [*((row["tasks"], most) for row in spread), *BEYOND]
        ],
    }

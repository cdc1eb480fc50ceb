"""kill -9 of the loop at random moments, until every task has a result, and what is then there.

    python tests/faults/kill_campaign.py --kills 20 --tasks 40 --seed 0

The model is the embedded one, and is really trained. This process loads the libraries once and
forks the loop, so that the kills fall into its work and not into its start. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.runner.attempts import Settings
from autottt.runner.engines import Inline
from autottt.runner.loop import run
from autottt.runner.source import Known
from autottt.runner.stop import Stop
from autottt.solver import Solver
from autottt.types import Task

STRATEGY = "ttt-light"
RETRIES = 1000  # a kill counts as an attempt, and here all of them fall on few tasks
LINES = ((1, 2, 3), (4, 0, 5), (6, 6, 7))


def make(k: int) -> Task:
    """The mirror on lines of colours of its own, so that no task can reuse another's adapter."""
    lines = [[(c + k) % 10 for c in line] for line in LINES]
    asked = [k % 10, (k // 10 + 1) % 10, (k + 3) % 10]
    pairs = [([line], [line[::-1]]) for line in [*lines, [k // 10, 1, 2]]]
    return Task.from_examples(pairs, [asked], id=f"t{k}", target=[asked[::-1]])


def work(folder: Path, solver: Solver, tasks: list[Task]) -> None:
    """One start of the loop."""
    settings = Settings(STRATEGY, retries=RETRIES)
    run(folder, Inline(solver), Known(tasks), settings, stop=Stop())


def killed(folder: Path, solver: Solver, tasks: list[Task], seconds: float) -> bool:
    """Start the loop in a process of its own and kill it; whether it was still at work."""
    pid = os.fork()
    if not pid:
        work(folder, solver, tasks)
        os._exit(0)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def campaign(folder: Path, kills: int, count: int, seed: int) -> dict[str, Any]:
    """Kill the loop so many times, let it end, and look at what is there."""
    solver = Solver(HuggingFaceModel("embedded"))
    before = solver.model.fingerprint
    tasks = [make(k) for k in range(count)]
    solver.solve(make(count), strategy=STRATEGY)  # load all that is loaded late, before the forks
    rng = np.random.default_rng(seed)
    hit, grown, results = 0, [0], folder / "out" / "results.jsonl"
    for _ in range(kills):
        hit += killed(folder / "out", solver, tasks, float(rng.uniform(0.1, 1.2)))
        grown.append(results.read_bytes().count(b"\n") if results.exists() else 0)
    work(folder / "out", solver, tasks)
    found = [json.loads(line) for line in results.read_text().splitlines()]
    return {
        "kills": kills,
        "killed_at_work": hit,
        "results_after_each": grown[1:],
        "tasks": count,
        "results": len(found),
        "unique": len({o["task_id"] for o in found}),
        "most_attempts": max(o["attempt"] for o in found),
        "kinds": sorted({"answer" if o["answer"] else o["error"]["kind"] for o in found}),
        "fingerprints": len({before, *(o["model"] for o in found), solver.model.fingerprint}),
        "restored": solver.model.verify(),
    }


def main() -> None:
    """Run the campaign in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("kills", 20), ("tasks", 40), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)  # a thread pool does not survive a fork
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), given.kills, given.tasks, given.seed)
    os.write(1, json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    main()

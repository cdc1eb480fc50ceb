"""kill -9 of the loop at random moments, until every task has a result, and what is then there.

    python tests/faults/kill_campaign.py --kills 20 --tasks 30 --seed 0

The model is a tiny random Llama that is really trained. This process loads the libraries once and
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
from transformers import LlamaConfig, LlamaForCausalLM

from autottt.adapters.models.byte_level import VOCABULARY, build_byte_tokenizer
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.runner.loop import Settings, run
from autottt.runner.source import Known
from autottt.runner.stop import Stop
from autottt.solver import Solver
from autottt.types import Task

STRATEGY = "ttt-light"
RETRIES = 1000  # a kill counts as an attempt, and here all of them fall on few tasks
SHOWN = [([[1, 2, 3]], [[3, 2, 1]]), ([[4, 0, 5]], [[5, 0, 4]]), ([[6, 6, 7]], [[7, 6, 6]])]


def make_model(folder: Path) -> None:
    """A Llama of a few thousand random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    build_byte_tokenizer(512).save_pretrained(folder)


def work(folder: Path, solver: Solver, tasks: list[Task]) -> None:
    """One start of the loop."""
    settings = Settings(STRATEGY, retries=RETRIES)
    run(folder, solver, Known(tasks), settings, stop=Stop())


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
    make_model(folder / "model")
    solver = Solver(HuggingFaceModel(str(folder / "model")))
    before = solver.model.fingerprint
    tasks = [
        Task.from_examples(SHOWN, [[k % 10, 1, k // 10]], id=f"t{k}", target=[[k // 10, 1, k % 10]])
        for k in range(count)
    ]
    rng = np.random.default_rng(seed)
    hit, grown, results = 0, [0], folder / "out" / "results.jsonl"
    for _ in range(kills):
        hit += killed(folder / "out", solver, tasks, float(rng.uniform(0.05, 1.0)))
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
    for name, value in (("kills", 20), ("tasks", 30), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)  # a thread pool does not survive a fork
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), given.kills, given.tasks, given.seed)
    os.write(1, json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    main()

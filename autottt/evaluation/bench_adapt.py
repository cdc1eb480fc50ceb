"""What adapting costs: this package beside peft with `transformers.Trainer` and TRL's `SFTTrainer`.

Every way trains the same LoRA on the same sequences for the same optimizer steps, task by task in
one process, and then answers the same views; the ways take turns on each task, so that whatever
slows the machine slows all of them. Four ways of ours differ in what they do: `held-out` may stop
earlier, `fast` is `ttt-fast`, which stops at a low loss, `together` trains several tasks in one
pass, `processes` has a process of one thread for each core. It is a benchmark: peft, trl and
accelerate are extras.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import TrainSettings
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.memory import peak_bytes
from autottt.errors import UnknownNameError
from autottt.evaluation.bench_trainers import (
    Measured,
    default_trainer,
    resident,
    settle,
    train_sft,
    train_tuned,
)
from autottt.evaluation.collect import generated_tasks
from autottt.evaluation.statistics import paired
from autottt.record import is_right
from autottt.solver import TOGETHER, alike
from autottt.strategies.answering import Answered, Answering, Member
from autottt.strategies.base import Progress, RunContext, no_progress
from autottt.strategies.registry import get
from autottt.strategies.ttt import TTT
from autottt.types import JSON, Task

MAX_CELLS = 500
TOGETHER_WAY, PROCESSES_WAY = "autottt, together", "autottt, processes"
HELD_OUT_WAY, FAST_WAY = "autottt, held-out", "autottt, fast"
WAYS = (
    *("trainer", "trainer-tuned", "sft-trainer", "autottt"),
    *(HELD_OUT_WAY, FAST_WAY, TOGETHER_WAY, PROCESSES_WAY),
)

Way = Callable[[Task], Measured]


def bench_adapt(
    *,
    families: Sequence[str],
    tasks: int,
    steps: int,
    model: str = "embedded",
    seed: int = 0,
    only: Sequence[str] = (),
    together: int = TOGETHER,
    progress: Progress = no_progress,
) -> JSON:
    """Run every way, or `only` some, on every task; `together` tasks share a pass in one of them.

    Returns means, and ratios of total seconds and of those to adapt, with 95 % bootstrap intervals
    over tasks. Raises `UnknownNameError` for a way that there is not.
    """
    unknown = sorted(set(only) - set(WAYS))
    if unknown:
        raise UnknownNameError(f"there is no way {unknown[0]!r}; there are {', '.join(WAYS)}")
    owner = HuggingFaceModel(model)
    fixed = TTT(training=TrainSettings(steps=steps, stop_loss=0.0))
    watching = replace(fixed, name="held-out", watch=True)
    short = get("ttt-fast")
    assert isinstance(short, TTT)
    fewer = min(steps, short.training.steps)
    short = replace(short, training=replace(short.training, steps=fewer))
    drawn = generated_tasks(families, 1, seed=seed + 50, max_cells=MAX_CELLS)[:tasks]
    chosen = [task for _, task in drawn]
    in_turns: dict[str, Way] = {
        "trainer": lambda task: default_trainer(model, fixed, task, seed),
        "trainer-tuned": lambda task: resident(owner, fixed, task, seed, train_tuned),
        "sft-trainer": lambda task: resident(owner, fixed, task, seed, train_sft),
        "autottt": lambda task: ours(owner, fixed, task, seed),
        HELD_OUT_WAY: lambda task: ours(owner, watching, task, seed),
        FAST_WAY: lambda task: ours(owner, short, task, seed),
    }
    ways = {name: way for name, way in in_turns.items() if not only or name in only}
    for way in ways.values():  # imports, kernels and caches warm
        way(chosen[0])
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    progress("adapting", 0, len(chosen))
    for place, task in enumerate(chosen, start=1):
        for name, way in ways.items():
            restart_peak()
            found[name].append(with_peak(way(task)))
        progress("adapting", place, len(chosen))
    restart_peak()
    if not only or TOGETHER_WAY in only:
        _together(owner, fixed, chosen[:2], seed, together)  # warm
        found[TOGETHER_WAY] = _together(owner, fixed, chosen, seed, together)
    if not only or PROCESSES_WAY in only:
        found[PROCESSES_WAY] = _processes(model, fixed, chosen, seed)
    return {
        "model": owner.fingerprint,
        "tasks": len(chosen),
        "steps": steps,
        "seed": seed,
        "threads": torch.get_num_threads(),
        "matmul_flops": matmul_rate(owner.device),
        "together": together,
        "ways": {name: row(rows, owner, fixed.adapter) for name, rows in found.items()},
        "times_faster": {
            f"{name} than {base}": {
                **_ratio(found[base], found[name]),
                "adapting": _ratio(found[base], found[name], of="adapt"),
            }
            for base in WAYS[:4]
            for name in found
            if base in found and name.startswith("autottt") and name != base
        },
        "exact_match_gaps": {
            name: _difference(found["autottt"], found[name])
            for name in (HELD_OUT_WAY, FAST_WAY)
            if {"autottt", name} <= set(found)
        },
    }


def matmul_rate(device: str, seconds: float = 1.0) -> float:
    """Floating-point operations a second of square bf16 products on this device."""
    size = 1024 if device == "cpu" else 8192
    a = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        float((a @ a)[0, 0])  # waits for the device
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - begin)


def row(rows: Sequence[Measured], owner: HuggingFaceModel, adapter: Any) -> JSON:
    base = sum(p.numel() for p in owner.module.parameters())
    rank = adapter.rank
    shapes = [m.weight.shape for n, m in owner.module.named_modules() if "proj" in n]
    lora = sum(rank * (a + b) for a, b in shapes)
    flops = mean(r.tokens for r in rows) * (4 * base + 6 * lora)
    return {
        "seconds": mean(r.seconds for r in rows),
        "adapt_seconds": mean(r.adapt for r in rows),
        "answer_seconds": mean(r.answer for r in rows),
        "outside_steps": 1 - sum(r.in_steps for r in rows) / sum(r.adapt for r in rows),
        "tokens_per_second": sum(r.tokens for r in rows) / sum(r.adapt for r in rows),
        "flops": flops / mean(r.adapt for r in rows),
        "steps": mean(r.steps for r in rows),
        "exact_match": mean(r.right for r in rows),
        "peak_bytes": max(r.memory for r in rows),
    }


def _difference(base: Sequence[Measured], other: Sequence[Measured]) -> JSON:
    """Paired difference in exact match, with its 95 % bootstrap interval over tasks."""
    gap = paired(np.array([int(b.right) - int(a.right) for a, b in zip(base, other, strict=True)]))
    return {"difference": gap.mean, "low": gap.low, "high": gap.high}


def _ratio(base: Sequence[Measured], other: Sequence[Measured], of: str = "seconds") -> JSON:
    from scipy.stats import bootstrap

    pairs = [np.array([getattr(r, of) for r in rows]) for rows in (base, other)]

    def of_sums(a: Any, b: Any, axis: int = -1) -> Any:
        return a.sum(axis) / b.sum(axis)

    low, high = bootstrap(
        pairs, of_sums, paired=True, vectorized=True, method="percentile", random_state=0
    ).confidence_interval
    return {"ratio": float(pairs[0].sum() / pairs[1].sum()), "low": float(low), "high": float(high)}


@dataclass
class _Timed:
    """A way to answer, and the seconds of its last answer."""

    answering: Answering
    seconds: float = 0.0

    def unavailable(self, task: Task) -> str | None:
        return self.answering.unavailable(task)

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        begin = time.perf_counter()
        try:
            return self.answering.answer(task, context, members)
        finally:
            self.seconds = time.perf_counter() - begin


def ours(
    owner: HuggingFaceModel,
    strategy: TTT,
    task: Task,
    seed: int,
    adapters: AdapterCache | None = None,
) -> Measured:
    ticks: list[float] = []
    timed = _Timed(strategy.answering)
    context = RunContext(owner, seed, progress=_ticking(ticks), adapters=adapters)
    begin = time.perf_counter()
    attempt = replace(strategy, answering=timed).run(task, context)
    settle(owner.device)
    adapt = time.perf_counter() - begin - timed.seconds
    tokens = _trained_tokens(strategy, task, owner, seed, attempt.steps)
    right = is_right(task, attempt.candidates)
    return Measured(adapt, timed.seconds, tokens, attempt.steps, _in_steps(ticks), right)


def _ticking(ticks: list[float]) -> Progress:
    return lambda *_: ticks.append(time.perf_counter())


def _in_steps(ticks: Sequence[float]) -> float:
    """Seconds of all steps, from the moments at which each ended."""
    return (ticks[-1] - ticks[0]) * len(ticks) / (len(ticks) - 1) if len(ticks) > 1 else 0.0


def _together(
    owner: HuggingFaceModel, strategy: TTT, tasks: Sequence[Task], seed: int, size: int
) -> list[Measured]:
    """Our way with the LoRAs of several tasks of like length in one pass, as `solve_many` does."""
    rows: dict[str, Measured] = {}
    for group in ([tasks[k] for k in places] for places in alike(tasks, size, owner)):
        ticks: list[float] = []
        adapters = AdapterCache()
        context = RunContext(owner, seed, progress=_ticking(ticks), adapters=adapters)
        begin = time.perf_counter()
        strategy.prepare(group, context)
        adapt = (time.perf_counter() - begin) / len(group)
        for task in group:
            found = ours(owner, strategy, task, seed, adapters)
            steps = _in_steps(ticks) / len(group)
            rows[task.id] = replace(
                found, adapt=found.adapt + adapt, in_steps=found.in_steps + steps
            )
    memory = _peak()
    return [replace(rows[task.id], memory=memory) for task in tasks]


def _processes(model: str, strategy: TTT, tasks: Sequence[Task], seed: int) -> list[Measured]:
    """Our way in processes of one thread, as `--jobs` does; a task's seconds are its share."""
    jobs = torch.get_num_threads()
    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        run = Parallel(batch_size=1)
        run(delayed(_elsewhere)(model, strategy, tasks[0], seed) for _ in range(jobs))  # warm
        begin = time.perf_counter()
        rows = run(delayed(_elsewhere)(model, strategy, task, seed) for task in tasks)
        share = (time.perf_counter() - begin) / sum(row.seconds for row in rows)
    return [
        replace(
            row,
            adapt=row.adapt * share,
            answer=row.answer * share,
            in_steps=row.in_steps * share,
        )
        for row in rows
    ]


def _elsewhere(model: str, strategy: TTT, task: Task, seed: int) -> Measured:
    return with_peak(ours(_model(model), strategy, task, seed))


@cache
def _model(name: str) -> HuggingFaceModel:
    """The model of a worker process, loaded once."""
    return HuggingFaceModel(name)


def restart_peak() -> None:
    """Begin to measure peak memory anew: of torch on a GPU, else of the process (on Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def with_peak(measured: Measured) -> Measured:
    """What was measured, with the most memory in use since then."""
    return replace(measured, memory=_peak())


def _peak() -> int:
    """The most memory in use since then, in bytes."""
    if torch.cuda.is_available():
        return peak_bytes("cuda")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return peak_bytes("cpu")


def _trained_tokens(
    strategy: TTT, task: Task, owner: HuggingFaceModel, seed: int, steps: int
) -> int:
    batch = strategy.batches(task, RunContext(owner, seed))
    return steps * sum(len(s.ids) for s in batch(0))

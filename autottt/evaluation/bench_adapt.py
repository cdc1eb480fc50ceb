"""What adapting costs: this package beside peft with `transformers.Trainer` and TRL's `SFTTrainer`.

Every way trains the same LoRA on the same sequences for the same optimizer steps, task by task in
one process, and then answers the same views; the ways take turns on each task, so that whatever
slows the machine slows all of them. Three ways of ours differ in what they do: `held-out` may stop
earlier, `together` trains four tasks in one pass, `processes` has a process of one thread for each
core. It is a benchmark: peft, trl and accelerate are extras.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import Completion, LoraSettings, TokenSequence, TrainSettings
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.memory import peak_bytes
from autottt.adapters.tasks.prompts import STOP
from autottt.evaluation.collect import generated_tasks
from autottt.solver import TOGETHER, alike
from autottt.strategies.answering import ALL_VIEWS, Answered, Answering, Member
from autottt.strategies.base import Progress, RunContext, no_progress
from autottt.strategies.proposals import Proposal, parse, place_prompts
from autottt.strategies.ttt import TTT
from autottt.strategies.vote import rank_all
from autottt.types import JSON, Candidate, Task

MAX_CELLS = 500
Candidates = tuple[tuple[Candidate, ...], ...]


@dataclass(frozen=True)
class Measured:
    """One task by one way: seconds to adapt and to answer, and of adapting those in steps.

    `memory` is the most the process held meanwhile, in bytes, with what it held before.
    """

    adapt: float
    answer: float
    tokens: int
    steps: int
    in_steps: float
    right: bool
    memory: int = 0

    @property
    def seconds(self) -> float:
        return self.adapt + self.answer


Way = Callable[[Task], Measured]


def bench_adapt(
    *,
    families: Sequence[str],
    tasks: int,
    steps: int,
    model: str = "embedded",
    seed: int = 0,
    progress: Progress = no_progress,
) -> JSON:
    """Run every way on every task; returns means, and ratios to the default Trainer and the tuned.

    Ratios are of total seconds, with a 95 % bootstrap interval over tasks.
    """
    owner = HuggingFaceModel(model)
    fixed = TTT(training=TrainSettings(steps=steps, stop_loss=0.0))
    watching = replace(fixed, name="held-out", watch=True)
    compiled = HuggingFaceModel(model, compiled=True)
    drawn = generated_tasks(families, 1, seed=seed + 50, max_cells=MAX_CELLS)[:tasks]
    chosen = [task for _, task in drawn]
    ways: dict[str, Way] = {
        "trainer": lambda task: _trainer(model, fixed, task, seed),
        "trainer-tuned": lambda task: _resident(owner, fixed, task, seed, _train_tuned),
        "sft-trainer": lambda task: _resident(owner, fixed, task, seed, _train_sft),
        "autottt": lambda task: _ours(owner, fixed, task, seed),
        "autottt, compiled": lambda task: _ours(compiled, fixed, task, seed),
        "autottt, held-out": lambda task: _ours(owner, watching, task, seed),
    }
    first = {}
    for name, way in ways.items():  # imports, kernels and caches warm
        begin = time.perf_counter()
        way(chosen[0])
        first[name] = time.perf_counter() - begin
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    progress("adapting", 0, len(chosen))
    for place, task in enumerate(chosen, start=1):
        for name, way in ways.items():
            _forget_peak()
            found[name].append(replace(way(task), memory=_peak()))
        progress("adapting", place, len(chosen))
    _forget_peak()
    found["autottt, together"] = _together(owner, fixed, chosen, seed)
    found["autottt, processes"] = _processes(model, fixed, chosen, seed)
    return {
        "model": owner.fingerprint,
        "tasks": len(chosen),
        "steps": steps,
        "seed": seed,
        "threads": torch.get_num_threads(),
        "first_seconds": first,
        "matmul_flops": matmul_rate(owner.device),
        "ways": {name: _row(rows, owner, fixed.adapter) for name, rows in found.items()},
        "times_faster": {
            f"{name} than {base}": _ratio(found[base], found[name])
            for base in ("trainer", "trainer-tuned", "sft-trainer", "autottt")
            for name in found
            if name.startswith("autottt") and name != base
        },
        "held_out_exact_match": _difference(found["autottt"], found["autottt, held-out"]),
    }


def matmul_rate(device: str, size: int = 1024, seconds: float = 1.0) -> float:
    """Floating-point operations a second of square bf16 products on this device."""
    a = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        float((a @ a)[0, 0])  # waits for the device
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - begin)


def _row(rows: Sequence[Measured], owner: HuggingFaceModel, adapter: Any) -> JSON:
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
    from scipy.stats import bootstrap

    gaps = np.array([int(b.right) - int(a.right) for a, b in zip(base, other, strict=True)])
    if not gaps.any():
        return {"difference": 0.0, "low": 0.0, "high": 0.0}
    low, high = bootstrap((gaps,), np.mean, method="percentile", random_state=0).confidence_interval
    return {"difference": float(gaps.mean()), "low": float(low), "high": float(high)}


def _ratio(base: Sequence[Measured], other: Sequence[Measured]) -> JSON:
    from scipy.stats import bootstrap

    pairs = np.array([r.seconds for r in base]), np.array([r.seconds for r in other])

    def of_sums(a: Any, b: Any, axis: int = -1) -> Any:
        return a.sum(axis) / b.sum(axis)

    low, high = bootstrap(
        pairs, of_sums, paired=True, vectorized=True, method="percentile", random_state=0
    ).confidence_interval
    return {"ratio": float(of_sums(*pairs)), "low": float(low), "high": float(high)}


def _right(candidates: Candidates, task: Task) -> bool:
    assert task.targets is not None
    pairs = zip(candidates, task.targets, strict=True)
    return all(bool(found) and found[0].output == target for found, target in pairs)


@dataclass
class _Timed:
    """A way to answer, and the seconds of its last answer."""

    answering: Answering
    seconds: float = 0.0

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        begin = time.perf_counter()
        try:
            return self.answering.answer(task, context, members)
        finally:
            self.seconds = time.perf_counter() - begin


def _ours(
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
    adapt = time.perf_counter() - begin - timed.seconds
    tokens = _trained_tokens(strategy, task, owner, seed, attempt.steps)
    right = _right(attempt.candidates, task)
    return Measured(adapt, timed.seconds, tokens, attempt.steps, _in_steps(ticks), right)


def _ticking(ticks: list[float]) -> Progress:
    return lambda *_: ticks.append(time.perf_counter())


def _in_steps(ticks: Sequence[float]) -> float:
    """Seconds of all steps, from the moments at which each ended."""
    return (ticks[-1] - ticks[0]) * len(ticks) / (len(ticks) - 1) if len(ticks) > 1 else 0.0


def _together(
    owner: HuggingFaceModel, strategy: TTT, tasks: Sequence[Task], seed: int
) -> list[Measured]:
    """Our way with the LoRAs of several tasks of like length in one pass, as `solve_many` does."""
    rows: dict[str, Measured] = {}
    for group in ([tasks[k] for k in places] for places in alike(tasks, TOGETHER)):
        ticks: list[float] = []
        adapters = AdapterCache()
        context = RunContext(owner, seed, progress=_ticking(ticks), adapters=adapters)
        begin = time.perf_counter()
        strategy.prepare(group, context)
        adapt = (time.perf_counter() - begin) / len(group)
        for task in group:
            found = _ours(owner, strategy, task, seed, adapters)
            steps = _in_steps(ticks) / len(group)
            rows[task.id] = replace(found, adapt=found.adapt + adapt, in_steps=steps)
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
    row = _ours(_model(model), strategy, task, seed)
    return replace(row, memory=_peak())


@cache
def _model(name: str) -> HuggingFaceModel:
    """The model of a worker process, loaded once."""
    return HuggingFaceModel(name)


def _forget_peak() -> None:
    """Begin to measure peak memory anew: of torch on a GPU, else of the process (on Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


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


def _rows(strategy: TTT, task: Task, owner: HuggingFaceModel, seed: int) -> list[TokenSequence]:
    batch = strategy.batches(task, RunContext(owner, seed))
    return [row for step in range(strategy.training.steps) for row in batch(step)]


def _lora(settings: LoraSettings) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _arguments(folder: str, strategy: TTT, rows: int, **changes: Any) -> dict[str, Any]:
    training = strategy.training
    return {
        "output_dir": folder,
        "max_steps": training.steps,
        "per_device_train_batch_size": rows // training.steps,
        "learning_rate": training.learning_rate,
        "warmup_steps": training.warm_up,
        "lr_scheduler_type": "cosine",
        "report_to": [],
        "use_cpu": not torch.cuda.is_available(),
        "seed": 0,
        **changes,
    }


TUNED = {
    "bf16": True,
    "save_strategy": "no",
    "logging_strategy": "no",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


class _Clock:
    """Seconds inside optimizer steps, as a Trainer callback sees them."""

    def __init__(self) -> None:
        from transformers import TrainerCallback

        clock = self
        self.seconds = 0.0

        class Callback(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                clock.begin = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.seconds += time.perf_counter() - clock.begin

        self.begin = 0.0
        self.callback = Callback()


def _collator(owner: HuggingFaceModel) -> Callable[[list[Any]], dict[str, torch.Tensor]]:
    def collate(features: list[Any]) -> dict[str, torch.Tensor]:
        ids, mask, labels = owner.pad([f["sequence"] for f in features])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return collate


def _trainer(model: str, strategy: TTT, task: Task, seed: int) -> Measured:
    """As a script does it: the model is loaded, trained with the defaults, and saved, each time."""
    begin = time.perf_counter()
    owner = HuggingFaceModel(model)
    return _resident(owner, strategy, task, seed, _train_default, begin=begin)


Train = Callable[[HuggingFaceModel, Any, TTT, list[TokenSequence], _Clock, str], None]


def _resident(
    owner: HuggingFaceModel,
    strategy: TTT,
    task: Task,
    seed: int,
    train: Train,
    *,
    begin: float | None = None,
) -> Measured:
    """peft around a base that stays in memory."""
    from peft import get_peft_model

    begin = time.perf_counter() if begin is None else begin
    base, clock = owner.module, _Clock()
    rows = _rows(strategy, task, owner, seed)
    assert isinstance(strategy.adapter, LoraSettings)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        adapted = get_peft_model(base, _lora(strategy.adapter))
        train(owner, adapted, strategy, rows, clock, folder)
        adapted.eval()
        adapt = time.perf_counter() - begin
        begin = time.perf_counter()
        right = _right(_answer(owner, adapted, task, seed), task)
        answer = time.perf_counter() - begin
        owner.module = adapted.unload()
    for parameter in owner.module.parameters():
        parameter.requires_grad_(True)
    owner.module.eval()
    tokens = sum(len(row.ids) for row in rows)
    return Measured(adapt, answer, tokens, strategy.training.steps, clock.seconds, right)


def _train_default(
    owner: HuggingFaceModel,
    adapted: Any,
    strategy: TTT,
    rows: list[TokenSequence],
    clock: _Clock,
    folder: str,
) -> None:
    _fit(owner, adapted, rows, clock, _arguments(folder, strategy, len(rows)))
    adapted.save_pretrained(folder)


def _train_tuned(
    owner: HuggingFaceModel,
    adapted: Any,
    strategy: TTT,
    rows: list[TokenSequence],
    clock: _Clock,
    folder: str,
) -> None:
    _fit(owner, adapted, rows, clock, _arguments(folder, strategy, len(rows), **TUNED))


def _fit(
    owner: HuggingFaceModel,
    adapted: Any,
    rows: list[TokenSequence],
    clock: _Clock,
    arguments: dict[str, Any],
) -> None:
    from transformers import Trainer, TrainingArguments

    Trainer(
        model=adapted,
        args=TrainingArguments(**arguments, remove_unused_columns=False),
        train_dataset=[{"sequence": row} for row in rows],
        data_collator=_collator(owner),
        callbacks=[clock.callback],
    ).train()


def _train_sft(
    owner: HuggingFaceModel,
    adapted: Any,
    strategy: TTT,
    rows: list[TokenSequence],
    clock: _Clock,
    folder: str,
) -> None:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    data = Dataset.from_list(
        [{"input_ids": list(r.ids), "completion_mask": [int(t) for t in r.is_target]} for r in rows]
    )
    arguments = _arguments(folder, strategy, len(rows), **TUNED)
    SFTTrainer(
        model=adapted,
        args=SFTConfig(**arguments, max_length=None, gradient_checkpointing=False),
        train_dataset=data,
        processing_class=owner.tokenizer,
        callbacks=[clock.callback],
    ).train()


@torch.inference_mode()
def _answer(owner: HuggingFaceModel, adapted: Any, task: Task, seed: int) -> Candidates:
    """The same views, by `generate`, and the same vote."""
    context = RunContext(owner, seed)
    placed, limit = place_prompts(task, ALL_VIEWS.draw(task, seed), context)
    rows = [TokenSequence(tuple(p.ids), (False,) * len(p.ids)) for p in placed]
    ids, mask, _ = owner.pad(rows, left=True)
    with owner.autocast():
        written = adapted.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=limit,
            do_sample=False,
            stop_strings=[STOP],
            tokenizer=owner.tokenizer,
        )[:, ids.shape[1] :]
    proposals = []
    for place, tokens in zip(placed, written, strict=True):
        text = owner.tokenizer.decode(tokens, skip_special_tokens=True)
        done = Completion(text.split(STOP)[0], (), (), (), STOP in text)
        proposals.append(
            Proposal(place.query, place.view, parse(done, place.view, task), done, len(place.ids))
        )
    return rank_all(proposals, len(task.queries))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the libraries say about themselves out of the way."""
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)

"""What a model can and cannot do here, found by trying: tokenizer, context, memory, LoRA, costs.

One tiny adaptation is run and proven undone. Costs are what this machine took on a sample task of
grids, scaled by each strategy's steps and views.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import LoraSettings, TokenSequence, TrainSettings
from autottt.adapters.models.fused_reading import can_read
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.kernels import compiled
from autottt.adapters.models.lora_layers import lora_targets
from autottt.adapters.models.memory import free_bytes
from autottt.runner.attempts import TASK_FAILURES
from autottt.strategies import registry
from autottt.strategies.answering import Views
from autottt.strategies.base import RunContext, Strategy
from autottt.strategies.encoding import prompt_tokens
from autottt.strategies.sequences import demonstration_sequence
from autottt.strategies.ttt import TTT
from autottt.types import Task

T = TypeVar("T")
Status = Literal["ok", "note", "fails"]
SAMPLES = ("b a => a b", " leading", "123456 + 7", "naïve 東京", "line\nline", "(A) [ { <")
BREAKING = (*TASK_FAILURES, ImportError, OSError)  # what the code of a model may raise
STEPS = 3  # of the adaptation that is tried
SAMPLE = Task.from_examples(
    [
        ([[0, 4, 0, 0, 0, 4, 0, 0]], [[0, 4, 4, 4, 4, 4, 0, 0]]),
        ([[0, 0, 7, 0, 0, 0, 7, 0]], [[0, 0, 7, 7, 7, 7, 7, 0]]),
        ([[2, 0, 0, 2, 0, 0, 0, 0]], [[2, 2, 2, 2, 0, 0, 0, 0]]),
    ],
    [[0, 0, 0, 5, 0, 0, 5, 0]],
    id="sample",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and how it is."""

    about: str
    status: Status
    text: str


def examine(model: HuggingFaceModel, task: Task = SAMPLE) -> Iterator[Finding]:
    """Every finding, as it comes, what fails among them; nothing of the model is changed."""
    for about, findings in (
        ("model", _model(model)),
        ("tokenizer", _tokenizer(model)),
        ("context", _context(model, task)),
        ("attention", _attention(model)),
        ("kernels", _kernels(model)),
        ("LoRA", _lora(model)),
        ("memory", _memory(model, task)),
    ):
        yield from _tried(about, findings)
    step = yield from _tried("adaptation", _adaptation(model, task))
    context = RunContext(model, adapters=AdapterCache())  # as a solver has
    asked = yield from _tried("answering", _answering(task, context))
    if asked is not None:
        for name, strategy in registry.available().items():
            yield from _tried(name, _cost(name, strategy, task, context, step, asked))


def _tried(about: str, findings: Generator[Finding, None, T]) -> Generator[Finding, None, T | None]:
    """The findings, or what was raised as one of them; returns what they return."""
    try:
        return (yield from findings)
    except BREAKING as error:
        yield Finding(about, "fails", f"{type(error).__name__}: {error}")
        return None


def _model(model: HuggingFaceModel) -> Generator[Finding, None, None]:
    weights = list(model.module.parameters())
    kinds = sorted({str(p.dtype).removeprefix("torch.") for p in weights})
    size = sum(p.numel() * p.element_size() for p in weights)
    yield Finding(
        "model",
        "ok",
        f"{type(model.module).__name__}, {sum(p.numel() for p in weights):,} parameters in "
        f"{' and '.join(kinds)}, {size / 2**20:,.0f} MiB on {model.device}",
    )


def _tokenizer(model: HuggingFaceModel) -> Generator[Finding, None, None]:
    tokenizer = model.tokenizer
    facts = [
        f"{len(tokenizer):,} tokens",
        "puts BOS before text" if model.start() else "puts no BOS before text",
        "merges digits: grids are written with spaces" if model.tokens.merges_digits else "",
    ]
    yield Finding("tokenizer", "ok", ", ".join(filter(None, facts)))
    form = type(model.format).__name__.lower()
    ends = ", ".join(repr(tokenizer.decode([end])) for end in sorted(model.ends))
    yield Finding("prompts", "ok", f"{form}; an answer ends with {ends or 'an empty line'}")
    lost = [s for s in SAMPLES if tokenizer.decode(model.encode(s, follows=True)) != s]
    if lost:
        yield Finding(
            "tokenizer", "note", f"changes {', '.join(map(repr, lost))} when it is read back"
        )
    if not model.ends and not model.format.stop:
        yield Finding("prompts", "fails", "nothing ends an answer; use --format plain")


def _context(model: HuggingFaceModel, task: Task) -> Generator[Finding, None, None]:
    needed = len(prompt_tokens(task, task.queries[0], model))
    status: Status = "ok" if needed < model.context else "fails"
    yield Finding(
        "context", status, f"{model.context:,} tokens; the prompt of the {task.id} has {needed}"
    )


def _attention(model: HuggingFaceModel) -> Generator[Finding, None, None]:
    if model.slides:
        yield Finding(
            "attention",
            "note",
            "over a window or by slot: what prompts share is read anew for each of them",
        )


def _kernels(model: HuggingFaceModel) -> Generator[Finding, None, None]:
    if not can_read(model.module):
        return  # nothing of it would use them
    if compiled() is None:
        yield Finding(
            "kernels",
            "note",
            "none that were compiled and load, so training is slower; with gcc (apt install gcc) "
            "install autottt again (pip install --force-reinstall --no-deps --no-cache-dir)",
        )
    else:
        yield Finding("kernels", "ok", "compiled, for training and answers on the CPU")


def _lora(model: HuggingFaceModel) -> Generator[Finding, None, None]:
    settings = LoraSettings()
    if model.lora_targets:
        settings = replace(settings, targets=model.lora_targets)
    found = lora_targets(model.module, settings)
    if not found:
        yield Finding(
            "LoRA",
            "fails",
            "no linear layer to sit on, so nothing that trains a LoRA works; name modules with "
            "--lora-targets",
        )
        return
    kinds = sorted({name.rpartition(".")[2] for name, _ in found})
    size = sum(settings.rank * sum(shape) for _, shape in found)
    yield Finding(
        "LoRA",
        "ok",
        f"on {len(found)} layers ({', '.join(kinds)}), {size:,} parameters at rank {settings.rank}",
    )


def _memory(model: HuggingFaceModel, task: Task) -> Generator[Finding, None, None]:
    length = len(demonstration_sequence(task, model).ids)
    rows = [f"{model.training_rows(n)} of {n} tokens" for n in (length, min(4096, model.context))]
    status: Status = "ok" if model.training_rows(length) else "fails"
    free = free_bytes(model.device) / 2**30
    yield Finding(
        "memory", status, f"{free:.1f} GiB free; rows in a training step: {', '.join(rows)}"
    )


def _adaptation(model: HuggingFaceModel, task: Task) -> Generator[Finding, None, float]:
    """A few steps of a LoRA, and whether all is as before; returns the seconds of a step."""
    row = demonstration_sequence(task, model)
    rows: list[TokenSequence] = [row] * 2
    with model.session(LoraSettings(), seeds=[0]) as session:
        session.train([lambda step: rows], TrainSettings(steps=1, stop_loss=0.0))
        begin = time.perf_counter()
        record = session.train([lambda step: rows], TrainSettings(steps=STEPS, stop_loss=0.0))
        seconds = (time.perf_counter() - begin) / STEPS
    losses = record[0].losses
    restored = model.verify()
    yield Finding(
        "adaptation",
        "ok" if restored else "fails",
        f"loss {losses[0]:.2f} to {losses[-1]:.2f} in {STEPS} steps of {1e3 * seconds:.0f} ms; "
        + ("every weight is what it was" if restored else "the weights are NOT what they were"),
    )
    return seconds


def _answering(task: Task, context: RunContext) -> Generator[Finding, None, float]:
    """An answer under one view; returns the seconds that it takes."""
    view = registry.get("icl")
    view.run(task, context)  # a first run also pays for what is set up once
    begin = time.perf_counter()
    view.run(task, context)
    seconds = time.perf_counter() - begin
    yield Finding("answering", "ok", f"{1e3 * seconds:.0f} ms under one view")
    return seconds


def _cost(
    name: str, strategy: Strategy, task: Task, context: RunContext, step: float | None, asked: float
) -> Generator[Finding, None, None]:
    """What a strategy takes, where a training step takes `step` seconds and an answer `asked`."""
    reason = strategy.unavailable(task, context)
    if reason is not None:
        yield Finding(name, "note", reason)
    elif strategy.trains and step is None:
        yield Finding(name, "fails", "training does not work, see above")
    elif isinstance(strategy, TTT) and step is not None:
        rows = strategy.batch / 2
        seconds = strategy.training.steps * step * rows + _views(strategy) * asked
        yield Finding(name, "ok", f"about {seconds:.1f} s at most for a task like this")
    else:
        yield Finding(name, "ok", f"about {_views(strategy) * asked:.1f} s")


def _views(strategy: object) -> int:
    views = getattr(getattr(strategy, "answering", None), "views", None)
    return views.count if isinstance(views, Views) else 1

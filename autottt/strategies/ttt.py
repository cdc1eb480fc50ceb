"""Test-time training: a LoRA trained on views of the task's own demonstrations, then a vote.

Each training sequence shows all demonstrations under a random view and in a random order, with
loss on every output, so one pass covers the leave-one-out problems of every prefix (Akyürek et
al., ICML 2025; the all-outputs form of Fewshot-TTT). Training ends at the last step, when the
running loss is low, or at the deadline; whatever is left of the deadline serves the vote.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autottt.adapters.models.base import (
    LanguageModel,
    LoraSettings,
    TokenSequence,
    TrainRecord,
    TrainSettings,
)
from autottt.adapters.tasks.prompts import prompt_parts
from autottt.adapters.tasks.views import View, draw_views
from autottt.errors import StrategyError
from autottt.strategies.base import RunContext
from autottt.strategies.icl import VIEWS, tokens_used
from autottt.strategies.proposals import fits, propose
from autottt.strategies.vote import evidence, rank_all
from autottt.types import Attempt, Example, Task

STEP_TOKENS = 2048  # about how many tokens one optimizer step reads
TRAINING_SHARE = 0.75  # of the time left, when there is a deadline


@dataclass(frozen=True)
class TTT:
    """LoRA on all linear layers, `batch` sequences a step, then an ICL vote with the LoRA on."""

    name: str = "ttt"
    summary: str = "test-time training: LoRA on views of the demonstrations, then a vote"
    trains: bool = True
    views: int = VIEWS
    batch: int = 8
    lora: LoraSettings = field(default_factory=LoraSettings)
    training: TrainSettings = field(default_factory=TrainSettings)

    def unavailable(self, task: Task, model: LanguageModel) -> str | None:
        if len(task.demonstrations) < 2:
            return "one demonstration leaves nothing to hold out; at least two are needed"
        return fits(task, model)

    def run(self, task: Task, context: RunContext) -> Attempt:
        begin = time.perf_counter()
        with context.model.session(self.lora, seeds=[context.seed]) as session:
            record = session.train(
                self._batches(task, context),
                self.training,
                deadline=_training_deadline(context),
                on_step=lambda step, loss: context.progress(
                    f"training, loss {loss:.3f}", step, self.training.steps
                ),
            )
            if record.steps == 0:
                raise StrategyError("the deadline left no time for a training step")
            views = draw_views(task, self.views, np.random.default_rng(context.seed))
            proposals = propose(task, views, context)
        candidates = rank_all(proposals, len(task.queries))
        if not all(candidates):
            raise StrategyError("after training, no view gave an output in the time there was")
        return Attempt(
            strategy=self.name,
            candidates=candidates,
            seconds=time.perf_counter() - begin,
            tokens=record.tokens + tokens_used(task, proposals, context.model),
            steps=record.steps,
            stop_reason=record.stop_reason,
            evidence={**evidence(proposals, len(task.queries)), **_losses(record)},
        )

    def _batches(self, task: Task, context: RunContext) -> Callable[[int], Sequence[TokenSequence]]:
        length = len(demonstration_sequence(task.demonstrations, context.model).ids)
        size = max(2, min(self.batch, STEP_TOKENS // length))

        def batch(step: int) -> list[TokenSequence]:
            rng = np.random.default_rng([context.seed, step])
            return [
                demonstration_sequence(
                    _random_view(task, rng).apply(task).demonstrations, context.model
                )
                for _ in range(size)
            ]

        return batch


def demonstration_sequence(
    demonstrations: Sequence[Example], model: LanguageModel
) -> TokenSequence:
    """The demonstrations as one sequence, every output a target, cut to what the context holds."""
    ids, is_target = model.start(), [False] * len(model.start())
    parts = prompt_parts(demonstrations, demonstrations[0].input)[:-1]
    for source, output in zip(parts[::2], parts[1::2], strict=True):
        asked, wanted = model.encode(source[0]), model.encode(output[0])
        if len(ids) + len(asked) + len(wanted) > model.context:
            break
        ids = ids + asked + wanted
        is_target += [False] * len(asked) + [True] * len(wanted)
    return TokenSequence(tuple(ids), tuple(is_target))


def _random_view(task: Task, rng: np.random.Generator) -> View:
    order = tuple(int(i) for i in rng.permutation(len(task.demonstrations)))
    return replace(draw_views(task, 2, rng)[1], order=order)


def _training_deadline(context: RunContext) -> float | None:
    if context.deadline is None:
        return None
    now = time.monotonic()
    return now + TRAINING_SHARE * max(0.0, context.deadline - now)


def _losses(record: TrainRecord) -> dict[str, float]:
    last = record.losses[-5:]
    return {"first_loss": record.losses[0], "last_loss": sum(last) / len(last)}

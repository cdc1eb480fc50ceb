"""What a training starts from: nothing, the adapter of a similar task, or one shared by a set."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from autottt.adapters.models.adapter_cache import AdapterKey, StoredAdapter
from autottt.adapters.models.base import (
    AdapterSettings,
    LanguageModel,
    Session,
    TokenSequence,
    TrainSettings,
)
from autottt.errors import StrategyError
from autottt.strategies.base import TRAINING_SHARE, RunContext
from autottt.strategies.sequences import ROWS, all_outputs, demonstration_sequence, held_out
from autottt.strategies.step_rows import no_room, rows_in_memory, short_of_memory
from autottt.types import DEADLINE, Task

SIMILAR = 0.9  # least cosine similarity of an earlier task worth trying


class Start(Protocol):
    """Weights that an adapter has before its first step."""

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        """Why it cannot be had, or None."""

    def load(
        self, task: Task, context: RunContext, session: Session, adapter: AdapterSettings
    ) -> tuple[str, bool]:
        """Put the weights in the session's first place.

        Returns what they are, for the trace, and whether they are all that they are to be: no
        deadline cut them short, and memory did for their rows.
        """

    def origin(self, task: Task, context: RunContext) -> str:
        """What the weights depend on besides the task, for the key of what is trained from them."""


@dataclass(frozen=True)
class Fresh:
    """A new adapter, which changes nothing yet."""

    def origin(self, task: Task, context: RunContext) -> str:
        return ""

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        return None

    def load(
        self, task: Task, context: RunContext, session: Session, adapter: AdapterSettings
    ) -> tuple[str, bool]:
        return "", True


@dataclass(frozen=True)
class Nearest:
    """The cached adapter whose task looks most alike to the model, if it helps on this one.

    Alike is the cosine of the mean last hidden states over the demonstrations; it helps if the
    demonstrations, each given the others, have a lower mean loss with it than without.
    """

    def origin(self, task: Task, context: RunContext) -> str:
        return ""  # whichever came first

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        if context.adapters is None:
            return "it starts from earlier adapters, and no adapter cache was given"
        return None

    def load(
        self, task: Task, context: RunContext, session: Session, adapter: AdapterSettings
    ) -> tuple[str, bool]:
        assert context.adapters is not None
        found = context.adapters.nearest(
            embedding(task, context.model),
            model=context.model.fingerprint,
            adapter=adapter_shape(adapter, context.model),
            but=demonstrations_key(task),
        )
        if found is None or found[1] < SIMILAR:
            return "no earlier adapter is alike", True
        fresh = session.state(0)
        before = _held_out_loss(task, context.model)
        session.load(0, found[0].states[0])
        after = _held_out_loss(task, context.model)
        if after >= before:
            session.load(0, fresh)
            return f"an earlier adapter is alike ({found[1]:.2f}) but does not help", True
        return f"from an earlier adapter ({found[1]:.2f} alike)", True


@dataclass(frozen=True)
class Shared:
    """One adapter trained on the demonstrations of this and all related tasks together.

    Trained once for a set of tasks where there is a cache; `batch` rows a step, or as many as
    memory has room for, each of some task.
    """

    training: TrainSettings = field(default_factory=lambda: TrainSettings(steps=60))
    batch: int = 8

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        if not context.related:
            return "it shares an adapter with related tasks, and none were given"
        return None

    def load(
        self, task: Task, context: RunContext, session: Session, adapter: AdapterSettings
    ) -> tuple[str, bool]:
        tasks = self._tasks(task, context)
        rows = rows_in_memory(self.batch, tasks, context.model)
        key = self._key(task, rows, context, adapter)
        known = None if context.adapters is None else context.adapters.get(key)
        if known is None:
            known = self._train(tasks, rows, context, session)
        cut = known.records[0].stop_reason == DEADLINE
        if context.adapters is not None and key not in context.adapters and not cut:
            context.adapters.put(key, known)
        session.load(0, known.states[0])
        short = f", {short_of_memory(rows)}" if rows < self.batch else ""
        return f"from an adapter shared by {len(tasks)} tasks{short}", not (cut or short)

    def with_fewer_rows(self, task: Task, context: RunContext, adapter: AdapterSettings) -> Shared:
        """For another try after memory ran out: half the rows that it had, if it was not trained.

        Raises `StrategyError` where it had one.
        """
        rows = rows_in_memory(self.batch, self._tasks(task, context), context.model)
        key = self._key(task, rows, context, adapter)
        if context.adapters is not None and key in context.adapters:
            return self
        if rows == 1:
            raise StrategyError(no_room(1))
        return replace(self, batch=rows // 2)

    def _tasks(self, task: Task, context: RunContext) -> list[Task]:
        every = {demonstrations_key(t): t for t in (task, *context.related)}
        return [every[key] for key in sorted(every)]

    def _key(
        self, task: Task, rows: int, context: RunContext, adapter: AdapterSettings
    ) -> AdapterKey:
        read = as_read(self._tasks(task, context), context.model)
        return AdapterKey(
            context.model.fingerprint,
            self.origin(task, context),
            adapter_shape(adapter, context.model),
            f"{ROWS} {replace(self, batch=rows)!r} {read}",
            context.seed,
        )

    def origin(self, task: Task, context: RunContext) -> str:
        keys = sorted({demonstrations_key(t) for t in (task, *context.related)})
        return hashlib.sha256("".join(keys).encode()).hexdigest()

    def _train(
        self, tasks: Sequence[Task], size: int, context: RunContext, session: Session
    ) -> StoredAdapter:
        begin = time.perf_counter()

        def rows(step: int) -> list[TokenSequence]:
            rng = np.random.default_rng([context.seed, step])
            chosen = rng.integers(len(tasks), size=size)
            return [all_outputs(tasks[int(i)], rng, context.model) for i in chosen]

        fresh, left = session.state(0), context.seconds_left()  # half of it is for its own training
        (record,) = session.train(
            [rows],
            self.training,
            deadline=None if left is None else time.monotonic() + TRAINING_SHARE * left / 2,
            on_step=lambda step, loss: context.progress(
                f"training for all, loss {loss:.3f}", step, self.training.steps
            ),
        )
        known = StoredAdapter([session.state(0)], (record,), time.perf_counter() - begin)
        session.load(0, fresh)
        return known


def adapter_shape(adapter: AdapterSettings, model: LanguageModel) -> str:
    """What the tensors of an adapter depend on, besides the model."""
    return " ".join([repr(adapter), *model.lora_targets])


def demonstrations_key(task: Task) -> str:
    """The instruction, the demonstrations in their order, and what answers are, as a hash."""
    form = [task.answer.kind, task.answer.choices]
    plain = [task.instruction, form, *([e.input, e.output] for e in task.demonstrations)]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def as_read(tasks: Sequence[Task], model: LanguageModel) -> str:
    """A hash of the tokens of their demonstrations: another tokenizer makes another training."""
    ids = [demonstration_sequence(task, model).ids for task in tasks]
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def embedding(task: Task, model: LanguageModel) -> list[float]:
    """What the model makes of the demonstrations: its mean last hidden state over them."""
    return model.embed(demonstration_sequence(task, model).ids)


def _held_out_loss(task: Task, model: LanguageModel) -> float:
    """Nats a token of every demonstration's output, given the others."""
    sequences = [
        sequence
        for place in range(len(task.demonstrations))
        for sequence in held_out(task, place, 1, 0, model)
    ]
    values = [x for score in model.score(sequences) for x in score.log_probabilities]
    return -sum(values) / max(1, len(values))

"""Test-time training: adapters trained on views of the task's own demonstrations, then an answer.

One class serves the whole family; what differs is data: the adapter, the form of a training row,
what training starts from, whether demonstrations are held out, and how the answer is chosen.
Training ends at the last step, when the running loss is low, or at the deadline; what is left of
that serves the answer. With `watch`, each demonstration in turn is no target for a few steps and is
then asked for, given the others: training also stops once nearly all were exact, or when hardly
any was after a few checks, and the best step is kept, none at all being a candidate. After
every `check_every` of the first steps the controller may look, and end the attempt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autottt.adapters.models.adapter_cache import AdapterKey, StoredAdapter
from autottt.adapters.models.base import (
    AdapterSettings,
    Batches,
    HeldOut,
    Look,
    LoraSettings,
    Session,
    TokenSequence,
    TrainSettings,
)
from autottt.adapters.models.memory import is_out_of_memory, within_memory
from autottt.errors import AbandonedError, ContextLengthError, StrategyError
from autottt.strategies.answering import (
    ALL_VIEWS,
    Answered,
    Answering,
    Member,
    Vote,
    over_rivals,
)
from autottt.strategies.base import COMPARING_SECONDS, OVER_ICL, RunContext
from autottt.strategies.proposals import fits
from autottt.strategies.sequences import ROWS, Form, all_outputs, held_out
from autottt.strategies.start import (
    Fresh,
    Shared,
    Start,
    adapter_shape,
    as_read,
    demonstrations_key,
    embedding,
)
from autottt.strategies.step_rows import (
    no_room,
    row_length,
    rows_fitting,
    rows_in_memory,
    short_of_memory,
)
from autottt.strategies.training_evidence import Looking, looks, losses, reasons
from autottt.types import DEADLINE, Attempt, Task

log = logging.getLogger(__name__)
STEP_TOKENS = 2048  # about how many tokens one optimizer step reads for a task
CHECK_VIEWS = 3  # of every held-out demonstration


@dataclass(frozen=True)
class TTT:
    """Train on about `batch` rows a step, then answer with the adapters on."""

    name: str = "ttt"
    summary: str = "test-time training: LoRA on views of the demonstrations, then a vote"
    trains: bool = True
    adapter: AdapterSettings = field(default_factory=LoraSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
    form: Form = all_outputs
    batch: int = 8
    step_tokens: int | None = STEP_TOKENS  # that one step reads about, beyond two rows
    watch: bool = False  # hold demonstrations out in turns, and stop by them
    start: Start = field(default_factory=Fresh)
    answering: Answering = field(default_factory=Vote)

    @property
    def recipe(self) -> str:
        """All that trained weights depend on besides task, tokens, model, seed and `origin`."""
        rows = ROWS, self.batch, self.step_tokens
        parts = self.training, self.form.__name__, rows, self.watch, self.start
        return f"{self.adapter!r} {parts!r}"

    def unavailable(self, task: Task, context: RunContext) -> str | None:
        if len(task.demonstrations) < 2:
            return "one demonstration leaves nothing to hold out; at least two are needed"
        return (
            self.answering.unavailable(task)
            or self.start.unavailable(task, context)
            or fits(task, context.model)
        )

    def trained(self, task: Task, context: RunContext) -> bool:
        """Whether what the task needs has been trained already, so that it is only to answer."""
        return context.adapters is not None and self._key(task, context) in context.adapters

    def run(self, task: Task, context: RunContext) -> Attempt:
        try:
            return self._run(task, context)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        rows = self._rows(task, context) // 2  # now that what the attempt held is free
        if not rows:
            raise StrategyError(no_room(1))
        start = self.start
        if isinstance(start, Shared):
            start = start.with_fewer_rows(task, context, self.adapter)
        try:
            fewer = replace(self, batch=rows, step_tokens=None, start=start)
            attempt = fewer._run(task, context)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise StrategyError(no_room(rows)) from error
        reason = f"{attempt.stop_reason}; {rows} rows a step after running out of memory"
        return replace(attempt, stop_reason=reason)

    def prepare(self, tasks: Sequence[Task], context: RunContext) -> None:
        """Train the adapters of several tasks in one pass of the base, into the cache.

        Not where the cache has no room for all of them, as what it drops is trained again, nor
        where memory has none for the rows of all. Of tasks with the same demonstrations the first
        is trained.
        """
        assert context.adapters is not None, "there is a cache to prepare"
        first: dict[AdapterKey, Task] = {}
        for task in tasks:
            first.setdefault(self._key(task, context), task)
        todo = [task for key, task in first.items() if context.adapters.get(key) is None]
        if len(todo) < 2 or not isinstance(self.start, Fresh):
            return
        places = [self._places(task, context) for task in todo]
        seeds = [seed for task in todo for seed in self._seeds(task, context)]
        with context.model.session(self.adapter, seeds=seeds) as session:
            size = len(seeds) * sum(value.nbytes for value in session.state(0).values())
            if size > context.adapters.max_bytes:
                log.warning(
                    "the adapters of %d tasks take %d bytes and the cache holds %d, so they are "
                    "not trained together; a lower rank or a larger AdapterCache would do",
                    *(len(todo), size, context.adapters.max_bytes),
                )
                return
            rows = [self._wanted(task, context) for task in todo]
            if rows_fitting([place for own in places for place in own], context.model) < max(rows):
                log.warning(
                    "a step of %d tasks is predicted to need more memory than is free, so they are "
                    "not trained together; fewer at once would do",
                    len(todo),
                )
                return
            found = self._train(places, rows, context, session)
        known = [tuple(embedding(task, context.model)) for task in todo]
        for task, stored, like in zip(todo, found, known, strict=True):
            self._keep(task, replace(stored, embedding=like), context)

    def _run(self, task: Task, context: RunContext) -> Attempt:
        begin = time.perf_counter()
        known = None if context.adapters is None else context.adapters.get(self._key(task, context))
        new = known is None and context.adapters is not None
        like = tuple(embedding(task, context.model)) if new else ()
        settings, short, whole = self._settings(task, context), "", True
        look = Looking(begin, self.training.steps, context.judge)
        with context.model.session(settings, seeds=self._seeds(task, context)) as session:
            if known is None:
                started = time.perf_counter()
                note, whole = self.start.load(task, context, session, self.adapter)
                rows = self._rows(task, context)
                if rows < self._wanted(task, context):
                    short = short_of_memory(rows)
                places = self._places(task, context)
                (stored,) = self._train([places], [rows], context, session, look)
                if look.reason is not None:
                    raise AbandonedError(look.reason, look.evidence)
                spent = time.perf_counter() - started
                stored = replace(stored, seconds=spent, looks=look.progress)
            else:
                stored, note = known, "adapter reused"
                for place, state in enumerate(known.states):
                    session.load(place, state)
            answered = self._answered(task, context, session, len(stored.states))
        if known is None and whole and not short:  # now that the base is proved to be what it was
            self._keep(task, replace(stored, embedding=like), context)
        if isinstance(answered, StrategyError):
            raise answered
        if not any(answered.candidates):
            before = "" if context.deadline is None else " before the deadline"
            raise StrategyError(f"after training, no view gave a valid output{before}")
        records = stored.records
        checked = [r.best.exact for r in records if r.best is not None]
        return Attempt(
            strategy=self.name,
            candidates=answered.candidates,
            seconds=time.perf_counter() - begin,
            tokens=answered.tokens + sum(r.tokens for r in records),
            steps=max(r.steps for r in records),
            held_out=sum(checked) / len(checked) if checked else None,
            stop_reason="; ".join(filter(None, [reasons(records), note, short])),
            evidence={
                **answered.evidence,
                **losses(records),
                **looks(records, self.training.check_every),
                **stored.looks,
                "training_seconds": stored.seconds,
            },
            memory=context.model.peak_bytes(),
            reused=known is not None,
        )

    def _train(
        self,
        tasks: Sequence[Sequence[Task]],
        rows: Sequence[int],
        context: RunContext,
        session: Session,
        look: Look | None = None,
    ) -> list[StoredAdapter]:
        """Train every task's places, on so many rows a step; returns what each has learnt."""
        begin = time.perf_counter()
        places = [place for own in tasks for place in own]
        records = session.train(
            [
                self.batches(place, context, size)
                for own, size in zip(tasks, rows, strict=True)
                for place in own
            ],
            self.training,
            held_out=[self._held_out(task, context) for task in places] if self.watch else None,
            deadline=context.training_deadline(),
            on_step=lambda step, loss: context.progress(
                f"training, loss {loss:.3f}", step, self.training.steps
            ),
            look=look,
        )
        if any(record.steps == 0 and record.stop_reason == DEADLINE for record in records):
            raise StrategyError("the deadline left no time for a training step")
        seconds = (time.perf_counter() - begin) / len(tasks)
        found, first = [], 0
        for own in tasks:
            numbers = range(first, first + len(own))
            states = [{} if context.adapters is None else session.state(k) for k in numbers]
            found.append(StoredAdapter(states, tuple(records[k] for k in numbers), seconds))
            first += len(own)
        return found

    def _answered(
        self, task: Task, context: RunContext, session: Session, places: int
    ) -> Answered | StrategyError:
        """The answer, with what the model thinks of those in hand; or why there is none.

        That memory runs out is such a reason, and no reason to train again.
        """
        members = self._members(session, places)
        asked = time.monotonic()
        try:
            answered = within_memory(
                lambda: self.answering.answer(task, context, members),
                f"answering after {self.name}",
            )
        except StrategyError as error:
            return error
        seconds = time.monotonic() - asked
        if OVER_ICL in answered.evidence:
            return answered
        compared = self._compared(task, answered, context, members, seconds)
        return replace(answered, evidence={**answered.evidence, **compared})

    def _keep(self, task: Task, stored: StoredAdapter, context: RunContext) -> None:
        """Cache what a training gave, unless a deadline cut it short."""
        cut = any(record.stop_reason == DEADLINE for record in stored.records)
        if context.adapters is not None and not cut:
            context.adapters.put(self._key(task, context), stored)

    def _compared(
        self,
        task: Task,
        answered: Answered,
        context: RunContext,
        members: Sequence[Member],
        seconds: float,
    ) -> dict[str, float]:
        """What the adapted model thinks of the answers in hand, where there are any.

        `over_icl` is `over_rivals`, `comparing_seconds` what it took. Nothing where the deadline
        leaves less than the `seconds` of answering, which take longer, or memory will not do.
        """
        left = context.seconds_left()
        if not context.rivals or (left is not None and left < seconds):
            return {}
        begin = time.perf_counter()
        views = getattr(self.answering, "views", ALL_VIEWS)
        try:
            over = over_rivals(task, answered, context.rivals, context, members, views)
        except ContextLengthError as error:  # under a view an answer in hand is too long
            log.warning("task %s: its answers were not compared: %s", task.id, error)
            return {}
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            log.warning("task %s: its answers were not compared: out of memory", task.id)
            return {}
        spent = time.perf_counter() - begin
        return {} if over is None else {OVER_ICL: over, COMPARING_SECONDS: spent}

    def _settings(self, task: Task, context: RunContext) -> AdapterSettings:
        return self.adapter

    def _members(self, session: Session, places: int) -> list[Member]:
        return [_member(session, place) for place in range(places)]

    def _places(self, task: Task, context: RunContext) -> list[Task]:
        """The task as each of its adapters sees it."""
        return [task]

    def _seeds(self, task: Task, context: RunContext) -> list[int]:
        return [context.seed] * len(self._places(task, context))

    def batches(self, task: Task, context: RunContext, rows: int | None = None) -> Batches:
        """The training rows of every step, `rows` or as many as a step has.

        Raises `StrategyError` where memory will not do.
        """
        model, turns = context.model, len(task.demonstrations)
        size = self._rows(task, context) if rows is None else rows

        def batch(step: int) -> list[TokenSequence]:
            rng = np.random.default_rng([context.seed, step])
            without = step // self.training.check_every % turns if self.watch else None
            return [self.form(task, rng, model, without) for _ in range(size)]

        return batch

    def _wanted(self, task: Task, context: RunContext) -> int:
        """How many rows a step has where memory is no matter."""
        length = row_length(task, context.model)
        fitting = self.batch if self.step_tokens is None else self.step_tokens // length
        return max(min(2, self.batch), min(self.batch, fitting))

    def _rows(self, task: Task, context: RunContext) -> int:
        """How many rows a step has; raises `StrategyError` where memory has room for none."""
        return rows_in_memory(self._wanted(task, context), [task], context.model)

    def _held_out(self, task: Task, context: RunContext) -> HeldOut:
        turns = len(task.demonstrations)

        def sequences(check: int) -> list[TokenSequence]:
            asked = range(turns) if check == 0 else [(check - 1) % turns]
            seed, model = context.seed + check, context.model
            return [s for i in asked for s in held_out(task, i, CHECK_VIEWS, seed, model)]

        return HeldOut(sequences, turns)

    def _key(self, task: Task, context: RunContext) -> AdapterKey:
        origin = self.start.origin(task, context)
        return AdapterKey(
            context.model.fingerprint,
            demonstrations_key(task),
            adapter_shape(self.adapter, context.model),
            " ".join((self.recipe, as_read([task], context.model), origin)).rstrip(),
            context.seed,
        )


def _member(session: Session, place: int) -> Member:
    def switch() -> None:
        session.select([place])

    return switch

"""The library's front door: a model, its gate and the state machine behind one `solve`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import SHIPPED, ModelSettings
from autottt.adapters.models.memory import is_out_of_memory
from autottt.adapters.tasks.answers import checked
from autottt.controller.budget import Budget
from autottt.controller.checkpoints import Checkpoints
from autottt.controller.difficulty import Gate, load_gate
from autottt.controller.drift import DriftMonitor
from autottt.controller.graph import STEP_LIMIT, build_graph
from autottt.controller.policy import Policy
from autottt.controller.state import (
    Listener,
    SolveContext,
    SolveState,
    first_state,
    no_listener,
)
from autottt.errors import FAILURES, Failure, GateError, InputError, TaskError
from autottt.serialise import from_json
from autottt.strategies import registry
from autottt.strategies.base import Progress, RunContext, no_progress
from autottt.strategies.shortening import shortened
from autottt.strategies.ttt import TTT
from autottt.types import Answer, Decision, Task

if TYPE_CHECKING:
    from autottt.adapters.models.base import LanguageModel

log_ = logging.getLogger(__name__)
DEFAULT_ARMS = ("ttt-watch",)  # what the default policy may train, where there is no gate
TOGETHER = 4  # tasks that share a pass of the model in throughput mode
ALIKE = 1.25  # how much longer one of them may be than another
ALIKE_ON_GPU = 4.0
GATE_FILE = "gate.json"
SEEDS = 2**63  # as many as torch takes


class Solver:
    """Solve few-shot tasks with one model, deciding for each whether to adapt.

    `model` is a folder, a hub name, "embedded", or a `LanguageModel`. `gate` is a fitted gate's
    file; None takes the one shipped beside the model. `budget` says what may be spent; `price`, in
    accuracy per second, is short for a budget of that price. A gate that cannot be used, a risk
    that cannot be certified, and tasks that no longer look like those the gate was fitted to are
    warnings in the answers. `explore` is the share of tasks whose first decision is drawn at
    random. Without a gate the default policy decides. Trained adapters are kept,
    so that the same demonstrations with another query cost no training: in the folder `adapters`,
    in that cache, or in memory as long as the solver lives. `compiled` training steps are faster
    where they are not fused already, and the first one takes about a minute. `watch` says whether
    it looks for drift by itself; a caller that has it answer a selection of a stream lets another
    `hear` the whole. `settings` say how a model that is named is loaded and asked.
    """

    def __init__(
        self,
        model: str | LanguageModel = "embedded",
        *,
        gate: str | Path | None = None,
        price: float | None = None,
        budget: Budget | None = None,
        explore: float = 0.0,
        adapters: str | Path | AdapterCache | None = None,
        compiled: bool = False,
        settings: ModelSettings | None = None,
        watch: bool = True,
    ) -> None:
        self.watch = watch
        if not isinstance(adapters, AdapterCache):
            adapters = AdapterCache(adapters)
        self.adapters = adapters
        if price is not None and budget is not None:
            raise InputError("price is short for Budget(price=...); give one of the two")
        self.budget = budget if budget is not None else Budget(price)
        self.explore = explore
        if isinstance(model, str):
            model = HuggingFaceModel(model, settings=settings, compiled=compiled)
        self.model = model
        self.warnings: tuple[str, ...] = ()
        self.gate = self._load_gate(gate)
        self._drift = DriftMonitor({} if self.gate is None else self.gate.reference)
        if self.gate is None and (self.budget.price is not None or explore):
            self._warn("without a gate neither a price nor exploration changes a decision")
        self.policy = self._policy()
        self._graph = build_graph()

    def solve(
        self,
        task: Task,
        *,
        strategy: str | None = None,
        deadline: float | None = None,
        seed: int = 0,
        attempts: int = 2,
        progress: Progress = no_progress,
        on_event: Listener = no_listener,
        log: str | Path | None = None,
        related: tuple[Task, ...] = (),
        checkpoints: Checkpoints | None = None,
    ) -> Answer:
        """Answer every query of a task with at most `attempts` candidates each.

        `strategy` forces one instead of letting the controller choose. `deadline` is in seconds
        from now. `on_event(kind, payload)` hears of every "probe", "attempt", "decision" and the
        "answer". `log` is a JSON-lines file for the trace. `related` are tasks whose demonstrations
        strategies that share may use; one that is no sound task is left out. With `checkpoints` a
        task that was under way goes on after its last node; a deadline then counts anew.
        Demonstrations that the context has no room for are left out, the longest first, with a
        warning. Raises `InputError` for a task, name, seed or length that cannot be served, and
        `StrategyError` where a forced strategy fails.
        """
        context = self._context(strategy, deadline, progress, on_event, log, _sound(related))
        state, context = self._enter(task, seed, strategy, context)
        begin, resumed = time.perf_counter(), False
        if checkpoints is None:
            config: RunnableConfig = {"recursion_limit": STEP_LIMIT}
            done = self._graph.invoke(state, context=context, config=config)
        else:
            done, before = checkpoints.invoke(state, replace(context, resumable=True))
            begin, resumed = begin - before, before > 0
        if strategy is None and self.watch and not resumed:  # else it was heard before
            self.hear(done["features"])
        return _answer(done, attempts, time.perf_counter() - begin)

    def offer(
        self,
        task: Task,
        checkpoints: Checkpoints,
        *,
        deadline: float | None = None,
        seed: int = 0,
        progress: Progress = no_progress,
        on_event: Listener = no_listener,
        log: str | Path | None = None,
    ) -> Decision | None:
        """Probe a task; the training that the controller would run next, with its gain and cost.

        None says that it would answer with what is in hand, which is in the `log` then. `solve`
        with the same checkpoints goes on from there; given a deadline by which that training would
        not end, it answers with what is in hand. Errors as `solve`.
        """
        context = self._context(None, deadline, progress, on_event, log, ())
        state, context = self._enter(task, seed, None, context)
        offered, features = checkpoints.offer(state, replace(context, resumable=True))
        if self.watch:
            self.hear(features)
        return offered

    def _enter(
        self, task: Task, seed: int, strategy: str | None, context: SolveContext
    ) -> tuple[SolveState, SolveContext]:
        _check_seed(seed)
        task, said = shortened(checked(task), self.model)
        if said is not None:
            context = replace(context, warnings=(*context.warnings, said))
        return first_state(task, seed=seed, forced=strategy), context

    def solve_many(
        self,
        tasks: Sequence[Task],
        *,
        strategy: str | None = None,
        seed: int = 0,
        attempts: int = 2,
        together: int = TOGETHER,
        progress: Progress = no_progress,
        on_event: Listener = no_listener,
        on_answer: Callable[[int, Answer | Failure], object] = lambda place, found: None,
        log: str | Path | None = None,
    ) -> list[Answer | Failure]:
        """Answer several tasks; those that are to be trained alike are trained in one pass.

        Every task is decided by itself and stops by itself; `together` tasks at most share a pass
        of the model. Answers are those of `solve`, up to rounding; but a common training is not
        looked at, so what `solve` would give up is trained to its end. A task that cannot be
        answered gives its error in its place. `on_answer` hears of each, with its place, as it
        comes. The seconds of an answer include its share of a common training. The other tasks are
        what strategies that share look at.
        """
        _check_seed(seed)
        machine = build_graph(InMemorySaver(serde=JsonPlusSerializer()), pause_before_adapt=True)
        context = self._context(strategy, None, progress, on_event, log, ())
        paused: dict[int, str] = {}  # place -> the strategy that comes next
        seconds = [0.0] * len(tasks)
        found: dict[int, Answer | Failure] = {}
        said: list[tuple[str, ...]]  # what was done to each task

        def go_on(place: int, state: SolveState | None, prepared: float = 0.0) -> None:
            begin = time.perf_counter()
            config = _thread(place)
            error: Failure | None = None
            own = replace(context, warnings=(*context.warnings, *said[place]), prepared=prepared)
            try:
                machine.invoke(state, context=own, config=config)
            except FAILURES as failure:
                error = failure
            seconds[place] += time.perf_counter() - begin
            now = machine.get_state(config)
            if error is None and now.next:
                paused[place] = now.values["decisions"][-1]["chosen"]
                return
            end(place, error or _answer(now.values, attempts, seconds[place]))

        def end(place: int, result: Answer | Failure) -> None:
            found[place] = result
            on_answer(place, result)

        tasks, said, sound = list(tasks), [()] * len(tasks), list[int]()
        for place, task in enumerate(tasks):
            try:
                tasks[place], note = shortened(checked(task), self.model)
            except InputError as error:
                end(place, error)
                continue
            said[place] = () if note is None else (note,)
            sound.append(place)
        context = replace(context, related=tuple(tasks[place] for place in sound))
        for place in sound:
            go_on(place, first_state(tasks[place], seed=seed, forced=strategy))
        while paused:
            chosen = next(iter(paused.values()))
            places = [place for place, name in paused.items() if name == chosen]
            group = [places[k] for k in alike([tasks[p] for p in places], together, self.model)[0]]
            spent = self._prepare(chosen, [tasks[p] for p in group], context, seed)
            for place in group:
                del paused[place]
                seconds[place] += spent / len(group)
                go_on(place, None, spent / len(group))
        for place in range(len(tasks)) if strategy is None and self.watch else ():
            if isinstance(found[place], Answer):
                self.hear(machine.get_state(_thread(place)).values["features"])
        return [found[place] for place in range(len(tasks))]

    def _prepare(self, name: str, tasks: Sequence[Task], context: SolveContext, seed: int) -> float:
        """Train what these tasks need into the cache; returns the seconds it took."""
        begin = time.perf_counter()
        found = context.strategies[name]
        if isinstance(found, TTT) and len(tasks) > 1:
            run = RunContext(self.model, seed, None, context.progress, self.adapters)
            try:
                found.prepare([t for t in tasks if found.unavailable(t, run) is None], run)
            except (*FAILURES, RuntimeError, MemoryError) as error:
                known = isinstance(error, FAILURES)
                if not known and not is_out_of_memory(error):
                    raise
                why = error if known else "out of memory"
                log_.warning("training %d tasks together failed (%s); one by one", len(tasks), why)
        return time.perf_counter() - begin

    def _context(
        self,
        strategy: str | None,
        deadline: float | None,
        progress: Progress,
        on_event: Listener,
        log: str | Path | None,
        related: tuple[Task, ...],
    ) -> SolveContext:
        offered = DEFAULT_ARMS if self.gate is None else self.gate.arms
        arms = tuple(arm for arm in offered if registry.knows(arm))
        named = arms if strategy is None else (*arms, strategy)
        warnings = self.warnings
        if deadline is not None and self.budget.risk is not None and self.policy.least < 1:
            warnings = (*warnings, "nothing is certified under a deadline")
        if self.explore and self.budget.risk is not None and self.policy.least < 1:
            warnings = (*warnings, "nothing is certified where decisions are drawn at random")
        return SolveContext(
            model=self.model,
            strategies={**registry.available(), **{name: registry.get(name) for name in named}},
            arms=arms,
            policy=replace(self.policy, deadline=deadline),
            gate=self.gate,
            deadline=None if deadline is None else time.monotonic() + deadline,
            progress=progress,
            listener=on_event,
            log=None if log is None else Path(log),
            warnings=warnings,
            adapters=self.adapters,
            related=related,
        )

    def _policy(self) -> Policy:
        policy, warning = self.budget.policy(self.gate, drifted=bool(self._drift.drifted))
        if warning is not None:
            self._warn(warning)
        return replace(policy, explore=self.explore)

    def hear(self, features: Mapping[str, float]) -> None:
        """Watch for drift; where it is found, later tasks are decided and warned accordingly."""
        if self._drift.drifted:
            return
        warning = self._drift.hear(features)
        if warning is not None:
            self._warn(warning)
            self.policy = self._policy()

    def _load_gate(self, gate: str | Path | None) -> Gate | None:
        path = Path(gate) if gate is not None else self._shipped_gate()
        if path is None:
            self._warn(
                f"no gate is shipped for model {self.model.name!r}; the default policy decides"
            )
            return None
        try:
            found = load_gate(path, model=self.model.fingerprint)
        except GateError as error:
            self._warn(f"{error}; the default policy decides")
            return None
        unknown = [arm for arm in found.arms if not registry.knows(arm)]
        if unknown:
            self._warn(
                f"the gate's {', '.join(unknown)} cannot be run, as no such strategy is installed, "
                "and so nothing is certified; install the package that has it, or fit a gate "
                "without it"
            )
            return replace(found, risk=None)
        return found

    def _shipped_gate(self) -> Path | None:
        folder = SHIPPED.get(self.model.name)
        return None if folder is None else folder / GATE_FILE

    def _warn(self, message: str) -> None:
        log_.warning(message)
        self.warnings = (*self.warnings, message)


def _thread(place: int) -> RunnableConfig:
    return {"recursion_limit": STEP_LIMIT, "configurable": {"thread_id": str(place)}}


def _check_seed(seed: int) -> None:
    if not 0 <= seed < SEEDS:
        raise InputError(f"a seed is a whole number from 0 to 2^63 - 1, not {seed}")


def _sound(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Those of the tasks that are what they should be, in the one form of their answers."""
    found = []
    for task in tasks:
        try:
            found.append(checked(task))
        except TaskError as error:
            log_.warning("a related task is left out: %s", error)
    return tuple(found)


def alike(tasks: Sequence[Task], size: int, model: LanguageModel) -> list[list[int]]:
    """Places of the tasks in groups of at most `size`, of like length (within a factor ALIKE).

    A pass pads its rows to the longest, so a short task beside a long one costs as much as it. Of a
    small model on a GPU, which no task fills, the factor is larger.
    """
    within = ALIKE_ON_GPU if getattr(model, "pads_freely", False) else ALIKE

    def length(place: int) -> int:
        return sum(len(str(e.input)) + len(str(e.output)) for e in tasks[place].demonstrations)

    groups: list[list[int]] = []
    for place in sorted(range(len(tasks)), key=length):
        last = groups[-1] if groups else []
        if last and len(last) < size and length(place) <= within * length(last[0]):
            last.append(place)
        else:
            groups.append([place])
    return groups


def _answer(state: Mapping[str, Any], attempts: int, seconds: float) -> Answer:
    answer = from_json(Answer, state["answer"])
    best = tuple(candidates[:attempts] for candidates in answer.answers)
    return replace(answer, answers=best, seconds=seconds)

"""The library's front door: a model, its gate and the state machine behind one `solve`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autottt.adapters.models.huggingface import SHIPPED, HuggingFaceModel
from autottt.controller.difficulty import Gate, load_gate
from autottt.controller.graph import STEP_LIMIT, build_graph
from autottt.controller.policy import PRICE, Policy
from autottt.controller.state import Listener, SolveContext, first_state, no_listener
from autottt.errors import GateError
from autottt.serialise import from_json
from autottt.strategies import registry
from autottt.strategies.base import Progress, Strategy, no_progress
from autottt.types import Answer, Task

if TYPE_CHECKING:
    from autottt.adapters.models.base import LanguageModel

log = logging.getLogger(__name__)
GATE_FILE = "gate.skops"


class Solver:
    """Solve few-shot tasks with one model, deciding for each whether to adapt.

    `model` is a folder, a hub name, "embedded", or a `LanguageModel`. `gate` is a fitted gate's
    file; None takes the one shipped beside the model. `price` is accuracy per second. A gate that
    cannot be used is a warning in every answer, and the default policy decides.
    """

    def __init__(
        self,
        model: str | LanguageModel = "embedded",
        *,
        gate: str | Path | None = None,
        price: float | None = None,
    ) -> None:
        self.policy = Policy(PRICE if price is None else price)
        self.model = HuggingFaceModel(model) if isinstance(model, str) else model
        self.warnings: tuple[str, ...] = ()
        self.gate = self._load_gate(gate)
        self._graph = build_graph()

    def strategies(self) -> Sequence[Strategy]:
        """Every strategy that can be asked for."""
        return list(registry.available().values())

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
    ) -> Answer:
        """Answer every query of a task with at most `attempts` candidates each.

        `strategy` forces one instead of letting the controller choose. `deadline` is in seconds
        from now. `on_event(kind, payload)` hears of every "probe", "attempt", "decision" and the
        "answer". `log` is a JSON-lines file for the trace. Raises `InputError` for a task, name,
        or length that cannot be served, and `StrategyError` where a forced strategy fails.
        """
        policy = replace(self.policy, deadline=deadline)
        if strategy is not None:
            registry.get(strategy)
        strategies = registry.available()
        context = SolveContext(
            model=self.model,
            strategies=strategies,
            arms=tuple(name for name, found in strategies.items() if found.trains),
            policy=policy,
            gate=self.gate,
            deadline=None if deadline is None else time.monotonic() + deadline,
            progress=progress,
            listener=on_event,
            log=None if log is None else Path(log),
            warnings=self.warnings,
        )
        state = first_state(task, seed=seed, forced=strategy)
        begin = time.perf_counter()
        done = self._graph.invoke(state, context=context, config={"recursion_limit": STEP_LIMIT})
        answer = from_json(Answer, done["answer"])
        return replace(
            answer,
            answers=tuple(candidates[:attempts] for candidates in answer.answers),
            seconds=time.perf_counter() - begin,
        )

    def _load_gate(self, gate: str | Path | None) -> Gate | None:
        path = Path(gate) if gate is not None else self._shipped_gate()
        if path is None:
            self._warn(
                f"no gate is shipped for model {self.model.name!r}; the default policy decides"
            )
            return None
        try:
            return load_gate(path, model=self.model.fingerprint)
        except GateError as error:
            self._warn(f"{error}; the default policy decides")
            return None

    def _shipped_gate(self) -> Path | None:
        folder = SHIPPED.get(self.model.name)
        return None if folder is None else folder / GATE_FILE

    def _warn(self, message: str) -> None:
        log.warning(message)
        self.warnings = (*self.warnings, message)

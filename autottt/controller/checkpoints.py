"""One task's checkpoints: the machine run so that a process that died can go on where it was.

A checkpoint is written after every node and before the next begins. A node that was under way is
run again from its start. What it had already told a listener or added to a log is told again.
A training that was decided upon but not done is decided upon anew where there is a deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from autottt.controller.graph import STEP_LIMIT, build_graph
from autottt.controller.state import SolveContext, SolveState
from autottt.serialise import from_json
from autottt.types import Decision


@dataclass(frozen=True)
class Checkpoints:
    """Where one task's checkpoints are kept: a LangGraph saver, and the task's name in it."""

    saver: BaseCheckpointSaver[str]
    thread: str

    def invoke(self, state: SolveState, context: SolveContext) -> tuple[SolveState, float]:
        """Run to the end from the last checkpoint, or from `state` where there is none.

        Returns the final state and the seconds that were spent before the checkpoint.
        """
        machine, config = build_graph(self.saver), self._config()
        known = machine.get_state(config)
        before = float(known.values.get("spent", 0.0))
        if known.values and not known.next:  # it ended; what came after that did not
            return cast(SolveState, known.values), before
        if known.next == ("adapt",) and context.deadline is not None:
            decisions = known.values["decisions"][:-1]
            config = machine.update_state(config, {"decisions": decisions}, as_node="assess")
        start = None if known.values else state
        done = machine.invoke(start, context=context, config=config, durability="sync")
        return cast(SolveState, done), before

    def offer(
        self, state: SolveState, context: SolveContext
    ) -> tuple[Decision | None, dict[str, float]]:
        """Run up to the first training; the decision for it, or None where there is none to run.

        With the probe's features. A state that is at a training already is left there.
        """
        machine, config = build_graph(self.saver, pause_before_adapt=True), self._config()
        known = machine.get_state(config)
        if not known.values or known.next not in ((), ("adapt",)):
            start = None if known.values else state
            machine.invoke(start, context=context, config=config, durability="sync")
            known = machine.get_state(config)
        decided = known.values["decisions"] if known.next else []
        offered = from_json(Decision, decided[-1]) if decided else None
        return offered, known.values["features"]

    def _config(self) -> RunnableConfig:
        return {
            "recursion_limit": STEP_LIMIT,
            "configurable": {"thread_id": self.thread},
        }

    def forget(self) -> None:
        """Remove the task's checkpoints."""
        self.saver.delete_thread(self.thread)

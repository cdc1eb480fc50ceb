"""The state machine: probe -> assess -> decide -> (adapt -> assess -> decide)* -> answer -> record.

Each node reads the state, does one thing and returns what changed. A node that dies is run again
from its start on resume; an adaptation leaves the model as it was, so doing it twice does no harm.
A strategy that fails is recorded with its reason, and the machine goes on without it.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from autottt.controller.lines import append_line
from autottt.controller.outcomes import ABANDONED, ICL_VOTE, asked_hash
from autottt.controller.policy import best_in_hand, decide, explored, verdict
from autottt.controller.probe import agreement, run_probe
from autottt.controller.state import UNLOGGED, SolveContext, SolveState
from autottt.errors import (
    AbandonedError,
    ContextLengthError,
    RestorationError,
    StorageError,
    StrategyError,
    WorkerError,
)
from autottt.serialise import from_json, to_json
from autottt.strategies.base import RunContext
from autottt.strategies.contract import attempted, reason_against
from autottt.strategies.icl import ICL
from autottt.strategies.proposals import check_context
from autottt.strategies.ttt import TTT
from autottt.types import Answer, Attempt, Decision, Task, asked

Machine = CompiledStateGraph[SolveState, SolveContext, Any, Any]
DAMAGED = (
    "the base model was not what it had been and has been loaded again; this answer may rest on it"
)
STEP_LIMIT = 100  # nodes in one run; a dozen arms need less than half of it


def build_graph(
    checkpointer: BaseCheckpointSaver[str] | None = None, *, pause_before_adapt: bool = False
) -> Machine:
    """The compiled machine; with a checkpointer any node can be resumed after a crash.

    `pause_before_adapt` stops a run before every adaptation, until it is invoked again.
    """
    graph = StateGraph(SolveState, context_schema=SolveContext)
    graph.add_node("probe", _probe)
    graph.add_node("assess", _assess)
    graph.add_node("decide", _decide)
    graph.add_node("adapt", _adapt)
    graph.add_node("answer", _answer)
    graph.add_node("record", _record)
    graph.add_edge(START, "probe")
    graph.add_edge("probe", "assess")
    graph.add_edge("assess", "decide")  # decide names its own successor
    graph.add_edge("adapt", "assess")
    graph.add_edge("answer", "record")
    graph.add_edge("record", END)
    pauses = ["adapt"] if pause_before_adapt else None
    return graph.compile(checkpointer=checkpointer, interrupt_before=pauses)


def _probe(state: SolveState, runtime: Runtime[SolveContext]) -> SolveState:
    context, task = runtime.context, _task(state)
    check_context(task, context.model)
    if state["forced"] is not None:
        return SolveState(features={})
    begin = time.perf_counter()
    voter = context.strategies[ICL_VOTE]
    assert isinstance(voter, ICL)
    context.progress("probing", 0, 1)
    probe = run_probe(task, _run_context(state, context), voter)
    context.progress("probing", 1, 1)
    context.listener("probe", {"features": probe.features})
    context.listener("attempt", to_json(probe.attempt))
    return SolveState(
        features=probe.features,
        attempts=[*state["attempts"], to_json(probe.attempt)],
        spent=state["spent"] + time.perf_counter() - begin,
    )


def _assess(state: SolveState, runtime: Runtime[SolveContext]) -> SolveState:
    tried = _tried(state)
    if state["forced"] is not None:
        done = next((a for a in tried), "")
        return SolveState(in_hand=done, confidence=tried.get(done, {}).get("vote_share", 0.0))
    arm, probability = best_in_hand(runtime.context.gate, state["features"], tried)
    return SolveState(in_hand=arm, confidence=probability)


def _decide(
    state: SolveState, runtime: Runtime[SolveContext]
) -> Command[Literal["adapt", "answer"]]:
    context = runtime.context
    if state["forced"] is not None and state["attempts"]:
        return Command(goto="answer")  # what was asked for has run
    decision = _forced(state) if state["forced"] is not None else _choice(state, context)
    context.listener("decision", to_json(decision))
    tried = {a["strategy"] for a in state["attempts"]}
    return Command(
        update={"decisions": [*state["decisions"], to_json(decision)]},
        goto="answer" if decision.chosen in tried else "adapt",
    )


def _choice(state: SolveState, context: SolveContext) -> Decision:
    task = _task(state)
    unavailable, given = dict(state["unavailable"]), _run_context(state, context)
    trained = []
    for arm in context.arms:
        strategy = context.strategies[arm]
        reason = reason_against(strategy, task, given)
        if reason is not None:
            unavailable[arm] = reason
        elif isinstance(strategy, TTT) and strategy.trained(task, given):
            trained.append(arm)
    left = None if context.deadline is None else max(0.0, context.deadline - time.monotonic())
    decision = decide(
        context.policy,
        context.gate,
        state["features"],
        tried=_tried(state),
        arms=context.arms,
        unavailable=unavailable,
        trained=trained,
        remaining_seconds=left,
    )
    if state["decisions"]:
        return decision
    told = json.dumps(state["task"])  # all of it, as several tasks may have one id
    rng = np.random.default_rng([state["seed"], zlib.crc32(told.encode())])
    return explored(context.policy, decision, rng)


def _forced(state: SolveState) -> Decision:
    chosen = state["forced"] or ""
    return Decision(
        chosen=chosen,
        reason=asked(chosen),
        probability_right=state["confidence"],
        gains={},
        costs={},
        utilities={},
    )


def _adapt(state: SolveState, runtime: Runtime[SolveContext]) -> SolveState:
    context, task = runtime.context, _task(state)
    name = state["decisions"][-1]["chosen"]
    begin = time.perf_counter()
    attempt = _attempt(name, task, state, context)
    seconds = time.perf_counter() - begin + context.prepared
    context.listener("attempt", to_json(attempt))
    changed = SolveState(
        attempts=[*state["attempts"], to_json(attempt)], spent=state["spent"] + seconds
    )
    if attempt.error is not None:
        changed["unavailable"] = {**state["unavailable"], name: attempt.error}
    return changed


def _attempt(name: str, task: Task, state: SolveState, context: SolveContext) -> Attempt:
    strategy = context.strategies[name]
    whole = state["forced"] is not None or _drawn(state["decisions"][-1])
    judge = None if whole else partial(_verdict, state, context, name)
    probe = from_json(Attempt, state["attempts"][0]) if state["attempts"] else None
    rivals = () if probe is None else probe.winners
    given = replace(_run_context(state, context), judge=judge, rivals=rivals)
    begin = time.perf_counter()
    try:
        attempt = attempted(strategy, task, given)
    except AbandonedError as error:
        seconds, shown = time.perf_counter() - begin, error.evidence
        return Attempt(name, (), seconds, 0, 0, None, ABANDONED, shown, str(error))
    except (StrategyError, ContextLengthError, RestorationError, WorkerError) as error:
        if state["forced"] is not None:
            raise
        seconds = time.perf_counter() - begin
        return Attempt(name, (), seconds, 0, stop_reason="failed", error=str(error))
    if probe is not None:
        attempt.evidence.update(agreement(attempt, probe))
    return attempt


def _drawn(decision: Mapping[str, Any]) -> bool:
    """Whether an arm was explored, which shows something only where its training is not ended."""
    utilities: dict[str, float] = decision["utilities"]
    if decision["propensity"] == 1:
        return False
    return utilities[decision["chosen"]] < max(utilities.values())


def _verdict(
    state: SolveState, context: SolveContext, arm: str, look: Mapping[str, float]
) -> str | None:
    return verdict(
        context.policy, context.gate, state["features"], tried=_tried(state), arm=arm, look=look
    )


def _answer(state: SolveState, runtime: Runtime[SolveContext]) -> SolveState:
    context = runtime.context
    attempts = tuple(from_json(Attempt, a) for a in state["attempts"])
    chosen = next(a for a in attempts if a.strategy == state["in_hand"])
    restored, warnings = context.model.verify(), context.warnings
    if not restored:
        context.model.reload()
        warnings = (*warnings, DAMAGED)
    answer = Answer(
        task_id=state["task"]["id"],
        answers=chosen.candidates,
        strategy=chosen.strategy,
        decisions=tuple(from_json(Decision, d) for d in state["decisions"]),
        attempts=attempts,
        confidence=state["confidence"],
        seconds=state["spent"],
        tokens=sum(a.tokens for a in attempts),
        restored=restored,
        seed=state["seed"],
        warnings=warnings,
    )
    return SolveState(answer=to_json(answer))


def _record(state: SolveState, runtime: Runtime[SolveContext]) -> SolveState:
    context, answer = runtime.context, state["answer"]
    context.listener("answer", answer)
    if context.log is None:
        return SolveState()
    known = {name: x for name, x in state["features"].items() if math.isfinite(x)}
    try:
        told = {"model": context.model.fingerprint, "features": known}
        append_line(context.log, {**told, "task": asked_hash(_task(state)), **answer})
    except OSError as error:
        if context.resumable:
            raise StorageError(
                f"the log cannot be written ({error}); make room or name another, and start again"
            ) from error
        warning = f"{UNLOGGED} ({error})"
        return SolveState(answer={**answer, "warnings": [*answer["warnings"], warning]})
    return SolveState()


def _task(state: SolveState) -> Task:
    return from_json(Task, state["task"])


def _tried(state: SolveState) -> dict[str, dict[str, float]]:
    """The arms that gave an answer, with their evidence."""
    return {a["strategy"]: a["evidence"] for a in state["attempts"] if a["error"] is None}


def _run_context(state: SolveState, context: SolveContext) -> RunContext:
    return RunContext(
        context.model,
        state["seed"],
        context.deadline,
        context.progress,
        context.adapters,
        context.related,
    )

"""What a running system has seen: traces of its answers, and whether they turned out right.

A trace is what `Solver.solve(log=...)` appends: the probe's features, every attempt and decision,
the answer and a hash of the task, one JSON object a line. Feedback is another line in the same
file, with a task's id and whether its answer was right; of several tasks with one id it speaks of
the last above it, and the last word on a task counts. Both together are outcomes of the arms that
ran, from which `autottt fit` learns.

Feedback on the answer says something of the other attempts too: those with the same answer share
its fate, and where it is right those with another answer are wrong. Where it is wrong nothing is
known of the others, and they are left out. An attempt that failed was not right.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autottt.controller.lines import append_line
from autottt.controller.outcomes import ABANDONED, ArmOutcome, Outcome, own_seconds
from autottt.errors import InputError, UnknownNameError
from autottt.serialise import from_json
from autottt.types import JSON, Answer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trace:
    """One answered task: the model's fingerprint, the probe's features, the answer, and if known
    whether it was right and the task's hash (`outcomes.asked_hash`), which older traces lack."""

    model: str
    features: dict[str, float]
    answer: Answer
    right: bool | None = None
    task: str | None = None


def give_feedback(path: str | Path, task_id: str, *, right: bool) -> None:
    """Append whether the answer to a task was right; raises `UnknownNameError` for other tasks."""
    path = Path(path)
    known = {trace.answer.task_id for trace in read_traces(path)}
    if task_id not in known:
        some = ", ".join(sorted(known)[:5]) or "none"
        raise UnknownNameError(f"{path} has no answer to a task {task_id!r}; it has {some}")
    append_line(path, {"feedback": task_id, "right": right})


def read_traces(path: str | Path) -> list[Trace]:
    """The last trace of every task, with its feedback; raises `InputError` for other files.

    Feedback outlasts a later trace with the same answer of the same model and seed.
    """
    traces: dict[tuple[str, str | None], Trace] = {}
    last: dict[str, str | None] = {}  # of the tasks with an id the hash of the last
    for number, line in _lines(Path(path)):
        where = f"{path}, line {number}"
        if "feedback" in line:
            task_id, right = line["feedback"], line.get("right")
            if not (isinstance(task_id, str) and task_id in last and isinstance(right, bool)):
                raise InputError(f"{where}: feedback on {task_id!r}, which is not a task above it")
            key = task_id, last[task_id]
            traces[key] = replace(traces[key], right=right)
            continue
        model, features, task = (line.pop(name, None) for name in ("model", "features", "task"))
        try:
            answer = from_json(Answer, line)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{where}: not a trace of `autottt solve --log` ({error})") from error
        if not isinstance(features, dict) or not isinstance(model, str):
            raise InputError(f"{where}: a trace without features or without its model")
        key = answer.task_id, task if isinstance(task, str) else None
        trace = Trace(model, features, answer, task=key[1])
        known = traces.pop(key, None)
        if known is not None and _same_answer(known, trace):
            trace = replace(trace, right=known.right)
        traces[key] = trace
        last[answer.task_id] = key[1]
    return list(traces.values())


def _same_answer(one: Trace, other: Trace) -> bool:
    """Whether the same model, with the same seed, gave the same candidates."""
    a, b = (
        (t.model, t.answer.seed, [[c.output for c in found] for found in t.answer.answers])
        for t in (one, other)
    )
    return a == b


def outcomes_of(
    traces: list[Trace], group_of: Callable[[str], str] = lambda task: task
) -> list[Outcome]:
    """What the traces with feedback say of the arms that ran.

    A strategy that was asked for by name is left out, as there was no probe, and so is a trace
    without the attempt that gave its answer. `group_of` gives a task's group by its id.
    """
    found = []
    for trace in traces:
        answer = trace.answer
        if trace.right is None or not trace.features:
            continue
        arms = {}
        given = next((a for a in answer.attempts if a.strategy == answer.strategy), None)
        if given is None:
            continue
        said = given.winners
        for attempt in answer.attempts:
            if attempt.stop_reason == ABANDONED:  # what it would have answered is not known
                continue
            same = attempt.winners == said
            if same or trace.right or attempt.error is not None:
                evidence = {k: float(v) for k, v in attempt.evidence.items()}
                arms[attempt.strategy] = ArmOutcome(
                    trace.right and same and attempt.error is None,
                    own_seconds(attempt),
                    attempt.tokens,
                    evidence,
                    attempt.error,
                )
        task, features = answer.task_id, trace.features
        found.append(
            Outcome(
                task, group_of(task), trace.model, answer.seed, features, arms, asked=trace.task
            )
        )
    return found


def not_measured(learnt: Iterable[Outcome], measured: Iterable[Outcome]) -> list[Outcome]:
    """Of what was learnt from traces what no log measured with every arm; of one task the last.

    A log without hashes of what was asked is taken to mean the same task by the same id.
    """
    known = {(o.task_id, o.model, o.seed): o.asked for o in measured}
    last = {(o.task_id, o.asked, o.model, o.seed): o for o in learnt}
    return [o for o in last.values() if not _known(o, known)]


def _known(outcome: Outcome, known: dict[tuple[str, str, int], str | None]) -> bool:
    key = outcome.task_id, outcome.model, outcome.seed
    return key in known and (None in (known[key], outcome.asked) or known[key] == outcome.asked)


def _lines(path: Path) -> Iterator[tuple[int, JSON]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the traces {path}: {error}") from error
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                log.warning("%s ends in a torn line (%d), which is skipped", path, number)
                return
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {number}: not an object")
        yield number, value

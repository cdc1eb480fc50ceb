"""The probe: an ICL vote over views, leave-one-out scores of the demonstrations, and the features.

What it costs is a vote (which is also the ICL answer) and one scoring batch. It trains nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import cast

from autottt.adapters.models.base import LanguageModel
from autottt.adapters.models.memory import within_memory
from autottt.adapters.tasks.views import is_line
from autottt.strategies.base import RunContext
from autottt.strategies.icl import ICL
from autottt.strategies.proposals import prompt_ids
from autottt.strategies.sequences import held_out
from autottt.types import Attempt, Grid, Items, Task, Value, domain_of

PROBE_SECONDS = "probe_seconds"
Rows = tuple[tuple[int | str, ...], ...]


@dataclass(frozen=True)
class Probe:
    """The vote as an attempt, and the features that the gate reads."""

    attempt: Attempt
    features: dict[str, float]


def run_probe(task: Task, context: RunContext, voter: ICL) -> Probe:
    """Vote, score the held-out demonstrations, and describe the task's shape.

    The attempt's evidence holds `probe_seconds`, what all of it took. Raises `StrategyError` where
    memory runs out.
    """
    begin = time.perf_counter()
    attempt = voter.run(task, context)
    left_out = within_memory(
        lambda: leave_one_out(task, context.model), "scoring the demonstrations"
    )
    features = {**attempt.evidence, **left_out, **shape(task, context.model)}
    evidence = {**attempt.evidence, PROBE_SECONDS: time.perf_counter() - begin}
    held = left_out.get("loo_accuracy")
    return Probe(replace(attempt, held_out=held, evidence=evidence), features)


def leave_one_out(task: Task, model: LanguageModel) -> dict[str, float]:
    """Each demonstration's output scored in the context of the others; empty for one demonstration.

    `loo_accuracy` (0-1) share written exactly under greedy decoding; `loo_logp` (nats, <= 0) mean
    over demonstrations of the mean token log-probability; `loo_worst` the lowest of them.
    """
    n = len(task.demonstrations)
    if n < 2:
        return {}
    sequences = [sequence for place in range(n) for sequence in held_out(task, place, 1, 0, model)]
    if not sequences:
        return {}
    scores = model.score(sequences)
    means = [sum(s.log_probabilities) / len(s.log_probabilities) for s in scores]
    return {
        "loo_accuracy": sum(s.exact for s in scores) / len(scores),
        "loo_logp": sum(means) / len(means),
        "loo_worst": min(means),
    }


def shape(task: Task, model: LanguageModel) -> dict[str, float]:
    """What the task looks like, whatever the model thinks of it.

    `demonstrations` and `prompt_tokens` (of the longest query's prompt) are counts; `is_line`,
    `same_size` (every demonstration keeps its size), `new_size` (a query's size is no
    demonstration's) and `new_colour` (a query has a colour no demonstration input has) are 0 or 1;
    `changed_share` (0-1) is the mean share of cells that change where the size is kept, else 1. Of
    a text, the characters are the cells of one row.
    """
    shown = task.demonstrations
    pairs = [(_rows(e.input), _rows(e.output)) for e in shown]
    queries = [_rows(q) for q in task.queries]
    sizes = {(len(x), len(x[0])) for x, _ in pairs}
    colours = {c for x, _ in pairs for row in x for c in row}
    return {
        "demonstrations": float(len(shown)),
        "prompt_tokens": float(
            max(len(prompt_ids(task, q, model)) for q in range(len(task.queries)))
        ),
        "is_line": float(is_line(task)),
        "same_size": float(all(_same_size(x, y) for x, y in pairs)),
        "new_size": float(any((len(q), len(q[0])) not in sizes for q in queries)),
        "new_colour": float(any(c not in colours for q in queries for row in q for c in row)),
        "changed_share": sum(_changed(x, y) for x, y in pairs) / len(shown),
    }


def _rows(value: Value) -> Rows:
    """Of a text the characters, of a sequence the items, are the cells of one row."""
    if domain_of(value) == "grid":
        return cast("Grid", value)
    return (tuple(cast("str | Items", value)),)


def _same_size(a: Rows, b: Rows) -> bool:
    return len(a) == len(b) and len(a[0]) == len(b[0])


def _changed(a: Rows, b: Rows) -> float:
    if not _same_size(a, b):
        return 1.0
    cells = [
        x != y for row, other in zip(a, b, strict=True) for x, y in zip(row, other, strict=True)
    ]
    return sum(cells) / len(cells) if cells else 0.0  # nothing, kept as it is


def agreement(attempt: Attempt, probe: Attempt) -> dict[str, float]:
    """`agrees_with_icl` (0-1): the share of queries on which an attempt's winner is the probe's."""
    pairs = zip(attempt.winners, probe.winners, strict=True)
    same = [a is not None and a == b for a, b in pairs]
    return {"agrees_with_icl": sum(same) / len(same)}

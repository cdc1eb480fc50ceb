"""What a run came to, from its result lines alone: accuracy, what training changed, calibration.

A task counts as right where the first candidate of every query is the target. Intervals are 95 %,
by the bootstrap over tasks. What arms that were not run would have done is not known here; that
takes a log of every arm, for `autottt evaluate`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from autottt.controller.outcomes import ICL_VOTE
from autottt.evaluation.heads_report import scores
from autottt.evaluation.html_page import number, page, picture, reliability, table
from autottt.evaluation.statistics import paired
from autottt.record import given
from autottt.types import JSON, asked

KINDS = ("both", "fixed", "broken", "neither")


def run_report(lines: Iterable[str]) -> JSON:
    """The metrics of the lines of `runner.results`; what takes targets is None without them.

    `trained` compares, on the tasks where a training ran after the vote, the vote with the answer
    that was given: right with both, fixed, broken, neither, and the gain in accuracy. `promised` is
    the mean gain that the decisions for those trainings expected.
    """
    found = [json.loads(line) for line in lines]
    answers = [line["answer"] for line in found if line["answer"] is not None]
    errors = Counter(line["error"]["kind"] for line in found if line["error"] is not None)
    judged = [answer for answer in answers if given(answer)["right"] is not None]
    return {
        "answered": len(answers),
        "failed": dict(errors.most_common()),
        "judged": len(judged),
        "accuracy": _share([_right(answer) for answer in judged]),
        "seconds": _seconds(answers),
        "tokens": sum(answer["tokens"] for answer in answers),
        "restored": all(answer["restored"] for answer in answers),
        "strategies": [_strategy(name, answers) for name in _names(answers)],
        "trained": _trained(judged),
        "confidence": _confidence(judged),
    }


def run_page(found: JSON, title: str) -> str:
    """The metrics as one HTML page."""
    failed = ", ".join(f"{kind} {n}" for kind, n in found["failed"].items()) or "none"
    parts = [
        f"<p>{found['answered']} tasks answered, failed: {failed}; targets are known for "
        f"{found['judged']}. Intervals are 95 %, over tasks.</p>",
        table(("", ""), _rows(found)),
        table(
            ("answered with", "tasks", "right", "mean seconds"),
            [
                (row["strategy"], row["tasks"], _percent(row["accuracy"]), f"{row['seconds']:.2f}")
                for row in found["strategies"]
            ],
        ),
    ]
    confidence = found["confidence"]
    if confidence is not None:
        names = ("n", "positives", "auroc", "brier", "log_loss", "ece", "prr")
        parts += [
            "<h2>Is the confidence true?</h2>",
            table(names, [[number(confidence[name]) for name in names]]),
            picture(
                lambda axes: reliability(axes[0], confidence["reliability"], "answer right"), 1
            ),
        ]
    return page(title, parts)


def _rows(found: JSON) -> list[tuple[str, str]]:
    rows = [("right, first candidate", _interval(found["accuracy"]))]
    seconds = found["seconds"]
    if seconds is not None:
        rows.append(
            (
                "seconds a task",
                f"mean {seconds['mean']:.2f}, median {seconds['p50']:.2f}, 95 % under "
                f"{seconds['p95']:.2f}",
            )
        )
    trained = found["trained"]
    if trained is not None:
        counts = ", ".join(f"{kind} {trained[kind]}" for kind in KINDS)
        rows += [
            ("vote against answer, where a training ran", counts),
            ("gain of those trainings", _interval(trained["gain"])),
            ("gain that was expected", _percent(trained["promised"])),
            ("seconds of those trainings", f"{trained['seconds']:.1f}"),
        ]
    return rows


def _right(answer: JSON) -> float:
    return float(given(answer)["right"])


def _names(answers: Sequence[JSON]) -> list[str]:
    return [name for name, _ in Counter(a["strategy"] for a in answers).most_common()]


def _strategy(name: str, answers: Sequence[JSON]) -> JSON:
    own = [answer for answer in answers if answer["strategy"] == name]
    judged = [_right(answer) for answer in own if given(answer)["right"] is not None]
    return {
        "strategy": name,
        "tasks": len(own),
        "accuracy": float(np.mean(judged)) if judged else None,
        "seconds": float(np.mean([answer["seconds"] for answer in own])),
    }


def _trained(judged: Sequence[JSON]) -> JSON | None:
    rows = []
    for answer in judged:
        first, *later = answer["attempts"]
        if first["strategy"] == ICL_VOTE and first["right"] is not None and later:
            rows.append((answer, float(first["right"]), _right(answer), later))
    if not rows:
        return None
    kinds = Counter(_kind(vote, right) for _, vote, right, _ in rows)
    promised = [_promised(answer) for answer, *_ in rows]
    known = [gain for gain in promised if gain is not None]
    return {
        **{kind: kinds[kind] for kind in KINDS},
        "gain": _share([right - vote for _, vote, right, _ in rows]),
        "promised": float(np.mean(known)) if known else None,
        "seconds": sum(attempt["seconds"] for *_, later in rows for attempt in later),
    }


def _kind(vote: float, right: float) -> str:
    if vote:
        return "both" if right else "broken"
    return "fixed" if right else "neither"


def _promised(answer: JSON) -> float | None:
    """The gain that the decision for the first training expected, where a gate made it."""
    decision = answer["decisions"][0]
    gain = decision["gains"].get(decision["chosen"])
    return None if gain is None else float(gain)


def _confidence(judged: Sequence[JSON]) -> JSON | None:
    known = [
        answer
        for answer in judged
        if answer["confidence"] is not None and not _asked_for(answer["decisions"])
    ]
    if not known:
        return None
    sure = np.array([answer["confidence"] for answer in known])
    return scores(sure, np.array([bool(_right(answer)) for answer in known]))


def _asked_for(decisions: Sequence[JSON]) -> bool:
    """Whether someone named the strategy: the confidence is then a share of the vote."""
    return any(decision["reason"] == asked(decision["chosen"]) for decision in decisions)


def _share(values: Sequence[float]) -> dict[str, Any] | None:
    return asdict(paired(np.array(values))) if values else None


def _seconds(answers: Sequence[JSON]) -> JSON | None:
    if not answers:
        return None
    seconds = np.array([answer["seconds"] for answer in answers])
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    return {"mean": float(seconds.mean()), "p50": float(p50), "p95": float(p95)}


def _interval(value: JSON | None) -> str:
    if value is None:
        return "-"
    return f"{value['mean']:.1%} ({value['low']:.1%} to {value['high']:.1%})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"

"""The metrics of `evaluate` as one HTML page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from autottt.evaluation.html_page import number, page, picture, reliability, table
from autottt.evaluation.repeats import sentences
from autottt.types import JSON


def html_report(found: JSON, title: str) -> str:
    """The report of `evaluate.evaluate` or `evaluate.evaluate_table`."""
    parts = [
        f"<p>{found['tasks']} tasks of {found['groups']} groups, seeds "
        f"{', '.join(map(str, found['seeds']))}; price {found['price']:g} accuracy per second. "
        f"Intervals are 95 %, paired, over groups; {html.escape(found['held_against'])} less the "
        "policy of the row.</p>",
        _policies(found),
        picture(lambda axes: _plane(axes, found), 1),
        _summary(found),
    ]
    if found.get("heads"):
        judged = {k: v for k, v in found["heads"].items() if v.get("reliability")}
        parts += [
            "<h2>Estimates</h2>",
            _heads(found["heads"]),
            picture(lambda axes: _reliability(axes, judged), max(1, len(judged))),
        ]
    if found["repeats"] is not None:
        said = [f"<p>{html.escape(line)}</p>" for line in sentences(found["repeats"])]
        parts += ["<h2>Luck</h2>", *said]
    for arm, kinds in found.get("two_by_two", {}).items():
        counts = ", ".join(f"{kind} {len(ids)}" for kind, ids in kinds.items())
        parts.append(f"<p>icl-vote against {html.escape(arm)}: {counts}</p>")
    if found.get("controller"):
        rows = [
            (
                lost["task"],
                lost["answered_with"],
                *(", ".join(lost[k]) for k in ("ran", "right_with")),
            )
            for lost in found["controller"]["lost"]
        ]
        parts += ["<h2>Lost</h2>", table(("task", "answered with", "ran", "right with"), rows)]
    return page(title, parts)


def _policies(found: JSON) -> str:
    rows = []
    for row in found["policies"]:
        gap = row["held_minus_this"]
        p = row["mcnemar_p"]
        rows.append(
            (
                row["policy"],
                f"{row['accuracy']:.1%}",
                f"{row['seconds']:.2f}",
                f"{row['utility']:.3f}",
                f"{gap['mean']:+.1%} ({gap['low']:+.1%} to {gap['high']:+.1%})",
                "" if p is None else f"{p:.3f}",
            )
        )
    return table(("policy", "accuracy", "seconds", "utility", "difference", "McNemar p"), rows)


def _summary(found: JSON) -> str:
    rows = [
        (
            f"seconds for {row['share_of_best_gain']:.0%} of {found['best_fixed']}'s gain",
            _seconds(row["fixed"]),
            _seconds(row["controller"]),
        )
        for row in found["cost_to_reach"]
    ]
    heights = found["mean_height"]
    controller = heights["controller"]
    rows.append(
        (
            f"mean accuracy from {heights['from']:.1f} to {heights['to']:.1f} s",
            f"{heights['fixed']:.1%}",
            "-" if controller is None else f"{controller:.1%}",
        )
    )
    recovered = found["oracle_gain_recovered"]
    if recovered is not None:
        rows.append(("share of the oracle's gain", "", f"{recovered:.0%}"))
    return table(("", "fixed arms", found["held_against"]), rows)


def _heads(heads: JSON) -> str:
    names = ("n", "positives", "auroc", "auprc", "brier", "log_loss", "ece", "prr")
    rows = [(name, *(number(values.get(key)) for key in names)) for name, values in heads.items()]
    return table(("question", *names), rows)


def _plane(axes: Sequence[Any], found: JSON) -> None:
    (axis,) = axes
    for row in found["policies"]:
        axis.scatter(row["seconds"], row["accuracy"], s=20)
        axis.annotate(row["policy"], (row["seconds"], row["accuracy"]), fontsize=7)
    points = found.get("curve") or []
    axis.plot([p["seconds"] for p in points], [p["accuracy"] for p in points], color="0.6", lw=1)
    axis.set_xlabel("mean seconds a task")
    axis.set_ylabel("accuracy")


def _reliability(axes: Sequence[Any], judged: JSON) -> None:
    for axis, (name, values) in zip(axes, judged.items()):
        reliability(axis, values["reliability"], name)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

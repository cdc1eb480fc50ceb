"""`metrics.json` as one HTML file with its pictures inside, to read without a network."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from autottt.types import JSON

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;"
    "border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}"
    "svg{max-width:100%;height:auto}small{color:#666}"
)


def html_report(found: JSON, title: str) -> str:
    """The report of `evaluate.evaluate` or `evaluate.evaluate_table`."""
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{found['tasks']} tasks of {found['groups']} groups, seeds "
        f"{', '.join(map(str, found['seeds']))}; price {found['price']:g} accuracy per second. "
        f"Intervals are 95 %, paired, over groups; {html.escape(found['held_against'])} less the "
        "policy of the row.</p>",
        _policies(found),
        _picture(lambda axes: _plane(axes, found), 1),
        _summary(found),
    ]
    if found.get("heads"):
        judged = {k: v for k, v in found["heads"].items() if v.get("reliability")}
        parts += [
            "<h2>Estimates</h2>",
            _heads(found["heads"]),
            _picture(lambda axes: _reliability(axes, judged), max(1, len(judged))),
        ]
    for arm, table in found.get("two_by_two", {}).items():
        counts = ", ".join(f"{kind} {len(ids)}" for kind, ids in table.items())
        parts.append(f"<p>icl-vote against {html.escape(arm)}: {counts}</p>")
    if found.get("controller"):
        rows = [
            (lost["task"], lost["answered_with"], ", ".join(lost["right_with"]))
            for lost in found["controller"]["lost"]
        ]
        parts += ["<h2>Lost</h2>", _table(("task", "answered with", "right with"), rows)]
    body = "\n".join(parts)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


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
    return _table(("policy", "accuracy", "seconds", "utility", "difference", "McNemar p"), rows)


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
    return _table(("", "fixed arms", found["held_against"]), rows)


def _heads(heads: JSON) -> str:
    names = ("n", "positives", "auroc", "auprc", "brier", "log_loss", "ece", "prr")
    rows = [(name, *(_number(values.get(key)) for key in names)) for name, values in heads.items()]
    return _table(("question", *names), rows)


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
        axis.plot([0, 1], [0, 1], color="0.8", lw=1)
        means, shares, sizes = zip(*values["reliability"], strict=True)
        axis.scatter(means, shares, s=[8 + 60 * n / max(sizes) for n in sizes])
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("predicted", fontsize=7)


def _picture(draw: Callable[[Sequence[Any]], None], panels: int) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    across = min(panels, 4)
    down = -(-panels // across)
    figure, axes = pyplot.subplots(
        down, across, squeeze=False, figsize=(max(6.0, 2.8 * across), max(2.8 * down, 3.5))
    )
    draw([axis for row in axes for axis in row])
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _table(head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    def line(cells: Iterable[object], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"

"""Strategies side by side: exact match, seconds and tokens by suite, and who is on the frontier.

Made from an outcome log in which every strategy ran on every task. Differences to `icl-vote` are
paired over tasks, with 95 % bootstrap intervals. A strategy is on a suite's Pareto frontier if no
other is at least as often right for at most its seconds, and better in one of the two; one that has
no answer to any task of a suite is not compared there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from autottt.controller.outcomes import ICL_VOTE, Outcome
from autottt.errors import InputError
from autottt.evaluation.statistics import paired

ALL = "all suites"


@dataclass(frozen=True)
class Standing:
    """One strategy on one suite. Shares are in [0, 1]; `failed` is the share without an answer."""

    strategy: str
    tasks: int
    exact_match: float
    difference: float
    low: float
    high: float
    seconds: float
    tokens: float
    failed: float
    frontier: bool


def standings(outcomes: Sequence[Outcome]) -> dict[str, list[Standing]]:
    """Every suite's strategies, the most often right first.

    Raises `InputError` for a log that is empty, lacks `icl-vote`, or whose tasks ran with different
    strategies.
    """
    if not outcomes:
        raise InputError("the outcome log is empty; nothing fits what was asked for")
    arms = set(outcomes[0].arms)
    if any(set(outcome.arms) != arms for outcome in outcomes):
        raise InputError("not every task of the log was run with the same strategies")
    if ICL_VOTE not in arms:
        raise InputError(f"the log has no {ICL_VOTE}, which the others are compared with")
    suites = sorted({o.group.partition("/")[0] for o in outcomes})
    chosen = {s: [o for o in outcomes if o.group.partition("/")[0] == s] for s in suites}
    if len(suites) > 1:
        chosen[ALL] = list(outcomes)
    return {suite: _suite(rows) for suite, rows in chosen.items()}


def _suite(outcomes: Sequence[Outcome]) -> list[Standing]:
    points = {
        arm: (
            mean(o.arms[arm].right for o in outcomes),
            mean(o.arms[arm].seconds for o in outcomes),
        )
        for arm in outcomes[0].arms
    }
    failed = {arm: mean(o.arms[arm].error is not None for o in outcomes) for arm in points}
    rivals = [point for arm, point in points.items() if failed[arm] < 1]
    found = []
    for arm, (right, seconds) in points.items():
        gaps = [o.arms[arm].right - o.arms[ICL_VOTE].right for o in outcomes]
        gap = paired(np.array(gaps), [o.task_id for o in outcomes])  # seeds of a task together
        found.append(
            Standing(
                strategy=arm,
                tasks=len({o.task_id for o in outcomes}),
                exact_match=right,
                difference=gap.mean,
                low=gap.low,
                high=gap.high,
                seconds=seconds,
                tokens=mean(o.arms[arm].tokens for o in outcomes),
                failed=failed[arm],
                frontier=failed[arm] < 1
                and not any(
                    r >= right and s <= seconds and (r > right or s < seconds) for r, s in rivals
                ),
            )
        )
    return sorted(found, key=lambda s: (-s.exact_match, s.seconds))


def markdown(found: dict[str, list[Standing]]) -> str:
    """A table a suite, which strategies are dominated on every one, and which have no answers."""
    parts = []
    answered = {suite: [row for row in rows if row.failed < 1] for suite, rows in found.items()}
    for suite, rows in answered.items():
        parts.append(f"### {suite} ({rows[0].tasks} tasks)\n")
        parts.append("| strategy | right | against `icl-vote` (95 %) | s | tokens | frontier |")
        parts.append("| --- | ---: | ---: | ---: | ---: | :---: |")
        for row in rows:
            interval = f"{row.difference:+.0%} ({row.low:+.0%} to {row.high:+.0%})"
            name = f"`{row.strategy}`"
            if row.failed:
                name += f", {row.failed:.0%} failed"
            parts.append(
                f"| {name} | {row.exact_match:.0%} | {interval} | {row.seconds:.1f} | "
                f"{row.tokens:,.0f} | {'yes' if row.frontier else ''} |"
            )
        parts.append("")
    names = {row.strategy for rows in found.values() for row in rows}
    known = {row.strategy for rows in answered.values() for row in rows}
    best = {row.strategy for rows in answered.values() for row in rows if row.frontier}
    parts.append(f"On no suite's frontier: {_listed(known - best)}.")
    if names - known:
        parts.append(f"Without an answer to any of these tasks: {_listed(names - known)}.")
    parts.append("")
    return "\n".join(parts)


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def plot(found: dict[str, list[Standing]], path: Path) -> None:
    """Exact match against seconds, one panel a suite, as SVG or PNG by the path's ending."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "autottt"  # the same picture for the same log
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(found), figsize=(4.5 * len(found), 4.5), squeeze=False, sharey=True
    )
    for axis, (suite, every) in zip(axes[0], found.items()):
        rows = [row for row in every if row.failed < 1]
        frontier = sorted((row for row in rows if row.frontier), key=lambda row: row.seconds)
        axis.step(
            [row.seconds for row in frontier],
            [row.exact_match for row in frontier],
            where="post",
            color="0.7",
            zorder=0,
        )
        for row in rows:
            axis.scatter(row.seconds, row.exact_match, s=18, color="C0" if row.frontier else "0.5")
            axis.annotate(
                row.strategy,
                (row.seconds, row.exact_match),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=6,
            )
        axis.set_xscale("log")
        axis.set_title(f"{suite}, {rows[0].tasks} tasks", fontsize=9)
        axis.set_xlabel("seconds a task")
    axes[0][0].set_ylabel("exact match")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)

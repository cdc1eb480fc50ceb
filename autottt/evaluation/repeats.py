"""How much of what arms do is luck: the same tasks, run again with another seed.

An oracle that picks, of several arms, one that was right gains from chance too: of two runs of one
arm the better is right more often than either. What a choice made task by task can reach is better
estimated by an oracle that knows another run alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autottt.evaluation.table import Array, Table
from autottt.types import JSON


def repeats(table: Table, base: str) -> JSON | None:
    """What two runs say of each other, over tasks that the table has under two seeds at least.

    The first two seeds of a task count, each once as the run and once as the other. Per arm:
    `accuracy`, the share of tasks on which the runs `differ`, the gain of the `better_of_two` over
    one, and of arms beside `base` how well the other run tells, where the base is wrong, whether
    the arm is right (`auroc`). `best` is the accuracy of the best arm, `oracle` that of an arm that
    was right in the run itself, `informed_oracle` that of one that was right in the other run; the
    `informed_miser` takes the cheapest such, and the base where there is none, at a mean of
    `informed_seconds`. None where no task was repeated, or where accuracies are shares.
    """
    first, second = _pairs(table)
    if not len(first) or not np.isin(table.right, (0.0, 1.0)).all():
        return None
    runs = np.concatenate([first, second]), np.concatenate([second, first])
    right, known = (table.right[some] for some in runs)
    home = table.arms.index(base)
    informed = _surest(known)
    miser = _cheapest(known, table.seconds[runs[1]], home)
    open_to = right[:, home] == 0
    arms = {
        arm: {
            "accuracy": float(right[:, k].mean()),
            "differ": float((right[:, k] != known[:, k]).mean()),
            "better_of_two": float(
                np.maximum(right[:, k], known[:, k]).mean() - right[:, k].mean()
            ),
            "auroc": None if k == home else _auroc(right[open_to, k], known[open_to, k]),
        }
        for k, arm in enumerate(table.arms)
    }
    return {
        "tasks": len(first),
        "arms": arms,
        "base": float(right[:, home].mean()),
        "best": float(right.mean(0).max()),
        "oracle": float(right.max(1).mean()),
        "informed_oracle": float(right[informed].mean()),
        "informed_miser": float(right[miser].mean()),
        "informed_seconds": float(table.seconds[runs[0]][miser].mean()),
    }


def sentences(found: JSON) -> list[str]:
    """What `repeats` found, in words."""
    lines = [
        f"{found['tasks']} tasks under two seeds: best arm {found['best']:.1%}, oracle "
        f"{found['oracle']:.1%}, an oracle that knows the other run alone "
        f"{found['informed_oracle']:.1%}, one that then takes the cheapest "
        f"{found['informed_miser']:.1%} at {found['informed_seconds']:.2f} s"
    ]
    for arm, of in found["arms"].items():
        known = "" if of["auroc"] is None else f"; the other run tells, AUROC {of['auroc']:.2f}"
        lines.append(
            f"{arm} twice: {of['accuracy']:.1%} right, differs on {of['differ']:.1%}, the better "
            f"of two gains {of['better_of_two']:.1%}{known}"
        )
    return lines


def _pairs(table: Table) -> tuple[Sequence[int], Sequence[int]]:
    """The rows of every task's first and second seed."""
    rows: dict[str, list[int]] = {}
    for row, task in sorted(enumerate(table.tasks), key=lambda pair: table.seeds[pair[0]]):
        rows.setdefault(task, []).append(row)
    twice = [some for some in rows.values() if len({table.seeds[row] for row in some}) > 1]
    return [some[0] for some in twice], [some[1] for some in twice]


Choice = tuple[NDArray[np.intp], NDArray[np.intp]]  # the rows and the arm of each


def _surest(known: Array) -> Choice:
    """Of the arms that are right in `known`, or of all, the one that most tasks had right."""
    order = np.argsort(-known.mean(0), kind="stable")
    return np.arange(len(known)), order[known[:, order].argmax(1)]


def _cheapest(known: Array, seconds: Array, home: int) -> Choice:
    """Of the arms that are right in `known` the cheapest there; `home` where there is none."""
    chosen = np.where(known == 1, seconds, np.inf).argmin(1)
    return np.arange(len(known)), np.where(known.any(1), chosen, home)


def _auroc(labels: Array, scores: Array) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores)) if len(set(labels)) == 2 else None

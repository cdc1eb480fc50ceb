"""What every arm did on every task: the matrix that policies are compared on.

It comes from an outcome log, or from a table of others' task-level accuracies. Every arm must have
run on every task, so that any policy can be replayed exactly (as RouterBench does).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autottt.controller.outcomes import ICL_ARMS, Outcome
from autottt.errors import InputError

Array = NDArray[np.float64]
COLUMNS = ("task", "arm", "seed", "accuracy")  # that a table of others' results must have


@dataclass(frozen=True)
class Table:
    """Rows are tasks, columns arms.

    `right` is in [0, 1], for one task 0 or 1 and for a set of queries a share; `seconds` are those
    of the arm alone. Tasks of one group and tasks under several seeds are not independent.
    """

    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    right: Array  # (tasks, arms)
    seconds: Array  # (tasks, arms)

    def of(self, arm: str) -> tuple[Array, Array]:
        """`right` and `seconds` of one arm; raises `InputError` for an arm the table lacks."""
        if arm not in self.arms:
            raise InputError(f"the log has no arm {arm!r}; it has {', '.join(self.arms)}")
        column = self.arms.index(arm)
        return self.right[:, column], self.seconds[:, column]


def from_outcomes(outcomes: Sequence[Outcome]) -> Table:
    """Raises `InputError` for an empty log or one whose tasks ran with different strategies."""
    if not outcomes:
        raise InputError("the outcome log is empty; nothing fits what was asked for")
    arms = tuple(sorted(outcomes[0].arms, key=lambda arm: (arm not in ICL_ARMS, arm)))
    for outcome in outcomes:
        if sorted(outcome.arms) != sorted(arms):
            raise InputError(
                f"task {outcome.task_id!r} was run with {sorted(outcome.arms)}, others with "
                f"{sorted(arms)}; run every strategy on every task"
            )
    return Table(
        tasks=tuple(o.task_id for o in outcomes),
        groups=tuple(o.group for o in outcomes),
        seeds=tuple(o.seed for o in outcomes),
        arms=arms,
        right=np.array([[o.arms[arm].right for arm in arms] for o in outcomes], dtype=np.float64),
        seconds=np.array([[o.arms[arm].seconds for arm in arms] for o in outcomes]),
    )


def from_csv(path: str | Path) -> Table:
    """Others' results: one line per task, seed and arm, with its accuracy in percent.

    The columns are `task`, `arm`, `seed`, `accuracy` and any number of `..._seconds`, which are
    added up; an empty one counts as zero. Raises `InputError` for other files, for an accuracy
    outside 0-100, and where an arm is missing on a task and seed.
    """
    path = Path(path)
    cells: dict[tuple[str, int], dict[str, tuple[float, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: no column {', '.join(missing)}; see `from_csv`")
            for line in reader:
                where = f"{path}, line {reader.line_num}"
                task, seed, arm = line["task"], _number(line["seed"], where), line["arm"]
                accuracy = _number(line["accuracy"], where)
                if not 0 <= accuracy <= 100:
                    raise InputError(f"{where}: the accuracy {accuracy:g} is not in 0-100")
                spent = [v for k, v in line.items() if k and k.endswith("_seconds") and v]
                seconds = math.fsum(_number(value, where) for value in spent)
                cells.setdefault((task, int(seed)), {})[arm] = accuracy / 100, seconds
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not cells:
        raise InputError(f"{path} has no results")
    arms = sorted({arm for cell in cells.values() for arm in cell})
    for (task, seed), cell in cells.items():
        lacking = sorted(set(arms) - set(cell))
        if lacking:
            raise InputError(f"{path}: task {task!r}, seed {seed} lacks {', '.join(lacking)}")
    keys = sorted(cells)
    return Table(
        tasks=tuple(task for task, _ in keys),
        groups=tuple(task for task, _ in keys),
        seeds=tuple(seed for _, seed in keys),
        arms=tuple(arms),
        right=np.array([[cells[key][arm][0] for arm in arms] for key in keys]),
        seconds=np.array([[cells[key][arm][1] for arm in arms] for key in keys]),
    )


def _number(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {text!r} is not a finite number")
    return value

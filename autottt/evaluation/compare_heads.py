"""Is logistic regression enough for a head? Nested cross-validation over task families.

Three estimators predict families that were left out of everything, their own choices included:
logistic regression, gradient boosting, and a logistic regression over both. The simplest whose mean
log-loss is within one standard error of the best is enough (Breiman et al., 1984).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold

from autottt.controller.difficulty import READ, Rows, head_rows
from autottt.controller.fitting import (
    FEWEST,
    FOLDS,
    STRENGTHS,
    HeadClassifier,
    matrix,
    out_of_group,
)
from autottt.controller.outcomes import Outcome
from autottt.errors import InputError

NESTED = 3  # groups, at least
BOOSTING = {"max_depth": [2, 3], "learning_rate": [0.03, 0.1], "max_iter": [30, 100]}


@dataclass(frozen=True)
class Entry:
    """One estimator on one head: mean log-loss (nats) with its standard error over families."""

    estimator: str
    log_loss: float
    error: float
    auroc: float
    chosen: bool


def compare_heads(
    outcomes: Sequence[Outcome], arms: Sequence[str], *, seed: int = 0
) -> dict[str, list[Entry]]:
    """Every head that has enough tasks of both classes, by name.

    Raises `InputError` for tasks of fewer than three groups: one is left out, and what is chosen
    on the others is judged on groups of those.
    """
    groups = {outcome.group for outcome in outcomes}
    if len(groups) < NESTED:
        raise InputError(
            f"estimators are compared on families left out, and the tasks are of {len(groups)}; "
            f"give logs of {NESTED} or more"
        )
    return {
        name: compare(rows, seed=seed)
        for name, rows in head_rows(outcomes, arms, read=READ).items()
        if min(sum(rows.labels), len(rows.labels) - sum(rows.labels)) >= 4 * FEWEST
        and len(set(rows.groups)) >= NESTED
    }


def compare(rows: Rows, *, seed: int = 0) -> list[Entry]:
    """The estimators from the simplest on; `chosen` marks the one that is enough."""
    from sklearn.metrics import roc_auc_score

    names = tuple(sorted({name for row in rows.values for name in row}))
    x, y = matrix(names, rows.values), np.asarray(rows.labels, dtype=np.int64)
    groups = np.asarray(rows.groups, dtype=object)
    makers: dict[str, Callable[[], Any]] = {
        "logistic regression": lambda: HeadClassifier(random_state=seed),
        "gradient boosting": lambda: _Boosted(seed),
        "both, stacked": lambda: _Stacked(seed),
    }
    found = []
    for name, make in makers.items():
        p = np.clip(out_of_group(make, x, y, groups, seed), 1e-3, 1 - 1e-3)
        losses: NDArray[np.float64] = -np.log(np.where(y == 1, p, 1 - p))
        error = _error_over(losses, groups)
        found.append((name, float(losses.mean()), error, float(roc_auc_score(y, p))))
    best = min(found, key=lambda entry: entry[1])
    enough = next(name for name, loss, _, _ in found if loss <= best[1] + best[2])
    return [Entry(n, loss, error, auroc, n == enough) for n, loss, error, auroc in found]


class _Boosted:
    """Gradient boosting whose size is chosen on groups left out."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, x: Any, y: Any, groups: Any) -> Any:
        search = GridSearchCV(
            HistGradientBoostingClassifier(random_state=self._seed, min_samples_leaf=10),
            BOOSTING,
            scoring="neg_log_loss",
            cv=[s for s in _folds(y, groups, self._seed) if 0 < y[s[1]].sum() < len(s[1])],
        )
        return search.fit(x, y).best_estimator_


class _Stacked:
    """Logistic regression over the other two, fitted to what they say of groups left out."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, x: Any, y: Any, groups: Any) -> _Stacked:
        makers = (lambda: HeadClassifier(random_state=self._seed), self._boosted)
        said = [out_of_group(make, x, y, groups, self._seed) for make in makers]
        self._first = [make().fit(x, y, groups=groups) for make in makers]
        self._last = LogisticRegression().fit(np.column_stack(said), y)
        return self

    def predict_proba(self, x: Any) -> Any:
        said = [each.predict_proba(x)[:, 1] for each in self._first]
        return self._last.predict_proba(np.column_stack(said))

    def _boosted(self) -> Any:
        return _Plain(
            HistGradientBoostingClassifier(
                random_state=self._seed, min_samples_leaf=10, max_depth=2, max_iter=50
            )
        )


class _Plain:
    """An estimator that has nothing to choose, and so no use for groups."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def fit(self, x: Any, y: Any, groups: Any) -> Any:
        return self._estimator.fit(x, y)


def _folds(y: Any, groups: Any, seed: int) -> list[Any]:
    """Parts to train and to judge on, whole groups in each."""
    folds = GroupKFold(min(FOLDS, len(set(groups))), shuffle=True, random_state=seed)
    return list(folds.split(y, y, groups))


def _error_over(losses: NDArray[np.float64], groups: Sequence[Any] | NDArray[Any]) -> float:
    """The standard error of the mean, whole groups being drawn."""
    names = sorted(set(groups))
    gaps = np.array([(losses - losses.mean())[groups == name].sum() for name in names])
    n = len(names)
    return float(np.sqrt((gaps**2).sum() * n / (n - 1)) / len(losses)) if n > 1 else float("inf")


def ablation(
    outcomes: Sequence[Outcome], head: str, arms: Sequence[str], *, seed: int = 0
) -> list[tuple[str, float]]:
    """How much log-loss (nats) a head loses on families left out, for each name that it may read.

    Every name that the outcomes hold is in turn taken from those of `READ` or, where it is not
    among them, added to them; above zero the name is worth reading. The most useful come first.
    The penalty is the one that the whole head takes. Nothing where there are too few of a class.
    """
    rows = head_rows(outcomes, arms)[head]
    groups = np.asarray(rows.groups, dtype=object)
    y = np.asarray(rows.labels, dtype=np.int64)
    if min(y.sum(), len(y) - y.sum()) < FEWEST or len(set(rows.groups)) < 2:
        return []

    known = sorted({name for row in rows.values for name in row})
    read = [name for name in known if name in READ]
    head_itself = HeadClassifier(random_state=seed).fit(matrix(read, rows.values), y, groups=groups)
    penalty = (head_itself.C_ or STRENGTHS[0],)

    def loss(names: Sequence[str]) -> float:
        x = matrix(names, rows.values)
        p = out_of_group(lambda: HeadClassifier(penalty, random_state=seed), x, y, groups, seed)
        return float(-np.log(np.where(y == 1, p, 1 - p)).mean())

    whole, found = loss(read), []
    for name in known:
        if name in read:
            found.append((name, loss([other for other in read if other != name]) - whole))
        else:
            found.append((name, whole - loss([*read, name])))
    return sorted(found, key=lambda entry: -entry[1])

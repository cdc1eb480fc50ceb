"""Fitting a head: logistic regression, calibrated and judged on groups that were left out.

Mean imputation, standardisation and L2 logistic regression, calibrated by a sigmoid on out-of-fold
scores. Folds keep groups (task families) whole, so that calibration and report speak of families
never seen. Where the data cannot support that, or where on families left out the features predict
no better than the base rate, the head is a constant: the base rate with Laplace's correction, and
the report says why.

The module knows nothing of arms, outcomes or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from autottt.controller.heads import Head, Term
from autottt.types import JSON

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # candidates for C, the inverse strength of the L2 penalty
FOLDS = 5
FEWEST = 5  # of either class; below it the head is a constant
BINS = 10  # of equal width, for the expected calibration error

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def fit_head(
    rows: Sequence[Mapping[str, float]],
    labels: Sequence[bool],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> Head:
    """Fit a head on one row of features, one label and one group per task.

    The report's AUROC, Brier score, log-loss and calibration error are of predictions for groups
    that were left out of everything, the choice of C included. For a constant head they are the
    constant's own and the AUROC is None.
    """
    names = tuple(sorted({name for row in rows for name in row}))
    x, y = matrix(names, rows), np.asarray(labels, dtype=np.int64)
    families = np.asarray(groups, dtype=object)
    estimator, strength, held_out, why = None, None, None, _too_little(x, y)
    base = np.full(len(y), _prior(y))
    if not why:
        fitted = HeadClassifier(random_state=seed).fit(x, y, groups=families)
        estimator, strength, why = fitted.estimator_, fitted.C_, fitted.why_constant_
    if estimator is not None:
        held_out = out_of_group(lambda: HeadClassifier(random_state=seed), x, y, families, seed)
        if _loss(y, held_out) >= _loss(y, base):
            estimator, strength, held_out = None, None, None
            why = "on groups left out, the features predict no better than the base rate"
    report: JSON = {
        "kind": "constant" if estimator is None else "logistic",
        "why_constant": why,
        "n": len(y),
        "positives": int(y.sum()),
        "groups": len(set(groups)),
        "C": strength,
    }
    report |= _scores(y, base if held_out is None else held_out)
    if held_out is None:
        report["auroc"] = None
    if estimator is None:
        return Head(_prior(y), report=report)
    bias, terms = linear_form(estimator, names)
    return Head(_prior(y), bias, terms, report)


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Calibrated logistic regression that speaks of groups it has not seen; binary.

    Missing values (NaN) count as the column's mean. `C` is chosen by the log-loss on groups left
    out, and so is the sigmoid fitted; without `groups` each row is one. Where the data cannot
    support that, `estimator_` is None, `why_constant_` says why, and probabilities are the base
    rate with Laplace's correction.
    """

    def __init__(
        self, strengths: Sequence[float] = STRENGTHS, folds: int = FOLDS, random_state: int = 0
    ) -> None:
        self.strengths = strengths
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> HeadClassifier:
        x, labels = validate_data(self, X, y, ensure_all_finite="allow-nan", dtype=np.float64)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) != 2:
            raise ValueError(
                f"Only binary classification is supported. The data has {len(self.classes_)} class"
            )
        truth = (labels == self.classes_[1]).astype(np.int64)
        known = np.arange(len(truth)) if groups is None else np.asarray(groups, dtype=object)
        self.prior_ = _prior(truth)
        self.estimator_: Any = None
        self.C_: float | None = None
        self.why_constant_ = _too_little(x, truth)
        folds = _grouped_folds(truth, known, self.random_state, self.folds)
        if not self.why_constant_ and folds is None:
            self.why_constant_ = (
                "the groups cannot be split with both classes on the side that trains"
            )
        if self.why_constant_ or folds is None:
            return self
        strength = _best_strength(x, truth, folds, self.strengths)
        estimator = CalibratedClassifierCV(
            _pipeline(strength), method="sigmoid", cv=folds, ensemble=False
        ).fit(x, truth)
        if estimator.calibrated_classifiers_[0].calibrators[0].a_ >= 0:
            self.why_constant_ = "the features say nothing that carries over to other groups"
            return self
        estimator.set_params(cv=None)  # row numbers of a table that goes away
        self.estimator_, self.C_ = estimator, strength
        return self

    def predict_proba(self, X: Any) -> Array:
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, ensure_all_finite="allow-nan", dtype=np.float64)
        if self.estimator_ is None:
            return np.tile([1 - self.prior_, self.prior_], (len(x), 1))
        p: Array = self.estimator_.predict_proba(x)
        return p

    def predict(self, X: Any) -> NDArray[Any]:
        p = self.predict_proba(X)
        chosen: NDArray[Any] = self.classes_[(p[:, 1] > 0.5).astype(int)]
        return chosen

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags


def linear_form(estimator: Any, names: Sequence[str]) -> tuple[float, dict[str, Term]]:
    """The bias and the terms of a calibrated pipeline: the same log-odds as plain numbers.

    An imputed value is the column's mean, which is its centre too, so what is missing adds nothing.
    """
    fitted = estimator.calibrated_classifiers_[0]
    sigmoid, (_, scaler, model) = fitted.calibrators[0], (s for _, s in fitted.estimator.steps)
    terms = {
        name: Term(float(-sigmoid.a_ * weight), float(centre), float(spread))
        for name, weight, centre, spread in zip(
            names, model.coef_[0], scaler.mean_, scaler.scale_, strict=True
        )
    }
    return float(-(sigmoid.a_ * model.intercept_[0] + sigmoid.b_)), terms


def matrix(names: Sequence[str], rows: Sequence[Mapping[str, float]]) -> Array:
    """Rows of named values as (rows, names); what is absent or not finite becomes NaN."""
    values = [[float(row.get(name, math.nan)) for name in names] for row in rows]
    x = np.array(values, dtype=np.float64).reshape(len(rows), len(names))
    return np.where(np.isfinite(x), x, np.nan)


def expected_calibration_error(y: Labels, p: Array) -> float:
    """Mean over bins, weighted by size, of |share of positives - mean probability|."""
    bins = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    gaps = [abs(float((y - p)[bins == b].sum())) for b in range(BINS)]
    return math.fsum(gaps) / len(y)


def _too_little(x: Array, y: Labels) -> str:
    """Why a head on these rows is a constant; empty where it need not be."""
    fewest = min(int(y.sum()), int(len(y) - y.sum()))
    if fewest < FEWEST:
        return f"only {fewest} tasks of the rarer class, fewer than {FEWEST}"
    return "" if x.shape[1] else "no features"


def _grouped_folds(y: Labels, groups: NDArray[Any], seed: int, most: int) -> Folds | None:
    """As many folds as possible, up to `most`, with both classes in every training part."""
    for k in range(min(most, len(set(groups))), 1, -1):
        splitter = GroupKFold(k, shuffle=True, random_state=seed)
        folds: Folds = list(splitter.split(y, y, groups))
        if all(0 < y[train].sum() < len(train) for train, _ in folds):
            return folds
    return None


def _best_strength(x: Array, y: Labels, folds: Folds, strengths: Sequence[float]) -> float:
    """The strength whose probabilities for the folds left out have the least log-loss."""
    found = {strength: np.empty(len(y)) for strength in strengths}
    for train, test in folds:
        *prepare, model = (step for _, step in _pipeline(1.0).steps)
        known, new = x[train], x[test]
        for step in prepare:  # which do not depend on the strength
            known, new = step.fit_transform(known), step.transform(new)
        for strength in strengths:
            model.set_params(C=strength).fit(known, y[train])
            found[strength][test] = model.predict_proba(new)[:, 1]
    return min(strengths, key=lambda each: _loss(y, found[each]))  # of equals the stronger penalty


def _pipeline(strength: float) -> Pipeline:
    return make_pipeline(
        SimpleImputer(keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=strength, solver="newton-cholesky"),
    )


def out_of_group(
    make: Callable[[], Any], x: Array, y: Labels, groups: NDArray[Any], seed: int
) -> Array:
    """Probabilities of each row from an estimator fitted, from start to end, without its group."""
    p = np.empty(len(y))
    k = min(FOLDS, len(set(groups)))
    for train, test in GroupKFold(k, shuffle=True, random_state=seed).split(x, y, groups):
        if len(set(y[train])) < 2:
            p[test] = _prior(y[train])
            continue
        p[test] = make().fit(x[train], y[train], groups=groups[train]).predict_proba(x[test])[:, 1]
    return p


def _loss(y: Labels, p: Array) -> float:
    return float(log_loss(y, p, labels=[0, 1]))


def _prior(y: Labels) -> float:
    return (int(y.sum()) + 1) / (len(y) + 2)


def _scores(y: Labels, p: Array) -> JSON:
    if not len(y):
        return {"auroc": None, "brier": None, "log_loss": None, "ece": None}
    both = 0 < y.sum() < len(y)
    return {
        "auroc": float(roc_auc_score(y, p)) if both else None,
        "brier": float(brier_score_loss(y, p, labels=[0, 1], pos_label=1)),
        "log_loss": _loss(y, p),
        "ece": expected_calibration_error(y, p),
    }

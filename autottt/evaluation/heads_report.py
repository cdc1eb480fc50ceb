"""How good the gate's estimates are on a log that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autottt.controller.difficulty import (
    ICL_RIGHT,
    LOOK,
    Gate,
    after,
    look_head,
    looks,
    right_head,
)
from autottt.controller.fitting import BINS, expected_calibration_error
from autottt.controller.outcomes import ICL_VOTE, Outcome
from autottt.evaluation.statistics import Array, rejection_ratio
from autottt.strategies.training_evidence import LOOKS
from autottt.types import JSON


def judge_heads(outcomes: Sequence[Outcome], gate: Gate) -> JSON:
    """Per question its AUROC and the like, by name.

    `icl wrong`: P(vote wrong | probe). `X helps`: P(vote wrong and X right | probe); `X helps,
    look K`: the same at the K-th look at X. `X right`: P(X right) after the attempt. `X helps, by
    training loss` ranks by the loss at the end of training (the published baseline), and is no
    probability.
    """
    found: JSON = {}
    wrong = np.array([1.0 - gate.probability(ICL_RIGHT, o.features) for o in outcomes])
    vote = np.array([o.arms[ICL_VOTE].right for o in outcomes], dtype=bool)
    found["icl wrong"] = scores(wrong, ~vote)
    for arm in gate.arms:
        ran = [k for k, o in enumerate(outcomes) if arm in o.arms]
        if not ran:
            continue
        helps = np.array([outcomes[k].arms[arm].right and not vote[k] for k in ran])
        mends = np.array([gate.mends(arm, outcomes[k].features, {}) for k in ran])
        found[f"{arm} helps"] = scores(wrong[ran] * mends, helps)
        for number in range(1, LOOKS + 1):
            if look_head(arm, number) in gate.heads:
                judged = _judge_looks(outcomes, gate, arm, number, wrong)
                if judged is not None:
                    found[f"{arm} helps, look {number}"] = judged
        ended = [k for k in ran if outcomes[k].arms[arm].error is None]
        truth = np.array([outcomes[k].arms[arm].right for k in ended])
        sure = np.array(
            [
                gate.probability(
                    right_head(arm), after(outcomes[k].features, outcomes[k].arms[arm].evidence)
                )
                for k in ended
            ]
        )
        found[f"{arm} right"] = scores(sure, truth)
        losses = np.array(
            [outcomes[k].arms[arm].evidence.get("last_loss", math.nan) for k in ended]
        )
        if np.isfinite(losses).all() and len(losses):
            helped = np.array([outcomes[k].arms[arm].right and not vote[k] for k in ended])
            found[f"{arm} helps, by training loss"] = {"auroc": _auroc(-losses, helped)}
    return found


def _judge_looks(
    outcomes: Sequence[Outcome], gate: Gate, arm: str, number: int, wrong: Array
) -> JSON | None:
    """The gate at one look, on the attempts that came so far."""
    p, truth = [], []
    for k, outcome in enumerate(outcomes):
        if arm not in outcome.arms:
            continue
        done = outcome.arms[arm]
        for look in looks(done.evidence):
            if look[LOOK] == number:
                p.append(wrong[k] * gate.mends(arm, outcome.features, {}, look))
                truth.append(done.right and not outcome.arms[ICL_VOTE].right)
    return scores(np.array(p), np.array(truth)) if p else None


def scores(p: Array, truth: np.ndarray) -> JSON:
    """Of predicted probabilities; what needs both classes is None where there is one.

    `reliability` has a row for every bin of equal width that is not empty: mean probability, share
    that is true, and size.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

    y = np.asarray(truth, dtype=np.int64)
    if not len(y):
        return {"n": 0, "positives": 0}
    both = 0 < y.sum() < len(y)
    bins = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    rows = [
        (float(p[bins == b].mean()), float(y[bins == b].mean()), int((bins == b).sum()))
        for b in range(BINS)
        if (bins == b).any()
    ]
    return {
        "n": len(y),
        "positives": int(y.sum()),
        "auroc": _auroc(p, y),
        "auprc": float(average_precision_score(y, p)) if both else None,
        "brier": float(brier_score_loss(y, p, labels=[0, 1], pos_label=1)),
        "log_loss": float(log_loss(y, p, labels=[0, 1])),
        "ece": expected_calibration_error(y, p),
        "prr": rejection_ratio(p, y.astype(np.float64)),
        "reliability": rows,
    }


def _auroc(order: Array, truth: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    both = 0 < truth.sum() < len(truth)
    return float(roc_auc_score(truth, order)) if both else None

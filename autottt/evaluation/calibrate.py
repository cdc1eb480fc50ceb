"""From outcome logs to a gate: the heads, what each price buys, and the table for certificates."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.model_selection import GroupKFold

from autottt.controller.certificate import RiskTable
from autottt.controller.difficulty import READ, Gate, fit_gate
from autottt.controller.outcomes import ICL_VOTE, Outcome
from autottt.controller.policy import Policy
from autottt.errors import GateError
from autottt.evaluation.policies import PRICES, play, sequential

FOLDS = 5
CERTIFY = 3  # tenths of the groups that are kept for certifying
THRESHOLDS = tuple(float(x) for x in np.linspace(0, 0.6, 61))


def split(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Outcomes to fit on and to certify on, groups kept whole: the same split whenever asked."""
    certify = {g for g in {o.group for o in outcomes} if zlib.crc32(g.encode()) % 10 < CERTIFY}
    return (
        [o for o in outcomes if o.group not in certify],
        [o for o in outcomes if o.group in certify],
    )


def calibrated(
    outcomes: Sequence[Outcome],
    *,
    certify: Sequence[Outcome] = (),
    arms: Sequence[str] | None = None,
    seed: int = 0,
) -> Gate:
    """A gate fitted on `outcomes`, with prices from families left out.

    `certify` are tasks of other families that nothing was fitted to; without them no risk level can
    be certified. Raises `GateError` for logs of several models.
    """
    gate = fit_gate(outcomes, arms=arms, read=READ, seed=seed)
    if any(outcome.model != gate.model for outcome in certify):
        raise GateError("the log to certify on is of another model than the log to fit on")
    shared = {o.group for o in outcomes} & {o.group for o in certify}
    if shared:
        raise GateError(
            f"{len(shared)} families are in both logs (such as {min(shared)}); certify on families "
            "that nothing was fitted to"
        )
    risk = risk_table(certify, gate) if certify else None
    return replace(gate, prices=prices(outcomes, gate.arms, seed=seed), risk=risk)


def left_out(
    outcomes: Sequence[Outcome], arms: Sequence[str], *, seed: int = 0
) -> list[tuple[Gate, list[Outcome]]]:
    """Gates fitted without some families, each with the outcomes of those families."""
    groups = [outcome.group for outcome in outcomes]
    folds = min(FOLDS, len(set(groups)))
    if folds < 2:
        return []
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    found = []
    for train, test in splitter.split(groups, groups, groups):
        gate = fit_gate([outcomes[k] for k in train], arms=arms, read=READ, seed=seed)
        found.append((gate, [outcomes[k] for k in test]))
    return found


def prices(
    outcomes: Sequence[Outcome], arms: Sequence[str], *, seed: int = 0
) -> tuple[tuple[float, float, float], ...]:
    """`(price, mean seconds, accuracy)` on families that the deciding gate was not fitted to."""
    usable = [o for o in outcomes if ICL_VOTE in o.arms and set(arms) <= set(o.arms)]
    parts = left_out(usable, arms, seed=seed)
    if not parts:
        return ()
    found = []
    for price in PRICES:
        played = [sequential(some, gate, Policy(price), arms=arms) for gate, some in parts]
        seconds = float(np.concatenate([p.seconds for p in played]).mean())
        accuracy = float(np.concatenate([p.right for p in played]).mean())
        found.append((price, seconds, accuracy))
    return tuple(found)


def risk_table(outcomes: Sequence[Outcome], gate: Gate) -> RiskTable:
    """What the controller misses at each of `THRESHOLDS`, on tasks that were not fitted to."""
    arms = [arm for arm in gate.arms if all(arm in o.arms for o in outcomes)]
    answerable = [
        o for o in outcomes if not o.arms[ICL_VOTE].right and any(o.arms[arm].right for arm in arms)
    ]
    missed = tuple(
        sum(not play(o, gate, Policy(0.0, least=least), arms).right for o in answerable)
        for least in THRESHOLDS
    )
    return RiskTable(len(answerable), THRESHOLDS, missed)

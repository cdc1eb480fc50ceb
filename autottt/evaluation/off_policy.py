"""What another policy would have earned, from the logged decisions of a running system.

The first decision of every task counts, with the propensity that was logged; what follows it, such
as a second training, is as the logging policy had it. SNIPS weighs the
rewards of decisions that the other policy would have made too by one over their propensity, and
normalises (Swaminathan & Joachims, 2015); the doubly robust estimate adds a model of the reward
(Dudik et al., 2011), here the gate's own. Both need support: a policy that never explores says
nothing of others, and where the effective sample size is too small an estimate is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autottt.controller.difficulty import ICL_RIGHT, Gate, fix_head
from autottt.controller.experience import Trace
from autottt.controller.outcomes import ICL_VOTE
from autottt.controller.policy import NO_GATE, Policy, decide
from autottt.errors import InputError

FEWEST = 30.0  # effective decisions, below which nothing is claimed


@dataclass(frozen=True)
class Estimate:
    """Mean reward, accuracy less price times seconds, with standard errors.

    `effective` is the effective sample size, `(sum w)^2 / sum w^2`; `logged` is the mean reward of
    the decisions that were made.
    """

    snips: float
    snips_error: float
    doubly_robust: float
    doubly_robust_error: float
    effective: float
    tasks: int
    logged: float


def estimate(traces: Sequence[Trace], gate: Gate, policy: Policy) -> Estimate:
    """Of `policy` under `gate`, from traces with feedback.

    Arms that the logging policy left out, for a deadline or a least gain, are on offer to `policy`.
    Raises `InputError` where the effective sample size is below `FEWEST`, where decisions that
    `policy` would make otherwise could not have been logged, and for traces of arms that the gate
    does not know.
    """
    rewards, weights, modelled, residual = [], [], [], []
    unseen = 0
    arms = {ICL_VOTE, *(arm for arm in gate.cost.arms if fix_head(arm) in gate.heads)}
    for trace in traces:
        if trace.right is None or not trace.features or not trace.answer.decisions:
            continue
        first = trace.answer.decisions[0]
        by_default = first.reason.startswith(NO_GATE)
        if first.chosen not in arms or not first.gains or by_default:
            raise InputError(
                f"the first decision on task {trace.answer.task_id!r} was not this gate's: it "
                f"chose {first.chosen}, of {', '.join(first.gains) or 'nothing'}; give traces that "
                "a gate with the same arms decided"
            )
        wanted = decide(
            policy,
            gate,
            trace.features,
            tried={},
            arms=[a for a in first.gains if a != ICL_VOTE],
        ).chosen
        offered = first.propensity < 1 and wanted in first.utilities
        if wanted != first.chosen and not offered:
            unseen += 1
        reward = trace.right - policy.price * trace.answer.seconds
        weight = (wanted == first.chosen) / first.propensity
        rewards.append(reward)
        weights.append(weight)
        modelled.append(_expected(gate, policy, trace, wanted))
        residual.append(weight * (reward - _expected(gate, policy, trace, first.chosen)))
    if unseen:
        raise InputError(
            f"{unseen} of {len(rewards)} first decisions were logged without exploring, or without "
            "the arm on offer, and this policy would make them otherwise; nothing is known of "
            "those: explore (`--explore`), and give the traces from then on"
        )
    w, r = np.array(weights), np.array(rewards)
    effective = float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0
    if effective < FEWEST:
        raise InputError(
            f"the logged decisions are worth {effective:.1f} for this policy, fewer than "
            f"{FEWEST:g}; explore more (`--explore`), or log every arm with `autottt sweep`"
        )
    snips = float((w * r).sum() / w.sum())
    doubly = np.array(modelled) + np.array(residual)
    return Estimate(
        snips=snips,
        snips_error=float(math.sqrt((w**2 * (r - snips) ** 2).sum()) / w.sum()),
        doubly_robust=float(doubly.mean()),
        doubly_robust_error=float(doubly.std(ddof=1) / math.sqrt(len(doubly))),
        effective=effective,
        tasks=len(r),
        logged=float(r.mean()),
    )


def _expected(gate: Gate, policy: Policy, trace: Trace, arm: str) -> float:
    """The gate's own estimate of the reward of a first decision, the probe's seconds left out."""
    p = gate.probability(ICL_RIGHT, trace.features)
    if arm == ICL_VOTE:
        return p
    gain = (1 - p) * gate.mends(arm, trace.features, {})
    return p + gain - policy.price * gate.cost.predict(arm, trace.features)

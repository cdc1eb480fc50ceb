"""Which arm comes next: answer with the best attempt in hand, or run one more.

With a gate an arm pays where its expected utility `gain - price * seconds` is above zero, that of
answering now. The gain of an arm not yet tried (`Gate.gain`) is the chance that the answer in hand
is wrong, times the gate's estimate that the arm is then right, which knows the probe and what the
arms tried so far have shown, as far as choosing among answers realises it. The arm of the highest
utility is run; another can follow where it still pays after what that has shown. An arm that would
not end before the deadline is left out. At a look into a training `verdict` asks again, with what
it showed, for the seconds that are left.

Without a gate (none is shipped for the model, or its file cannot be used) a fixed default decides:
stay with ICL if it answered every held-out demonstration exactly (`loo_accuracy` is 1) or its views
agree (`vote_share` at least 0.9), otherwise train once with the first arm available and answer with
that, or with the vote's answer where the trained model finds it more probable than its own. Its
probabilities are shares, not calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autottt.controller.difficulty import (
    LOOK,
    LOOK_LEFT,
    LOOK_SECONDS,
    Gate,
    after,
    before,
    fix_head,
    look_head,
    right_head,
)
from autottt.controller.outcomes import ICL_VOTE
from autottt.errors import InputError
from autottt.strategies.base import OVER_ICL
from autottt.types import Decision

PRICE = 0.015  # accuracy per second: training for 7 s must make 1 answer in 10 right
NO_GATE = "no gate for this model"  # what a decision of the default policy begins with
AGREED = 0.9  # share of the vote at which the default policy trusts the views

Evidence = Mapping[str, Mapping[str, float]]  # arm that has answered -> evidence of its attempt


@dataclass(frozen=True)
class Policy:
    """What time is worth: `price` in accuracy per second, `deadline` in seconds for the task.

    No arm is run that is expected to gain less than `least`, whatever it costs; a certified risk
    level sets it (`certificate`), with a price of zero. `explore` is the share of tasks on which
    the first decision is drawn at random, so that logged decisions can say what others would do.
    """

    price: float = PRICE
    deadline: float | None = None
    least: float = 0.0
    explore: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("least gain", self.least), ("share to explore", self.explore)):
            if not 0 <= value <= 1:
                raise InputError(f"the {name} is in [0, 1], not {value}")
        if not (math.isfinite(self.price) and self.price >= 0):
            raise InputError(f"the price is accuracy per second, zero or more, not {self.price}")
        if self.deadline is not None and not self.deadline > 0:
            raise InputError(f"the deadline is a number of seconds above zero, not {self.deadline}")


def best_in_hand(
    gate: Gate | None, features: Mapping[str, float], tried: Evidence
) -> tuple[str, float]:
    """The arm whose attempt to answer with, and the probability that it is right.

    icl-vote is always in hand. Where a trained model was asked about the vote's answer and its own,
    the one it finds more probable is taken, whatever the gate says: it nearly always knows.
    Otherwise, and among trained models, the gate decides; of equals the earlier attempt is taken.
    """
    if gate is None:
        return _best_by_default(features, tried)
    best, probability = ICL_VOTE, gate.probability(right_head(ICL_VOTE), features)
    judged = _judged(tried)
    for arm in judged:
        if right_head(arm) in gate.heads:
            p = gate.probability(right_head(arm), after(features, tried[arm]))
            outdone = best == ICL_VOTE and tried[arm].get(OVER_ICL, 0.0) > 0
            if p > probability or outdone:
                best, probability = arm, p
    return best, probability


def _judged(tried: Evidence) -> list[str]:
    """The trained arms whose answer may be given, by what they think of the vote's.

    Not one that prefers the vote's, nor one with the vote's where another prefers its own.
    """
    over = {arm: evidence.get(OVER_ICL) for arm, evidence in tried.items() if arm != ICL_VOTE}
    some = any((value or 0.0) > 0 for value in over.values())
    return [
        arm
        for arm, value in over.items()
        if value is None or value > 0 or (value == 0 and not some)
    ]


def decide(
    policy: Policy,
    gate: Gate | None,
    features: Mapping[str, float],
    *,
    tried: Evidence,
    arms: Sequence[str],
    unavailable: Mapping[str, str] | None = None,
    trained: Collection[str] = (),
    remaining_seconds: float | None = None,
) -> Decision:
    """Choose the next arm; a chosen arm that is in hand already means: answer with it.

    `features` are the probe's; `tried` holds the arms that gave an answer (icl-vote is taken as
    tried), `arms` the training arms on offer, `unavailable` why an arm cannot run or has failed.
    Those `trained` before for the same demonstrations need no more time than the vote, where that
    is known. Their price is that of a training all the same, so that the answer to a task does not
    depend on those before it.
    """
    unavailable = unavailable or {}
    left_out = {arm: why for arm, why in unavailable.items() if arm not in tried}
    closed = {ICL_VOTE, *tried, *unavailable}
    open_arms = [arm for arm in arms if arm not in closed]
    if gate is None:
        if policy.least >= 1:  # no training is worth it
            open_arms = []
        return _decide_by_default(features, tried, open_arms, left_out, remaining_seconds)
    in_hand, probability = best_in_hand(gate, features, tried)
    gains, costs, utilities = {in_hand: 0.0}, {in_hand: 0.0}, {in_hand: 0.0}
    for arm in open_arms:
        if fix_head(arm) not in gate.heads or arm not in gate.cost.arms:
            left_out[arm] = "the gate was fitted without it"
            continue
        gains[arm] = gate.gain(arm, features, tried, probability)
        costs[arm] = gate.cost.predict(arm, features)
        ready = arm in trained and ICL_VOTE in gate.cost.arms
        needed = gate.cost.predict(ICL_VOTE, features) if ready else costs[arm]
        if remaining_seconds is not None and not needed < remaining_seconds:
            left_out[arm] = f"it needs {needed:.1f} s of the {remaining_seconds:.1f} s left"
            continue
        if gains[arm] < policy.least:
            left_out[arm] = f"it would gain {gains[arm]:.1%}, less than {policy.least:.1%}"
            continue
        utilities[arm] = gains[arm] - policy.price * costs[arm]
    chosen = max(utilities, key=lambda arm: utilities[arm])  # of equals, first the answer in hand
    return Decision(
        chosen=chosen,
        reason=_opinions(tried)
        + _reason(policy, in_hand, probability, chosen, gains, costs, utilities, left_out),
        probability_right=probability,
        gains=gains,
        costs=costs,
        utilities=utilities,
        top_features=_top_features(gate, features, tried, chosen, in_hand),
    )


def explored(policy: Policy, decision: Decision, rng: np.random.Generator) -> Decision:
    """The decision, or with probability `policy.explore` any of its offers, drawn evenly."""
    offers = list(decision.utilities)
    if not policy.explore or len(offers) < 2:
        return decision
    even = policy.explore / len(offers)
    chosen = decision.chosen
    if rng.random() < policy.explore:
        chosen = offers[int(rng.integers(len(offers)))]
    propensity = even + (1.0 - policy.explore) * (chosen == decision.chosen)
    reason = decision.reason
    if chosen != decision.chosen:
        reason += f" Explored instead: {chosen}."
    return replace(decision, chosen=chosen, reason=reason, propensity=propensity)


def verdict(
    policy: Policy,
    gate: Gate | None,
    features: Mapping[str, float],
    *,
    tried: Evidence,
    arm: str,
    look: Mapping[str, float],
) -> str | None:
    """Why the training of `arm` should end at this look at it, or None to go on.

    The seconds that it took so far count no more. Those to come are the share of its steps that is
    left of what it was predicted to take, so that what is decided does not depend on the clock.
    """
    if gate is None or arm not in gate.cost.arms:
        return None
    if look_head(arm, int(look[LOOK])) not in gate.heads:
        return None
    in_hand, probability = best_in_hand(gate, features, tried)
    gain = gate.gain(arm, features, tried, probability, look)
    spent = look[LOOK_SECONDS]
    whole = gate.cost.predict(arm, features)
    left = whole * look[LOOK_LEFT] if LOOK_LEFT in look else max(0.0, whole - spent)  # in old logs
    if gain > 0 and gain >= max(policy.least, policy.price * left):
        return None
    return (
        f"abandoned after {spent:.1f} s: going on would gain {gain:.1%} over {in_hand} for "
        f"{left:.1f} s more, at a price of {policy.price:g} per second"
        + (f" and at least {policy.least:.1%} wanted" if policy.least else "")
    )


def _top_features(
    gate: Gate, features: Mapping[str, float], tried: Evidence, chosen: str, in_hand: str
) -> tuple[tuple[str, float, float], ...]:
    """What spoke for running the chosen arm, or for or against the answer in hand.

    Where the chance that the arm mends is the same for every task, the doubt in the answer in hand
    is all that its gain rests on.
    """
    if chosen != in_hand:
        pulls = gate.pulls(fix_head(chosen), before(features, tried, gate.arms))
        if pulls:
            return pulls
    known = features if in_hand == ICL_VOTE else after(features, tried[in_hand])
    return gate.pulls(right_head(in_hand), known)


def _opinions(tried: Evidence) -> str:
    """What trained models think of the vote's answer, where they were asked and have another."""
    said = {True: "its answer more probable than the vote's", False: "the vote's the more probable"}
    asked = {arm: evidence.get(OVER_ICL, 0.0) for arm, evidence in tried.items()}
    return "".join(f"{arm} finds {said[over > 0]}; " for arm, over in asked.items() if over)


def _reason(
    policy: Policy,
    in_hand: str,
    probability: float,
    chosen: str,
    gains: Mapping[str, float],
    costs: Mapping[str, float],
    utilities: Mapping[str, float],
    left_out: Mapping[str, str],
) -> str:
    offers = [
        f"{arm} would gain {gains[arm]:.1%} for {costs[arm]:.1f} s (utility {utility:+.3f})"
        for arm, utility in utilities.items()
        if arm != in_hand
    ]
    verdict = f"answer with {in_hand}" if chosen == in_hand else f"run {chosen}"
    if any(utility > 0 and arm != chosen for arm, utility in utilities.items()):
        verdict += ", the best of those that pay"
    known = f"{in_hand} is right with probability {probability:.1%}"
    if offers:
        known += f"; at a price of {policy.price:g} per second " + ", ".join(offers)
    else:
        known += " and no other arm can be tried"
    return _sentence(known, left_out, verdict)


def _sentence(known: str, left_out: Mapping[str, str], verdict: str) -> str:
    notes = "".join(f"; without {arm}: {why}" for arm, why in left_out.items())
    return f"{known}{notes}; so {verdict}."


def _share(values: Mapping[str, float], *names: str) -> float:
    """The first of the named values that is known, within [0, 1]; zero when none is."""
    for name in names:
        value = float(values.get(name, math.nan))
        if math.isfinite(value):
            return min(max(value, 0.0), 1.0)
    return 0.0


def _percent(values: Mapping[str, float], name: str) -> str:
    known = math.isfinite(values.get(name, math.nan))
    return f"{_share(values, name):.0%}" if known else "an unknown share"


def _best_by_default(features: Mapping[str, float], tried: Evidence) -> tuple[str, float]:
    trained = _judged(tried)
    if trained:
        return trained[-1], _share(tried[trained[-1]], "vote_share")
    return ICL_VOTE, _share(features, "loo_accuracy", "vote_share")


def _decide_by_default(
    features: Mapping[str, float],
    tried: Evidence,
    open_arms: Sequence[str],
    left_out: Mapping[str, str],
    remaining_seconds: float | None,
) -> Decision:
    in_hand, probability = _best_by_default(features, tried)
    exact, share = _share(features, "loo_accuracy"), _share(features, "vote_share")
    known = (
        f"{NO_GATE}: ICL answers {_percent(features, 'loo_accuracy')} of the held-out "
        f"demonstrations and its answer has {_percent(features, 'vote_share')} of the vote"
    )
    chosen = in_hand
    trained = [arm for arm in tried if arm != ICL_VOTE]
    if trained:
        known += f", and {trained[-1]} has been tried"
    elif exact < 1.0 and share < AGREED:
        if not open_arms:
            known += ", but no arm can be trained"
        elif remaining_seconds is not None and remaining_seconds <= 0:
            known += ", but no time is left"
        else:
            chosen = open_arms[0]
    verdict = f"answer with {chosen}" if chosen == in_hand else f"run {chosen}"
    return Decision(
        chosen=chosen,
        reason=_sentence(known, left_out, verdict),
        probability_right=probability,
        gains={in_hand: 0.0},
        costs={in_hand: 0.0},
        utilities={in_hand: 0.0},
    )

"""The decision."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autottt.controller.cost import ArmCost, CostModel
from autottt.controller.difficulty import Gate, Worth
from autottt.controller.heads import Head
from autottt.controller.policy import PRICE, Policy, best_in_hand, decide, verdict
from autottt.errors import InputError
from autottt.types import Decision

HARD = {"consensus": -1.5, "regular": 2.0, "loo_accuracy": 0.0, "prompt_tokens": 500.0}
EASY = {"consensus": 2.5, "regular": 2.0, "loo_accuracy": 1.0, "prompt_tokens": 500.0}

CHANCE = st.floats(0, 1)
SECONDS = st.floats(0, 1e4)


def constant_gate(icl: float, arms: dict[str, tuple[float, float, float]]) -> Gate:
    """A gate that says the same of every task; per arm its gain, P(right) and seconds."""
    heads = {"icl_right": Head(icl)}
    for arm, (gain, right, _) in arms.items():
        fixes = min(1.0, gain / (1 - icl)) if icl < 1 else 0.0
        heads |= {f"{arm}_fixes": Head(fixes), f"{arm}_right": Head(right)}
    cost = CostModel({arm: ArmCost(seconds, 0.0, 0.0) for arm, (_, _, seconds) in arms.items()})
    return Gate("m", heads, cost)


GATES = st.builds(
    constant_gate,
    CHANCE,
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.tuples(CHANCE, CHANCE, SECONDS)),
)


def choose(
    gate: Gate | None, features: dict[str, float] | None = None, **named: object
) -> Decision:
    given = {"tried": {}, "arms": ["a", "b", "c"], **named}
    policy = given.pop("policy", Policy())
    return decide(policy, gate, features or {}, **given)  # type: ignore[arg-type]


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(plain(x) for x in [*value, *value.values()])
    if isinstance(value, list | tuple):
        return all(plain(x) for x in value)
    return type(value) in (str, float, int)


def test_a_hard_task_is_trained_and_an_easy_one_answered(gate: Gate) -> None:
    """With a fitted gate each kind of task goes its way, with the numbers and reasons."""
    hard = choose(gate, HARD, arms=["ttt"])
    assert hard.chosen == "ttt"
    assert hard.costs["ttt"] == pytest.approx(8.0)
    assert hard.utilities["ttt"] == hard.gains["ttt"] - PRICE * hard.costs["ttt"]
    assert hard.top_features[0][0] in HARD
    assert "run ttt." in hard.reason
    assert "8.0 s" in hard.reason
    easy = choose(gate, EASY, arms=["ttt"])
    assert easy.chosen == "icl-vote"
    assert easy.probability_right > 0.9
    assert easy.reason.endswith("answer with icl-vote.")


def test_where_every_task_is_mended_alike_the_doubt_explains_the_choice(gate: Gate) -> None:
    """A constant head has nothing to show, so the features are those of the answer in hand."""
    heads = gate.heads | {"ttt_fixes": Head(0.4)}
    decision = choose(replace(gate, heads=heads), HARD, arms=["ttt"])
    assert decision.chosen == "ttt"
    assert decision.top_features == gate.pulls("icl_right", HARD)
    assert decision.top_features


def test_after_an_attempt_the_better_answer_is_given(gate: Gate) -> None:
    """Evidence decides between the attempts in hand, and a tried arm does not run again."""
    good = choose(gate, HARD, tried={"icl-vote": {}, "ttt": {"held_out": 1.0}}, arms=["ttt"])
    assert good.chosen == "ttt"
    assert good.utilities == {"ttt": 0.0}
    assert "after_held_out" in {name for name, _, _ in good.top_features}
    bad = choose(gate, EASY, tried={"icl-vote": {}, "ttt": {"held_out": 0.0}}, arms=["ttt"])
    assert bad.chosen == "icl-vote"
    assert best_in_hand(gate, EASY, {"ttt": {"held_out": 0.0}})[0] == "icl-vote"


@pytest.mark.parametrize("known", [True, False])
def test_a_trained_model_judges_the_answer_of_the_vote(known: bool) -> None:
    """What it finds less probable than its own is not given, whatever the gate thinks of both."""
    gate = constant_gate(0.6, {"a": (0.1, 0.4, 1.0), "b": (0.1, 0.9, 1.0)}) if known else None
    features = {"loo_accuracy": 0.0, "vote_share": 0.5}

    def best(**over: float) -> str:
        tried = {arm: {"over_icl": value, "vote_share": 0.4} for arm, value in over.items()}
        return best_in_hand(gate, features, {"icl-vote": {}, **tried})[0]

    assert best(a=2.0) == "a"
    assert best(a=-2.0) == "icl-vote"
    assert best(b=-2.0) == "icl-vote"
    assert best(a=0.0) == ("icl-vote" if known else "a")  # both gave the same answer
    assert best(a=2.0, b=-2.0) == "a"
    assert best(a=2.0, b=2.0) == "b"
    assert best(a=2.0, b=0.0) == "a"  # what b has is the vote's answer
    assert best(b=0.0, a=2.0) == "a"
    assert best(b=0.0) == "b"
    tried = {"icl-vote": {}, "b": {"over_icl": -2.0}}
    decision = choose(gate, features, tried=tried, policy=Policy(1.0))
    assert decision.chosen == "icl-vote"
    assert ("b finds the vote's the more probable; " in decision.reason) == known


@given(GATES, st.floats(0, 1e4), st.floats(0, 1))
def test_no_arm_runs_over_the_deadline(gate: Gate, remaining: float, price: float) -> None:
    """A chosen arm ends before the deadline, and an arm left out is named with its seconds."""
    decision = choose(gate, remaining_seconds=remaining, policy=Policy(price))
    if decision.chosen != "icl-vote":
        assert decision.costs[decision.chosen] < remaining
    for arm in gate.arms:
        late = decision.costs[arm] >= remaining
        assert late == (arm not in decision.utilities)
        assert late == (f"without {arm}: it needs" in decision.reason)


@given(GATES, st.floats(0, 1), st.floats(0, 1))
def test_utility_falls_with_the_price(gate: Gate, one: float, other: float) -> None:
    """Dearer seconds never make an arm look better, nor training where cheap ones do not."""
    cheap, dear = (choose(gate, policy=Policy(p)) for p in sorted((one, other)))
    assert all(dear.utilities[arm] <= cheap.utilities[arm] for arm in cheap.utilities)
    assert dear.chosen == "icl-vote" or cheap.chosen != "icl-vote"


def test_what_was_trained_before_takes_an_answer_alone() -> None:
    """The same demonstrations with another query: a deadline that a training would miss is met."""
    gate = constant_gate(0.2, {"icl-vote": (0.0, 0.2, 0.5), "a": (0.3, 0.5, 10.0)})
    assert choose(gate, arms=["a"], remaining_seconds=1.0).chosen == "icl-vote"
    ready = choose(gate, arms=["a"], trained=["a"], remaining_seconds=1.0)
    assert ready.chosen == "a"
    assert ready == choose(gate, arms=["a"])  # nothing else changes


@given(GATES)
def test_the_arm_of_the_highest_utility_is_run(gate: Gate) -> None:
    """Nothing else on offer is worth more, and where nothing pays the answer in hand is given."""
    decision = choose(gate, policy=Policy(1e-5))
    best = max(decision.utilities.values())
    assert decision.utilities[decision.chosen] == best
    assert (decision.chosen == "icl-vote") == (best == 0.0)


def test_another_arm_follows_where_it_still_pays() -> None:
    """The best is run first, a deadline leaves out what it has no time for, and others may come."""
    gate = constant_gate(0.2, {"a": (0.2, 0.5, 2.0), "b": (0.6, 0.8, 5.0)})
    decision = choose(gate)
    assert decision.chosen == "b"
    assert "run b, the best of those that pay." in decision.reason
    short = choose(gate, remaining_seconds=4.0)
    assert short.chosen == "a"
    assert "without b: it needs 5.0 s of the 4.0 s left; " in short.reason
    assert choose(gate, tried={"b": {}}).chosen == "a"
    alike = replace(gate, worth={"a": (Worth(), Worth(0.1))})  # what a mends, b mends
    assert choose(alike, tried={"b": {}}).chosen == "b"


def test_what_choosing_would_lose_is_not_risked() -> None:
    """Where an arm's answer is sooner chosen wrongly than gained by, it is run at no price."""
    gate = constant_gate(0.9, {"a": (0.05, 0.8, 2.0)})
    free = Policy(0.0)
    assert choose(gate, policy=free).chosen == "a"
    risky = replace(gate, worth={"a": (Worth(1.0, 0.06), Worth())})
    decision = choose(risky, policy=free)
    assert decision.chosen == "icl-vote"
    assert decision.gains["a"] == 0.0
    doubtful = replace(risky, heads={**gate.heads, "icl_right": Head(0.2)})
    assert choose(doubtful, policy=free).gains["a"] == pytest.approx(0.8 * 0.5 - 0.06)


@given(GATES, st.sets(st.sampled_from(["a", "b", "c"])), st.sets(st.sampled_from(["a", "b", "c"])))
def test_a_decision_is_an_offer_that_pays(gate: Gate, tried: set[str], failed: set[str]) -> None:
    """The chosen arm is worth its seconds, may run, and all of it is plain JSON."""
    decision = choose(
        gate,
        {"x": np.float64(1.0)},
        tried={arm: {"held_out": np.float64(0.5)} for arm in sorted(tried - failed)},
        unavailable=dict.fromkeys(sorted(failed), "failed"),
    )
    best = max(decision.utilities.values())
    assert decision.utilities[decision.chosen] >= 0
    assert (decision.utilities[decision.chosen] > 0) == (best > 0)
    assert decision.chosen not in failed
    assert all(0 <= gain <= 1 for gain in decision.gains.values())
    assert all(f"without {arm}: failed" in decision.reason for arm in failed)
    assert plain(asdict(decision))
    json.dumps(asdict(decision), allow_nan=False)


def test_nothing_gains_more_than_the_chance_of_being_wrong() -> None:
    """An answer that is almost surely right is not worth another attempt."""
    gate = constant_gate(0.2, {"a": (0.5, 0.99, 1.0), "b": (0.5, 0.9, 10.0)})
    assert choose(gate).chosen == "a"
    later = choose(gate, tried={"a": {}})
    assert later.gains["b"] == pytest.approx(0.01 * 0.5 / 0.8)
    assert later.chosen == "a"


def test_escalation_goes_on_while_it_pays() -> None:
    """After an attempt that failed to convince, the next arm runs."""
    gate = constant_gate(0.2, {"a": (0.5, 0.3, 1.0), "b": (0.4, 0.9, 10.0)})
    assert choose(gate, tried={"a": {}}).chosen == "b"
    assert choose(gate, tried={"a": {}, "b": {}}).chosen == "b"


@given(CHANCE, CHANCE, CHANCE, SECONDS, st.floats(0, 1e4), st.floats(0, 1))
def test_a_training_goes_on_while_what_is_left_of_it_pays(
    icl: float, fixes: float, sign: float, seconds: float, spent: float, price: float
) -> None:
    """What a look shows decides, against the seconds that are left; those spent are gone."""
    gate = constant_gate(icl, {"a": (0.5, 0.5, seconds)})
    gate = replace(gate, heads=gate.heads | {"a_look1": Head(sign), "a_fixes": Head(fixes)})
    reason = verdict(
        Policy(price),
        gate,
        {},
        tried={},
        arm="a",
        look={"look": 1.0, "look_loss": 1.0, "look_seconds": spent},
    )
    gain = (1 - icl) * sign
    pays = gain > 0 and gain >= price * max(0.0, seconds - spent)
    assert (reason is None) == pays
    assert reason is None or f"abandoned after {spent:.1f} s" in reason


def test_an_arm_that_was_never_looked_at_is_never_abandoned() -> None:
    """A gate that has not learnt from looks lets a training end; so does no gate."""
    for gate in (constant_gate(0.9, {"a": (0.0, 0.0, 100.0)}), None):
        assert verdict(Policy(1.0), gate, {}, tried={}, arm="a", look={"look": 1.0}) is None


def test_an_arm_that_the_gate_does_not_know_is_left_out() -> None:
    """A strategy without outcomes is never run on a guess, and the reason says so."""
    decision = choose(constant_gate(0.1, {}), arms=["new"])
    assert decision.chosen == "icl-vote"
    assert "without new: the gate was fitted without it" in decision.reason


@pytest.mark.parametrize(
    ("features", "chosen"),
    [
        ({"loo_accuracy": 1.0, "vote_share": 0.1}, "icl-vote"),
        ({"loo_accuracy": 0.0, "vote_share": 0.9}, "icl-vote"),
        ({"loo_accuracy": 0.5, "vote_share": 0.89}, "a"),
        ({"loo_accuracy": math.nan}, "a"),
        ({}, "a"),
    ],
)
def test_without_a_gate_the_demonstrations_decide(features: dict[str, float], chosen: str) -> None:
    """The default policy looks at held-out demonstrations and the vote alone."""
    decision = choose(None, features)
    assert decision.chosen == chosen
    assert decision.reason.startswith("no gate for this model")
    assert ("unknown share" in decision.reason) == ("vote_share" not in features)
    json.dumps(asdict(decision), allow_nan=False)


def test_without_a_gate_one_attempt_is_made() -> None:
    """After training once, or when that is impossible, the default policy answers."""
    trained = choose(None, tried={"a": {"vote_share": 0.5}})
    assert (trained.chosen, trained.probability_right) == ("a", 0.5)
    assert choose(None, arms=[]).chosen == "icl-vote"
    assert choose(None, remaining_seconds=0.0).chosen == "icl-vote"
    failed = choose(None, arms=["a"], unavailable={"a": "the loss diverged"})
    assert failed.chosen == "icl-vote"
    assert "without a: the loss diverged" in failed.reason


def test_a_policy_is_checked() -> None:
    """Prices below zero and deadlines not above it are refused."""
    for price in (-0.1, math.nan, math.inf):
        with pytest.raises(InputError, match="price"):
            Policy(price)
    for deadline in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="deadline"):
            Policy(deadline=deadline)


def test_what_is_left_of_a_training_is_a_share_of_its_steps() -> None:
    """However long it took so far; a look that does not say is judged by the clock."""
    gate = constant_gate(0.2, {"a": (0.3, 0.8, 10.0)})
    gate.heads["a_look1"] = Head(0.1)  # now 8 % are to be gained
    policy = Policy(0.02)

    def said(**look: float) -> str | None:
        known = {"look": 1.0, **look}
        return verdict(policy, gate, HARD, tried={}, arm="a", look=known)

    for seconds in (0.1, 9.0, 99.0):
        assert said(look_seconds=seconds, look_left=0.3) is None
        assert "abandoned" in str(said(look_seconds=seconds, look_left=0.5))
    gate.heads["a_look1"] = Head(0.0)
    assert "abandoned" in str(said(look_seconds=9.0, look_left=0.1)), "at no price either"
    policy = Policy(0.0)
    assert "abandoned" in str(said(look_seconds=9.0, look_left=0.1))
    gate.heads["a_look1"], policy = Head(0.1), Policy(0.02)
    assert said(look_seconds=9.0) is None
    assert "abandoned" in str(said(look_seconds=1.0))

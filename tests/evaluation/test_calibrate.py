"""From outcomes to a gate with prices and certificates, and which estimator is enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autottt.controller.difficulty import Rows
from autottt.controller.outcomes import Outcome
from autottt.controller.policy import Policy
from autottt.errors import GateError, InputError
from autottt.evaluation import calibrate
from autottt.evaluation.calibrate import calibrated, regrouped, risk_table, split
from autottt.evaluation.compare_heads import ablation, compare
from autottt.evaluation.policies import sequential

World = Callable[..., list[Outcome]]


def test_a_calibrated_gate_knows_what_prices_buy_and_can_certify(world: World) -> None:
    """Dearer seconds buy fewer of them; on new tasks of the kind the certified risk is kept."""
    gate = calibrated(world(300), certify=world(400, seed=1, families="g"))
    prices, seconds, accuracy = zip(*gate.prices, strict=True)
    assert list(prices) == sorted(prices)
    assert seconds[0] > 4 > 0.7 > seconds[-1]
    assert accuracy[0] > accuracy[-1] + 0.1
    fresh = world(600, seed=2, families="h")
    asked = sequential(fresh, gate, Policy(gate.price_for(3.0)))
    assert 1.5 < asked.mean_seconds < 3.6
    assert gate.risk is not None
    least = gate.risk.threshold(0.15)
    assert least is not None
    assert least > 0
    answerable = [o for o in fresh if not o.arms["icl-vote"].right and o.arms["long"].right]
    careful = sequential(answerable, gate, Policy(0.0, least=least))
    assert 1 - careful.accuracy < 0.15
    first, later = gate.worth["long"]
    assert 1 >= first.share > 0
    assert 1 > later.share > 0, "where the cheap arm has failed, choosing gains no more"
    assert set(gate.reference) <= {"vote_share", "same_size", "prompt_tokens"}


def test_what_choosing_loses_is_told_from_what_it_gains() -> None:
    """Both are found again; without a promise there is nothing to learn from."""
    promised = np.linspace(0, 0.5, 50)
    found = calibrate._line([(x, 0.8 * x - 0.05) for x in promised])
    assert found == pytest.approx((0.8, 0.05))
    assert calibrate._line([(x, 2 * x + 0.1) for x in promised]) == pytest.approx((1.0, 0.0))
    assert calibrate._line([(0.0, -0.1)]) == (1.0, 0.0)
    assert calibrate._line([]) == (1.0, 0.0)


def test_a_mean_cost_needs_families_to_leave_out(world: World) -> None:
    """Tasks of one group fit a gate, which then knows nothing of what prices cost."""
    gate = calibrated([replace(o, group="one") for o in world(60)])
    assert gate.prices == ()
    with pytest.raises(InputError, match="too few groups"):
        gate.price_for(3.0)


def test_tasks_of_one_group_are_groups_of_their_own(world: World) -> None:
    """Numbers that are all that differs part no kinds; where there are kinds, they stay."""
    kinds = world(60)
    assert regrouped(kinds) == kinds
    one = [replace(o, group="task") for o in kinds]
    assert [o.group for o in regrouped(one)] == [o.task_id for o in one]


def test_certifying_needs_other_families_of_the_same_model(world: World) -> None:
    """A certificate from what was fitted to is worth nothing."""
    with pytest.raises(GateError, match="15 families are in both logs"):
        calibrated(world(60), certify=world(60, seed=1))
    seen = [replace(o, group=f"own {o.task_id}") for o in world(60)]
    with pytest.raises(GateError, match="60 tasks are in both logs"):
        calibrated(world(60), certify=seen)
    other = [replace(o, model="n") for o in world(60, families="g")]
    with pytest.raises(GateError, match="another model"):
        calibrated(world(60), certify=other)


def test_a_certificate_is_for_every_arm_on_offer(world: World) -> None:
    """Where an arm was not run on every task to certify on, none is made of the others."""
    short = world(60, families="g")
    short[3] = replace(short[3], arms={k: v for k, v in short[3].arms.items() if k != "long"})
    with pytest.raises(GateError, match="not every task to certify on was run with long"):
        calibrated(world(60), certify=short)


def test_what_escalating_always_misses_is_what_choosing_gets_wrong(world: World) -> None:
    """Counts of misses are of answerable tasks, and grow with the threshold in the end."""
    log = world(300, families="g")
    table = risk_table(log, calibrated(world(300, seed=3)))
    right = [any(o.arms[a].right for a in ("light", "long")) for o in log]
    votes = [o.arms["icl-vote"].right for o in log]
    assert table.answerable == sum(r and not v for r, v in zip(right, votes, strict=True))
    assert table.missed[0] < table.missed[-1] <= table.answerable


def test_a_task_under_two_seeds_certifies_once(world: World) -> None:
    """Running the same tasks again is no more evidence."""
    log, gate = world(100, families="g"), calibrated(world(100, seed=3))
    again = [replace(o, seed=o.seed + 1) for o in log]
    assert risk_table([*log, *again], gate) == risk_table(log, gate)


def test_a_split_keeps_groups_whole_and_stays_the_same(world: World) -> None:
    """More outcomes of known groups stay on their side."""
    fit, certify = split(world(150))
    assert not {o.group for o in fit} & {o.group for o in certify}
    assert certify
    more = split(world(300))
    assert {o.group for o in more[1]} == {o.group for o in certify}


def test_the_simplest_estimator_is_taken_unless_another_is_clearly_better() -> None:
    """A linear rule needs no trees; one that turns on two features together does."""
    rng = np.random.default_rng(0)
    linear, crossed = Rows(), Rows()
    for k in range(500):
        a, b, noise = rng.normal(size=3)
        values = {"a": float(a), "b": float(b)}
        linear.add(values, bool(a + b + noise > 0), f"f{k % 20}")
        crossed.add(values, bool(a * b + 0.2 * noise > 0), f"f{k % 20}")
    assert next(e for e in compare(linear) if e.chosen).estimator == "logistic regression"
    assert next(e for e in compare(crossed) if e.chosen).estimator != "logistic regression"


def test_an_ablation_finds_the_name_that_tells(world: World) -> None:
    """Without the share of the vote, whether it is right cannot be told; the rest adds nothing."""
    (first, gain), *others = ablation(world(200), "icl_right", ("light", "long"))
    assert first == "vote_share"
    assert gain > 0.03
    assert all(other < 0.02 for _, other in others)

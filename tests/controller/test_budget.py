"""What may be spent, as a policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autottt.adapters.models.fake import FakeModel
from autottt.controller.budget import Budget
from autottt.controller.certificate import RiskTable
from autottt.controller.difficulty import Gate
from autottt.controller.policy import PRICE, Policy, decide
from autottt.errors import GateError, InputError
from autottt.solver import Solver
from autottt.types import Task

PRICES = ((0.0, 9.0, 0.6), (0.01, 4.0, 0.58), (0.1, 1.0, 0.4))


def test_what_no_gate_hears_is_said() -> None:
    """A price and exploration are a gate's affair; drawing at random voids a certificate."""
    model = FakeModel(lambda grid: grid, lambda grid: grid)
    assert any("neither a price" in w for w in Solver(model, price=0.1).warnings)
    assert not any("neither a price" in w for w in Solver(model).warnings)
    drawn = Solver(model, budget=Budget(risk=0.1), explore=0.5)
    answer = drawn.solve(Task.from_examples([([[1]], [[1]])] * 2, [[2]]))
    assert any("drawn at random" in w for w in answer.warnings)


def test_a_price_is_taken_as_it_is(gate: Gate) -> None:
    """And without a word there is the default one."""
    assert Budget().policy(gate) == (Policy(PRICE), None)
    assert Budget(price=0.2).policy(None) == (Policy(0.2), None)


def test_mean_seconds_take_the_lowest_price_that_keeps_them(gate: Gate) -> None:
    """What no price keeps is refused, with the least that is possible."""
    known = replace(gate, prices=PRICES)
    assert Budget(mean_seconds=5.0).policy(known) == (Policy(0.01), None)
    assert Budget(mean_seconds=50.0).policy(known) == (Policy(0.0), None)
    with pytest.raises(InputError, match=r"the least that the gate knows of is 1\.00 s"):
        Budget(mean_seconds=0.5).policy(known)
    with pytest.raises(GateError, match="need a gate"):
        Budget(mean_seconds=5.0).policy(None)


def test_a_certified_risk_is_a_least_gain(gate: Gate) -> None:
    """What is expected to gain less is not run; what gains more is, whatever it costs."""
    sure = replace(gate, risk=RiskTable(200, (0.0, 0.3, 0.6), (0, 5, 90)))
    policy, warning = Budget(risk=0.1).policy(sure)
    assert (policy, warning) == (Policy(0.0, least=0.3), None)
    hard = {"consensus": -1.5, "regular": 2.0, "prompt_tokens": 2000.0}
    assert decide(policy, sure, hard, tried={}, arms=["ttt"]).chosen == "ttt"
    easy = {"consensus": 2.5, "loo_accuracy": 1.0}
    left = decide(policy, sure, easy, tried={}, arms=["ttt"])
    assert left.chosen == "icl-vote"
    assert "less than 30.0%" in left.reason


@pytest.mark.parametrize(
    ("risk", "drifted", "why"),
    [
        (None, False, "made without tasks to certify on"),
        (RiskTable(10, (0.0,), (0,)), False, "10 answerable tasks"),
        (RiskTable(200, (0.0,), (0,)), True, "have drifted"),
    ],
)
def test_what_cannot_be_certified_is_said(
    gate: Gate, risk: RiskTable | None, drifted: bool, why: str
) -> None:
    """And the fallback is the one that was asked for."""
    known = replace(gate, risk=risk)
    policy, warning = Budget(risk=0.05).policy(known, drifted=drifted)
    assert policy == Policy(0.0)
    assert "not certified" in (warning or "")
    assert why in (warning or "")
    careful = Budget(risk=0.05, uncertified="answer").policy(known, drifted=drifted)[0]
    assert decide(careful, known, {"consensus": -9.0}, tried={}, arms=["ttt"]).chosen == "icl-vote"
    assert "there is no gate; the default policy decides" in (
        Budget(risk=0.05).policy(None)[1] or ""
    )
    hard = {"loo_accuracy": 0.0, "vote_share": 0.1}
    assert decide(Policy(), None, hard, tried={}, arms=["ttt"]).chosen == "ttt"
    assert decide(careful, None, hard, tried={}, arms=["ttt"]).chosen == "icl-vote"


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": 0.1, "risk": 0.1},
        {"mean_seconds": 0.0},
        {"risk": 1.0},
        {"confidence": 0.0},
        {"uncertified": "guess"},
    ],
)
def test_a_budget_is_checked(wrong: dict[str, object]) -> None:
    """Before anything is loaded."""
    with pytest.raises(InputError):
        Budget(**wrong)  # type: ignore[arg-type]

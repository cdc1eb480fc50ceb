"""A made-up world whose rules the gate must find: what the tests of the controller share."""

from __future__ import annotations

import numpy as np
import pytest

from autottt.controller.difficulty import Gate, fit_gate
from autottt.controller.outcomes import ArmOutcome, Outcome

MODEL = "fingerprint-of-a-model"


def make_outcomes(n: int = 240, *, seed: int = 0, model: str = MODEL) -> list[Outcome]:
    """`n` tasks of 12 families: consensus says if ICL is right, regularity if training helps."""
    rng = np.random.default_rng(seed)
    outcomes = []
    for i in range(n):
        consensus, regular, noise = rng.normal(size=3)
        tokens = int(rng.integers(200, 2000))
        icl = bool(consensus + 0.4 * rng.normal() > 0.3)
        ttt = bool(regular + 0.4 * rng.normal() > -0.3)
        features = {
            "consensus": float(consensus),
            "regular": float(regular),
            "noise": float(noise),
            "loo_accuracy": float(icl if rng.random() < 0.7 else not icl),
            "prompt_tokens": float(tokens),
        }
        if i % 7 == 0:
            del features["noise"]  # a feature that was not measured on every task
        arms = {
            "icl-vote": ArmOutcome(icl, 0.5 + tokens / 1000, tokens, {}),
            "ttt": ArmOutcome(
                ttt, 3.0 + tokens / 100, 60 * tokens, {"held_out": 0.4 * ttt + 0.6 * rng.random()}
            ),
        }
        outcomes.append(Outcome(f"task-{i}", f"family-{i % 12}", model, 0, features, arms))
    return outcomes


@pytest.fixture(scope="session")
def outcomes() -> list[Outcome]:
    return make_outcomes()


@pytest.fixture(scope="session")
def gate(outcomes: list[Outcome]) -> Gate:
    return fit_gate(outcomes, seed=1)

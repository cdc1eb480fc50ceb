"""Certificates: what Learn-then-Test may promise, and that it keeps it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from autottt.controller.certificate import RiskTable, p_value
from autottt.errors import InputError

GRID = tuple(float(x) for x in np.linspace(0, 1, 21))


def table(gains: np.ndarray) -> RiskTable:
    """A world where a task is missed as soon as the threshold is above its predicted gain."""
    return RiskTable(len(gains), GRID, tuple(int((gains < t).sum()) for t in GRID))


@pytest.mark.parametrize(("tasks", "epsilon"), [(45, 0.05), (114, 0.02), (230, 0.01)])
def test_how_many_tasks_without_a_miss_certify_a_risk(tasks: int, epsilon: float) -> None:
    """The known sizes: with one task fewer nothing is certified at 90 % confidence."""
    assert RiskTable(tasks, (0.0,), (0,)).threshold(epsilon) == 0.0
    assert RiskTable(tasks - 1, (0.0,), (0,)).threshold(epsilon) is None


def test_the_guarantee_holds() -> None:
    """Over 2,000 draws of tasks the true risk is above epsilon no more often than delta."""
    rng = np.random.default_rng(0)
    epsilon, confidence, broken, promised = 0.1, 0.9, 0, 0
    for _ in range(2000):
        threshold = table(rng.beta(2, 3, size=150)).threshold(epsilon, confidence)
        if threshold is not None:
            promised += 1
            from scipy.stats import beta

            broken += beta(2, 3).cdf(threshold) > epsilon
    assert promised == 2000
    margin = 3 * np.sqrt(0.1 * 0.9 / 2000)
    assert broken / 2000 <= 1 - confidence + margin
    assert broken > 0, "a bound that nothing ever comes near is worth little"


@given(st.lists(st.floats(0, 1), max_size=200), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_every_threshold_below_a_certified_one_passes(
    gains: list[float], epsilon: float, confidence: float
) -> None:
    """Testing is in a fixed order: nothing is certified beyond the first that fails."""
    risk = table(np.array(gains))
    found = risk.threshold(epsilon, confidence)
    passed = [p_value(m, risk.answerable, epsilon) <= 1 - confidence for m in risk.missed]
    until = passed.index(False) if False in passed else len(passed)
    assert found == (GRID[until - 1] if until else None)


@given(st.integers(1, 300), st.floats(0.01, 0.99), st.data())
def test_the_p_value_is_the_exact_binomial_one(
    tasks: int, epsilon: float, data: st.DataObject
) -> None:
    """The chance of so few misses were the risk just epsilon; without tasks nothing is shown."""
    missed = data.draw(st.integers(0, tasks))
    exact = sum(binom.pmf(k, tasks, epsilon) for k in range(missed + 1))
    assert p_value(missed, tasks, epsilon) == pytest.approx(exact, abs=1e-9)
    assert p_value(0, 0, epsilon) == 1.0


@pytest.mark.parametrize(("epsilon", "confidence"), [(0.0, 0.9), (1.0, 0.9), (0.1, 1.0)])
def test_levels_are_checked(epsilon: float, confidence: float) -> None:
    """A risk of none or a confidence of certainty cannot be had from a sample."""
    with pytest.raises(InputError, match="above 0 and below 1"):
        RiskTable(10, (0.0,), (0,)).threshold(epsilon, confidence)


def test_mapie_certifies_the_same() -> None:
    """MAPIE's risk control, on the same tasks, allows a threshold within one step of the grid."""
    risk_control = pytest.importorskip("mapie.risk_control")
    rng = np.random.default_rng(3)
    gains = rng.beta(2, 3, size=400)
    controller = risk_control.BinaryClassificationController(
        predict_function=lambda x: np.column_stack([1 - x[:, 0], x[:, 0]]),
        risk="recall",
        target_level=0.9,
        confidence_level=0.9,
        list_predict_params=np.array(GRID),
        fwer_method="fixed_sequence",
    )
    controller.calibrate(gains[:, None], np.ones(400, dtype=int))
    valid = [float(x) for x in controller.valid_predict_params]
    ours = table(gains).threshold(0.1, 0.9)
    assert ours is not None
    assert max(valid) == pytest.approx(ours, abs=0.051)

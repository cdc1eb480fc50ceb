"""One calibrated head."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autottt.controller import fitting
from autottt.controller.difficulty import Gate
from autottt.controller.fitting import expected_calibration_error, fit_head, matrix
from autottt.controller.heads import Head, Term, pooled

FEATURES = st.dictionaries(
    st.sampled_from(["consensus", "regular", "noise", "loo_accuracy", "prompt_tokens", "other"]),
    st.floats(),
)


def some_rows(n: int = 60) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    return [{"a": float(a), "b": float(b)} for a, b in rng.normal(size=(n, 2))]


@given(FEATURES)
@settings(max_examples=50)
def test_a_probability_is_one_whatever_the_features(gate: Gate, features: dict[str, float]) -> None:
    """Missing, unknown, infinite or absurd values still give a plain float in [0, 1]."""
    for head in gate.heads:
        p = gate.probability(head, features)
        assert type(p) is float
        assert 0 <= p <= 1


def test_pulls_add_up_to_the_log_odds(gate: Gate) -> None:
    """All pulls together are the log-odds less those of the average task."""
    head = gate.heads["icl_right"]
    row = {"consensus": 1.5, "regular": -0.3, "prompt_tokens": 900.0, "noise": math.nan}

    def log_odds(p: float) -> float:
        return math.log(p / (1 - p))

    pulls = head.pulls(row, n=100)
    assert {name for name, _, _ in pulls} == {"consensus", "regular", "prompt_tokens"}
    assert math.fsum(pull for _, _, pull in pulls) == pytest.approx(
        log_odds(head.probability(row)) - log_odds(head.probability({}))
    )


def test_pulls_are_the_strongest_first(gate: Gate) -> None:
    """The feature that decides comes first, and pulls the way it should."""
    pulls = gate.pulls("icl_right", {"consensus": 2.0, "noise": 2.0, "regular": 0.1}, n=2)
    assert len(pulls) == 2
    assert pulls[0][:2] == ("consensus", 2.0)
    assert pulls[0][2] > abs(pulls[1][2])
    json.dumps(pulls, allow_nan=False)


@pytest.mark.parametrize(
    ("positives", "groups", "why"),
    [(0, 6, "only 0 tasks"), (60, 6, "only 0 tasks"), (4, 6, "only 4 tasks"), (20, 1, "groups")],
)
def test_too_little_data_gives_the_base_rate(positives: int, groups: int, why: str) -> None:
    """A head that cannot be fitted is a constant with Laplace's correction, and says so."""
    rows = some_rows()
    head = fit_head(rows, [i < positives for i in range(60)], [f"g{i % groups}" for i in range(60)])
    assert not head.terms
    assert head.probability({"a": 3.0}) == (positives + 1) / 62
    assert head.pulls({"a": 3.0}) == ()
    assert head.report["kind"] == "constant"
    assert why in head.report["why_constant"]
    assert head.report["auroc"] is None
    json.dumps(head.report, allow_nan=False)


def test_an_event_of_one_family_is_not_generalised() -> None:
    """With every positive in one group no fold can train on both classes."""
    rows = some_rows()
    head = fit_head(rows, [i % 6 == 0 for i in range(60)], [f"g{i % 6}" for i in range(60)])
    assert not head.terms
    assert "groups" in head.report["why_constant"]


def test_the_plain_numbers_are_the_fitted_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """With values missing too, the head's probabilities are those of scikit-learn's estimator."""
    fitted: list[tuple[Any, Sequence[str]]] = []
    real = fitting.linear_form

    def seen(estimator: Any, names: Sequence[str]) -> tuple[float, dict[str, Term]]:
        fitted.append((estimator, names))
        return real(estimator, names)

    monkeypatch.setattr(fitting, "linear_form", seen)
    rows = some_rows(120)
    labels = [row["a"] + 0.5 * row["b"] > 0.2 for row in rows]
    for row in rows[::5]:
        del row["b"]
    head = fit_head(rows, labels, [f"g{i % 6}" for i in range(120)])
    ((estimator, names),) = fitted
    expected = estimator.predict_proba(matrix(names, rows))[:, 1]
    assert [head.probability(row) for row in rows] == pytest.approx(list(expected), rel=1e-9)
    assert len(set(expected)) > 100


def test_noise_gives_no_confidence() -> None:
    """Labels that the features do not explain are predicted near their base rate."""
    rng = np.random.default_rng(3)
    labels = [bool(v) for v in rng.random(200) < 0.3]
    rows = [{f"x{i}": float(v) for i, v in enumerate(row)} for row in rng.normal(size=(200, 6))]
    head = fit_head(rows, labels, [f"g{i % 10}" for i in range(200)])
    assert head.report["kind"] == "constant"
    assert all(head.probability(row) == head.prior for row in rows)
    assert head.report["ece"] < 0.1


def test_no_rows_at_all() -> None:
    """An arm that never gave an answer has a head that knows nothing."""
    head = fit_head([], [], [])
    assert head.probability({}) == 0.5
    assert head.report["brier"] is None
    assert isinstance(head, Head)


def test_calibration_error() -> None:
    """The error is the mean distance between what was said and what came true."""
    y = np.array([1, 0, 1, 1])
    assert expected_calibration_error(y, np.array([1.0, 0.0, 1.0, 1.0])) == 0
    assert expected_calibration_error(y, np.full(4, 0.25)) == pytest.approx(0.5)


TERMS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "long:tried"]),
    st.builds(Term, st.floats(-3, 3), st.floats(-2, 2), st.floats(0.1, 3)),
    min_size=1,
)


@given(
    st.dictionaries(
        st.sampled_from(["x", "y", "z"]), st.builds(Head, st.just(0.3), st.floats(-2, 2), TERMS)
    )
)
def test_heads_that_are_pooled_differ_in_their_level_alone(heads: dict[str, Head]) -> None:
    """What a feature adds is the mean over the heads; the average task and `Y:` terms are kept."""
    found = pooled(heads)
    assert list(found) == list(heads)
    for name, head in heads.items():
        assert found[name].probability({}) == head.probability({})
        for feature in ("a", "b", "c"):
            slopes = [
                h.terms[feature].weight / h.terms[feature].spread
                for h in heads.values()
                if feature in h.terms
            ]
            if slopes:
                term = found[name].terms[feature]
                assert term.weight / term.spread == pytest.approx(
                    sum(slopes) / len(heads), abs=1e-9
                )
            else:
                assert feature not in found[name].terms
        assert found[name].terms.get("long:tried") == head.terms.get("long:tried")


def test_a_head_of_no_terms_is_not_pooled() -> None:
    """It is a constant for want of tasks, and says nothing of what a feature is worth."""
    known = Head(0.4, -0.4, {"a": Term(1.0, 0.0, 2.0)})
    assert pooled({"x": known, "y": Head(0.9)}) == {"x": known, "y": Head(0.9)}
    assert pooled({}) == {}

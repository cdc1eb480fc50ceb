"""The estimator behind a head keeps scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from autottt.controller.fitting import HeadClassifier


@parametrize_with_checks([HeadClassifier()])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_contract(estimator: Any, check: Callable[[Any], None]) -> None:
    """Every check that scikit-learn has for a binary classifier."""
    check(estimator)


def test_groups_are_kept_whole_in_choosing_and_calibrating() -> None:
    """Labels that follow the group alone carry nothing over to other groups."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), 10)
    y = rng.integers(0, 2, size=24)[groups]
    x = np.eye(24)[groups] + rng.normal(scale=0.1, size=(240, 24))
    alone, together = HeadClassifier().fit(x, y), HeadClassifier().fit(x, y, groups=groups)
    assert np.abs(alone.predict_proba(x)[:, 1] - y).mean() < 0.2
    assert np.abs(together.predict_proba(x)[:, 1] - y).mean() > 0.4

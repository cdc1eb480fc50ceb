"""What the tests of pretraining share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validation set is for real runs; here it would take longer than the training."""
    monkeypatch.setattr("autottt.pretraining.train.Validation.run", lambda self, model: {})

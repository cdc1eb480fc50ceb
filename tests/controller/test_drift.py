"""Drift: noticed when the tasks change, hardly ever when they do not."""

from __future__ import annotations

import numpy as np

from autottt.controller.drift import EVERY, DriftMonitor


def stream(rng: np.random.Generator, shift: float = 0.0) -> dict[str, float]:
    """Two features of a task; the second may be missing."""
    found = {"share": float(rng.beta(2, 2) + shift), "loss": float(rng.normal())}
    return found if rng.random() < 0.8 else {"share": found["share"]}


def reference(rng: np.random.Generator) -> dict[str, list[float]]:
    """What the gate keeps."""
    return {"share": list(rng.beta(2, 2, size=200)), "loss": list(rng.normal(size=200))}


def test_a_stream_that_stays_the_same_is_left_alone() -> None:
    """In 100 streams of 200 tasks there are hardly any false alarms."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        monitor = DriftMonitor(reference(rng))
        for _ in range(200):
            monitor.hear(stream(rng))
        alarms += bool(monitor.drifted)
    assert alarms <= 5


def test_a_stream_that_changes_is_noticed_and_named() -> None:
    """Within a few looks, with the feature that moved; the warning stays."""
    rng = np.random.default_rng(1)
    monitor = DriftMonitor(reference(rng))
    heard = [monitor.hear(stream(rng, shift=0.4)) for _ in range(4 * EVERY)]
    assert heard[EVERY - 2] is None, "no look before there are enough tasks"
    assert set(monitor.drifted) == {"share"}
    assert "share (p " in (heard[-1] or "")
    assert "certificate is void" in (monitor.hear(stream(rng)) or "")


def test_without_a_reference_nothing_is_claimed() -> None:
    """A gate of constants reads nothing, so nothing can drift."""
    monitor = DriftMonitor({"share": []})
    assert all(monitor.hear({"share": float(k)}) is None for k in range(100))

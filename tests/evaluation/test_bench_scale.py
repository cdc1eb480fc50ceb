"""The model of how a run grows; the measurement is `autottt bench-scale`."""

from __future__ import annotations

import pytest

from autottt.evaluation.bench_scale import BEYOND, modelled


def row(tasks: int, workers: int, seconds: float, solving: float) -> dict[str, float]:
    """A measured run that took 10 s to start."""
    return {
        "tasks": tasks,
        "workers": workers,
        "start": 10.0,
        "seconds": seconds,
        "solving": solving,
    }


def test_the_model_is_the_documented_one() -> None:
    """3 s a task on two workers, 0.1 s of the loop's own: up to 30 workers pay."""
    rows = [row(10, 0, 21.0, 20.0), row(10, 1, 22.0, 21.0), row(10, 2, 16.0, 30.0)]
    found = modelled(rows)
    assert (found["start"], found["task"]) == (10.0, 3.0)
    assert found["own"] == pytest.approx(0.1)
    assert found["workers_that_pay"] == pytest.approx(30.0)
    seconds = [entry["seconds"] for entry in found["modelled"]]
    assert seconds[0] == pytest.approx(10 + 10 * 3 / 2)  # the run that was measured at 10 + 16 s
    assert seconds[1:] == pytest.approx([10 + n * max(3 / w, 0.1) for n, w in BEYOND])

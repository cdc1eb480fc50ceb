"""The probe, where memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from autottt.adapters.models.base import Score, TokenSequence
from autottt.adapters.models.fake import FakeModel
from autottt.controller.outcomes import read_outcomes
from autottt.controller.probe import run_probe
from autottt.errors import StrategyError
from autottt.evaluation.collect import measure_all
from autottt.strategies.base import RunContext
from autottt.strategies.icl import ICL
from autottt.types import Grid, Task

LONG = 60  # tokens


def mirror(grid: Grid) -> Grid:
    """The rule of the tasks."""
    return tuple(row[::-1] for row in grid)


class Small(FakeModel):
    """A model that has no memory for scoring what is long."""

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        if max(len(sequence.ids) for sequence in sequences) > LONG:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().score(sequences)


def make(width: int) -> Task:
    """A mirror task of rows that wide."""
    rows = [[(place + k) % 10 for k in range(width)] for place in range(4)]
    shown = [([row], [row[::-1]]) for row in rows]
    return Task.from_examples(shown[1:], shown[0][0], id=f"width{width}", target=shown[0][1])


def test_memory_running_out_in_scoring_is_a_typed_error() -> None:
    """It says what was done, and holds nothing of what that had in memory."""
    with pytest.raises(StrategyError, match="demonstrations ran out of memory") as caught:
        run_probe(make(9), RunContext(Small(mirror, mirror)), ICL())
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_tasks_after_one_that_is_too_large_are_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out with a warning, the first time and when the log is gone on with."""
    tasks, log = [("g", make(9)), ("g", make(3)), ("g", make(2))], tmp_path / "log.jsonl"
    for _ in range(2):
        caplog.clear()
        assert measure_all(tasks, log, Small(mirror, mirror), ["icl"], 0) == 2
        assert "task width9 was left out" in caplog.text
    assert [outcome.task_id for outcome in read_outcomes(log)] == ["width3", "width2"]

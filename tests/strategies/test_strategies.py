"""The shipped strategies, on the fake model and on a real tiny one."""

from __future__ import annotations

import time
from typing import cast

import numpy as np
import pytest

from autottt.adapters.models.base import LoraSettings, TrainSettings
from autottt.adapters.models.fake import FakeModel
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.tasks.prompts import completion
from autottt.errors import StrategyError, UnknownNameError
from autottt.strategies import registry
from autottt.strategies.base import RunContext, Strategy
from autottt.strategies.icl import ICL
from autottt.strategies.sequences import demonstration_sequence
from autottt.strategies.ttt import TTT
from autottt.types import Grid, Task, Value

SHORT = TTT(adapter=LoraSettings(rank=4, alpha=8), training=TrainSettings(steps=3, stop_loss=0.0))


def mirror(grid: Value) -> Grid:
    """A rule that commutes with every view of a line."""
    return tuple(row[::-1] for row in cast("Grid", grid))


def same(grid: Grid) -> Grid:
    """The rule of a model that has not understood."""
    return grid


@pytest.fixture
def task() -> Task:
    """Three lines and their mirror images."""
    lines = [[[1, 2, 0, 3]], [[4, 0, 0, 5]], [[6, 7, 8, 0]]]
    return Task.from_examples([(x, [x[0][::-1]]) for x in lines], [[9, 1, 0, 0]])


@pytest.mark.parametrize("strategy", [registry.get(n) for n in ("icl", "icl-vote", "icl-search")])
def test_icl_answers_what_the_model_knows(strategy: Strategy, task: Task) -> None:
    """Views are undone before the vote, so a model that knows the rule is unanimous."""
    model = FakeModel(before=mirror, after=mirror)
    attempt = strategy.run(task, RunContext(model))
    assert attempt.candidates[0][0].output == mirror(task.queries[0])
    assert attempt.evidence["vote_share"] == 1.0
    assert attempt.tokens > 0


def test_ttt_answers_what_the_model_has_learnt(task: Task) -> None:
    """The answer comes from the trained model, and the model is as before."""
    model = FakeModel(before=same, after=mirror, learns_after=3)
    attempt = SHORT.run(task, RunContext(model))
    assert attempt.candidates[0][0].output == mirror(task.queries[0])
    assert (attempt.steps, attempt.stop_reason) == (3, "all steps")
    assert model.verify()


def test_every_output_is_a_target_and_nothing_else(task: Task) -> None:
    """The tokens with loss are the completions, one after another."""
    sequence = demonstration_sequence(task, FakeModel(same, same))
    trained = bytes(i for i, t in zip(sequence.ids, sequence.is_target, strict=True) if t)
    assert trained.decode() == "".join(completion(e.output) for e in task.demonstrations)


def test_one_demonstration_is_not_enough_to_train_on() -> None:
    """TTT says why it cannot run; ICL can."""
    single = Task.from_examples([([[1]], [[2]])], [[3]])
    model = FakeModel(same, same)
    assert "at least two" in (TTT().unavailable(single, RunContext(model)) or "")
    assert ICL().unavailable(single, RunContext(model)) is None


@pytest.mark.parametrize("strategy", [ICL(), TTT()])
def test_a_short_context_is_a_reason(strategy: ICL | TTT, task: Task) -> None:
    """A task over the context makes every strategy unavailable, with both lengths named."""
    reason = strategy.unavailable(task, RunContext(FakeModel(same, same, context=20))) or ""
    assert "20" in reason
    assert "tokens" in reason


def test_a_deadline_already_past_is_a_typed_failure(
    task: Task, tiny_model: HuggingFaceModel
) -> None:
    """Without time for a step there is no attempt, and the model is restored."""
    with pytest.raises(StrategyError, match="no time"):
        SHORT.run(task, RunContext(tiny_model, deadline=time.monotonic() - 1))
    assert tiny_model.verify()


@pytest.mark.parametrize("strategy", [ICL(), SHORT])
def test_the_same_seed_gives_the_same_attempt(
    strategy: ICL | TTT, task: Task, tiny_model: HuggingFaceModel
) -> None:
    """Candidates, scores and evidence repeat to the last bit; a run shorter than one step apart."""
    proposals = []
    for _ in range(2):
        try:
            attempt = strategy.run(task, RunContext(tiny_model, seed=3))
            proposals.append((attempt.candidates, attempt.evidence))
        except StrategyError as error:  # a random model may write no grid at all, but always so
            proposals.append(((), {str(error): 0.0}))
    assert proposals[0] == proposals[1]


def test_progress_is_reported_for_every_step(task: Task) -> None:
    """Training tells how far it is."""
    heard: list[tuple[int, int]] = []
    context = RunContext(
        FakeModel(same, mirror), progress=lambda what, done, total: heard.append((done, total))
    )
    SHORT.run(task, context)
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_an_unknown_strategy_lists_the_known() -> None:
    """The error names what there is."""
    with pytest.raises(
        UnknownNameError, match="icl, icl-experts, icl-options, icl-search, icl-vote, ttt"
    ):
        registry.get("magic")


def test_a_broken_plug_in_is_listed_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that cannot be loaded is named with its reason; the rest is there."""
    from importlib.metadata import EntryPoint

    point = EntryPoint("bad", "no_such_module:Thing", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    registry._plugins.cache_clear()
    try:
        assert "ModuleNotFoundError" in registry.broken()["bad"]
        assert {"icl", "icl-vote", "ttt"} <= set(registry.available())
    finally:
        registry._plugins.cache_clear()


def test_training_views_differ_from_step_to_step(task: Task) -> None:
    """Augmentation draws new sequences at each step, the same ones for the same seed."""
    model = FakeModel(same, same)
    batch = SHORT.batches(task, RunContext(model, seed=1))
    again = SHORT.batches(task, RunContext(model, seed=1))
    assert batch(0) == again(0)
    assert batch(0) != batch(1)
    assert np.mean([len(s.ids) for s in batch(0)]) == len(batch(0)[0].ids)

"""The LoRA session restores the model whatever happens inside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from autottt.adapters.models.base import LoraSettings, TokenSequence, TrainSettings
from autottt.adapters.models.fingerprint import Snapshot, fingerprint
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.errors import DivergenceError, RestorationError

SETTINGS = LoraSettings(rank=4, alpha=8)
TRAINING = TrainSettings(steps=6, stop_loss=0.0)


def batch(step: int) -> list[TokenSequence]:
    """Two short sequences, every token a target."""
    return [TokenSequence((48, 49, 50, 51 + step), (False, True, True, True))] * 2


def failing(error: BaseException, at: int) -> Callable[[int], Sequence[TokenSequence]]:
    """A source of batches that raises at one step."""

    def source(step: int) -> list[TokenSequence]:
        if step == at:
            raise error
        return batch(step)

    return source


def assert_untouched(model: HuggingFaceModel, before: Snapshot) -> None:
    """Weights, flags, modes, RNG, module tree and gradients are as they were."""
    assert before.differences(model.module) == []
    assert not any("lora" in name for name, _ in model.module.named_modules())
    assert all(p.grad is None for p in model.module.parameters())
    assert model.verify()


def test_success_changes_predictions_inside_and_nothing_outside(
    tiny_model: HuggingFaceModel,
) -> None:
    """Inside the session the model has learnt; outside it is bit for bit what it was."""
    before = Snapshot.take(tiny_model.module)
    asked = batch(0)[:1]
    cold = tiny_model.score(asked)[0].log_probabilities
    with tiny_model.session(SETTINGS, seed=0) as session:
        record = session.train(batch, TRAINING)
        warm = tiny_model.score(asked)[0].log_probabilities
    assert record.steps == 6
    assert record.stop_reason == "all steps"
    assert sum(warm) > sum(cold)
    assert tiny_model.score(asked)[0].log_probabilities == cold
    assert_untouched(tiny_model, before)


@pytest.mark.parametrize("at", [0, 1, 5])
@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), MemoryError()])
def test_an_exception_at_any_step_leaves_the_model_as_it_was(
    tiny_model: HuggingFaceModel, error: BaseException, at: int
) -> None:
    """An error, Ctrl-C or exhausted memory at step k passes through, and the model is restored."""
    before = Snapshot.take(tiny_model.module)
    with pytest.raises(type(error)), tiny_model.session(SETTINGS, seed=0) as session:
        session.train(failing(error, at), TRAINING)
    assert_untouched(tiny_model, before)


def test_a_loss_that_is_not_finite_is_a_typed_error(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN in the loss stops the training with `DivergenceError`, and the model is restored."""
    before = Snapshot.take(tiny_model.module)
    real, calls = torch.nn.functional.cross_entropy, []

    def poisoned(*args: Any) -> Any:
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", poisoned)
    with (
        pytest.raises(DivergenceError, match="step 2"),
        tiny_model.session(SETTINGS, seed=0) as session,
    ):
        session.train(batch, TRAINING)
    assert_untouched(tiny_model, before)


def test_the_deadline_stops_at_a_step_boundary(tiny_model: HuggingFaceModel) -> None:
    """A deadline that passes during training ends it there, with the reason."""
    before = Snapshot.take(tiny_model.module)
    end = time.monotonic() + 0.3
    with tiny_model.session(SETTINGS, seed=0) as session:
        record = session.train(batch, TrainSettings(steps=100_000, stop_loss=0.0), deadline=end)
    assert record.stop_reason == "deadline"
    assert 0 < record.steps < 100_000
    assert_untouched(tiny_model, before)


def test_a_low_loss_ends_the_training(tiny_model: HuggingFaceModel) -> None:
    """Training stops once the running loss is under the limit, and says so."""
    with tiny_model.session(SETTINGS, seed=0) as session:
        record = session.train(batch, TrainSettings(steps=50, stop_loss=100.0))
    assert (record.steps, record.stop_reason) == (1, "loss under 100")


def test_damaged_weights_are_found_and_the_model_is_loaded_again(
    tiny_model: HuggingFaceModel,
) -> None:
    """A base weight changed inside a session raises, and the model is then the original again."""
    with (
        pytest.raises(RestorationError, match="weights"),
        tiny_model.session(SETTINGS, seed=0),
        torch.no_grad(),
    ):
        next(tiny_model.module.parameters()).add_(1.0)
    assert tiny_model.verify()


def test_the_same_seed_gives_the_same_lora(tiny_model: HuggingFaceModel) -> None:
    """Two sessions with one seed train to the same losses; another seed differs."""

    def losses(seed: int) -> tuple[float, ...]:
        with tiny_model.session(SETTINGS, seed=seed) as session:
            return session.train(batch, TRAINING).losses

    assert losses(1) == losses(1) != losses(2)


def test_the_fingerprint_sees_one_bit(tiny_model: HuggingFaceModel) -> None:
    """Changing one bit of one weight changes the fingerprint; undoing it brings it back."""
    weights = next(tiny_model.module.parameters()).detach().view(torch.int32)
    before = fingerprint(tiny_model.module)
    weights[0, 0] ^= 1
    changed = fingerprint(tiny_model.module)
    weights[0, 0] ^= 1
    assert changed != before == fingerprint(tiny_model.module)

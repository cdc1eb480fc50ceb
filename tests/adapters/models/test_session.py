"""The adapter session restores the model whatever happens inside it."""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.models import fingerprint as fingerprint_module
from autottt.adapters.models import huggingface as huggingface_module
from autottt.adapters.models import session as session_module
from autottt.adapters.models.base import HeldOut, LoraSettings, TokenSequence, TrainSettings
from autottt.adapters.models.fingerprint import Snapshot, checksum, fingerprint
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.lora_layers import attach, detach
from autottt.adapters.models.progress import Run
from autottt.errors import DivergenceError, InputError, RestorationError, StrategyError
from tests.adapters.models.zoo import save

SETTINGS = LoraSettings(rank=4, alpha=8)
TRAINING = TrainSettings(steps=6, stop_loss=0.0)


def batch(step: int) -> list[TokenSequence]:
    """Two short sequences, every token a target."""
    return [TokenSequence((48, 49, 50, 51 + step), (False, True, True, True))] * 2


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        (TrainSettings, {"steps": 0}, "steps is a whole number from 1, not 0"),
        (TrainSettings, {"steps": 2.5}, "steps is a whole number"),
        (TrainSettings, {"check_every": float("inf")}, "check_every is a whole number"),
        (TrainSettings, {"learning_rate": -1e-3}, "learning_rate is a number of zero or more"),
        (TrainSettings, {"stop_loss": float("nan")}, "stop_loss is a number of zero or more"),
        (TrainSettings, {"smoothing": 1.0}, "smoothing is from 0 and below 1"),
        (TrainSettings, {"clip": 0}, "clip is above zero"),
        (TrainSettings, {"optimizer": "sgd"}, "optimizer is adamw or muon, not 'sgd'"),
        (LoraSettings, {"rank": 0}, "rank is a whole number from 1"),
        (LoraSettings, {"alpha": 0}, "alpha is above zero"),
        (LoraSettings, {"dropout": 1.0}, "dropout is from 0 and below 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    kind: Callable[..., object], given: dict[str, Any], says: str
) -> None:
    """Where a strategy is made, not in the middle of a task."""
    with pytest.raises(InputError, match=says):
        kind(**given)


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


def test_dropout_of_the_base_follows_the_seed(tmp_path: Path) -> None:
    """GPT-2 drops activations in training; what it learns is the same whatever came before."""
    model = HuggingFaceModel(str(save("gpt2", tmp_path)))
    losses = []
    for before in (1, 2):
        torch.manual_seed(before)
        state = Snapshot.take(model.module)
        with model.session(SETTINGS, seeds=[7]) as session:
            (record,) = session.train([batch], TRAINING)
        assert_untouched(model, state)
        losses.append(record.losses)
    assert losses[0] == losses[1]


def test_success_changes_predictions_inside_and_nothing_outside(
    tiny_model: HuggingFaceModel,
) -> None:
    """Inside the session the model has learnt; outside it is bit for bit what it was."""
    before = Snapshot.take(tiny_model.module)
    asked = batch(0)[:1]
    cold = tiny_model.score(asked)[0].log_probabilities
    with tiny_model.session(SETTINGS, seeds=[0]) as session:
        (record,) = session.train([batch], TRAINING)
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
    with pytest.raises(type(error)), tiny_model.session(SETTINGS, seeds=[0]) as session:
        session.train([failing(error, at)], TRAINING)
    assert_untouched(tiny_model, before)


def test_an_impatient_second_interrupt_waits_until_the_model_is_restored(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the adapters are taken off is heard, and only when they are off."""
    before = Snapshot.take(tiny_model.module)

    def interrupted(module: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        detach(module)

    monkeypatch.setattr("autottt.adapters.models.session.detach", interrupted)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt), tiny_model.session(SETTINGS, seeds=[0]) as session:
            session.train([failing(ValueError("boom"), 1)], TRAINING)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)
    assert_untouched(tiny_model, before)


def test_a_loss_that_is_not_finite_is_a_typed_error(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN in the loss stops the training with `DivergenceError`, and the model is restored."""
    before = Snapshot.take(tiny_model.module)
    real, calls = torch.nn.functional.cross_entropy, []

    def poisoned(*args: Any, **settings: Any) -> Any:
        calls.append(1)
        return real(*args, **settings) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", poisoned)
    with (
        pytest.raises(DivergenceError, match="step 2"),
        tiny_model.session(SETTINGS, seeds=[0]) as session,
    ):
        session.train([batch], TRAINING)
    assert_untouched(tiny_model, before)


def test_the_deadline_stops_at_a_step_boundary(tiny_model: HuggingFaceModel) -> None:
    """A deadline that passes during training ends it there, with the reason."""
    before = Snapshot.take(tiny_model.module)
    end = time.monotonic() + 0.3
    with tiny_model.session(SETTINGS, seeds=[0]) as session:
        settings = TrainSettings(steps=100_000, stop_loss=0.0)
        (record,) = session.train([batch], settings, deadline=end)
    assert record.stop_reason == "deadline"
    assert 0 < record.steps < 100_000
    assert_untouched(tiny_model, before)


def test_nothing_is_checked_after_the_deadline(tiny_model: HuggingFaceModel) -> None:
    """The first check, of all that is held out, takes longer than a step."""
    held = HeldOut(lambda check: pytest.fail("what is held out was scored"), 1)
    with tiny_model.session(SETTINGS, seeds=[0]) as session:
        (record,) = session.train([batch], TRAINING, held_out=[held], deadline=time.monotonic())
    assert (record.steps, record.stop_reason, record.checks) == (0, "deadline", ())


def test_a_low_loss_ends_the_training(tiny_model: HuggingFaceModel) -> None:
    """Training stops once the running loss is under the limit, and says so."""
    with tiny_model.session(SETTINGS, seeds=[0]) as session:
        (record,) = session.train([batch], TrainSettings(steps=50, stop_loss=100.0))
    assert (record.steps, record.stop_reason) == (1, "loss under 100")


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_the_running_loss_that_ends_a_training(smoothing: float) -> None:
    """The losses before weigh `smoothing`; the first stands for itself."""
    settings = TrainSettings(smoothing=smoothing)
    run = Run(0, batch, None)
    run.note(2.0, settings)
    assert run.smooth == 2.0
    run.note(1.0, settings)
    run.note(0.5, settings)
    assert run.smooth == pytest.approx(
        smoothing**2 * 2.0 + smoothing * (1 - smoothing) * 1.0 + (1 - smoothing) * 0.5
    )


def test_damaged_weights_are_found_and_the_model_is_loaded_again(
    tiny_model: HuggingFaceModel,
) -> None:
    """A base weight changed inside a session raises, and the model is then the original again."""
    with (
        pytest.raises(RestorationError, match="weights"),
        tiny_model.session(SETTINGS, seeds=[0]),
        torch.no_grad(),
    ):
        next(tiny_model.module.parameters()).add_(1.0)
    assert tiny_model.verify()


def test_the_same_seed_gives_the_same_lora(tiny_model: HuggingFaceModel) -> None:
    """Two sessions with one seed train to the same losses; another seed differs."""

    def losses(seed: int) -> tuple[float, ...]:
        with tiny_model.session(SETTINGS, seeds=[seed]) as session:
            return session.train([batch], TRAINING)[0].losses

    assert losses(1) == losses(1) != losses(2)


def test_checks_see_what_was_learnt_whatever_trains(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of weights with a LoRA added are of the last step, by each way to compute one."""

    def checks() -> list[float]:
        held = HeldOut(lambda check: batch(0)[:1], 1)
        training = replace(TRAINING, check_every=2, enough=2.0, hopeless=-1.0, learning_rate=1e-2)
        with tiny_model.session(LoraSettings(rank=64), seeds=[0]) as session:
            (record,) = session.train([batch], training, held_out=[held])
        return [check.loss for check in record.checks]

    usual = checks()
    monkeypatch.setattr(session_module, "fused", lambda module: None)
    beside = checks()
    monkeypatch.setattr(session_module, "beside", lambda module: None)
    assert usual == pytest.approx(checks(), rel=2e-2)
    assert usual == pytest.approx(beside, rel=2e-2)
    assert beside[-1] < beside[0] - 0.3


@pytest.mark.parametrize("of", [fingerprint, checksum])
def test_one_bit_is_seen(tiny_model: HuggingFaceModel, of: Callable[[Any], Any]) -> None:
    """Changing one bit of one weight changes what it is known by; undoing it brings it back."""
    weights = next(tiny_model.module.parameters()).detach().view(torch.int32)
    before = of(tiny_model.module)
    weights[0, 0] ^= 1
    changed = of(tiny_model.module)
    weights[0, 0] ^= 1
    assert changed != before == of(tiny_model.module)


@given(data=st.data(), dtype=st.sampled_from([torch.uint8, torch.bfloat16, torch.float32]))
def test_a_checksum_sees_every_byte(data: st.DataObject, dtype: torch.dtype) -> None:
    """Whatever the size of a tensor, and wherever in memory it begins."""
    size = data.draw(st.sampled_from([1, 3, 8, 1000, 2**14 + 5, 2**17 + 9, 2**18]))
    begin = data.draw(st.integers(0, 9))
    memory = torch.randint(0, 100, (begin + size,)).to(dtype)
    module = torch.nn.Module()
    module.register_buffer("held", memory[begin:])
    before = checksum(module)
    raw = memory[begin:].view(torch.uint8)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    changed = checksum(module)
    assert changed != before
    module.register_buffer("held", memory[begin:].clone())  # elsewhere, and otherwise the same
    assert checksum(module) == changed


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_checksum_sees_signs_that_change_in_pairs(dtype: torch.dtype) -> None:
    """The highest bits of words, of a whole column or of two rows."""
    module = torch.nn.Linear(64, 2048).to(dtype).requires_grad_(False)
    before = checksum(module)
    for rows, columns in ((slice(None), 3), (slice(None), 1), ([5, 9], slice(None))):
        module.weight[rows, columns] *= -1
        assert checksum(module) != before
        module.weight[rows, columns] *= -1
        assert checksum(module) == before


def test_a_checksum_is_taken_elsewhere_where_memory_is_out(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same, so a session that ends for want of memory is proved as any other."""
    before, known = checksum(tiny_model.module), fingerprint_module._sum
    failed: list[int] = []

    def full_once(tensor: torch.Tensor) -> torch.Tensor:
        if not failed:
            failed.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return known(tensor)

    monkeypatch.setattr(fingerprint_module, "_sum", full_once)
    assert checksum(tiny_model.module) == before
    assert failed


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "down_proj")])
def test_the_lora_is_that_of_peft(
    tiny_model: HuggingFaceModel, targets: str | tuple[str, ...]
) -> None:
    """With the same matrices, logits and gradients are those of peft's own layers."""
    from peft import LoraConfig, get_peft_model

    settings = LoraSettings(rank=4, alpha=8, targets=targets)
    ids = torch.arange(48, 58, device=tiny_model.device)[None]
    before = Snapshot.take(tiny_model.module)
    for parameter in tiny_model.module.parameters():
        parameter.requires_grad_(False)
    layers = list(attach(tiny_model.module, settings, seeds=[0]).values())
    values = torch.Generator(tiny_model.device).manual_seed(1)
    for layer in layers:
        layer.lora_b.data.normal_(generator=values)
    ours = tiny_model.module(input_ids=ids).logits
    ours.square().mean().backward()
    detach(tiny_model.module)
    before.restore_state(tiny_model.module)
    assert_untouched(tiny_model, before)

    wanted = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=wanted, task_type="CAUSAL_LM")
    theirs: Any = get_peft_model(copy.deepcopy(tiny_model.module), config)
    pairs = [m for m in theirs.modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")]
    assert len(pairs) == len(layers)
    for layer, pair in zip(layers, pairs, strict=True):
        pair.lora_A["default"].weight.data = layer.lora_a.data[0].clone()
        pair.lora_B["default"].weight.data = layer.lora_b.data[0].clone()
    logits = theirs(input_ids=ids).logits
    torch.testing.assert_close(logits, ours, rtol=1e-4, atol=1e-5)
    logits.square().mean().backward()
    for layer, pair in zip(layers, pairs, strict=True):
        gradient = pair.lora_A["default"].weight.grad
        assert layer.lora_a.grad is not None
        torch.testing.assert_close(gradient, layer.lora_a.grad[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "seeds"),
    [
        (("layers.1.self_attn.q_proj",), [0]),
        (("o_proj",), [0, 1]),
        (("q_proj", "v_proj"), [0, 1]),
    ],
)
def test_a_lora_on_some_of_the_layers_is_scored_by_all_of_them(
    targets: tuple[str, ...],
    seeds: list[int],
    embedded: HuggingFaceModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores are those of the model's own layers, for one task's LoRA or those of two at once."""
    settings = LoraSettings(rank=64, alpha=128, targets=targets)
    rows = [TokenSequence(tuple(range(48, 68)), (False,) + (True,) * 19)] * 2
    with embedded.session(settings, seeds=seeds) as session:
        for place, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            state = {
                name: value + 0.02 * torch.randn(value.shape, generator=generator)
                for name, value in session.state(place).items()
            }
            session.load(place, state)
        found = embedded.score(rows)
        monkeypatch.setattr(huggingface_module, "scorer", lambda module: None)
        plain = embedded.score(rows)
    for ours, theirs in zip(found, plain, strict=True):
        assert ours.log_probabilities == pytest.approx(theirs.log_probabilities, abs=0.1)
    if len(seeds) > 1:
        assert found[0].log_probabilities != found[1].log_probabilities


def test_targets_that_match_nothing_are_a_typed_error(tiny_model: HuggingFaceModel) -> None:
    """The error names the targets, and the model is as it was."""
    before = Snapshot.take(tiny_model.module)
    with (
        pytest.raises(StrategyError, match="nowhere"),
        tiny_model.session(LoraSettings(targets=("nowhere",)), seeds=[0]),
    ):
        raise AssertionError("the session opened")
    assert_untouched(tiny_model, before)


def task_batch(task: int) -> Callable[[int], Sequence[TokenSequence]]:
    """Batches of one of several tasks, of different lengths and numbers of rows."""

    def source(step: int) -> list[TokenSequence]:
        ids = tuple(48 + (task + i) % 10 for i in range(6 + 2 * task))
        return [TokenSequence(ids, tuple(i > 1 for i in range(len(ids))))] * (2 + task % 2)

    return source


def test_tasks_trained_together_learn_what_they_learn_alone(tiny_model: HuggingFaceModel) -> None:
    """Losses, steps and answers of three tasks in one pass are those of one at a time."""
    settings, training = SETTINGS, TrainSettings(steps=12, learning_rate=1e-2, stop_loss=5.35)
    asked = [task_batch(task)(0)[:1] for task in range(3)]
    alone = []
    for task in range(3):
        with tiny_model.session(settings, seeds=[task]) as session:
            (record,) = session.train([task_batch(task)], training)
            alone.append((record, tiny_model.score(asked[task])[0].log_probabilities))
    before = Snapshot.take(tiny_model.module)
    with tiny_model.session(settings, seeds=[0, 1, 2]) as session:
        records = session.train([task_batch(task) for task in range(3)], training)
        together = []
        for task in range(3):
            session.select([task])
            together.append(tiny_model.score(asked[task])[0].log_probabilities)
        session.select([2, 0])
        both = tiny_model.score([*asked[2], *asked[0]])
    assert_untouched(tiny_model, before)
    assert len({record.steps for record in records}) > 1, "the tasks stop at different steps"
    exactly = tiny_model.device == "cpu"  # elsewhere larger batches round otherwise
    for (record, scores), other, again in zip(alone, records, together, strict=True):
        assert other.stop_reason == record.stop_reason
        if exactly:
            assert (other.steps, other.tokens) == (record.steps, record.tokens)
        both_ran = min(other.steps, record.steps)
        assert other.losses[:both_ran] == pytest.approx(record.losses[:both_ran], rel=2e-2)
        assert again == pytest.approx(scores, rel=3e-2, abs=3e-2)
    assert both[0].log_probabilities == pytest.approx(together[2], rel=3e-2, abs=3e-2)
    assert both[1].log_probabilities == pytest.approx(together[0], rel=3e-2, abs=3e-2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
def test_compiled_steps_learn_the_same(tiny_model_folder: Path) -> None:
    """Losses are those of plain steps up to rounding, at any length, and all is restored."""
    plain = HuggingFaceModel(str(tiny_model_folder))
    compiled = HuggingFaceModel(str(tiny_model_folder), compiled=True)
    training = TrainSettings(steps=4, learning_rate=1e-2, stop_loss=0)
    for task in range(2):
        records = []
        for model in (plain, compiled):
            before = Snapshot.take(model.module)
            with model.session(SETTINGS, seeds=[0]) as session:
                records += session.train([task_batch(task)], training)
            assert_untouched(model, before)
        assert records[1].losses == pytest.approx(records[0].losses, rel=2e-2)


def test_compiling_needs_a_compiler(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one the model is refused at once, with the remedy."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"apt install g\+\+"):
        HuggingFaceModel(str(tiny_model_folder), compiled=True)

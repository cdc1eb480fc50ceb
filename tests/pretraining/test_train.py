"""The recipe learns, resumes to the step, and releases an ordinary model folder."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.errors import DivergenceError, InputError, StoppedError, StorageError
from autottt.pretraining import pace, train
from autottt.pretraining.checkpoint import CHECKPOINT, read_state, save
from autottt.pretraining.compare import compare
from autottt.pretraining.recipe import Log
from autottt.pretraining.release import release
from autottt.pretraining.train import attention_on, body_of, new_model, pretrain, sequence_loss
from tests.pretraining.tiny import RECIPE


class Killed(BaseException):
    """Stands for a kill between two steps."""


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretrain with these arguments and be killed after so many steps."""

    def run(steps: int, *arguments: Any, **settings: Any) -> None:
        step, taken = train.train_step, itertools.count()

        def dying(*batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
            if next(taken) == steps:
                raise Killed
            return step(*batch)

        with monkeypatch.context() as patched:
            patched.setattr(train, "train_step", dying)
            with pytest.raises(Killed):
                pretrain(*arguments, **settings)

    return run


def assert_same_end(whole: Path, broken: Path) -> None:
    """Both runs end at the same step with the same weights, optimizer states and losses."""
    (recipe, log), (other, record) = (read_state(out / CHECKPOINT) for out in (whole, broken))
    assert recipe == other
    assert (record.step, record.tokens, record.curve) == (log.step, log.tokens, log.curve)
    weights = [load_file(out / CHECKPOINT) for out in (whole, broken)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.fixture(autouse=True)
def shown_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few steps have a curve."""
    monkeypatch.setattr(train, "SHOW_EVERY", 5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never broken."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("autottt.pretraining.train.Validation.run", lambda self, model: {})
        patched.setattr(train, "SHOW_EVERY", 5)
        pretrain(RECIPE, out, save_every=4)
    return out


@pytest.mark.parametrize("picks", [True, False])
def test_the_loss_is_the_mean_over_the_targets_alone(
    monkeypatch: pytest.MonkeyPatch, picks: bool
) -> None:
    """Places without a target count for nothing, on a CPU and as it is done on accelerators."""
    monkeypatch.setattr(train, "_picks_places", lambda device: picks)
    heads = []
    model = new_model(RECIPE)
    ids = torch.randint(0, 256, (3, 20), generator=torch.Generator().manual_seed(0))
    targets = torch.where(ids % 3 == 0, ids, -100)
    model.lm_head.register_forward_hook(lambda *call: heads.append(call[2].shape[:-1].numel()))
    found = sequence_loss(model.model, model.lm_head, ids, targets)
    assert heads == [int((targets >= 0).sum()) if picks else ids.numel()]
    logits = model(input_ids=ids).logits[targets >= 0]
    expected = torch.nn.functional.cross_entropy(logits, targets[targets >= 0])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("steps", "kept"), [(0, 0), (3, 0), (6, 4), (8, 8)])
def test_a_killed_run_ends_where_an_unbroken_run_ends(
    tmp_path: Path, whole: Path, killed_after: Callable[..., None], steps: int, kept: int
) -> None:
    """Killed at a save, between two or before the second, it resumes as if it had not been."""
    killed_after(steps, RECIPE, tmp_path, save_every=4)
    recipe, record = read_state(tmp_path / CHECKPOINT)
    assert (recipe, record.step) == (RECIPE, kept)
    pretrain(RECIPE, tmp_path, save_every=4)
    assert_same_end(whole, tmp_path)


def test_a_stopped_run_keeps_the_step_in_hand(tmp_path: Path, whole: Path) -> None:
    """Told to stop between two saves it saves, says so, and goes on from that step."""
    asked = itertools.count(1)
    with pytest.raises(StoppedError, match="SIGTERM: stopped after step 7 of 12"):
        pretrain(RECIPE, tmp_path, stopped=lambda: "SIGTERM" if next(asked) == 7 else None)
    assert read_state(tmp_path / CHECKPOINT)[1].step == 7
    pretrain(RECIPE, tmp_path)
    assert_same_end(whole, tmp_path)


def test_signals_to_the_whole_group_do_not_end_the_workers(tmp_path: Path, whole: Path) -> None:
    """Ctrl-C reaches the process that makes batches, too, which goes on until it is ended."""

    others = psutil.Process().children()

    def interrupt() -> None:
        for child in psutil.Process().children():
            if child in others:
                continue
            child.send_signal(2)
            child.send_signal(15)

    pretrain(RECIPE, tmp_path, stopped=interrupt)
    assert_same_end(whole, tmp_path)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_the_state_of_the_optimizers_is_all_there(tmp_path: Path, whole: Path, change: str) -> None:
    """A checkpoint without some of it is refused, not gone on from with less."""
    with safe_open(whole / CHECKPOINT, framework="pt") as reader:
        metadata = reader.metadata()
    tensors = load_file(whole / CHECKPOINT)
    first = "optimizer/0/0/momentum_buffer"
    if change == "missing":
        del tensors[first]
    elif change == "unknown":
        tensors["optimizer/2/0/step"] = torch.zeros(())
    else:
        tensors[first] = tensors[first][:1].clone()
    save_file(tensors, tmp_path / CHECKPOINT, metadata=metadata)
    with pytest.raises(InputError, match=r"optimizer state of step 12 .*name another folder"):
        pretrain(RECIPE, tmp_path)


@pytest.mark.parametrize("step", [-1, 13, 1.0, True, "3", None])
def test_the_step_of_a_checkpoint_is_one_of_its_run(
    tmp_path: Path, whole: Path, step: object
) -> None:
    """Another is refused with its value."""
    with safe_open(whole / CHECKPOINT, framework="pt") as reader:
        state = json.loads(reader.metadata()["state"])
    state["log"]["step"] = step
    save_file({}, tmp_path / CHECKPOINT, metadata={"state": json.dumps(state)})
    with pytest.raises(InputError, match=f"its step is {step!r} of 12"):
        read_state(tmp_path / CHECKPOINT)


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """The error names the file, and what to do; a folder where one is expected is none."""
    model = new_model(RECIPE)
    gone = tmp_path / "gone"
    with pytest.raises(StorageError, match=f"{gone / CHECKPOINT} cannot be written .*No such file"):
        save(model, [], Log(), RECIPE, gone)
    (tmp_path / CHECKPOINT).mkdir()
    with pytest.raises(StorageError, match="make room or mend the folder"):
        save(model, [], Log(), RECIPE, tmp_path)
    with pytest.raises(InputError, match="is not a checkpoint"):
        read_state(tmp_path / CHECKPOINT)


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    """Where the folder holds a run of another recipe it is left as it is."""
    pretrain(replace(RECIPE, steps=1), tmp_path)
    with pytest.raises(InputError, match="another recipe"):
        pretrain(replace(RECIPE, hidden=16), tmp_path)
    assert read_state(tmp_path / CHECKPOINT)[1].step == 1


@pytest.mark.parametrize("step", [7, 12])
def test_a_run_that_diverges_keeps_its_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Weights that are not finite are never saved, at the end as little as between."""
    loss, taken = train.sequence_loss, itertools.count(1)

    def diverging(*batch: Any) -> torch.Tensor:
        return loss(*batch) * (float("inf") if next(taken) == step else 1.0)

    monkeypatch.setattr(train, "sequence_loss", diverging)
    with pytest.raises(DivergenceError, match=f"step {step} is not finite; .* keeps step"):
        pretrain(RECIPE, tmp_path, save_every=4)
    assert read_state(tmp_path / CHECKPOINT)[1].step == (4 if step == 7 else 8)
    assert all(t.isfinite().all() for t in load_file(tmp_path / CHECKPOINT).values())


def test_without_a_compiler_training_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on, slower, and says what to install."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    model = new_model(RECIPE)
    with caplog.at_level(logging.WARNING):
        assert body_of(model, replace(RECIPE, compile=True)) is model.model
    assert "C++ compiler" in caplog.text


@pytest.mark.parametrize(
    ("device", "rows", "attention"),
    [("cpu", (256,), "eager"), ("cpu", (256, 2048), "sdpa"), ("cuda", (256,), "sdpa")],
)
def test_the_pace_is_that_of_the_attention_that_trains(
    monkeypatch: pytest.MonkeyPatch, device: str, rows: tuple[int, ...], attention: str
) -> None:
    """The trial behind --minutes has the model that the device will train."""
    recipe = replace(RECIPE, context=2048, row_lengths=rows, row_weights=(1.0,) * len(rows))
    asked = []

    def refused(recipe: Any, *, attention: str) -> None:
        asked.append(attention)
        raise Killed

    monkeypatch.setattr(train, "new_model", refused)
    with pytest.raises(Killed):
        pace.seconds_per_step(recipe, device)
    assert asked == [attention] == [attention_on(device, recipe)]


def test_a_release_is_loaded_by_name_like_any_model(tmp_path: Path) -> None:
    """The released folder holds bf16 weights, a tokenizer and the log, and it writes text."""
    pretrain(RECIPE, tmp_path / "run", save_every=12)
    folder = release(tmp_path / "run", tmp_path / "model")
    model = HuggingFaceModel(str(folder))
    assert next(model.module.parameters()).dtype == torch.bfloat16
    assert model.context == 256
    assert model.generate([model.encode("1\n>1\n\n2\n>")], max_new_tokens=3, stop="\n\n")
    assert (folder / "training_log.json").exists()


def test_a_run_goes_on_from_released_weights_and_says_so(tmp_path: Path) -> None:
    """The second run begins with the first one's weights, and its card names both."""
    pretrain(RECIPE, tmp_path / "first", save_every=12)
    start = release(tmp_path / "first", tmp_path / "model")
    still = replace(RECIPE, seed=5, steps=1, start_from=str(start), learning_rate=0.0)
    pretrain(replace(still, matrix_learning_rate=0.0), tmp_path / "second")
    later = release(tmp_path / "second", tmp_path / "later", beside=[tmp_path / "first"])
    before, after = (load_file(folder / "model.safetensors") for folder in (start, later))
    assert all(torch.equal(before[name], after[name]) for name in before)
    card = (later / "README.md").read_text()
    assert "Run 1: from random weights, seed 0, 12 steps" in card
    assert "Run 2: from the weights of the run before, seed 5, 1 steps" in card


def test_adamw_and_muon_differ(tmp_path: Path) -> None:
    """The optimizer that is asked for is the one that trains."""
    for name in ("muon", "adamw"):
        recipe = replace(RECIPE, optimizer=name, steps=2)
        pretrain(recipe, tmp_path / name, save_every=2)
        assert pretrain(recipe, tmp_path / name).step == 2, "its own state is taken back"
    muon, adamw = (load_file(tmp_path / name / CHECKPOINT) for name in ("muon", "adamw"))
    name = "model/model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(muon[name], adamw[name])


def test_loss_and_pace_go_to_tensorboard(tmp_path: Path) -> None:
    """An event file beside the checkpoint holds the loss, the tokens a second and the rate."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pretrain(replace(RECIPE, steps=5), tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"loss", "tokens/s", "rate"} <= set(events.Tags()["scalars"])
    assert events.Scalars("loss")[0].step == 5


def test_a_resumed_run_has_every_step_once_on_its_board(
    tmp_path: Path, killed_after: Callable[..., None]
) -> None:
    """What was written after the checkpoint that a run resumes from counts no more."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    killed_after(10, RECIPE, tmp_path, save_every=8)
    pretrain(RECIPE, tmp_path, save_every=8)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [5, 10]


def test_every_contender_is_timed_on_the_same_rows() -> None:
    """The comparison with Trainer gives a pace for each, this recipe first."""
    paces = compare(replace(RECIPE, tokens=512), steps=2)
    assert [pace.name for pace in paces][::2] == ["autottt", "Trainer"]
    assert all(pace.tokens_per_second > 0 for pace in paces)


def test_without_a_checkpoint_there_is_nothing_to_release(tmp_path: Path) -> None:
    """The error says what to run first."""
    with pytest.raises(InputError, match="autottt pretrain"):
        release(tmp_path, tmp_path / "model")


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.5), (1, 1.0), (6, 1.0), (11, 1 / 4.2), (12, 0.0)]
)
def test_the_rate_warms_up_stays_and_decays(step: int, share: float) -> None:
    """Two steps of warm-up, a flat stretch, and a linear decay over the last 35 %."""
    assert RECIPE.rate(step) == pytest.approx(share)

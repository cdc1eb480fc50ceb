"""The recipe learns, resumes to the step, and releases an ordinary model folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.errors import InputError
from autottt.pretraining.compare import compare
from autottt.pretraining.release import release
from autottt.pretraining.train import CHECKPOINT, Recipe, pretrain, read_state

RECIPE = Recipe(
    hidden=32,
    layers=1,
    heads=1,
    intermediate=64,
    context=256,
    steps=12,
    tokens=1024,
    warm_up=2,
    compile=False,
    row_lengths=(256,),
    row_weights=(1.0,),
    short_share=0.0,
)


@pytest.fixture(autouse=True)
def no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validation set is for real runs; here it would take longer than the training."""
    monkeypatch.setattr("autottt.pretraining.train.Validation.run", lambda self, model: {})


class Killed(BaseException):
    """Stands for a kill between two steps."""


def test_a_killed_run_ends_where_an_unbroken_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill at step 6 the resumed run has the weights of a run that was never broken."""
    whole = pretrain(RECIPE, tmp_path / "whole", save_every=4)
    from autottt.pretraining import train

    save, saves = train._save, []

    def dying(*args: object) -> None:
        save(*args)  # type: ignore[arg-type]
        saves.append(1)
        if len(saves) == 2:
            raise Killed

    monkeypatch.setattr(train, "_save", dying)
    with pytest.raises(Killed):
        pretrain(RECIPE, tmp_path / "broken", save_every=4)
    assert read_state(tmp_path / "broken" / CHECKPOINT)[1].step == 8
    resumed = pretrain(RECIPE, tmp_path / "broken", save_every=4)
    assert (resumed.step, resumed.tokens) == (whole.step, whole.tokens)
    weights = [load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "broken")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


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
        pretrain(replace(RECIPE, optimizer=name, steps=2), tmp_path / name, save_every=2)
    muon, adamw = (load_file(tmp_path / name / CHECKPOINT) for name in ("muon", "adamw"))
    name = "model/model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(muon[name], adamw[name])


def test_loss_and_pace_go_to_tensorboard(tmp_path: Path) -> None:
    """An event file beside the checkpoint holds the loss, the tokens a second and the rate."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pretrain(replace(RECIPE, steps=25), tmp_path, save_every=25)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"loss", "tokens/s", "rate"} <= set(events.Tags()["scalars"])
    assert events.Scalars("loss")[0].step == 25


def test_every_contender_is_timed_on_the_same_batches() -> None:
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

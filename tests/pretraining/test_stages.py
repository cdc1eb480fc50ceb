"""What a run that starts from a released model takes over, and what it may not repeat."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from autottt.errors import InputError
from autottt.pretraining.recipe import LONG, SIZES, Log, Recipe
from autottt.pretraining.stages import TRAINING_LOG, check_next, released_stages, usual_next
from autottt.pretraining.train import new_model, pretrain
from tests.pretraining.tiny import RECIPE


def written(recipe: Recipe, **log: object) -> dict[str, object]:
    """A training log as a release holds it."""
    return {"recipe": asdict(recipe), "log": asdict(Log(**log))}  # type: ignore[arg-type]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A released model of two stages, of the seeds 1 and 0; the log of the first is an old one."""
    first = written(replace(RECIPE, seed=1))
    first["recipe"] = {"seed": 1, "row_lengths": [256], "short_steps": 100}
    folder = tmp_path / "start"
    folder.mkdir()
    log = written(RECIPE, step=12, earlier=first)
    (folder / TRAINING_LOG).write_text(json.dumps(log))
    weights = {n: p.detach().clone() for n, p in new_model(RECIPE).named_parameters()}
    save_file(weights, folder / "model.safetensors")
    return folder


def test_the_stages_of_a_release_are_read_in_order(start: Path) -> None:
    """The first run comes first, and fields that recipes no longer have are left out."""
    (first, _), (second, record) = released_stages(start)
    assert (first.seed, first.row_lengths) == (1, (256,))
    assert second == RECIPE
    assert record.step == 12


def test_the_next_stage_has_the_size_and_a_seed_that_is_new(start: Path) -> None:
    """It draws batches that no stage was trained on, at the rates of the last one's size."""
    usual = usual_next(released_stages(start))
    assert usual["seed"] == 2
    assert (usual["hidden"], usual["context"], usual["tokens"]) == (32, 256, 1024)
    large = Recipe(**SIZES["large"])
    assert SIZES["large"].items() <= usual_next([(large, Log())]).items()
    assert usual_next([(large, Log())])["seed"] == 1
    long = usual_next([(Recipe(**LONG), Log())])
    assert long["tokens"] == Recipe.tokens
    assert not {"row_lengths", "room", "composed"} & set(long)
    both = Recipe(**SIZES["large"] | LONG)
    assert usual_next([(both, Log())])["tokens"] == SIZES["large"]["tokens"]
    assert usual_next([(Recipe(tokens=4096), Log()), (Recipe(**LONG), Log())])["tokens"] == 4096


def test_a_seed_of_an_earlier_stage_is_refused(start: Path, tmp_path: Path) -> None:
    """Nobody trains on the same batches twice without being told, from Python neither."""
    for seed in (0, 1):
        again = replace(RECIPE, seed=seed, start_from=str(start))
        with pytest.raises(InputError, match=f"batches of seed {seed}; .* another than 0, 1"):
            pretrain(again, tmp_path / "out")
    check_next(replace(RECIPE, seed=2), released_stages(start))


def test_another_size_is_refused(start: Path) -> None:
    """The message names what differs, and the remedy."""
    wrong = replace(RECIPE, seed=2, hidden=96, start_from=str(start))
    with pytest.raises(InputError, match="has hidden 32, not 96; leave out --size"):
        check_next(wrong, released_stages(start))


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"recipe": null}', '{"recipe": {}, "log": {"steps": 1}}', "\xff"]
)
def test_a_damaged_log_is_refused(start: Path, text: str) -> None:
    """What is no training log is named, and so is the remedy."""
    (start / TRAINING_LOG).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"training_log\.json is not a training log"):
        released_stages(start)


@pytest.mark.parametrize("damage", ["gone", "cut", "others", "shape"])
def test_damaged_weights_are_refused(start: Path, tmp_path: Path, damage: str) -> None:
    """Weights that are missing, cut short or of another model end with a message."""
    path = start / "model.safetensors"
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "others":
        save_file({"x": torch.zeros(1)}, path)
    else:
        names = [name for name, _ in new_model(RECIPE).named_parameters()]
        save_file({name: torch.zeros(1) for name in names}, path)
    recipe = replace(RECIPE, seed=2, steps=1, start_from=str(start))
    with pytest.raises(InputError, match=r"model\.safetensors does not hold the weights"):
        pretrain(recipe, tmp_path / "out")

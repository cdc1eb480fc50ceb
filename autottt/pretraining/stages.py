"""Runs that follow one another: a run may start from the weights that the one before released.

Batch i is a function of the seed and i, so a run whose seed an earlier stage had would train on
that stage's batches again.
"""

from __future__ import annotations

import json
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

from autottt.errors import InputError
from autottt.pretraining.recipe import SIZES, Log, Recipe, Run, recipe_of

TRAINING_LOG = "training_log.json"
SHAPE = ("hidden", "layers", "heads", "intermediate", "context", "rope_theta")
PACE = ("tokens", "optimizer", "learning_rate", "matrix_learning_rate")  # what goes on likewise


def released_stages(folder: Path) -> list[Run]:
    """The runs behind a released model, the first one first; raises `InputError`."""
    path = folder / TRAINING_LOG
    if not path.is_file():
        raise InputError(f"{folder} is no folder that --release wrote")
    try:
        return _stages(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a training log of this recipe ({error!r}); release the model again"
        ) from error


def earlier_stages(record: Log) -> list[Run]:
    """The runs before the one that wrote the log, the first one first."""
    return [] if record.earlier is None else _stages(record.earlier)


def _stages(written: dict[str, Any]) -> list[Run]:
    known = {f.name for f in fields(Recipe)}  # the recipe of an old log has others
    recipe = recipe_of({k: v for k, v in written["recipe"].items() if k in known})
    record = Log(**written["log"])
    return [*earlier_stages(record), (recipe, record)]


def usual_next(stages: list[Run]) -> dict[str, Any]:
    """What the recipe of a next stage has where nothing else is asked for.

    Size, optimizer and rates are those of the last stage, tokens a step those of the last that was
    not long (`recipe.LONG`), as a stage is long where it says so; the seed is the lowest that none
    had. Rows are of all lengths from the first step on: a curriculum of short ones is for random
    weights.
    """
    last, used = stages[-1][0], _seeds(stages)
    kept = {name: getattr(last, name) for name in (*SHAPE, *PACE)}
    short = [recipe for recipe, _ in stages if recipe.room == 0]
    kept["tokens"] = short[-1].tokens if short else _tokens_of(last)
    return kept | {"seed": next(n for n in count() if n not in used), "short_share": 0.0}


def _tokens_of(recipe: Recipe) -> int:
    """Tokens a step that go with a recipe's size."""
    sizes = (size for size in SIZES.values() if size["hidden"] == recipe.hidden)
    return int(next(sizes, {}).get("tokens", Recipe.tokens))


def check_next(recipe: Recipe, stages: list[Run]) -> None:
    """Raises `InputError` where a recipe cannot go on from these stages."""
    last = stages[-1][0]
    differs = [
        f"{name} {getattr(last, name)}, not {getattr(recipe, name)}"
        for name in SHAPE
        if getattr(last, name) != getattr(recipe, name)
    ]
    if differs:
        raise InputError(
            f"{recipe.start_from} has {'; '.join(differs)}; leave out --size to go on from it"
        )
    used = _seeds(stages)
    if recipe.seed in used:
        raise InputError(
            f"{recipe.start_from} was trained on the batches of seed {recipe.seed}; leave out "
            f"--seed, or give another than {', '.join(map(str, sorted(used)))}"
        )


def _seeds(stages: list[Run]) -> set[int]:
    return {recipe.seed for recipe, _ in stages}

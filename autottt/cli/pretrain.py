"""`autottt pretrain`: the embedded model from random weights, resumed if it was interrupted."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autottt.cli.exits import positive, valid_seed
from autottt.errors import InputError

if TYPE_CHECKING:
    from autottt.pretraining.train import Recipe


def pretrain(
    out: Annotated[Path, typer.Option(help="Directory of the checkpoint; resumed if it has one.")],
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of the whole run.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="As many steps as take about so long on this machine.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and tasks; default 0.")] = None,
    release: Annotated[
        Path | None, typer.Option(help="Write the model in the Hugging Face format here.")
    ] = None,
) -> None:
    """Pretrain the embedded model on generated tasks.

    A run that was interrupted continues with its own steps and seed when neither is given.
    """
    positive("--steps", steps)
    positive("--minutes", minutes)
    valid_seed(seed or 0)
    if steps is not None and minutes is not None:
        raise InputError("give --steps or --minutes, not both")
    for place in (out, release):
        if place is not None and place.exists() and not place.is_dir():
            raise InputError(f"{place} is not a directory")
    logging.getLogger("autottt").setLevel(logging.INFO)  # its log is the progress of a long run
    from autottt.pretraining import train

    recipe = choose_recipe(out, steps=steps, minutes=minutes, seed=seed)
    record = train.pretrain(recipe, out)
    typer.echo(f"{record.step} steps, {record.tokens:,} tokens in {out}", err=True)
    if release is not None:
        from autottt.pretraining.release import release as write

        write(out, release)
        typer.echo(f"released in {release}", err=True)


def choose_recipe(
    out: Path, *, steps: int | None, minutes: float | None, seed: int | None
) -> Recipe:
    """The recipe of a new run, or that of the run in `out`; raises `InputError` if they differ."""
    from autottt.pretraining.train import Recipe

    earlier = _recipe_in(out)
    if earlier is None:
        recipe = Recipe(seed=seed or 0)
        if minutes is not None:
            from autottt.pretraining.pace import steps_in

            steps = steps_in(minutes, recipe)
        return recipe if steps is None else replace(recipe, steps=steps)
    asked = (steps or earlier.steps, earlier.seed if seed is None else seed)
    if minutes is not None or asked != (earlier.steps, earlier.seed):
        raise InputError(
            f"{out} holds a run of {earlier.steps} steps with seed {earlier.seed}; leave out "
            "--steps, --minutes and --seed to continue it, or name another --out"
        )
    return earlier


def _recipe_in(out: Path) -> Recipe | None:
    from safetensors import SafetensorError

    from autottt.pretraining.train import CHECKPOINT, read_state

    path = out / CHECKPOINT
    if not path.exists():
        return None
    try:
        return read_state(path)[0]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a checkpoint of this recipe: {error}") from error

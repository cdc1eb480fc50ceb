"""`autottt pretrain`: the embedded model from random weights, resumed if it was interrupted."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autottt.cli.exits import positive, valid_seed
from autottt.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from autottt.pretraining.train import Recipe


def pretrain(
    out: Annotated[Path, typer.Option(help="Directory of the checkpoint; resumed if it has one.")],
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of the whole run.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="As many steps as take about so long on this machine.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and tasks; default 0.")] = None,
    size: Annotated[
        str | None, typer.Option(help="tiny, small, base or large; base is what is shipped.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="Of the matrices: muon, the default, or adamw.")
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="A released model to go on from, instead of random weights.")
    ] = None,
    release: Annotated[
        Path | None, typer.Option(help="Write the model in the Hugging Face format here.")
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Runs that the released model's card compares.")
    ] = None,
) -> None:
    """Pretrain the embedded model on generated tasks.

    A run that was interrupted continues with its own recipe when nothing of it is given. It uses
    an accelerator where there is one.
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
    import torch

    from autottt.pretraining import train

    device = "cuda" if torch.cuda.is_available() else "cpu"
    start = None if start_from is None else str(start_from)
    asked = {"seed": seed, "optimizer": optimizer, "start_from": start}
    asked |= sized(size)
    asked = {name: value for name, value in asked.items() if value is not None}
    recipe = choose_recipe(out, steps=steps, minutes=minutes, asked=asked, device=device)
    record = train.pretrain(recipe, out, device=device)
    typer.echo(f"{record.step} steps, {record.tokens:,} tokens in {out}", err=True)
    if release is not None:
        from autottt.pretraining.release import release as write

        write(out, release, beside or ())
        typer.echo(f"released in {release}", err=True)


def sized(size: str | None) -> dict[str, Any]:
    """What a size asks of the recipe; raises `UnknownNameError`."""
    from autottt.pretraining.train import SIZES

    if size is None:
        return {}
    if size not in SIZES:
        raise UnknownNameError(f"there is no size {size!r}; give one of {', '.join(SIZES)}")
    return SIZES[size]


def choose_recipe(
    out: Path,
    *,
    steps: int | None,
    minutes: float | None,
    asked: dict[str, Any],
    device: str = "cpu",
) -> Recipe:
    """The recipe of a new run, or that of the run in `out`; raises `InputError` if they differ.

    `asked` names fields of the recipe. A run that starts from weights begins with full rows: the
    curriculum of short rows is for random ones.
    """
    from autottt.pretraining.train import Recipe

    if asked.get("optimizer", "muon") not in ("muon", "adamw"):
        raise InputError(f"--optimizer is muon or adamw, not {asked['optimizer']!r}")
    earlier = _recipe_in(out)
    if earlier is None:
        if "start_from" in asked:
            if not (Path(asked["start_from"]) / "training_log.json").is_file():
                raise InputError(f"{asked['start_from']} is no folder that --release wrote")
            asked = {"short_share": 0.0, **asked}
        recipe = Recipe(**asked)
        if minutes is not None:
            from autottt.pretraining.pace import steps_in

            steps = steps_in(minutes, recipe, device)
        return recipe if steps is None else replace(recipe, steps=steps)
    changed = {**asked, **({} if steps is None else {"steps": steps})}
    differs = sorted(name for name, value in changed.items() if getattr(earlier, name) != value)
    if minutes is not None or differs:
        raise InputError(
            f"{out} holds a run of {earlier.steps} steps with seed {earlier.seed}, which differs "
            f"in {', '.join(differs) or 'minutes'}; leave that out to continue it, or name "
            "another --out"
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

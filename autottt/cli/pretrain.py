"""`autottt pretrain`: the embedded model from random weights, resumed if it was interrupted."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autottt.cli.exits import positive, valid_seed, writable
from autottt.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from autottt.pretraining.recipe import Recipe
    from autottt.runner.stop import Stop


def pretrain(
    out: Annotated[Path, typer.Option(help="Directory of the checkpoint; resumed if it has one.")],
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of the whole run.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="As many steps as take about so long on this machine.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of weights and tasks; by default the lowest that no earlier stage had, else "
            "0. One that a stage had is refused: it would train on the same batches again."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="tiny, small, base or large; base, the default, is what is shipped."),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="Of the matrices: muon, the default, or adamw; else that of START_FROM."),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="A released model to go on from, in its size, instead of from random weights."
        ),
    ] = None,
    long: Annotated[
        bool,
        typer.Option(
            "--long",
            help="With tokens to spare, as on an accelerator: 65,536 a step, rows of up to 2,048, "
            "larger grids, and a fifth of grids and lines with outputs changed once more.",
        ),
    ] = False,
    release: Annotated[
        Path | None, typer.Option(help="Write the model in the Hugging Face format here.")
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Runs that the released model's card compares.")
    ] = None,
) -> None:
    """Pretrain the embedded model on generated tasks.

    A run that was interrupted continues with its own recipe when nothing of it is given. Ctrl-C and
    SIGTERM end it with code 1 after the step in hand, which is saved. It uses an accelerator where
    there is one.
    """
    positive("--steps", steps)
    positive("--minutes", minutes)
    valid_seed(seed or 0)
    if steps is not None and minutes is not None:
        raise InputError("give --steps or --minutes, not both")
    for place in (out, release):
        if place is not None and place.exists() and not place.is_dir():
            raise InputError(f"{place} is not a directory")
    from autottt.pretraining.recipe import LONG

    start = None if start_from is None else str(start_from)
    given = {"seed": seed, "optimizer": optimizer, "start_from": start}
    given |= sized(size) | (LONG if long else {})
    asked = {name: value for name, value in given.items() if value is not None}
    check_release(out, release, beside or [])
    logging.getLogger("autottt").setLevel(logging.INFO)  # its log is the progress of a long run
    import torch

    from autottt.pretraining import train
    from autottt.pretraining.release import release as write
    from autottt.runner.folder import locked
    from autottt.runner.stop import Stop

    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = choose_recipe(out, steps=steps, minutes=minutes, asked=asked, device=device)
    stop = Stop()
    with locked(out):
        with stopping(stop):
            record = train.pretrain(recipe, out, device=device, stopped=lambda: stop.reason)
        typer.echo(f"{record.step} steps, {record.tokens:,} tokens in {out}", err=True)
        if release is not None:
            write(out, release, beside or ())
            typer.echo(f"released in {release}", err=True)


@contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """SIGTERM or Ctrl-C asks to stop; a second Ctrl-C ends the process where it is."""
    from autottt.runner.stop import stopping_on_sigterm

    def hear(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask("interrupted")

    before = signal.signal(signal.SIGINT, hear)
    try:
        with stopping_on_sigterm(stop):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def check_release(out: Path, release: Path | None, beside: Sequence[Path]) -> None:
    """Raises `InputError` if the release would fail, before anything is trained for it."""
    if release is None:
        if beside:
            raise InputError("--beside is for the card of a release; give --release, too")
        return
    if release.resolve() in (out.resolve(), *out.resolve().parents):
        raise InputError(f"--release is a folder of its own, not {release}, which holds --out")
    writable(release / "README.md")
    from autottt.pretraining.checkpoint import read_state
    from autottt.pretraining.release import check_target, checkpoint_in

    check_target(release)
    for folder in beside:
        read_state(checkpoint_in(folder))


def sized(size: str | None) -> dict[str, Any]:
    """What a size asks of the recipe; raises `UnknownNameError`."""
    from autottt.pretraining.recipe import SIZES

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

    `asked` names fields of the recipe. A run that starts from a released model has that model's
    size, and by default a seed that none of its stages had.
    """
    from autottt.pretraining.recipe import LONG

    if asked.get("optimizer", "muon") not in ("muon", "adamw"):
        raise InputError(f"--optimizer is muon or adamw, not {asked['optimizer']!r}")
    earlier = _recipe_in(out)
    if earlier is None:
        recipe = _new_recipe(asked)
        if minutes is not None:
            from autottt.pretraining.pace import steps_in

            steps = steps_in(minutes, recipe, device)
        return recipe if steps is None else replace(recipe, steps=steps)
    changed = {**asked, **({} if steps is None else {"steps": steps})}
    differs = sorted(name for name, value in changed.items() if getattr(earlier, name) != value)
    if "room" in differs:  # only --long asks for it
        differs = [*(name for name in differs if name not in LONG), "--long"]
    if minutes is not None or differs:
        raise InputError(
            f"{out} holds a run of {earlier.steps} steps with seed {earlier.seed}, which differs "
            f"in {', '.join(differs) or 'minutes'}; leave that out to continue it, or name "
            "another --out"
        )
    return earlier


def _new_recipe(asked: dict[str, Any]) -> Recipe:
    from autottt.pretraining.recipe import Recipe
    from autottt.pretraining.stages import check_next, released_stages, usual_next

    if "start_from" not in asked:
        return Recipe(**asked)
    stages = released_stages(Path(asked["start_from"]))
    recipe = Recipe(**usual_next(stages) | asked)
    check_next(recipe, stages)
    return recipe


def _recipe_in(out: Path) -> Recipe | None:
    from autottt.pretraining.checkpoint import CHECKPOINT, read_state

    path = out / CHECKPOINT
    return read_state(path)[0] if path.exists() else None

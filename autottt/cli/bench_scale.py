"""`autottt bench-scale`: how the seconds of a run grow with tasks and workers."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autottt.cli.exits import positive, valid_seed
from autottt.errors import InputError


def bench_scale(
    tasks: Annotated[str, typer.Option(help="Numbers of tasks, with commas.")] = "8,16,32",
    workers: Annotated[str, typer.Option(help="Numbers of Ray workers, with commas.")] = "1,2",
    seed: Annotated[int, typer.Option(help="Seed of the tasks.")] = 0,
) -> None:
    """Time `run` inline and on Ray workers of this machine, and model more of both, as JSON."""
    valid_seed(seed)
    sizes, counts = _numbers("--tasks", tasks), _numbers("--workers", workers)
    from autottt.evaluation.bench_scale import bench_scale as measure

    def hear(row: object) -> None:
        typer.echo(json.dumps(row), err=True)

    typer.echo(json.dumps(measure(sizes, counts, seed=seed, hear=hear), indent=1))


def _numbers(name: str, text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{name} are whole numbers with commas, not {text!r}") from error
    for value in found:
        positive(name, value)
    return found

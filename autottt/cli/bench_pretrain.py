"""`autottt bench-pretrain`: tokens a second of the recipe against `transformers.Trainer`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autottt.cli.exits import installed, positive
from autottt.cli.pretrain import sized

NEEDED = ("accelerate",)  # of Trainer


def bench_pretrain(
    steps: Annotated[int, typer.Option(help="Timed steps of each contender, about.")] = 12,
    size: Annotated[str, typer.Option(help="tiny, small, base or large.")] = "base",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time pretraining side by side with `transformers.Trainer`: same model, same rows."""
    positive("--steps", steps)
    changes = sized(size)
    installed(NEEDED)
    from autottt.pretraining.compare import compare
    from autottt.pretraining.recipe import Recipe

    paces = compare(Recipe(**changes), steps=steps)
    if as_json:
        typer.echo(json.dumps([asdict(pace) for pace in paces]))
        return
    shown = Table("training", "tokens/s", "autottt is faster by", "warm-up s")
    for pace in paces:
        ratio = paces[0].tokens_per_second / pace.tokens_per_second
        cells = (f"{pace.tokens_per_second:,.0f}", f"{ratio:.2f}x", f"{pace.warm_up_seconds:.0f}")
        shown.add_row(pace.name, *cells)
    Console().print(shown)

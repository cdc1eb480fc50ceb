"""`autottt bench-large`: seconds to adapt an 8B Llama, beside TRL's SFTTrainer."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autottt.cli.bench_adapt import NEEDED
from autottt.cli.exits import installed, positive, valid_seed


def bench_large(
    size: Annotated[str, typer.Option(help="8b, for a GPU, or tiny.")] = "8b",
    tasks: Annotated[int, typer.Option(help="Tasks in words, made of random letters.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time adapting a Llama with random weights by the recipe for tasks in words."""
    positive("--tasks", tasks)
    valid_seed(seed)
    installed(NEEDED)
    from autottt.cli.live import Bars
    from autottt.errors import InputError
    from autottt.evaluation.bench_large import SIZES
    from autottt.evaluation.bench_large import bench_large as run

    if size not in SIZES:
        raise InputError(f"--size is one of {', '.join(SIZES)}, not {size!r}")
    with Bars(Console(stderr=True)) as bars:
        result = run(size=size, tasks=tasks, seed=seed, progress=bars)
    if as_json:
        typer.echo(json.dumps(result))
        return
    shown = Table("way", "adapt s", "tokens/s", "TFLOP/s", "GiB")
    for name, row in result["ways"].items():
        shown.add_row(
            name,
            f"{row['adapt_seconds']:.2f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['flops'] / 1e12:.1f}",
            f"{row['peak_bytes'] / 2**30:.1f}",
        )
    console = Console(width=120)
    console.print(shown)
    steps = result["ways"]["autottt"]["steps"]
    console.print(
        f"{result['parameters']:,} parameters on {result['device']}; {tasks} tasks; {steps} steps "
        f"of {result['rows']} rows of {result['row_tokens']} tokens; bf16 products: "
        f"{result['matmul_flops'] / 1e12:.1f} TFLOP/s; {result['times_faster']:.1f} times faster",
        highlight=False,
    )

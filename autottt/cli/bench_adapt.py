"""`autottt bench-adapt`: seconds to adapt and answer, beside peft with Trainer and SFTTrainer."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autottt.cli.exits import installed, positive, valid_seed
from autottt.types import JSON

NEEDED = ("accelerate", "datasets", "peft", "trl")


def bench_adapt(
    tasks: Annotated[int, typer.Option(help="Generated tasks, half of families seen.")] = 40,
    steps: Annotated[int, typer.Option(help="Optimizer steps of every way.")] = 40,
    model: Annotated[
        str, typer.Option(help="A Hugging Face model: a directory, or a name on the hub.")
    ] = "embedded",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    way: Annotated[
        list[str] | None, typer.Option(help="Only this way; may be given several times.")
    ] = None,
    together: Annotated[
        int, typer.Option(help="Tasks that share a pass in the way of several together.")
    ] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time adapting side by side with peft: same model, tasks, sequences and steps."""
    positive("--tasks", tasks)
    positive("--steps", steps)
    positive("--together", together)
    valid_seed(seed)
    installed(NEEDED)
    from autottt.cli.live import Bars
    from autottt.evaluation.bench_adapt import bench_adapt as run
    from autottt.pretraining.splits import CALIBRATION, pretraining_families

    seen = pretraining_families()[:: max(1, 2 * len(pretraining_families()) // tasks)]
    half = tasks // 2
    families = [*seen[: tasks - half], *CALIBRATION[:half]]
    with Bars(Console(stderr=True)) as bars:
        result = run(
            families=families,
            tasks=tasks,
            steps=steps,
            model=model,
            seed=seed,
            only=way or (),
            together=together,
            progress=bars,
        )
    if as_json:
        typer.echo(json.dumps(result))
        return
    console = Console(width=120)
    console.print(_ways(result))
    console.print(_ratios(result))
    console.print(
        f"{result['tasks']} tasks, {result['steps']} steps, {result['threads']} threads; bf16 "
        f"products on this machine: {result['matmul_flops'] / 1e9:.0f} GFLOP/s",
        highlight=False,
    )
    for name, gap in result["exact_match_gaps"].items():
        console.print(
            f"{name}: {gap['difference']:+.1%} right beside autottt's "
            f"({gap['low']:+.1%} to {gap['high']:+.1%}, 95 %)",
            highlight=False,
        )


def _ways(result: JSON) -> Table:
    shown = Table(
        "way", "s", "adapt s", "answer s", "outside steps", "tokens/s", "GFLOP/s", "MiB", "right"
    )
    for name, row in result["ways"].items():
        shown.add_row(
            name,
            f"{row['seconds']:.2f}",
            f"{row['adapt_seconds']:.2f}",
            f"{row['answer_seconds']:.2f}",
            f"{row['outside_steps']:.0%}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['flops'] / 1e9:.0f}",
            f"{row['peak_bytes'] / 2**20:.0f}",
            f"{row['exact_match']:.0%}",
        )
    return shown


def _ratios(result: JSON) -> Table:
    shown = Table("way", "times faster", "95 %", "adapting alone", "95 %")
    for name, of in result["times_faster"].items():
        cells = [
            cell
            for one in (of, of["adapting"])
            for cell in (f"{one['ratio']:.2f}", f"{one['low']:.2f} to {one['high']:.2f}")
        ]
        shown.add_row(name, *cells)
    return shown

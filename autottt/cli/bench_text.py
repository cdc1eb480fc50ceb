"""`autottt bench-text`: strategies side by side on tasks in words with many queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from autottt.cli.exits import parse_seeds, positive, writable
from autottt.cli.sources import (
    AnswerKind,
    Choices,
    Columns,
    Demonstrations,
    Device,
    DeviceMap,
    Dtype,
    Format,
    Instruction,
    LoraTargets,
    Model,
    Quantize,
    Queries,
    TensorParallel,
    TrustRemoteCode,
    answer_format,
    model_settings,
    table_settings,
)
from autottt.errors import InputError
from autottt.types import Task

if TYPE_CHECKING:
    from autottt.adapters.tasks.tables import TableSettings
    from autottt.evaluation.text_benchmark import Result


def bench_text(
    tasks: Annotated[list[str], typer.Argument(help="Tasks: bbh:PATH, a table, a JSON file, ...")],
    out: Annotated[Path, typer.Option(help="A file of JSON lines to write.")],
    strategy: Annotated[
        list[str] | None, typer.Option(help="A strategy, given once each; else those compared.")
    ] = None,
    instruction: Instruction = "",
    answer: AnswerKind = None,
    choices: Choices = None,
    demonstrations: Demonstrations = None,
    columns: Columns = "",
    queries: Queries = None,
    seeds: Annotated[str, typer.Option(help="Seeds, parted by commas.")] = "0",
    model: Model = "embedded",
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Answer every query of some tasks by every strategy; one adaptation serves a task."""
    positive("--queries", queries)
    numbers = parse_seeds(seeds)
    writable(out)
    if out.exists() and out.stat().st_size:
        raise InputError(f"{out} holds results already, and is not written over; name another file")
    form = answer_format(answer, choices)
    chosen = {
        seed: _tasks(
            tasks, table_settings(demonstrations, columns, seed, instruction, form), queries
        )
        for seed in numbers
    }
    from autottt.cli.fit import known_strategies
    from autottt.evaluation.text_benchmark import STRATEGIES, measure_texts
    from autottt.solver import Solver

    names = known_strategies(strategy) if strategy else list(STRATEGIES)
    settings = model_settings(
        device=device,
        device_map=device_map,
        tensor_parallel=tensor_parallel,
        dtype=dtype,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
        prompts=prompts,
        lora_targets=lora_targets,
    )
    solver = Solver(model, settings=settings)
    found: list[Result] = []
    with out.open("w", encoding="utf-8") as file:
        for seed in numbers:
            for result in measure_texts(solver, chosen[seed], names, seed):
                found.append(result)
                file.write(json.dumps(asdict(result)) + "\n")
                file.flush()
    Console().print(text_table(found))


def _tasks(sources: Sequence[str], table: TableSettings, queries: int | None) -> list[Task]:
    """The tasks with their first queries; raises `InputError` for one without outputs."""
    from autottt.adapters.tasks.files import load_tasks
    from autottt.cli.solving import first_queries

    given = [task for source in sources for task in load_tasks(source, table)]
    for task in given:
        if task.targets is None:
            raise InputError(f"{task.id} has queries without outputs to judge answers by")
    return [first_queries(task, queries) for task in given]


def text_table(results: Sequence[Result]) -> Table:
    """Share right and seconds of every strategy on every task, over the seeds."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    names = list(dict.fromkeys(r.strategy for r in results))
    table.add_column("task")
    table.add_column("shown", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for task in dict.fromkeys(r.task for r in results):
        own = [r for r in results if r.task == task]
        shown = [r.shown for r in own if r.shown]
        cells = [task, f"{sum(shown) / len(shown):.1f} of {own[0].given}" if shown else "-"]
        for name in names:
            some = [r for r in own if r.strategy == name]
            right, asked = sum(r.right for r in some), sum(r.queries for r in some)
            seconds = sum(r.seconds for r in some) / max(1, len(some))
            cells.append(f"{right / asked:.0%} ({seconds:.1f} s)" if some else "-")
        table.add_row(*cells)
    return table

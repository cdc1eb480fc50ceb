"""`autottt bench-model`: what a model solves by each strategy, on tasks it has never seen."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autottt.cli.exits import parse_seeds, positive
from autottt.errors import InputError
from autottt.types import JSON

GENERATED = "<!-- what follows is written by `autottt bench-model --report` -->"
WIDE = 4  # strategies that a table on a terminal can hold side by side
LOG, TABLE = "outcomes.jsonl", "table.json"


def bench_model(
    out: Annotated[Path, typer.Option(help="Directory of the log and the table; continued.")],
    one_d_arc: Annotated[
        Path | None, typer.Option(help="The folder of 1D-ARC; left out without it.")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(help="Bytes of an ARC task's prompt and answer, at most; 0 for no ARC.")
    ] = 2048,
    per_type: Annotated[int, typer.Option(help="Tasks of each type of 1D-ARC.")] = 50,
    per_family: Annotated[int, typer.Option(help="Tasks of each test family; 0 for none.")] = 1,
    seen: Annotated[
        int, typer.Option(help="Pretraining families, with a fresh task of each; 0 for none.")
    ] = 40,
    sample: Annotated[
        int | None,
        typer.Option(help="So many of the unseen, seen and ARC tasks each, at random; else all."),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="A strategy, given once each, or all; by default icl, icl-vote, ttt."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="A Markdown file for tables and a plot; what was written above stays."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of everything random, by commas.")] = "0",
    jobs: Annotated[int, typer.Option(help="Processes of one thread each.")] = 1,
    model: Annotated[
        str, typer.Option(help="A Hugging Face model: a directory, or a name on the hub.")
    ] = "embedded",
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON on stdout.")] = False,
) -> None:
    """Measure a model on 1D-ARC, on the tasks of ARC-AGI-1 that fit, and on generated tasks.

    A run that was stopped goes on where it was; the table covers the tasks that were asked for and
    is written to table.json too.
    """
    positive("--per-type", per_type)
    positive("--jobs", jobs)
    positive("--sample", sample)
    if min(max_tokens, per_family, seen) < 0:
        raise InputError("--max-tokens, --per-family and --seen are whole numbers from 0")
    numbers = parse_seeds(seeds)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a directory")
    if one_d_arc is not None and not one_d_arc.is_dir():
        raise InputError(f"{one_d_arc} is not a directory; give the folder of 1D-ARC")
    from autottt.adapters.models.huggingface import HuggingFaceModel
    from autottt.cli.live import Bars
    from autottt.controller.lines import write_whole
    from autottt.controller.outcomes import read_outcomes
    from autottt.evaluation import benchmark
    from autottt.evaluation.collect import STRATEGIES, measure_all
    from autottt.evaluation.strategies_report import markdown, plot, standings
    from autottt.strategies.registry import every, get

    names = every() if strategy == ["all"] else strategy or list(STRATEGIES)
    for name in names:
        get(name)
    tasks = []
    if one_d_arc is not None:
        tasks += benchmark.first_of_each(benchmark.one_d_arc_tasks(one_d_arc), per_type)
    unseen, known = benchmark.unseen_tasks(per_family), benchmark.seen_tasks(seen)
    for suite in (unseen, known, benchmark.arc_tasks(max_tokens)):
        if sample is not None and sample < len(suite):
            suite = random.Random(numbers[0]).sample(suite, sample)
        tasks += suite
    loaded, log = HuggingFaceModel(model), out / LOG
    with Bars(Console(stderr=True)) as bars:
        for seed in numbers:
            measure_all(tasks, log, loaded, names, seed, bars, jobs=jobs)
    asked = {(group, task.id) for group, task in tasks}
    outcomes = [
        o
        for o in (read_outcomes(log) if log.exists() else [])
        if (o.group, o.task_id) in asked and o.seed in numbers and o.model == loaded.fingerprint
    ]
    arms = [set(outcome.arms) for outcome in outcomes]
    if any(own != arms[0] for own in arms):
        raise InputError(
            f"the tasks of {log} were not all measured with the same strategies; name another "
            "folder, or the strategies and seeds that it was measured with"
        )
    result = benchmark.table(outcomes)
    write_whole(out / TABLE, json.dumps(result, indent=1) + "\n")
    if report is not None:
        picture = report.with_suffix(".svg")
        plot(standings(outcomes), picture)
        text = report.read_text(encoding="utf-8") if report.exists() else ""
        kept = text.partition(GENERATED)[0]
        image = f"![exact match against seconds]({picture.name})"
        write_whole(report, f"{kept}{GENERATED}\n\n{image}\n\n{markdown(standings(outcomes))}")
    if as_json:
        typer.echo(json.dumps(result))
    elif len(names) > WIDE:
        typer.echo(markdown(standings(outcomes)))
    else:
        Console().print(_shown(result))


def _shown(result: JSON) -> Table:
    arms = list(result["rows"][0]["strategies"])
    shown = Table("group", "tasks", *(f"{arm} {unit}" for arm in arms for unit in ("right", "s")))
    for section in ("rows", "totals"):
        for row in result[section]:
            cells = []
            for arm in arms:
                of = row["strategies"][arm]
                cells += [f"{of['exact_match']:.1%}", f"{of['seconds']:.1f}"]
            shown.add_row(row["group"], str(row["tasks"]), *cells)
        shown.add_section()
    return shown

"""`autottt run`: answer many tasks, unattended, and lose nothing to whatever ends the process."""

from __future__ import annotations

import contextlib
import json
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autottt.adapters.tasks.printable import printable
from autottt.cli.exits import (
    FORCED,
    apart,
    not_negative,
    positive,
    share,
    unheard,
    valid_seed,
    writable,
)
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

if TYPE_CHECKING:
    from autottt.adapters.tasks.tables import TableSettings
    from autottt.cli.solving import Options
    from autottt.runner.queue import Run
    from autottt.runner.source import Source
    from autottt.solver import Solver

METRICS, REPORT = "metrics.json", "report.html"
STDIN = "-"


class Engines(StrEnum):
    """Where tasks are solved."""

    INLINE = "inline"
    RAY = "ray"


SOURCES = "Tasks: what `solve` takes, arc:training, or - for one JSON task a line on stdin."


def run(
    tasks: Annotated[str, typer.Argument(help=SOURCES)],
    out: Annotated[Path, typer.Option(help="A folder for the queue and results.jsonl.")],
    strategy: Annotated[
        str | None, typer.Option(help="Force a strategy; by default the controller chooses.")
    ] = None,
    model: Model = "embedded",
    gate: Annotated[
        Path | None, typer.Option(help="A fitted gate; by default the one of the model.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="What a second costs, in units of accuracy.")
    ] = None,
    instruction: Instruction = "",
    answer: AnswerKind = None,
    choices: Choices = None,
    demonstrations: Demonstrations = None,
    columns: Columns = "",
    queries: Queries = None,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds by which each task is to be answered.")
    ] = None,
    total_seconds: Annotated[
        float | None, typer.Option(help="Seconds of the whole run, spent where they gain most.")
    ] = None,
    hard_seconds: Annotated[
        float | None,
        typer.Option(
            help="End the process, with code 75, where a task takes longer: it hangs. By default "
            "ten deadlines, ten minutes at least, or an hour."
        ),
    ] = None,
    engine: Annotated[
        Engines, typer.Option(help="One task at a time in this process, or Ray actors.")
    ] = Engines.INLINE,
    workers: Annotated[
        int | None,
        typer.Option(help="For --engine ray: actors; by default one an accelerator, else a CPU."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="For --engine ray: a cluster, as 10.0.0.1:6379; by default this machine."
        ),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            envvar="AUTOTTT_CHECKPOINTS",
            help="A postgresql:// URL for checkpoints; by default a file in OUT.",
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(help="Further attempts at a task that fails or ends the process.")
    ] = 2,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    explore: Annotated[
        float, typer.Option(help="Share of tasks whose first decision is drawn at random.")
    ] = 0.0,
    log: Annotated[
        Path | None, typer.Option(help="A file of traces to add to, for `feedback` and `fit`.")
    ] = None,
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Answer every task once, into OUT/results.jsonl; start again with the same to go on.

    A report of the results is in OUT/report.html and OUT/metrics.json at the end. With
    --total-seconds all tasks are probed first, and those trained that gain most a second.

    SIGTERM ends it with code 0 at the next training step, and so does the end of --total-seconds.
    A task that fails has its error in the results. Code 75 says that a task hung or the model was
    lost: start it again.
    """
    for name, value in (("--deadline", deadline), ("--total-seconds", total_seconds)):
        positive(name, value)
    positive("--hard-seconds", hard_seconds)
    not_negative("--price", price)
    not_negative("--retries", retries)
    share("--explore", explore)
    valid_seed(seed)
    if engine is Engines.INLINE and (workers is not None or address is not None):
        raise InputError("--workers and --address are for --engine ray")
    if engine is Engines.RAY and tensor_parallel > 1:
        raise InputError("--tensor-parallel is for --engine inline: a Ray worker has one GPU")
    positive("--workers", workers)
    positive("--queries", queries)
    if log is not None:
        if address is not None:
            raise InputError("--log is a file of this machine, and workers of a cluster have none")
        writable(log)
    from autottt.cli.solving import Options, known_strategy, needs_related
    from autottt.runner.savers import checked_url
    from autottt.runner.stop import Stop, stopping_on_sigterm

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
    if strategy is not None:
        unheard(FORCED, {"--price": price, "--explore": explore or None})
    if strategy is not None and needs_related(known_strategy(strategy)):
        raise InputError(
            f"{strategy} shares one adapter among tasks, and `run` takes them one by one; use "
            "`autottt solve --all`"
        )
    if checkpoints is not None:
        checked_url(checkpoints)
    form = answer_format(answer, choices)
    table = table_settings(demonstrations, columns, seed, instruction, form)
    source = _source(tasks, table, queries, out)
    stop = Stop(total_seconds)
    with stopping_on_sigterm(stop):
        from autottt.cli.run_view import Screen
        from autottt.controller.budget import Budget
        from autottt.runner import loop
        from autottt.runner.attempts import Settings
        from autottt.runner.engines import Engine, Inline
        from autottt.runner.ray_engine import Fleet

        options = Options(
            model=model, gate=gate, budget=Budget(price), explore=explore, settings=settings
        )
        work = Settings(strategy, deadline, seed, log, retries, hard_seconds)
        with contextlib.ExitStack() as stack:
            solving: Engine
            if engine is Engines.RAY:
                make = partial(_loaded, options)
                solving = stack.enter_context(Fleet(make, workers=workers, address=address))
            else:
                solving = Inline(_loaded(options))
            with Screen() as screen:
                tally = loop.run(
                    out,
                    solving,
                    source,
                    work,
                    stop=stop,
                    hear=screen.show,
                    checkpoints=checkpoints,
                )
            described = solving.describe(work)
        screen.summary(tally, out)
        _report(out, described)


def _loaded(options: Options) -> Solver:
    """The solver. Raises `GateError` where a gate was named that cannot be used: without it every
    task that is answered already would be answered again, by another policy."""
    from autottt.cli.solving import load_solver

    solver = load_solver(options)
    if options.gate is not None and solver.gate is None:
        from autottt.controller.difficulty import load_gate

        load_gate(options.gate, model=solver.model.fingerprint)
    return solver


def _report(out: Path, run: Run) -> None:
    """Metrics and page of this run's results, of this start and those before."""
    from autottt.controller.lines import write_whole
    from autottt.evaluation.run_report import run_page, run_report
    from autottt.runner import results
    from autottt.runner.folder import RESULTS

    found = run_report(results.of_run(out / RESULTS, run))
    write_whole(out / METRICS, json.dumps(found, indent=1) + "\n")
    write_whole(out / REPORT, run_page(found, f"{printable(out.name)}: {run.policy}"))
    typer.echo(printable(f"{out / METRICS} and {out / REPORT}"), err=True)


def _source(tasks: str, table: TableSettings, queries: int | None, out: Path) -> Source:
    from autottt.adapters.tasks.files import load_tasks
    from autottt.cli.solving import first_queries
    from autottt.runner.source import Known, Stream

    if tasks != STDIN:
        apart(out, tasks)
        return Known([first_queries(task, queries) for task in load_tasks(tasks, table, but=out)])
    table.refuse("stdin")
    unheard("for tasks on stdin", {"--queries": queries})
    if sys.stdin.isatty():
        raise InputError("there is nothing on stdin; pipe one JSON task a line into it")
    return Stream(sys.stdin.fileno())

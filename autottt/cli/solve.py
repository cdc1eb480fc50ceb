"""`autottt solve`: answer tasks, for a human in colour or for a program as JSON."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

from autottt.cli.exits import (
    BAD_INPUT,
    FAILED,
    not_negative,
    positive,
    say_error,
    share,
    valid_seed,
    writable,
)
from autottt.cli.sources import (
    Device,
    DeviceMap,
    Dtype,
    Format,
    LoraTargets,
    Model,
    Quantize,
    TensorParallel,
    TrustRemoteCode,
    answer_format,
    model_settings,
    task_of_examples,
)
from autottt.errors import ContextLengthError, InputError, StrategyError
from autottt.strategies.base import no_progress
from autottt.types import Answer, Task

if TYPE_CHECKING:
    from autottt.adapters.models.loading import ModelSettings
    from autottt.adapters.tasks.tables import TableSettings
    from autottt.cli.live import Reporter
    from autottt.controller.budget import Budget, Fallback
    from autottt.solver import Solver

SOURCES = (
    "Tasks: a JSON, JSONL or CSV file, a directory, arc:ID, arc2:ID, bbh:PATH or "
    "datasets:NAME:SPLIT. Leave it out with --example and --query."
)


@dataclass(frozen=True)
class Options:
    """How each task is to be solved."""

    strategy: str | None = None
    deadline: float | None = None
    seed: int = 0
    attempts: int = 2
    adapters: Path | None = None
    together: int = 1
    compiled: bool = False
    model: str = "embedded"
    gate: Path | None = None
    budget: Budget | None = None
    explore: float = 0.0
    log: Path | None = None
    settings: ModelSettings | None = None


def solve(
    task: Annotated[str | None, typer.Argument(help=SOURCES)] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Force a strategy; by default the controller chooses.")
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option(help="A demonstration, as in 'input => output'; give it several times."),
    ] = None,
    query: Annotated[list[str] | None, typer.Option(help="An input to answer.")] = None,
    domain: Annotated[str, typer.Option(help="Of --example: text or sequence.")] = "text",
    instruction: Annotated[str, typer.Option(help="What to do, in words.")] = "",
    answer: Annotated[
        str | None, typer.Option(help="What answers are: text, number or choice.")
    ] = None,
    choices: Annotated[
        str | None, typer.Option(help="The answers that there are, parted by commas.")
    ] = None,
    demonstrations: Annotated[
        int, typer.Option(help="Rows of a table that are shown; the others are queries.")
    ] = 10,
    columns: Annotated[
        str, typer.Option(help="Of a table, as in input=question,output=answer,options=choices.")
    ] = "",
    queries: Annotated[
        int | None, typer.Option(help="Answer the first N queries of each task.")
    ] = None,
    model: Model = "embedded",
    device: Device = None,
    device_map: DeviceMap = None,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    tensor_parallel: TensorParallel = False,
    trust_remote_code: TrustRemoteCode = False,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    gate: Annotated[
        Path | None, typer.Option(help="A fitted gate; by default the one of the model.")
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds by which each task is to be answered.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="What a second costs, in units of accuracy.")
    ] = None,
    mean_seconds: Annotated[
        float | None, typer.Option(help="Instead of a price: seconds a task, on average.")
    ] = None,
    risk: Annotated[
        float | None,
        typer.Option(help="Instead of a price: the share of what training finds to miss."),
    ] = None,
    confidence: Annotated[float, typer.Option(help="How sure a --risk must be.")] = 0.9,
    uncertified: Annotated[
        str,
        typer.Option(help="Where a --risk cannot be certified: escalate always, or answer always."),
    ] = "escalate",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    attempts: Annotated[int, typer.Option(help="Candidates per query.")] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a task on stdout, and nothing else.")
    ] = False,
    adapters: Annotated[
        Path | None, typer.Option(help="A directory of trained adapters, to reuse and to add to.")
    ] = None,
    together: Annotated[
        int, typer.Option(help="Tasks of a source that are trained in one pass of the model.")
    ] = 1,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Faster training steps, after a minute once."),
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="A file of traces to add to, for `feedback` and `fit`.")
    ] = None,
    explore: Annotated[
        float, typer.Option(help="Share of tasks whose first decision is drawn at random.")
    ] = 0.0,
    limit: Annotated[
        int | None, typer.Option(help="Solve the first N tasks of a source that holds several.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Solve every task of a source that holds several.")
    ] = False,
) -> None:
    """Answer a task.

    With --json, a source of several tasks (--all, --limit) gives one object a line; a task that
    could not be answered gives {"task_id", "error"} and a non-zero exit code at the end.
    """
    positive("--deadline", deadline)
    not_negative("--price", price)
    positive("--attempts", attempts)
    positive("--limit", limit)
    positive("--together", together)
    if together > 1 and deadline is not None:
        raise InputError("--together trains several tasks at once and cannot hold a --deadline")
    share("--explore", explore)
    if log is not None:
        writable(log)
    valid_seed(seed)
    positive("--queries", queries)
    positive("--demonstrations", demonstrations)
    from autottt.adapters.tasks.tables import TableSettings, parse_columns
    from autottt.controller.budget import Budget

    budget = Budget(price, mean_seconds, risk, confidence, cast("Fallback", uncertified))
    if strategy is not None:
        known_strategy(strategy)
    form = answer_format(answer, choices)
    if task is None:
        given = task_of_examples(
            example or [], query or [], domain=domain, instruction=instruction, answer=form
        )
        tasks = [given]
    elif example or query:
        raise InputError("give tasks by name, or by --example and --query, not both")
    else:
        table = TableSettings(
            demonstrations=demonstrations,
            seed=seed,
            instruction=instruction,
            answer=form,
            **parse_columns(columns),
        )
        tasks = choose_tasks(task, limit=limit, every=every, table=table)
    tasks = [first_queries(one, queries) for one in tasks]
    settings = model_settings(
        device=device,
        device_map=device_map,
        dtype=dtype,
        quantize=quantize,
        tensor_parallel=tensor_parallel,
        trust_remote_code=trust_remote_code,
        prompts=prompts,
        lora_targets=lora_targets,
    )
    options = Options(
        settings=settings,
        strategy=strategy,
        deadline=deadline,
        seed=seed,
        attempts=attempts,
        adapters=adapters,
        together=together,
        compiled=compiled,
        model=model,
        gate=gate,
        budget=budget,
        explore=explore,
        log=log,
    )
    if as_json:
        _solve_as_json(tasks, options)
    else:
        _solve_for_a_human(tasks, options)


def known_strategy(name: str) -> None:
    """Raises `UnknownNameError` before a model is loaded for nothing."""
    from autottt.strategies.registry import get

    get(name)


def first_queries(task: Task, count: int | None) -> Task:
    """The task with at most so many of its queries."""
    targets = task.targets if task.targets is None else task.targets[:count]
    return replace(task, queries=task.queries[:count], targets=targets)


def choose_tasks(
    source: str,
    *,
    limit: int | None = None,
    every: bool = False,
    table: TableSettings | None = None,
) -> list[Task]:
    """The tasks of a source; several only if several were asked for."""
    from autottt.adapters.tasks.files import load_tasks

    tasks = load_tasks(source, table)
    if len(tasks) > 1 and limit is None and not every:
        raise InputError(
            f"{source} holds {len(tasks)} tasks; name one of them, or add --limit N or --all"
        )
    return tasks[:limit]


def _solve_as_json(tasks: Sequence[Task], options: Options) -> None:
    from autottt.cli.record import answer_object, line

    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is not the answer
        solver = load_solver(options)
        known = _together(solver, tasks, options)

        def answer(task: Task) -> None:
            found = known(task) or _run(solver, task, options, related=tasks)
            typer.echo(line(answer_object(task, found)), file=out)

        def failed(task: Task, error: Exception) -> None:
            typer.echo(line({"task_id": task.id, "error": str(error)}), file=out)

        code = _each(tasks, answer, failed)
    if code:
        raise typer.Exit(code)


def _solve_for_a_human(tasks: Sequence[Task], options: Options) -> None:
    console = Console()
    solver = load_solver(options, console)
    code = show_all(solver, tasks, options, console)
    if code:
        raise typer.Exit(code)


def show_all(solver: Solver, tasks: Sequence[Task], options: Options, console: Console) -> int:
    """Solve the tasks one by one, print each as it goes and a table of all; gives the exit code."""
    from autottt.cli.show import results_table

    results: list[tuple[Task, Answer]] = []
    known = _together(solver, tasks, options, console)
    code = _each(
        tasks,
        lambda task: results.append(
            (task, known(task) or _show(solver, task, options, console, related=tasks))
        ),
        lambda task, error: None,
    )
    if len(tasks) > 1:
        console.print(results_table(results))
    return code


def _together(
    solver: Solver, tasks: Sequence[Task], options: Options, console: Console | None = None
) -> Callable[[Task], Answer | None]:
    """The answers of tasks that were solved together, if asked for; it raises their errors."""
    if options.together == 1 or len(tasks) == 1:
        return lambda task: None
    with console.status("solving") if console else contextlib.nullcontext():
        found = solver.solve_many(
            tasks,
            strategy=options.strategy,
            seed=options.seed,
            attempts=options.attempts,
            together=options.together,
            log=options.log,
        )
    answers = {id(task): answer for task, answer in zip(tasks, found, strict=True)}

    def known(task: Task) -> Answer:
        answer = answers[id(task)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return known


def _show(
    solver: Solver, task: Task, options: Options, console: Console, related: Sequence[Task]
) -> Answer:
    from autottt.cli.live import Bars, Reporter

    with Bars(console) as bars:
        reporter = Reporter(console, task, bars)
        answer = _run(solver, task, options, reporter, related=related)
    reporter.finish(answer)
    return answer


def _run(
    solver: Solver,
    task: Task,
    options: Options,
    reporter: Reporter | None = None,
    *,
    related: Sequence[Task],
) -> Answer:
    from autottt.controller.state import no_listener

    return solver.solve(
        task,
        strategy=options.strategy,
        deadline=options.deadline,
        seed=options.seed,
        attempts=options.attempts,
        progress=reporter.progress if reporter else no_progress,
        on_event=reporter.event if reporter else no_listener,
        log=options.log,
        related=tuple(other for other in related if other is not task),
    )


def _each(
    tasks: Sequence[Task],
    answer: Callable[[Task], None],
    failed: Callable[[Task, Exception], None],
) -> int:
    """Answer every task; of several, one that fails is reported and the others go on."""
    code = 0
    for task in tasks:
        try:
            answer(task)
        except (ContextLengthError, StrategyError) as error:
            if len(tasks) == 1:
                raise
            say_error(error, place=task.id)
            failed(task, error)
            code = max(code, BAD_INPUT if isinstance(error, InputError) else FAILED)
    return code


def load_solver(options: Options, console: Console | None = None) -> Solver:
    """The solver with its model, while a terminal says that it is loading."""
    quiet_libraries(downloads=options.model != "embedded" and sys.stderr.isatty())
    with console.status("loading the model") if console else contextlib.nullcontext():
        from autottt.solver import Solver

        return Solver(
            options.model,
            gate=options.gate,
            budget=options.budget,
            explore=options.explore,
            adapters=options.adapters,
            compiled=options.compiled,
            settings=options.settings,
        )


def quiet_libraries(*, downloads: bool) -> None:
    """Keep what only developers of transformers need off stderr, and progress bars of downloads
    unless someone may be waiting for them."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    if not downloads:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

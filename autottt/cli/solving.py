"""Solving tasks for a command: the solver with its model, each task in turn, what is printed."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from autottt.cli.exits import BAD_INPUT, FAILED, say_error
from autottt.cli.startup import import_transformers, loading
from autottt.errors import FAILURES, InputError, StorageError, StrategyError
from autottt.strategies.base import no_progress
from autottt.types import Answer, Task

if TYPE_CHECKING:
    from autottt.adapters.models.loading import ModelSettings
    from autottt.adapters.tasks.tables import TableSettings
    from autottt.cli.live import Reporter
    from autottt.controller.budget import Budget
    from autottt.solver import Solver
    from autottt.strategies.base import Strategy


@dataclass(frozen=True)
class Options:
    """How each task is to be solved."""

    strategy: str | None = None
    deadline: float | None = None
    seed: int = 0
    attempts: int = 2
    adapters: Path | None = None
    adapter_mib: int = 256
    together: int = 1
    compiled: bool = False
    model: str = "embedded"
    gate: Path | None = None
    budget: Budget | None = None
    explore: float = 0.0
    log: Path | None = None
    settings: ModelSettings | None = None


def known_strategy(name: str) -> Strategy:
    """The strategy; raises `UnknownNameError` before a model is loaded for nothing."""
    with loading():
        from autottt.strategies.registry import get

    return get(name)


def needs_related(strategy: Strategy) -> bool:
    """Whether it answers nothing unless it is given related tasks."""
    from autottt.strategies.start import Shared

    return isinstance(getattr(strategy, "start", None), Shared)


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


def solve_as_json(tasks: Sequence[Task], options: Options) -> None:
    from autottt.record import answer_object, line

    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is not the answer
        solver = load_solver(options)
        known = _together(solver, tasks, options)

        def answer(task: Task) -> Answer:
            found = known(task) or _run(solver, task, options, related=tasks)
            typer.echo(line(answer_object(task, found)), file=out)
            return found

        def failed(task: Task, error: Exception) -> None:
            typer.echo(line({"task_id": task.id, "error": str(error)}), file=out)

        code = _each(tasks, answer, failed)
    if code:
        raise typer.Exit(code)


def solve_for_a_human(tasks: Sequence[Task], options: Options) -> None:
    console = Console()
    solver = load_solver(options, console)
    code = show_all(solver, tasks, options, console)
    if code:
        raise typer.Exit(code)


def show_all(solver: Solver, tasks: Sequence[Task], options: Options, console: Console) -> int:
    """Solve the tasks one by one, print each as it goes and a table of all; gives the exit code."""
    from autottt.cli.live import Reporter
    from autottt.cli.show import results_table

    results: list[tuple[Task, Answer]] = []
    known = _together(solver, tasks, options, console)

    def answer(task: Task) -> Answer:
        found = known(task)
        if found is None:
            found = _show(solver, task, options, console, related=tasks)
        else:
            Reporter(console, task, no_progress).finish(found)
        results.append((task, found))
        return found

    code = _each(tasks, answer, lambda task, error: None)
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
    answer: Callable[[Task], Answer],
    failed: Callable[[Task, Exception], None],
) -> int:
    """Answer every task; of several, one that fails is reported and the others go on.

    A query without a candidate is a failure too, and so is a trace that could not be kept.
    """
    from autottt.controller.state import UNLOGGED

    code = 0
    for task in tasks:
        try:
            found = answer(task)
            if not all(found.answers):
                say_error(StrategyError("no view gave a valid answer to a query"), place=task.id)
                code = max(code, FAILED)
            for warning in found.warnings:
                if warning.startswith(UNLOGGED):
                    say_error(StorageError(warning), place=task.id)
                    code = max(code, FAILED)
        except FAILURES as error:
            if len(tasks) == 1:
                raise
            say_error(error, place=task.id)
            failed(task, error)
            code = max(code, BAD_INPUT if isinstance(error, InputError) else FAILED)
    return code


def load_solver(options: Options, console: Console | None = None) -> Solver:
    """The solver with its model, while a terminal says that it is loading."""
    quiet_libraries(downloads=options.model != "embedded" and sys.stderr.isatty())
    status = console.status("loading the model") if console else contextlib.nullcontext()
    with status, loading():
        import_transformers()
        from autottt.adapters.models.adapter_cache import AdapterCache
        from autottt.solver import Solver

        return Solver(
            options.model,
            gate=options.gate,
            budget=options.budget,
            explore=options.explore,
            adapters=AdapterCache(options.adapters, max_bytes=options.adapter_mib * 2**20),
            compiled=options.compiled,
            settings=options.settings,
        )


def quiet_libraries(*, downloads: bool) -> None:
    """Keep what only developers of transformers need off stderr, and progress bars of downloads
    unless someone may be waiting for them."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    if not downloads:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

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
from autottt.cli.sources import ADAPTER_MIB
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
    adapter_mib: int = ADAPTER_MIB
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

        def say(task: Task, found: Answer) -> None:
            typer.echo(line(answer_object(task, found)), file=out)

        def failed(task: Task, error: Exception) -> None:
            typer.echo(line({"task_id": task.id, "error": str(error)}), file=out)

        solver = load_solver(options)
        alone = lambda task: _run(solver, task, options, related=tasks)  # noqa: E731
        code = _answered(solver, tasks, options, alone, _Told(say, failed))
    if code:
        raise typer.Exit(code)


def solve_for_a_human(tasks: Sequence[Task], options: Options) -> None:
    console = Console()
    solver = load_solver(options, console)
    code = show_all(solver, tasks, options, console)
    if code:
        raise typer.Exit(code)


def show_all(solver: Solver, tasks: Sequence[Task], options: Options, console: Console) -> int:
    """Solve the tasks, print each as it is answered and a table of all; gives the exit code."""
    from autottt.cli.live import Bars, Reporter
    from autottt.cli.show import results_table

    results: list[tuple[Task, Answer]] = []
    reporters: dict[int, Reporter] = {}

    def alone(task: Task) -> Answer:
        with Bars(console) as bars:
            reporters[id(task)] = Reporter(console, task, bars)
            return _run(solver, task, options, reporters[id(task)], related=tasks)

    def say(task: Task, found: Answer) -> None:
        reporter = reporters.pop(id(task), None) or Reporter(console, task, no_progress)
        reporter.finish(found)
        results.append((task, found))

    told = _Told(say, lambda task, error: None)
    code = _answered(solver, tasks, options, alone, told, console)
    if len(tasks) > 1:
        places = {id(task): place for place, task in enumerate(tasks)}
        console.print(results_table(sorted(results, key=lambda pair: places[id(pair[0])])))
    return code


@dataclass
class _Told:
    """Tells of each task as it ends, by `say` or `failed` and on stderr; `code` to exit with.

    A query without a candidate is a failure too, and so is a trace that could not be kept.
    """

    say: Callable[[Task, Answer], None]
    failed: Callable[[Task, Exception], None]
    code: int = 0

    def __call__(self, task: Task, found: Answer | Exception) -> None:
        from autottt.controller.state import UNLOGGED

        if isinstance(found, Exception):
            self._error(task, found)
            self.failed(task, found)
            return
        self.say(task, found)
        if not all(found.answers):
            late = " before the deadline; allow more seconds" if found.late else ""
            self._error(task, StrategyError(f"no view gave a valid answer to a query{late}"))
        for warning in found.warnings:
            if warning.startswith(UNLOGGED):
                self._error(task, StorageError(warning))

    def _error(self, task: Task, error: Exception) -> None:
        say_error(error, place=task.id)
        self.code = max(self.code, BAD_INPUT if isinstance(error, InputError) else FAILED)


def _answered(
    solver: Solver,
    tasks: Sequence[Task],
    options: Options,
    alone: Callable[[Task], Answer],
    told: _Told,
    console: Console | None = None,
) -> int:
    """Answer every task, `alone` or together; of several one that fails is told like the others."""
    if len(tasks) == 1:
        told(tasks[0], alone(tasks[0]))  # its error is the command's
    elif options.together > 1:
        with console.status("solving") if console else contextlib.nullcontext():
            solver.solve_many(
                tasks,
                strategy=options.strategy,
                seed=options.seed,
                attempts=options.attempts,
                together=options.together,
                on_answer=lambda place, found: told(tasks[place], found),
                log=options.log,
            )
    else:
        for task in tasks:
            try:
                found: Answer | Exception = alone(task)
            except FAILURES as error:
                found = error
            told(task, found)
    return told.code


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

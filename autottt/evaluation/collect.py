"""Outcomes: strategies run once on a task, and logged with the features of the probe.

`collect` draws generated tasks (the gate is fitted to these), `sweep` takes tasks from files (for
reports). Both write the format of `controller.outcomes` and skip what the log holds already, so a
run that was stopped goes on where it was.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import LanguageModel
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import ModelSettings
from autottt.controller.outcomes import (
    ICL_VOTE,
    ArmOutcome,
    Outcome,
    append_outcome,
    asked_hash,
    own_seconds,
    read_outcomes,
    task_hash,
)
from autottt.controller.probe import agreement, run_probe
from autottt.errors import AutotttError, InputError, LostModelError, TaskError, WorkerError
from autottt.pretraining.sampling import draw_task
from autottt.record import is_right
from autottt.strategies.base import Progress, RunContext, Strategy, no_progress
from autottt.strategies.contract import attempted, reason_against
from autottt.strategies.icl import ICL
from autottt.strategies.registry import get
from autottt.types import Attempt, Task

log = logging.getLogger(__name__)
FIRST_SEED = 2_000_000  # apart from the tasks of pretraining and of its validation
DEMONSTRATIONS = (3, 4)
STRATEGIES = ("icl", ICL_VOTE, "ttt")  # what is measured unless others are named
RELATED = 8  # tasks of a group that share, at most


def collect(
    out: Path,
    *,
    model: str = "embedded",
    settings: ModelSettings | None = None,
    families: Sequence[str],
    tasks_per_family: int,
    strategies: Sequence[str] = STRATEGIES,
    seed: int = 0,
    tasks_seed: int | None = None,
    max_cells: int = 900,
    jobs: int = 1,
    progress: Progress = no_progress,
) -> int:
    """Log the strategies on generated tasks; returns how many outcomes the log then holds.

    The tasks are those of `tasks_seed`, by default of `seed`.
    """
    draw = seed if tasks_seed is None else tasks_seed
    tasks = generated_tasks(families, tasks_per_family, seed=draw, max_cells=max_cells)
    loaded = HuggingFaceModel(model, settings=settings)
    return measure_all(tasks, out, loaded, strategies, seed, progress, jobs=jobs)


def generated_tasks(
    families: Sequence[str], tasks_per_family: int, *, seed: int, max_cells: int
) -> list[tuple[str, Task]]:
    """`(family, task)` with three or four demonstrations, from seeds that nothing was trained on.

    A family that gives no task of at most `max_cells` cells is left out with a warning.
    """
    tasks: list[tuple[str, Task]] = []
    for place in range(tasks_per_family):
        for name in families:
            number = FIRST_SEED + 1000 * seed + place
            shown = DEMONSTRATIONS[number % len(DEMONSTRATIONS)]
            try:
                task = draw_task(name, number, demonstrations=shown, max_cells=max_cells)
            except ValueError as error:
                log.warning("%s", error)
                continue
            tasks.append((name, task))
    return tasks


def sweep(
    tasks: Sequence[Task],
    out: Path,
    *,
    model: str = "embedded",
    settings: ModelSettings | None = None,
    strategies: Sequence[str],
    seed: int = 0,
    jobs: int = 1,
    until: float | None = None,
    alone: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Log the given strategies on tasks whose targets are known, grouped by `group_of`.

    `alone` is for a log of this model only; raises `InputError` where it has others.
    """
    grouped = [(group_of(task.id), task) for task in tasks]
    loaded = HuggingFaceModel(model, settings=settings)
    others = {o.model for o in read_outcomes(out)} if alone and out.exists() else set()
    if others - {loaded.fingerprint}:
        raise InputError(f"{out} has outcomes of another model; name another folder for this one")
    return measure_all(grouped, out, loaded, strategies, seed, progress, jobs=jobs, until=until)


def group_of(name: str) -> str:
    """The group of a task by its id: that without a number at the end."""
    return name.rstrip("0123456789").rstrip("_") or name


def measure_all(
    tasks: Iterable[tuple[str, Task]],
    out: Path,
    model: LanguageModel,
    strategies: Sequence[str],
    seed: int,
    progress: Progress = no_progress,
    *,
    jobs: int = 1,
    until: float | None = None,
) -> int:
    """`measure` each task that the log does not hold yet, in `jobs` processes of one thread each.

    With one job, in this process with the threads it has. The log is written here alone. After
    `until`, a reading of `time.monotonic()`, no further outcome is waited for.
    """
    before = [o for o in read_outcomes(out) if o.model == model.fingerprint] if out.exists() else []
    done = {(o.task_id, o.seed): o.task for o in before}
    every = list(tasks)
    for _, task in every:
        known = done.get((task.id, seed))
        if known is not None and known != task_hash(task):
            raise InputError(
                f"{out} has another task by the name of {task.id!r}; name another file for the "
                "tasks as they are now, or give the task another id"
            )
    grouped: dict[str, list[Task]] = {}
    for group, task in every:
        grouped.setdefault(group, []).append(task)
    todo = [
        (group, task, _related(task, grouped[group]))
        for group, task in every
        if (task.id, seed) not in done
    ]
    lacking = {name for o in before for name in strategies if name not in o.arms}
    if lacking:
        log.warning(
            "%s has tasks that were measured without %s; they are not measured again, name "
            "another file for that",
            out,
            ", ".join(sorted(lacking)),
        )
    progress("measuring", 0, len(todo))
    for place, result in enumerate(_results(todo, model, strategies, seed, jobs), start=1):
        if isinstance(result, Outcome):
            append_outcome(out, result)
        else:
            log.warning("%s", result)
        progress("measuring", place, len(todo))
        if until is not None and time.monotonic() >= until:
            log.warning("time is up after %d of %d tasks; run again to go on", place, len(todo))
            break
    return len(read_outcomes(out)) if out.exists() else 0


def _related(task: Task, group: Sequence[Task]) -> tuple[Task, ...]:
    """The task's part of its group, the same for all tasks of the part."""
    first = group.index(task) // RELATED * RELATED
    return tuple(group[first : first + RELATED])


def _results(
    todo: Sequence[tuple[str, Task, tuple[Task, ...]]],
    model: LanguageModel,
    strategies: Sequence[str],
    seed: int,
    jobs: int,
) -> Iterator[Outcome | str]:
    """An outcome, or why there is none, for each task, as they come."""
    if jobs == 1:
        for group, task, related in todo:
            context = RunContext(model, seed, adapters=_adapters(model.name), related=related)
            yield _measured(task, group, context, strategies)
        return
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    assert isinstance(model, HuggingFaceModel)
    source = model.name, model.settings
    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        work = (delayed(_elsewhere)(t, g, r, source, strategies, seed) for g, t, r in todo)
        try:
            yield from Parallel(return_as="generator_unordered", batch_size=1)(work)
        except TerminatedWorkerError as error:
            raise WorkerError(
                f"one of {jobs} processes was killed, most likely as memory ran out; what was "
                "measured is kept, go on with fewer --jobs"
            ) from error


def _elsewhere(
    task: Task,
    group: str,
    related: tuple[Task, ...],
    source: tuple[str, ModelSettings],
    strategies: Sequence[str],
    seed: int,
) -> Outcome | str:
    _follow_parent()
    context = RunContext(_model(*source), seed, adapters=_adapters(source[0]), related=related)
    return _measured(task, group, context, strategies)


@cache
def _follow_parent() -> None:
    """Have a worker process end with the one that started it, even where that is killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    while os.getppid() == parent.pid:  # it cannot be joined: workers of loky have no sentinel
        time.sleep(1.0)
    os._exit(1)


@cache
def _model(name: str, settings: ModelSettings) -> HuggingFaceModel:
    """The model of a worker process, loaded once."""
    return HuggingFaceModel(name, settings=settings)


@cache
def _adapters(model: str) -> AdapterCache:
    """The adapters of a worker process: `NAME+search` answers with what NAME has trained."""
    return AdapterCache()


def _measured(
    task: Task, group: str, context: RunContext, strategies: Sequence[str]
) -> Outcome | str:
    try:
        return measure(task, group, context, strategies)
    except LostModelError:
        raise
    except AutotttError as error:
        return f"task {task.id} was left out: {error}"


def measure(task: Task, group: str, context: RunContext, strategies: Sequence[str]) -> Outcome:
    """Run the probe and every other strategy on one task; raises `TaskError` without targets.

    A strategy whose adapter was trained before, by another that trains alike, is charged for it.
    """
    if task.targets is None:
        raise TaskError(f"task {task.id!r} has no targets, so nothing can be judged right")
    voter = get(ICL_VOTE)
    assert isinstance(voter, ICL)
    probe = run_probe(task, context, voter)
    arms = {ICL_VOTE: _judge(probe.attempt, task, None)}
    for name in strategies:
        if name != ICL_VOTE:
            beside = replace(context, rivals=probe.attempt.winners)
            arms[name] = _run(get(name), task, beside, probe.attempt)
    return Outcome(
        task.id,
        group,
        context.model.fingerprint,
        context.seed,
        probe.features,
        arms,
        task=task_hash(task),
        asked=asked_hash(task),
    )


def _run(strategy: Strategy, task: Task, context: RunContext, probe: Attempt) -> ArmOutcome:
    reason = reason_against(strategy, task, context)
    if reason is not None:
        return ArmOutcome(False, 0.0, 0, {}, error=reason)
    begin = time.perf_counter()
    try:
        return _judge(attempted(strategy, task, context), task, probe)
    except LostModelError:
        raise
    except AutotttError as error:
        return ArmOutcome(False, time.perf_counter() - begin, 0, {}, error=str(error))


def _judge(attempt: Attempt, task: Task, probe: Attempt | None) -> ArmOutcome:
    evidence = dict(attempt.evidence)
    if probe is not None:
        evidence.update(agreement(attempt, probe))
    right = is_right(task, attempt.candidates)
    return ArmOutcome(right, own_seconds(attempt), attempt.tokens, evidence)

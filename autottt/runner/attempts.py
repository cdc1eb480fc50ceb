"""One attempt at one task, wherever it is made: what is asked for, and what can come of it."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autottt.controller.checkpoints import Checkpoints
from autottt.errors import AutotttError, InputError, StoppedError, StorageError
from autottt.runner import savers
from autottt.runner.stop import Stop
from autottt.runner.watchdog import HUNG, hard_limit, watched
from autottt.types import Answer, Decision, Task

if TYPE_CHECKING:
    from autottt.solver import Solver

logger = logging.getLogger(__name__)
# what a model, a strategy or a plug-in may raise on one task while the others are fine; a failure
# of the disk is not among them
TASK_FAILURES = (
    AutotttError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
DISK = {  # failures of the operating system that no task is to blame for
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}


@dataclass(frozen=True)
class Settings:
    """How the tasks are worked on; `hard_seconds` None takes `watchdog.hard_limit`."""

    strategy: str | None = None
    deadline: float | None = None
    seed: int = 0
    log: Path | None = None
    retries: int = 2
    hard_seconds: float | None = None

    @property
    def hard_limit(self) -> float:
        """Seconds after which a task counts as hung."""
        return hard_limit(self.deadline) if self.hard_seconds is None else self.hard_seconds


@dataclass(frozen=True)
class Job:
    """The attempt of that `number` at a task; `probe` leaves it before its first training.

    `deadline` is in seconds from when it begins, `seconds_left` those of the whole run, `thread`
    the name of the task's checkpoints.
    """

    key: str
    thread: str
    task: Task
    number: int
    probe: bool
    deadline: float | None
    seconds_left: float


@dataclass(frozen=True)
class Answered:
    """The task has its answer."""

    answer: Answer


@dataclass(frozen=True)
class Offered:
    """The task is probed, and a training waits that is expected to gain and take that much."""

    gain: float
    seconds: float


@dataclass(frozen=True)
class Stopped:
    """The work was told to stop; what the task's checkpoints have is kept."""


@dataclass(frozen=True)
class Died:
    """The process ended in the midst of it."""


@dataclass(frozen=True)
class Failed:
    """The task failed, with an error of that kind; `for_good` says that it is not tried again."""

    kind: str
    message: str
    for_good: bool


@dataclass(frozen=True)
class NoStorage:
    """The disk or the database failed, and the loop has to end."""

    error: Exception


Outcome = Answered | Offered | Stopped | Died | Failed | NoStorage


def attempt(
    solver: Solver,
    saver: savers.Saver | None,
    job: Job,
    settings: Settings,
    stop: Stop,
    *,
    end: Callable[[int], object] = os._exit,
) -> Outcome:
    """Make it; what is not a task's failure and not the storage's is raised.

    Where the process can solve nothing more, its `end` is that of one that hangs.
    """
    try:
        with watched(f"task {job.task.id}", settings.hard_limit):
            return _worked(solver, saver, job, settings, stop)
    except StoppedError:
        return Stopped()
    except StorageError as error:
        return NoStorage(error)
    except savers.failures() as error:
        return NoStorage(error)
    except OSError as error:
        return NoStorage(error) if error.errno in DISK else _failed(job, error)
    except TASK_FAILURES as error:
        from autottt.adapters.models.memory import is_lost

        if is_lost(error):
            logger.critical("the process ends with code %d, to be started anew: %s", HUNG, error)
            end(HUNG)
        return _failed(job, error)


def _worked(
    solver: Solver,
    saver: savers.Saver | None,
    job: Job,
    settings: Settings,
    stop: Stop,
) -> Outcome:
    kept = None if saver is None else Checkpoints(saver, job.thread)
    if job.probe and kept is not None:
        offer = solver.offer(
            job.task,
            kept,
            deadline=job.deadline,
            seed=settings.seed,
            progress=stop.progress,
            on_event=stop.event,
            log=settings.log,
        )
        if offer is not None:
            return _offered(offer)
    answer = solver.solve(
        job.task,
        strategy=settings.strategy,
        deadline=job.deadline,
        seed=settings.seed,
        progress=stop.progress,
        on_event=stop.event,
        log=settings.log,
        checkpoints=kept,
    )
    return Answered(answer)


def _offered(offer: Decision) -> Offered:
    doubt = 1.0 - offer.probability_right  # without a gate it is all that is known
    return Offered(offer.gains.get(offer.chosen, doubt), offer.costs.get(offer.chosen, 0.0))


def _failed(job: Job, error: Exception) -> Failed:
    if not isinstance(error, InputError):
        logger.warning("task %s failed: %s", job.task.id, error, exc_info=True)
    return Failed(type(error).__name__, str(error), isinstance(error, InputError))

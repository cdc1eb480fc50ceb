"""Where attempts are made: in this process, or by workers that the loop hands them to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from autottt.runner.attempts import Job, Outcome, Settings, attempt
from autottt.runner.queue import Run
from autottt.runner.savers import Saver
from autottt.runner.stop import Stop

if TYPE_CHECKING:
    from autottt.solver import Solver


class Engine(Protocol):
    """Makes attempts for one loop. An outcome comes once for every job that was begun."""

    def describe(self, settings: Settings) -> Run:
        """What the answers will be given with. Errors of loading a model come out here."""

    @contextmanager
    def opened(
        self, settings: Settings, stop: Stop, where: Path | str, saver: Saver
    ) -> Iterator[None]:
        """At work until the block ends; `saver` is the one of the checkpoints kept at `where`."""

    @property
    def free(self) -> bool:
        """Whether another job can begin."""

    def begin(self, job: Job) -> None: ...

    def ended(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """The jobs that have ended; waits at most that long for one."""

    def interrupt(self) -> None:
        """Have the jobs that are under way stopped."""


def describe(solver: Solver, settings: Settings) -> Run:
    """What answers depend on besides the task, in words that fit a key."""
    policy = solver.policy
    if settings.strategy is not None:
        parts = [f"strategy:{settings.strategy}"]
    else:
        gate = solver.gate
        digest = "none" if gate is None else hashlib.sha256(repr(gate).encode()).hexdigest()[:12]
        parts = [f"gate:{digest}", f"price:{policy.price:g}"]
        parts += [f"least:{policy.least:g}"] if policy.least else []
        parts += [f"explore:{policy.explore:g}"] if policy.explore else []
    parts += [f"deadline:{settings.deadline:g}"] if settings.deadline is not None else []
    return Run(" ".join(parts), solver.model.fingerprint, settings.seed)


class Inline:
    """One attempt at a time, in this process; `begin` returns when it has ended."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._done: list[tuple[Job, Outcome]] = []

    def describe(self, settings: Settings) -> Run:
        return describe(self._solver, settings)

    @contextmanager
    def opened(
        self, settings: Settings, stop: Stop, where: Path | str, saver: Saver
    ) -> Iterator[None]:
        self._settings, self._stop, self._saver = settings, stop, saver
        yield

    @property
    def free(self) -> bool:
        return not self._done

    def begin(self, job: Job) -> None:
        outcome = attempt(self._solver, self._saver, job, self._settings, self._stop)
        self._done.append((job, outcome))

    def ended(self, seconds: float) -> list[tuple[Job, Outcome]]:
        done, self._done = self._done, []
        return done

    def interrupt(self) -> None:
        """Its job hears of the stop by itself."""

"""Attempts by Ray actors: each has the model once, one accelerator, and makes one at a time.

The queue, the results and the count of attempts stay with the loop. An actor that dies counts an
attempt against the task it had and is replaced, while the others work on. A computation is the
same as `engines.Inline` makes with one CPU thread, or on the same kind of accelerator.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from autottt.errors import AutotttError, InputError, WorkerError
from autottt.runner import savers
from autottt.runner.attempts import Died, Failed, Job, Outcome, Settings, attempt
from autottt.runner.engines import describe
from autottt.runner.queue import Run
from autottt.runner.savers import Saver
from autottt.runner.stop import Stop

if TYPE_CHECKING:
    from autottt.solver import Solver

logger = logging.getLogger(__name__)
KNOCK = 10.0  # seconds that a cluster has to answer in
START = 600.0  # seconds that an actor has for loading its model
STORE = 100 * 2**20  # bytes of Ray's object store, of which next to nothing is used


class Worker:
    """What an actor runs. `interrupt` comes in a thread of its own."""

    def __init__(self, make: Callable[[], Solver]) -> None:
        import torch

        torch.set_num_threads(1)
        self._make = make
        self._saver: Saver | None = None
        self._stack = contextlib.ExitStack()
        self._stop: Stop | None = None

    def load(self, settings: Settings) -> Run | AutotttError:
        """Load the model; says what answers will be given with."""
        try:
            self._solver = self._make()
        except AutotttError as error:
            return error
        self._settings = settings
        return describe(self._solver, settings)

    def open(self, where: Path | str | None) -> None:
        """Keep checkpoints there, or none."""
        if where is not None:
            self._saver = self._stack.enter_context(savers.opened(where))

    def attempt(self, job: Job) -> Outcome:
        limited = job.seconds_left < math.inf
        self._stop = Stop(job.seconds_left if limited else None)
        return attempt(self._solver, self._saver, job, self._settings, self._stop)

    def interrupt(self) -> None:
        if self._stop is not None:
            self._stop.ask("told to stop")


class Fleet:
    """An `engines.Engine` of `workers` actors, by default one for each accelerator, else CPU.

    `make` gives an actor its solver, and can be pickled. `address` is a cluster's; None starts
    Ray on this machine, until the block ends. Raises `InputError` where Ray is missing or there is
    no cluster, and `WorkerError` where no actor could be started.
    """

    def __init__(
        self, make: Callable[[], Solver], *, workers: int | None = None, address: str | None = None
    ) -> None:
        self._make, self._wanted, self._address = make, workers, address
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Job]] = {}  # reference of an attempt -> actor, job
        self._coming: dict[Any, Any] = {}  # reference of a loading -> actor that replaces another
        self._run: Run | None = None
        self._where: Path | str | None = None

    def __enter__(self) -> Self:
        self._ray = _ray()
        before = signal.getsignal(signal.SIGTERM)
        try:
            _knock(self._address)
            self._ray.init(**self._start())
        except (OSError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
            self._ray.shutdown()
            raise InputError(
                f"there is no Ray cluster at {self._address!r} ({_first_line(error)}); start one "
                "with `ray start --head`, set RAY_AUTH_MODE=token if it asks for a token, or leave "
                "--address out"
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray sets one of its own
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        busy = [worker for worker, _ in self._busy.values()]
        for worker in [*self._idle, *busy, *self._coming.values()]:
            self._ray.kill(worker)
        self._ray.shutdown()

    def _start(self) -> dict[str, Any]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": False}
        if self._address is not None:
            return {"address": self._address, **quiet}
        room = {} if self._wanted is None else {"num_cpus": self._wanted}
        own = {"address": "local", "include_dashboard": False, "object_store_memory": STORE}
        return {**own, **room, **quiet}  # local whatever RAY_ADDRESS says

    def describe(self, settings: Settings) -> Run:
        """Starts the actors at the first call."""
        if self._run is None:
            self._settings = settings
            resources = self._ray.cluster_resources()
            self._accelerators = int(resources.get("GPU", 0))
            count = self._wanted or self._accelerators or int(resources.get("CPU", 1))
            started = [self._new() for _ in range(count)]
            runs = {self._loaded(load) for _, load in started}
            if len(runs) != 1:
                raise InputError(
                    "the workers have different models or gates; install the same on every machine"
                )
            self._run = runs.pop()
            self._idle = [worker for worker, _ in started]
        return self._run

    def _new(self) -> tuple[Any, Any]:
        """An actor, and the reference of its loading."""
        actor = self._ray.remote(Worker).options(
            num_cpus=1, num_gpus=1 if self._accelerators else 0, max_concurrency=2
        )
        worker = actor.remote(self._make)
        return worker, worker.load.remote(self._settings)

    def _loaded(self, load: Any) -> Run:
        try:
            found = self._ray.get(load, timeout=START)
        except self._ray.exceptions.GetTimeoutError as error:
            raise WorkerError(
                f"a worker did not load its model in {START:g} s; the cluster has "
                f"{self._ray.available_resources()} to spare, ask for fewer --workers"
            ) from error
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"a worker died as it loaded its model: {_cause(error)}") from error
        if isinstance(found, AutotttError):
            raise found
        assert isinstance(found, Run)
        return found

    @contextmanager
    def opened(
        self, settings: Settings, stop: Stop, where: Path | str, saver: Saver
    ) -> Iterator[None]:
        """A file is shared by actors on this machine only; on a cluster there is none then."""
        alone = self._address is None
        self._where = where.absolute() if isinstance(where, Path) and alone else None
        if isinstance(where, str):
            self._where = where
        self._ray.get([worker.open.remote(self._where) for worker in self._idle])
        yield

    @property
    def free(self) -> bool:
        return bool(self._idle)

    def begin(self, job: Job) -> None:
        worker = self._idle.pop()
        self._busy[worker.attempt.remote(job)] = (worker, job)

    def ended(self, seconds: float) -> list[tuple[Job, Outcome]]:
        waiting = list(self._busy)
        if not waiting:
            return []
        self._ray.wait([*waiting, *self._coming], timeout=seconds)
        ready, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        found = [self._ended(reference) for reference in ready]
        self._take_in()
        return found

    def _ended(self, reference: Any) -> tuple[Job, Outcome]:
        worker, job = self._busy.pop(reference)
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, BaseException) else error
            outcome = Failed(type(cause).__name__, _first_line(cause), for_good=False)
        except self._ray.exceptions.RayError as error:
            logger.warning("task %s: its worker died: %s", job.task.id, _first_line(error))
            new, load = self._new()
            self._coming[load] = new
            return job, Died()
        self._idle.append(worker)
        return job, outcome

    def _take_in(self) -> None:
        """Take in the new actors that have loaded; one is waited for where there is no other."""
        for load in list(self._coming):
            loaded, _ = self._ray.wait([load], timeout=0)
            if loaded or not (self._idle or self._busy):
                self._join(self._coming.pop(load), load)

    def _join(self, worker: Any, load: Any) -> None:
        try:
            if self._loaded(load) != self._run:
                raise WorkerError("a new worker has another model or gate than the others")
            self._ray.get(worker.open.remote(self._where))
        except (AutotttError, self._ray.exceptions.RayError) as error:
            self._ray.kill(worker)
            if not self._idle and not self._busy and not self._coming:
                raise WorkerError(f"no worker is left: {error}") from error
            logger.warning("a worker was not replaced: %s", error)
        else:
            self._idle.append(worker)

    def interrupt(self) -> None:
        for worker, _ in self._busy.values():
            worker.interrupt.remote()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError("the engine ray needs Ray; pip install 'autottt[ray]'") from error
    return ray


def _knock(address: str | None) -> None:
    """Raise an `OSError` where nobody listens; Ray itself goes on trying for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK).close()


def _cause(error: BaseException) -> str:
    """What the actor raised, which ends what Ray says of it, or else how Ray begins."""
    last = str(error).strip().rsplit("\n", 1)[-1]
    return last if re.match(r"[\w.]+(Error|Exception)\b", last) else _first_line(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]

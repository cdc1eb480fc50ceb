"""The processes that hold one model together, each a part of every layer (tensor parallelism).

The first process is the user's. It tells the others every call of the model, and all make it, with
the layers exchanging what they must through torch.distributed. What is not the same everywhere by
itself (the clock, a batch, what a callback says) is computed by the first and handed to the others,
so that all take the same way. Where one of them dies or falls out of step, all but the first are
ended, and the next call starts them anew.
"""

from __future__ import annotations

import atexit
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from autottt.adapters.models.memory import is_out_of_memory
from autottt.errors import AutotttError, InputError, WorkerError

logger = logging.getLogger(__name__)
T = TypeVar("T")
P = ParamSpec("P")
LIMIT = 600.0  # seconds that the processes wait for each other within a call
LATE = 5.0  # seconds that the others have to end a call which failed in the first
FOLLOW = "import sys; from autottt.adapters.models.follower import main; main(int(sys.argv[1]))"


class Ranks:
    """The usual case: one process, with nobody to tell."""

    rank, size = 0, 1
    lost = False  # whether the others have to be started before the next call

    def agreed(self, compute: Callable[P, T]) -> Callable[P, T]:
        """A function whose value, or error, is the first process's in all of them."""
        return compute

    def gathered(self, value: T) -> list[T]:
        """In the first process the value of each, by rank; in another its own."""
        return [value]

    def total(self, value: Tensor) -> Tensor:
        """The sum over the processes."""
        return value

    @contextmanager
    def told(self, call: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        """What is done inside is the method `call`, and the others make that call as well."""
        yield

    def start(self, name: str, settings: Any) -> None:
        """Have the others load that model; to be followed by loading it here and `gathered`."""

    def stop(self) -> None:
        """End the others."""


class ElsewhereError(AutotttError):
    """In another process than the first: what the first was to compute there failed."""


def elsewhere(*args: Any) -> Any:
    """Stands for a function that only the first process has."""
    raise AssertionError("only the first process can call this")


def send(link: Connection, message: Any) -> None:
    """Tensors go by value; the connection's own way would share their memory between processes."""
    link.send_bytes(pickle.dumps(message))


def receive(link: Connection) -> Any:
    """What `send` sent; raises `EOFError` where the other side is gone."""
    return pickle.loads(link.recv_bytes())  # noqa: S301  # of a process that was started here


class Other(Ranks):
    """Any process but the first."""

    def __init__(self, link: Connection, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._link = link

    def agreed(self, compute: Callable[P, T]) -> Callable[P, T]:
        def received(*args: P.args, **kwargs: P.kwargs) -> T:
            value, error = receive(self._link)
            if error is not None:
                raise ElsewhereError(error)
            found: T = value
            return found

        return received

    def gathered(self, value: T) -> list[T]:
        send(self._link, _Said(value))
        return [value]

    def total(self, value: Tensor) -> Tensor:
        return _total(value)


@dataclass(frozen=True)
class _Said:
    """A value that another process contributes to `gathered`."""

    value: Any


@dataclass(frozen=True)
class Ended:
    """Another process has made the call; the error is the name and text of what it raised."""

    error: str | None


@dataclass
class _Process:
    link: Connection
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class First(Ranks):
    """The user's process, which starts the others on this machine and tells them what to do."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.lost = True
        self._others: list[_Process] = []
        self._store: Path | None = None
        self._depth = 0

    def start(self, name: str, settings: Any) -> None:
        if dist.is_initialized():
            raise InputError(
                "torch.distributed is already in use in this process; load one model with "
                "tensor_parallel a process, and do not run autottt under torchrun"
            )
        with tempfile.NamedTemporaryFile(prefix="autottt-", delete=False) as file:
            self._store = Path(file.name)
        self._store.unlink()
        threads = str(max(1, torch.get_num_threads() // self.size))
        here = str(Path(__file__).parents[3])  # where this package is, whatever the current folder
        paths = os.pathsep.join(filter(None, [*sys.path, here]))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": paths}
        for rank in range(1, self.size):
            ours, theirs = Pipe()
            errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", FOLLOW, str(theirs.fileno())],
                env={**environment, "LOCAL_RANK": str(rank)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the first alone
            )
            theirs.close()
            self._others.append(_Process(ours, process, errors))
            send(ours, (rank, self.size, self._store, name, settings))
        atexit.register(self.stop)
        self.lost = False
        for other in self._others:
            self._heard(other)  # it is up
        try:
            join(self._store, 0, self.size, settings.device)
        except BaseException:
            self.stop()
            raise

    def agreed(self, compute: Callable[P, T]) -> Callable[P, T]:
        def computed(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                value = compute(*args, **kwargs)
            except BaseException as error:
                self._say((None, type(error).__name__))
                raise
            self._say((value, None))
            return value

        return computed

    def gathered(self, value: T) -> list[T]:
        return [value, *(self._heard(other) for other in self._others)]

    def total(self, value: Tensor) -> Tensor:
        return _total(value)

    @contextmanager
    def told(self, call: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        if self._depth == 0:
            self._say((call, args, kwargs))
        self._depth += 1
        try:
            yield
        except BaseException as error:
            self._depth -= 1
            if self._depth == 0 and not self.lost:
                why = self._wait(LATE, failed=True)
                if why is not None and _of_another(error):
                    raise WorkerError(why) from error
            raise
        self._depth -= 1
        if self._depth == 0 and not self.lost:
            why = self._wait(LIMIT, failed=False)
            if why is not None:
                raise WorkerError(why)

    def stop(self) -> None:
        self.lost = True
        atexit.unregister(self.stop)
        for other in self._others:
            other.process.kill()
            other.process.wait()
            other.link.close()
            other.errors.close()
        self._others = []
        if dist.is_initialized():
            dist.destroy_process_group()
        if self._store is not None:
            self._store.unlink(missing_ok=True)

    def _say(self, message: Any) -> None:
        for other in self._others:
            try:
                send(other.link, message)
            except OSError as error:
                raise WorkerError(self._give_up(other)) from error

    def _heard(self, other: _Process) -> Any:
        found = self._received(other, LIMIT)
        if not isinstance(found, _Said):
            raise WorkerError(self._give_up(other, found))
        return found.value

    def _received(self, other: _Process, seconds: float) -> Any:
        """What another process says, None where it died or says nothing for so long."""
        try:
            return receive(other.link) if other.link.poll(seconds) else None
        except (EOFError, OSError):
            return None

    def _wait(self, seconds: float, *, failed: bool) -> str | None:
        """Until all have made the call; why not, where they did not fare as the first."""
        for other in self._others:
            found = self._received(other, seconds)
            if not isinstance(found, Ended) or (found.error is not None) != failed:
                return self._give_up(other, found)
        return None

    def _give_up(self, other: _Process, found: Any = None) -> str:
        """End all others, as they are not in step any more; returns the reason in words."""
        said = found.error if isinstance(found, Ended) and found.error else other.last_words()
        self.stop()
        logger.warning("the processes of the model are not in step and were ended: %s", said)
        return (
            f"a process that holds a part of the model died or fell out of step ({said}); the "
            "next call starts it again"
        )


def _of_another(error: BaseException) -> bool:
    """Whether that error may come from waiting for another process in vain."""
    return isinstance(error, RuntimeError) and not is_out_of_memory(error)


def of(size: int) -> Ranks:
    """The processes for that degree of tensor parallelism, seen from the first."""
    return First(size) if size > 1 else Ranks()


def join(store: Path, rank: int, size: int, device: str | None) -> None:
    """Meet the other processes of this machine; gradients and sums then pass between them."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody else can connect
    cuda = (device or "cuda").startswith("cuda") and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=dist.FileStore(str(store), size),  # type: ignore[attr-defined]
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=LIMIT),
    )


def _total(value: Tensor) -> Tensor:
    value = value.clone()
    dist.all_reduce(value)
    return value


def copied(x: Tensor) -> Tensor:
    """The same, with its gradient summed over the processes: before what each has a part of."""
    found: Tensor = _Copied.apply(x)  # type: ignore[no-untyped-call]
    return found


def summed(x: Tensor) -> Tensor:
    """The sum over the processes, with the gradient as it comes: after what each has a part of."""
    found: Tensor = _Summed.apply(x)  # type: ignore[no-untyped-call]
    return found


class _Copied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _total(gradient.float()).to(gradient.dtype)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _total(x.float()).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


@dataclass(frozen=True)
class Part:
    """Which part of a dimension of a tensor a process has."""

    dim: int
    begin: int
    end: int
    size: int  # of that dimension as a whole

    def of(self, whole: Tensor) -> Tensor:
        return whole.narrow(self.dim, self.begin, self.end - self.begin)


def joined(parts: Sequence[Mapping[str, Tensor]], dims: Mapping[str, int]) -> dict[str, Tensor]:
    """Whole tensors of every process's; those without a dimension are the same everywhere."""
    first = parts[0]
    return {
        name: torch.cat([some[name] for some in parts], dims[name]) if name in dims else first[name]
        for name in first
    }

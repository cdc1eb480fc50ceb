"""Checkpoints in a real PostgreSQL, which these tests start and stop."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autottt
from autottt.adapters.models.base import TrainRecord
from autottt.adapters.models.fake import FakeModel
from autottt.errors import InputError, StorageError
from autottt.runner import savers
from autottt.runner.attempts import Settings
from autottt.runner.engines import Inline
from autottt.runner.loop import run
from autottt.runner.source import Known
from autottt.runner.stop import Stop
from autottt.runner.tally import Tally
from autottt.solver import Solver
from autottt.types import Grid, Task

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
PASSWORD = "s3cret/word"
ROOT = Path(autottt.__file__).parents[1]


def program(name: str) -> str | None:
    """Where a binary of PostgreSQL is; Debian keeps it off the PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ["PATH"]]))


class Server:
    """A server on a free port of this machine, run by another user where this one is root."""

    def __init__(self, folder: Path) -> None:
        self.user = "nobody" if getpass.getuser() == "root" else None
        self.data = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = self.with_password(PASSWORD.replace("/", "%2F"))
        word = folder / "word"
        word.write_text(PASSWORD)
        for path in (folder, word):
            if self.user is not None:
                shutil.chown(path, self.user)
        login = ["--auth=scram-sha-256", f"--pwfile={word}", "--username=solver"]
        self._run("initdb", f"--pgdata={self.data}", "--no-sync", *login)

    def with_password(self, word: str) -> str:
        return f"postgresql://solver:{word}@127.0.0.1:{self.port}/postgres"

    def _run(self, name: str, *arguments: str) -> None:
        binary = program(name)
        assert binary is not None
        subprocess.run(
            [binary, *arguments], user=self.user, cwd="/", check=True, stdout=subprocess.DEVNULL
        )

    def start(self) -> None:
        binary = program("postgres")
        assert binary is not None
        place = ["-D", str(self.data), "-p", str(self.port), "-k", str(self.data)]
        self.process = subprocess.Popen(
            [binary, *place, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
            user=self.user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url).close()
                return
            time.sleep(0.1)
        pytest.fail("PostgreSQL did not start in 10 s")

    def stop(self) -> None:
        """At once, as when the machine goes down."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if program("postgres") is None or program("initdb") is None:
        pytest.skip("PostgreSQL's server is not installed")
    folder = Path(tempfile.mkdtemp(prefix="autottt-postgres-"))
    server = Server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


def mirror(grid: Grid) -> Grid:
    """The rule of the tasks."""
    return tuple(row[::-1] for row in grid)


def wrong(grid: Grid) -> Grid:
    """A model that has not understood."""
    return tuple(tuple(9 for _ in row) for row in grid)


def make(name: str, last: int) -> Task:
    """A task with demonstrations of its own."""
    shown = [([[a, b, last]], [[last, b, a]]) for a, b in ((1, 2), (4, 0), (6, 7))]
    return Task.from_examples(shown, [[9, 0, last]], id=name, target=[[last, 0, 9]])


def work(folder: Path, model: FakeModel, tasks: list[Task], url: str | None) -> Tally:
    """One start of the loop."""
    engine = Inline(Solver(model))
    return run(folder, engine, Known(tasks), Settings(), stop=Stop(), checkpoints=url)


def answers(folder: Path) -> list[Any]:
    """What was answered, and at which attempt."""
    found = [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]
    return [(o["task_id"], o["attempt"], o["answer"]["answers"]) for o in found]


def test_a_run_is_as_with_a_file(server: Server, tmp_path: Path) -> None:
    """The same answers, and no checkpoint is left."""
    tasks = [make(f"same{k}", k) for k in range(3)]
    work(tmp_path / "file", FakeModel(wrong, mirror), tasks, None)
    tally = work(tmp_path / "server", FakeModel(wrong, mirror), tasks, server.url)
    assert (tally.answered, tally.right) == (3, 3)
    assert answers(tmp_path / "server") == answers(tmp_path / "file")
    with savers.opened(server.url) as saver:
        assert savers.threads(saver) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import test_postgres as t
class Killed(t.FakeModel):
    def train(self, *given, **named):
        os.kill(os.getpid(), signal.SIGKILL)
t.work(Path(sys.argv[1]), Killed(t.wrong, t.mirror), [t.make("moved", 5)], sys.argv[2])
"""


def test_another_machine_goes_on_where_one_was_killed(server: Server, tmp_path: Path) -> None:
    """kill -9 in a training; with a new queue in another folder the probe is not made again."""
    places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    one = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "one"), server.url],
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
    )
    assert one.returncode == -signal.SIGKILL, one.stderr
    asked = []

    class Counting(FakeModel):
        def generate(self, prompts: Any, **given: Any) -> Any:
            asked.append(self.trained)
            return super().generate(prompts, **given)

    tally = work(tmp_path / "two", Counting(wrong, mirror), [make("moved", 5)], server.url)
    assert (tally.answered, tally.right) == (1, 1)
    assert 0 not in asked  # nothing was asked of the untrained model


def test_a_server_that_goes_down_ends_the_loop(server: Server, tmp_path: Path) -> None:
    """The error is typed, no attempt is held against a task, and a later start goes on."""

    class Pulled(FakeModel):
        def train(self, *given: Any, **named: Any) -> list[TrainRecord]:
            server.stop()
            return super().train(*given, **named)

    tasks = [make(f"down{k}", k) for k in range(2)]
    with pytest.raises(StorageError, match=f"127.0.0.1:{server.port}/postgres") as caught:
        work(tmp_path, Pulled(wrong, mirror), tasks, server.url)
    assert PASSWORD not in str(caught.value)
    with pytest.raises(StorageError):
        work(tmp_path, FakeModel(wrong, mirror), tasks, server.url)
    server.start()
    assert work(tmp_path, FakeModel(wrong, mirror), tasks, server.url).right == 2
    assert {attempt for _, attempt, _ in answers(tmp_path)} == {1}


def test_a_wrong_password_or_url_says_so(server: Server, tmp_path: Path) -> None:
    """The message has the place and not the password."""
    with pytest.raises(StorageError, match="password authentication failed") as caught:
        work(tmp_path, FakeModel(wrong, mirror), [], server.with_password("letmein"))
    assert "letmein" not in str(caught.value)
    for url in ("mysql://a:hidden@b/c", "postgresql:///", "hidden", "postgresql://[hidden"):
        with pytest.raises(InputError, match="postgresql://USER") as refused:
            work(tmp_path, FakeModel(wrong, mirror), [], url)
        assert "hidden" not in str(refused.value)

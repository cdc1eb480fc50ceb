"""A server of this package as a child process on the loopback interface, for tests and for load."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

from autottt.errors import WorkerError

START_SECONDS = 120.0
STOP_SECONDS = 30.0


class LocalServer:
    """`autottt serve` on a free port, with these arguments; a context manager."""

    def __init__(self, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self._args = args
        self._env = {**os.environ, **(env or {})}
        self.url = ""

    def __enter__(self) -> LocalServer:
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log"
        with self._log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autottt", "serve", "--port", "0", *self._args],
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=self._env,
            )
        end = time.monotonic() + START_SECONDS
        while not (found := re.search(r"running on (http://[\d.]+:\d+)", self.log())):
            if time.monotonic() > end or self.process.poll() is not None:
                said = self.log()[-2000:]
                self.__exit__(None, None, None)
                raise WorkerError(f"the server did not start; its log: {said}")
            time.sleep(0.05)
        self.url = found[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._folder.cleanup()

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def memory(self) -> int:
        """Resident bytes of the server and its workers together."""
        own = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in [own, *own.children(recursive=True)])

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

"""`autottt run` as a process: signals, starts again, streams and folders that cannot be used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import autottt

ROOT = Path(autottt.__file__).parents[1]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}
LINES = ((1, 2, 3), (4, 0, 5), (6, 6, 7))


def task_line(k: int) -> str:
    """The mirror on lines of colours of its own."""
    lines = [[(c + k) % 10 for c in line] for line in LINES]
    train = [{"input": [line], "output": [line[::-1]]} for line in lines]
    test = [{"input": [[k % 10, 1, 2]], "output": [[2, 1, k % 10]]}]
    return json.dumps({"id": f"t{k}", "train": train, "test": test}) + "\n"


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """Six tasks in a file."""
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(map(task_line, range(6))), encoding="utf-8")
    return path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "autottt", "run", *map(str, arguments)]


def run(*arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=ENVIRONMENT,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )


def lines(out: Path) -> list[dict[str, Any]]:
    path = out / "results.jsonl"
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def started(out: Path, tasks: Path, results: int, *more: str) -> subprocess.Popen[str]:
    """A process that has come to so many results."""
    process = subprocess.Popen(
        command(tasks, "--out", out, *more),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path, end = out / "results.jsonl", time.monotonic() + 100
    while not path.exists() or path.read_bytes().count(b"\n") < results:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


def test_sigterm_and_kills_lose_nothing(tasks: Path, tmp_path: Path) -> None:
    """SIGTERM exits with 0, kill -9 does as it does, and the next starts complete the results."""
    out = tmp_path / "out"
    process = started(out, tasks, 1, "--strategy", "ttt-watch")
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stopped (SIGTERM)" in said
    assert len(lines(out)) < 6
    for results in (2, 4):
        process = started(out, tasks, results, "--strategy", "ttt-watch")
        process.kill()
        process.communicate(timeout=60)
    with (out / "results.jsonl").open("ab") as file:
        file.write(b'{"version": 1, "task')
    done = run(tasks, "--out", out, "--strategy", "ttt-watch")
    assert done.returncode == 0, done.stderr
    found = lines(out)
    assert sorted(o["task_id"] for o in found) == [f"t{k}" for k in range(6)]
    assert all(o["answer"]["restored"] and o["error"] is None for o in found)
    assert "waiting" in done.stdout


def test_a_stream_on_stdin(tmp_path: Path) -> None:
    """Tasks are answered, nonsense is recorded, and the code is 0."""
    given = task_line(0) + "nonsense\n" + task_line(1)
    done = run("-", "--out", tmp_path, "--strategy", "icl", given=given)
    assert done.returncode == 0, done.stderr
    errors = [o["error"] and o["error"]["kind"] for o in lines(tmp_path)]
    assert sorted(map(str, errors)) == ["None", "None", "TaskError"]


def test_a_folder_of_results_below_that_of_the_tasks(tmp_path: Path) -> None:
    """It is no task at the second start, and the folder of the tasks itself is refused."""
    for k in range(2):
        (tmp_path / f"t{k}.json").write_text(task_line(k))
    out = tmp_path / "out"
    for _ in range(2):
        done = run(tmp_path, "--out", out, "--strategy", "icl")
        assert done.returncode == 0, done.stderr
        assert (out / "metrics.json").exists()
        assert [line["task_id"] for line in lines(out)] == ["t0", "t1"]
    refused = run(tmp_path, "--out", tmp_path)
    assert refused.returncode == 2
    assert "a folder of their own" in refused.stderr


def test_a_task_that_hangs_ends_the_process_with_75(tasks: Path, tmp_path: Path) -> None:
    """Past the hard limit the process goes; the start after the last retry records the failure."""
    one = tmp_path / "one.jsonl"
    one.write_text(task_line(0), encoding="utf-8")
    options = "--out", tmp_path, "--retries", "0", "--strategy", "ttt", "--hard-seconds", "0.01"
    hung = run(one, *options)
    assert hung.returncode == 75, hung.stderr
    assert "took over 0.01 s" in hung.stderr
    done = run(one, *options)
    assert done.returncode == 0, done.stderr
    assert [o["error"]["kind"] for o in lines(tmp_path)] == ["Crash"]


def test_a_disk_that_takes_no_more_is_one_line(tasks: Path, tmp_path: Path) -> None:
    """With files limited to 40 kB the kernel refuses a write; room given, the rest is answered."""
    options = "--out", tmp_path / "out", "--strategy", "icl"
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40000,) * 2)"
    code = f"{limited}; runpy.run_module('autottt', run_name='__main__')"
    full = subprocess.run(
        [sys.executable, "-c", code, "run", str(tasks), *map(str, options)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert full.returncode == 1, full.stderr
    assert "cannot be read or written" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert run(tasks, *options).returncode == 0
    assert len(lines(tmp_path / "out")) == 6


def test_what_cannot_be_used_is_refused(tasks: Path, tmp_path: Path) -> None:
    """A file in place of the folder, and an option out of range, are one line each."""
    done = run(tasks, "--out", tasks, "--strategy", "icl")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert run(tasks, "--out", tmp_path, "--retries", "-1").returncode == 2

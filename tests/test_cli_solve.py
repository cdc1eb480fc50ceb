"""`autottt solve` as a process on real files with the model that is shipped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autottt

ROOT = Path(autottt.__file__).parents[1]
SWAP = {
    "train": [
        {"input": [[1, 2, 3]], "output": [[3, 2, 1]]},
        {"input": [[4, 0, 5]], "output": [[5, 0, 4]]},
        {"input": [[6, 6, 7]], "output": [[7, 6, 6]]},
    ],
    "test": [{"input": [[8, 1, 2]], "output": [[2, 1, 8]]}, {"input": [[5, 9, 3]]}],
}
FIELDS = {
    "task_id",
    "answers",
    "confidence",
    "correct",
    "strategy",
    "decisions",
    "attempts",
    "seconds",
    "tokens",
    "restored",
    "seed",
    "warnings",
}
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autottt", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=280
    )


@pytest.fixture
def swap(tmp_path: Path) -> str:
    """A small task of two queries in a file."""
    path = tmp_path / "swap.json"
    path.write_text(json.dumps(SWAP), encoding="utf-8")
    return str(path)


def solved(*arguments: str) -> dict[str, Any]:
    done = run("solve", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(done.stdout)
    assert set(found) == FIELDS
    return found


def test_the_controller_answers_a_file(swap: str) -> None:
    """In auto mode the object has every field, an answer per query, and proof of restoration."""
    found = solved(swap, "--deadline", "60", "--attempts", "3")
    assert found["task_id"] == "swap"
    assert len(found["answers"]) == 2
    for candidates in found["answers"]:
        assert 1 <= len(candidates) <= 3
        chances = [candidate["score"] for candidate in candidates]
        assert chances == sorted(chances, reverse=True)
        assert 0 <= sum(chances) <= 1 + 1e-9
    assert found["decisions"]
    assert found["decisions"][-1]["reason"]
    assert found["strategy"] in {attempt["strategy"] for attempt in found["attempts"]}
    assert 0 <= found["confidence"] <= 1
    assert 0 < found["seconds"] < 120
    assert found["tokens"] > 0
    assert found["restored"] is True
    assert found["correct"] is None  # the second query has no known output


def test_the_same_seed_gives_the_same_answer(swap: str) -> None:
    """Two runs with one seed differ in nothing but their seconds."""
    first, second = (solved(swap, "--strategy", "ttt", "--seed", "3") for _ in range(2))
    for same in ("answers", "confidence", "strategy", "tokens", "seed", "restored"):
        assert first[same] == second[same]
    assert first["seed"] == 3
    assert first["strategy"] == "ttt"


def test_a_real_task_is_shown_to_a_human() -> None:
    """A task of ARC-AGI prints its grids, a decision, the cost, the proof and the verdict."""
    done = run("solve", "arc:25d8a9c8", "--strategy", "icl-vote")
    assert done.returncode == 0, done.stderr
    assert "25d8a9c8" in done.stdout
    for expected in ("1 3x3", "4 4 4", "query 3x3", "decision 1: icl-vote", "model restored: "):
        assert expected in done.stdout
    assert ("✓ right" in done.stdout) != ("✗ wrong" in done.stdout)
    assert "Loading weights" not in done.stderr


def test_the_strategies_are_listed() -> None:
    """The list has the shipped strategies and says which of them train."""
    done = run("strategies")
    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    rows = {line.split()[0]: line.split()[1] for line in lines}
    assert rows["icl"] == rows["icl-vote"] == "no"
    assert rows["ttt"] == "yes"


@pytest.fixture
def heard() -> Iterator[None]:
    """Children hear Ctrl-C even if this process, a shell's job in the background, ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_an_interrupt_while_training_ends_with_130(swap: str) -> None:
    """Ctrl-C after the demonstrations were shown leaves one line and no traceback."""
    process = subprocess.Popen(
        command("solve", swap, "--strategy", "ttt"),
        env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the task is shown when work on it begins
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors


def test_adapters_are_kept_for_the_next_run(swap: str, tmp_path: Path) -> None:
    """A second process with the same folder trains nothing; a damaged folder is a warning."""
    kept = tmp_path / "kept"
    options = "--strategy", "ttt-light", "--adapters", str(kept), "--json"
    first, second = (json.loads(run("solve", swap, *options).stdout) for _ in range(2))
    assert not first["attempts"][-1]["reused"]
    assert second["attempts"][-1]["reused"]
    assert second["answers"] == first["answers"]
    assert second["restored"]
    for path in kept.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-9])
    third = run("solve", swap, *options)
    assert json.loads(third.stdout)["answers"] == first["answers"]
    assert not json.loads(third.stdout)["attempts"][-1]["reused"]
    assert "ignored" in third.stderr


def test_several_tasks_are_trained_together(tmp_path: Path) -> None:
    """`--together` answers every task of a folder, as one by one, and cannot hold a deadline."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(SWAP), encoding="utf-8")
    options = "solve", str(tmp_path), "--all", "--strategy", "ttt-light", "--json"
    alone, together = run(*options), run(*options, "--together", "2")
    assert together.returncode == 0, together.stderr

    def outputs(done: subprocess.CompletedProcess[str]) -> list[Any]:
        found = map(json.loads, done.stdout.splitlines())
        return [(o["task_id"], [c[0]["output"] for c in o["answers"]]) for o in found]

    assert outputs(together) == outputs(alone)
    for_a_human = run(*options[:-1], "--together", "2").stdout
    assert for_a_human.count("decision 1") == for_a_human.count("answered by ttt-light") == 2
    refused = run(*options, "--together", "2", "--deadline", "5")
    assert refused.returncode == 2
    assert "--together" in refused.stderr


def test_an_answer_in_context_loads_no_trainer(swap: str) -> None:
    """`solve` with ICL imports neither peft nor SciPy, so the first answer comes soon."""
    code = (
        "import sys\n"
        "from autottt.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([m for m in ('peft', 'scipy', 'sklearn', 'skops') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "solve", swap, "--strategy", "icl-vote"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    assert done.stdout.strip().endswith("[]")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_an_answer_whose_trace_cannot_be_kept_is_printed(swap: str) -> None:
    """The answer comes all the same, then why its trace is lost and the code of a failure."""
    done = run("solve", swap, "--strategy", "icl", "--json", "--log", "/dev/full")
    assert done.returncode == 1
    assert json.loads(done.stdout)["answers"][1]
    assert "/dev/full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_answer_that_is_none_is_a_failure(swap: str, tiny_model_folder: Path) -> None:
    """Random weights write no grid: the object is there, and the exit code says so."""
    done = run("solve", swap, "--strategy", "icl", "--model", str(tiny_model_folder), "--json")
    assert done.returncode == 1
    assert [] in json.loads(done.stdout)["answers"]
    assert "no view gave a valid answer" in done.stderr

"""Input that cannot be used, given to the real command: a clear error, exit code 2, no trace."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autottt

ROOT = Path(autottt.__file__).parents[1]
MODEL = ROOT / "autottt" / "assets" / "embedded"
PAIR = {"input": [[1, 2]], "output": [[2, 1]]}
TASK: dict[str, Any] = {"train": [PAIR, PAIR], "test": [{"input": [[3, 4]]}]}
BIG = {"input": [[1] * 30] * 30, "output": [[2] * 30] * 30}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command as another process in a folder, with no network for the hub to wait on."""
    return subprocess.run(
        [sys.executable, "-m", "autottt", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def digest(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its content."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def _nothing_changes(tmp_path: Path) -> Iterator[None]:
    """No test here may leave a new file behind or change the shipped model."""
    before = digest(MODEL)
    yield
    assert {path.name for path in tmp_path.iterdir()} <= {"task.json", "gate.json"}
    assert digest(MODEL) == before


def write(folder: Path, content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "task.json").write_text(text, encoding="utf-8")
    return "task.json"


def refused(done: subprocess.CompletedProcess[str], *says: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for expected in says:
        assert re.search(expected, line), line


def with_input(grid: object) -> dict[str, Any]:
    return TASK | {"train": [{"input": grid, "output": [[1]]}]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"train": [', "not JSON"),
        ("", "not JSON"),
        ([1, 2], "expected a JSON object"),
        (with_input([[1, 2], [3]]), "differ in length"),
        (with_input([[10]]), "from 0 to 9, not 10"),
        (with_input([[-1]]), "from 0 to 9, not -1"),
        (with_input([["1"]]), "from 0 to 9, not '1'"),
        (with_input([]), "the grid is empty"),
        (with_input([[]]), "the row is empty"),
        (with_input([[0] * 31] * 2), "2x31 is over the limit of 30x30"),
        (with_input([[0]] * 31), "31x1 is over the limit of 30x30"),
        (TASK | {"train": []}, "no demonstrations"),
        (TASK | {"test": []}, "no query"),
        ({"test": TASK["test"]}, "train.*missing"),
    ],
)
def test_a_bad_task_file_is_refused(tmp_path: Path, content: object, says: str) -> None:
    """A file that is not a task is refused with its name and what is wrong."""
    done = run("solve", write(tmp_path, content), "--json", folder=tmp_path)
    refused(done, says, r"task\.json")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("none.json", "no such file or directory: 'none.json'"),
        ("arc:00000000", "ARC-AGI-1 has no task '00000000'"),
        ("arc2:nonsense", "ARC-AGI-2 has no task 'nonsense'"),
        ("arc:training", "holds 400 tasks"),
        (".", "no \\*.json file"),
    ],
)
def test_a_source_without_a_task_is_refused(tmp_path: Path, source: str, says: str) -> None:
    """A missing file, an unknown id and a source of many tasks are refused by name."""
    refused(run("solve", source, "--json", folder=tmp_path), says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--strategy", "nonsense"], "strategy 'nonsense'.*icl"),
        (["--model", "./nowhere"], "./nowhere"),
        (["--model", "nobody/no-such-model"], "nobody/no-such-model"),
        (["--deadline", "0"], "--deadline .* above zero, not 0"),
        (["--deadline", "-3"], "--deadline .* above zero, not -3"),
        (["--deadline", "nan"], "--deadline"),
        (["--price", "-1"], "--price .* zero or more, not -1"),
        (["--mean-seconds", "0"], "mean seconds are above zero, not 0"),
        (["--mean-seconds", "1e-9"], "no price keeps the mean at 1e-09 s"),
        (["--risk", "1"], "risk is above 0 and below 1, not 1"),
        (["--risk", "0.1", "--confidence", "0"], "confidence is above 0 and below 1"),
        (["--risk", "0.1", "--price", "1"], "price and risk exclude each other"),
        (["--risk", "0.1", "--uncertified", "guess"], "escalate or answer, not 'guess'"),
        (["--explore", "2"], "--explore .* from 0 to 1, not 2"),
        (["--log", "."], "is a directory"),
        (["--attempts", "0"], "--attempts"),
        (["--limit", "0"], "--limit"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_a_bad_option_is_refused(tmp_path: Path, options: list[str], says: str) -> None:
    """An unknown name or a number out of range is refused by its name and value."""
    path = write(tmp_path, TASK)
    refused(run("solve", path, "--json", *options, folder=tmp_path), says)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_prompt_longer_than_the_context_names_both_lengths(
    tmp_path: Path, form: list[str]
) -> None:
    """Six demonstrations of 30x30 do not fit; the error has what is needed and what there is."""
    path = write(tmp_path, TASK | {"train": [BIG] * 6})
    done = run("solve", path, *form, folder=tmp_path)
    refused(done, r"need \d{4,5} tokens", r"context is \d+;")


def gate_for_another_model(path: Path) -> None:
    from autottt.controller.cost import CostModel
    from autottt.controller.difficulty import Gate

    Gate(model="another", heads={}, cost=CostModel({})).save(path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("truncated", "damaged or not a gate"),
        ("text", "damaged or not a gate"),
        ("foreign", "made for the model another"),
    ],
)
def test_a_gate_that_cannot_be_used_is_a_warning(tmp_path: Path, kind: str, says: str) -> None:
    """The answer comes all the same, by the default policy, and says so; so does stderr."""
    gate = tmp_path / "gate.json"
    if kind == "text":
        gate.write_text("not a gate")
    else:
        gate_for_another_model(gate)
        if kind == "truncated":
            gate.write_bytes(gate.read_bytes()[:100])
    path = write(tmp_path, TASK)
    options = ("--strategy", "icl", "--gate", gate.name)
    done = run("solve", path, "--json", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    (warning,) = answer["warnings"]
    assert says in warning
    assert "default policy" in warning
    assert warning in done.stderr
    assert answer["restored"] is True


def test_a_human_sees_the_gate_warning_in_the_answer(tmp_path: Path) -> None:
    """Without --json the warning stands below the answer."""
    path = write(tmp_path, TASK)
    (tmp_path / "gate.json").write_text("not a gate")
    done = run("solve", path, "--strategy", "icl", "--gate", "gate.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gate.json is damaged or not a gate" in " ".join(done.stdout.split())


def test_a_gate_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A name that was mistyped would else be answered by another policy."""
    done = run("solve", write(tmp_path, TASK), "--gate", "gaet.json", folder=tmp_path)
    refused(done, "no such file: gaet.json")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "task.json", "--out", "out"),
        ("sweep", "task.json", "--out", "log.jsonl"),
        ("collect", "--out", "log.jsonl"),
        ("calibrate", "--tasks", "task.json", "--out", "out"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_how_a_model_is_loaded_is_checked_by_every_command(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Before anything is loaded or written."""
    write(tmp_path, TASK)
    done = run(*arguments, "--dtype", "float13", folder=tmp_path)
    refused(done, "--dtype is one of", "'float13'")

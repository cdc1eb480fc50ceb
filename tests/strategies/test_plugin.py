"""The example plug-in, found as an installed package is found, and one beside it that is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import autottt

EXAMPLE = Path(__file__).parents[1] / "plugin_example"
ROOT = Path(autottt.__file__).parents[1]
STILL = {
    "train": [{"input": [[1, 2, 3]], "output": [[1, 2, 3]]}, {"input": [[4]], "output": [[4]]}],
    "test": [{"input": [[8, 1, 2]], "output": [[8, 1, 2]]}],
}
BROKEN = "[autottt.strategies]\nbroken = no_such_module:Thing\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages as pip leaves it: the example's module and its metadata."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    (module,) = EXAMPLE.glob("*.py")
    (tmp_path / module.name).write_bytes(module.read_bytes())
    points = project["entry-points"]["autottt.strategies"]
    lines = "".join(f"{name} = {where}\n" for name, where in points.items())
    _metadata(tmp_path, project["name"], f"[autottt.strategies]\n{lines}")
    return tmp_path


def _metadata(site: Path, name: str, entry_points: str) -> None:
    folder = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (folder / "entry_points.txt").write_text(entry_points)


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "autottt", *arguments],
        env=os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_the_example_is_listed_and_answers(site: Path, tmp_path: Path) -> None:
    """`strategies` shows it, `solve --strategy` runs it, and its refusal is a typed error."""
    assert "every input is its own output" in run(site, "strategies").stdout
    task = tmp_path / "still.json"
    task.write_text(json.dumps(STILL))
    done = run(site, "solve", str(task), "--strategy", "unchanged", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["strategy"] == "unchanged"
    assert answer["correct"] == [True]
    assert answer["restored"] is True
    longer = {**STILL, "train": [{"input": [[1]], "output": [[1], [1]]}] * 2}
    task.write_text(json.dumps(longer))
    refused = run(site, "solve", str(task), "--strategy", "unchanged")
    assert refused.returncode != 0
    assert "demonstration 1 changes the size" in refused.stderr


def test_a_broken_package_is_named_and_the_others_are_there(site: Path) -> None:
    """It is listed with its reason; the example and what is shipped are still there."""
    _metadata(site, "autottt-broken", BROKEN)
    done = run(site, "strategies")
    assert done.returncode == 0
    assert "broken" in done.stdout
    assert "unavailable: ModuleNotFoundError" in done.stdout
    assert "unchanged" in done.stdout
    assert "ttt-watch" in done.stdout

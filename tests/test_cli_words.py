"""Tasks in words, tables and other models on the command line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autottt.cli import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_task_in_words_is_given_on_the_command_line() -> None:
    """Examples and queries make a task; its answers are texts."""
    found = run(
        *("solve", "--example", "a b => b a", "--example", "c d => d c", "--query", "e f"),
        *("--query", "g h", "--strategy", "icl", "--json", "--instruction", "Swap."),
    )
    answer = json.loads(found.stdout)
    assert len(answer["answers"]) == 2
    assert all(isinstance(c["output"], str) for some in answer["answers"] for c in some)


def test_a_table_is_one_task_with_many_queries(tmp_path: Path) -> None:
    """Rows beyond the demonstrations are queries, of which some may be asked; targets are known."""
    table = tmp_path / "t.csv"
    table.write_text("q,a\n" + "".join(f"{n},{n}\n" for n in range(100, 120)))
    found = run(
        *("solve", str(table), "--columns", "input=q,output=a", "--demonstrations", "4"),
        *("--queries", "6", "--strategy", "icl", "--attempts", "1", "--json"),
    )
    assert len(json.loads(found.stdout)["correct"]) == 6


def test_a_long_task_is_shortened_aloud(tmp_path: Path) -> None:
    """Demonstrations beyond the context are left out, and the answer says how many."""
    table = tmp_path / "t.csv"
    rows = "".join(f"{'ab ' * 60}{n},{n}\n" for n in range(30))
    table.write_text("input,output\n" + rows)
    found = run(
        *("solve", str(table), "--demonstrations", "20", "--queries", "1"),
        *("--strategy", "icl", "--json"),
    )
    (warning,) = (w for w in json.loads(found.stdout)["warnings"] if "left out" in w)
    assert "of 20 demonstrations were left out, the longest" in warning


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--query", "a"], "--example"),
        (["--example", "a = b", "--query", "a"], "with one =>"),
        (["arc:007bbfb7", "--query", "a"], "not both"),
        (["--example", "a => b", "--query", "a", "--domain", "grid"], "--domain is"),
        (["--example", "a => b", "--query", "a", "--choices", "c,d"], "none of c, d"),
        (["--example", "a => b", "--query", "a", "--choices", "b,B"], "differ"),
        (["--example", "a => b", "--query", "a", "--answer", "essay"], "--answer"),
        (["--example", "a => b", "--query", "a", "--format", "xml"], "--format"),
        (["--example", "a => b", "--query", "a", "--columns", "input=q"], "--columns means"),
        (["--example", "a => b", "--query", "a", "--demonstrations", "3"], "--demonstrations"),
        (["--example", "a => b", "--query", "a", "--all"], "--all means nothing"),
        (["--example", "1 => 2", "--query", "3", "--answer", "number", "--choices", "2"], "kind"),
        (["arc:007bbfb7", "--domain", "sequence"], "--domain means nothing"),
        (["arc:007bbfb7", "--demonstrations", "3"], "--demonstrations are for tables"),
    ],
)
def test_a_task_in_words_that_cannot_be_is_an_input_error(arguments: list[str], said: str) -> None:
    """Exit code 2, with the value and the remedy."""
    found = run("solve", *arguments)
    assert found.exit_code == 2
    assert said in found.stderr


def test_doctor_says_what_works(tiny_model_folder: Path) -> None:
    """Every strategy has a cost or a reason, an adaptation was undone, and nothing fails."""
    found = run("doctor", "--model", str(tiny_model_folder), "--json")
    lines = {line["about"]: line for line in map(json.loads, found.stdout.splitlines())}
    assert found.exit_code == 0
    assert "every weight is what it was" in lines["adaptation"]["text"]
    assert {"icl", "ttt", "ttt-watch", "ttt-warm"} <= lines.keys()


def test_doctor_fails_where_no_lora_can_sit(tiny_model_folder: Path) -> None:
    """The exit code says so, and so does the line."""
    found = run("doctor", "--model", str(tiny_model_folder), "--lora-targets", "nothing")
    assert found.exit_code == 1
    assert "no linear layer" in found.stdout


def test_bench_text_compares_strategies(tmp_path: Path) -> None:
    """Every strategy that can serve the task has a line, beside the most frequent output."""
    table = tmp_path / "t.csv"
    table.write_text("input,output\n" + "".join(f"{n},{n % 2}\n" for n in range(20)))
    out = tmp_path / "o.jsonl"
    found = run(
        *("bench-text", str(table), "--out", str(out), "--strategy", "icl"),
        *("--strategy", "icl-options", "--demonstrations", "4", "--queries", "3"),
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert found.exit_code == 0
    assert [line["strategy"] for line in lines] == ["most frequent output", "icl"]
    assert all(0 <= line["right"] <= line["queries"] == 3 for line in lines)
    before = out.read_text()
    other = tmp_path / "other.jsonl"
    mistyped = run("bench-text", str(table), "nowhere.csv", "--out", str(other))
    assert (mistyped.exit_code, other.exists()) == (2, False)
    again = run("bench-text", str(table), "--out", str(out), "--strategy", "icl")
    assert (again.exit_code, out.read_text()) == (2, before)
    assert "holds results already" in again.stderr


def test_bench_text_goes_on_past_a_task_that_it_cannot_serve(tmp_path: Path) -> None:
    """One input is longer than the context; the other task is measured all the same."""
    long, short = tmp_path / "long.csv", tmp_path / "short.csv"
    long.write_text("input,output\n" + "".join(f"{'ab ' * 2000}{n},{n}\n" for n in range(4)))
    short.write_text("input,output\n" + "".join(f"{n},{n % 2}\n" for n in range(4)))
    out = tmp_path / "o.jsonl"
    options = "--out", str(out), "--strategy", "icl", "--demonstrations", "2"
    assert run("bench-text", str(long), str(short), *options).exit_code == 0
    assert {json.loads(line)["task"] for line in out.read_text().splitlines()} == {"short"}


def test_run_is_told_what_answers_are(tmp_path: Path) -> None:
    """As `solve` is: numbers are read as such, and of a table's queries the first are asked."""
    table, out = tmp_path / "t.csv", tmp_path / "out"
    table.write_text("input,output\n" + "".join(f"a{n},{n}.0\n" for n in range(100, 106)))
    options = "--answer", "number", "--instruction", "Say it.", "--queries", "1"
    shown = "--demonstrations", "4", "--strategy", "icl"
    found = run("run", str(table), "--out", str(out), *shown, *options)
    assert found.exit_code == 0, found.stderr
    with sqlite3.connect(out / "queue.sqlite") as queue:
        ((plain,),) = queue.execute("SELECT task FROM tasks").fetchall()
    task = json.loads(plain)
    assert (task["instruction"], task["answer"]["kind"]) == ("Say it.", "number")
    assert len(task["queries"]) == 1
    assert task["demonstrations"][0]["output"].isdigit()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--strategy", "ttt-shared"), 2, "solve --all"),
        (("--strategy", "icl", "--gate", "nowhere.json"), 1, "cannot read the gate file"),
    ],
)
def test_run_refuses_what_would_spoil_every_task(
    tmp_path: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    """Before any is answered: related tasks that it has not, and a gate that cannot be read."""
    refused = run("run", "arc:67a3c6ac", "--out", str(tmp_path / "out"), *options)
    assert refused.exit_code == code
    assert said in refused.stderr
    assert not (tmp_path / "out").exists()


def test_run_takes_the_columns_of_a_table(tmp_path: Path) -> None:
    """As `solve` does, with what is shown."""
    table, out = tmp_path / "t.csv", tmp_path / "out"
    table.write_text("q,a\n" + "".join(f"{n},{n}\n" for n in range(100, 106)))
    columns = "--columns", "input=q,output=a", "--demonstrations", "4"
    found = run("run", str(table), "--out", str(out), "--strategy", "icl", *columns)
    assert found.exit_code == 0, found.stderr
    (line,) = (out / "results.jsonl").read_text().splitlines()
    assert len(json.loads(line)["answer"]["answers"]) == 2

"""The outcome log."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autottt.controller.lines import append_line
from autottt.controller.outcomes import (
    ArmOutcome,
    Outcome,
    append_outcome,
    distinct,
    read_outcomes,
)
from autottt.errors import InputError

VALUES = st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=4)
ARMS = st.builds(
    ArmOutcome,
    right=st.booleans(),
    seconds=st.floats(0, 1e6),
    tokens=st.integers(0, 2**60),
    evidence=VALUES,
    error=st.none() | st.text(),
)
OUTCOMES = st.builds(
    Outcome,
    task_id=st.text(),
    group=st.text(),
    model=st.text(),
    seed=st.integers(-(2**60), 2**60),
    features=VALUES,
    arms=st.dictionaries(st.text(), ARMS, max_size=3),
    version=st.just(1),
)
PLAIN = Outcome("t", "g", "m", 0, {"x": 1.0}, {"ttt": ArmOutcome(True, 1.0, 5, {"y": 0.5})})


@given(st.lists(OUTCOMES, max_size=4, unique_by=lambda o: (o.task_id, o.model, o.seed)))
@settings(max_examples=40)
def test_what_is_appended_is_read(outcomes: list[Outcome]) -> None:
    """Any outcomes survive the way to disk and back, in order and one a line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "log.jsonl"
        for outcome in outcomes:
            append_outcome(path, outcome)
        if outcomes:
            assert read_outcomes(path) == outcomes
            assert path.read_bytes().count(b"\n") == len(outcomes)


def test_a_feature_that_is_not_finite_is_missing(tmp_path: Path) -> None:
    """NaN and infinity go to disk as null, so that the log stays JSON, and come back as NaN."""
    path = tmp_path / "log.jsonl"
    append_outcome(path, replace(PLAIN, features={"a": math.nan, "b": math.inf, "c": 2.0}))
    assert b'"a":null,"b":null' in path.read_bytes()
    features = read_outcomes(path)[0].features
    assert math.isnan(features["a"])
    assert math.isnan(features["b"])
    assert features["c"] == 2.0


def test_numpy_numbers_are_written_as_plain_ones(tmp_path: Path) -> None:
    """Feature code may hand over numpy scalars."""
    path = tmp_path / "log.jsonl"
    arm = ArmOutcome(True, np.float32(0.5), np.int64(3), {"e": np.float32(0.25)})  # type: ignore[arg-type,dict-item]
    append_outcome(path, replace(PLAIN, arms={"ttt": arm}))
    assert read_outcomes(path)[0].arms["ttt"] == ArmOutcome(True, 0.5, 3, {"e": 0.25})


def test_the_later_line_of_a_task_replaces_the_earlier(tmp_path: Path) -> None:
    """A task collected again counts once per model and seed."""
    path = tmp_path / "log.jsonl"
    again = replace(PLAIN, features={"x": 2.0})
    for outcome in (PLAIN, replace(PLAIN, seed=1), again):
        append_outcome(path, outcome)
    assert read_outcomes(path) == [again, replace(PLAIN, seed=1)]


def test_another_task_by_the_same_name_is_refused() -> None:
    """Of logs that overlap a task counts once, and two tasks are not taken for one."""
    one = replace(PLAIN, task="a")
    assert distinct([one, PLAIN, one]) == [one]
    with pytest.raises(InputError, match="two tasks by the name of"):
        distinct([one, replace(PLAIN, task="b")])


def test_a_torn_last_line_is_skipped_and_then_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A writer that died inside a line costs that line alone, whoever comes next."""
    path = tmp_path / "log.jsonl"
    append_outcome(path, PLAIN)
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert read_outcomes(path) == [PLAIN]
        assert "torn line (2)" in caplog.text
    append_outcome(path, replace(PLAIN, seed=1))
    assert read_outcomes(path) == [PLAIN, replace(PLAIN, seed=1)]


def test_a_whole_last_line_without_a_newline_counts(tmp_path: Path) -> None:
    """An editor that drops the final newline loses nothing."""
    path = tmp_path / "log.jsonl"
    append_outcome(path, PLAIN)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert read_outcomes(path) == [PLAIN]
    append_outcome(path, replace(PLAIN, seed=1))
    assert read_outcomes(path) == [PLAIN, replace(PLAIN, seed=1)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "valid dictionary"),
        ('{"task_id": "t"}', "group"),
        ('{"version":2,"x":1}', "version 1"),
        ("\xff\xfe", "not JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    """The error gives the file, the line's number and what is wrong with it."""
    path = tmp_path / "log.jsonl"
    append_outcome(path, PLAIN)
    with path.open("ab") as file:
        file.write(b"\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match=rf"log\.jsonl, line 3: .*{says}"):
        read_outcomes(path)


def test_an_outcome_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    """A bad value is refused before the file is touched."""
    path = tmp_path / "log.jsonl"
    with pytest.raises(InputError, match=r"arms\.ttt\.seconds"):
        append_outcome(path, replace(PLAIN, arms={"ttt": ArmOutcome(True, math.nan, 1, {})}))
    assert not path.exists()


def test_writers_of_one_log_wait_for_each_other(tmp_path: Path) -> None:
    """Several processes append at once; every line is whole and none is lost."""
    log = tmp_path / "log.jsonl"
    code = """if True:
        import sys
        from autottt.controller.lines import append_line
        for k in range(30):
            append_line(sys.argv[1], {"who": sys.argv[2], "k": k, "x": "y" * 9000})
    """
    writers = [subprocess.Popen([sys.executable, "-c", code, log, str(n)]) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted((line["who"], line["k"]) for line in lines) == sorted(
        (str(n), k) for n in range(4) for k in range(30)
    )


def test_a_missing_log_says_how_to_get_one(tmp_path: Path) -> None:
    """A path that is not there is an input error with the remedy."""
    with pytest.raises(InputError, match="autottt collect"):
        read_outcomes(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    "content", ["notes\nof mine", '{\n  "train": []\n}', 'a\n{"b": 1', "text"], ids=repr
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    """What does not look like a torn line is not cut off."""
    path = tmp_path / "notes"
    path.write_text(content)
    with pytest.raises(OSError, match="nothing is added"):
        append_line(path, {"a": 1})
    assert path.read_text() == content


def test_a_torn_line_and_zeros_of_a_lost_one_are_removed(tmp_path: Path) -> None:
    """As a process or a machine that died leaves them."""
    for tail in (b'{"a": ', b"\0\0\0"):
        path = tmp_path / "log.jsonl"
        path.write_bytes(b'{"k": 0}\n' + tail)
        append_line(path, {"k": 1})
        assert path.read_bytes() == b'{"k": 0}\n{"k":1}\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_named() -> None:
    """The error says which file could not be written."""
    with pytest.raises(OSError, match="/dev/full"):
        append_line("/dev/full", {"a": 1})

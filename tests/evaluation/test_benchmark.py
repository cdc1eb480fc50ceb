"""The benchmark's suites and its table, and the real embedded model measured in two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autottt.cli import app
from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.errors import InputError
from autottt.evaluation.benchmark import (
    ARC,
    SAME_CONCEPT,
    arc_tasks,
    first_of_each,
    length,
    one_d_arc_tasks,
    seen_tasks,
    table,
    unseen_tasks,
)
from autottt.pretraining.splits import TEST, pretraining_families
from autottt.types import Task


def outcome(group: str, name: str, right: bool, *, seed: int = 0) -> Outcome:
    """An outcome of one arm that took two seconds."""
    arms = {"icl": ArmOutcome(right, 2.0, 5, {})}
    return Outcome(name, group, "m", seed, {}, arms)


def test_the_table_counts_by_group_suite_concept_and_seed() -> None:
    """Exact match is the mean over seeds, and types without a family of their concept are apart."""
    result = table(
        [
            outcome("1d-arc/1d_fill", "a", True),
            outcome("1d-arc/1d_fill", "a", False, seed=1),
            outcome("1d-arc/1d_other", "b", False),
            outcome("1d-arc/1d_other", "b", False, seed=1),
            outcome("arc-agi-1/training", "c", True),
            outcome("arc-agi-1/training", "c", False, seed=1),
        ]
    )
    rows = {row["group"]: row for row in [*result["rows"], *result["totals"]]}
    assert rows["1d-arc/1d_fill"]["strategies"]["icl"]["by_seed"] == [1.0, 0.0]
    assert rows["1d-arc/1d_fill"]["same_concept_family"] == "line_fill_between"
    assert rows["1d-arc/1d_other"]["same_concept_family"] is None
    assert rows["1d-arc"]["tasks"] == 2
    assert rows["1d-arc"]["strategies"]["icl"]["exact_match"] == 0.25
    assert rows["1d-arc, seen concept"]["strategies"]["icl"]["exact_match"] == 0.5
    assert rows["1d-arc, new concept"]["strategies"]["icl"]["exact_match"] == 0.0
    assert result["solved"] == {"icl": ["c"]}
    assert result["seeds"] == [0, 1]
    with pytest.raises(InputError, match="empty"):
        table([])


def test_the_suites_hold_what_fits_and_nothing_that_was_trained_on() -> None:
    """Tasks of ARC come shortest first and within the limit; test families give every kind."""
    found = arc_tasks(200)
    sizes = [length(task) for _, task in found]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0
    assert sizes[-1] <= 200
    assert {group for group, _ in found} == {f"{ARC}/training", f"{ARC}/evaluation"}
    drawn = unseen_tasks(1)
    assert {group for group, _ in drawn} == {f"test-families/{k}" for k in ("line", "grid", "text")}
    assert {task.id.partition(":")[0] for _, task in drawn} <= set(TEST)
    known = seen_tasks(4)
    assert {task.id.partition(":")[0] for _, task in known} <= set(pretraining_families())
    assert len(known) == 4
    assert first_of_each([("a", found[0][1])] * 3 + [("b", found[0][1])], 2) == [
        ("a", found[0][1]),
        ("a", found[0][1]),
        ("b", found[0][1]),
    ]


def test_the_length_of_a_task_counts_prompt_and_answer() -> None:
    """A byte is a token: cells, line ends, `>` and the empty line."""
    task = Task.from_examples([([[1, 2]], [[2]])], [[3, 4]])
    assert length(task) == len("12\n>2\n\n34\n>") + len("2\n\n")


def test_the_concepts_name_pretraining_families_and_every_type(shared_data: Path) -> None:
    """Each type of 1D-ARC at hand is judged, and the family named is one of pretraining."""
    assert set(SAME_CONCEPT.values()) <= set(pretraining_families())
    groups = {group.partition("/")[2] for group, _ in one_d_arc_tasks(shared_data / "1d-arc")}
    assert groups == set(SAME_CONCEPT)


def test_a_benchmark_in_two_processes_goes_on_where_it_was(tmp_path: Path) -> None:
    """The command measures the real model, writes its table, and measures nothing twice."""
    out = tmp_path / "bench"
    arguments = ["bench-model", "--out", str(out), "--max-tokens", "90", "--per-family", "0"]
    arguments += ["--seen", "0"]
    arguments += ["--strategy", "icl", "--jobs", "2", "--json"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    result = json.loads(first.stdout)
    assert result == json.loads((out / "table.json").read_text())
    (total,) = result["totals"]
    assert total["tasks"] == len(arc_tasks(90)) > 1
    assert set(total["strategies"]) == {"icl", "icl-vote"}
    log = (out / "outcomes.jsonl").read_bytes()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (out / "outcomes.jsonl").read_bytes() == log


def test_a_sample_is_reported_below_what_was_written(tmp_path: Path) -> None:
    """`--sample` draws from every suite; `--report` replaces its own tables and nothing above."""
    pytest.importorskip("matplotlib", reason="a report needs the extra `bench`")
    report = tmp_path / "strategies.md"
    report.write_text("# Mine\n")
    arguments = ["bench-model", "--out", str(tmp_path), "--max-tokens", "90", "--sample", "2"]
    arguments += ["--seen", "0", "--strategy", "icl", "--report", str(report)]
    for _ in range(2):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    text = report.read_text()
    assert text.startswith("# Mine\n<!--")
    assert text.count("### arc-agi-1 (2 tasks)") == text.count("### test-families (2 tasks)") == 1
    assert (tmp_path / "strategies.svg").read_text().startswith("<?xml")

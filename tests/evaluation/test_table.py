"""Where the matrix of results comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.errors import InputError
from autottt.evaluation.evaluate import evaluate_table
from autottt.evaluation.table import from_csv, from_outcomes

PUBLISHED = "bbh_llama31_8b_outcomes.csv"
HEADER = "task,arm,seed,accuracy,adapt_seconds,eval_seconds\n"


def test_an_empty_or_uneven_log_is_refused() -> None:
    """A comparison needs every strategy on every task."""
    with pytest.raises(InputError, match="empty"):
        from_outcomes([])
    one = Outcome("x", "x", "m", 0, {}, {"icl-vote": ArmOutcome(True, 1.0, 1, {})})
    two = Outcome("y", "x", "m", 0, {}, {"ttt": ArmOutcome(True, 1.0, 1, {})})
    with pytest.raises(InputError, match="every strategy on every task"):
        from_outcomes([one, two])


def test_others_results_are_read(tmp_path: Path) -> None:
    """Percents become shares, seconds are added up, and what is not known counts as none."""
    path = tmp_path / "results.csv"
    path.write_text(HEADER + "a,icl,1,50,,2.5\na,ttt,1,75,10,2.5\n")
    table = from_csv(path)
    assert table.arms == ("icl", "ttt")
    assert table.right.tolist() == [[0.5, 0.75]]
    assert table.seconds.tolist() == [[2.5, 12.5]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column task"),
        ("task,arm\na,b\n", "no column seed, accuracy"),
        (HEADER, "has no results"),
        (HEADER + "a,icl,1,101,,\n", "line 2: the accuracy 101"),
        (HEADER + "a,icl,1,nan,,\n", "line 2: 'nan' is not a finite number"),
        (HEADER + "a,icl,x,1,,\n", "line 2: 'x'"),
        (HEADER + "a,icl\n", "line 2: None"),
        (HEADER + "a,icl,1,1,,\na,ttt,2,1,,\n", "task 'a', seed 1 lacks ttt"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """The message names the line and the value."""
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=complaint):
        from_csv(path)
    with pytest.raises(InputError, match="cannot read"):
        from_csv(tmp_path / "missing.csv")


def test_published_means_are_reproduced(shared_data: Path) -> None:
    """The 8B model's means over 27 tasks and 5 seeds, and how often training does not help."""
    found = evaluate_table(from_csv(shared_data / PUBLISHED), "icl_10", 0.0)
    shares = {row["policy"]: round(100 * row["accuracy"], 1) for row in found["policies"]}
    assert found["groups"] == 27
    assert found["tasks"] == 135
    published = {"zero_shot": 40.9, "icl_10": 50.5, "ttt_10": 57.8, "shared_ttt": 59.8}
    assert {name: shares[name] for name in published} == published
    assert found["best_fixed"] == "shared_ttt"
    assert 1 - found["against_base"]["ttt_10"]["helps"] == pytest.approx(0.36, abs=0.01)

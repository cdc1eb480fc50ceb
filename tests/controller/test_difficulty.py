"""The gate: what it learns, and what it refuses to load."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autottt.controller.difficulty import Gate, after, fit_gate, load_gate
from autottt.controller.gate_file import FORMAT, read_gate_file, write_gate_file
from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.errors import GateError

from .conftest import MODEL, make_outcomes

REMEDY = "autottt collect"


@pytest.fixture
def file(gate: Gate, tmp_path: Path) -> Path:
    path = tmp_path / "assets" / "gate.json"
    gate.save(path)
    return path


def test_the_signal_is_found(gate: Gate) -> None:
    """On families left out, every head ranks well and its probabilities are honest."""
    assert list(gate.heads) == ["icl_right", "ttt_fixes", "ttt_right"]
    assert gate.arms == ("ttt",)
    for name, report in gate.report.items():
        assert report["kind"] == "logistic", name
        assert 0.8 < report["auroc"] < 1, name
        assert report["brier"] < 0.2, name
        assert report["ece"] < 0.15, name
        assert report["n"] == (
            240
            if name != "ttt_fixes"
            else gate.report["icl_right"]["n"] - gate.report["icl_right"]["positives"]
        )
        assert 0 < report["positives"] < report["n"]
        assert report["C"] in (0.001, 0.01, 0.1, 1.0)
    json.dumps(gate.report, allow_nan=False)


def test_probabilities_follow_the_task(gate: Gate) -> None:
    """Easy tasks look easy, and training looks useful where it is."""
    easy = {"consensus": 2.0, "regular": 0.0, "loo_accuracy": 1.0}
    hard = {"consensus": -2.0, "regular": 2.0, "loo_accuracy": 0.0}
    assert gate.probability("icl_right", easy) > 0.9 > 0.1 > gate.probability("icl_right", hard)
    assert gate.mends("ttt", hard, {}) > gate.mends("ttt", hard | {"regular": -1.0}, {}) + 0.4
    good, bad = ({"held_out": 1.0}, {"held_out": 0.0})
    assert gate.probability("ttt_right", after(hard, good)) > 0.8
    assert gate.probability("ttt_right", after(easy, bad)) < 0.5


def test_fitting_twice_gives_the_same_gate(gate: Gate, outcomes: list[Outcome]) -> None:
    """Same log, same seed: same probabilities and same report."""
    again = fit_gate(outcomes, seed=1)
    row = {"consensus": 0.3, "prompt_tokens": 700.0}
    assert again.report == gate.report
    assert all(again.probability(h, row) == gate.probability(h, row) for h in gate.heads)


def test_failed_attempts_gain_nothing() -> None:
    """An arm that always fails has no gain, and its answers are never judged."""
    broken = [
        replace(o, arms={**o.arms, "ttt": ArmOutcome(False, 1.0, 0, {}, "diverged")})
        for o in make_outcomes(30)
    ]
    gate = fit_gate(broken)
    assert gate.report["ttt_fixes"]["kind"] == "constant"
    assert gate.mends("ttt", {"consensus": -3.0}, {}) < 0.1
    assert gate.report["ttt_right"]["n"] == 0


def test_what_was_tried_in_vain_and_what_a_look_shows_tells_more() -> None:
    """Where two arms fail together the second is worth less after the first; a look counts."""
    rng = np.random.default_rng(0)
    outcomes = []
    for outcome in make_outcomes(400):
        ttt = outcome.arms["ttt"]
        alike = rng.random() < 0.9
        sign = {"look1_loss": float(rng.normal() - 2 * ttt.right), "look1_seconds": 1.0}
        other = replace(ttt, right=ttt.right if alike else not ttt.right, evidence={})
        arms = outcome.arms | {"ttt": replace(ttt, evidence=sign), "other": other}
        outcomes.append(replace(outcome, arms=arms))
    gate = fit_gate(outcomes)
    assert "other_look1" not in gate.heads
    task = {"regular": 0.5}
    alone, later = gate.mends("ttt", task, {}), gate.mends("ttt", task, {"other": {}})
    assert alone > later + 0.1
    low, high = ({"look": 1.0, "look_loss": x} for x in (-3.0, 1.0))
    assert gate.mends("ttt", task, {}, low) > gate.mends("ttt", task, {}, high) + 0.2
    assert gate.report["ttt_look1"]["auroc"] > gate.report["ttt_fixes"]["auroc"]


def test_a_log_that_cannot_be_used_is_refused() -> None:
    """An empty log and a mixed log are errors that say what to do."""
    with pytest.raises(GateError, match="autottt collect"):
        fit_gate([])
    with pytest.raises(GateError, match=r"2 models \(a, b\)"):
        fit_gate(make_outcomes(3, model="a") + make_outcomes(3, model="b"))


def test_an_unknown_head_is_an_error(gate: Gate) -> None:
    """No probability is invented for an arm that was never collected."""
    with pytest.raises(GateError, match="no head 'other_fixes'"):
        gate.probability("other_fixes", {})


def test_a_saved_gate_is_the_same_gate(gate: Gate, file: Path, outcomes: list[Outcome]) -> None:
    """After save and load every probability, pull, cost and report is equal to the last bit."""
    loaded = load_gate(file, model=MODEL)
    assert loaded.report == gate.report
    assert loaded.cost == gate.cost
    for outcome in outcomes[:40]:
        row = after(outcome.features, outcome.arms["ttt"].evidence)
        for head in gate.heads:
            assert loaded.probability(head, row) == gate.probability(head, row)
            assert loaded.pulls(head, row) == gate.pulls(head, row)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_gate_of_constants_is_saved_too(tmp_path: Path) -> None:
    """A gate from very few outcomes has no estimator to store."""
    small = fit_gate(make_outcomes(4))
    small.save(tmp_path / "gate")
    assert load_gate(tmp_path / "gate", model=MODEL).heads == small.heads


def test_a_missing_gate(tmp_path: Path) -> None:
    """A path that is not there, or is a folder, is a gate error with the remedy."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(GateError, match=REMEDY):
            load_gate(path, model=MODEL)


def test_a_gate_of_another_model(file: Path) -> None:
    """The message names both models and the remedy."""
    with pytest.raises(GateError, match=rf"for the model {MODEL}, not for other; .*{REMEDY}"):
        load_gate(file, model="other")


def test_a_truncated_gate(file: Path) -> None:
    """Whatever part of the file is left, it is refused."""
    whole = file.read_bytes()
    for length in range(0, len(whole), len(whole) // 40):
        file.write_bytes(whole[:length])
        with pytest.raises(GateError, match="damaged or not a gate"):
            load_gate(file, model=MODEL)


def test_an_altered_gate(file: Path) -> None:
    """A flipped byte is a gate error or changes nothing, never another failure or number."""
    whole = file.read_bytes()
    row = {"consensus": 0.3, "prompt_tokens": 700.0}
    right = load_gate(file, model=MODEL).probability("icl_right", row)
    for place in range(0, len(whole), len(whole) // 60):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            loaded = load_gate(file, model=MODEL)
        except GateError:
            continue
        assert loaded.probability("icl_right", row) == right


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    """A pickle is never loaded: the trap in it does not spring."""
    path, sprung = tmp_path / "gate.json", tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(sprung), "w"))  # type: ignore[return-value]

    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(GateError, match="damaged or not a gate"):
        load_gate(path, model=MODEL)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [{}, [], {"model": "a"}, "gate", 1])
def test_json_of_something_else(tmp_path: Path, content: object) -> None:
    """Harmless JSON that is not a gate is refused."""
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(content))
    with pytest.raises(GateError, match="damaged or not a gate"):
        load_gate(path, model=MODEL)


@pytest.mark.parametrize(
    "change", [{"format": FORMAT + 1}, {"cost": {}}, {"heads": {"icl_right": {}}}]
)
def test_content_that_is_not_a_gates(file: Path, change: dict[str, object]) -> None:
    """A later format or a missing part is refused, even where it was written so."""
    write_gate_file(file, {**read_gate_file(file), **change})
    with pytest.raises(GateError, match="damaged or not a gate"):
        load_gate(file, model=MODEL)


def test_a_number_changed_by_hand(file: Path) -> None:
    """A gate whose numbers are not those that were fitted is refused."""
    content = json.loads(file.read_text())
    content["heads"]["icl_right"]["bias"] += 0.01
    file.write_text(json.dumps(content))
    with pytest.raises(GateError, match="not those that were written"):
        load_gate(file, model=MODEL)

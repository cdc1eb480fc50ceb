"""What is shipped works together: the embedded model, its gate, and the solver."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autottt import Budget, Solver, Task
from autottt.adapters.models.loading import SHIPPED
from autottt.adapters.tasks.files import load_tasks
from autottt.cli import app
from autottt.controller.certificate import RiskTable
from autottt.controller.cost import ArmCost, CostModel
from autottt.controller.difficulty import Gate, load_gate
from autottt.controller.heads import Head
from autottt.controller.outcomes import read_outcomes
from autottt.pretraining.sampling import draw_task
from autottt.pretraining.splits import HELD_OUT, pretraining_families
from autottt.solver import GATE_FILE


@pytest.fixture(scope="module")
def solver() -> Solver:
    """The solver as a new user makes it."""
    return Solver()


def test_the_shipped_gate_belongs_to_the_shipped_model(solver: Solver) -> None:
    """Nothing falls back to the default policy, and a head is a constant only by measurement."""
    assert solver.warnings == ()
    gate = load_gate(SHIPPED["embedded"] / GATE_FILE, model=solver.model.fingerprint)
    assert gate.arms == ("ttt+experts", "ttt-fast+search")
    kinds = {name: head["kind"] for name, head in gate.report.items()}
    assert kinds["icl_right"] == "logistic"
    for arm in gate.arms:
        assert kinds[f"{arm}_right"] == "logistic"
        why = gate.report[f"{arm}_fixes"]["why_constant"]
        assert kinds[f"{arm}_fixes"] == "logistic" or "base rate" in why or "carries over" in why
    assert kinds["ttt-fast+search_look1"] == "logistic"
    prices, seconds, _ = zip(*gate.prices, strict=True)
    assert sorted(prices) == list(prices)
    assert seconds[0] > seconds[-1]
    assert set(gate.worth) == set(gate.arms)


def test_a_gate_may_name_any_strategy_there_is(solver: Solver, tmp_path: Path) -> None:
    """Those with another way to answer are run; one that is not installed is left out, aloud."""
    costs = {name: ArmCost(1.0, 0.0, 0.0) for name in ("gone", "ttt-light+experts")}
    heads = {"icl_right": Head(0.1)}
    for arm in costs:
        heads |= {f"{arm}_fixes": Head(0.9), f"{arm}_right": Head(0.8)}
    gate = tmp_path / "gate.json"
    sure = RiskTable(500, (0.0, 0.2), (0, 9))
    Gate(solver.model.fingerprint, heads, CostModel(costs), risk=sure).save(gate)
    own = Solver(solver.model, gate=gate, budget=Budget(risk=0.1))
    assert "the gate's gone cannot be run" in own.warnings[0]
    assert "not certified" in own.warnings[1]
    task = draw_task("line_recolour_extreme", 4_000_000, demonstrations=3)
    answer = own.solve(task)
    assert [a.strategy for a in answer.attempts] == ["icl-vote", "ttt-light+experts"]
    assert set(answer.decisions[0].gains) == {"icl-vote", "ttt-light+experts"}


def test_a_report_covers_the_groups_that_are_asked_for() -> None:
    """Policies are replayed on part of a log, and a group that does not exist is refused."""
    log = SHIPPED["embedded"] / "outcomes.jsonl"
    lines = [o for o in read_outcomes(log) if o.group.startswith("line_")]
    done = CliRunner().invoke(app, ["evaluate", str(log), "--group", "line_", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    rows = {row["policy"]: row for row in found["policies"]}
    assert found["tasks"] == len(lines) > 0
    share = sum(o.arms["ttt-fast+search"].right for o in lines) / len(lines)
    assert rows["ttt-fast+search"]["accuracy"] == pytest.approx(share)
    assert rows["oracle"]["accuracy"] >= rows["controller"]["accuracy"]
    assert CliRunner().invoke(app, ["evaluate", str(log), "--group", "nothing"]).exit_code == 2


def test_a_task_in_words_is_answered_in_words(solver: Solver) -> None:
    """Texts go through probe, decision and training like grids."""
    task = draw_task("text_first_letters", 4_000_000, demonstrations=3)
    for strategy in (None, "ttt"):
        answer = solver.solve(task, strategy=strategy)
        assert answer.restored
        assert all(isinstance(c.output, str) for c in answer.answers[0])
        assert answer.answers[0]


def test_the_weights_are_small_and_the_card_is_complete() -> None:
    """At most 16 MB, and the card names every family on the side where it is."""
    folder = SHIPPED["embedded"]
    assert (folder / "model.safetensors").stat().st_size <= 16e6
    card = (folder / "README.md").read_text()
    before, after = card.split("## Held out: calibration")
    assert all(f"`{name}`" in before for name in pretraining_families())
    assert all(f"`{name}`" in after for name in HELD_OUT)
    assert json.loads((folder / "training_log.json").read_text())["log"]["tokens"] > 1e7


def test_the_same_seed_twice_gives_the_same_answer(solver: Solver) -> None:
    """In auto mode everything but the seconds repeats, and the model is restored each time."""
    task = draw_task("line_shift", 4_000_000, demonstrations=3)
    first, second = (solver.solve(task, seed=5) for _ in range(2))
    assert first.answers == second.answers
    assert first.confidence == second.confidence
    assert [d.chosen for d in first.decisions] == [d.chosen for d in second.decisions]
    assert first.restored
    assert second.restored


def test_the_trace_gives_numbers_and_reasons(solver: Solver) -> None:
    """The first decision names the features that pulled, and the gains and costs in question."""
    task = draw_task("line_recolour_extreme", 4_000_000, demonstrations=3)
    heard: list[str] = []
    answer = solver.solve(task, on_event=lambda kind, payload: heard.append(kind))
    first = answer.decisions[0]
    assert first.top_features
    assert set(first.gains) == {"icl-vote", "ttt+experts", "ttt-fast+search"}
    assert first.costs["ttt+experts"] > first.costs["ttt-fast+search"] > 0
    assert heard[0] == "probe"
    assert heard[-1] == "answer"


def test_what_is_not_certified_and_what_has_drifted_is_said(solver: Solver) -> None:
    """Answers carry both warnings; a certified policy falls back once the tasks are others."""
    assert solver.gate is not None
    sure = replace(solver.gate, risk=RiskTable(500, (0.0, 0.2), (0, 9)))
    careful = Solver(solver.model, budget=Budget(risk=0.1, uncertified="answer"))
    assert "not certified" in careful.warnings[-1]
    careful.gate, careful.warnings = sure, ()
    careful.policy = careful._policy()
    assert careful.policy.least == 0.2
    assert careful.warnings == ()
    task = draw_task("line_recolour_extreme", 4_000_000, demonstrations=3)
    hurried = careful.solve(task, deadline=1.0)
    assert hurried.warnings == ("nothing is certified under a deadline",)
    for _ in range(60):
        careful.hear({"vote_share": 5.0, "prompt_tokens": 1e6})
    assert careful.policy.least == 1.0
    answer = careful.solve(task)
    assert answer.strategy == "icl-vote"
    assert any("no longer look like" in warning for warning in answer.warnings)
    assert any("the tasks have drifted" in warning for warning in answer.warnings)


def test_a_deadline_is_kept(solver: Solver) -> None:
    """With two seconds an answer is there after little more, whatever was chosen."""
    task = draw_task("grid_keep_colour", 4_000_000, demonstrations=3)
    answer = solver.solve(task, deadline=2.0)
    assert answer.seconds < 6.0
    assert answer.restored


def test_training_learns_a_real_one_dimensional_task(solver: Solver, shared_data: Path) -> None:
    """A real task of 1D-ARC that in-context learning misses is solved by test-time training."""
    source = shared_data / "1d-arc" / "1d_denoising_1c" / "1d_denoising_1c_3.json"
    (task,) = load_tasks(str(source))
    assert isinstance(task, Task)
    answer = solver.solve(task, strategy="ttt")
    assert task.targets is not None
    assert answer.answers[0][0].output == task.targets[0]
    assert answer.restored

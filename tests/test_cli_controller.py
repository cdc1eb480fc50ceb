"""Fitting, evaluating and learning on from the command line, on outcomes of a made-up world."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autottt.adapters.tasks.files import load_tasks
from autottt.cli import app
from autottt.controller.difficulty import load_gate
from autottt.controller.experience import not_measured, outcomes_of, read_traces
from autottt.controller.outcomes import Outcome, append_outcome, read_outcomes
from autottt.evaluation.collect import measure
from autottt.record import is_right
from autottt.solver import Solver
from autottt.strategies.base import RunContext

PUBLISHED = "bbh_llama31_8b_outcomes.csv"
World = Callable[..., list[Outcome]]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, outcomes: list[Outcome]) -> Path:
    for outcome in outcomes:
        append_outcome(path, outcome)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """Logs to fit, to certify and to report on, and the gate that `fit` makes of them."""
    found = tmp_path_factory.mktemp("logs")
    write(found / "fit.jsonl", world(150))
    write(found / "certify.jsonl", world(150, seed=1, families="g"))
    write(found / "report.jsonl", world(80, seed=2, families="h"))
    gate = found / "gate.json"
    done = run("fit", found / "fit.jsonl", "--certify", found / "certify.jsonl", "--out", gate)
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)) >= {"icl_right", "light_fixes", "long_right"}
    return found


class Text(HTMLParser):
    """The text of a page; any reference to something outside of it is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img")
        assert not any(
            name in ("src", "href", "xlink:href") and not (value or "").startswith("#")
            for name, value in attrs
        )

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_log_is_evaluated(folder: Path, tmp_path: Path) -> None:
    """The summary, the metrics and a report that needs nothing but itself say the same."""
    gate = "--gate", folder / "gate.json", "--fitted-on", folder / "fit.jsonl"
    done = run("evaluate", folder / "report.jsonl", *gate, "--out", tmp_path / "out", "--names")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rows = {row["policy"]: row for row in found["policies"]}
    outcomes = read_outcomes(folder / "report.jsonl")
    assert found["tasks"] == len(outcomes)
    for arm in ("icl-vote", "light", "long"):
        assert rows[arm]["accuracy"] == sum(o.arms[arm].right for o in outcomes) / len(outcomes)
    for other in ("random at matched cost", "one-shot gate", "best single feature", "controller"):
        assert rows[other]["accuracy"] <= rows["oracle"]["accuracy"]
    assert rows["controller"]["utility"] > max(rows["icl-vote"]["utility"], rows["long"]["utility"])
    assert 0 < found["oracle_gain_recovered"] <= 1
    assert found["heads"]["icl wrong"]["auroc"] > 0.7
    assert found["controller"]["overhead_share"] < 0.05
    given_up = found["controller"]["given_up"]
    assert 0 <= given_up["right"] <= given_up["trainings"] <= given_up["of"]
    assert all(lost["answered_with"] in lost["ran"] for lost in found["controller"]["lost"])
    assert sum(len(ids) for ids in found["two_by_two"]["long"].values()) == len(outcomes)
    page = Text((tmp_path / "out" / "report.html").read_text()).text
    for text in ("random at matched cost", "share of the oracle's gain", "icl wrong", "Lost"):
        assert text in page
    assert "broken" in done.stdout
    as_json = run("evaluate", folder / "report.jsonl", *gate, "--json")
    same = json.loads(as_json.stdout)
    assert same["policies"] == found["policies"]


def test_another_models_log_is_evaluated_without_a_gate(folder: Path) -> None:
    """The default policy takes the controller's place, and the command says so."""
    done = run("evaluate", folder / "report.jsonl", "--json")
    assert done.exit_code == 0, done.output
    assert "no gate is shipped for model" in done.stderr
    found = json.loads(done.stdout)
    assert found["heads"] == {}
    assert {"icl-vote", "long", "controller", "oracle"} <= {
        row["policy"] for row in found["policies"]
    }


def test_logs_that_do_not_belong_together_are_refused(folder: Path, tmp_path: Path) -> None:
    """Two models in one report; of one task under one seed the last line counts, wherever it is."""
    other = tmp_path / "other.jsonl"
    write(other, [replace(o, model="other") for o in read_outcomes(folder / "report.jsonl")])
    refused = run("evaluate", folder / "report.jsonl", other)
    assert refused.exit_code == 2
    assert "the logs are of 2 models" in refused.stderr
    twice = run("evaluate", folder / "report.jsonl", folder / "report.jsonl", "--json")
    assert json.loads(twice.stdout)["tasks"] == len(read_outcomes(folder / "report.jsonl"))


def test_an_option_that_would_not_be_heard_is_refused(folder: Path, tmp_path: Path) -> None:
    """Rather than a report without what was asked for."""
    log, table = folder / "report.jsonl", tmp_path / "t.csv"
    for command, option in (
        (("--traces", log, "--out", tmp_path / "out"), "--out"),
        ((table, "--base", "icl", "--gate", folder / "gate.json"), "--gate"),
    ):
        done = run("evaluate", *command)
        assert done.exit_code == 2
        assert f"{option} means nothing" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_arm_that_nothing_was_run_with_is_refused(folder: Path, tmp_path: Path) -> None:
    """A gate for it would be one of guesses."""
    done = run("fit", folder / "fit.jsonl", "--arm", "lihgt", "--out", tmp_path / "gate.json")
    assert done.exit_code == 2
    assert "no task in the logs was run with lihgt" in done.stderr
    assert not (tmp_path / "gate.json").exists()


def test_an_arm_of_some_tasks_or_traces_alone_is_not_chosen_among(
    folder: Path, tmp_path: Path
) -> None:
    """It would be judged by hardly anything, and prices by those few tasks."""
    every = read_outcomes(folder / "fit.jsonl")[:40]
    some = [replace(o, arms={**o.arms, "new": o.arms["long"]}) for o in every[:3]]
    mixed = write(tmp_path / "mixed.jsonl", [*some, *every[3:]])
    done = run("fit", mixed, "--out", tmp_path / "gate.json")
    assert done.exit_code == 0, done.output
    assert "without new, which not every task was run with" in done.stderr
    gate = load_gate(tmp_path / "gate.json", model=every[0].model)
    assert set(gate.arms) == {"light", "long"}
    assert gate.prices
    none = write(
        tmp_path / "none.jsonl", [replace(every[0], arms={"icl-vote": every[0].arms["icl-vote"]})]
    )
    refused = run("fit", mixed, none, "--out", tmp_path / "no.json")
    assert refused.exit_code == 2
    assert "no training strategy was run on every task" in refused.stderr


def test_a_log_that_is_given_twice_counts_once(folder: Path, tmp_path: Path) -> None:
    """And the same gate comes of it."""
    log = write(tmp_path / "some.jsonl", read_outcomes(folder / "fit.jsonl")[:40])
    done = [
        run("fit", *logs, "--arm", "light", "--out", tmp_path / f"{len(logs)}.json")
        for logs in ([log], [log, log])
    ]
    assert done[0].exit_code == 0, done[0].output
    assert done[0].stdout == done[1].stdout


def test_a_comparison_that_has_nothing_to_compare(folder: Path, tmp_path: Path) -> None:
    """An arm that is never right is left out of it, and one family is an error."""
    every = read_outcomes(folder / "fit.jsonl")[:40]
    wrong = [
        replace(o, arms={**o.arms, "long": replace(o.arms["long"], right=False)}) for o in every
    ]
    log = write(tmp_path / "wrong.jsonl", wrong)
    done = run("fit", log, "--compare", "--out", tmp_path / "gate.json")
    assert done.exit_code == 0, done.output
    assert "long_right" not in done.stderr
    two = write(tmp_path / "two.jsonl", [replace(o, group=str(o.task_id[-1] > "4")) for o in every])
    gate = tmp_path / "two.json"
    refused = run("fit", two, "--compare", "--out", gate)
    assert refused.exit_code == 2
    assert "families left out, and the tasks are of 2" in refused.stderr
    assert load_gate(gate, model=every[0].model).arms  # it was fitted before


def test_tasks_of_one_group_are_fitted_to_one_by_one(folder: Path, tmp_path: Path) -> None:
    """As `calibrate` does it: otherwise there would be no group to leave out."""
    every = read_outcomes(folder / "fit.jsonl")
    log = write(tmp_path / "one.jsonl", [replace(o, group="f") for o in every])
    done = run("fit", log, "--out", tmp_path / "gate.json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["icl_right"]["kind"] == "logistic"
    assert load_gate(tmp_path / "gate.json", model=every[0].model).prices


def test_what_a_log_cannot_tell_is_said(folder: Path, tmp_path: Path) -> None:
    """One group has intervals over tasks; tasks fitted to are named; no vote, no controller."""
    gate, every = folder / "gate.json", read_outcomes(folder / "report.jsonl")
    one = write(tmp_path / "one.jsonl", [replace(o, group="f") for o in every])
    known = "--fitted-on", folder / "fit.jsonl"
    found = json.loads(run("evaluate", one, "--gate", gate, "--json").stdout)
    gap = next(p for p in found["policies"] if p["policy"] == "icl-vote")["held_minus_this"]
    assert found["groups"] == len(every)
    assert gap["low"] < gap["mean"] < gap["high"]
    own = run("evaluate", folder / "fit.jsonl", "--gate", gate, *known)
    assert "too good to be true" in own.stderr
    blind = [replace(o, arms={k: v for k, v in o.arms.items() if k != "icl-vote"}) for o in every]
    refused = run("evaluate", write(tmp_path / "blind.jsonl", blind), "--gate", gate)
    assert refused.exit_code == 2
    assert "the log has no icl-vote" in refused.stderr


def test_prices_and_risk_come_from_the_logs(folder: Path) -> None:
    """A fitted gate knows what a mean cost takes, and can certify a risk."""
    model = read_outcomes(folder / "fit.jsonl")[0].model
    gate = load_gate(folder / "gate.json", model=model)
    assert gate.price_for(3.0) > gate.price_for(6.0)
    assert gate.risk is not None
    assert gate.risk.threshold(0.3) is not None


def test_others_results_are_evaluated(shared_data: Path, tmp_path: Path) -> None:
    """Without features there is no controller, but every fixed arm and the oracle."""
    done = run("evaluate", shared_data / PUBLISHED, "--base", "icl_10", "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {"ttt_10", "oracle"} <= {row["policy"] for row in found["policies"]}
    assert "shared_ttt" in Text((tmp_path / "report.html").read_text()).text
    refused = run("evaluate", shared_data / PUBLISHED)
    assert refused.exit_code == 2
    assert "--base" in refused.stderr


def test_results_without_seconds_are_evaluated(tmp_path: Path) -> None:
    """Nothing is said then of what an arm takes."""
    table = tmp_path / "results.csv"
    table.write_text("task,arm,seed,accuracy\na,x,0,10\na,y,0,90\nb,x,0,80\nb,y,0,20\n")
    done = run("evaluate", table, "--base", "x")
    assert done.exit_code == 0, done.output
    assert "of the oracle's gain over x\n" in done.stdout


def test_seconds_are_those_of_the_machine_that_costs_were_measured_on(
    folder: Path, tmp_path: Path, world: World
) -> None:
    """What is right is learnt from one log and what it takes from another."""
    slow = [
        replace(o, arms={n: replace(a, seconds=3 * a.seconds) for n, a in o.arms.items()})
        for o in world(20, seed=3)
    ]
    logs = write(tmp_path / "there.jsonl", world(40)), write(tmp_path / "here.jsonl", slow)
    out = tmp_path / "gate.json"
    gates = []
    for costs in ((), ("--costs", logs[1])):
        done = run("fit", logs[0], *costs, "--arm", "light", "--out", out)
        assert done.exit_code == 0, done.output
        gates.append(load_gate(out, model=slow[0].model))
    before, here = gates
    spent = before.cost.predict("light", {"prompt_tokens": 300.0})
    assert here.cost.predict("light", {"prompt_tokens": 300.0}) == pytest.approx(3 * spent, rel=0.1)
    assert here.prices[0][1] == pytest.approx(3 * before.prices[0][1], rel=0.1)
    assert here.heads == before.heads
    (tmp_path / "empty.jsonl").touch()
    empty = run("fit", logs[0], "--costs", tmp_path / "empty.jsonl", "--out", out)
    assert "was never measured" in empty.stderr
    missing = run("fit", folder / "fit.jsonl", "--costs", tmp_path / "none.jsonl", "--out", out)
    assert missing.exit_code == 2
    assert "no such file" in missing.stderr


def test_a_running_system_learns_from_feedback(tmp_path: Path) -> None:
    """Answers leave traces; what is said of them reaches the next gate."""
    tasks = load_tasks("arc:training")
    short = sorted(tasks, key=lambda t: len(str(t.demonstrations)))[:3]
    log = tmp_path / "traces.jsonl"
    solver = Solver(explore=0.5)
    for task in short:
        answer = solver.solve(task, log=log)
        verdict = "right" if is_right(task, answer.answers) else "wrong"
        assert run("feedback", task.id, verdict, "--log", log).exit_code == 0
    shipped = Path(__file__).parents[1] / "autottt" / "assets" / "embedded" / "outcomes.jsonl"
    measured = measure(short[0], "mine", RunContext(solver.model), ["ttt-fast+search"])
    sample = write(tmp_path / "some.jsonl", [*read_outcomes(shipped)[:40], measured])
    arm = "--arm", "ttt-fast+search"  # fitting to few arms is enough here, and quick
    done = run("fit", sample, "--update", log, *arm, "--out", tmp_path / "gate.json")
    assert done.exit_code == 0, done.output
    assert "3 tasks with feedback" in done.stderr
    left = not_measured(outcomes_of(read_traces(log)), [measured])
    assert {o.task_id for o in left} == {task.id for task in short[1:]}
    refused = run("evaluate", "--traces", log)
    assert refused.exit_code == 2
    assert "explore more" in refused.stderr
    other = log.read_text().splitlines()[0].replace(solver.model.fingerprint, "another")
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(log.read_text() + other.replace(short[0].id, "other") + "\n")
    assert "answers of 2 models" in run("evaluate", "--traces", mixed).stderr


def test_a_gate_is_calibrated_on_tasks_of_ones_own(tmp_path: Path) -> None:
    """Measured, fitted and reported in one go; run again, it goes on with the arms of its log."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    tasks = sorted(load_tasks("arc:training"), key=lambda t: len(str(t.demonstrations)))[:6]
    for task in tasks:
        assert task.targets is not None
        shown = [{"input": e.input, "output": e.output} for e in task.demonstrations]
        asked = [{"input": q, "output": t} for q, t in zip(task.queries, task.targets, strict=True)]
        (folder / f"{task.id}.json").write_text(json.dumps({"train": shown, "test": asked}))
    out = tmp_path / "out"
    arms = "--strategy", "icl-vote", "--strategy", "ttt-light"
    command = "calibrate", "--tasks", folder, "--out", out
    done = run(*command, *arms)
    assert done.exit_code == 0, done.output
    assert len(read_outcomes(out / "outcomes.jsonl")) == 6
    assert "not certified" in done.stdout
    assert "always the same, as only 0 tasks of the rarer class" in " ".join(done.stdout.split())
    log = out / "outcomes.jsonl"
    before = log.read_bytes()
    assert run(*command, *arms, "--hours", "0.0001").exit_code == 0
    assert log.read_bytes() == before
    begun = before[: before.rindex(b"\n", 0, -1) + 1]
    log.write_bytes(begun)
    assert run(*command).exit_code == 0
    assert log.read_bytes().startswith(begun)
    assert [set(o.arms) for o in read_outcomes(log)] == [{"icl-vote", "ttt-light"}] * 6
    assert Solver(gate=out / "gate.json").warnings == ()
    more = run(*command, *arms, "--strategy", "ttt")
    assert more.exit_code == 2
    assert "was begun with icl-vote, ttt-light" in more.stderr
    log.write_text(log.read_text().replace(Solver().model.fingerprint, "another"))
    refused = run(*command)
    assert refused.exit_code == 2
    assert "outcomes of another model" in refused.stderr


def test_the_same_tasks_under_two_seeds_tell_luck(tmp_path: Path) -> None:
    """`--tasks-seed` keeps the tasks while `--seed` changes; the report says what repeats."""
    log = tmp_path / "log.jsonl"
    arms = ("--strategy", "icl-vote", "--strategy", "icl")
    for seed in (3, 4):
        wanted = ("--families", "line_echo", "--tasks-per-family", "1", "--tasks-seed", "7")
        done = run("collect", *wanted, *arms, "--seed", str(seed), "--out", log)
        assert done.exit_code == 0, done.output
    (first, second) = read_outcomes(log)
    assert first.task_id == second.task_id
    assert (first.seed, second.seed) == (3, 4)
    shown = run("evaluate", log, "--out", tmp_path / "report")
    assert "1 tasks under two seeds" in shown.stdout
    assert "Luck" in (tmp_path / "report" / "report.html").read_text()
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["repeats"]["tasks"] == 1

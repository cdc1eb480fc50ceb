"""`autottt pretrain` and `autottt bench-pretrain`: what they refuse, and how they end."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from autottt.adapters.models.loading import SHIPPED
from autottt.cli import app
from autottt.cli.pretrain import choose_recipe, sized, stopping
from autottt.errors import InputError, LockedError
from autottt.pretraining import train
from autottt.pretraining.checkpoint import CHECKPOINT, read_state
from autottt.pretraining.recipe import SIZES, Log, Recipe
from autottt.pretraining.stages import TRAINING_LOG, released_stages
from autottt.runner.folder import locked
from autottt.runner.stop import Stop

EMBEDDED = str(SHIPPED["embedded"])
TINY: dict[str, Any] = {
    "hidden": 32,
    "layers": 1,
    "heads": 1,
    "intermediate": 64,
    "tokens": 512,
    "row_lengths": (256,),
    "row_weights": (1.0,),
    "compile": False,
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The size tiny is trained in a second, in an empty folder."""
    monkeypatch.setitem(SIZES, "tiny", TINY)
    monkeypatch.setattr("autottt.pretraining.train.Validation.run", lambda self, model: {})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)


def pretrain(*arguments: str, out: str = "run") -> Result:
    return CliRunner().invoke(app, ["pretrain", "--out", out, *arguments])


def new(**asked: Any) -> Recipe:
    return choose_recipe(Path("new"), steps=5, minutes=None, asked=asked)


def test_a_next_stage_has_a_seed_of_its_own() -> None:
    """One that the shipped model's stages had is refused; by default another one is taken."""
    had = {recipe.seed for recipe, _ in released_stages(Path(EMBEDDED))}
    assert had
    assert new(start_from=EMBEDDED).seed not in had
    assert new(start_from=EMBEDDED, seed=7).seed == 7
    for seed in had:
        with pytest.raises(InputError, match=f"batches of seed {seed}"):
            new(start_from=EMBEDDED, seed=seed)


def test_a_next_stage_has_the_size_of_the_one_before() -> None:
    """It may be named, and another one is refused before anything is loaded."""
    Path("start").mkdir()
    log = {"recipe": asdict(Recipe(**TINY)), "log": asdict(Log())}
    (Path("start") / TRAINING_LOG).write_text(json.dumps(log))
    recipe = new(start_from="start")
    assert {name: getattr(recipe, name) for name in ("hidden", "layers", "tokens")} == {
        "hidden": 32,
        "layers": 1,
        "tokens": 512,
    }
    assert new(start_from="start", **sized("tiny")).hidden == 32
    with pytest.raises(InputError, match="leave out --size"):
        new(start_from="start", **sized("base"))


@pytest.mark.parametrize("size", ["base", "small", "large"])
def test_a_run_of_another_size_is_not_continued(size: str) -> None:
    """Every size is compared with that of the run at hand, the default one, too."""
    assert pretrain("--size", "tiny", "--steps", "1").exit_code == 0
    done = pretrain("--size", size)
    assert done.exit_code == 2
    assert "heads, hidden" in done.stderr
    assert pretrain().exit_code == 0


def test_a_folder_at_work_is_left_alone() -> None:
    """Two processes do not train in one folder."""
    with locked(Path("run")):
        done = pretrain("--size", "tiny", "--steps", "1")
    assert done.exit_code == 1
    assert "is at work in run" in done.stderr
    assert not (Path("run") / CHECKPOINT).exists()


def test_a_killed_run_leaves_its_folder_free() -> None:
    """The processes that make batches end with the trainer, so the lock does, too."""
    code = (
        "import os; from pathlib import Path; from autottt.pretraining import recipe, train; "
        "from autottt.runner.folder import locked; lock = locked(Path('run')); lock.__enter__(); "
        f"train.pretrain(recipe.Recipe(**{TINY}), Path('run'), "
        "stopped=lambda: os.kill(os.getpid(), 9))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    until = time.monotonic() + 30
    while True:
        try:
            with locked(Path("run")):
                assert read_state(Path("run") / CHECKPOINT)[1].step == 0
            break
        except LockedError:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_batch_that_cannot_be_made_ends_the_run() -> None:
    """The process that makes batches raises; the trainer ends with it and does not hang."""
    code = (
        "from pathlib import Path; from autottt.pretraining import recipe, train\n"
        "def fail(self, step): raise MemoryError('no room')\n"
        "train.BatchPlan.batch = fail\n"
        f"train.pretrain(recipe.Recipe(**{TINY}), Path('run'))"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 1
    assert b"no room" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step_in_hand(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The step is saved, nothing is released, and the command without options goes on."""
    step = train.train_step

    def signalled(*batch: Any) -> Any:
        os.kill(os.getpid(), number)
        return step(*batch)

    with monkeypatch.context() as patched:
        patched.setattr(train, "train_step", signalled)
        done = pretrain("--size", "tiny", "--steps", "2", "--release", "model")
    assert done.exit_code == 1
    assert "stopped after step 1 of 2, which is saved in run" in done.stderr
    assert read_state(Path("run") / CHECKPOINT)[1].step == 1
    assert not Path("model").exists()
    assert "2 steps" in pretrain().stderr


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    """Whoever does not want to wait for the step need not."""
    stop = Stop()
    with stopping(stop):
        signal.raise_signal(signal.SIGINT)
        assert stop.reason == "interrupted"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_release_may_be_written_again_with_the_runs_beside_it() -> None:
    """A folder that holds a release is written over, and its card names the other runs."""
    asked = ("--size", "tiny", "--steps", "1", "--release", "model")
    assert pretrain(*asked).exit_code == 0
    assert pretrain(*asked, "--beside", "run", out="other").exit_code == 0
    assert (Path("model") / "README.md").read_text().count("| muon |") == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--beside", "other"], "give --release"),
        (["--release", "run"], "a folder of its own"),
        (["--release", "."], "a folder of its own"),
        (["--release", "mine"], "mine is not empty and holds no released model"),
        (["--release", "file/model"], "cannot hold files"),
        (["--release", "model", "--beside", "nowhere"], "nowhere holds no checkpoint"),
        (["--release", "model", "--beside", "other"], "not a checkpoint"),
        (["--start-from", "mine"], "no folder that --release wrote"),
    ],
)
def test_what_would_fail_at_the_end_is_refused_before_training(
    arguments: list[str], says: str
) -> None:
    """Nothing is trained in vain, and no file of the user's is lost."""
    for name in ("mine/README.md", "file", f"other/{CHECKPOINT}"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("mine")
    done = pretrain("--size", "tiny", "--steps", "1", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not Path("run").exists()
    assert Path("mine/README.md").read_text() == "mine"


def test_the_comparison_names_what_it_lacks_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without accelerate there is no Trainer, and nothing is timed in vain."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "accelerate" else find(name)
    )
    done = CliRunner().invoke(app, ["bench-pretrain", "--steps", "1", "--size", "tiny"])
    assert done.exit_code == 2
    assert "accelerate" in done.stderr
    assert "autottt[bench]" in done.stderr

"""What brings the first answer of a command sooner, and that it leaves nothing behind."""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import autottt
from autottt.cli.startup import _absent, loading

ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(autottt.__file__).parents[1]),
    "HF_HUB_OFFLINE": "1",
}


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """The collector as it was found, with nothing kept from it."""
    was_on = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if was_on else gc.disable)()


def printed(code: str, *arguments: str) -> str:
    """The last line that a new process prints, which has to end well."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_the_collector_rests_while_things_are_loaded() -> None:
    """It is off inside, on again outside, and passes over what was loaded."""
    gc.enable()
    gc.unfreeze()
    with loading():
        assert not gc.isenabled()
        with loading():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_the_collector_is_on_after_an_error() -> None:
    """A model that cannot be loaded leaves the collector on."""
    gc.enable()
    with pytest.raises(KeyError), loading():
        raise KeyError
    assert gc.isenabled()


def test_who_has_no_collector_keeps_none() -> None:
    """Where it was off it stays off."""
    gc.disable()
    with loading():
        pass
    assert not gc.isenabled()


def test_a_package_is_absent_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be imported inside, can be outside, and one that is there already stays."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with _absent("colorsys", "json"):
        assert importlib.import_module("json") is json
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").__name__ == "colorsys"


@pytest.mark.parametrize("strategy", [(), ("--strategy", "icl")])
def test_solving_has_the_collector(strategy: tuple[str, ...]) -> None:
    """`solve` has it on, over under a tenth of what was loaded, and no full run came before."""
    code = (
        "import gc, sys\n"
        "from autottt.cli import app, solving\n"
        "full = 0\n"
        "def count(phase, about):\n"
        "    global full\n"
        "    full += phase == 'start' and about['generation'] == 2 and gc.isenabled()\n"
        "gc.callbacks.append(count)\n"
        "def run(*args, **kwargs):\n"
        "    on, left = gc.isenabled(), 10 * len(gc.get_objects()) < gc.get_freeze_count()\n"
        "    print(on, left, full, flush=True, file=sys.__stdout__)\n"
        "    raise SystemExit\n"
        "solving._run = run\n"
        "app(sys.argv[1:])"
    )
    task = "solve", "--example", "a => a", "--example", "b => b", "--query", "c"
    assert printed(code, *task, *strategy) == "True True 0"


def test_scipy_is_there_when_it_is_wanted() -> None:
    """Transformers is loaded without it, and it can be imported afterwards."""
    code = (
        "import sys\n"
        "from autottt.cli.startup import import_transformers\n"
        "import_transformers()\n"
        "print('transformers.modeling_utils' in sys.modules, 'scipy' in sys.modules, end=' ')\n"
        "import scipy.stats, sklearn.linear_model\n"
        "print(scipy.stats.binom.cdf(0, 1, 0.5))"
    )
    assert printed(code) == "True False 0.5"


def test_the_library_leaves_the_collector_alone() -> None:
    """A program that solves a task without the command line has nothing frozen."""
    code = "import gc, autottt\nautottt.Solver()\nprint(gc.isenabled(), gc.get_freeze_count())"
    assert printed(code) == "True 0"

"""`autottt serve` and `autottt bench-serve` refuse what they cannot do before they load a model."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from autottt.cli import app, serve


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--replicas", "0"],
        ["serve", "--threads", "0"],
        ["serve", "--queue", "0"],
        ["serve", "--deadline", "nan"],
        ["serve", "--max-body", "-1"],
        ["serve", "--adapter-mib", "0"],
        ["serve", "--price", "-1"],
        ["serve", "--port", "70000"],
        ["serve", "--port", "-1"],
        ["bench-serve", "--clients", "0"],
        ["bench-serve", "--seed", "-1"],
    ],
)
def test_bad_arguments_end_with_a_message(arguments: list[str]) -> None:
    """Bad arguments end with 2 and name the option."""
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert arguments[1] in done.stderr


@pytest.mark.parametrize("flag", [[], ["--mcp"]])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, flag: list[str]) -> None:
    """Without the libraries it says what to install."""
    extra = "mcp" if flag else "serve"
    monkeypatch.setitem(serve.NEEDS, extra, ("a_library_that_is_not_there",))
    done = CliRunner().invoke(app, ["serve", *flag])
    assert done.exit_code == 2
    assert f"pip install 'autottt[{extra}]'" in done.stderr

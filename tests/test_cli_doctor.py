"""`autottt doctor` on a model that breaks while it is tried."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.cli import app


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def breaking(error: BaseException) -> Any:
    """What a model's own code may do instead of answering."""

    def generate(*args: Any, **kwargs: Any) -> Any:
        sys.stdout.write("a pass begins\n")
        raise error

    return generate


def test_what_was_found_before_a_failure_is_shown(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table ends with what the model raised, and the exit code is 1."""
    monkeypatch.setattr(HuggingFaceModel, "generate", breaking(TypeError("no such argument")))
    found = doctor("--model", str(tiny_model_folder))
    assert found.exit_code == 1
    assert "TypeError: no such argument" in found.stdout
    assert "every weight is what it was" in " ".join(found.stdout.split())


def test_an_interrupt_shows_what_was_found(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that takes too long is left with what is known of it."""
    monkeypatch.setattr(HuggingFaceModel, "generate", breaking(KeyboardInterrupt()))
    found = doctor("--model", str(tiny_model_folder))
    assert found.exit_code == 130
    assert "LlamaForCausalLM" in found.stdout


def test_what_a_model_prints_is_no_finding(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line of stdout is a finding; the rest goes to stderr."""
    monkeypatch.setattr(HuggingFaceModel, "generate", breaking(TypeError("no such argument")))
    found = doctor("--model", str(tiny_model_folder), "--json")
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert found.exit_code == 1
    assert (lines[-1]["about"], lines[-1]["status"]) == ("answering", "fails")
    assert "a pass begins" in found.stderr

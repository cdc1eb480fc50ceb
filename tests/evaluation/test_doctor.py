"""What is found of a model that breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.session import AdapterSession
from autottt.evaluation import doctor
from autottt.evaluation.doctor import Finding, examine


def raising(error: Exception) -> Callable[..., Any]:
    """A method that fails in that way."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def by_name(model: HuggingFaceModel) -> dict[str, Finding]:
    """The last finding about each thing."""
    return {finding.about: finding for finding in examine(model)}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TypeError("forward() got an unexpected keyword"), "TypeError: forward() got"),
        (torch.OutOfMemoryError("CUDA out of memory"), "StrategyError: icl ran out of memory"),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ"),
    ],
)
def test_a_model_that_cannot_answer_is_a_finding(
    error: Exception, said: str, tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it raised, after all that was found before."""
    monkeypatch.setattr(HuggingFaceModel, "generate", raising(error))
    found = by_name(tiny_model)
    assert found["answering"].status == "fails"
    assert said in found["answering"].text
    assert found["adaptation"].status == "ok"
    assert "ttt" not in found


def test_a_model_that_cannot_be_trained_still_answers(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its strategies that train nothing have a cost, the others fail."""
    monkeypatch.setattr(AdapterSession, "train", raising(TypeError("no gradient here")))
    found = by_name(tiny_model)
    assert found["adaptation"].text == "TypeError: no gradient here"
    assert [found[name].status for name in ("adaptation", "icl", "ttt")] == ["fails", "ok", "fails"]


@pytest.mark.parametrize(("library", "status"), [(object(), "ok"), (None, "note")])
def test_an_install_without_a_compiler_is_said(
    library: object, status: str, embedded: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model that would use compiled kernels: there are some, or how to get them."""
    monkeypatch.setattr(doctor, "compiled", lambda: library)
    finding = next(found for found in examine(embedded) if found.about == "kernels")
    assert finding.status == status
    assert ("gcc" in finding.text) == (library is None)


def test_every_part_is_tried(tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that reads nothing spoils what needs it, and nothing else."""
    monkeypatch.setattr(HuggingFaceModel, "encode", raising(AttributeError("no such method")))
    found = by_name(tiny_model)
    failed = {name for name, finding in found.items() if finding.status == "fails"}
    assert failed == {"tokenizer", "context", "memory", "adaptation", "answering"}
    assert {"model", "LoRA"} <= found.keys()

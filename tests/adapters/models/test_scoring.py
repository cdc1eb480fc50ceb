"""Scoring in parts where memory is short, with the scores of all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from autottt.adapters.models import huggingface, scoring
from autottt.adapters.models.base import Score, TokenSequence
from autottt.adapters.models.decoding import score_answers
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.memory import SHARE, cache_bytes


def leave(monkeypatch: pytest.MonkeyPatch, room: float) -> None:
    """As much free memory as that a step may take so many bytes of it."""
    monkeypatch.setattr(huggingface, "free_bytes", lambda device: int(room / SHARE) + 1)


@pytest.mark.parametrize(
    ("fitting", "expected"),
    [
        (0, [[1]] * 6),
        (2, [[2], [1], [2], [1]]),
        (4, [[3], [3]]),
        (6, [[3, 3]]),
    ],
)
def test_answers_are_scored_in_what_memory_there_is(
    embedded: HuggingFaceModel,
    monkeypatch: pytest.MonkeyPatch,
    fitting: int,
    expected: list[list[int]],
) -> None:
    """Where it holds the logits and copied caches of few answers, so many are scored in one go."""
    prompts = [embedded.encode(text) for text in ("12\n>21\n\n34\n>", "1\n>1\n\n56\n>")]
    answers = [[embedded.encode(text) for text in ("43\n\n", "65\n\n", "1\n\n")]] * 2
    usual = embedded.score_answers(prompts, answers)
    longest = max(map(len, answers[0]))
    read = max(map(len, prompts)) + longest
    each = longest * embedded.vocabulary * scoring.LOGIT_BYTES
    each += 2 * read * cache_bytes(embedded.module.config)
    asked: list[list[int]] = []

    def counting(owner: HuggingFaceModel, some: Any, of: Any) -> list[list[float]]:
        asked.append([len(answers) for answers in of])
        return score_answers(owner, some, of)

    monkeypatch.setattr(scoring, "score_answers", counting)
    leave(monkeypatch, (fitting + 0.5) * each)
    few = embedded.score_answers(prompts, answers)
    assert asked == expected
    for one, other in zip(usual, few, strict=True):
        assert one == pytest.approx(other, abs=0.3)  # bf16 rounds otherwise


def test_prompts_without_answers_have_no_scores(
    embedded: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little memory there is."""
    leave(monkeypatch, 0)
    prompt = embedded.encode("1\n>")
    assert embedded.score_answers([], []) == []
    found = embedded.score_answers([prompt, prompt], [[], [embedded.encode("1\n\n")]])
    assert [len(scores) for scores in found] == [0, 1]


def test_rows_are_scored_in_what_memory_there_is(
    embedded: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts are the logits of places where some row has a target."""
    text = embedded.encode("12\n>21\n\n34\n>43\n\n")
    own = tuple(place > 8 for place in range(len(text)))
    rows = [TokenSequence(tuple(text), own)] * 3
    usual = embedded.score(rows)
    parts: list[int] = []
    real = scoring._scored

    def counting(
        owner: HuggingFaceModel, some: Sequence[TokenSequence], fused: Any
    ) -> Iterator[Score]:
        parts.append(len(some))
        return real(owner, some, fused)

    monkeypatch.setattr(scoring, "_scored", counting)
    leave(monkeypatch, 2.5 * sum(own) * embedded.vocabulary * scoring.LOGIT_BYTES)
    few = embedded.score(rows)
    assert parts == [2, 1]
    for one, other in zip(usual, few, strict=True):
        assert other.log_probabilities == pytest.approx(one.log_probabilities, abs=0.1)
        assert len(other.log_probabilities) == sum(own)

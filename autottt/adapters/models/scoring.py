"""Scoring rows and answers that are given, in as many parts as memory asks for.

What is predicted is the memory of logits and, for answers, of the cache: the keys and values of a
prompt are copied once for each of its answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from autottt.adapters.models.base import Score, TokenSequence
from autottt.adapters.models.decoding import score_answers
from autottt.adapters.models.fused import FusedLlama
from autottt.adapters.models.memory import cache_bytes
from autottt.adapters.models.tokens import chunks

if TYPE_CHECKING:
    from autottt.adapters.models.huggingface import HuggingFaceModel

BATCH_TOKENS = 16_384  # of one scoring forward
PROMPTS = 8  # whose answers are scored in one go, at most
LOGIT_BYTES = 14  # of one while something is scored: in bf16, and thrice in fp32
Answers = Sequence[Sequence[Sequence[int]]]  # of each prompt some, as tokens


def rows_scored(
    owner: HuggingFaceModel, sequences: Sequence[TokenSequence], fused: FusedLlama | None
) -> Iterator[Score]:
    """See `base.LanguageModel.score`; by `fused`, where there is one."""
    places = int(owner.room() // (owner.vocabulary * LOGIT_BYTES))
    for part in chunks(sequences, BATCH_TOKENS, places):
        yield from _scored(owner, part, fused)


def _scored(
    owner: HuggingFaceModel, sequences: Sequence[TokenSequence], fused: FusedLlama | None
) -> Iterator[Score]:
    ids, mask, targets = owner.pad(sequences)
    chosen = nn.functional.pad(targets[:, 1:] >= 0, (0, 1))  # (B, T) what a target follows
    with owner.autocast():
        if fused is not None and chosen.any():
            logits = fused.logits(ids, chosen)  # (N, V)
        else:
            columns = chosen.any(0).nonzero()[:, 0].cpu()  # places where some row has a target
            logits = owner.forward(ids, mask, sequences, logits_to_keep=columns).logits
            logits = logits[chosen[:, columns]]  # (N, V)
    counts = chosen.sum(1).tolist()
    wanted = targets[:, 1:][chosen[:, :-1]]  # (N,)
    for own, targeted in zip(torch.split(logits, counts), torch.split(wanted, counts)):
        scores = own.float().log_softmax(-1)  # (n, V)
        values = scores.gather(1, targeted[:, None])[:, 0]
        yield Score(
            log_probabilities=tuple(values.tolist()),
            exact=bool((scores.argmax(-1) == targeted).all()),
        )


def answers_scored(
    owner: HuggingFaceModel, prompts: Sequence[Sequence[int]], answers: Answers
) -> list[list[float]]:
    """See `base.LanguageModel.score_answers`; of as many prompts in one go as memory holds.

    Where it does not hold all answers of one, these are scored in parts, each after a reading.
    """
    if owner.grouped:  # groups of rows stay together
        return score_answers(owner, prompts, answers) if prompts else []
    fitting = _fitting(owner, prompts, answers)
    size = min(PROMPTS, max(1, fitting // max([1, *map(len, answers)])))
    if owner.prefix is not None and owner.slides:  # padding would stand after the prefix
        size = 1
    found: list[list[float]] = []
    for begin in range(0, len(prompts), size):
        some, of = prompts[begin : begin + size], answers[begin : begin + size]
        if size == 1:
            parts = [of[0][i : i + fitting] for i in range(0, len(of[0]), fitting)]
            found.append([x for part in parts for x in score_answers(owner, some, [part])[0]])
        else:
            found += score_answers(owner, some, of)
    return found


def _fitting(owner: HuggingFaceModel, prompts: Sequence[Sequence[int]], answers: Answers) -> int:
    """How many answers are scored in one go, at least one, by what the longest of them takes."""
    longest = max((len(answer) for some in answers for answer in some), default=0)
    read = max(map(len, prompts), default=0) + longest
    # twice while rows are copied
    cache = 2 * read * cache_bytes(owner.module.config.get_text_config())
    each = longest * owner.vocabulary * LOGIT_BYTES + cache
    return max(1, int(owner.room() // max(1, each)))

"""Text becomes the tokens that its tokenizer makes of it, and rows of them become tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.models.base import TokenSequence
from autottt.adapters.models.byte_level import build_byte_tokenizer
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.tokens import Tokens, chunks, padded
from autottt.errors import ContextLengthError

TOKENIZER = build_byte_tokenizer(512)
TOKENS = Tokens(TOKENIZER)


@given(st.text())
def test_asking_directly_gives_what_the_tokenizer_gives(text: str) -> None:
    """Whatever the text."""
    assert TOKENS._direct is not None
    asked = TOKENIZER(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert TOKENS._ids(text) == asked


def test_a_tokenizer_that_was_set_to_truncate_is_asked_the_long_way() -> None:
    """Someone else's setting of the part that is shared cuts nothing."""
    tokenizer = build_byte_tokenizer(512)
    tokens = Tokens(tokenizer)
    tokenizer("0123456789", truncation=True, max_length=4)
    assert tokenizer.backend_tokenizer.truncation is not None
    assert len(tokens.encode("0123456789", False, False)) == 10


def test_control_tokens_are_read_as_ever_whatever_was_asked_before() -> None:
    """A setting that the tokenizer undoes at its next call does not outlast it here."""
    tokenizer = build_byte_tokenizer(512)
    tokens = Tokens(tokenizer)
    name = tokenizer.eos_token
    usual = tokens._ids(name)
    tokenizer(name, split_special_tokens=True)
    assert tokenizer.backend_tokenizer.encode_special_tokens
    assert tokens._ids(name) == usual == [tokenizer.eos_token_id]


def test_a_vocabulary_that_lacks_characters_is_asked_the_long_way() -> None:
    """What it cannot encode is an error where it is asked for, not where the model is loaded."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"x": 0, "0": 1}, unk_token="none"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made: Any = PreTrainedTokenizerFast
    tokens = Tokens(made(tokenizer_object=words))
    assert tokens._direct is None


@given(
    st.lists(st.lists(st.integers(0, 99), max_size=5), min_size=1, max_size=4),
    st.integers(5, 7),
    st.booleans(),
)
def test_rows_are_filled_up_on_one_side(rows: list[list[int]], length: int, left: bool) -> None:
    """Every row is there whole, at the end or at the beginning, and the rest is the value."""
    found = padded(rows, -1, length, left=left).tolist()
    gaps = [[-1] * (length - len(row)) for row in rows]
    whole = [gap + row if left else row + gap for row, gap in zip(rows, gaps, strict=True)]
    assert found == whole


def test_what_does_not_fit_the_context_is_refused(embedded: HuggingFaceModel) -> None:
    """And what fits is padded, masked, and asked for where it is a target."""
    two = [TokenSequence((5, 6, 7), (False, True, True)), TokenSequence((8,), (False,))]
    ids, mask, targets = embedded.pad(two)
    assert ids.tolist() == [[5, 6, 7], [8, embedded.pad_id, embedded.pad_id]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert targets.tolist() == [[-100, 6, 7], [-100] * 3]
    assert all(t.dtype == torch.long for t in (ids, mask, targets))
    with pytest.raises(ContextLengthError):
        embedded.pad([TokenSequence((0,) * 2049, (False,) * 2049)])


@given(st.lists(st.integers(1, 6), max_size=12), st.integers(1, 20))
def test_chunks_are_within_the_size_and_leave_nothing_out(lengths: list[int], most: int) -> None:
    """In order, and a sequence that is too long alone stands alone."""
    sequences = [TokenSequence((n,) * n, (False,) * n) for n in lengths]
    found = list(chunks(sequences, most))
    assert [s for chunk in found for s in chunk] == sequences
    for chunk in found:
        assert len(chunk) == 1 or max(len(s.ids) for s in chunk) * len(chunk) <= most


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), max_size=9), st.integers(1, 12))
def test_chunks_are_within_the_places_of_targets(masks: list[list[bool]], places: int) -> None:
    """A chunk has no more of them, over all columns with a target, unless it is one sequence."""
    sequences = [TokenSequence((0,) * len(mask), tuple(mask)) for mask in masks]
    found = list(chunks(sequences, 1000, places))
    assert [s for chunk in found for s in chunk] == sequences
    for chunk in found:
        columns = {i for s in chunk for i, target in enumerate(s.is_target) if target}
        assert len(chunk) == 1 or len(columns) * len(chunk) <= places

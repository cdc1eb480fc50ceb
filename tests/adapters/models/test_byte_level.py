"""The embedded model's tokenizer."""

from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.models.byte_level import BOS, EOS, PAD, build_byte_tokenizer

TOKENIZER = build_byte_tokenizer(128)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_ids_are_the_bytes_of_the_text(text: str) -> None:
    """Token i is byte i, for any text without special tokens, and decoding gives the text back."""
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert ids == list(text.encode())
    assert TOKENIZER.decode(ids) == text


def test_special_tokens_lie_above_the_bytes() -> None:
    """BOS, EOS and PAD have the ids that the batches use."""
    assert (TOKENIZER.bos_token_id, TOKENIZER.eos_token_id, TOKENIZER.pad_token_id) == (
        BOS,
        EOS,
        PAD,
    )

"""The byte-level vocabulary of the embedded model: token i is byte i, so any text is a prompt.

The tokenizer is an ordinary `PreTrainedTokenizerFast`, saved beside the weights and loaded through
`AutoTokenizer` like any other; this module only builds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD = 256, 257, 258
VOCABULARY = 264  # padded to a multiple of eight for the matrix kernels


def build_byte_tokenizer(context: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer with one token per byte and ids equal to the byte values."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {char: byte for byte, char in _byte_characters().items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<bos>", "<eos>", "<pad>"])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def _byte_characters() -> dict[int, str]:
    """The printable character by which byte-level tokenizers write each byte (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in table]
    table.update({byte: chr(256 + place) for place, byte in enumerate(others)})
    return table

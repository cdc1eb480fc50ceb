"""Small models of real architectures with random weights and tokenizers trained here, on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
)

CORPUS = [
    "Input: the cat sat. Output: 0123456789 True False (A) (B) (C) (D)",
    "Sort the following words: apple banana cherry. [ { ( < > ) } ]",
    "user assistant system instruction naïve façade 東京 12 34 56 78 90 100 200",
] * 20
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
INST = (  # a system message goes into the first turn; contents are trimmed
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}<<SYS>>{{ m.content }}"
    "<</SYS>>{% elif m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]{% else %} "
    "{{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
TURNS = (  # no system message, as in Gemma 2
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def byte_level() -> Tokenizer:
    """Byte-level BPE that may merge digits, without BOS, as GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


def split_digits() -> Tokenizer:
    """Byte-level BPE with a token for each digit, as Qwen's."""
    tokenizer = byte_level()
    fresh = Tokenizer(models.BPE())
    fresh.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    fresh.decoder = tokenizer.decoder
    fresh.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return fresh


def sentence_piece() -> Tokenizer:
    """BPE over words that begin with a mark, with byte fallback and BOS, as Llama 2's."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=700, special_tokens=[*SPECIAL, *fallback], show_progress=False
        ),
    )
    tokenizer = _without_special(tokenizer, fallback)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    begin = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", begin)]
    )
    return tokenizer


def unigram() -> Tokenizer:
    """A unigram model with byte fallback and BOS, as Gemma's: no space is put before text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=600,
            special_tokens=[*SPECIAL, *fallback],
            unk_token="<unk>",
            show_progress=False,
        ),
    )
    tokenizer = _without_special(tokenizer, fallback)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    begin = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", begin)]
    )
    return tokenizer


def _without_special(tokenizer: Tokenizer, names: list[str]) -> Tokenizer:
    """The same vocabulary, in which those names are ordinary tokens for bytes."""
    import json

    plain = json.loads(tokenizer.to_str())
    plain["added_tokens"] = [t for t in plain["added_tokens"] if t["content"] not in names]
    if plain["model"]["type"] == "Unigram":
        plain["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(plain))


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": byte_level,
    "split-digits": split_digits,
    "sentence-piece": sentence_piece,
    "unigram": unigram,
}

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}
GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
# architecture -> its settings, a tokenizer, a chat template, whether there is a token for padding
ZOO: dict[str, tuple[dict[str, Any], str, str | None, bool]] = {
    "llama": (SMALL, "sentence-piece", INST, False),
    "qwen2": (SMALL, "split-digits", CHATML, True),
    "qwen3": (SMALL, "split-digits", CHATML, False),
    "mistral": ({**SMALL, "sliding_window": 48}, "sentence-piece", INST, False),
    "gemma2": ({**SMALL, "sliding_window": 64}, "unigram", TURNS, True),
    "phi": (SMALL, "byte-level", None, False),
    "phi3": ({**SMALL, "pad_token_id": 0}, "sentence-piece", None, True),
    "gpt2": (
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
        "byte-level",
        None,
        False,
    ),
    "gpt_neox": (SMALL, "byte-level", None, False),
    "mixtral": ({**SMALL, **EXPERTS}, "sentence-piece", INST, False),
}


OTHERS: dict[str, tuple[dict[str, Any], str, str | None, bool]] = {
    "opt": (
        {
            "hidden_size": 32,
            "word_embed_proj_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 48,
            "max_position_embeddings": 512,
        },
        "byte-level",
        None,
        False,
    ),
}
# attention by slots, which padding changes where it stands between tokens
BY_SLOT: dict[str, tuple[dict[str, Any], str, str | None, bool]] = {
    "gpt_neo": (
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 32,
            "max_position_embeddings": 512,
            "initializer_range": 0.3,
        },
        "byte-level",
        None,
        False,
    ),
    "mpt": (
        {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512, "initializer_range": 0.3},
        "byte-level",
        None,
        False,
    ),
}
REFUSED: dict[str, tuple[dict[str, Any], str, str | None, bool]] = {
    "mamba": (
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
        "byte-level",
        None,
        True,
    ),
    "bert": (
        {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        },
        "byte-level",
        None,
        True,
    ),
}


def save(kind: str, folder: Path, **changes: Any) -> Path:
    """A model of that architecture with its tokenizer in `folder`."""
    settings, name, template, padded = {**ZOO, **OTHERS, **BY_SLOT, **REFUSED}[kind]
    settings = {**settings, **changes}
    raw = TOKENIZERS[name]()
    if template is CHATML:
        raw.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="<|im_end|>" if template is CHATML else "</s>",
        unk_token="<unk>",
        pad_token="<unk>" if padded else None,
        model_max_length=512,
    )
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **settings)
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    return folder

"""What a model's config and size say of how it is to be read and trained."""

from __future__ import annotations

import math
from typing import Any

LENGTHS = ("max_position_embeddings", "max_seq_len", "n_positions", "seq_length")  # in configs


def context_of(text: Any) -> int:
    """How many tokens a model reads, by the config of its text part; no limit where it has none."""
    lengths = (getattr(text, name, None) for name in LENGTHS)
    return next((int(length) for length in lengths if length), 2**31 - 1)


def rate_scale(parameters: int) -> float:
    """What a learning rate found on the embedded model is multiplied by for one of that size.

    1 up to ten million parameters and 0.2 from 500 million on, where it makes the rate of `ttt`
    that of published recipes, 1e-4 (Akyürek et al., 2025; the ARChitects, 2024), and that of
    `ttt-light` 2e-4; a power law between.
    """
    small, large = 10e6, 500e6
    share = math.log(min(max(parameters, small), large) / small) / math.log(large / small)
    return float(0.2**share)


def window_of(text: Any) -> int:
    """Up to how many slots padding before a token changes nothing where attention slides."""
    names = ("sliding_window", "attention_chunk_size", "window_size")
    return min((int(size) for name in names if (size := getattr(text, name, None))), default=0)


def generation_ends(module: Any) -> set[int]:
    """The tokens that the model's own generation settings end an answer with."""
    ends = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    return set(ends if isinstance(ends, list) else [] if ends is None else [ends])

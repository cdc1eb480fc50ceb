"""Memory: what a step will need, what there is, what was used at most; and failures of devices."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch

from autottt.errors import LostModelError, StrategyError

T = TypeVar("T")
SHARE = 0.8  # of the memory that is free, for one step
BYTES = 2  # of a bf16 value
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def step_bytes(config: Any, rows: int, length: int, *, lean: bool, attention: bool) -> int:
    """What one training step keeps for its backward pass, an estimate from above, in bytes.

    Per layer about twenty vectors of the hidden width, twelve where little else than the products
    is kept (`lean`, see `fused_beside`), and five of the inner width a token; the weights of
    attention three times over, where the kernel keeps them; then the logits with their gradient, in
    fp32.
    """
    vectors = 12 if lean else 20
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    tokens = rows * length
    per_layer = tokens * (vectors * hidden + 5 * inner) * BYTES
    weights = 3 * rows * int(config.num_attention_heads) * length**2 * BYTES if attention else 0
    return layers * (per_layer + weights) + tokens * int(config.vocab_size) * 10


def cache_bytes(config: Any) -> int:
    """What the key-value cache keeps of one token, in bytes."""
    heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers) * heads * int(width) * BYTES


def free_bytes(device: str) -> int:
    """Memory that is free on the device now."""
    if device.startswith("cuda"):
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept  # torch keeps freed blocks for itself
    import psutil

    return int(psutil.virtual_memory().available)


def peak_bytes(device: str) -> int:
    """The most memory in use so far: of torch on a GPU, of the whole process on a CPU."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@cache
def keep_freed() -> None:
    """Let this process keep up to 256 MiB of what it frees, where its C library is glibc.

    A training step frees what it took and the next one takes it again; given back to the system in
    between, every page of it is fetched and cleared anew. What the environment says about it holds.
    """
    said = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None or any(name in os.environ for name in said):
        return
    set_option(MMAP_THRESHOLD, 32 * 2**20)  # the most that glibc takes
    set_option(TRIM_THRESHOLD, 2**28)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def is_lost(error: BaseException) -> bool:
    """Whether this process can use its model no more: the weights or the device are gone."""
    return isinstance(error, LostModelError | torch.AcceleratorError)


def within_memory(call: Callable[[], T], what: str) -> T:
    """What the call gives. Raises `StrategyError` where memory runs out, with all it held freed."""
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    raise StrategyError(f"{what} ran out of memory; a smaller model or a shorter task needs less")

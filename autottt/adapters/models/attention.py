"""Which kernel computes attention: one token at a time on a CPU, and any length on a GPU.

torch's fused attention has no path of its own for a single query in bf16 on a CPU: over eight rows
of 300 tokens it takes several times as long as two plain products in fp32, conversions included,
and is then most of what an answer costs. Everything else is left to transformers' `sdpa`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

NAME = "autottt_sdpa"
# Those whose attention asks for nothing but its kernel; others compare its name to choose a mask.
KNOWN = ("llama", "qwen2", "qwen3", "mistral", "mixtral", "phi", "phi3", "gpt2", "gpt_neox")
OTHER = ("position_bias", "softcap", "cache")  # what `sdpa` may be given besides


def attend_on_cpu(module: Any) -> None:
    """Let a known model on a CPU that was loaded with `sdpa` write its tokens by `attend_one`."""
    config = module.config
    if module.device.type != "cpu" or config.model_type not in KNOWN:
        return
    if config._attn_implementation != "sdpa":
        return
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    module.set_attn_implementation(NAME)


def any_length(kind: str) -> AbstractContextManager[Any]:
    """On a GPU without cuDNN's attention.

    It plans anew for every shape, which takes longer than the attention, and here every token that
    is written and every task that is trained on is another shape.
    """
    if kind != "cuda":
        return nullcontext()
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(kernels)


def attend_one(
    q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None, scale: float = 1.0
) -> Tensor:
    """What one query (B, H, 1, D), times scale, sees of (B, G, T, D): (B, 1, H, D).

    G divides H, and `bias` (B, 1, 1, T) is added to the scores. Computed in fp32, autocast or not.
    """
    rows, heads, _, size = q.shape
    with torch.autocast("cpu", enabled=False):
        grouped = q.reshape(rows, keys.shape[1], -1, size).float() * scale  # (B, G, H / G, D)
        scores = grouped @ keys.float().mT
        if bias is not None:
            scores += bias
        found = scores.softmax(-1) @ values.float()
    return found.to(q.dtype).view(rows, 1, heads, -1)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """As transformers' `sdpa_attention_forward`: query (B, H, Q, D), the rest as in `attend_one`.

    Returns (B, Q, H, D). A single query is computed here where nothing is trained.
    """
    usual = attention_mask is None or attention_mask.shape[1] == 1  # the same for every head
    usual &= all(kwargs.get(name) is None for name in OTHER)
    if query.shape[2] != 1 or torch.is_grad_enabled() or not usual:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return found
    bias = attention_mask
    if bias is not None and bias.dtype == torch.bool:
        bias = torch.zeros_like(bias, dtype=torch.float32).masked_fill(~bias, -torch.inf)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend_one(query, key, value, bias, scale), None

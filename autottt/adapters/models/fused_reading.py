"""Reading prompts and writing answers with a small Llama on a CPU, a layer being plain products.

What a token takes is then mostly its products and the keys and values it looks at: torch's fused
attention has no path of its own for a single query in bf16 on a CPU, and a layer of a general
library does several times as many small operations. Padding may stand at the beginning of a row
only. The results are those of transformers' layers, up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autottt.adapters.models.fused import (
    BLOCK,
    computed_as,
    is_plain,
    projections,
    turned,
    weights_of,
)

SMALL = 50e6  # parameters up to which weights are copied for every batch of prompts
HIDDEN = -1e30  # added to a score; finite, for rows of padding that see nothing


class FusedReader:
    """Logits of the tokens that follow, with what was read kept in a cache of transformers."""

    def __init__(self, module: Any) -> None:
        """Takes the weights as they are now, with the LoRA that is on them."""
        self._module = module
        self._like = like = computed_as(module)
        size = module.config.head_dim
        self._layers = [_weights(layer, size, like) for layer in module.model.layers]

    def __call__(
        self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any, *, last: bool
    ) -> Tensor:
        """Logits (B, T, V) after ids (B, T), or (B, 1, V) of the last alone.

        `mask` (B, S + T) says which of the S tokens in the cache and of these there are.
        """
        model = self._module.model
        x = model.embed_tokens(ids).to(self._like.dtype)  # (B, T, d)
        cos, sin = (table[:, None] for table in model.rotary_emb(x, positions))  # (B, 1, T, size)
        hidden = None if mask.all() else (mask == 0)[:, None, None] * HIDDEN  # (B, 1, 1, S + T)
        with torch.autocast("cpu", enabled=False):
            for i, (norm1, w1, wo, norm2, w2, wd) in enumerate(self._layers):
                both = self._normed(x, norm1) @ w1
                q, keys, values = self._heads(both, cos, sin, cache.layers[i])
                if last and i == len(self._layers) - 1:
                    q, x = q[:, :, -1:], x[:, -1:]
                attend = _attend_one if q.shape[2] == 1 else _attend_many
                x = x + attend(q, keys, values, hidden) @ wo
                gate, up = (self._normed(x, norm2) @ w2).chunk(2, dim=-1)
                x = x + (nn.functional.silu(gate) * up) @ wd
        logits: Tensor = self._module.lm_head(model.norm(x))
        return logits

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        eps: float = self._module.config.rms_norm_eps
        return nn.functional.rms_norm(x, x.shape[-1:], weight, eps)

    def _heads(
        self, both: Tensor, cos: Tensor, sin: Tensor, layer: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, size) of these tokens, and keys and values of all up to them."""
        config = self._module.config
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        every = both.view(*both.shape[:2], heads + 2 * groups, -1).transpose(1, 2)
        qk, v = every[:, : heads + groups], every[:, heads + groups :]
        qk = turned(qk, cos, sin)
        keys, values = layer.update(qk[:, heads:], v)
        return qk[:, :heads], keys, values


def can_read(module: Any) -> bool:
    """Whether prompts of this model can be read that way."""
    return is_plain(module) and sum(p.numel() for p in module.parameters()) <= SMALL


def _weights(layer: Any, size: int, like: Tensor) -> list[Tensor]:
    """The weights of each norm and the two matrices (in, out) that follow it."""
    wq, wk, wv, wo, wg, wu, wd = (weights_of(linear, like)[0] for linear in projections(layer))
    norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
    norm1, norm2 = (norm.to(like.dtype) for norm in norms)
    w1 = torch.cat([wq * size**-0.5, wk, wv])  # the scale of attention is in the queries
    return [norm1, w1.T, wo.T, norm2, torch.cat([wg, wu]).T, wd.T]


def _attend_one(q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None) -> Tensor:
    """What the last token (B, H, 1, size) sees of all: (B, 1, H * size)."""
    rows, heads, _, size = q.shape
    q = q.reshape(rows, keys.shape[1], -1, size).float()  # (B, groups, H / groups, size)
    scores = q @ keys.float().mT
    if hidden is not None:
        scores += hidden
    found = (scores.softmax(-1) @ values.float()).view(rows, 1, heads * size)
    return found.to(keys.dtype)


def _attend_many(q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None) -> Tensor:
    """What each of the last T tokens (B, H, T, size) sees of those up to it: (B, T, H * size)."""
    rows, heads, length, size = q.shape
    before = keys.shape[2] - length
    times = heads // keys.shape[1]
    if times > 1:
        keys, values = keys.repeat_interleave(times, 1), values.repeat_interleave(times, 1)
    q, keys, values = (t.flatten(0, 1) for t in (q, keys, values))  # (B * H, ..., size)
    out = q.new_empty(rows, length, heads, size)
    for begin in range(0, length, BLOCK):
        end = min(begin + BLOCK, length)
        scores = torch.bmm(q[:, begin:end], keys[:, : before + end].mT)
        above = torch.full((end - begin, end - begin), HIDDEN, dtype=q.dtype).triu_(1)
        scores[:, :, before + begin :] += above
        if hidden is not None:
            scores.view(rows, heads, end - begin, -1).add_(hidden[..., : before + end])
        found = torch.bmm(scores.softmax(-1), values[:, : before + end])
        out[:, begin:end] = found.view(rows, heads, -1, size).transpose(1, 2)
    return out.flatten(2)

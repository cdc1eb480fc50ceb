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

from autottt.adapters.models.attention import attend_one
from autottt.adapters.models.fused import FusedLlama, computed_as, is_plain, lora_on
from autottt.adapters.models.kernels import gated, normed, turned
from autottt.adapters.models.lora_layers import LoraLinear
from autottt.adapters.models.merged import projections

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
        (rows, length), eps = ids.shape, self._module.config.rms_norm_eps
        x = model.embed_tokens(ids).to(self._like.dtype)  # (B, T, d)
        cos, sin = (table[:, None] for table in model.rotary_emb(x, positions))  # (B, 1, T, size)
        hidden = None if mask.all() else (mask == 0)[:, None, None] * HIDDEN  # (B, 1, 1, S + T)
        x = x.flatten(0, 1)  # (M, d), M = B * T
        with torch.autocast("cpu", enabled=False):
            for i, (norm1, w1, wo, norm2, w2, wd) in enumerate(self._layers):
                both = (normed(x, eps)[0] * norm1 @ w1).view(rows, length, -1)
                q, keys, values = self._heads(both, cos, sin, cache.layers[i])
                if last and i == len(self._layers) - 1:
                    q, x = q[:, :, -1:], x.view(rows, length, -1)[:, -1]
                attend = attend_one if q.shape[2] == 1 else _attend_many
                x = torch.addmm(x, attend(q, keys, values, hidden).reshape(len(x), -1), wo)
                x = torch.addmm(x, gated(normed(x, eps)[0] * norm2 @ w2), wd)
        logits: Tensor = self._module.lm_head(model.norm(x).view(rows, -1, x.shape[-1]))
        return logits

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


def scorer(module: Any) -> FusedLlama | None:
    """The faster way to score whole rows, where there is one."""
    head = type(module.get_output_embeddings()) is nn.Linear  # and not one with a bias
    return FusedLlama(module) if head and can_read(module) and len(lora_on(module)) == 1 else None


def _weights(layer: Any, size: int, like: Tensor) -> list[Tensor]:
    """The weights of each norm and the two matrices (in, out) that follow it."""
    wq, wk, wv, wo, wg, wu, wd = (_weight(linear, like) for linear in projections(layer))
    norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
    norm1, norm2 = (norm.to(like.dtype) for norm in norms)
    w1 = torch.cat([wq * size**-0.5, wk, wv])  # the scale of attention is in the queries
    return [norm1, w1.T, wo.T, norm2, torch.cat([wg, wu]).T, wd.T]


def _weight(linear: Any, like: Tensor) -> Tensor:
    """What stands for the layer in a product with inputs like that: (out, in)."""
    if isinstance(linear, LoraLinear):
        return linear.adapted(like)[0]
    weight: Tensor = linear.weight
    return weight.to(like.dtype)


def _attend_many(q: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None) -> Tensor:
    """What each of the last T tokens (B, H, T, size) sees of those up to it: (B, T, H, size)."""
    length, all_of_them = q.shape[2], keys.shape[2]
    bias = torch.full((length, all_of_them), HIDDEN).triu_(1 + all_of_them - length)
    if hidden is not None:
        bias = bias + hidden
    found = nn.functional.scaled_dot_product_attention(
        q, keys, values, bias.to(q.dtype), scale=1.0, enable_gqa=q.shape[1] != keys.shape[1]
    )
    return found.transpose(1, 2)

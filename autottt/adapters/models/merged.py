"""The weights of a small Llama's products, with the LoRAs added: a few products for all layers.

What stands before a product is part of its weight: the scale of attention, and the weight of the
norm that its input has gone through. Layers of one kind are computed together, as each is small.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from autottt.adapters.models.lora_layers import LoraLinear

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LayerWeights(NamedTuple):
    """Of one layer and task, (out, in) each."""

    attention: Tensor  # queries, keys and values
    output: Tensor
    gates: Tensor  # gate and up
    down: Tensor


class Merged:
    """The weights of a Llama as they are now; what its LoRAs then are is added at each call.

    Either all of its linear layers have a LoRA or none has (`fused.lora_on`).
    """

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        layers = module.model.layers
        self.dtype = dtype
        self._linears: list[list[Any]] = [list(kind) for kind in zip(*map(projections, layers))]
        first, second = (
            torch.stack([getattr(layer, name).weight.detach().float() for layer in layers])[:, None]
            for name in ("input_layernorm", "post_attention_layernorm")
        )  # (L, 1, d) each
        self._before = [first] * 3 + [None] + [second] * 2 + [None]
        self._factors = [int(module.config.head_dim) ** -0.5] + [1.0] * 6
        self._base = [
            _times(torch.stack([_plain(linear) for linear in linears]) * factor, norm).to(dtype)
            for linears, norm, factor in zip(self._linears, self._before, self._factors)
        ]

    def weights(self) -> list[list[LayerWeights]]:
        """Of each layer, of each task that is selected (one where there is no LoRA)."""
        q, k, v, o, g, u, d = (self._kind(kind) for kind in range(len(PROJECTIONS)))
        stacks = torch.cat([q, k, v], dim=1), o, torch.cat([g, u], dim=1), d
        each = zip(*(stack.unbind() for stack in stacks), strict=True)
        every = [LayerWeights(*weights) for weights in each]
        count = len(every) // len(self._base[0])
        return [every[i : i + count] for i in range(0, len(every), count)]

    def _kind(self, kind: int) -> Tensor:
        """(L * tasks, out, in) of one projection of all layers."""
        base, linears = self._base[kind], self._linears[kind]
        if not isinstance(linears[0], LoraLinear):
            return base
        a = torch.stack([linear.lora_a for linear in linears])  # (L, K, r, in)
        b = torch.stack([linear.lora_b for linear in linears])
        if (selected := linears[0].selected) is not None:
            a, b = a[:, selected], b[:, selected]
        a = _times(a.transpose(0, 1), self._before[kind]).transpose(0, 1)
        b = b * (linears[0].scale * self._factors[kind])
        a, b = (matrix.flatten(0, 1).to(self.dtype) for matrix in (a, b))
        if len(a) > len(base):
            base = base.repeat_interleave(len(a) // len(base), 0)
        return torch.baddbmm(base, b, a)


def projections(layer: Any) -> list[nn.Module]:
    """The seven linear layers of a decoder layer, in the order of `PROJECTIONS`."""
    parts = (layer.self_attn,) * 4 + (layer.mlp,) * 3
    return [getattr(part, name) for part, name in zip(parts, PROJECTIONS, strict=True)]


def _plain(linear: Any) -> Tensor:
    base = linear.base if isinstance(linear, LoraLinear) else linear
    return cast(Tensor, base.weight).detach().float()


def _times(weights: Tensor, norm: Tensor | None) -> Tensor:
    return weights if norm is None else weights * norm

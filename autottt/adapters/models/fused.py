"""Training steps and scores of a small Llama on a CPU, with a decoder layer as one function.

A LoRA as wide as the layer it sits on is added to the weight (see `lora_layers`), so a layer is
plain products, and its backward pass can be written out. That saves what a general library has to
do between the products: the weights of all layers are made together (`merged`), the projections
that read the same input are one product, what is between products goes over memory once
(`kernels`), blocks of attention above the diagonal are not computed, a residual is added by the
product before it, and the last layer goes on only where there is a target. Padding may stand at the
end of a row only. The results are those of transformers' layers, up to rounding. `fused_beside` is
for LoRAs that are not as wide and for GPUs, `fused_reading` for prompts and answers with a
key-value cache; all else is left to transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from autottt.adapters.models.fingerprint import is_split
from autottt.adapters.models.kernels import (
    causal,
    causal_back,
    gated,
    gated_back,
    heads,
    heads_back,
    normed,
    normed_back,
)
from autottt.adapters.models.lora_layers import LoraLinear
from autottt.adapters.models.merged import LayerWeights, Merged, projections

BLOCK = 128  # rows of attention computed together, about
COLUMNS = 32  # their columns are a multiple of it, which the machine's vectors are made for


@dataclass(frozen=True)
class _Shape:
    """Of one layer's rows: B rows of T tokens, the heads, and the tables that turn them.

    `keep` (N,) are the places among B * T that the layer goes on with after attention; None is all.
    """

    rows: int
    length: int
    heads: int
    kv_heads: int
    size: int  # of a head
    eps: float
    cos: Tensor  # (T, size)
    sin: Tensor  # (T, size)
    trained: bool  # whether there will be a backward pass
    keep: Tensor | None = None

    @property
    def room(self) -> int:
        """T, up to a multiple of `COLUMNS`."""
        return -(-self.length // COLUMNS) * COLUMNS

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """Where each block of rows of attention begins, and where it and what it sees end."""
        count = max(1, round(self.length / BLOCK))
        inner = [round(self.length * i / count / COLUMNS) * COLUMNS for i in range(1, count)]
        return list(pairwise(sorted({0, *inner, self.room})))


class FusedLlama:
    """The forward of a Llama whose linear layers are plain or have a LoRA added to them."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._merged: Merged | None = None

    def logits(self, ids: Tensor, chosen: Tensor) -> Tensor:
        """Logits (N, V) of the tokens after the N `chosen` places (B, T) of `ids` (B, T), N > 0.

        The rows are equal groups, one for each selected task. Each is computed by itself, as if it
        were alone: on a CPU, products of one task leave nothing to gain from those of others.
        """
        embedded, dtype = self._module.model.embed_tokens, computed_as(self._module).dtype
        if self._merged is None or self._merged.dtype != dtype:
            self._merged = Merged(self._module, dtype)
        weights = self._merged.weights()
        groups = len(weights[0])
        found = []
        for place, (own, marked) in enumerate(zip(ids.chunk(groups), chosen.chunk(groups))):
            if not marked.any():
                continue  # nothing of this task is asked for
            wanted = marked.any(1)
            length = int(marked.any(0).nonzero()[-1]) + 1
            x = embedded(own[wanted, :length]).to(dtype)  # (B, T, d)
            of_task = [layer[place] for layer in weights]
            found.append(self._logits(x, marked[wanted, :length], of_task))
        return torch.cat(found)

    def _logits(self, x: Tensor, chosen: Tensor, weights: Sequence[LayerWeights]) -> Tensor:
        model, config = self._module.model, self._module.config
        rows, length = chosen.shape
        places = torch.arange(length, device=x.device)[None]
        tables = model.rotary_emb(x.new_empty(0, dtype=torch.float32), places)  # (1, T, size) each
        cos, sin = (table[0] for table in tables)
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        size, eps, trained = len(cos[0]), config.rms_norm_eps, torch.is_grad_enabled()
        shape = _Shape(rows, length, heads, kv_heads, size, eps, cos, sin, trained)
        x = x.flatten(0, 1)  # (M, d)
        for own in weights:
            if own is weights[-1]:
                shape = replace(shape, keep=chosen.flatten().nonzero()[:, 0])
            x = _Layer.apply(x, *own, shape)  # type: ignore[no-untyped-call]
        logits: Tensor = self._module.lm_head(model.norm(x))
        return logits


def is_plain(module: Any) -> bool:
    """Whether it is a Llama on a CPU whose layers are nothing but the products written out here."""
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    if type(module) is not LlamaForCausalLM or module.device.type != "cpu":
        return False
    linears = [each for layer in module.model.layers for each in projections(layer)]
    return module.config.hidden_act == "silu" and all(map(_is_plain, linears))


def fused(module: Any) -> FusedLlama | None:
    """The faster training forward of a model with a LoRA on every layer, where it has one."""
    if not is_plain(module) or module.config.attention_dropout or lora_on(module) != {True}:
        return None
    return FusedLlama(module)


def lora_on(module: Any) -> set[bool]:
    """Whether the linear layers of its decoder layers have a LoRA; both where only some do."""
    linears = [each for layer in module.model.layers for each in projections(layer)]
    return {isinstance(each, LoraLinear) for each in linears}


def computed_as(module: Any) -> Tensor:
    """An empty tensor of the type to compute in: that of autocast, or else of the weights."""
    kind = module.device.type
    if torch.is_autocast_enabled(kind):
        return torch.empty(0, dtype=torch.get_autocast_dtype(kind))
    return torch.empty(0, dtype=module.model.embed_tokens.weight.dtype)


def _is_plain(linear: nn.Module) -> bool:
    if isinstance(linear, LoraLinear):
        return linear.added and _is_plain(linear.base)
    return (
        type(linear) is nn.Linear
        and linear.bias is None
        and linear.weight.is_floating_point()
        and not is_split(linear.weight)
    )


class _Layer(torch.autograd.Function):
    """x (M, d) and `LayerWeights`, M = B * T, to the next x: (M, d), or (N, d)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, wo: Tensor, w2: Tensor, wd: Tensor, shape: _Shape
    ) -> Tensor:
        n1, r1 = normed(x, shape.eps)
        sizes = shape.rows, shape.room, shape.heads + 2 * shape.kv_heads
        every = heads(n1 @ w1.T, shape.cos, shape.sin, (*sizes, shape.heads + shape.kv_heads))
        q, k, v = _parts(every, shape)
        if shape.trained:
            weights, o = _attend(q, k, v, shape)
        else:
            weights, o = [], _attend_once(q, k, v, shape)
        if shape.keep is not None:
            o, x = o[shape.keep], x[shape.keep]
        x = torch.addmm(x, o, wo.T)
        n2, r2 = normed(x, shape.eps)
        both = n2 @ w2.T  # (M, 2 f)
        inner = gated(both)
        ctx.shape = shape
        ctx.save_for_backward(n1, r1, w1, q, k, v, o, wo, n2, r2, w2, both, inner, wd, *weights)
        return torch.addmm(x, inner, wd.T)

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Any:
        n1, r1, w1, q, k, v, o, wo, n2, r2, w2, both, inner, wd, *weights = ctx.saved_tensors
        shape, dx = ctx.shape, dx.contiguous()
        dwd = dx.T @ inner
        dboth = gated_back(dx @ wd, both)
        dw2 = dboth.T @ n2
        dx = normed_back(dboth @ w2, n2, r2, dx)
        do = dx @ wo
        dwo = dx.T @ o
        if shape.keep is not None:
            do, dx = (_spread(g, shape.keep, len(n1)) for g in (do, dx))
        dheads = _attend_back(do, q, k, v, weights, shape)
        dw1 = dheads.T @ n1
        below = normed_back(dheads @ w1, n1, r1, dx) if ctx.needs_input_grad[0] else None
        return below, dw1, dwo, dw2, dwd, None


def _spread(x: Tensor, places: Tensor, size: int) -> Tensor:
    """x (N, d) in its places among `size`, zeros elsewhere."""
    return x.new_zeros(size, x.shape[-1]).index_copy_(0, places, x)


def _parts(every: Tensor, shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (heads * B, S, size) of all heads; keys and values once a head."""
    q, k, v = torch.split(every, [shape.heads, shape.kv_heads, shape.kv_heads])
    groups = shape.heads // shape.kv_heads
    if groups > 1:
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
    return q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor, shape: _Shape) -> tuple[list[Tensor], Tensor]:
    """Causal attention: the weights of every block of rows, and the outputs (M, all)."""
    found = []
    outputs = q.new_empty(shape.rows, shape.length, shape.heads, shape.size)
    for begin, end in shape.blocks:
        found.append(causal(torch.bmm(q[:, begin:end], k[:, :end].mT), begin))
        out = torch.bmm(found[-1], v[:, :end]).view(shape.heads, shape.rows, -1, shape.size)
        into = outputs[:, begin:end]
        into.copy_(out[:, :, : into.shape[1]].permute(1, 2, 0, 3))
    return found, outputs.view(-1, shape.heads * shape.size)


def _attend_once(q: Tensor, k: Tensor, v: Tensor, shape: _Shape) -> Tensor:
    """The outputs alone, by torch's kernel, whose scores are fp32; its backward pass is slow."""
    parts = (t.view(shape.heads, shape.rows, -1, shape.size) for t in (q, k, v))
    q, k, v = (t[:, :, : shape.length].transpose(0, 1) for t in parts)
    out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
    return out.transpose(1, 2).reshape(-1, shape.heads * shape.size)


def _attend_back(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Sequence[Tensor], shape: _Shape
) -> Tensor:
    """The gradient (M, all) of what `heads` was given."""
    own = do.view(shape.rows, shape.length, shape.heads, shape.size).permute(2, 0, 1, 3)
    do = q.new_zeros(shape.heads, shape.rows, shape.room, shape.size)
    do[:, :, : shape.length] = own
    do = do.flatten(0, 1)  # (heads * B, S, size)
    every = q.new_zeros(shape.heads + 2 * shape.kv_heads, shape.rows, shape.room, shape.size)
    dq, dk, dv = _parts(every, shape)  # in its memory, where no keys are shared
    for (begin, end), p in zip(shape.blocks, weights, strict=True):
        own = do[:, begin:end]
        dv[:, :end].baddbmm_(p.mT, own)
        ds = causal_back(torch.bmm(own, v[:, :end].mT), p, begin)
        dq[:, begin:end] = torch.bmm(ds, k[:, :end])
        dk[:, :end].baddbmm_(ds.mT, q[:, begin:end])
    if shape.kv_heads < shape.heads:
        for place, of in enumerate((dk, dv)):
            into = every[shape.heads + place * shape.kv_heads :][: shape.kv_heads]
            into.copy_(of.view(shape.kv_heads, -1, *into.shape[1:]).sum(1))
    return heads_back(every, shape.cos, shape.sin, shape.heads + shape.kv_heads)

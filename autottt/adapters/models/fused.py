"""Training steps and scores of a small Llama on a CPU, with a decoder layer as one function.

A LoRA as wide as the layer it sits on is added to the weight (see `lora_layers`), so a layer is
plain products, and its backward pass can be written out. That saves what a general library has to
do between the products: the projections that read the same input are one product, the weight of a
norm and the scale of attention are part of it, blocks of attention above the diagonal are not
computed, a residual is added by the product before it, and the last layer goes on only where there
is a target. Padding may stand at the end of a row only. The results are those of transformers'
layers, up to rounding. `fused_beside` is for LoRAs that are not as wide and for GPUs,
`fused_reading` for prompts and answers with a key-value cache; all else is left to transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from autottt.adapters.models.fingerprint import is_split
from autottt.adapters.models.lora_layers import LoraLinear

BLOCK = 128  # rows of attention computed together, about
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


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


class FusedLlama:
    """The forward of a Llama whose linear layers are plain or have a LoRA added to them."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def logits(self, ids: Tensor, chosen: Tensor) -> Tensor:
        """Logits (N, V) of the tokens after the N `chosen` places (B, T) of `ids` (B, T), N > 0.

        The rows are equal groups, one for each selected task. Each is computed by itself, as if it
        were alone: on a CPU, products of one task leave nothing to gain from those of others.
        """
        embedded, like = self._module.model.embed_tokens, computed_as(self._module)
        weights = [
            [weights_of(linear, like) for linear in projections(layer)]
            for layer in self._module.model.layers
        ]
        groups = max(len(weight) for layer in weights for weight in layer)
        found = []
        for place, (own, marked) in enumerate(zip(ids.chunk(groups), chosen.chunk(groups))):
            if not marked.any():
                continue  # nothing of this task is asked for
            wanted = marked.any(1)
            length = int(marked.any(0).nonzero()[-1]) + 1
            x = embedded(own[wanted, :length]).to(like.dtype)  # (B, T, d)
            of_task = [[each[place % len(each)] for each in layer] for layer in weights]
            found.append(self._logits(x, marked[wanted, :length], of_task))
        return torch.cat(found)

    def _logits(self, x: Tensor, chosen: Tensor, weights: Sequence[Sequence[Tensor]]) -> Tensor:
        model, config = self._module.model, self._module.config
        rows, length = chosen.shape
        places = torch.arange(length, device=x.device)[None]
        cos, sin = (table[0] for table in model.rotary_emb(x, places))
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        size, eps, trained = len(cos[0]), config.rms_norm_eps, torch.is_grad_enabled()
        shape = _Shape(rows, length, heads, kv_heads, size, eps, cos, sin, trained)
        x = x.flatten(0, 1)  # (M, d)
        for layer, own in zip(model.layers, weights, strict=True):
            if layer is model.layers[-1]:
                shape = replace(shape, keep=chosen.flatten().nonzero()[:, 0])
            norms = (
                norm.weight.to(x.dtype)
                for norm in (layer.input_layernorm, layer.post_attention_layernorm)
            )
            x = _Layer.apply(x, *own, *norms, shape)  # type: ignore[no-untyped-call]
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
    if not is_plain(module) or module.config.attention_dropout:
        return None
    linears = [each for layer in module.model.layers for each in projections(layer)]
    every = all(isinstance(each, LoraLinear) for each in linears)
    return FusedLlama(module) if every else None


def computed_as(module: Any) -> Tensor:
    """An empty tensor of the type to compute in: that of autocast, or else of the weights."""
    kind = module.device.type
    if torch.is_autocast_enabled(kind):
        return torch.empty(0, dtype=torch.get_autocast_dtype(kind))
    return torch.empty(0, dtype=module.model.embed_tokens.weight.dtype)


def projections(layer: Any) -> list[nn.Module]:
    """The seven linear layers of a decoder layer, in the order of `PROJECTIONS`."""
    parts = (layer.self_attn,) * 4 + (layer.mlp,) * 3
    return [getattr(part, name) for part, name in zip(parts, PROJECTIONS, strict=True)]


def weights_of(linear: Any, like: Tensor) -> Sequence[Tensor]:
    """What stands for the layer in a product with inputs like that: (out, in) for each task."""
    if isinstance(linear, LoraLinear):
        return linear.adapted(like).unbind()
    return [linear.weight.to(like.dtype)]


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
    """x (M, d) and the seven weights (out, in), M = B * T, to the next x: (M, d), or (N, d)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        wq: Tensor,
        wk: Tensor,
        wv: Tensor,
        wo: Tensor,
        wg: Tensor,
        wu: Tensor,
        wd: Tensor,
        norm1: Tensor,
        norm2: Tensor,
        shape: _Shape,
    ) -> Tensor:
        w1 = torch.cat([wq * shape.size**-0.5, wk, wv]) * norm1
        w2 = torch.cat([wg, wu]) * norm2
        n1, r1 = normed(x, shape.eps)
        q, k, v = _heads(n1 @ w1.T, shape)  # (B * heads, T, size)
        if shape.trained:
            weights, o = _attend(q, k, v, shape)
        else:
            weights, o = [], _attend_once(q, k, v, shape)
        if shape.keep is not None:
            o, x = o[shape.keep], x[shape.keep]
        x = torch.addmm(x, o, wo.T)
        n2, r2 = normed(x, shape.eps)
        both = n2 @ w2.T  # (M, 2 f)
        gate, up = both.chunk(2, dim=-1)
        act = nn.functional.silu(gate)
        inner = act * up
        ctx.shape = shape
        ctx.save_for_backward(
            n1, r1, w1, q, k, v, o, wo, n2, r2, w2, both, act, inner, wd, norm1, norm2, *weights
        )
        return torch.addmm(x, inner, wd.T)

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Any:
        (n1, r1, w1, q, k, v, o, wo, n2, r2, w2, both, act, inner, wd, norm1, norm2, *weights) = (
            ctx.saved_tensors
        )
        shape = ctx.shape
        gate, up = both.chunk(2, dim=-1)
        dinner = dx @ wd
        dwd = dx.T @ inner
        dboth = torch.empty_like(both)
        dgate, dup = dboth.chunk(2, dim=-1)
        torch.mul(dinner, act, out=dup)
        torch.ops.aten.silu_backward.grad_input(dinner.mul_(up), gate, grad_input=dgate)
        dw2 = (dboth.T @ n2) * norm2
        dx = _normed_back(dboth @ w2, n2, r2, dx)
        do = dx @ wo
        dwo = dx.T @ o
        if shape.keep is not None:
            do, dx = (_spread(g, shape.keep, len(n1)) for g in (do, dx))
        dheads = _attend_back(do, q, k, v, weights, shape)
        dw1 = (dheads.T @ n1) * norm1
        width, kv_width = shape.heads * shape.size, shape.kv_heads * shape.size
        dwq, dwk, dwv = dw1.split([width, kv_width, kv_width])
        dwg, dwu = dw2.chunk(2)
        below = _normed_back(dheads @ w1, n1, r1, dx) if ctx.needs_input_grad[0] else None
        return below, dwq * shape.size**-0.5, dwk, dwv, dwo, dwg, dwu, dwd, None, None, None


def normed(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x over its root mean square, and one over that (..., 1) in fp32."""
    wide = x.to(torch.float32, copy=True)
    scale = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    return wide.mul_(scale).to(x.dtype), scale


def _normed_back(dn: Tensor, n: Tensor, scale: Tensor, more: Tensor) -> Tensor:
    """The gradient of the x of `normed`, and `more` added."""
    along = (dn * n).mean(-1, keepdim=True, dtype=torch.float32).to(dn.dtype)
    return torch.addcmul(more, torch.addcmul(dn, n, along, value=-1), scale.to(dn.dtype))


def _spread(x: Tensor, places: Tensor, size: int) -> Tensor:
    """x (N, d) in its places among `size`, zeros elsewhere."""
    return x.new_zeros(size, x.shape[-1]).index_copy_(0, places, x)


def _heads(both: Tensor, shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B * heads, T, size), turned by their places, from (M, all)."""
    q, k, v = _views(both, shape)
    q, k = (turned(t, shape.cos, shape.sin) for t in (q, k))
    v = v.contiguous()
    groups = shape.heads // shape.kv_heads
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    return tuple(t.flatten(0, 1) for t in (q, k, v))  # type: ignore[return-value]


def _views(both: Tensor, shape: _Shape) -> Sequence[Tensor]:
    """Queries, keys and values (B, heads, T, size) in the memory of (M, all)."""
    every = both.view(shape.rows, shape.length, -1, shape.size).transpose(1, 2)
    return torch.split(every, [shape.heads, shape.kv_heads, shape.kv_heads], dim=1)


def turned(x: Tensor, cos: Tensor, sin: Tensor, y: Tensor | None = None) -> Tensor:
    """Rotary embedding (Su et al., 2021) of x (B, heads, T, size), by tables that broadcast.

    It is written into y, where there is one.
    """
    half, y = x.shape[-1] // 2, torch.empty(x.shape, dtype=x.dtype) if y is None else y
    torch.mul(x, cos, out=y)
    y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    y[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return y


def _turned_back(dy: Tensor, shape: _Shape, out: Tensor) -> None:
    half = shape.size // 2
    torch.mul(dy, shape.cos, out=out)
    out[..., :half].addcmul_(dy[..., half:], shape.sin[:, half:])
    out[..., half:].addcmul_(dy[..., :half], shape.sin[:, :half], value=-1)


def _blocks(length: int) -> list[tuple[int, int]]:
    count = max(1, round(length / BLOCK))
    edges = [length * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def _attend(q: Tensor, k: Tensor, v: Tensor, shape: _Shape) -> tuple[list[Tensor], Tensor]:
    """Causal attention: the weights of every block of rows, and the outputs (M, all)."""
    found = []
    outputs = q.new_empty(shape.rows, shape.length, shape.heads, shape.size)
    for begin, end in _blocks(shape.length):
        scores = torch.bmm(q[:, begin:end], k[:, :end].mT)
        above = torch.full((end - begin, end - begin), -torch.inf, dtype=q.dtype).triu_(1)
        scores[:, :, begin:] += above
        found.append(scores.softmax(-1))
        out = torch.bmm(found[-1], v[:, :end])
        outputs[:, begin:end] = out.view(shape.rows, shape.heads, -1, shape.size).transpose(1, 2)
    return found, outputs.view(-1, shape.heads * shape.size)


def _attend_once(q: Tensor, k: Tensor, v: Tensor, shape: _Shape) -> Tensor:
    """The outputs alone, by torch's kernel, whose scores are fp32; its backward pass is slow."""
    q, k, v = (t.unflatten(0, (shape.rows, shape.heads)) for t in (q, k, v))  # type: ignore[no-untyped-call]
    out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
    return out.transpose(1, 2).reshape(-1, shape.heads * shape.size)


def _attend_back(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Sequence[Tensor], shape: _Shape
) -> Tensor:
    """The gradient (M, all) of what `_heads` was given."""
    sizes = shape.rows, shape.length, shape.heads, shape.size
    do = do.view(sizes).transpose(1, 2).flatten(0, 1)  # (B * heads, T, size)
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for (begin, end), p in zip(_blocks(shape.length), weights, strict=True):
        own = do[:, begin:end]
        dv[:, :end].baddbmm_(p.mT, own)
        ds = torch._softmax_backward_data(torch.bmm(own, v[:, :end].mT), p, -1, p.dtype)
        dq[:, begin:end] = torch.bmm(ds, k[:, :end])
        dk[:, :end].baddbmm_(ds.mT, q[:, begin:end])
    every = (shape.heads + 2 * shape.kv_heads) * shape.size
    dheads = q.new_empty(shape.rows * shape.length, every)
    into_q, into_k, into_v = _views(dheads, shape)
    dk, dv = (t.view(shape.rows, shape.kv_heads, -1, *t.shape[1:]) for t in (dk, dv))
    dk, dv = (t.sum(2) if t.shape[2] > 1 else t[:, :, 0] for t in (dk, dv))
    _turned_back(dq.view(shape.rows, shape.heads, shape.length, shape.size), shape, into_q)
    _turned_back(dk, shape, into_k)
    into_v.copy_(dv)
    return dheads

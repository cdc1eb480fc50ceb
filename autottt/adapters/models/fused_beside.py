"""Training steps of a Llama on a GPU, with the LoRA beside its layers and little else to do.

There the products are fast, and a third of a step of a general library goes to reading and writing
what is between them. Here layers that read the same input share one A; what a LoRA or a residual
adds is added by the product that makes it; norms are torch's fused kernel; and the last layer goes
on only where there is a target. Several tasks in one pass share every product of the base, and each
goes through its own pair. The results are those of transformers' layers, up to rounding. `fused` is
for a CPU, where the LoRA is better added to the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autottt.adapters.models.fingerprint import is_split
from autottt.adapters.models.fused import projections, turned
from autottt.adapters.models.lora_layers import LoraLinear

SHARING = ((0, 1, 2), (3,), (4, 5), (6,))  # places in `PROJECTIONS` that read the same input


class BesideLlama:
    """The forward of a Llama whose layers have a LoRA each."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def logits(self, ids: Tensor, chosen: Tensor) -> Tensor:
        """Logits (N, V) of the tokens after the N `chosen` places (B, T) of `ids` (B, T), N > 0.

        The rows are equal groups, one for each selected task.
        """
        model, config = self._module.model, self._module.config
        device, dtype = ids.device.type, _computed_as(self._module)
        chosen = chosen[:, : int(chosen.any(0).nonzero()[-1]) + 1]
        rows, length = chosen.shape
        x = model.embed_tokens(ids[:, :length]).to(dtype)  # (B, T, d)
        cos, sin = (t[0] for t in model.rotary_emb(x, torch.arange(length, device=x.device)[None]))
        wanted = chosen.flatten().nonzero()[:, 0]
        x = x.flatten(0, 1)  # (M, d), M = B * T
        alone = len(_pair(projections(model.layers[0])[0])[0]) == 1  # groups stay equal
        with torch.autocast(device, enabled=False):
            for layer in model.layers:
                keep = wanted if alone and layer is model.layers[-1] else None
                x = _layer(layer, x, (rows, length), (cos, sin), config, keep)
            x = x if len(x) == len(wanted) else x[wanted]
            found: Tensor = _normed(model.norm, x) @ self._module.lm_head.weight.to(dtype).mT
        return found


def beside(module: Any) -> BesideLlama | None:
    """The faster training forward of a model on a GPU with a LoRA on every layer, if there is."""
    return BesideLlama(module) if module.device.type == "cuda" and can_be_beside(module) else None


def can_be_beside(module: Any) -> bool:
    """Whether it is a Llama whose layers are plain and all have a LoRA, wherever it is."""
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    if type(module) is not LlamaForCausalLM or module.config.attention_dropout:
        return False
    linears = [each for layer in module.model.layers for each in projections(layer)]
    devices = {p.device for p in module.parameters()}
    usual = module.config.hidden_act == "silu" and len(devices) == 1
    return usual and all(map(_is_plain, linears)) and module.lm_head.bias is None


def _is_plain(linear: nn.Module) -> bool:
    if not isinstance(linear, LoraLinear) or type(linear.base) is not nn.Linear:
        return False
    weight = linear.base.weight
    return linear.base.bias is None and weight.is_floating_point() and not is_split(weight)


def _computed_as(module: Any) -> torch.dtype:
    kind = module.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    dtype: torch.dtype = module.model.embed_tokens.weight.dtype
    return dtype


def _layer(
    layer: Any,
    x: Tensor,
    shape: tuple[int, int],
    tables: tuple[Tensor, Tensor],
    config: Any,
    keep: Tensor | None,
) -> Tensor:
    """The next x (M, d) of (B, T) tokens, or (N, d) of the places `keep` (N,) among them.

    `tables` are the cosines and sines (T, size) that turn queries and keys.
    """
    own = projections(layer)
    together = [[own[place] for place in places] for places in SHARING]
    q, k, v = _through(together[0], _normed(layer.input_layernorm, x))
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    q, k, v = (t.view(*shape, -1, len(tables[0][0])).transpose(1, 2) for t in (q, k, v))
    q, k = (_Turn.apply(t, *tables) for t in (q, k))  # type: ignore[no-untyped-call]
    o = nn.functional.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=heads != kv_heads
    )
    o = o.transpose(1, 2).reshape(len(x), -1)  # (M, all)
    if keep is not None:
        o, x = o[keep], x[keep]
    (x,) = _through(together[1], o, x)
    gate, up = _through(together[2], _normed(layer.post_attention_layernorm, x))
    (x,) = _through(together[3], _Gated.apply(gate, up), x)  # type: ignore[no-untyped-call]
    return x


def _normed(norm: Any, x: Tensor) -> Tensor:
    return nn.functional.rms_norm(x, x.shape[-1:], norm.weight.to(x.dtype), norm.variance_epsilon)


def _pair(linear: Any) -> tuple[Tensor, Tensor]:
    """A (G, r, in) and B (G, out, r), times the scale, of the G selected tasks."""
    a, b = linear.lora_a, linear.lora_b
    if linear.selected is not None:
        a, b = a[linear.selected], b[linear.selected]
    return a, b * linear.scale


def _through(linears: Sequence[Any], x: Tensor, residual: Tensor | None = None) -> Sequence[Tensor]:
    """What layers that read the same x (M, in) make of it (M, out), with the residual added."""
    a, b = zip(*map(_pair, linears), strict=True)
    weights = [linear.base.weight.to(x.dtype) for linear in linears]
    dropout = linears[0].dropout if torch.is_grad_enabled() else 0.0
    joined = torch.cat(a, dim=1).to(x.dtype)  # (G, n r, in)
    found: Sequence[Tensor] = Beside.apply(  # type: ignore[no-untyped-call]
        x, residual, dropout, joined, *weights, *(of.to(x.dtype) for of in b)
    )
    return found


class Beside(torch.autograd.Function):
    """x (M, in), a residual (M, out) or None, A (G, n r, in), n weights (out, in), n B (G, out, r).

    Gives n outputs (M, out). The layers share the dropout before A.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, dropout: float, a: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        n = len(rest) // 2
        weights, b = rest[:n], rest[n:]
        dropped, mask = torch.native_dropout(x, dropout, True) if dropout else (x, None)
        grouped = dropped.view(len(a), -1, x.shape[-1])  # (G, M / G, in)
        inner = torch.bmm(grouped, a.mT)  # (G, M / G, n r)
        outputs = []
        for weight, own, part in zip(weights, b, inner.chunk(n, dim=-1), strict=True):
            y = x @ weight.mT if residual is None else torch.addmm(residual, x, weight.mT)
            y.view(len(a), -1, len(weight)).baddbmm_(part, own.mT)
            outputs.append(y)
        ctx.dropout, ctx.n = dropout, n
        ctx.save_for_backward(dropped, mask, inner, a, *rest)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        dropped, mask, inner, a, *rest = ctx.saved_tensors
        n, groups = ctx.n, len(a)
        weights, b = rest[:n], rest[n:]
        grouped = [dy.reshape(groups, -1, dy.shape[-1]) for dy in dys]
        parts = inner.chunk(n, dim=-1)
        dbs = [torch.bmm(dy.mT, part) for dy, part in zip(grouped, parts, strict=True)]
        dinner = torch.empty_like(inner)
        for dy, own, out in zip(grouped, b, dinner.chunk(n, dim=-1), strict=True):
            out.copy_(torch.bmm(dy, own))
        da = torch.bmm(dinner.mT, dropped.view(groups, -1, dropped.shape[-1]))
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dys[0].reshape(len(dropped), -1) @ weights[0]
            for dy, weight in zip(dys[1:], weights[1:], strict=True):
                dx.addmm_(dy.reshape(len(dx), -1), weight)
            if mask is None:
                dx.view(groups, -1, dx.shape[-1]).baddbmm_(dinner, a)
            else:
                through = torch.bmm(dinner, a).view_as(dx)
                scale = 1 / (1 - ctx.dropout)
                dx += torch.ops.aten.native_dropout_backward(through, mask, scale)
        residual = dys[0] if ctx.needs_input_grad[1] else None
        return dx, residual, None, da, *[None] * n, *dbs


class _Turn(torch.autograd.Function):
    """Rotary embedding of (B, heads, T, size) by tables (T, size)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return turned(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return turned(dy, cos, -sin), None, None


class _Gated(torch.autograd.Function):
    """silu(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        gate, up = ctx.saved_tensors
        dup = nn.functional.silu(gate).mul_(dy)
        dgate = torch.ops.aten.silu_backward(dy * up, gate)
        return dgate, dup

"""Training steps of a Llama with a LoRA beside its layers and little else to do.

On a GPU products are fast, and much of a step of a general library goes to reading and writing
what is between them. Here layers that read the same input share one A; what a LoRA or a residual
adds is added by the product that makes it; norms are torch's fused kernel; and the last layer goes
on only where there is a target. Several tasks in one pass share every product of the base, and each
goes through its own pair. The results are those of transformers' layers, up to rounding, and where
there is dropout but for that: layers that read the same input drop the same of it. `fused` is for a
small model on a CPU, where a LoRA as wide as its layer is better added to the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autottt.adapters.models.fingerprint import is_split
from autottt.adapters.models.fused import computed_as
from autottt.adapters.models.kernels import turned
from autottt.adapters.models.lora_layers import LoraLinear
from autottt.adapters.models.merged import projections

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
        device, dtype = ids.device.type, computed_as(self._module).dtype
        chosen = chosen[:, : int(chosen.any(0).nonzero()[-1]) + 1]
        rows, length = chosen.shape
        x = model.embed_tokens(ids[:, :length]).to(dtype)  # (B, T, d)
        cos, sin = (t[0] for t in model.rotary_emb(x, torch.arange(length, device=x.device)[None]))
        wanted = chosen.flatten().nonzero()[:, 0]
        x = x.flatten(0, 1)  # (M, d), M = B * T
        alone = _alone(projections(model.layers[0])[0])  # else groups stay equal
        with torch.autocast(device, enabled=False):
            for layer in model.layers:
                keep = wanted if alone and layer is model.layers[-1] else None
                x = _layer(layer, x, (rows, length), (cos, sin), config, keep)
            x = x if len(x) == len(wanted) else x[wanted]
            found: Tensor = _normed(model.norm, x) @ self._module.lm_head.weight.to(dtype).mT
        return found


def beside(module: Any) -> BesideLlama | None:
    """The faster training forward of a model with a LoRA on every layer, where it has one."""
    if not is_plain_llama(module):
        return None
    linears = [each for layer in module.model.layers for each in projections(layer)]
    return BesideLlama(module) if all(isinstance(each, LoraLinear) for each in linears) else None


def is_plain_llama(module: Any) -> bool:
    """Whether it is a Llama on one device whose form is the one written out here, LoRA or not."""
    from transformers.models.llama.modeling_llama import LlamaForCausalLM

    if type(module) is not LlamaForCausalLM or module.config.hidden_act != "silu":
        return False
    if type(module.lm_head) is not nn.Linear or module.lm_head.bias is not None:
        return False
    if module.config.attention_dropout or len({p.device for p in module.parameters()}) > 1:
        return False
    return all(_is_plain(each) for layer in module.model.layers for each in projections(layer))


def _is_plain(linear: nn.Module) -> bool:
    base = linear.base if isinstance(linear, LoraLinear) else linear
    if type(base) is not nn.Linear or base.bias is not None:
        return False
    return base.weight.is_floating_point() and not is_split(base.weight)


def _alone(linear: Any) -> bool:
    return len(linear.lora_a if linear.selected is None else linear.selected) == 1


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


def _through(linears: Sequence[Any], x: Tensor, residual: Tensor | None = None) -> Sequence[Tensor]:
    """What layers that read the same x (M, in) make of it (M, out), with the residual added."""
    first = linears[0]
    dropout = first.dropout if torch.is_grad_enabled() else 0.0
    found: Sequence[Tensor] = Beside.apply(  # type: ignore[no-untyped-call]
        x,
        residual,
        dropout,
        first.scale,
        None if first.selected is None else first.selected.to(x.device),
        *(linear.base.weight.to(x.dtype) for linear in linears),
        *(linear.lora_a for linear in linears),
        *(linear.lora_b for linear in linears),
    )
    return found


class Beside(torch.autograd.Function):
    """n layers that read the same x (M, in), a LoRA beside each, to n outputs (M, out).

    Takes x, a residual (M, out) or None, the share dropped before A, the scale of what a LoRA adds,
    the G selected of K tasks or None, n weights (out, in), n A (K, r, in) and n B (K, out, r). The
    layers share what is dropped. What is between A and B is computed like x, gradients as A and B.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor | None,
        dropout: float,
        scale: float,
        selected: Tensor | None,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        n = len(rest) // 3
        weights, pairs = rest[:n], rest[n:]
        own = pairs if selected is None else [t[selected] for t in pairs]
        a = torch.cat([t.to(x.dtype) for t in own[:n]], dim=1)  # (G, n r, in)
        b = [(t * scale).to(x.dtype) for t in own[n:]]
        dropped, mask = torch.native_dropout(x, dropout, True) if dropout else (x, None)
        inner = torch.bmm(_grouped(dropped, a), a.mT)  # (G, M / G, n r)
        outputs = []
        for weight, of, part in zip(weights, b, inner.chunk(n, dim=-1), strict=True):
            y = x @ weight.mT if residual is None else torch.addmm(residual, x, weight.mT)
            _grouped(y, a).baddbmm_(part, of.mT)
            outputs.append(y)
        ctx.n, ctx.dropout, ctx.scale, ctx.tasks = n, dropout, scale, len(rest[n])
        ctx.dtype = rest[n].dtype
        ctx.save_for_backward(dropped, mask, selected, inner, a, *weights, *b)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        n = ctx.n
        dropped, mask, selected, inner, a, *rest = ctx.saved_tensors
        weights, b = rest[:n], rest[n:]

        def gradient(found: Tensor, scale: float = 1.0) -> Tensor:
            found = found.to(ctx.dtype)
            found = found if scale == 1.0 else found.mul_(scale)
            if selected is None:
                return found
            every = found.new_zeros(ctx.tasks, *found.shape[1:])
            return every.index_copy_(0, selected, found)

        grouped = [_grouped(dy.contiguous(), a) for dy in dys]
        parts = zip(grouped, inner.chunk(n, dim=-1), strict=True)
        dbs = [gradient(torch.bmm(dy.mT, part), ctx.scale) for dy, part in parts]
        dinner = torch.cat([torch.bmm(dy, own) for dy, own in zip(grouped, b, strict=True)], dim=-1)
        da = gradient(torch.bmm(dinner.mT, _grouped(dropped, a)))
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dys[0] @ weights[0]
            for dy, weight in zip(dys[1:], weights[1:], strict=True):
                dx.addmm_(dy, weight)
            if mask is None:
                _grouped(dx, a).baddbmm_(dinner, a)
            else:
                through = torch.bmm(dinner, a).view_as(dx)
                scale = 1 / (1 - ctx.dropout)
                dx += torch.ops.aten.native_dropout_backward(through, mask, scale)
        residual = dys[0] if ctx.needs_input_grad[1] else None
        return dx, residual, None, None, None, *[None] * n, *da.chunk(n, dim=1), *dbs


def _grouped(x: Tensor, like: Tensor) -> Tensor:
    """x (M, d) as (G, M / G, d), for the G groups of another."""
    return x.view(len(like), -1, x.shape[-1])


class _Turn(torch.autograd.Function):
    """Rotary embedding of (B, heads, T, size) by tables (T, size).

    In the order that x has in memory, so that nothing is copied for the products around it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return turned(x, cos, sin, torch.empty_like(x))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return turned(dy, cos, -sin, torch.empty_like(dy)), None, None


class _Gated(torch.autograd.Function):
    """silu(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        act = nn.functional.silu(gate)
        ctx.save_for_backward(gate, up, act)
        return act * up

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        gate, up, act = ctx.saved_tensors
        return torch.ops.aten.silu_backward(dy * up, gate), dy * act

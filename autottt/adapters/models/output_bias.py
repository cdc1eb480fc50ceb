"""One vector added to the last hidden state, before the output head (SLOT, Hu et al., 2025).

It starts at zero and changes no weight. Training it needs no gradient through the layers below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autottt.adapters.models.lora_layers import replace_module
from autottt.errors import StrategyError


class BiasedHead(nn.Module):
    """A frozen output head that reads `x + v`, with one vector v for each of K places (K, H)."""

    def __init__(self, base: nn.Module, places: int, width: int) -> None:
        super().__init__()
        self.base = base
        self.vector = nn.Parameter(torch.zeros(places, width, device=_device(base)))
        self.selected: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(G * n, T, H) -> (G * n, T, V), for G selected places."""
        vector = self.vector if self.selected is None else self.vector[self.selected]
        each = vector.repeat_interleave(len(x) // len(vector), dim=0)  # (G * n, H)
        y: Tensor = self.base(x + each[:, None].to(x.dtype))
        return y


def attach_bias(module: nn.Module, seeds: Sequence[int]) -> dict[str, BiasedHead]:
    """Put the vectors before the output head; raises `StrategyError` for a model without one."""
    name, head = _head(module)
    weight: Any = head.weight  # (V, H), or packed where the head is quantised
    width = head.in_features if isinstance(head, nn.Linear) else int(weight.shape[1])
    layer = BiasedHead(head, len(seeds), width)
    replace_module(module, name, layer)
    return {name: layer}


def detach_bias(module: nn.Module) -> None:
    """Put the very same head back."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, BiasedHead):
            replace_module(module, name, layer.base)


def _head(module: nn.Module) -> tuple[str, nn.Module]:
    head = getattr(module, "get_output_embeddings", lambda: None)()
    for name, layer in module.named_modules():
        if head is not None and layer is head:
            return name, layer
    raise StrategyError("the model has no output head to put a bias before")


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device

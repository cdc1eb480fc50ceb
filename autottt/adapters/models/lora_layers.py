"""Low-rank matrices beside frozen linear layers, put on a model and taken off again.

    y = base(x) + alpha / rank * B A x        (Hu et al., 2021, equation 3)

A holds small random numbers and B zeros, so a fresh LoRA changes nothing. A layer stands in the
place of its base and calls it; taking it off puts the very same module back.

A layer holds one pair (A, B) for each of K tasks. The rows of a batch are equal groups in order,
one for each selected task, and each group goes through its own pair: one pass of the frozen base
serves them all, with the results of one task at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from autottt.adapters.models.base import LoraSettings
from autottt.errors import StrategyError

ALL_LINEAR = "all-linear"
ROUTERS = ("gate", "router", "shared_expert_gate")


class LoraLinear(nn.Module):
    """A frozen linear layer with A (K, r, in) and B (K, out, r) beside it, both in fp32.

    `selected` are the places of the tasks that the next rows belong to; None is all of them.
    """

    def __init__(
        self, base: nn.Module, settings: LoraSettings, generators: Sequence[torch.Generator]
    ) -> None:
        super().__init__()
        inward, outward = _shape(base)
        device = next(base.parameters()).device
        bound = 1 / math.sqrt(inward)  # kaiming_uniform with a = sqrt(5), as peft draws it
        draw = torch.stack([torch.rand(settings.rank, inward, generator=g) for g in generators])
        self.base = base
        self.scale = settings.alpha / settings.rank
        self.dropout = settings.dropout
        self.lora_a = nn.Parameter(((2 * draw - 1) * bound).to(device))
        self.lora_b = nn.Parameter(torch.zeros(len(draw), outward, settings.rank, device=device))
        self.selected: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(G * n, ..., in) -> (G * n, ..., out), for G selected tasks."""
        y: Tensor = self.base(x)
        if self.dropout:
            x = nn.functional.dropout(x, self.dropout, self.training)
        a: Tensor = self.lora_a
        b = self.lora_b * self.scale
        if self.selected is not None:
            a, b = a[self.selected], b[self.selected]
        x = x.to(self._dtype(x))
        if len(a) == 1:
            return y + nn.functional.linear(nn.functional.linear(x, a[0]), b[0]).to(y.dtype)
        grouped = x.reshape(len(a), -1, x.shape[-1])  # (G, N, in)
        return y + torch.bmm(torch.bmm(grouped, a.mT), b.mT).reshape(y.shape).to(y.dtype)

    def _dtype(self, x: Tensor) -> torch.dtype:
        return x.dtype if torch.is_autocast_enabled(x.device.type) else self.lora_a.dtype


def attach(
    module: nn.Module, settings: LoraSettings, *, seeds: Sequence[int]
) -> dict[str, LoraLinear]:
    """Put a LoRA on the model's targets, with a pair for each seed; returns the layers by name.

    "all-linear" is every linear layer but the output head and routers among experts; other targets
    are ends of module names. Raises `StrategyError` where nothing matches.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    layers = {}
    for name, base in list(_targets(module, settings)):
        layers[name] = LoraLinear(base, settings, generators)
        replace_module(module, name, layers[name])
    if not layers:
        raise StrategyError(
            f"no linear layer matches the LoRA targets {settings.targets!r}; name some of the "
            "model's modules with --lora-targets"
        )
    return layers


def lora_targets(module: nn.Module, settings: LoraSettings) -> list[tuple[str, tuple[int, int]]]:
    """The names of the layers that a LoRA would sit on, with their features in and out."""
    return [(name, _shape(layer)) for name, layer in _targets(module, settings)]


def detach(module: nn.Module) -> None:
    """Take every LoRA off: each base module is again where it was."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, LoraLinear):
            replace_module(module, name, layer.base)


def _targets(module: nn.Module, settings: LoraSettings) -> Iterator[tuple[str, nn.Module]]:
    head = getattr(module, "get_output_embeddings", lambda: None)()
    for name, layer in module.named_modules():
        if layer is head or not _is_linear(layer):
            continue
        chosen = name.rpartition(".")[2] not in ROUTERS
        if chosen if settings.targets == ALL_LINEAR else name.endswith(tuple(settings.targets)):
            yield name, layer


def _is_linear(layer: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, nn.Linear | Conv1D)


def _shape(layer: nn.Module) -> tuple[int, int]:
    """Features in and out; transformers' Conv1D (GPT-2) names them nx and nf."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return int(layer.nx), int(layer.nf)  # type: ignore[arg-type]


def replace_module(module: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` in the place of the submodule of that name."""
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, new)

"""Low-rank matrices beside frozen linear layers, put on a model and taken off again.

    y = base(x) + alpha / rank * B A x        (Hu et al., 2021, equation 3)

A holds small random numbers and B zeros, so a fresh LoRA changes nothing. A layer stands in the
place of its base and calls it; taking it off puts the very same module back.

A layer holds one pair (A, B) for each of K tasks. The rows of a batch are equal groups in order,
one for each selected task, and each group goes through its own pair: one pass of the frozen base
serves them all, with the results of one task at a time.

Of a layer that several processes hold together, each has the part of B for its outputs and a copy
of A, or the part of A for its inputs and a copy of B. What passes between them is the r values in
the middle, so the copies see the same gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from autottt.adapters.models.base import LoraSettings
from autottt.adapters.models.fingerprint import is_split
from autottt.adapters.models.ranks import Part, copied, summed
from autottt.errors import StrategyError

ALL_LINEAR = "all-linear"
ROUTERS = ("gate", "router", "shared_expert_gate")
OUTPUTS, INPUTS = "colwise", "rowwise"  # what of a layer is split, as transformers names it
WHOLE = ("colwise_rep", "colwise_gather_output", "rowwise_rep", "rowwise_split_input", "replicate")


class LoraLinear(nn.Module):
    """A frozen linear layer with A (K, r, in) and B (K, out, r) beside it, both in fp32.

    `selected` are the places of the tasks that the next rows belong to; None is all of them.
    """

    def __init__(
        self,
        base: nn.Module,
        settings: LoraSettings,
        generators: Sequence[torch.Generator],
        split: str | None = None,
    ) -> None:
        """`generators` are one for each task.

        `split` says whether each process sees a part of the `OUTPUTS` or of the `INPUTS`.
        """
        super().__init__()
        inward, outward = _shape(base)
        device = next(base.parameters()).device
        bound = 1 / math.sqrt(inward)  # kaiming_uniform with a = sqrt(5), as peft draws it
        size = settings.rank, inward
        drawn = [torch.rand(size, generator=g, device=g.device) for g in generators]
        draw = torch.stack(drawn).to(device)
        self.base = base
        self.train(base.training)
        self.parts: dict[str, Part] = {}  # of the parameters that are not whole here
        if split == OUTPUTS:
            self.parts["lora_b"] = part = _part(base, 0)
            outward = part.end - part.begin
        elif split == INPUTS:
            self.parts["lora_a"] = part = _part(base, 1)
            draw = part.of(draw)
        self.scale = settings.alpha / settings.rank
        self.dropout = settings.dropout
        self.lora_a = nn.Parameter((2 * draw - 1) * bound)
        self.lora_b = nn.Parameter(torch.zeros(len(draw), outward, settings.rank, device=device))
        self.selected: Tensor | None = None
        self.added = split is None and not self.dropout and _is_wide(base, settings.rank)
        self._kept: tuple[Tensor | None, Any, Tensor] | None = None  # `adapted`, and what made it

    def forward(self, x: Tensor) -> Tensor:
        """(G * n, ..., in) -> (G * n, ..., out), for G selected tasks."""
        if self.added:
            return self._through(x, self.adapted(x))
        y: Tensor = self.base(x)
        if self.dropout:
            x = nn.functional.dropout(x, self.dropout, self.training)
        a: Tensor = self.lora_a
        b = self.lora_b * self.scale
        if self.selected is not None:
            a, b = a[self.selected], b[self.selected]
        x = x.to(self._dtype(x))
        if len(a) == 1:
            inner = self._exchanged(nn.functional.linear(x, a[0]))
            return y + nn.functional.linear(inner, b[0]).to(y.dtype)
        grouped = x.reshape(len(a), -1, x.shape[-1])  # (G, N, in)
        inner = self._exchanged(torch.bmm(grouped, a.mT))
        return y + torch.bmm(inner, b.mT).reshape(y.shape).to(y.dtype)

    def adapted(self, x: Tensor) -> Tensor:
        """The weights (G, out, in) for inputs like x: the base's, with each selected task's added.

        Without gradients it is kept until the version of one of them changes. A fused optimizer's
        step raises none, so who makes one raises it.
        """
        if torch.is_grad_enabled():
            return self._added(x)
        versions = self.lora_a._version, self.lora_b._version, self._dtype(x)
        if self._kept is None or self._kept[0] is not self.selected or self._kept[1] != versions:
            self._kept = self.selected, versions, self._added(x)
        return self._kept[2]

    def _added(self, x: Tensor) -> Tensor:
        a: Tensor = self.lora_a
        b = self.lora_b * self.scale
        if self.selected is not None:
            a, b = a[self.selected], b[self.selected]
        base, dtype = cast(Tensor, self.base.weight), self._dtype(x)
        return base.to(dtype) + b.to(dtype) @ a.to(dtype)

    def _through(self, x: Tensor, weight: Tensor) -> Tensor:
        x, bias = x.to(weight.dtype), cast(Tensor | None, self.base.bias)
        if len(weight) == 1:
            return nn.functional.linear(x, weight[0], bias)
        y = torch.bmm(x.reshape(len(weight), -1, x.shape[-1]), weight.mT)  # (G, N, out)
        y = y if bias is None else y + bias
        return y.reshape(*x.shape[:-1], weight.shape[1])

    def _exchanged(self, inner: Tensor) -> Tensor:
        """(..., r) between A and B, where processes hold parts of one of them."""
        if "lora_a" in self.parts:
            return summed(inner)
        return copied(inner) if "lora_b" in self.parts else inner

    def _dtype(self, x: Tensor) -> torch.dtype:
        return x.dtype if torch.is_autocast_enabled(x.device.type) else self.lora_a.dtype


def attach(
    module: nn.Module, settings: LoraSettings, *, seeds: Sequence[int]
) -> dict[str, LoraLinear]:
    """Put a LoRA on the model's targets, with a pair for each seed; returns the layers by name.

    "all-linear" is every linear layer but the output head and routers among experts; other targets
    are ends of module names. Raises `StrategyError` where nothing matches.
    """

    @cache
    def generators(device: torch.device) -> list[torch.Generator]:
        return [torch.Generator(device).manual_seed(seed) for seed in seeds]

    shared = any(map(is_split, module.parameters()))  # the same numbers whatever each process has
    layers = {}
    for name, base in list(_targets(module, settings)):
        own = generators(torch.device("cpu") if shared else next(base.parameters()).device)
        layers[name] = LoraLinear(base, settings, own, _split(module, name, base))
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


def _split(module: nn.Module, name: str, base: nn.Module) -> str | None:
    """What of a layer's inputs and outputs each process sees a part of, if anything."""
    if not is_split(next(base.parameters())):
        return None
    from transformers.distributed.parallel_utils import replace_layer_number_by_wildcard

    style = module.tp_plan.get(replace_layer_number_by_wildcard(name))  # type: ignore[union-attr, operator]
    if style in (OUTPUTS, INPUTS):
        return str(style)
    if style in WHOLE:
        return None
    raise StrategyError(
        f"a LoRA cannot sit on {name}, whose weights are in parts ({style}); name the others with "
        "--lora-targets"
    )


def _part(base: nn.Module, dim: int) -> Part:
    """This process's part of the outputs (0) or inputs (1) of a linear layer, as dim + 1 here."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    weight: Any = base.weight
    shape, offset = compute_local_shape_and_global_offset(
        weight.shape, weight.device_mesh, weight.placements
    )
    return Part(dim + 1, offset[dim], offset[dim] + shape[dim], int(weight.shape[dim]))


def _is_linear(layer: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, nn.Linear | Conv1D)


def _is_wide(base: nn.Module, rank: int) -> bool:
    """Whether adding B A to the weight takes fewer products than going through A and B.

    A token's training then takes 6 in * out of them; beside the base, 4 in * out for it and
    6 rank * (in + out) for A and B. Where the LoRA is that wide, the sum is also small to keep.
    """
    if type(base) is not nn.Linear or not base.weight.is_floating_point():
        return False
    inward, outward = _shape(base)
    return inward * outward <= 3 * rank * (inward + outward)


def _shape(layer: nn.Module) -> tuple[int, int]:
    """Features in and out; transformers' Conv1D (GPT-2) names them nx and nf."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return int(layer.nx), int(layer.nf)  # type: ignore[arg-type]


def replace_module(module: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` in the place of the submodule of that name."""
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, new)

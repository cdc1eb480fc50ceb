"""Proof of restoration: a hash of every parameter and buffer, and of the state around them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


def fingerprint(model: nn.Module) -> str:
    """A 128-bit hash over the name, dtype, shape and bytes of every parameter and buffer.

    Of a model that several processes hold together, of the part in this one.
    """
    return _hash(model, local)


def whole_fingerprint(model: nn.Module) -> str:
    """That of the model if one process held it; a call that all of them make together."""
    return _hash(model, lambda tensor: tensor.full_tensor() if is_split(tensor) else tensor)


def is_split(tensor: Tensor) -> bool:
    """Whether several processes hold the tensor together."""
    return hasattr(tensor, "placements")


def local(tensor: Tensor) -> Tensor:
    """What this process has of it."""
    split: Any = tensor
    found: Tensor = split.to_local() if is_split(tensor) else tensor
    return found


def _hash(model: nn.Module, value: Callable[[Any], Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    rewritten = set(_rewritten(model))
    buffers = [entry for entry in model.named_buffers() if entry[0] not in rewritten]
    entries = [*model.named_parameters(), *buffers, *_scales(model)]
    for name, entry in sorted(entries, key=lambda entry: entry[0]):
        tensor = value(entry.detach())
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _rewritten(model: nn.Module) -> Iterator[str]:
    """Tables that a forward pass makes anew for the length of what it reads."""
    for name, module in model.named_modules():
        if getattr(module, "rope_type", None) in ("dynamic", "longrope"):
            for buffer in module._non_persistent_buffers_set:
                yield f"{name}.{buffer}"


def _scales(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What bitsandbytes keeps beside quantised weights, and multiplies them by.

    Of 8-bit weights it moves from the weight to its module with the first forward.
    """
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        blocks = getattr(getattr(weight, "quant_state", None), "absmax", None)
        rows = getattr(weight, "SCB", None)
        if rows is None:
            rows = getattr(getattr(module, "state", None), "SCB", None)
        for part, value in (("absmax", blocks), ("SCB", rows)):
            if isinstance(value, Tensor):
                yield f"{name}.weight.{part}", value


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


@dataclass(frozen=True)
class Snapshot:
    """Everything an adaptation may disturb: weights, `requires_grad`, modes, gradients, RNG."""

    weights: str
    requires_grad: dict[str, bool]
    training: dict[str, bool]
    has_gradient: frozenset[str]
    rng: Tensor
    cuda_rng: list[Tensor]

    @classmethod
    def take(cls, model: nn.Module) -> Snapshot:
        return cls(
            weights=fingerprint(model),
            requires_grad={n: p.requires_grad for n, p in model.named_parameters()},
            training={n: m.training for n, m in model.named_modules()},
            has_gradient=frozenset(n for n, p in model.named_parameters() if p.grad is not None),
            rng=torch.get_rng_state(),
            cuda_rng=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        )

    def restore_state(self, model: nn.Module) -> None:
        """Put back all but the weights: flags, modes, gradients and RNG."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.requires_grad.get(name, parameter.requires_grad))
            if name not in self.has_gradient:
                parameter.grad = None
        for name, module in model.named_modules():
            module.training = self.training.get(name, module.training)
        torch.set_rng_state(self.rng)
        if self.cuda_rng:
            torch.cuda.set_rng_state_all(self.cuda_rng)

    def differences(self, model: nn.Module) -> list[str]:
        """What is not as it was, in words; empty when all is restored."""
        found = []
        if fingerprint(model) != self.weights:
            found.append("weights")
        if {n: p.requires_grad for n, p in model.named_parameters()} != self.requires_grad:
            found.append("requires_grad")
        if {n: m.training for n, m in model.named_modules()} != self.training:
            found.append("train/eval mode")
        if not torch.equal(torch.get_rng_state(), self.rng):
            found.append("RNG state")
        return found

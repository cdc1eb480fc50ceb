"""Who a model is, and the proof that it was restored: over every parameter and buffer, bit by bit.

The fingerprint is a cryptographic hash and the model's name in logs and caches; it is taken once.
The checksum is what is compared around every adaptation. It is computed where the weights are, at
the speed of memory, as hashing the 16 GB of an 8B model would take longer than training on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

ROW = 2**14  # words that have multipliers of their own
WORD = 4  # bytes; the highest bit is far from that of a sum, where it could cancel in pairs


def fingerprint(model: nn.Module) -> str:
    """A 128-bit hash over the name, dtype, shape and bytes of every parameter and buffer.

    Of a model that several processes hold together, that of all parts; all of them call it.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in _entries(model, _whole):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(_bytes(tensor.cpu()).numpy().data)
    return digest.hexdigest()


def checksum(model: nn.Module) -> dict[str, tuple[Any, ...]]:
    """Of every parameter and buffer in this process: its dtype, its shape and a sum over its bytes.

    The sum, modulo 2^64, is of its 4-byte words, each times an odd number of its place. An odd
    number has an inverse, so one changed word always changes it. Changes of several words cancel
    with a chance of 2^-33 at worst, which is where only their highest bits differ.
    """
    found = [(name, of.dtype, tuple(of.shape), _total(of)) for name, of in _entries(model, local)]
    # a device is waited for once, not for every tensor
    return {name: (dtype, shape, int(total)) for name, dtype, shape, total in found}


def _total(tensor: Tensor) -> Tensor:
    """The sum of a tensor, on the CPU where its device has no memory left."""
    try:
        return _sum(tensor)
    except torch.OutOfMemoryError:
        return _sum(tensor.cpu())


def is_split(tensor: Tensor) -> bool:
    """Whether several processes hold the tensor together."""
    return hasattr(tensor, "placements")


def local(tensor: Tensor) -> Tensor:
    """What this process has of it."""
    split: Any = tensor
    found: Tensor = split.to_local() if is_split(tensor) else tensor
    return found


def _whole(tensor: Any) -> Tensor:
    found: Tensor = tensor.full_tensor() if is_split(tensor) else tensor
    return found


def _entries(model: nn.Module, value: Callable[[Any], Tensor]) -> Iterator[tuple[str, Tensor]]:
    rewritten = set(_rewritten(model))
    buffers = [entry for entry in model.named_buffers() if entry[0] not in rewritten]
    entries = [*model.named_parameters(), *buffers, *_scales(model)]
    for name, entry in sorted(entries, key=lambda entry: entry[0]):
        yield name, value(entry.detach())


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


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


@torch.no_grad()
def _sum(tensor: Tensor) -> Tensor:
    raw = _bytes(tensor)
    if len(raw) % WORD:
        raw = nn.functional.pad(raw, (0, -len(raw) % WORD))
    elif raw.storage_offset() % WORD:
        raw = raw.clone()
    words = raw.view(torch.int32)
    rows = len(words) // ROW
    columns = _odd(ROW, raw.device)
    total = torch.zeros((), dtype=torch.int64, device=raw.device)
    if rows:
        block = 2**6 if raw.device.type == "cpu" else 2**10  # rows: what a cache holds, or more
        every = words[: rows * ROW].view(rows, ROW)
        for some, of in zip(torch.split(every, block), torch.split(_odd(rows, raw.device), block)):
            total += ((some * columns).sum(1) * of).sum()
    last = words[rows * ROW :]
    return total + (last * columns[: len(last)]).sum() * (2 * rows + 1)


@lru_cache(maxsize=64)
def _odd(count: int, device: torch.device) -> Tensor:
    """Odd numbers that look random, mixed like those of splitmix64 (Steele et al., 2014)."""
    x = torch.arange(1, count + 1, device=device) * -0x61C8864680B583EB
    x = (x ^ (x >> 30)) * -0x40A7B892E31B1A47
    x = (x ^ (x >> 27)) * -0x6B2FB644ECCEEE15
    return (x ^ (x >> 31)) | 1


@dataclass(frozen=True)
class Snapshot:
    """Everything an adaptation may disturb: weights, `requires_grad`, modes, gradients, RNG."""

    weights: dict[str, tuple[Any, ...]]
    requires_grad: dict[str, bool]
    training: dict[str, bool]
    has_gradient: frozenset[str]
    rng: Tensor
    cuda_rng: list[Tensor]

    @classmethod
    def take(cls, model: nn.Module) -> Snapshot:
        return cls(
            weights=checksum(model),
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
        if checksum(model) != self.weights:
            found.append("weights")
        if {n: p.requires_grad for n, p in model.named_parameters()} != self.requires_grad:
            found.append("requires_grad")
        if {n: m.training for n, m in model.named_modules()} != self.training:
            found.append("train/eval mode")
        if not torch.equal(torch.get_rng_state(), self.rng):
            found.append("RNG state")
        return found

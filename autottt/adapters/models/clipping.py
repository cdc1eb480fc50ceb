"""Gradients of several tasks' adapters, kept within a norm, each task by itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import torch
from torch import Tensor, nn


def clip(
    parameters: Mapping[str, nn.Parameter],
    limit: float,
    parts: Container[str],
    total: Callable[[Tensor], Tensor],
) -> None:
    """Scale the gradients of each of K places to a norm of at most `limit`, each place by itself.

    Parameters are (K, ...). Of those in `parts` other processes have the rest; `total` adds up
    over the processes.
    """
    found = [(name, p.grad) for name, p in parameters.items() if p.grad is not None]
    alone = all(len(gradient) == 1 for _, gradient in found)
    if alone and not any(name in parts for name, _ in found):
        nn.utils.clip_grad_norm_(parameters.values(), limit)
        return
    whole = [g for name, g in found if name not in parts]
    split = [g for name, g in found if name in parts]
    norms = _norm(whole) if whole else torch.zeros(())
    if split:
        others = total(_norm(split).square()).sqrt()
        norms = torch.hypot(norms.to(others), others)
    scale = (limit / (norms + 1e-6)).clamp(max=1.0)
    for _, gradient in found:
        own = scale.reshape(-1, *[1] * (gradient.dim() - 1))
        gradient.mul_(own.to(gradient.device))


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norms (K,) over all of them of each place's, on the device of the first."""
    device = gradients[0].device
    each = [g.flatten(1).norm(dim=1).to(device) for g in gradients]
    norms: Tensor = torch.stack(each).norm(dim=0)
    return norms

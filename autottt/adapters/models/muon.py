"""Muon (Jordan et al., 2024) for LoRA matrices: a step with all singular values nearly alike.

AdamW scales each weight by itself; Muon takes the momentum of a whole matrix and makes its singular
values alike by five steps of a Newton-Schulz iteration, which needs products only. In as many steps
a LoRA learns more by it. `torch.optim.Muon` is for single matrices; here those of all layers and
tasks that have one shape, up to turning, are computed together, as each is small.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autottt.errors import StrategyError

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the iteration, by Jordan et al.
ITERATIONS = 5
SMALLEST = 1e-7  # norm that a matrix is divided by


class Muon(torch.optim.Optimizer):
    """Parameters (K, m, n), each of whose K matrices is stepped by itself.

    `lr` is on AdamW's scale: an update is multiplied by 0.2 sqrt(max(m, n)), which gives it the
    usual root mean square of AdamW's (Liu et al., 2025). Where tensor parallelism splits a matrix,
    each process makes alike what it has of it. Momentum goes on where a gradient is zero, as after
    a place has stopped: what it had then is to be kept elsewhere.
    """

    def __init__(
        self, params: Sequence[nn.Parameter], lr: float, *, weight_decay: float = 0.0
    ) -> None:
        if any(parameter.dim() != 3 for parameter in params):
            raise StrategyError("Muon is for the matrices of a LoRA; use AdamW for other adapters")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        alike: dict[tuple[object, ...], list[nn.Parameter]] = {}
        for parameter in params:
            _, rows, columns = parameter.shape
            key = min(rows, columns), max(rows, columns), parameter.device, parameter.dtype
            alike.setdefault(key, []).append(parameter)
        self._alike = [(members, torch.zeros_like(_stacked(members))) for members in alike.values()]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Nesterov momentum, orthogonalised; a parameter without a gradient has one of zeros."""
        (group,) = self.param_groups
        rate, decay = group["lr"], group["weight_decay"]
        for members, momentum in self._alike:
            given = _stacked([_gradient(parameter) for parameter in members])
            momentum.mul_(MOMENTUM).add_(given)
            updates = orthogonalised(given.add_(momentum, alpha=MOMENTUM))
            updates *= -rate * 0.2 * updates.shape[-1] ** 0.5
            parts = torch.split(updates, [len(parameter) for parameter in members])
            for parameter, update in zip(members, parts, strict=True):
                if decay:
                    parameter.mul_(1.0 - rate * decay)
                parameter.add_(update.mT if _is_tall(parameter) else update)


def orthogonalised(matrices: Tensor) -> Tensor:
    """The matrices (N, m, n), m <= n, with singular values brought near 1, in fp32.

    They end between 0.3 and 1.3 where they were within one and a half orders of magnitude; a matrix
    of zeros stays one. Computed in the precision of autocast, where that is on.
    """
    a, b, c = COEFFICIENTS
    x: Tensor = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST)
    for _ in range(ITERATIONS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()


def _stacked(matrices: Sequence[Tensor]) -> Tensor:
    """(N, m, n) with m <= n, of matrices (K, m, n) and (K, n, m)."""
    return torch.cat([each.mT if _is_tall(each) else each for each in matrices])


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[1] > matrix.shape[2]


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

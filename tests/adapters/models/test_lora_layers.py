"""A LoRA added to the weight gives what one beside it gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.graph import increment_version

from autottt.adapters.models.base import LoraSettings
from autottt.adapters.models.lora_layers import LoraLinear


def layer(tasks: int, *, bias: bool = True) -> LoraLinear:
    torch.manual_seed(0)
    base = nn.Linear(12, 20, bias=bias).requires_grad_(False)
    generators = [torch.Generator().manual_seed(k) for k in range(tasks)]
    made = LoraLinear(base, LoraSettings(rank=8, alpha=4), generators)
    made.lora_b.data = torch.randn(made.lora_b.shape)
    return made


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tasks", [1, 2])
def test_added_or_beside_is_the_same(tasks: int, bias: bool) -> None:
    """Outputs and the gradients of A, B and x agree to fp32 rounding."""
    wide = layer(tasks, bias=bias)
    assert wide.added
    found = []
    for added in (True, False):
        wide.added = added
        x = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(1), requires_grad=True)
        y = wide(x)
        y.square().sum().backward()
        found.append([y, x.grad, wide.lora_a.grad, wide.lora_b.grad])
        wide.zero_grad()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_narrow_lora_stays_beside() -> None:
    """Where the sum would take more products than A and B, they are not added."""
    generators = [torch.Generator().manual_seed(0)]
    base = nn.Linear(64, 64)
    assert not LoraLinear(base, LoraSettings(rank=10), generators).added
    assert LoraLinear(base, LoraSettings(rank=11), generators).added
    assert not LoraLinear(base, LoraSettings(rank=11, dropout=0.1), generators).added


def test_the_sum_that_is_kept_follows_training_and_selection() -> None:
    """After a step of the optimizer, a load in place or another selection it is made anew."""
    wide = layer(2)
    optimizer = torch.optim.AdamW(wide.parameters(), lr=0.1, fused=True)
    x = torch.randn(2, 12)

    def asked() -> torch.Tensor:
        with torch.inference_mode():
            kept: torch.Tensor = wide(x)
            wide.added = False
            beside = wide(x)
            wide.added = True
        torch.testing.assert_close(kept, beside, rtol=1e-4, atol=1e-4)
        return kept

    first = asked()
    wide(x).sum().backward()
    optimizer.step()
    increment_version([wide.lora_a, wide.lora_b])
    second = asked()
    with torch.no_grad():
        wide.lora_b[0] = 0
    third = asked()
    wide.selected = torch.tensor([1, 0])
    fourth = asked()
    for one, other in ((first, second), (second, third), (third, fourth)):
        assert not torch.equal(one, other)

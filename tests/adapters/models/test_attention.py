"""Attention for one token at a time is that of transformers, on every architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autottt.adapters.models import attention
from autottt.adapters.models.attention import NAME, attend_on_cpu
from autottt.adapters.models.cache import growing_cache
from autottt.adapters.models.cache_names import cache_argument
from autottt.adapters.models.loading import ModelSettings, load_module
from tests.adapters.models.zoo import ZOO, save


@torch.no_grad()
def written(module: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits (B, T, V) after rows read up to their sixth token, and then token by token."""
    cache, found = growing_cache(module.config, ids.shape[1]), []
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for begin, end in [(0, 6), *((i, i + 1) for i in range(6, ids.shape[1]))]:
        logits = module(
            input_ids=ids[:, begin:end],
            attention_mask=mask[:, :end],
            position_ids=positions[:, begin:end],
            use_cache=True,
            **cache_argument(module, cache),
        ).logits
        found.append(logits[:, -1])
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("kind", ZOO)
def test_tokens_written_one_by_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With padding at the left, sliding windows and shared keys, to fp32 rounding."""
    calls: list[int] = []
    real = attention.attend_one

    def counted(*given: Any) -> Tensor:
        calls.append(1)
        return real(*given)

    monkeypatch.setattr(attention, "attend_one", counted)
    module = load_module(str(save(kind, tmp_path)), ModelSettings(device="cpu", dtype="float32"))
    ours = module.config._attn_implementation == NAME
    assert ours == (kind != "gemma2")  # whose scores are capped, which sdpa cannot
    ids = torch.randint(5, 50, (3, 70), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(70) >= torch.tensor([[0], [2], [5]])).long()
    found = written(module, ids, mask)
    assert bool(calls) == ours
    if ours:
        module.set_attn_implementation("sdpa")
        calls.clear()
        torch.testing.assert_close(found, written(module, ids, mask), rtol=1e-4, atol=1e-5)
        assert not calls


def test_what_was_chosen_otherwise_stays(tmp_path: Path) -> None:
    """A model that was given another kernel keeps it."""
    module = load_module(str(save("llama", tmp_path)), ModelSettings(device="cpu"))
    module.set_attn_implementation("eager")
    attend_on_cpu(module)
    assert module.config._attn_implementation == "eager"


def test_gradients_are_left_to_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass of one token with gradients does not come here."""
    monkeypatch.setattr(attention, "attend_one", None)
    module = load_module(str(save("llama", tmp_path)), ModelSettings(device="cpu", dtype="float32"))
    assert module.config._attn_implementation == NAME
    (logits,) = module(input_ids=torch.tensor([[7]]), use_cache=False, return_dict=False)
    logits.sum().backward()
    assert all(p.grad is not None for p in module.parameters())

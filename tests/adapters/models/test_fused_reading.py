"""Prompts read and answers written by fused layers are those of transformers' layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autottt.adapters.models import fused_reading
from autottt.adapters.models.base import (
    BiasSettings,
    Completion,
    LoraSettings,
    TokenSequence,
)
from autottt.adapters.models.cache import growing_cache
from autottt.adapters.models.cache_names import cache_argument
from autottt.adapters.models.fused_reading import FusedReader, can_read
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import ModelSettings
from autottt.adapters.models.lora_layers import attach, detach

from .test_fused import llama, started


def theirs(module: Any, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
    logits: Tensor = module(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        use_cache=True,
        **cache_argument(module, cache),
    ).logits
    return logits


@pytest.mark.parametrize("lora", [False, True])
@torch.no_grad()
def test_every_way_of_reading_gives_the_same(lora: bool) -> None:
    """A padded prompt, single tokens, several after a cache, and the last alone."""
    module = llama()
    if lora:
        started(module, [0])
    assert can_read(module)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([21, 1, 13])
    mask = (torch.arange(21) >= 21 - lengths[:, None]).long()
    caches = growing_cache(module.config, 4), growing_cache(module.config, 4)  # type: ignore[arg-type]
    reader = FusedReader(module)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for more in (21, 1, 1, 5, 9, 1):
        ids = torch.randint(0, 40, (3, more), generator=generator)
        if more != 21:
            mask = torch.cat([mask, torch.ones(3, more, dtype=torch.long)], dim=1)
            positions = positions[:, -1:] + 1 + torch.arange(more)
        there = mask[:, -more:].bool()
        expected = theirs(module, ids, mask, positions, caches[0])
        found = reader(ids, mask, positions, caches[1], last=more == 9)
        if more == 9:
            expected, there = expected[:, -1:], there[:, -1:]
        torch.testing.assert_close(found[there], expected[there], rtol=1e-4, atol=1e-5)
        for cache in caches:  # rows may change places, leave, and come twice
            cache.batch_select_indices(torch.tensor([2, 0, 1]))
        mask, positions = mask[[2, 0, 1]], positions[[2, 0, 1]]


def test_weights_are_those_of_the_adapter_that_is_on() -> None:
    """A reader made before an adapter changes keeps the weights it was made with."""
    module = llama()
    layers = started(module, [0])
    ids, mask, places = torch.arange(9)[None], torch.ones(1, 9, dtype=torch.long), torch.arange(9)
    given = ids, mask, places[None]
    with torch.inference_mode():
        before = FusedReader(module)
        first = before(*given, growing_cache(module.config, 1), last=False)  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in layers.values():
            layer.lora_b.mul_(-1)
    with torch.inference_mode():
        again = before(*given, growing_cache(module.config, 1), last=False)  # type: ignore[arg-type]
        after = FusedReader(module)(*given, growing_cache(module.config, 1), last=False)  # type: ignore[arg-type]
        expected = theirs(module, *given, growing_cache(module.config, 1))  # type: ignore[arg-type]
    assert torch.equal(first, again)
    assert not torch.allclose(first, after, atol=0.1)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"hidden_act": "gelu"}, {"attention_bias": True}, {"mlp_bias": True}]
)
def test_a_model_of_another_form_is_read_by_transformers(changes: dict[str, Any]) -> None:
    """Biases and other activations are not in the products written out here."""
    assert not can_read(llama(**changes))


def test_a_large_model_is_read_by_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copying its weights for every batch of prompts would take longer than it saves."""
    monkeypatch.setattr(fused_reading, "SMALL", 100)
    assert not can_read(llama())


def test_a_lora_beside_its_layer_is_read_by_transformers() -> None:
    """Added to weights in bf16, what a short training has learnt would be rounded away."""
    module = llama()
    attach(module, LoraSettings(rank=1, targets=("q_proj",)), seeds=[0])
    assert not can_read(module)
    detach(module)
    attach(module, LoraSettings(rank=64, dropout=0.05), seeds=[0])
    assert not can_read(module)


@pytest.fixture(scope="module")
def model() -> HuggingFaceModel:
    return HuggingFaceModel("embedded", settings=ModelSettings(device="cpu"))


TEXTS = ["0400\n>0440\n\n0030\n>0033\n\n0300\n>0330\n\n0050\n>", "030\n>033\n\n500\n>"]


def answers(model: HuggingFaceModel) -> tuple[list[Completion], list[list[float]], list[float]]:
    """What the embedded model writes, how it scores answers, and tokens of a row."""
    prompts = [model.start() + model.encode(text) for text in TEXTS]
    written = model.generate(prompts, max_new_tokens=12, stop="\n\n")
    told = [[model.encode(text) for text in ("0550\n\n", "055\n\n")]] * 2
    wanted = (False,) * 9 + (True,) * 5
    row = TokenSequence(tuple(prompts[0][:14]), wanted)
    scores = model.score([row, TokenSequence(row.ids, (False,) * 14)])
    assert scores[1].log_probabilities == ()
    return written, model.score_answers(prompts, told), list(scores[0].log_probabilities)


def test_the_embedded_model_answers_alike(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts, their log-probabilities and scores of answers, by fused layers and by transformers."""
    assert model.reader() is not None
    written, told, scores = answers(model)
    monkeypatch.setattr("autottt.adapters.models.huggingface.can_read", lambda module: False)
    assert model.reader() is None
    plain = answers(model)
    assert [w.text for w in written] == [w.text for w in plain[0]]
    for a, b in zip(written, plain[0], strict=True):
        assert a.log_probabilities == pytest.approx(b.log_probabilities, abs=0.1)
    for some, others in zip(told, plain[1], strict=True):
        assert some == pytest.approx(others, rel=0.05)
    assert scores == pytest.approx(plain[2], rel=0.05, abs=0.1)


def test_other_adapters_and_groups_are_left_to_transformers(model: HuggingFaceModel) -> None:
    """Rows with adapters of their own are read together; a bias is scored through its head."""
    with model.session(LoraSettings(rank=64), seeds=[0, 1]) as session:
        assert model.reader() is None
        session.select([1])
        assert model.reader() is not None
    with model.session(BiasSettings(), seeds=[0]) as session:
        state = session.state(0)
        (name,) = state
        session.load(0, {name: torch.full_like(state[name], 0.5)})
        with_bias = answers(model)
    assert with_bias[2] != pytest.approx(answers(model)[2], abs=1e-3)
    assert isinstance(model.module.lm_head, nn.Linear)

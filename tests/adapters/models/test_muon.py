"""Muon steps every matrix of a LoRA as torch's steps one, and makes singular values alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autottt.adapters.models.base import BiasSettings, LoraSettings, TokenSequence, TrainSettings
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.muon import Muon, orthogonalised
from autottt.errors import StrategyError

SHAPES = ((2, 4, 12), (2, 12, 4), (1, 4, 12), (3, 8, 8))
FAST = TrainSettings(steps=8, stop_loss=0.0, learning_rate=6e-3, optimizer="muon", warm_up=1)


def batch(step: int) -> list[TokenSequence]:
    """Two short sequences, every token but the first a target."""
    return [TokenSequence((48, 49, 50, 51 + step % 3), (False, True, True, True))] * 2


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_every_matrix_is_stepped_as_torch_steps_one(decay: float) -> None:
    """Over five steps, for several shapes and tasks; torch computes in bf16."""
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    theirs = [[nn.Parameter(one.detach().clone()) for one in parameter] for parameter in ours]
    optimizer = Muon(ours, 0.02, weight_decay=decay)
    reference: Any = torch.optim.Muon(
        [one for some in theirs for one in some],
        lr=0.02,
        weight_decay=decay,
        adjust_lr_fn="match_rms_adamw",
    )
    before = [parameter.detach().clone() for parameter in ours]
    for _ in range(5):
        for parameter, single in zip(ours, theirs, strict=True):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            for one, gradient in zip(single, parameter.grad, strict=True):
                one.grad = gradient.clone()
        optimizer.step()
        reference.step()
    for parameter, single, start in zip(ours, theirs, before, strict=True):
        moved = (parameter - start).norm()
        assert moved > 0.05
        assert (parameter - torch.stack([one.detach() for one in single])).norm() < 0.05 * moved


MATRICES = st.tuples(st.integers(1, 6), st.integers(0, 10), st.integers(0, 2**31))


@given(drawn=MATRICES)
def test_singular_values_become_alike(drawn: tuple[int, int, int]) -> None:
    """Whatever they were within one and a half orders of magnitude; a matrix of zeros stays one."""
    rows, more, seed = drawn
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(2, n, rows, generator=generator))[0]
        for n in (rows, rows + more)
    )
    sizes = 10.0 ** (-1.5 * torch.rand(2, 1, rows, generator=generator))
    x: Tensor = left * sizes @ right.mT
    x[1] = 0.0
    found = orthogonalised(x)
    values = torch.linalg.svdvals(found[0])
    assert bool((values > 0.3).all())
    assert bool((values < 1.3).all())
    assert not found[1].any()


def test_a_lora_learns(tiny_model: HuggingFaceModel) -> None:
    """The loss falls, twice the same, and the base is what it was."""
    losses = []
    for _ in range(2):
        with tiny_model.session(LoraSettings(rank=4, alpha=8), seeds=[0]) as session:
            (record,) = session.train([batch], FAST)
        losses.append(record.losses)
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    assert tiny_model.verify()


def test_only_matrices_have_singular_values(tiny_model: HuggingFaceModel) -> None:
    """A bias is refused, with the remedy, and the model is restored."""
    with (
        pytest.raises(StrategyError, match="AdamW"),
        tiny_model.session(BiasSettings(), seeds=[0]) as session,
    ):
        session.train([batch], FAST)
    assert tiny_model.verify()

"""The compiled kernels compute what torch's operations do, and are left out where they cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autottt.adapters.models import kernels
from autottt.adapters.models.base import TokenSequence, TrainSettings
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.kernels import compiled
from autottt.strategies.ttt import TTT

needs_them = pytest.mark.skipif(compiled() is None, reason="there was no gcc to install with")
sizes = st.integers(1, 70)
seeds = st.integers(0, 2**31 - 1)


def drawn(seed: int, *shape: int, spread: float = 2.0) -> Tensor:
    """Random bf16 numbers."""
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(shape, generator=generator)).bfloat16()


def alike(ours: Tensor, wide: Tensor) -> None:
    """Equal to what fp32 gives, up to the rounding of the result to bf16."""
    assert ours.dtype is torch.bfloat16
    torch.testing.assert_close(ours.float(), wide, rtol=2**-7, atol=2e-3)


def test_they_were_compiled_where_there_is_a_compiler() -> None:
    """An install beside gcc has them; else everything would silently be slower."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    assert compiled() is not None


@needs_them
@given(rows=sizes, width=sizes, seed=seeds)
def test_norms_and_their_gradients(rows: int, width: int, seed: int) -> None:
    """Both passes of the norm, for widths that are no multiple of a vector's."""
    x, dn, more = (drawn(seed + i, rows, width) for i in range(3))
    n, scale = kernels.normed(x, 1e-6)
    wide, wide_scale = kernels.normed(x.float(), 1e-6)
    alike(n, wide)
    torch.testing.assert_close(scale, wide_scale)
    again = kernels.normed_back(dn.float(), n.float(), scale, more.float())
    alike(kernels.normed_back(dn, n, scale, more), again)


@needs_them
@given(rows=sizes, width=sizes, seed=seeds, spread=st.sampled_from([0.1, 2.0, 60.0]))
def test_gates_and_their_gradients(rows: int, width: int, seed: int, spread: float) -> None:
    """Also where the gate is far from zero and its exponential under- or overflows."""
    both, dinner = drawn(seed, rows, 2 * width, spread=spread), drawn(seed + 1, rows, width)
    alike(kernels.gated(both), kernels.gated(both.float()))
    alike(kernels.gated_back(dinner, both), kernels.gated_back(dinner.float(), both.float()))


@needs_them
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 20),
    room=st.integers(0, 9),
    turning=st.integers(0, 4),
    others=st.integers(0, 2),
    half=st.integers(1, 20),
    seed=seeds,
)
def test_heads_and_their_gradients(
    batch: int, length: int, room: int, turning: int, others: int, half: int, seed: int
) -> None:
    """Turned and plain heads, in room for more places, with zeros in it."""
    every = max(1, turning + others)
    both = drawn(seed, batch * length, every * 2 * half)
    cos, sin = (drawn(seed + i, length, 2 * half).float() for i in (1, 2))
    shape = batch, length + room, every, turning
    found = kernels.heads(both, cos, sin, shape)
    alike(found, kernels.heads(both.float(), cos, sin, shape))
    assert found[:, :, length:].abs().sum() == 0
    dy = drawn(seed + 3, *found.shape)
    alike(
        kernels.heads_back(dy, cos, sin, turning), kernels.heads_back(dy.float(), cos, sin, turning)
    )


@needs_them
@given(
    count=st.integers(1, 3),
    rows=sizes,
    before=st.integers(0, 40),
    more=st.integers(0, 40),
    seed=seeds,
)
def test_attention_looks_at_what_is_before_it(
    count: int, rows: int, before: int, more: int, seed: int
) -> None:
    """Weights of rows sum to one, those of later columns are zero, and so are their gradients."""
    scores = drawn(seed, count, rows, before + rows + more, spread=8.0)
    wide = kernels.causal(scores.float(), before)
    weights = kernels.causal(scores.clone(), before)
    alike(weights, wide)
    hidden = torch.ones(scores.shape[1:], dtype=torch.bool).triu_(before + 1)
    assert weights[:, hidden].abs().sum() == 0
    grads = drawn(seed + 1, *scores.shape)
    again = kernels.causal_back(grads.float(), weights.float(), before)
    alike(kernels.causal_back(grads.clone(), weights, before), again)


@needs_them
@pytest.mark.parametrize("bits", [0x7FC0, 0xFFC0, 0x7FFF, 0xFFFF])
def test_what_is_not_a_number_stays_that(bits: int) -> None:
    """A loss that is not finite is noticed, whatever went through the kernels."""
    x = drawn(0, 3, 40)
    x.view(torch.int16)[1, 7] = bits - 0x10000 if bits > 0x7FFF else bits
    rows = [kernels.normed(x, 1e-6)[0], kernels.gated(x), kernels.causal(x[None].clone(), 40)[0]]
    for found in rows:
        assert found[1].isnan().any()
        assert found[[0, 2]].isfinite().all()
    assert kernels.normed_back(x, x, torch.ones(3, 1), x)[1].isnan().any()
    assert kernels.gated_back(x[:, :20].contiguous(), x)[1].isnan().any()


@needs_them
def test_threads_share_the_rows() -> None:
    """What is large enough for several threads is what one of them computes, bit for bit."""
    threads = torch.get_num_threads()
    found = []
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            x, both = drawn(0, 1001, 192), drawn(1, 1001, 384)
            n, scale = kernels.normed(x, 1e-6)
            cos, sin = (drawn(i, 91, 24).float() for i in (2, 3))
            y = kernels.heads(both, cos, sin, (11, 96, 16, 12))
            weights = kernels.causal(drawn(4, 6, 91, 96), 0)
            found.append(
                [
                    n,
                    kernels.normed_back(x, n, scale, x),
                    kernels.gated(both),
                    kernels.gated_back(x, both),
                    y,
                    kernels.heads_back(y, cos, sin, 12),
                    weights,
                    kernels.causal_back(drawn(5, 6, 91, 96), weights, 0),
                ]
            )
        finally:
            torch.set_num_threads(threads)
    for one, several in zip(*found, strict=True):
        torch.testing.assert_close(one, several, rtol=0, atol=0)


@needs_them
def test_a_library_of_another_source_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After an update without an install torch's operations are used, not kernels that differ."""
    for name in ("libkernels.so", "kernels.c"):
        shutil.copy(kernels.LIBRARY.with_name(name), tmp_path / name)
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "libkernels.so")
    assert compiled.__wrapped__() is not None
    (tmp_path / "kernels.c").write_text("/* changed */")
    assert compiled.__wrapped__() is None


@needs_them
def test_training_learns_the_same_without_them(
    embedded: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses of a few steps are those of torch's operations, up to the rounding of bf16."""
    ids = tuple(embedded.encode("0400\n>0440\n\n0030\n>0033\n\n0300\n>0330\n"))
    rows = [TokenSequence(part, (True,) * len(part)) for part in (ids, ids[:20])]
    found = []
    for having in (compiled(), None):
        monkeypatch.setattr(kernels, "compiled", lambda having=having: having)
        with embedded.session(TTT().adapter, seeds=[0]) as session:
            (record,) = session.train([lambda step: rows], TrainSettings(steps=5, stop_loss=0.0))
        found.append(record.losses)
    assert found[0] == pytest.approx(found[1], rel=0.05)
    assert found[0][-1] < 0.8 * found[0][0]

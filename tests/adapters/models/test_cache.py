"""The cache that grows in place does what transformers' own does."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from autottt.adapters.models.cache import GrowingLayer, growing_cache

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.integers(1, 5)),
        st.tuples(st.just("repeat"), st.integers(1, 3)),
        st.tuples(st.just("select"), st.integers(0, 3)),
        st.tuples(st.just("crop"), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=12,
)


@given(steps=STEPS, room=st.integers(0, 6), seed=st.integers(0, 99))
def test_it_holds_what_the_plain_layer_holds(
    steps: list[tuple[str, int]], room: int, seed: int
) -> None:
    """After any reads, repeats, selections and crops, bit for bit; what was given out stays."""
    draw = torch.Generator().manual_seed(seed)
    plain, growing = DynamicLayer(), GrowingLayer(room)  # type: ignore[no-untyped-call]
    batch = 2
    for what, n in steps:
        length = plain.get_seq_length()
        match what:
            case "update":
                keys, values = torch.randn((2, batch, 3, n, 4), generator=draw)
                wanted, found = plain.update(keys, values), growing.update(keys, values)
                assert all(torch.equal(a, b) for a, b in zip(wanted, found))
            case "repeat" if length and batch < 20:
                plain.batch_repeat_interleave(n)
                growing.batch_repeat_interleave(n)
                batch *= n
            case "select" if length:
                rows = torch.tensor([n % batch, 0])
                plain.batch_select_indices(rows)
                growing.batch_select_indices(rows)
                batch = 2
            case "crop" if length > n:
                plain.crop(-n)
                growing.crop(-n)
        assert growing.get_seq_length() == plain.get_seq_length()
        if length:
            assert plain.keys is not None
            assert growing.keys is not None
            assert torch.equal(plain.keys, growing.keys)


def test_room_is_taken_once() -> None:
    """Within the room no token moves what is there."""
    layer = GrowingLayer(4)
    layer.update(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2))
    assert layer.keys is not None
    place = layer.keys.data_ptr()
    for _ in range(4):
        layer.update(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
        assert layer.keys.data_ptr() == place


def test_only_plain_layers_are_replaced() -> None:
    """A sliding window keeps transformers' layer."""
    plain = growing_cache(LlamaConfig(num_hidden_layers=2), 8)
    assert [type(layer) for layer in plain.layers] == [GrowingLayer] * 2
    sliding = growing_cache(MistralConfig(num_hidden_layers=2, sliding_window=4), 8)
    assert [type(layer) for layer in sliding.layers] == [DynamicSlidingWindowLayer] * 2

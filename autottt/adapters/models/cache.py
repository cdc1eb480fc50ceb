"""A key-value cache that grows in place.

transformers' own copies all keys and values at every token that is written, which with many long
rows is much of the time. Layers of other kinds than the plain one (sliding windows, recurrent
states) are left as transformers makes them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer


def growing_cache(config: PretrainedConfig, room: int) -> DynamicCache:
    """An empty cache whose plain layers keep room for that many tokens after what is read."""
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


class GrowingLayer(DynamicLayer):
    """Keys and values (B, H, T, D) as views of tensors with room for more tokens."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        self._whole: tuple[Tensor, Tensor] | None = None  # (B, H, T + room, D) each

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin = self.get_seq_length()
        end = begin + key_states.shape[-2]
        if self._whole is None or self._whole[0].shape[-2] < end:
            self._whole = (
                self._moved(self.keys, key_states, begin, end),
                self._moved(self.values, value_states, begin, end),
            )
        keys, values = self._whole
        keys[:, :, begin:end] = key_states
        values[:, :, begin:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def _moved(self, old: Tensor | None, new: Tensor, begin: int, end: int) -> Tensor:
        """Room for the states up to `end` and more, with what is known at its beginning."""
        batch, heads, _, size = new.shape
        whole = new.new_empty((batch, heads, end + self._room, size))
        if old is not None and begin:
            whole[:, :, :begin] = old
        return whole

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._whole = None
        super().batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: Tensor) -> None:
        self._whole = None
        super().batch_select_indices(indices)

    def crop(self, tokens_to_remove: int) -> None:
        self._whole = None  # what is cropped may still be looked at by someone
        super().crop(tokens_to_remove)

    def reset(self) -> None:
        self._whole = None
        super().reset()

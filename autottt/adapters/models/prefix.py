"""A trained key-value prefix in place of a prompt (CT-KV: Lu et al., 2025).

The prefix starts as the cache that the model itself computes for the prompt, so before any step it
answers exactly as in-context learning does. Weights are untouched; only the cached keys and values
are trained. There is one prefix a place, left-padded to a common length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autottt.adapters.models.base import PrefixSettings, TokenSequence
from autottt.adapters.models.cache_names import cache_of
from autottt.adapters.models.ranks import Part


class Prefix:
    """Keys and values of K prompts: for each layer two parameters (K, heads, P, head width)."""

    def __init__(
        self, module: nn.Module, settings: PrefixSettings, ids: Tensor, mask: Tensor, seed: int
    ):
        """`ids` and `mask` (K, P) are the left-padded prompts, on the model's device.

        `seed` is that of what training hides.
        """
        self.settings = settings
        self.mask = mask
        self.selected: Tensor | None = None
        self.generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            read = module(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                use_cache=True,
                logits_to_keep=1,
            )
        self.parameters = {
            f"{place}.{part}": nn.Parameter(getattr(layer, part).detach().float().clone())
            for place, layer in enumerate(cache_of(read).layers)
            for part in ("keys", "values")
        }

    def parts(self, config: Any, rank: int) -> dict[str, Part]:
        """Which heads of each parameter are here, where other processes have others."""
        text = config.get_text_config()
        heads = int(getattr(text, "num_key_value_heads", None) or text.num_attention_heads)
        return {
            name: Part(1, rank * value.shape[1], (rank + 1) * value.shape[1], heads)
            for name, value in self.parameters.items()
            if value.shape[1] < heads
        }

    def cache(self, config: Any, rows: int) -> Any:
        """A cache that holds the prefix of every row; gradients flow back to the prefix."""
        from transformers import DynamicCache

        cache = DynamicCache(config=config)
        for layer in range(len(self.parameters) // 2):
            keys, values = (
                self._for_rows(self.parameters[f"{layer}.{part}"], rows)
                for part in ("keys", "values")
            )
            cache.update(keys, values, layer)
        return cache

    def visible(self, rows: int, sequences: Sequence[TokenSequence], *, training: bool) -> Tensor:
        """(rows, P): what each row may look at. Training hides a random share as well."""
        mask = self._for_rows(self.mask, rows, cast=False).clone()
        padding = self.mask.shape[1] - self._for_rows(self.mask, rows, cast=False).sum(1)
        for row, sequence in enumerate(sequences):
            begin, end = (int(padding[row]) + place for place in sequence.hidden)
            mask[row, begin:end] = 0
        if training and self.settings.dropout:
            draw = torch.rand(mask.shape, generator=self.generator).to(mask.device)
            mask = mask * (draw >= self.settings.dropout)
        return mask

    def lengths(self, rows: int) -> Tensor:
        """(rows, 1): how many tokens each row's prefix stands for."""
        return self._for_rows(self.mask, rows, cast=False).sum(1, keepdim=True)

    def _for_rows(self, value: Tensor, rows: int, *, cast: bool = True) -> Tensor:
        chosen = value if self.selected is None else value[self.selected]
        repeated = chosen.repeat_interleave(rows // len(chosen), dim=0)
        return repeated.to(torch.bfloat16) if cast else repeated

"""The names that models have for a cache of keys and values.

transformers calls it `cache` since 5.24 and `past_key_values` before, and models of others may
still. The module loads nothing of transformers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def cache_argument(module: Any, cache: Any) -> dict[str, Any]:
    """The cache by the name that the model has for it."""
    return {_name(type(module).forward): cache}


@functools.cache
def _name(forward: Callable[..., Any]) -> str:
    new = "cache" in inspect.signature(forward).parameters
    return "cache" if new else "past_key_values"


def cache_of(output: Any) -> Any:
    """What a model's output holds of what it has read; None where it holds nothing of it."""
    known = getattr(output, "cache", None)
    return getattr(output, "past_key_values", None) if known is None else known

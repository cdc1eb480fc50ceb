"""Tasks, attempts, decisions and answers as plain JSON values, and back."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_json(value: object) -> dict[str, Any]:
    """A dataclass of `autottt.types` as dicts, lists, strings, numbers, booleans and None."""
    kind: Any = type(value)
    plain: dict[str, Any] = _adapter(kind).dump_python(value, mode="json")
    return plain


def from_json(kind: type[T], plain: dict[str, Any]) -> T:
    """The inverse of `to_json`; raises pydantic's `ValidationError` on a wrong shape."""
    hashable: Any = kind
    value: T = _adapter(hashable).validate_python(plain)
    return value

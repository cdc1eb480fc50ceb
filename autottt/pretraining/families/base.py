"""What a task family is, and the drawing helpers that the families share.

A family is a function of a random generator that fixes the latent rule of one task (a distance,
a colour map, ...) and returns a `PairMaker`: each call draws a fresh input and the output that the
rule gives for it. The module knows nothing of token budgets, splits or views: `sampling` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Cells = NDArray[np.int8]  # (H, W), colours 0-9, 0 is the background
Pair = tuple[Cells, Cells]
PairMaker = Callable[[], Pair | None]  # None: this draw was degenerate, draw again
TextPair = tuple[str, str]  # one line each, not empty
TextMaker = Callable[[], TextPair | None]
Content = Cells | str
AnyPair = tuple[Content, Content]
AnyMaker = Callable[[], AnyPair | None]

FAMILIES: dict[str, Family] = {}
_ROOM: ContextVar[int] = ContextVar("room", default=0)  # see `larger`
ROOMY = 9  # cells a side that a family must allow for its grids to become larger


@dataclass(frozen=True)
class Family:
    """A named distribution over tasks that share a concept.

    `kind` is "line" for one-row grids, "grid" for others and "text" for strings; `concept` is the
    first line of the docstring.
    """

    name: str
    group: str
    kind: str
    make: Callable[[Rng], AnyMaker]

    @property
    def concept(self) -> str:
        return (self.make.__doc__ or "").strip().splitlines()[0]


def family(
    group: str, *, dims: int
) -> Callable[[Callable[[Rng], PairMaker]], Callable[[Rng], PairMaker]]:
    """Register the decorated function as a family of grid tasks under its own name."""

    def register(make: Callable[[Rng], PairMaker]) -> Callable[[Rng], PairMaker]:
        _add(Family(make.__name__, group, "line" if dims == 1 else "grid", make))
        return make

    return register


def text_family(
    group: str,
) -> Callable[[Callable[[Rng], TextMaker]], Callable[[Rng], TextMaker]]:
    """Register the decorated function as a family of text tasks under its own name."""

    def register(make: Callable[[Rng], TextMaker]) -> Callable[[Rng], TextMaker]:
        _add(Family(make.__name__, group, "text", make))
        return make

    return register


def _add(new: Family) -> None:
    if new.name in FAMILIES:
        raise ValueError(f"family {new.name!r} is defined twice; rename one of them")
    FAMILIES[new.name] = new


def between(rng: Rng, low: int, high: int) -> int:
    """A uniform integer in [low, high], both ends included."""
    return int(rng.integers(low, high + 1))


def chance(rng: Rng, p: float) -> bool:
    """True with probability `p`."""
    return bool(rng.random() < p)


def colours(rng: Rng, n: int) -> list[int]:
    """`n` distinct colours other than the background 0."""
    return [int(c) for c in rng.permutation(np.arange(1, 10))[:n]]


def lengths(rng: Rng, low: int = 8, high: int = 32) -> Callable[[], int]:
    """Line lengths for the pairs of one task: one for all in most tasks, varied in the rest."""
    base = between(rng, low, high)
    if chance(rng, 0.7):
        return lambda: base
    return lambda: between(rng, max(low, base - 6), min(high, base + 6))


@contextmanager
def larger(room: int) -> Iterator[None]:
    """Within it `sizes` may be `room` cells larger, but for families that want small grids."""
    before = _ROOM.set(room)
    try:
        yield
    finally:
        _ROOM.reset(before)


def sizes(rng: Rng, low: int = 3, high: int = 10) -> Callable[[], tuple[int, int]]:
    """Grid sizes (H, W) for the pairs of one task: one size in most tasks, varied in the rest.

    Within `larger` they may be beyond `high`.
    """
    if high >= ROOMY:
        high += _ROOM.get()
    h = between(rng, low, high)
    w = h if chance(rng, 0.5) else between(rng, low, high)
    if chance(rng, 0.65):
        return lambda: (h, w)
    return lambda: (
        between(rng, max(low, h - 3), min(high, h + 3)),
        between(rng, max(low, w - 3), min(high, w + 3)),
    )


def blank(h: int, w: int) -> Cells:
    """An empty grid."""
    return np.zeros((h, w), dtype=np.int8)


def speckle(rng: Rng, h: int, w: int, palette: list[int], density: float) -> Cells:
    """A grid whose cells take a random colour of `palette` with probability `density`, else 0."""
    filled = rng.random((h, w)) < density
    return np.where(filled, rng.choice(np.array(palette), (h, w)), 0).astype(np.int8)

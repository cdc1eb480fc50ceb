"""Two-dimensional families in which a cell changes by what its neighbours are."""

from __future__ import annotations

import numpy as np

from autottt.pretraining.families.base import (
    Pair,
    PairMaker,
    Rng,
    between,
    blank,
    chance,
    colours,
    family,
    sizes,
    speckle,
)
from autottt.pretraining.families.grid_tools import (
    blobs,
    neighbours,
    paint,
    pick,
    picks,
    rectangles,
)


@family("colour", dims=2)
def grid_automaton(rng: Rng) -> PairMaker:
    """One step of a cellular automaton: empty cells with enough coloured neighbours are born."""
    size, eight, (alive, born) = sizes(rng), chance(rng, 0.5), colours(rng, 2)
    need, dies = between(rng, 2, 3 if eight else 2), chance(rng, 0.4)
    born = born if chance(rng, 0.5) else alive

    def pair() -> Pair | None:
        cells = speckle(rng, *size(), [alive], rng.uniform(0.2, 0.4))
        count = neighbours(cells > 0, eight=eight)
        out = cells.copy()
        if dies:
            out[(cells > 0) & (count < need)] = 0
        out[(cells == 0) & (count >= need)] = born
        return cells, out

    return pair


@family("colour", dims=2)
def grid_smooth(rng: Rng) -> PairMaker:
    """A cell whose neighbours mostly have the other colour takes that colour."""
    size, (a, b) = sizes(rng, 4), colours(rng, 2)
    b = b if chance(rng, 0.5) else 0

    def pair() -> Pair | None:
        h, w = size()
        first = np.zeros((h, w), dtype=np.bool_)
        first[: between(rng, 1, h - 1), : between(rng, 1, w)] = True
        if chance(rng, 0.5):
            first = first[::-1, ::-1]
        first = first ^ (rng.random((h, w)) < 0.12)
        mine, other = neighbours(first), neighbours(~first)
        after = np.where(mine == other, first, mine > other)
        return np.where(first, a, b).astype(np.int8), np.where(after, a, b).astype(np.int8)

    return pair


@family("colour", dims=2)
def grid_count_neighbours(rng: Rng) -> PairMaker:
    """Each coloured cell takes the colour that stands for its count of coloured side neighbours."""
    size, (dot, *palette) = sizes(rng), colours(rng, 4)
    table = np.array([palette[0], palette[1], palette[2], palette[2], palette[2]], dtype=np.int8)

    def pair() -> Pair | None:
        cells = speckle(rng, *size(), [dot], rng.uniform(0.25, 0.5))
        count = neighbours(cells > 0, eight=False)
        return cells, np.where(cells > 0, table[count], 0).astype(np.int8)

    return pair


@family("colour", dims=2)
def grid_drop_isolated(rng: Rng) -> PairMaker:
    """Coloured cells without a coloured neighbour vanish or change colour."""
    size, (ink, *palette) = sizes(rng, 5), colours(rng, 3)
    ink, density = ink if chance(rng, 0.5) else 0, rng.uniform(0.1, 0.25)

    def pair() -> Pair | None:
        h, w = size()
        cells = paint(h, w, blobs(rng, h, w, 3, low=2, high=6), picks(rng, palette, 3))
        cells[(rng.random((h, w)) < density) & (neighbours(cells > 0) == 0)] = pick(rng, palette)
        out = cells.copy()
        out[(cells > 0) & (neighbours(cells > 0) == 0)] = ink
        return cells, out

    return pair


@family("colour", dims=2)
def grid_rim(rng: Rng) -> PairMaker:
    """Cells of a shape that touch the background, or those that do not, change colour."""
    size, (body, ink) = sizes(rng, 5, 12), colours(rng, 2)
    inner, eight = chance(rng, 0.4), chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        for top, left, bottom, right in rectangles(rng, h, w, 3, low=3, high=6, gap=-2):
            cells[top:bottom, left:right] = body
        rim = (cells > 0) & (neighbours(cells == 0, eight=eight) > 0)
        out = cells.copy()
        out[~rim & (cells > 0) if inner else rim] = ink
        return cells, out

    return pair

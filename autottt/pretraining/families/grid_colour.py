"""Two-dimensional families in which cells change colour by local or global rules."""

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
    pick,
    picks,
    rectangles,
)


@family("colour", dims=2)
def grid_recolour_map(rng: Rng) -> PairMaker:
    """Each colour is replaced by the fixed colour that stands for it."""
    size, found, n = sizes(rng), colours(rng, 9), between(rng, 1, 4)
    palette, shift = found[:n], between(rng, 1, 9 - n)
    table = np.arange(10, dtype=np.int8)
    table[palette] = found[shift : shift + n]
    density = rng.uniform(0.3, 0.95)

    def pair() -> Pair | None:
        cells = speckle(rng, *size(), palette, density)
        return cells, table[cells]

    return pair


@family("colour", dims=2)
def grid_swap_pair(rng: Rng) -> PairMaker:
    """Two colours trade places and the other colours stay."""
    size, palette = sizes(rng), colours(rng, between(rng, 2, 5))
    table = np.arange(10, dtype=np.int8)
    table[palette[:2]] = palette[1::-1]
    density = rng.uniform(0.4, 1.0)

    def pair() -> Pair | None:
        cells = speckle(rng, *size(), palette, density)
        return cells, table[cells]

    return pair


@family("colour", dims=2)
def grid_swap_in_grid(rng: Rng) -> PairMaker:
    """The two colours of the grid trade places, whichever they are."""
    size, palette = sizes(rng), colours(rng, 6)

    def pair() -> Pair | None:
        h, w = size()
        a, b = rng.permutation(palette)[:2].tolist()
        first = rng.random((h, w)) < 0.5
        cells = np.where(first, a, b).astype(np.int8)
        void = rng.random((h, w)) < 0.2
        cells[void] = 0
        out = np.where(void, 0, a + b - cells).astype(np.int8)
        return cells, out

    return pair


@family("colour", dims=2)
def grid_header(rng: Rng) -> PairMaker:
    """The dots below each header cell take the colour of that header."""
    size, turns, (dot, *palette) = sizes(rng, 4), between(rng, 0, 3), colours(rng, 5)
    density = rng.uniform(0.25, 0.6)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, [dot], density)
        cells[0] = picks(rng, palette, w)
        out = np.where(cells == dot, cells[0], cells).astype(np.int8)
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("colour", dims=2)
def grid_parity(rng: Rng) -> PairMaker:
    """Coloured cells change colour where their row, column or both fall on every second line."""
    size, (ink, *palette) = sizes(rng, 4), colours(rng, 3)
    way, start = between(rng, 0, 2), between(rng, 0, 1)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        for top, left, bottom, right in rectangles(rng, h, w, 3, low=2, high=6):
            cells[top:bottom, left:right] = pick(rng, palette)
        ys, xs = np.arange(h)[:, None], np.arange(w)[None, :]
        line = (ys + 0 * xs, xs + 0 * ys, ys + xs)[way]
        out = cells.copy()
        out[(line % 2 == start) & (cells > 0)] = ink
        return cells, out

    return pair


@family("colour", dims=2)
def grid_keep_colour(rng: Rng) -> PairMaker:
    """Only one fixed colour is kept, or only that one is removed."""
    size, palette, drop = sizes(rng), colours(rng, between(rng, 2, 5)), chance(rng, 0.5)
    density = rng.uniform(0.4, 1.0)

    def pair() -> Pair | None:
        cells = speckle(rng, *size(), palette, density)
        chosen = cells == palette[0]
        return cells, np.where(chosen != drop, cells, 0).astype(np.int8)

    return pair


@family("colour", dims=2)
def grid_keep_commonest(rng: Rng) -> PairMaker:
    """Only the cells of the grid's most common colour are kept, or only those of its rarest."""
    size, palette, rarest = sizes(rng, 4), colours(rng, 5), chance(rng, 0.4)
    ink = 0 if chance(rng, 0.7) else palette.pop()

    def pair() -> Pair | None:
        h, w = size()
        found = rng.permutation(palette)[:3].tolist()
        cells = speckle(rng, h, w, [found[0], *found, *found[:2]], 0.6)
        counts = [int((cells == colour).sum()) for colour in found]
        best = min(counts) if rarest else max(counts)
        if counts.count(best) > 1 or best == 0:
            return None
        chosen = cells == found[counts.index(best)]
        return cells, np.where(chosen | (cells == 0), cells, ink).astype(np.int8)

    return pair


@family("colour", dims=2)
def grid_row_majority(rng: Rng) -> PairMaker:
    """Every row is filled with the colour that most of its cells have."""
    size, palette, turned = sizes(rng, 3), colours(rng, 4), chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        out = np.repeat(np.array(picks(rng, palette, h), dtype=np.int8)[:, None], w, axis=1)
        cells = out.copy()
        most = (w - 1) // 2
        for y in range(h):
            columns = rng.permutation(w)[: between(rng, 0, most)]
            cells[y, columns] = rng.choice(np.array(palette), len(columns))
        return (cells.T, out.T) if turned else (cells, out)

    return pair


@family("colour", dims=2)
def grid_legend(rng: Rng) -> PairMaker:
    """The first two columns are a legend: the left colour of each entry becomes the right one."""
    size, turns, order = sizes(rng, 5), between(rng, 0, 3), chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        n = between(rng, 1, 3)
        found = colours(rng, 2 * n)
        cells = blank(h, w)
        cells[:, 3:] = speckle(rng, h, w - 3, found[:n] if order else found[n:], 0.5)
        cells[:n, 0], cells[:n, 1] = found[:n], found[n:]
        table = np.arange(10, dtype=np.int8)
        table[found] = (found[n:] + found[n:]) if order else (found[:n] + found[:n])
        out = cells.copy()
        out[:, 3:] = table[cells[:, 3:]]
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("colour", dims=2)
def grid_uniform_rows(rng: Rng) -> PairMaker:
    """Rows of one single colour are marked with one colour, and mixed rows with another."""
    size, turned, (yes, no, *palette) = sizes(rng, 3), chance(rng, 0.5), colours(rng, 5)
    no = no if chance(rng, 0.6) else 0

    def pair() -> Pair | None:
        h, w = size()
        cells = rng.choice(np.array(palette, dtype=np.int8), (h, w))
        even = rng.random(h) < 0.5
        cells[even] = cells[even, :1]
        same = (cells == cells[:, :1]).all(axis=1)
        out = np.repeat(np.where(same, yes, no).astype(np.int8)[:, None], w, axis=1)
        return (cells.T, out.T) if turned else (cells, out)

    return pair

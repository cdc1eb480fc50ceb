"""Two-dimensional families that draw lines, rays and frames."""

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
)
from autottt.pretraining.families.grid_tools import (
    DIAGONALS,
    STEPS4,
    STEPS8,
    Spot,
    pick,
    picks,
    ray,
    spots,
)


@family("lines", dims=2)
def grid_rays(rng: Rng) -> PairMaker:
    """Every pixel shoots rays to the border in a fixed set of directions."""
    size, palette = sizes(rng, 5), colours(rng, 3)
    ways: list[Spot] = pick(
        rng, [STEPS4, DIAGONALS, STEPS4[::2], STEPS4[1::2], [pick(rng, STEPS8)]]
    )
    trace = palette[2] if chance(rng, 0.4) else 0

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        found = spots(rng, h, w, between(rng, 1, 3))
        for spot, colour in zip(found, picks(rng, palette[:2], 3), strict=False):
            cells[spot] = colour
        if not trace and (cells > 0).sum() > 1:
            cells[cells > 0] = palette[0]
        out = cells.copy()
        for spot in found:
            for step in ways:
                for at in ray(h, w, spot, step):
                    out[at] = out[at] if cells[at] else trace or cells[spot]
        return cells, out

    return pair


@family("lines", dims=2)
def grid_ray_by_colour(rng: Rng) -> PairMaker:
    """A pixel's colour says in which direction it draws its line; lines stop at other pixels."""
    size, palette = sizes(rng, 5), colours(rng, 3)
    steps = STEPS4 if chance(rng, 0.6) else STEPS8
    ways = [steps[i] for i in rng.permutation(len(steps))[:3]]

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        found = spots(rng, h, w, between(rng, 2, 3))
        kinds = rng.permutation(3).tolist()
        for spot, kind in zip(found, kinds, strict=False):
            cells[spot] = palette[kind]
        out = cells.copy()
        for spot, kind in zip(found, kinds, strict=False):
            for at in ray(h, w, spot, ways[kind]):
                if out[at]:
                    if not cells[at]:
                        return None  # two lines cross: the order would show
                    break
                out[at] = palette[kind]
        return cells, out

    return pair


@family("lines", dims=2)
def grid_ray_to_wall(rng: Rng) -> PairMaker:
    """Pixels of the source colour draw a line in one direction until an obstacle stops it."""
    size, turns = sizes(rng, 5, 12), between(rng, 0, 3)
    source, wall, trace = colours(rng, 3)
    trace = trace if chance(rng, 0.5) else source

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        cells[rng.random((h, w)) < 0.12] = wall
        rows = rng.permutation(h)[: between(rng, 1, min(4, h))].tolist()
        for y in rows:
            cells[y, between(rng, 0, w // 3)] = source
        out = cells.copy()
        for y in rows:
            x = int(np.flatnonzero(cells[y] == source)[0]) + 1
            while x < w and cells[y, x] == 0:
                out[y, x] = trace
                x += 1
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("lines", dims=2)
def grid_connect(rng: Rng) -> PairMaker:
    """Two pixels of one colour in the same row or column are joined by a line."""
    size, palette = sizes(rng, 5), colours(rng, 4)
    joint = palette[3] if chance(rng, 0.5) else 0
    only_rows = chance(rng, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        across = chance(rng, 0.5) and not only_rows
        h, w = (w, h) if across else (h, w)
        cells, out = cells.reshape(h, w), out.reshape(h, w)
        for y in rng.permutation(h)[: between(rng, 1, min(4, h))].tolist():
            left, right = sorted(rng.permutation(w)[:2].tolist())
            a, b = rng.permutation(palette[:3])[:2].tolist()
            same = not out.any() or chance(rng, 0.6)
            cells[y, [left, right]] = out[y, [left, right]] = (a, a if same else b)
            if same:
                out[y, left + 1 : right] = joint or a
        return (cells.T, out.T) if across else (cells, out)

    return pair


@family("lines", dims=2)
def grid_crossings(rng: Rng) -> PairMaker:
    """Pixels on two sides become full lines, and the cells where lines cross get a third colour."""
    size, turns = sizes(rng, 5), between(rng, 0, 3)
    first, second, joint = colours(rng, 3)

    def pair() -> Pair | None:
        h, w = size()
        rows = rng.permutation(np.arange(1, h))[: between(rng, 1, max(1, h // 3))]
        columns = rng.permutation(np.arange(1, w))[: between(rng, 1, max(1, w // 3))]
        cells = blank(h, w)
        cells[rows, 0] = first
        cells[0, columns] = second
        out = blank(h, w)
        out[rows] = first
        out[:, columns] = second
        out[np.ix_(rows, columns)] = joint
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("lines", dims=2)
def grid_repeat_pixels(rng: Rng) -> PairMaker:
    """Each pixel at one side is repeated across its row at a fixed spacing."""
    size, turns, period = sizes(rng, 5, 12), between(rng, 0, 3), between(rng, 2, 3)
    palette, partner = colours(rng, 4), chance(rng, 0.4)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        for y in rng.permutation(h)[: between(rng, 1, min(4, h))].tolist():
            colour = palette[between(rng, 0, 2)]
            cells[y, 0] = colour
            out[y, ::period] = colour
            if partner:
                out[y, 1::period] = palette[3]
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("lines", dims=2)
def grid_stripes(rng: Rng) -> PairMaker:
    """Two pixels on one side become full lines that repeat in turn with the spacing they have."""
    size, turns = sizes(rng, 8, 12), between(rng, 0, 3)
    palette = colours(rng, 9)

    def pair() -> Pair | None:
        h, w = size()
        start, period = between(rng, 0, w // 3), between(rng, 1, w // 3)
        a, b = rng.permutation(palette)[:2].tolist()
        cells, out = blank(h, w), blank(h, w)
        cells[0, [start, start + period]] = (a, b)
        out[:, start :: 2 * period] = a
        out[:, start + period :: 2 * period] = b
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair

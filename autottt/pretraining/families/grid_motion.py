"""Two-dimensional families in which cells or objects move."""

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
    STEPS4,
    blobs,
    paint,
    picks,
    spots,
)


@family("motion", dims=2)
def grid_shift(rng: Rng) -> PairMaker:
    """Everything moves by one fixed step; what leaves the grid is lost or comes back opposite."""
    size, palette = sizes(rng), colours(rng, between(rng, 1, 5))
    dy, dx, wraps = between(rng, -2, 2), between(rng, -2, 2), chance(rng, 0.5)
    dx = dx or (1 if dy == 0 else 0)
    density = rng.uniform(0.15, 0.7)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, palette, density)
        out = np.roll(cells, (dy, dx), axis=(0, 1))
        if not wraps:
            out[: max(dy, 0)] = out[h + min(dy, 0) :] = 0
            out[:, : max(dx, 0)] = out[:, w + min(dx, 0) :] = 0
        return cells, out

    return pair


@family("motion", dims=2)
def grid_gravity(rng: Rng) -> PairMaker:
    """All coloured cells fall to one side of the grid and pile up in their order."""
    size, palette, turns = sizes(rng), colours(rng, between(rng, 1, 4)), between(rng, 0, 3)
    density = rng.uniform(0.15, 0.55)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, palette, density)
        side = np.rot90(cells, turns)
        order = np.argsort(side != 0, axis=0, kind="stable")
        return cells, np.rot90(np.take_along_axis(side, order, axis=0), -turns)

    return pair


@family("motion", dims=2)
def grid_fall_objects(rng: Rng) -> PairMaker:
    """Objects keep their shape and fall to one side until they land on it or on another object."""
    size, palette, turns = sizes(rng, 6, 12), colours(rng, 4), between(rng, 0, 3)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 2, 4), low=2, high=5)
        cells = paint(h, w, masks, picks(rng, palette, len(masks)))
        side = np.rot90(cells, turns)
        moving = [np.rot90(mask, turns) for mask in masks]
        moving.sort(key=lambda mask: -int(np.flatnonzero(mask.any(axis=1))[-1]))
        out = blank(*side.shape)
        for mask in moving:
            ys, xs = np.nonzero(mask)
            drop = 0
            while ys.max() + drop + 1 < len(out) and not out[ys + drop + 1, xs].any():
                drop += 1
            out[ys + drop, xs] = side[ys, xs]
        return cells, np.rot90(out, -turns)

    return pair


@family("motion", dims=2)
def grid_magnet(rng: Rng) -> PairMaker:
    """Pixels of the line's colour fly to it and stop against it; the others vanish or stay."""
    size, stay, across = sizes(rng, 6, 12), chance(rng, 0.5), chance(rng, 0.5)
    line, *palette = colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        row = between(rng, 2, h - 3)
        cells = blank(h, w)
        out = blank(h, w)
        cells[row] = out[row] = line
        columns = rng.permutation(w)[: between(rng, 2, min(5, w))]
        for index, x in enumerate(columns.tolist()):
            y = between(rng, 0, h - 1)
            if y == row:
                continue
            pulled = index == 0 or chance(rng, 0.6)
            cells[y, x] = line if pulled else palette[index % len(palette)]
            if pulled:
                out[row + (1 if y > row else -1), x] = line
            elif stay:
                out[y, x] = cells[y, x]
        return (cells.T, out.T) if across else (cells, out)

    return pair


@family("motion", dims=2)
def grid_colour_steps(rng: Rng) -> PairMaker:
    """Each colour has its own direction, and every pixel takes a fixed number of steps in it."""
    size, far = sizes(rng, 5), between(rng, 1, 2)
    palette = colours(rng, between(rng, 2, 3))
    ways = [STEPS4[i] for i in rng.permutation(4)[: len(palette)]]

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        found = spots(rng, h, w, between(rng, 3, 6), gap=0)
        for (y, x), which in zip(found, picks(rng, [0, 1, len(palette) - 1], 6), strict=False):
            cells[y, x] = palette[which]
            y, x = y + far * ways[which][0], x + far * ways[which][1]
            if 0 <= y < h and 0 <= x < w:
                if out[y, x]:
                    return None
                out[y, x] = palette[which]
        return cells, out

    return pair


@family("motion", dims=2)
def grid_turn_whole(rng: Rng) -> PairMaker:
    """The whole grid is turned or mirrored in one fixed way."""
    side, palette, way = sizes(rng), colours(rng, between(rng, 2, 6)), between(rng, 1, 7)
    density = rng.uniform(0.3, 0.9)

    def pair() -> Pair | None:
        h, w = side()
        if way % 2:
            w = h
        cells = speckle(rng, h, w, palette, density)
        turned = np.rot90(cells if way < 4 else cells[::-1], way)
        return cells, turned.copy()

    return pair


@family("motion", dims=2)
def grid_shear(rng: Rng) -> PairMaker:
    """Each row is rolled sideways by a fixed amount more than the row above it."""
    size, palette, across = sizes(rng), colours(rng, between(rng, 2, 4)), chance(rng, 0.5)
    slope = between(rng, 1, 2) * (1 if chance(rng, 0.5) else -1)
    density = rng.uniform(0.2, 0.6)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, palette, density)
        if chance(rng, 0.5):
            cells[:] = cells[0]
        source = (np.arange(w)[None, :] - slope * np.arange(h)[:, None]) % w
        out = np.take_along_axis(cells, source, axis=1)
        return (cells.T, out.T) if across else (cells, out)

    return pair


@family("motion", dims=2)
def grid_sort_rows(rng: Rng) -> PairMaker:
    """The rows are reordered by how many coloured cells they hold."""
    size, turns, down = sizes(rng, 3, 8), between(rng, 0, 3), chance(rng, 0.5)
    palette = colours(rng, between(rng, 1, 4))

    def pair() -> Pair | None:
        h, w = size()
        w = max(h, w)
        counts = rng.permutation(w)[:h] + 1
        cells = (np.arange(w)[None, :] < counts[:, None]).astype(np.int8)
        cells *= rng.choice(np.array(palette, dtype=np.int8), (h, 1))
        out = cells[np.argsort(counts if down else -counts)]
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("motion", dims=2)
def grid_swap_halves(rng: Rng) -> PairMaker:
    """The two halves of the grid trade places around the middle line, if there is one."""
    size, palette, across = sizes(rng, 4), colours(rng, between(rng, 2, 5)), chance(rng, 0.5)
    density, flips = rng.uniform(0.25, 0.7), chance(rng, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, palette, density)
        half = w // 2
        out = cells.copy()
        out[:, :half], out[:, -half:] = cells[:, -half:], cells[:, :half]
        if flips:
            out = out[::-1].copy()
        return (cells.T, out.T) if across else (cells, out)

    return pair

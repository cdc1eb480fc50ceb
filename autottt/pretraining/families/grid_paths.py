"""Two-dimensional families in which a pixel draws a path, or a frame or shadow grows."""

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
    STEPS4,
    box_of,
    frame,
    pick,
    rectangles,
    spots,
)


@family("motion", dims=2)
def grid_bounce(rng: Rng) -> PairMaker:
    """A pixel on one side shoots diagonally and bounces off the two side walls to the far end."""
    size, turns = sizes(rng, 5, 12), between(rng, 0, 3)
    track, *palette = colours(rng, 9)
    keep, start = chance(rng, 0.5), 1 if chance(rng, 0.5) else -1

    def pair() -> Pair | None:
        h, w = size()
        w = max(3, min(w, between(rng, 3, 6))) if chance(rng, 0.5) else w
        cells, ball = blank(h, w), palette[between(rng, 0, 7)]
        x, step = between(rng, 0, w - 1), start
        cells[0, x] = ball
        out = cells.copy()
        for y in range(1, h):
            if not 0 <= x + step < w:
                step = -step
            x += step
            out[y, x] = ball if keep else track
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("lines", dims=2)
def grid_spiral(rng: Rng) -> PairMaker:
    """The corner pixel winds inwards as a spiral that leaves one free cell between its turns."""
    largest, turns, clockwise = between(rng, 7, 12), between(rng, 0, 3), chance(rng, 0.5)
    palette = colours(rng, 6)

    def pair() -> Pair | None:
        n = between(rng, 4, largest)
        cells, colour = blank(n, n), pick(rng, palette)
        cells[0, 0] = colour
        out = cells.copy()
        y, x = 0, 0
        runs = [n - 1] + [k for k in range(n - 1, 0, -2) for _ in range(2)]
        runs = runs if n % 2 else runs[:-1]
        for leg, run in enumerate(runs):
            dy, dx = [(0, 1), (1, 0), (0, -1), (-1, 0)][leg % 4]
            for _ in range(run):
                y, x = y + dy, x + dx
                out[y, x] = colour
        out = out if clockwise else out.T
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("lines", dims=2)
def grid_deflect(rng: Rng) -> PairMaker:
    """A ray turns the same way at every obstacle it runs into until it leaves the grid."""
    size, turns = sizes(rng, 6, 12), between(rng, 0, 3)
    source, wall = colours(rng, 2)
    hand = 1 if chance(rng, 0.5) else -1

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        cells[rng.random((h, w)) < 0.14] = wall
        y, x, way = h - 1, between(rng, 0, w - 1), 0
        cells[y, x] = source
        out = cells.copy()
        for _ in range(4 * h):
            dy, dx = STEPS4[way % 4]
            if not (0 <= y + dy < h and 0 <= x + dx < w):
                break
            if cells[y + dy, x + dx] == wall:
                way += hand
                continue
            y, x = y + dy, x + dx
            out[y, x] = source
        else:
            return None
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("lines", dims=2)
def grid_wall_shadow(rng: Rng) -> PairMaker:
    """Each block casts a shadow of fixed length and colour on the side away from the light."""
    size, turns = sizes(rng, 6, 12), between(rng, 0, 3)
    solid, shade = colours(rng, 2)
    length = between(rng, 1, 12)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        for top, left, bottom, right in rectangles(rng, h, w, between(rng, 1, 4), low=1, high=3):
            cells[top:bottom, left:right] = solid
        out = cells.copy()
        for y, x in np.argwhere(cells == solid).tolist():
            shadow = out[y, x + 1 : x + 1 + length]
            shadow[shadow == 0] = shade
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("lines", dims=2)
def grid_bounding_frame(rng: Rng) -> PairMaker:
    """A frame is drawn on or just around the bounding box of all the scattered pixels."""
    size, outside = sizes(rng, 6, 12), chance(rng, 0.5)
    line, *palette = colours(rng, 3)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        tall, wide = between(rng, 3, h - 2), between(rng, 3, w - 2)
        top, left = between(rng, 1, h - 1 - tall), between(rng, 1, w - 1 - wide)
        for y, x in spots(rng, tall, wide, between(rng, 2, 6), gap=0):
            cells[top + y, left + x] = pick(rng, palette)
        t, x, b, r = box_of(cells > 0)
        out = cells.copy()
        frame(out, (t - 1, x - 1, b + 1, r + 1) if outside else (t, x, b, r), line)
        out[cells > 0] = cells[cells > 0]
        return cells, out

    return pair


@family("lines", dims=2)
def grid_border(rng: Rng) -> PairMaker:
    """A border is drawn around the grid in the colour of its only pixel."""
    size, palette = sizes(rng, 4), colours(rng, 5)
    inset, keep = between(rng, 0, 1), chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        spot = (between(rng, 0, h - 1), between(rng, 0, w - 1))
        cells[spot] = pick(rng, palette)
        frame(out, (inset, inset, h - inset, w - inset), int(cells[spot]))
        if keep:
            out[spot] = cells[spot]
        return cells, out

    return pair

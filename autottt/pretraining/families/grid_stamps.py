"""Two-dimensional families that stamp a pattern around pixels."""

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
    DIAGONALS,
    STEPS4,
    STEPS8,
    Spot,
    blob,
    pick,
    spots,
)


@family("stamps", dims=2)
def grid_stamp(rng: Rng) -> PairMaker:
    """A fixed small pattern is stamped around every marker pixel."""
    size, (marker, *palette) = sizes(rng, 6, 12), colours(rng, 4)
    pattern = speckle(rng, 3, 3, palette[: between(rng, 1, 3)], 0.7)
    pattern[1, 1], noise = marker if chance(rng, 0.5) else palette[0], chance(rng, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h + 2, w + 2)
        for index, (y, x) in enumerate(spots(rng, h, w, between(rng, 1, 4), gap=2)):
            if noise and index == 3:
                cells[y, x] = out[y + 1, x + 1] = palette[2]
                continue
            cells[y, x] = marker
            out[y : y + 3, x : x + 3] = pattern
        return cells, out[1:-1, 1:-1].copy()

    return pair


@family("stamps", dims=2)
def grid_stamp_by_colour(rng: Rng) -> PairMaker:
    """The pattern around a pixel (plus, cross or ring) depends on the pixel's colour."""
    size, palette = sizes(rng, 6, 12), colours(rng, 5)
    kinds: list[list[Spot]] = [STEPS4, DIAGONALS, STEPS8, [(0, -1), (0, 1)], [(-1, 0), (1, 0)]]
    order = rng.permutation(5).tolist()
    own = chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h + 2, w + 2)
        for index, (y, x) in enumerate(spots(rng, h, w, between(rng, 2, 4), gap=2)):
            which = index % 2 if index < 2 else between(rng, 0, 1)
            colour = palette[which]
            cells[y, x] = out[y + 1, x + 1] = colour
            for dy, dx in kinds[order[which]]:
                out[y + 1 + dy, x + 1 + dx] = colour if own else palette[2 + which]
        return cells, out[1:-1, 1:-1].copy()

    return pair


@family("stamps", dims=2)
def grid_stamp_shown(rng: Rng) -> PairMaker:
    """The pattern shown once in the input is copied around each lone pixel of its centre colour."""
    size, (centre, *palette) = sizes(rng, 7, 12), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        pattern = speckle(rng, 3, 3, palette, 0.6)
        pattern[1, 1] = centre
        cells, out = blank(h, w), blank(h, w)
        found = spots(rng, h - 2, w - 2, between(rng, 2, 4), gap=3)
        for index, (y, x) in enumerate(found):
            cells[y + 1, x + 1] = centre
            out[y : y + 3, x : x + 3] = pattern
            if index == 0:
                cells[y : y + 3, x : x + 3] = pattern
        return (cells, out) if len(found) > 1 else None

    return pair


@family("stamps", dims=2)
def grid_square_around(rng: Rng) -> PairMaker:
    """A square ring is drawn at a fixed distance around each pixel, in its colour or another."""
    size, (ink, *palette) = sizes(rng, 7, 12), colours(rng, 4)
    far, own = between(rng, 1, 2), chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h + 2 * far, w + 2 * far)
        for y, x in spots(rng, h, w, between(rng, 1, 3), gap=2 * far):
            colour = pick(rng, palette)
            ring = out[y : y + 2 * far + 1, x : x + 2 * far + 1]
            ring[:] = colour if own else ink
            ring[1:-1, 1:-1] = 0
            cells[y, x] = ring[far, far] = colour
        return cells, out[far:-far, far:-far].copy()

    return pair


@family("stamps", dims=2)
def grid_wave(rng: Rng) -> PairMaker:
    """Rings of two colours spread in turn from the one pixel over the whole grid."""
    size, palette, square = sizes(rng, 4, 10), colours(rng, 4), chance(rng, 0.5)
    period, other = between(rng, 2, 3), palette.pop() if chance(rng, 0.4) else 0

    def pair() -> Pair | None:
        h, w = size()
        y, x = between(rng, 0, h - 1), between(rng, 0, w - 1)
        dy, dx = abs(np.arange(h) - y)[:, None], abs(np.arange(w) - x)[None, :]
        far = np.maximum(dy, dx) if square else dy + dx
        cells, colour = blank(h, w), pick(rng, palette)
        cells[y, x] = colour
        return cells, np.where(far % period == 0, colour, other).astype(np.int8)

    return pair


@family("stamps", dims=2)
def grid_nearest_seed(rng: Rng) -> PairMaker:
    """Every cell takes the colour of the nearer of two pixels; cells halfway stay empty."""
    size, palette, rows = sizes(rng, 4, 10), colours(rng, 4), chance(rng, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        (y, x), (b, a) = [(between(rng, 0, h - 1), between(rng, 0, w - 1)) for _ in range(2)]
        ys, xs = np.arange(h)[:, None], np.arange(w)[None, :]
        one = abs(ys - y) + (0 * xs if rows else abs(xs - x))
        two = abs(ys - b) + (0 * xs if rows else abs(xs - a))
        if (y, x) == (b, a) or (rows and y == b):
            return None
        first, second = rng.permutation(palette)[:2].tolist()
        cells = blank(h, w)
        cells[y, x], cells[b, a] = first, second
        out = np.where(one < two, first, np.where(two < one, second, 0)).astype(np.int8)
        return cells, out

    return pair


@family("stamps", dims=2)
def grid_arms(rng: Rng) -> PairMaker:
    """Pixels grow arms of fixed length, and cells that two arms reach get a third colour."""
    size, (seed, leaf, joint) = sizes(rng, 5, 10), colours(rng, 3)
    reach = between(rng, 1, 2)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        count = np.zeros((h, w), dtype=np.int8)
        for y, x in spots(rng, h, w, between(rng, 2, 4), gap=1):
            cells[y, x] = seed
            count[max(0, y - reach) : y + reach + 1, x] += 1
            count[y, max(0, x - reach) : x + reach + 1] += 1
        out = np.where(count > 1, joint, np.where(count > 0, leaf, 0)).astype(np.int8)
        out[cells > 0] = seed
        return cells, out

    return pair


@family("symmetry", dims=2)
def grid_repeat_object(rng: Rng) -> PairMaker:
    """The object at one side is copied again and again in one direction until the border."""
    size, turns, gap = sizes(rng, 6, 12), between(rng, 0, 3), between(rng, 0, 2)
    palette, slope = colours(rng, 4), between(rng, 0, 1)

    def pair() -> Pair | None:
        h, w = size()
        shape = blob(rng, between(rng, 2, 5))
        tall, wide = shape.shape
        top = between(rng, 0, h - tall) if tall <= h else 0
        cells, out = np.zeros((2, h + 12, w + 12), dtype=np.int8)
        colour = pick(rng, palette)
        cells[top : top + tall, :wide][shape] = colour
        for index in range(w):
            y, x = top + slope * index * tall, index * (wide + gap)
            if y >= h or x >= w:
                break
            out[y : y + tall, x : x + wide][shape] = colour
        return np.rot90(cells[:h, :w], turns), np.rot90(out[:h, :w], turns)

    return pair

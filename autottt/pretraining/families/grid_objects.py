"""Two-dimensional families that change objects one by one."""

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
    blob,
    blobs,
    box_of,
    near,
    neighbours,
    paint,
    pick,
    picks,
    place,
    rectangles,
    scatter,
)


@family("objects", dims=2)
def grid_halo(rng: Rng) -> PairMaker:
    """Every object gets an outline, with or without corners."""
    size, eight, (ink, *palette) = sizes(rng, 5, 12), chance(rng, 0.5), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 1, 3), low=1, high=5)
        cells = paint(h, w, masks, picks(rng, palette, 3))
        out = cells.copy()
        out[near(cells > 0, eight=eight)] = ink
        return cells, out

    return pair


@family("objects", dims=2)
def grid_swap_inside(rng: Rng) -> PairMaker:
    """In each two-coloured object the two colours trade places."""
    size = sizes(rng, 5, 12)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        for top, left, bottom, right in rectangles(rng, h, w, between(rng, 1, 3), low=2, high=5):
            a, b = colours(rng, 2)
            part = rng.random((bottom - top, right - left)) < 0.5
            cells[top:bottom, left:right] = np.where(part, a, b)
            out[top:bottom, left:right] = np.where(part, b, a)
        return cells, out

    return pair


@family("objects", dims=2)
def grid_turn_each(rng: Rng) -> PairMaker:
    """Each square object is mirrored or turned in its place."""
    size, way, side = sizes(rng, 6, 12), between(rng, 1, 7), between(rng, 2, 3)
    palette = colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        for top, left, bottom, right in place(rng, h, w, [(side, side)] * between(rng, 1, 4)):
            tile = rng.choice(np.array(palette, dtype=np.int8), (side, side))
            cells[top:bottom, left:right] = tile
            out[top:bottom, left:right] = np.rot90(tile if way < 4 else tile[::-1], way)
        return cells, out

    return pair


@family("objects", dims=2)
def grid_mark_corners(rng: Rng) -> PairMaker:
    """The corners of each rectangle are marked, on it or diagonally outside it."""
    size, outside, (ink, *palette) = sizes(rng, 6, 12), chance(rng, 0.5), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        boxes = rectangles(rng, h - 2, w - 2, between(rng, 1, 3), low=2, high=5, gap=2)
        for top, left, bottom, right in boxes:
            cells[top + 1 : bottom + 1, left + 1 : right + 1] = pick(rng, palette)
        out = cells.copy()
        for top, left, bottom, right in boxes:
            grow = 1 if outside else 0
            for y in (top + 1 - grow, bottom + grow):
                for x in (left + 1 - grow, right + grow):
                    out[y, x] = ink
        return cells, out

    return pair


@family("objects", dims=2)
def grid_marker_inside(rng: Rng) -> PairMaker:
    """Each rectangle takes the colour of the one odd pixel inside it, if there is one."""
    size, (body, *palette) = sizes(rng, 6, 12), colours(rng, 5)
    plain = chance(rng, 0.4)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        for index, box in enumerate(rectangles(rng, h, w, between(rng, 1, 4), low=2, high=5)):
            top, left, bottom, right = box
            cells[top:bottom, left:right] = out[top:bottom, left:right] = body
            if index == 0 or not plain or chance(rng, 0.5):
                colour = pick(rng, palette)
                cells[between(rng, top, bottom - 1), between(rng, left, right - 1)] = colour
                out[top:bottom, left:right] = colour
        return cells, out

    return pair


@family("objects", dims=2)
def grid_marker_beside(rng: Rng) -> PairMaker:
    """An object touched by a marker pixel takes its colour and the marker stays or vanishes."""
    size, (body, *palette) = sizes(rng, 6, 12), colours(rng, 4)
    vanish = chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 2, 3), low=3, high=6)
        cells = paint(h, w, masks, [body])
        out = cells.copy()
        for index, mask in enumerate(masks):
            free = near(mask, eight=False) & (neighbours((cells > 0) & ~mask) == 0) & (cells == 0)
            if free.any() and (index == 0 or chance(rng, 0.6)):
                y, x = pick(rng, np.argwhere(free).tolist())
                cells[y, x] = out[mask] = colour = pick(rng, palette)
                out[y, x] = 0 if vanish else colour
        return cells, out

    return pair


@family("objects", dims=2)
def grid_colour_cycle(rng: Rng) -> PairMaker:
    """The concentric rings of a square pass their colours inwards or reverse their order."""
    size, reverse = sizes(rng, 5, 10), chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        n = min(9, (min(h, w) + 1) // 2) if chance(rng, 0.6) else 3
        found = np.array(colours(rng, n), dtype=np.int8)
        depth_y = np.minimum(np.arange(h), np.arange(h)[::-1])[:, None]
        depth_x = np.minimum(np.arange(w), np.arange(w)[::-1])[None, :]
        depth = np.minimum(np.minimum(depth_y, depth_x), n - 1)
        after = found[::-1] if reverse else np.roll(found, 1)
        return found[depth], after[depth]

    return pair


@family("objects", dims=2)
def grid_centre_cross(rng: Rng) -> PairMaker:
    """From each odd-sized square, lines run out of its middle row, column or both to the border."""
    size, (body, ink) = sizes(rng, 6, 12), colours(rng, 2)
    rows, columns, side = chance(rng, 0.6), chance(rng, 0.5), 3

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        out = blank(h, w)
        boxes = place(rng, h, w, [(side, side)] * between(rng, 1, 2))
        for top, left, bottom, right in boxes:
            cells[top:bottom, left:right] = body
            if rows or not columns:
                out[(top + bottom) // 2] = ink
            if columns:
                out[:, (left + right) // 2] = ink
        out[cells > 0] = body
        return cells, out

    return pair


@family("objects", dims=2)
def grid_colour_layers(rng: Rng) -> PairMaker:
    """Each solid rectangle is redrawn as nested rings of two alternating colours."""
    size, (body, first, second) = sizes(rng, 6, 12), colours(rng, 3)
    first = first if chance(rng, 0.5) else body

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        for top, left, bottom, right in rectangles(rng, h, w, between(rng, 1, 2), low=3, high=8):
            cells[top:bottom, left:right] = body
            for depth in range((min(bottom - top, right - left) + 1) // 2):
                area = out[top + depth : bottom - depth, left + depth : right - depth]
                area[:] = second if depth % 2 else first
        return cells, out

    return pair


@family("objects", dims=2)
def grid_split_halves(rng: Rng) -> PairMaker:
    """One half of each rectangle with an even side gets a second colour."""
    size, turns, (ink, *palette) = sizes(rng, 6, 12), between(rng, 0, 3), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        shapes = [(between(rng, 1, 4), 2 * between(rng, 1, 3)) for _ in range(between(rng, 1, 4))]
        boxes = place(rng, h, w, shapes)
        out = cells.copy()
        for top, left, bottom, right in boxes:
            cells[top:bottom, left:right] = out[top:bottom, left:right] = pick(rng, palette)
            out[top:bottom, (left + right) // 2 : right] = ink
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("objects", dims=2)
def grid_box_outline(rng: Rng) -> PairMaker:
    """Around each object, the outline of its bounding box grown by one cell is drawn."""
    size, (ink, *palette) = sizes(rng, 7, 12), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        found = scatter(rng, h - 2, w - 2, [blob(rng, 4) for _ in range(3)], gap=2)
        for mask in found:
            if mask is not None:
                top, left, bottom, right = box_of(mask)
                out[top : bottom + 2, left : right + 2] = ink
                out[top + 1 : bottom + 1, left + 1 : right + 1] = 0
                cells[1:-1, 1:-1][mask] = pick(rng, palette)
        out[cells > 0] = cells[cells > 0]
        return cells, out

    return pair

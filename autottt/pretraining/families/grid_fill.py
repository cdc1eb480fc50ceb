"""Two-dimensional families that fill areas."""

from __future__ import annotations

import numpy as np

from autottt.pretraining.families.base import (
    Cells,
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
    Box,
    blobs,
    box_of,
    components,
    edge,
    enclosed,
    flood,
    frame,
    paint,
    pick,
    picks,
    rectangles,
    spots,
)


def _frames(rng: Rng, h: int, w: int, n: int, colour: int) -> tuple[Cells, list[Box]]:
    """A grid with up to `n` separate frames, and their boxes."""
    cells = blank(h, w)
    boxes = rectangles(rng, h, w, n, low=3, high=6)
    for box in boxes:
        frame(cells, box, colour)
    return cells, boxes


@family("fill", dims=2)
def grid_fill_enclosed(rng: Rng) -> PairMaker:
    """Areas that walls close off from the border are filled; open ones stay empty."""
    size, (wall, ink) = sizes(rng, 6, 12), colours(rng, 2)
    leaky = rng.uniform(0.0, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells, boxes = _frames(rng, h, w, between(rng, 1, 4), wall)
        for top, left, bottom, right in boxes:
            if chance(rng, leaky):
                cells[pick(rng, [top, bottom - 1]), between(rng, left + 1, right - 2)] = 0
            elif chance(rng, 0.3):
                cells[top, left] = 0
        inside = enclosed(cells == 0)
        out = cells.copy()
        out[inside] = ink
        return (cells, out) if inside.any() else None

    return pair


@family("fill", dims=2)
def grid_fill_outside(rng: Rng) -> PairMaker:
    """The background that is connected to the border is filled; enclosed areas stay empty."""
    size, (wall, ink) = sizes(rng, 6, 12), colours(rng, 2)

    def pair() -> Pair | None:
        h, w = size()
        cells, _ = _frames(rng, h, w, between(rng, 1, 4), wall)
        cells[(rng.random((h, w)) < 0.1)] = wall
        out = cells.copy()
        out[flood(cells == 0, edge(h, w))] = ink
        return cells, out

    return pair


@family("fill", dims=2)
def grid_fill_interior(rng: Rng) -> PairMaker:
    """The inside of every solid rectangle is emptied or recoloured, and its rim kept."""
    size, palette = sizes(rng, 6, 12), colours(rng, 4)
    ink = palette.pop() if chance(rng, 0.5) else 0

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        out = blank(h, w)
        for top, left, bottom, right in rectangles(rng, h, w, between(rng, 1, 4), low=3, high=6):
            cells[top:bottom, left:right] = out[top:bottom, left:right] = pick(rng, palette)
            out[top + 1 : bottom - 1, left + 1 : right - 1] = ink
        return cells, out

    return pair


@family("fill", dims=2)
def grid_fill_by_area(rng: Rng) -> PairMaker:
    """Each frame is filled with the colour that stands for the size of its inside."""
    size, wall_inks = sizes(rng, 7, 12), colours(rng, 3)
    wall, small, big = wall_inks
    limit = between(rng, 2, 5)

    def pair() -> Pair | None:
        h, w = size()
        cells, boxes = _frames(rng, h, w, between(rng, 2, 5), wall)
        out = cells.copy()
        for top, left, bottom, right in boxes:
            area = (bottom - top - 2) * (right - left - 2)
            out[top + 1 : bottom - 1, left + 1 : right - 1] = small if area <= limit else big
        return cells, out

    return pair


@family("fill", dims=2)
def grid_flood_seed(rng: Rng) -> PairMaker:
    """Each seed pixel spreads through the free cells around it until walls stop it."""
    size, (wall, *palette) = sizes(rng, 5, 12), colours(rng, 4)
    density = rng.uniform(0.35, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, [wall], density)
        rooms = [room for room in components(cells == 0) if room.sum() > 1]
        if not rooms:
            return None
        out = cells.copy()
        for index in rng.permutation(len(rooms))[: between(rng, 1, 3)].tolist():
            colour = pick(rng, palette)
            y, x = pick(rng, np.argwhere(rooms[index]).tolist())
            cells[y, x] = colour
            out[rooms[index]] = colour
        return cells, out

    return pair


@family("fill", dims=2)
def grid_fill_checker(rng: Rng) -> PairMaker:
    """Each frame is filled with a checkerboard that starts in its top left inner corner."""
    size, (wall, first, second) = sizes(rng, 6, 12), colours(rng, 3)
    second = second if chance(rng, 0.5) else 0

    def pair() -> Pair | None:
        h, w = size()
        cells, boxes = _frames(rng, h, w, between(rng, 1, 3), wall)
        out = cells.copy()
        for top, left, bottom, right in boxes:
            inner = out[top + 1 : bottom - 1, left + 1 : right - 1]
            inner[:] = second
            inner[::2, ::2] = inner[1::2, 1::2] = first
        return cells, out

    return pair


@family("fill", dims=2)
def grid_fill_box(rng: Rng) -> PairMaker:
    """The empty cells in the bounding box of each object are filled."""
    size, (ink, *palette) = sizes(rng, 6, 12), colours(rng, 3)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 1, 4), low=3, high=7)
        cells = paint(h, w, masks, picks(rng, palette, 4))
        out = cells.copy()
        for mask in masks:
            top, left, bottom, right = box_of(mask)
            inner = out[top:bottom, left:right]
            inner[inner == 0] = ink
        return cells, out

    return pair


@family("fill", dims=2)
def grid_mend(rng: Rng) -> PairMaker:
    """Specks in rectangles take the rectangle's colour, those outside are erased or stay."""
    size, (noise, *palette) = sizes(rng, 6, 12), colours(rng, 4)
    erase = chance(rng, 0.6)

    def pair() -> Pair | None:
        h, w = size()
        out = blank(h, w)
        for top, left, bottom, right in rectangles(rng, h, w, between(rng, 1, 3), low=3, high=7):
            out[top:bottom, left:right] = pick(rng, palette)
        cells = out.copy()
        specks = np.zeros((h, w), dtype=np.bool_)
        for spot in spots(rng, h, w, between(rng, 2, 8), gap=1):
            specks[spot] = True
        cells[specks] = noise
        if not erase:
            out[specks & (out == 0)] = noise
        return cells, out

    return pair


@family("fill", dims=2)
def grid_inside_dots(rng: Rng) -> PairMaker:
    """Dots inside a frame change colour; dots outside all frames stay or vanish."""
    size, (wall, dot, ink) = sizes(rng, 7, 12), colours(rng, 3)
    vanish = chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells, boxes = _frames(rng, h, w, between(rng, 1, 3), wall)
        cells[(rng.random((h, w)) < 0.25) & (cells == 0)] = dot
        out = cells.copy()
        if vanish:
            out[out == dot] = 0
        for top, left, bottom, right in boxes:
            inner = cells[top + 1 : bottom - 1, left + 1 : right - 1]
            out[top + 1 : bottom - 1, left + 1 : right - 1][inner == dot] = ink
        return cells, out

    return pair

"""Two-dimensional families about rooms between lines and the insides of frames."""

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
    components,
    frame,
    pick,
    rectangles,
)


def _lattice(rng: Rng, wall: int) -> tuple[Cells, list[Box]]:
    """A grid split by lines into equal square rooms, and the rooms."""
    room, rows, columns = between(rng, 2, 3), between(rng, 2, 3), between(rng, 2, 3)
    step = room + 1
    cells = np.full((rows * step - 1, columns * step - 1), wall, dtype=np.int8)
    boxes = []
    for y in range(0, rows * step, step):
        for x in range(0, columns * step, step):
            cells[y : y + room, x : x + room] = 0
            boxes.append((y, x, y + room, x + room))
    return cells, boxes


@family("fill", dims=2)
def grid_fill_rooms(rng: Rng) -> PairMaker:
    """Lines split the grid into rooms, and a room that holds a pixel is filled with its colour."""
    wall, *palette = colours(rng, 4)

    def pair() -> Pair | None:
        cells, boxes = _lattice(rng, wall)
        out = cells.copy()
        for index in rng.permutation(len(boxes))[: between(rng, 1, 3)].tolist():
            top, left, bottom, right = boxes[index]
            colour = pick(rng, palette)
            cells[between(rng, top, bottom - 1), between(rng, left, right - 1)] = colour
            out[top:bottom, left:right] = colour
        return cells, out

    return pair


@family("fill", dims=2)
def grid_fullest_room(rng: Rng) -> PairMaker:
    """The room with the most, or fewest, dots is filled; the other dots stay or vanish."""
    wall, dot = colours(rng, 2)
    fewest, keep = chance(rng, 0.25), chance(rng, 0.4)

    def pair() -> Pair | None:
        cells, boxes = _lattice(rng, wall)
        side = boxes[0][2]
        counts = rng.integers(1, side * side - 1, len(boxes))
        winner = between(rng, 0, len(boxes) - 1)
        counts[winner] = counts.min() - 1 if fewest else counts.max() + 1
        for (top, left, bottom, right), count in zip(boxes, counts.tolist(), strict=True):
            dots = rng.permutation(side * side).reshape(side, side) < count
            cells[top:bottom, left:right][dots] = dot
        out = cells.copy()
        if not keep:
            out[out == dot] = 0
        top, left, bottom, right = boxes[winner]
        out[top:bottom, left:right] = dot
        return cells, out

    return pair


@family("symmetry", dims=2)
def grid_copy_between_lines(rng: Rng) -> PairMaker:
    """Lines split the grid into equal rooms, and the pattern of one room is copied to all."""
    side, across, (line, *palette) = between(rng, 2, 3), chance(rng, 0.5), colours(rng, 4)
    mirrored = chance(rng, 0.35)

    def pair() -> Pair | None:
        n = between(rng, 2, 3)
        tile = speckle(rng, side, side, palette, 0.6)
        cells = np.full((side, n * (side + 1) - 1), line, dtype=np.int8)
        out = cells.copy()
        source = between(rng, 0, n - 1)
        for index in range(n):
            left = index * (side + 1)
            flip = mirrored and (index - source) % 2
            cells[:, left : left + side] = tile if index == source else 0
            out[:, left : left + side] = tile[:, ::-1] if flip else tile
        return (cells.T, out.T) if across else (cells, out)

    return pair


@family("fill", dims=2)
def grid_leak(rng: Rng) -> PairMaker:
    """A box with one gap is filled, and its content runs out of the gap straight to the border."""
    size, turned = sizes(rng, 6, 12), chance(rng, 0.5)
    wall, ink = colours(rng, 2)

    def pair() -> Pair | None:
        h, w = size()
        boxes = rectangles(rng, h, w, 1, low=3, high=6)
        top, left, bottom, right = boxes[0]
        cells = blank(h, w)
        frame(cells, boxes[0], wall)
        gap = between(rng, left + 1, right - 2)
        cells[bottom - 1, gap] = 0
        out = cells.copy()
        out[top + 1 : bottom - 1, left + 1 : right - 1] = ink
        out[bottom - 1 :, gap] = ink
        spin = between(rng, 0, 3) if turned else 0
        return np.rot90(cells, spin), np.rot90(out, spin)

    return pair


@family("fill", dims=2)
def grid_largest_gap(rng: Rng) -> PairMaker:
    """Of the free areas between the walls, the largest (or the smallest) is filled."""
    size, (wall, ink) = sizes(rng, 5, 10), colours(rng, 2)
    smallest = chance(rng, 0.25)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        cells[between(rng, 1, h - 2)] = wall
        column = between(rng, 1, w - 2)
        cells[:, column] = wall
        cells[rng.random((h, w)) < 0.08] = wall
        rooms = components(cells == 0)
        areas = [int(room.sum()) for room in rooms]
        best = min(areas) if smallest else max(areas)
        if areas.count(best) > 1:
            return None
        out = cells.copy()
        out[rooms[areas.index(best)]] = ink
        return cells, out

    return pair

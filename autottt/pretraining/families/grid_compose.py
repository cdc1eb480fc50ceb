"""Two-dimensional families that combine two simple rules."""

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
    STEPS8,
    blob,
    blobs,
    edge,
    flood,
    near,
    paint,
    pick,
    picks,
    rectangles,
    scatter,
    spots,
)


@family("motion", dims=2)
def grid_slide_until_contact(rng: Rng) -> PairMaker:
    """One object slides straight towards the anchor object and stops when they touch."""
    size, turns = sizes(rng, 6, 12), between(rng, 0, 3)
    mover, anchor = colours(rng, 2)
    anywhere = chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        mask = blob(rng, between(rng, 2, 5))
        if max(mask.shape) > 3:
            return None
        tall, wide = mask.shape
        top, left = between(rng, 0, h - tall), between(rng, wide + 1, w - 1)
        target = between(rng, top, top + tall - 1)
        cells = blank(h, w)
        cells[target : target + between(rng, 1, 3), left : left + 2] = anchor
        out = cells.copy()
        cells[top : top + tall, :wide][mask] = mover
        y, x = np.argwhere(mask).T
        steps = 0
        while steps + wide < w and not (out[top + y, x + steps + 1] > 0).any():
            steps += 1
        if steps == 0 or steps + wide == w:
            return None
        out[top + y, x + steps] = mover
        spin = between(rng, 0, 3) if anywhere else turns
        return np.rot90(cells, spin), np.rot90(out, spin)

    return pair


@family("objects", dims=2)
def grid_move_marked(rng: Rng) -> PairMaker:
    """Objects of one colour take fixed steps in one direction, and the other objects stay."""
    size, (mover, *palette) = sizes(rng, 7, 12), colours(rng, 3)
    (dy, dx), far = pick(rng, STEPS4), between(rng, 1, 2)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 2, 3), low=2, high=4)
        cells = paint(h, w, masks, [mover, *picks(rng, palette, 2), mover])
        out = np.where(cells == mover, 0, cells).astype(np.int8)
        for y, x in (np.argwhere(cells == mover) + np.array([far * dy, far * dx])).tolist():
            if not (0 <= y < h and 0 <= x < w) or out[y, x]:
                return None
            out[y, x] = mover
        return cells, out

    return pair


@family("objects", dims=2)
def grid_grow_and_drop(rng: Rng) -> PairMaker:
    """Single pixels are erased, and each larger object gets an outline of fixed colour."""
    size, (ink, *palette) = sizes(rng, 7, 12), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        solid = [blob(rng, between(rng, 2, 6)) for _ in range(between(rng, 1, 2))]
        dots = [np.ones((1, 1), dtype=np.bool_)] * between(rng, 1, 4)
        found = scatter(rng, h, w, solid + dots)
        masks = [mask for mask in found if mask is not None]
        cells = paint(h, w, masks, picks(rng, palette, len(masks)))
        out = blank(h, w)
        for mask in found[: len(solid)]:
            if mask is not None:
                out[mask] = cells[mask]
        out[near(out > 0) & (cells == 0)] = ink
        return cells, out

    return pair


@family("objects", dims=2)
def grid_hole_then_fall(rng: Rng) -> PairMaker:
    """Closed frames are filled, and the specks around them fall to the floor."""
    size, (wall, ink, dot) = sizes(rng, 7, 12), colours(rng, 3)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        top, left, bottom, right = rectangles(rng, h, w, 1, low=3, high=5)[0]
        cells[top:bottom, left:right] = out[top:bottom, left:right] = wall
        cells[top + 1 : bottom - 1, left + 1 : right - 1] = 0
        out[top + 1 : bottom - 1, left + 1 : right - 1] = ink
        outside = flood(cells == 0, edge(h, w))
        for y, x in spots(rng, h, w, between(rng, 2, 5), gap=0):
            if not outside[y, x] or left <= x < right:
                continue
            cells[y, x] = dot
            floor = h - 1
            while out[floor, x]:
                floor -= 1
            out[floor, x] = dot
        return cells, out

    return pair


@family("compose", dims=2)
def grid_mirror_and_recolour(rng: Rng) -> PairMaker:
    """The grid is mirrored, and one colour is replaced by another on the way."""
    size, palette, across = sizes(rng), colours(rng, 4), chance(rng, 0.5)
    ink, density = palette.pop(), rng.uniform(0.3, 0.8)

    def pair() -> Pair | None:
        cells = speckle(rng, *size(), palette, density)
        out = (cells[:, ::-1] if across else cells[::-1]).copy()
        out[out == palette[0]] = ink
        return cells, out

    return pair


@family("compose", dims=2)
def grid_pile_and_mark(rng: Rng) -> PairMaker:
    """Cells fall to one side, and the last cell of every pile changes colour."""
    size, turns, (ink, *palette) = sizes(rng), between(rng, 0, 3), colours(rng, 3)
    density = rng.uniform(0.2, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, palette, density)
        out = np.take_along_axis(cells, np.argsort(cells != 0, axis=0, kind="stable"), axis=0)
        columns = np.flatnonzero(out.any(axis=0))
        out[(out != 0).argmax(axis=0)[columns], columns] = ink
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("compose", dims=2)
def grid_filter_and_extend(rng: Rng) -> PairMaker:
    """Pixels of one colour become full lines, and the pixels of other colours are erased."""
    size, across, (chosen, *palette) = sizes(rng, 4), chance(rng, 0.5), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        for index, (y, x) in enumerate(spots(rng, h, w, between(rng, 2, 5), gap=0)):
            cells[y, x] = chosen if index == 0 or chance(rng, 0.3) else pick(rng, palette)
            if cells[y, x] == chosen:
                out[y] = chosen
        return (cells.T, out.T) if across else (cells, out)

    return pair


@family("compose", dims=2)
def grid_shift_with_shadow(rng: Rng) -> PairMaker:
    """The object takes one step in a fixed direction and leaves a shadow where it was."""
    size, (shade, *palette) = sizes(rng, 5, 10), colours(rng, 4)
    dy, dx = pick(rng, STEPS8)

    def pair() -> Pair | None:
        h, w = size()
        cells = blank(h, w)
        inner = scatter(rng, h - 2, w - 2, [blob(rng, between(rng, 2, 6))])[0]
        if inner is None:
            return None
        mask = np.pad(inner, 1)
        cells[mask] = pick(rng, palette)
        out = np.roll(cells, (dy, dx), axis=(0, 1))
        out[mask & (out == 0)] = shade
        return cells, out

    return pair

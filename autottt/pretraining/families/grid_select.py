"""Two-dimensional families that recolour or keep objects by one of their properties."""

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
    paint,
    picks,
    place,
    scatter,
    spots,
)


@family("select", dims=2)
def grid_extreme_size(rng: Rng) -> PairMaker:
    """The largest, or the smallest, object changes colour."""
    size, (body, ink) = sizes(rng, 6, 12), colours(rng, 2)
    smallest = chance(rng, 0.4)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 3, 5), low=1, high=8)
        areas = sorted(((int(mask.sum()), i) for i, mask in enumerate(masks)), reverse=not smallest)
        if len(areas) < 2 or areas[0][0] == areas[1][0]:
            return None
        cells = paint(h, w, masks, [body])
        out = cells.copy()
        out[masks[areas[0][1]]] = ink
        return cells, out

    return pair


@family("select", dims=2)
def grid_keep_extreme(rng: Rng) -> PairMaker:
    """Of objects in many colours, only the largest is kept, or only the largest is removed."""
    size, palette = sizes(rng, 6, 12), colours(rng, 5)
    smallest, removed = chance(rng, 0.35), chance(rng, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 2, 4), low=1, high=8)
        areas = sorted(((int(mask.sum()), i) for i, mask in enumerate(masks)), reverse=not smallest)
        if len(areas) < 2 or areas[0][0] == areas[1][0]:
            return None
        cells = paint(h, w, masks, picks(rng, palette, len(masks)))
        return cells, np.where(masks[areas[0][1]] ^ removed, cells, 0).astype(np.int8)

    return pair


@family("select", dims=2)
def grid_colour_by_size(rng: Rng) -> PairMaker:
    """Each object takes the colour that stands for its number of cells."""
    size, (body, *table) = sizes(rng, 6, 12), colours(rng, 5)
    low = between(rng, 1, 3)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 3, 6), low=low, high=low + 2)
        cells, out = paint(h, w, masks, [body]), blank(h, w)
        for mask in masks:
            out[mask] = table[int(mask.sum()) - low]
        return cells, out

    return pair


@family("select", dims=2)
def grid_outermost(rng: Rng) -> PairMaker:
    """The object nearest to one side of the grid changes colour or is the only one kept."""
    size, turns = sizes(rng, 6, 12), between(rng, 0, 3)
    (body, ink), alone = colours(rng, 2), chance(rng, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        masks = blobs(rng, h, w, between(rng, 2, 4), low=2, high=5)
        tops = sorted((box_of(mask)[0], i) for i, mask in enumerate(masks))
        if len(tops) < 2 or tops[0][0] == tops[1][0]:
            return None
        cells = paint(h, w, masks, [body])
        out = blank(h, w) if alone else cells.copy()
        out[masks[tops[0][1]]] = ink
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("select", dims=2)
def grid_odd_one_out(rng: Rng) -> PairMaker:
    """All objects have one shape but for a single one, which changes colour."""
    size, (body, ink) = sizes(rng, 8, 12), colours(rng, 2)

    def pair() -> Pair | None:
        h, w = size()
        shape, odd = blob(rng, between(rng, 3, 5)), blob(rng, between(rng, 3, 5))
        if shape.shape == odd.shape and np.array_equal(shape, odd):
            return None
        found = scatter(rng, h, w, [odd] + [shape] * between(rng, 2, 4))
        masks = [mask for mask in found if mask is not None]
        if len(masks) < 3 or found[0] is None:
            return None
        cells = paint(h, w, masks, [body])
        out = cells.copy()
        out[masks[0]] = ink
        return cells, out

    return pair


@family("select", dims=2)
def grid_same_shape(rng: Rng) -> PairMaker:
    """Objects of the same shape take the colour of the one among them that is coloured."""
    size, (body, *palette) = sizes(rng, 8, 12), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        one, two = blob(rng, between(rng, 3, 4)), blob(rng, 5)
        found = scatter(rng, h, w, [one, two, one, two])
        if found[0] is None or found[1] is None or found[2] is None:
            return None
        keys = rng.permutation(palette)[:2].tolist()
        cells, out = blank(h, w), blank(h, w)
        for index, mask in enumerate(found):
            if mask is not None:
                cells[mask] = keys[index] if index < 2 else body
                out[mask] = keys[index % 2]
        return cells, out

    return pair


@family("select", dims=2)
def grid_bars_ranked(rng: Rng) -> PairMaker:
    """The bars that stand on one side are coloured by the rank of their heights."""
    size, turns = sizes(rng, 5, 10), between(rng, 0, 3)
    (body, *ranks), n = colours(rng, 4), between(rng, 2, 3)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        heights = sorted(rng.permutation(np.arange(1, h + 1))[:n].tolist(), reverse=True)
        start, step = between(rng, 0, w - 2 * n + 1) if w >= 2 * n else 0, 2 if w >= 2 * n else 1
        places = (start + step * rng.permutation(n)).tolist()
        for rank, (tall, x) in enumerate(zip(heights, places, strict=True)):
            cells[h - tall :, x] = body
            out[h - tall :, x] = ranks[rank]
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("select", dims=2)
def grid_crossed_object(rng: Rng) -> PairMaker:
    """Rectangles in a row or column with a signal pixel at the side change to its colour."""
    size, turns, (body, *palette) = sizes(rng, 7, 12), between(rng, 0, 3), colours(rng, 4)

    def pair() -> Pair | None:
        h, w = size()
        cells, out = blank(h, w), blank(h, w)
        shapes = [(between(rng, 1, 3), between(rng, 1, 3)) for _ in range(4)]
        boxes = place(rng, h, w - 2, shapes)
        signals = [
            (y, colour)
            for (y, _), colour in zip(
                spots(rng, h, 1, 3, gap=2), rng.permutation(palette).tolist(), strict=False
            )
        ]
        for top, left, bottom, right in boxes:
            hits = [colour for y, colour in signals if top <= y < bottom]
            cells[top:bottom, left + 2 : right + 2] = body
            out[top:bottom, left + 2 : right + 2] = hits[0] if hits else body
        for y, colour in signals:
            cells[y, 0] = out[y, 0] = colour
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair

"""Families whose output sums the input up: counts, rankings, verdicts, charts."""

from __future__ import annotations

import numpy as np

from .base import Cells, Pair, PairMaker, Rng, between, blank, chance, colours, family, sizes
from .shape_tools import blob, coin, magnify, paint, scene, solid, texture, turn


def _census(rng: Rng, h: int, w: int, counts: list[int], shades: list[int]) -> Cells | None:
    """An empty grid with so many scattered cells of each shade, or None if it is too small."""
    if sum(counts) > h * w:
        return None
    flat = np.zeros(h * w, dtype=np.int8)
    flat[: sum(counts)] = np.repeat(np.array(shades, dtype=np.int8), counts)
    return rng.permutation(flat).reshape(h, w)


@family("count", dims=2)
def count_objects(rng: Rng) -> PairMaker:
    """The output is a line with as many cells as the input has objects."""
    ink, out = colours(rng, 2)
    out, way = ink if chance(rng, 0.5) else out, between(rng, 0, 1)

    def pair() -> Pair | None:
        sprites = [paint(blob(rng, between(rng, 2, 4)), ink) for _ in range(between(rng, 1, 5))]
        grid = scene(rng, sprites, 8, 11)
        return None if grid is None else (grid, turn(solid(1, len(sprites), out), 4 * way))

    return pair


@family("count", dims=2)
def count_cells_into_square(rng: Rng) -> PairMaker:
    """A 3 x 3 square gets, in a fixed order, as many filled cells as the input has of a colour."""
    key, *others = colours(rng, 3)
    size, way = sizes(rng, 4, 8), between(rng, 0, 7)

    def pair() -> Pair | None:
        n = between(rng, 1, 9)
        grid = _census(rng, *size(), [n, between(rng, 0, 3), between(rng, 0, 3)], [key, *others])
        square = paint((np.arange(9) < n).reshape(3, 3), key)
        return None if grid is None else (grid, turn(square, way))

    return pair


@family("count", dims=2)
def count_to_diagonal(rng: Rng) -> PairMaker:
    """N coloured cells give an N x N square with its diagonal drawn."""
    size, anti = sizes(rng, 3, 7), between(rng, 0, 1)
    palette = colours(rng, between(rng, 1, 4))

    def pair() -> Pair | None:
        n, ink = between(rng, 1, 8), palette[between(rng, 0, len(palette) - 1)]
        grid = _census(rng, *size(), [n], [ink])
        return None if grid is None else (grid, turn(paint(np.eye(n, dtype=bool), ink), anti))

    return pair


@family("count", dims=2)
def count_colours_to_square(rng: Rng) -> PairMaker:
    """The output is a solid square whose side is the number of colours in the input."""
    out, size = colours(rng, 1)[0], sizes(rng, 3, 8)

    def pair() -> Pair | None:
        n = between(rng, 1, 6)
        shades = colours(rng, n)
        h, w = size()
        grid = texture(rng, h, w, shades)
        grid.flat[rng.permutation(h * w)[:n]] = shades
        return grid, solid(n, n, out)

    return pair


@family("count", dims=2)
def rank_one_colour(rng: Rng) -> PairMaker:
    """The output is the most (or least) frequent colour, as one cell or a small square."""
    last, side, size = chance(rng, 0.5), between(rng, 1, 3), sizes(rng, 5, 9)

    def pair() -> Pair | None:
        counts = sorted(rng.permutation(np.arange(1, 9))[: between(rng, 2, 3)].tolist())
        shades = colours(rng, len(counts))
        grid = _census(rng, *size(), counts, shades)
        return None if grid is None else (grid, solid(side, side, shades[0 if last else -1]))

    return pair


@family("count", dims=2)
def rank_all_colours(rng: Rng) -> PairMaker:
    """The output lists the colours in order of how often they occur."""
    size, way, n = sizes(rng, 5, 9), between(rng, 0, 3), between(rng, 3, 4)

    def pair() -> Pair | None:
        counts, shades = sorted(rng.permutation(np.arange(1, 9))[:n].tolist()), colours(rng, n)
        grid = _census(rng, *size(), counts, shades)
        return None if grid is None else (grid, turn(np.array([shades], dtype=np.int8), way))

    return pair


@family("count", dims=2)
def chart_sorted_bars(rng: Rng) -> PairMaker:
    """The output is a bar chart of the colour counts, sorted by length."""
    size, way, n = sizes(rng, 4, 8), between(rng, 0, 7), between(rng, 2, 3)

    def pair() -> Pair | None:
        counts, shades = sorted(rng.permutation(np.arange(1, 8))[:n].tolist()), colours(rng, n)
        grid = _census(rng, *size(), counts, shades)
        bars = np.arange(max(counts)) < np.array(counts)[:, None]
        chart = np.where(bars, np.array(shades, dtype=np.int8)[:, None], 0).astype(np.int8)
        return None if grid is None else (grid, turn(chart, way))

    return pair


@family("count", dims=2)
def chart_fixed_bars(rng: Rng) -> PairMaker:
    """Each of a few colours has its fixed row in the output, filled as far as its count."""
    n, reach, way = between(rng, 2, 4), between(rng, 4, 6), between(rng, 0, 3)
    shades, size = colours(rng, n), sizes(rng, 5, 8)

    def pair() -> Pair | None:
        counts = rng.integers(0, reach + 1, n)
        grid = _census(rng, *size(), counts.tolist(), shades)
        chart = np.where(np.arange(reach) < counts[:, None], np.array(shades)[:, None], 0)
        return None if grid is None else (grid, turn(chart.astype(np.int8), way))

    return pair


@family("count", dims=2)
def locate_in_nine(rng: Rng) -> PairMaker:
    """A 3 x 3 output shows which ninth of the grid holds the coloured cells."""
    palette, out, side = colours(rng, 3), colours(rng, 1)[0], between(rng, 2, 4)
    keep = chance(rng, 0.5)

    def pair() -> Pair | None:
        ink, mask = palette[between(rng, 0, 2)], np.zeros((3, 3), dtype=np.bool_)
        mask.flat[rng.permutation(9)[: between(rng, 1, 2)]] = True
        grid = magnify(paint(mask, ink), side, side)
        grid[coin(rng, *grid.shape)] = 0
        seen = (grid != 0).reshape(3, side, 3, side).sum(axis=(1, 3)) > 0
        return (grid, paint(seen, ink if keep else out)) if seen.any() else None

    return pair


@family("count", dims=2)
def list_longest_bar(rng: Rng) -> PairMaker:
    """The output is a copy, one cell thick, of the longest of several bars."""
    palette, way, h = colours(rng, 7), between(rng, 0, 3), between(rng, 3, 4)

    def pair() -> Pair | None:
        spans = rng.permutation(np.arange(1, 9))[:h]
        grid, w = blank(2 * h - 1, 9), int(spans.max())
        shades = rng.permutation(palette)[:h]
        for r, (n, c) in enumerate(zip(spans.tolist(), shades.tolist(), strict=True)):
            start = between(rng, 0, 9 - n)
            grid[2 * r, start : start + n] = c
        return turn(grid, way), turn(solid(1, w, int(shades[spans.argmax()])), way)

    return pair


@family("count", dims=2)
def list_objects_in_order(rng: Rng) -> PairMaker:
    """The output lists the colours of the objects in the order in which they lie."""
    palette, way, n = colours(rng, 7), between(rng, 0, 3), between(rng, 3, 4)
    h, width = between(rng, 4, 8), between(rng, 1, 3)

    def pair() -> Pair | None:
        shades = rng.choice(palette, (1, n)).astype(np.int8)
        grid = blank(h, n * (width + 1) - 1)
        for i, c in enumerate(shades[0].tolist()):
            tall, at = between(rng, 1, 3), i * (width + 1)
            top = between(rng, 0, h - tall)
            grid[top : top + tall, at : at + width] = c
        return turn(grid, way), turn(shades, way)

    return pair


@family("count", dims=2)
def list_rings(rng: Rng) -> PairMaker:
    """The colours of nested rings are listed from the outside in (or from the inside out)."""
    palette, way, fat = colours(rng, 7), between(rng, 0, 3), between(rng, 0, 1)

    def pair() -> Pair | None:
        n = between(rng, 2, 5)
        line = rng.permutation(palette)[:n].astype(np.int8)
        h, w = 2 * n - 1 + between(rng, 0, 1), 2 * n - 1 + between(rng, 0, 1) + fat
        rows, cols = np.arange(h)[:, None], np.arange(w)
        ring = np.minimum(np.minimum(rows, h - 1 - rows), np.minimum(cols, w - 1 - cols))
        return line[ring], turn(line[None], way)

    return pair


@family("count", dims=2)
def decode_shapes(rng: Rng) -> PairMaker:
    """Each shape in a row of 3 x 3 signs stands for a fixed colour; the output spells them out."""
    code, ink = colours(rng, 3), colours(rng, 1)[0]
    signs = [coin(rng, 3, 3) for _ in code]
    for i, sign in enumerate(signs):
        sign.flat[[0, 1, 2]] = [i != 0, i != 1, i != 2]
    way = between(rng, 0, 1)

    def pair() -> Pair | None:
        n = between(rng, 3, 4)
        grid, out = blank(3, 4 * n - 1), blank(1, n)
        for i in range(n):
            sign = between(rng, 0, 2)
            grid[:, 4 * i : 4 * i + 3] = paint(signs[sign], ink)
            out[0, i] = code[sign]
        return turn(grid, 4 * way), turn(out, 4 * way)

    return pair


@family("count", dims=2)
def colour_in_closed_box(rng: Rng) -> PairMaker:
    """Of several boxes with a dot inside only one is closed; the output is its dot's colour."""
    wall, *palette = colours(rng, 6)
    count, way = between(rng, 2, 3), between(rng, 0, 3)

    def pair() -> Pair | None:
        dots = rng.permutation(palette)[:count].tolist()
        boxes = [solid(3, 3, wall) for _ in dots]
        for i, (box, dot) in enumerate(zip(boxes, dots, strict=True)):
            box[1, 1] = dot
            if i:
                box[1, 2] = 0
        grid = scene(rng, [turn(box, way) for box in boxes], 8, 10)
        return None if grid is None else (grid, solid(1, 1, dots[0]))

    return pair

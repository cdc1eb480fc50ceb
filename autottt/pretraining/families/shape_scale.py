"""Families that change the size of the whole grid: scaling, thinning, padding, turning."""

from __future__ import annotations

import numpy as np

from .base import Pair, PairMaker, Rng, between, blank, chance, colours, family, sizes
from .shape_tools import coin, magnify, paint, sketch, solid, texture, turn


@family("scale", dims=2)
def scale_up(rng: Rng) -> PairMaker:
    """Each cell becomes a square block of a fixed size."""
    factor = between(rng, 2, 4)
    palette, size = colours(rng, between(rng, 1, 5)), sizes(rng, 2, 12 // factor)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        return grid, magnify(grid, factor, factor)

    return pair


@family("scale", dims=2)
def scale_down(rng: Rng) -> PairMaker:
    """The grid is made of square blocks of a fixed size; each block becomes one cell."""
    factor = between(rng, 2, 3)
    palette, size = colours(rng, between(rng, 1, 5)), sizes(rng, 2, 12 // factor)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        return magnify(grid, factor, factor), grid

    return pair


@family("scale", dims=2)
def scale_by_colour_count(rng: Rng) -> PairMaker:
    """Each cell becomes a block whose side is the number of colours in the grid."""
    palette, side = colours(rng, 6), between(rng, 2, 3)

    def pair() -> Pair | None:
        few = [int(c) for c in rng.permutation(palette)[: between(rng, 2, 4)]]
        grid = sketch(rng, side, side, few, 0.75)
        count = len(np.unique(grid[grid != 0]))
        return (grid, magnify(grid, count, count)) if count > 1 else None

    return pair


@family("scale", dims=2)
def stretch_one_way(rng: Rng) -> PairMaker:
    """The grid is stretched by a fixed factor along one direction only."""
    rows, cols = (between(rng, 2, 3), 1) if chance(rng, 0.5) else (1, between(rng, 2, 3))
    palette, size = colours(rng, between(rng, 2, 5)), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        return grid, magnify(grid, rows, cols)

    return pair


@family("scale", dims=2)
def pool_blocks(rng: Rng) -> PairMaker:
    """Each square block becomes a cell, painted if any (or all) of the block is coloured."""
    ink, out = colours(rng, 2)
    factor, every, size = between(rng, 2, 3), chance(rng, 0.5), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        h, w = size()
        base = coin(rng, h, w).repeat(factor, axis=0).repeat(factor, axis=1)
        noise = coin(rng, h * factor, w * factor)
        full = base | noise if every else base & noise
        filled = full.reshape(h, factor, w, factor).sum(axis=(1, 3))
        mask = filled == factor**2 if every else filled > 0
        return paint(full, ink), paint(mask, out)

    return pair


@family("scale", dims=2)
def pool_majority(rng: Rng) -> PairMaker:
    """Each 3 x 3 block of a two-coloured grid becomes one cell of the block's main colour."""
    one, two = colours(rng, 2)
    size = sizes(rng, 2, 4)

    def pair() -> Pair | None:
        h, w = size()
        true = coin(rng, h, w)
        full = true.repeat(3, axis=0).repeat(3, axis=1) ^ coin(rng, 3 * h, 3 * w, 0.15)
        mask = full.reshape(h, 3, w, 3).sum(axis=(1, 3)) > 4
        return paint(full, one, two), paint(mask, one, two)

    return pair


@family("scale", dims=2)
def keep_every_second(rng: Rng) -> PairMaker:
    """Only every second row, every second column, or both are kept."""
    palette, size = colours(rng, between(rng, 3, 6)), sizes(rng, 4, 9)
    steps, start = [(2, 1), (1, 2), (2, 2)][between(rng, 0, 2)], between(rng, 0, 1)

    def pair() -> Pair | None:
        grid = texture(rng, *size(), [0, *palette])
        rows, cols = steps
        return grid, grid[start * (rows - 1) :: rows, start * (cols - 1) :: cols].copy()

    return pair


@family("scale", dims=2)
def drop_repeats(rng: Rng) -> PairMaker:
    """Runs of equal neighbouring rows and columns shrink to one row or column each."""
    palette, size = colours(rng, between(rng, 2, 5)), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        small = texture(rng, *size(), [0, *palette])
        h, w = small.shape
        same_rows = (small[1:] == small[:-1]).all(axis=1).any()
        if same_rows or (small[:, 1:] == small[:, :-1]).all(axis=0).any():
            return None
        rows, cols = rng.integers(1, 4, h), rng.integers(1, 4, w)
        return small.repeat(rows, axis=0).repeat(cols, axis=1), small

    return pair


@family("scale", dims=2)
def stripes_to_cells(rng: Rng) -> PairMaker:
    """Stripes of uneven width become a line with one cell for each stripe."""
    palette, way, across = colours(rng, 6), between(rng, 0, 1), between(rng, 3, 8)

    def pair() -> Pair | None:
        line = rng.permutation(palette)[: between(rng, 2, 5)].astype(np.int8)
        row = line.repeat(rng.integers(1, 4, len(line)))[None]
        return turn(row.repeat(across, axis=0), 4 * way), turn(line[None], 4 * way)

    return pair


@family("scale", dims=2)
def drop_empty_lines(rng: Rng) -> PairMaker:
    """Empty rows and columns are taken out, which draws the coloured cells together."""
    palette, size = colours(rng, between(rng, 2, 5)), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        small = sketch(rng, *size(), palette, 0.75)
        if not (small.any(axis=0).all() and small.any(axis=1).all()):
            return None
        h, w = small.shape
        tall, wide = h + between(rng, 1, 4), w + between(rng, 1, 4)
        grid = blank(tall, wide)
        grid[np.ix_(np.sort(rng.permutation(tall)[:h]), np.sort(rng.permutation(wide)[:w]))] = small
        return grid, small

    return pair


@family("scale", dims=2)
def strip_border(rng: Rng) -> PairMaker:
    """The outermost layers of the grid, a fixed number of them, are removed."""
    depth = between(rng, 1, 2)
    palette, size = colours(rng, between(rng, 3, 6)), sizes(rng, 2 * depth + 2, 10)

    def pair() -> Pair | None:
        grid = texture(rng, *size(), [0, *palette])
        return grid, grid[depth:-depth, depth:-depth].copy()

    return pair


@family("scale", dims=2)
def strip_lines(rng: Rng) -> PairMaker:
    """Full lines of the ruling colour are removed and the rest closes up."""
    ruling, *palette = colours(rng, between(rng, 3, 5))
    size = sizes(rng, 3, 7)

    def pair() -> Pair | None:
        small = texture(rng, *size(), [0, *palette])
        h, w = small.shape
        rows = rng.permutation(np.arange(1, h))[: between(rng, 0, min(2, h - 1))]
        cols = rng.permutation(np.arange(1, w))[: between(rng, 1, min(2, w - 1))]
        grid = np.insert(np.insert(small, rows, ruling, axis=0), cols, ruling, axis=1)
        return grid, small

    return pair


@family("scale", dims=2)
def rule_lines(rng: Rng) -> PairMaker:
    """A line of a fixed colour is put between all neighbouring rows and columns."""
    ruling, *palette = colours(rng, between(rng, 3, 5))
    size = sizes(rng, 2, 6)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        h, w = grid.shape
        out = solid(2 * h - 1, 2 * w - 1, ruling)
        out[::2, ::2] = grid
        return grid, out

    return pair


@family("scale", dims=2)
def pad_with_frame(rng: Rng) -> PairMaker:
    """A frame of a fixed colour and thickness is put around the grid."""
    frame, *palette = colours(rng, between(rng, 2, 5))
    depth, size = between(rng, 1, 2), sizes(rng, 3, 8)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        return grid, np.pad(grid, depth, constant_values=frame)

    return pair


@family("scale", dims=2)
def turn_grid(rng: Rng) -> PairMaker:
    """The whole oblong grid is turned by a quarter or flipped along a diagonal."""
    way, palette = [1, 3, 4, 6][between(rng, 0, 3)], colours(rng, between(rng, 2, 5))

    def pair() -> Pair | None:
        h, w = between(rng, 2, 8), between(rng, 2, 8)
        if h == w:
            w += 1
        grid = sketch(rng, h, w, palette)
        return grid, turn(grid, way)

    return pair


@family("scale", dims=2)
def shear_rows(rng: Rng) -> PairMaker:
    """Each row is shifted one cell further than the row above, in a grid made wider to fit."""
    palette, size, left = colours(rng, between(rng, 2, 5)), sizes(rng, 2, 6), chance(rng, 0.5)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette, 0.8)
        h, w = grid.shape
        out = blank(h, w + h - 1)
        for r in range(h):
            shift = h - 1 - r if left else r
            out[r, shift : shift + w] = grid[r]
        return grid, out

    return pair

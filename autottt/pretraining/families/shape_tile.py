"""Families that build a larger grid out of copies, mirror images or growth of the input."""

from __future__ import annotations

import numpy as np

from .base import Pair, PairMaker, Rng, between, blank, chance, colours, family, sizes
from .shape_tools import join, paint, quad, sketch, texture, turn


@family("tile", dims=2)
def tile_plain(rng: Rng) -> PairMaker:
    """The grid is repeated a fixed number of times down and across."""
    reps = [(2, 2), (1, 2), (2, 1), (3, 3), (1, 3), (3, 1)][between(rng, 0, 5)]
    palette, size = colours(rng, between(rng, 2, 5)), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        return grid, np.tile(grid, reps)

    return pair


@family("tile", dims=2)
def tile_kaleidoscope(rng: Rng) -> PairMaker:
    """Mirror images in both directions make a picture of twice the size around one corner."""
    palette, size, corner = colours(rng, between(rng, 2, 5)), sizes(rng, 2, 5), between(rng, 0, 3)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        wide = [grid, grid[:, ::-1]][:: 1 - 2 * (corner % 2)]
        row = join(wide, 1)
        return grid, join([row, row[::-1]][:: 1 - 2 * (corner // 2)], 0)

    return pair


@family("tile", dims=2)
def append_mirror(rng: Rng) -> PairMaker:
    """The grid's mirror image is joined to a fixed side of it."""
    palette, size, side = colours(rng, between(rng, 2, 5)), sizes(rng, 2, 6), between(rng, 0, 3)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        flipped = np.flip(grid, side % 2)
        return grid, join([flipped, grid] if side > 1 else [grid, flipped], side % 2)

    return pair


@family("tile", dims=2)
def tile_alternate_flips(rng: Rng) -> PairMaker:
    """The grid is repeated in rows of copies, every second row of which is flipped."""
    palette, axis, n = colours(rng, between(rng, 2, 4)), between(rng, 0, 1), between(rng, 2, 3)
    size = sizes(rng, 2, 4)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), palette)
        rows = [np.tile(np.flip(grid, axis) if i % 2 else grid, (1, n)) for i in range(n)]
        return grid, join(rows, 0)

    return pair


@family("tile", dims=2)
def tile_quarter_turns(rng: Rng) -> PairMaker:
    """Four copies of a square grid, each turned by a fixed amount, make a pinwheel."""
    palette, n, step = colours(rng, between(rng, 2, 5)), between(rng, 2, 5), between(rng, 0, 2)
    turns = [(0, 3, 1, 2), (0, 1, 3, 2), (0, 2, 2, 0)][step]

    def pair() -> Pair | None:
        grid = sketch(rng, n, n, palette)
        return grid, quad([turn(grid, k) for k in turns])

    return pair


@family("tile", dims=2)
def tile_by_colour_count(rng: Rng) -> PairMaker:
    """The grid is repeated along a line as many times as it has colours."""
    palette, axis, size = colours(rng, 6), between(rng, 0, 1), sizes(rng, 2, 3)

    def pair() -> Pair | None:
        few = [int(c) for c in rng.permutation(palette)[: between(rng, 2, 4)]]
        grid = sketch(rng, *size(), few, 0.8)
        count = len(np.unique(grid[grid != 0]))
        return (grid, join([grid] * count, axis)) if count > 1 else None

    return pair


@family("tile", dims=2)
def tile_recoloured_copy(rng: Rng) -> PairMaker:
    """A copy of the grid with its colour replaced is joined to it."""
    ink, other = colours(rng, 2)
    axis, size = between(rng, 0, 1), sizes(rng, 2, 6)

    def pair() -> Pair | None:
        grid = sketch(rng, *size(), [ink])
        return grid, join([grid, paint(grid != 0, other)], axis)

    return pair


@family("tile", dims=2)
def self_similar(rng: Rng) -> PairMaker:
    """A copy of the whole grid stands at each coloured (or each empty) cell of it."""
    palette, n, at_empty = colours(rng, between(rng, 1, 4)), between(rng, 2, 3), chance(rng, 0.35)

    def pair() -> Pair | None:
        grid = sketch(rng, n, n, palette)
        return grid, np.kron((grid != 0) ^ at_empty, grid).astype(np.int8)

    return pair


@family("tile", dims=2)
def extend_period(rng: Rng) -> PairMaker:
    """A picture that repeats along one direction is continued to a fixed larger extent."""
    palette, way = colours(rng, between(rng, 2, 4)), between(rng, 0, 1)
    across, seen, more = between(rng, 2, 5), between(rng, 5, 6), between(rng, 3, 6)

    def pair() -> Pair | None:
        unit = texture(rng, between(rng, 2, seen // 2), across, [0, *palette])
        full = np.tile(unit, (12 // len(unit) + 1, 1))[: seen + more]
        return turn(full[:seen], 4 * way), turn(full, 4 * way)

    return pair


@family("tile", dims=2)
def row_shifted_down(rng: Rng) -> PairMaker:
    """Below a single row come copies of it, each shifted round by a fixed step."""
    palette, n, step = (
        colours(rng, between(rng, 2, 5)),
        between(rng, 3, 9),
        [-1, 1, 2][between(rng, 0, 2)],
    )
    rows = between(rng, 3, 8)

    def pair() -> Pair | None:
        row = texture(rng, 1, n, [0, *palette])
        return row, join([np.roll(row, i * step, axis=1) for i in range(rows)], 0)

    return pair


@family("tile", dims=2)
def row_grows(rng: Rng) -> PairMaker:
    """A bar in a single row grows (or shrinks) by one cell in each row that follows."""
    palette, n, shrink = colours(rng, 4), between(rng, 5, 10), chance(rng, 0.4)
    rows = between(rng, 3, 5)

    def pair() -> Pair | None:
        ink, length = palette[between(rng, 0, 3)], between(rng, 1, n - 1)
        reach = length + (-1 if shrink else 1) * np.arange(rows)[:, None]
        grid = paint(np.arange(n) < reach, ink)
        return grid[:1].copy(), grid

    return pair


@family("tile", dims=2)
def row_to_diagonal(rng: Rng) -> PairMaker:
    """The cells of a single row are laid along the diagonal of a square."""
    palette, anti = colours(rng, between(rng, 3, 6)), between(rng, 0, 1)

    def pair() -> Pair | None:
        row = texture(rng, 1, between(rng, 2, 9), palette)
        return row, turn(np.diag(row[0]), anti)

    return pair


@family("tile", dims=2)
def row_agreement_table(rng: Rng) -> PairMaker:
    """A row of N cells gives an N x N table that shows which of its cells have the same colour."""
    palette, n = colours(rng, between(rng, 2, 3)), between(rng, 3, 8)

    def pair() -> Pair | None:
        row = texture(rng, 1, n, palette)
        return row, np.where(row == row.T, row, 0).astype(np.int8)

    return pair


@family("tile", dims=2)
def row_to_stripes(rng: Rng) -> PairMaker:
    """A single row is drawn out downwards, as many rows as it has coloured cells."""
    palette, n = colours(rng, between(rng, 2, 5)), between(rng, 3, 9)

    def pair() -> Pair | None:
        row = sketch(rng, 1, n, palette, 0.5)
        count = int(np.count_nonzero(row))
        return (row, row.repeat(count, axis=0)) if count > 1 else None

    return pair


@family("tile", dims=2)
def row_ball_bounces(rng: Rng) -> PairMaker:
    """The one coloured cell of a row moves diagonally from row to row and rebounds at the walls."""
    palette, rows, right = colours(rng, 3), between(rng, 5, 10), chance(rng, 0.5)
    w = between(rng, 3, 6)

    def pair() -> Pair | None:
        start, ink = between(rng, 0, w - 1), palette[between(rng, 0, 2)]
        lap = np.arange(rows) + (start if right else -start) % (2 * w - 2)
        lap %= 2 * w - 2
        out = blank(rows, w)
        out[np.arange(rows), np.minimum(lap, 2 * w - 2 - lap)] = ink
        return out[:1].copy(), out

    return pair


@family("tile", dims=2)
def row_automaton(rng: Rng) -> PairMaker:
    """Each row follows from the one above: a cell is on if one (or any) upper neighbour is on."""
    ink, rows = colours(rng, 1)[0], between(rng, 3, 6)
    w, either = between(rng, 6, 11), chance(rng, 0.4)

    def pair() -> Pair | None:
        line = rng.random(w) < 0.25
        if not line.any():
            return None
        grid = [line]
        while len(grid) < rows:
            left, right = np.append(False, grid[-1][:-1]), np.append(grid[-1][1:], False)
            grid.append(left | right if either else left ^ right)
        out = paint(np.stack(grid), ink)
        return out[:1].copy(), out

    return pair


@family("tile", dims=2)
def row_to_rings(rng: Rng) -> PairMaker:
    """The cells of a single row become the colours of nested rings."""
    palette, flip = colours(rng, between(rng, 3, 6)), chance(rng, 0.4)

    def pair() -> Pair | None:
        row = texture(rng, 1, between(rng, 2, 5), palette)
        n = 2 * row.size - 1
        axis = np.minimum(np.arange(n), n - 1 - np.arange(n))
        line = row[0][::-1] if flip else row[0]
        return row, line[np.minimum(axis[:, None], axis)]

    return pair

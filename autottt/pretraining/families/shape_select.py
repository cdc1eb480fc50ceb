"""Families that pick one panel, line or part of the grid by a criterion or by its place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .base import Cells, Pair, PairMaker, Rng, between, chance, colours, family, sizes
from .shape_tools import coin, is_mirrored, join, paint, quad, sketch, texture, turn


def _layout(rng: Rng, line: int) -> tuple[int, Callable[[list[Cells]], Cells]]:
    """A way to set out panels between lines: how many it takes and how it joins them."""
    kind = between(rng, 0, 2)
    if kind == 2:
        return 4, lambda parts: quad(parts, line)
    return 3, lambda parts: join(parts, kind, line)


def _same(a: Cells, b: Cells) -> bool:
    return bool((a == b).all())


@family("select", dims=2)
def select_odd_panel(rng: Rng) -> PairMaker:
    """All panels but one are equal; the output is the odd one."""
    line, *palette = colours(rng, between(rng, 2, 4))
    count, lay = _layout(rng, line)
    size = sizes(rng, 2, 4)

    def pair() -> Pair | None:
        h, w = size()
        usual, odd = sketch(rng, h, w, palette), sketch(rng, h, w, palette)
        if _same(usual, odd):
            return None
        parts = [usual] * count
        parts[between(rng, 0, count - 1)] = odd
        return lay(parts), odd

    return pair


@family("select", dims=2)
def select_repeated_panel(rng: Rng) -> PairMaker:
    """One picture occurs in two panels and the others once; the output is the repeated one."""
    line, *palette = colours(rng, between(rng, 2, 4))
    count, lay = _layout(rng, line)
    size = sizes(rng, 2, 4)

    def pair() -> Pair | None:
        h, w = size()
        parts = [sketch(rng, h, w, palette) for _ in range(count)]
        parts[1] = parts[0]
        if any(_same(parts[i], parts[j]) for i in range(2, count) for j in range(i)):
            return None
        return lay([parts[i] for i in rng.permutation(count)]), parts[0]

    return pair


@family("select", dims=2)
def select_panel_by_fill(rng: Rng) -> PairMaker:
    """The panel with the most (or fewest) coloured cells is the output."""
    line, *palette = colours(rng, between(rng, 2, 4))
    count, lay = _layout(rng, line)
    size, most = sizes(rng, 3, 4), chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        parts = [sketch(rng, h, w, palette, 0.2 + 0.6 * rng.random()) for _ in range(count)]
        fills = np.array([np.count_nonzero(part) for part in parts])
        best = int(fills.max() if most else fills.min())
        if np.count_nonzero(fills == best) > 1:
            return None
        return lay(parts), parts[int(np.flatnonzero(fills == best)[0])]

    return pair


@family("select", dims=2)
def select_symmetric_panel(rng: Rng) -> PairMaker:
    """The only panel that is its own mirror image is the output."""
    line, *palette = colours(rng, between(rng, 3, 4))
    count, lay = _layout(rng, line)
    h, w, way = between(rng, 3, 4), between(rng, 3, 4), between(rng, 0, 1)

    def pair() -> Pair | None:
        parts = [texture(rng, h, w, [0, *palette]) for _ in range(count)]
        if any(is_mirrored(part, 1) for part in parts):
            return None
        chosen = parts[between(rng, 0, count - 1)]
        chosen[:, (w + 1) // 2 :] = chosen[:, w // 2 - 1 :: -1]
        if way:
            return turn(lay(parts), 4), turn(chosen, 4)
        return lay(parts), chosen

    return pair


@family("select", dims=2)
def select_panel_with_mark(rng: Rng) -> PairMaker:
    """The panel that holds a cell of the mark colour is the output."""
    line, mark, *palette = colours(rng, between(rng, 3, 5))
    count, lay = _layout(rng, line)
    size = sizes(rng, 2, 4)

    def pair() -> Pair | None:
        h, w = size()
        parts = [sketch(rng, h, w, palette) for _ in range(count)]
        chosen = parts[between(rng, 0, count - 1)]
        chosen[between(rng, 0, h - 1), between(rng, 0, w - 1)] = mark
        return lay(parts), chosen

    return pair


@family("select", dims=2)
def select_most_colourful_panel(rng: Rng) -> PairMaker:
    """The panel with the largest number of different colours is the output."""
    line, *palette = colours(rng, 6)
    count, lay = _layout(rng, line)
    size = sizes(rng, 3, 4)

    def pair() -> Pair | None:
        h, w = size()
        kinds = [4] + [between(rng, 1, 3) for _ in range(count - 1)]
        parts = []
        for n in kinds:
            shades = rng.permutation(palette)[:n]
            part = rng.choice(shades, (h, w)).astype(np.int8)
            part.flat[rng.permutation(h * w)[:n]] = shades
            parts.append(part)
        return lay([parts[i] for i in rng.permutation(count)]), parts[0]

    return pair


@family("select", dims=2)
def select_fixed_part(rng: Rng) -> PairMaker:
    """A fixed half or quadrant of the grid is kept and the rest dropped."""
    palette, way, both = colours(rng, between(rng, 2, 5)), between(rng, 0, 3), chance(rng, 0.5)
    h, w = 2 * between(rng, 2, 5), 2 * between(rng, 2, 5)

    def pair() -> Pair | None:
        grid = sketch(rng, h, w, palette)
        part = grid[: h // 2, : w // 2] if both else grid[: h // 2]
        return turn(grid, way), turn(part, way)

    return pair


@family("select", dims=2)
def half_of_mirror_image(rng: Rng) -> PairMaker:
    """The grid is a picture and its mirror image, side by side or stacked; the first is kept."""
    palette, size = colours(rng, between(rng, 2, 5)), sizes(rng, 3, 5)

    def pair() -> Pair | None:
        half, axis = sketch(rng, *size(), palette), between(rng, 0, 1)
        mirrored = np.flip(half, axis)
        return np.concatenate([half, mirrored], axis=axis), half

    return pair


@family("select", dims=2)
def unit_of_tiling(rng: Rng) -> PairMaker:
    """The grid is one tile repeated along a row, a column or both; the tile is the output."""
    palette, size = colours(rng, between(rng, 3, 5)), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        tile = texture(rng, *size(), [0, *palette])
        reps = [(1, 2), (2, 1), (2, 2), (1, 3), (3, 1)][between(rng, 0, 4)]
        return np.tile(tile, reps), tile

    return pair


@family("select", dims=2)
def line_through_mark(rng: Rng) -> PairMaker:
    """The whole row (or column) that holds the mark colour is the output."""
    mark, *palette = colours(rng, between(rng, 3, 5))
    size, way = sizes(rng, 3, 9), between(rng, 0, 1)

    def pair() -> Pair | None:
        grid = texture(rng, *size(), [0, *palette])
        h, w = grid.shape
        r = between(rng, 0, h - 1)
        grid[r, between(rng, 0, w - 1)] = mark
        return turn(grid, 4 * way), turn(grid[r : r + 1], 4 * way)

    return pair


@family("select", dims=2)
def read_diagonal(rng: Rng) -> PairMaker:
    """The cells of one diagonal of a square grid are written out as a line."""
    palette, way, stand = colours(rng, between(rng, 3, 6)), between(rng, 0, 1), between(rng, 0, 1)
    n = between(rng, 3, 8)

    def pair() -> Pair | None:
        side = n + between(rng, -1, 1)
        grid = texture(rng, side, side, [0, *palette])
        line = grid.diagonal().copy()[None]
        return turn(grid, way), turn(line, 4 * stand)

    return pair


@family("select", dims=2)
def corners_only(rng: Rng) -> PairMaker:
    """The four corner cells of the grid are put together into a 2 x 2 square."""
    palette, size, way = colours(rng, between(rng, 3, 6)), sizes(rng, 3, 9), between(rng, 0, 7)

    def pair() -> Pair | None:
        grid = texture(rng, *size(), [0, *palette])
        return grid, turn(grid[np.ix_([0, -1], [0, -1])], way)

    return pair


@family("select", dims=2)
def marked_lines_meet(rng: Rng) -> PairMaker:
    """The first column marks rows and the first row marks columns; where they meet is kept."""
    mark, *palette = colours(rng, between(rng, 3, 5))
    size, way = sizes(rng, 3, 7), between(rng, 0, 3)

    def pair() -> Pair | None:
        h, w = size()
        rows, cols = coin(rng, 1, h)[0], coin(rng, 1, w)[0]
        if not (rows.any() and cols.any()):
            return None
        body = texture(rng, h, w, palette)
        grid = np.pad(body, ((1, 0), (1, 0)))
        grid[1:, 0], grid[0, 1:] = paint(rows, mark), paint(cols, mark)
        return turn(grid, way), turn(body[np.ix_(rows, cols)], way)

    return pair

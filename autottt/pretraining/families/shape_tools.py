"""Drawing helpers of the `shape_*` modules: blobs, placement, cropping, panels, turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .base import Cells, Rng, between, blank, speckle

Mask = NDArray[np.bool_]


def solid(h: int, w: int, colour: int) -> Cells:
    """A grid of one colour."""
    return np.full((h, w), colour, dtype=np.int8)


def paint(mask: Mask, colour: int, ground: int = 0) -> Cells:
    """`colour` where the mask holds, `ground` elsewhere."""
    return np.where(mask, colour, ground).astype(np.int8)


def coin(rng: Rng, h: int, w: int, density: float = 0.5) -> Mask:
    """A random mask with the given density."""
    return rng.random((h, w)) < density


def texture(rng: Rng, h: int, w: int, palette: Sequence[int]) -> Cells:
    """A dense grid of random colours of the palette."""
    return rng.choice(np.array(palette, dtype=np.int8), (h, w))


def sketch(rng: Rng, h: int, w: int, palette: list[int], density: float = 0.55) -> Cells:
    """A speckled grid that has at least one coloured cell."""
    grid = speckle(rng, h, w, palette, density)
    if not grid.any():
        grid[between(rng, 0, h - 1), between(rng, 0, w - 1)] = palette[0]
    return grid


def blob(rng: Rng, cells: int) -> Mask:
    """A random 4-connected shape of so many cells, cut to its bounding box (at most 4 x 4)."""
    mask = np.zeros((4, 4), dtype=np.bool_)
    r, c = between(rng, 0, 3), between(rng, 0, 3)
    held: set[tuple[int, int]] = set()
    while len(held) < cells:
        for step in rng.integers(0, 4, 2 * cells).tolist():
            if len(held) < cells:
                held.add((r, c))
            move = 1 if step & 1 else -1
            r, c = (r + move, c) if step & 2 else (r, c + move)
            r, c = min(max(r, 0), 3), min(max(c, 0), 3)
    for cell in held:
        mask[cell] = True
    return mask[span(mask)]


def span(mask: Mask) -> tuple[slice, slice]:
    """The bounding box of a non-empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    cols = np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def trim(grid: Cells) -> Cells:
    """The bounding box of the coloured cells of a non-empty grid."""
    return grid[span(grid != 0)].copy()


def place(rng: Rng, grid: Cells, sprites: Sequence[Cells]) -> list[tuple[int, int]] | None:
    """Draw sprites apart from each other at random; their corners, or None if they do not fit."""
    taken = np.zeros(grid.shape, dtype=np.bool_)
    corners: list[tuple[int, int]] = []
    for sprite in sprites:
        h, w = sprite.shape
        if h > grid.shape[0] or w > grid.shape[1]:
            return None
        for _ in range(12):
            r, c = between(rng, 0, grid.shape[0] - h), between(rng, 0, grid.shape[1] - w)
            if not taken[r : r + h, c : c + w].any():
                break
        else:
            return None
        view = grid[r : r + h, c : c + w]
        view[sprite != 0] = sprite[sprite != 0]
        taken[max(0, r - 1) : r + h + 1, max(0, c - 1) : c + w + 1] = True
        corners.append((r, c))
    return corners


def scene(rng: Rng, sprites: Sequence[Cells], low: int = 8, high: int = 11) -> Cells | None:
    """An empty grid of random size with the sprites placed in it, or None if they do not fit."""
    grid = blank(between(rng, low, high), between(rng, low, high))
    return None if place(rng, grid, sprites) is None else grid


def magnify(grid: Cells, rows: int, cols: int) -> Cells:
    """Each cell as a block of rows x cols cells."""
    return grid.repeat(rows, axis=0).repeat(cols, axis=1)


def join(parts: Sequence[Cells], axis: int, line: int | None = None) -> Cells:
    """Parts one after another along an axis, with a line of a colour between them if given."""
    if line is None:
        return np.concatenate(parts, axis=axis)
    h, w = parts[0].shape
    bar = solid(1, w, line) if axis == 0 else solid(h, 1, line)
    pieces = [piece for part in parts for piece in (bar, part)]
    return np.concatenate(pieces[1:], axis=axis)


def quad(parts: Sequence[Cells], line: int | None = None) -> Cells:
    """Four parts of one size as the quadrants of a grid, in reading order."""
    return join([join(parts[:2], 1, line), join(parts[2:], 1, line)], 0, line)


def turn(grid: Cells, k: int) -> Cells:
    """A copy under one of the eight symmetries: k % 4 quarter turns, transposed for k >= 4."""
    turned: Cells = np.rot90(grid, k % 4)
    return (turned.T if k >= 4 else turned).copy()


def is_mirrored(grid: Cells, axis: int) -> bool:
    """Whether the grid equals its flip along the axis."""
    return bool((grid == np.flip(grid, axis)).all())

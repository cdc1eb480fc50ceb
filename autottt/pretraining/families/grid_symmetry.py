"""Two-dimensional families about symmetry and repeated patterns."""

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
    pick,
)


def _hole(rng: Rng, h: int, w: int) -> Box:
    """A random box that leaves most of the grid visible."""
    tall, wide = between(rng, 1, max(1, h // 2)), between(rng, 1, max(1, w // 2))
    top, left = between(rng, 0, h - tall), between(rng, 0, w - wide)
    return top, left, top + tall, left + wide


def _masked(rng: Rng, full: Cells, colour: int) -> Cells:
    """The grid with one or two boxes of it painted over."""
    cells = full.copy()
    for _ in range(between(rng, 1, 2)):
        top, left, bottom, right = _hole(rng, *full.shape)
        cells[top:bottom, left:right] = colour
    return cells


@family("symmetry", dims=2)
def grid_mirror_half(rng: Rng) -> PairMaker:
    """One half of the grid is completed as the mirror image, or the copy, of the other half."""
    size, turns, palette = sizes(rng, 3), between(rng, 0, 3), colours(rng, between(rng, 1, 4))
    copied, density = chance(rng, 0.25), rng.uniform(0.3, 0.7)

    def pair() -> Pair | None:
        h, w = size()
        cells = speckle(rng, h, w, palette, density)
        half = w // 2
        cells[:, w - half :] = 0
        out = cells.copy()
        out[:, w - half :] = cells[:, :half] if copied else cells[:, :half][:, ::-1]
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("symmetry", dims=2)
def grid_mend_mirror(rng: Rng) -> PairMaker:
    """The painted-over part of a left-right or up-down symmetric picture is restored."""
    size, (mask, *palette) = sizes(rng, 5), colours(rng, between(rng, 3, 6))
    turned = chance(rng, 0.5)

    def pair() -> Pair | None:
        h, w = size()
        half = rng.choice(np.array(palette, dtype=np.int8), (h, (w + 1) // 2))
        full = np.concatenate([half, half[:, : w // 2][:, ::-1]], axis=1)
        top, left, bottom, right = _hole(rng, h, w // 2)
        shift = (w + 1) // 2 if chance(rng, 0.5) else 0
        cells = full.copy()
        cells[top:bottom, left + shift : right + shift] = mask
        return (cells.T, full.T) if turned else (cells, full)

    return pair


@family("symmetry", dims=2)
def grid_mend_fourfold(rng: Rng) -> PairMaker:
    """The painted-over part of a picture with two mirror axes, or four turns, is restored."""
    size, (mask, *palette) = sizes(rng, 5), colours(rng, between(rng, 3, 6))
    turned = chance(rng, 0.4)

    def pair() -> Pair | None:
        h, w = size()
        h, w = (h // 2, h // 2) if turned else (h // 2, w // 2)
        part = rng.choice(np.array(palette, dtype=np.int8), (h, w))
        if turned:
            full = np.block([[part, np.rot90(part, -1)], [np.rot90(part), np.rot90(part, 2)]])
        else:
            full = np.block([[part, part[:, ::-1]], [part[::-1], part[::-1, ::-1]]])
        top, left, bottom, right = _hole(rng, h, w)
        dy, dx = h * between(rng, 0, 1), w * between(rng, 0, 1)
        cells = full.copy()
        cells[top + dy : bottom + dy, left + dx : right + dx] = mask
        return cells, full

    return pair


def _tiled(block: Cells, h: int, w: int) -> Cells:
    """The block repeated from the top left until it covers (h, w)."""
    return np.tile(block, (-(-h // block.shape[0]), -(-w // block.shape[1])))[:h, :w]


@family("symmetry", dims=2)
def grid_mend_tiling(rng: Rng) -> PairMaker:
    """The painted-over part of a picture tiled by one small block is restored."""
    size, (mask, *palette) = sizes(rng, 6, 12), colours(rng, between(rng, 3, 5))
    tall, wide = between(rng, 2, 3), between(rng, 2, 3)
    mask = mask if chance(rng, 0.5) else 0

    def pair() -> Pair | None:
        h, w = size()
        tile = rng.choice(np.array(palette, dtype=np.int8), (tall, wide))
        full = _tiled(tile, h, w)
        return _masked(rng, full, mask), full.copy()

    return pair


@family("symmetry", dims=2)
def grid_extend_tiling(rng: Rng) -> PairMaker:
    """The block in one corner is repeated until it covers the grid, mirrored or as it is."""
    size, turns, palette = sizes(rng, 4, 12), between(rng, 0, 3), colours(rng, 5)
    side, mirrored = between(rng, 2, 3), chance(rng, 0.35)

    def pair() -> Pair | None:
        h, w = size()
        tile = rng.choice(np.array(palette, dtype=np.int8), (side, side))
        block = np.concatenate([tile, tile[:, ::-1]], axis=1) if mirrored else tile
        out = _tiled(block, h, w).copy()
        cells = blank(h, w)
        cells[:side, :side] = tile
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("symmetry", dims=2)
def grid_diagonal_stripes(rng: Rng) -> PairMaker:
    """The colour sequence on one side is continued as diagonal stripes over the whole grid."""
    size, turns, palette = sizes(rng, 4, 10), between(rng, 0, 3), colours(rng, 9)
    slope, n = 1 if chance(rng, 0.5) else -1, between(rng, 2, 3)

    def pair() -> Pair | None:
        h, w = size()
        found = np.array(rng.permutation(palette)[:n], dtype=np.int8)
        cells = blank(h, w)
        cells[0] = found[np.arange(w) % n]
        out = found[(np.arange(w)[None, :] + slope * np.arange(h)[:, None]) % n]
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("symmetry", dims=2)
def grid_checkerboard(rng: Rng) -> PairMaker:
    """Two pixels start a checkerboard that is continued over the whole grid."""
    size, palette = sizes(rng, 3), colours(rng, 6)
    single = chance(rng, 0.4)

    def pair() -> Pair | None:
        h, w = size()
        y, x = between(rng, 0, h - 1), between(rng, 0, w - 2)
        a, b = rng.permutation(palette)[:2].tolist()
        b = 0 if single else b
        cells = blank(h, w)
        cells[y, x], cells[y, x + 1] = a, b
        even = (np.arange(h)[:, None] + np.arange(w)[None, :]) % 2 == (y + x) % 2
        return cells, np.where(even, a, b).astype(np.int8)

    return pair


@family("symmetry", dims=2)
def grid_reflect_over_line(rng: Rng) -> PairMaker:
    """The pixels on one side of the drawn line are mirrored to the other side of it."""
    size, turns, (line, *palette) = sizes(rng, 5, 12), between(rng, 0, 3), colours(rng, 4)
    ink = palette.pop() if chance(rng, 0.3) else 0

    def pair() -> Pair | None:
        h, w = size()
        axis = between(rng, 2, w - 2)
        cells = blank(h, w)
        near = min(axis, w - 1 - axis)
        cells[:, axis - near : axis] = speckle(rng, h, near, palette, 0.35)
        cells[:, axis] = line
        out = cells.copy()
        image = cells[:, axis - near : axis][:, ::-1]
        out[:, axis + 1 : axis + 1 + near] = np.where((image > 0) & (ink > 0), ink, image)
        return np.rot90(cells, turns), np.rot90(out, turns)

    return pair


@family("symmetry", dims=2)
def grid_make_symmetric(rng: Rng) -> PairMaker:
    """Cells are added, in a fixed colour, until the picture equals its mirror image."""
    size, way, (body, ink) = sizes(rng, 4), between(rng, 0, 3), colours(rng, 2)
    ink, density = ink if chance(rng, 0.6) else body, rng.uniform(0.1, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        if way == 3:
            w = h
        cells = speckle(rng, h, w, [body], density)
        image = (cells[:, ::-1], cells[::-1], cells[::-1, ::-1], cells.T)[way]
        out = cells.copy()
        out[(image > 0) & (cells == 0)] = ink
        return cells, out

    return pair


@family("symmetry", dims=2)
def grid_mark_asymmetry(rng: Rng) -> PairMaker:
    """Cells that differ from their mirror image are marked in a nearly symmetric picture."""
    size, turned, (ink, *palette) = sizes(rng, 4), chance(rng, 0.5), colours(rng, 4)
    ink = ink if chance(rng, 0.7) else 0

    def pair() -> Pair | None:
        h, w = size()
        half = rng.choice(np.array(palette, dtype=np.int8), (h, (w + 1) // 2))
        cells = np.concatenate([half, half[:, : w // 2][:, ::-1]], axis=1)
        for _ in range(between(rng, 2, 4)):
            cells[between(rng, 0, h - 1), between(rng, 0, w - 1)] = pick(rng, palette)
        out = cells.copy()
        out[cells != cells[:, ::-1]] = ink
        return (cells.T, out.T) if turned else (cells, out)

    return pair

"""Helpers of the two-dimensional families: components, floods, and placing things apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autottt.pretraining.families.base import Cells, Rng, between, blank

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two are excluded
Spot = tuple[int, int]

STEPS4: list[Spot] = [(-1, 0), (0, 1), (1, 0), (0, -1)]
DIAGONALS: list[Spot] = [(-1, -1), (-1, 1), (1, 1), (1, -1)]
STEPS8: list[Spot] = STEPS4 + DIAGONALS


def components(mask: Mask, *, eight: bool = False) -> list[Mask]:
    """The connected parts of a mask, in reading order of their first cells."""
    h, w = mask.shape
    wide = w + 2
    todo = np.pad(mask, 1).ravel().tolist()
    offsets = [dy * wide + dx for dy, dx in (STEPS8 if eight else STEPS4)]
    parts = []
    for start, here in enumerate(todo):
        if not here:
            continue
        todo[start] = False
        found = [start]
        for at in found:
            for offset in offsets:
                if todo[at + offset]:
                    todo[at + offset] = False
                    found.append(at + offset)
        part = np.zeros((h + 2) * wide, dtype=np.bool_)
        part[found] = True
        parts.append(part.reshape(h + 2, wide)[1:-1, 1:-1])
    return parts


def objects(cells: Cells, *, eight: bool = True) -> list[Mask]:
    """The connected parts of the cells that are not background, whatever their colours."""
    return components(cells != 0, eight=eight)


def flood(free: Mask, seeds: Mask) -> Mask:
    """The cells of `free` that a seed reaches through side-adjacent cells of `free`."""
    w = free.shape[1]
    reached = np.pad(free & seeds, 1)
    todo = np.pad(free & ~seeds, 1).ravel().tolist()
    found = np.flatnonzero(reached).tolist()
    for at in found:
        for offset in (-w - 2, 1, w + 2, -1):
            if todo[at + offset]:
                todo[at + offset] = False
                found.append(at + offset)
    reached.ravel()[found] = True
    return reached[1:-1, 1:-1]


def edge(h: int, w: int) -> Mask:
    """The cells on the border of the grid."""
    mask = np.ones((h, w), dtype=np.bool_)
    mask[1:-1, 1:-1] = False
    return mask


def enclosed(free: Mask) -> Mask:
    """The free cells from which the border cannot be reached."""
    h, w = free.shape
    return free & ~flood(free, edge(h, w))


def near(mask: Mask, *, eight: bool = True) -> Mask:
    """The cells outside the mask that touch it."""
    return (neighbours(mask, eight=eight) > 0) & ~mask


def neighbours(mask: Mask, *, eight: bool = True) -> NDArray[np.int8]:
    """How many neighbours of each cell are in the mask."""
    h, w = mask.shape
    padded = np.pad(mask, 1).astype(np.int8)
    total = np.zeros((h, w), dtype=np.int8)
    for dy, dx in STEPS8 if eight else STEPS4:
        total += padded[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
    return total


def box_of(mask: Mask) -> Box:
    """The bounding box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def frame(cells: Cells, box: Box, colour: int) -> None:
    """Draw the outline of a box onto the grid."""
    top, left, bottom, right = box
    cells[[top, bottom - 1], left:right] = colour
    cells[top:bottom, [left, right - 1]] = colour


def place(rng: Rng, h: int, w: int, shapes: list[Spot], *, gap: int = 1) -> list[Box]:
    """Boxes of the given shapes at random places `gap` apart, less those that find no room."""
    boxes: list[Box] = []
    for height, width in shapes:
        if height > h or width > w:
            continue
        tries = rng.integers(0, [h - height + 1, w - width + 1], (12, 2)).tolist()
        for top, left in tries:
            bottom, right = top + height, left + width
            if all(
                bottom + gap <= t or b + gap <= top or right + gap <= x or r + gap <= left
                for t, x, b, r in boxes
            ):
                boxes.append((top, left, bottom, right))
                break
    return boxes


def rectangles(
    rng: Rng, h: int, w: int, n: int, *, low: int = 2, high: int = 5, gap: int = 1
) -> list[Box]:
    """Up to `n` boxes of random shapes, `gap` apart, their sides between `low` and `high`."""
    shapes = [(int(a), int(b)) for a, b in rng.integers(low, high + 1, (n, 2))]
    return place(rng, h, w, shapes, gap=gap)


def spots(rng: Rng, h: int, w: int, n: int, *, gap: int = 1) -> list[Spot]:
    """Up to `n` single cells with `gap` cells between them."""
    return [(top, left) for top, left, _, _ in place(rng, h, w, [(1, 1)] * n, gap=gap)]


def blob(rng: Rng, size: int) -> Mask:
    """A random side-connected shape of `size` cells, cropped to its bounding box."""
    cells = [(0, 0)]
    for pick, turn in zip(rng.random(6 * size), rng.integers(0, 4, 6 * size), strict=True):
        if len(cells) == size:
            break
        y, x = cells[int(pick * len(cells))]
        dy, dx = STEPS4[int(turn)]
        if (y + dy, x + dx) not in cells:
            cells.append((y + dy, x + dx))
    places = np.array(cells)
    places -= places.min(axis=0)
    mask = np.zeros(places.max(axis=0) + 1, dtype=np.bool_)
    mask[places[:, 0], places[:, 1]] = True
    return mask


def scatter(rng: Rng, h: int, w: int, masks: list[Mask], *, gap: int = 1) -> list[Mask | None]:
    """Each small mask put at a random place of an (h, w) grid, or None where it found no room."""
    placed: list[Mask | None] = []
    taken: list[Box] = []
    for mask in masks:
        height, width = mask.shape
        full: Mask | None = None
        tries = rng.integers(0, [max(1, h - height + 1), max(1, w - width + 1)], (12, 2)).tolist()
        for top, left in tries if height <= h and width <= w else []:
            bottom, right = top + height, left + width
            if all(
                bottom + gap <= t or b + gap <= top or right + gap <= x or r + gap <= left
                for t, x, b, r in taken
            ):
                taken.append((top, left, bottom, right))
                full = np.zeros((h, w), dtype=np.bool_)
                full[top:bottom, left:right] = mask
                break
        placed.append(full)
    return placed


def blobs(rng: Rng, h: int, w: int, n: int, *, low: int = 2, high: int = 6) -> list[Mask]:
    """Up to `n` random shapes that do not touch, as masks of the whole grid."""
    masks = [blob(rng, between(rng, low, high)) for _ in range(n)]
    return [mask for mask in scatter(rng, h, w, masks) if mask is not None]


def paint(h: int, w: int, masks: list[Mask], palette: list[int]) -> Cells:
    """A grid with each mask in its colour, the palette cycled."""
    cells = blank(h, w)
    for index, mask in enumerate(masks):
        cells[mask] = palette[index % len(palette)]
    return cells


def pick(rng: Rng, options: list[Any]) -> Any:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def picks(rng: Rng, palette: list[int], n: int) -> list[int]:
    """`n` colours of the palette, repeats allowed."""
    return [palette[int(i)] for i in rng.integers(0, len(palette), n)]


def ray(h: int, w: int, start: Spot, step: Spot) -> list[Spot]:
    """The cells after `start` in the direction `step`, up to the border."""
    y, x = start[0] + step[0], start[1] + step[1]
    cells = []
    while 0 <= y < h and 0 <= x < w:
        cells.append((y, x))
        y, x = y + step[0], x + step[1]
    return cells

"""Two-dimensional families that tell objects apart by a yes-or-no property of their shape."""

from __future__ import annotations

from collections.abc import Callable

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
    Mask,
    blob,
    blobs,
    box_of,
    edge,
    enclosed,
    frame,
    paint,
    rectangles,
    scatter,
)


def _two_ways(
    rng: Rng, draw: Callable[[], tuple[int, int, list[Mask]]], test: Callable[[Mask], bool]
) -> PairMaker:
    """Objects that pass the test change to one colour, and the others stay, change or vanish."""
    body, yes, no = colours(rng, 3)
    no = (no, body, 0)[between(rng, 0, 2)]
    yes = yes if no != 0 or chance(rng, 0.5) else body

    def pair() -> Pair | None:
        h, w, masks = draw()
        cells, out = paint(h, w, masks, [body]), blank(h, w)
        passed = [test(mask) for mask in masks]
        for mask, good in zip(masks, passed, strict=True):
            out[mask] = yes if good else no
        return (cells, out) if any(passed) and not np.array_equal(cells, out) else None

    return pair


@family("select", dims=2)
def grid_colour_by_holes(rng: Rng) -> PairMaker:
    """Objects with a hole are told apart from objects without one."""
    size = sizes(rng, 7, 12)

    def draw() -> tuple[int, int, list[Mask]]:
        h, w = size()
        masks: list[Mask] = []
        for top, left, bottom, right in rectangles(rng, h, w, between(rng, 3, 5), low=3, high=5):
            cells = blank(h, w)
            cells[top:bottom, left:right] = 1
            if not masks or chance(rng, 0.6):
                frame(cells, (top + 1, left + 1, bottom - 1, right - 1), 0)
                if masks and chance(rng, 0.3):
                    cells[top, left + 1] = 0
            masks.append(cells > 0)
        return h, w, masks

    return _two_ways(rng, draw, lambda mask: bool(enclosed(~mask).any()))


@family("select", dims=2)
def grid_squares(rng: Rng) -> PairMaker:
    """Square objects are told apart from rectangles that are not square."""
    size = sizes(rng, 7, 12)

    def draw() -> tuple[int, int, list[Mask]]:
        h, w = size()
        masks = []
        for side, extra in rng.integers((1, 0), (4, 3), (between(rng, 3, 5), 2)).tolist():
            mask = np.ones((side, side + extra), dtype=np.bool_)
            masks.append(mask.T if chance(rng, 0.5) else mask)
        return h, w, [mask for mask in scatter(rng, h, w, masks) if mask is not None]

    def square(mask: Mask) -> bool:
        top, left, bottom, right = box_of(mask)
        return bottom - top == right - left

    return _two_ways(rng, draw, square)


@family("select", dims=2)
def grid_orientation(rng: Rng) -> PairMaker:
    """Upright bars are told apart from lying bars."""
    size, upright = sizes(rng, 6, 12), chance(rng, 0.5)

    def draw() -> tuple[int, int, list[Mask]]:
        h, w = size()
        masks = []
        for thick, extra in rng.integers((1, 1), (3, 4), (between(rng, 3, 5), 2)).tolist():
            mask = np.ones((thick, thick + extra), dtype=np.bool_)
            masks.append(mask.T if chance(rng, 0.5) else mask)
        return h, w, [mask for mask in scatter(rng, h, w, masks) if mask is not None]

    def chosen(mask: Mask) -> bool:
        top, left, bottom, right = box_of(mask)
        return (bottom - top > right - left) == upright

    return _two_ways(rng, draw, chosen)


@family("select", dims=2)
def grid_touches_border(rng: Rng) -> PairMaker:
    """Objects that touch the border of the grid are told apart from those that do not."""
    size, wanted = sizes(rng, 6, 12), chance(rng, 0.5)

    def draw() -> tuple[int, int, list[Mask]]:
        h, w = size()
        return h, w, blobs(rng, h, w, between(rng, 2, 5), low=1, high=6)

    return _two_ways(rng, draw, lambda mask: bool((mask & edge(*mask.shape)).any()) == wanted)


@family("select", dims=2)
def grid_symmetric_objects(rng: Rng) -> PairMaker:
    """Objects that are their own mirror image are told apart from the others."""
    size, upright = sizes(rng, 7, 12), chance(rng, 0.5)

    def draw() -> tuple[int, int, list[Mask]]:
        h, w = size()
        masks: list[Mask] = []
        for _ in range(between(rng, 3, 5)):
            mask = blob(rng, between(rng, 2, 5))
            if chance(rng, 0.6):
                mask = np.concatenate([mask[:, ::-1], mask], axis=1)
            masks.append(mask if upright else mask.T)
        return h, w, [mask for mask in scatter(rng, h, w, masks) if mask is not None]

    def symmetric(mask: Mask) -> bool:
        top, left, bottom, right = box_of(mask)
        part = mask[top:bottom, left:right]
        return np.array_equal(part, part[:, ::-1] if upright else part[::-1])

    return _two_ways(rng, draw, symmetric)

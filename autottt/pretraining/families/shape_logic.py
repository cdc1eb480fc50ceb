"""Families that combine two or more panels of the input cell by cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .base import Pair, PairMaker, Rng, between, chance, colours, family, sizes, speckle
from .shape_tools import Mask, coin, is_mirrored, join, paint, quad, texture, turn

Gate = Callable[[Mask, Mask], Mask]


def _halves(rng: Rng, gate: Gate, *, lined: bool) -> PairMaker:
    """Two masks side by side (or stacked) in their own colours; the output paints the gate."""
    first, second, out, line = colours(rng, 4)
    if chance(rng, 0.3):
        second = first
    axis, size = between(rng, 0, 1), sizes(rng, 3, 5)

    def pair() -> Pair | None:
        h, w = size()
        a, b = coin(rng, h, w), coin(rng, h, w)
        parts = [paint(a, first), paint(b, second)]
        return join(parts, axis, line if lined else None), paint(gate(a, b), out)

    return pair


@family("logic", dims=2)
def halves_and(rng: Rng) -> PairMaker:
    """A cell is painted where both halves are coloured."""
    return _halves(rng, lambda a, b: a & b, lined=True)


@family("logic", dims=2)
def halves_or(rng: Rng) -> PairMaker:
    """A cell is painted where at least one half is coloured."""
    return _halves(rng, lambda a, b: a | b, lined=True)


@family("logic", dims=2)
def halves_xor(rng: Rng) -> PairMaker:
    """A cell is painted where exactly one half is coloured."""
    return _halves(rng, lambda a, b: a ^ b, lined=True)


@family("logic", dims=2)
def halves_nor(rng: Rng) -> PairMaker:
    """A cell is painted where neither half is coloured."""
    return _halves(rng, lambda a, b: ~(a | b), lined=True)


@family("logic", dims=2)
def halves_nand(rng: Rng) -> PairMaker:
    """A cell is painted unless both halves are coloured there."""
    return _halves(rng, lambda a, b: ~(a & b), lined=True)


@family("logic", dims=2)
def halves_same(rng: Rng) -> PairMaker:
    """A cell is painted where the halves agree, coloured or not."""
    return _halves(rng, lambda a, b: a == b, lined=True)


@family("logic", dims=2)
def halves_minus(rng: Rng) -> PairMaker:
    """A cell is painted where one fixed half is coloured and the other is not."""
    if chance(rng, 0.5):
        return _halves(rng, lambda a, b: a & ~b, lined=True)
    return _halves(rng, lambda a, b: b & ~a, lined=True)


@family("logic", dims=2)
def halves_unlined_gate(rng: Rng) -> PairMaker:
    """Two halves without a line between them are combined by one logical operation."""
    gates: list[Gate] = [
        lambda a, b: a & b,
        lambda a, b: a | b,
        lambda a, b: a ^ b,
        lambda a, b: ~(a | b),
    ]
    return _halves(rng, gates[between(rng, 0, 3)], lined=False)


@family("logic", dims=2)
def halves_truth_table(rng: Rng) -> PairMaker:
    """Each of the four combinations of two halves has a colour of its own in the output."""
    table = np.array([0, *colours(rng, 3)], dtype=np.int8)[rng.permutation(4)]
    first, second, line = colours(rng, 3)
    axis, size = between(rng, 0, 1), sizes(rng, 3, 5)

    def pair() -> Pair | None:
        h, w = size()
        a, b = coin(rng, h, w), coin(rng, h, w)
        return join([paint(a, first), paint(b, second)], axis, line), table[a + 2 * b]

    return pair


@family("logic", dims=2)
def halves_overlay(rng: Rng) -> PairMaker:
    """One many-coloured half is laid over the other, which shows through its empty cells."""
    line, *palette = colours(rng, between(rng, 4, 6))
    axis, size, order = between(rng, 0, 1), sizes(rng, 3, 5), between(rng, 0, 1)

    def pair() -> Pair | None:
        h, w = size()
        parts = [speckle(rng, h, w, palette, 0.5) for _ in range(2)]
        top, under = parts[order], parts[1 - order]
        return join(parts, axis, line), np.where(top != 0, top, under)

    return pair


@family("logic", dims=2)
def halves_stencil(rng: Rng) -> PairMaker:
    """One half is a stencil: the other half's colours are kept only where it is coloured."""
    line, ink, *palette = colours(rng, between(rng, 4, 6))
    axis, size, order = between(rng, 0, 1), sizes(rng, 3, 5), between(rng, 0, 1)
    inverse = chance(rng, 0.3)

    def pair() -> Pair | None:
        h, w = size()
        mask, picture = coin(rng, h, w), texture(rng, h, w, palette)
        parts = [paint(mask, ink), picture]
        kept = np.where(mask ^ inverse, picture, 0).astype(np.int8)
        return join(parts[::-1] if order else parts, axis, line), kept

    return pair


@family("logic", dims=2)
def halves_matching_colour(rng: Rng) -> PairMaker:
    """A cell keeps its colour where both many-coloured halves have the same one, else is empty."""
    line, *palette = colours(rng, between(rng, 3, 4))
    axis, size = between(rng, 0, 1), sizes(rng, 3, 5)

    def pair() -> Pair | None:
        h, w = size()
        a = texture(rng, h, w, palette)
        b = np.where(coin(rng, h, w), a, texture(rng, h, w, palette))
        return join([a, b], axis, line), np.where(a == b, a, 0).astype(np.int8)

    return pair


@family("logic", dims=2)
def fold_onto_half(rng: Rng) -> PairMaker:
    """The grid is folded along its middle: the mirrored half fills the empty cells of the other."""
    palette, way = colours(rng, between(rng, 1, 4)), between(rng, 0, 3)
    h, w = between(rng, 3, 8), between(rng, 2, 5)

    def pair() -> Pair | None:
        grid = speckle(rng, h, 2 * w, palette, 0.4)
        flap, kept = grid[:, :w][:, ::-1], grid[:, w:]
        return turn(grid, way), turn(np.where(kept != 0, kept, flap), way)

    return pair


@family("logic", dims=2)
def thirds_majority(rng: Rng) -> PairMaker:
    """Three panels vote: a cell is painted where at least two of them are coloured."""
    ink, out, line = colours(rng, 3)
    axis, size = between(rng, 0, 1), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        h, w = size()
        masks = [coin(rng, h, w) for _ in range(3)]
        votes = masks[0].astype(np.int8) + masks[1] + masks[2]
        return join([paint(m, ink) for m in masks], axis, line), paint(votes >= 2, out)

    return pair


@family("logic", dims=2)
def panels_tally(rng: Rng) -> PairMaker:
    """A cell's output colour tells in how many of three panels it is coloured."""
    ink, line, *code = colours(rng, 5)
    table = np.array([0, *code], dtype=np.int8)
    axis, size = between(rng, 0, 1), sizes(rng, 2, 4)

    def pair() -> Pair | None:
        h, w = size()
        masks = [coin(rng, h, w) for _ in range(3)]
        votes = masks[0].astype(np.intp) + masks[1] + masks[2]
        return join([paint(m, ink) for m in masks], axis, line), table[votes]

    return pair


@family("logic", dims=2)
def quadrants_overlay(rng: Rng) -> PairMaker:
    """Four quadrants, each of its own colour, are laid over each other in a fixed order."""
    line, *shades = colours(rng, 5)
    order, side = rng.permutation(4), sizes(rng, 2, 5)
    lined = chance(rng, 0.6)

    def pair() -> Pair | None:
        h, w = side()
        parts = [paint(coin(rng, h, w, 0.45), c) for c in shades]
        out = parts[order[0]]
        for i in order[1:]:
            out = np.where(parts[i] != 0, parts[i], out)
        return quad(parts, line if lined else None), out

    return pair


@family("logic", dims=2)
def verdicts_symmetric(rng: Rng) -> PairMaker:
    """For each panel one cell of the output says whether the panel is its own mirror image."""
    yes, no, line, *palette = colours(rng, 5)
    no, axis, w = 0 if chance(rng, 0.3) else no, between(rng, 0, 1), between(rng, 3, 4)

    def pair() -> Pair | None:
        parts = [texture(rng, 3, w, [0, *palette]) for _ in range(between(rng, 2, 3))]
        for part in parts:
            if chance(rng, 0.45):
                part[:, (w + 1) // 2 :] = part[:, w // 2 - 1 :: -1]
        answer = paint(np.array([[is_mirrored(part, 1) for part in parts]]), yes, no)
        return turn(join(parts, 1, line), 4 * axis), turn(answer, 4 * axis)

    return pair


@family("logic", dims=2)
def row_parity(rng: Rng) -> PairMaker:
    """Each row (or column) gives one cell: its colour says if the row's count is odd or even."""
    ink, odd, even = colours(rng, 3)
    even, size, way = 0 if chance(rng, 0.5) else even, sizes(rng, 3, 6), between(rng, 0, 1)

    def pair() -> Pair | None:
        mask = coin(rng, *size())
        parity = paint(mask.sum(axis=1, keepdims=True) % 2 == 1, odd, even)
        return turn(paint(mask, ink), 4 * way), turn(parity, 4 * way)

    return pair

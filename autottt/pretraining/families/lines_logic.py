"""One-row families about logic: panels, parity, nesting, automata and conditions."""

from __future__ import annotations

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Line,
    Run,
    changed,
    coin,
    motif,
    painted,
    pick,
    put,
    scene,
    shown,
    shuffled,
    some_colours,
    sprinkled,
)


@family("logic", dims=1)
def line_panel_logic(rng: Rng) -> PairMaker:
    """Two panels are combined cell by cell by a fixed logical operation."""
    width = lengths(rng, 4, 14)
    wall, a, b, result = some_colours(rng, 4, 4)
    # Bit 2 * left + right of the table is the result; the constants and the projections are out.
    table = pick(rng, [t for t in range(1, 15) if t not in (3, 5, 10, 12)])

    def pair() -> Pair | None:
        w = width()
        left, right = sprinkled(rng, w, [a], 0.5), sprinkled(rng, w, [b], 0.5)
        bits = [table >> (2 * bool(p) + bool(q)) & 1 for p, q in zip(left, right)]
        return changed([*left, wall, *right], [result * bit for bit in bits])

    return pair


@family("logic", dims=1)
def line_panel_agree(rng: Rng) -> PairMaker:
    """Only the cells where two coloured panels agree (or differ) are kept, from the first panel."""
    width, agree = lengths(rng, 4, 14), coin(rng)
    wall, *palette = some_colours(rng, 3, 4)

    def pair() -> Pair | None:
        left, other = (sprinkled(rng, w, palette, 0.9) for w in [width()] * 2)
        right = [p if coin(rng) else q for p, q in zip(left, other)]
        after = [p if (p == q) == agree else 0 for p, q in zip(left, right)]
        return changed([*left, wall, *right], after)

    return pair


@family("logic", dims=1)
def line_panel_overlay(rng: Rng) -> PairMaker:
    """One panel is laid over the other, whose cells show only through the gaps."""
    width, flip = lengths(rng, 4, 14), coin(rng)
    wall, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w = width()
        top, bottom = sprinkled(rng, w, palette, 0.5), sprinkled(rng, w, palette, 0.7)
        after = [p or q for p, q in zip(top, bottom)]
        return shown([*bottom, wall, *top] if flip else [*top, wall, *bottom], after)

    return pair


@family("logic", dims=1)
def line_interleave(rng: Rng) -> PairMaker:
    """The cells of the two halves are dealt out in turn, like shuffled cards, or gathered back."""
    width, palette, gather = lengths(rng, 4, 15), some_colours(rng, 3, 6), coin(rng)

    def pair() -> Pair | None:
        w = width()
        mixed = sprinkled(rng, 2 * w, palette, 0.9)
        halves = mixed[::2] + mixed[1::2]
        return changed(mixed, halves) if gather else changed(halves, mixed)

    return pair


@family("logic", dims=1)
def line_subsample(rng: Rng) -> PairMaker:
    """The output holds every k-th cell of the line."""
    k, palette = between(rng, 2, 3), some_colours(rng, 3, 6)
    width, phase = lengths(rng), between(rng, 0, k - 1)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.9)
        return changed(before, before[phase::k])

    return pair


@family("logic", dims=1)
def line_odd_panel(rng: Rng) -> PairMaker:
    """Of three panels two are alike; the output is the third one."""
    width = lengths(rng, 3, 9)
    wall, *palette = some_colours(rng, 3, 4)

    def pair() -> Pair | None:
        w = width()
        common, odd = sprinkled(rng, w, palette, 0.6), sprinkled(rng, w, palette, 0.6)
        if common == odd:
            return None
        panels = [common] * 3
        panels[between(rng, 0, 2)] = odd
        return changed([*panels[0], wall, *panels[1], wall, *panels[2]], odd)

    return pair


@family("logic", dims=1)
def line_fullest_panel(rng: Rng) -> PairMaker:
    """The output is the panel with the most (or the fewest) coloured cells."""
    width, most, count = lengths(rng, 4, 9), coin(rng), between(rng, 2, 3)
    wall, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        totals = shuffled(rng, range(1, w + 1))[:count]
        panels = []
        for n in totals:
            spots = shuffled(rng, range(w))[:n]
            panels.append([pick(rng, palette) if i in spots else 0 for i in range(w)])
        before = panels[0]
        for panel in panels[1:]:
            before = [*before, wall, *panel]
        return changed(before, panels[totals.index((max if most else min)(totals))])

    return pair


@family("logic", dims=1)
def line_prefix_parity(rng: Rng) -> PairMaker:
    """Each switch cell turns painting on or off for the cells that follow."""
    width, flip = lengths(rng), coin(rng)
    switch, paint = some_colours(rng, 2, 2)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), [switch], 0.25)
        after, on = [], False
        for cell in before:
            on ^= bool(cell)
            after.append(cell or paint * on)
        return changed(before, after, flip)

    return pair


@family("logic", dims=1)
def line_nesting(rng: Rng) -> PairMaker:
    """Empty cells between opening and closing cells are coloured by how deep they are nested."""
    width = lengths(rng, 12, 32)
    opening, closing, *inner = some_colours(rng, 4, 4)

    def pair() -> Pair | None:
        w, depth = width(), 0
        before: Line = []
        after: Line = []
        for i in range(w):
            roll = rng.random()
            if depth and (w - i <= depth or roll < 0.22):
                depth, cell = depth - 1, closing
            elif roll > 0.65 and depth < 2 and w - i > depth + 3:
                depth, cell = depth + 1, opening
            else:
                cell = 0
            before.append(cell)
            after.append(cell or (inner[depth - 1] if depth else 0))
        return changed(before, after)

    return pair


@family("logic", dims=1)
def line_automaton(rng: Rng) -> PairMaker:
    """One step of a cellular automaton: a fixed table of a cell and its two neighbours."""
    width, colour = lengths(rng, 10, 32), some_colours(rng, 1, 1)[0]
    dull = {0, 15, 51, 85, 170, 204, 240, 255}
    rule = pick(rng, [r for r in range(0, 256, 2) if r not in dull])

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), [colour], 0.5)
        bits = [0, *(int(c > 0) for c in before), 0]
        codes = [4 * a + 2 * b + c for a, b, c in zip(bits, bits[1:], bits[2:])]
        return changed(before, [colour * (rule >> code & 1) for code in codes])

    return pair


@family("logic", dims=1)
def line_infect(rng: Rng) -> PairMaker:
    """The seed colour spreads through the whole segment it sits in and leaves the others alone."""
    width = lengths(rng, 10, 32)
    seed, host = some_colours(rng, 2, 2)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [host, seed], count=(2, 4), size=(2, 7))
        spots = [Run(between(rng, r.start, r.stop - 1), 1, seed) for r in runs if r.colour == seed]
        before = painted(w, [*(r._replace(colour=host) for r in runs), *spots])
        return changed(before, painted(w, runs))

    return pair


@family("logic", dims=1)
def line_sandwich(rng: Rng) -> PairMaker:
    """Where a fixed three-cell word occurs, its middle cell is replaced."""
    width, palette = lengths(rng, 12, 32), some_colours(rng, 3, 4)
    new = palette.pop()
    word = motif(rng, 3, palette)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.9)
        put(before, between(rng, 0, len(before) - 3), word)
        after = before.copy()
        for i in range(len(before) - 2):
            if before[i : i + 3] == word:
                after[i + 1] = new
        return changed(before, after)

    return pair


@family("logic", dims=1)
def line_symmetric_objects(rng: Rng) -> PairMaker:
    """Only the objects that read the same both ways (or only the others) stay."""
    width, keep, palette = lengths(rng, 12, 32), coin(rng), some_colours(rng, 2, 3)

    def pair() -> Pair | None:
        w = width()
        before, after = [0] * w, [0] * w
        kinds = [coin(rng), coin(rng), *shuffled(rng, [0, 1])]
        for run in scene(rng, w, palette, count=(2, 4), size=(3, 5)):
            cells = motif(rng, run.size, palette)
            if same := kinds.pop():
                cells[-(run.size // 2) :] = cells[: run.size // 2][::-1]
            elif cells == cells[::-1]:
                cells[0] = next(c for c in palette if c != cells[0])
            put(before, run.start, cells)
            if bool(same) == keep:
                put(after, run.start, cells)
        return changed(before, after) if any(after) else None

    return pair

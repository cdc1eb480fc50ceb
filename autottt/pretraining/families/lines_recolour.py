"""More one-row families about colour: contacts, odd ones out, legends, positions."""

from __future__ import annotations

from collections import Counter

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Run,
    changed,
    coin,
    painted,
    pick,
    put,
    scene,
    shuffled,
    some_colours,
    sprinkled,
)


@family("colour", dims=1)
def line_adopt_touching(rng: Rng) -> PairMaker:
    """A grey segment takes the colour of the single cell that touches it, on either side."""
    width = lengths(rng, 10, 32)
    grey, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(1, 3), size=(3, 7))
        before, after = painted(w, runs), painted(w, runs)
        for run in runs:
            put(before, run.start + coin(rng), [grey] * (run.size - 1))
        return changed(before, after)

    return pair


@family("colour", dims=1)
def line_touching_changes(rng: Rng) -> PairMaker:
    """Segments that touch the trigger colour change colour, the others stay."""
    width = lengths(rng, 10, 32)
    trigger, plain, hit = some_colours(rng, 3, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [plain, hit], count=(2, 4), size=(2, 5))
        caps = [
            Run(r.start if coin(rng) else r.stop - 1, 1, trigger) for r in runs if r.colour == hit
        ]
        before = painted(w, [*(r._replace(colour=plain) for r in runs), *caps])
        return changed(before, painted(w, [*runs, *caps]))

    return pair


@family("colour", dims=1)
def line_majority_fill(rng: Rng) -> PairMaker:
    """The whole line takes its most (or least) frequent colour."""
    width, most, palette = lengths(rng), coin(rng), some_colours(rng, 3, 6)

    def pair() -> Pair | None:
        hues = shuffled(rng, palette)[:3]
        before = sprinkled(rng, width(), [*hues, hues[0]], 1.0)
        ranked = Counter(before).most_common()
        if len(ranked) < 2 or ranked[0][1] == ranked[1][1] or ranked[-1][1] == ranked[-2][1]:
            return None
        return changed(before, [ranked[0 if most else -1][0]] * len(before))

    return pair


@family("colour", dims=1)
def line_odd_colour_out(rng: Rng) -> PairMaker:
    """Of several segments, the one whose colour occurs once is kept (or is removed)."""
    width, keep, palette = lengths(rng, 10, 32), coin(rng), some_colours(rng, 3, 6)

    def pair() -> Pair | None:
        w, (common, rare) = width(), shuffled(rng, palette)[:2]
        runs = scene(rng, w, [common], count=(3, 5), size=(1, 4))
        if len(runs) < 3:
            return None
        k = between(rng, 0, len(runs) - 1)
        runs[k] = runs[k]._replace(colour=rare)
        after = [r for i, r in enumerate(runs) if (i == k) == keep]
        return changed(painted(w, runs), painted(w, after))

    return pair


@family("colour", dims=1)
def line_halves_of_segment(rng: Rng) -> PairMaker:
    """One half of each segment of even length takes a fixed colour."""
    width, flip = lengths(rng, 10, 32), coin(rng)
    other, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        halves = scene(rng, w // 2, palette, count=(1, 3), size=(1, 4))
        runs = [Run(2 * r.start, 2 * r.size, r.colour) for r in halves]
        after = [*runs, *(Run(2 * r.start, r.size, other) for r in halves)]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("colour", dims=1)
def line_number_cells(rng: Rng) -> PairMaker:
    """The cells of each segment are coloured by their place in it, in a fixed order."""
    width, flip = lengths(rng), coin(rng)
    grey, *hues = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [grey], count=(1, 3), size=(1, 8))
        after = [0] * w
        for run in runs:
            put(after, run.start, [hues[i % len(hues)] for i in range(run.size)])
        return changed(painted(w, runs), after, flip)

    return pair


@family("colour", dims=1)
def line_legend(rng: Rng) -> PairMaker:
    """Two cells at the head give a replacement: the first colour becomes the second."""
    width, flip, palette = lengths(rng, 10, 32), coin(rng), some_colours(rng, 4, 7)

    def pair() -> Pair | None:
        w, hues = width(), shuffled(rng, palette)
        old, new = hues[:2]
        rest = sprinkled(rng, w - 3, [old, hues[2], old, hues[3]], 0.6)
        after = [new if c == old else c for c in rest]
        return changed([old, new, 0, *rest], [old, new, 0, *after], flip) if rest != after else None

    return pair


@family("colour", dims=1)
def line_every_kth(rng: Rng) -> PairMaker:
    """Every k-th cell counted from the head is painted over, coloured or only where empty."""
    width, k, flip = lengths(rng), between(rng, 2, 5), coin(rng)
    paint, *palette = some_colours(rng, 2, 4)
    only_empty = coin(rng)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.3)
        hit = range(k - 1, len(before), k)
        after = [paint if i in hit and not (only_empty and c) else c for i, c in enumerate(before)]
        return changed(before, after, flip)

    return pair


@family("colour", dims=1)
def line_side_of_marker(rng: Rng) -> PairMaker:
    """Cells before the marker take one colour and cells after it another."""
    width = lengths(rng)
    grey, marker, left, right = some_colours(rng, 4, 4)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), [grey], 0.6)
        mark = between(rng, 1, len(before) - 2)
        before[mark] = marker
        after = [(left if i < mark else right) if c else 0 for i, c in enumerate(before)]
        after[mark] = marker
        return changed(before, after)

    return pair


@family("colour", dims=1)
def line_boundaries(rng: Rng) -> PairMaker:
    """In a line of touching blocks the first cell of each block is kept, the rest clears."""
    width, flip, palette = lengths(rng, 10, 32), coin(rng), some_colours(rng, 3, 5)
    rest = 0 if coin(rng) else next(c for c in range(1, 10) if c not in palette)

    def pair() -> Pair | None:
        before: list[int] = []
        w = width()
        while len(before) < w:
            before += [pick(rng, palette)] * between(rng, 1, 5)
        before = before[:w]
        after = [rest if i and before[i - 1] == c else c for i, c in enumerate(before)]
        return changed(before, after, flip)

    return pair


@family("colour", dims=1)
def line_swap_pairs(rng: Rng) -> PairMaker:
    """Objects of two cells swap the two colours; all other objects stay."""
    width, palette = lengths(rng, 10, 32), some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w = width()
        before, after = [0] * w, [0] * w
        runs = scene(rng, w, palette, count=(2, 5), size=(2, 4))
        k = between(rng, 0, len(runs) - 1)
        for i, run in enumerate(runs):
            cells = shuffled(rng, palette)[: 2 if i == k else run.size]
            put(before, run.start, cells)
            put(after, run.start, cells[::-1] if len(cells) == 2 else cells)
        return changed(before, after)

    return pair


@family("colour", dims=1)
def line_project(rng: Rng) -> PairMaker:
    """The head pattern is repeated over the line, but only on the cells of the mask colour."""
    width = lengths(rng, 12, 32)
    mask, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w, size = width(), between(rng, 2, 3)
        unit = shuffled(rng, palette)[:size]
        size = len(unit)
        before = unit + [0] + [mask if coin(rng) else 0 for _ in range(w - size - 1)]
        after = [unit[i % size] if c == mask else c for i, c in enumerate(before)]
        return changed(before, after)

    return pair

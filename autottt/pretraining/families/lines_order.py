"""One-row families about sorting, counting, picking and changing the length of the line."""

from __future__ import annotations

from itertools import groupby

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Run,
    changed,
    coin,
    painted,
    pick,
    place,
    ranked_scene,
    scene,
    shown,
    shuffled,
    some_colours,
    sprinkled,
    trimmed,
)


@family("ordering", dims=1)
def line_sort_segments(rng: Rng) -> PairMaker:
    """The segments are put in order of length, one cell apart, from one wall."""
    width, rising, flip = lengths(rng, 14, 32), coin(rng), coin(rng)
    palette = some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w = width()
        sizes = shuffled(rng, range(1, 7))[: between(rng, 2, 4)]
        starts = place(rng, w, sizes)
        if starts is None:
            return None
        runs = [Run(s, n, pick(rng, palette)) for s, n in zip(starts, sizes)]
        after: list[int] = []
        for run in sorted(runs, key=lambda r: r.size, reverse=not rising):
            after += [run.colour] * run.size + [0]
        return changed(painted(w, runs), (after + [0] * w)[:w], flip)

    return pair


@family("ordering", dims=1)
def line_sort_cells(rng: Rng) -> PairMaker:
    """The cells are sorted by colour in a fixed order of the colours."""
    width, palette = lengths(rng), some_colours(rng, 2, 4)
    order = shuffled(rng, [0, *palette]) if coin(rng) else [0, *sorted(palette)]

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.7)
        return changed(before, sorted(before, key=order.index))

    return pair


@family("ordering", dims=1)
def line_group_by_colour(rng: Rng) -> PairMaker:
    """Cells of the same colour are gathered, the colours in order of first appearance."""
    width, flip, palette = lengths(rng), coin(rng), some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), shuffled(rng, palette)[:3], 1.0)
        return changed(before, sorted(before, key=before.index), flip)

    return pair


@family("ordering", dims=1)
def line_reverse_colours(rng: Rng) -> PairMaker:
    """The segments stay where they are but their colours come in reverse order."""
    width, palette = lengths(rng, 10, 32), some_colours(rng, 3, 6)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(2, 5), size=(1, 4))
        after = [r._replace(colour=q.colour) for r, q in zip(runs, reversed(runs))]
        return changed(painted(w, runs), painted(w, after))

    return pair


@family("counting", dims=1)
def line_count_bar(rng: Rng) -> PairMaker:
    """The cells of one colour are counted and shown as a bar of that length from one wall."""
    width, flip = lengths(rng), coin(rng)
    counted, *others = some_colours(rng, 1, 3)
    bar = counted if coin(rng) else pick(rng, range(1, 10))

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), [counted, counted, *others], 0.4)
        n = before.count(counted)
        return changed(before, [bar] * n + [0] * (len(before) - n), flip) if n else None

    return pair


@family("counting", dims=1)
def line_count_segments(rng: Rng) -> PairMaker:
    """The output has one cell for each segment of the counted colour, and nothing else."""
    width = lengths(rng, 10, 32)
    counted, *others = some_colours(rng, 2, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [counted, counted, *others], count=(2, 6), size=(1, 4))
        n = sum(r.colour == counted for r in runs)
        return changed(painted(w, runs), [counted] * n)

    return pair


@family("counting", dims=1)
def line_difference_bar(rng: Rng) -> PairMaker:
    """The more frequent of two colours is shown as a bar as long as its lead."""
    width, flip, hues = lengths(rng), coin(rng), some_colours(rng, 2, 2)

    def pair() -> Pair | None:
        p = 1 + 2 * coin(rng)
        before = sprinkled(rng, width(), hues * 2 + [hues[coin(rng)]] * p, 0.7)
        lead = before.count(hues[0]) - before.count(hues[1])
        bar = [hues[0] if lead > 0 else hues[1]] * abs(lead)
        return changed(before, bar + [0] * (len(before) - len(bar)), flip) if lead else None

    return pair


@family("counting", dims=1)
def line_dedupe(rng: Rng) -> PairMaker:
    """Each block of equal cells becomes a single cell of the output."""
    width, palette = lengths(rng), some_colours(rng, 3, 5)
    palette = [*palette, 0] if coin(rng) else palette

    def pair() -> Pair | None:
        w = width()
        before: list[int] = []
        while len(before) < w:
            before += [pick(rng, palette)] * between(rng, 1, 5)
        before = before[:w]
        return changed(before, [colour for colour, _ in groupby(before)])

    return pair


@family("ordering", dims=1)
def line_crop(rng: Rng) -> PairMaker:
    """The output is the object alone, without the background around it."""
    width, palette = lengths(rng), some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        size = between(rng, 2, w - 2)
        cells = [pick(rng, palette), *sprinkled(rng, size - 2, palette, 0.7), pick(rng, palette)]
        start = between(rng, 0, w - size)
        return shown([0] * start + cells + [0] * (w - start - size), cells)

    return pair


@family("ordering", dims=1)
def line_crop_between(rng: Rng) -> PairMaker:
    """The output is what lies between the two markers."""
    width = lengths(rng)
    marker, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.7)
        a, b = sorted(shuffled(rng, range(len(before)))[:2])
        before[a] = before[b] = marker
        return changed(before, before[a + 1 : b]) if b - a > 1 else None

    return pair


@family("ordering", dims=1)
def line_crop_extreme(rng: Rng) -> PairMaker:
    """The output is the longest (or the shortest) object alone."""
    width, longest, palette = lengths(rng, 10, 32), coin(rng), some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        found = ranked_scene(rng, w, palette, longest, count=(2, 4), size=(1, 7))
        if found is None:
            return None
        runs, k = found
        before = [pick(rng, palette) if c else 0 for c in painted(w, runs)]
        return changed(before, before[runs[k].start : runs[k].stop])

    return pair


@family("ordering", dims=1)
def line_pick_nth(rng: Rng) -> PairMaker:
    """The output is the first, second or third object, counted from a fixed side."""
    width, nth, flip, palette = (
        lengths(rng, 10, 32),
        between(rng, 0, 2),
        coin(rng),
        some_colours(rng, 2, 4),
    )

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(nth + 1, nth + 3), size=(1, 4))
        if len(runs) <= max(1, nth):
            return None
        before = [pick(rng, palette) if c else 0 for c in painted(w, runs)]
        return changed(before, before[runs[nth].start : runs[nth].stop], flip)

    return pair


@family("ordering", dims=1)
def line_drop_colour(rng: Rng) -> PairMaker:
    """All cells of one colour are cut out and the line closes up, which makes it shorter."""
    width = lengths(rng)
    dropped, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), [dropped, *palette, 0], 1.0)
        after = [c for c in before if c != dropped]
        return changed(before, after) if trimmed(after) else None

    return pair


@family("counting", dims=1)
def line_list_colours(rng: Rng) -> PairMaker:
    """The output lists the colours of the segments in order, one cell each."""
    width, flip, palette = lengths(rng, 10, 32), coin(rng), some_colours(rng, 3, 6)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(2, 6), size=(1, 5))
        return changed(painted(w, runs), [r.colour for r in runs][:: -1 if flip else 1])

    return pair

"""One-row families that redraw segments: fill, hollow, grow, extend, remove, copy, stamp."""

from __future__ import annotations

from itertools import pairwise

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Line,
    Run,
    changed,
    coin,
    painted,
    pick,
    place,
    ranked_scene,
    runs_of,
    scene,
    shuffled,
    some_colours,
)


@family("objects", dims=1)
def line_fill_between(rng: Rng) -> PairMaker:
    """The gap between two end cells of one colour is filled, with that colour or a fixed one."""
    width, own = lengths(rng), coin(rng)
    fill, *palette = some_colours(rng, 4, 6)

    def pair() -> Pair | None:
        w, hues = width(), shuffled(rng, palette)
        spans = scene(rng, w, [1], count=(1, 3), size=(3, 9))
        spans = [span._replace(colour=hue) for span, hue in zip(spans, hues)]
        inner = [Run(s.start + 1, s.size - 2, s.colour if own else fill) for s in spans]
        hollow = [r._replace(colour=0) for r in inner]
        return changed(painted(w, [*spans, *hollow]), painted(w, [*spans, *inner]))

    return pair


@family("objects", dims=1)
def line_hollow(rng: Rng) -> PairMaker:
    """Each segment keeps only its two end cells."""
    width, palette = lengths(rng), some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(1, 4), size=(2, 7))
        inner = [Run(r.start + 1, r.size - 2, 0) for r in runs]
        return changed(painted(w, runs), painted(w, [*runs, *inner]))

    return pair


@family("objects", dims=1)
def line_border(rng: Rng) -> PairMaker:
    """The end cells of each segment (or the cells just outside it) take the border colour."""
    width, outside = lengths(rng, 10, 32), coin(rng)
    border, *palette = some_colours(rng, 2, 4)
    reach = 1 if outside else 0

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(1, 3), size=(2, 7), gap=3)
        ends = [Run(i, 1, border) for r in runs for i in (r.start - reach, r.stop - 1 + reach)]
        return changed(painted(w, runs), painted(w, [*runs, *ends]))

    return pair


@family("objects", dims=1)
def line_grow(rng: Rng) -> PairMaker:
    """Each segment grows by a fixed number of cells, on one side or on both."""
    width, step, both, flip = lengths(rng, 10, 32), between(rng, 1, 2), coin(rng), coin(rng)
    palette = some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(1, 3), size=(1, 5), gap=2 * step + 1)
        left = step if both else 0
        after = [Run(r.start - left, r.size + left + step, r.colour) for r in runs]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("objects", dims=1)
def line_shrink(rng: Rng) -> PairMaker:
    """Each segment loses one cell at one end or at both, and vanishes when none is left."""
    width, both, flip, palette = lengths(rng), coin(rng), coin(rng), some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(1, 4), size=(1, 6))
        after = [Run(r.start + both, r.size - 1 - both, r.colour) for r in runs]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("objects", dims=1)
def line_extend_to_wall(rng: Rng) -> PairMaker:
    """The object is drawn out to the wall, with its own colour or with a fixed one."""
    width, own, flip = lengths(rng), coin(rng), coin(rng)
    trail, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        run = Run(between(rng, 0, w - 5), between(rng, 1, 4), pick(rng, palette))
        after = [Run(run.stop, w - run.stop, run.colour if own else trail), run]
        return changed(painted(w, [run]), painted(w, after), flip)

    return pair


@family("objects", dims=1)
def line_extend_to_marker(rng: Rng) -> PairMaker:
    """The segment is drawn out until it meets the marker, on whichever side that lies."""
    width = lengths(rng)
    marker, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w, size = width(), between(rng, 1, 4)
        starts = place(rng, w, [size, 1])
        if starts is None:
            return None
        run, mark = Run(starts[0], size, pick(rng, palette)), Run(starts[1], 1, marker)
        grown = run._replace(size=mark.start - run.start)
        return changed(painted(w, [run, mark]), painted(w, [grown, mark]), coin(rng))

    return pair


@family("objects", dims=1)
def line_denoise(rng: Rng) -> PairMaker:
    """Single cells vanish and longer segments stay."""
    width, palette = lengths(rng, 10, 32), some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(2, 6), size=(1, 4))
        k = between(rng, 0, len(runs) - 1)
        runs[k] = runs[k]._replace(size=1)
        after = [r for r in runs if r.size > 1]
        return changed(painted(w, runs), painted(w, after)) if after else None

    return pair


@family("objects", dims=1)
def line_keep_extreme(rng: Rng) -> PairMaker:
    """Only the longest (or only the shortest) segment stays."""
    width, longest, palette = lengths(rng), coin(rng), some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        w = width()
        found = ranked_scene(rng, w, palette, longest, count=(2, 4), size=(1, 7))
        if found is None:
            return None
        runs, k = found
        return changed(painted(w, runs), painted(w, [runs[k]]))

    return pair


@family("objects", dims=1)
def line_remove_extreme(rng: Rng) -> PairMaker:
    """The longest (or the shortest) segment vanishes."""
    width, longest, palette = lengths(rng, 10, 32), coin(rng), some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        w = width()
        found = ranked_scene(rng, w, palette, longest, count=(3, 5), size=(1, 6))
        if found is None:
            return None
        runs, k = found
        return changed(painted(w, runs), painted(w, runs[:k] + runs[k + 1 :]))

    return pair


@family("objects", dims=1)
def line_mend(rng: Rng) -> PairMaker:
    """Single noise cells inside a segment take the colour of the segment."""
    width, own = lengths(rng, 10, 32), coin(rng)
    noise, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(1, 3), size=(4, 10), gap=3)
        after = painted(w, runs)
        before = after.copy()
        for run in runs:
            for i in range(run.start + between(rng, 1, 2), run.stop - 1, between(rng, 2, 4)):
                before[i] = noise if own else 0
        return changed(before, after)

    return pair


@family("objects", dims=1)
def line_connect_same(rng: Rng) -> PairMaker:
    """Neighbouring cells of the same colour are joined by a link colour, unlike ones are not."""
    width = lengths(rng, 12, 32)
    link, *palette = some_colours(rng, 3, 3)

    def pair() -> Pair | None:
        w = width()
        dots = scene(rng, w, palette, count=(3, 6), size=(1, 1), gap=2)
        links = [
            Run(a.stop, b.start - a.stop, link) for a, b in pairwise(dots) if a.colour == b.colour
        ]
        return changed(painted(w, dots), painted(w, [*dots, *links]))

    return pair


@family("objects", dims=1)
def line_bridge(rng: Rng) -> PairMaker:
    """Gaps of at most a fixed size between segments are closed, wider ones stay open."""
    width, reach, fill_own = lengths(rng, 12, 32), between(rng, 1, 2), coin(rng)
    link, colour = some_colours(rng, 2, 2)

    def pair() -> Pair | None:
        w = width()
        before: Line = [0] * between(rng, 0, 3)
        while len(before) < w:
            before += [colour] * between(rng, 1, 4) + [0] * between(rng, 1, reach + 1 + coin(rng))
        before = before[:w]
        after, runs = before.copy(), runs_of(before)
        for a, b in pairwise(runs):
            if b.start - a.stop <= reach:
                after[a.stop : b.start] = [colour if fill_own else link] * (b.start - a.stop)
        return changed(before, after)

    return pair

"""One-row families that recolour cells by length, order, neighbourhood, distance or a legend."""

from __future__ import annotations

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Run,
    changed,
    coin,
    painted,
    pick,
    place,
    put,
    ranked_scene,
    scene,
    shuffled,
    some_colours,
    sprinkled,
)


@family("colour", dims=1)
def line_recolour_extreme(rng: Rng) -> PairMaker:
    """The longest (or the shortest) segment takes a fixed colour."""
    width, longest = lengths(rng), coin(rng)
    special, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        found = ranked_scene(rng, w, palette, longest, count=(2, 5), size=(1, 6))
        if found is None:
            return None
        runs, k = found
        return changed(painted(w, runs), painted(w, [*runs, runs[k]._replace(colour=special)]))

    return pair


@family("colour", dims=1)
def line_colour_by_parity(rng: Rng) -> PairMaker:
    """Segments of odd and of even length take one colour each."""
    width = lengths(rng, 10, 32)
    grey, *hues = some_colours(rng, 3, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [grey], count=(2, 5), size=(1, 6))
        return changed(
            painted(w, runs), painted(w, [r._replace(colour=hues[r.size % 2]) for r in runs])
        )

    return pair


@family("colour", dims=1)
def line_colour_by_length(rng: Rng) -> PairMaker:
    """A fixed table gives each segment the colour of its length."""
    width = lengths(rng, 12, 32)
    grey, *hues = some_colours(rng, 4, 5)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [grey], count=(3, 6), size=(1, len(hues)))
        return changed(
            painted(w, runs), painted(w, [r._replace(colour=hues[r.size - 1]) for r in runs])
        )

    return pair


@family("colour", dims=1)
def line_colour_by_order(rng: Rng) -> PairMaker:
    """The first, second, ... segment take colours in a fixed order, which may repeat."""
    width, flip = lengths(rng, 10, 32), coin(rng)
    grey, *hues = some_colours(rng, 3, 4)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [grey], count=(2, 6), size=(1, 5))
        after = [r._replace(colour=hues[i % len(hues)]) for i, r in enumerate(runs)]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("colour", dims=1)
def line_colour_by_rank(rng: Rng) -> PairMaker:
    """Segments of different lengths are coloured by their rank in length."""
    width = lengths(rng, 12, 32)
    grey, *hues = some_colours(rng, 4, 4)

    def pair() -> Pair | None:
        w = width()
        sizes = shuffled(rng, range(1, 7 if w > 16 else 5))[:3]
        starts = place(rng, w, sizes)
        if starts is None:
            return None
        order = sorted(sizes)
        runs = [Run(s, n, grey) for s, n in zip(starts, sizes)]
        after = [r._replace(colour=hues[order.index(r.size)]) for r in runs]
        return changed(painted(w, runs), painted(w, after))

    return pair


@family("colour", dims=1)
def line_colour_from_neighbour(rng: Rng) -> PairMaker:
    """Each segment takes the colour of the segment before it, the first that of the last."""
    width, flip, palette = lengths(rng, 10, 32), coin(rng), some_colours(rng, 3, 6)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(2, 5), size=(1, 5))
        after = [r._replace(colour=runs[i - 1].colour) for i, r in enumerate(runs)]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("colour", dims=1)
def line_colour_map(rng: Rng) -> PairMaker:
    """A fixed table replaces each colour by another one."""
    width, palette = lengths(rng, 10, 32), some_colours(rng, 2, 4)
    image = shuffled(rng, range(1, 10))
    density = 0.5 + 0.5 * rng.random()

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, density)
        return changed(before, [image[c - 1] if c else 0 for c in before])

    return pair if any(image[c - 1] != c for c in palette) else line_colour_map(rng)


@family("colour", dims=1)
def line_swap_colours(rng: Rng) -> PairMaker:
    """The two colours of the line change places, whichever they are."""
    width, everywhere = lengths(rng), coin(rng)

    def pair() -> Pair | None:
        a, b = some_colours(rng, 2, 2)
        before = sprinkled(rng, width(), [a, b], 1.0 if everywhere else 0.6)
        if not (a in before and b in before):
            return None
        return changed(before, [{a: b, b: a}.get(c, c) for c in before])

    return pair


@family("colour", dims=1)
def line_invert(rng: Rng) -> PairMaker:
    """Object and background change places, in the object's own colour or in a fixed one."""
    width, own = lengths(rng), coin(rng)
    fixed, *palette = some_colours(rng, 2, 5)

    def pair() -> Pair | None:
        colour = pick(rng, palette)
        before = sprinkled(rng, width(), [colour], 0.5)
        if not any(before):
            return None
        return changed(before, [0 if c else (colour if own else fixed) for c in before])

    return pair


@family("colour", dims=1)
def line_nearest_marker(rng: Rng) -> PairMaker:
    """Each grey cell takes the colour of the marker that is nearer."""
    width = lengths(rng, 10, 32)
    grey, *hues = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w, (a, b) = width(), shuffled(rng, hues)[:2]
        inner = [grey if coin(rng) else 0 for _ in range(w - 2)]
        if w % 2:
            inner[len(inner) // 2] = 0
        after = [(a if 2 * i < len(inner) - 1 else b) if c else 0 for i, c in enumerate(inner)]
        return changed([a, *inner, b], [a, *after, b])

    return pair


@family("colour", dims=1)
def line_rings(rng: Rng) -> PairMaker:
    """Cells around the seed are coloured by their distance from it, in a repeating order."""
    width = lengths(rng)
    seed, *hues = some_colours(rng, 3, 4)
    order = [*hues, 0] if coin(rng) else [*hues, seed]

    def pair() -> Pair | None:
        w = width()
        mark = between(rng, 0, w - 1)
        after = [order[(abs(i - mark) - 1) % len(order)] for i in range(w)]
        after[mark] = seed
        return changed(painted(w, [Run(mark, 1, seed)]), after)

    return pair


@family("colour", dims=1)
def line_alternate(rng: Rng) -> PairMaker:
    """Every second (or third) cell of each segment takes a fixed colour."""
    width, period = lengths(rng), between(rng, 2, 3)
    other, *palette = some_colours(rng, 2, 4)
    phase = between(rng, 0, period - 1)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(1, 3), size=(2, 9))
        after = painted(w, runs)
        for run in runs:
            for i in range(run.start + phase, run.stop, period):
                after[i] = other
        return changed(painted(w, runs), after)

    return pair


@family("colour", dims=1)
def line_flag_colour(rng: Rng) -> PairMaker:
    """Everything takes the colour of the head cell."""
    width, flip = lengths(rng), coin(rng)
    grey, *palette = some_colours(rng, 4, 7)

    def pair() -> Pair | None:
        w, colour = width(), pick(rng, palette)
        before = [0] * w
        put(before, 2, sprinkled(rng, w - 2, [grey], 0.5))
        before[0] = colour
        return changed(before, [colour if c else 0 for c in before], flip)

    return pair

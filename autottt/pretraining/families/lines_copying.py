"""One-row families that copy or continue patterns: rays, stamps, echoes, periods, symmetry."""

from __future__ import annotations

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Line,
    changed,
    coin,
    motif,
    painted,
    place,
    put,
    scene,
    some_colours,
    sprinkled,
)


@family("copying", dims=1)
def line_rays(rng: Rng) -> PairMaker:
    """Cells of one colour shoot a ray one way until an obstacle or the wall; others shoot none."""
    width, flip = lengths(rng), coin(rng)
    source, *walls = some_colours(rng, 2, 3)
    ray = source if coin(rng) else next(c for c in range(1, 10) if c not in (source, *walls))

    def pair() -> Pair | None:
        w = width()
        before = painted(w, scene(rng, w, [source, *walls], count=(2, 5), size=(1, 1)))
        after, lit = before.copy(), False
        for i, cell in enumerate(before):
            lit = cell == source if cell else lit
            if lit and not cell:
                after[i] = ray
        return changed(before, after, flip)

    return pair


@family("copying", dims=1)
def line_carry(rng: Rng) -> PairMaker:
    """Each empty cell repeats the last colour before it."""
    width, flip, palette = lengths(rng), coin(rng), some_colours(rng, 2, 5)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.2)
        after, last = [], 0
        for cell in before:
            last = cell or last
            after.append(last)
        return changed(before, after, flip)

    return pair


@family("copying", dims=1)
def line_echo(rng: Rng) -> PairMaker:
    """The object appears a second time at a fixed gap behind it, as it is or mirrored."""
    width, gap, mirrored, flip = lengths(rng, 9, 32), between(rng, 0, 3), coin(rng), coin(rng)
    palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        size = between(rng, 2, min(6, (w - gap) // 2))
        cells, before = motif(rng, size, palette), [0] * w
        start = between(rng, 0, w - 2 * size - gap)
        put(before, start, cells)
        after = before.copy()
        put(after, start + size + gap, cells[::-1] if mirrored else cells)
        return changed(before, after, flip)

    return pair


@family("copying", dims=1)
def line_stamp(rng: Rng) -> PairMaker:
    """Each single cell of the seed colour turns into a fixed pattern centred on it."""
    width, radius = lengths(rng, 10, 32), between(rng, 1, 2)
    seed, *palette = some_colours(rng, 2, 4)
    pattern = [palette[0], *motif(rng, 2 * radius, [seed, *palette])]

    def pair() -> Pair | None:
        w = width()
        seeds = scene(rng, w - 2 * radius, [seed], count=(1, 3), size=(1, 1), gap=2 * radius + 1)
        before, after = [0] * w, [0] * w
        for dot in seeds:
            before[dot.start + radius] = seed
            put(after, dot.start, pattern)
        return changed(before, after)

    return pair


@family("copying", dims=1)
def line_copy_to_markers(rng: Rng) -> PairMaker:
    """The pattern shown at the head of the line is copied to where each marker stands."""
    width, flip = lengths(rng, 12, 32), coin(rng)
    marker, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w, size = width(), between(rng, 2, 3)
        cells = motif(rng, size, palette)
        free = w - size - 1
        starts = place(rng, free, [size] * between(rng, 1, free // (size + 1)))
        if starts is None:
            return None
        before, after = [0] * w, [0] * w
        put(before, 0, cells)
        put(after, 0, cells)
        for start in starts:
            before[start + size + 1] = marker
            put(after, start + size + 1, cells)
        return changed(before, after, flip)

    return pair


@family("copying", dims=1)
def line_continue(rng: Rng) -> PairMaker:
    """The periodic pattern that the line begins with goes on to the end."""
    width, flip, palette = lengths(rng, 9, 32), coin(rng), some_colours(rng, 2, 4)
    spaced = coin(rng)

    def pair() -> Pair | None:
        w = width()
        period = between(rng, 2, min(5, w // 3))
        unit = motif(rng, period, palette)
        if len(set(unit)) < 2:
            return None
        if spaced and period > 2:
            unit[-1] = 0
        after = (unit * w)[:w]
        seen = between(rng, 2 * period, max(2 * period, w - 3))
        return changed(after[:seen] + [0] * (w - seen), after, flip)

    return pair


@family("copying", dims=1)
def line_period_repair(rng: Rng) -> PairMaker:
    """A covered stretch of a periodic line is restored."""
    width, palette = lengths(rng, 10, 32), some_colours(rng, 3, 5)
    cover = palette.pop() if coin(rng) else 0

    def pair() -> Pair | None:
        w = width()
        period = between(rng, 2, min(5, w // 4))
        unit = motif(rng, period, palette)
        if len(set(unit)) < 2:
            return None
        after = (unit * w)[:w]
        before, size = after.copy(), between(rng, 2, w - 2 * period - 2)
        put(before, between(rng, 1, w - size - 1), [cover] * size)
        return changed(before, after)

    return pair


@family("copying", dims=1)
def line_symmetry_repair(rng: Rng) -> PairMaker:
    """Covered cells of a line that reads the same both ways are restored."""
    width, palette = lengths(rng), some_colours(rng, 3, 5)
    cover = palette.pop()

    def pair() -> Pair | None:
        w = width()
        half = motif(rng, w // 2, palette)
        after = half + motif(rng, w % 2, palette) + half[::-1]
        before, size = after.copy(), between(rng, 1, w // 2 - 1)
        start = between(rng, 0, w // 2 - size)
        put(before, start if coin(rng) else w - start - size, [cover] * size)
        return changed(before, after)

    return pair


@family("copying", dims=1)
def line_append_mirror(rng: Rng) -> PairMaker:
    """The line is followed by its copy, as it is or mirrored, which makes it twice as long."""
    width, mirrored, flip = lengths(rng, 4, 16), coin(rng), coin(rng)
    palette = some_colours(rng, 2, 5)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.6)
        tail = before[::-1] if mirrored else before
        return shown_if_mixed(before, before + tail, flip)

    return pair


def shown_if_mixed(before: Line, after: Line, flip: bool) -> Pair | None:
    """The pair, or None where the input has no pattern that a copy could show."""
    return changed(before, after, flip) if before != before[::-1] else None


@family("copying", dims=1)
def line_train(rng: Rng) -> PairMaker:
    """The object repeats at regular steps until the wall."""
    width, gap, flip, palette = (
        lengths(rng, 10, 32),
        between(rng, 0, 2),
        coin(rng),
        some_colours(rng, 1, 3),
    )

    def pair() -> Pair | None:
        w, size = width(), between(rng, 1, 3)
        cells = motif(rng, size, palette)
        cells = cells if len(set(cells)) > 1 or gap else [*cells, 0]
        before, after = [0] * w, [0] * w
        start = between(rng, 0, w // 3)
        put(before, start, cells)
        for i in range(start, w, len(cells) + gap):
            put(after, i, cells)
        return changed(before, after, flip)

    return pair


@family("copying", dims=1)
def line_tip(rng: Rng) -> PairMaker:
    """Each segment gets a cell of a fixed colour in its middle, or right behind its end."""
    width, behind, flip = lengths(rng, 10, 32), coin(rng), coin(rng)
    tip, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        halves = scene(rng, w // 2, palette, count=(1, 3), size=(1, 3))
        runs = [r._replace(start=2 * r.start, size=2 * r.size - 1) for r in halves]
        before = painted(w, runs)
        after = before.copy()
        for run in runs:
            put(after, run.stop if behind else run.start + run.size // 2, [tip])
        return changed(before, after, flip)

    return pair


@family("copying", dims=1)
def line_stretch(rng: Rng) -> PairMaker:
    """Each cell becomes two or three cells of the output."""
    factor = between(rng, 2, 3)
    width, palette = lengths(rng, 3, 40 // factor - 1), some_colours(rng, 2, 5)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.8)
        return changed(before, [c for c in before for _ in range(factor)]) if any(before) else None

    return pair

"""More one-row families about movement, where the objects themselves set the distance."""

from __future__ import annotations

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Run,
    changed,
    coin,
    motif,
    moved,
    painted,
    pick,
    put,
    ranked_scene,
    scene,
    shuffled,
    some_colours,
    sprinkled,
)


@family("motion", dims=1)
def line_colour_speed(rng: Rng) -> PairMaker:
    """Each of two colours moves by its own distance."""
    width, flip = lengths(rng, 12, 32), coin(rng)
    hues, steps = some_colours(rng, 2, 2), shuffled(rng, range(5))[:2]
    furthest = max(steps)

    def pair() -> Pair | None:
        w, order = width(), shuffled(rng, [0, 1])
        drawn = scene(rng, w - furthest, [1], count=(2, 2), size=(1, 4), gap=furthest + 1)
        if len(drawn) < 2:
            return None
        runs = [run._replace(colour=hues[k]) for run, k in zip(drawn, order)]
        after = [run._replace(start=run.start + steps[k]) for run, k in zip(runs, order)]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("motion", dims=1)
def line_reflect_in_marker(rng: Rng) -> PairMaker:
    """The object is reflected to the other side of the marker, and stays behind or not."""
    width, keep = lengths(rng, 9, 32), coin(rng)
    marker, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w = width()
        size = between(rng, 1, min(5, w // 2 - 2))
        gap = between(rng, 0, min(3, (w - 1) // 2 - size))
        mark = between(rng, size + gap, w - 1 - size - gap)
        cells = motif(rng, size, palette)
        before = [0] * w
        before[mark] = marker
        after = before.copy()
        put(before, mark - gap - size, cells)
        put(after, mark + gap + 1, cells[::-1])
        if keep:
            put(after, mark - gap - size, cells)
        return changed(before, after, coin(rng))

    return pair


@family("motion", dims=1)
def line_pack(rng: Rng) -> PairMaker:
    """The segments close up towards one wall with a fixed gap between them."""
    width, flip, gap = lengths(rng, 10, 32), coin(rng), between(rng, 1, 2)
    palette = some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(2, 2 + w // 12), size=(1, 4), gap=gap)
        after, free = [], 0
        for run in runs:
            after.append(run._replace(start=free))
            free += run.size + gap
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("motion", dims=1)
def line_centre(rng: Rng) -> PairMaker:
    """The object moves to the middle of the line."""
    width, palette = lengths(rng), some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        w = width()
        size = 2 * between(rng, 1, w // 4) - w % 2
        cells = motif(rng, size, palette)
        before, after = [0] * w, [0] * w
        put(before, between(rng, 0, w - size), cells)
        put(after, (w - size) // 2, cells)
        return changed(before, after)

    return pair


@family("motion", dims=1)
def line_shift_by_length(rng: Rng) -> PairMaker:
    """The segment moves by as many cells as it is long."""
    width, flip, palette = lengths(rng), coin(rng), some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w = width()
        size = between(rng, 1, min(6, w // 2))
        run = Run(between(rng, 0, w - 2 * size), size, pick(rng, palette))
        return changed(painted(w, [run]), painted(w, moved([run], size)), flip)

    return pair


@family("motion", dims=1)
def line_shift_by_count(rng: Rng) -> PairMaker:
    """The number of marker cells at the head says how far the object moves."""
    width, flip = lengths(rng, 11, 32), coin(rng)
    marker, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w, count = width(), between(rng, 1, 4)
        head = Run(0, count, marker)
        runs = moved(scene(rng, w - 2 * count - 1, palette, count=(1, 1), size=(1, 4)), count + 1)
        before, after = painted(w, [head, *runs]), painted(w, [head, *moved(runs, count)])
        return changed(before, after, flip)

    return pair


@family("motion", dims=1)
def line_attract(rng: Rng) -> PairMaker:
    """All cells fall towards the marker (or away from it to the walls) from both sides."""
    width, inwards = lengths(rng), coin(rng)
    marker, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.3)
        mark = between(rng, 1, len(before) - 2)
        before[mark] = marker
        left = sorted(before[:mark], key=bool, reverse=not inwards)
        right = sorted(before[mark + 1 :], key=bool, reverse=inwards)
        return changed(before, [*left, marker, *right])

    return pair


@family("motion", dims=1)
def line_move_extreme(rng: Rng) -> PairMaker:
    """Only the longest (or the shortest) segment takes a step in a fixed direction."""
    width, flip, longest, step = lengths(rng, 12, 32), coin(rng), coin(rng), between(rng, 1, 2)
    palette = some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w = width()
        found = ranked_scene(
            rng, w - step, palette, longest, count=(2, 4), size=(1, 6), gap=step + 1
        )
        if found is None:
            return None
        runs, k = found
        after = [*runs[:k], *moved(runs[k : k + 1], step), *runs[k + 1 :]]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("motion", dims=1)
def line_jump_over(rng: Rng) -> PairMaker:
    """The jumper leaps over its neighbour and lands right behind it."""
    width, flip = lengths(rng), coin(rng)
    jumper, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        block = Run(0, between(rng, 1, 4), pick(rng, palette))
        jump = Run(0, between(rng, 1, min(2, (w - block.size) // 2)), jumper)
        start = between(rng, jump.size, w - block.size - jump.size)
        block = block._replace(start=start)
        before = painted(w, [block, jump._replace(start=start - jump.size)])
        return changed(before, painted(w, [block, jump._replace(start=block.stop)]), flip)

    return pair


@family("motion", dims=1)
def line_spread(rng: Rng) -> PairMaker:
    """A touching row of cells spreads out so that a fixed gap parts its cells."""
    width, gap, palette, flip = (
        lengths(rng, 9, 32),
        between(rng, 1, 2),
        some_colours(rng, 1, 4),
        coin(rng),
    )

    def pair() -> Pair | None:
        w = width()
        size = between(rng, 2, min(6, (w - 1) // (gap + 1) + 1))
        cells = motif(rng, size, palette)
        start = between(rng, 0, w - (size - 1) * (gap + 1) - 1)
        before, after = [0] * w, [0] * w
        put(before, start, cells)
        for i, cell in enumerate(cells):
            after[start + i * (gap + 1)] = cell
        return changed(before, after, flip)

    return pair

"""One-row families that apply two simple rules one after the other."""

from __future__ import annotations

from collections.abc import Callable

from autottt.pretraining.families.base import Pair, PairMaker, Rng, between, family, lengths
from autottt.pretraining.families.lines_tools import (
    Line,
    Run,
    changed,
    coin,
    motif,
    moved,
    painted,
    pick,
    put,
    ranked_scene,
    runs_of,
    scene,
    shuffled,
    some_colours,
    sprinkled,
)

Step = Callable[[Line], Line]


@family("composition", dims=1)
def line_shift_and_recolour(rng: Rng) -> PairMaker:
    """The segments move by a fixed distance and their colours go through a fixed table."""
    width, step, flip, image = (
        lengths(rng),
        between(rng, 1, 3),
        coin(rng),
        shuffled(rng, range(1, 10)),
    )
    palette = some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w - step, palette, count=(1, 3), size=(1, 5))
        after = [r._replace(colour=image[r.colour - 1]) for r in moved(runs, step)]
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("composition", dims=1)
def line_gravity_and_top(rng: Rng) -> PairMaker:
    """Cells fall to one side, and the topmost cell of the pile takes a fixed colour."""
    width, flip = lengths(rng), coin(rng)
    top, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.4)
        after = sorted(before, key=bool)
        empty = after.count(0)
        if empty == len(after):
            return None
        after[empty] = top
        return changed(before, after, flip)

    return pair


@family("composition", dims=1)
def line_denoise_and_grow(rng: Rng) -> PairMaker:
    """Single cells vanish and every longer segment grows by one cell on both sides."""
    width, palette = lengths(rng, 12, 32), some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(2, 5), size=(1, 4), gap=3)
        after = [Run(r.start - 1, r.size + 2, r.colour) for r in runs if r.size > 1]
        return changed(painted(w, runs), painted(w, after)) if after else None

    return pair


@family("composition", dims=1)
def line_longest_to_wall(rng: Rng) -> PairMaker:
    """The longest (or the shortest) segment slides to the wall and all others vanish."""
    width, longest, flip, palette = (
        lengths(rng, 10, 32),
        coin(rng),
        coin(rng),
        some_colours(rng, 1, 3),
    )

    def pair() -> Pair | None:
        w = width()
        found = ranked_scene(rng, w, palette, longest, count=(2, 4), size=(1, 6))
        if found is None:
            return None
        runs, k = found
        return changed(painted(w, runs), painted(w, [runs[k]._replace(start=0)]), flip)

    return pair


@family("composition", dims=1)
def line_fill_and_shift(rng: Rng) -> PairMaker:
    """The gap between two end cells is filled and the bar moves by a fixed distance."""
    width, step, flip, palette = (
        lengths(rng),
        between(rng, 1, 3),
        coin(rng),
        some_colours(rng, 1, 4),
    )

    def pair() -> Pair | None:
        w = width()
        span = scene(rng, w - step, palette, count=(1, 1), size=(3, 9))[0]
        before = painted(w, [span, Run(span.start + 1, span.size - 2, 0)])
        return changed(before, painted(w, moved([span], step)), flip)

    return pair


@family("composition", dims=1)
def line_crop_and_mirror(rng: Rng) -> PairMaker:
    """The output is the object alone, mirrored."""
    width, palette = lengths(rng), some_colours(rng, 2, 5)

    def pair() -> Pair | None:
        w = width()
        size = between(rng, 3, w - 2)
        cells, before = motif(rng, size, palette), [0] * w
        put(before, between(rng, 0, w - size), cells)
        return changed(before, cells[::-1]) if cells != cells[::-1] else None

    return pair


@family("composition", dims=1)
def line_crop_and_stretch(rng: Rng) -> PairMaker:
    """The output is the object alone with each cell doubled."""
    width, palette = lengths(rng), some_colours(rng, 2, 5)

    def pair() -> Pair | None:
        w = width()
        size = between(rng, 2, min(w - 2, 12))
        cells, before = motif(rng, size, palette), [0] * w
        put(before, between(rng, 0, w - size), cells)
        return changed(before, [c for c in cells for _ in range(2)])

    return pair


@family("composition", dims=1)
def line_colour_decides(rng: Rng) -> PairMaker:
    """Segments of one colour are hollowed, those of another lose their tail, others stay."""
    width, flip = lengths(rng, 12, 32), coin(rng)
    hollow, short, plain = some_colours(rng, 3, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [hollow, short, plain], count=(2, 4), size=(3, 6))
        cuts = [Run(r.start + 1, r.size - 2, 0) for r in runs if r.colour == hollow]
        cuts += [Run(r.stop - 1, 1, 0) for r in runs if r.colour == short]
        return changed(painted(w, runs), painted(w, [*runs, *cuts]), flip)

    return pair


def simple_steps(rng: Rng) -> list[Step]:
    """Simple rules, each a function from line to line of the same length, with their parameters."""
    k, palette = between(rng, 1, 3), shuffled(rng, range(1, 10))
    gate = pick(rng, [0, 1])

    def hollow(line: Line) -> Line:
        inner = [Run(r.start + 1, r.size - 2, 0) for r in runs_of(line)]
        return painted(len(line), [*runs_of(line), *inner])

    def trim(line: Line) -> Line:
        return painted(
            len(line), [Run(r.start + gate, r.size - 1, r.colour) for r in runs_of(line)]
        )

    def denoise(line: Line) -> Line:
        return painted(len(line), [r for r in runs_of(line) if r.size > 1])

    def rank(line: Line) -> Line:
        runs = [r._replace(colour=palette[i % 2]) for i, r in enumerate(runs_of(line))]
        return painted(len(line), runs)

    return [
        lambda line: line[::-1],
        lambda line: line[-k:] + line[:-k],
        lambda line: sorted(line, key=bool, reverse=bool(gate)),
        lambda line: [palette[palette.index(c) - 1] if c else 0 for c in line],
        hollow,
        trim,
        denoise,
        rank,
    ]


@family("composition", dims=1)
def line_two_steps(rng: Rng) -> PairMaker:
    """Two different simple rules, drawn at random, are applied in sequence."""
    width, palette, steps = lengths(rng, 10, 32), some_colours(rng, 1, 3), simple_steps(rng)
    first, second = (steps[i] for i in shuffled(rng, range(len(steps)))[:2])

    def pair() -> Pair | None:
        w = width()
        before = painted(w, scene(rng, w, palette, count=(2, 5), size=(1, 6)))
        middle = first(before)
        after = second(middle)
        return changed(before, after) if middle not in (before, after) and any(after) else None

    # Some rules undo or erase what the other leaves (hollow, then drop single cells): draw again.
    vain = sum(pair() is None for _ in range(12))
    return pair if vain < 5 else line_two_steps(rng)

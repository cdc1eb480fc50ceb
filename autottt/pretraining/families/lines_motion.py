"""One-row families about movement: shifting, sliding, falling, bouncing, turning round."""

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
    place,
    put,
    scene,
    shown,
    some_colours,
    sprinkled,
)


@family("motion", dims=1)
def line_shift(rng: Rng) -> PairMaker:
    """Everything moves by a fixed number of cells in a fixed direction."""
    width, step, flip, palette = (
        lengths(rng),
        between(rng, 1, 4),
        coin(rng),
        some_colours(rng, 1, 4),
    )

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w - step, palette, count=(1, 3), size=(1, 5))
        return changed(painted(w, runs), painted(w, moved(runs, step)), flip)

    return pair


@family("motion", dims=1)
def line_slide_to_wall(rng: Rng) -> PairMaker:
    """The only object slides to the wall."""
    width, flip, palette = lengths(rng), coin(rng), some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        w = width()
        cells = motif(rng, between(rng, 1, w // 2), palette)
        before, after = [0] * w, [0] * w
        put(before, between(rng, 0, w - len(cells) - 1), cells)
        put(after, w - len(cells), cells)
        return changed(before, after, flip)

    return pair


@family("motion", dims=1)
def line_gravity(rng: Rng) -> PairMaker:
    """All coloured cells fall to one side and keep their order."""
    width, flip, palette = lengths(rng), coin(rng), some_colours(rng, 1, 4)

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.4)
        return changed(before, sorted(before, key=bool), flip)

    return pair


@family("motion", dims=1)
def line_slide_to_marker(rng: Rng) -> PairMaker:
    """The object slides until it touches the marker, on whichever side that lies."""
    width = lengths(rng)
    marker, *palette = some_colours(rng, 2, 4)

    def pair() -> Pair | None:
        w = width()
        cells = motif(rng, between(rng, 1, 4), palette)
        starts = place(rng, w, [len(cells), 1])
        if starts is None:
            return None
        before, after = [0] * w, [0] * w
        before[starts[1]] = after[starts[1]] = marker
        put(before, starts[0], cells)
        put(after, starts[1] - len(cells), cells)
        return changed(before, after, coin(rng))

    return pair


@family("motion", dims=1)
def line_step_towards(rng: Rng) -> PairMaker:
    """The object takes a fixed number of steps towards the marker."""
    width, step = lengths(rng, 9, 32), between(rng, 1, 3)
    marker, colour = some_colours(rng, 2, 2)

    def pair() -> Pair | None:
        w = width()
        starts = place(rng, w, [size := between(rng, 1, 4), 1], gap=step)
        if starts is None:
            return None
        mark = Run(starts[1], 1, marker)
        runs = [Run(starts[0], size, colour)]
        return changed(painted(w, [*runs, mark]), painted(w, [*moved(runs, step), mark]), coin(rng))

    return pair


@family("motion", dims=1)
def line_slide_until_blocked(rng: Rng) -> PairMaker:
    """Segments of one colour slide one way until something blocks them; the others stand still."""
    width, flip = lengths(rng, 10, 32), coin(rng)
    mover, *fixed = some_colours(rng, 2, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, [mover, mover, *fixed], count=(2, 5), size=(1, 4))
        k = between(rng, 0, len(runs) - 1)
        runs[k] = runs[k]._replace(colour=mover)
        runs[k - 1] = runs[k - 1]._replace(colour=pick(rng, fixed))
        after, free = [], w
        for run in reversed(runs):
            start = free - run.size if run.colour == mover else run.start
            after.append(run._replace(start=start))
            free = start
        return changed(painted(w, runs), painted(w, after), flip)

    return pair


@family("motion", dims=1)
def line_bounce(rng: Rng) -> PairMaker:
    """The object travels a fixed distance and turns back where it meets the wall."""
    width, step, flip = lengths(rng), between(rng, 3, 6), coin(rng)
    size, palette = between(rng, 1, 2), some_colours(rng, 1, 3)

    def pair() -> Pair | None:
        w, colour = width(), pick(rng, palette)
        last = w - size
        start = between(rng, 0, last) if coin(rng) else between(rng, last - step + 1, last)
        end = min(start + step, 2 * last - start - step)
        before, after = (painted(w, [Run(s, size, colour)]) for s in (start, end))
        return changed(before, after, flip)

    return pair


@family("motion", dims=1)
def line_swap_outer(rng: Rng) -> PairMaker:
    """The first and the last object change places while the gaps stay as they are."""
    width, palette, count = lengths(rng, 10, 32), some_colours(rng, 3, 6), between(rng, 2, 3)

    def pair() -> Pair | None:
        w = width()
        runs = scene(rng, w, palette, count=(count, count), size=(1, 5))
        if len(runs) < 2 or runs[0][1:] == runs[-1][1:]:
            return None
        first, last = runs[0], runs[-1]
        after = [last._replace(start=first.start), first._replace(start=last.stop - first.size)]
        return changed(
            painted(w, runs), painted(w, [*after, *moved(runs[1:-1], last.size - first.size)])
        )

    return pair


@family("motion", dims=1)
def line_mirror(rng: Rng) -> PairMaker:
    """The whole line is mirrored."""
    width, palette, density = lengths(rng), some_colours(rng, 1, 4), 0.2 + 0.6 * rng.random()

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, density)
        return changed(before, before[::-1])

    return pair


@family("motion", dims=1)
def line_reverse_objects(rng: Rng) -> PairMaker:
    """Each many-coloured object is reversed where it stands."""
    width, palette = lengths(rng, 10, 32), some_colours(rng, 2, 5)

    def pair() -> Pair | None:
        w = width()
        before, after = [0] * w, [0] * w
        for run in scene(rng, w, palette, count=(1, 3), size=(2, 6)):
            cells = motif(rng, run.size, palette)
            put(before, run.start, cells)
            put(after, run.start, cells[::-1])
        return changed(before, after)

    return pair


@family("motion", dims=1)
def line_rotate(rng: Rng) -> PairMaker:
    """The line turns cyclically by a fixed number of cells."""
    width, step, flip, palette = (
        lengths(rng),
        between(rng, 1, 4),
        coin(rng),
        some_colours(rng, 2, 5),
    )

    def pair() -> Pair | None:
        before = sprinkled(rng, width(), palette, 0.6)
        return changed(before, before[-step:] + before[:-step], flip)

    return pair


@family("motion", dims=1)
def line_flag_direction(rng: Rng) -> PairMaker:
    """The colour of the head cell tells which way the object moves a fixed number of cells."""
    width, step = lengths(rng, 10, 32), between(rng, 1, 2)
    left, right, *palette = some_colours(rng, 3, 5)

    def pair() -> Pair | None:
        w, to_right = width(), coin(rng)
        runs = moved(scene(rng, w - 2 * step - 1, palette, count=(1, 1), size=(1, 4)), step + 1)
        head = Run(0, 1, right if to_right else left)
        after = moved(runs, step if to_right else -step)
        return changed(painted(w, [head, *runs]), painted(w, [head, *after]))

    return pair


@family("motion", dims=1)
def line_flag_mirror(rng: Rng) -> PairMaker:
    """The colour of the head cell tells whether the rest of the line is mirrored."""
    width = lengths(rng)
    yes, no, *palette = some_colours(rng, 4, 6)

    def pair() -> Pair | None:
        rest = sprinkled(rng, width() - 1, palette, 0.5)
        if rest == rest[::-1]:
            return None
        return (
            shown([yes, *rest], [yes, *rest[::-1]])
            if coin(rng)
            else shown([no, *rest], [no, *rest])
        )

    return pair

"""Helpers that the one-dimensional families share: lines as lists of cells, and their runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from autottt.pretraining.families.base import Pair, Rng, between, chance

Line = list[int]


class Run(NamedTuple):
    """A stretch of cells of one colour."""

    start: int
    size: int
    colour: int

    @property
    def stop(self) -> int:
        return self.start + self.size


def pick(rng: Rng, items: Sequence[int]) -> int:
    """A random item."""
    return items[between(rng, 0, len(items) - 1)]


def shuffled(rng: Rng, items: Sequence[int]) -> list[int]:
    """The items in a random order."""
    return [items[i] for i in rng.permutation(len(items))]


def place(rng: Rng, width: int, sizes: Sequence[int], gap: int = 1) -> list[int] | None:
    """Random starts, left to right, of pieces at least `gap` apart; None where they do not fit."""
    slack = width - sum(sizes) - gap * (len(sizes) - 1)
    if slack < 0:
        return None
    starts, used = [], 0
    for size, offset in zip(sizes, sorted(rng.integers(0, slack + 1, len(sizes)).tolist())):
        starts.append(int(offset) + used)
        used += size + gap
    return starts


def scene(
    rng: Rng,
    width: int,
    palette: Sequence[int],
    *,
    count: tuple[int, int],
    size: tuple[int, int],
    gap: int = 1,
) -> list[Run]:
    """Random segments with colours of the palette; those too large for the line are cut down."""
    sizes = rng.integers(size[0], size[1] + 1, between(rng, *count)).tolist()
    while sum(sizes) + gap * (len(sizes) - 1) > width and sizes:
        largest = max(range(len(sizes)), key=sizes.__getitem__)
        if sizes[largest] > size[0]:
            sizes[largest] -= 1
        else:
            sizes.pop()
    starts = place(rng, width, sizes, gap) or []
    hues = rng.integers(0, len(palette), len(sizes)).tolist()
    return [Run(s, n, palette[h]) for s, n, h in zip(starts, sizes, hues)]


def motif(rng: Rng, size: int, palette: Sequence[int]) -> Line:
    """A random string of palette colours."""
    return [palette[i] for i in rng.integers(0, len(palette), size).tolist()]


def painted(width: int, runs: Sequence[Run]) -> Line:
    """The line that shows the runs, later ones on top; parts outside the line are cut off."""
    line = [0] * width
    for run in runs:
        for i in range(max(0, run.start), min(width, run.stop)):
            line[i] = run.colour
    return line


def put(line: Line, start: int, cells: Sequence[int]) -> None:
    """Write the cells into the line from `start`, cutting off what lies outside."""
    for i, cell in enumerate(cells, start):
        if 0 <= i < len(line):
            line[i] = cell


def runs_of(line: Sequence[int]) -> list[Run]:
    """The maximal stretches of one colour, without the background."""
    found, start = [], 0
    for colour, cells in groupby(line):
        size = len(list(cells))
        if colour:
            found.append(Run(start, size, colour))
        start += size
    return found


def trimmed(line: Line) -> Line:
    """The line from its first to its last coloured cell."""
    used = [i for i, cell in enumerate(line) if cell]
    return line[used[0] : used[-1] + 1] if used else []


def moved(runs: Sequence[Run], step: int) -> list[Run]:
    """The runs, each `step` cells further right."""
    return [run._replace(start=run.start + step) for run in runs]


def extreme(runs: Sequence[Run], longest: bool) -> int | None:
    """The index of the only longest (or shortest) run; None where there is a tie."""
    sizes = [run.size for run in runs]
    if len(sizes) < 2:
        return None
    best = max(sizes) if longest else min(sizes)
    return sizes.index(best) if sizes.count(best) == 1 else None


def ranked_scene(
    rng: Rng,
    width: int,
    palette: Sequence[int],
    longest: bool,
    *,
    count: tuple[int, int],
    size: tuple[int, int],
    gap: int = 1,
) -> tuple[list[Run], int] | None:
    """A scene and the index of its only longest (or shortest) run; None after a few vain tries."""
    for _ in range(5):
        runs = scene(rng, width, palette, count=count, size=size, gap=gap)
        best = extreme(runs, longest)
        if best is not None:
            return runs, best
    return None


def sprinkled(rng: Rng, width: int, palette: Sequence[int], density: float) -> Line:
    """A line whose cells are coloured at random with probability `density`."""
    hues = rng.integers(0, len(palette), width).tolist()
    filled = (rng.random(width) < density).tolist()
    return [palette[h] if f else 0 for h, f in zip(hues, filled)]


def shown(before: Line, after: Line, flip: bool = False) -> Pair | None:
    """The pair of one-row grids, seen in a mirror if `flip`; None where one is empty."""
    if not before or not after or len(after) > 40:
        return None
    if flip:
        before, after = before[::-1], after[::-1]
    return np.array([before], dtype=np.int8), np.array([after], dtype=np.int8)


def changed(before: Line, after: Line, flip: bool = False) -> Pair | None:
    """As `shown`, but None also where the rule changed nothing."""
    return None if before == after else shown(before, after, flip)


def some_colours(rng: Rng, low: int, high: int) -> list[int]:
    """Between `low` and `high` distinct colours."""
    return [int(c) for c in rng.permutation(9)[: between(rng, low, high)] + 1]


def coin(rng: Rng) -> bool:
    """A fair coin."""
    return chance(rng, 0.5)

"""Families whose output is a part of the input that has to be found first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .base import (
    Cells,
    Pair,
    PairMaker,
    Rng,
    between,
    blank,
    chance,
    colours,
    family,
    sizes,
    speckle,
)
from .shape_tools import (
    blob,
    is_mirrored,
    magnify,
    paint,
    place,
    scene,
    sketch,
    texture,
    trim,
    turn,
)


@family("crop", dims=2)
def crop_to_content(rng: Rng) -> PairMaker:
    """The grid is cropped to the bounding box of everything coloured."""
    palette, size = colours(rng, between(rng, 1, 4)), sizes(rng, 5, 10)

    def pair() -> Pair | None:
        grid, part = blank(*size()), sketch(rng, between(rng, 2, 4), between(rng, 2, 4), palette)
        place(rng, grid, [part])
        return grid, trim(grid)

    return pair


@family("crop", dims=2)
def crop_object_of_colour(rng: Rng) -> PairMaker:
    """The object of one fixed colour is cut out; objects of other colours are ignored."""
    key = colours(rng, 1)[0]
    count = between(rng, 2, 3)

    def pair() -> Pair | None:
        others = [c for c in colours(rng, count + 1) if c != key][:count]
        sprites = [paint(blob(rng, between(rng, 3, 6)), c) for c in [key, *others]]
        grid = scene(rng, sprites, 9, 12)
        return None if grid is None else (grid, sprites[0])

    return pair


@family("crop", dims=2)
def crop_object_by_size(rng: Rng) -> PairMaker:
    """The object with the most (or the fewest) cells is cut out."""
    largest, shade = chance(rng, 0.5), colours(rng, 1)[0]
    mixed = chance(rng, 0.6)

    def pair() -> Pair | None:
        counts = [2, 4, 5, 8] if largest else [2, 5, 6, 7]
        shades = colours(rng, 4) if mixed else [shade] * 4
        keep = slice(between(rng, 0, 1), 4) if largest else slice(0, between(rng, 3, 4))
        drawn = list(zip(counts, shades, strict=True))[keep]
        sprites = [paint(blob(rng, n), c) for n, c in drawn]
        grid = scene(rng, sprites[::-1], 9, 12)
        return None if grid is None else (grid, sprites[-1 if largest else 0])

    return pair


@family("crop", dims=2)
def crop_odd_shape(rng: Rng) -> PairMaker:
    """All objects but one have the same shape; the odd one is cut out."""
    copies, cells = between(rng, 2, 3), between(rng, 4, 5)

    def pair() -> Pair | None:
        usual, odd = blob(rng, cells), blob(rng, cells)
        if usual.shape == odd.shape and bool((usual == odd).all()):
            return None
        shades = colours(rng, copies + 1)
        sprites = [paint(odd, shades[0])] + [paint(usual, c) for c in shades[1:]]
        grid = scene(rng, sprites, 9, 12)
        return None if grid is None else (grid, sprites[0])

    return pair


@family("crop", dims=2)
def crop_inside_frame(rng: Rng) -> PairMaker:
    """A rectangular frame of one colour lies on noise; its inside (or all of it) is the output."""
    frame, *palette = colours(rng, between(rng, 2, 4))
    size, density, keep = sizes(rng, 7, 10), 0.2 + 0.5 * rng.random(), int(chance(rng, 0.3))

    def pair() -> Pair | None:
        h, w = size()
        grid = speckle(rng, h, w, palette, density)
        a, b = between(rng, 4, min(h, 6)), between(rng, 4, min(w, 6))
        r, c = between(rng, 0, h - a), between(rng, 0, w - b)
        part = grid[r : r + a, c : c + b]
        part[[0, -1]], part[:, [0, -1]] = frame, frame
        return grid, (part if keep else part[1:-1, 1:-1]).copy()

    return pair


@family("crop", dims=2)
def crop_between_corner_marks(rng: Rng) -> PairMaker:
    """Four marks of one colour are the corners of a rectangle; its interior is the output."""
    mark, *palette = colours(rng, between(rng, 2, 4))
    size, density = sizes(rng, 6, 10), 0.2 + 0.5 * rng.random()

    def pair() -> Pair | None:
        h, w = size()
        grid = speckle(rng, h, w, palette, density)
        a, b = between(rng, 3, h - 1), between(rng, 3, w - 1)
        r, c = between(rng, 0, h - a), between(rng, 0, w - b)
        part = grid[r : r + a, c : c + b]
        part[np.ix_([0, -1], [0, -1])] = mark
        return grid, part[1:-1, 1:-1].copy()

    return pair


@family("crop", dims=2)
def crop_around_mark(rng: Rng) -> PairMaker:
    """The 3 x 3 neighbourhood of the one cell of the mark colour is cut out."""
    mark, *palette = colours(rng, between(rng, 3, 5))
    size, density = sizes(rng, 5, 10), 0.4 + 0.5 * rng.random()

    def pair() -> Pair | None:
        h, w = size()
        grid = speckle(rng, h, w, palette, density)
        r, c = between(rng, 1, h - 2), between(rng, 1, w - 2)
        grid[r, c] = mark
        return grid, grid[r - 1 : r + 2, c - 1 : c + 2].copy()

    return pair


@family("crop", dims=2)
def crop_hidden_by_patch(rng: Rng) -> PairMaker:
    """A solid patch hides part of a mirror-symmetric picture; the output is what it hides."""
    cover, *palette = colours(rng, between(rng, 3, 5))
    h, half, axis = between(rng, 5, 9), between(rng, 3, 5), between(rng, 0, 1)

    def pair() -> Pair | None:
        left = texture(rng, h, half, [0, *palette])
        grid = np.concatenate([left, left[:, ::-1]], axis=1)
        a, b = between(rng, 2, 3), between(rng, 2, half)
        r, c = between(rng, 0, h - a), between(rng, 0, 1) * half
        c += between(rng, 0, half - b)
        hidden = grid[r : r + a, c : c + b].copy()
        grid[r : r + a, c : c + b] = cover
        return turn(grid, axis * 4), turn(hidden, axis * 4)

    return pair


@family("crop", dims=2)
def crop_two_coloured_object(rng: Rng) -> PairMaker:
    """The only object made of two colours is cut out; the plain ones are ignored."""
    palette = colours(rng, 4)

    def pair() -> Pair | None:
        sprites = [
            paint(blob(rng, between(rng, 4, 7)), palette[between(rng, 0, 3)]) for _ in range(3)
        ]
        special = sprites[0]
        shade = palette[(palette.index(int(special.max())) + between(rng, 1, 3)) % 4]
        special[tuple(rng.choice(np.argwhere(special)))] = shade
        grid = scene(rng, sprites, 9, 11)
        return None if grid is None else (grid, special)

    return pair


@family("crop", dims=2)
def crop_symmetric_object(rng: Rng) -> PairMaker:
    """Among many-coloured blocks the one that is its own left-right mirror image is cut out."""
    shades, side = colours(rng, 3), between(rng, 3, 4)

    def pair() -> Pair | None:
        sprites = [texture(rng, 3, side, shades) for _ in range(3)]
        sprites[0][:, (side + 1) // 2 :] = sprites[0][:, side // 2 - 1 :: -1]
        if any(is_mirrored(sprite, 1) for sprite in sprites[1:]):
            return None
        grid = scene(rng, sprites, 9, 12)
        return None if grid is None else (grid, sprites[0])

    return pair


def _crop_then(rng: Rng, change: Callable[[Cells], Cells]) -> PairMaker:
    """A picture on empty ground is cut out and changed."""
    palette, size = colours(rng, between(rng, 2, 4)), sizes(rng, 6, 10)

    def pair() -> Pair | None:
        grid = blank(*size())
        place(rng, grid, [sketch(rng, between(rng, 2, 4), between(rng, 2, 4), palette, 0.75)])
        return grid, change(trim(grid))

    return pair


@family("crop", dims=2)
def crop_then_turn(rng: Rng) -> PairMaker:
    """The picture is cropped to its bounding box and turned or flipped."""
    way = between(rng, 1, 7)
    return _crop_then(rng, lambda part: turn(part, way))


@family("crop", dims=2)
def crop_then_scale(rng: Rng) -> PairMaker:
    """The picture is cropped to its bounding box and enlarged by a fixed factor."""
    factor = between(rng, 2, 3)
    return _crop_then(rng, lambda part: magnify(part, factor, factor))


@family("crop", dims=2)
def crop_then_mirror(rng: Rng) -> PairMaker:
    """The picture is cropped to its bounding box and its mirror image is appended."""
    axis = between(rng, 0, 1)
    return _crop_then(rng, lambda part: np.concatenate([part, np.flip(part, axis)], axis=axis))


@family("crop", dims=2)
def crop_then_sink(rng: Rng) -> PairMaker:
    """The picture is cropped to its bounding box and its cells slide to one fixed side."""
    way = between(rng, 0, 3)

    def sink(part: Cells) -> Cells:
        part = turn(part, way)
        return turn(np.take_along_axis(part, (part != 0).argsort(axis=0, kind="stable"), 0), -way)

    return _crop_then(rng, sink)

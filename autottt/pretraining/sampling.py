"""Tasks drawn from families: for pretraining as arrays, for the controller as `Task` values.

Every draw is a function of its seeds. A drawn grid task is varied by a random symmetry and a random
colour permutation, so that one family covers all directions and palettes. Where there are tokens to
spare, outputs are changed once more.
"""

from __future__ import annotations

import numpy as np

from autottt.pretraining.families import FAMILIES
from autottt.pretraining.families.base import AnyPair, Cells, Content, Family, Rng
from autottt.types import Example, Task, Value

MAX_DRAWS = 60  # draws of a pair before a task's rule is given up
BACKGROUND_CHANGES = 0.1  # share of tasks whose background is not colour 0


def draw_pairs(family: Family, rng: Rng, n: int) -> list[AnyPair]:
    """`n` distinct pairs of one task; fewer where the rule has fewer to give, at times none."""
    maker = family.make(rng)
    pairs: list[AnyPair] = []
    seen: set[bytes | str] = set()
    for _ in range(MAX_DRAWS):
        pair = maker()
        if pair is None:
            continue
        key = pair[0] if isinstance(pair[0], str) else pair[0].tobytes() + bytes(pair[0].shape)
        if key in seen:
            continue
        seen.add(key)
        pairs.append(pair)
        if len(pairs) == n:
            break
    if all(np.array_equal(x, y) for x, y in pairs):
        return []
    return pairs


def vary(pairs: list[AnyPair], kind: str, rng: Rng) -> list[AnyPair]:
    """The same task under one random symmetry and colour permutation; text is left as it is."""
    if kind == "text":
        return pairs
    table = np.arange(10, dtype=np.int8)
    if rng.random() < BACKGROUND_CHANGES:
        table = rng.permutation(10).astype(np.int8)
    else:
        table[1:] = 1 + rng.permutation(9)
    flip = bool(rng.integers(2))
    turns = int(rng.integers(4)) if kind == "grid" else 0
    return [(_changed(x, table, flip, turns), _changed(y, table, flip, turns)) for x, y in pairs]


def _changed(cells: Content, table: Cells, flip: bool, turns: int) -> Cells:
    """Cells mirrored, then turned by quarters, each colour replaced by that of the table (10,)."""
    assert not isinstance(cells, str)
    return table[np.rot90(cells[:, ::-1] if flip else cells, turns)]


def compose(pairs: list[AnyPair], kind: str, rng: Rng) -> list[AnyPair]:
    """The task with its outputs turned, mirrored or two of their colours swapped, alike in all.

    It is often a rule that no family has. Texts stay, and so does a task whose outputs would become
    its inputs again; an output that is symmetric, or has neither colour, looks as before.
    """
    if kind == "text":
        return pairs
    table = np.arange(10, dtype=np.int8)
    turns, flip = 0, False
    way = int(rng.integers(3))
    if way == 0:
        turns = int(rng.integers(1, 4)) if kind == "grid" else 2
    elif way == 1:
        flip = True
    else:
        found = np.unique(np.concatenate([np.ravel(y) for _, y in pairs]))
        first = int(rng.choice(found[found > 0])) if (found > 0).any() else 1
        second = int(rng.choice([c for c in range(1, 10) if c != first]))
        table[[first, second]] = second, first
    changed: list[AnyPair] = [(x, _changed(y, table, flip, turns)) for x, y in pairs]
    return pairs if all(np.array_equal(x, y) for x, y in changed) else changed


def draw_task(name: str, seed: int, *, demonstrations: int = 4, max_cells: int = 1000) -> Task:
    """A task of the family with one query and its target; the same for the same name and seed.

    `max_cells` bounds the cells (or characters) of all its values, which is about its length in
    tokens. Raises `ValueError` when the family gives no such task in a hundred rules.
    """
    family = FAMILIES[name]
    rng = np.random.default_rng([seed, *name.encode()])
    for _ in range(100):
        pairs = vary(draw_pairs(family, rng, demonstrations + 1), family.kind, rng)
        if len(pairs) <= demonstrations or sum(_size(x) + _size(y) for x, y in pairs) > max_cells:
            continue
        examples = [Example(_value(x), _value(y)) for x, y in pairs]
        return Task(
            id=f"{name}:{seed}",
            demonstrations=tuple(examples[:-1]),
            queries=(examples[-1].input,),
            targets=(examples[-1].output,),
            domain="text" if family.kind == "text" else "grid",
        )
    raise ValueError(f"family {name!r} gives no task of at most {max_cells} cells for seed {seed}")


def _size(content: Content) -> int:
    return len(content) if isinstance(content, str) else content.size


def _value(cells: Content) -> Value:
    if isinstance(cells, str):
        return cells
    return tuple(tuple(int(c) for c in row) for row in cells)

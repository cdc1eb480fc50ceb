"""Training batches: one task a row, filled with demonstrations until the row is full.

A row holds one task alone, so nothing leaks between tasks and no block mask is needed; the row
length is one of a few, so that a compiled step is reused. Batch i is a function of (seed, i), so
a resumed run sees what an unbroken run would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autottt.adapters.models.byte_level import PAD
from autottt.pretraining.families import FAMILIES
from autottt.pretraining.families.base import AnyPair, Content, Rng, larger
from autottt.pretraining.sampling import compose, draw_pairs, vary
from autottt.pretraining.splits import NOT_COMPOSED

NEWLINE, ARROW, ZERO = ord("\n"), ord(">"), ord("0")
MAX_PAIRS, MIN_PAIRS = 10, 3
LONG_ROW = 1024  # tokens from which a row has room for larger grids


@dataclass(frozen=True)
class Row:
    """Token ids (n,) and whether each is part of an output (n,)."""

    ids: NDArray[np.int64]
    is_output: NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """`ids` (B, T) padded with PAD; `targets` (B, T): the next token, or -100 without loss."""

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]


def encode_pair(pair: AnyPair) -> Row:
    """The pair as bytes, exactly as `adapters.tasks.prompts` writes it."""
    source, output = _lines(pair[0]), _lines(pair[1])
    ids = np.concatenate([source, [ARROW], output, [NEWLINE]])
    is_output = np.arange(len(ids)) > len(source)
    return Row(ids, is_output)


def _lines(cells: Content) -> NDArray[np.int64]:
    if isinstance(cells, str):
        return np.frombuffer(f"{cells}\n".encode(), dtype=np.uint8).astype(np.int64)
    ends = np.full((cells.shape[0], 1), NEWLINE, dtype=np.int64)
    return np.hstack([cells.astype(np.int64) + ZERO, ends]).ravel()


def draw_row(plan: BatchPlan, length: int, rng: Rng) -> Row:
    """One task's pairs up to `length` tokens, the fullest of a few tries."""
    best: Row | None = None
    while True:
        for _ in range(6):
            row = _try_row(plan, length, rng)
            if row is not None and (best is None or len(row.ids) > len(best.ids)):
                best = row
            if best is not None and len(best.ids) >= 0.8 * length:
                return best
        if best is not None:
            return best


def _try_row(plan: BatchPlan, length: int, rng: Rng) -> Row | None:
    family = FAMILIES[plan.names[int(rng.integers(len(plan.names)))]]
    roomy = plan.room > 0 and length >= LONG_ROW and rng.random() < 0.5
    with larger(plan.room if roomy else 0):
        drawn = draw_pairs(family, rng, MAX_PAIRS)
    pairs = vary(drawn, family.kind, rng)
    composes = pairs and plan.composed > 0 and family.name not in NOT_COMPOSED
    if composes and rng.random() < plan.composed:
        pairs = compose(pairs, family.kind, rng)
    rows: list[Row] = []
    used = 0
    for pair in pairs:
        row = encode_pair(pair)
        if used + len(row.ids) > length:
            break
        rows.append(row)
        used += len(row.ids)
    if len(rows) < MIN_PAIRS:
        return None
    return Row(
        np.concatenate([row.ids for row in rows]), np.concatenate([row.is_output for row in rows])
    )


def collate(rows: Sequence[Row], length: int) -> Batch:
    """Pad rows to `length` and shift them into next-token targets."""
    ids = np.full((len(rows), length), PAD, dtype=np.int64)
    targets = np.full((len(rows), length), -100, dtype=np.int64)
    for place, row in enumerate(rows):
        n = len(row.ids)
        ids[place, :n] = row.ids
        targets[place, : n - 1] = np.where(row.is_output[1:], row.ids[1:], -100)
    return Batch(ids, targets)


@dataclass(frozen=True)
class BatchPlan:
    """What batch i holds: families, tokens a batch, row lengths with weights, and a curriculum.

    For the first `short_steps` steps every batch has the shortest row length. In half of the tries
    at rows of at least `LONG_ROW` tokens grids may be `room` cells larger; the share `composed` of
    the tasks of grids and lines have their outputs changed once more (`sampling.compose`).
    """

    names: tuple[str, ...]
    seed: int
    tokens: int = 8192
    row_lengths: tuple[int, ...] = (256, 512, 1024)
    weights: tuple[float, ...] = (0.4, 0.4, 0.2)
    short_steps: int = 500
    room: int = 0
    composed: float = 0.0

    def batch(self, step: int) -> Batch:
        """The batch of that step."""
        rng = np.random.default_rng([self.seed, step])
        length = int(rng.choice(self.row_lengths, p=self.weights))
        if step < self.short_steps:
            length = self.row_lengths[0]
        rows = [draw_row(self, length, rng) for _ in range(self.tokens // length)]
        return collate(rows, length)

    def stream(self, start: int, end: int) -> Iterator[Batch]:
        """Batches start, start + 1, ..., end - 1."""
        for step in range(start, end):
            yield self.batch(step)

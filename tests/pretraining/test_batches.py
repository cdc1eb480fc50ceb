"""Training rows are what a prompt would be, one task each, and repeatable by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autottt.adapters.models.byte_level import PAD
from autottt.adapters.tasks.prompts import completion, prompt, value_to_text
from autottt.pretraining.batches import BatchPlan, collate, encode_pair
from autottt.pretraining.families import FAMILIES
from autottt.pretraining.families.base import Content, larger, sizes
from autottt.pretraining.recipe import LONG, Recipe
from autottt.pretraining.sampling import compose, draw_pairs, draw_task
from autottt.pretraining.splits import NOT_COMPOSED, pretraining_families
from autottt.types import Value

PLAN = BatchPlan(pretraining_families(), seed=0, tokens=1024, short_steps=2)


def test_a_pair_is_encoded_as_the_prompt_writes_it() -> None:
    """The fast encoder of the training gives the bytes of the text format, targets marked."""
    x, y = np.array([[1, 0], [2, 3]], dtype=np.int8), np.array([[4, 5]], dtype=np.int8)
    row = encode_pair((x, y))
    source, output = value_to_text(((1, 0), (2, 3))) + ">", completion(((4, 5),))
    assert bytes(row.ids.tolist()).decode() == source + output
    assert bytes(row.ids[row.is_output].tolist()).decode() == output


def _content(value: Value) -> Content:
    return value if isinstance(value, str) else np.array(value, dtype=np.int8)


@pytest.mark.parametrize("name", ["text_sort_words", "text_balanced", "grid_gravity"])
def test_a_task_is_trained_on_as_it_is_asked(name: str) -> None:
    """The pairs of a drawn task, encoded one by one, are the prompt and the completion."""
    task = draw_task(name, 3)
    assert task.targets is not None
    asked = prompt(task.demonstrations, task.queries[0]) + completion(task.targets[0])
    pairs = [*((e.input, e.output) for e in task.demonstrations)]
    pairs.append((task.queries[0], task.targets[0]))
    rows = [encode_pair((_content(source), _content(output))).ids for source, output in pairs]
    assert bytes(np.concatenate(rows).tolist()).decode() == asked


@pytest.mark.parametrize("step", [0, 1, 5, 6])
def test_a_batch_is_a_function_of_its_step(step: int) -> None:
    """The same step gives the same batch; targets are the next tokens; padding has no loss."""
    batch, again = PLAN.batch(step), PLAN.batch(step)
    assert np.array_equal(batch.ids, again.ids)
    assert batch.ids.size == 1024
    wanted = batch.targets >= 0
    assert wanted.any()
    rows, places = np.nonzero(wanted)
    assert np.array_equal(batch.targets[rows, places], batch.ids[rows, places + 1])
    assert (batch.targets[wanted] != PAD).all()
    if step < PLAN.short_steps:
        assert batch.ids.shape[1] == PLAN.row_lengths[0]


def test_rows_are_padded_to_one_length() -> None:
    """A short row ends in padding without targets."""
    row = encode_pair((np.zeros((1, 3), np.int8), np.ones((1, 3), np.int8)))
    batch = collate([row], 20)
    assert batch.ids.shape == (1, 20)
    assert (batch.ids[0, len(row.ids) :] == PAD).all()
    assert (batch.targets[0, len(row.ids) - 1 :] == -100).all()


@pytest.mark.parametrize("kind", ["grid", "line"])
@pytest.mark.parametrize("seed", range(12))
def test_a_composed_task_is_another_rule_on_the_same_inputs(kind: str, seed: int) -> None:
    """Inputs stay; outputs are changed by one symmetry or one swap of colours for all pairs."""
    name = "grid_gravity" if kind == "grid" else "line_shift"
    pairs = draw_pairs(FAMILIES[name], np.random.default_rng(seed), 4)
    after = compose(pairs, kind, np.random.default_rng(seed))
    assert all(x is same for (x, _), (same, _) in zip(pairs, after, strict=True))
    before, changed = ([y for _, y in side] for side in (pairs, after))
    assert any(not np.array_equal(y, new) for y, new in zip(before, changed))
    ways = [(flip, turns) for flip in (False, True) for turns in range(4)]
    assert any(_one_map([_turned(y, *way) for y in before], changed) for way in ways)
    assert all((np.shape(y)[0] == 1) == (kind == "line") for y in changed)


def _turned(cells: Content, flip: bool, turns: int) -> Content:
    assert isinstance(cells, np.ndarray)
    return np.rot90(cells[:, ::-1] if flip else cells, turns)


def _one_map(before: list[Content], after: list[Content]) -> bool:
    """Whether one permutation of colours makes all of the first grids the second ones."""
    if any(np.shape(x) != np.shape(y) for x, y in zip(before, after, strict=True)):
        return False
    met = {
        p for x, y in zip(before, after) for p in zip(np.ravel(x).tolist(), np.ravel(y).tolist())
    }
    return len(met) == len({x for x, _ in met}) == len({y for _, y in met})


def test_composing_does_not_undo_a_rule() -> None:
    """A task whose outputs would be its inputs again stays as it is, and so does a text."""
    pairs = draw_pairs(FAMILIES["turn_grid"], np.random.default_rng(1), 3)
    for seed in range(40):
        after = compose(pairs, "grid", np.random.default_rng(seed))
        assert any(not np.array_equal(x, y) for x, y in after)
    texts = draw_pairs(FAMILIES["text_sort_words"], np.random.default_rng(0), 3)
    assert compose(texts, "text", np.random.default_rng(0)) == texts


def test_what_would_make_a_held_out_rule_is_not_composed() -> None:
    """Families in pretraining that `splits` names keep their rules; others are changed at times."""
    assert set(pretraining_families()) > NOT_COMPOSED
    for name in ("turn_grid", "grid_gravity"):
        plan = BatchPlan((name,), 3, 2048, (256,), (1.0,), short_steps=0)
        alike = [
            np.array_equal(plan.batch(s).ids, replace(plan, composed=1.0).batch(s).ids)
            for s in range(2)
        ]
        assert alike == [name in NOT_COMPOSED] * 2


def test_larger_grids_are_drawn_within_it_alone() -> None:
    """Families that ask for small grids still get them, and nothing is left behind."""

    def drawn(low: int, high: int) -> list[int]:
        return [max(sizes(np.random.default_rng(n), low, high)()) for n in range(60)]

    usual, small = drawn(5, 10), drawn(2, 4)
    with larger(8):
        assert max(drawn(5, 10)) > 14
        assert drawn(2, 4) == small
    assert drawn(5, 10) == usual


def test_long_rows_hold_larger_grids() -> None:
    """With room some grids of long rows are wider than the family's own; short rows have none."""
    longest, room = LONG["row_lengths"][-1], LONG["room"]
    assert longest == Recipe().context
    plan = BatchPlan(("grid_gravity",), 5, 8192, (longest,), (1.0,), short_steps=0)
    wide, short = replace(plan, room=room), replace(plan, row_lengths=(512,))
    assert _widest(wide) > _widest(plan) == 10
    assert _widest(short) == _widest(replace(short, room=room)) <= 10


def _widest(plan: BatchPlan) -> int:
    rows = np.concatenate([row for step in range(4) for row in plan.batch(step).ids])
    text = bytes(rows[rows < 256].tolist())
    return max(len(line) for line in text.replace(b">", b"\n").split(b"\n"))

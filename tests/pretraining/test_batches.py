"""Training rows are what a prompt would be, one task each, and repeatable by step."""

from __future__ import annotations

import numpy as np
import pytest

from autottt.adapters.models.byte_level import PAD
from autottt.adapters.tasks.prompts import completion, prompt, value_to_text
from autottt.pretraining.batches import BatchPlan, collate, encode_pair
from autottt.pretraining.families.base import Content
from autottt.pretraining.sampling import draw_task
from autottt.pretraining.splits import pretraining_families
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

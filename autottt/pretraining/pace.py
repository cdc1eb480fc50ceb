"""How many steps of pretraining fit into a number of minutes on this machine, by a short trial.

The trial runs the model as it is, without compiling it, so a compiled run is done sooner.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from autottt.pretraining.recipe import Recipe

WARM_UP, TIMED = 1, 2  # passes for each row length


def steps_in(minutes: float, recipe: Recipe, device: str = "cpu") -> int:
    """The steps that take about so many minutes, at least one."""
    return max(1, round(minutes * 60 / seconds_per_step(recipe, device)))


def seconds_per_step(recipe: Recipe, device: str = "cpu") -> float:
    """Seconds of one forward and backward pass over `recipe.tokens` random tokens, on average.

    Each row length counts by its weight, without the short rows that a run may begin with. Making
    the rows is not in it: other processes do that meanwhile.
    """
    from autottt.pretraining.train import attention_on, new_model

    recipe.check_rows()
    model = new_model(recipe, attention=attention_on(device, recipe))
    model.to(device)  # type: ignore[arg-type]
    parts = zip(recipe.row_lengths, recipe.row_weights, strict=True)
    return sum(weight * _seconds(model, recipe, row, device) for row, weight in parts)


def _seconds(model: LlamaForCausalLM, recipe: Recipe, row: int, device: str) -> float:
    import torch

    from autottt.pretraining.train import sequence_loss

    ids = torch.randint(0, 256, (max(1, recipe.tokens // row), row), device=device)
    for step in range(WARM_UP + TIMED):
        if step == WARM_UP:
            begin = time.perf_counter()
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = sequence_loss(model.model, model.lm_head, ids, ids)
        torch.autograd.backward(loss)
        loss.item()  # waits for an accelerator
    return (time.perf_counter() - begin) / TIMED

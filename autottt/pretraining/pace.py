"""How many steps of pretraining fit into a number of minutes on this machine, by a short trial.

The trial runs the model as it is, without compiling it, so a compiled run is done sooner.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autottt.pretraining.train import Recipe

WARM_UP, TIMED, ROW = 1, 4, 512


def steps_in(minutes: float, recipe: Recipe) -> int:
    """The steps that take about so many minutes, at least one."""
    return max(1, round(minutes * 60 / seconds_per_step(recipe)))


def seconds_per_step(recipe: Recipe) -> float:
    """Seconds of one forward and backward pass over `recipe.tokens` random tokens."""
    import torch

    from autottt.pretraining.train import new_model, sequence_loss

    model = new_model(recipe)
    row = min(ROW, recipe.context, recipe.tokens)
    ids = torch.randint(0, 256, (max(1, recipe.tokens // row), row))
    for step in range(WARM_UP + TIMED):
        if step == WARM_UP:
            begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = sequence_loss(model.model, model.lm_head, ids, ids)
        torch.autograd.backward(loss)
    return (time.perf_counter() - begin) / TIMED

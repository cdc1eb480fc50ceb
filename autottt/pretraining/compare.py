"""Tokens a second of this recipe against the same model under `transformers.Trainer`.

Every contender trains a model of the recipe's size, from the same random weights, on the same
rows, which Trainer shuffles: its batches have the same shape but other rows. The first batches of
each row length are not timed, so that compiling is left out (it is reported by itself).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from autottt.pretraining.batches import Batch, BatchPlan
from autottt.pretraining.recipe import Recipe
from autottt.pretraining.splits import pretraining_families
from autottt.pretraining.train import body_of, new_model, optimizers_of, train_step

WARM_UP = 2  # steps before the clock starts, per row length


@dataclass(frozen=True)
class Pace:
    """Tokens (padding included) a second over the timed steps, and seconds before them."""

    name: str
    tokens_per_second: float
    warm_up_seconds: float


def compare(recipe: Recipe, *, steps: int = 12) -> list[Pace]:
    """The pace of this recipe (first) and of Trainer as it comes and with bf16, side by side."""
    paces: dict[str, list[tuple[float, int, float]]] = {}
    for length, weight in zip(recipe.row_lengths, recipe.row_weights, strict=True):
        count = max(2, round(steps * weight))
        plan = BatchPlan(
            pretraining_families(), recipe.seed, recipe.tokens, (length,), (1.0,), short_steps=0
        )
        batches = list(plan.stream(0, WARM_UP + count))
        for name, run in _contenders(recipe).items():
            warm_up, seconds = run(batches)
            paces.setdefault(name, []).append((warm_up, count * recipe.tokens, seconds))
    return [
        Pace(name, sum(n for _, n, _ in of) / sum(s for _, _, s in of), sum(w for w, _, _ in of))
        for name, of in paces.items()
    ]


def _contenders(recipe: Recipe) -> dict[str, Any]:
    eager = replace(recipe, compile=False)
    return {
        "autottt": lambda batches: _ours(recipe, batches),
        "autottt, not compiled": lambda batches: _ours(eager, batches),
        "Trainer": lambda batches: _trainer(recipe, batches, bf16=False),
        "Trainer, bf16": lambda batches: _trainer(recipe, batches, bf16=True),
    }


def _ours(recipe: Recipe, batches: Sequence[Batch]) -> tuple[float, float]:
    model = new_model(recipe)
    optimizers = optimizers_of(model, recipe)
    body = body_of(model, recipe)
    marks = [time.perf_counter()]
    for batch in batches:
        ids, targets = torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)
        train_step(model, body, optimizers, ids, targets)
        marks.append(time.perf_counter())
    return marks[WARM_UP] - marks[0], marks[-1] - marks[WARM_UP]


class _Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The rows of the batches, as Trainer wants them, which shuffles: labels are not shifted."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.rows = []
        for batch in batches:
            labels = torch.full(batch.ids.shape, -100)
            labels[:, 1:] = torch.from_numpy(batch.targets[:, :-1])
            for ids, wanted in zip(torch.from_numpy(batch.ids), labels, strict=True):
                self.rows.append({"input_ids": ids, "labels": wanted})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return self.rows[place]


def _trainer(recipe: Recipe, batches: Sequence[Batch], *, bf16: bool) -> tuple[float, float]:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.marks: list[float] = []

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.marks.append(time.perf_counter())

    model: nn.Module = new_model(recipe, attention="sdpa")  # what from_pretrained would choose
    rows = batches[0].ids.shape[0]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=rows,
            max_steps=len(batches),
            learning_rate=recipe.learning_rate,
            use_cpu=True,
            bf16=bf16,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
        )
        clock = Clock()
        begin = time.perf_counter()
        Trainer(model, arguments, train_dataset=_Rows(batches), callbacks=[clock]).train()
    return clock.marks[WARM_UP - 1] - begin, clock.marks[-1] - clock.marks[WARM_UP - 1]

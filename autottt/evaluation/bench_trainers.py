"""The ways that autottt is timed against: peft with `transformers.Trainer`, and TRL's `SFTTrainer`.

They train the LoRA that ours trains on the same sequences, and answer the same views by `generate`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from autottt.adapters.models.base import Completion, LoraSettings, TokenSequence
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.tasks.prompts import STOP
from autottt.record import is_right
from autottt.strategies.answering import ALL_VIEWS
from autottt.strategies.base import RunContext
from autottt.strategies.proposals import Proposal, parse, place_prompts
from autottt.strategies.ttt import TTT
from autottt.strategies.vote import rank_all
from autottt.types import Candidate, Task


@dataclass(frozen=True)
class Measured:
    """One task by one way: seconds to adapt and to answer, and of adapting those in steps.

    `memory` is the most the process held meanwhile, in bytes, with what it held before.
    """

    adapt: float
    answer: float
    tokens: int
    steps: int
    in_steps: float
    right: bool
    memory: int = 0

    @property
    def seconds(self) -> float:
        return self.adapt + self.answer


def _rows(strategy: TTT, task: Task, owner: HuggingFaceModel, seed: int) -> list[TokenSequence]:
    batch = strategy.batches(task, RunContext(owner, seed))
    return [row for step in range(strategy.training.steps) for row in batch(step)]


def _lora(settings: LoraSettings) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _arguments(folder: str, strategy: TTT, rows: int, **changes: Any) -> dict[str, Any]:
    training = strategy.training
    return {
        "output_dir": folder,
        "max_steps": training.steps,
        "per_device_train_batch_size": rows // training.steps,
        "learning_rate": training.learning_rate,
        "warmup_steps": training.warm_up,
        "lr_scheduler_type": "cosine",
        "report_to": [],
        "use_cpu": not torch.cuda.is_available(),
        "seed": 0,
        **changes,
    }


TUNED = {
    "bf16": True,
    "save_strategy": "no",
    "logging_strategy": "no",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


class _Clock:
    """Seconds inside optimizer steps, as a Trainer callback sees them."""

    def __init__(self) -> None:
        from transformers import TrainerCallback

        clock = self
        self.seconds = 0.0

        class Callback(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                clock.begin = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.seconds += time.perf_counter() - clock.begin

        self.begin = 0.0
        self.callback = Callback()


def _collator(owner: HuggingFaceModel) -> Callable[[list[Any]], dict[str, torch.Tensor]]:
    def collate(features: list[Any]) -> dict[str, torch.Tensor]:
        ids, mask, labels = owner.pad([f["sequence"] for f in features])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return collate


def default_trainer(model: str, strategy: TTT, task: Task, seed: int) -> Measured:
    """As a script does it: the model is loaded, trained with the defaults, and saved, each time."""
    begin = time.perf_counter()
    owner = HuggingFaceModel(model)
    return resident(owner, strategy, task, seed, train_default, begin=begin)


Train = Callable[[HuggingFaceModel, Any, TTT, list[TokenSequence], _Clock, str], None]


def resident(
    owner: HuggingFaceModel,
    strategy: TTT,
    task: Task,
    seed: int,
    train: Train,
    *,
    begin: float | None = None,
    answers: bool = True,
) -> Measured:
    """peft around a base that stays in memory; without `answers` it only adapts."""
    from peft import get_peft_model

    begin = time.perf_counter() if begin is None else begin
    base, clock = owner.module, _Clock()
    rows = _rows(strategy, task, owner, seed)
    assert isinstance(strategy.adapter, LoraSettings)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        adapted = get_peft_model(base, _lora(strategy.adapter))
        train(owner, adapted, strategy, rows, clock, folder)
        adapted.eval()
        settle(owner.device)
        adapt = time.perf_counter() - begin
        begin = time.perf_counter()
        right = answers and is_right(task, _answer(owner, adapted, task, seed))
        answer = time.perf_counter() - begin
        owner.module = adapted.unload()
    for parameter in owner.module.parameters():
        parameter.requires_grad_(True)
    owner.module.eval()
    tokens = sum(len(row.ids) for row in rows)
    return Measured(adapt, answer, tokens, strategy.training.steps, clock.seconds, right)


def settle(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def train_default(
    owner: HuggingFaceModel,
    adapted: Any,
    strategy: TTT,
    rows: list[TokenSequence],
    clock: _Clock,
    folder: str,
) -> None:
    _fit(owner, adapted, rows, clock, _arguments(folder, strategy, len(rows)))
    adapted.save_pretrained(folder)


def train_tuned(
    owner: HuggingFaceModel,
    adapted: Any,
    strategy: TTT,
    rows: list[TokenSequence],
    clock: _Clock,
    folder: str,
) -> None:
    _fit(owner, adapted, rows, clock, _arguments(folder, strategy, len(rows), **TUNED))


def _fit(
    owner: HuggingFaceModel,
    adapted: Any,
    rows: list[TokenSequence],
    clock: _Clock,
    arguments: dict[str, Any],
) -> None:
    from transformers import Trainer, TrainingArguments

    Trainer(
        model=adapted,
        args=TrainingArguments(**arguments, remove_unused_columns=False),
        train_dataset=[{"sequence": row} for row in rows],
        data_collator=_collator(owner),
        callbacks=[clock.callback],
    ).train()


def train_sft(
    owner: HuggingFaceModel,
    adapted: Any,
    strategy: TTT,
    rows: list[TokenSequence],
    clock: _Clock,
    folder: str,
) -> None:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    data = Dataset.from_list(
        [{"input_ids": list(r.ids), "completion_mask": [int(t) for t in r.is_target]} for r in rows]
    )
    arguments = _arguments(folder, strategy, len(rows), **TUNED)
    SFTTrainer(
        model=adapted,
        args=SFTConfig(**arguments, max_length=None, gradient_checkpointing=False),
        train_dataset=data,
        processing_class=owner.tokenizer,
        callbacks=[clock.callback],
    ).train()


@torch.inference_mode()
def _answer(
    owner: HuggingFaceModel, adapted: Any, task: Task, seed: int
) -> tuple[tuple[Candidate, ...], ...]:
    """The same views, by `generate`, and the same vote."""
    context = RunContext(owner, seed)
    placed, limit = place_prompts(task, ALL_VIEWS.draw(task, seed), context)
    rows = [TokenSequence(tuple(p.ids), (False,) * len(p.ids)) for p in placed]
    ids, mask, _ = owner.pad(rows, left=True)
    with owner.autocast():
        written = adapted.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=limit,
            do_sample=False,
            stop_strings=[STOP],
            tokenizer=owner.tokenizer,
        )[:, ids.shape[1] :]
    proposals = []
    for place, tokens in zip(placed, written, strict=True):
        text = owner.tokenizer.decode(tokens, skip_special_tokens=True)
        done = Completion(text.split(STOP)[0], (), (), (), STOP in text)
        output = parse(done, place.view, task, place.query)
        proposals.append(Proposal(place.query, place.view, output, done, len(place.ids)))
    return rank_all(proposals, len(task.queries))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the libraries say about themselves out of the way."""
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)

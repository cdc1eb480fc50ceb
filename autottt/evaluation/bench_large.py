"""What adapting a large model costs: ours beside TRL's `SFTTrainer` around a base that stays.

The model is a Llama of published sizes with random weights, as speed does not depend on their
values, and the recipe that of Fewshot-TTT (`ttt-words`). Both ways train the same LoRA on the same
rows for the same optimizer steps, in turns, in one process; nothing is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from autottt.adapters.models.fingerprint import checksum
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import device_of
from autottt.evaluation.bench_adapt import Way, matmul_rate, ours, restart_peak, row, with_peak
from autottt.evaluation.bench_trainers import resident, train_sft
from autottt.strategies.answering import Answered, Member
from autottt.strategies.base import Progress, RunContext, no_progress
from autottt.strategies.registry import get
from autottt.strategies.sequences import demonstration_sequence
from autottt.strategies.ttt import TTT
from autottt.types import JSON, Candidate, Example, Task

SIZES: dict[str, dict[str, Any]] = {
    "8b": {  # Llama-3.1-8B
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "max_position_embeddings": 8192,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "max_position_embeddings": 8192,
    },
}
DEMONSTRATIONS = 10
LETTERS = 94  # of an input: a demonstration is then about 115 tokens of one byte


class RandomLlama(HuggingFaceModel):
    """A Llama of that size with random weights, and the tokenizer of bytes."""

    def __init__(self, size: str) -> None:
        self._size = size
        super().__init__("embedded")

    def _load(self) -> None:
        from transformers import AutoModelForCausalLM, LlamaConfig

        torch.manual_seed(0)
        with torch.device(device_of(self.settings)):
            config = LlamaConfig(**SIZES[self._size])
            auto: Any = AutoModelForCausalLM
            self.module = auto.from_config(config, dtype=torch.bfloat16).eval()
        self._weights = checksum(self.module)
        self._whole = f"random {self._size}"


@dataclass(frozen=True)
class _Silent:
    """In the place of answering, which is not what is measured."""

    def unavailable(self, task: Task) -> str | None:
        return None

    def answer(self, task: Task, context: RunContext, members: Sequence[Member] = ()) -> Answered:
        return Answered(((Candidate("", 1.0, 0.0),),), {}, 0)


def bench_large(
    *, size: str = "8b", tasks: int = 3, seed: int = 0, progress: Progress = no_progress
) -> JSON:
    """Adapt to every task by each way; returns means, and how many times faster ours is."""
    owner = RandomLlama(size)
    recipe = get("ttt-words")
    assert isinstance(recipe, TTT)
    silent = replace(recipe, answering=_Silent())
    ways: dict[str, Way] = {
        "sft-trainer": lambda task: resident(owner, recipe, task, seed, train_sft, answers=False),
        "autottt": lambda task: ours(owner, silent, task, seed),
    }
    drawn = [words_task(number, seed) for number in range(tasks)]
    for way in ways.values():
        way(drawn[0])  # imports, kernels and memory warm
    found: dict[str, list[Any]] = {name: [] for name in ways}
    for place, task in enumerate(drawn, start=1):
        for name, way in ways.items():
            restart_peak()
            found[name].append(with_peak(way(task)))
        progress("adapting", place, tasks)
    rows = {name: row(measured, owner, recipe.adapter) for name, measured in found.items()}
    return {
        "size": size,
        "parameters": sum(p.numel() for p in owner.module.parameters()),
        "device": _device(owner.device),
        "tasks": tasks,
        "seed": seed,
        "row_tokens": len(demonstration_sequence(drawn[0], owner).ids),
        "rows": len(silent.batches(drawn[0], RunContext(owner, seed))(0)),
        "matmul_flops": matmul_rate(owner.device),
        "ways": rows,
        "seconds": {name: [m.adapt for m in measured] for name, measured in found.items()},
        "times_faster": rows["sft-trainer"]["adapt_seconds"] / rows["autottt"]["adapt_seconds"],
    }


def words_task(number: int, seed: int) -> Task:
    """A task in words: ten demonstrations of random letters, each with a short answer."""
    rng = np.random.default_rng([seed, number])

    def text() -> str:
        return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz "), LETTERS))

    shown = tuple(Example(text(), str(rng.choice(["yes", "no"]))) for _ in range(DEMONSTRATIONS))
    return Task(f"words-{number}", shown, (text(),), ("yes",), domain="text")


def _device(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device

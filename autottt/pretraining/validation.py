"""A fixed validation set: is the last demonstration's output right, given those before it?

Teacher-forced: when every token of the output is the most likely one, greedy decoding writes it
too, so the share of such tasks is the exact match of one-view ICL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autottt.adapters.tasks.prompts import completion, prompt
from autottt.pretraining.families import FAMILIES
from autottt.pretraining.sampling import draw_task
from autottt.pretraining.splits import CALIBRATION, pretraining_families

KINDS = ("line", "grid", "text")
FIRST_SEED = 1_000_000  # far from every training seed


@dataclass
class Validation:
    """`tasks` fresh tasks of every pretraining and calibration family (never of a test family)."""

    tasks: int = 2
    demonstrations: int = 3
    max_cells: int = 700

    @torch.no_grad()
    def run(self, model: nn.Module) -> dict[str, Any]:
        """Exact match of one-view ICL by group of families, and the misses of each family."""
        seen = pretraining_families()
        by_family = {name: self._family(model, name) for name in (*seen, *CALIBRATION)}
        groups = {
            f"{name}_{kind}": [n for n in names if FAMILIES[n].kind == kind]
            for name, names in (("seen", seen), ("unseen", CALIBRATION))
            for kind in KINDS
        }
        result: dict[str, Any] = {k: _mean([by_family[n] for n in v]) for k, v in groups.items()}
        result["by_family"] = {name: round(score, 2) for name, score in by_family.items()}
        return result

    def _family(self, model: nn.Module, name: str) -> float:
        return _mean([self._right(model, name, FIRST_SEED + i) for i in range(self.tasks)])

    def _right(self, model: nn.Module, name: str, seed: int) -> float:
        task = draw_task(name, seed, demonstrations=self.demonstrations, max_cells=self.max_cells)
        assert task.targets is not None
        before = prompt(task.demonstrations, task.queries[0]).encode()
        answer = completion(task.targets[0]).encode()
        device = next(model.parameters()).device
        ids = torch.tensor([list(before + answer)], device=device)  # (1, T)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            guess = model(input_ids=ids).logits[0].argmax(-1)[len(before) - 1 : -1]  # (A,)
        return float(bytes(guess.clamp(max=255).tolist()) == answer)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / max(1, len(values)), 4)

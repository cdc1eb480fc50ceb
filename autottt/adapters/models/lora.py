"""The LoRA session: attach, train, predict, detach, and prove that the base is what it was.

Everything that can go wrong inside (an exception, a loss not finite, a deadline, Ctrl-C) leaves by
the same door: the LoRA is unloaded, the state around it put back, and the fingerprint compared. On
a mismatch the model is loaded again from its source and `RestorationError` is raised.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autottt.adapters.models.base import LoraSettings, TokenSequence, TrainRecord, TrainSettings
from autottt.adapters.models.fingerprint import Snapshot
from autottt.adapters.models.lora_layers import attach, detach
from autottt.errors import DivergenceError, RestorationError

if TYPE_CHECKING:
    from autottt.adapters.models.huggingface import HuggingFaceModel

SMOOTHING = 0.8  # of the running mean loss


class LoraSession:
    """One adaptation of one model. A context manager; not reusable."""

    def __init__(self, owner: HuggingFaceModel, settings: LoraSettings, *, seed: int) -> None:
        self._owner = owner
        self._settings = settings
        self._seed = seed
        self._snapshot: Snapshot | None = None

    def __enter__(self) -> LoraSession:
        self._owner.lock.acquire()
        try:
            self._snapshot = Snapshot.take(self._owner.module)
            attach(self._owner.module, self._settings, seed=self._seed)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def train(
        self,
        batch: Callable[[int], Sequence[TokenSequence]],
        settings: TrainSettings,
        *,
        deadline: float | None = None,
        on_step: Callable[[int, float], None] | None = None,
    ) -> TrainRecord:
        """Train the LoRA on `batch(0)`, `batch(1)`, ...; see `base.Session.train`."""
        module = self._owner.module
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        losses: list[float] = []
        tokens, running, reason = 0, math.nan, "all steps"
        module.train()
        try:
            for step in range(settings.steps):
                if deadline is not None and time.monotonic() >= deadline:
                    reason = "deadline"
                    break
                sequences = batch(step)
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * _rate(step, settings)
                loss = self._loss(sequences)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise DivergenceError(
                        f"the training loss is {value} at step {step}; lower the learning rate "
                        f"({settings.learning_rate:g})"
                    )
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(parameters, settings.clip)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(value)
                tokens += sum(len(s.ids) for s in sequences)
                running = value if step == 0 else SMOOTHING * running + (1 - SMOOTHING) * value
                if on_step is not None:
                    on_step(step + 1, value)
                if running < settings.stop_loss:
                    reason = f"loss under {settings.stop_loss:g}"
                    break
        finally:
            module.eval()
        return TrainRecord(len(losses), tokens, tuple(losses), reason)

    def _loss(self, sequences: Sequence[TokenSequence]) -> Tensor:
        ids, mask, targets = self._owner.pad(sequences)
        with self._owner.autocast():
            logits = self._owner.module(input_ids=ids, attention_mask=mask).logits  # (B, T, V)
        chosen = targets[:, 1:] >= 0
        return nn.functional.cross_entropy(
            logits[:, :-1][chosen].float(), targets[:, 1:][chosen]
        )  # over (N, V)

    def _leave(self) -> None:
        try:
            self._restore()
        finally:
            self._owner.lock.release()

    def _restore(self) -> None:
        snapshot, module = self._snapshot, self._owner.module
        if snapshot is None:
            return
        detach(module)
        snapshot.restore_state(module)
        wrong = snapshot.differences(module)
        if wrong:
            self._owner.reload()
            raise RestorationError(
                f"after adaptation the {' and '.join(wrong)} of {self._owner.name!r} differed from "
                "before; the model was loaded again from its source, and the answer is void"
            )


def _rate(step: int, settings: TrainSettings) -> float:
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))

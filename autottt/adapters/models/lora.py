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
from autottt.adapters.models.lora_layers import LoraLinear, attach, detach
from autottt.errors import DivergenceError, RestorationError

if TYPE_CHECKING:
    from autottt.adapters.models.huggingface import HuggingFaceModel

SMOOTHING = 0.8  # of the running mean loss
Batches = Callable[[int], Sequence[TokenSequence]]
_NOTHING = TokenSequence((0,), (False,))  # a row without a target, to make groups equal


class _Run:
    """One task's part of a training: its batches, its losses, and why it ended."""

    def __init__(self, place: int, batch: Batches) -> None:
        self.place, self.batch = place, batch
        self.losses: list[float] = []
        self.tokens = 0
        self.smooth = math.nan
        self.reason: str | None = None
        self.kept: list[Tensor] = []

    def note(self, loss: float, rate: float) -> None:
        """Add the loss of a step; raises `DivergenceError` if it is not finite."""
        if not math.isfinite(loss):
            raise DivergenceError(
                f"the training loss is {loss} at step {len(self.losses)}; lower the learning rate "
                f"({rate:g})"
            )
        first = not self.losses
        self.smooth = loss if first else SMOOTHING * self.smooth + (1 - SMOOTHING) * loss
        self.losses.append(loss)

    def record(self) -> TrainRecord:
        return TrainRecord(len(self.losses), self.tokens, tuple(self.losses), self.reason or "")


class LoraSession:
    """One adaptation of one model. A context manager; not reusable."""

    def __init__(
        self, owner: HuggingFaceModel, settings: LoraSettings, *, seeds: Sequence[int]
    ) -> None:
        self._owner = owner
        self._settings = settings
        self._seeds = seeds
        self._layers: list[LoraLinear] = []
        self._snapshot: Snapshot | None = None

    def __enter__(self) -> LoraSession:
        self._owner.lock.acquire()
        try:
            self._snapshot = Snapshot.take(self._owner.module)
            self._layers = attach(self._owner.module, self._settings, seeds=self._seeds)
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
        batch: Batches,
        settings: TrainSettings,
        *,
        deadline: float | None = None,
        on_step: Callable[[int, float], None] | None = None,
    ) -> TrainRecord:
        """Train the LoRA on `batch(0)`, `batch(1)`, ...; see `base.Session.train`."""
        (record,) = self.train_many([batch], settings, deadline=deadline, on_step=on_step)
        return record

    def train_many(
        self,
        batches: Sequence[Batches],
        settings: TrainSettings,
        *,
        deadline: float | None = None,
        on_step: Callable[[int, float], None] | None = None,
    ) -> list[TrainRecord]:
        """Train the LoRA of every task on its own batches, in one pass of the base a step.

        A task stops on its own and leaves the later steps. `on_step` hears of the step and of the
        mean loss of the tasks that took it. Raises `DivergenceError` on a loss that is not finite.
        """
        module = self._owner.module
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        runs = [_Run(place, batch) for place, batch in enumerate(batches)]
        module.train()
        try:
            for step in range(settings.steps):
                running = [run for run in runs if run.reason is None]
                if not running:
                    break
                if deadline is not None and time.monotonic() >= deadline:
                    self._stop(running, "deadline", parameters)
                    break
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * _rate(step, settings)
                values = self._step(running, [run.batch(step) for run in running])
                _clip(parameters, settings.clip)
                optimizer.step()
                optimizer.zero_grad()
                for run, value in zip(running, values, strict=True):
                    run.note(value, settings.learning_rate)
                if on_step is not None:
                    on_step(step + 1, sum(values) / len(values))
                low = [run for run in running if run.smooth < settings.stop_loss]
                self._stop(low, f"loss under {settings.stop_loss:g}", parameters)
            self._stop([run for run in runs if run.reason is None], "all steps", parameters)
        finally:
            module.eval()
            self.select(None)
        with torch.no_grad():
            for run in runs:
                for parameter, kept in zip(parameters, run.kept, strict=True):
                    parameter[run.place] = kept
        return [run.record() for run in runs]

    def select(self, places: Sequence[int] | None) -> None:
        """Use the LoRA of these tasks, for equal groups of rows in this order; None is all."""
        chosen = None if places is None else torch.tensor(places, device=self._owner.device)
        for layer in self._layers:
            layer.selected = chosen

    def _stop(self, runs: Sequence[_Run], reason: str, parameters: Sequence[Tensor]) -> None:
        """End some runs; later steps of others no longer matter to what they have learnt."""
        for run in runs:
            run.reason = reason
            run.kept = [p[run.place].detach().clone() for p in parameters]

    def _step(self, runs: Sequence[_Run], groups: Sequence[Sequence[TokenSequence]]) -> list[float]:
        """Gradients of the sum of the tasks' mean losses; returns the losses (nats a token)."""
        self.select([run.place for run in runs])
        rows = max(len(group) for group in groups)
        filled = [[*group, *[_NOTHING] * (rows - len(group))] for group in groups]
        ids, mask, targets = self._owner.pad([row for group in filled for row in group])
        with self._owner.autocast():
            logits = self._owner.module(input_ids=ids, attention_mask=mask).logits  # (B, T, V)
        wanted = targets[:, 1:]
        chosen = wanted >= 0
        each = nn.functional.cross_entropy(
            logits[:, :-1][chosen].float(), wanted[chosen], reduction="none"
        )  # (N,)
        owner = torch.arange(len(groups), device=ids.device).repeat_interleave(rows)
        places = owner[:, None].expand_as(wanted)[chosen]  # (N,) the task of each target
        sums = each.new_zeros(len(groups)).index_add(0, places, each)
        losses = sums / torch.bincount(places, minlength=len(groups))
        losses.sum().backward()  # type: ignore[no-untyped-call]
        for run, group in zip(runs, groups, strict=True):
            run.tokens += sum(len(s.ids) for s in group)
        return losses.detach().tolist()

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


def _clip(parameters: Sequence[Tensor], limit: float) -> None:
    """Scale the gradients of each task to a norm of at most `limit`, each task by itself."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)  # (K,)
    scale = (limit / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale[:, None, None])

"""One place's part of a training: its batches, its losses, its checks, and why it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from autottt.adapters.models.base import (
    Batches,
    Check,
    HeldOut,
    TokenSequence,
    TrainRecord,
    TrainSettings,
)
from autottt.errors import DivergenceError


class Run:
    """What a place has gone through so far, and the best weights it had."""

    def __init__(self, place: int, batch: Batches, held_out: HeldOut | None) -> None:
        self.place, self.batch, self.held_out = place, batch, held_out
        self.losses: list[float] = []
        self.checks: list[Check] = []
        self.tokens = 0
        self.smooth = math.nan
        self.reason: str | None = None
        self.best: Check | None = None
        self.best_at = 0  # the number of the check that gave it
        self.kept: list[Tensor] | None = None
        self._ahead: tuple[int, Sequence[TokenSequence]] | None = None  # a step and its rows

    def rows(self, step: int) -> Sequence[TokenSequence]:
        """What the step trains on."""
        known, self._ahead = self._ahead, None
        return known[1] if known is not None and known[0] == step else self.batch(step)

    def ahead(self, step: int) -> None:
        """Make the rows of a later step now."""
        self._ahead = step, self.batch(step)

    def note(self, loss: float, settings: TrainSettings) -> None:
        """Add the loss of a step; raises `DivergenceError` if it is not finite."""
        if not math.isfinite(loss):
            raise DivergenceError(
                f"the training loss is {loss} at step {len(self.losses)}; lower the learning rate "
                f"({settings.learning_rate:g})"
            )
        kept = settings.smoothing
        self.smooth = kept * self.smooth + (1 - kept) * loss if self.losses else loss
        self.losses.append(loss)

    def keep(self, parameters: Sequence[Tensor]) -> None:
        self.kept = [p[self.place].detach().clone() for p in parameters]

    def check(self, found: Check, parameters: Sequence[Tensor]) -> None:
        """Add a check, and keep the weights if the score is the best so far."""
        self.checks.append(found)
        score = self.score()
        if score is None:
            return
        if self.best is None or (score.exact, -score.loss) > (self.best.exact, -self.best.loss):
            self.best, self.best_at = score, len(self.checks) - 1
            self.keep(parameters)

    def score(self) -> Check | None:
        """The mean of the last turns' checks; None until each turn has come."""
        assert self.held_out is not None
        if len(self.checks) == 1:
            return self.checks[0]
        last = self.checks[1:][-self.held_out.turns :]
        if len(last) < self.held_out.turns:
            return None
        n = len(last)
        loss, exact = sum(c.loss for c in last) / n, sum(c.exact for c in last) / n
        return Check(last[-1].step, loss, exact)

    def verdict(self, settings: TrainSettings) -> str | None:
        """Why the checks say to stop, if they do."""
        score = self.score()
        if score is not None and score.exact >= settings.enough:
            return f"{score.exact:.0%} of held-out outputs exact"
        best = max(check.exact for check in self.checks)
        if len(self.checks) > settings.patience and best <= settings.hopeless:
            return f"held-out outputs at most {best:.0%} exact in {settings.patience} checks"
        return None

    def record(self) -> TrainRecord:
        return TrainRecord(
            steps=len(self.losses),
            tokens=self.tokens,
            losses=tuple(self.losses),
            stop_reason=self.reason or "",
            checks=tuple(self.checks),
            best=self.best,
        )


def rate(step: int, settings: TrainSettings) -> float:
    """The share of the learning rate at a step: linear warm-up, then a cosine to the floor."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return settings.floor + (1 - settings.floor) / 2 * (1 + math.cos(math.pi * done))

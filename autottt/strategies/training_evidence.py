"""What a training has shown, as the evidence of an attempt: losses, looks, and why it ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from autottt.adapters.models.base import TrainRecord
from autottt.strategies.base import Judge

LOOKS = 5  # at a training, every few steps, that the controller may take


def reasons(records: Sequence[TrainRecord]) -> str:
    """Why the adapters stopped, and which step was kept where that was chosen."""
    counts = Counter(record.stop_reason for record in records)
    if len(counts) == 1:
        said = records[0].stop_reason
    else:
        said = ", ".join(f"{reason} ({n} of {len(records)})" for reason, n in counts.items())
    kept = [f"{r.best.step} of {r.steps} steps" for r in records if r.best is not None]
    return "; kept ".join([said, *kept])


def losses(records: Sequence[TrainRecord]) -> dict[str, float]:
    """Mean over the adapters of the first and of the last losses, and the best held-out loss."""
    trained = [record.losses for record in records if record.losses]
    found = {}
    if trained:
        found["first_loss"] = sum(losses[0] for losses in trained) / len(trained)
        found["last_loss"] = sum(sum(losses[-5:]) / len(losses[-5:]) for losses in trained) / len(
            trained
        )
    best = [record.best for record in records if record.best is not None]
    if best:
        found["held_out_loss"] = sum(check.loss for check in best) / len(best)
        found["held_out_exact"] = sum(check.exact for check in best) / len(best)
    return found


def looks(records: Sequence[TrainRecord], every: int) -> dict[str, float]:
    """What each of the first looks saw, as `lookK_NAME` for each name of `shown`."""
    found = {}
    for look in range(1, LOOKS + 1):
        for name, value in shown(records, look, look * every).items():
            place, _, rest = name.partition("_")
            found[f"{place}{look}_{rest}" if place == "look" else name] = value
    return found


def shown(records: Sequence[TrainRecord], look: int, steps: int) -> dict[str, float]:
    """What `steps` steps show, as means over the adapters; empty where there were fewer.

    `look_loss` is the training loss (nats a token) of the last of them and `look_drop` how much it
    fell; `start_...` and `look_held_out_loss` and `..._exact` are the held-out scores before the
    first step and over the checks so far, where there are any.
    """

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    if any(len(record.losses) < steps for record in records):
        return {}
    found = {
        "look_loss": mean([record.losses[steps - 1] for record in records]),
        "look_drop": mean([record.losses[0] - record.losses[steps - 1] for record in records]),
    }
    if all(len(record.checks) > look for record in records):
        parts = ("start", slice(0, 1)), ("look", slice(1, look + 1))
        for name, part in parts:
            checks = [check for record in records for check in record.checks[part]]
            found[f"{name}_held_out_loss"] = mean([check.loss for check in checks])
            found[f"{name}_held_out_exact"] = mean([check.exact for check in checks])
    return found


class Looking:
    """Looks at a training every few steps, and what the judge makes of them."""

    def __init__(self, begin: float, steps: int, judge: Judge | None) -> None:
        """`begin` is the reading of `time.perf_counter()` from which the seconds count."""
        self._begin, self._steps, self._judge = begin, steps, judge
        self._done = 0
        self.evidence: dict[str, float] = {}  # of the last look
        self.progress: dict[str, float] = {}  # at each: seconds so far, share of the steps to come
        self.reason: str | None = None

    def __call__(self, records: Sequence[TrainRecord]) -> str | None:
        self._done += 1
        if self._done > LOOKS:
            return None
        steps = len(records[0].losses)
        progress = {"seconds": time.perf_counter() - self._begin, "left": 1 - steps / self._steps}
        self.progress |= {f"look{self._done}_{name}": of for name, of in progress.items()}
        seen = shown(records, self._done, steps) | {f"look_{k}": v for k, v in progress.items()}
        self.evidence = {"look": float(self._done), **seen}
        if self._judge is not None:
            self.reason = self._judge(self.evidence)
        return self.reason

"""Has the kind of task changed since the gate was fitted?

A two-sample Kolmogorov-Smirnov test of each feature that the gate reads: the last tasks against a
sample of those that it was fitted to. The level of look k is divided by the number of features and
by k (k + 1) (Bonferroni; the shares add up to one), so that a stream that never drifts is called
drifted with a probability of at most `LEVEL`, however long it is. That is for tasks in random
order; a stream sorted by kind begins with tasks that do not look like the reference.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence

import numpy as np

LEVEL = 0.01  # of a false alarm, over the whole stream
WINDOW = 100  # tasks that are compared, at most
EVERY = 20  # tasks between two looks
SAMPLE = 200  # values of a feature that a gate keeps


def reference(
    features: Sequence[Mapping[str, float]], names: Collection[str]
) -> dict[str, tuple[float, ...]]:
    """At most `SAMPLE` values, in order, of each of these names that tasks have a feature by."""
    found = {}
    for name in sorted(names):
        values = sorted(v for row in features if math.isfinite(v := row.get(name, math.nan)))
        if any(name in row for row in features):
            kept = np.linspace(0, len(values) - 1, min(SAMPLE, len(values))).round().astype(int)
            found[name] = tuple(values[k] for k in kept)
    return found


class DriftMonitor:
    """Hears the features of every task; says which of them no longer look like the reference."""

    def __init__(self, reference: Mapping[str, Sequence[float]]) -> None:
        self._reference = {name: list(values) for name, values in reference.items() if values}
        self._seen: deque[Mapping[str, float]] = deque(maxlen=WINDOW)
        self._heard = 0
        self._looks = 0
        self.drifted: dict[str, float] = {}  # feature -> p-value; once drifted, it stays so

    def hear(self, features: Mapping[str, float]) -> str | None:
        """Take a task in; returns what to warn of once drift is found, and from then on."""
        self._seen.append(features)
        self._heard += 1
        if self._reference and not self.drifted and self._heard % EVERY == 0:
            self._look()
        return self.warning

    @property
    def warning(self) -> str | None:
        if not self.drifted:
            return None
        named = ", ".join(f"{name} (p {p:.1g})" for name, p in self.drifted.items())
        return (
            f"the tasks no longer look like those that the gate was fitted to: {named}; any "
            "certificate is void; run `autottt calibrate` on tasks like these"
        )

    def _look(self) -> None:
        from scipy.stats import ks_2samp

        self._looks += 1
        level = LEVEL / (self._looks * (self._looks + 1)) / len(self._reference)
        for name, known in self._reference.items():
            values = [f.get(name, math.nan) for f in self._seen]
            values = [value for value in values if math.isfinite(value)]
            if len(values) >= EVERY:
                p = float(ks_2samp(values, known).pvalue)
                if p < level:
                    self.drifted[name] = p

"""What an arm costs in seconds, predicted from the size of its prompt.

Per arm a line `seconds = intercept + slope * prompt_tokens` with both terms at least zero, fitted
on the outcome log. The log's machine need not be this one: `with_speed` scales the predictions.
Deadlines do not rest on these numbers alone; training itself stops at a step boundary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from autottt.controller.outcomes import Outcome
from autottt.errors import GateError
from autottt.types import JSON

SIZE = "prompt_tokens"  # the feature that says how long the prompt and its answer are, in tokens
SPEED_RANGE = (0.05, 20.0)  # a factor outside is a hiccup of one measurement, not a machine


@dataclass(frozen=True)
class ArmCost:
    """Seconds of one arm: `intercept + slope * tokens`; `typical` tokens where none are known."""

    intercept: float
    slope: float
    typical: float


@dataclass(frozen=True)
class CostModel:
    """Predicted seconds per arm; `speed` is this machine's seconds per second of the log's."""

    arms: dict[str, ArmCost]
    speed: float = 1.0

    def predict(self, arm: str, features: Mapping[str, float]) -> float:
        """Seconds that `arm` takes on a task; raises `GateError` for an arm never measured."""
        if arm not in self.arms:
            raise GateError(
                f"the cost of {arm!r} was never measured (known: {', '.join(sorted(self.arms))}); "
                "collect outcomes of it and run `autottt fit`"
            )
        line = self.arms[arm]
        tokens = float(features.get(SIZE, math.nan))
        return self.speed * (
            line.intercept + line.slope * (tokens if math.isfinite(tokens) else line.typical)
        )

    def with_speed(self, factor: float) -> CostModel:
        """The same model for a machine that takes `factor` times the seconds of the log's."""
        if not (math.isfinite(factor) and factor > 0):
            raise ValueError(f"a speed factor is a finite number above zero, not {factor}")
        return replace(self, speed=float(factor))

    def speed_from(self, arm: str, features: Mapping[str, float], seconds: float) -> float:
        """The factor for `with_speed` that makes the prediction for `arm` the measured `seconds`.

        Kept within `SPEED_RANGE`; 1 where there is nothing to compare.
        """
        if arm not in self.arms or not seconds > 0:
            return 1.0
        predicted = replace(self, speed=1.0).predict(arm, features)
        if predicted <= 0:
            return 1.0
        low, high = SPEED_RANGE
        return min(max(float(seconds) / predicted, low), high)

    def to_json(self) -> JSON:
        return asdict(self)

    @classmethod
    def from_json(cls, value: JSON) -> CostModel:
        """Raises `KeyError`, `TypeError` or `ValueError` for what `to_json` did not write."""
        arms = {
            name: ArmCost(**{k: float(v) for k, v in line.items()})
            for name, line in value["arms"].items()
        }
        return cls(arms=arms, speed=float(value["speed"]))


def fit_cost(outcomes: Sequence[Outcome]) -> CostModel:
    """Fit one line per arm on the attempts that ended without an error."""
    points: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        for name, arm in outcome.arms.items():
            if arm.error is None:
                size = outcome.features.get(SIZE, math.nan)
                points.setdefault(name, []).append((float(size), float(arm.seconds)))
    return CostModel({name: _fit_line(points[name]) for name in sorted(points)})


def _fit_line(points: list[tuple[float, float]]) -> ArmCost:
    """Non-negative least squares; the mean alone where no size was recorded."""
    from sklearn.linear_model import LinearRegression

    sized = [(size, seconds) for size, seconds in points if math.isfinite(size)]
    if not sized:
        return ArmCost(math.fsum(seconds for _, seconds in points) / len(points), 0.0, 0.0)
    typical = math.fsum(size for size, _ in sized) / len(sized)
    unit = typical or 1.0  # both columns near 1 keep the problem well conditioned
    line = LinearRegression(positive=True, fit_intercept=False)
    line.fit([[1.0, size / unit] for size, _ in sized], [seconds for _, seconds in sized])
    intercept, slope = (float(x) for x in line.coef_)
    return ArmCost(intercept=intercept, slope=slope / unit, typical=typical)

"""What an arm costs in seconds, predicted from the size of its prompt.

Per arm a line `seconds = intercept + slope * prompt_tokens` with both terms at least zero, fitted
on the outcome log. Outcomes of another machine take the seconds of this one by `timed_as`.
Deadlines do not rest on these numbers alone; training itself stops at a step boundary.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from autottt.controller.outcomes import ArmOutcome, Outcome
from autottt.errors import GateError
from autottt.types import JSON

SIZE = "prompt_tokens"  # the feature that says how long the prompt and its answer are, in tokens


@dataclass(frozen=True)
class ArmCost:
    """Seconds of one arm: `intercept + slope * tokens`; `typical` tokens where none are known."""

    intercept: float
    slope: float
    typical: float


@dataclass(frozen=True)
class CostModel:
    """Predicted seconds per arm."""

    arms: dict[str, ArmCost]

    def predict(self, arm: str, features: Mapping[str, float]) -> float:
        """Seconds that `arm` takes on a task; raises `GateError` for an arm never measured."""
        if arm not in self.arms:
            raise GateError(
                f"the cost of {arm!r} was never measured (known: {', '.join(sorted(self.arms))}); "
                "collect outcomes of it and run `autottt fit`"
            )
        line = self.arms[arm]
        tokens = float(features.get(SIZE, math.nan))
        return line.intercept + line.slope * (tokens if math.isfinite(tokens) else line.typical)

    def to_json(self) -> JSON:
        return asdict(self)

    @classmethod
    def from_json(cls, value: JSON) -> CostModel:
        """Raises `KeyError`, `TypeError` or `ValueError` for what `to_json` did not write."""
        arms = {
            name: ArmCost(**{k: float(v) for k, v in line.items()})
            for name, line in value["arms"].items()
        }
        return cls(arms=arms)


def fit_cost(outcomes: Sequence[Outcome]) -> CostModel:
    """Fit one line per arm on the attempts that ended without an error."""
    points: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        for name, arm in outcome.arms.items():
            if arm.error is None:
                size = outcome.features.get(SIZE, math.nan)
                points.setdefault(name, []).append((float(size), arm.compared_seconds))
    return CostModel({name: _fit_line(points[name]) for name in sorted(points)})


def timed_as(outcomes: Sequence[Outcome], measured: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, with the seconds that they would take where `measured` were measured.

    All seconds of an arm, those within its evidence too, are multiplied by one factor, so that they
    add up to what `fit_cost(measured)` predicts for the same prompts. Raises `GateError` for an arm
    that was not measured there.
    """
    here = fit_cost(measured)
    needed: defaultdict[str, float] = defaultdict(float)
    spent: defaultdict[str, float] = defaultdict(float)
    for outcome in outcomes:
        for name, arm in outcome.arms.items():
            if arm.error is None:
                needed[name] += here.predict(name, outcome.features)
                spent[name] += arm.compared_seconds
    factors = {name: needed[name] / spent[name] for name in spent if spent[name]}

    def timed(name: str, arm: ArmOutcome) -> ArmOutcome:
        by = factors.get(name, 1.0)
        evidence = {k: v * by if k.endswith("_seconds") else v for k, v in arm.evidence.items()}
        return replace(arm, seconds=arm.seconds * by, evidence=evidence)

    return [replace(o, arms={n: timed(n, arm) for n, arm in o.arms.items()}) for o in outcomes]


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

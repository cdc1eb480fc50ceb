"""Learn-then-Test: how far escalation may be cut with a bound on the answers that it misses.

A task is answerable when the vote is wrong and some arm on offer is right. The controller at a
threshold runs an arm only if it expects to gain at least that much; what it misses are answerable
tasks that it answers wrongly in the end. For a risk level epsilon, thresholds are tested in rising
order from zero, always escalate, each by the exact binomial test of "misses more than epsilon", and
the last before the first that fails is taken (fixed-sequence testing: Angelopoulos et al., Learn
then Test, 2021). With probability 1 - delta over the tasks tested on, at most epsilon of the
answerable tasks like them are missed. The tasks must not be those that the gate was fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from autottt.errors import InputError
from autottt.types import JSON

CONFIDENCE = 0.9  # 1 - delta, unless another is asked for


@dataclass(frozen=True)
class RiskTable:
    """How many of the `answerable` tasks the controller missed at each threshold, rising."""

    answerable: int
    thresholds: tuple[float, ...]
    missed: tuple[int, ...]

    def threshold(self, epsilon: float, confidence: float = CONFIDENCE) -> float | None:
        """The largest threshold certified for the risk `epsilon`, or None where none is.

        Raises `InputError` for a risk or a confidence outside (0, 1).
        """
        check_level("risk", epsilon)
        check_level("confidence", confidence)
        found = None
        for threshold, missed in zip(self.thresholds, self.missed, strict=True):
            if p_value(missed, self.answerable, epsilon) > 1 - confidence:
                break
            found = threshold
        return found

    def to_json(self) -> JSON:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Sequence[float] | int]) -> RiskTable:
        """Raises `KeyError` or `TypeError` for what `to_json` did not write."""
        plain: JSON = dict(value)
        return cls(
            plain["answerable"], tuple(map(float, plain["thresholds"])), tuple(plain["missed"])
        )


def check_level(name: str, value: float) -> None:
    """Raises `InputError` outside of (0, 1): neither no risk nor certainty comes from a sample."""
    if not 0 < value < 1:
        raise InputError(f"the {name} is above 0 and below 1, not {value}")


def p_value(missed: int, tasks: int, epsilon: float) -> float:
    """P(at most so many missed of so many tasks, were the true share epsilon)."""
    from scipy.stats import binom

    return float(binom.cdf(missed, tasks, epsilon)) if tasks else 1.0

"""What the user can afford, turned into a policy: a price, a mean cost, or a level of risk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autottt.controller.certificate import CONFIDENCE, check_level
from autottt.controller.difficulty import Gate
from autottt.controller.policy import PRICE, Policy
from autottt.errors import GateError, InputError

Fallback = Literal["escalate", "answer"]


@dataclass(frozen=True)
class Budget:
    """One of: `price` (accuracy per second), `mean_seconds` a task, `risk`; without any, `PRICE`.

    `risk` is the share of the answers that training would find which may be missed, with
    probability `confidence`. Where it cannot be certified, `uncertified` says whether every arm
    that may gain is run ("escalate") or the vote answers ("answer"). Raises `InputError` for more
    than one of them and for values that mean nothing.
    """

    price: float | None = None
    mean_seconds: float | None = None
    risk: float | None = None
    confidence: float = CONFIDENCE
    uncertified: Fallback = "escalate"

    def __post_init__(self) -> None:
        named = {"price": self.price, "mean seconds": self.mean_seconds, "risk": self.risk}
        given = [name for name, value in named.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} exclude each other; give one")
        if self.mean_seconds is not None and not self.mean_seconds > 0:
            raise InputError(f"the mean seconds are above zero, not {self.mean_seconds}")
        check_level("confidence", self.confidence)
        if self.risk is not None:
            check_level("risk", self.risk)
        if self.uncertified not in ("escalate", "answer"):
            raise InputError(f"without a certificate: escalate or answer, not {self.uncertified!r}")

    def policy(self, gate: Gate | None, *, drifted: bool = False) -> tuple[Policy, str | None]:
        """The policy, and what to say where it is not what was asked for.

        Raises `GateError` for mean seconds without a gate and `InputError` for too few of them.
        """
        if self.mean_seconds is not None:
            if gate is None:
                raise GateError(
                    "mean seconds need a gate, which knows what a price buys; fit one with "
                    "`autottt calibrate`, or give a deadline"
                )
            return Policy(gate.price_for(self.mean_seconds)), None
        if self.risk is None:
            return Policy(PRICE if self.price is None else self.price), None
        why = "there is no gate"
        if gate is not None:
            why = "the gate was made without tasks to certify on"
            if gate.risk is not None:
                why = f"{gate.risk.answerable} answerable tasks to certify on do not show it"
                least = gate.risk.threshold(self.risk, self.confidence)
                if least is not None and not drifted:
                    return Policy(0.0, least=least), None
        if drifted:
            why = "the tasks have drifted"
        least = 0.0 if self.uncertified == "escalate" else 1.0
        runs = "the vote answers" if least else "every arm that may gain is run"
        if gate is None and not least:
            runs = "the default policy decides"
        return Policy(0.0, least=least), (
            f"not certified: a risk of at most {self.risk:g} with confidence "
            f"{self.confidence:g}, as {why}; {runs}"
        )

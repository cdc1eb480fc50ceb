"""One head of the gate: a calibrated probability from named features, as plain numbers.

A head is L2 logistic regression on standardised features with a sigmoid on top (see `fitting`),
which together are one linear form:

    log-odds = bias + sum_i weight_i (x_i - centre_i) / spread_i

A missing feature counts as its centre. A head without features is a constant. Evaluating one needs
no scikit-learn, and storing one no more than JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autottt.types import JSON

Pull = tuple[str, float, float]  # (name, value, pull on the log-odds)


@dataclass(frozen=True)
class Term:
    """What one feature adds to the log-odds: `weight (x - centre) / spread`."""

    weight: float
    centre: float
    spread: float

    def pull(self, value: float) -> float:
        if not math.isfinite(value):
            return 0.0
        return self.weight * (value - self.centre) / self.spread


@dataclass(frozen=True)
class Head:
    """P(event | features); a head without terms is a constant, `prior`."""

    prior: float
    bias: float = 0.0
    terms: dict[str, Term] = field(default_factory=dict)
    report: JSON = field(default_factory=dict)

    def probability(self, features: Mapping[str, float]) -> float:
        """In [0, 1]; a feature that is absent or not finite counts as its mean."""
        if not self.terms:
            return self.prior
        pulls = (term.pull(_value(features, name)) for name, term in self.terms.items())
        return _expit(self.bias + math.fsum(pulls))

    def pulls(self, features: Mapping[str, float], n: int = 4) -> tuple[Pull, ...]:
        """The `n` features that move the calibrated log-odds most, the strongest first.

        The pulls of all features add up to the log-odds less those of the average task.
        """
        found = []
        for name, term in self.terms.items():
            value = _value(features, name)
            pull = term.pull(value)
            if pull:
                found.append((name, value, pull))
        return tuple(sorted(found, key=lambda entry: (-abs(entry[2]), entry[0]))[:n])


def pooled(heads: Mapping[str, Head]) -> dict[str, Head]:
    """The heads with the mean slope of all for each feature, but those of another arm (`Y:`).

    Each keeps its level, the log-odds of its average task. A head without terms neither gives nor
    takes; where one lacks a feature its slope there is 0.
    """
    giving = {name: head for name, head in heads.items() if head.terms}
    shared: dict[str, list[Term]] = {}
    for head in giving.values():
        for feature, term in head.terms.items():
            if ":" not in feature:
                shared.setdefault(feature, []).append(term)
    found = dict(heads)
    for name, head in giving.items():
        terms = dict(head.terms)
        for feature, some in shared.items():
            own = head.terms.get(feature, some[0])
            slope = math.fsum(term.weight / term.spread for term in some) / len(giving)
            terms[feature] = replace(own, weight=slope * own.spread)
        found[name] = replace(head, terms=terms)
    return found


def _value(features: Mapping[str, float], name: str) -> float:
    return float(features.get(name, math.nan))


def _expit(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))

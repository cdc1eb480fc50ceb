"""The gate: how likely an answer is right, and how likely training makes a wrong one right.

Heads, all calibrated over task families that were left out:

    icl_right   P(icl-vote is right               | probe)
    X_fixes     P(X is right | all tried are wrong, probe, what was tried)   for a training arm X
    X_lookK     the same, at the K-th look at X   | and what its steps have shown so far
    X_right     P(X is right                      | probe and X's own evidence), after the attempt

The evidence of an attempt enters `X_right` under names that start with `after_`; that of an arm Y
tried before enters `X_fixes` and `X_lookK` under names that start with `Y:`. The gate also holds
the cost model and the fingerprint of the model that it was fitted for, and refuses others. How to
choose by these numbers is `policy`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from autottt.controller.certificate import RiskTable
from autottt.controller.cost import CostModel, fit_cost
from autottt.controller.drift import reference
from autottt.controller.gate_file import REMEDY, read_gate_file, write_gate_file
from autottt.controller.heads import Head, Pull, Term, pooled
from autottt.controller.outcomes import ICL_ARMS, ICL_VOTE, Outcome
from autottt.errors import GateError, InputError
from autottt.types import JSON

ICL_RIGHT = "icl_right"
AFTER = "after_"
LOOK = "look"  # in the evidence of a look, its number
LOOK_SECONDS = "look_seconds"  # the attempt's seconds until then
LOOK_LEFT = "look_left"  # and the share of its steps that is to come
_LOOKED = re.compile(r"look(\d+)_(.+)")  # in an attempt's evidence

# What the gate reads. With a few hundred tasks these few predict families left out better than all
# that the probe measures (grouped cross-validation on the tasks fitted to).
READ = (
    "vote_share",
    "sequence_logp",
    "loo_accuracy",
    "loo_logp",
    "loo_worst",
    "prompt_tokens",
    "same_size",
    "after_vote_share",
    "after_sequence_logp",
    "after_agrees_with_icl",
    "after_over_icl",
    "after_last_loss",
    "after_held_out_loss",
    "after_held_out_exact",
    "look_loss",
    "look_drop",
    "start_held_out_loss",
    "start_held_out_exact",
    "look_held_out_loss",
    "look_held_out_exact",
)
TRIED = (  # of an arm tried before
    "vote_share",
    "agrees_with_icl",
    "entropy",
    "mean_logp",
    "last_loss",
    "held_out_exact",
)
MOST_TRIED = 2  # other arms that are taken as tried in a row to fit on, at most


def fix_head(arm: str) -> str:
    """The head for whether `arm` is right where icl-vote is wrong."""
    return f"{arm}_fixes"


def look_head(arm: str, look: int) -> str:
    """The head for whether `arm`, at that look at its training, will be right."""
    return f"{arm}_look{look}"


def right_head(arm: str) -> str:
    """The head for whether the answer of an attempt by `arm` is right."""
    return ICL_RIGHT if arm == ICL_VOTE else f"{arm}_right"


def after(features: Mapping[str, float], evidence: Mapping[str, float]) -> dict[str, float]:
    """The probe's features joined with the evidence of an attempt, as `X_right` wants them."""
    return {**features, **{AFTER + name: value for name, value in evidence.items()}}


def looks(evidence: Mapping[str, float]) -> list[dict[str, float]]:
    """What an attempt's evidence says of each look at its training, in order, as judges hear it."""
    start = {name: value for name, value in evidence.items() if name.startswith("start_")}
    found: dict[int, dict[str, float]] = {}
    for name, value in evidence.items():
        if match := _LOOKED.fullmatch(name):
            number = int(match[1])
            found.setdefault(number, {LOOK: float(number), **start})[f"look_{match[2]}"] = value
    return [found[number] for number in sorted(found) if LOOK_SECONDS in found[number]]


def before(
    features: Mapping[str, float],
    tried: Mapping[str, Mapping[str, float]],
    arms: Sequence[str],
) -> dict[str, float]:
    """The probe's features joined with what arms tried in vain have shown, as `X_fixes` wants.

    `Y:tried` is 0 or 1 for each of `arms`, those that might have been tried before.
    """
    known = dict(features)
    for arm in arms:
        known[f"{arm}:tried"] = float(arm in tried)
        evidence = tried.get(arm, {})
        known |= {f"{arm}:{name}": evidence[name] for name in TRIED if name in evidence}
    return known


class Worth(NamedTuple):
    """What choosing among answers makes of a promised gain: `share * promised - loss`, in [0, 1].

    Where there is little to gain, another answer in hand is another chance to choose wrong.
    """

    share: float = 1.0
    loss: float = 0.0


@dataclass(frozen=True)
class Gate:
    """Fitted heads, the cost model, and the fingerprint of the model they are for.

    `prices` are `(price, mean seconds, accuracy)` of the controller on families left out, the price
    rising; `risk` is what certificates are made from; `reference` holds values of the features that
    are read, of the tasks fitted to. `worth` is, per arm, what choosing among answers makes of the
    gain it promises, when it is the first to be trained and when others were before; an arm that is
    not in it keeps all.
    """

    model: str
    heads: dict[str, Head]
    cost: CostModel
    seed: int = 0
    prices: tuple[tuple[float, float, float], ...] = ()
    risk: RiskTable | None = None
    reference: dict[str, tuple[float, ...]] = field(default_factory=dict)
    worth: dict[str, tuple[Worth, Worth]] = field(default_factory=dict)

    @property
    def report(self) -> dict[str, JSON]:
        """Per head its size, C, and its scores on families left out (see `heads.fit_head`)."""
        return {name: dict(head.report) for name, head in self.heads.items()}

    @property
    def arms(self) -> tuple[str, ...]:
        """The training arms that the gate can judge before and after an attempt."""
        names = (name.removesuffix("_fixes") for name in self.heads if name.endswith("_fixes"))
        return tuple(arm for arm in names if right_head(arm) in self.heads)

    def probability(self, head: str, features: Mapping[str, float]) -> float:
        """In [0, 1]; missing features count as their mean. Raises `GateError` for no such head."""
        return self._head(head).probability(features)

    def mends(
        self,
        arm: str,
        features: Mapping[str, float],
        tried: Mapping[str, Mapping[str, float]],
        look: Mapping[str, float] | None = None,
    ) -> float:
        """P(`arm` is right | the arms tried are wrong), with a `look` at its training."""
        head = fix_head(arm) if look is None else look_head(arm, int(look[LOOK]))
        return self.probability(head, {**before(features, tried, self.arms), **(look or {})})

    def gain(
        self,
        arm: str,
        features: Mapping[str, float],
        tried: Mapping[str, Mapping[str, float]],
        probability: float,
        look: Mapping[str, float] | None = None,
    ) -> float:
        """How much more probably the answer is right once `arm` has run, or 0; see `worth`.

        `probability` is that the answer in hand is right, which no gain can add to.
        """
        first, later = self.worth.get(arm, (Worth(), Worth()))
        own = later if set(tried) - {ICL_VOTE} else first
        promised = (1.0 - probability) * self.mends(arm, features, tried, look)
        return max(0.0, own.share * promised - own.loss)

    def price_for(self, seconds: float) -> float:
        """The lowest price at which a task takes at most so many seconds on average.

        Raises `InputError` where even the dearest price takes more, or none was ever tried.
        """
        within = [price for price, spent, _ in self.prices if spent <= seconds]
        if not self.prices:
            raise InputError(
                "the gate does not know what prices cost, as it was fitted to too few groups of "
                "tasks to leave some out; give a price instead of a mean"
            )
        if not within:
            least = min(spent for _, spent, _ in self.prices)
            raise InputError(
                f"no price keeps the mean at {seconds:g} s a task; the least that the gate knows "
                f"of is {least:.2f} s"
            )
        return min(within)

    def pulls(self, head: str, features: Mapping[str, float], n: int = 4) -> tuple[Pull, ...]:
        """The strongest `(name, value, pull on the log-odds)`, see `Head.pulls`."""
        return self._head(head).pulls(features, n)

    def save(self, path: str | Path) -> None:
        """Write the gate as data, whole or not at all."""
        heads = {
            name: {
                "prior": head.prior,
                "bias": head.bias,
                "terms": {term: asdict(value) for term, value in head.terms.items()},
                "report": head.report,
            }
            for name, head in self.heads.items()
        }
        plain = {
            "model": self.model,
            "seed": self.seed,
            "cost": self.cost.to_json(),
            "heads": heads,
            "prices": [list(point) for point in self.prices],
            "risk": None if self.risk is None else self.risk.to_json(),
            "reference": {name: list(values) for name, values in self.reference.items()},
            "worth": {name: [list(of) for of in both] for name, both in self.worth.items()},
        }
        write_gate_file(path, plain)

    def _head(self, name: str) -> Head:
        if name not in self.heads:
            raise GateError(
                f"the gate has no head {name!r} (it has {', '.join(self.heads)}); collect outcomes "
                "of that arm and run `autottt fit`"
            )
        return self.heads[name]


def load_gate(path: str | Path, *, model: str) -> Gate:
    """Load the gate of the model with that fingerprint.

    Raises `GateError` for a file that is missing or damaged, or was made for another model.
    """
    plain = read_gate_file(path)
    if plain["model"] != model:
        raise GateError(
            f"the gate file {path} was made for the model {plain['model']}, not for {model}; "
            f"{REMEDY}"
        )
    heads = {
        name: Head(
            prior=described["prior"],
            bias=described["bias"],
            terms={term: Term(**values) for term, values in described["terms"].items()},
            report=described["report"],
        )
        for name, described in plain["heads"].items()
    }
    return Gate(
        model=plain["model"],
        heads=heads,
        cost=CostModel.from_json(plain["cost"]),
        seed=plain["seed"],
        prices=tuple((point[0], point[1], point[2]) for point in plain["prices"]),
        risk=None if plain["risk"] is None else RiskTable.from_json(plain["risk"]),
        reference={name: tuple(values) for name, values in plain["reference"].items()},
        worth={name: (Worth(*one), Worth(*two)) for name, (one, two) in plain["worth"].items()},
    )


def fit_gate(
    outcomes: Sequence[Outcome],
    *,
    arms: Sequence[str] | None = None,
    read: Sequence[str] | None = None,
    seed: int = 0,
) -> Gate:
    """Fit every head and the cost model on the outcomes of one model.

    `arms` are the training arms, by default every arm of the log but plain in-context learning;
    `read` are the names that the heads read, by default all that there are.
    What the probe says of a training is fitted for each arm and averaged (`heads.pooled`): arms
    mend mostly the same tasks, and what one alone would mend could not be told from the probe (the
    reports' scores are from before). Where icl-vote is not among the arms, as feedback said nothing
    of it, it is taken as wrong by the heads of what mends it. Raises `GateError` when there is no
    outcome of icl-vote or the log mixes models.
    """
    if not any(ICL_VOTE in outcome.arms for outcome in outcomes):
        raise GateError(f"no outcome of {ICL_VOTE} to fit the gate on; run `autottt collect`")
    models = sorted({outcome.model for outcome in outcomes})
    if len(models) > 1:
        raise GateError(
            f"the outcomes are of {len(models)} models ({', '.join(models)}); a gate is for one: "
            "fit on the outcomes of one of them"
        )
    if arms is None:
        arms = sorted({arm for outcome in outcomes for arm in outcome.arms} - ICL_ARMS)
    from autottt.controller.fitting import fit_head  # scikit-learn is for fitting alone

    heads = {
        name: fit_head(rows.values, rows.labels, rows.groups, seed=seed)
        for name, rows in head_rows(outcomes, arms, read=read).items()
    }
    heads |= pooled({fix_head(arm): heads[fix_head(arm)] for arm in arms})
    known = reference([o.features for o in outcomes], {n for h in heads.values() for n in h.terms})
    return Gate(models[0], heads, fit_cost(outcomes), seed, reference=known)


@dataclass
class Rows:
    """What a head is fitted to: a row of features, a label and a group for every state."""

    values: list[dict[str, float]] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(self, values: Mapping[str, float], label: bool, group: str) -> None:
        self.values.append(dict(values))
        self.labels.append(label)
        self.groups.append(group)


def head_rows(
    outcomes: Sequence[Outcome], arms: Sequence[str], *, read: Sequence[str] | None = None
) -> dict[str, Rows]:
    """The rows of every head, by its name."""
    found = {ICL_RIGHT: Rows()}
    for outcome in outcomes:
        values = _select(outcome.features, read)
        if ICL_VOTE in outcome.arms:
            found[ICL_RIGHT].add(values, outcome.arms[ICL_VOTE].right, outcome.group)
    for arm in arms:
        others = [other for other in arms if other != arm]
        found[fix_head(arm)] = _fix_rows(outcomes, arm, others, read)
        most = max((len(looks(o.arms[arm].evidence)) for o in outcomes if arm in o.arms), default=0)
        for look in range(1, most + 1):
            rows = _fix_rows(outcomes, arm, others, read, look=look)
            found[look_head(arm, look)] = rows
        found[right_head(arm)] = _right_rows(outcomes, arm, read)
    return found


def _fix_rows(
    outcomes: Sequence[Outcome],
    arm: str,
    others: Sequence[str],
    read: Sequence[str] | None,
    *,
    look: int = 0,
) -> Rows:
    """States in which all that was tried is wrong. A failed attempt is not right either.

    A task gives a state for the vote alone, and one for every few other arms that are wrong too.
    """
    found = Rows()
    for outcome in outcomes:
        vote = outcome.arms.get(ICL_VOTE)
        if arm not in outcome.arms or (vote is not None and vote.right):
            continue
        taken = looks(outcome.arms[arm].evidence) if look else []
        shown = next((seen for seen in taken if seen[LOOK] == look), {})
        if look and not shown:
            continue
        known = {**_select(outcome.features, read), **_select(shown, read)}
        ran = {name: outcome.arms[name] for name in others if name in outcome.arms}
        wrong = [name for name, other in ran.items() if not other.right and other.error is None]
        done = outcome.arms[arm]
        for count in range(MOST_TRIED + 1):
            for some in combinations(wrong, count):
                tried = {name: ran[name].evidence for name in some}
                values = {**known, **before({}, tried, others)}
                found.add(values, done.right and done.error is None, outcome.group)
    return found


def _right_rows(outcomes: Sequence[Outcome], arm: str, read: Sequence[str] | None) -> Rows:
    """Only attempts that gave an answer are ever asked about."""
    found = Rows()
    for outcome in outcomes:
        if arm in outcome.arms and outcome.arms[arm].error is None:
            values = _select(after(outcome.features, outcome.arms[arm].evidence), read)
            found.add(values, outcome.arms[arm].right, outcome.group)
    return found


def _select(row: Mapping[str, float], read: Sequence[str] | None) -> dict[str, float]:
    return {name: value for name, value in row.items() if read is None or name in read}

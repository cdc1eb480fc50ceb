"""Replaying policies on an outcome log: every arm was run once, so any policy's result is exact.

`replay` gives, for each fixed strategy and for the controller, how many tasks it answers right and
what it costs; `fixed_and_broken` is the two-by-two table of ICL against TTT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autottt.controller.difficulty import EARLY_SECONDS, Gate, early
from autottt.controller.outcomes import ICL_ARMS, ICL_VOTE, Outcome
from autottt.controller.policy import Policy, decide, verdict
from autottt.errors import InputError

AUTO = "auto"
ORACLE = "oracle"


@dataclass(frozen=True)
class Row:
    """One policy on a log: tasks, tasks answered right, and mean measured seconds a task."""

    policy: str
    tasks: int
    right: int
    seconds: float
    trained: int  # tasks on which a LoRA was trained

    @property
    def accuracy(self) -> float:
        return self.right / self.tasks


def replay(outcomes: Sequence[Outcome], gate: Gate | None, policy: Policy) -> list[Row]:
    """A row for every strategy in the log, for the controller and for the per-task oracle.

    The controller pays for the probe and for what it trains; the oracle pays for the cheapest
    right arm (or the cheapest of all) and nothing else. Raises `InputError` for an empty log or
    one whose tasks were not all run with the same strategies.
    """
    if not outcomes:
        raise InputError("the outcome log is empty")
    arms = sorted(outcomes[0].arms)
    for outcome in outcomes:
        if sorted(outcome.arms) != arms:
            raise InputError(
                f"task {outcome.task_id!r} was run with {sorted(outcome.arms)}, others with "
                f"{arms}; "
                "run every strategy on every task"
            )
    rows = [
        _row(arm, [(o.arms[arm].right, _cost(o, [arm]), [arm]) for o in outcomes]) for arm in arms
    ]
    rows.append(_row(ORACLE, [_oracle(o) for o in outcomes]))
    rows.append(_row(AUTO, [play(o, gate, policy) for o in outcomes]))
    return rows


def fixed_and_broken(outcomes: Sequence[Outcome], arm: str = "ttt") -> dict[str, list[str]]:
    """The ids of the tasks that the vote and the arm have right: both, one of them, neither."""
    table: dict[str, list[str]] = {"both": [], "fixed": [], "broken": [], "neither": []}
    for outcome in outcomes:
        before, after = outcome.arms[ICL_VOTE].right, outcome.arms[arm].right
        kind = ("both" if after else "broken") if before else ("fixed" if after else "neither")
        table[kind].append(outcome.task_id)
    return table


Result = tuple[bool, float, list[str]]  # right, seconds, arms run


def _row(name: str, results: Sequence[Result]) -> Row:
    return Row(
        policy=name,
        tasks=len(results),
        right=sum(right for right, _, _ in results),
        seconds=sum(seconds for _, seconds, _ in results) / len(results),
        trained=sum(any(arm not in ICL_ARMS for arm in arms) for _, _, arms in results),
    )


def _cost(outcome: Outcome, arms: Sequence[str]) -> float:
    return sum(outcome.arms[arm].seconds for arm in arms)


def _oracle(outcome: Outcome) -> Result:
    def cheapness(arm: str) -> tuple[bool, float]:
        return not outcome.arms[arm].right, outcome.arms[arm].seconds

    arm = min(outcome.arms, key=cheapness)
    return outcome.arms[arm].right, _cost(outcome, [arm]), [arm]


def play(outcome: Outcome, gate: Gate | None, policy: Policy) -> Result:
    """What the controller does on a task: as the state machine would, from what was logged.

    An attempt that it ends early costs the seconds until then. A deadline is not replayed.
    """
    training = [arm for arm in outcome.arms if arm not in ICL_ARMS]
    run, seconds = [ICL_VOTE], outcome.arms[ICL_VOTE].seconds
    failed: dict[str, str] = {}
    while True:
        tried = {arm: outcome.arms[arm].evidence for arm in run if arm not in failed}
        decision = decide(
            policy, gate, outcome.features, tried=tried, arms=training, unavailable=failed
        )
        arm = decision.chosen
        if arm in run:
            return outcome.arms[arm].right, seconds, run
        run.append(arm)
        done = outcome.arms[arm]
        ended = None
        if done.error is None and EARLY_SECONDS in done.evidence:
            ended = verdict(
                policy, gate, outcome.features, tried=tried, arm=arm, early=early(done.evidence)
            )
        seconds += done.seconds if ended is None else done.evidence[EARLY_SECONDS]
        why = done.error or ended
        if why is not None:
            failed[arm] = why

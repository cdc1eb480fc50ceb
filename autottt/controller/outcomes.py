"""The outcome log: what every arm did on a task, one JSON object a line.

`append_outcome` writes, `read_outcomes` reads; the gate and the cost model are fitted from the
result. The log is append-only, and writers wait for each other. A process that dies while it writes
leaves a torn last line: readers skip it with a warning, and the next writer removes it.

The module does not know what the features mean, nor whether an answer was really right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from autottt.controller.lines import append_line, is_json
from autottt.errors import InputError
from autottt.strategies.base import COMPARING_SECONDS
from autottt.types import JSON, Attempt, Task

logger = logging.getLogger(__name__)

VERSION = 1
ICL_VOTE = "icl-vote"  # the arm that the probe always runs
ABANDONED = "abandoned"  # why an attempt ended that the controller gave up
ICL_ARMS = frozenset(  # other arms of a log train
    {"zero-shot", "icl", ICL_VOTE, "icl-experts", "icl-search", "icl-options"}
)


def task_hash(task: Task) -> str:
    """By which tasks of one id are told apart."""
    return hashlib.sha256(json.dumps(asdict(replace(task, priority=0))).encode()).hexdigest()[:16]


def asked_hash(task: Task) -> str:
    """That of what a model is asked, which is the same whether the targets are known or not."""
    return task_hash(replace(task, targets=None))


def own_seconds(attempt: Attempt) -> float:
    """What an attempt takes by itself: with a training that it reused, without comparing."""
    evidence = attempt.evidence
    trained = evidence.get("training_seconds", 0.0) if attempt.reused else 0.0
    return attempt.seconds + trained - evidence.get(COMPARING_SECONDS, 0.0)


@dataclass(frozen=True)
class ArmOutcome:
    """What one arm did: whether every query came out right, its cost, and its own evidence.

    `seconds` are those of the arm by itself, without comparing its answer with the vote's.
    """

    right: bool
    seconds: float
    tokens: int
    evidence: dict[str, float]
    error: str | None = None

    @property
    def compared_seconds(self) -> float:
        """What it takes the controller, which has its answer compared."""
        return self.seconds + self.evidence.get(COMPARING_SECONDS, 0.0)


@dataclass(frozen=True)
class Outcome:
    """One task answered by every arm.

    `group` is the task's family, which cross-validation keeps together; `model` is the model's
    fingerprint; `task` a hash of all that the task holds and `asked` of that without its targets,
    where they are known. A feature that is not finite is missing: the log holds null, and NaN is
    read.
    """

    task_id: str
    group: str
    model: str
    seed: int
    features: dict[str, float]
    arms: dict[str, ArmOutcome]
    version: int = VERSION
    task: str | None = None
    asked: str | None = None


def append_outcome(path: str | Path, outcome: Outcome) -> None:
    """Add one line and wait until it is on disk; the folder is made when it is missing.

    Raises `InputError` for an outcome that `read_outcomes` would refuse.
    """
    record = _to_json(outcome)
    _parse(record, f"the outcome of task {outcome.task_id!r}")
    append_line(path, record)


def read_outcomes(path: str | Path) -> list[Outcome]:
    """Read a log; of several lines with one (task, model, seed) the last counts.

    Raises `InputError`, with the line's number, for a file that is not an outcome log.
    """
    path = Path(path)
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(
            f"cannot read the outcome log {path}: {error.strerror}; `autottt collect` writes one"
        ) from error
    if is_json(tail):
        lines.append(tail)
    elif tail.strip():
        logger.warning("%s ends in a torn line (%d), which is skipped", path, len(lines) + 1)
    latest: dict[tuple[str, str, int], Outcome] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            outcome = _decode(line, f"{path}, line {number}")
            latest[outcome.task_id, outcome.model, outcome.seed] = outcome
    return list(latest.values())


def distinct(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Of several with one (task, model, seed), as of logs that overlap, the last.

    Raises `InputError` where two of them are of other tasks by the same name.
    """
    found: dict[tuple[str, str, int], Outcome] = {}
    for outcome in outcomes:
        key = outcome.task_id, outcome.model, outcome.seed
        before = found.setdefault(key, outcome)
        if None not in (before.task, outcome.task) and before.task != outcome.task:
            raise InputError(
                f"the logs have two tasks by the name of {outcome.task_id!r}; give one of them "
                "another id and measure it again"
            )
        found[key] = outcome
    return list(found.values())


def _to_json(outcome: Outcome) -> JSON:
    record = asdict(outcome)
    record["features"] = _finite_or_null(outcome.features)
    for name, arm in outcome.arms.items():
        record["arms"][name]["evidence"] = _finite_or_null(arm.evidence)
        record["arms"][name] |= {"seconds": float(arm.seconds), "tokens": int(arm.tokens)}
    return record


def _finite_or_null(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(x) if math.isfinite(x) else None for name, x in values.items()}


_Count = Annotated[StrictInt, Field(ge=0)]
_Values = dict[str, Annotated[float, Field(strict=True, allow_inf_nan=False)] | None]


class _ArmRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    right: StrictBool
    seconds: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    tokens: _Count
    evidence: _Values
    error: str | None = None


class _OutcomeRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task_id: str
    group: str
    model: str
    seed: StrictInt
    features: _Values
    arms: dict[str, _ArmRecord]
    version: Literal[1]
    task: str | None = None
    asked: str | None = None


def _decode(line: bytes, where: str) -> Outcome:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error}); remove the line") from error
    return _parse(value, where)


def _parse(value: object, where: str) -> Outcome:
    try:
        record = _OutcomeRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the line"
        raise InputError(
            f"{where}: not an outcome of version {VERSION}: {place}: {first['msg']}; "
            "remove the line or collect it again"
        ) from error
    arms = {
        name: ArmOutcome(arm.right, arm.seconds, arm.tokens, _or_nan(arm.evidence), arm.error)
        for name, arm in record.arms.items()
    }
    return Outcome(
        task_id=record.task_id,
        group=record.group,
        model=record.model,
        seed=record.seed,
        features=_or_nan(record.features),
        arms=arms,
        task=record.task,
        asked=record.asked,
    )


def _or_nan(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if x is None else x for name, x in values.items()}

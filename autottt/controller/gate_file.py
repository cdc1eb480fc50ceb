"""A gate on disk: one JSON object, checked when it is read. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from autottt.controller.lines import write_whole
from autottt.errors import GateError
from autottt.types import JSON

FORMAT = 6  # what prices and certificates rest on changes it too
REMEDY = "make one for this model with `autottt collect` and `autottt fit`"
LARGEST = 10 * 2**20  # bytes; a gate has a few thousand


_Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Term(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: FiniteFloat
    centre: FiniteFloat
    spread: FiniteFloat = Field(gt=0)


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prior: FiniteFloat = Field(ge=0, le=1)
    bias: FiniteFloat
    terms: dict[str, _Term]
    report: JSON


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    intercept: FiniteFloat = Field(ge=0)
    slope: FiniteFloat = Field(ge=0)
    typical: FiniteFloat = Field(ge=0)


class _Cost(BaseModel):
    model_config = ConfigDict(extra="forbid")

    arms: dict[str, _Line]


class _Risk(BaseModel):
    model_config = ConfigDict(extra="forbid")

    answerable: int = Field(ge=0)
    thresholds: list[FiniteFloat]
    missed: list[Annotated[int, Field(ge=0)]]


class _Gate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int
    model: str
    seed: int
    cost: _Cost
    heads: dict[str, _Head]
    prices: list[tuple[FiniteFloat, FiniteFloat, FiniteFloat]]
    risk: _Risk | None
    reference: dict[str, list[FiniteFloat]]
    worth: dict[str, tuple[tuple[_Share, _Share], tuple[_Share, _Share]]]
    digest: str


def write_gate_file(path: str | Path, gate: JSON) -> None:
    """Write the file whole or not at all; the folder is made when it is missing."""
    content = {"format": FORMAT, **gate}
    content["digest"] = _digest(content)
    write_whole(path, json.dumps(content, allow_nan=False, indent=1))


def read_gate_file(path: str | Path) -> JSON:
    """What `write_gate_file` took; raises `GateError` for a file that is not a whole gate."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST)
    except OSError as error:
        raise GateError(f"cannot read the gate file {path}: {error.strerror}; {REMEDY}") from error
    try:
        content = json.loads(data)
        if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
            raise damaged(path, f"format {content['format']}, not {FORMAT}")
        gate = _Gate.model_validate(content)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise damaged(path, error) from error
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise damaged(path, f"{place}: {first['msg']}" if place else first["msg"]) from error
    if content.pop("digest") != _digest(content):
        raise damaged(path, "its numbers are not those that were written")
    plain: JSON = gate.model_dump(exclude={"format", "digest"})
    return plain


def _digest(content: JSON) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def damaged(path: str | Path, why: object) -> GateError:
    """The error for a file that is truncated, altered or something else altogether."""
    return GateError(f"the gate file {path} is damaged or not a gate ({why}); {REMEDY}")

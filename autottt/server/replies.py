"""What the server says: completions, chunks of a stream, and errors, in the shapes of the protocol.

Where the protocol has no field, the field `autottt` has: the decisions, what was tried, candidates
with their probabilities, seconds, all tokens read and written, and the proof of restoration.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from autottt.errors import (
    CancelledError,
    DeadlineError,
    InputError,
    OverloadedError,
    StrategyError,
)
from autottt.serialise import from_json
from autottt.server.conversation import Reading
from autottt.server.jobs import Solved
from autottt.server.schema import UnsupportedError
from autottt.types import JSON, Answer

CLOSED_BY_CLIENT = 499
SHOWN = ("strategy", "confidence", "decisions", "attempts", "seconds", "tokens")
PROVEN = ("restored", "seed", "warnings")


@dataclass(frozen=True)
class Outcome:
    """What the answer says: the text, and all that has no place in the protocol."""

    content: str
    usage: JSON
    details: JSON


def outcome(solved: Solved, reading: Reading) -> Outcome:
    """The best candidate as text; raises `StrategyError` where no view gave an output."""
    answer = from_json(Answer, solved.answer)
    (candidates,) = answer.answers
    if not candidates:
        late = " before the deadline; allow more seconds" if answer.late else ""
        raise StrategyError(f"the model gave no output that is valid for this task{late}")
    details = {name: solved.answer[name] for name in SHOWN}
    details["answers"] = [{"output": c.output, "score": c.score} for c in candidates]
    details["attempts"] = [_attempt(attempt) for attempt in details["attempts"]]
    details["queued_seconds"] = solved.queued
    details["fingerprint"] = solved.fingerprint
    details |= {name: solved.answer[name] for name in PROVEN}
    total = solved.usage["prompt_tokens"] + solved.usage["completion_tokens"]
    usage = {**solved.usage, "total_tokens": total}
    return Outcome(reading.write(candidates[0].output), usage, details)


def _attempt(attempt: JSON) -> JSON:
    return {name: value for name, value in attempt.items() if name != "candidates"}


@dataclass(frozen=True)
class Completion:
    """One completion under way: its id, its model's name and when it was asked for."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, found: Outcome) -> JSON:
        """The body of an answer that is not streamed."""
        message = {"role": "assistant", "content": found.content, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": found.usage,
            "autottt": found.details,
        }

    def first(self) -> JSON:
        return self._chunk({"role": "assistant", "content": ""})

    def event(self, event: JSON) -> JSON:
        """A chunk that adds nothing to the answer and tells how far the work is."""
        return {**self._chunk({}), "autottt": event}

    def parts(self, found: Outcome, *, with_usage: bool) -> Iterator[JSON]:
        """The answer line by line, its end with the details, and the usage where asked for."""
        for line in found.content.splitlines(keepends=True):
            yield self._chunk({"content": line})
        yield {**self._chunk({}, finish="stop"), "autottt": found.details}
        if with_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": found.usage}

    def _chunk(self, delta: JSON, finish: str | None = None) -> JSON:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> JSON:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def status_of(error: Exception) -> int:
    """The HTTP status that an error has."""
    if isinstance(error, UnsupportedError):
        return 404 if error.code == "model_not_found" else 400
    kinds = (
        (InputError, 400),
        (StrategyError, 422),
        (OverloadedError, 429),
        (CancelledError, CLOSED_BY_CLIENT),
        (DeadlineError, 504),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), 503)


def error_body(message: str, kind: str, *, param: str | None = None, code: str = "") -> JSON:
    return {"error": {"message": message, "type": kind, "param": param, "code": code or None}}


def refusal(error: Exception) -> JSON:
    """The body of an error; what a worker died of is for the log alone."""
    kinds = {400: "invalid_request_error", 404: "invalid_request_error", 422: "no_answer"}
    kinds |= {429: "overloaded", CLOSED_BY_CLIENT: "cancelled", 504: "deadline"}
    kind = kinds.get(status_of(error))
    if kind is None:
        return error_body("the answer could not be computed; try again", "server_error")
    if isinstance(error, UnsupportedError):
        return error_body(str(error), kind, param=error.param, code=error.code)
    return error_body(str(error), kind)

"""What a request for a chat completion may hold, and how a refusal names what it may not.

Every field is checked strictly. An option of the protocol that this server cannot honour is refused
by its name, unless it is given the one value that asks for nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from autottt.errors import InputError
from autottt.server.conversation import Domain, Raw, Reading, read_turns

MAX_MESSAGES = 257  # 128 demonstrations and a query
MAX_DEMONSTRATIONS = 128
MAX_SEED = 2**32 - 1
POLICIES: dict[str, str | None] = {  # name as a model -> the strategy it forces
    "autottt": None,
    "autottt-icl": "icl-vote",
    "autottt-ttt": "ttt",
}


class UnsupportedError(InputError):
    """A request asks for what this server does not do; `param` is the field's name."""

    def __init__(self, message: str, param: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def _only(wanted: object) -> Any:
    def check(value: object) -> object:
        if value is not None and value != wanted:
            raise ValueError(f"the only value that is supported is {wanted}")
        return value

    return AfterValidator(check)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Grid = list[list[int]]


class Demonstration(_Strict):
    """A pair of the field `demonstrations`; grids, or texts."""

    input: str | Grid
    output: str | Grid


class TextPart(_Strict):
    """A part of a message's content; parts other than text are not supported."""

    type: Literal["text"]
    text: str


class Message(_Strict):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(_Strict):
    """Options of a stream."""

    include_usage: bool = False


class ChatRequest(_Strict):
    """A request; `demonstrations`, `domain` and `deadline` (seconds) are not of the protocol."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    demonstrations: Annotated[list[Demonstration], Field(max_length=MAX_DEMONSTRATIONS)] = []
    domain: Domain | None = None
    deadline: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float | None, _only(0)] = None
    n: Annotated[int | None, _only(1)] = None
    logprobs: Annotated[bool | None, _only(False)] = None

    def reading(self) -> Reading:
        """The task that is asked; raises `TaskError`."""
        turns = [(message.role, message.text) for message in self.messages]
        pairs: list[tuple[Raw, Raw]] = [(d.input, d.output) for d in self.demonstrations]
        return read_turns(turns, pairs, domain=self.domain)


def parse_request(body: bytes) -> ChatRequest:
    """The request of a body; raises `UnsupportedError` with the field that cannot be honoured."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None
    if request.model not in POLICIES:
        raise UnsupportedError(
            f"there is no model of that name; there are {', '.join(POLICIES)}",
            "model",
            "model_not_found",
        )
    return request


def _refusal(error: ValidationError) -> UnsupportedError:
    details = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(map(str, details["loc"]))
    if details["type"] == "extra_forbidden":
        return UnsupportedError(
            f"the option {param!r} is not supported; leave it out", param, "unsupported_option"
        )
    message = details["msg"].removeprefix("Value error, ")
    return UnsupportedError(f"{param or 'the body'}: {message}", param)

"""How a task becomes a prompt, as parts of which each is encoded by itself.

`Arrow` is the embedded model's own form, `Plain` is for base models, `chat.Chat` for models with a
chat template. A part is either what the format writes, in which control tokens mean what they say,
or what came with the task, in which they are ordinary text. Outputs are parts of their own, so a
label mask is exact to the token, and a prompt has the same tokens in training and in answering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, cast

from autottt.adapters.tasks.prompts import STOP, completion, value_to_text
from autottt.errors import TaskError
from autottt.types import Grid, Task, Value, domain_of

Shown = Literal["prompt", "prefix", "nowhere"]  # where the demonstrations are


@dataclass(frozen=True)
class Part:
    """A piece of a prompt. `control` says that the format wrote it, `target` that it is output."""

    text: str
    control: bool = False
    target: bool = False


Parts = list[Part]


class PromptFormat(Protocol):
    """A way to write prompts. `stop` is a text that ends an answer, empty where a token does."""

    @property
    def stop(self) -> str: ...

    @property
    def marked(self) -> bool:
        """Whether the parts say themselves where a prompt begins (with BOS, if any)."""

    def turns(self, task: Task) -> list[Parts]:
        """Each demonstration; the first with the instruction before it."""

    def ask(self, task: Task, query: Value, *, shown: Shown = "prompt") -> Parts:
        """The prompt for a query, up to where its answer begins."""

    def reply(self, task: Task, output: Value) -> Parts:
        """An answer and what ends it."""


@dataclass(frozen=True)
class Arrow:
    """`input`, a line that begins with `>`, `output`, an empty line: what the embedded model knows.

    Inputs cannot hold empty lines.
    """

    stop: str = STOP
    marked: bool = False

    def turns(self, task: Task) -> list[Parts]:
        turns = [
            [Part(self._asked(e.input)), *self.reply(task, e.output)] for e in task.demonstrations
        ]
        return _introduced(task, turns)

    def ask(self, task: Task, query: Value, *, shown: Shown = "prompt") -> Parts:
        before = _before(self, task, shown)
        return [*before, Part(self._asked(query))]

    def reply(self, task: Task, output: Value) -> Parts:
        return [Part(completion(output), target=True)]

    def _asked(self, value: Value) -> str:
        text = value_to_text(value)
        if STOP in text:
            raise TaskError(
                f"an empty line ends an example for this model, and an input has one: {text[:60]!r}"
            )
        return text + ">"


@dataclass(frozen=True)
class Plain:
    """`Input:` and `Output:` over their values, with an empty line after each pair.

    `spaced` puts spaces between the cells of a grid, for tokenizers that merge digits.
    """

    spaced: bool = False
    stop: str = STOP
    marked: bool = False

    def turns(self, task: Task) -> list[Parts]:
        turns = [
            [Part(self._asked(e.input)), *self.reply(task, e.output)] for e in task.demonstrations
        ]
        return _introduced(task, turns)

    def ask(self, task: Task, query: Value, *, shown: Shown = "prompt") -> Parts:
        before = _before(self, task, shown)
        return [*before, Part(self._asked(query))]

    def reply(self, task: Task, output: Value) -> Parts:
        return [Part(written(output, spaced=self.spaced) + STOP, target=True)]

    def _asked(self, value: Value) -> str:
        return f"Input:\n{written(value, spaced=self.spaced)}\nOutput:\n"


def written(value: Value, *, spaced: bool = False) -> str:
    """A value without a newline at its end."""
    if spaced and domain_of(value) == "grid":
        return "\n".join(" ".join(map(str, row)) for row in cast("Grid", value))
    return value_to_text(value).removesuffix("\n")


def joined(parts: Sequence[Part]) -> Parts:
    """The same parts, with neighbours of one kind made one: that is how they are encoded."""
    found: Parts = []
    for part in parts:
        last = found[-1] if found else None
        if last and (last.control, last.target) == (part.control, part.target):
            found[-1] = replace(last, text=last.text + part.text)
        elif part.text:
            found.append(part)
    return found


def _introduced(task: Task, turns: list[Parts]) -> list[Parts]:
    if not task.instruction:
        return turns
    first, *others = turns
    return [[Part(f"{task.instruction}{STOP}"), *first], *others]


def _before(form: PromptFormat, task: Task, shown: Shown) -> Parts:
    if shown == "prompt":
        return [part for turn in form.turns(task) for part in turn]
    instruction = f"{task.instruction}{STOP}"
    return [Part(instruction)] if task.instruction and shown == "nowhere" else []

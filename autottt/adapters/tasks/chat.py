"""Prompts by a model's own chat template: demonstrations are turns of user and assistant.

The template is rendered once with placeholders; what stands between them is the format's, and the
task's texts come in afterwards, so that nothing in them is read as a control token or changed by
the template. Thinking is switched off where the template knows of it. What stands before an answer
is always what the template puts where the assistant is to go on, in demonstrations too: some
templates write past turns otherwise, and a model would be trained on another prompt than asked by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from autottt.adapters.tasks.formats import Part, Parts, Shown, written
from autottt.errors import InputError
from autottt.types import Task, Value

Messages = list[dict[str, str]]
Render = Callable[[Messages], str]  # the last of them is the user's, and the assistant comes next
PLACE = "\N{BLACK QUESTION MARK ORNAMENT}{}\N{BLACK QUESTION MARK ORNAMENT}"


class Chat:
    """`render` fills in the template; `ends` are the tokens' texts that may end a turn."""

    stop = ""
    marked = True

    def __init__(self, render: Render, ends: Sequence[str], *, spaced: bool = False) -> None:
        self._render, self._spaced = render, spaced
        self._ends = sorted(ends, key=len, reverse=True)
        self._pieces = cache(self._split)
        self._system = self._knows_system()
        _, shown, after, _, _, asked = self._pieces(2, False)
        self.end = self._end_of_turn(after)
        # what past answers begin with after the prompt that asks for one, a space perhaps
        lead = shown.removeprefix(asked) if shown.startswith(asked) else ""
        if any(end in lead for end in self._ends):  # the template knows of no such prompt
            lead, asked = "", shown
        self._lead, self._asked = lead, Part(asked, control=True)

    def turns(self, task: Task) -> list[Parts]:
        pieces = self._of(task, len(task.demonstrations))
        turns = []
        for i, example in enumerate(task.demonstrations):
            begin = pieces[2 * i].text
            begin = begin if i == 0 else begin.removeprefix(self.end)
            turns.append(
                [
                    *self._opened(task, Part(begin, control=True), first=i == 0),
                    Part(written(example.input, spaced=self._spaced)),
                    self._asked,
                    *self.reply(task, example.output),
                ]
            )
        return turns

    def ask(self, task: Task, query: Value, *, shown: Shown = "prompt") -> Parts:
        n = 0 if shown == "nowhere" else len(task.demonstrations)
        pieces = self._of(task, n)
        before = [part for turn in self.turns(task) for part in turn] if shown == "prompt" else []
        begin = pieces[2 * n].text
        begin = begin if n == 0 else begin.removeprefix(self.end)
        return [
            *before,
            *self._opened(task, Part(begin, control=True), first=n == 0),
            Part(written(query, spaced=self._spaced)),
            self._asked,
        ]

    def reply(self, task: Task, output: Value) -> Parts:
        text = self._lead + written(output, spaced=self._spaced)
        return [Part(text, target=True), Part(self.end, control=True, target=True)]

    def _of(self, task: Task, n: int) -> Sequence[Part]:
        system = bool(task.instruction) and self._system
        return [Part(text, control=True) for text in self._pieces(n, system)]

    def _opened(self, task: Task, part: Part, *, first: bool) -> Parts:
        """The beginning of a turn; the first holds the instruction."""
        if not (first and task.instruction):
            return [part]
        if not self._system:
            return [part, Part(f"{task.instruction}\n\n")]
        before, after = part.text.split(PLACE.format("system"))
        return [Part(before, control=True), Part(task.instruction), Part(after, control=True)]

    def _split(self, n: int, system: bool) -> tuple[str, ...]:
        """What stands before, between and after the texts of n demonstrations and a query."""
        contents = [PLACE.format(i) for i in range(2 * n + 1)]
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
        if system:
            messages = [{"role": "system", "content": PLACE.format("system")}, *messages]
        rest, pieces = self._render(messages), []
        for place in contents:
            before, found, rest = rest.partition(place)
            if not found:
                raise InputError(
                    "the model's chat template leaves messages out; use --format plain"
                )
            pieces.append(before)
        if system and PLACE.format("system") not in pieces[0]:
            raise InputError("the model's chat template leaves the system message out")
        return (*pieces, rest)

    def _knows_system(self) -> bool:
        try:
            self._split(1, True)
        except InputError:
            return False
        return True

    def _end_of_turn(self, after: str) -> str:
        """What ends an answer: a control token, or else the line that holds one.

        Raises `InputError` where no control token is in it, as text may stand in an answer too.
        """
        stripped = after.lstrip()
        for end in self._ends:
            if stripped.startswith(end):
                return after[: len(after) - len(stripped)] + end
        line, newline, _ = after.partition("\n")
        if not any(end in line for end in self._ends):
            raise InputError(
                "the model's chat template ends turns without a control token, so that no answer "
                "would end; use --format plain"
            )
        return line + newline

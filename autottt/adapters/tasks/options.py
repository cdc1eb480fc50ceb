"""Options that the text of a question lists, each behind a letter.

    Which one comes first?
    Options:
    (A) the bus
    (B) the train

This is the form of BIG-Bench Hard; every other source is brought into it. An answer is a letter in
brackets. A view may put the options in another order, or mark them by other symbols.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autottt.errors import TaskError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SYMBOLS = (
    tuple(LETTERS),
    tuple(str(n) for n in range(1, len(LETTERS) + 1)),
    tuple(LETTERS.lower()),
)
_BLOCK = re.compile(r"^Options:\n(?P<lines>(?:\(\w{1,2}\)[^\n]*(?:\n|\Z))+)", re.MULTILINE)
_LINE = re.compile(r"\((\w{1,2})\)[ ]?([^\n]*)")
# an option that speaks of others keeps its place, and so do they
_RELATIVE = re.compile(r"\b(?:above|below|previous|following|both|neither)\b|\([A-Z]\)", re.I)


@dataclass(frozen=True)
class Options:
    """A text with options: what stands before and after them, and their own words in order."""

    before: str
    bodies: tuple[str, ...]
    after: str

    @property
    def movable(self) -> bool:
        """Whether their order means nothing."""
        return not any(_RELATIVE.search(body) for body in self.bodies)

    def text(self, symbols: Sequence[str] = SYMBOLS[0]) -> str:
        lines = (f"({mark}) {body}" for mark, body in zip(symbols, self.bodies))
        return self.before + "Options:\n" + "\n".join(lines) + self.after

    def ordered(self, order: Sequence[int]) -> Options:
        """The option that was at `order[i]` at the place i."""
        return replace(self, bodies=tuple(self.bodies[i] for i in order))


def find_options(text: str, symbols: Sequence[str] = SYMBOLS[0]) -> Options | None:
    """The options of a text, or None where it has none of those symbols.

    Raises `TaskError` where they repeat or skip a symbol.
    """
    block = _BLOCK.search(text)
    if block is None:
        return None
    found = _LINE.findall(block["lines"])
    marks, bodies = [mark for mark, _ in found], tuple(body for _, body in found)
    if marks[0] != symbols[0]:
        return None
    if marks != list(symbols[: len(marks)]):
        raise TaskError(f"options are marked (A), (B), ... in order, not {marks}")
    known = [body.strip() for body in bodies]
    twice = next((body for body in known if known.count(body) > 1), None)
    if twice is not None:
        raise TaskError(f"the option {twice!r} is listed twice; give each option once")
    end = "\n" if block["lines"].endswith("\n") else ""
    return Options(text[: block.start()], bodies, end + text[block.end() :])


def option_marks(count: int, symbols: Sequence[str] = SYMBOLS[0]) -> tuple[str, ...]:
    """How answers name that many options: `(A)`, `(B)`, ..."""
    return tuple(f"({mark})" for mark in symbols[:count])


def with_options(question: str, bodies: Sequence[str]) -> str:
    """A question with its options written below it."""
    if not 2 <= len(bodies) <= len(LETTERS):
        raise TaskError(f"a question has 2 to {len(LETTERS)} options, not {len(bodies)}")
    lines = tuple(" ".join(body.split()) for body in bodies)
    text = Options(f"{question}\n", lines, "").text()
    find_options(text)
    return text

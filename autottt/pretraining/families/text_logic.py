"""Text families on brackets and truth."""

from __future__ import annotations

from itertools import pairwise

from autottt.pretraining.families.base import Rng, TextMaker, TextPair, between, chance, text_family
from autottt.pretraining.families.text_tools import (
    LETTERS,
    counts,
    pick,
    some,
    verdict,
)

BRACKETS = ("()", "[]", "{}", "<>")


def _open_and_close(rng: Rng, kinds: list[str], steps: int) -> tuple[str, str]:
    """A well-formed beginning of a bracket sequence, and what closes it."""
    shown, waiting = "", ""
    for _ in range(steps):
        if waiting and chance(rng, 0.4):
            shown, waiting = shown + waiting[-1], waiting[:-1]
        else:
            kind = pick(rng, kinds)
            shown, waiting = shown + kind[0], waiting + kind[1]
    return shown, waiting[::-1]


@text_family("brackets")
def text_close_brackets(rng: Rng) -> TextMaker:
    """The brackets that are still open are closed in the right order."""
    kinds, gap, steps = (
        some(rng, BRACKETS, between(rng, 1, 4)),
        pick(rng, ("", " ")),
        counts(rng, 3, 12),
    )

    def pair() -> TextPair | None:
        shown, closing = _open_and_close(rng, kinds, steps())
        return (gap.join(shown), gap.join(closing)) if closing else None

    return pair


@text_family("brackets")
def text_balanced(rng: Rng) -> TextMaker:
    """Whether every bracket is closed, in the right order."""
    kinds, say, steps = some(rng, BRACKETS, between(rng, 1, 3)), verdict(rng), counts(rng, 2, 8)

    def pair() -> TextPair | None:
        shown, closing = _open_and_close(rng, kinds, steps())
        right = chance(rng, 0.5)
        whole = shown + closing
        if not right:
            place = between(rng, 0, len(whole) - 1)
            other = pick(rng, "".join(kinds))
            if other == whole[place]:
                return None
            whole = whole[:place] + other + whole[place + 1 :]
        return whole, say(right)

    return pair


@text_family("brackets")
def text_bracket_depth(rng: Rng) -> TextMaker:
    """The number of brackets still open at the end, or the largest number open at once."""
    kinds, deepest = some(rng, BRACKETS, between(rng, 1, 2)), chance(rng, 0.5)

    def pair() -> TextPair | None:
        shown, closing = _open_and_close(rng, kinds, between(rng, 2, 10))
        opening = "".join(k[0] for k in kinds)
        depth, most = 0, 0
        for c in shown:
            depth += 1 if c in opening else -1
            most = max(most, depth)
        return shown, str(most if deepest else len(closing))

    return pair


def _expression(rng: Rng, names: tuple[str, str], depth: int) -> tuple[str, bool]:
    """A boolean expression over `names` for true and false, and its value."""
    if depth == 0 or chance(rng, 0.15):
        value = chance(rng, 0.5)
        return names[0] if value else names[1], value
    kind = between(rng, 0, 3)
    if kind == 0:
        inner, value = _expression(rng, names, depth - 1)
        return f"not {inner}" if " " not in inner else f"not ( {inner} )", not value
    left, a = _expression(rng, names, depth - 1)
    right, b = _expression(rng, names, depth - 1)
    left, right = (f"( {part} )" if " " in part else part for part in (left, right))
    return (f"{left} and {right}", a and b) if kind == 1 else (f"{left} or {right}", a or b)


@text_family("truth")
def text_boolean(rng: Rng) -> TextMaker:
    """The value of an expression of and, or, not and brackets."""
    names = (("True", "False"), ("true", "false"), ("T", "F"), ("1", "0"))[between(rng, 0, 3)]
    depth = between(rng, 1, 3)

    def pair() -> TextPair | None:
        shown, value = _expression(rng, names, depth)
        return (shown, names[0] if value else names[1]) if " " in shown else None

    return pair


@text_family("truth")
def text_compare(rng: Rng) -> TextMaker:
    """Whether one comparison of numbers, or two joined by and/or, hold."""
    say, top, joined = verdict(rng), pick(rng, ("9", "20", "99")), chance(rng, 0.4)

    def one() -> tuple[str, bool]:
        a, b, less = between(rng, 0, int(top)), between(rng, 0, int(top)), chance(rng, 0.5)
        return f"{a} {'<' if less else '>'} {b}", a < b if less else a > b

    def pair() -> TextPair | None:
        shown, value = one()
        if joined:
            other, second = one()
            both = chance(rng, 0.5)
            shown = f"{shown} {'and' if both else 'or'} {other}"
            value = (value and second) if both else (value or second)
        return shown, say(value)

    return pair


@text_family("truth")
def text_liar(rng: Rng) -> TextMaker:
    """Each person says whether the one before lies; the first one's honesty settles the last's."""
    say, people = verdict(rng), counts(rng, 2, 4)

    def pair() -> TextPair | None:
        names = some(rng, LETTERS.upper(), people())
        honest = chance(rng, 0.5)
        parts = [f"{names[0]} {'honest' if honest else 'lies'}"]
        for before, after in pairwise(names):
            says_lies = chance(rng, 0.5)
            parts.append(f"{after} says {before} {'lies' if says_lies else 'honest'}")
            honest = honest != says_lies
        return "; ".join(parts), say(honest)

    return pair

"""Text families on what happens to things step by step, and on sets of them."""

from __future__ import annotations

from itertools import pairwise

from autottt.pretraining.families.base import Rng, TextMaker, TextPair, between, chance, text_family
from autottt.pretraining.families.text_tools import (
    LETTERS,
    counts,
    letters,
    pick,
    separator,
    some,
    verdict,
    words,
)

OPPOSITE = {"N": "S", "E": "W", "S": "N", "W": "E"}


@text_family("tracking")
def text_swap_places(rng: Rng) -> TextMaker:
    """Things in a row change places by a list of swaps; the row at the end is the output."""
    count, swaps = between(rng, 3, 5), counts(rng, 1, 4)

    def pair() -> TextPair | None:
        row = some(rng, LETTERS, count)
        told, end = [], row.copy()
        for _ in range(swaps()):
            i, j = (int(k) for k in rng.permutation(count)[:2])
            told.append(f"{i + 1}{j + 1}")
            end[i], end[j] = end[j], end[i]
        return f"{''.join(row)}: {' '.join(told)}", "".join(end)

    return pair


@text_family("tracking")
def text_who_holds(rng: Rng) -> TextMaker:
    """People swap what they hold; the output is what the one asked for holds at the end."""
    people, swaps = between(rng, 2, 4), counts(rng, 1, 4)

    def pair() -> TextPair | None:
        names, things = some(rng, LETTERS.upper(), people), words(rng, people, 3, 4)
        holds = dict(zip(names, things))
        told = [f"{n} has {t}" for n, t in holds.items()]
        for _ in range(swaps()):
            a, b = some(rng, names, 2)
            told.append(f"{a} swaps {b}")
            holds[a], holds[b] = holds[b], holds[a]
        asked = pick(rng, names)
        return "; ".join(told) + f"; {asked}?", holds[asked]

    return pair


@text_family("tracking")
def text_walk(rng: Rng) -> TextMaker:
    """Steps to the left and right along numbered places; the output is where the walk ends."""
    signs = pick(rng, ("LR", "<>", "-+", "ba"))
    left, right = signs[0], signs[1]

    def pair() -> TextPair | None:
        start, path = between(rng, 3, 9), letters(rng, 2, 7, (left, right))
        end = start + path.count(right) - path.count(left)
        return (f"{start} {path}", str(end)) if end >= 0 else None

    return pair


@text_family("tracking")
def text_returns_home(rng: Rng) -> TextMaker:
    """Whether a walk north, south, east and west ends where it began."""
    say, length = verdict(rng), between(rng, 1, 4)

    def pair() -> TextPair | None:
        there = letters(rng, 1, length, "NESW")
        back = [OPPOSITE[c] for c in there]
        path = [*there, *back]
        path = [path[int(i)] for i in rng.permutation(len(path))]
        if chance(rng, 0.5):
            path[between(rng, 0, len(path) - 1)] = pick(rng, "NESW")
        home = path.count("N") == path.count("S") and path.count("E") == path.count("W")
        return "".join(path), say(home)

    return pair


@text_family("tracking")
def text_stack(rng: Rng) -> TextMaker:
    """Letters are pushed and a sign pops the last one; the output is what is left, or its top."""
    pop, whole = pick(rng, "-#<"), chance(rng, 0.6)

    def pair() -> TextPair | None:
        shown, stack = "", ""
        for _ in range(between(rng, 3, 9)):
            if stack and chance(rng, 0.35):
                shown, stack = shown + pop, stack[:-1]
            else:
                new = pick(rng, "abcdefgh")
                shown, stack = shown + new, stack + new
        return (shown, stack if whole else stack[-1]) if stack and pop in shown else None

    return pair


@text_family("tracking")
def text_look_up(rng: Rng) -> TextMaker:
    """The input lists names with values and asks for one of them."""
    count, equals = counts(rng, 2, 5), pick(rng, "=:")

    def pair() -> TextPair | None:
        names = some(rng, LETTERS, count())
        values = [str(between(rng, 0, 99)) for _ in names]
        asked = between(rng, 0, len(names) - 1)
        listed = " ".join(f"{n}{equals}{v}" for n, v in zip(names, values))
        return f"{listed} {names[asked]}?", values[asked]

    return pair


@text_family("tracking")
def text_follow_chain(rng: Rng) -> TextMaker:
    """Each name points to another or to a number; the output is where the asked one leads."""
    length = counts(rng, 1, 3)

    def pair() -> TextPair | None:
        names = some(rng, LETTERS, length() + 2)
        value, other = str(between(rng, 0, 9)), str(between(rng, 0, 9))
        *chain, stray = names
        facts = [f"{a}={b}" for a, b in zip(chain, [*chain[1:], value])] + [f"{stray}={other}"]
        return " ".join(some(rng, facts, len(facts))) + f" {chain[0]}?", value

    return pair


@text_family("tracking")
def text_who_is_first(rng: Rng) -> TextMaker:
    """Comparisons put people in an order; the output is the first (or the last) of them."""
    count, sign, last = counts(rng, 3, 4), pick(rng, ("<", "before")), chance(rng, 0.4)

    def pair() -> TextPair | None:
        names = some(rng, LETTERS.upper(), count())
        facts = [f"{a} {sign} {b}" for a, b in pairwise(names)]
        return "; ".join(some(rng, facts, len(facts))), names[-1 if last else 0]

    return pair


@text_family("sets")
def text_set_operation(rng: Rng) -> TextMaker:
    """Two sets of letters give what is in both, in either, or in the first alone."""
    kind, bar = between(rng, 0, 2), pick(rng, ("|", " "))

    def pair() -> TextPair | None:
        pool = some(rng, LETTERS, 6)
        one, two = (
            sorted(some(rng, pool, between(rng, 2, 4))),
            sorted(some(rng, pool, between(rng, 2, 4))),
        )
        made = sorted((set(one) & set(two), set(one) | set(two), set(one) - set(two))[kind])
        return (f"{''.join(one)}{bar}{''.join(two)}", "".join(made)) if made else None

    return pair


@text_family("sets")
def text_distinct(rng: Rng) -> TextMaker:
    """Of equal items only the first stays, or only items that occur once stay."""
    gap, alone = pick(rng, ("", " ")), chance(rng, 0.4)

    def pair() -> TextPair | None:
        row = letters(rng, 4, 9, "abcdefg")
        kept = [c for i, c in enumerate(row) if (row.count(c) == 1 if alone else c not in row[:i])]
        return (gap.join(row), gap.join(kept)) if 0 < len(kept) < len(row) else None

    return pair


@text_family("sets")
def text_missing_item(rng: Rng) -> TextMaker:
    """Two lists hold the same items but for one; that one is the output."""
    gap = separator(rng)

    def pair() -> TextPair | None:
        row = some(rng, LETTERS, between(rng, 3, 6))
        rest = some(rng, row, len(row) - 1)
        missing = next(c for c in row if c not in rest)
        return f"{gap.join(row)} | {gap.join(rest)}", missing

    return pair


@text_family("sets")
def text_is_member(rng: Rng) -> TextMaker:
    """Whether the item before the colon is in the list after it."""
    say, gap = verdict(rng), separator(rng)

    def pair() -> TextPair | None:
        row = some(rng, LETTERS, between(rng, 3, 6))
        asked = pick(rng, row) if chance(rng, 0.5) else pick(rng, LETTERS)
        return f"{asked}: {gap.join(row)}", say(asked in row)

    return pair


@text_family("sets")
def text_commonest(rng: Rng) -> TextMaker:
    """The item that occurs most often is the output."""
    alphabet, gap = some(rng, LETTERS, 4), pick(rng, ("", " "))

    def pair() -> TextPair | None:
        row = letters(rng, 5, 9, alphabet)
        first, second = sorted((row.count(c) for c in alphabet), reverse=True)[:2]
        return (gap.join(row), max(alphabet, key=row.count)) if first > second else None

    return pair


@text_family("sets")
def text_zip(rng: Rng) -> TextMaker:
    """Two lists are paired item by item, written with a fixed sign between."""
    sign = pick(rng, "-=:")

    def pair() -> TextPair | None:
        n = between(rng, 2, 4)
        one, two = some(rng, LETTERS, n), [str(between(rng, 0, 9)) for _ in range(n)]
        pairs = " ".join(f"{a}{sign}{b}" for a, b in zip(one, two))
        return f"{' '.join(one)} | {' '.join(two)}", pairs

    return pair

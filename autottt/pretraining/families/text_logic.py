"""Text families on brackets, truth, numbers and what happens to things step by step."""

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
    """Each person says whether the next one lies; the first one's honesty settles the last's."""
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


@text_family("numbers")
def text_add(rng: Rng) -> TextMaker:
    """The value of a sum or difference of small numbers."""
    top, terms, spaced = pick(rng, ("9", "9", "20", "50")), between(rng, 2, 3), chance(rng, 0.5)
    signs = pick(rng, ("+", "+-", "-"))

    def pair() -> TextPair | None:
        value = between(rng, 0, int(top))
        shown = str(value)
        for _ in range(terms - 1):
            sign, term = pick(rng, signs), between(rng, 0, int(top))
            shown += f" {sign} {term}" if spaced else f"{sign}{term}"
            value += term if sign == "+" else -term
        return shown, str(value)

    return pair


@text_family("numbers")
def text_hidden_operation(rng: Rng) -> TextMaker:
    """Two numbers are combined by one operation that only the examples tell."""
    kind, top = between(rng, 0, 5), between(rng, 9, 20)

    def pair() -> TextPair | None:
        a, b = between(rng, 1, top), between(rng, 1, top)
        value = (a + b, abs(a - b), max(a, b), min(a, b), (a + b) % 10, 2 * a + b)[kind]
        return f"{a} {b}", str(value)

    return pair


@text_family("numbers")
def text_multiply(rng: Rng) -> TextMaker:
    """The product of two small numbers, sometimes with a number added."""
    plus = between(rng, 1, 9) if chance(rng, 0.4) else 0

    def pair() -> TextPair | None:
        a, b = between(rng, 0, 9), between(rng, 0, 9)
        return (f"{a}*{b}+{plus}" if plus else f"{a}*{b}"), str(a * b + plus)

    return pair


@text_family("numbers")
def text_next_number(rng: Rng) -> TextMaker:
    """A sequence that grows by a step of its own is continued by one or two numbers."""
    gap, more, falling = separator(rng), between(rng, 1, 2), chance(rng, 0.3)

    def pair() -> TextPair | None:
        first, step = between(rng, 0, 9), between(rng, 1, 6)
        row = [str(first + step * i) for i in range(4 + more)]
        row = row[::-1] if falling else row
        return gap.join(row[:4]), gap.join(row[4:])

    return pair


@text_family("numbers")
def text_largest_number(rng: Rng) -> TextMaker:
    """The largest (or the smallest) number of a list."""
    gap, choose, top = separator(rng), max if chance(rng, 0.5) else min, between(rng, 9, 99)

    def pair() -> TextPair | None:
        row = [between(rng, 0, top) for _ in range(between(rng, 2, 6))]
        return gap.join(map(str, row)), str(choose(row))

    return pair


@text_family("numbers")
def text_sort_numbers(rng: Rng) -> TextMaker:
    """Numbers are put in order, the smallest (or the largest) first."""
    gap, backwards, top, count = (
        separator(rng),
        chance(rng, 0.4),
        between(rng, 9, 99),
        counts(rng, 2, 6),
    )

    def pair() -> TextPair | None:
        row = [between(rng, 0, top) for _ in range(count())]
        ordered = sorted(row, reverse=backwards)
        return gap.join(map(str, row)), gap.join(map(str, ordered))

    return pair


@text_family("numbers")
def text_filter_numbers(rng: Rng) -> TextMaker:
    """Only the even (or odd, or larger than a fixed bound) numbers of a list stay."""
    gap, kind, bound = separator(rng), between(rng, 0, 2), between(rng, 4, 15)

    def pair() -> TextPair | None:
        row = [between(rng, 0, 20) for _ in range(between(rng, 3, 6))]
        kept = [n for n in row if (n % 2 == 0, n % 2 == 1, n > bound)[kind]]
        if not 0 < len(kept) < len(row):
            return None
        return gap.join(map(str, row)), gap.join(map(str, kept))

    return pair


@text_family("numbers")
def text_shift_numbers(rng: Rng) -> TextMaker:
    """A fixed number is added to each number of a list."""
    gap, by = separator(rng), between(rng, 1, 9)

    def pair() -> TextPair | None:
        row = [between(rng, 0, 20) for _ in range(between(rng, 2, 5))]
        return gap.join(map(str, row)), gap.join(str(n + by) for n in row)

    return pair


@text_family("numbers")
def text_running_sum(rng: Rng) -> TextMaker:
    """Each digit becomes the sum of the digits up to it, in full or its last digit only."""
    last_digit = chance(rng, 0.5)

    def pair() -> TextPair | None:
        row, total, sums = [between(rng, 0, 5) for _ in range(between(rng, 3, 6))], 0, []
        for n in row:
            total += n
            sums.append(str(total % 10 if last_digit else total))
        return " ".join(map(str, row)), " ".join(sums)

    return pair


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

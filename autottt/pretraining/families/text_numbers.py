"""Text families on numbers and sequences of them."""

from __future__ import annotations

from autottt.pretraining.families.base import Rng, TextMaker, TextPair, between, chance, text_family
from autottt.pretraining.families.text_tools import (
    counts,
    pick,
    separator,
)


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

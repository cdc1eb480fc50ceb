"""What the text families share: letters, made-up words, and ways to write them.

Words are built from random syllables, so no vocabulary is learnt by heart and none is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autottt.pretraining.families.base import Rng, between, chance

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CONSONANTS = "bcdfghjklmnprstvwz"
VOWELS = "aeiou"
ANSWERS = (("yes", "no"), ("true", "false"), ("True", "False"), ("T", "F"), ("1", "0"))


def pick(rng: Rng, items: Sequence[str]) -> str:
    """One item at random."""
    return items[int(rng.integers(len(items)))]


def some(rng: Rng, items: Sequence[str], n: int) -> list[str]:
    """`n` distinct items in random order."""
    return [items[int(i)] for i in rng.permutation(len(items))[:n]]


def word(rng: Rng, low: int = 3, high: int = 7) -> str:
    """A made-up lower-case word of `low` to `high` letters that can be spoken."""
    length, vowel = between(rng, low, high), chance(rng, 0.3)
    made = ""
    for _ in range(length):
        made += pick(rng, VOWELS if vowel else CONSONANTS)
        vowel = not vowel if chance(rng, 0.85) else vowel
    return made


def words(rng: Rng, n: int, low: int = 3, high: int = 7) -> list[str]:
    """`n` distinct made-up words."""
    made: list[str] = []
    while len(made) < n:
        new = word(rng, low, high)
        if new not in made:
            made.append(new)
    return made


def letters(rng: Rng, low: int, high: int, alphabet: Sequence[str] = LETTERS) -> str:
    """A string of random letters of the alphabet."""
    return "".join(pick(rng, alphabet) for _ in range(between(rng, low, high)))


def counts(rng: Rng, low: int, high: int) -> Callable[[], int]:
    """How many parts the inputs of one task have: one number in half of the tasks, else varied."""
    base = between(rng, low, high)
    if chance(rng, 0.5):
        return lambda: base
    return lambda: between(rng, max(low, base - 1), min(high, base + 2))


def separator(rng: Rng) -> str:
    """What stands between the parts of a list in one task."""
    return pick(rng, (" ", " ", ",", ", ", "-"))


def verdict(rng: Rng) -> Callable[[bool], str]:
    """How one task writes that something is so or not."""
    so, not_so = ANSWERS[int(rng.integers(len(ANSWERS)))]
    return lambda value: so if value else not_so

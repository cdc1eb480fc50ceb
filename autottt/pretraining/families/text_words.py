"""Text families on words: sorting, selecting, editing and spelling."""

from __future__ import annotations

from autottt.pretraining.families.base import Rng, TextMaker, TextPair, between, chance, text_family
from autottt.pretraining.families.text_tools import (
    LETTERS,
    VOWELS,
    counts,
    letters,
    pick,
    separator,
    some,
    verdict,
    word,
    words,
)


@text_family("words")
def text_sort_words(rng: Rng) -> TextMaker:
    """Words are put in alphabetical order, or in the reverse of it."""
    count, gap, backwards = counts(rng, 2, 7), separator(rng), chance(rng, 0.25)

    def pair() -> TextPair | None:
        listed = words(rng, count())
        return gap.join(listed), gap.join(sorted(listed, reverse=backwards))

    return pair


@text_family("words")
def text_sort_by_length(rng: Rng) -> TextMaker:
    """Words of different lengths are put in order of length."""
    count, gap, backwards = counts(rng, 2, 5), separator(rng), chance(rng, 0.5)

    def pair() -> TextPair | None:
        lengths = [2 + int(i) for i in rng.permutation(7)[: count()]]
        listed = [word(rng, n, n) for n in lengths]
        return gap.join(listed), gap.join(sorted(listed, key=len, reverse=backwards))

    return pair


@text_family("words")
def text_sort_letters(rng: Rng) -> TextMaker:
    """The letters of a word are put in alphabetical order."""
    length, backwards = between(rng, 4, 9), chance(rng, 0.3)

    def pair() -> TextPair | None:
        shown = letters(rng, max(3, length - 2), length)
        return shown, "".join(sorted(shown, reverse=backwards))

    return pair


@text_family("words")
def text_sort_by_last_letter(rng: Rng) -> TextMaker:
    """Words are put in alphabetical order of their last letters, which all differ."""
    count, gap = counts(rng, 2, 5), separator(rng)

    def pair() -> TextPair | None:
        ends = some(rng, LETTERS, count())
        listed = [word(rng, 2, 5) + end for end in ends]
        return gap.join(listed), gap.join(sorted(listed, key=lambda w: w[-1]))

    return pair


@text_family("words")
def text_reverse_word(rng: Rng) -> TextMaker:
    """The word is written backwards."""
    length = between(rng, 3, 10)

    def pair() -> TextPair | None:
        shown = word(rng, max(2, length - 2), length)
        return shown, shown[::-1]

    return pair


@text_family("words")
def text_reverse_order(rng: Rng) -> TextMaker:
    """The words come in reverse order, each as it was."""
    count, gap = counts(rng, 2, 6), separator(rng)

    def pair() -> TextPair | None:
        listed = words(rng, count(), 2, 6)
        return gap.join(listed), gap.join(listed[::-1])

    return pair


@text_family("words")
def text_nth_word(rng: Rng) -> TextMaker:
    """The word at a fixed place, from the left or the right, is the output."""
    place, gap = between(rng, -3, 2), separator(rng)

    def pair() -> TextPair | None:
        listed = words(rng, between(rng, 3, 6), 2, 6)
        return gap.join(listed), listed[place]

    return pair


@text_family("words")
def text_first_letters(rng: Rng) -> TextMaker:
    """The first letters of the words make a new word, in capitals or not."""
    count, capitals = counts(rng, 2, 6), chance(rng, 0.5)

    def pair() -> TextPair | None:
        listed = words(rng, count(), 2, 6)
        made = "".join(w[0] for w in listed)
        return " ".join(listed), made.upper() if capitals else made

    return pair


@text_family("words")
def text_last_letters(rng: Rng) -> TextMaker:
    """The last letters of the words are written one after another."""
    count, gap = counts(rng, 2, 6), pick(rng, ("", " "))

    def pair() -> TextPair | None:
        listed = words(rng, count(), 2, 6)
        return " ".join(listed), gap.join(w[-1] for w in listed)

    return pair


@text_family("words")
def text_words_with_letter(rng: Rng) -> TextMaker:
    """Only the words that hold (or that begin with) a fixed letter stay."""
    wanted, gap, first = pick(rng, "aeiourstn"), separator(rng), chance(rng, 0.5)

    def pair() -> TextPair | None:
        listed = words(rng, between(rng, 3, 6), 3, 6)
        for place in rng.permutation(len(listed))[: between(rng, 1, 2)]:
            if first:
                listed[place] = wanted + listed[place][1:]
        kept = [w for w in listed if (w[0] == wanted if first else wanted in w)]
        return (gap.join(listed), gap.join(kept)) if 0 < len(kept) < len(listed) else None

    return pair


@text_family("words")
def text_words_of_length(rng: Rng) -> TextMaker:
    """Only the words of a fixed length (or only the longer ones) stay."""
    length, gap, longer = between(rng, 3, 5), separator(rng), chance(rng, 0.4)

    def pair() -> TextPair | None:
        listed = words(rng, between(rng, 3, 6), 2, 7)
        kept = [w for w in listed if (len(w) > length if longer else len(w) == length)]
        return (gap.join(listed), gap.join(kept)) if 0 < len(kept) < len(listed) else None

    return pair


@text_family("words")
def text_longest_word(rng: Rng) -> TextMaker:
    """The longest (or the shortest) word is the output."""
    gap, choose = separator(rng), max if chance(rng, 0.6) else min

    def pair() -> TextPair | None:
        lengths = [2 + int(i) for i in rng.permutation(7)[: between(rng, 2, 5)]]
        listed = [word(rng, n, n) for n in lengths]
        return gap.join(listed), choose(listed, key=len)

    return pair


@text_family("words")
def text_first_in_alphabet(rng: Rng) -> TextMaker:
    """The word that comes first (or last) in the alphabet is the output."""
    gap, choose = separator(rng), min if chance(rng, 0.5) else max

    def pair() -> TextPair | None:
        listed = words(rng, between(rng, 2, 5), 2, 6)
        return gap.join(listed), choose(listed)

    return pair


@text_family("words")
def text_replace_letter(rng: Rng) -> TextMaker:
    """A fixed letter is replaced by another one wherever it stands."""
    old, new = some(rng, "aeiorstln", 2)

    def pair() -> TextPair | None:
        shown = " ".join(words(rng, between(rng, 1, 3), 4, 8))
        return (shown, shown.replace(old, new)) if old in shown else None

    return pair


@text_family("words")
def text_drop_letters(rng: Rng) -> TextMaker:
    """All vowels, or all other letters, or one fixed letter, are left out."""
    dropped = pick(
        rng, (VOWELS, "".join(c for c in LETTERS if c not in VOWELS), pick(rng, "aeion"))
    )

    def pair() -> TextPair | None:
        shown = word(rng, 4, 9)
        left = "".join(c for c in shown if c not in dropped)
        return (shown, left) if 0 < len(left) < len(shown) else None

    return pair


@text_family("words")
def text_double_letters(rng: Rng) -> TextMaker:
    """Every letter, or every vowel, is written twice."""
    only_vowels = chance(rng, 0.5)

    def pair() -> TextPair | None:
        shown = word(rng, 3, 7)
        return shown, "".join(c + c if c in VOWELS or not only_vowels else c for c in shown)

    return pair


@text_family("words")
def text_capitals(rng: Rng) -> TextMaker:
    """Each word's first (or last) letter, or every second word, is written in capitals."""
    kind = between(rng, 0, 2)

    def pair() -> TextPair | None:
        listed = words(rng, between(rng, 2, 4), 3, 6)
        if kind == 2:
            shown = [w.upper() if i % 2 else w for i, w in enumerate(listed)]
        else:
            shown = [w[0].upper() + w[1:] if kind else w[:-1] + w[-1].upper() for w in listed]
        return " ".join(listed), " ".join(shown)

    return pair


@text_family("words")
def text_shift_letters(rng: Rng) -> TextMaker:
    """Every letter is replaced by the one a fixed number of places on in the alphabet."""
    by = pick(rng, ("1", "1", "2", "25", "3"))

    def pair() -> TextPair | None:
        shown = word(rng, 3, 7)
        return shown, "".join(LETTERS[(LETTERS.index(c) + int(by)) % 26] for c in shown)

    return pair


@text_family("words")
def text_letter_code(rng: Rng) -> TextMaker:
    """A few letters are rewritten by a fixed table."""
    alphabet = some(rng, LETTERS, between(rng, 3, 5))
    table = dict(zip(alphabet, some(rng, LETTERS + "0123456789", len(alphabet))))

    def pair() -> TextPair | None:
        shown = letters(rng, 4, 9, alphabet)
        return shown, "".join(table[c] for c in shown)

    return pair


@text_family("words")
def text_rotate_word(rng: Rng) -> TextMaker:
    """The first (or last) letters of the word move to its other end."""
    by = pick(rng, ("1", "1", "2", "-1", "-2"))

    def pair() -> TextPair | None:
        shown = word(rng, 4, 8)
        return shown, shown[int(by) :] + shown[: int(by)]

    return pair


@text_family("words")
def text_palindrome(rng: Rng) -> TextMaker:
    """Whether the string reads the same backwards."""
    say = verdict(rng)

    def pair() -> TextPair | None:
        half = letters(rng, 2, 4, "abcde")
        shown = half + half[::-1][between(rng, 0, 1) :]
        if chance(rng, 0.5):
            place = between(rng, 0, len(shown) - 1)
            shown = shown[:place] + pick(rng, "abcde") + shown[place + 1 :]
        return shown, say(shown == shown[::-1])

    return pair


@text_family("words")
def text_count_letter(rng: Rng) -> TextMaker:
    """How often a fixed letter, or the letter that is asked for, occurs in a string."""
    fixed = pick(rng, "abc") if chance(rng, 0.5) else None

    def pair() -> TextPair | None:
        shown = letters(rng, 4, 10, "abcd")
        wanted = fixed or pick(rng, "abcd")
        return (shown if fixed else f"{wanted} {shown}"), str(shown.count(wanted))

    return pair


@text_family("words")
def text_run_lengths(rng: Rng) -> TextMaker:
    """Runs of equal letters become a letter and a number, or the other way round."""
    unpack, number_first = chance(rng, 0.5), chance(rng, 0.3)

    def pair() -> TextPair | None:
        runs = [(c, between(rng, 1, 5)) for c in some(rng, "abcdefgh", between(rng, 1, 4))]
        plain = "".join(c * n for c, n in runs)
        packed = "".join(f"{n}{c}" if number_first else f"{c}{n}" for c, n in runs)
        return (packed, plain) if unpack else (plain, packed)

    return pair


@text_family("words")
def text_join_halves(rng: Rng) -> TextMaker:
    """Two words are interleaved letter by letter, or joined in a fixed order."""
    kind = between(rng, 0, 2)

    def pair() -> TextPair | None:
        n = between(rng, 2, 5)
        one, two = word(rng, n, n), word(rng, n, n)
        made = (one + two, two + one, "".join(a + b for a, b in zip(one, two)))[kind]
        return f"{one} {two}", made

    return pair

"""Texts as they may be shown: characters that could steer a terminal are replaced."""

from __future__ import annotations

import unicodedata

JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # of letters and of emoji


def printable(text: str) -> str:
    """The text on one line."""
    return "".join(c if _harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _harmless(c: str) -> bool:
    return c.isprintable() or c in JOINERS or unicodedata.category(c) == "Zs"


def printable_lines(text: str) -> str:
    """The text in the lines that it has."""
    return "\n".join(
        printable(line.expandtabs()) for line in text.replace("\r\n", "\n").split("\n")
    )

"""Texts as they may be shown: characters that could steer a terminal are replaced."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def printable_lines(text: str) -> str:
    """The text in the lines that it has."""
    return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))

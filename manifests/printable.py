"""Strangers' characters made visible: hosts, paths and rules are written by whoever owns a site."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with control, format and bidirectional characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )

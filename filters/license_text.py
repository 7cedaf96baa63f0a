"""Running text: Creative Commons statements, dedications, reservations and notices, each by its own rule."""

from __future__ import annotations

import re
from collections.abc import Callable

import re2

from filters.license_finding import Finding
from filters.license_gate import sentence_at, windows
from filters.license_notices import grant_marks
from filters.license_rights import reserved_marks, use_marks
from filters.license_sentences import TALKS, dedication_marks
from filters.license_statements import statement_marks


def text_marks(content: str, notice: Callable[[int], bool] | None = None) -> list[Finding]:
    """Marks in running text, each with the sentence it stands in.

    Args:
        content: text whose lines are all the structure that is left.
        notice: whether a place is where a notice would stand; first and last lines are without being told.
    """
    found = windows(content)
    if not found:
        return []
    marks = list(statement_marks(content, [window for window in found if "cc" in window.sorts], notice))
    for window in found:
        text = content[window.start : window.end]
        if "cc" in window.sorts:
            marks += dedication_marks(text, window.start)
        if "reserved" in window.sorts:
            marks += reserved_marks(text, window.start)
        if "use" in window.sorts:
            marks += use_marks(text, window.start)
        if "license" in window.sorts:
            marks += _notice_marks(content, window.start, window.end)
    return marks


_NOTICE_WORDS = re2.compile(
    r"(?i)permission is (?:hereby )?granted|redistribut|general public license|free documentation license|"
    r"free software|licensed under the|"
    r"released under the|under the terms|unencumbered|apache license|mit license|"
    r"open government licence|under a bsd|boost software"
)


_FULL_GRANT = re.compile(
    r"redistribution and use in source|permission is hereby granted,? free of charge", re.IGNORECASE
)
_THIS_IS = re.compile(
    r"permission is (?:hereby )?granted|documentation (?:is|may)|(?:is|are) (?:licensed|distributed|released)|"
    r"contents?(?: \w+){0,4} (?:is|are) available|"
    r"this (?:document|manual|documentation|page|book|work|text|file|library|program|software|is free software)",
    re.IGNORECASE,
)


def _notice_marks(content: str, start: int, end: int) -> list[Finding]:
    """GNU and other notices in the text of a page, when they speak of the text itself."""
    found = _NOTICE_WORDS.search(content[start:end])
    if not found:
        return []
    begin, stop = sentence_at(content, start + found.start(), start + found.end())
    full = _FULL_GRANT.search(content, start, end)
    if full:
        begin = min(begin, full.start())
    elif TALKS.search(content, begin, stop) or not _THIS_IS.search(content, begin, stop + 200):
        return []
    return grant_marks(content[begin : max(begin + 3500, end)], begin, texts=full is not None)

"""TODO"""

from __future__ import annotations

import re

import re2

from filters.license_finding import Finding
from filters.license_gate import sentence_at, windows
from filters.license_notices import grant_marks
from filters.license_rights import reserved_marks
from filters.license_sentences import TALKS, cc_marks, dedication_marks
from filters.license_statements import statement_marks


def text_marks(content: str, extracted: bool = False) -> list[Finding]:
    """Marks in running text, each with the sentence it stands in; `extracted` when lines are all the structure left."""
    marks: list[Finding] = list(statement_marks(content)) if extracted else []
    for start, end in windows(content):
        window = content[start:end]
        if not extracted:
            marks += cc_marks(window, start)
        marks += dedication_marks(window, start)
        marks += reserved_marks(window, start)
        marks += _notice_marks(content, start, end)
    return marks


_NOTICE_WORDS = re2.compile(
    r"(?i)permission is (?:hereby )?granted|redistribut|general public license|free documentation license|"
    r"free software|licensed under the|"
    r"released under the|under the terms|unencumbered|apache license|mit license|under a bsd|boost software"
)


_FULL_GRANT = re.compile(
    r"redistribution and use in source|permission is hereby granted,? free of charge", re.IGNORECASE
)
_THIS_IS = re.compile(
    r"permission is (?:hereby )?granted|documentation (?:is|may)|(?:is|are) (?:licensed|distributed|released)|"
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
    return grant_marks(content[begin : max(begin + 3500, end)], begin)

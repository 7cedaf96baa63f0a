"""What takes a licence back that a sentence names: it is denied or past, or the words beside it allow less.

`License: MIT (non-commercial use only)` and `no longer under the MIT License` name a free licence and grant none. Only
permissive names are doubted: of a restrictive one the name alone is reason enough, and a denial read wrongly would turn
a restriction into silence.
"""

from __future__ import annotations

import re

from filters.license_texts import added_restriction

_DENIED = re.compile(
    r"(?:\b(?:not|no longer|never|neither|nor)|n't)(?: \w+){0,3}\s*\Z|"
    r"\b(?:previously|formerly|until recently|unlike|instead of|rather than|compatible with)\b[^.;\n]{0,60}\Z|"
    r"\b(?:contributions?|submissions?|pull requests?|patches)\b[^.;\n]{0,60}\Z|"
    r"\b(?:packages|dependencies|modules|projects|libraries) (?:that |which )?(?:are|is) \Z",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"\b(?:licen[sc]ed|released|distributed|available|provided|published)(?: (?:under|with)(?: the| an?)?"
    r"(?: terms of(?: the)?)?)? ?\Z",
    re.IGNORECASE,
)
_NO_LONGER = re.compile(
    r"\b(?:is|are|remains?|now) proprietary\b|\bproprietary (?:and|&) confidential\b", re.IGNORECASE
)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_BEFORE, _AFTER = 160, 320


def denied(text: str, place: int) -> bool:
    """Whether the words before `place`, where a licence is named or put to use, deny it or speak of others."""
    before = re.sub(r"\s+", " ", text[max(0, place - 120) : place])
    return _DENIED.search(_VERB.sub("", before)) is not None


def narrowed(text: str, start: int, end: int) -> str | None:
    """The restriction (a key of the lists' `[opt_out]`) in the paragraph around a name, None when there is none."""
    before = _PARAGRAPH.split(text[max(0, start - _BEFORE) : start])[-1]
    near = re.sub(r"\s+", " ", before + text[start:end] + _PARAGRAPH.split(text[end : end + _AFTER])[0])
    return "proprietary" if _NO_LONGER.search(near) else added_restriction(near)

"""Windows and resolution: which recognizers look where in a text, and which span wins.

`pii_anchors` says where PII could be. Stretches around its anchors become windows of a few hundred characters,
normalised and given to the recognizers that the anchors speak for. Measured on 25 MB of multilingual pages: folding 2,
anchors 6, second look 1.2, recognizers 4 ms/MB; 78 of 100 documents have no window at all.

The rule for overlapping and nested findings: the type that comes first in `PRIORITY` keeps its whole span (the most
specific evidence first: a password in a URL before the e-mail address that it seems to make, an IBAN before the
telephone number among its digits); of one type the earlier span, then the longer. A loser goes as a whole; what it
leaves uncovered is looked at again in the redacted text, until nothing more is found. So spans are disjoint, and a
second pass over the redacted text finds nothing.

Nothing fails open. There is no time-out, because every step is linear in the text (presidio's patterns, which have one,
log it and keep the text, are not used: only its validators are); a recognizer that raises ends the task.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

from filters.pii_anchors import Anchor, Look, anchors_in
from filters.pii_finance import Card, Crypto, Iban
from filters.pii_fold import fold, normalise
from filters.pii_ids import NationalId
from filters.pii_mail import Email
from filters.pii_network import Ip, Mac
from filters.pii_phone import Phone
from filters.pii_recognizer import Span, SpanRecognizer
from filters.pii_secrets import Secret, UrlCredentials

# Which type keeps a stretch of text that several claim.
PRIORITY: tuple[str, ...] = (
    "URL_CREDENTIALS",
    "SECRET",
    "CRYPTO",
    "EMAIL",
    "IBAN",
    "MAC_ADDRESS",
    "IP_ADDRESS",
    "CREDIT_CARD",
    "NATIONAL_ID",
    "PHONE",
)
_RANK = {kind: rank for rank, kind in enumerate(PRIORITY)}


class RecognizerError(RuntimeError):
    """A recognizer broke. Nothing of the text was passed on, and nothing of it is in the message."""

    def __init__(self, kind: str, cause: str, document: str | None = None):
        where = f" on document {document}" if document else ""
        super().__init__(
            f"pii: the recognizer of {kind} raised {cause}{where}; its text was not passed on. Leave {kind} out of "
            "`types`, or exclude the document, and report it without the text"
        )
        self.kind = kind
        self.cause = cause
        self.document = document

    def __reduce__(self) -> tuple[type[RecognizerError], tuple[str, str, str | None]]:
        return RecognizerError, (self.kind, self.cause, self.document)


_LOOKS: tuple[tuple[type[SpanRecognizer], int], ...] = (
    (UrlCredentials, int(Look.MAIL | Look.SECRET)),
    (Secret, int(Look.SECRET)),
    (Crypto, int(Look.RUN)),
    (Email, int(Look.MAIL)),
    (Iban, int(Look.IBAN)),
    (Mac, int(Look.HEX)),
    (Ip, int(Look.QUAD | Look.HEX)),
    (Card, int(Look.CARD)),
    (NationalId, int(Look.ID)),
    (Phone, int(Look.PHONE)),
)
_ALL_LOOKS = sum(Look)

# Characters of context on each side of an anchor: labels stand up to 48 before, network words up to 24 after.
_BEFORE, _AFTER = 72, 40


def find_spans(text: str, language: str, kinds: frozenset[str] | None = None) -> list[Span]:
    """All PII in a text: sorted, disjoint, and such that the text with typed markers in their place holds none."""
    spans: list[Span] = []
    for start, end, looks, anchors in _windows(fold(text)):
        window = normalise(text[start:end])
        found = _resolve(_found(window, language, looks, kinds))
        if found:
            if _left_over(window, start, found, anchors):
                found = _settled(window, found, language, kinds)
            spans += [(start + first, start + last, kind) for first, last, kind in found]
    return spans


def find_spans_unfiltered(text: str, language: str, kinds: frozenset[str] | None = None) -> list[Span]:
    """The same without the prefilter: every recognizer over the whole text. Slow; the prefilter is held against it."""
    window = normalise(text)
    spans = _resolve(_found(window, language, _ALL_LOOKS, kinds))
    for _ in range(_MOST_ROUNDS if spans else 0):
        redacted, starts = _with_markers(window, spans)
        more = _found(redacted, language, _ALL_LOOKS, kinds)
        if not more:
            break
        spans = _resolve([*spans, *_mapped_back(more, spans, starts)], first_come=True)
    return spans


_MOST_ROUNDS = 8


def _left_over(window: str, offset: int, spans: Sequence[Span], anchors: Sequence[Anchor]) -> bool:
    """Whether anything that could be PII is left beside a span. Anchors count from `offset` before the window."""
    ends = [end for _, end, _ in spans]
    for _, _, looks, start, end in anchors:
        first, last = start - offset, end - offset
        index = bisect_left(ends, first)
        if index < len(spans):
            following = spans[index][0]
            # Within a span, or an `@` behind one; the name of the secret that follows.
            if (following <= first and (last <= ends[index] or first == ends[index])) or (
                looks == Look.SECRET and following - last < 40
            ):
                continue
            if _is_near(window, last, following):
                return True
        if index and _is_near(window, ends[index - 1], first):
            return True
    return False


def _is_near(window: str, end: int, start: int) -> bool:
    """Whether what ends at `end` is within reach of what starts at `start`: no recognizer looks farther than 48
    characters from a token."""
    return start - end < 64 or (start - end < _REACH and _SPACE.search(window, end + 48, start - 48) is None)


def _settled(window: str, spans: list[Span], language: str, kinds: frozenset[str] | None) -> list[Span]:
    """The spans and what is PII once they are markers: a loser of the resolution may leave a rest that still is, and a
    marker is another neighbour than the value was. Elsewhere nothing changed."""
    fresh = set(spans)
    for _ in range(_MOST_ROUNDS):
        redacted, starts = _with_markers(window, spans)
        more: list[Span] = []
        for first, last in _around([at for at, span in zip(starts, spans, strict=True) if span in fresh]):
            piece = redacted[max(0, first) : last]
            for start, end, looks, _ in _windows(fold(piece)):
                shift = max(0, first) + start
                found = _found(piece[start:end], language, looks, kinds)
                more += [(shift + a, shift + b, kind) for a, b, kind in found]
        if not more:
            break
        settled = _resolve([*spans, *_mapped_back(more, spans, starts)], first_come=True)
        fresh = set(settled) - set(spans)
        spans = settled
        if not fresh:
            break
    return spans


_REACH = 600
_SPACE = re.compile(r"\s")


def _around(markers: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches within reach of markers, merged."""
    stretches: list[tuple[int, int]] = []
    for at in markers:
        if stretches and at - _REACH <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], at + _REACH)
        else:
            stretches.append((at - _REACH, at + _REACH))
    return stretches


def _found(window: str, language: str, looks: int, kinds: frozenset[str] | None) -> list[Span]:
    found: list[Span] = []
    for recognizer, wanted in _recognizers():
        kind = recognizer.kind
        if looks & wanted and (kinds is None or kind in kinds):
            try:
                found += [(start, end, kind) for start, end in recognizer.spans(window, language)]
            except Exception as error:
                # `from None`: the message of the cause may quote the value that broke it, and tracebacks go to logs.
                raise RecognizerError(kind, type(error).__name__) from None
    return found


@cache
def _recognizers() -> tuple[tuple[SpanRecognizer, int], ...]:
    return tuple((recognizer(), looks) for recognizer, looks in _LOOKS)


# --- windows ----------------------------------------------------------------------------------------------------


Window = tuple[int, int, int, list[Anchor]]


def _windows(raw: bytes) -> list[Window]:
    """Stretches of a folded text to look at: (start, end, looks, their anchors), disjoint, in order."""
    windows: list[Window] = []
    floor = 0
    for anchor in anchors_in(raw):
        start, end, looks = anchor[:3]
        reach = start - _BEFORE
        left = reach if windows and reach <= floor else _left_edge(raw, max(floor, reach), floor)
        # Inside the last window no walk: one long token would be walked once for each of its anchors.
        right = _right_edge(raw, end + _AFTER) if end + _AFTER > floor else floor
        if windows and left <= floor:
            first, _, before, held = windows[-1]
            held.append(anchor)
            windows[-1] = (first, right, before | looks, held)
        else:
            windows.append((left, right, looks, [anchor]))
        floor = right
    return windows


def _left_edge(raw: bytes, position: int, floor: int) -> int:
    """Move left out of a token, so that no value is cut in two; never beyond the previous window."""
    while position > floor and raw[position - 1] not in _ENDS_TOKEN:
        position -= 1
    return position


# Whitespace, and letters beyond ASCII: recognizers of what may hold them say how far (`pii_mail.mail_stretch`).
_ENDS_TOKEN = frozenset(code for code in range(256) if code > 127 or chr(code).isspace())
_TOKEN_REST = re.compile(rb"[^\s\x1c-\x1f\x80-\xff]*+")


def _right_edge(raw: bytes, position: int) -> int:
    return _TOKEN_REST.match(raw, min(position, len(raw))).end()  # type: ignore[union-attr]


# --- resolution -------------------------------------------------------------------------------------------------


def _resolve(found: list[Span], first_come: bool = False) -> list[Span]:
    """Disjoint spans in order of text; on overlap the type of higher priority stays, then the earlier, the longer."""
    if len(found) < 2:
        return found
    ordered = found if first_come else sorted(set(found), key=lambda span: (_RANK[span[2]], span[0], -span[1]))
    kept: list[Span] = []
    for span in ordered:
        index = bisect_left(kept, span)
        if (not index or kept[index - 1][1] <= span[0]) and (index == len(kept) or span[1] <= kept[index][0]):
            kept.insert(index, span)
    return kept


_MARK = "<\n>"  # as `normalise` writes markers


def _with_markers(text: str, spans: Sequence[Span]) -> tuple[str, list[int]]:
    """The text with a marker for each span, and where each marker starts."""
    parts: list[str] = []
    starts: list[int] = []
    position = length = 0
    for start, end, _ in spans:
        parts += [text[position:start], _MARK]
        length += start - position
        starts.append(length)
        length += len(_MARK)
        position = end
    parts.append(text[position:])
    return "".join(parts), starts


def _mapped_back(more: list[Span], spans: Sequence[Span], starts: Sequence[int]) -> list[Span]:
    """Spans of the text with markers as spans of the text; those that touch a marker are cut to what lies beside it."""
    result: list[Span] = []
    for start, end, kind in _resolve(more):
        shift, left = 0, start
        for (_, last, _), marker in zip(spans, starts, strict=True):
            if marker >= end:
                break
            if marker > left:
                result.append((left + shift, marker + shift, kind))
            left = max(left, marker + len(_MARK))
            shift = last - (marker + len(_MARK))
        if left < end:
            result.append((left + shift, end + shift, kind))
    return [span for span in result if span[0] < span[1]]

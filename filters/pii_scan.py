"""The prefilter and the resolution: where in a text PII could be, which recognizers look there, which span wins.

Ninety-five of a hundred pages must never meet Python once per type. One google-re2 expression over the UTF-8 bytes
finds *anchors* (an `@`, seven digits in a row of separators, colons between hexadecimals, 26 letters and digits, a key's
prefix, a password's name) at 250 to 300 MB/s; a second look (a `re2.Set` over the surrounding bytes) throws out the
dates and quantities among the digits. What is left becomes windows of a few hundred characters, decoded, normalised
and given to the recognizers that the anchor speaks for. Measured on 25 MB of multilingual pages: bytes 1.2, anchors 5,
second look 2, recognizers 4 ms/MB; 78 of 100 documents have no window at all.

The rule for overlapping and nested findings: the type that comes first in `PRIORITY` keeps its whole span (the most
specific evidence first: a password in a URL before the e-mail address that it seems to make, an IBAN before the
telephone number among its digits); of one type the earlier span, then the longer. A loser goes as a whole; what it
leaves uncovered is looked at again in the redacted text, until nothing more is found. So spans are disjoint, and a
second pass over the redacted text finds nothing.

Nothing fails open. There is no time-out, because every step is linear in the text (presidio's patterns, which have one,
log it and keep the text, are not used: only its validators are); a recognizer that raises ends the task.
"""

# ruff: noqa: E501 (byte patterns)

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from enum import IntFlag
from functools import cache

import re2

from filters.pii_finance import Card, Crypto, Iban
from filters.pii_ids import ID_NUMBERS, NationalId, Standing, id_label_gate
from filters.pii_network import Email, Ip, Mac
from filters.pii_phone import Phone, phone_label_gate
from filters.pii_recognizer import Span, SpanRecognizer, normalise
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

    def __reduce__(self) -> tuple[type[RecognizerError], tuple[str, str]]:
        return RecognizerError, (self.kind, self.cause)


class Look(IntFlag):
    """What an anchor could be part of."""

    MAIL = 1
    SECRET = 2
    RUN = 4
    HEX = 8
    QUAD = 16
    IBAN = 32
    CARD = 64
    ID = 128
    PHONE = 256


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
    for start, end, looks, anchors in _windows(text):
        found = _in_window(
            normalise(text[start:end]), language, looks, kinds, [(a - start, b - start) for a, b in anchors]
        )
        spans += [(start + first, start + last, kind) for first, last, kind in found]
    return spans


def find_spans_unfiltered(text: str, language: str, kinds: frozenset[str] | None = None) -> list[Span]:
    """The same without the prefilter: every recognizer over the whole text. Slow; what the prefilter is held against."""
    return _in_window(normalise(text), language, _ALL_LOOKS, kinds)


def _in_window(
    window: str,
    language: str,
    looks: int,
    kinds: frozenset[str] | None,
    anchors: Sequence[tuple[int, int]] | None = None,
) -> list[Span]:
    spans = _resolve(_found(window, language, looks, kinds))
    if anchors is not None and _cover(spans, anchors):
        return spans  # with the spans every anchor goes
    # A loser of the resolution may leave a rest that is still PII, and a marker is another neighbour than the value
    # was: look again until nothing is found. Mostly no anchor is left near a marker, and that ends it.
    for _ in range(8 if spans else 0):
        redacted, starts = _with_markers(window, spans)
        left = _looks_near(redacted, starts)
        more = _found(redacted, language, left, kinds) if left else []
        if not more:
            break
        spans = _resolve([*spans, *_mapped_back(more, spans, starts)], first_come=True)
    return spans


def _looks_near(redacted: str, markers: Sequence[int]) -> int:
    """What could be found now beside the markers, which start at these places.

    Elsewhere nothing changed: no recognizer looks farther than 48 characters from a token along its line, or 6 across
    a line's end, and each marker ends a line.
    """
    looks = 0
    for start, end, anchored in _anchored(redacted):
        if anchored & ~looks:
            left = _left_edge(redacted, start, max(0, start - 512))
            right = _TOKEN_REST.match(redacted, end, end + 512).end()  # type: ignore[union-attr]
            line_starts = redacted.rfind("\n", max(0, left - 48), left)
            line_ends = redacted.find("\n", right, right + 48)
            first, last = min(left - 6, line_starts if line_starts >= 0 else left), max(right + 6, line_ends)
            index = bisect_left(markers, first - len(_MARK) + 1)
            if index < len(markers) and markers[index] < last:
                looks |= anchored
    return looks


def _cover(spans: Sequence[Span], anchors: Sequence[tuple[int, int]]) -> bool:
    """Whether every anchor lies within a span; both are in order of their start."""
    remaining = iter(spans)
    end = -1
    for first, last in anchors:
        while end < last:
            span = next(remaining, None)
            if span is None or span[0] > first:
                return False
            end = span[1]
    return True


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


# --- anchors ----------------------------------------------------------------------------------------------------
# Bytes, not characters (Latin-1 mode): the automaton stays small. Digits of other scripts are written as their UTF-8.

_SEPARATOR = rb"[ .\-/()\xa0\xc2\xe2\x80\xaf\x90-\x95\x81-\x8a]"
_OTHER_DIGIT = (
    rb"(?:\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]|\xe0[\xa5\xa7\xa9\xab\xb9\xbb][\x90-\x99\xa6-\xaf]|\xef\xbc[\x90-\x99])"
)
# No counted repeats beyond the few that decide: each multiplies the automaton's states (35 ms/MB instead of 4).
_KEY_PREFIXES = (
    rb"sk-[0-9A-Za-z]|A[KSB]IA[0-9A-Z]|AIza|ya29\.|GOCSPX-|gh[pousr]_|github_pat_|gl[a-z]+t-[0-9A-Za-z_\-]|hf_[A-Za-z]|"
    rb"xox[a-z]-|xapp-|[srp]k_(?:live|test)_|whsec_|npm_[0-9A-Za-z]|pypi-[0-9A-Za-z]|dckr_pat_|do[opr]_v1_|shp(?:at|ca|pa|ss)_|SG\.[0-9A-Za-z]|key-[0-9a-f]|"
    rb"sq0[a-z]{3}-|dapi[0-9a-f]|lin_api_|NRAK-|PMAK-|hv[sb]\.[0-9A-Za-z]|glsa_|glagent-|rubygems_|sntrys_|r8_[0-9A-Za-z]|gsk_|xai-|tskey-|sbp_|AGE-SECRET|"
    rb"eyJ[0-9A-Za-z]|hooks\.slack|api/webhooks/|-----BEGIN [A-Z ]*PRIVATE|"
    rb"(?:[Bb]earer|BEARER|[Bb]asic|[Tt]oken)[ \t][A-Za-z0-9._~+/\-]*[0-9]"
)
_SECRET_NAMES = (
    rb"(?:(?i:pass(?:w|c|p|\b)|pwd|passe|mdp|secret|token|(?:api|access|account|auth|private)[_ \-]?key|credential)|\b[Kk][Ee][Yy]|_KEY|"
    rb"(?i:kennwort|contrase|senha|has(?:\xc5\x82|l)o|parola|wachtwoord|l\xc3\xb6senord)|[\xd0][\x9f\xbf]\xd0\xb0\xd1\x80\xd0\xbe\xd0\xbb\xd1\x8c|"
    rb"\xe5\xaf\x86\xe7\xa0\x81|\xe5\xaf\x86\xe7\xa2\xbc|\xe3\x83\x91\xe3\x82\xb9\xe3\x83\xaf\xe3\x83\xbc\xe3\x83\x89|\xeb\xb9\x84\xeb\xb0\x80\xeb\xb2\x88\xed\x98\xb8)"
    rb"[^\s:=]*[ \t]*(?:[:=]|is )"
)
# Two expressions, 2.8 ms/MB each: all parts in one automaton cost 12.
_WORD_ANCHORS = (
    rb"[^\s@/<>\"](?:@|\xef\xbc\xa0)[0-9A-Za-z\x80-\xff\[]|&#(?:64|[xX]40);|&commat;|%40|[\[({<] ?(?i:at|@|\xc3\xa6t|arroba|chez) ?[\])}>]| (?i:at) [0-9A-Za-z\-]+ (?i:dot) ",
    _KEY_PREFIXES,
    _SECRET_NAMES,
)
_TOKEN_ANCHORS = (
    rb"[0-9A-Za-z]{25,}",
    rb"[0-9A-Fa-f]{2}[:\-][0-9A-Fa-f]{2}[:\-][0-9A-Fa-f]{2}[:\-][0-9A-Fa-f]{2}[:\-]|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:|[23][0-9A-Fa-f]{3}::|"
    rb"(?i:mac|addr|address|bssid|ether)[ :=]*[0-9A-Fa-f]{6}",
    rb"[A-Z]{2}[0-9]{2}(?:[ .\-]|\xc2\xa0|\xe2\x80.)?[A-Z0-9]{4}|[A-Z]{4}[0-9]{4}|[A-Z]{3}[ \-]?[0-9]{6}|[A-Z]{2} ?[0-9]{2} [0-9]{2} [0-9]{2} ?[A-D]|"
    rb"[0-9]{4} [A-Z0-9]{4} [A-Z0-9]{4} |[A-Z]{3} [A-Z]{3} [0-9]",
    rb"[0-9](?:" + _SEPARATOR + rb"{0,3}[0-9]){6,}",
    rb"(?:" + _OTHER_DIGIT + _SEPARATOR + rb"{0,3}){7,}",
    rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
)


@cache
def _anchors() -> tuple[re2._Regexp, re2._Regexp]:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.max_mem = 64 << 20
    words, tokens = (
        re2.compile(b"|".join(b"(?:" + part + b")" for part in parts), options)
        for parts in (_WORD_ANCHORS, _TOKEN_ANCHORS)
    )
    return words, tokens


@cache
def _number_gates() -> tuple[tuple[int, re2.Set, tuple[int, ...]], ...]:
    """The second look at digits: what around them makes them more than a quantity.

    Each gate as (bytes looked at before the digits, set, meaning of each of its patterns); UTF-8 mode,
    case-insensitive. Three sets, because the states of one automaton are products: all eight in one cost 4.3 ms/MB of
    states to build on the first 25 MB of pages, three cost 1.6 and 0.2 more afterwards.
    """
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.max_mem = 64 << 20
    labels = ((phone_label_gate(), Look.PHONE), (id_label_gate(), Look.ID))
    digits = (
        (_bare_form_pattern(), Look.ID),
        (r"\p{Nd}\.\p{Nd}{1,3}\.\p{Nd}{1,3}\.\p{Nd}", Look.QUAD),
        (r"(?:\p{Nd}[ .\-\p{Pd}\p{Zs}]?){12}", Look.CARD),
    )
    signs = (
        (r"[+\x{FF0B}] ?\(?\p{Nd}|(?:^|\P{Nd})[0٠۰०০๐０]{2}\p{Zs}?\p{Nd}", Look.PHONE),
        (
            r"[0-9a-f]{2}[:\-][0-9a-f]{2}[:\-][0-9a-f]{2}[:\-]|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}|[0-9a-f]:[0-9a-f]{1,4}:[0-9a-f]{0,4}:|[23][0-9a-f]{3}::|mac|hwaddr|ether|bssid",
            Look.HEX,
        ),
        (r"(?:^|[^0-9A-Za-z]|iban)[a-z]{2}\p{Nd}{2}.?[a-z\p{Nd}]{4}", Look.IBAN),
    )
    gates = []
    # Labels stand up to 48 characters before; what belongs to the digits themselves is nearer.
    for reach, rules in ((160, labels), (40, digits), (40, signs)):
        gate = re2.Set.SearchSet(options)
        for pattern, _ in rules:
            gate.Add(pattern)
        gate.Compile()
        gates.append((reach, gate, tuple(int(look) for _, look in rules)))
    return tuple(gates)


def _bare_form_pattern() -> str:
    """Print forms of national numbers that need no label."""
    forms = {form for number in ID_NUMBERS for form, standing in number.forms if standing is not Standing.LABELLED}
    signs = {"9": r"\p{Nd}", "A": "[A-Z]", " ": r"\p{Zs}", "-": r"[\p{Pd}\x{2212}]", ".": r"[.\x{FF0E}]"}
    written = sorted("".join(signs.get(sign, re.escape(sign)) for sign in form) for form in forms)
    return rf"(?:^|[^0-9A-Za-z])(?:{'|'.join(written)})(?:$|[^0-9A-Za-z])"


# --- windows ----------------------------------------------------------------------------------------------------


def _windows(text: str) -> list[tuple[int, int, int, list[tuple[int, int]]]]:
    """Stretches of the text to look at: (start, end, looks, their anchors), disjoint, in order."""
    windows: list[tuple[int, int, int, list[tuple[int, int]]]] = []
    floor = 0
    for start, end, looks in _anchored(text):
        left = (
            start - _BEFORE
            if windows and start - _BEFORE <= floor
            else _left_edge(text, max(floor, start - _BEFORE), floor)
        )
        # Inside the last window no walk: one long token would be walked once for each of its anchors.
        right = _right_edge(text, min(len(text), end + _AFTER)) if end + _AFTER > floor else floor
        if windows and left <= floor:
            first, _, before, held = windows[-1]
            held.append((start, end))
            windows[-1] = (first, right, before | looks, held)
        else:
            windows.append((left, right, looks, [(start, end)]))
        floor = right
    return windows


def _anchored(text: str) -> list[tuple[int, int, int]]:
    """Anchors of the text that could be PII: (start, end, looks) in code points, by start."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:  # lone surrogates: one `?` each keeps the count of characters
        raw = text.encode("utf-8", "replace")
    words, tokens = _anchors()
    anchors = []
    for match in words.finditer(raw):
        start, end = match.span()
        looks = _word_looks(raw, start, end)
        if looks:
            if raw.startswith(b"-----BEGIN", start):
                end = _pem_end(raw, end)
            anchors.append((start, end, looks))
    by_word = len(anchors)
    for match in tokens.finditer(raw):
        start, end = match.span()
        looks = _token_looks(raw, start, end)
        if looks:
            anchors.append((start, end, looks))
    if 0 < by_word < len(anchors):
        anchors.sort()
    return _in_characters(raw, anchors) if anchors and len(raw) != len(text) else anchors


_HEX_TEXT = b"0123456789abcdefABCDEF:-."


def _word_looks(raw: bytes, start: int, end: int) -> int:
    """What a mail sign, a key's prefix or a password's name could be part of; 0 if nothing."""
    word = raw[start:end]
    if word[0] in b"&%[({< ":
        return int(Look.MAIL)
    if word[-1] in b":= ":
        return int(Look.SECRET) if _ASSIGNED.match(raw, end) else 0
    if b"@" in word or b"\xef\xbc\xa0" in word:
        return int(Look.MAIL)
    return int(Look.SECRET)


def _token_looks(raw: bytes, start: int, end: int) -> int:
    """What a stretch of digits and letters could be part of; 0 if nothing."""
    word = raw[start:end]
    if len(word) >= 25 and word.isalnum() and not word.isdigit():
        return _long_run(word, raw[end : end + 3])
    if not word.translate(None, _HEX_TEXT) and b":" in word:
        return int(Look.HEX)
    if word[0] in b"0123456789" or word[0] >= 0x80:
        if b":AA" in raw[end : end + 3]:
            return int(Look.SECRET)
        looks = 0
        for reach, gate, meanings in _number_gates():
            for index in gate.Match(raw[max(0, start - reach) : end + 48]) or ():
                looks |= meanings[index]
        return looks
    return int(Look.HEX | Look.IBAN | Look.ID)


# A value worth a look after a password's name: at least six characters, a digit or a sign among them.
_ASSIGNED = re.compile(rb"[\s=>:]{0,6}[\"'`]?(?=[^\s]{0,255}?[0-9!@#$%^&*+?~])[^\s\"'`]{6}")


def _long_run(word: bytes, following: bytes) -> int:
    """A long run of letters and digits: a wallet, an IBAN, a key; a hash or a blob has none of their forms."""
    if len(word) > 110 and not word.startswith(_KEY_STARTS):
        return 0
    looks = int(Look.RUN)
    if (word[:1].isalpha() and word[2:4].isdigit()) or word[:4].upper() == b"IBAN":
        looks |= Look.IBAN
    if word.startswith(_KEY_STARTS) or following == b"-us" or (following[:1] == b"." and word[:1] in b"MNO"):
        looks |= Look.SECRET
    return looks


# Vendor prefixes that are letters and digits throughout.
_KEY_STARTS = (b"AKIA", b"ASIA", b"ABIA", b"ACCA", b"AROA", b"AIDA", b"AIza", b"SK", b"AC", b"EAA", b"dapi", b"eyJ")


def _pem_end(raw: bytes, start: int) -> int:
    """A private key is one value from its first line to its last, or as far as its body goes."""
    limit = start + 32_768
    end = raw.find(b"-----END", start, limit)
    return min(len(raw), limit if end < 0 else end + 64)


def _in_characters(raw: bytes, anchors: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Byte offsets as code points, each stretch decoded once."""
    result = []
    at_byte = at_character = 0
    for start, end, looks in anchors:
        at_character += len(raw[at_byte:start].decode("utf-8", "ignore"))
        length = len(raw[start:end].decode("utf-8", "ignore"))
        result.append((at_character, at_character + length, looks))
        at_byte = start
    return result


def _left_edge(text: str, position: int, floor: int) -> int:
    """Move left out of a token, so that no value is cut in two; never beyond the previous window."""
    while position > floor and "!" <= text[position - 1] <= "~":
        position -= 1
    return position


_TOKEN_REST = re.compile(r"[!-~]*+")


def _right_edge(text: str, position: int) -> int:
    return _TOKEN_REST.match(text, position).end()  # type: ignore[union-attr]


# --- resolution -------------------------------------------------------------------------------------------------


def _resolve(found: list[Span], first_come: bool = False) -> list[Span]:
    """Disjoint spans in order of text; on overlap the type of higher priority stays, then the earlier, then the longer."""
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

"""The prefilter: where in a text PII could be, and of which kind.

Ninety-five of a hundred pages must never meet Python once per type. Two google-re2 expressions over the folded text
(one byte per character, `pii_fold`) find *anchors*: a key's prefix, a password's name, a written `@`; six digits in a
row of separators, colons between hexadecimals, 25 letters and digits. A second look at the bytes around digits (a
`re2.Set` of labels and print forms) throws out dates and quantities.

The law is that no recognizer finds in the whole text what it would not find in the windows around anchors. So nothing
here knows a prefix, label or form of its own: all expressions are made of the recognizers' tables
(`pii_secrets.secret_anchors`, `pii_ids.id_anchors`, ...), and a test makes values of the recognizers' own expressions,
puts them where it hurts, and compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntFlag
from functools import cache

import re2

from filters.pii_finance import IBAN_ANCHOR, IBAN_GATE, could_be_wallet
from filters.pii_fold import folded
from filters.pii_ids import bare_form_gate, id_anchors, id_label_gate
from filters.pii_mail import mail_anchors, mail_stretch
from filters.pii_network import hexadecimal_anchors, hexadecimal_gate
from filters.pii_phone import phone_label_gate, phone_sign_gate
from filters.pii_recognizer import NUMBER_ROW
from filters.pii_secrets import could_be_secret, secret_anchors, secret_end

# Start and end of what could be part of a value, looks, start and end of what was found; in code points.
Anchor = tuple[int, int, int, int, int]


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


def anchors_in(raw: bytes) -> list[Anchor]:
    """Anchors of a folded text that could be PII, in order; their looks say which recognizers should see them."""
    words, tokens = _expressions()
    found = [*_signs(raw), *_words(raw, words)]
    by_word = len(found)
    for match in tokens.finditer(raw):
        start, end = match.span()
        looks = _token_looks(raw, start, end)
        if looks:
            found.append((start, end, looks, start, end))
    if by_word:
        found.sort()
    return found


# --- words ------------------------------------------------------------------------------------------------------

_MAIL, _SECRET, _RUN, _IBAN = map(int, (Look.MAIL, Look.SECRET, Look.RUN, Look.IBAN))
_MARKER_STARTS = b"&%[({< "


def _signs(raw: bytes) -> Iterator[Anchor]:
    at = raw.find(b"@")
    while at >= 0:
        stretch = mail_stretch(raw, at, at + 1)
        if stretch:
            yield *stretch, _MAIL, at, at + 1
        at = raw.find(b"@", at + 1)


def _words(raw: bytes, words: re2._Regexp) -> list[Anchor]:
    found: list[Anchor] = []
    matches = words.finditer(raw)
    while match := next(matches, None):
        start, end = match.span()
        word = raw[start:end]
        secret = could_be_secret(raw, start, end)
        mail = mail_stretch(raw, start, end) if word[0] in _MARKER_STARTS and word[-1] not in b":=" else None
        if secret:
            last = _pem_end(raw, end) if word[-3:] == b"KEY" else secret_end(raw, end)
            found.append((start, last, _SECRET, start, end))
        if mail:  # ` dot data24` looks like a word and its secret
            found.append((*mail, _MAIL, start, end))
        if not secret and not mail:
            if word[1:].isalpha():
                continue
            # What is no anchor hides none that begins within it.
            end = start + 2
        # A key must not follow a letter: what stands before one may be the end of this.
        matches = words.finditer(raw, end - 1)
    return found


def _pem_end(raw: bytes, start: int) -> int:
    """A private key is one value from its first line to its last, or as far as its body goes."""
    limit = start + 32_768
    end = raw.find(b"-----END", start, limit)
    return min(len(raw), limit if end < 0 else end + 64)


# --- digits and runs --------------------------------------------------------------------------------------------

_AFTER_NUMBER = 48
_RUN_FROM = re.compile(rb"[0-9A-Za-z]*")


def _token_looks(raw: bytes, start: int, end: int) -> int:
    """What a stretch of digits and letters could be part of; 0 if nothing."""
    looks = 0
    if end - start >= 25 or raw[end : end + 1].isalnum():
        # Digits or an account before it may have taken the beginning of a run.
        first = end - _RUN_FROM.match(raw[max(0, end - 120) : end][::-1]).end()  # type: ignore[union-attr]
        word = _RUN_FROM.match(raw, first)[0]  # type: ignore[index]
        if len(word) >= 25:
            looks = _RUN if could_be_wallet(word) else 0
            if word[2:4].isdigit() or word[:4].upper() == b"IBAN":
                looks |= _IBAN
            if not word.isdigit() and raw[start:end].isalnum():
                return looks
    for before, after, gate, meanings in _gates():
        for index in gate.Match(raw[max(0, start - before) : end + after]) or ():
            looks |= meanings[index]
    return looks


@cache
def _gates() -> tuple[tuple[int, int, re2.Set, tuple[int, ...]], ...]:
    """The second look at digits: what around them makes them more than a quantity.

    Each gate as (bytes looked at before the anchor and after it, set, meaning of each of its patterns), without case.
    Three sets, because the states of one automaton are products: all in one cost 4.3 ms/MB of states to build on the
    first 25 MB of pages, three cost 1.6 and 0.2 more afterwards. Labels stand up to 48 characters before a number,
    which may begin with six letters; what belongs to the digits themselves is nearer.
    """
    options = _options()
    options.case_sensitive = False
    labels = ((phone_label_gate(), Look.PHONE), (id_label_gate(), Look.ID))
    digits = (
        (bare_form_gate(), Look.ID),
        (r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", Look.QUAD),
        (r"(?:[0-9][ .\-]?){12}", Look.CARD),
    )
    signs = (
        (phone_sign_gate(), Look.PHONE),
        (hexadecimal_gate(), Look.HEX),
        (IBAN_GATE, Look.IBAN),
    )
    gates = []
    for before, after, rules in ((60, 0, labels), (40, _AFTER_NUMBER, digits), (40, _AFTER_NUMBER, signs)):
        gate = re2.Set.SearchSet(options)
        for pattern, _ in rules:
            gate.Add(folded(pattern))
        gate.Compile()
        gates.append((before, after, gate, tuple(int(look) for _, look in rules)))
    return tuple(gates)


# --- the two expressions ----------------------------------------------------------------------------------------


@cache
def _expressions() -> tuple[re2._Regexp, re2._Regexp]:
    """Words, and digits or runs: two automata of 2.2 ms/MB each, where one for all costs 12."""
    words = (secret_anchors(), mail_anchors())
    tokens = (
        "[0-9A-Za-z]{25,}",
        hexadecimal_anchors(),
        IBAN_ANCHOR,
        id_anchors(),
        NUMBER_ROW.pattern,
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
    )
    options = _options()
    return (
        re2.compile(folded("|".join(f"(?:{part})" for part in words)), options),
        re2.compile(folded("|".join(f"(?:{part})" for part in tokens)), options),
    )


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.max_mem = 64 << 20
    return options

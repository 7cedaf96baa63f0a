"""Recognizer of e-mail addresses in every script, plain, internationalised or obfuscated.

Presidio's `EmailRecognizer` (the public suffix list) decides what is a domain. What is ours: where an address starts
and ends. Presidio's expression takes `email=` along and misses an address glued to Chinese; here a step to each side of
the `@` is bounded and keeps to one script, so that no input is slower than linear. `example.org` and its kin stand in
documentation and are nobody's (RFC 2606).
"""

# ruff: noqa: E501 (tables)

from __future__ import annotations

import re
import types
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import tldextract
from presidio_analyzer.predefined_recognizers import EmailRecognizer
from presidio_analyzer.predefined_recognizers.generic import email_recognizer

from filters.pii_recognizer import SpanRecognizer

# Presidio asks `tldextract.extract`, which fetches the list from the network and caches it on disk. The copy inside
# the tldextract package is the pinned one here; its digest is part of the stage's fingerprint.
_SUFFIXES = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
setattr(email_recognizer, "tldextract", types.SimpleNamespace(extract=_SUFFIXES))  # noqa: B010 (a module as mypy sees it)


def suffix_list_file() -> Path:
    """The public suffix list snapshot that decides about domains."""
    return Path(tldextract.__file__).parent / ".tld_set_snapshot"


class Email(SpanRecognizer):
    """E-mail addresses (RFC 5321, 6531) and their disguises (`bob [at] host [dot] de`, `bob&#64;host.de`)."""

    kind = "EMAIL"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        at = window.find("@")
        while at >= 0:
            span = _plain(window, at, at + 1)
            if span:
                yield span
            at = window.find("@", at + 1)
        for marker in _AT_ENTITY.finditer(window):
            span = _plain(window, marker.start(), marker.end()) or _obfuscated(window, marker)
            if span:
                yield span
        for marker in _AT_MARKER.finditer(window):
            span = _obfuscated(window, marker)
            if span:
                yield span


def mail_anchors() -> str:
    """RE2 expression over folded text that matches every written `@`, but for the sign itself."""
    return rf"{_ENTITY}|(?i:[\[({{<] {{0,2}}(?:{_AT_WORDS}) {{0,2}}[\])}}>])| (?i:dot) "


def mail_stretch(raw: bytes, start: int, end: int) -> tuple[int, int] | None:
    """What an anchor in folded text could be part of, as far as no space ends it; None if it is no address at all.

    The anchor is an `@` or a match of `mail_anchors`. The stretch reaches over what recognizers need beyond a token of
    ASCII: a domain of 253 letters in another script, a user and password before the `@`, words between `dot`s.
    """
    sign = raw[start:end]
    if sign == b"@":
        if raw[end : end + 1] in _NO_HOST or raw[start - 1 : start] in _NO_MAILBOX or not start:
            return None
        scheme = raw.rfind(b"://", max(0, start - 390), start)
        if scheme < 0 and raw.find(b".", end, end + 254) < 0:
            return None
        last = _UNBROKEN.match(raw, end, end + 256)
        return max(0, scheme - 26) if scheme >= 0 else start, last.end() if last else end
    if sign[:1] == b" ":
        words = _SPELT_BEFORE.search(raw, max(0, start - 140), start)
        if words is None:
            return None
        start = words.start()
    last = _SPELT_AFTER.match(raw, end)
    # A `dot` is itself what a domain needs; an `at` needs one behind it.
    return (start, last.end()) if last else (start, end + 63) if sign[:1] == b" " else None


# --- the local part ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Script:
    """How a mailbox and a domain run on in one script. `spaced`: whether words of it are parted by spaces."""

    local: re.Pattern[str]  # over the text before the @, backwards
    domain: re.Pattern[str]
    spaced: bool = True


def _script(letters: str, spaced: bool = True) -> _Script:
    # RFC 5321: 64 characters before the @, 253 after. Latin labels stand in domains of any script.
    return _Script(
        re.compile(f"[0-9{letters}\u200c\u200d._%+'-]{{1,64}}"),
        re.compile(f"[0-9A-Za-z{letters}\u200c\u200d.-]{{1,253}}"),
        spaced,
    )


_LATIN = _script("A-Za-zÀ-ÖØ-öø-ɏ\u0300-\u036fḀ-ỿ")
# First code point of each block, and the script from there to the next; blocks without letters of mailboxes are None.
_BLOCKS: tuple[tuple[int, _Script | None], ...] = (
    (0x41, _LATIN), (0x370, _script("Ͱ-Ͽἀ-῿\u0300-\u036f")), (0x400, _script("Ѐ-ԯ")), (0x530, _script("\u0530-\u058f")),
    (0x590, _script("\u0590-\u05ff")), (0x600, _script("\u0600-\u06ff\u0750-\u077f")), (0x780, None),
    *((first, _script(f"{chr(first)}-{chr(first + 0x7F)}")) for first in range(0x900, 0xE00, 0x80)),
    (0xE00, _script("\u0e00-\u0e7f", spaced=False)), (0xE80, _script("\u0e80-\u0eff", spaced=False)), (0xF00, None),
    (0x1000, _script("\u1000-\u109f", spaced=False)), (0x10A0, _script("\u10a0-\u10ff")), (0x1100, None),
    (0x1200, _script("\u1200-\u137f")), (0x1380, None), (0x1780, _script("\u1780-\u17ff", spaced=False)), (0x1800, None),
    (0x1E00, _LATIN), (0x1F00, _script("Ͱ-Ͽἀ-῿\u0300-\u036f")), (0x2000, None),
    (0x3005, _script("々〇ぁ-ヿ㐀-䶿一-鿿", spaced=False)), (0xA000, None), (0xAC00, _script("가-힣")), (0xD7A4, None),
)  # fmt: skip
_STARTS = [first for first, _ in _BLOCKS]
_NUMBER_OR_SIGN = re.compile(r"[0-9._%+'-]*")
_PERCENT_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile("[nrt]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}")


def _script_of(character: str) -> _Script | None:
    if not character:
        return None
    index = bisect_right(_STARTS, ord(character)) - 1
    return _BLOCKS[index][1] if index >= 0 else None


def _mailbox_before(window: str, at: int) -> int:
    """Where the mailbox that ends at `at` starts; -1 if there is none."""
    # Backwards, because an expression that must end somewhere is tried from every start.
    before = window[max(0, at - 64) : at][::-1]
    # Digits and signs belong to the word before them where words are parted by spaces: `иван.1990@`, but not `联系123@`.
    tail = _NUMBER_OR_SIGN.match(before).end()  # type: ignore[union-attr]
    script = _script_of(before[tail : tail + 1])
    if tail and (script is None or not script.spaced):
        script = _LATIN
    match = script.local.match(before) if script else None
    if match is None:
        return -1
    mailbox = match[0][::-1]
    escape = _ESCAPED.match(mailbox) if window[at - len(mailbox) - 1 : at - len(mailbox)] == "\\" else None
    mailbox = mailbox[escape.end() :] if escape else mailbox  # `\nbob@` in a string of source code
    mailbox = (mailbox[3:] if _PERCENT_ENCODED.match(mailbox) else mailbox).lstrip(".'%+-\u200c\u200d")
    # `=`, `/`, `&` and `?` are legal in a mailbox and yet never taken: on web pages they are what stands before one.
    if not mailbox or mailbox[-1] in ".'%" or (len(match[0]) == 64 and window[at - 65 : at - 64].isalnum()):
        return -1
    return at - len(mailbox)


# --- the domain -------------------------------------------------------------------------------------------------

_RESERVED_TLDS = frozenset({"example", "test"})  # no public suffix, yet a mailbox there names somebody: redacted
_BEFORE_LETTER = re.compile(r"[0-9.-]*+")


def _plain(window: str, at: int, after: int) -> tuple[int, int] | None:
    letter = _BEFORE_LETTER.match(window, after).end()  # type: ignore[union-attr]
    script = _script_of(window[letter : letter + 1])
    domain = script.domain.match(window, after) if script else None
    if script is None or domain is None or "." not in window[after : domain.end() + 1]:
        return None
    start = _mailbox_before(window, at)
    if start < 0:
        return None
    end = _domain_end(window, after, domain.end(), script)
    if not end and script is _LATIN and window[domain.end() - 1] == ".":  # `info@firma.рф`
        script = _script_of(window[domain.end() : domain.end() + 1])
        longer = script.domain.match(window, after) if script and script is not _LATIN else None
        end = _domain_end(window, after, longer.end(), script) if script and longer else 0
    return (start, end) if end else None


def _domain_end(window: str, start: int, end: int, script: _Script) -> int:
    labels = []
    for label in window[start:end].split("."):
        if not label or label[0] == "-":
            break
        labels.append(label)
    count, last = _domain_labels(labels, script.spaced)
    return start + len(".".join([*labels[: count - 1], last])) if count else 0


def _domain_labels(labels: list[str], spaced: bool = True) -> tuple[int, str]:
    """How many labels belong to the domain, as many as make a valid one, and its last; 0 if none does or it is reserved."""
    for index in range(1, len(labels)):  # `…@host.de.Then a sentence`: the capital begins a sentence
        if labels[index][:1].isupper() and labels[index - 1].islower() and not labels[index].isupper():
            labels = labels[:index]
            break
    for length in range(len(labels), 1, -1):
        last = _top_level(labels[length - 1].rstrip("-\u200c\u200d"), spaced)
        if last:
            domain = ".".join([*labels[: length - 1], last])
            if last.lower() in _RESERVED_TLDS or _registered(domain):
                return (0, "") if _is_example(domain) else (length, last)
    return 0, ""


def _top_level(label: str, spaced: bool) -> str:
    """The label if it ends domains, or the longest start of it that does where a sentence goes on without a space."""
    known = _top_levels()
    if label.lower() in known:
        return label
    before_dash = label.partition("-")[0]  # `…@host.de—or call`: dashes of all kinds are one here
    if before_dash.lower() in known:
        return before_dash
    if label.isascii():
        return ""
    for length in range(min(len(label) - 1, 12), 1, -1):
        latin, latin_next = label[length - 1].isascii(), label[length].isascii()
        if (latin != latin_next or not (spaced or latin)) and label[:length].lower() in known:
            return label[:length]
    return ""


@cache
def _top_levels() -> frozenset[str]:
    names = {suffix.rpartition(".")[2] for suffix in _SUFFIXES.tlds}
    punycode = {name.encode("idna").decode() for name in names if not name.isascii()}
    return frozenset(names | punycode | _RESERVED_TLDS)


# The same few domains stand behind most addresses, and the suffix list costs 20 us a look.
@lru_cache(maxsize=65_536)
def _registered(domain: str) -> bool:
    return bool(_email().validate_result(f"mailbox@{domain}"))


@lru_cache(maxsize=65_536)
def _is_example(domain: str) -> bool:
    registered = _SUFFIXES(domain)
    return registered.domain.lower() == "example" and not registered.subdomain


@cache
def _email() -> EmailRecognizer:
    return EmailRecognizer()


# --- disguises --------------------------------------------------------------------------------------------------

_ENTITY = r"&#0{0,6}64;|&#[xX]0{0,6}40;|&commat;|%40"
_AT_WORDS = "at|@|æt|ät|arroba|arobase?|chez|chiocciola|małpa|malpa|kukac|zavináč|zavinac|собака|собачка"
_DOT_WORDS = r"dot|punkt|point|punto|ponto|kropka|tečka|точка|\."
_AT_ENTITY = re.compile(_ENTITY)  # the names of entities have a case
_AT_MARKER = re.compile(
    rf" {{0,2}}[\[({{<] {{0,2}}(?:{_AT_WORDS}) {{0,2}}[\])}}>] {{0,2}}| at (?=[a-z0-9-]{{1,63}} dot )", re.IGNORECASE
)
_DOT_MARKER = re.compile(
    rf" {{0,2}}[\[({{<] {{0,2}}(?:{_DOT_WORDS}) {{0,2}}[\])}}>] {{0,2}}| dot |\.|&#0{{0,6}}46;|&#x0{{0,6}}2e;|&period;",
    re.IGNORECASE,
)
_MOST_LABELS = 12
# Whom one meets at noon: words that stand before `at` in a sentence and are nobody's mailbox.
_NO_MAILBOXES = frozenset(
    [
        "a",
        "about",
        "again",
        "all",
        "already",
        "also",
        "always",
        "am",
        "an",
        "and",
        "any",
        "are",
        "around",
        "as",
        "available",
        "away",
        "back",
        "based",
        "be",
        "been",
        "before",
        "being",
        "best",
        "both",
        "business",
        "but",
        "buy",
        "call",
        "came",
        "can",
        "close",
        "come",
        "day",
        "days",
        "did",
        "do",
        "does",
        "done",
        "down",
        "early",
        "easily",
        "either",
        "else",
        "even",
        "ever",
        "every",
        "find",
        "first",
        "for",
        "found",
        "free",
        "from",
        "get",
        "go",
        "going",
        "good",
        "got",
        "had",
        "happened",
        "has",
        "have",
        "he",
        "held",
        "help",
        "her",
        "here",
        "him",
        "home",
        "hotel",
        "hotels",
        "how",
        "i",
        "in",
        "is",
        "it",
        "item",
        "items",
        "join",
        "just",
        "last",
        "late",
        "later",
        "latest",
        "launched",
        "learn",
        "left",
        "less",
        "life",
        "like",
        "link",
        "list",
        "listed",
        "live",
        "lives",
        "located",
        "location",
        "long",
        "look",
        "looked",
        "looking",
        "looks",
        "lot",
        "lots",
        "made",
        "many",
        "may",
        "me",
        "meet",
        "meeting",
        "meets",
        "more",
        "most",
        "move",
        "much",
        "my",
        "new",
        "news",
        "next",
        "night",
        "no",
        "not",
        "now",
        "of",
        "off",
        "offer",
        "offers",
        "office",
        "on",
        "once",
        "one",
        "online",
        "only",
        "open",
        "or",
        "order",
        "ordered",
        "our",
        "out",
        "over",
        "own",
        "page",
        "pages",
        "people",
        "place",
        "play",
        "post",
        "posted",
        "prices",
        "published",
        "read",
        "ready",
        "register",
        "registered",
        "right",
        "sale",
        "save",
        "see",
        "seen",
        "sell",
        "shop",
        "shopping",
        "site",
        "so",
        "some",
        "start",
        "started",
        "stay",
        "still",
        "stop",
        "store",
        "stores",
        "study",
        "such",
        "team",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "thing",
        "things",
        "this",
        "those",
        "time",
        "times",
        "to",
        "today",
        "together",
        "tomorrow",
        "tonight",
        "too",
        "try",
        "under",
        "up",
        "us",
        "use",
        "used",
        "very",
        "view",
        "visit",
        "visited",
        "visiting",
        "was",
        "watch",
        "we",
        "web",
        "website",
        "week",
        "well",
        "went",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "will",
        "with",
        "work",
        "worked",
        "working",
        "works",
        "year",
        "years",
        "yet",
        "you",
        "your",
        "yourself",
    ]
)


def _obfuscated(window: str, marker: re.Match[str]) -> tuple[int, int] | None:
    start = _mailbox_before(window, marker.start())
    if start < 0:
        return None
    if marker[0][-3:].lower() == "at " and window[start : marker.start()].lower() in _NO_MAILBOXES:
        return None
    script = _script_of(window[marker.end() : marker.end() + 1]) or _LATIN
    labels: list[str] = []
    starts: list[int] = []
    position = marker.end()
    while len(labels) < _MOST_LABELS:
        label = _label(script).match(window, position)
        if label is None:
            break
        labels.append(label[0])
        starts.append(label.start())
        dot = _DOT_MARKER.match(window, label.end())
        if dot is None:
            break
        position = dot.end()
    count, last = _domain_labels(labels, script.spaced)
    return (start, starts[count - 1] + len(last)) if count else None


@cache
def _label(script: _Script) -> re.Pattern[str]:
    letters = script.domain.pattern.removesuffix(".-]{1,253}")
    return re.compile(f"{letters}](?:{letters}-]{{0,61}}{letters}])?")


# --- the same over folded bytes, for the scan -------------------------------------------------------------------

_SPACES = tuple(bytes([code]) for code in range(33) if chr(code).isspace())
_NO_HOST = frozenset(
    {b"", *_SPACES, *(bytes([code]) for code in range(128) if chr(code) not in "[" and not chr(code).isalnum())}
)
_NO_MAILBOX = frozenset({b"", *_SPACES, b"/", b"<", b">", b'"'})
_UNBROKEN = re.compile(rb"[^\s<>]*")
_SPELT_BEFORE = re.compile(rb"[0-9A-Za-z._%+'\x80-\xff-]{1,64} [aA][tT] [0-9A-Za-z-]{1,63}\Z")
_SPELT_AFTER = re.compile(
    rb" {0,2}(?:[0-9A-Za-z\x80-\xff-]{1,63}(?: {0,2}[\[({<] {0,2}[a-z.\x80-\xff]{1,6} {0,2}[\])}>] {0,2}| dot |\.|&[#a-z0-9]{2,12};)){1,12}[0-9A-Za-z\x80-\xff-]{0,63}",
    re.IGNORECASE,
)

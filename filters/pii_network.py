"""Recognizers of e-mail, IP and MAC addresses.

Presidio's `EmailRecognizer` (public suffix list), `IpRecognizer` and `MacAddressRecognizer` decide what is a valid
address. What is ours: where a candidate starts and ends (ASCII boundaries, bounded steps from the `@`, so no input is
slower than linear; presidio's expression takes `email=` along and misses an address glued to Chinese), obfuscated
forms, and the policy on addresses that identify nobody: reserved names, private and documentation networks, versions.
"""

# ruff: noqa: E501 (word lists)

from __future__ import annotations

import ipaddress
import re
import socket
import types
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import tldextract
from presidio_analyzer.predefined_recognizers import EmailRecognizer, IpRecognizer, MacAddressRecognizer
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
    """E-mail addresses, plain, internationalised or obfuscated (`bob [at] host [dot] de`, `bob&#64;host.de`)."""

    kind = "EMAIL"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        at = window.find("@")
        while at >= 0:
            span = _plain_email(window, at, at + 1)
            if span:
                yield span
            at = window.find("@", at + 1)
        for marker in _AT_ENTITY.finditer(window):
            span = _plain_email(window, marker.start(), marker.end())
            if span:
                yield span
        for marker in _AT_MARKER.finditer(window):
            span = _obfuscated_email(window, marker)
            if span:
                yield span


class Ip(SpanRecognizer):
    """Globally routable IPv4 and IPv6 addresses; private, documentation, multicast ranges and versions stay."""

    kind = "IP_ADDRESS"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        for match in _QUAD.finditer(window):
            if _public(match[0]) and not _is_version(window, match.start(), match.end(), match[0]):
                yield match.span()
        for match in _COLONS.finditer(window):
            text = match[0]
            if text.count(":") < 2 or len(text) > 60:
                continue
            if text.endswith(":") and not text.endswith("::"):
                text = text[:-1]
            text = text.rstrip(".")
            # Only 2000::/3 is assigned for global use; everything else here is C++ (`dead::beef`) or link-local.
            if text[:1] not in "23" or text.find(":") != 4 or not _public(text):
                continue
            if not _GROUP_BEFORE.search(window[max(0, match.start() - 12) : match.start()]):
                yield match.start(), match.start() + len(text)


class Mac(SpanRecognizer):
    """Hardware addresses with colons, dashes or dots; bare hexadecimal only after a label."""

    kind = "MAC_ADDRESS"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        for match in _MAC.finditer(window):
            text = match[0]
            labelled = _MAC_LABEL.search(window, max(0, match.start() - 24), match.start()) is not None
            if len(text) == 12 and not labelled:
                continue
            if not labelled and _digits_only(text):
                continue
            # The lowest bit of the first byte marks groups of devices (IEEE 802), and manuals have their own.
            hexadecimal = re.sub("[^0-9a-f]", "", text.lower())
            if int(hexadecimal[1], 16) & 1 or hexadecimal in _MANUAL_MACS:
                continue
            if not _mac().invalidate_result(text):
                yield match.span()


@cache
def _email() -> EmailRecognizer:
    return EmailRecognizer()


@cache
def _ip() -> IpRecognizer:
    return IpRecognizer()


@cache
def _mac() -> MacAddressRecognizer:
    return MacAddressRecognizer()


# --- e-mail -----------------------------------------------------------------------------------------------------

_LATIN = "A-Za-z0-9À-ÖØ-öø-ɏḀ-ỿ"
_CYRILLIC = "0-9Ѐ-ӿ"
# Longest first in each script; RFC 5321: 64 characters before the @, 253 after. `=`, `/`, `&` and `?` are legal in a
# mailbox and yet never taken: on web pages they are what stands before one.
_LOCAL = {True: re.compile(f"[{_LATIN}._%+'-]{{1,64}}\\Z"), False: re.compile(f"[{_CYRILLIC}._+-]{{1,64}}\\Z")}
_DOMAIN = {True: re.compile(f"[{_LATIN}.-]{{1,253}}"), False: re.compile(f"[{_CYRILLIC}.-]{{1,253}}")}
_RESERVED_TLDS = frozenset({"example", "test"})  # no public suffix, yet a mailbox there names somebody: redacted
_AT_ENTITY = re.compile(r"&#(?:64|x40);|&commat;|%40", re.IGNORECASE)
_AT_MARKER = re.compile(r" ?[\[({<] ?(?:at|@|æt|arroba|chez) ?[\])}>] ?| at (?=[a-z0-9-]{1,63} dot )", re.IGNORECASE)
_DOT_MARKER = re.compile(r" ?[\[({<] ?(?:dot|punkt|point|punto|ponto|\.) ?[\])}>] ?| dot |\.", re.IGNORECASE)
_OBFUSCATED_LOCAL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_+-]|\.(?=[A-Za-z0-9])){0,63}\Z")
_PERCENT_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def _plain_email(window: str, at: int, after: int) -> tuple[int, int] | None:
    if after >= len(window):
        return None
    domain = _DOMAIN[not ("Ѐ" <= window[after] <= "ӿ")].match(window, after)
    if domain is None or "." not in domain[0]:
        return None
    local = _LOCAL[not ("Ѐ" <= window[at - 1 : at] <= "ӿ")].search(window[max(0, at - 64) : at])
    if local is None:
        return None
    mailbox = local[0]
    mailbox = (mailbox[3:] if _PERCENT_ENCODED.match(mailbox) else mailbox).lstrip(".'%+-")
    if not mailbox or mailbox[-1] in ".'%" or (window[at - 65 : at - 64].isalnum() and len(local[0]) == 64):
        return None
    labels = []
    for label in domain[0].split("."):
        if not label or label[0] == "-":
            break
        labels.append(label)
    length = _domain_labels(labels)
    if not length:
        return None
    end = after + len(".".join(labels[:length]).rstrip("-"))
    return at - len(mailbox), end


def _obfuscated_email(window: str, marker: re.Match[str]) -> tuple[int, int] | None:
    local = _OBFUSCATED_LOCAL.search(window[max(0, marker.start() - 64) : marker.start()])
    if local is None:
        return None
    labels: list[str] = []
    ends: list[int] = []
    position = marker.end()
    while len(labels) < 12:
        label = _LABEL.match(window, position)
        if label is None:
            break
        labels.append(label[0])
        ends.append(label.end())
        dot = _DOT_MARKER.match(window, label.end())
        if dot is None:
            break
        position = dot.end()
    length = _domain_labels(labels)
    return (marker.start() - len(local[0]), ends[length - 1]) if length else None


def _domain_labels(labels: list[str]) -> int:
    """How many labels belong to the domain: as many as make a valid one, 0 if none does or it is reserved."""
    for index in range(1, len(labels)):  # `…@host.de.Then a sentence`: the capital begins a sentence
        if labels[index][:1].isupper() and labels[index - 1].islower() and not labels[index].isupper():
            labels = labels[:index]
            break
    for length in range(len(labels), 1, -1):
        last = labels[length - 1].rstrip("-")
        if len(last) < 2 or last.isdecimal():
            continue
        domain = ".".join([*labels[: length - 1], last])
        if last.lower() in _RESERVED_TLDS or _registered(domain):
            # `example.org` stands in documentation and is nobody's address (RFC 2606).
            return 0 if _is_example(domain) else length
    return 0


# The same few domains stand behind most addresses, and the suffix list costs 20 us a look.
@lru_cache(maxsize=65_536)
def _registered(domain: str) -> bool:
    return bool(_email().validate_result(f"mailbox@{domain}"))


@lru_cache(maxsize=65_536)
def _is_example(domain: str) -> bool:
    registered = _SUFFIXES(domain)
    return registered.domain.lower() == "example" and not registered.subdomain


# --- IP ---------------------------------------------------------------------------------------------------------

_QUAD = re.compile(
    r"(?<![0-9A-Za-z_])(?<![0-9A-Za-z_][.-])(?<!\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z]|-[0-9]{1,3}(?![0-9.]))",
)
_COLONS = re.compile(r"(?<![0-9A-Za-z_])[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:.]{1,60}+(?![0-9A-Za-z_])")
_GROUP_BEFORE = re.compile(r"(?<![0-9A-Za-z_])(?:[0-9A-Fa-f]{0,4}|[0-9]+)[:.]\Z")
_VERSION_BEFORE = re.compile(
    r"(?:(?<![^\W_])(?:v|ver|vers|version|versión|versione|versão|versie|wersja|verze|versiune|sürüm|έκδοση|verzió|versio|phiên bản|"
    r"версия|версії|версія|версии|версию|버전|バージョン|版本|verzija|верзија|الإصدار|إصدار|نسخه|संस्करण|"
    r"build|release|rel|rev|revision|firmware|kernel|update|patch|section|sec|sect|sect|chapter|chap|ch|article|art|"
    r"clause|para|paragraph|abschnitt|absatz|abs|kapitel|kap|cap|capítulo|capitolo|chapitre|rozdz|rozdział|kapittel|hoofdstuk|bölüm|madde|čl|sez|sezione|sección|secção|seção|гл|ст|разд|ziffer|punkt|раздел|пункт|глава|статья|oid|item|table|figure|fig|step|appendix|annex)"
    r"s?\.?\s?[:#]?\s{0,2}|§\s?|[=~^<>]=\s?|[A-Za-z0-9]/|第)\Z",
    re.IGNORECASE,
)
_IP_WORDS = re.compile(
    r"ip(?![a-z])|ipv4|host|addr|ping|ttl|dns|server|gateway|router|client|from|http|ssh|whois|lookup|received|subnet|get /|post /|head /|"
    r"peer|proxy|login|port|адрес|хост|сервер|地址|アドレス|주소|عنوان|पता|ที่อยู่|διεύθυνση|gw[0-9]",
    re.IGNORECASE,
)


_LETTER = re.compile(r"[^0-9 .,:;()/-]")
_NO_WORD = ("", *"0123456789,;()[]|<>\"'*-")
_PORT_OR_PREFIX = re.compile(r":[0-9]{2,5}(?![0-9])|/[0-9]{1,2}(?![0-9])")


def _public(text: str) -> bool:
    """Presidio's validity and the registries' global scope; what lies outside every special range needs neither."""
    octets = text.split(".")
    if len(octets) == 4 and octets[0] not in _SPECIAL_OCTETS and all(octet in _OCTETS for octet in octets):
        return True
    if len(octets) == 1 and text[:1] == "2" and text[:5] not in ("2001:", "2002:"):  # of 2000::/3, without 3fff::/20
        try:
            socket.inet_pton(socket.AF_INET6, text)
        except OSError:
            return False
        return True
    if _ip().invalidate_result(text):
        return False
    address = ipaddress.ip_address(text)
    return address.is_global and not address.is_multicast and not address.is_reserved


_OCTETS = frozenset(map(str, range(256)))
# First octets within which some range is private, shared, documentation, multicast or reserved (RFC 6890).
_SPECIAL_OCTETS = frozenset(map(str, (0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256))))


def _is_version(window: str, start: int, end: int, text: str) -> bool:
    before = window[max(0, start - 24) : start]
    ending = before.rstrip(" \t\n.:#")[-1:]  # a digit, a comma, a bracket: no word that could announce a version
    if ending not in _NO_WORD and _VERSION_BEFORE.search(before) and not before.endswith("//"):
        return True
    if max(int(part) for part in text.split(".")) >= 64:
        return False
    # Four small numbers are a section or a version unless something around speaks of networks.
    if before.endswith("//") or _PORT_OR_PREFIX.match(window, end):
        return False
    line_before = window[max(0, start - 40) : start].rpartition("\n")[2]
    line_after = window[end : end + 24].partition("\n")[0]
    return not any(_LETTER.search(line) and _IP_WORDS.search(line) for line in (line_before, line_after))


# --- MAC --------------------------------------------------------------------------------------------------------

_MAC = re.compile(
    r"(?<![0-9A-Za-z])(?:(?<![0-9A-Za-z][:.-])|(?<=[Mm][Aa][Cc]:)|(?<=[Rr]:))(?:[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]{12})(?![0-9A-Za-z]|[:-][0-9A-Fa-f]|\.[0-9A-Fa-f]{4})"
)


_MANUAL_MACS = frozenset(
    {"aabbccddeeff", "001122334455", "020001020304", "1234567890ab", "123456789abc", "0a0b0c0d0e0f"}
)


def _digits_only(text: str) -> bool:
    """Digits alone are a time, a date, a draw or a part number, unless two pairs exceed what those reach."""
    pairs = re.findall("[0-9]{2}", text)
    return len(pairs) == 6 and (text.count(".") > 0 or sum(pair > "60" for pair in pairs) < 2)


_MAC_LABEL = re.compile(
    r"(?<![A-Za-z])(?:mac|hw ?addr|hwaddr|ether|bssid|wlan|ethernet|physical address|hardware address)[^0-9\n]{0,14}\Z",
    re.IGNORECASE,
)

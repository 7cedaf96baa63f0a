"""TODO"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from filters.license_finding import Finding, granted, strictness
from filters.license_names import CC_URL, cc_id_of_url, parse_declared
from filters.license_notices import grant_marks
from filters.license_policy import licensing

_COMMON_LICENSES = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])")
_PUBLIC_DOMAIN = re.compile(r"\b(?:in(?:to)?|is|as|to) (?:the )?public[ -]domain\b", re.IGNORECASE)


def license_file_marks(content: str) -> list[Finding]:
    """A file that is a licence, or that says in few words which one applies."""
    marks = list(_spdx_tags(content[:2000])) or grant_marks(content, 0, whole=True)
    if not marks:
        for found in _COMMON_LICENSES.finditer(content[:5000]):  # Debian keeps the common texts there
            if name := parse_declared(found[1]):
                return [granted(name, "license-text", *found.span(), 0.8)]
    if not marks:
        marks = list(named_marks(content[:5000], 0))
    if not marks and len(content) < 1500:
        for found in _PUBLIC_DOMAIN.finditer(content):
            if not re.search(r"\bnot\b|n't", content[max(0, found.start() - 40) : found.end()]):
                return [granted("LicenseRef-public-domain", "license-text", *found.span(), 0.7)]
    return marks


_HEADER_CHARS = 12_000  # about a hundred lines
_TAIL_CHARS = 4_000  # Perl and POD put the licence last
_SPDX_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n\r]{2,200})")
_LICENSE_LINE = re.compile(
    r"^[ \t]*(?:[/*#;%!.\"'-]+[ \t]*)?[@_]{0,2}licen[sc]e_{0,2}(?:[ \t]*[:=]|[ \t]{1,3}(?!-))[ \t]*"
    r"[\"'(]*([A-Za-z0-9][^\n\"'{}<>]{1,90}?)[\"')]*[ \t]*(?:\*/[ \t]*)?[,;.]?$",
    re.IGNORECASE | re.MULTILINE,
)
# `MIT Licensed` on a line of its own in a comment, and the like.
_LEADING_LICENSE = re.compile(
    r"(?:^[ \t]*[*/#;|!\"'(-]*[ \t]*|\| |free software: |uses the  ?|@licen[sc]e[ \t]+|subject to the |"
    r"under:?\s+(?:an?\s+|the\s+)?)"
    r"((?:the )?(?:MIT|ISC|Expat|Apache(?:[ -]?(?:v\.?|version )?2(?:\.0)?(?: open source)?)?|(?:(?:new|modified|"
    r"simplified|[23]-clause) )?BSD"
    r"(?:[ -][23][ -]clause)?)(?: \(?X11\)?)?(?:[ -]style)?) licen[cs]ed?\b(?! compatible)",
    re.IGNORECASE | re.MULTILINE,
)
_UNDER = re.compile(
    r"\b(?:licen[sc]ed|released|distributed|published|available|provided|dual[- ]licensed)[^.\n]{0,30}?\b(?:under|"
    r"with)\s+"
    r"(?:the\s+|an?\s+)?(?:terms\s+of\s+(?:the\s+)?)?[\"'`*_\[(]*"
    r"([A-Za-z0-9][A-Za-z0-9 .,+/()-]{1,60}?)[\"'`*_\])]*(?:'s)?(?:,?\s+(?:free\s+|open[- ]source\s+)?"
    r"(?:software\s+)?licen[sc]es?\b|[.;\n]|$|\]\(|,? see\b|\s*<)",
    re.IGNORECASE,
)


def source_marks(content: str) -> list[Finding]:
    header = content[:_HEADER_CHARS]
    tags = list(_spdx_tags(header))
    marks = tags[:]
    tail_at = max(_HEADER_CHARS, len(content) - _TAIL_CHARS)
    parts = [(header, 0)] + ([(content[tail_at:], tail_at)] if tail_at < len(content) else [])
    for part, base in parts:
        grants = grant_marks(part, base)
        if not grants:
            grants = list(named_marks(part, base))
        marks += grants
        if grants:
            break
    for found in CC_URL.finditer(header):
        if re.search(r"licen[sc]|commons", header[max(0, found.start() - 300) : found.start()], re.IGNORECASE):
            if expression := cc_id_of_url(found):
                marks.append(granted(expression, "cc-mark", found.start(), found.end(), 0.8))
            break
    if tags:  # the tag is the file's own word; a text beside it counts only if it is stricter
        return tags + [mark for mark in marks[len(tags) :] if strictness(mark) > max(map(strictness, tags))]
    return marks


def _spdx_tags(text: str) -> Iterator[Finding]:
    for tag in _SPDX_TAG.finditer(text):
        written = tag[1].split("*/")[0].split("-->")[0].strip(" \t*/#\"'\\;,.")
        try:
            parsed = licensing().parse(written, validate=False)
        except Exception:  # as in parse_declared
            continue
        if parsed is None or licensing().unknown_license_keys(parsed):
            expression = parse_declared(written)
        else:
            expression = str(parsed)
        if expression:
            yield granted(expression, "spdx-tag", tag.start(), tag.start(1) + len(written), 1.0)


_BORROWED = re.compile(
    r"\b(?:based on|borrowed|taken from|adapted from|extracted|copied|derived from|ported from|third[- ]party|"
    r"bundled|vendored)\b",
    re.IGNORECASE,
)


def named_marks(text: str, base: int) -> Iterator[Finding]:
    """Licences named as the document's own: `License: MIT`, `released under the MIT License`, `MIT Licensed`."""
    for pattern in (_LICENSE_LINE, _UNDER, _LEADING_LICENSE):
        named = False
        for found in itertools.islice(_matches(pattern, text), 50):
            if _BORROWED.search(text, max(0, found.start() - 250), found.start()):
                continue
            if expression := _name_in(found[1], dual="dual" in found[0].lower()):
                named = True
                yield granted(expression, "license-text", base + found.start(), base + found.end(), 0.8)
        if named:
            return


_UNDER_VERB = re.compile(r"\b(?:licen[sc]ed|released|distributed|published|available|provided|dual)", re.IGNORECASE)
_MAX_VERBS = 200


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """As `finditer`; the pattern that tries most is tried only at the first verbs."""
    if pattern is not _UNDER:
        yield from pattern.finditer(text)
        return
    end = 0
    for verb in itertools.islice(_UNDER_VERB.finditer(text), _MAX_VERBS):
        if verb.start() >= end and (found := pattern.match(text, verb.start())):
            end = found.end()
            yield found


def _name_in(written: str, dual: bool = False) -> str | None:
    """A licence out of a value that may hold an address, a remark or `style` beside the name."""
    name = re.sub(r"\s+", " ", written).strip()
    without_address = re.sub(r"https?://\S+", "", name).strip(" ()")
    if dual:
        without_address = re.sub(r"(?i) and ", " or ", without_address)
    without_style = re.sub(r"[ -]style\b", "", without_address, flags=re.IGNORECASE)
    for candidate in (without_address, without_style, without_style.split(" (")[0], name.split(" ")[0]):
        if candidate and (expression := parse_declared(candidate)):
            return expression
    return None

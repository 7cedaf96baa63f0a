"""Source files and licence files.

A source file speaks through its SPDX tags, then its header, then (Perl, POD) its end. A tag is the file's own word: a
text beside it counts only if it is stricter, which is the costly kind of contradiction (a package declared MIT with GPL
in the file); of 770 files with a licence in the header, 6% contradict their package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from filters.license_finding import Finding, granted, strictness
from filters.license_named import named_marks
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


def source_marks(content: str) -> list[Finding]:
    """Tags, then texts, notices and names in the header, failing that at the end."""
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
        unknown = licensing().unknown_license_keys(parsed) if parsed is not None else [written]
        # A licence of the owner's own has no id in the list; it is no permission that we know of, and not nothing.
        if all(str(key).startswith(("LicenseRef-", "DocumentRef-")) for key in unknown):
            expression: str | None = str(parsed)
        else:
            expression = parse_declared(written)
        if expression:
            yield granted(expression, "spdx-tag", tag.start(), tag.start(1) + len(written), 1.0)

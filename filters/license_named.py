"""Licences that a file calls its own by name: `License: MIT`, `released under the MIT License`, `MIT Licensed`.

A name is only a name where grammar makes it one: the value of a label, what stands behind "licensed under", or what
"licensed" stands behind. What was borrowed from others ("taken from", "third-party") names theirs. Two names joined by
"and" both apply, also where the second comes after the word that ended the first (`the Apache licence 2.0 and Mozilla
Public License`); "dual" and "or" make them a choice.

"BSD" without a number of clauses is read as BSD-3-Clause in a sentence, since all variants permit the same here; as a
declaration on its own it names nothing (`parse_declared`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from filters.license_doubt import denied, narrowed
from filters.license_finding import Finding, granted, reserved
from filters.license_names import parse_declared
from filters.license_policy import canonical, permissive

_LICENSE_LINE = re.compile(
    r"^[ \t]*+(?:[/*#;%!.>|\"'-]++[ \t]*+)?[@_]{0,2}licen[sc]e_{0,2}(?:[ \t]{0,20}[:=]|[ \t]{1,3}(?!-))[ \t]{0,20}"
    r"[\"'(]*([A-Za-z0-9][^\n\"'{}<>]{1,90}?)[\"')]*[ \t]*(?:\*/[ \t]*)?[,;.|]?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_SHORT_NAME = (
    r"(?:the )?(?:MIT|ISC|Expat|zlib|Apache(?:[ -]?(?:v\.?|version )?2(?:\.0)?(?: open source)?)?|"
    r"(?:(?:new|modified|simplified|[23]-clause) )?BSD(?:[ -][23][ -]clause)?)(?: \(?X11\)?)?(?:[ -](?:style|type))?"
)
# `MIT Licensed` on a line of its own in a comment, and the like.
_LEADING_LICENSE = re.compile(
    r"(?:^[ \t]*+[*/#;|!\"'(-]*+[ \t]*+|\| |free software: |uses the  ?|@licen[sc]e[ \t]+|subject to the |"
    r"\b(?:is|are) \[?|under:?\s+(?:an?\s+|the\s+)?)"
    rf"({_SHORT_NAME})\Z",
    re.IGNORECASE | re.MULTILINE,
)
# The same in a line of copyright: `(c) Jane (MIT Licensed)`.
_IN_COPYRIGHT = re.compile(rf"[(,;|.] ?({_SHORT_NAME})\Z", re.IGNORECASE)
_COPYRIGHT = re.compile(r"copyright|\(c\)|©", re.IGNORECASE)
_LICENSED = re.compile(r" licen[cs]ed?\b(?! compatible)", re.IGNORECASE)
_UNDER_VERB = re.compile(
    r"\b(?:licen[sc]ed|released|distributed|published|available|provided|dual|governed|covered)", re.IGNORECASE
)
_UNDER = re.compile(
    r"\b(?:(?:licen[sc]ed|released|distributed|published|available|provided|dual(?:ly)?[- ]licen[sc]ed)[^.\n]{0,30}?"
    r"\b(?:under|with)|(?:governed|covered)\s+by)\s+"
    r"(?:the\s+|an?\s+)?(?:terms\s+(?:and\s+conditions\s+)?of\s+(?:the\s+)?)?(?:either\s+)?[\"'`*_\[(]*"
    r"([A-Za-z0-9][A-Za-z0-9 .,+/()&-]{1,60}?)[\"'`*_\])]*(?:'s)?(?:,?\s+(?:free\s+|open[- ]source\s+)?"
    r"(?:software\s+)?licen[sc]es?\b(?P<version>,?[ \t]+(?:v\.?|version[ \t])?[ \t]?\d(?:\.\d)?\b)?|"
    r"\.(?!\d)|[;:\n\r]|$|\]\(|,? see\b|\s*<)",
    re.IGNORECASE,
)
_DUAL = re.compile(
    r"\b(?:dual|triple|tri)(?:ly)?[- ]licen[sc]ed(?:\s+to\s+you)?(?:\s+under)?:?\s+(?:either\s+)?(?:the\s+)?"
    r"([^;]{3,160}?)(?:\blicen[sc]es\b|\.\s|\n\s*\n|\Z)",
    re.IGNORECASE,
)
_DUAL_WORD = re.compile(r"\b(?:dual|triple|tri)(?:ly)?[- ]licen", re.IGNORECASE)
# What goes on after a name: `... License and the GPL`.
_CONTINUED = re.compile(
    r"[\"'`*_\])]*[ \t]*(?:\([^()\n]{0,80}\))?,?\s+[*_]*(and/or|and|or|&)[*_]*\s+(?:(?:under|with)\s+)?"
    r"(?:the\s+|an?\s+)?[\"'`*_\[(]*([A-Za-z0-9][A-Za-z0-9 .+-]{1,50}?)[\"'`*_\])]*(?:,?\s+licen[sc]es?\b"
    r"(?P<version>[ \t]+(?:v\.?|version[ \t])?[ \t]?\d(?:\.\d)?\b)?|\.(?!\d)|[,;:\n\r]|$|\s*[<|(])",
    re.IGNORECASE,
)
_BORROWED = re.compile(
    r"\b(?:based on|borrowed|taken from|adapted from|extracted|copied|derived from|ported from|third[- ]party|"
    r"bundled|vendored)\b",
    re.IGNORECASE,
)
_COMMENT_MARKS = re.compile(r"^[ \t]*+(?://+!?|#+|\*+(?!/)|;+|--|%+|\|)(?=[ \t\n\r]|$)", re.MULTILINE)
_MAX_VERBS = 100


def named_marks(text: str, base: int) -> Iterator[Finding]:
    """Licences named as the document's own, the surest kind of naming first; the others are then not looked for."""
    text = _COMMENT_MARKS.sub(lambda mark: " " * len(mark[0]), text)
    for word in itertools.islice(_DUAL_WORD.finditer(text), 20):
        dual = _DUAL.match(text, word.start())
        if dual and not _of_others(text, dual.start()) and (expression := _choice(dual[1])):
            if mark := _mark(text, base, dual.start(), dual.end(), expression):
                yield mark
            return
    for pattern in (_LICENSE_LINE, _UNDER, _LEADING_LICENSE, _IN_COPYRIGHT):
        named = False
        for found in itertools.islice(_matches(pattern, text), 50):
            if _of_others(text, found.start()):
                continue
            if pattern is _IN_COPYRIGHT and not _COPYRIGHT.search(_line_before(text, found.start())):
                continue
            expression = _named(text, found)
            if expression and (mark := _mark(text, base, found.start(), found.end(), expression)):
                named = True
                yield mark
        if named:
            return


def _mark(text: str, base: int, start: int, end: int, expression: str) -> Finding | None:
    """A name as a mark; of a permissive one only if the words around leave it so."""
    if permissive(expression):
        if denied(text, start):
            return None
        if restriction := narrowed(text, start, end):
            return reserved(restriction, base + start, base + end, 0.8, "license-text")
    return granted(expression, "license-text", base + start, base + end, 0.8)


def name_in(written: str) -> str | None:
    """A licence out of a value that may hold an address, a remark or `style` beside the name."""
    name = re.sub(r"\s+", " ", written).strip()
    addresses = re.findall(r"https?://\S+", name)
    bare = re.sub(r"https?://\S+", "", name).strip()
    if bare.count("(") != bare.count(")") or re.fullmatch(r"\([^()]*\)", bare):
        bare = bare.strip(" ()")
    without_style = re.sub(r"[ -](?:style|type)\b", "", bare, flags=re.IGNORECASE)
    candidates = [bare, without_style, without_style.split(" (")[0], name.split(" ")[0]]
    if not re.search(r"\d", bare):  # `http://example.org/licenses/lgpl21 LGPL`: the address knows the version
        candidates = [address.rstrip(".,;)").rsplit("/", 1)[-1] for address in addresses] + candidates
    for candidate in candidates:
        if candidate and (expression := parse_declared(candidate)):
            return expression
    for candidate in (bare, without_style, without_style.split(" (")[0]):
        if _BSD.fullmatch(candidate):
            return "BSD-3-Clause"
    return None


_BSD = re.compile(r"(?:the )?(?:open source )?BSD(?: licen[sc]ed?)?", re.IGNORECASE)


_BLANK_LINE = re.compile(r"\n[ \t]*\n")


def _of_others(text: str, place: int) -> bool:
    before = text[max(0, place - 250) : place]
    paragraph = _BLANK_LINE.split(before)[-1]
    return _BORROWED.search(paragraph) is not None


def _after_licensed(text: str, place: int) -> int:
    word = _LICENSED.match(text, place)
    return word.end() if word else place


def _line_before(text: str, place: int) -> str:
    return text[max(0, place - 120) : place].rsplit("\n", 1)[-1]


def _named(text: str, found: re.Match[str]) -> str | None:
    """The licence that a match names, with its version and with what is joined to it."""
    version = found.groupdict().get("version")
    name = (version and name_in(f"{found[1]} {version.strip(' ,')}")) or name_in(found[1])
    if name is None or found.re is _LICENSE_LINE:
        return name
    at = found.end() if found.re is _UNDER else _after_licensed(text, found.end())
    while joined := _CONTINUED.match(text, at):
        version = joined["version"]
        other = (version and name_in(f"{joined[2]} {version.strip()}")) or name_in(joined[2])
        if other is None:
            break
        operator = "OR" if "or" in joined[1].lower() or "dual" in found[0].lower() else "AND"
        name = canonical(f"({name}) {operator} ({other})")
        at = joined.end()
    return name


def _choice(written: str) -> str | None:
    """`the MIT (MIT-LICENSE.txt) and GPL (GPL-LICENSE.txt)`: the licences one may choose from."""
    text = re.sub(r"\([^()]{0,80}\)|https?://\S+|\bas shown at\b", " ", written)
    parts = [part.strip(" ,.;:\"'`*_[]\n") for part in re.split(r"\band\b|\bor\b|,|/|&", re.sub(r"\s+", " ", text))]
    parts = [
        re.sub(r"\s*\blicen[sc]es?\b|^(?:the|under|either) ", "", part, flags=re.IGNORECASE) for part in parts if part
    ]
    names = [name_in(part) for part in parts]
    if len(names) < 2 or not all(names):
        return None
    return canonical(" OR ".join(f"({name})" for name in names))


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """As `finditer`, but what begins with many alternatives is tried only where a rarer word stands."""
    if pattern is _LICENSE_LINE:
        yield from pattern.finditer(text)
    elif pattern is _UNDER:
        end = 0
        for verb in itertools.islice(_UNDER_VERB.finditer(text), _MAX_VERBS):
            if verb.start() >= end and (found := pattern.match(text, verb.start())):
                end = found.end()
                yield found
    else:
        for word in itertools.islice(_LICENSED.finditer(text), _MAX_VERBS):
            if found := pattern.search(text, max(0, word.start() - 90), word.start()):
                yield found

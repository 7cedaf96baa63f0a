"""READMEs: the licence section speaks for the package; failing that a line, a sentence or a badge."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from filters.license_doubt import denied, narrowed
from filters.license_finding import Finding, granted, reserved
from filters.license_metadata import card_marks
from filters.license_named import name_in, named_marks
from filters.license_names import parse_declared
from filters.license_notices import grant_marks
from filters.license_policy import canonical, permissive
from filters.license_statements import named_licenses
from filters.license_text import text_marks

_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*(?:[\w&/ ]{0,20} )?(?:the )?(?:un)?licen[sc](?:e|ing)\b[^\n]{0,40}|"
    r"(?:copyright (?:and|&) )?licen[sc](?:e|ing)(?: information)?:?[ \t]*\n[ \t]*[=~\-*^]{3,}|"
    r"<h\d[^>]*>[^<\n]{0,20}licen[sc]e[^<\n]{0,20}</h\d>)",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_HEADING = re.compile(r"\n[ \t]*#{1,6}[ \t]|\n[^\n]{2,80}\n[ \t]*[=~\-]{3,}[ \t]*\n|<h\d")
_FIRST_NAME = re.compile(
    r"\b((?:the )?(?:MIT|ISC|Apache|BSD|[23]-clause BSD|GNU|A?L?GPL|MPL|Mozilla Public|Unlicense|Zlib|WTFPL|CC0|"
    r"CC[- ]BY|"
    r"Creative Commons|Boost|Artistic|Eclipse|EPL|PSF|Zope|ZPL|Blue ?Oak|0BSD|AFL|public domain)[^\n|*_`\[\]]{0,50})",
    re.IGNORECASE,
)
_BADGE = re.compile(
    r"licen[sc]e[-/](?:%20)?([A-Za-z0-9.+%_ ]+?(?:--[0-9.A-Za-z]+)*)-(?:[a-z]+|[0-9a-f]{3,6})\.svg", re.IGNORECASE
)
_ALT = re.compile(
    r"(?:!\[|:alt:[ \t]*)licen[sc]e[ \t]?[:( –-]{1,3}([A-Za-z0-9][A-Za-z0-9.+ -]{1,30}?)[ )]*(?:\]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_SHORT_LINE = re.compile(
    r"^[ \t*_>-]*((?:MIT|ISC|Apache|BSD)[^\n]{0,20}?(?:licen[sc]ed?)?)[ \t]*(?:©|\(c\)|copyright)[^\n]*$", re.I | re.M
)


def readme_marks(content: str) -> list[Finding]:
    """A README speaks for its package in its licence section, failing that in a line, a sentence or a badge."""
    marks: list[Finding] = card_marks(content)
    for heading in itertools.islice(_HEADING.finditer(content), 50):
        end = _NEXT_HEADING.search(content, heading.end())
        stop = min(end.start() if end else len(content), heading.end() + 4000)
        section = content[heading.end() : stop]
        inline = heading[0].split(":", 1)
        named = _names_in_section(section, inline[1].strip(" *_`") if len(inline) == 2 else "")
        if named:
            restriction = permissive(named) and narrowed(section, 0, min(len(section), 700))
            mark = reserved(restriction, heading.start(), stop, 0.85, "license-text") if restriction else None
            marks.append(mark or granted(named, "license-text", heading.start(), stop, 0.85))
        marks += [mark for mark in named_marks(section, heading.end()) if mark.spdx is None]
        # A second licence, for data or documentation, counts when it is stricter.
        for other, first, last in named_licenses(section):
            if not permissive(other):
                marks.append(granted(other, "license-text", heading.end() + first, heading.end() + last, 0.8))
        arms = (named or "").split(" OR ")
        marks += [mark for mark in grant_marks(section, heading.end()) if len(arms) < 2 or mark.spdx not in arms]
    if marks:
        return marks
    marks = list(_spelled_marks(_SHORT_LINE, content))
    if not marks:
        marks = list(named_marks(_MARKUP.sub(lambda markup: " " * len(markup[0]), content), 0))[:1]
    if not marks:
        marks = list(_spelled_marks(_BADGE, content)) or list(_spelled_marks(_ALT, content))
    return marks or text_marks(content)


def _spelled_marks(pattern: re.Pattern[str], content: str) -> Iterator[Finding]:
    for found in itertools.islice(pattern.finditer(content), 50):
        spelled = found[1].replace("--", "-").replace("%20", " ").replace("_", " ").strip()
        if named := parse_declared(spelled):
            yield granted(named, "license-text", *found.span(), 0.75)


_MARKUP = re.compile(r"\]\([^)\[\n]{0,300}\)|\]\[[^\]\n]{0,100}\]|&[a-z]{2,8};|[*_`\[\]]")


def _names_in_section(section: str, inline: str) -> str | None:
    """The licence, or licences, that a licence section names."""
    if inline and (named := parse_declared(inline)):
        return named
    text = re.sub(
        r"\]\([^)]{0,300}\)|^\s*\[[^\]]{0,100}\]: .*$|<[^>\s]{0,300}>`?_?|[*_`\[\]\"“”]",
        " ",
        section[:1500],
        flags=re.MULTILINE,
    )
    text = re.sub(r"[ \t]+", " ", text).strip(" -:=~\n")
    dual = bool(re.search(r"\bdual|\beither\b|at your (?:choice|option)", text, re.IGNORECASE))
    names = {found.spdx for found in named_marks(text + "\n", 0) if found.spdx}
    if not names:
        leading = _leading_name(re.sub(r"https?://\S+", " ", text).replace("\n", " ; "))
        return leading
    return canonical((" OR " if dual else " AND ").join(f"({name})" for name in sorted(names)))


def _leading_name(section: str) -> str | None:
    """The licence that a licence section opens with: `MIT © Jane`, `ISC. Go nuts.`, `The MIT License (MIT)`."""
    opening = re.split(
        r"(?<!\bv)[.;](?: |\Z)| ; |©|\(c\)| see |copyright|, | - | – ", section[:160] + " ", flags=re.IGNORECASE
    )[0]
    words = opening.split()
    for count in range(min(len(words), 9), 0, -1):
        if named := name_in(" ".join(words[:count])):
            return named
    found = _FIRST_NAME.search(section[:160])
    if found and found.start() < 60 and not denied(section, found.start()):
        words = found[1].split()
        for count in range(min(len(words), 7), 0, -1):
            if named := name_in(" ".join(words[:count]).strip(" ,.()")):
                return named
    return None

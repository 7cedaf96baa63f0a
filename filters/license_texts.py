"""Which licences a text holds whole: the index's matches, relatives told apart, and what somebody added to them.

Two things no fingerprint can know are left to words. Relatives that share nearly everything are told apart by the one
clause in which they differ (`[[relative]]` of the lists: ISC is 0BSD with "provided that the above copyright notice").
And a licence with a restriction written into or under it ("not for commercial use", "for good, not evil", a Commons
Clause) is no longer that licence: words of restriction are looked for in what the licence does not explain, so that
the Unlicense, which says "commercial or non-commercial" itself, is left alone.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from filters.license_index import CONTAINMENT, Match, find_texts
from filters.license_policy import permissive, policy_lists


@dataclass(frozen=True, slots=True)
class WholeText:
    """A licence text or its prescribed notice.

    Attributes:
        spdx: SPDX id.
        start, end: code points.
        containment: share of it that is there.
        sure: whether it is that licence; else it only resembles it.
        added: kind of restriction that somebody added (a key of the lists' `[opt_out]`, or `other_terms`).
    """

    spdx: str
    start: int
    end: int
    containment: float
    sure: bool
    added: str | None


def whole_texts(text: str) -> list[WholeText]:
    """The licences whose text is in `text`, in the order in which they stand."""
    if not _HOPE.search(text):
        return []
    found = []
    matches = sorted(find_texts(text, RESEMBLANCE), key=lambda match: match.start)
    for number, match in enumerate(matches):
        region = text[match.start : match.end]
        # A disclaimer is most of a short licence, and grants nothing.
        if not _GRANTS.search(region):
            continue
        spdx_id, added = _told_apart(match.spdx, region), None
        if permissive(spdx_id):
            last = matches[number - 1].end if number else 0
            following = matches[number + 1].start if number + 1 < len(matches) else len(text)
            inside = [text[start:end] for start, end in match.foreign]
            added = (
                added_restriction("\n".join(inside))
                or added_restriction(text[match.end : min(following, match.end + 900)])
                or added_restriction(text[max(last, match.start - 700) : match.start])
                or _other_terms(inside)
            )
        sure = match.containment >= CONTAINMENT or (match.containment >= _EDITED and _small_edits(match))
        if match.notice and match.containment < _NOTICE:
            continue
        found.append(WholeText(spdx_id, match.start, match.end, match.containment, sure, added))
    return found


# A text with so much of a licence was made from it, and is read for restrictions; with so much, and nothing but small
# changes, it still is that licence. Below CONTAINMENT no published matcher goes.
RESEMBLANCE = 0.55
_EDITED = 0.6
_NOTICE = 0.9  # notices are short, and those of the GNU licences and of others made after them differ in a name


def _small_edits(match: Match) -> bool:
    """Whether what is not the licence's own comes in few words at a time, and the match is long enough to tell."""
    return (
        match.end - match.start > 500
        and all(end - start < 90 for start, end in match.foreign)
        and all(permissive(rival) == permissive(match.spdx) for rival in match.rivals)
    )


_CONDITIONS = re.compile(
    r"\b(?:must|shall|required?|provided that|conditions?|may not|only if|agree|prohibit\w*)\b", re.I
)


def _other_terms(inside: list[str]) -> str | None:
    """Whether a clause of 30 words or more stands in the licence that is none of its own and that demands something."""
    long = [part for part in inside if part.count(" ") >= 30 and _CONDITIONS.search(part)]
    return "other_terms" if long else None


def added_restriction(text: str) -> str | None:
    """The kind of restriction that words beside a free licence add to it; None when they add none."""
    for restriction, pattern in _ADDED:
        if pattern.search(text):
            return restriction
    return None


_HOPE = re.compile(
    r"permi(?:t|ssion)|redistribut|licen[sc]e|warrant|grant|public domain|lizenz|licença|许可", re.IGNORECASE
)
_GRANTS = re.compile(
    r"permi(?:t|ssion)|grant|redistribut|\bfree(?:ly)?\b|\bmay (?:use|copy|be used|modify|redistribute|do)|"
    r"dedicat|public domain|waive|licen[sc]ed? |accord|conced|autoris|verbatim|许可|unlimited",
    re.IGNORECASE,
)
_ADDED = (
    (
        "noncommercial",
        re.compile(
            r"(?<!commercial or )(?<!commercially or )(?<!commercial and )"
            r"non[- ]?commercial(?! or commercial| and commercial)|"
            r"(?<!or )\bnot\b[^.;\n]{0,40}\bcommercial|"
            r"commercial (?:use|purpose|redistribution|distribution|product|usage)\w*[^.;]{0,60}"
            r"(?:prohibit|not (?:be )?(?:permit|allow)|forbid|requires?\b|contact|written permission|separate licen|"
            r"purchas)|"
            r"(?:may|must|shall|can)(?: ?not| never)[^.;]{0,30}\b(?:sold|sell|resold|rented)\b|commons clause|"
            r"(?:personal|academic|research|educational|evaluation|internal|non-?production|scientific)"
            r"(?: \w+){0,3} (?:use|purposes?) only|"
            r"only (?:be used )?for (?:personal|academic|research|educational|evaluation|internal)",
            re.IGNORECASE,
        ),
    ),
    (
        "proprietary",
        re.compile(
            r"good,? (?:and )?not evil|\bmilitary\b|\bweapons?\b|nuclear (?:facilit|power|weapon|energy)|"
            r"may not be (?:modified|altered)|(?:must|may|shall) not be redistributed|no redistribution",
            re.IGNORECASE,
        ),
    ),
    (
        "no_ai",
        re.compile(
            r"(?:\bnot\b|prohibit|forbid|without)[^.;\n]{0,80}"
            r"(?:machine[- ]learning|artificial intelligence|\bAI\b|language model)|"
            r"(?:machine[- ]learning|artificial intelligence|\bAI\b|language model)[^.;\n]{0,60}"
            r"(?:\bnot\b|prohibit|forbid)",
            re.IGNORECASE,
        ),
    ),
)


def _told_apart(spdx_id: str, region: str) -> str:
    words = " ".join(re.findall(r"[a-z0-9.]+", region.lower()))
    for rule in _relatives():
        if any(spdx_id == name or (name.endswith("*") and spdx_id.startswith(name[:-1])) for name in rule.found):
            if spdx_id in rule.but:
                continue
            if all(phrase in words for phrase in rule.has) and not any(phrase in words for phrase in rule.lacks):
                spdx_id = rule.is_id
    return spdx_id


@dataclass(frozen=True, slots=True)
class _Relative:
    found: tuple[str, ...]
    but: tuple[str, ...]
    has: tuple[str, ...]
    lacks: tuple[str, ...]
    is_id: str


@functools.cache
def _relatives() -> tuple[_Relative, ...]:
    return tuple(
        _Relative(
            tuple(rule["found"]), tuple(rule.get("but", ())), tuple(rule.get("has", ())),
            tuple(rule.get("lacks", ())), rule["is"],
        )
        for rule in policy_lists()["relative"]
    )  # fmt: skip

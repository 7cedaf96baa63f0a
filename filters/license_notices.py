"""Notices and titles of licences, by phrases that only they hold, in what no whole text accounts for.

The GNU licences are read by their notice first, since only it says "only" or "or later". Phrases are data (`[[text]]`
of the lists), words in lower case. Several licences in one text all apply, unless words of choice stand about them.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from filters.license_doubt import denied, narrowed
from filters.license_finding import Finding, granted, reserved
from filters.license_names import GNU_FAMILIES, GNU_FIRST, cc_id, cc_in_words
from filters.license_policy import canonical, known_id, permissive, policy_lists
from filters.license_texts import WholeText, added_restriction, whole_texts

_WORD = re.compile(r"[a-z0-9][a-z0-9.+]*", re.IGNORECASE)


class _Words:
    """A text as lower-case words with single spaces, and the way back to the places in the original."""

    def __init__(self, text: str, base: int):
        self.text = _FULL_STOP.sub("", " ".join(_WORD.findall(text)).lower())
        self._original, self._base = text, base

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Code point range in the original of a range of `text`."""
        first = self.text.count(" ", 0, start)
        last = first + self.text.count(" ", start, max(start, end - 1))
        begin = stop = 0
        for number, word in enumerate(itertools.islice(_WORD.finditer(self._original), last + 1)):
            begin, stop = (word.start() if number == first else begin), word.end()
        return self._base + begin, self._base + stop


_FULL_STOP = re.compile(r"\.+(?= |\Z)")


@functools.cache
def _texts() -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """The lists' `[[text]]`: id, phrases that must all be there (the first marks the place), phrases that must not."""
    return tuple((text["id"], tuple(text["has"]), tuple(text.get("lacks", ()))) for text in policy_lists()["text"])


_CC_TITLE = re.compile(
    r"\b(?:under (?:the|a|an) )?creative commons (?:legal code )?(attribution[a-z ]{0,40}?)(?: license)?"
    r"(?: public license)?(?: version)? ([1-4]\.[05])"
)
_GNU_TITLE = re.compile(
    r"gnu (?P<family>general public|lesser general public|library general public|affero general public|"
    r"free documentation) license(?: gnu [a-z ]{5,30} license)? version (?P<version>[1-3](?:\.\d)?) (?:\d+ )?"
    r"(?:june|february|november|march|january) (?:\d+ )?(?:19|20)\d\d"
)
_GNU_MENTION = re.compile(
    r"(?:gnu )?(?P<family>lesser general public|library general public|affero general public|general public|"
    r"lesser or library general public|library or lesser general public|lesser gpl|"
    r"free documentation|(?<=gnu )public|lgpl|agpl|gpl|gfdl)(?: licen[sc]es?)?(?: agpl| lgpl| gpl| gfdl)?"
    r"(?P<version> ?(?:v|version|versions|license version)? ?(?P<number>[1-3](?:\.[0-9])?)(?P<plus>\+)?(?!\d))?"
)
_GRANT_BEFORE = re.compile(
    r"(?:under (?:the )?(?:terms (?:and conditions )?(?:of )?)?(?:either )?(?:the )?(?:the |a |an )?|"
    r"terms of (?:either )?(?:the |an? )?|"
    r"(?:licen[sc]ed (?:under )?(?:the |as |is )?|licen[sc]e (?:under (?:the )?|is (?:the )?))|"
    r"covered by (?:the )?|using the |subject to the (?:terms of the )?|"
    r"either version [123][0-9. ]* of the |conditions of the |version [123][0-9. ]* of the )\Z"
)
_GNU_VERSION = re.compile(r"(?:either )?\b(?:version|v) ?([1-3](?:\.\d)?)\b")
_OR_LATER = re.compile(
    r"\bor (?:at your option |if you wish )?(?:any )?(?:later|newer|greater)|\d\+|or at your choice any later"
)
_CHOICE = re.compile(
    r"dual licen[sc]|dually licen[sc]|tri licen[sc]|under (?:the terms of )?(?:either|any one|one) (?:of )?|"
    r"at your (?:choice|option) (?:under|of|either)|"
    r"either of the following licen[sc]es|(?:may |can )?choose (?:either|one of|between)|"
    r"alternatively (?:this|the|you|it)|(?:license|licence|2.0|mit|bsd|apache) or (?:the )?(?:gnu|gpl|mit|bsd|"
    r"apache|lgpl)"
)
_TEXT_END = ("how to apply these terms to your", "end of terms and conditions", "addendum how to use this license")


def grant_marks(text: str, base: int, whole: bool = False, texts: bool = True) -> list[Finding]:
    """Licence texts and notices in `text`, which stands `base` code points into the content.

    Args:
        whole: whether `text` is a licence file rather than a part of something else.
        texts: whether a whole licence text may be in it.

    Texts that the index knows come first and are struck out: what a licence says of other licences, and the example
    notice at its end, grants nothing. Notices and titles are then read in what is left.
    """
    candidates = whole_texts(text) if texts else []
    sure = [known for known in candidates if known.sure]
    rest = text
    for known in sure:
        rest = rest[: known.start] + _struck_out(rest[known.start : known.end]) + rest[known.end :]
    words = _Words(rest, base)
    found = _noticed(words, whole)
    if any(known.spdx.startswith("CC-") for known in sure):
        found = {name: place for name, place in found.items() if not name.startswith("CC-")}
    places = {spdx_id: words.place(*range_) for spdx_id, range_ in found.items()}
    _correct(places, candidates, base)
    places = {name: at for name, at in places.items() if not (permissive(name) and denied(text, at[0] - base))}
    added = _added(rest, candidates, places, base)
    for known in sure:
        if not _said_by_notice(known.spdx, found):
            places.setdefault(known.spdx, (base + known.start, base + known.end))
    if not places:
        return []
    start, end = min(places.values())
    if added:  # the free licence that it was no longer is the whole truth, so none is named
        return [reserved(added, start, end, 0.9, "license-text")]
    if len(places) > 1:
        begins = [place[0] - base for place in places.values()]
        last = max(place[1] - base for place in places.values())
        choice = _offers_choice(rest, min(begins), max(begins), last, len(places))
        expression = (" OR " if choice else " AND ").join(f"({name})" if " " in name else name for name in places)
        spdx_id = canonical(expression)
    else:
        spdx_id = next(iter(places))
    return [granted(spdx_id, "license-text", start, end, 0.95 if whole else 0.9)]


def _added(rest: str, candidates: Sequence[WholeText], places: Mapping[str, tuple[int, int]], base: int) -> str | None:
    """What was added to a text that is a free licence, or that is taken for one by its phrases."""
    for known in candidates:
        taken = (known.start + base <= start and end <= known.end + base + 200 for start, end in places.values())
        if known.added and (known.sure or any(taken)):
            return known.added
    for name, (start, end) in places.items():
        if not permissive(name):
            continue
        if _BODY.match(rest[start - base : end - base]):
            added = added_restriction(rest[max(0, start - base - 700) : start - base + 2500])
        else:
            added = narrowed(rest, start - base, end - base)
        if added:
            return added
    return None


_BODY = re.compile(r"permission\s|redistribution\s", re.IGNORECASE)  # a licence's own words, not its name


def _correct(places: dict[str, tuple[int, int]], candidates: Sequence[WholeText], base: int) -> None:
    """A phrase that names a free licence within a text that resembles another that is not permissive names that one."""
    for known in candidates:
        if known.sure or permissive(known.spdx):
            continue
        for name, (start, end) in list(places.items()):
            if permissive(name) and known.start + base <= start and end <= known.end + base + 200:
                places[known.spdx] = places.pop(name)


def _struck_out(text: str) -> str:
    return "\n".join(" " * len(line) for line in text.split("\n"))


def _said_by_notice(spdx_id: str, noticed: Iterable[str]) -> bool:
    """Whether a notice says more of the same: the version or later, or a licence of which this text is a part."""
    if any(spdx_id.replace("-only", "-or-later") in other.split(" OR ") for other in noticed):
        return True
    found = re.match(r"(AGPL|LGPL|GPL|GFDL)-(\d)", spdx_id)
    if not found:
        return False
    families = [found[1], "LGPL"] if found[1] == "GPL" else [found[1]]
    return any(re.match(rf"{family}-", other) for family in families for other in noticed)


def _noticed(words: _Words, whole: bool) -> dict[str, tuple[int, int]]:
    """Ids that titles and notices name, with their range in `words.text`."""
    found: dict[str, tuple[int, int]] = {}
    for spdx_id, (anchor, *others), absent in _texts():
        place = words.text.find(anchor)
        if place < 0 or spdx_id in found:
            continue
        near = words.text[max(0, place - 300) : place + 3500]
        if all(phrase in near for phrase in others) and not any(phrase in near for phrase in absent):
            found[spdx_id] = (place, place + len(anchor))
    for title in _CC_TITLE.finditer(words.text):
        if (whole or title[0].startswith("under")) and (named := cc_in_words(title[0])):
            found.setdefault(named, title.span())
    if whole and "this creative commons public license" in words.text and (code := _cc_legal_code(words.text)):
        place = words.text.find("this creative commons public license")
        found.setdefault(code, (place, place + 36))
    found.update(_gnu_marks(words.text))
    for choice in [name for name in found if " OR " in name]:  # said as a choice, so not also as both
        found = {name: place for name, place in found.items() if name == choice or name not in choice.split(" OR ")}
    # A text of one licence names others: what it says of them is not a grant.
    for host, guests in _GUESTS:
        if host in found and (whole or host.startswith("Artistic-1")):
            strange = tuple(guest + "-" for guest in guests)
            found = {name: place for name, place in found.items() if name == host or not name.startswith(strange)}
    return found


_GUESTS = (
    ("MPL-2.0", ("GPL", "LGPL", "AGPL")),
    ("EPL-2.0", ("GPL", "LGPL")),
    ("EUPL-1.2", ("GPL", "LGPL", "AGPL", "MPL", "EPL", "LPPL")),
    ("Artistic-2.0", ("GPL",)),
    ("PSF-2.0", ("GPL", "HPND", "CNRI", "ISC")),
    ("Artistic-1.0-Perl OR GPL-1.0-or-later", ("GPL", "Artistic", "LGPL")),
    ("PHP-3.01", ("BSD",)),
    ("OFL-1.1", ("GPL",)),
    ("wxWindows", ("GPL", "LGPL")),
    ("LPPL-1.3c", ("GPL",)),
    ("ZPL-2.1", ("BSD",)),
    ("Ruby", ("GPL",)),
    ("FSL-1.1-MIT", ("MIT",)),
    ("FSL-1.1-ALv2", ("Apache",)),
)


def _offers_choice(text: str, first: int, last: int, end: int, count: int) -> bool:
    """Whether the licences from `first` to `last` are alternatives: two or three, with words of choice about them.

    A file of third-party notices names many and says "either" somewhere; as a choice it would make GPL permissive. So
    the words must stand before the first of them or between two, near the beginning.
    """
    if count > 3:
        return False
    window = " ".join(_WORD.findall(text[max(0, first - 900) : min(len(text), end, first + 1200)].lower()))
    return _CHOICE.search(window) is not None


def _gnu_marks(text: str) -> dict[str, tuple[int, int]]:
    """GNU licences that `text` (words) is, or that its notices grant: the notice first, it knows of later versions."""
    titled: dict[str, tuple[str, int, int]] = {}
    titles = list(_GNU_TITLE.finditer(text))
    for title in titles:
        titled.setdefault(GNU_FAMILIES[title["family"]], (_gnu_version(title["version"]), title.start(), title.end()))
    limit = titles[0].start() if titles else len(text)
    best: dict[str, tuple[int, str, int, int]] = {}  # family -> how much the mention says, id, place
    for mention in _GNU_MENTION.finditer(text, 0, limit):
        before = text[max(0, mention.start() - 80) : mention.start()]
        if not _GRANT_BEFORE.search(before):
            continue
        name = mention["family"].replace("or ", "")
        family = next((value for key, value in GNU_FAMILIES.items() if key in name), "GPL")
        after = text[mention.end() : mention.end() + 170]
        next_mention = _GNU_MENTION.search(after)
        if next_mention and next_mention.start() > 0:
            after = after[: next_mention.start()]
        version, later = mention["number"], bool(mention["plus"])
        if version is None:
            number = _GNU_VERSION.search(after) or _last(_GNU_VERSION, before[-40:])
            version = number[1] if number else None
        later = later or bool(_OR_LATER.search(after)) or bool(version and _OR_LATER.search(before[-60:]))
        said = 2 * (version is not None) + later
        suffix = "or-later" if later or version is None else "only"
        spdx_id = known_id(f"{family}-{_gnu_version(version) if version else GNU_FIRST[family]}-{suffix}")
        if spdx_id is None:
            spdx_id = f"{family}-{GNU_FIRST[family]}-or-later"
        if family not in best or said > best[family][0]:
            best[family] = (said, spdx_id, mention.start(), mention.end())
    found = {}
    for _, spdx_id, start, end in best.values():
        if "special exception" in text and "bison parser skeleton" in text:
            spdx_id += " WITH Bison-exception-2.2"
        elif "generated by autoconf" in text and "special exception" in text:
            newer = "autoconf configure script exception version 3.0" in text
            spdx_id += f" WITH Autoconf-exception-{'3.0' if newer else '2.0'}"
        elif "special exception" in text and "with the openssl library" in text:
            spdx_id += " WITH openvpn-openssl-exception"
        elif "built using gnu libtool" in text:
            spdx_id += " WITH Libtool-exception"
        elif "special exception the copyright holders" in text and "link this library with independent modules" in text:
            spdx_id += " WITH Classpath-exception-2.0"
        found[spdx_id] = (start, end)
    if titled:
        family = min(titled, key=lambda family: titled[family][1])  # the outer text comes first
        if family not in best:
            version, start, end = titled[family]
            spdx_id = known_id(f"{family}-{version}-only")
            if spdx_id:
                found[spdx_id] = (start, end)
    return found


def _cc_legal_code(text: str) -> str | None:
    """The Creative Commons 3.0 licence whose legal code, without its title, this is: by what its clauses allow."""
    if "adaptation" not in text:
        return None
    elements = ["BY"]
    if "primarily intended for or directed toward commercial advantage" in text:
        elements.append("NC")
    if "with the same license elements as this license" in text:
        elements.append("SA")
    elif "to create and reproduce adaptations" not in text:
        elements.append("ND")
    return cc_id("-".join(elements), "3.0", None)


def _gnu_version(number: str) -> str:
    return number if "." in number else number + ".0"


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(reversed(list(pattern.finditer(text)))), None)

"""Creative Commons statements in extracted text, where lines are all the structure left.

A statement is told by its build and its place, with words of some sixty languages as data (`[words]` of the lists), and
not symmetrically: a restriction in a short line at the page's edge needs no word that we know, a permission needs a
licence word or a sign of copyright, and both yield to talk and to other people's pictures, data and software. On 75
statements in 40 languages and 75 others set aside before tuning: 74 right, no false claim; the same author wrote both,
so real pages will do worse.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from filters.license_finding import Finding, granted, reserved
from filters.license_gate import SENTENCE_END, SIDE_MARKS, Window, sentence_at
from filters.license_names import CC_NAMES, CC_PATTERNS, CC_URL, cc_id, cc_id_of_url, cc_in_words
from filters.license_policy import permissive, policy_lists
from filters.license_sentences import TALKS
from filters.license_texts import added_restriction

_CC_STATEMENT = re.compile(
    r"(?<![A-Za-z0-9])CC[ \u2010-\u2013-]{0,2}(?:(?P<zero>0|zero)(?![A-Za-z])|"
    r"BY(?P<elements>(?:[ \u2010-\u2013-]{1,3}(?:NC|ND|SA)){0,2})(?![A-Za-z]))"
    r"(?:[ \u2010-\u2013-]{0,2}(?:v\.? ?)?(?P<number>[1-4]\.[05])(?!\d))?"
    r"(?:[ -](?P<port>DE|AT|CH|US|UK|FR|IT|ES|NL|AU|BR)\b)?|"
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org/(?:licen[sc]es/(?:by|publicdomain)|publicdomain/)"
    r"[^\s<>\"')\]]{0,60}|"
    rf"(?:{CC_NAMES})",
    re.IGNORECASE,
)
_SHORT = 200  # code points of a notice; longer sentences tell a story
_EDGE_LINES = 4
_QUOTES = tuple("“”\"«»„'‘’”「『")
_SPACED = re.compile(r"[\W\d_a-z\u00c0-\u024f\u1e00-\u1eff\u0370-\u03ff\u0400-\u058f\u10a0-\u10ff]+", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]+")
_BEYOND_SPACED = re.compile(r"[\u0590-\u109f\u1100-\u1dff\u2e80-\uffff]")


class _Lexicon:
    """The lists' `[words]` of one concept; a set of words costs the same however many languages it speaks."""

    def __init__(self, words: Iterable[str]):
        spaced = [word.lower() for word in words if _SPACED.fullmatch(word.replace("*", ""))]
        joined = [word for word in words if not _SPACED.fullmatch(word.replace("*", ""))]
        phrases = [re.escape(word.rstrip("*")) for word in spaced if not _LETTERS.fullmatch(word.rstrip("*"))]
        self._exact = frozenset(word for word in spaced if not word.endswith("*"))
        self._stems = frozenset(word[:-1] for word in spaced if word.endswith("*"))
        self._lengths = sorted({len(stem) for stem in self._stems})
        self._phrases = re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)") if phrases else None
        self._joined = re.compile("|".join(map(re.escape, joined)))
        self._known: dict[str, bool] = {}

    def find(self, text: str) -> int:
        """Where the first of the words stands, -1 when none does."""
        text = text.lower()
        places = []
        for word in _LETTERS.finditer(text):
            if self._has_word(word[0]):
                places.append(word.start())
                break
        if self._phrases and (phrase := self._phrases.search(text)):
            places.append(phrase.start())
        if _BEYOND_SPACED.search(text) and (joined := self._joined.search(text)):
            places.append(joined.start())
        return min(places, default=-1)

    def _has_word(self, word: str) -> bool:
        known = self._known.get(word)
        if known is None:
            if len(self._known) > 50_000:
                self._known.clear()
            known = word in self._exact or any(word[:length] in self._stems for length in self._lengths)
            self._known[word] = known
        return known

    def has(self, text: str) -> bool:
        """Whether one of the words is in the text."""
        return self.find(text) >= 0


@functools.cache
def _words(concept: str) -> _Lexicon:
    return _Lexicon(policy_lists()["words"][concept])


def statement_marks(
    content: str, windows: Sequence[Window], notice: Callable[[int], bool] | None = None
) -> Iterator[Finding]:
    """Creative Commons marks in extracted text that speak for the page; looked for in `windows`.

    A mark counts when its sentence names the page or its text ("this recipe", "all contents"), or when it stands where
    pages put a notice, in the first or last lines, in a short line. The rule is not symmetric: a restriction needs no
    word that we know beside it, a permission needs a licence word or a copyright sign, and both yield to talk,
    quotation, several licences side by side and to what belongs to others (pictures, data, software).
    """
    in_windows = (mark for start, end in _near_hits(windows) for mark in _CC_STATEMENT.finditer(content, start, end))
    found = sorted({mark.start(): mark for mark in in_windows}.values(), key=lambda mark: mark.start())
    if len(found) > 2 * SIDE_MARKS:
        found = found[:SIDE_MARKS] + found[-SIDE_MARKS:]
    if not found:
        return
    head, foot = _edges(content)
    named = [_statement_id(content, mark, found[k + 1] if k + 1 < len(found) else None) for k, mark in enumerate(found)]
    for number, mark in enumerate(found):
        spdx_id, explicit = named[number]
        if spdx_id is None:
            continue
        begin, stop = sentence_at(content, mark.start(), mark.end())
        near = {
            named[k][0] for k in range(max(0, number - 4), min(len(found), number + 5))
            if named[k][0] and abs(found[k].start() - mark.start()) < 500
        }  # fmt: skip
        after = found[number - 1].end() if number and found[number - 1].end() > begin else begin
        before_next = (
            found[number + 1].start() if number + 1 < len(found) and found[number + 1].start() < stop else stop
        )
        edge = mark.start() < head or mark.start() >= foot or (notice is not None and notice(mark.start()))
        if _notifies(content, mark, (begin, stop), (after, before_next), spdx_id, explicit, edge, len(near)):
            end = max(mark.end(), min(stop, mark.start() + 160))
            if permissive(spdx_id) and (restriction := _narrowed(content, begin, mark.start(), stop)):
                yield reserved(restriction, mark.start(), end, 0.8)
            else:
                yield granted(spdx_id, "cc-mark", mark.start(), end, 0.8)


def named_licenses(text: str) -> Iterator[tuple[str, int, int]]:
    """Creative Commons licences that a short text names, with their places, whatever it says of them."""
    found = list(itertools.islice(_CC_STATEMENT.finditer(text), 2 * SIDE_MARKS))
    for mark, following in itertools.zip_longest(found, found[1:]):
        spdx_id, _ = _statement_id(text, mark, following)
        if spdx_id:
            yield spdx_id, mark.start(), mark.end()


def _narrowed(content: str, begin: int, place: int, stop: int) -> str | None:
    """The restriction that the rest of the sentence, or the next one, adds to a permissive licence."""
    if restriction := added_restriction(content[begin:place] + " \x00 " + content[place:stop]):
        return restriction
    following = content[stop + 1 : sentence_at(content, stop + 1, stop + 1)[1]] if stop < len(content) else ""
    return None if _words("other").has(following) else added_restriction(following)


def _near_hits(windows: Sequence[Window]) -> Iterator[tuple[int, int]]:
    """Where a mark can stand: an address begins before the word that the gate finds in it."""
    begin = end = 0
    for window in windows:
        for hit in window.cc:
            if end and hit - 14 <= end:
                end = hit + 120
                continue
            if end:
                yield begin, end
            begin, end = max(0, hit - 14), hit + 120
    if end:
        yield begin, end


def _edges(content: str) -> tuple[int, int]:
    """Where the first lines end and where the last ones begin."""
    head = 0
    for _ in range(_EDGE_LINES - 1):
        head = content.find("\n", head) + 1
        if not head or head > 1_000:
            head = min(len(content), 300)
            break
    foot = len(content.rstrip())
    for _ in range(_EDGE_LINES):
        above = content.rfind("\n", 0, foot)
        if above < 0 or above < len(content) - 800:
            break
        foot = above
    return head, min(foot, max(0, len(content) - 200))


def _statement_id(content: str, mark: re.Match[str], following: re.Match[str] | None) -> tuple[str | None, bool]:
    """The licence a mark names, and whether it names it in full."""
    line_end = content.find("\n", mark.end(), mark.end() + 160)
    rest = content[mark.start() : line_end if line_end >= 0 else mark.start() + 160]
    if mark["zero"]:
        return "CC0-1.0", True
    if "creativecommons.org/" in mark[0].lower():
        url = CC_URL.search(mark[0])
        return (cc_id_of_url(url), True) if url else (None, False)
    if mark["elements"] is None:
        name = cc_in_words(rest)
        version = re.search(r"(?<![\d.])[1-4]\.[05](?!\d)", rest)
        if name and _CC_TYPE_BY.match(name) and _unknown_element(rest):
            return None, False
        return name, version is not None
    elements = set(re.findall("NC|ND|SA", mark["elements"].upper()))
    stop = following.start() if following else len(content)
    said = SENTENCE_END.split(content[mark.end() : min(stop, mark.start() + 160)], maxsplit=1)[0]
    elements |= {name.upper() for name in ("nc", "nd") if CC_PATTERNS[name].search(said)}
    if "ND" in elements:
        elements.discard("SA")
    kind = "-".join(["BY", *(name for name in ("NC", "ND", "SA") if name in elements)])
    return cc_id(kind, mark["number"], mark["port"]), mark["number"] is not None


_CC_TYPE_BY = re.compile(r"CC-BY-\d")


def _unknown_element(rest: str) -> bool:
    """Whether something that may be an element in a language we do not know is joined to `Attribution`."""
    by = CC_PATTERNS["by"].search(rest)
    joined = by and re.match(r"[^\W\d_]*\s?[-–—‑・/]\s?([^\W\d_]+)", rest[by.end() :])
    return bool(joined and not _words("license").has(joined[1]))


def _notifies(
    content: str, mark: re.Match[str], sentence: tuple[int, int], segment: tuple[int, int], spdx_id: str,
    explicit: bool, edge: bool, licenses_near: int,
) -> bool:  # fmt: skip
    """Whether a mark speaks for its page: `segment` is its part of the sentence, between the marks beside it."""
    begin, stop = sentence
    if clause := _PERMITS.search(content, mark.end(), stop):  # what the licence allows is no talk about it
        stop, segment = clause.start(), (segment[0], max(mark.end(), min(segment[1], clause.start())))
    before, after = content[segment[0] : mark.start()], content[mark.end() : segment[1]]
    words = before + " \x00 " + after
    asked = words + content[stop : stop + 1]
    if before.rstrip(" (")[-1:] in _QUOTES or any(sign in asked for sign in "?？؟") or asked.rstrip().endswith(";"):
        return False
    short, this = stop - begin <= _SHORT, _words("this").has(words)
    if not short and not this:
        return False
    # The names of the elements say "not" and "no" themselves.
    plain = content[begin : mark.start()] + " \x00 " + after
    for element in ("nc", "nd", "sa"):
        if element.upper() in spdx_id:
            plain = CC_PATTERNS[element].sub(" ", plain)
    hedged = _words("unless").has(plain)
    if not hedged and (_words("talk").has(plain) or TALKS.search(plain)):
        return False
    license_word = _words("license").has(words)
    subject, other = _words("text").find(_OF_A_SITE.sub(" ", words)), _words("other").find(_OF_A_SITE.sub(" ", words))
    if other >= 0 and (subject < 0 or other < subject) and not (hedged and subject >= 0):
        return False
    if other < 0 and subject < 0 and (_under_credits(content, begin) or _after_credits(content, begin)):
        return False
    own = this or subject >= 0 or hedged
    restricted = not permissive(spdx_id)
    signed = _SIGN.search(before) is not None
    if licenses_near > 2:
        return bool(own and license_word and (edge or this))
    if licenses_near == 2 and not own and not restricted:
        return False
    if not short:
        return license_word and explicit
    if own and license_word:
        return explicit or restricted or bool(this) or edge
    if restricted:
        return edge or own or signed or _label(before)
    return explicit and edge and ((license_word and _label(before)) or signed or own)


_PERMITS = re.compile(
    r",?\s+(?:which|that|que|qui|die|der|welche|che|który|która)\s+(?:\w+\s+){0,2}?"
    r"(?:permit|allow|permet|permi[st]|consent|erlaub|gestatt|zezwala|autoris|autoriz)",
    re.IGNORECASE,
)
_OF_A_SITE = re.compile(r"\b(?:web ?site|site|blog|page|web) (?=(?:template|theme|design|layout)s?\b)", re.IGNORECASE)
_SIGN = re.compile(r"©|\(c\)|copyright|copyleft|🅭", re.IGNORECASE)


def _label(before: str) -> bool:
    """Whether nothing or next to nothing stands before the mark: `Licence:`, `Licensed under the terms of`."""
    return len(before.strip()) <= 60 and len(before.split()) <= 7


def _under_credits(content: str, begin: int) -> bool:
    """Whether a heading a few lines above says that what follows is owed to others."""
    above = content[max(0, begin - 400) : begin].rstrip().split("\n")[-4:]
    for line in above:
        if 0 < len(line.strip()) <= 60 and not line.rstrip().endswith((".", "。")) and _words("other").has(line):
            return True
    return False


def _after_credits(content: str, begin: int) -> bool:
    """Whether the sentence before, in the same line, speaks of others' things: `Theme by Fen. Licence: CC BY`."""
    line = content[max(0, begin - 200) : begin].rsplit("\n", 1)[-1].rstrip(" .")
    return bool(line) and _words("other").has(SENTENCE_END.split(line)[-1])

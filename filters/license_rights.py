"""Reservations in running text: all rights reserved, no mining, no training.

They need their own company: a sign of copyright or a short line, a verb that forbids. Quoted, reported or followed by a
grant (the headers of free software open with "All rights reserved") they reserve nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import re2

from filters.license_finding import Finding, reserved
from filters.license_gate import RESERVED, SIDE_MARKS, sentence_at

_COPYRIGHT_SIGN = re.compile(r"©|\(c\)|copyright|&copy;|\b(?:19|20)\d\d\b|copr\.|™|®", re.IGNORECASE)
_TDM = re2.compile(
    r"(?i)text[ -]?(?:and|&|und|et|y|e)?[ -]?data[ -]?mining|text- und data-?mining|fouille de textes|"
    r"minería de (?:textos|datos)|2019/790|\bTDM\b"
)
_REPORTS = re.compile(r"\b(?:said|announced|reported|sued|lawsuit|court)\b", re.IGNORECASE)
_AI_USE = re2.compile(
    r"(?i)(?:train|develop|teach|feed|improv|learn|scrap|entraîn|entren|trenow|Training|обуч)\w*[^.!?\n]{0,90}?"
    r"(?:artificial intelligence|machine[- ]learning|\bA\.?I\.?\b|\bKI\b|(?:large )?language models?|\bLLMs?\b|"
    r"generative|"
    r"intelligence artificielle|inteligencia artificial|künstliche\w* intelligenz)|"
    r"(?:artificial intelligence|machine[- ]learning|\bAI\b|\bKI\b|language models?)[^.!?\n]{0,60}?(?:training|"
    r"Training|crawl|scrap)"
)
_FORBIDS = re.compile(
    r"prohibit|forbidden|\bno part of|not (?:be )?(?:permitted|allowed|used|authori[sz]ed)|may not|must not|shall not|"
    r"do not (?:permit|allow|consent|use)"
    r"|without (?:\w+ ){0,4}(?:permission|consent|authori[sz]ation)|reserv|opt(?:s|ed)?[- ]out|vorbehalten|"
    r"vorbehalt|untersagt|"
    r"nicht (?:gestattet|erlaubt)|verboten|interdit|réserv|prohib|reservad|vietat|riservat|zabron|zastrze|запрещ|"
    r"verboden|禁止",
    re.IGNORECASE,
)


# What takes the reservation back: headers of free software open with it.
_GRANT_FOLLOWS = re.compile(
    r"redistribut|permission (?:is|to)|licen[sc]ed under|may be (?:copied|freely|used)|free software|自由|freely|"
    r"autorisé",
    re.IGNORECASE,
)


def reserved_marks(window: str, base: int) -> Iterator[Finding]:
    """All rights reserved, in a line of its own or beside a sign of copyright."""
    for found in itertools.islice(RESERVED.finditer(window), 2 * SIDE_MARKS):
        begin, stop = sentence_at(window, found.start(), found.end())
        if window[max(0, found.start() - 2) : found.start()].rstrip()[-1:] in tuple("“”\"«„'‘”（(「"):
            continue  # quoted, so talked about
        if _GRANT_FOLLOWS.search(window, found.end(), found.end() + 250):
            continue
        near = window[max(begin - 60, 0, found.start() - 160) : min(len(window), found.end() + 80)]
        if _COPYRIGHT_SIGN.search(near) or stop - begin < 100:
            yield reserved("rights_reserved", base + found.start(), base + found.end(), 0.8)
            break


def use_marks(window: str, base: int) -> Iterator[Finding]:
    """Sentences that forbid mining or training."""
    for pattern, restriction in ((_TDM, "tdm_reserved"), (_AI_USE, "no_ai")):
        for found in itertools.islice(pattern.finditer(window), 2 * SIDE_MARKS):
            begin, stop = sentence_at(window, found.start(), found.end())
            sentence = window[begin:stop]
            if _FORBIDS.search(sentence) and "?" not in sentence and not _REPORTS.search(sentence):
                yield reserved(restriction, base + begin, base + stop, 0.8)
                break

"""Which pages any licence rule needs to look at, and where: one google-re2 scan, and windows around its hits.

Nine pages in ten hold none of the words without which no rule can find anything; they cost this scan and no more, 300
MB per CPU second. On the others rules see windows of 400 characters around the hits of their own sort.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import re2

from filters.license_names import CC_NAMES

_RESERVED_PHRASES = (
    "all rights? (?:are )?reserved|alle rechte (?:sind )?vorbehalten|tous droits (?:de reproduction )?réservés|"
    "(?:todos )?los derechos reservados|tutti i diritti (?:sono )?riservati|todos os direitos reservados|"
    "alle rechten voorbehouden|wszelkie prawa zastrzeżone|все права защищены|усі права захищено|"
    "всички права запазени|"
    "všechna práva vyhrazena|všetky práva vyhradené|minden jog fenntartva|toate drepturile (?:sunt )?rezervate|"
    "alla rättigheter (?:är )?(?:förbehållna|reserverade)|alle rettigheter (?:er )?(?:forbeholdt|reservert)|"
    "kaikki oikeudet pidätetään|sva prava (?:pridržana|zadržana)|vse pravice pridržane|tüm hakları saklıdır|"
    "με επιφύλαξη παντός δικαιώματος|tots els drets reservats|bảo lưu mọi quyền|hak cipta dilindungi|"
    "版权所有|版權所有|保留所有权利|保留所有權利|保留一切權利|無断転載|無断複写|모든 권리 보유|무단 ?전재|"
    "جميع الحقوق محفوظة|"
    "کلیه حقوق|تمامی حقوق|כל הזכויות שמורות|सर्वाधिकार सुरक्षित|สงวนลิขสิทธิ์"
)
_LICENSE_WORDS = (
    "licen[csz]|lizenz|licenc|licença|лиценз|ліценз|lisans|lisens|ライセンス|许可|許可|授權|授权|라이선스|"
    "permission (?:is|to)|redistribution and use|redistribute it|free documentation|gfdl|same terms as perl|"
    "unencumbered"
)
_DASHES = " \u2010-\u2013-"
_CC_WORDS = rf"{CC_NAMES}|creativecommons|\bcc[{_DASHES}]{{0,2}}(?:by\b|zero\b|0)|public domain"
_USE_WORDS = (
    r"data[ -]?mining|fouille de (?:textes|données)|minería de|2019/790|artificial intelligence|machine learning|"
    r"(?-i:\bAI\b|\bKI\b)|language models?"
)
# Over UTF-8, so that a page is encoded once and hits need no translation until one is looked at.
_GATE = re2.compile(f"(?i){_LICENSE_WORDS}|{_CC_WORDS}|{_USE_WORDS}|{_RESERVED_PHRASES}".encode())
_WHICH = (
    ("cc", re2.compile(f"(?i){_CC_WORDS}".encode())),
    ("use", re2.compile(f"(?i){_USE_WORDS}".encode())),
    ("reserved", re2.compile(f"(?i){_RESERVED_PHRASES}".encode())),
)
RESERVED = re2.compile("(?i)" + _RESERVED_PHRASES)


SENTENCE_END = re.compile(r"[\n\r]|[.!?](?=\s+[^\sa-zà-ÿа-яёα-ω\d])|[。！？।۔။።։]|؟")
_WINDOW = 400  # code points to each side of a gate hit
_MAX_HITS = 200
SIDE_MARKS = 20  # looked at from each end of a page; one with more of them is a list
TAIL_WINDOW = 8_000  # bytes


@dataclass(frozen=True, slots=True)
class Window:
    """Text around hits of the gate: a code point range, and what sort of words were hit, which says who should look:
    `license` (also notices), `cc`, `use` (mining, training) or `reserved`. `cc` has the places of hits of that sort."""

    start: int
    end: int
    sorts: frozenset[str]
    cc: tuple[int, ...]


def windows(content: str) -> list[Window]:
    """Windows around the gate's hits: the first ones and those near the end, where pages say their licence.

    Raises:
        UnicodeEncodeError: lone surrogates.
    """
    data = content.encode("utf-8")
    hits = [hit.span() for hit in itertools.islice(_GATE.finditer(data), _MAX_HITS)]
    if len(hits) == _MAX_HITS:
        tail = max(hits[-1][1], len(data) - TAIL_WINDOW)
        hits += [hit.span() for hit in itertools.islice(_GATE.finditer(data, tail), _MAX_HITS)]
    if not hits:
        return []
    found: list[Window] = []
    characters = bytes_seen = 0
    for start, end in hits:
        characters += _characters(data, bytes_seen, start)
        first, last = (
            max(0, characters - _WINDOW),
            min(len(content), characters + _characters(data, start, end) + _WINDOW),
        )
        bytes_seen = start
        sort = _sort(data[start:end])
        cc = (characters,) if sort == "cc" else ()
        if found and first <= found[-1].end:
            found[-1] = Window(found[-1].start, last, found[-1].sorts | {sort}, found[-1].cc + cc)
        else:
            found.append(Window(first, last, frozenset((sort,)), cc))
    return found


def _characters(data: bytes, start: int, end: int) -> int:
    """Number of code points in a range of UTF-8 that begins and ends between two."""
    part = data[start:end]
    return len(part) if part.isascii() else len(part.decode("utf-8", "ignore"))


def _sort(hit: bytes) -> str:
    return next((sort for sort, pattern in _WHICH if pattern.match(hit)), "license")


def sentence_at(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence or line around a range, at most 300 code points to each side."""
    begin = max(0, start - 300)
    for found in SENTENCE_END.finditer(text, begin, start):
        begin = found.end()
    stop = SENTENCE_END.search(text, end, min(len(text), end + 300))
    return begin, stop.start() if stop else min(len(text), end + 300)


def may_hold_a_mark(content: str) -> bool:
    """Whether one of the gate's words is in the content.

    Raises:
        UnicodeEncodeError: lone surrogates.
    """
    return _GATE.search(content.encode("utf-8")) is not None

"""TODO"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

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
GATE = re2.compile(
    r"(?i)licen[csz]|lizenz|licenc|licença|лиценз|ліценз|lisans|lisens|ライセンス|许可|許可|授權|授权|라이선스|"
    rf"{CC_NAMES}|creativecommons|"
    r"\bcc[ -]?by\b|cc0|public domain|permission (?:is|to)|redistribution and use|"
    r"redistribute it|free documentation|gfdl|data[ -]?mining|fouille de (?:textes|données)|minería de|2019/790|"
    r"artificial intelligence|machine learning|(?-i:\bAI\b|\bKI\b)|language models?|same terms as perl|unencumbered|"
    + _RESERVED_PHRASES
)
RESERVED = re2.compile("(?i)" + _RESERVED_PHRASES)


SENTENCE_END = re.compile(r"[\n\r]|[.!?](?=\s+[^\sa-zà-ÿа-яёα-ω\d])|[。！？।۔။።։]|؟")
_WINDOW = 400  # code points to each side of a gate hit
_MAX_HITS = 200
SIDE_MARKS = 20  # looked at from each end of a page; one with more of them is a list
TAIL_WINDOW = 8_000


def windows(content: str) -> Iterator[tuple[int, int]]:
    """Ranges around the gate's hits: the first ones and those near the end, where pages say their licence."""
    for first, last in ((0, len(content)), (len(content) - TAIL_WINDOW, len(content))):
        if first < 0:
            return
        begin = end = -1
        for hit in itertools.islice(GATE.finditer(content, first, last), _MAX_HITS):
            if end >= 0 and hit.start() - _WINDOW <= end:
                end = min(len(content), hit.end() + _WINDOW)
                continue
            if end >= 0:
                yield begin, end
            begin, end = max(0, hit.start() - _WINDOW), min(len(content), hit.end() + _WINDOW)
        if end >= 0:
            yield begin, end
        if end >= last - TAIL_WINDOW:
            return


def sentence_at(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence or line around a range, at most 300 code points to each side."""
    begin = max(0, start - 300)
    for found in SENTENCE_END.finditer(text, begin, start):
        begin = found.end()
    stop = SENTENCE_END.search(text, end, min(len(text), end + 300))
    return begin, stop.start() if stop else min(len(text), end + 300)


def may_hold_a_mark(content: str) -> bool | None:
    """Whether one of the gate's words is in the content; None when it cannot be read (lone surrogates)."""
    try:
        return GATE.search(content) is not None
    except UnicodeEncodeError:
        return None

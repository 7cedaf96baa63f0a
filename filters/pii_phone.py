"""Recognizer of telephone numbers, in international and national form.

Presidio's `PhoneRecognizer` scans with phonenumbers' matcher once per region (0.9 MB/s, eight regions, and any table of
four-digit groups takes seconds). The numbering plans of the same library decide here, yet only on candidates: what
follows `+` or `00`, and a national number right after a word such as `Tel.` in a region where the document's language
is spoken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import phonenumbers
import re2

from filters.pii_recognizer import SpanRecognizer


class Phone(SpanRecognizer):
    """Valid numbers by the numbering plan of their country."""

    kind = "PHONE"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        done = 0
        for match in _INTERNATIONAL.finditer(window):
            end = _longest_valid(match[0], None)
            if end:
                done = match.start() + end
                yield match.start(), done
        if done < len(window) and PHONE_LABEL.search(window.encode("utf-8", "replace")):
            regions = regions_of(language)
            for match in _NATIONAL.finditer(window):
                # Bytes before a candidate end at a character: the slice is of text.
                before = window[max(0, match.start() - 40) : match.start()]
                if _LABEL_GAP.search(before) is None or not _ends_with_label(before):
                    continue
                for region in regions:
                    end = _longest_valid(match[0], region)
                    if end:
                        yield match.start(), match.start() + end
                        break


def regions_of(language: str) -> tuple[str, ...]:
    """Regions whose national numbers a document in this language is likely to print, most likely first."""
    code = re.split("[_-]", language, maxsplit=1)[0].lower()
    return _regions().get(code, _EVERYWHERE)


# A label may be followed by its closing words, `Tel. (mobil): `, but by no digit and no other line.
_LABEL_GAP = re.compile(r"[^0-9\n]{1,40}\Z")
_INTERNATIONAL = re.compile(
    r"(?:(?<![0-9A-Za-z+.])\+ ?(?:\(0\) ?)?|(?<![0-9A-Za-z+.,/-])(?<![0-9] )00(?= ?[1-9]))(?:[ .()/-]{0,2}[0-9]){7,17}+(?![0-9]|[A-Za-z]{2})"
)
_NATIONAL = re.compile(
    r"(?<![0-9A-Za-z.,+-])(?<![0-9][ /])(?:\( ?)?[0-9](?:[ .()/-]{0,2}[0-9]){5,14}+(?![0-9A-Za-z]|[.,][0-9])"
)
_CUT = re.compile(r"[ .()/-]+[0-9]+\Z")


def _longest_valid(text: str, region: str | None) -> int:
    """Length of the longest prefix, cut at separators, that is a valid number; 0 if none is."""
    for _ in range(4):
        number = text
        if region is None and number.startswith("00"):
            number = "+" + number[2:]
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            parsed = None
        if parsed is not None and phonenumbers.is_valid_number(parsed) and text.count("(") == text.count(")"):
            return len(text)
        cut = _CUT.search(text)
        if cut is None:
            return 0
        text = text[: cut.start()]
    return 0


_OPTIONS = re2.Options()
_OPTIONS.case_sensitive = False
_OPTIONS.never_capture = True
# Words before a telephone number, by language; the gate and the recognizer share them.
# The first group stands at the start of a word (`учредитель` is no `тел.`); scripts without spaces have no such start.
PHONE_LABELS = (
    r"(?:^|\P{L})(?:tele?(?:f|ph|p)|tel(?:\P{L}|$)|tél|tlf|tfn|tlp|telp|phone|ph[.:]|fax|faks|mob(?:il|ii|iel|itel|\P{L}|$)|móbil|móvil|mòbil|cell|celular|"
    r"call(?:\P{L}|$)|whats ?app|viber|hotline|gsm|handy|portable|sms|rufnummer|dial|(?:kontakt|contact|contato|contacto)[^\p{L}]|"
    r"puh\P{L}|puhelin|matkapuh|sími|farsími|ponsel|hp[.:]|simu|sel(?:\P{L}|foon)|foon|fón|guthán|ffôn|"
    r"điện thoại|di động|đt\P{L}|sđt|kom\.|komórk|nr tel|n° tel|"
    r"тел|моб|факс|тэл|утас|τηλ|κινητ|φαξ|հեռ|բջջ|ტელ|მობ|טל(?:\P{L}|פון|$)|נייד|פקס|פלאפון|"
    r"(?:ال)?(?:هاتف|جوال|موبايل|تليفون|تلفون|فاكس)|تلفن|موبایل|همراه|فون|موبائل|فیکس|تماس)|"
    r"हेल्पलाइन|फ़ोन|फोन|मोबाइल|मोबाईल|दूरभाष|दूरध्वनी|"
    r"ফোন|মোবাইল|ফ্যাক্স|தொலைபேசி|கைபேசி|போன்|ఫోన్|మొబైల్|ದೂರವಾಣಿ|ಫೋನ್|ಮೊಬೈಲ್|ഫോൺ|മൊബൈൽ|ફોન|મોબાઇલ|ਫ਼ੋਨ|ਫੋਨ|ਮੋਬਾਈਲ|දුරකථන|ජංගම|"
    r"電話|电话|手机|手機|传真|傳真|联系方式|聯絡|携帯|ファックス|連絡先|전화|휴대폰|핸드폰|연락처|팩스|"
    r"휴대전화|โทร|มือถือ|แฟกซ์|ໂທ|ມືຖື|ទូរស័ព្ទ|ទូរសព្ទ|ဖုန်း|ስልክ"
)
PHONE_LABEL = re2.compile(PHONE_LABELS, _OPTIONS)


def _ends_with_label(before: str) -> bool:
    """Whether a label stands among the last words before the number."""
    gap = _LABEL_GAP.search(before)
    return gap is not None and PHONE_LABEL.search(gap[0].encode("utf-8", "replace")) is not None


_EVERYWHERE = ("US", "GB", "DE", "FR", "ES", "IT", "BR", "IN", "RU", "PL", "TR", "NL", "UA", "ID", "JP")
_SPOKEN = {
    "eng en": "US GB IN AU CA IE NZ ZA NG KE PH SG PK GH HK UG TZ MY", "deu de gsw": "DE AT CH LU LI", "fra fr": "FR BE CH CA LU MA DZ TN SN CI CM MC",
    "spa es": "ES MX AR CO CL PE VE EC GT CU DO UY BO CR PA PY SV HN NI US", "por pt": "BR PT AO MZ", "ita it": "IT CH SM",
    "nld nl": "NL BE SR", "rus ru": "RU KZ BY UA KG", "ukr uk": "UA", "bel be": "BY", "pol pl": "PL", "ces cs": "CZ", "slk sk": "SK", "slv sl": "SI",
    "hrv hr": "HR BA", "bos bs": "BA", "srp sr": "RS BA ME", "mkd mk": "MK", "bul bg": "BG", "ron ro": "RO MD", "hun hu": "HU", "ell el": "GR CY",
    "tur tr": "TR CY", "swe sv": "SE FI", "nob nno nor nb nn no": "NO", "dan da": "DK", "fin fi": "FI", "isl is": "IS", "fao fo": "FO", "est ekk et": "EE",
    "lav lvs lv": "LV", "lit lt": "LT", "gle ga": "IE", "cym cy gla gd": "GB", "mlt mt": "MT", "cat ca": "ES AD", "eus eu": "ES FR", "glg gl": "ES", "oci oc bre br": "FR",
    "sqi als sq": "AL XK", "ltz lb": "LU", "ara arb ar": "SA AE EG JO IQ LB MA DZ TN KW QA OM BH SY YE LY SD PS", "arz": "EG", "ary": "MA", "heb he iw": "IL",
    "fas pes fa prs": "IR AF", "pus pbt ps": "AF PK", "kur ckb kmr ku": "IQ TR IR", "urd ur": "PK IN", "hin hi": "IN", "ben bn": "BD IN", "mar mr guj gu tam ta tel te kan kn mal ml pan pa ory ori or asm as": "IN",
    "tam": "IN LK", "pan pnb": "IN PK", "nep npi ne": "NP", "sin si": "LK", "zho cmn zh": "CN TW HK SG MY", "yue": "HK CN", "jpn ja": "JP", "kor ko": "KR", "vie vi": "VN",
    "tha th": "TH", "lao lo": "LA", "khm km": "KH", "mya my": "MM", "ind id": "ID", "msa zsm ms": "MY SG BN", "jav jv sun su": "ID", "fil tgl tl": "PH", "kaz kk": "KZ", "kir ky": "KG",
    "uzb uzn uz": "UZ", "tgk tg": "TJ", "tuk tk": "TM", "aze azj az": "AZ", "kat ka": "GE", "hye hy": "AM", "mon khk mn": "MN", "amh am": "ET", "swa swh sw": "KE TZ UG",
    "hau ha yor yo ibo ig": "NG", "som so": "SO", "zul zu xho xh": "ZA", "afr af": "ZA NA", "tat tt": "RU", "mlg plt mg": "MG",
}  # fmt: skip


@cache
def _regions() -> dict[str, tuple[str, ...]]:
    return {code: tuple(regions.split()) for codes, regions in _SPOKEN.items() for code in codes.split()}

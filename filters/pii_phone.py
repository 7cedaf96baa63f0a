"""Recognizer of telephone numbers, in international and national form.

Presidio's `PhoneRecognizer` scans with phonenumbers' matcher once per region (0.9 MB/s, eight regions, and any table of
four-digit groups takes seconds). The numbering plans of the same library decide here, yet only on candidates: what
follows `+` or `00`, and a national number right after a word such as `Tel.` in a region where the document's language
is spoken.
"""

# ruff: noqa: E501 (tables of words and regions)

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache, lru_cache

import phonenumbers
import re2

from filters.pii_recognizer import SpanRecognizer, label_gate, label_pattern, words_before


class Phone(SpanRecognizer):
    """Valid numbers by the numbering plan of their country."""

    kind = "PHONE"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        taken = list(_international(window))
        yield from taken
        yield from _national(window, regions_of(language), taken)


def _international(window: str) -> Iterator[tuple[int, int]]:
    if "+" not in window and "00" not in window:
        return
    plans, position = _NumberingPlans(), 0
    while match := _INTERNATIONAL.search(window, position):
        start, position = match.span()
        if match[0][0] == "0" and _OTHER_NUMBER.search(window, max(0, start - 32), start):
            continue
        valid = plans.valid_part(match[0], ())
        if valid:
            position = start + valid[1]  # another number may follow in the same row
            yield start + valid[0], position


def _national(window: str, regions: tuple[str, ...], taken: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    plans, position = _NumberingPlans(), 0
    last = -1  # end of the last number found; what is listed with it needs no label of its own
    while match := _NATIONAL.search(window, position):
        start, position = match.start(), match.end()
        before = bisect_left(taken, match.span())
        others = taken[max(0, before - 1) : before + 1]
        if _DATE.match(match[0]) or any(first < position and start < end for first, end in others):
            continue
        last = max(last, max((end for _, end in others if end <= start), default=-1))
        if not (last >= 0 and _LISTED.fullmatch(window, last, start)):
            words = words_before(window, start)
            if words is None or _OTHER_KIND.search(words) or _labels().search(words.encode("utf-8", "replace")) is None:
                continue
        valid = plans.valid_part(match[0], regions)
        if valid:
            position = last = start + valid[1]
            yield start + valid[0], position


@cache
def regions_of(language: str) -> tuple[str, ...]:
    """Regions whose national numbers a document in this language is likely to print, most likely first."""
    code = re.split("[_-]", language, maxsplit=1)[0].lower()
    return _regions().get(code, _EVERYWHERE)


_APART = "[ .()/-]{0,3}"  # between digits
# Digits run on as long as the row does: where a number ends in it, the numbering plan says.
_INTERNATIONAL = re.compile(
    rf"(?:\( ?(?=\+))?(?:(?<![0-9A-Za-z+.])\+ ?(?:\(0\) ?)?|(?<![0-9A-Za-z+.,/-])(?<![0-9] )00(?= ?(?:[17]|[2-9][0-9])))(?:{_APART}[0-9]){{7,34}}+(?![A-Za-z]{{2}})"
)
_NATIONAL = re.compile(
    rf"(?<![0-9A-Za-z.,+-])(?<![0-9]/)(?:\( ?)?[0-9](?:"
    # … or up to the end of the sentence: `… 123 8184. 5-10,2 cm of rain`.
    rf"(?:{_APART}[0-9]){{5,34}}+(?![A-Za-z]|[.,:/-][0-9])|(?:{_APART}[0-9]){{5,34}}?(?=\. ))"
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}([-./ ])[0-9]{1,2}\1[0-9]{1,2}(?![0-9])|[0-9]{1,2}([-./])[0-9]{1,2}\2(?:19|20)[0-9]{2}(?![0-9])|"
    r"(?:19|20)[0-9]{2} ?[-/] ?(?:19|20)[0-9]{2}\Z"
)
# Between numbers of one list.
_LISTED = re.compile(
    r" ?[,;/|&] ?| (?:or|and|oder|und|ou|et|o|y|e|of|en|lub|i|и|или|ve|veya|eller|och|og|tai|ja) | {1,2}"
)
_KINDS = (
    r"order|invoice|tracking|serial|imei|bestell\w*|rechnung\w*|sendung\w*|commande|facture|pedido|factura|fattura|ordine|zamówieni\w*|заказ\w*|订单|訂單|"
    r"注文|isbn|issn|ean|gtin|upc|sku|doi|oclc|lccn|pmid|siret|siren|vat|ust"
)
_OTHER_NUMBER = re.compile(
    rf"(?:{_KINDS}|reference|ref|ticket|customer|article|artikel|kunden\w*|part|model|item|id|no|nr)[^0-9\n]{{0,6}}\Z",
    re.IGNORECASE,
)
# Between a telephone's label and a number that is none: the nearer word says what it is.
_OTHER_KIND = re.compile(rf" (?:{_KINDS}) (?:(?:id|n[ro°º]|num[a-z]*|nummer) )?\Z")
_MOST_QUESTIONS = 400
_MOST_CUTS = 8
_TWO = 16  # characters: a row that could hold two numbers
_SECOND = re.compile(r" ?[/-] ?(?=\(?0[0-9])| (?=\(?0[1-9])")
_LONGEST = 17  # E.164 has 15 digits; `00` and a trunk zero in brackets come on top
_CUT = re.compile(r"[ .()/-]+[0-9]+\Z")


class _NumberingPlans:
    """Asks the plans about the numbers of one window, 0.05 ms a question.

    A text made to exhaust them loses the benefit of the doubt: after so many questions a labelled number is one.
    """

    def __init__(self) -> None:
        self.questions = 0

    def valid_part(self, text: str, regions: tuple[str, ...]) -> tuple[int, int] | None:
        """Start and end of the number that `text` begins with: a bracket before it is an area code's or around it all."""
        length = self._longest_valid(text, regions)
        if length:
            return 0, length
        if text[0] != "(":
            return None
        inner = text.lstrip("( ")
        length = self._longest_valid(inner, regions)
        return (len(text) - len(inner), len(text) - len(inner) + length) if length else None

    def _longest_valid(self, text: str, regions: tuple[str, ...]) -> int:
        """Length of the longest start of `text`, cut at separators, that is a valid number in a region; 0 if none is.

        Without regions the number says its country itself. All regions are asked before anything is cut: a page in one
        language may print the longer numbers of another country.
        """
        two = self._first_of_two(text, regions)
        if two:
            return two
        for _ in range(_MOST_CUTS + _LONGEST):
            digits = sum(map(text.count, "0123456789"))
            if text.count("(") == text.count(")") and digits <= _LONGEST:
                number = text.lstrip("( ")
                number = "+" + number[2:] if not regions and number.startswith("00") else number
                for region in regions or (None,):
                    if region and digits < _shortest(region):
                        continue
                    self.questions += 1
                    if self.questions > _MOST_QUESTIONS or _is_valid(number, region):
                        return len(text)
            cut = _CUT.search(text)
            if cut is None or digits < 6:
                break
            text = text[: cut.start()]
        return 0

    def _first_of_two(self, text: str, regions: tuple[str, ...]) -> int:
        """Length of the first of two numbers in a row, each valid in full and begun alike; 0 if it is no such row."""
        if len(text) < _TWO:
            return 0
        for cut in _SECOND.finditer(text):
            for region in regions[:2]:
                self.questions += 2
                if _is_valid(text[: cut.start()], region) and _is_valid(text[cut.end() :][:_TWO], region):
                    return cut.start()
        return 0


@cache
def _shortest(region: str) -> int:
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    return min(metadata.general_desc.possible_length) if metadata and metadata.general_desc else 0


# A site prints its number on each of its pages, and a look costs 60 us.
@lru_cache(maxsize=4096)
def _is_valid(number: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False


# Words before a telephone number, in the syntax of `pii_recognizer.label_pattern`.
PHONE_LABELS = (
    "tel[eéè]?f", "tel[eé]?ph", "telep[oó]", "taleef", "tālr", "tel_", "tél_", "tél[eé]", "tlf", "tfn", "tlp", "telp", "phone", "ph_", "fax", "faks", "mobil", "mobii", "mobiel",
    "mobitel", "mob_", "móbil", "móvil", "móvel", "telem[oó]v", "mòbil", "cell?ular", "cell ?phone", "whats ?app", "viber", "hotline", "gsm", "rufnummer", "kontakt_", "contact_",
    "contato_", "contacto_", "puh_", "puhelin", "matkapuh", "sími", "farsími", "ponsel", "hp_", "simu_", "sel_", "selfoon", "foon", "fón", "guthán", "ffôn",
    "điện thoại", "di động", "đt_", "sđt", "kom_", "komórk", "nr tel", "telpon",
    "тел_", "телеф", "тэл", "моб_", "мобіл", "мобил", "мабіл", "факс", "утас", "τηλ", "κινητ", "φαξ", "հեռ", "բջջ", "טל_", "טלפון", "נייד", "פקס", "פלאפון",
    "هاتف", "الهاتف", "جوال", "الجوال", "موبايل", "الموبايل", "تليفون", "التليفون", "تلفون", "التلفون", "فاكس", "الفاكس", "تلفن", "موبایل", "همراه", "فون", "موبائل", "فیکس", "تماس",
    "ტელ", "მობ", "हेल्पलाइन", "संपर्क", "फ़ोन", "फोन", "मोबाइल", "मोबाईल", "दूरभाष", "दूरध्वनी", "ফোন", "যোগাযোগ", "মোবাইল", "ফ্যাক্স", "தொலைபேசி", "அலைபேசி", "கைபேசி", "போன்", "ఫోన్", "మొబైల్",
    "ದೂರವಾಣಿ", "ಫೋನ್", "ಮೊಬೈಲ್", "ഫോൺ", "മൊബൈൽ", "ફોન", "મોબાઇલ", "ਫ਼ੋਨ", "ਫੋਨ", "ਮੋਬਾਈਲ", "දුරකථන", "ජංගම", "電話", "电话", "お問い合わせ", "問合せ", "手机", "手機", "传真", "傳真", "联系方式", "热线", "熱線", "拨打", "撥打", "致电", "致電",
    "聯絡", "携帯", "☎", "☏", "✆", "℡", "📞", "📱", "📲", "ファックス", "連絡先", "전화", "문의", "휴대폰", "핸드폰", "연락처", "팩스", "โทร", "มือถือ", "แฟกซ์", "ໂທ", "ມືຖື", "ទូរស័ព្ទ", "ទូរសព្ទ", "ဖုန်း", "ስልክ",
)  # fmt: skip
# Everyday words that announce a number only when they stand right before it.
NEAR_LABELS = (
    "call_", "dial_", "cell_", "sms_", "handy_", "portable_", "mobile_", "phone_", "ring_", "cep_", "wa_", "bel_", "bel ons_", "bel ons op_",
    "llame al_", "llamar al_", "llámenos al_", "llámanos al_", "appelez le_", "appelez au_", "appelez_", "ligue para_", "ligue_", "rufen sie_", "chiama_",
    "chiamare_", "chiamaci al_", "zadzwoń_", "volejte_", "soita_", "ring oss på_", "sunați la_", "sunați_", "hívja_", "hubungi_", "liên hệ_", "gọi_",
    "звоните_", "звоните по_", "звонить_", "дзвоніть_", "обадете се на_", "للتواصل_", "اتصل_", "اتصل على_", "للاتصال_", "رابطہ_",
)  # fmt: skip


@cache
def _labels() -> re2._Regexp:
    options = re2.Options()
    options.never_capture = True
    options.max_mem = 64 << 20
    near = "|".join(f" {label[:-1]}(?: us| me| now| at)? $" for label in NEAR_LABELS)
    return re2.compile(f"{label_pattern(PHONE_LABELS)}|{near}", options)


def phone_sign_gate() -> str:
    """How `_INTERNATIONAL` begins, as RE2 expression over folded text, for the scan's second look."""
    return rf"\+ ?(?:\(0\) ?)?{_APART}[0-9]|(?:^|[^0-9])00 ?[1-9]"


def phone_label_gate() -> str:
    """All label words as one RE2 expression over folded text, for the scan's second look."""
    return label_gate(PHONE_LABELS + NEAR_LABELS)


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

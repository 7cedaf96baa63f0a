"""Recognizer of national identification and tax numbers of natural persons.

A check digit alone is no evidence: all of presidio's checksum recognizers together reach a precision of 0.30 on web
text, because one in ten numbers passes. So each number here has a print form, a validator (presidio's where it has a
right one, python-stdnum's, or a few lines of ours) and a *standing*:

- STRONG: form and validator suffice anywhere (`GADN680523HGTDHR96`, `324.496.142-81`);
- NATIVE: they suffice in a document written in a language of that country (`691124-0098` in Swedish);
- LABELLED: only right after a label word of that number (`PESEL 87110531628`), in whatever language the page is.

The form is looked up, not searched: digits become `9`, capitals `A`, small letters `a`, and the string at each token
start is a key of one dictionary. Cost does not grow with the number of countries.
"""

# ruff: noqa: E501 (a row of the table is one line)

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import re2
from presidio_analyzer import PatternRecognizer, predefined_recognizers

from filters.pii_recognizer import NUMBER_ROW, SpanRecognizer, label_gate, label_pattern, words_before


class Standing(IntEnum):
    """How much beside form and validator a number needs."""

    STRONG = 0
    NATIVE = 1
    LABELLED = 2


@dataclass(frozen=True, slots=True)
class IdNumber:
    """One national number.

    Attributes:
        name: country and common name.
        forms: print forms with their standing; `9` a digit, `A` a capital, anything else itself.
        validator: `presidio:Class`, `stdnum:module`, or the name of a function of this module.
        labels: what announces it, in the syntax of `pii_recognizer.label_pattern`.
        languages: ISO 639 codes of the country's languages, for NATIVE.
    """

    name: str
    forms: tuple[tuple[str, Standing], ...]
    validator: str
    labels: tuple[str, ...]
    languages: frozenset[str] = frozenset()


class NationalId(SpanRecognizer):
    """Identification and tax numbers of persons in more than sixty countries; see `ID_NUMBERS`."""

    kind = "NATIONAL_ID"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        shape = window.encode("latin-1", "replace").translate(_SHAPE).decode("latin-1")
        code = re.split("[_-]", language, maxsplit=1)[0].lower()
        free = 0
        for token in _TOKEN.finditer(shape):
            start = token.start()
            if start < free:
                continue
            end = self._at(window, shape, start, token.end(1), code, free)
            if end:
                free = end
                yield start, end

    def _at(self, window: str, shape: str, start: int, limit: int, code: str, free: int) -> int:
        labelled: frozenset[int] | None = None
        forms = _forms()
        for length in _lengths().get(shape[start : start + 3], ()):
            end = start + length
            if end > limit or shape[end : end + 2] in _GOING_ON:
                continue
            rows = forms.get(shape[start:end])
            if rows is None:
                continue
            value = window[start:end]
            for index, standing in rows:
                number = ID_NUMBERS[index]
                if standing is Standing.LABELLED or (standing is Standing.NATIVE and code not in number.languages):
                    if labelled is None:
                        labelled = _labels_before(window, start)
                    if index not in labelled:
                        continue
                elif _is_part(shape, start, end, free):
                    continue
                if _valid(number.validator, value):
                    return end
        return 0


def _n(name: str, forms: str, validator: str, labels: str, languages: str = "") -> IdNumber:
    """A row of the table: forms are parted by two spaces; a leading `!` is STRONG, `~` NATIVE, else LABELLED."""
    standings = {"!": Standing.STRONG, "~": Standing.NATIVE}
    # Punctuation is a space where labels are looked for.
    labels = re.sub(" +", " ", re.sub("[-№°:]", " ", labels.replace("-?", " ?")))
    parsed = tuple(
        (form.lstrip("!~"), standings.get(form[0], Standing.LABELLED)) for form in re.split(r"\s{2,}", forms.strip())
    )
    return IdNumber(name, parsed, validator, tuple(labels.split("|")), frozenset(languages.split()))


_JMBG = "jmbg|јмбг|ембг|емšо|emšo|emso|matični broj|матични број|матичен број|enotna matična"
_NID_AR = "الرقم القومي|رقم الهوية|الهوية الوطنية|رقم البطاقة|بطاقة الهوية|الإقامة"
ID_NUMBERS: tuple[IdNumber, ...] = (
    _n("AE Emirates ID", "!999-9999-9999999-9  999999999999999", "_emirates", "emirates id|رقم الهوية|الهوية الإماراتية"),
    _n("AL NID", "A99999999A", "_plain", "nid|numri personal|nipt|letërnjoftim"),
    _n("AR CUIT", "!99-99999999-9  99999999999", "stdnum:ar.cuit", "cuit|cuil"),
    _n("AR DNI", "99.999.999  99999999", "_plain", "dni|d ?n ?i|documento nacional de identidad"),
    _n("AT SVNR", "9999 999999  9999999999  9999-999999", "stdnum:at.vnr", "svnr|sv-nr|sv-nummer|sozialversicherungsnummer|versicherungsnummer|vsnr"),
    _n("AU TFN", "999 999 999  999999999  999-999-999", "presidio:AuTfnRecognizer", "tfn|tax file n"),
    _n("AU Medicare", "9999 99999 9  9999999999", "presidio:AuMedicareRecognizer", "medicare"),
    _n("BD NID", "9999999999  9999999999999  99999999999999999", "_plain", "nid|জাতীয় পরিচয়|এনআইডি"),
    _n("BE NN", "!99.99.99-999.99  99999999999  99.99.99.999.99  999999-999-99  999999 999 99", "stdnum:be.nn", "niss|insz|rijksregister|registre national|numéro national|nationalregister|nrn|n ?n ?"),
    _n("BG EGN", "~9999999999", "stdnum:bg.egn", "егн|egn|единен граждански", "bul bg"),
    _n("BR CPF", "!999.999.999-99  99999999999  999999999-99", "stdnum:br.cpf", "cpf"),
    _n("BY personal number", "!9999999A999AA9", "_plain", "личный номер|асабісты нумар|идентификационный номер"),
    _n("CA SIN", "999-999-999  999 999 999  999999999", "stdnum:ca.sin", "sin_|social insurance|nas_|assurance sociale"),
    _n("CH AHV", "!999.9999.9999.99  9999999999999", "stdnum:ch.ssn", "ahv|avs_|oasi|sozialversicherungsnummer"),
    _n("CL RUT", "!99.999.999-9  !99.999.999-A  !9.999.999-9  !9.999.999-A  99999999-9  99999999-A  9999999-9  9999999-A  999999999", "stdnum:cl.rut", "rut_|r ?u ?t|rol único|rol unico|run_"),
    _n("CN resident identity", "!999999999999999999  !99999999999999999A", "stdnum:cn.ric", "身份证|身分证|公民身份"),
    _n("CO cédula", "9.999.999.999  9999999999  99.999.999  99999999", "_plain", "cédula|cedula|c ?c ?|cc n"),
    _n("CR cédula", "9-9999-9999", "_plain", "cédula|cedula"),
    _n("CU identity", "99999999999", "stdnum:cu.ni", "carné de identidad|carnet de identidad|ni_"),
    _n("CY/IE-like tax", "99999999A", "stdnum:cy.vat", "αφτ|τιν|tic_|tax identification"),
    _n("CZ/SK rodné číslo", "!999999/9999  999999/999  9999999999", "_rodne_cislo", "r ? ?č|rodné č|rodne c|rc_|rodného č|birth number"),
    _n("DE tax ID", "99999999999  99 999 999 999  99 999999999", "stdnum:de.idnr", "idnr|id-nr|steuer-?id|steueridentifikation|steuer-identifikation|identifikationsnummer|steuernummer|tin_|tax id"),
    _n("DE pension insurance", "99999999A999  99 999999 A 999", "presidio:DeSocialSecurityRecognizer", "sozialversicherung|rentenversicherung|sv-n|svnr|rvnr|versicherungsnummer"),
    _n("DE identity card", "A99999999  AA9999999  A9AA99A99  A99A99A99  A99AA9A99", "presidio:DeIdCardRecognizer", "personalausweis|ausweisnummer|ausweis-nr|perso-n"),
    _n("DK CPR", "~999999-9999  9999999999  999999 9999", "_date_first", "cpr|personnummer|cprnr", "dan da"),
    _n("DO cédula", "!999-9999999-9  99999999999", "stdnum:do.cedula", "cédula|cedula"),
    _n("EC cédula", "9999999999  999999999-9", "stdnum:ec.ci", "cédula|cedula|c ?i ?|ruc"),
    _n("EE isikukood", "~99999999999", "stdnum:ee.ik", "isikukood|personal code|id-kood|ik_", "est ekk et"),
    _n("EG national number", "99999999999999", "_egypt", _NID_AR + "|national id"),
    _n("ES DNI", "!99999999A  !99999999-A  !99.999.999-A  !99.999.999A  99999999 A", "stdnum:es.dni", "dni|nif_|d ?n ?i|n ?i ?f"),
    _n("ES NIE", "!A9999999A  !A-9999999-A  !A9999999-A  A 9999999 A  !A-9999999A", "stdnum:es.nie", "nie_|n ?i ?e|nif_"),
    _n("FI hetu", "!999999-999A  ~999999-9999  !999999A999A  999999A9999  !999999+999A  999999+9999", "stdnum:fi.hetu", "hetu|henkilötunnus|henkilotunnus|personbeteckning|hlötunnus|sotu", "fin fi swe sv"),
    _n("FR NIR", "!9 99 99 99 999 999 99  !999999999999999  9 99 99 99 999 999  9 99 99 9A 999 999 99  999999A99999999  9999999999999 99", "stdnum:fr.nir", "sécu|secu|nir_|insee|assuré|immatriculation"),
    _n("FR SPI", "99 99 999 999 999  9999999999999", "stdnum:fr.nif", "numéro fiscal|spi_|n° fiscal|référence fiscale"),
    _n("GB NINO", "AA999999A  !AA 99 99 99 A  !AA 999999 A  AA-99-99-99-A  AA99 99 99A", "_nino", "nino|ni num|ni n|national insurance|yswiriant gwladol"),
    _n("GB NHS", "999 999 9999  999-999-9999  9999999999", "presidio:NhsRecognizer", "nhs|chi num"),
    _n("GB UTR", "9999999999  99999 99999", "stdnum:gb.utr", "utr_|unique taxpayer"),
    _n("GE personal number", "99999999999", "_plain", "პირადი ნომერი|პირადი №|პ/ნ"),
    _n("GR AMKA", "~99999999999", "stdnum:gr.amka", "αμκα|α ?μ ?κ ?α|amka", "ell el"),
    _n("GR AFM", "999999999", "stdnum:gr.vat", "αφμ|α ?φ ?μ|afm_"),
    _n("GT NIT", "9999999-9  99999999", "stdnum:gt.nit", "nit_"),
    _n("HK identity card", "!A999999(9)  !AA999999(9)  !A999999(A)  A9999999", "_hkid", "hkid|身份證|香港身份"),
    _n("HR OIB", "99999999999", "stdnum:hr.oib", "oib|osobni identifikacijski"),
    _n("HU tax ID", "9999999999  999 999 9999", "_hungarian_tax", "adóazonosító|adoazonosito|adószám"),
    _n("HU TAJ", "999 999 999  999999999  999-999-999", "_taj", "taj_|taj-szám|társadalombiztosítás"),
    _n("ID NIK", "9999999999999999", "stdnum:id.nik", "nik_|ktp|nomor induk|kartu tanda penduduk"),
    _n("ID NPWP", "!99.999.999.9-999.999  999999999999999", "_plain", "npwp"),
    _n("IE PPS", "9999999A  9999999AA", "stdnum:ie.pps", "pps|uimh?ir phearsanta|upsp"),
    _n("IL identity", "999999999  99999999-9  9-9999999-9", "stdnum:il.idnr", "ת ??ז|תעודת זהות|מספר זהות|מס זהות|teudat zehut"),
    _n("IN Aadhaar", "~9999 9999 9999  999999999999  9999-9999-9999", "presidio:InAadhaarRecognizer", "aadh?aa?r|आधार|uidai|uid_|ఆధార్|ஆதார்|আধার|આધાર|ಆಧಾರ್|ആധാർ|ਆਧਾਰ", "hin hi mar mr guj gu tam ta tel te kan kn mal ml pan pa ben bn"),
    _n("IN PAN", "AAAAA9999A", "_pan", "pan_|पैन|permanent account"),
    _n("IR national code", "9999999999  999-999999-9", "_iran", "کد ملی|کدملی|شماره ملی|code melli"),
    _n("IS kennitala", "~999999-9999  9999999999", "_kennitala", "kennitala|kt ?|kt:|kennitölu", "isl is"),
    _n("IT codice fiscale", "!AAAAAA99A99A999A  AAAAAA99A99A99AA  AAAAAA99A9AA999A  AAA AAA 99A99 A999A", "_codice_fiscale", "c ? ?f ?|codice fiscale|cod ? fisc|cf_"),
    _n("JP My Number", "999999999999  9999 9999 9999  9999-9999-9999", "stdnum:jp.in_", "マイナンバー|個人番号|my number"),
    _n("KR RRN", "!999999-9999999  9999999999999", "_korean", "주민등록번호|주민번호|외국인등록번호|rrn"),
    _n("KZ IIN", "999999999999", "_kazakh", "иин|жсн|iin_"),
    _n("LT asmens kodas", "~99999999999", "stdnum:lt.asmens", "asmens kod|a ? ?k ?|personal code", "lit lt"),
    _n("LU matricule", "9999999999999  9999 99 99 999 99", "_luxembourg", "matricule|cns_|sozialversicherung"),
    _n("LV personas kods", "~999999-99999  99999999999", "stdnum:lv.pvn", "personas kod|p ? ?k ?", "lav lvs lv"),
    _n("MD IDNP", "9999999999999", "_moldova", "idnp|cod personal"),
    _n("MT identity card", "9999999A  999999A", "_plain", "karta tal-identità|karta ta l-identità|id card"),
    _n("MX CURP", "!AAAA999999AAAAAA99  !AAAA999999AAAAAAA9", "stdnum:mx.curp", "curp"),
    _n("MX RFC", "AAAA999999AA9  AAAA999999999  AAAA999999A99  AAAA999999AAA  AAAA9999999A9  AAAA99999999A  AAAA9999999AA  AAAA99999999 9", "_rfc", "rfc_|r ?f ?c"),
    _n("MY NRIC", "!999999-99-9999  999999999999", "stdnum:my.nric", "nric|mykad|kad pengenalan|no ? kp|ic no"),
    _n("NG NIN", "99999999999", "presidio:NgNinRecognizer", "nin_|national identification n"),
    _n("NL BSN", "999999999  9999.99.999  9999 99 999  999.999.999  999 999 999", "stdnum:nl.bsn", "bsn|burgerservice|sofi"),
    _n("NO fødselsnummer", "~999999 99999  ~99999999999  999999-99999", "stdnum:no.fodselsnummer", "fødsels|fodsels|personn|fnr|f ?nr|d-nummer", "nob nno nor nb nn no"),
    _n("NZ IRD", "999-999-999  99-999-999  999999999", "stdnum:nz.ird", "ird_|inland revenue"),
    _n("PE DNI", "99999999  99999999-9", "_plain", "dni_"),
    _n("PH PhilSys", "9999-9999-9999-9999  9999-9999999-9", "_plain", "philsys|psn_|umid|crn_|philid"),
    _n("PK CNIC", "!99999-9999999-9  9999999999999", "stdnum:pk.cnic", "cnic|شناختی کارڈ|nicop"),
    _n("PL PESEL", "~99999999999", "stdnum:pl.pesel", "pesel", "pol pl"),
    _n("PL identity card", "AAA999999  AAA 999999  AAA-999999", "_polish_card", "dow[oó]d|dowodu"),
    _n("PT NIF", "999999999  999 999 999  999.999.999", "stdnum:pt.nif", "nif_|contribuinte|n ?i ?f|nipc|fiscal"),
    _n("PT citizen card", "99999999 9 AA9  999999999AA9  99999999 9AA9", "stdnum:pt.cc", "cartão de cidadão|cartao de cidadao|cc_|cidadão"),
    _n("RO CNP", "~9999999999999", "stdnum:ro.cnp", "cnp|cod numeric personal|codul numeric", "ron ro"),
    _n("RU SNILS", "!999-999-999 99  !999-999-999-99  99999999999", "_snils", "снилс|snils"),
    _n("RU INN", "999999999999", "stdnum:ru.inn", "инн|inn_"),
    _n("RU passport", "9999 999999  99 99 999999", "_plain", "паспорт|passport"),
    _n("SA national ID", "9999999999", "_saudi", _NID_AR + "|iqama|national id"),
    _n("SE personnummer", "~999999-9999  ~99999999-9999  999999+9999  9999999999  999999999999", "stdnum:se.personnummer", "person-?n|pers ?n|pnr|personal identity", "swe sv"),
    _n("SG NRIC", "A9999999A", "_nric_sg", "nric|fin_|identity card"),
    _n("SI/RS/HR/BA/MK/ME JMBG", "~9999999999999", "stdnum:si.emso", _JMBG, "slv sl srp sr bos bs mkd mk"),
    _n("SI tax number", "99999999", "stdnum:si.ddv", "davčna|davcna"),
    _n("TH PIN", "!9-9999-99999-99-9  9999999999999  9 9999 99999 99 9", "stdnum:th.pin", "เลขประจำตัว|เลขบัตร|บัตรประชาชน|thai id"),
    _n("TR TCKN", "~99999999999  999 999 999 99", "stdnum:tr.tckimlik", "tckn|t ? ?c ?|tc kimlik|kimlik n|tc no|kimlik", "tur tr"),
    _n("TW identity card", "A999999999", "_taiwan", "身分證|身份證|統一編號"),
    _n("UA RNTRC", "9999999999", "stdnum:ua.rntrc", "рнокпп|іпн|ідентифікаційний|инн_|податковий номер"),
    _n("US SSN", "!999-99-9999  999 99 9999  999999999", "_ssn", "ssn|social security|soc ? sec|seguro social"),
    _n("US ITIN", "!999-99-9999", "stdnum:us.itin", "itin|taxpayer"),
    _n("UY cédula", "9.999.999-9  9999999-9", "_uruguay", "cédula|cedula|c ?i ?"),
    _n("UZ PINFL", "99999999999999", "_plain", "jshshir|pinfl|жшшир|пинфл"),
    _n("VE cédula", "A-99999999  A-9.999.999  A-99.999.999  A99999999  A-99999999-9", "_plain", "cédula|cedula|rif_|c ?i ?"),
    _n("VN CCCD", "999999999999  999999999", "_plain", "cccd|cmnd|căn cước|chứng minh"),
    _n("ZA identity", "9999999999999  999999 9999 999  999999 9999 99 9", "stdnum:za.idnr", "id num|id no|identity n|identiteits|id-nommer|rsa id|south african id|sa id"),
    # A generic label in many languages, with any of the common national lengths whose own label may be missing.
    _n("labelled passport", "A99999999  AA9999999  A9999999  A99999999A  999999999  AA999999  AA 9999999", "_plain", "passport n|reisepass|passeport n|pasaporte n|passaporto n|nr paszportu|pasaport no|护照号|旅券番号|여권번호"),
)  # fmt: skip

# Over Latin-1, where everything that is neither a digit nor a letter of ASCII stays or is `?`: a table of 256 bytes.
_SHAPE = bytes(
    ord("9") if 48 <= code <= 57 else ord("A") if 65 <= code <= 90 else ord("a") if 97 <= code <= 122 else code
    for code in range(256)
)
# Where a number may begin, and how far its characters go: a token that holds a digit among its first seven.
_TOKEN = re.compile(r"(?<![9Aa])(?=((?:9|A(?=[A -]{0,5}9))[9A .()/+-]{6,27}))")


@cache
def _forms() -> dict[str, list[tuple[int, Standing]]]:
    forms: dict[str, list[tuple[int, Standing]]] = {}
    for index, number in enumerate(ID_NUMBERS):
        for form, standing in number.forms:
            forms.setdefault(form, []).append((index, standing))
    return forms


@cache
def _lengths() -> dict[str, tuple[int, ...]]:
    lengths: dict[str, set[int]] = {}
    for form in _forms():
        lengths.setdefault(form[:3], set()).add(len(form))
    return {head: tuple(sorted(sizes, reverse=True)) for head, sizes in lengths.items()}


# What may not follow a number: a letter or digit, a separator with more digits of the same number.
_GOING_ON = frozenset(
    {"9", "A", "a", "-9", ".9", "/9", ",9", "-A"} | {first + chr(code) for first in "9Aa" for code in range(256)}
)
_GOES_ON = re.compile(" 9{1,5}(?![9A])")


def _is_part(shape: str, start: int, end: int, free: int) -> bool:
    """Whether a bare token is a piece of something longer: `1-999.999.999-99`, four of an IBAN's groups.

    What ends at `free` is a number of its own and hides no other behind it.
    """
    before = shape[max(0, start - 2) : start]
    if before[1:] in ("-", ".", "/", ",", "_", "+") and before[:1] in ("9", "A", "a"):
        return True
    return " " in shape[start:end] and (
        (before == "9 " and start != free + 1) or _GOES_ON.match(shape, end) is not None
    )


# --- labels -----------------------------------------------------------------------------------------------------

_OPTIONS = re2.Options()
_OPTIONS.never_capture = True
_OPTIONS.max_mem = 64 << 20


def id_anchors() -> str:
    """RE2 expression over folded text for the print forms that `NUMBER_ROW` does not find."""
    forms = (form for form in _forms() if not NUMBER_ROW.search(form.replace("9", "0")))
    return "|".join(sorted(form.replace("9", "[0-9]").replace("A", "[A-Z]") for form in forms))


def id_label_gate() -> str:
    """All label words as one RE2 expression over folded text, for the scan's second look."""
    return "|".join(label_gate(number.labels) for number in ID_NUMBERS)


def bare_form_gate() -> str:
    """Print forms that need no label, in context."""
    forms = {form for number in ID_NUMBERS for form, standing in number.forms if standing is not Standing.LABELLED}
    signs = {"9": "[0-9]", "A": "[A-Z]"}
    written = sorted("".join(signs.get(sign, re.escape(sign)) for sign in form) for form in forms)
    return rf"(?:^|[^0-9A-Za-z])(?:{'|'.join(written)})(?:$|[^0-9A-Za-z])"


@cache
def _label_set() -> re2.Set:
    labels = re2.Set.SearchSet(_OPTIONS)
    for number in ID_NUMBERS:
        labels.Add(label_pattern(number.labels))
    labels.Compile()
    return labels


_NO_LABELS: frozenset[int] = frozenset()


def _labels_before(window: str, start: int) -> frozenset[int]:
    words = words_before(window, start)
    if words is None:
        return _NO_LABELS
    return frozenset(_label_set().Match(words.encode("utf-8", "replace")) or ())


# --- validators -------------------------------------------------------------------------------------------------


def _valid(validator: str, value: str) -> bool:
    try:
        return _validator(validator)(value)
    except (ValueError, IndexError, KeyError, TypeError):
        return True  # a validator that breaks on a value in the right form: better one number too many


@cache
def _validator(name: str) -> Callable[[str], bool]:
    source, _, target = name.partition(":")
    if source == "stdnum":
        is_valid = importlib.import_module(f"stdnum.{target}").is_valid
        return lambda value: bool(is_valid(value) or is_valid(_compact(value)))
    if source == "presidio":
        recognizer: PatternRecognizer = getattr(predefined_recognizers, target)()
        return lambda value: recognizer.validate_result(_compact(value)) is True
    function: Callable[[str], bool] = globals()[name]
    return function


def _compact(value: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", value)


def _plain(value: str) -> bool:
    """No public check digit: form and label decide; a row of one digit is a filler."""
    return len(set(_compact(value))) > 3


def _luhn(digits: str) -> bool:
    total = 0
    for index, character in enumerate(reversed(digits)):
        digit = int(character) * (2 if index % 2 else 1)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def _date(year: str, month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31 and len(year) in (2, 4)


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _emirates(value: str) -> bool:
    digits = _compact(value)
    return digits.startswith("784") and _luhn(digits)


def _rodne_cislo(value: str) -> bool:
    digits = _compact(value)
    month = int(digits[2:4])
    month -= 70 if month > 70 else 50 if month > 50 else 20 if month > 20 else 0
    if not _date(digits[:2], str(month), digits[4:6]):
        return False
    return len(digits) == 9 or int(digits) % 11 == 0 or (int(digits[:9]) % 11 == 10 and digits[9] == "0")


def _date_first(value: str) -> bool:
    """DDMMYY and four digits: since 2007 Danish numbers need not meet the old check digit."""
    digits = _compact(value)
    return _date(digits[4:6], digits[2:4], digits[:2])


def _egypt(value: str) -> bool:
    return value[0] in "23" and _date(value[1:3], value[3:5], value[5:7])


def _nino(value: str) -> bool:
    prefix, suffix = value[:2], value[-1]
    return (
        suffix in "ABCD"
        and prefix[0] not in "DFIQUV"
        and prefix[1] not in "DFIOQUV"
        and prefix not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
    )


def _hkid(value: str) -> bool:
    text = _compact(value)
    body, check = text[:-1].rjust(8), text[-1]
    codes = [36 if character == " " else int(character, 36) for character in body]
    total = sum(code * weight for code, weight in zip(codes, range(9, 1, -1), strict=True))
    return (total + (10 if check == "A" else int(check) if check.isdecimal() else 99)) % 11 == 0


def _hungarian_tax(value: str) -> bool:
    digits = _compact(value)
    return digits[0] == "8" and _weighted(digits[:9], tuple(range(1, 10))) % 11 == int(digits[9])


def _taj(value: str) -> bool:
    digits = _compact(value)
    return _weighted(digits[:8], (3, 7) * 4) % 10 == int(digits[8])


def _pan(value: str) -> bool:
    return value[3] in "ABCFGHJLPTEK"


def _iran(value: str) -> bool:
    digits = _compact(value)
    rest = _weighted(digits[:9], tuple(range(10, 1, -1))) % 11
    return len(set(digits)) > 1 and int(digits[9]) == (rest if rest < 2 else 11 - rest)


def _kennitala(value: str) -> bool:
    digits = _compact(value)
    day = int(digits[:2])
    check = 11 - _weighted(digits[:8], (3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return _date(digits[4:6], digits[2:4], str(day - 40 if day > 40 else day)) and check % 11 == int(digits[8])


def _codice_fiscale(value: str) -> bool:
    return bool(_validator("stdnum:it.codicefiscale")(_compact(value)))


def _korean(value: str) -> bool:
    """Check digits are not given to numbers issued since October 2020; the date and the century digit must hold."""
    digits = _compact(value)
    return _date(digits[:2], digits[2:4], digits[4:6]) and digits[6] in "12345678"


def _kazakh(value: str) -> bool:
    if not _date(value[:2], value[2:4], value[4:6]) or value[6] not in "0123456":
        return False
    check = _weighted(value, tuple(range(1, 12))) % 11
    if check == 10:
        check = _weighted(value, (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2)) % 11
    return check == int(value[11])


def _luxembourg(value: str) -> bool:
    digits = _compact(value)
    return digits[:2] in ("19", "20") and _date(digits[:4], digits[4:6], digits[6:8]) and _luhn(digits[:12])


def _moldova(value: str) -> bool:
    return value[0] in "0129" and _weighted(value[:12], (7, 3, 1) * 4) % 10 == int(value[12])


def _rfc(value: str) -> bool:
    digits = re.sub(r"[^0-9]", "", value)
    return _date(digits[:2], digits[2:4], digits[4:6])


def _polish_card(value: str) -> bool:
    text = _compact(value)
    codes = [int(character, 36) for character in text]
    weights = (7, 3, 1, 9, 7, 3, 1, 7, 3)
    return sum(code * weight for code, weight in zip(codes, weights, strict=True)) % 10 == 0


def _snils(value: str) -> bool:
    digits = _compact(value)
    total = _weighted(digits[:9], tuple(range(9, 0, -1)))
    return total % 101 % 100 == int(digits[9:]) and len(set(digits[:9])) > 1


def _saudi(value: str) -> bool:
    return value[0] in "12" and _luhn(value)


def _nric_sg(value: str) -> bool:
    if value[0] not in "STFGM":
        return False
    total = _weighted(value[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(value[0], 0)
    letters = "JZIHGFEDCBA" if value[0] in "ST" else "XWUTRQPNMLK" if value[0] in "FG" else "KLJNPQRTUWX"
    return letters[total % 11 if value[0] != "M" else 10 - total % 11] == value[8]


def _taiwan(value: str) -> bool:
    code = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(value[0]) + 10
    digits = f"{code}{value[1:]}"
    return value[1] in "1289" and _weighted(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)) % 10 == 0


def _ssn(value: str) -> bool:
    digits = _compact(value)
    area = digits[:3]
    return (
        area not in ("000", "666")
        and area[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
        and digits not in ("123456789", "078051120", "219099999")
        and len(set(digits)) > 1
    )


def _uruguay(value: str) -> bool:
    digits = _compact(value)
    return (10 - _weighted(digits[:7], (2, 9, 8, 7, 6, 3, 4)) % 10) % 10 == int(digits[7])

"""The prefilter loses nothing: values made of the recognizers' own tables, put where it hurts.

No case is written here. Every compiled expression in a recognizer's module, every print form and every label of its
tables makes values; validators say yes to all of them, so that no check digit is needed. A new recognizer, country,
vendor or label is covered by being there.
"""

# ruff: noqa: E501 (tables)

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters import pii_finance, pii_ids, pii_mail, pii_network, pii_phone, pii_secrets
from filters.pii_fold import fold, folded, normalise
from filters.pii_recognizer import SpanRecognizer
from filters.pii_scan import _LOOKS, find_spans, find_spans_unfiltered

RECOGNIZERS = [recognizer for recognizer, _ in _LOOKS]
LANGUAGES = st.sampled_from(["und", "deu_Latn", "fra_Latn", "fin_Latn", "zho_Hani", "tam_Taml", "rus_Cyrl"])
CARRIERS = st.sampled_from(
    ["Ein Satz ohne alles. ", "Fähre wartet, ", "渡船在等雾。", "கப்பல் காத்திருக்கிறது ", "Паром ждёт: ", "العبارة تنتظر ", "เรือรอหมอก", "\n", "", " ", "x", "é", "<b>"]
)  # fmt: skip
GLUE = st.sampled_from(["", " ", ": ", "=", "是", "ก", "é", ",", "\n", "/", "@", ".", "-", "(", '"', "\u3000", "\u00a0", "+", "7", "a", "_"])  # fmt: skip

EDGE = st.one_of(st.just(" "), GLUE)  # half of the values stand free, or hardly any would be one


def values(recognizer: type[SpanRecognizer]) -> st.SearchStrategy[str]:
    """What the expressions in a recognizer's module make, and as often whole values of its type."""
    module = sys.modules[recognizer.__module__]
    expressions = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    made = [
        st.from_regex(expression, fullmatch=True) for expression in expressions if isinstance(expression.pattern, str)
    ]
    # One level of choice after the other: `one_of` would flatten them, and whole values be few among the parts.
    return st.booleans().flatmap(lambda whole: WHOLE[recognizer.kind] if whole else st.one_of(made))


def _shapes(weakest: pii_ids.Standing = pii_ids.Standing.LABELLED) -> list[str]:
    return sorted({form for number in pii_ids.ID_NUMBERS for form, standing in number.forms if standing <= weakest})


def _of_shape(shape: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.escape(shape).replace("9", "[0-9]").replace("A", "[A-Z]"), fullmatch=True)


SCRIPTS = [script for _, script in pii_mail._BLOCKS if script]
WHOLE: dict[str, st.SearchStrategy[str]] = {
    "EMAIL": st.sampled_from(SCRIPTS).flatmap(
        lambda script: st.tuples(
            st.from_regex(script.local.pattern.replace("64}", "9}"), fullmatch=True),
            st.one_of(
                st.just("@"), st.from_regex(pii_mail._AT_ENTITY), st.from_regex(pii_mail._AT_MARKER, fullmatch=True)
            ),
            st.from_regex(script.domain.pattern.replace("253}", "9}"), fullmatch=True),
            st.one_of(st.just("."), st.from_regex(pii_mail._DOT_MARKER, fullmatch=True)),
            st.sampled_from(["de", "com", "рф", "中国"]),
        ).map("".join)
    ),
    "IBAN": st.sampled_from(sorted(pii_finance._IBAN_LENGTHS.items())).flatmap(
        lambda row: st.from_regex(f"{row[0]}[0-9]{{2}}([ .-]?[0-9A-Za-z]){{{row[1] - 4}}}", fullmatch=True)
    ),
    "CRYPTO": st.from_regex(pii_finance._WALLET, fullmatch=True),
    "MAC_ADDRESS": st.from_regex(pii_network._MAC, fullmatch=True),
    "IP_ADDRESS": st.one_of(
        st.from_regex(pii_network._QUAD, fullmatch=True),
        st.from_regex("[23][0-9a-fA-F]{3}(:[0-9a-fA-F]{1,4}){0,6}:(:?[0-9a-fA-F]{1,4}){1,2}", fullmatch=True),
    ),
    "PHONE": st.from_regex(pii_phone._INTERNATIONAL, fullmatch=True),
    "CREDIT_CARD": st.from_regex(pii_finance._CARD, fullmatch=True),
    "SECRET": st.one_of(
        st.from_regex(pii_secrets._VENDOR, fullmatch=True), st.from_regex(pii_secrets._ASSIGNMENT, fullmatch=True)
    ),
    "URL_CREDENTIALS": st.one_of(
        st.from_regex(pii_secrets._USERINFO, fullmatch=True).map(lambda before: before + "db.firma.de"),
        st.from_regex(pii_secrets._QUERY_SECRET, fullmatch=True),
    ),
    "NATIONAL_ID": st.sampled_from(_shapes(pii_ids.Standing.STRONG)).flatmap(_of_shape),
}


LABELS = sorted(
    {label for number in pii_ids.ID_NUMBERS for label in number.labels}
    | set(pii_phone.PHONE_LABELS)
    | set(pii_phone.NEAR_LABELS)
    | set(pii_network._MAC_LABELS.split("|"))
)
ANNOUNCED = st.tuples(
    st.sampled_from(LABELS).flatmap(lambda label: st.from_regex(label.replace("_", ""), fullmatch=True)),
    st.sampled_from([": ", " ", "：", ". : ", "", " – ", "_", ".. "]),
    st.one_of(
        st.sampled_from(_shapes()).flatmap(_of_shape),
        st.from_regex(pii_phone._NATIONAL, fullmatch=True),
        st.from_regex(pii_network._MAC, fullmatch=True),
    ),
).map("".join)
# ASCII as other scripts write it.
DIGITS = [chr(code) for code in range(0x20000) if unicodedata.category(chr(code)) == "Nd" and unicodedata.digit(chr(code)) == 0]  # fmt: skip
FORMS = [
    str.maketrans({}),
    str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(33, 127)} | {" ": "\u3000"}),
    str.maketrans({" ": "\u00a0", "-": "–"}),
    *(str.maketrans({str(digit): chr(ord(zero) + digit) for digit in range(10)}) for zero in DIGITS),
]


@pytest.fixture(autouse=True, scope="module")
def _every_value_is_valid():
    patches = pytest.MonkeyPatch()
    patches.setattr(pii_ids, "_valid", lambda validator, value: True)
    patches.setattr(pii_finance, "_valid_iban", lambda text: True)
    patches.setattr(pii_finance, "_is_card", lambda window, start, end: True)
    patches.setattr(pii_finance, "_valid_wallet", lambda text: pii_finance.could_be_wallet(text.encode()))
    patches.setattr(pii_finance, "_valid_ethereum", lambda addresses: [True] * len(addresses))
    patches.setattr(pii_phone, "_is_valid", lambda number, region: True)
    patches.setattr(pii_mail, "_registered", lambda domain: True)
    patches.setattr(pii_network._mac(), "invalidate_result", lambda text: False)
    patches.setattr(pii_network, "_digits_only", lambda text: False)
    public = pii_network._public
    patches.setattr(pii_network, "_public", lambda text: ":" not in text or public(text))
    patches.setattr(pii_network, "_is_version", lambda window, start, end, text: False)
    patches.setattr(pii_secrets, "_random", lambda value, shortest: pii_secrets._VALUE.match(fold(value)) is not None)
    patches.setattr(pii_secrets, "_filler", lambda value: False)
    yield
    patches.undo()


SEEN: Counter[str] = Counter()


def holds(text: str, language: str) -> None:
    spans = find_spans_unfiltered(text, language)
    SEEN.update(kind for _, _, kind in spans)
    assert find_spans(text, language) == spans


FAR = "Ein Satz ohne alles. 中文字。 " * 8
HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def _check(recognizer: type[SpanRecognizer], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=HEALTH)
    @given(CARRIERS, EDGE, values(recognizer), EDGE, CARRIERS, st.sampled_from(FORMS), LANGUAGES)
    def check(before, left, value, right, after, form, language):
        holds(FAR + before + left + value.translate(form) + right + after + FAR, language)

    SEEN.clear()
    check()
    assert SEEN[recognizer.kind] >= examples // 40, SEEN


def _check_neighbours(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=HEALTH)
    @given(st.lists(st.one_of(CARRIERS, GLUE, ANNOUNCED, *map(values, RECOGNIZERS)), min_size=2, max_size=6), LANGUAGES)
    def check(pieces, language):
        holds("".join(pieces), language)

    check()


def test_a_value_in_another_script_ends_where_it_ends():
    value = "0" * 30 + "Aa1:пароль"
    for text in (f"密碼=>`{value}`", f"https://x.org/a?token={value * 4}"):
        holds(text, "und")
        assert SEEN.pop("SECRET", 0) + SEEN.pop("URL_CREDENTIALS", 0) == 1


@pytest.mark.parametrize("recognizer", RECOGNIZERS, ids=lambda recognizer: recognizer.kind)
def test_what_a_recognizers_own_expressions_make_is_found(recognizer):
    _check(recognizer, 40)


def test_values_do_not_hide_each_other_from_the_prefilter():
    _check_neighbours(60)


@pytest.mark.slow
@pytest.mark.parametrize("recognizer", RECOGNIZERS, ids=lambda recognizer: recognizer.kind)
def test_many_that_a_recognizers_own_expressions_make_are_found(recognizer):
    _check(recognizer, 250)


@pytest.mark.slow
def test_many_values_do_not_hide_each_other_from_the_prefilter():
    _check_neighbours(600)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=HEALTH)
@given(CARRIERS, GLUE, ANNOUNCED, GLUE, CARRIERS, st.sampled_from(FORMS), LANGUAGES)
def test_what_labels_announce_is_found(before, left, value, right, after, form, language):
    holds(FAR + before + left + value.translate(form) + right + after + FAR, language)


@given(st.text())
def test_folding_keeps_offsets_and_what_normalisation_makes_ascii(text):
    raw, form = fold(text), normalise(text)
    assert len(raw) == len(form) == len(text)
    assert all((byte < 128) == character.isascii() for byte, character in zip(raw, form, strict=True))
    assert all(chr(byte) == character for byte, character in zip(raw, form, strict=True) if byte < 128)


def test_every_digit_space_and_dash_of_unicode_becomes_ascii():
    for code in range(128, sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        if category in ("Nd", "Zs", "Pd"):
            expected = str(unicodedata.digit(chr(code))) if category == "Nd" else {"Zs": " ", "Pd": "-"}[category]
            assert normalise(chr(code)) == expected == chr(fold(chr(code))[0])


def test_capitals_beyond_ascii_are_taken_for_their_small_letters():
    assert fold("ΤΗΛ ÉÜ ΟΔΟΣ") == fold("ΤΗΛ ÉÜ ΟΔΟΣ".lower())
    assert fold("ПАРОЛЬ") == fold("пароль")
    assert re.fullmatch(folded("t[eé]l").decode("latin-1"), fold("tÉl").decode("latin-1"))

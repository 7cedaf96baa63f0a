"""Recognizers of bank accounts, payment cards and crypto wallets.

Presidio's `IbanRecognizer`, `CreditCardRecognizer` and `CryptoRecognizer` check what is valid (country format and
mod 97, Luhn, base58check and bech32). Ours is the cutting: an IBAN ends after its country's length whatever follows,
groups may be parted by any space or dash, issuers include Mastercard's 2-series, Mir and UnionPay, and coins other
than Bitcoin have their own check.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256

import numpy as np
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, CryptoRecognizer, IbanRecognizer
from stdnum import numdb

from filters.pii_recognizer import SpanRecognizer


class Iban(SpanRecognizer):
    """International bank account numbers of all countries, spaced, dashed, compact, any case; mod 97 must hold."""

    kind = "IBAN"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        for match in _IBAN_START.finditer(window):
            length = _IBAN_LENGTHS.get((match[1] or match[2]).upper())
            account = _account(length).match(window, match.start()) if length else None
            if account and _valid_iban(account[0]):
                yield account.span()


class Card(SpanRecognizer):
    """Payment cards: issuer range, length, grouping as printed, Luhn."""

    kind = "CREDIT_CARD"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        end = -1
        for match in _CARD.finditer(window):
            # Four digits before are part of a longer row, unless they end another card.
            if match.start() != end + 1 and _GROUP_BEFORE.match(window, match.start() - 5, match.start()):
                continue
            for cards in _readings(match):
                if all(_is_card(window, start, stop) for start, stop in cards):
                    end = cards[-1][1]
                    yield from cards
                    break


class Crypto(SpanRecognizer):
    """Wallet addresses of Bitcoin, Ethereum, Litecoin, Dogecoin, Dash, Tron, XRP, Zcash, Monero, Cardano and others."""

    kind = "CRYPTO"

    def spans(self, window: str, language: str) -> Iterator[tuple[int, int]]:
        checked: list[re.Match[str]] = []
        for match in _WALLET.finditer(window):
            if match[0].startswith("0x") and len(match[0]) == 42 and match[0][2:] not in _one_case(match[0][2:]):
                checked.append(match)
            elif _valid_wallet(match[0]):
                yield match.span()
        for match, valid in zip(checked, _valid_ethereum([match[0][2:] for match in checked]), strict=True):
            if valid:
                yield match.span()


_NO_SEPARATORS = str.maketrans("", "", " .-")

# --- IBAN -------------------------------------------------------------------------------------------------------

# Italian and Swiss banks print the country apart (`IT 60 X 05428 …`): in capitals, or every year would begin one.
_COUNTRY_APART = "[A-Z][A-Z] [0-9][0-9] [0-9A-Z]"
_IBAN_START = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=IBAN)|(?<=iban))"
    rf"(?:([A-Za-z]{{2}})[0-9]{{2}}(?=[ .-]?[A-Za-z0-9])|(?={_COUNTRY_APART})([A-Z]{{2}}))"
)
# ISO 13616 registry, release 99.
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL SO OM",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


_VALUES = {character: str(int(character, 36)) for character in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}  # ISO 7064
# A country, two digits, the first characters of an account; all countries by name cost the automaton twice the time.
IBAN_ANCHOR = "[A-Za-z]{2}[0-9][0-9](?:[ .-]?[0-9A-Za-z]){4}"
# What stands before digits that are an account's.
IBAN_GATE = rf"(?:^|[^0-9a-z]|iban)(?:{IBAN_ANCHOR}|(?-i:{_COUNTRY_APART}))"


@cache
def _account(length: int) -> re.Pattern[str]:
    """So many ASCII letters and digits, single separators between them, and no more."""
    return re.compile(rf"(?:[0-9A-Za-z][ .-]?){{{length - 1}}}[0-9A-Za-z](?![0-9A-Za-z])")


def _valid_iban(text: str) -> bool:
    if text != text.upper() and text != text.lower() and text[2:] != text[2:].upper():
        return False
    compact = text.translate(_NO_SEPARATORS).upper()
    if int("".join([_VALUES[character] for character in compact[4:] + compact[:4]])) % 97 != 1:
        return False
    # Presidio lacks some countries of the registry, has a wrong length for Portugal (21 for 25), and costs ten times.
    form = _account_form(compact[:2])
    return (form is not None and form.fullmatch(compact, 4) is not None) or _iban().validate_result(compact) is True


@cache
def _account_form(country: str) -> re.Pattern[str] | None:
    """Digits (`n`), capitals (`a`) and either (`c`) of a country's accounts, after python-stdnum's registry."""
    properties = numdb.get("iban").info(country)[0][1]
    parts = re.findall(r"(\d+)!([nac])", properties.get("bban", ""))
    signs = {"n": "[0-9]", "a": "[A-Z]", "c": "[0-9A-Z]"}
    return re.compile("".join(f"{signs[sign]}{{{count}}}" for count, sign in parts)) if parts else None


# --- cards ------------------------------------------------------------------------------------------------------

# Rows of groups as printed, or digits without a separator. A row may be several cards; which, `_readings` says.
_CARD = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9][.,-])(?<![A-Z]{2}[0-9]{2} )"
    r"(?:[0-9]{4}([ .-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{4}){0,12}+(?:\1[0-9]{3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}|[0-9]{6}[ -][0-9]{13}|[0-9]{12,19})"
    r"(?![0-9A-Za-z]|[.,-][0-9]| [0-9]{4} [0-9]{4}(?![0-9]))"
)
_GROUP_BEFORE = re.compile(r"[0-9]{4} ")


def _readings(row: re.Match[str]) -> list[list[tuple[int, int]]]:
    """What a match of `_CARD` can be: one card, with or without three digits more, or several of four groups each."""
    start, end = row.span()
    groups, rest = divmod(end - start + 1, 5)
    if not row[1]:
        return [[(start, end)]]
    if rest == 4:
        return [[(start, end)], [(start, end - 4)]] if groups == 4 else []
    return [[(first, first + 19) for first in range(start, end, 20)]] if groups % 4 == 0 else []


def _is_card(window: str, start: int, end: int) -> bool:
    digits = window[start:end].translate(_NO_SEPARATORS)
    # 4444 4444 4444 4448 is a test or a filler.
    if not _card().validate_result(digits) or len(set(digits)) < 3:
        return False
    before = window[max(0, start - 32) : start].rpartition("\n")[2]
    # Without the word, 13 digits are an EAN or a time stamp ten times as often as an old Visa; with it, issuers
    # that no table has (Maestro of 12 digits, JCB of 15) count too.
    return _CARD_LABEL.search(before) is not None or not (
        len(digits) == 13 or len(digits) not in _issuer_lengths(digits) or _OTHER_NUMBER.search(before)
    )


# What shops and carriers number with as many digits: one in ten passes Luhn.
_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|tracking|serial|imei|bestell\w*|rechnung\w*|sendung\w*|commande|facture|pedido|factura|fattura|ordine|"
    r"zamówieni\w*|заказ\w*|订单|注文|isbn|issn|ean|gtin|upc|sku|doi)[^0-9\n]{0,12}\Z",
    re.IGNORECASE,
)
_CARD_LABEL = re.compile(
    r"card|visa|carte|kart|tarjeta|cartão|cartao|carta|карт|カード|卡|카드|บัตร|بطاقة|כרטיס|कार्ड|kort", re.IGNORECASE
)


def _issuer_lengths(digits: str) -> tuple[int, ...]:
    """Lengths that the issuer of this number range uses (ISO/IEC 7812 ranges as published by the networks)."""
    two, four = int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return (16,)
    if two in (34, 37):
        return (15,)
    if 3000 <= four <= 3059 or four == 3095 or two in (36, 38, 39):
        return (14, 16)
    if 3528 <= four <= 3589:
        return (16, 17, 18, 19)
    if four == 6011 or two in (64, 65):
        return (16, 19)
    if two == 62 or four in (8171, 8165):
        return (16, 17, 18, 19)
    if 2200 <= four <= 2204:  # Mir
        return (16,)
    if two == 60 or two == 81 or four == 9792:  # RuPay, Troy
        return (16,)
    if two in (50, 56, 57, 58, 63, 67, 68):  # Maestro
        return (16, 18, 19)
    return ()


# --- wallets ----------------------------------------------------------------------------------------------------

_WALLET = re.compile(r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Za-z]{25,110}+(?![0-9A-Za-z])")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
# Version bytes of base58check by first letter: Litecoin, Dogecoin, Dash, Tron, Zcash transparent.
_VERSIONS = {"L": {0x30}, "M": {0x32}, "D": {0x1E}, "A": {0x16}, "X": {0x4C}, "T": {0x41}, "t": {0x1CB8, 0x1CBD}}
_BECH32_PREFIXES = ("bc1", "ltc1", "addr1", "stake1", "cosmos1", "osmo1", "zs1")
_WALLET_STARTS = frozenset(letter.encode() for letter in (*"1348rqp", *_VERSIONS))
_WALLET_PREFIXES = frozenset(prefix[:2].encode() for prefix in (*_BECH32_PREFIXES, "0x"))


def could_be_wallet(word: bytes) -> bool:
    """Whether a run of 25 letters and digits or more has the length and first letter of a wallet: hashes have not."""
    return len(word) <= 112 and (word[:1] in _WALLET_STARTS or word[:2].lower() in _WALLET_PREFIXES)


def _valid_wallet(text: str) -> bool:
    lower = text.lower()
    if lower.startswith("0x"):  # one case throughout: no checksum to hold
        return _HEXADECIMAL.fullmatch(text[2:]) is not None and len(set(lower)) > 7
    if text[0] in "13" and len(text) <= 35:
        return all(character in _BASE58 for character in text) and bool(_crypto().validate_result(text))
    if lower.startswith("bc1") and text in (lower, text.upper()):
        return bool(_crypto().validate_result(lower))
    if lower.startswith(_BECH32_PREFIXES) and text in (lower, text.upper()):
        return _valid_bech32(lower)
    if text[0] in "48" and len(text) == 95:
        return all(character in _BASE58 for character in text)
    if text[0] == "r" and 25 <= len(text) <= 35:
        return _base58check(text, _RIPPLE) == 0
    if text[0] in _VERSIONS and 33 <= len(text) <= 35:
        return _base58check(text, _BASE58) in _VERSIONS[text[0]]
    return text[0] in "qp" and len(text) == 42 and text == lower and _valid_cashaddr(text)


def _base58check(text: str, alphabet: str) -> int | None:
    """The version byte(s) of a base58check string whose checksum holds, else None."""
    number = 0
    for character in text:
        digit = alphabet.find(character)
        if digit < 0:
            return None
        number = number * 58 + digit
    size = max(25, (number.bit_length() + 7) // 8)
    raw = number.to_bytes(size, "big")
    body, check = raw[:-4], raw[-4:]
    if sha256(sha256(body).digest()).digest()[:4] != check:
        return None
    return int.from_bytes(body[:-20], "big")


def _valid_bech32(lower: str) -> bool:
    """Presidio's polynomial without its 90-character limit, which Cardano's addresses exceed."""
    prefix, _, data = lower.rpartition("1")
    charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    values = [charset.find(character) for character in data]
    if not prefix or len(values) < 7 or min(values) < 0:
        return False
    return CryptoRecognizer.bech32_verify_checksum(prefix, values) is not None


def _valid_cashaddr(text: str) -> bool:
    values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".find(character) for character in text]
    if min(values) < 0:
        return False
    check = 1
    for value in [*(ord(letter) & 31 for letter in "bitcoincash"), 0, *values]:
        top = check >> 35
        check = (check & 0x07FFFFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x98F2BC8E61, 0x79B76D99E2, 0xF33E5FB3C4, 0xAE2EABE2A8, 0x1E4F43E470)):
            if top >> bit & 1:
                check ^= generator
    return check == 1


def _one_case(digits: str) -> tuple[str, str]:
    return digits.lower(), digits.upper()


def _valid_ethereum(addresses: Sequence[str]) -> list[bool]:
    """EIP-55 of addresses without `0x`: the case of their letters is a checksum."""
    if not addresses:
        return []
    digests = keccak256([digits.lower().encode() for digits in addresses])
    return [
        _HEXADECIMAL.fullmatch(digits) is not None
        and all(c.isdigit() or c.isupper() == (int(h, 16) >= 8) for c, h in zip(digits, digest.hex(), strict=False))
        for digits, digest in zip(addresses, digests, strict=True)
    ]


_HEXADECIMAL = re.compile("[0-9A-Fa-f]{40}")


def keccak256(messages: Sequence[bytes]) -> list[bytes]:
    """Keccak-256 with its original padding (hashlib has only the later SHA-3) of messages below 136 bytes.

    Many at once cost 0.5 ms and little more per message; a single one is twice as fast on Python's integers.
    """
    if len(messages) == 1:
        return [_keccak256_of_one(messages[0])]
    blocks = np.zeros((len(messages), 200), np.uint8)
    for row, message in zip(blocks, messages, strict=True):
        row[: len(message)] = np.frombuffer(message, np.uint8)
        row[len(message)] = 1
        row[135] |= 0x80
    lanes = blocks.view("<u8").astype(np.uint64).T.copy()  # (25, messages), lane x + 5 y
    for constant in _ROUND_CONSTANTS:
        columns = np.bitwise_xor.reduce(lanes.reshape(5, 5, -1), axis=0)
        right = columns[_NEXT]
        lanes ^= (columns[_LAST] ^ (right << _ONE | right >> _SIXTY_THREE))[_COLUMN]
        moved = np.empty_like(lanes)
        moved[_TARGETS] = lanes << _SHIFTS | lanes >> _BACK_SHIFTS
        lanes = moved ^ (~moved[_ROW_NEXT] & moved[_ROW_SECOND])
        lanes[0] ^= constant
    return [row.tobytes() for row in lanes[:4].T.astype("<u8")]


def _keccak256_of_one(message: bytes) -> bytes:
    block = bytearray(200)
    block[: len(message)] = message
    block[len(message)] = 1
    block[135] |= 0x80
    lanes = list(struct.unpack("<25Q", block))
    mask = 0xFFFFFFFFFFFFFFFF
    for constant in _INTEGER_CONSTANTS:
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        parity = [
            columns[x - 1] ^ (columns[x - 4] << 1 & mask | columns[x - 4] >> 63)  # x + 1 modulo 5
            for x in range(5)
        ]
        moved = [0] * 25
        for source, target, column, shift, back in _INTEGER_MOVES:
            lane = lanes[source] ^ parity[column]
            moved[target] = lane << shift & mask | lane >> back
        lanes = [moved[i] ^ (~moved[j] & moved[k]) for i, j, k in _ROW_TRIPLES]
        lanes[0] ^= constant
    return struct.pack("<4Q", *lanes[:4])


def _round_constants() -> list[np.uint64]:
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for power in range(7):
            if register & 1:
                constant ^= 1 << ((1 << power) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(np.uint64(constant))
    return constants


def _moves() -> tuple[np.ndarray, np.ndarray]:
    """Where each of the 25 lanes goes, and by how many bits it is rotated."""
    targets, shifts, x, y = np.zeros(25, np.int64), np.zeros((25, 1), np.uint64), 1, 0
    for step in range(24):
        targets[x + 5 * y] = y + 5 * ((2 * x + 3 * y) % 5)
        shifts[x + 5 * y] = (step + 1) * (step + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return targets, shifts


_ROUND_CONSTANTS, (_TARGETS, _SHIFTS) = _round_constants(), _moves()
_ONE, _SIXTY_THREE = np.uint64(1), np.uint64(63)
_BACK_SHIFTS = (np.uint64(64) - _SHIFTS) % np.uint64(64)
_LANE = np.arange(25)
_COLUMN, _NEXT, _LAST = _LANE % 5, np.array([1, 2, 3, 4, 0]), np.array([4, 0, 1, 2, 3])
_ROW_NEXT, _ROW_SECOND = _LANE - _LANE % 5 + (_LANE + 1) % 5, _LANE - _LANE % 5 + (_LANE + 2) % 5

_INTEGER_CONSTANTS = [int(constant) for constant in _ROUND_CONSTANTS]
_INTEGER_MOVES = [
    (source, int(_TARGETS[source]), source % 5, int(_SHIFTS[source, 0]), 64 - int(_SHIFTS[source, 0]))
    for source in range(25)
]
_ROW_TRIPLES = [(int(lane), int(_ROW_NEXT[lane]), int(_ROW_SECOND[lane])) for lane in range(25)]


@cache
def _iban() -> IbanRecognizer:
    return IbanRecognizer(exact_match=True)


@cache
def _card() -> CreditCardRecognizer:
    return CreditCardRecognizer()


@cache
def _crypto() -> CryptoRecognizer:
    return CryptoRecognizer()

"""Texts made to be slow: 20 kB of one short piece repeated, some for each type of PII; and 20 kB of anchors that come to
nothing around one value, which makes everything look again. For the tests and the bench."""

# ruff: noqa: E501 (rows of a table)

from __future__ import annotations

from pipeline.sample.labelled import base58check, cpf, ethereum, iban, luhn, spaced

LENGTH = 20_000


def worst_texts(length: int = LENGTH) -> dict[str, str]:
    """Name (the repeated piece, or a value and the dead piece before it) to text."""
    texts = {unit: (unit * (length // len(unit) + 1))[:length] for units in WORST.values() for unit in units}
    for value in VALUES.values():
        for dead in DEAD:
            texts[f"{dead}*n + {value}"] = (dead * (length // len(dead)))[: length - len(value)] + value
    for kind, value in VALUES.items():
        for dead in WORST[kind][:4]:
            texts[f"{value} + {dead}*n"] = (value + " " + dead * (length // len(dead)))[:length]
    return texts


WORST: dict[str, tuple[str, ...]] = {
    "any": ("a.", "1.", "a:", "1:", ":", "::", "A1", "ab", "é", "١", "-", "=", "0 ", "12-", "1234 ", "9a"),
    "EMAIL": (
        "a@", "@", "%40", "a [at] ", "(at)", " at a dot ", "bob@firma.de ", "xn--", "bob [at] firma [dot] de ",
        "bob [at] " + "a [dot] " * 11, "иван@почта.рф ", "a" * 60 + "@" + "b." * 100 + " ", "x@" + "é." * 120,
    ),
    "IP_ADDRESS": (
        "1.1.1.1.", "2a02:8109::1 ", "2a02:8109:5c54::f27:ac87,", "62.138.9.77 ", "1.2.3.4 ", "v1.2.3.4 ", "198.51.7.9 ",
    ),
    "IBAN": (
        "DE89 ", "DE", spaced(iban("DE", "370400440532013000")) + " ", iban("DE", "370400440532013000") + " ",
        spaced(iban("MT", "MALT011000012345MTLCAST001S")) + " ",
    ),
    "CREDIT_CARD": (spaced(luhn("411111111111111")) + " ", luhn("453201511283036") + " ", "4532-0151-1283-0367-"),
    "PHONE": ("+1", "+", "00", "tel 1", "+49 30 1234567 ", "tel 030 1234567 ", "tel 030 1234567, ", "mob_ 1"),
    "NATIONAL_ID": (
        "PESEL 87110531628 ", cpf("324496142") + " ", "CPF 324.496.142-81 ", "ID 999999999 ", "id card 12345 ", "999-99-9999 ",
        "123456789012345 ", "RSSMRA85T10A562S ", "536-90-4399 ",
    ),
    "MAC_ADDRESS": ("12:34:56:", "00:1B:44:11:3A:B7 ", "00-1B-44-11-3A-B7-", "mac 001B44113AB7 ", "3cc8.c937.28f2 "),
    "CRYPTO": (
        "0x", "0x" + "a" * 40 + " ", ethereum("x") + " ", ethereum("x"), base58check(0, "x") + " ", "bc1q" + "a" * 38 + " ",
        "1" + "A" * 33 + " ", "4" + "A" * 94 + " ",
    ),
    "URL_CREDENTIALS": (
        "://", "a:b@", "://a:", "https://a:b1c2d3@h.de ", "https://x.org/a?token=abcdefgh1234", "a://a:a@",
    ),
    "SECRET": (
        "pass=", "password:", "key=a1", "-----BEGIN RSA PRIVATE KEY-----", "eyJa", "sk-", "AKIA", "token=Bearer ",
        "sk_live_a", "key=Aa1$" + "b" * 20 + " ", "password: Aa1$b!c2 ", "Authorization: Basic Ym9iOmNvcnJlY3Q3aG9yc2U= ",
        "eyJabcdefghij.", "eyJabcdefghij.eyJabcdefgh." + "a" * 20 + " ",
    ),
}  # fmt: skip

# One finding of each type; what may stand glued before it does.
VALUES: dict[str, str] = {
    "EMAIL": "firma.de",
    "IP_ADDRESS": " 62.138.9.77",
    "IBAN": " " + iban("DE", "370400440532013000"),
    "CREDIT_CARD": " " + luhn("453201511283036"),
    "PHONE": " +49 30 1234567",
    "NATIONAL_ID": " 536-90-4399",
    "MAC_ADDRESS": " 00:1B:44:11:3A:B7",
    "CRYPTO": " " + base58check(0, "x"),
    "URL_CREDENTIALS": " redis://:S3cr3tPw9x@cache",
    "SECRET": " token=Aa1bC2dE3fG4hI5jK6",
}
# Anchors that come to nothing.
DEAD: tuple[str, ...] = (
    "eve@", "@", "a@b ", "&#64;", "[at]", " at x dot ", "12 34 56 ", "1.2.3.4 ", "+1", "DE89 3704 ", "12:34:56:", "2a02:1:", "key=a", "sk-a ",
    "tel 12 ", "A" * 25 + " ", "0x" + "a" * 41 + " ", "-----BEGIN PRIVATE KEY", "?sig=", "bearer ", "999-99-999 ", "é@", "电话12 34 56 ",
)  # fmt: skip

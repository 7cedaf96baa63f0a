"""Rebuild `pii.jsonl`, which `fairtrove pii card sample` reads: 84 labelled documents in 12 languages, 24 without PII.

A set that anybody can rebuild, read and extend: sentences are ours, values come from one seeded generator and have
correct check digits, so that a detector which checks them has a fair chance. No key has a vendor's prefix, so that no
secret scanner stops at the file. It is small and made by the authors of the detector: it shows how the card reads and
guards against losses; it is no proof of quality.

    python -m pipeline.sample.labelled           writes pii.jsonl
    python -m pipeline.sample.labelled --check   exit code 1 when the committed file is not what this code makes
"""

# ruff: noqa: E501 (one carrier is one line)

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filters.pii_finance import keccak256

FILE = Path(__file__).resolve().parent / "pii.jsonl"
DOCUMENTS_PER_LANGUAGE = 5
TRAP_DOCUMENTS = 24

# (language, script, sentences without PII, what announces a mail address, a phone, a card, a password)
_CARRIERS = (
    ("en", "Latn", ("The ferry waits for the fog.", "Nobody counted the lamps twice."), "Write to", "Phone:", "Card", "password"),
    ("de", "Latn", ("Die Fähre wartet auf den Nebel.", "Niemand zählte die Lampen zweimal."), "Post an", "Tel.:", "Karte", "Passwort"),
    ("fr", "Latn", ("Le bac attend la brume.", "Personne ne compta les lampes deux fois."), "Écrire à", "Tél. :", "Carte", "mot de passe"),
    ("es", "Latn", ("La barca espera la niebla.", "Nadie contó las lámparas dos veces."), "Escriba a", "Tel.:", "Tarjeta", "contraseña"),
    ("it", "Latn", ("Il traghetto aspetta la nebbia.", "Nessuno contò le lampade due volte."), "Scrivere a", "Tel.:", "Carta", "password"),
    ("pt", "Latn", ("A balsa espera a neblina.", "Ninguém contou as lanternas duas vezes."), "Escreva para", "Tel.:", "Cartão", "senha"),
    ("nl", "Latn", ("De pont wacht op de mist.", "Niemand telde de lampen twee keer."), "Mail naar", "Tel.:", "Kaart", "wachtwoord"),
    ("pl", "Latn", ("Prom czeka na mgłę.", "Nikt nie policzył lamp dwa razy."), "Pisz do", "Tel.:", "Karta", "hasło"),
    ("ru", "Cyrl", ("Паром ждёт тумана.", "Никто не считал лампы дважды."), "Пишите на", "Тел.:", "Карта", "пароль"),
    ("ja", "Jpan", ("渡し船は霧を待っている。", "誰も灯りを二度数えなかった。"), "連絡先は", "電話:", "カード", "パスワード"),
    ("zh", "Hans", ("渡船在等雾。", "没有人把灯数两遍。"), "请写信给", "电话:", "银行卡", "密码"),
    ("ar", "Arab", ("العبارة تنتظر الضباب.", "لم يعد أحد المصابيح مرتين."), "اكتب إلى", "هاتف:", "بطاقة", "password"),
)  # fmt: skip
_TRAPS = (
    "Chrome/120.0.6099.{n} Safari/537.36",
    "see § 4.1.{d}.3 and section 10.5.{d}.1",
    "gateway 192.168.{n}.1, netmask 255.255.255.0",
    "the documentation uses 203.0.113.{n} and 2001:db8::{n}",
    "user{n}@example.com is nobody",
    "ISBN 978-3-16-148410-0, page {n}",
    "timestamp 17000000{n}000 at 2024-01-31 10:11:12",
    "IBAN DE00 3704 0044 0532 0130 {n}",
    "commit da39a3ee5e6b4b0d3255bfef95601890afd{n}9",
    "npm i react@18.2.{d} and icon@{d}x.png",
    'password = "********" in line {n}',
    "std::vector and dead::beef, {n} times",
)
_HOSTS = ("firma-nord.de", "lampenhaus.fr", "moor-post.co.uk", "barca.es", "tram-nine.org")
_NAMES = ("ada.quist", "b_olm", "jo.ferry+fog", "lena", "r.marsh", "tilo-k")


# --- values with correct check digits ---------------------------------------------------------------------------


def luhn(body: str) -> str:
    """Append the Luhn digit (ISO/IEC 7812-1)."""
    total = sum(sum(divmod(int(digit) * (2 - index % 2), 10)) for index, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


def iban(country: str, account: str) -> str:
    """Insert the check digits of ISO 13616."""
    number = int("".join(str(int(character, 36)) for character in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02d}{account}"


def spaced(value: str, space: str = " ", size: int = 4) -> str:
    """Groups of `size` characters."""
    return space.join(value[index : index + size] for index in range(0, len(value), size))


def base58check(version: int, seed: str) -> str:
    """A wallet address with the version byte of its coin, from a seed."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    payload = bytes([version]) + hashlib.sha256(seed.encode()).digest()[:20]
    raw = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = alphabet[digit] + text
    return alphabet[0] * (len(raw) - len(raw.lstrip(b"\0"))) + text


def ethereum(seed: str) -> str:
    """An Ethereum address whose case is its checksum (EIP-55), from a seed."""
    digits = hashlib.sha256(seed.encode()).hexdigest()[:40]
    case = keccak256([digits.encode()])[0].hex()
    return "0x" + "".join(c.upper() if int(h, 16) >= 8 else c for c, h in zip(digits, case, strict=False))


def pesel(body: str) -> str:
    """Append the check digit of the Polish number."""
    return body + str(-sum(int(d) * w for d, w in zip(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True)) % 10)


def cpf(body: str) -> str:
    """Append both check digits of the Brazilian number, in its print form."""
    for start in (10, 11):
        rest = sum(int(d) * w for d, w in zip(body, range(start, 1, -1), strict=False)) * 10 % 11 % 10
        body += str(rest)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def secret(prefix: str, length: int, seed: int = 1) -> str:
    """`length` random characters behind a prefix, at least one of them a digit."""
    alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return prefix + "".join(random.Random(seed).choices(alphabet, k=length - 1)) + ("7" if length else "")


# --- documents --------------------------------------------------------------------------------------------------


def documents() -> list[dict[str, Any]]:
    """The labelled set, the same every time."""
    draw = random.Random(20)
    made: list[dict[str, Any]] = []
    for language, script, sentences, *labels in _CARRIERS:
        for _ in range(DOCUMENTS_PER_LANGUAGE):
            kinds = draw.sample(sorted(_LINES), 3)
            parts = [(sentences[0], "", "", "")]
            parts += [(*_LINES[kind](draw, labels), kind) for kind in kinds]
            made.append(_document(len(made), language, script, "pii", [*parts, (sentences[1], "", "", "")]))
    for index in range(TRAP_DOCUMENTS):
        language, script, sentences, *_ = _CARRIERS[index % len(_CARRIERS)]
        lines = draw.sample(_TRAPS, 2)
        texts = [sentences[0], *(line.format(n=draw.randint(10, 99), d=draw.randint(1, 9)) for line in lines)]
        made.append(_document(len(made), language, script, "trap", [(text, "", "", "") for text in texts]))
    return made


def _document(
    number: int, language: str, script: str, kind: str, lines: Sequence[tuple[str, str, str, str]]
) -> dict[str, Any]:
    text, spans = "", []
    for before, value, after, type_ in lines:
        start = len(text) + len(before)
        text += f"{before}{value}{after}\n"
        if value:
            end = start + len(value)
            spans.append({"start": start, "end": end, "os": start, "oe": end, "type": type_, "alt": []})
    return {
        "id": f"sample-{number:03d}",
        "lang": language,
        "script": script,
        "kind": kind,
        "text": text,
        "spans": spans,
        "traps": [],
    }


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices("0123456789", k=count))


def _ip(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return f"2a02:8109:{draw.randint(0x1000, 0xFFFF):x}::{draw.randint(0x100, 0xFFF):x}"
    return (
        f"{draw.choice((62, 81, 93, 145, 185))}.{draw.randint(64, 255)}.{draw.randint(1, 255)}.{draw.randint(1, 254)}"
    )


def _iban(draw: random.Random) -> str:
    country, account = draw.choice(
        (
            ("DE", _digits(draw, 18)),
            ("BE", _digits(draw, 12)),
            ("PL", _digits(draw, 24)),
            ("NL", "INGB" + _digits(draw, 10)),
            ("FR", _digits(draw, 23)),
            ("NO", _digits(draw, 11)),
        )
    )
    return spaced(iban(country, account), draw.choice((" ", "", "\u00a0")))


def _card(draw: random.Random) -> str:
    return spaced(luhn(draw.choice(("4532", "5412", "2223")) + _digits(draw, 11)), draw.choice((" ", "-", "")))


def _phone(draw: random.Random) -> str:
    return draw.choice(
        ("+44 20 7946 0{}", "+49 30 1234{}", "+33 1 42 68 5{}", "+1-212-736-5{}", "0048 22 555 1{}")
    ).format(_digits(draw, 3)[:3])


def _national_id(draw: random.Random) -> tuple[str, str]:
    born = f"{draw.randint(50, 99)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}"
    return draw.choice((("PESEL ", pesel(born + _digits(draw, 4))), ("CPF ", cpf(_digits(draw, 9)))))


# For each type: (before, value, after). Labels: mail, phone, card, password of the carrier's language.
_LINES: dict[str, Callable[[random.Random, Sequence[str]], tuple[str, str, str]]] = {
    "EMAIL": lambda draw, labels: (f"{labels[0]} ", f"{draw.choice(_NAMES)}@{draw.choice(_HOSTS)}", "."),
    "IP_ADDRESS": lambda draw, labels: ("client: ", _ip(draw), " connected"),
    "IBAN": lambda draw, labels: ("IBAN ", _iban(draw), ""),
    "CREDIT_CARD": lambda draw, labels: (f"{labels[2]} ", _card(draw), ""),
    "PHONE": lambda draw, labels: (f"{labels[1]} ", _phone(draw), ""),
    "NATIONAL_ID": lambda draw, labels: (*_national_id(draw), ""),
    "MAC_ADDRESS": lambda draw, labels: ("ether ", "3c:9c:" + spaced(f"{draw.getrandbits(32):08x}", ":", 2), " up"),
    "CRYPTO": lambda draw, labels: (
        "BTC/ETH: ",
        draw.choice((base58check(0, _digits(draw, 8)), ethereum(_digits(draw, 8)))),
        "",
    ),
    "URL_CREDENTIALS": lambda draw, labels: (
        "postgres://",
        f"app:{secret('', 14, draw.randint(1, 10**6))}",
        "@db.lampenhaus.fr:5432/tide",
    ),
    "SECRET": lambda draw, labels: (f'{labels[3]} = "', secret("", 16, draw.randint(1, 10**6)), '"'),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with `--check` compare it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.sample.labelled")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")
    content = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents())
    if parser.parse_args(arguments).check:
        return int(not FILE.is_file() or FILE.read_text("utf-8") != content)
    FILE.write_text(content, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""PII: found exactly, replaced exactly, counted by type, never written down.

The published pipeline replaces three regular expressions' values wherever they occur, with no checksum, no boundary and
no IPv6 (macro-F1 0.09 on the development set of ten types). Here presidio's recognizers and validators decide on
candidates that an automaton found first, with corrections where they are wrong or silent (`pii_mail`, `pii_network`,
`pii_finance`, `pii_ids`, `pii_phone`, `pii_secrets`), and only the spans found are replaced; every other byte stays.
On the same set: macro-F1 0.999, no finding in 2.6 MB of natural text in 64 languages; 190 MB/s per core on that text,
some 60 on web-like pages full of versions and dates, 2.5 to 3 where every second line holds PII
(`tests/bench/bench_pii.py`).

What counts as PII is policy and stated at the recognizers: public IP addresses only, no addresses at `example.org`, no
number whose check digits are wrong. There is no time-out to fail open: every step is linear in the text, and a
recognizer that raises ends the task before the text is passed on (`RecognizerError`, without the value).

Which types for which kind of source, the defaults argued:
- `web`, `books`, `parallel`: all ten. Each type was held to precision 1.000 on look-alikes, so that more types do not
  cost text: no finding in 2.6 MB of natural text. A page is where people are named beside their numbers.
- `code`: `CODE_TYPES`. Keys, passwords, private keys, credentials in URLs, mail addresses and wallets are why code is
  redacted at all. IBANs, cards, national and telephone numbers in source files are nearly always test data with right
  check digits by design (a validator's fixtures), and addresses of networks and cards are configuration that a program
  needs: replacing them breaks code and protects nobody.
- `math`: `MATH_TYPES`. Rows of digits are the subject: of the types that are digits alone (cards, telephone and
  national numbers, addresses of four small numbers) none is worth one spoiled equation; an address with an `@`, a
  password or a mod-97 IBAN cannot be a formula. The published recipe redacts nothing in mathematics.
A recipe sets them by `pii = { types = [...] }`; without `types` all ten are redacted.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.metadata
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any

from datatrove.data import Document

import filters.light_presidio  # noqa: F401 - before anything that imports presidio
from filters.decision import Action, Decision, Evidence
from filters.pii_mail import suffix_list_file
from filters.pii_recognizer import Span
from filters.pii_scan import PRIORITY, RecognizerError, find_spans
from filters.stage import Stage

CODE = "4"  # bump when a decision on any text may change

TYPES: tuple[str, ...] = (
    "EMAIL",
    "IP_ADDRESS",
    "IBAN",
    "CREDIT_CARD",
    "PHONE",
    "NATIONAL_ID",
    "MAC_ADDRESS",
    "CRYPTO",
    "URL_CREDENTIALS",
    "SECRET",
)
# The first three are the published recipe's and special tokens of its tokenizer.
MARKERS: Mapping[str, str] = {
    "EMAIL": "<email-pii>",
    "IP_ADDRESS": "<ip-pii>",
    "IBAN": "<iban-pii>",
    "CREDIT_CARD": "<card-pii>",
    "PHONE": "<phone-pii>",
    "NATIONAL_ID": "<id-pii>",
    "MAC_ADDRESS": "<mac-pii>",
    "CRYPTO": "<crypto-pii>",
    "URL_CREDENTIALS": "<credentials-pii>",
    "SECRET": "<secret-pii>",
}
CODE_TYPES: tuple[str, ...] = ("EMAIL", "CRYPTO", "URL_CREDENTIALS", "SECRET")
MATH_TYPES: tuple[str, ...] = ("EMAIL", "IBAN", "URL_CREDENTIALS", "SECRET")
# What stands in a span's place: a text per type, or a function of (type, value).
Markers = Mapping[str, str] | Callable[[str, str], str]


class Reason(StrEnum):
    """Why the stage did what it did."""

    CLEAN = "clean"
    REDACTED = "redacted"


def find(text: str, language: str = "und") -> list[Span]:
    """PII in a text as (start, end, type), in code points, sorted and disjoint.

    Where findings overlap, the type with the most specific evidence stays, in the order of `pii_scan.PRIORITY`. With
    the spans replaced by their markers, a second pass finds nothing.

    Args:
        text: any string.
        language: label such as `deu_Latn`, `deu`, `de` or `und`; decides which countries' national telephone numbers
            and identifiers are likely.
    """
    return find_spans(text, language)


def scan(texts: Sequence[str], languages: Sequence[str], types: Iterable[str] | None = None) -> list[list[Span]]:
    """`find` for a batch, for some types only. A text's answer does not depend on its neighbours."""
    kinds = _checked(types)
    return [find_spans(text, language, kinds) for text, language in zip(texts, languages, strict=True)]


def redact(text: str, spans: Sequence[Span], markers: Markers = MARKERS) -> str:
    """The text with each span replaced by its marker; all else stays. Spans must be sorted and disjoint."""
    parts: list[str] = []
    position = 0
    for start, end, kind in spans:
        if not position <= start <= end <= len(text):
            raise ValueError(f"span {start}:{end} overlaps its predecessor or lies outside the text; sort and resolve")
        marker = markers(kind, text[start:end]) if callable(markers) else markers[kind]
        parts += [text[position:start], marker]
        position = end
    return "".join([*parts, text[position:]])


def pseudonyms(key: str) -> Callable[[str, str], str]:
    """Markers that keep equality: `<email-pii:kfjbnmcoadhgliep>` for every spelling of one address under one key.

    HMAC-SHA256 cut to 64 bits, written in the letters a to p so that no digits invite another recognizer. Whoever has
    the key can test guesses (all IPv4 addresses, all telephone numbers): keep it apart from the corpus or forget it.
    """
    secret = key.encode("utf-8", "surrogatepass")

    def marker(kind: str, value: str) -> str:
        digest = hmac.new(secret, f"{kind}\n{_canonical(kind, value)}".encode("utf-8", "replace"), hashlib.sha256)
        letters = digest.hexdigest()[:16].translate(_HEX_TO_LETTERS)
        return f"{MARKERS[kind][:-1]}:{letters}>"

    return marker


_HEX_TO_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_CASE_MATTERS = frozenset({"SECRET", "URL_CREDENTIALS", "CRYPTO"})


def _canonical(kind: str, value: str) -> str:
    if kind in _CASE_MATTERS:
        return value
    folded = unicodedata.normalize("NFKC", value).casefold()
    return folded if kind in ("EMAIL", "IP_ADDRESS") else re.sub(r"[^0-9a-z+]", "", folded)


def _checked(types: Iterable[str] | None) -> frozenset[str] | None:
    if types is None:
        return None
    kinds = frozenset(types)
    unknown = sorted(kinds - set(PRIORITY))
    if unknown:
        raise ValueError(f"unknown PII types {', '.join(unknown)}; choose from {', '.join(TYPES)}")
    return None if len(kinds) == len(TYPES) else kinds


# --- the stage --------------------------------------------------------------------------------------------------

_NO_PII = Decision(Action.KEEP, Reason.CLEAN)


class PII(Stage):
    """Replaces PII in documents and says how much of which type; excludes nothing.

    Sets `metadata["redactions"]` to the number of spans replaced. No value reaches metadata, statistics or messages.

    Args:
        types: types to redact; None for all ten.
        marker: `typed` (`<email-pii>`), `hash` (a pseudonym under `key` that keeps equality) or `remove` (nothing).
        key: secret of the pseudonyms, needed for `hash` and only there.
        spans: also set `metadata["redaction_spans"]`, a column of the shards: `EMAIL 12:24; IBAN 30:52`, in code points
            of the text before redaction, with the pseudonym behind each under `hash`. Off by default: where a value
            stood, and how long it was, is more than a reader of the corpus needs.
        exclusion_writer: see `Stage`; never used, since nothing is excluded.
    """

    name = "🕶 PII"
    stage = "pii"

    def __init__(
        self,
        types: Sequence[str] | None = None,
        marker: str = "typed",
        key: str | None = None,
        spans: bool = False,
        exclusion_writer: Any = None,
    ):
        super().__init__(exclusion_writer)
        if marker not in ("typed", "hash", "remove"):
            raise ValueError(f"pii: unknown marker {marker!r}; choose typed, hash or remove")
        if (marker == "hash") != bool(key):
            raise ValueError("pii: marker hash needs a key, the other markers take none; set or drop `key`")
        if spans and marker == "remove":
            raise ValueError(
                "pii: marker remove joins what stood apart, so spans have no place; set typed, or drop `spans`"
            )
        _checked(types)
        self.types = None if types is None else tuple(types)
        self.marker = marker
        self.key = key
        self.spans = spans
        self.evidence = Evidence(protocol="presidio", detector=_detector())

    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        """Redact in place; ALTER with counts by type where something was found."""
        kinds = _checked(self.types)
        decisions = []
        for document in documents:
            language = language_of(document.metadata)
            try:
                spans = find_spans(document.text, language, kinds)
            except RecognizerError as error:
                raise RecognizerError(error.kind, error.cause, str(document.id)) from None
            decisions.append(self._redacted(document, language, spans) if spans else _untouched(document))
        return decisions

    def _redacted(self, document: Document, language: str, spans: list[Span]) -> Decision:
        kinds = _checked(self.types)
        markers = self._markers()
        counts = Counter(kind for _, _, kind in spans)
        text = redact(document.text, spans, markers)
        # What is removed without a trace lets its neighbours meet: look again until nothing is left.
        while self.marker == "remove" and (spans := find_spans(text, language, kinds)):
            counts.update(kind for _, _, kind in spans)
            text = redact(text, spans, markers)
        if self.spans:
            document.metadata["redaction_spans"] = _written(
                document.text, spans, markers if callable(markers) else None
            )
        document.text = text
        document.metadata["redactions"] = counts.total()
        return Decision(Action.ALTER, Reason.REDACTED, evidence=self.evidence, counts=dict(sorted(counts.items())))

    def _markers(self) -> Markers:
        if self.marker == "hash":
            return pseudonyms(self.key or "")
        return dict.fromkeys(TYPES, "") if self.marker == "remove" else MARKERS

    def fingerprint(self) -> dict[str, str]:
        """Everything the decisions depend on besides the document."""
        key = (
            hmac.new(self.key.encode("utf-8", "surrogatepass"), b"fairtrove pii key", hashlib.sha256)
            if self.key
            else None
        )
        return {
            "code": CODE,
            "types": " ".join(self.types or TYPES),
            "marker": self.marker,
            "spans": str(self.spans).lower(),
            "key": key.hexdigest()[:16] if key else "",
            "suffix_list": _suffix_list_digest(),
            **{name: importlib.metadata.version(name) for name in _DECIDING},
        }


# Libraries whose data or code decides what is PII.
_DECIDING = ("presidio-analyzer", "phonenumbers", "python-stdnum", "google-re2", "tldextract")


def language_of(metadata: Mapping[str, Any]) -> str:
    """Language label from FineWeb-2's columns: `deu` and `Latn`, or already `deu_Latn`; `und` if there is none."""
    language, script = metadata.get("language"), metadata.get("language_script")
    if not isinstance(language, str) or not language:
        return "und"
    return f"{language}_{script}" if isinstance(script, str) and script and "_" not in language else language


def _written(text: str, spans: Sequence[Span], pseudonym: Callable[[str, str], str] | None) -> str:
    """Spans as one string; with a key, each with its pseudonym's letters."""
    return "; ".join(
        f"{kind} {start}:{end}" + (f" {pseudonym(kind, text[start:end])[-17:-1]}" if pseudonym else "")
        for start, end, kind in spans
    )


def _untouched(document: Document) -> Decision:
    document.metadata["redactions"] = 0
    return _NO_PII


def _detector() -> str:
    return f"fairtrove-pii+presidio-analyzer@{CODE}+{importlib.metadata.version('presidio-analyzer')}"


@cache
def _suffix_list_digest() -> str:
    return hashlib.sha256(suffix_list_file().read_bytes()).hexdigest()

"""The card of a PII detector: precision, recall and F1 by type and language, false positives per MB, MB/s.

A labelled file is JSON Lines, plain or gzipped, one document per line:

    {"text": "…", "lang": "de", "script": "Latn", "kind": "pii",
     "spans": [{"start": 5, "end": 17, "type": "EMAIL", "os": 5, "oe": 17, "alt": []}],
     "traps": [{"start": 30, "end": 41, "soft": false}]}

Offsets are code points. `start:end` must be covered, `os:oe` (by default the same) is the widest span still exact: the
`mailto:` before an address, a port behind one. `alt` lists other types that are right too. `kind` groups documents for
false positives per MB. Only `text` and `spans` are needed.

Scoring is by exact span, because a span that is too wide destroys text and one that is too narrow leaves part of a
value: both count as one miss and one false positive. A finding that touches a *soft* trap counts neither way. No value
is in a card.

Two peers can be held against ours: the three expressions of the published Apertus pipeline with their effect (each
value found is replaced wherever it occurs, also inside longer ones), and stock datatrove's `PIIFormatter`. On the
development set (4,000 documents, 64 languages, ten types): macro-F1 0.999, 0.088 and 0.100.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from filters.pii import TYPES, find
from filters.pii_recognizer import Span

Finder = Callable[[str, str], list[Span]]  # (text, language) -> spans, as `filters.pii.find`


class CardError(ValueError):
    """A labelled or clean file cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, slots=True)
class Label:
    """One value that must be found: see the module for the offsets."""

    start: int
    end: int
    outer_start: int
    outer_end: int
    types: frozenset[str]
    type: str

    def accepts(self, span: Span) -> bool:
        """Whether a finding is this value, exactly."""
        start, end, kind = span
        return self.outer_start <= start <= self.start and self.end <= end <= self.outer_end and kind in self.types


@dataclass(frozen=True, slots=True)
class LabelledDocument:
    """A text and what is in it. `soft`: stretches where a finding is neither right nor wrong."""

    text: str
    language: str
    kind: str
    labels: tuple[Label, ...]
    soft: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Tally:
    """Found, missed and wrongly found spans of a type or a language."""

    found: int = 0
    missed: int = 0
    wrong: int = 0

    @property
    def precision(self) -> float | None:
        """Share of findings that are right; None without findings."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of values found; None without values."""
        return self.found / (self.found + self.missed) if self.found + self.missed else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both; None where there is neither value nor finding."""
        total = 2 * self.found + self.missed + self.wrong
        return 2 * self.found / total if total else None


@dataclass(slots=True)
class Card:
    """What one detector reached on a labelled file and on clean text."""

    name: str
    types: dict[str, Tally] = field(default_factory=dict)
    languages: dict[str, Tally] = field(default_factory=dict)
    documents: int = 0
    with_pii: int = 0
    perfect: int = 0
    wrong_by_kind: Counter[str] = field(default_factory=Counter)
    bytes_by_kind: Counter[str] = field(default_factory=Counter)
    clean_bytes: int = 0
    clean_found: Counter[str] = field(default_factory=Counter)
    labelled_seconds: float = 0.0
    clean_seconds: float = 0.0

    def add(self, document: LabelledDocument, spans: Sequence[Span]) -> None:
        """Count one labelled document and what was found in it."""
        self.documents += 1
        self.bytes_by_kind[document.kind] += len(document.text.encode("utf-8", "replace"))
        language = self.languages.setdefault(document.language, Tally())
        left = list(spans)
        exact = True
        for label in document.labels:
            kind = self.types.setdefault(label.type, Tally())
            hit = next((span for span in left if label.accepts(span)), None)
            if hit:
                left.remove(hit)
                kind.found += 1
                language.found += 1
            else:
                kind.missed += 1
                language.missed += 1
                exact = False
        for start, end, type_ in left:
            if any(first < end and start < last for first, last in document.soft):
                continue
            self.types.setdefault(type_, Tally()).wrong += 1
            language.wrong += 1
            self.wrong_by_kind[document.kind] += 1
            exact = False
        if document.labels:
            self.with_pii += 1
            self.perfect += exact

    def macro_f1(self) -> float:
        """Mean of F1 over the types that the file holds."""
        values = [tally.f1 or 0.0 for tally in self.types.values() if tally.found + tally.missed]
        return sum(values) / len(values) if values else 0.0

    def lowest_f1(self) -> float:
        """F1 of the weakest of these types."""
        return min((tally.f1 or 0.0 for tally in self.types.values() if tally.found + tally.missed), default=0.0)

    def wrong_per_mb(self, kind: str) -> float:
        """False positives per megabyte of documents of one kind."""
        return self.wrong_by_kind[kind] / (self.bytes_by_kind[kind] / 1e6)

    def clean_per_mb(self) -> float | None:
        """Findings per megabyte of clean text, all of them false; None without clean text."""
        return self.clean_found.total() / (self.clean_bytes / 1e6) if self.clean_bytes else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded; counts beside every ratio."""
        return {
            "name": self.name,
            "documents": self.documents,
            "macro_f1": round(self.macro_f1(), 4),
            "perfect": round(self.perfect / self.with_pii, 4) if self.with_pii else None,
            "types": {kind: _tally_json(self.types[kind]) for kind in sorted(self.types)},
            "languages": {label: _tally_json(self.languages[label]) for label in sorted(self.languages)},
            "false_positives_per_mb": {
                kind: round(self.wrong_per_mb(kind), 3) for kind in sorted(self.bytes_by_kind) if kind
            },
            "clean_bytes": self.clean_bytes,
            "clean_false_positives_per_mb": None if self.clean_per_mb() is None else round(self.clean_per_mb() or 0, 3),
            "labelled_mb_per_s": _speed(self.bytes_by_kind.total(), self.labelled_seconds),
            "clean_mb_per_s": _speed(self.clean_bytes, self.clean_seconds),
        }


def measure(name: str, finder: Finder, documents: Sequence[LabelledDocument], clean: Sequence[str] = ()) -> Card:
    """Run a detector over labelled documents and clean texts. Times are CPU seconds of warmed-up code."""
    card = Card(name)
    for document in documents[:1000]:
        finder(document.text, document.language)
    started = time.process_time()
    found = [finder(document.text, document.language) for document in documents]
    card.labelled_seconds = time.process_time() - started
    for document, spans in zip(documents, found, strict=True):
        card.add(document, spans)
    started = time.process_time()
    for text in clean:
        card.clean_found.update(kind for _, _, kind in finder(text, "und"))
    card.clean_seconds = time.process_time() - started
    card.clean_bytes = sum(len(text.encode("utf-8", "replace")) for text in clean)
    return card


def ours(text: str, language: str) -> list[Span]:
    """fairtrove."""
    return find(text, language)


def published(text: str, language: str) -> list[Span]:
    """The three expressions of the published pipeline, with their effect: `str.replace` of every value found."""
    emails, addresses, _ = _stock()
    spans: list[Span] = []
    replaced = bytearray(len(text))  # what an earlier value took is gone
    for expression, kind in ((emails, "EMAIL"), (addresses, "IP_ADDRESS"), (_PUBLISHED_IBAN, "IBAN")):
        for value in dict.fromkeys(expression.findall(text)):
            start = text.find(value)
            while start >= 0:
                end = start + len(value)
                if replaced.find(1, start, end) < 0:
                    spans.append((start, end, kind))
                    replaced[start:end] = b"\1" * len(value)
                start = text.find(value, end)
    return sorted(spans)


def stock(text: str, language: str) -> list[Span]:
    """datatrove's `PIIFormatter` with its defaults: e-mail and public IPv4 addresses."""
    emails, addresses, is_public = _stock()
    spans = [(match.start(), match.end(), "EMAIL") for match in emails.finditer(text)]
    spans += [(match.start(), match.end(), "IP_ADDRESS") for match in addresses.finditer(text) if is_public(match[0])]
    return _disjoint(spans)


PEERS: dict[str, Finder] = {"published regexes": published, "stock datatrove": stock}

# A country, two digits, four groups of four digits and a rest: Germany's print form, and no other country's in full.
_PUBLISHED_IBAN = re.compile(r"[A-Z]{2}\d{2}(?: \d{4}){4} [A-Z\d]{1,2}", re.ASCII)


@cache
def _stock() -> tuple[re.Pattern[str], re.Pattern[str], Callable[[str], bool]]:
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    validator = formatter.ip_replacer.validator
    return formatter.emails_replacer.regex, formatter.ip_replacer.regex, validator or (lambda _: True)


def _disjoint(spans: Iterable[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


# --- files ------------------------------------------------------------------------------------------------------


def read_labelled(path: Path) -> list[LabelledDocument]:
    """The documents of a labelled file.

    Raises:
        CardError: the file is missing or a line is not as the module's docstring says; never quotes the text.
    """
    documents = []
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            try:
                documents.append(_document(json.loads(line)))
            except json.JSONDecodeError as error:
                raise CardError(f"{path}:{number}: not a JSON object (column {error.colno}); mend the line") from None
            except (KeyError, TypeError, AttributeError):
                raise CardError(
                    f"{path}:{number}: needs `text` and `spans`, each span with integer start and end and a type"
                ) from None
            except ValueError as error:
                raise CardError(f"{path}:{number}: {error}") from None
    if not documents:
        raise CardError(f"{path}: no documents; give JSON Lines with `text` and `spans`")
    return documents


def read_clean(path: Path) -> str:
    """A text file without PII as one document.

    Raises:
        CardError: it cannot be read as UTF-8.
    """
    return "".join(_lines(path))


def _lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
            return file.readlines()
    except UnicodeDecodeError as error:
        raise CardError(f"{path}: not UTF-8 text (byte {error.start}); convert it first") from None
    except (OSError, EOFError) as error:
        raise CardError(
            f"{path}: {getattr(error, 'strerror', None) or 'not a gzip file'}; give an existing file"
        ) from None


def _document(record: dict[str, Any]) -> LabelledDocument:
    text = record["text"]
    if not isinstance(text, str):
        raise TypeError
    labels = tuple(_label(span, len(text)) for span in record["spans"])
    language, script = record.get("lang") or "und", record.get("script")
    return LabelledDocument(
        text=text,
        language=f"{language}_{script}" if script else language,
        kind=record.get("kind") or ("pii" if labels else "clean"),
        labels=labels,
        soft=tuple((trap["start"], trap["end"]) for trap in record.get("traps", ()) if trap.get("soft")),
    )


def _label(span: dict[str, Any], length: int) -> Label:
    start, end, kind = span["start"], span["end"], span["type"]
    outer_start, outer_end = span.get("os", start), span.get("oe", end)
    if kind not in TYPES:
        raise ValueError(f"span type {kind!r} is none of {', '.join(TYPES)}")
    if not 0 <= outer_start <= start < end <= outer_end <= length:
        raise ValueError(f"span {start}:{end} (widest {outer_start}:{outer_end}) is not within the text of {length}")
    return Label(start, end, outer_start, outer_end, frozenset({kind, *span.get("alt", ())}), kind)


def _tally_json(tally: Tally) -> dict[str, Any]:
    ratios = {"precision": tally.precision, "recall": tally.recall, "f1": tally.f1}
    counts = {"found": tally.found, "missed": tally.missed, "wrong": tally.wrong}
    return {name: None if value is None else round(value, 4) for name, value in ratios.items()} | counts


def _speed(size: int, seconds: float) -> float | None:
    return round(size / 1e6 / seconds, 2) if size and seconds else None

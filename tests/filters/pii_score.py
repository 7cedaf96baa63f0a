"""Exact-span scoring of PII findings, as the labels of the development set define it (not shipped).

A span counts as found if it covers the labelled characters, stays inside the widest accepted ones and has the label's
type or an accepted other. A finding that only touches a *soft* trap counts neither way. Everything else is a
false positive.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Span = tuple[int, int, str]


@dataclass
class Score:
    """Counts over a labelled file."""

    found: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    wrong_by_kind: Counter[str] = field(default_factory=Counter)
    bytes_by_kind: Counter[str] = field(default_factory=Counter)
    perfect: int = 0
    with_pii: int = 0

    def add(self, record: dict[str, Any], spans: Sequence[Span]) -> None:
        """Count one record of the file and what was found in its text."""
        kind = record["kind"]
        self.bytes_by_kind[kind] += len(record["text"].encode())
        left = list(spans)
        exact = True
        for label in record["spans"]:
            hit = next((span for span in left if _is(span, label)), None)
            if hit:
                left.remove(hit)
                self.found[label["type"]] += 1
            else:
                self.missed[label["type"]] += 1
                exact = False
        for start, end, type_ in left:
            if any(trap["soft"] and trap["start"] < end and start < trap["end"] for trap in record["traps"]):
                continue
            self.wrong[type_] += 1
            self.wrong_by_kind[kind] += 1
            exact = False
        if record["spans"]:
            self.with_pii += 1
            self.perfect += exact

    def f1(self) -> dict[str, float]:
        """F1 by type."""
        types = self.found.keys() | self.missed.keys()
        return {
            kind: 2 * self.found[kind] / (2 * self.found[kind] + self.missed[kind] + self.wrong[kind])
            for kind in sorted(types)
        }

    def macro_f1(self) -> float:
        """Mean of F1 over the types."""
        values = self.f1().values()
        return sum(values) / len(values)

    def wrong_per_mb(self, kind: str) -> float:
        """False positives per megabyte of documents of one kind."""
        return self.wrong_by_kind[kind] / (self.bytes_by_kind[kind] / 1e6)


def records(path: Path) -> list[dict[str, Any]]:
    """The labelled documents of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _is(span: Span, label: dict[str, Any]) -> bool:
    start, end, kind = span
    return (
        label["os"] <= start <= label["start"]
        and label["end"] <= end <= label["oe"]
        and (kind == label["type"] or kind in label["alt"])
    )

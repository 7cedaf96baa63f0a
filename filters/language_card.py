"""How well languages are identified: macro-F1, false-positive rate, F1 per language, confusions, documents per second.

Labelled text is a Parquet or JSON Lines file with a `text` and a `lang` column (`deu_Latn`, `deu` or `de`). Any
identifier can be measured on it, side by side. Two ways to count, both common: *open*, every text of the file counts,
so a wrong answer on any of them is a false positive for the label it names; *closed*, only texts in languages that the
identifier knows.
"""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filters.language_answer import Answer
from filters.language_labels import model_label

Identify = Callable[[Sequence[str]], list[Answer]]


class CardError(ValueError):
    """A labelled file cannot be read; the message names file, row and remedy."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its true label, in our terms."""

    text: str
    label: str


@dataclass
class Tally:
    """Texts of one label: found, missed, and texts of other labels taken for it."""

    found: int = 0
    missed: int = 0
    wrong: int = 0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when nothing was found."""
        return 2 * self.found / (2 * self.found + self.missed + self.wrong) if self.found else 0.0

    @property
    def precision(self) -> float | None:
        """Share of right ones among the texts given this label; None when there are none."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of the label's texts that were found; None when there are none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else None


@dataclass
class Card:
    """Result of one identifier on one file.

    Attributes:
        name: the identifier.
        labels: tally of each true label.
        confusions: (true, given) -> texts.
        documents, characters, seconds: how much was read, in how many CPU seconds.
        scores: score of each answer, and whether it was right.
    """

    name: str
    labels: dict[str, Tally] = field(default_factory=dict)
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    documents: int = 0
    characters: int = 0
    seconds: float = 0.0
    scores: list[tuple[float, bool]] = field(default_factory=list)

    def macro_f1(self) -> float:
        """Mean F1 of the true labels."""
        return sum(tally.f1 for tally in self.labels.values()) / len(self.labels)

    def accuracy(self) -> float:
        """Share of texts with the right label."""
        return sum(tally.found for tally in self.labels.values()) / self.documents

    def false_positive_rate(self) -> float:
        """Mean over the true labels of the share of other texts that are taken for it."""
        rates = [
            tally.wrong / (self.documents - tally.found - tally.missed)
            for tally in self.labels.values()
            if self.documents > tally.found + tally.missed
        ]
        return sum(rates) / len(rates) if rates else 0.0

    def to_json(self) -> dict[str, Any]:
        """The card as plain values."""
        return {
            "name": self.name,
            "documents": self.documents,
            "labels": len(self.labels),
            "accuracy": round(self.accuracy(), 4),
            "macro_f1": round(self.macro_f1(), 4),
            "false_positive_rate": round(self.false_positive_rate(), 6),
            "documents_per_cpu_second": round(self.documents / self.seconds, 1) if self.seconds else None,
            "by_label": {
                label: {
                    "texts": tally.found + tally.missed,
                    "precision": tally.precision,
                    "recall": tally.recall,
                    "f1": round(tally.f1, 4),
                }
                for label, tally in sorted(self.labels.items())
            },
            "confusions": [[*pair, count] for pair, count in self.confusions.most_common(50)],
        }


def measure(name: str, identify: Identify, documents: Sequence[Labelled]) -> Card:
    """Card of an identifier on labelled texts.

    Raises:
        CardError: there are no texts.
    """
    if not documents:
        raise CardError("no labelled texts to measure on")
    identify([documents[0].text])  # loads the model outside the clock
    started = time.process_time()
    answers = identify([document.text for document in documents])
    card = Card(name, seconds=time.process_time() - started, documents=len(documents))
    card.labels = {label: Tally() for label in sorted({document.label for document in documents})}
    for document, answer in zip(documents, answers, strict=True):
        right = same(answer.label, document.label)
        given = document.label if right else answer.label
        card.characters += len(document.text)
        card.scores.append((answer.score, right))
        if right:
            card.labels[document.label].found += 1
        else:
            card.labels[document.label].missed += 1
            card.confusions[document.label, given] += 1
            if given in card.labels:
                card.labels[given].wrong += 1
    return card


def same(given: str, true: str) -> bool:
    """Whether an answer is the true label; a true label without script is right in any."""
    return given == true or ("_" not in true and given.partition("_")[0] == true)


def known_to(documents: Sequence[Labelled], known: set[str]) -> list[Labelled]:
    """The texts of the closed count: those in languages that an identifier knows."""
    return [document for document in documents if document.label[:3] in known]


def joined(documents: Sequence[Labelled], lines: int) -> list[Labelled]:
    """Texts of one label joined, so many each, in their order; what is left over is a text of its own."""
    by_label: dict[str, list[str]] = {}
    for document in documents:
        by_label.setdefault(document.label, []).append(document.text)
    return [
        Labelled("\n".join(texts[start : start + lines]), label)
        for label, texts in by_label.items()
        for start in range(0, len(texts), lines)
    ]


def read_labelled(path: Path) -> list[Labelled]:
    """Texts and labels of a Parquet or JSON Lines file (`text`, and `lang` or `language` with `language_script`).

    Raises:
        CardError: the file cannot be read, or a row has no text or no intelligible label.
    """
    found = []
    for number, row in enumerate(_rows(path), 1):
        text, label = row.get("text"), row.get("lang") or row.get("language")
        if not isinstance(text, str) or not isinstance(label, str) or not label:
            raise CardError(f"{path}, row {number}: needs `text` and `lang`, both strings")
        script = row.get("language_script")
        if "_" not in label and isinstance(script, str) and script:
            label = f"{label}_{script}"
        meant = model_label(label)
        if len(meant.language) != 3 or meant.language == "und":
            raise CardError(f"{path}, row {number}: {label!r} is no language label; write `deu_Latn`, `deu` or `de`")
        found.append(Labelled(text, f"{meant.language}_{meant.scripts[0]}" if "_" in label else meant.language))
    if not found:
        raise CardError(f"{path}: no rows")
    return found


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            file = pq.ParquetFile(path)
            wanted = {"text", "lang", "language", "language_script"} & set(file.schema_arrow.names)
            for batch in file.iter_batches(columns=sorted(wanted)):
                yield from batch.to_pylist()
            return
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise CardError(f"{path}, line {number}: a JSON object is expected")
                yield row
    except CardError:
        raise
    except OSError as error:
        raise CardError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise CardError(f"{path}: neither Parquet nor JSON Lines ({error})") from error

"""Measures the recipe of the language model on sources that the measured model has not seen, and writes what it finds.

The shipped model learns from everything, so a second one is trained for measuring: of every label with two sources of
100 lines, it lacks one; and of every sixth other label that has a word list, it lacks all sentences, which says how
good the labels are that only ever had lists. Texts are lines of the sources left out, and NTREX-128 (`dev.parquet`),
which is never trained on; short lines are joined until a text has 100 characters.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from filters.language_answer import Answer
from filters.language_card import Card, Labelled, joined, measure, same
from filters.language_identifier import WordIdentifier

TEXTS = 40  # per label and source
LENGTH = 100  # characters of a text, if there are more lines; a third of it in Han and kana
ENOUGH = 100  # lines that make a source of a label
PRECISION = 0.9  # what thresholds are for: of the texts let through, so many have the right label
RARE = 0.002  # share of texts of other languages that labels known from lists may take, all together
STEPS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def held_out(folder: Path) -> dict[str, set[str] | None]:
    """Label -> sources of sentences to train without, None for all of them."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    table = pq.read_table(folder / "train" / "sentences.parquet", columns=["lang", "source"])
    columns = (table[name].cast("string").to_pylist() for name in ("lang", "source"))
    for label, source in zip(*columns, strict=True):
        counts[label][source] += 1
    listed = pq.read_table(folder / "train" / "words.parquet", columns=["lang", "words"]).to_pylist()
    words = {row["lang"]: len(row["words"] or []) for row in listed}
    chosen: dict[str, set[str] | None] = {}
    for label in sorted(counts):
        draw = hashlib.sha256(label.encode()).digest()[0]
        sources = sorted(source for source, lines in counts[label].items() if lines >= ENOUGH)
        if len(sources) >= 2:
            chosen[label] = {sources[draw % len(sources)]}
        elif sources and words.get(label, 0) >= 40 and draw % 6 == 0:
            chosen[label] = None
    return chosen


def documents(folder: Path, without: Mapping[str, set[str] | None]) -> dict[str, list[Labelled]]:
    """Texts by kind of test: `source` (another than trained on), `list` (lists alone were trained on), `ntrex`."""
    table = pq.read_table(folder / "train" / "sentences.parquet", columns=["text", "lang", "source"])
    labels, sources = (table[name].cast("string").to_pylist() for name in ("lang", "source"))
    lines: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, (label, source) in enumerate(zip(labels, sources, strict=True)):
        if label in without:
            left = without[label]
            if left is None or source in left:
                lines["list" if left is None else "source", label].append(number)
    random = np.random.default_rng(1)
    found: dict[str, list[Labelled]] = {"source": [], "list": [], "ntrex": []}
    for (kind, label), numbers in sorted(lines.items()):
        chosen = random.permutation(numbers)[: 4 * TEXTS].tolist()
        found[kind] += _texts(table["text"].take(chosen).to_pylist(), label)
    dev = folder / "dev.parquet"
    if dev.exists():
        by_label: dict[str, list[str]] = defaultdict(list)
        for row in pq.read_table(dev, columns=["text", "lang", "split"]).to_pylist():
            if row["split"] == "cross-domain":
                by_label[row["lang"]].append(row["text"])
        for label, texts in sorted(by_label.items()):
            found["ntrex"] += [Labelled(text, label) for text in texts[:TEXTS]]
    return found


def _texts(lines: Sequence[str], label: str) -> list[Labelled]:
    length = LENGTH // 3 if label[4:] in ("Hani", "Jpan") else LENGTH
    made, text = [], ""
    for line in lines:
        text = f"{text} {line}".strip()
        if len(text) >= length:
            made.append(Labelled(text, label))
            text = ""
    return made[:TEXTS]


def thresholds(texts: Sequence[Labelled], answers: Sequence[Answer], least: int = 20) -> dict[str, float]:
    """Label -> lowest step from which `PRECISION` of the texts given this label are right; only labels given often."""
    given: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for text, answer in zip(texts, answers, strict=True):
        given[answer.label].append((answer.score, same(answer.label, text.label)))
    return {label: threshold(pairs) for label, pairs in sorted(given.items()) if len(pairs) >= least}


def threshold(pairs: Sequence[tuple[float, bool]]) -> float:
    """Lowest step from which `PRECISION` of (score, right) are right, the highest step if none is."""
    for step in STEPS:
        right = [good for score, good in pairs if score >= step]
        if right and sum(right) >= PRECISION * len(right):
            return step
    return STEPS[-1]


HEADER = """\
# What is known about each label of the embedded language model (models/language.arrow, card models/language.md);
# written by `python -m filters.models.train_language`. tier: measured, F1 known on sources that the measuring model had
# not seen, on texts of about {length} characters, every text counting against every label; sentences, trained on
# sentences of one source; words, on word or n-gram lists alone (F1 of {count} labels treated so in the test:
# {list_f1:.2f}).
# threshold: lowest of {steps}
# from which {precision:.0%} of the held-out texts given this label are right, where there were 20 of them. Otherwise
# that of its tier: for measured and sentences the same over all their labels, for words the lowest from which at most
# one text in {rare} of other languages is given any such label, for these languages are rare on the web.
"""


def tier_lines(
    material: Mapping[str, tuple[int, int, int]],
    card: Card,
    measured: Sequence[str],
    own: Mapping[str, float],
    general: Mapping[str, float],
    list_f1: tuple[int, float],
) -> str:
    """The list of tiers.

    Args:
        material: label -> sentences, listed words, listed n-grams.
        card: of the measuring model.
        measured: labels whose F1 there is theirs.
        own: thresholds by label.
        general: by tier.
        list_f1: labels treated as known from lists alone, and their macro-F1.
    """
    header = HEADER.format(
        length=LENGTH,
        count=list_f1[0],
        list_f1=list_f1[1],
        rare=round(1 / RARE),
        steps=", ".join(str(step) for step in STEPS),
        precision=PRECISION,
    )
    lines = ["label\ttier\tsentences\twords\tgrams\tf1\tthreshold"]
    for label in sorted(material):
        if label.startswith("zxx"):
            continue
        sentences, words, grams = material[label]
        tier = "words" if sentences < ENOUGH else "measured" if label in measured else "sentences"
        f1 = f"{card.labels[label].f1:.3f}" if tier == "measured" else ""
        limit = own.get(label, general[tier]) if tier != "words" else general[tier]
        lines.append(f"{label}\t{tier}\t{sentences}\t{words}\t{grams}\t{f1}\t{limit:g}")
    return header + "\n".join(lines) + "\n"


def measured(
    identifier: WordIdentifier, kinds: Mapping[str, Sequence[Labelled]], material: Mapping[str, tuple[int, int, int]]
) -> tuple[str, list[str]]:
    """The list of tiers, and the tables of the card, in Markdown."""
    everything = [text for texts in kinds.values() for text in texts]
    card = measure("held out", identifier.answers, everything)
    answers = identifier.answers([text.text for text in everything])
    seen = {kind: sorted({text.label for text in texts}) for kind, texts in kinds.items()}
    listed = set(seen["list"])
    at_hand = {label for kind in ("source", "ntrex") for label in seen[kind]} - listed
    general = {}
    pairs = [
        (answer.score, same(answer.label, text.label))
        for text, answer in zip(everything, answers, strict=True)
        if answer.label in at_hand
    ]
    general["sentences"] = threshold(pairs)
    general["measured"] = general["sentences"]
    lists = {label for label, (sentences, _, _) in material.items() if sentences < ENOUGH} | listed
    alarms = [
        answer.score
        for text, answer in zip(everything, answers, strict=True)
        if answer.label in lists and text.label not in lists
    ]
    allowed = RARE * len(everything)
    general["words"] = next((step for step in STEPS if sum(score >= step for score in alarms) <= allowed), STEPS[-1])
    list_f1 = sum(card.labels[label].f1 for label in listed) / max(len(listed), 1)
    tiers = tier_lines(
        material, card, sorted(at_hand), thresholds(everything, answers), general, (len(listed), list_f1)
    )
    return tiers, [*_kinds(identifier, kinds), "", *_calibration(card), "", *_confusions(card), "", *_by_label(card)]


def _kinds(identifier: WordIdentifier, kinds: Mapping[str, Sequence[Labelled]]) -> list[str]:
    names = {
        "source": "another source than trained on",
        "list": "only lists trained on",
        "ntrex": "NTREX-128, one line",
    }
    everything = [text for texts in kinds.values() for text in texts]
    lines = ["### By kind of text", "", "| texts | labels | n | macro-F1 | 10 joined | accuracy | 10 joined |"]
    lines.append("|---|---|---|---|---|---|---|")
    cards = [measure("", identifier.answers, texts) for texts in (everything, joined(everything, 10))]
    for kind, texts in kinds.items():
        labels = {text.label for text in texts}
        f1 = [sum(card.labels[label].f1 for label in labels) / max(len(labels), 1) for card in cards]
        own = [measure("", identifier.answers, part).accuracy() for part in (texts, joined(texts, 10)) if part]
        figures = f"{f1[0]:.3f} | {f1[1]:.3f} | " + " | ".join(f"{value:.3f}" for value in own)
        lines.append(f"| {names[kind]} | {len(labels)} | {len(texts)} | {figures} |")
    lines.append(
        f"| all | {len(cards[0].labels)} | {len(everything)} | "
        + " | ".join([f"{card.macro_f1():.3f}" for card in cards] + [f"{card.accuracy():.3f}" for card in cards])
        + " |"
    )
    return lines


def _calibration(card: Card) -> list[str]:
    lines = ["### What scores mean", "", "| score | texts | right |", "|---|---|---|"]
    edges = [0.0, 0.3, 0.5, 0.7, 0.9, 0.99, 1.01]
    for low, high in pairwise(edges):
        right = [good for score, good in card.scores if low <= score < high]
        share = f"{sum(right) / len(right):.3f}" if right else ""
        lines.append(f"| {low:g} to {min(high, 1):g} | {len(right)} | {share} |")
    return lines


def _confusions(card: Card) -> list[str]:
    pairs = [f"{true} as {given} ({count})" for (true, given), count in card.confusions.most_common(40)]
    return ["### Most frequent confusions", "", ", ".join(pairs) + "."]


def _by_label(card: Card) -> list[str]:
    cells = [f"{label} {tally.f1:.2f}" for label, tally in sorted(card.labels.items())]
    return ["### F1 by label", "", ", ".join(cells) + "."]

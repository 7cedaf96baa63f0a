"""The embedded identifier: script gate, word model, and what its numbers mean.

Long documents are read at three places (`language_script.sample`). A label must be in the script of the text
(`language_script.Writing`). The score is the share of the best label in the softmax over all labels in that script,
flattened with the number of words, because words of one text are not independent witnesses; the card shows what scores
were worth. Text that the model takes for program text, or of which it knows next to no word and no n-gram, is `und`.

A second language is named when it explains words that the first one does not: the words that the first label's lists do
not hold are read again without it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from filters.language_answer import Answer
from filters.language_features import joined_points, words_of
from filters.language_model import CHUNK, UNIT, Evidence, WordModel, digest, load
from filters.language_script import GLANCE, SPACED, Writing, sample, writings

EMBEDDED = Path(__file__).parent / "models" / "language.arrow"
SURE = 0.95  # score at which a first look is enough
NEGLIGIBLE = -16.0  # labels that add less than this power of e to the softmax are left out
FLATTENING = 0.08  # by which the sharpness of the softmax falls per word
SECOND_WORDS = 6  # words a second language must explain
SECOND_SHARE = 0.15  # of the words that either explains
SECOND_LEFT = 0.5  # of the words left over, a second language must explain so many
# Of 12,900 held-out texts 99% are above each of these; of random letters, hexadecimal and keyboard noise, a tenth.
WEAKEST = 3.0  # evidence per word, in units of the model's weights
LEAST_KNOWN = 0.06  # share of words that some list or sentence holds
SHORTEST_WORD = 2.2  # mean letters per word
FEW = 8  # words below which the last two say nothing


class WordIdentifier:
    """The embedded model behind the script gate."""

    def __init__(self, path: Path = EMBEDDED):
        self.digest = digest(path)
        self.detector = f"fairtrove-{path.stem}@{self.digest.hex()[:12]}"
        self.model = WordModel(load(path))
        self.known = {label[:3] for label in self.model.labels} - {"und", "zxx"}

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """Answer for each text, in order; no text's answer depends on another text."""
        found = self.answers_to_all_of([sample(text, GLANCE) for text in texts])
        # Where a first look is not enough, twice as much is read.
        again = [
            number
            for number, (text, answer) in enumerate(zip(texts, found, strict=True))
            if len(text) > 3 * GLANCE and (answer.score < SURE or answer.second)
        ]
        for number, answer in zip(
            again, self.answers_to_all_of([sample(texts[number]) for number in again]), strict=True
        ):
            found[number] = answer
        return found

    def answers_to_all_of(self, samples: Sequence[str]) -> list[Answer]:
        """The same, every text read to its end."""
        found: list[Answer] = []
        for start in range(0, len(samples), CHUNK):
            found += self._chunk([_composed(text) for text in samples[start : start + CHUNK]])
        return found

    def _chunk(self, texts: Sequence[str]) -> list[Answer]:
        points, lengths = joined_points(texts)
        gate = writings(points, lengths)
        words = words_of(points, lengths, self.model.arrays.fold)
        evidence = self.model.read(words, len(texts))
        best, scores, strengths = self.best(evidence, gate)
        seconds = self.seconds(evidence, best)
        letters = np.bincount(words.owners, words.stops - words.begins, minlength=len(texts))
        counts = list(zip(evidence.words.tolist(), evidence.known.tolist(), letters.tolist(), strict=True))
        answers = []
        for number, writing in enumerate(gate):
            label = self.model.labels[best[number]] if best[number] >= 0 else ""
            reason = writing.unreadable or _unlike_language(label, strengths[number], *counts[number])
            if reason:
                script = writing.scripts[0][0] if writing.scripts else "Zyyy"
                answers.append(Answer(f"und_{script}", 0.0, reason=reason))
            else:
                answers.append(Answer(label, scores[number], *seconds.get(number, (None, 0.0))))
        return answers

    def best(self, evidence: Evidence, gate: Sequence[Writing]) -> tuple[list[int], list[float], list[float]]:
        """Number of the best admissible label of each text (-1: none), its share of the softmax, and what speaks for it
        per word, prior and offset apart."""
        asked: dict[str, list[int]] = {}
        for number, writing in enumerate(gate):
            script = writing.scripts[0][0] if writing.scripts else ""
            if script in self.model.scripts and not writing.unreadable:
                asked.setdefault(script, []).append(number)
        labels, tops, totals = [-1] * len(gate), [0.0] * len(gate), [0.0] * len(gate)
        sharpness = UNIT / (1.0 + FLATTENING * evidence.words)
        for script, members in asked.items():
            texts = np.array(members)
            first, last = self.model.scripts[script]
            scores = self.model.scores(evidence, texts, first, last)
            place = scores.argmax(axis=1)
            top = scores[np.arange(len(texts)), place]
            sharp = sharpness[texts]
            cells = np.flatnonzero(scores > (top + NEGLIGIBLE / sharp).astype(np.float32)[:, None])
            row = cells // (last - first)
            below = (scores.reshape(-1).take(cells) - top.take(row)).astype(np.float64)
            shares = np.exp(below * sharp.take(row))
            rest = np.bincount(row, shares, minlength=len(texts))
            for number, label, value, total in zip(members, place.tolist(), top.tolist(), rest.tolist(), strict=True):
                labels[number], tops[number], totals[number] = first + label, value, total
        priors, offsets = self.model.priors, self.model.offsets
        place = np.array(labels)
        strengths = (np.array(tops) - priors.take(place)) / np.maximum(evidence.words, 1) - offsets.take(place)
        strengths = np.where(place >= 0, strengths, 0.0).tolist()
        return labels, [round(1 / total, 4) if total else 0.0 for total in totals], strengths

    def seconds(self, evidence: Evidence, best: Sequence[int]) -> dict[int, tuple[str, float]]:
        """Second label of the texts that have one, and the share of the words that only it explains."""
        texts, label_count = len(best), len(self.model.labels)
        if not len(evidence.owners):
            return {}
        firsts = np.array(best)[evidence.owners]
        mine = np.flatnonzero(evidence.labels == np.repeat(firsts, evidence.sizes))
        explained = np.zeros(len(evidence.owners), dtype=bool)
        explained[np.searchsorted(np.cumsum(evidence.sizes), mine, side="right")] = True
        left = np.bincount(evidence.owners[~explained], minlength=texts)
        held = np.bincount(evidence.owners[explained], minlength=texts)
        doubtful = (left >= SECOND_WORDS) & (left >= SECOND_SHARE * (left + held)) & (np.array(best) >= 0)
        if not doubtful.any():
            return {}
        unread = ~explained & doubtful[evidence.owners]
        pairs = np.repeat(unread, evidence.sizes)
        places = np.flatnonzero(doubtful)
        row = np.full(texts, -1)
        row[places] = np.arange(len(places))
        cells = np.repeat(row[evidence.owners[unread]], evidence.sizes[unread]) * label_count + evidence.labels[pairs]
        size = len(places) * label_count
        sums = np.bincount(cells, evidence.weights[pairs], minlength=size).reshape(len(places), label_count)
        counts = np.bincount(cells, minlength=size).reshape(len(places), label_count)
        found = {}
        for number, text in enumerate(places.tolist()):
            second = int(sums[number].argmax())
            words = int(counts[number, second])
            share = words / (words + int(held[text]))
            label = self.model.labels[second]
            enough = words >= max(SECOND_WORDS, SECOND_LEFT * int(left[text])) and share >= SECOND_SHARE
            if enough and not label.startswith("zxx"):
                found[text] = label, round(share, 4)
        return found


def _unlike_language(label: str, strength: float, words: int, known: int, letters: float) -> str | None:
    """Why a text is no language although it has letters; None when it may be one."""
    if not label:
        return "no language of the model is written so"
    if label.startswith("zxx"):
        return "program text or markup"
    if label[4:] not in SPACED:
        return None
    if strength < WEAKEST:
        return "unlike any language"
    if words >= FEW and letters < SHORTEST_WORD * words:
        return "fragments of words"
    if words >= FEW and known < LEAST_KNOWN * words:
        return "hardly a known word"
    return None


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)

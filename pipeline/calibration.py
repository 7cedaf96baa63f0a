"""From a sample of documents to a file of thresholds: what `fairtrove calibrate` does.

The sample is read once, in any order and from any number of files: per language the texts with the smallest digests
stay, so that the same sample gives the same thresholds, byte for byte.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filters import toxicity_thresholds
from filters.language import identify
from filters.scores import Mark, longer
from filters.toxicity import MODEL, Toxicity, embedded, label
from filters.toxicity_thresholds import Sample, Threshold, Thresholds
from manifests.schema import FairtroveError

IDENTIFIED_AT_ONCE = 1000
SCORED_AT_ONCE = 1000


class SampleError(FairtroveError):
    """The sample cannot be used; the message names file, row and remedy."""


@dataclass(frozen=True)
class Request:
    """What to calibrate.

    Attributes:
        rate: share of documents to exclude.
        labelled: whether `rate` is of the documents labelled 0 (a false-positive rate) instead of all.
        size: texts per language that are scored at most.
        language: label of all documents; None to read it from them, or to identify it where they have none.
        text: name of the text's column.
        recall: for a cascade, share of what the encoder excludes that must still reach it; None without one.
    """

    rate: float
    labelled: bool = False
    size: int = 20_000
    language: str | None = None
    text: str = "text"
    recall: float | None = None


@dataclass(frozen=True)
class Band:
    """What a cascade does to the sample: documents, those that meet the encoder, CPU seconds of both models for all."""

    documents: int
    asked: int
    cheap_seconds: float
    encoder_seconds: float

    def cost(self) -> float:
        """CPU seconds of the cascade: the cheap model for all, the encoder for the band."""
        return self.cheap_seconds + self.encoder_seconds * self.asked / max(self.documents, 1)


def calibrate(
    files: Sequence[Path], stage: Toxicity, request: Request, progress: Callable[[str, int], None] | None = None
) -> tuple[Thresholds, dict[str, Band]]:
    """Thresholds of a sample under a stage's model, and per language what a cascade would cost.

    Args:
        files: Parquet or JSON Lines (plain or gzipped), documents with a text and maybe a language and a label.
        stage: the stage whose model scores; its own thresholds play no part.
        request: see there.
        progress: is told what is read or scored, and how many so far.

    Raises:
        SampleError: a file cannot be read, or nothing in it can be used.
    """
    sample = Sample(request.size)
    for path in files:
        for text, language in _documents(path, request):
            sample.add(text, language)
            if progress and sum(sample.seen.values()) % 10_000 == 0:
                progress("read", sum(sample.seen.values()))
    texts = sample.texts()
    if not texts:
        raise SampleError(f"{files[0]}: no document to calibrate on" + (" is labelled 0" if request.labelled else ""))
    scorer = stage.scorer()
    found: dict[str, Threshold] = {}
    bands: dict[str, Band] = {}
    missing: dict[str, int] = {}
    done = 0
    for language, mine in texts.items():
        started = time.process_time()
        marks: list[Mark | None] = []
        for first in range(0, len(mine), SCORED_AT_ONCE):
            part = mine[first : first + SCORED_AT_ONCE]
            marks += scorer.marks(part, [language] * len(part))
            done += len(part)
            if progress:
                progress(f"scored ({language or 'no language'})", done)
        seconds = time.process_time() - started
        known = [mark for mark in marks if mark is not None]
        scores, windows = [mark.score for mark in known], [mark.windows for mark in known]
        entry = toxicity_thresholds.fit(scores, windows, request.rate, not scorer.length_corrected)
        if entry is None:
            missing[language] = len(known)
            continue
        if request.recall is not None:
            started = time.process_time()
            cheap = [mark.score for mark in embedded(str(MODEL)).marks(mine, [language] * len(mine))]
            cheap_seconds = time.process_time() - started
            gone = [
                longer(score, count, entry.slope) >= entry.threshold
                for score, count in zip(scores, windows, strict=True)
            ]
            entry = replace(entry, clear=toxicity_thresholds.clear_below(cheap, gone, request.recall))
            asked = sum(score >= entry.clear for score in cheap)
            bands[language] = Band(len(mine), asked, cheap_seconds, seconds)
        found[language] = entry
    if not found:
        needed = int(toxicity_thresholds.MINIMUM / request.rate)
        counts = ", ".join(f"{language or 'no language'} {count:,}" for language, count in sorted(missing.items()))
        raise SampleError(
            f"no language has the {needed:,} documents that this share needs ({counts}); give a larger sample"
        )
    cheap_digest = embedded(str(MODEL)).digest.hex() if request.recall is not None else ""
    kind = toxicity_thresholds.KINDS[request.labelled]
    return (
        Thresholds(scorer.digest.hex(), kind, request.rate, sample.digest(), found, missing, cheap_digest),
        bands,
    )


def _documents(path: Path, request: Request) -> Iterator[tuple[str, str]]:
    """Text and language of each document that counts."""
    waiting: list[str] = []
    for number, row in enumerate(_rows(path), 1):
        text = row.get(request.text) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise SampleError(f"{path}, row {number}: no text under {request.text!r}; name its column with --text")
        if request.labelled:
            if row.get("label") not in (0, 1):
                raise SampleError(
                    f"{path}, row {number}: a false-positive rate needs a column `label` (1 toxic, 0 clean); "
                    "without labels give --quantile"
                )
            if row["label"] == 1:
                continue
        given = request.language or label({"language": row.get("lang")} | row)
        if given:
            yield text, given
            continue
        waiting.append(text)
        if len(waiting) == IDENTIFIED_AT_ONCE:
            yield from _identified(waiting)
            waiting = []
    yield from _identified(waiting)


def _identified(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    if texts:
        yield from zip(texts, (language for language, _ in identify(texts)), strict=True)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(1000):
                    yield from batch.to_pylist()
            return
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except OSError as error:
        raise SampleError(f"{path}: {error.strerror or error}; give Parquet or JSON Lines files") from error
    except (ValueError, EOFError, pa.ArrowException) as error:
        raise SampleError(f"{path}: not readable as Parquet or JSON Lines: {error}") from error

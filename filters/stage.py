"""The stage: feeds documents in batches to a rule and turns its answers into recorded decisions.

A stage is an ordinary datatrove step. In a plain datatrove pipeline it behaves as a stock filter (it drops, annotates
or alters documents, and hands the dropped ones to an `exclusion_writer` if there is one). In a fairtrove pipeline a
*recorder* also receives every decision, so that nothing leaves unaccounted for. Batches matter: running one model over
1,000 documents before the next model starts costs 1.2 to 1.5 times less CPU than alternating models per document
(caches stay warm), and no `filter_batch` may lose a row: a batch whose answers do not match it in number is an error.
"""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from filters.decision import Action, Decision

# Receives (stage name, documents, their decisions), in step; the documents may already carry the stage's annotations.
Recorder = Callable[[str, Sequence[Document], Sequence[Decision]], None]


class Stage(PipelineStep):
    """Base of all compliance stages: subclasses set `stage` and implement `decide`.

    Args:
        exclusion_writer: datatrove writer that receives excluded documents in a plain datatrove pipeline. It writes
            their full text to disk, which a fairtrove run never does; leave it out unless that is what you want.
        batch_size: documents per call of `decide`.
        batch_chars: a batch also ends once it holds this many characters, so that memory stays bounded.
    """

    type = "⚖️ - COMPLIANCE"
    stage: ClassVar[str]

    def __init__(self, exclusion_writer: Any = None, batch_size: int = 1000, batch_chars: int = 8_000_000):
        super().__init__()
        self.exclusion_writer = exclusion_writer
        self.batch_size = batch_size
        self.batch_chars = batch_chars
        self.recorder: Recorder | None = None
        self.cpu_seconds = 0.0

    @abstractmethod
    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        """Answer for each document, in order, one decision each. May annotate `metadata` and, with ALTER, `text`."""

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yield the documents that stay, in order; record every decision."""
        with self.exclusion_writer if self.exclusion_writer else contextlib.nullcontext() as writer:
            for batch in batches(data, self.batch_size, self.batch_chars):
                started = time.process_time()
                with self.track_time("batch"):
                    decisions = self.decide(batch)
                self.cpu_seconds += time.process_time() - started
                if len(decisions) != len(batch):
                    raise RuntimeError(f"stage {self.stage}: {len(decisions)} decisions for {len(batch)} documents")
                if self.recorder:
                    self.recorder(self.stage, batch, decisions)
                self._count(decisions)
                for document, decision in zip(batch, decisions, strict=True):
                    if decision.kept:
                        yield document
                    elif writer:
                        document.metadata["filter_reason"] = decision.reason
                        writer.write(document, rank)

    def _count(self, decisions: Sequence[Decision]) -> None:
        excluded = sum(not decision.kept for decision in decisions)
        altered = sum(decision.action is Action.ALTER for decision in decisions)
        self.stat_update("total", value=len(decisions))
        self.stat_update("forwarded", value=len(decisions) - excluded)
        self.stat_update("dropped", value=excluded)
        self.stat_update("altered", value=altered)


def batches(documents: Iterable[Document], size: int, chars: int) -> Iterator[list[Document]]:
    """Group documents into lists of at most `size`, closing a list early once it holds `chars` characters."""
    batch: list[Document] = []
    held = 0
    for document in documents:
        batch.append(document)
        held += len(document.text)
        if len(batch) >= size or held >= chars:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch

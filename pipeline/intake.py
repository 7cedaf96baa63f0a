"""Intake: every row of one input file, as a document or as an exclusion with a reason.

Rows become documents 512 at a time, column by column; with keys, hosts and the ledger's first entry that is 10 CPU-ms
per MB of text (`tests/bench/LOG.md`), about what a row-wise reader costs alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from filters.decision import Action, Decision
from filters.stage import Recorder
from manifests.ledger import Entry, document_key
from manifests.schema import Reason
from pipeline.addresses import locate
from pipeline.inputs import InputFile
from pipeline.readers import READERS, reader_of
from pipeline.recipe import Source
from pipeline.rows import Row, expect_shallow


class SourceDocument(Document):
    """A document that knows which row of which file it is; any datatrove step takes it as a `Document`."""

    __slots__ = ("entry", "text_read", "utf8")
    entry: Entry
    text_read: str
    utf8: memoryview | None

    def encoded(self) -> bytes | memoryview:
        """UTF-8 bytes of the text: those that were read, unless a stage has altered it since."""
        if self.utf8 is not None and self.text is self.text_read:
            return self.utf8
        return self.text.encode()


class Intake(PipelineStep):
    """First step of a task: every row of one file, as a document or as an exclusion.

    After `run` is drained, `rows` holds the number of rows in the file by its own account.
    """

    name = "Intake"
    type = "📖 - READER"
    stage: ClassVar[str] = "intake"

    def __init__(self, file: InputFile, local: Path, source: Source, limit: int | None = None):
        super().__init__()
        self.file = file
        self.local = local
        self.source = source
        self.limit = limit
        self.task = file.task
        self._limit = source.max_document_bytes
        self._language = source.language.split("_") if source.language else None
        self.recorder: Recorder | None = None
        self.cpu_seconds = 0.0
        self.rows = 0
        self.text_bytes = 0
        self._rows_read = 0
        self._rows_ahead: int | None = None

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yield the documents of the file in order.

        Raises:
            SourceError: the file cannot be read as a whole.
        """
        if data:
            yield from data
        reader = READERS[reader_of(self.file, self.source)](self.local, self.file, self.source, self.limit)
        with contextlib.closing(reader):
            self._rows_ahead = reader.rows_ahead
            rows = reader.batches()
            while True:
                started = time.process_time()
                batch = next(rows, None)
                if batch is None:
                    break
                self._rows_read += len(batch)
                pairs = self._admit_all(batch)
                self.text_bytes += sum(document.entry.text_bytes for document, _ in pairs)
                documents = [document for document, _ in pairs]
                decisions = [decision for _, decision in pairs]
                if self.recorder:
                    self.recorder(self.stage, documents, decisions)
                self.cpu_seconds += time.process_time() - started
                for document, decision in pairs:
                    if decision.kept:
                        yield document
            self.rows = reader.rows_in_file()

    @property
    def fraction(self) -> float:
        """About which share of the file is read: by rows where the file says them ahead, else by text against bytes."""
        done, whole = (self._rows_read, self._rows_ahead) if self._rows_ahead else (self.text_bytes, self.file.bytes)
        return min(1.0, done / whole) if whole else 1.0

    def _admit_all(self, rows: Sequence[Row]) -> list[tuple[SourceDocument, Decision]]:
        try:
            return [self._admitted(row) for row in rows]
        except (MemoryError, OSError):
            raise
        except Exception:  # one row by one then, to find which
            return [self._admit(row) for row in rows]

    def _admit(self, row: Row) -> tuple[SourceDocument, Decision]:
        named = Row(row.file_row, id=row.id, url=row.url, problem=Reason.UNREADABLE_ROW)
        for attempt in (row, named):
            try:
                return self._admitted(attempt)
            except (MemoryError, OSError):
                raise
            except Exception:  # a value that nobody thought of must cost one row, under its name if that can be told
                continue
        return self._admitted(Row(row.file_row, problem=Reason.UNREADABLE_ROW))

    def _admitted(self, row: Row) -> tuple[SourceDocument, Decision]:
        task = self.task
        identifier, url = _text_or_none(row.id), _text_or_none(row.url)
        text, utf8 = row.text, row.utf8
        if utf8 is not None and text.__class__ is str and 0 < len(utf8) <= self._limit and not text.isspace():
            size, problem = len(utf8), row.problem
        else:
            text, size, problem = _measured(row, self._limit)
        rhost, path = locate(url)
        document = SourceDocument(text, identifier or f"{task}/{row.file_row}", [], self._metadata(row, url))
        document.entry = Entry(row.file_row, document_key(identifier, task, row.file_row), rhost, path, size)
        document.text_read = text
        document.utf8 = row.utf8 if text else None
        return document, _READ if problem is None else _REFUSALS[problem]

    def _metadata(self, row: Row, url: str | None) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "url": url,
            "dump": _text_or_none(row.dump) or self.source.dump,
            "date": None if row.date is None else _text(row.date),
            "source": self.file.source,
            "kind": self.source.kind,
        }
        if self._language:
            metadata["language"], metadata["language_script"] = self._language
        else:
            language, script = _text_or_none(row.language), _text_or_none(row.language_script)
            if language:
                metadata["language"] = language
            if script:
                metadata["language_script"] = script
        if row.language_score is not None:
            score = _finite(row.language_score)
            if score is not None:
                metadata["language_score"] = score
        if row.license:
            metadata["license"] = _joined(row.license)
        if row.license_file:
            metadata["license_file"] = _text(row.license_file)
        if row.extra:
            metadata.update(row.extra)
        return metadata


_READ = Decision(Action.KEEP, Reason.READ)
_REFUSALS = {
    reason: Decision(Action.EXCLUDE, reason)
    for reason in (
        Reason.EMPTY_TEXT,
        Reason.MISSING_TEXT,
        Reason.TOO_LARGE,
        Reason.UNREADABLE_ROW,
        Reason.UNDECODABLE,
        Reason.INVALID_UNICODE,
        Reason.HTTP_STATUS,
        Reason.NOT_HTML,
        Reason.EXTRACTION_FAILED,
    )
}


def _measured(row: Row, limit: int) -> tuple[str, int, Reason | None]:
    """Text, its UTF-8 length, and why the row is refused, if it is."""
    if row.problem is not None:
        return "", 0, row.problem
    if row.text is None:
        return "", 0, Reason.MISSING_TEXT
    if isinstance(row.text, bytes):  # a Parquet file without the string annotation
        try:
            row.text = row.text.decode()
        except UnicodeDecodeError:
            return "", 0, Reason.INVALID_UNICODE
    if not isinstance(row.text, str):
        return "", 0, Reason.UNREADABLE_ROW
    try:
        size = len(row.text.encode()) if row.utf8 is None else len(row.utf8)
    except UnicodeEncodeError:
        return "", 0, Reason.INVALID_UNICODE
    if size > limit:
        return "", size, Reason.TOO_LARGE
    if not row.text or row.text.isspace():
        return "", size, Reason.EMPTY_TEXT
    return row.text, size, None


def _text_or_none(value: Any) -> str | None:
    if value.__class__ is str and value.isascii():
        return value or None
    return None if value is None or value in ("", b"") else _text(value)


def _text(value: Any) -> str:
    """A value as text that UTF-8 can hold: bytes (a Parquet column without the string annotation) are decoded."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | dict):
        expect_shallow(value)
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _finite(value: Any) -> float | None:
    """A score as a finite float: JSON has integers beyond any float, and writers put NaN."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _joined(value: Any) -> str:
    """A list of declared licences (The Stack's `detected_licenses`) as one SPDX conjunction."""
    return " AND ".join(_text(item) for item in value) if isinstance(value, list) else _text(value)

"""JSONL, plain or compressed: one row per line, and the ends of lines in the stream count them."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from manifests.schema import Reason
from pipeline.inputs import InputFile, SourceError, expect_damage, first_line
from pipeline.recipe import Source
from pipeline.rows import BATCH_ROWS, Row, expect_shallow


class JsonlReader:
    """Rows of a JSONL file, plain or compressed; the ends of lines in its stream count them."""

    rows_ahead: int | None = None

    def __init__(self, path: Path, file: InputFile, source: Source, limit: int | None):
        self._location = file.location
        self._wanted = source.columns.model_dump()
        self._limit = limit
        self._longest = 6 * source.max_document_bytes + _MOST_BESIDE_TEXT
        self._count = LineCount(decompressed(path, file.location))
        self._stream = io.BufferedReader(self._count, 1 << 20)

    def batches(self) -> Iterator[list[Row]]:
        batch: list[Row] = []
        held = 0
        for file_row, line in enumerate(self._lines()):
            if len(line) > self._longest:
                row = Row(file_row, problem=Reason.TOO_LARGE)
            else:
                row = _json_row(file_row, line, self._wanted)
                held += len(line)
            batch.append(row)
            if len(batch) == BATCH_ROWS or held > 32_000_000:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch

    def rows_in_file(self) -> int:
        with self._naming_the_file():
            while (self._limit is None or self._count.lines < self._limit) and self._stream.read(1 << 20):
                pass
        return self._count.lines if self._limit is None else min(self._limit, self._count.lines)

    def close(self) -> None:
        self._stream.close()

    def _lines(self) -> Iterator[bytes]:
        with self._naming_the_file():
            for file_row, line in enumerate(iter(self._line, b"")):
                if self._limit is not None and file_row >= self._limit:
                    return
                yield line.removeprefix(codecs.BOM_UTF8) if file_row == 0 else line

    def _line(self) -> bytes:
        """The next line; of one that is longer than any document may be, a piece that is too long, and the rest is
        passed over: such a line may be all that a bomb of a few kB unpacks to."""
        line = self._stream.readline(self._longest + 1)
        rest = line
        while len(rest) > self._longest and not rest.endswith(b"\n"):
            rest = self._stream.readline(self._longest + 1)
        return line

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            expect_damage(error, self._location)
            raise SourceError(
                f"{self._location}: the stream breaks off ({first_line(error)}); fetch it again"
            ) from error


_MOST_BESIDE_TEXT = 1 << 20  # bytes of a line for other keys; a text may take six bytes for each of its own (\u0041)


class LineCount(io.RawIOBase):
    """A stream that counts the lines which pass, as their readers do not."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._ended = 0
        self._in_line = False

    @property
    def lines(self) -> int:
        return self._ended + self._in_line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        if block:
            self._ended += block.count(b"\n")
            self._in_line = not block.endswith(b"\n")
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _json_row(file_row: int, line: bytes, wanted: Mapping[str, str]) -> Row:
    try:
        value = orjson.loads(line)
    except ValueError:
        value = _lenient(line)
    if not isinstance(value, dict):
        return Row(file_row, problem=Reason.UNREADABLE_ROW)
    row = Row(file_row)
    for field, key in wanted.items():
        setattr(row, field, _member(value, key))
    return row


def _lenient(line: bytes) -> Any:
    """What Python's reader makes of a line that orjson refuses: it takes NaN, numbers beyond a double and half pairs,
    which condemn a row only where they stand in its text. None if it is no JSON to that reader either."""
    try:
        value = json.loads(line.decode("utf-8", "surrogatepass"))
        expect_shallow([value])
    except (ValueError, RecursionError, TypeError):
        return None
    return value


def _member(value: dict[str, Any], key: str) -> Any:
    """A key's value, or by a dotted name that of a nested object."""
    if key in value or "." not in key:
        return value.get(key)
    outer, _, inner = key.partition(".")
    nested = value.get(outer)
    return _member(nested, inner) if isinstance(nested, dict) else None


def decompressed(path: Path, location: str) -> Any:
    if location.endswith(".gz"):
        return gzip.open(path, "rb")
    if location.endswith(".zst"):
        return pa.input_stream(str(path), compression="zstd")
    return open(path, "rb", buffering=0)

"""Reading: input files in, one document per row out, and no row lost on the way.

A reader says how many rows its file has from the file itself (Parquet footer, line ends of the JSONL stream, records of
the WARC), apart from the rows that it hands out, so that the ledger catches a reader that drops some. A row that cannot
become a document is an exclusion with a reason, never a warning: whatever one row holds costs that row alone. A file
that cannot be read as a whole (no footer, a stream cut off) fails its own task with the file named, and so does a fault
of the machine (memory, disk), which is nothing that a row's bytes say.

Remote files are copied to a local temporary file first, digested on the way. So a network fault is an error of the
task and never looks like a damaged row, and the digest in the manifest is of the very bytes that were read.

Rows become documents 512 at a time, column by column; with keys, hosts and the ledger's first entry that is 10 CPU-ms
per MB of text (`tests/bench/LOG.md`), about what a row-wise reader costs alone.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import math
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Protocol

import fsspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from filters.decision import Action, Decision
from filters.robots import origin, request_path
from filters.stage import Recorder
from manifests.ledger import Entry, document_key
from manifests.schema import FairtroveError, Reason, reverse_host
from pipeline.recipe import Columns, RecipeError, Source

BATCH_ROWS = 512
_SUFFIXES = {
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".ndjson"),
    "warc": (".warc", ".warc.gz"),
}
_GLOB = re.compile(r"[*?\[]")


class SourceError(FairtroveError):
    """An input file cannot be read; the message names the file."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file, and so one task.

    Attributes:
        source: name of the recipe's source.
        location: fsspec URL or local path.
        name: path relative to the source's folder; with the source's name it makes the task's name.
        bytes: size as listed.
        version: what the file system offers to tell that the file changed (mtime or etag); never recorded.
    """

    source: str
    location: str
    name: str
    bytes: int
    version: str

    @property
    def task(self) -> str:
        """Name of the task: readable, safe as a file name, the same wherever the folder lies."""
        stem = self.name
        for suffix in (suffix for suffixes in _SUFFIXES.values() for suffix in suffixes):
            stem = stem.removesuffix(suffix)
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", stem.replace("/", "__"))[:100].lstrip(".")
        plain = safe == stem.replace("/", "__") and "__" not in stem
        return f"{self.source}-{safe}" + ("" if plain else f"-{sha256(self.name.encode()).hexdigest()[:8]}")


def list_files(name: str, source: Source) -> list[InputFile]:
    """The input files of a source, sorted by name.

    Raises:
        RecipeError: a path matches nothing, or two files would share one task name.
        SourceError: the file system cannot be reached.
    """
    files = [file for path in source.paths for file in _list_path(name, source, path)]
    by_task: dict[str, InputFile] = {}
    for file in files:
        other = by_task.setdefault(file.task, file)
        if other is not file:
            raise RecipeError(
                f"source.{name}.path: {other.location} and {file.location} would both be task {file.task}; "
                "rename one, or make them two sources"
            )
    return sorted(files, key=lambda file: file.name)


def _list_path(name: str, source: Source, path: str) -> Iterator[InputFile]:
    try:
        filesystem, root = fsspec.core.url_to_fs(path)
        if _GLOB.search(root):
            found = filesystem.glob(root, detail=True)
            base = root[: _GLOB.search(root).start()].rpartition("/")[0]  # type: ignore[union-attr]
        else:
            found = filesystem.find(root, detail=True)
            base = root.rstrip("/") if root.rstrip("/") not in found else root.rpartition("/")[0]
    except (ImportError, ValueError) as error:
        raise RecipeError(f"source.{name}.path: {path}: {error}") from error
    except Exception as error:
        raise SourceError(f"source.{name}.path: {path}: cannot be listed: {type(error).__name__}: {error}") from error
    suffixes = _SUFFIXES[source.reader] if source.reader else tuple(sum(_SUFFIXES.values(), ()))
    whole = len(found) == 1 and base != root.rstrip("/")
    matched = 0
    for location, info in sorted(found.items()):
        if info.get("type") != "file" or not (whole or location.endswith(suffixes)):
            continue
        matched += 1
        yield InputFile(
            source=name,
            location=filesystem.unstrip_protocol(location) if "://" in path else location,
            name=location[len(base) :].lstrip("/"),
            bytes=int(info.get("size") or 0),
            version=str(info.get("mtime") or info.get("ETag") or info.get("blob_id") or info.get("LastModified")),
        )
    if not matched:
        raise RecipeError(f"source.{name}.path: no file at {path} ({', '.join(suffixes)}); check it, or give --set")


def reader_of(file: InputFile, source: Source) -> str:
    """`parquet`, `jsonl` or `warc`: as the recipe says, else by the file's ending.

    Raises:
        RecipeError: neither tells.
    """
    if source.reader:
        return source.reader
    for reader, suffixes in _SUFFIXES.items():
        if file.name.endswith(suffixes):
            return reader
    raise RecipeError(f"source.{file.source}.reader: cannot tell from {file.name}; set parquet, jsonl or warc")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """The bytes of an input file on this machine, and their digest."""

    path: Path
    bytes: int
    sha256: str


@contextlib.contextmanager
def localized(file: InputFile, staging: Path) -> Iterator[LocalFile]:
    """The file on a local disk, digested; a remote one is copied into `staging` and removed afterwards.

    Raises:
        SourceError: it cannot be opened or read to its end.
    """
    remote = "://" in file.location
    copy = staging / "input" if remote else Path(file.location)
    digest = sha256()
    size = 0
    try:
        with open(copy, "wb") if remote else contextlib.nullcontext() as target:
            for block in _blocks(file):
                digest.update(block)
                size += len(block)
                if target:
                    target.write(block)
        if file.bytes and size != file.bytes:
            raise SourceError(
                f"{file.location}: cannot be read: {size} bytes came of {file.bytes}: it is being written, or the "
                "transfer broke off"
            )
        before = copy.stat()
        yield LocalFile(copy, size, digest.hexdigest())
        after = copy.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SourceError(f"{file.location}: cannot be read: it changed while it was read")
    finally:
        if remote:
            copy.unlink(missing_ok=True)


def _blocks(file: InputFile) -> Iterator[bytes]:
    """The bytes of the file; whatever its file system raises names the file, and no other error does."""
    try:
        with fsspec.open(file.location, "rb") as stream:
            while block := stream.read(1 << 22):
                yield block
    except MemoryError:
        raise
    except Exception as error:  # each file system has its own kinds
        said = getattr(error, "strerror", None) or _first_line(error)
        raise SourceError(f"{file.location}: cannot be read: {said}") from error


@dataclass(slots=True)
class Row:
    """One row of an input file before it is a document.

    `text_bytes`: UTF-8 length of the text where the reader has it for nothing. `problem` set: it cannot become one.
    """

    file_row: int
    text: Any = None
    id: Any = None
    url: Any = None
    dump: Any = None
    date: Any = None
    language: Any = None
    language_script: Any = None
    language_score: Any = None
    license: Any = None
    extra: dict[str, Any] | None = None
    text_bytes: int | None = None
    problem: Reason | None = None


class SourceDocument(Document):
    """A document that knows which row of which file it is; any datatrove step takes it as a `Document`."""

    __slots__ = ("entry",)
    entry: Entry


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
        reader = _READERS[reader_of(self.file, self.source)](self.local, self.file, self.source, self.limit)
        with contextlib.closing(reader):
            self._rows_ahead = reader.rows_ahead
            rows = reader.batches()
            while True:
                started = time.process_time()
                batch = next(rows, None)
                if batch is None:
                    break
                self._rows_read += len(batch)
                pairs = [self._admit(row) for row in batch]
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
        identifier = _text_or_none(row.id)
        url = _text_or_none(row.url)
        text, size, problem = _measured(row, self.source.max_document_bytes)
        rhost, path = locate(url)
        document = SourceDocument(text, identifier or f"{task}/{row.file_row}", [], self._metadata(row, url))
        document.entry = Entry(row.file_row, document_key(identifier, task, row.file_row), rhost, path, size)
        self.text_bytes += size
        return document, _READ if problem is None else _REFUSALS[problem]

    def _metadata(self, row: Row, url: str | None) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "url": url,
            "dump": _text_or_none(row.dump) or self.source.dump,
            "date": None if row.date is None else _text(row.date),
            "source": self.file.source,
            "kind": self.source.kind,
        }
        language, script = _text_or_none(row.language), _text_or_none(row.language_script)
        if self.source.language:
            language, script = self.source.language.split("_")
        if language:
            metadata["language"] = language
        if script:
            metadata["language_script"] = script
        score = _finite(row.language_score)
        if score is not None:
            metadata["language_score"] = score
        if row.license:
            metadata["license"] = _joined(row.license)
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
        size = len(row.text.encode()) if row.text_bytes is None else row.text_bytes
    except UnicodeEncodeError:
        return "", 0, Reason.INVALID_UNICODE
    if size > limit:
        return "", size, Reason.TOO_LARGE
    if not row.text or row.text.isspace():
        return "", size, Reason.EMPTY_TEXT
    return row.text, size, None


def locate(url: str | None) -> tuple[str | None, str | None]:
    """Reversed host, and path with query, of a URL: what robots.txt is asked for when only a decision is left of it."""
    if not url:
        return None, None
    host, port = origin(url)
    if not host:
        return None, None
    path = _PATH.search(url)
    if path is None or ";" in url[: path.start(1)]:  # a URL that Google's parser, and so robots.txt, cuts elsewhere
        return reverse_host(host, port), request_path(url)
    return reverse_host(host, port), path[1] or "/"


_PATH = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:[/\\]{2}[^/\\?#]*([^#]*)")


def _text_or_none(value: Any) -> str | None:
    return None if value is None or value in ("", b"") else _text(value)


def _text(value: Any) -> str:
    """A value as text that UTF-8 can hold: bytes (a Parquet column without the string annotation) are decoded."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | dict):
        _expect_shallow(value)
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _expect_shallow(value: Any) -> None:
    """Refuse what is nested deeper than any data is: whether Python can print it would depend on who calls."""
    level = [value]
    for _ in range(_MAX_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {_MAX_NESTING} levels deep")


_MAX_NESTING = 100


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


# -- readers: each hands out lists of rows that cover the file without a gap, and counts the file's rows on its own


class _Reader(Protocol):
    """One file being read.

    Attributes:
        rows_ahead: the number of rows where the file tells before it is read.
    """

    @property
    def rows_ahead(self) -> int | None: ...

    def batches(self) -> Iterator[list[Row]]: ...

    def rows_in_file(self) -> int:
        """Rows by the file's own account, within the limit; reads what `batches` left unread."""

    def close(self) -> None: ...


class _ParquetReader:
    """Rows of a Parquet file, of those columns that the recipe names; the footer counts them."""

    def __init__(self, path: Path, file: InputFile, source: Source, limit: int | None):
        self._location = file.location
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            _expect_damage(error, file.location)
            raise SourceError(
                f"{file.location}: not a whole Parquet file ({_first_line(error)}); fetch it again"
            ) from error
        try:
            self._wanted = _wanted_columns(self._file.schema_arrow, file, source.columns)
            self.rows_ahead = self._rows_within(limit)
        except BaseException:
            self.close()
            raise

    def _rows_within(self, limit: int | None) -> int:
        metadata = self._file.metadata
        held = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        if held != metadata.num_rows:
            raise SourceError(
                f"{self._location}: its footer says {metadata.num_rows} rows, its row groups {held}; write it anew"
            )
        return held if limit is None else min(limit, held)

    def batches(self) -> Iterator[list[Row]]:
        first = 0
        for group in range(self._file.num_row_groups):
            rows = min(self._file.metadata.row_group(group).num_rows, self.rows_ahead - first)
            if rows <= 0:
                break
            yield from _read_row_group(self._file, group, self._wanted, first, rows, self._location)
            first += rows

    def rows_in_file(self) -> int:
        return self.rows_ahead

    def close(self) -> None:
        self._file.close()


def _wanted_columns(schema: pa.Schema, file: InputFile, columns: Columns) -> dict[str, str]:
    """The columns to read, by field: those that the recipe names must be there, a default may be absent but `text`."""
    wanted = {}
    for field, column in columns.model_dump().items():
        place = _place(schema, column)
        if place is not None:
            wanted[field] = column
            if schema.names.count(place[0]) > 1:
                raise SourceError(f"{file.location}: two columns are named `{place[0]}`; rename one of them")
        elif field == "text" or field in columns.model_fields_set:
            raise SourceError(
                f"{file.location}: no column `{column}`, only {', '.join(sorted(schema.names))}; "
                f"name the {field} column in source.{file.source}.columns.{field}"
            )
    return wanted


def _place(schema: pa.Schema | pa.StructType, name: str) -> list[str] | None:
    """Where a column lies: under its exact name, or by a dotted name in a struct column; None where it is not."""
    if name in [schema.field(position).name for position in range(_width(schema))]:
        return [name]
    outer, dot, inner = name.partition(".")
    position = schema.get_field_index(outer) if dot else -1
    if position < 0 or not pa.types.is_struct(schema.field(position).type):
        return None
    deeper = _place(schema.field(position).type, inner)
    return None if deeper is None else [outer, *deeper]


def _width(schema: pa.Schema | pa.StructType) -> int:
    return len(schema.names) if isinstance(schema, pa.Schema) else schema.num_fields


def _read_row_group(
    file: pq.ParquetFile, group: int, wanted: Mapping[str, str], first: int, rows: int, location: str
) -> Iterator[list[Row]]:
    done = 0
    try:
        columns = list(dict.fromkeys(wanted.values()))
        batches = file.iter_batches(BATCH_ROWS, [group], columns, use_threads=False)
        for batch in batches:
            batch = batch.slice(0, rows - done)
            if not len(batch):
                break
            yield _rows_of(batch, wanted, first + done)
            done += len(batch)
    except (pa.ArrowException, OSError) as error:
        # The bytes are here and digested, so this is damage in the file: the rest of the group is accounted below.
        _expect_damage(error, location)
    for start in range(done, rows, BATCH_ROWS):
        yield [Row(first + row, problem=Reason.UNDECODABLE) for row in range(start, min(start + BATCH_ROWS, rows))]


def _expect_damage(error: BaseException, location: str) -> None:
    """Let pass what is wrong with the bytes; a fault of the machine must not look like it, and fails the task."""
    if isinstance(error, MemoryError):  # Arrow's is one too
        raise error
    if isinstance(error, OSError) and error.errno is not None:
        raise SourceError(f"{location}: cannot be read: {error.strerror or error}") from error


def _rows_of(batch: pa.RecordBatch, wanted: Mapping[str, str], first: int) -> list[Row]:
    columns = {field: _column(batch, column) for field, column in wanted.items()}
    values = {field: _values(column) for field, column in columns.items()}
    text = columns["text"]
    if pa.types.is_string(text.type) or pa.types.is_large_string(text.type):
        values["text_bytes"] = pc.binary_length(text).to_pylist()
    fields = list(values)
    return [
        Row(first + position, **dict(zip(fields, row, strict=True)))
        for position, row in enumerate(zip(*values.values(), strict=True))
    ]


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    place = _place(batch.schema, name)
    assert place is not None, name  # `_wanted_columns` saw it in the file's schema
    column = batch.column(place[0])
    for field in place[1:]:
        column = pc.struct_field(column, field)
    return column


def _values(column: pa.Array) -> list[Any]:
    """A column's values; one at a time where there are some that Python cannot hold."""
    try:
        return column.to_pylist()
    except (MemoryError, OSError):
        raise
    except Exception:
        return [_value(item) for item in column]


def _value(item: pa.Scalar) -> Any:
    """A value; bytes for a string that is not UTF-8, a date beyond Python's years or finer than its clock as Arrow
    writes it, None for what Arrow cannot write either."""
    try:
        return item.as_py()
    except (MemoryError, OSError):
        raise
    except UnicodeDecodeError:
        with contextlib.suppress(AttributeError):  # a list of strings has no bytes of its own
            return (item.value if isinstance(item, pa.DictionaryScalar) else item).as_buffer().to_pybytes()
    except Exception:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            written = item.cast(pa.string()).as_py()
            return None if written.startswith("<") else written  # "<value out of range: …>"
    return None


class _JsonlReader:
    """Rows of a JSONL file, plain or compressed; the ends of lines in its stream count them."""

    rows_ahead: int | None = None

    def __init__(self, path: Path, file: InputFile, source: Source, limit: int | None):
        self._location = file.location
        self._wanted = source.columns.model_dump()
        self._limit = limit
        self._count = _LineCount(_decompressed(path, file.location))
        self._stream = io.BufferedReader(self._count, 1 << 20)

    def batches(self) -> Iterator[list[Row]]:
        batch: list[Row] = []
        held = 0
        for file_row, line in enumerate(self._lines()):
            batch.append(_json_row(file_row, line, self._wanted))
            held += len(line)
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
            for file_row, line in enumerate(self._stream):
                if self._limit is not None and file_row >= self._limit:
                    return
                yield line.removeprefix(codecs.BOM_UTF8) if file_row == 0 else line

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            _expect_damage(error, self._location)
            raise SourceError(
                f"{self._location}: the stream breaks off ({_first_line(error)}); fetch it again"
            ) from error


class _LineCount(io.RawIOBase):
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
        _expect_shallow([value])
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


def _decompressed(path: Path, location: str) -> Any:
    if location.endswith(".gz"):
        return gzip.open(path, "rb")
    if location.endswith(".zst"):
        return pa.input_stream(str(path), compression="zstd")
    return open(path, "rb", buffering=0)


class _WarcReader:
    """Pages of a WARC: its responses, and the conversions and resources that stand for them in WET and other
    collections. Every record of these types is a row, and the records that pass count the rows."""

    rows_ahead: int | None = None

    def __init__(self, path: Path, file: InputFile, source: Source, limit: int | None):
        self._location = file.location
        self._limit = limit
        self._seen: Counter[str] = Counter()
        self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self._pages = self._read()

    def batches(self) -> Iterator[list[Row]]:
        for file_row, (record, block) in enumerate(self._pages):
            yield [_page_row(file_row, record, block)]

    def rows_in_file(self) -> int:
        for _ in self._pages:
            pass
        rows = self._rows
        others = sorted(f"{count} {kind}" for kind, count in self._seen.items() if kind not in _PAGE_RECORDS)
        if not rows and set(self._seen) - {"warcinfo"}:
            raise SourceError(
                f"{self._location}: no {', '.join(_PAGE_RECORDS)} record, so no page; it holds {', '.join(others)}"
            )
        return rows

    def close(self) -> None:
        self._file.close()

    @property
    def _rows(self) -> int:
        return sum(self._seen[kind] for kind in _PAGE_RECORDS)

    def _read(self) -> Iterator[tuple[Any, bytes | None]]:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed

        try:
            # HTTP headers are parsed per row: warcio ends the file in silence at a response that has none.
            for record in ArchiveIterator(self._file, no_record_parse=True):
                kind = str(record.rec_type)
                page = kind in _PAGE_RECORDS
                if page and self._limit is not None and self._rows >= self._limit:
                    return
                block = _block(record, keep=page)
                self._seen[kind] += 1
                if page:
                    yield record, block
        except (ArchiveLoadFailed, EOFError, zlib.error, OSError) as error:
            _expect_damage(error, self._location)
            raise SourceError(f"{self._location}: the WARC breaks off after {self._rows} pages ({error})") from error


_PAGE_RECORDS = ("response", "conversion", "resource")
_MAX_PAGE_BYTES = 1 << 27  # a page that unpacks to more is no page; the largest a browser opens are a tenth of it


def _block(record: Any, keep: bool) -> bytes | None:
    """The record's block, read to its end; None if it is not kept or beyond all measure.

    A stream that breaks off ends silently in warcio: the record then has fewer bytes than it announces.
    """
    if record.length is None:
        raise EOFError("a record does not say its length")
    block = _read_at_most(record.raw_stream, _MAX_PAGE_BYTES) if keep else None
    while record.raw_stream.read(1 << 16):
        block = None
    if getattr(record.raw_stream, "limit", 0) > 0:
        raise EOFError(f"{record.raw_stream.limit} bytes of the last record are missing")
    return block


def _read_at_most(stream: Any, limit: int) -> bytes:
    blocks, size = [], 0
    while size < limit and (block := stream.read(min(1 << 16, limit - size))):
        blocks.append(block)
        size += len(block)
    return b"".join(blocks)


def _page_row(file_row: int, record: Any, block: bytes | None) -> Row:
    headers = record.rec_headers
    row = Row(
        file_row,
        id=headers.get_header("WARC-Record-ID"),
        url=headers.get_header("WARC-Target-URI"),
        date=headers.get_header("WARC-Date"),
    )
    if block is None:
        row.problem = Reason.TOO_LARGE
        return row
    try:
        if record.rec_type == "response":
            _fill_from_response(row, record, block)
        else:
            _fill(row, block, headers.get_header("Content-Type") or "text/plain", [], _TEXT_OR_HTML)
    except (MemoryError, OSError):
        raise
    except Exception:  # no HTTP, or a body that does not unpack as its headers say
        row.problem = Reason.UNREADABLE_ROW
    return row


_HTML = re.compile(r"\s*(text/html|application/xhtml\+xml)", re.IGNORECASE)
_TEXT_OR_HTML = re.compile(rf"\s*text/plain|{_HTML.pattern}", re.IGNORECASE)


def _fill_from_response(row: Row, record: Any, block: bytes) -> None:
    from warcio.statusandheaders import StatusAndHeadersParser

    if not block.strip() or not (row.url or "").lower().startswith(("http:", "https:")):
        row.problem = Reason.HTTP_STATUS
        return
    record.raw_stream = io.BytesIO(block)
    record.http_headers = http = StatusAndHeadersParser(["HTTP/1.0", "HTTP/1.1"], verify=False).parse(record.raw_stream)
    if not http.get_statuscode().startswith("2"):
        row.problem = Reason.HTTP_STATUS
        return
    stream = record.content_stream()
    body = _read_at_most(stream, _MAX_PAGE_BYTES)
    if len(body) == _MAX_PAGE_BYTES and stream.read(1):
        row.problem = Reason.TOO_LARGE
        return
    _fill(row, body, http.get_header("Content-Type") or "", http.headers, _HTML)


def _fill(row: Row, body: bytes, media_type: str, headers: list[tuple[str, str]], taken: re.Pattern[str]) -> None:
    if not body.strip():
        row.problem = Reason.EMPTY_TEXT
    elif not taken.match(media_type):
        row.problem = Reason.NOT_HTML
    elif _HTML.match(media_type):
        _extract(row, _decoded(body, media_type), headers)
    else:
        row.text = _decoded(body, media_type, in_markup=False)


def _extract(row: Row, html: str, headers: list[tuple[str, str]]) -> None:
    """Main text by trafilatura; what owners said in headers and meta elements stays for the consent stage."""
    from trafilatura import extract, load_html

    said: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() in _CONSENT_HEADERS:
            said.setdefault(name.lower().replace("-", "_"), []).append(value)
    try:
        tree = load_html(html)
        for meta in tree.xpath("//meta[@name][@content]") if tree is not None else ():
            name = meta.get("name").strip().lower()
            if name in _CONSENT_METAS:
                said.setdefault("meta_" + name.replace("-", "_"), []).append(meta.get("content"))
        row.text = extract(html, include_comments=False, include_tables=True)
    except (MemoryError, OSError):
        raise
    except Exception:  # hostile markup must cost one row, whatever the extractor raises on it
        row.text = None
    row.extra = {"html": html} | {field: ", ".join(values) for field, values in said.items()}
    if not row.text:
        row.problem = Reason.EXTRACTION_FAILED


_CONSENT_HEADERS = frozenset({"x-robots-tag", "content-usage", "content-signal", "tdm-reservation"})
_CONSENT_METAS = frozenset({"robots", "tdm-reservation"})


def _decoded(body: bytes, media_type: str, in_markup: bool = True) -> str:
    declared = re.search(r"charset=[\"']?([\w.:-]+)", media_type, re.IGNORECASE)
    found = declared[1] if declared else "utf-8"
    if in_markup and not declared:
        meta = re.search(rb"<meta[^>]{0,200}charset=[\"']?([\w.:-]+)", body[:2048], re.IGNORECASE)
        found = meta[1].decode("ascii") if meta else found
    try:
        name = codecs.lookup(found).name.replace("-", "_")
        return body.decode("utf-8" if name in _NO_CHARSETS else name, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


# Python's own codecs that no page is written in; the first two take time that grows with the square of the body.
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"})

_READERS: Mapping[str, Callable[[Path, InputFile, Source, int | None], _Reader]] = {
    "parquet": _ParquetReader,
    "jsonl": _JsonlReader,
    "warc": _WarcReader,
}


def count_rows(file: InputFile, source: Source) -> int:
    """Rows of a local file, without making any: for a plan, and so a WARC's records by their header lines.

    Raises:
        SourceError: the file cannot be read to its end.
    """
    reader = reader_of(file, source)
    try:
        if reader == "parquet":
            return pq.read_metadata(file.location).num_rows
        with _LineCount(_decompressed(Path(file.location), file.location)) as count:
            stream = io.BufferedReader(count, 1 << 20)
            if reader == "warc":
                return sum(_PAGE_HEADER.match(line) is not None for line in stream)
            while stream.read(1 << 20):
                pass
            return count.lines
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        _expect_damage(error, file.location)
        raise SourceError(f"{file.location}: cannot be read to its end ({_first_line(error)})") from error


_PAGE_HEADER = re.compile(rb"WARC-Type:[ \t]*(?:response|conversion|resource)[ \t]*\r?\n", re.IGNORECASE)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__

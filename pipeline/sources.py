"""Reading: input files in, one document per row out, and no row lost on the way.

A reader counts the rows of its file from the file itself (Parquet footer, lines of JSONL, response records of WARC) and
accounts for each: a row that cannot become a document is an exclusion with a reason, never a warning. A file that
cannot be read as a whole (no footer, a stream cut off) fails its own task with the file named.

Remote files are copied to a local temporary file first, digested on the way. So a network fault is an error of the
task and never looks like a damaged row, and the digest in the manifest is of the very bytes that were read.

Rows become documents 512 at a time, column-wise: 9 CPU-ms per MB for row-wise reading became 3 (`tests/bench/LOG.md`).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

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
                "make them two sources"
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
        with fsspec.open(file.location, "rb") as stream, open(copy if remote else "/dev/null", "wb") as target:
            while block := stream.read(1 << 22):
                digest.update(block)
                size += len(block)
                if remote:
                    target.write(block)
        if file.bytes and size != file.bytes:
            raise OSError(f"{size} bytes came of {file.bytes}: it is being written, or the transfer broke off")
        before = copy.stat()
        yield LocalFile(copy, size, digest.hexdigest())
        after = copy.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise OSError("it changed while it was read")
    except OSError as error:
        raise SourceError(f"{file.location}: cannot be read: {error.strerror or error}") from error
    finally:
        if remote:
            copy.unlink(missing_ok=True)


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

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yield the documents of the file in order.

        Raises:
            SourceError: the file cannot be read as a whole.
        """
        if data:
            yield from data
        read = {"parquet": _read_parquet, "jsonl": _read_jsonl, "warc": _read_warc}[reader_of(self.file, self.source)]
        rows = read(self.local, self.source.columns, self.limit, self.file.location)
        while True:
            started = time.process_time()
            batch = next(rows, None)
            if batch is None:
                break
            self.rows = max(self.rows, batch[-1].file_row + 1)
            pairs = [self._admit(row) for row in batch]
            documents = [document for document, _ in pairs]
            decisions = [decision for _, decision in pairs]
            if self.recorder:
                self.recorder(self.stage, documents, decisions)
            self.cpu_seconds += time.process_time() - started
            for document, decision in pairs:
                if decision.kept:
                    yield document

    @property
    def fraction(self) -> float:
        """About which share of the file is read: by rows for Parquet, else by text against the file's bytes."""
        if reader_of(self.file, self.source) == "parquet":
            total = self.limit or pq.read_metadata(self.local).num_rows
            return min(1.0, self.rows / total) if total else 1.0
        return min(1.0, self.text_bytes / self.file.bytes) if self.file.bytes else 1.0

    def _admit(self, row: Row) -> tuple[SourceDocument, Decision]:
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
        metadata = {
            "url": url,
            "dump": _text_or_none(row.dump) or self.source.dump,
            "date": None if row.date is None else str(row.date),
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
        if isinstance(row.language_score, int | float):
            metadata["language_score"] = float(row.language_score)
        if row.license:
            metadata["license"] = row.license if isinstance(row.license, str) else _joined(row.license)
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
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _joined(value: Any) -> str:
    """A list of declared licences (The Stack's `detected_licenses`) as one SPDX conjunction."""
    return " AND ".join(str(item) for item in value) if isinstance(value, list) else str(value)


# -- readers: each yields lists of rows that cover the file without a gap


def _read_parquet(path: Path, columns: Columns, limit: int | None, location: str) -> Iterator[list[Row]]:
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{location}: not a whole Parquet file ({_first_line(error)}); fetch it again") from error
    with file:
        present = set(file.schema_arrow.names)
        if columns.text not in present:
            raise SourceError(
                f"{location}: no column `{columns.text}`, only {', '.join(sorted(present))}; "
                "name the text column in source.<name>.columns.text"
            )
        wanted = {
            field: column for field, column in columns.model_dump().items() if column.partition(".")[0] in present
        }
        total = file.metadata.num_rows if limit is None else min(limit, file.metadata.num_rows)
        first = 0
        for group in range(file.num_row_groups):
            rows = min(file.metadata.row_group(group).num_rows, total - first)
            if rows <= 0:
                break
            yield from _read_row_group(file, group, wanted, first, rows)
            first += rows


def _read_row_group(
    file: pq.ParquetFile, group: int, wanted: dict[str, str], first: int, rows: int
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
    except (pa.ArrowException, OSError):
        pass  # the bytes are here and digested, so this is damage in the file: the rest of the group is accounted below
    for start in range(done, rows, BATCH_ROWS):
        yield [Row(first + row, problem=Reason.UNDECODABLE) for row in range(start, min(start + BATCH_ROWS, rows))]


def _rows_of(batch: pa.RecordBatch, wanted: dict[str, str], first: int) -> list[Row]:
    try:
        values = {field: _column(batch, column).to_pylist() for field, column in wanted.items()}
    except UnicodeDecodeError:
        return [_row_of(batch, wanted, first, row) for row in range(len(batch))]
    text = _column(batch, wanted["text"])
    if pa.types.is_string(text.type) or pa.types.is_large_string(text.type):
        values["text_bytes"] = pc.binary_length(text).to_pylist()
    fields = list(values)
    return [
        Row(first + position, **dict(zip(fields, row, strict=True)))
        for position, row in enumerate(zip(*values.values(), strict=True))
    ]


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column, or by a dotted name a field of a struct column; all null where the struct lacks it."""
    if name in batch.schema.names:
        return batch.column(name)
    outer, _, inner = name.partition(".")
    if outer not in batch.schema.names:
        return pa.nulls(len(batch))
    column = batch.column(outer)
    for field in inner.split("."):
        if not pa.types.is_struct(column.type) or column.type.get_field_index(field) < 0:
            return pa.nulls(len(batch))
        column = pc.struct_field(column, field)
    return column


def _row_of(batch: pa.RecordBatch, wanted: dict[str, str], first: int, position: int) -> Row:
    row = Row(first + position)
    for field, column in wanted.items():
        try:
            setattr(row, field, _column(batch, column)[position].as_py())
        except UnicodeDecodeError:
            if field == "text":
                row.problem = Reason.INVALID_UNICODE
    return row


def _read_jsonl(path: Path, columns: Columns, limit: int | None, location: str) -> Iterator[list[Row]]:
    wanted = columns.model_dump()
    batch: list[Row] = []
    held = 0
    with _decompressed(path, location) as stream:
        for file_row, line in enumerate(_lines(stream, location)):
            if limit is not None and file_row >= limit:
                break
            batch.append(_json_row(file_row, line, wanted))
            held += len(line)
            if len(batch) == BATCH_ROWS or held > 32_000_000:
                yield batch
                batch, held = [], 0
    if batch:
        yield batch


def _json_row(file_row: int, line: bytes, wanted: dict[str, str]) -> Row:
    problem = None
    try:
        value = orjson.loads(line)
    except ValueError:
        problem = Reason.UNREADABLE_ROW
        try:
            value = json.loads(line)  # takes lone surrogates, which orjson refuses: keeps the row's id and URL
            problem = Reason.INVALID_UNICODE
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        return Row(file_row, problem=Reason.UNREADABLE_ROW)
    row = Row(file_row, problem=problem)
    for field, key in wanted.items():
        setattr(row, field, _member(value, key))
    return row


def _member(value: dict[str, Any], key: str) -> Any:
    """A key's value, or by a dotted name that of a nested object."""
    if key in value or "." not in key:
        return value.get(key)
    outer, _, inner = key.partition(".")
    nested = value.get(outer)
    return _member(nested, inner) if isinstance(nested, dict) else None


def _lines(stream: BinaryIO, location: str) -> Iterator[bytes]:
    try:
        yield from stream
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise SourceError(f"{location}: the stream breaks off ({_first_line(error)}); fetch it again") from error


@contextlib.contextmanager
def _decompressed(path: Path, location: str) -> Iterator[Any]:
    if location.endswith(".gz"):
        with gzip.open(path, "rb") as stream:
            yield stream
    elif location.endswith(".zst"):
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield _ArrowLines(stream)
    else:
        with open(path, "rb") as stream:
            yield stream


class _ArrowLines:
    """Lines of an Arrow input stream, which cannot iterate over them itself."""

    def __init__(self, stream: pa.NativeFile):
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        while block := self._stream.read(1 << 20):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield line + b"\n"
        if rest:
            yield rest


def _read_warc(path: Path, columns: Columns, limit: int | None, location: str) -> Iterator[list[Row]]:
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    file_row = 0
    with open(path, "rb") as stream:
        try:
            for record in ArchiveIterator(stream):
                if record.rec_type == "response":
                    if limit is not None and file_row >= limit:
                        break
                    row = _response_row(file_row, record)
                _expect_whole(record)
                if record.rec_type == "response":
                    yield [row]
                    file_row += 1
        except (ArchiveLoadFailed, EOFError, zlib.error, OSError) as error:
            raise SourceError(f"{location}: the WARC breaks off after {file_row} responses ({error})") from error


def _expect_whole(record: Any) -> None:
    """A stream that breaks off ends silently in warcio: the record then has fewer bytes than it announces."""
    while record.raw_stream.read(1 << 16):
        pass
    if getattr(record.raw_stream, "limit", 0) > 0:
        raise EOFError(f"{record.raw_stream.limit} bytes of the last record are missing")


def _response_row(file_row: int, record: Any) -> Row:
    headers = record.rec_headers
    row = Row(
        file_row,
        id=headers.get_header("WARC-Record-ID"),
        url=headers.get_header("WARC-Target-URI"),
        date=headers.get_header("WARC-Date"),
    )
    http = record.http_headers
    body = record.content_stream().read()
    media_type = (http.get_header("Content-Type") or "") if http else ""
    if http is None or not http.get_statuscode().startswith("2"):
        row.problem = Reason.HTTP_STATUS
    elif not body.strip():
        row.problem = Reason.EMPTY_TEXT
    elif not re.match(r"\s*(text/html|application/xhtml\+xml)", media_type, re.IGNORECASE):
        row.problem = Reason.NOT_HTML
    else:
        _extract(row, body, media_type, http)
    return row


def _extract(row: Row, body: bytes, media_type: str, http: Any) -> None:
    """Main text by trafilatura; what owners said in headers and meta elements stays for the consent stage."""
    from trafilatura import extract, load_html

    html = _decoded(body, media_type)
    row.extra = {"html": html}
    for name in ("X-Robots-Tag", "Content-Usage", "TDM-Reservation"):
        values = [value for key, value in http.headers if key.lower() == name.lower()]
        if values:
            row.extra[name.lower().replace("-", "_")] = ", ".join(values)
    try:
        tree = load_html(html)
        if tree is not None:
            metas = tree.xpath("//meta[@name][@content]")
            for meta in metas:
                if meta.get("name").strip().lower() in ("robots", "tdm-reservation"):
                    row.extra["meta_" + meta.get("name").strip().lower().replace("-", "_")] = meta.get("content")
        row.text = extract(html, include_comments=False, include_tables=True)
    except Exception:  # hostile markup must cost one row, whatever the extractor raises on it
        row.text = None
    if not row.text:
        row.problem = Reason.EXTRACTION_FAILED


def _decoded(body: bytes, media_type: str) -> str:
    declared = re.search(r"charset=[\"']?([\w.:-]+)", media_type, re.IGNORECASE) or re.search(
        rb"<meta[^>]{0,200}charset=[\"']?([\w.:-]+)", body[:2048], re.IGNORECASE
    )
    name = declared[1] if declared else "utf-8"
    try:
        return body.decode(name if isinstance(name, str) else name.decode("ascii"), "replace")
    except (LookupError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__

"""What snapshots are built from: Common Crawl's robotstxt WARCs, folders of files, other snapshots.

- `*.warc`, `*.warc.gz`: every response record. One for `/robots.txt` is an answer of its origin; the others are kept as
  possible ends of a redirect, for the crawl fetches those too. The status is that of the HTTP line, the date WARC-Date.
  A body that the crawler cut before 500 KiB counts as broken off: the rule that matters may be in the rest.
- a folder: one file per host, named by the host (`example.org`, `example.org:8080`; `.txt` behind it is ignored), as
  served. A file does not know when it was fetched and a copy changes its time, so the date must be given: a day, or
  `mtime` for the file's own modification time.
- Parquet: another snapshot, ours or anybody's that `filters.robots.Snapshot` reads. Rows without a date take the date
  given, if one is.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urljoin

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from filters.robots import MAX_BODY_BYTES, Snapshot, SnapshotError, request_path
from manifests.schema import FairtroveError
from pipeline.snapshots import OTHER_FILES, Answer, Failure, origin_key, page_url, utc
from pipeline.terminal import UsageError

_WARC = (".warc", ".warc.gz")
_BATCH_ROWS = 256  # 256 bodies of 500 KiB are 128 MB at worst
_NOT_A_HOST = frozenset("/\\?#@ \t\r\n")


class SnapshotSourceError(FairtroveError):
    """A source broke off or is damaged; the message names the file."""


def check_source(source: str, date: str | None) -> None:
    """Refuse what cannot be a source before any work.

    Raises:
        UsageError: names the source and the remedy.
    """
    _parse_date(date)
    path = Path(source)
    if source.endswith(_WARC):
        if "://" not in source and not path.is_file():
            raise UsageError(f"{source}: no such file")
    elif path.is_dir():
        if date is None:
            raise UsageError(f"{source}: files carry no date; give --date YYYY-MM-DD, or --date mtime to trust theirs")
    elif source.endswith(".parquet") or path.is_file():
        try:
            Snapshot.check(source)
        except SnapshotError as error:
            raise UsageError(str(error)) from error
    else:
        raise UsageError(f"{source}: no such file or folder; a source is *.warc.gz, a folder of files, or a snapshot")


def read_source(source: str, date: str | None = None) -> Iterator[Answer]:
    """Every answer in a source, one at a time. `date`: `YYYY-MM-DD` (or a moment, ISO 8601), or `mtime`.

    Raises:
        UsageError: the source is not one, or a folder comes without a date.
        SnapshotSourceError: it is damaged.
    """
    check_source(source, date)
    if source.endswith(_WARC):
        return _read_warc(source)
    if Path(source).is_dir():
        return _read_folder(Path(source), date or "mtime")
    return _read_snapshot(source, date)


# ---------------------------------------------------------------------------------------------------------------------
# WARC
# ---------------------------------------------------------------------------------------------------------------------


def _read_warc(source: str) -> Iterator[Answer]:
    from warcio.archiveiterator import ArchiveIterator

    read = 0
    try:
        with fsspec.open(source, "rb") as file:
            for record in ArchiveIterator(_whole(file, source)):
                answer = _from_record(record) if record.rec_type == "response" else None
                _expect_whole(record)
                if answer is not None:
                    yield answer
                read += 1
            if not read:
                raise EOFError("no record in it")
    except Exception as error:  # warcio raises its own errors, zlib's, and whatever a header breaks
        message = " ".join(str(error).split())[:200]
        raise SnapshotSourceError(
            f"{source}: damaged after {read:,} records ({type(error).__name__}: {message}); fetch it again"
        ) from error


class _WholeGzip(gzip.GzipFile):
    """warcio takes a cut gzip stream for the end of the file and swallows the EOFError by which gzip says otherwise."""

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except EOFError as error:
            raise OSError("it is cut off") from error


def _whole(file: BinaryIO, source: str) -> BinaryIO:
    """The records' bytes; raises OSError, at once or in reading, when the file is cut off anywhere but between two."""
    if source.endswith(".gz"):
        return cast(BinaryIO, _WholeGzip(fileobj=file))
    file.seek(-min(4, file.seek(0, os.SEEK_END)), os.SEEK_END)
    if file.read() != b"\r\n\r\n":
        raise OSError("it is cut off: no record ends at its end")
    file.seek(0)
    return file


def _expect_whole(record: Any) -> None:
    while record.raw_stream.read(1 << 16):
        pass
    if getattr(record.raw_stream, "limit", 0) > 0:
        raise EOFError(f"{record.raw_stream.limit} bytes of a record are missing")


def _from_record(record: Any) -> Answer | None:
    url = (record.rec_headers.get_header("WARC-Target-URI") or "").strip("<>")
    host = origin_key(url) if "://" in url else ""
    if not host or record.http_headers is None:
        return None
    if request_path(url) != "/robots.txt":
        host = ""
    status = _status(record.http_headers.get_statuscode())
    location = record.http_headers.get_header("Location") if 300 <= status < 400 else None
    body = _body(record.content_stream()) if 200 <= status < 300 else None
    if body is not None and record.rec_headers.get_header("WARC-Truncated") and len(body) < MAX_BODY_BYTES:
        status, body = Failure.INCOMPLETE, None
    return Answer(
        host or None,
        _moment(record.rec_headers.get_header("WARC-Date"), f"record for {url}"),
        status,
        body,
        url=page_url(url),
        location=_target(url, location) if location else None,
    )


def _status(code: str | None) -> int:
    return int(code) if code and code.isascii() and code.isdigit() and len(code) == 3 else Failure.PROTOCOL


def _target(url: str, location: str) -> str | None:
    try:
        target = urljoin(url, location.strip())
    except ValueError:  # an unbalanced bracket
        return None
    return page_url(target) if target.lower().startswith(("http://", "https://")) and origin_key(target) else None


def _body(stream: BinaryIO) -> bytes:
    blocks = []
    left = MAX_BODY_BYTES
    while left and (block := stream.read(left)):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


# ---------------------------------------------------------------------------------------------------------------------
# Folders
# ---------------------------------------------------------------------------------------------------------------------


def _read_folder(folder: Path, date: str) -> Iterator[Answer]:
    given = None if date == "mtime" else _parse_date(date)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        host = _host_of(path)
        try:
            with open(path, "rb") as file:
                body = file.read(MAX_BODY_BYTES)
            modified = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        except OSError as error:
            raise SnapshotSourceError(f"{path}: cannot be read: {error.strerror or error}") from error
        yield Answer(host, given or utc(modified), None, body)


def _host_of(path: Path) -> str:
    name = path.name.removesuffix(".txt")
    host = origin_key(name) if not _NOT_A_HOST.intersection(name) else ""
    if path.is_dir() or not host or path.name.endswith((*_WARC, ".parquet")):
        raise UsageError(
            f"{path}: in a folder of robots.txt files each file is named by its host, like example.org or "
            "example.org:8080; WARCs and snapshots are given by their own paths"
        )
    return host


def _parse_date(date: str | None) -> datetime | None:
    if date is None or date == "mtime":
        return None
    try:
        return utc(datetime.fromisoformat(date))
    except ValueError as error:
        raise UsageError(f"--date {date}: not a date; write YYYY-MM-DD, or mtime for the files' own") from error


# ---------------------------------------------------------------------------------------------------------------------
# Snapshots
# ---------------------------------------------------------------------------------------------------------------------


def _read_snapshot(source: str, date: str | None) -> Iterator[Answer]:
    given = _parse_date(date)
    row = 0
    try:
        with pq.ParquetFile(source, pre_buffer=False) as file:
            names = file.schema_arrow.names
            body = next(name for name in Snapshot.BODY_COLUMNS if name in names)
            dated = "fetched_at" in names
            others = [name for name in OTHER_FILES if name in names]
            for batch in file.iter_batches(
                _BATCH_ROWS, columns=["host", "status", body, *others] + ["fetched_at"] * dated
            ):
                dates = batch["fetched_at"].to_pylist() if dated else [None] * len(batch)
                for host, status, moment, content, *rest in zip(
                    batch["host"].to_pylist(),
                    batch["status"].to_pylist(),
                    dates,
                    *(map(_octets, batch[name].to_pylist()) for name in (body, *others)),
                    strict=True,
                ):
                    row += 1
                    key = origin_key(host or "")
                    if key:  # else an origin that no URL can have
                        fetched_at = _moment(moment, source, row) or given
                        yield Answer(key, fetched_at, status, content, **dict(zip(others, rest, strict=True)))
    except (OSError, pa.ArrowException) as error:
        message = (str(error).splitlines() or [""])[0][:200]
        raise SnapshotSourceError(
            f"{source}: damaged after row {row:,} ({message}); fetch or build it again"
        ) from error


def _octets(content: bytes | str | None) -> bytes | None:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content


def _moment(value: Any, source: str = "", row: int = 0) -> datetime | None:
    """A date or moment, however a source writes it."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return utc(value)
    try:
        return utc(datetime.fromisoformat(str(value).strip()))
    except ValueError as error:
        raise SnapshotSourceError(
            f"{source}: row {row:,}: fetched_at {str(value)[:40]!r} is not a date; write it as YYYY-MM-DD"
        ) from error

"""Robots snapshots: what each origin's robots.txt said, one row per origin, as evidence that can be stored and shared.

A snapshot is a Parquet file with these columns (`filters.robots.Snapshot` reads it, and so does duckdb):

| column | type | meaning |
|---|---|---|
| host | string | the origin: host in lower case and punycode, `:port` unless it is 80 or 443 |
| fetched_at | timestamp, UTC | when the answer was given; null when the source did not say |
| status | int16 | HTTP status; below 0 a `Failure`; null when the source did not record it |
| body | binary | the file, at most 500 KiB; null unless the status is a success or not recorded |
| tdmrep, ai_txt | binary | the origin's /.well-known/tdmrep.json and /ai.txt where a source has them |
| rhost | string | `host` reversed, the order of the rows: its statistics prune, two snapshots compare by one merge |

**Which answer counts.** The newest, but what was no answer (a failure, 5xx, 429, a redirect not followed to its end)
replaces only its like: while a file is unreachable its last known content holds (RFC 9309, 2.4), so a site that
is down for a day does not lose its opt-out. Among answers of the same moment a file goes before none, then the greater
status, then the greater SHA-256 of the body: arbitrary, but the same in whichever order the sources come.

Of tdmrep and ai_txt the newest that any source has is kept: null says nothing, so it withdraws nothing.

**Redirects** that the sources hold the end of are followed (a crawl fetches the target too), up to ten hops, and the
rules belong to the first authority (RFC 9309, 2.3.1.2); the row is then as old as the older of the two. Others stay as
their 3xx status.

**Bodies are cut** at 500 KiB, where the parser stops reading. Evidence names the SHA-256 of the body as stored, so that
an auditor can recompute it from the snapshot; of the rest, which no decision can rest on, nothing is kept.

Equal inputs in any order give equal bytes (pyarrow pinned). Bodies go through a spool file and only narrow rows through
duckdb, which spills to disk, so memory is flat in the number of rows: a peak of 472 MB for 1 million rows with 2.5 GB
of bodies, 444 MB for 2 million with 5 GB, at 68 to 88 CPU-seconds per million.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from filters.robots import MAX_BODY_BYTES, Snapshot, host_key, origin, request_path
from manifests.files import DigestingFile, sync_folder
from manifests.schema import reverse_host

SCHEMA = pa.schema(
    [
        pa.field("host", pa.string(), nullable=False),
        pa.field("fetched_at", pa.timestamp("ms")),
        pa.field("status", pa.int16()),
        pa.field("body", pa.binary()),
        pa.field("tdmrep", pa.binary()),
        pa.field("ai_txt", pa.binary()),
        pa.field("rhost", pa.string(), nullable=False),
    ],
    metadata={"fairtrove.snapshot": "1"},
)
OTHER_FILES = Snapshot.OTHER_FILES
MAX_REDIRECTS = 10  # RFC 9309 asks for at least five
_ADD_ROWS = 20_000
_ROW_GROUP_ROWS = 10_000
_ROW_GROUP_BYTES = 16 << 20
_MEMORY_LIMIT = "256MB"
_CODEC = pa.Codec("zstd", compression_level=1)


class Failure(IntEnum):
    """Why there was no HTTP answer: the `status` of such a row. `filters.robots.settle` calls them all a fetch error,
    which is unknown and never "allowed"."""

    NAME = -1  # the name does not resolve
    CONNECT = -2  # nobody listens, or no route
    TLS = -3  # no handshake, or a certificate that does not hold
    TIMEOUT = -4
    PROTOCOL = -5  # what came is not HTTP, or in an encoding that was not asked for
    INCOMPLETE = -6  # the answer broke off: what is missing may be the rule that counts
    NOT_PUBLIC = -7  # an address of a private network, which a page on the web has no business naming


class Outcome(StrEnum):
    """What a row tells, coarsely."""

    FILE = "file"  # 2xx, or status not recorded; possibly not robots.txt but a page served in its place
    NO_FILE = "no file (4xx)"
    REDIRECT = "redirect not followed (3xx)"
    SERVER_ERROR = "server error (5xx)"
    FAILURE = "no HTTP answer"

    @classmethod
    def of(cls, status: int | None, has_body: bool) -> Outcome:
        """The outcome of a row."""
        if has_body and (status is None or 200 <= status < 300):
            return cls.FILE
        if status is None or status < 300:
            return cls.FAILURE
        if status < 400:
            return cls.REDIRECT
        return cls.NO_FILE if status < 500 else cls.SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a request for robots.txt, or for what a robots.txt redirected to.

    Attributes:
        host: the origin as `origin_key` gives it; None when the request was not for a robots.txt.
        fetched_at: UTC, without a zone; None when the source does not say.
        status, body, tdmrep, ai_txt: see the module.
        url: what was requested, as `page_url` gives it; None when the source keeps no URLs.
        location: where a redirect leads, likewise.
    """

    host: str | None
    fetched_at: datetime | None
    status: int | None
    body: bytes | None
    url: str | None = None
    location: str | None = None
    tdmrep: bytes | None = None
    ai_txt: bytes | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A published snapshot: the file, the rows that went in and came out, and what they tell."""

    path: Path
    read: int
    rows: int
    bytes: int
    sha256: str
    outcomes: dict[Outcome, int]


def origin_key(host: str) -> str:
    """`host`, `host:port` or a URL as the key of its origin; empty when there is no host in it.

    Snapshots know no scheme: ports 80 and 443 both count as the default.
    """
    name, port = origin(host if "://" in host else f"https://{host}")
    return host_key(name, None if port in (80, 443) else port) if name else ""


def page_url(url: str) -> str:
    """`url` so that two spellings of one request are equal: origin normalised, no fragment."""
    return f"{url.partition(':')[0].lower()}://{host_key(*origin(url))}{request_path(url)}"


class Draft:
    """A snapshot in the making. Use as a context manager: what was not published leaves nothing behind.

    with Draft(Path("robots.parquet")) as draft:
        for answer in answers:
            draft.add(answer)
        built = draft.publish()
    """

    def __init__(self, out: Path):
        self.out = out
        self.read = 0
        self._rows: list[tuple] = []
        self._others: list[tuple] = []
        self._spooled = 0

    def __enter__(self) -> Draft:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(self.out)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.", suffix=".building", dir=self.out.parent))
        self._lock = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._spool: BinaryIO = open(self._folder / "bodies", "w+b", buffering=1 << 20)
        self._tables = duckdb.connect(
            str(self._folder / "answers.duckdb"),
            config={
                "memory_limit": _MEMORY_LIMIT,
                "threads": 2,
                "temp_directory": str(self._folder / "spill"),
                "preserve_insertion_order": False,
            },
        )
        self._tables.execute("SET enable_progress_bar = false")  # it goes to stdout
        for name, columns in (("answers", _ANSWERS), ("others", _OTHERS)):
            self._tables.register("none", columns.empty_table())
            self._tables.execute(f"CREATE TABLE {name} AS SELECT * FROM none")
            self._tables.unregister("none")
        return self

    def __exit__(self, *_: object) -> None:
        self._tables.close()
        self._spool.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def add(self, answer: Answer) -> None:
        """Take an answer in; its body goes to the disk."""
        self.read += 1
        status = answer.status
        kept = answer.body is not None and (status is None or 200 <= status < 300)
        rhost = _reversed(answer.host) if answer.host else None
        stored = self._store(answer.body if kept else None)
        self._rows.append((answer.host, rhost, answer.url, answer.location, answer.fetched_at, status, *stored))
        for name in OTHER_FILES:
            content = getattr(answer, name)
            if content is not None and rhost:
                self._others.append((rhost, name, answer.fetched_at, *self._store(content)))
        if len(self._rows) >= _ADD_ROWS:
            self._flush()

    def publish(self) -> Built:
        """Choose the answer of each origin and put the file in place, whole or not at all."""
        self._flush()
        self._spool.flush()
        self._follow_redirects()
        outcomes: Counter[Outcome] = Counter()
        file = DigestingFile(self._folder / "snapshot.parquet")
        rows = 0
        with pq.ParquetWriter(
            file,
            SCHEMA,
            compression="zstd",
            use_dictionary=["status"],
            write_page_index=True,
            sorting_columns=[pq.SortingColumn(SCHEMA.get_field_index("rhost"))],
        ) as writer:
            for group in self._row_groups():
                writer.write_table(group, row_group_size=len(group))
                rows += len(group)
                for status, body in zip(group["status"], group["body"], strict=True):
                    outcomes[Outcome.of(status.as_py(), body.is_valid)] += 1
        file.close()
        os.replace(file.path, self.out)
        sync_folder(self.out.parent)
        return Built(
            self.out,
            self.read,
            rows,
            file.bytes,
            file.sha256,
            {name: outcomes[name] for name in Outcome if outcomes[name]},
        )

    def _store(self, content: bytes | None) -> tuple[bytes | None, int | None, int | None, int | None]:
        """Digest of a file, and where it lies in the spool: start, bytes there, bytes unpacked."""
        if content is None:
            return None, None, None, None
        content = content[:MAX_BODY_BYTES]
        block = _CODEC.compress(content, asbytes=True)
        start = self._spooled
        self._spool.write(block)
        self._spooled += len(block)
        return sha256(content).digest(), start, len(block), len(content)

    def _stored(self, start: int | None, stored: int, size: int) -> bytes | None:
        if start is None:
            return None
        return _CODEC.decompress(os.pread(self._spool.fileno(), stored, start), size, asbytes=True)

    def _flush(self) -> None:
        for name, columns, rows in (("answers", _ANSWERS, self._rows), ("others", _OTHERS, self._others)):
            if rows:
                self._tables.register("batch", _table(rows, columns))
                self._tables.execute(f"INSERT INTO {name} SELECT * FROM batch")
                self._tables.unregister("batch")
                rows.clear()

    def _follow_redirects(self) -> None:
        """Give each redirecting origin the answer at the other end, hop by hop, as far as the sources know it."""
        self._tables.execute(
            f"""CREATE TABLE pages AS SELECT * FROM answers
                WHERE url IN (SELECT location FROM answers WHERE location IS NOT NULL)
                QUALIFY row_number() OVER (PARTITION BY url ORDER BY {_PREFERENCE}) = 1"""
        )
        for _ in range(MAX_REDIRECTS):
            followed = self._tables.execute(
                """UPDATE answers SET location = page.location, status = page.status, digest = page.digest,
                       fetched_at = least(answers.fetched_at, page.fetched_at),
                       start = page.start, stored = page.stored, size = page.size
                   FROM pages AS page WHERE answers.location = page.url AND answers.rhost IS NOT NULL"""
            ).fetchone()
            if not followed or not followed[0]:
                break

    def _row_groups(self) -> Iterator[pa.Table]:
        self._tables.execute(
            """CREATE TABLE newest AS SELECT * FROM others QUALIFY
                   row_number() OVER (PARTITION BY rhost, name ORDER BY fetched_at DESC NULLS LAST, digest DESC) = 1"""
        )
        places = ", ".join(
            f"{file}.{column} AS {file}_{column}"
            for file in ("answer", *OTHER_FILES)
            for column in ("start", "stored", "size")
        )
        self._tables.execute(
            f"""CREATE TABLE chosen AS
                SELECT row_number() OVER (ORDER BY answer.rhost) AS place,
                    answer.host, answer.rhost, answer.fetched_at, answer.status, {places}
                FROM (
                    SELECT * FROM answers WHERE rhost IS NOT NULL
                    QUALIFY row_number() OVER (PARTITION BY rhost ORDER BY {_PREFERENCE}) = 1
                ) AS answer {" ".join(_LEFT_JOIN.format(file=file) for file in OTHER_FILES)}"""
        )
        (total,) = self._tables.execute("SELECT count(*) FROM chosen").fetchone() or (0,)
        rows: list[tuple] = []
        held = 0
        for first in range(1, total + 1, _ROW_GROUP_ROWS):
            for _, host, rhost, fetched_at, status, *where in self._tables.execute(
                "SELECT * FROM chosen WHERE place BETWEEN ? AND ? ORDER BY place", [first, first + _ROW_GROUP_ROWS - 1]
            ).fetchall():
                body, tdmrep, ai_txt = (self._stored(*where[file : file + 3]) for file in (0, 3, 6))
                rows.append((host, fetched_at, status, body, tdmrep, ai_txt, rhost))
                held += sum(where[file] or 0 for file in (2, 5, 8))
                if len(rows) == _ROW_GROUP_ROWS or held >= _ROW_GROUP_BYTES:
                    yield _table(rows, SCHEMA)
                    rows, held = [], 0
        if rows:
            yield _table(rows, SCHEMA)


_STORED = [("digest", pa.binary()), ("start", pa.int64()), ("stored", pa.int32()), ("size", pa.int32())]
_ANSWERS = pa.schema(
    [
        ("host", pa.string()),
        ("rhost", pa.string()),
        ("url", pa.string()),
        ("location", pa.string()),
        ("fetched_at", pa.timestamp("ms")),
        ("status", pa.int16()),
        *_STORED,
    ]
)
_OTHERS = pa.schema([("rhost", pa.string()), ("name", pa.string()), ("fetched_at", pa.timestamp("ms")), *_STORED])
_LEFT_JOIN = "LEFT JOIN newest AS {file} ON {file}.rhost = answer.rhost AND {file}.name = '{file}'"
_PREFERENCE = """
    ((digest IS NOT NULL AND (status IS NULL OR status BETWEEN 200 AND 299))
        OR (status BETWEEN 400 AND 499 AND status <> 429)) IS TRUE DESC,
    fetched_at DESC NULLS LAST, digest IS NOT NULL DESC, status DESC NULLS LAST, digest DESC NULLS LAST,
    location"""
"""429 says "not now" rather than "no file": Google's crawler takes it for a server error, and so does this choice."""


def _table(rows: list[tuple], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)


def _reversed(key: str) -> str:
    name, port = origin(f"https://{key}")
    return reverse_host(name, port)


def utc(moment: datetime) -> datetime:
    """`moment` in UTC, without a zone, as snapshots hold it; one without a zone is UTC already."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _remove_abandoned(out: Path) -> None:
    """Remove what killed builds of the same file left beside it: folders whose lock nobody holds."""
    for folder in out.parent.glob(f".{out.name}.*.building"):
        with contextlib.suppress(OSError):
            lock = os.open(folder / "lock", os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)

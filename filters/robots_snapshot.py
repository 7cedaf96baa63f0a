"""A robots.txt snapshot in memory: what each origin answered when it was asked, looked up by origin.

Columns stay in Arrow memory and the index is two arrays of 8 bytes per row (hash of the key, row), an eighth of a dict
of strings. A look-up costs 9 µs, the copy of a body of 2 KB included.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.robots_url import host_key, origin


class SnapshotError(ValueError):
    """A robots snapshot that cannot be read or lacks a column; the message names file, fault and remedy."""


class Entry(NamedTuple):
    """What a snapshot says about one origin.

    Attributes:
        host, port: the origin asked for.
        status: HTTP status of the fetch, None when the source did not record it.
        fetched_at: date of the fetch, ISO 8601, None when not recorded.
        body: the file as stored, None when there was none.
        tdmrep, ai_txt: the same of /.well-known/tdmrep.json and /ai.txt.
    """

    host: str
    port: int | None
    status: int | None
    fetched_at: str | None
    body: bytes | None
    tdmrep: bytes | None = None
    ai_txt: bytes | None = None

    @property
    def body_sha256(self) -> bytes | None:
        """SHA-256 of the body, 32 bytes."""
        return None if self.body is None else hashlib.sha256(self.body).digest()

    def file(self, name: str) -> bytes | None:
        """A file of the origin: `body` for its robots.txt, or by the signal it carries `tdmrep` or `ai-txt`."""
        return {"body": self.body, "tdmrep": self.tdmrep, "ai-txt": self.ai_txt}[name]


class Snapshot:
    """A Parquet file of fetched robots.txt files, looked up by origin.

    Columns: `host` (may carry `:port`; in any case, as a URL or with an IDN it is found all the same), `status`, the
    body in `body`, `robots_txt` or `content` (binary or text), and optionally `fetched_at`. Two more optional columns,
    `tdmrep` and `ai_txt`, hold the bodies of an origin's /.well-known/tdmrep.json and /ai.txt (binary or text; null:
    not asked for, or not served): columns and not rows, since files of one origin are fetched together, and so a
    snapshot without them loads as before. Of several rows for one origin the newest `fetched_at` counts, then the last,
    and it counts as a whole: who merges snapshots carries the two columns over. Columns stay in Arrow memory and the
    index is two numpy arrays of 8 bytes per row (hash of the key, row), an eighth of a dict of strings.
    """

    BODY_COLUMNS = ("body", "robots_txt", "content")
    OTHER_FILES = ("tdmrep", "ai_txt")

    def __init__(self, path: str | Path, table: pa.Table, sha256: str):
        self.path = str(path)
        self.sha256 = sha256
        names = [
            "host",
            "status",
            "body",
            *(name for name in ("fetched_at", *self.OTHER_FILES) if name in table.column_names),
        ]
        batches = [batch for batch in table.select(names).to_batches() if len(batch)]  # one layout for all columns
        self._starts = list(itertools.accumulate((len(batch) for batch in batches), initial=0))
        self._columns_of = {name: [batch.column(name) for batch in batches] for name in names}
        self._dates = _Dates(self._columns_of.get("fetched_at", []))
        self._others = [name for name in self.OTHER_FILES if name in names]
        self._hosts, self._bodies = ([_Cells(column) for column in self._columns_of[name]] for name in ("host", "body"))
        self._statuses = [_Numbers(column) for column in self._columns_of["status"]]
        keys = np.fromiter((hash(_snapshot_key(host)) for host in _values(table["host"])), np.int64, len(table))
        self._rows = np.argsort(keys, kind="stable")
        self._keys = memoryview(keys[self._rows].data)  # to bisect: numpy's search costs 20 µs a key

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def check(cls, path: str | Path) -> None:
        """Raise `SnapshotError` unless `path` is a snapshot; reads the footer only."""
        cls._columns(path)

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        """Read a snapshot. Raises `SnapshotError` when it cannot be read or lacks a column."""
        columns = cls._columns(path)
        try:
            table = pq.read_table(path, columns=list(columns.values()), partitioning=None)
            with open(path, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, pa.ArrowException) as error:
            raise SnapshotError(f"robots snapshot {path}: damaged ({_first_line(error)}); build it anew") from error
        return cls(path, table.rename_columns(list(columns)), sha256)

    @classmethod
    def _columns(cls, path: str | Path) -> dict[str, str]:
        """The columns to read: our name to the file's."""
        if not os.path.isfile(path):
            raise SnapshotError(f"robots snapshot {path}: no such file; give the path of a Parquet file")
        try:
            schema = pq.read_schema(path)
        except (OSError, pa.ArrowException) as error:
            raise SnapshotError(f"robots snapshot {path}: not a Parquet file ({_first_line(error)})") from error
        body = next((name for name in cls.BODY_COLUMNS if name in schema.names), None)
        columns = {"host": "host", "status": "status"}
        missing = [name for name in columns if name not in schema.names]
        if body is None:
            missing.append("body")
        if missing:
            raise SnapshotError(
                f"robots snapshot {path}: no column {', '.join(missing)} (it has {', '.join(schema.names) or 'none'}); "
                "it needs host, status and the file in body, robots_txt or content, and may have fetched_at"
            )
        host_type, status_type, body_type = (schema.field(name).type for name in ("host", "status", body))
        for name, kind, fits in (
            ("host", host_type, _is_text(host_type)),
            ("status", status_type, pa.types.is_integer(status_type) or pa.types.is_null(status_type)),
            (body, body_type, _is_text(body_type) or _is_binary(body_type)),
        ):
            if not fits:
                raise SnapshotError(
                    f"robots snapshot {path}: column {name} is {kind}; host is text, status integer, body binary"
                )
        for name in cls.OTHER_FILES:
            if name in schema.names:
                kind = schema.field(name).type
                if not (_is_text(kind) or _is_binary(kind) or pa.types.is_null(kind)):
                    raise SnapshotError(f"robots snapshot {path}: column {name} is {kind}; it holds bodies, binary")
                columns[name] = name
        columns["body"] = str(body)
        if "fetched_at" in schema.names:
            columns["fetched_at"] = "fetched_at"
        return columns

    def table(self, others: Sequence[str] = ()) -> pa.Table:
        """Host, status, body and date of every row, and the other files asked for; nulls where there is no column."""
        names = ("host", "status", "body", "fetched_at", *others)
        columns = {
            name: pa.chunked_array(self._columns_of[name])
            if self._columns_of.get(name)
            else pa.chunked_array([pa.nulls(len(self), pa.string() if name in ("host", "fetched_at") else pa.binary())])
            for name in names
        }
        return pa.table(columns)

    def lookup(self, host: str, port: int | None = None) -> Entry | None:
        """The newest row for an origin as `origin` gives it, None when there is no row."""
        row = self._row(host_key(host, port))
        if row < 0:
            return None
        batch = bisect_right(self._starts, row) - 1
        place = row - self._starts[batch]
        others = {name: _octets(self._columns_of[name][batch][place].as_py()) for name in self._others}
        return Entry(
            host,
            port,
            self._statuses[batch].at(place),
            self._dates.of(batch, place),
            self._bodies[batch].at(place),
            **others,
        )

    def _row(self, key: str) -> int:
        """The newest row of an origin, -1 for none."""
        wanted = hash(key)
        place = bisect_left(self._keys, wanted)
        octets = key.encode("utf-8", "surrogatepass")
        newest = ("", -1)
        while place < len(self._keys) and self._keys[place] == wanted:
            row = int(self._rows[place])
            batch = bisect_right(self._starts, row) - 1
            within = row - self._starts[batch]
            host = self._hosts[batch].at(within)
            if host == octets or _snapshot_key(None if host is None else host.decode()) == key:
                newest = max(newest, (self._dates.of(batch, within) or "", row))
            place += 1
        return newest[1]


@functools.lru_cache(maxsize=2)
def changed_origins(before: Snapshot, after: Snapshot, others: tuple[str, ...] = ()) -> dict[str, bool]:
    """Keys of origins that two snapshots tell differently about, and whether more than the date is different.

    Columns are compared as a whole, 100,000 rows with bodies of 2 KB in 0.3 CPU s. An origin with several rows, or
    spelt otherwise than `host_key` spells it, counts as changed: the result may hold origins that are the same, and
    misses none.

    Args:
        others: which of `Snapshot.OTHER_FILES` count.
    """
    tables = [before.table(others), after.table(others)]
    hosts = [table["host"].combine_chunks() for table in tables]
    changed: dict[str, bool] = {}
    for names in hosts:
        counts = pc.value_counts(names)
        several = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        odd = [name for name in names.to_pylist() if name is None or not _PLAIN_KEY.match(name) or "xn--" in name]
        changed.update(dict.fromkeys(map(_snapshot_key, [*several, *odd]), True))
    gone = hosts[0].filter(pc.invert(pc.is_in(hosts[0], hosts[1])))
    changed.update(dict.fromkeys(map(_snapshot_key, gone.to_pylist()), True))
    places = pc.index_in(hosts[1], hosts[0])
    for start in range(0, len(places), _COMPARED_ROWS):
        now = tables[1].slice(start, _COMPARED_ROWS)
        places_here = places.slice(start, _COMPARED_ROWS)
        was = tables[0].take(places_here)  # a row of nulls for an origin that is new
        known = places_here.is_valid()
        same = known
        for name in ("status", "body", *others):
            same = pc.and_(same, _same(was[name], now[name]))
        dated = _same(was["fetched_at"], now["fetched_at"])
        for host, same_said, same_date in zip(
            now["host"].to_pylist(), same.to_pylist(), dated.to_pylist(), strict=True
        ):
            if not same_said:
                changed[_snapshot_key(host)] = True
            elif not same_date:
                changed.setdefault(host, False)
    return changed


_COMPARED_ROWS = 10_000


def _same(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.ChunkedArray:
    """Row by row, null being equal to null only."""
    if left.type != right.type:
        try:
            left = left.cast(right.type)
        except pa.ArrowException:
            return pa.chunked_array([pa.array([False] * len(right))])
    return pc.if_else(
        pc.or_(left.is_null(), right.is_null()), pc.and_(left.is_null(), right.is_null()), pc.equal(left, right)
    )


class _Cells:
    """Texts or octets of a column, each read as octets straight from Arrow's memory: 0.3 µs, where a scalar takes 1."""

    __slots__ = ("_column", "_content", "_offsets", "_valid")

    def __init__(self, column: pa.Array):
        self._column = column
        self._offsets: memoryview | None = None
        kind = column.type
        if (_is_text(kind) or _is_binary(kind)) and len(column):
            large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
            _, offsets, content = column.buffers()
            self._offsets = memoryview(offsets).cast("q" if large else "i")[column.offset :]
            self._content = memoryview(content or b"")
            self._valid = _valid(column)

    def at(self, place: int) -> bytes | None:
        if self._offsets is None:
            return _octets(self._column[place].as_py())
        if self._valid is not None and not self._valid[place]:
            return None
        return bytes(self._content[self._offsets[place] : self._offsets[place + 1]])


class _Numbers:
    """Whole numbers of a column, likewise."""

    __slots__ = ("_column", "_numbers", "_valid")

    def __init__(self, column: pa.Array):
        self._column = column
        self._numbers: memoryview | None = None
        if pa.types.is_integer(column.type):
            self._numbers = memoryview(pc.fill_null(column, 0).to_numpy())
            self._valid = _valid(column)

    def at(self, place: int) -> int | None:
        if self._numbers is None:
            return self._column[place].as_py()  # type: ignore[no-any-return]
        return None if self._valid is not None and not self._valid[place] else self._numbers[place]


def _valid(column: pa.Array) -> bytes | None:
    """For each place 1 unless it is null; None when nothing is."""
    return column.is_valid().to_numpy(zero_copy_only=False).tobytes() if column.null_count else None


class _Dates:
    """`fetched_at` as ISO 8601, whichever type it has. Snapshots hold few distinct dates, and making one takes 3 µs."""

    def __init__(self, columns: list[pa.Array]):
        self._columns = columns
        self._numbers = [
            _Numbers(column.view(pa.int32() if pa.types.is_date32(column.type) else pa.int64()))
            for column in columns
            if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type)
        ]
        self._texts: dict[int, str] = {}

    def of(self, batch: int, place: int) -> str | None:
        if not self._columns:
            return None
        if self._numbers:
            number = self._numbers[batch].at(place)
            if number is None:
                return None
            text = self._texts.get(number)
            if text is not None:
                return text
        value: Any = self._columns[batch][place].as_py()
        if value is None:
            return None
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
        if self._numbers and len(self._texts) < 65536:
            self._texts[number] = text
        return text


def _octets(content: bytes | str | None) -> bytes | None:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content


_PLAIN_KEY = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z][a-z0-9-]*\Z")


def _snapshot_key(host: str | None) -> str:
    """A snapshot's `host` as `host_key` would write it. Ports 80 and 443 count as defaults: no scheme is stored."""
    if host is None:
        return ""
    if _PLAIN_KEY.match(host) and "xn--" not in host:
        return host
    name, port = origin(host if "://" in host else f"https://{host}")
    return host_key(name, None if port == 80 else port)


def _values(column: pa.ChunkedArray) -> Iterable[str | None]:
    for chunk in column.chunks:
        for start in range(0, len(chunk), 65536):
            yield from chunk.slice(start, 65536).to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def open_snapshot(path: str | Path) -> Snapshot:
    """Read a snapshot, once per process and version of the file. Raises `SnapshotError`."""
    Snapshot.check(path)
    found = os.stat(path)
    return _read(str(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: str, size: int, modified: int) -> Snapshot:
    return Snapshot.load(path)

"""Rebuild the sample's two binary files, `robots.parquet` and `crawl.warc`, from the JSON lines beside them.

A snapshot and a WARC are what a real run reads, so the sample has to hold both; but nobody can review a binary file, so
their sources are readable and this script is the only thing that writes them. Nothing in the output depends on clock,
machine or order of a dict: record ids are UUIDv5 of type and URL, dates come from the source. 89 robots.txt entries
make 4 KB of Parquet and 15 records make 15 KB of WARC, in a tenth of a second.

    python -m pipeline.sample.build           writes both files
    python -m pipeline.sample.build --check   exit code 1 and their names when a committed file is not current
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import uuid
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

FOLDER = Path(__file__).resolve().parent
ROBOTS, CRAWL = FOLDER / "robots.parquet", FOLDER / "crawl.warc"

ROBOTS_SCHEMA = pa.schema(
    [
        pa.field("host", pa.string(), nullable=False),
        pa.field("fetched_at", pa.date32()),
        pa.field("status", pa.int16()),
        pa.field("body", pa.binary()),
    ]
)


def robots_parquet() -> bytes:
    """The robots.txt snapshot as Parquet: one row per line of `robots.jsonl`."""
    sink = io.BytesIO()
    pq.write_table(robots_table(), sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def robots_table() -> pa.Table:
    """`robots.jsonl` as a table; a body is text in its `encoding` (UTF-8 unless given), null where there was none."""
    rows = [
        {
            "host": entry["host"],
            "fetched_at": date.fromisoformat(entry["fetched_at"]),
            "status": entry["status"],
            "body": None if entry["body"] is None else entry["body"].encode(entry.get("encoding", "utf-8")),
        }
        for entry in _json_lines("robots.jsonl")
    ]
    return pa.Table.from_pylist(rows, schema=ROBOTS_SCHEMA)


def crawl_warc() -> bytes:
    """The crawl as an uncompressed WARC 1.1: a warcinfo record, then one record per line of `crawl.jsonl`."""
    sink = io.BytesIO()
    writer = WARCWriter(sink, gzip=False, warc_version="WARC/1.1")
    records = _json_lines("crawl.jsonl")
    _write(writer, "warcinfo", None, records[0]["date"], b"description: fairtrove sample crawl of invented hosts\r\n")
    for record in records:
        response = record["type"] == "response"
        protocol = "HTTP/1.1" if response else ""
        pairs = [(name, value) for name, value in record["headers"]]
        headers = StatusAndHeaders(record["status"], pairs, protocol, is_http_request=not response)
        body = record["body"].encode(record["charset"])
        _write(writer, record["type"], record["url"], record["date"], body, headers)
    return sink.getvalue()


def stale() -> list[str]:
    """Names of the built files that differ from what their sources make.

    Another release of pyarrow may encode the same rows in other bytes, so a Parquet file that another release wrote is
    compared by its rows.
    """
    names = []
    if not ROBOTS.is_file() or not _robots_current(ROBOTS):
        names.append(ROBOTS.name)
    if not CRAWL.is_file() or CRAWL.read_bytes() != crawl_warc():
        names.append(CRAWL.name)
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` report the stale ones; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.sample.build", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not current")
    if parser.parse_args(arguments).check:
        names = stale()
        for name in names:
            print(f"{name} is not what its source makes; run python -m pipeline.sample.build", file=sys.stderr)
        return 1 if names else 0
    ROBOTS.write_bytes(robots_parquet())
    CRAWL.write_bytes(crawl_warc())
    return 0


def _robots_current(path: Path) -> bool:
    built = robots_parquet()
    if path.read_bytes() == built:
        return True
    try:
        committed = pq.ParquetFile(path)
        same_writer = committed.metadata.created_by == pq.ParquetFile(io.BytesIO(built)).metadata.created_by
        return not same_writer and committed.read().equals(robots_table())
    except pa.ArrowException:
        return False


def _write(
    writer: WARCWriter,
    kind: str,
    url: str | None,
    when: str,
    payload: bytes,
    http_headers: StatusAndHeaders | None = None,
) -> None:
    identity = {"WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {url}')}>", "WARC-Date": when}
    record = writer.create_warc_record(
        url,
        kind,
        payload=io.BytesIO(payload),
        length=len(payload),
        http_headers=http_headers,
        warc_headers_dict=identity,
        warc_content_type="application/warc-fields" if kind == "warcinfo" else None,
    )
    writer.write_record(record)


def _json_lines(name: str) -> list[dict[str, Any]]:
    with open(FOLDER / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


if __name__ == "__main__":
    sys.exit(main())

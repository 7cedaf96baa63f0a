"""WARC: pages out of crawl archives, their main text by trafilatura, and what their owners said beside it."""

from __future__ import annotations

import codecs
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manifests.schema import Reason
from pipeline.inputs import InputFile, SourceError, expect_damage
from pipeline.recipe import Source
from pipeline.rows import Row


class WarcReader:
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
            expect_damage(error, self._location)
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
    row.extra = {"html": html} | {
        # An address in an X-Robots-Tag field holds to the end of that field, so these stay apart.
        field: values if field == "x_robots_tag" else ", ".join(values)
        for field, values in said.items()
    }
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

"""What consent can be asked again about documents that are already decided: their URLs, without their texts.

A kept document has its URL in its shard, in a column of its own; of an excluded one the record keeps host and path,
which is all that robots.txt, signals of the site and takedown lists speak about. What a page said itself, in headers or
meta elements, is in neither, so an exclusion that rests on it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document

from filters.decision import Decision
from filters.robots import Robots
from manifests.corpus import Corpus
from manifests.schema import restore_host

_BATCH = 4096


def decisions_about(stage: Robots, urls: Sequence[str | None]) -> Iterator[Decision]:
    """The stage's answers for documents of which only the URL is known."""
    for start in range(0, len(urls), _BATCH):
        batch = [Document(text="", id="", metadata={"url": url}) for url in urls[start : start + _BATCH]]
        yield from stage.decide(batch)


def kept_urls(corpus: Corpus, kept: pa.Table, places: np.ndarray) -> list[str | None]:
    """URLs of rows of a `kept` table, from the row groups of the shards that hold them."""
    urls = np.empty(len(places), dtype=object)
    chosen = kept.select(["shard", "shard_row"]).take(pa.array(places))
    shards = chosen.column("shard").combine_chunks().dictionary_encode()
    codes = shards.indices.to_numpy(zero_copy_only=False)
    rows = chosen.column("shard_row").to_numpy()
    for code, name in enumerate(shards.dictionary.to_pylist()):
        within = np.flatnonzero(codes == code)
        with pq.ParquetFile(corpus.path / name) as file:
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(sizes)])
            groups = np.searchsorted(starts, rows[within], side="right") - 1
            for group in np.unique(groups).tolist():
                there = within[groups == group]
                column = file.read_row_group(group, columns=["url"]).column("url")
                urls[there] = column.take(pa.array(rows[there] - starts[group])).to_pylist()
    return urls.tolist()


def authority(rhost: str) -> str:
    """`example.org:8080` from `org.example:8080`, an IPv6 address in brackets."""
    host, port = restore_host(rhost)
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def url_of(rhost: str, path: str | None) -> str:
    """A URL that consent signals answer as they did for the document with this host and path."""
    where = authority(rhost)
    return f"{'http' if where.endswith(':443') else 'https'}://{where}{path or '/'}"  # a default port would be dropped


def said_by_page(piece: Mapping[str, Any] | None) -> bool:
    """Whether an exclusion rests on headers or meta elements of the page: no snapshot has them, so they stand."""
    if piece is None or piece["protocol"] in ("robots.txt", "takedown"):
        return False
    return piece["body_sha256"] is None

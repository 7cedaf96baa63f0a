"""Writing: kept documents into Parquet shards, whole or not at all.

Shards grow under temporary names in the task's staging folder and are digested as they are written; the task renames
them when its ledger has closed. Row groups, rotation and names depend on the documents alone, so that the bytes are the
same on any worker. A shard's name ends with its task's *edition*, a digest of everything that made it: another recipe,
input or snapshot writes other names, so no run can overwrite or leave behind what a published version vouches for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from filters.stage import batches
from manifests.corpus import verify_file
from manifests.files import DigestingFile
from manifests.ledger import Entry
from manifests.schema import FORMAT, SHARD, FairtroveError
from pipeline.intake import SourceDocument
from pipeline.recipe import Output

BUFFER_BYTES = 128_000_000
"""Text held by all partitions together before the fullest is flushed: bounds memory with hundreds of languages."""
ENCODING: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,  # against level 1: 4 CPU ms more per MB of text, 17 % less to store and to move
    "use_dictionary": ["dump", "source", "kind", "language", "language_script", "license"],
    "write_page_index": True,
}
"""How shards are written, for pyarrow; a page is rarely seen twice, so a dictionary of texts would only cost."""
_LABEL = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_COLUMNS = [column.name for column in SHARD]
_METADATA = _COLUMNS[2:]  # after text and id
_BATCH_ROWS = 1000
_BATCH_CHARS = 8_000_000


class Keep(Protocol):
    """Where the writer reports each document (`manifests.ledger.Ledger.keep`)."""

    def __call__(
        self,
        entry: Entry,
        shard: str,
        shard_row: int,
        text_digest: bytes,
        text_bytes: int,
        language: str | None,
        license: str | None,
    ) -> None: ...


@dataclass(slots=True)
class _Partition:
    """The open shard of one partition and the rows not yet in it."""

    number: int = -1
    name: str = ""
    path: Path | None = None
    file: DigestingFile | None = None
    writer: pq.ParquetWriter | None = None
    rows: int = 0
    text_bytes: int = 0
    texts: list[bytes | memoryview] = field(default_factory=list)
    others: list[tuple[Any, ...]] = field(default_factory=list)
    buffered_bytes: int = 0


class ShardWriter(PipelineStep):
    """Last step of a task: writes documents to staging and reports each one's place.

    Args:
        task: name of the task; begins the shard's name.
        edition: digest that ends it.
        staging: the task's folder for temporary files.
        output: how shards are cut.
        keep: receives each document's place in the corpus.

    After `close`, `shards` describes the files and `staged` maps temporary paths to names relative to the corpus.
    """

    name = "Shards"
    type = "💽 - WRITER"

    def __init__(self, task: str, edition: str, staging: Path, output: Output, keep: Keep | None = None):
        super().__init__()
        self.task = task
        self.edition = edition
        self.staging = staging
        self.output = output
        self.keep = keep
        self.cpu_seconds = 0.0
        self.shards: list[dict[str, Any]] = []
        self.staged: dict[Path, str] = {}
        self._partitions: dict[str | None, _Partition] = {}
        self._buffered_bytes = 0

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Write and pass on every document."""
        for batch in batches(data, _BATCH_ROWS, _BATCH_CHARS):
            started = time.process_time()
            for document in batch:
                self._add(document)
            self.cpu_seconds += time.process_time() - started
            yield from batch

    def close(self) -> None:
        """Finish every shard."""
        started = time.process_time()
        for label in sorted(self._partitions, key=str):
            self._flush(label)
            self._finish(label)
        self.shards.sort(key=lambda shard: shard["name"])
        self.cpu_seconds += time.process_time() - started

    def abandon(self) -> None:
        """Close files without finishing them, after a failure: staging is thrown away."""
        for partition in self._partitions.values():
            if partition.file is not None:
                partition.file.close()

    def _add(self, document: Document) -> None:
        metadata = document.metadata
        label = language_label(metadata)
        partition_label = label if self.output.partition == "language" else None
        partition = self._partitions.get(partition_label)
        if partition is None:
            partition = self._partitions[partition_label] = _Partition()
        if partition.file is None:
            self._open(partition, partition_label)
        content = document.encoded() if isinstance(document, SourceDocument) else document.text.encode()
        if self.keep:
            self.keep(
                document.entry,
                partition.name,
                partition.rows + len(partition.texts),
                sha256(content).digest()[:16],
                len(content),
                label,
                metadata.get("license"),
            )
        partition.texts.append(content)
        partition.others.append((document.id, *map(metadata.get, _METADATA)))
        partition.text_bytes += len(content)
        partition.buffered_bytes += len(content)
        self._buffered_bytes += len(content)
        if len(partition.texts) >= self.output.row_group_rows or partition.buffered_bytes >= BUFFER_BYTES // 2:
            self._flush(partition_label)
            if partition.file is not None and partition.file.bytes >= self.output.shard_bytes:
                self._finish(partition_label)
        elif self._buffered_bytes >= BUFFER_BYTES:
            self._flush(max(self._partitions, key=lambda other: self._partitions[other].buffered_bytes))

    def _open(self, partition: _Partition, label: str | None) -> None:
        partition.number += 1
        folder = f"shards/{label}" if label else "shards"
        partition.name = f"{folder}/{self.task}.{self.edition}-{partition.number:05d}.parquet"
        partition.path = self.staging / f"{label or 'all'}-{partition.number:05d}.parquet"
        partition.file = DigestingFile(partition.path)
        partition.writer = _parquet_writer(partition.file, self.task)
        partition.rows = partition.text_bytes = 0

    def _flush(self, label: str | None) -> None:
        partition = self._partitions[label]
        rows = len(partition.texts)
        if not rows or partition.writer is None:
            return
        arrays = [_strings(partition.texts)]
        columns = zip(*partition.others, strict=True)
        arrays += [pa.array(values, column.type) for values, column in zip(columns, list(SHARD)[1:], strict=True)]
        partition.writer.write_table(pa.Table.from_arrays(arrays, schema=partition.writer.schema), row_group_size=rows)
        partition.rows += rows
        self._buffered_bytes -= partition.buffered_bytes
        partition.buffered_bytes = 0
        partition.texts.clear()
        partition.others.clear()

    def _finish(self, label: str | None) -> None:
        partition = self._partitions[label]
        if partition.file is None or partition.writer is None or partition.path is None:
            return
        partition.writer.close()
        partition.file.close()
        self.staged[partition.path] = partition.name
        self.shards.append(
            {
                "name": partition.name,
                "sha256": partition.file.sha256,
                "bytes": partition.file.bytes,
                "rows": partition.rows,
                "text_bytes": partition.text_bytes,
                "language": label,
            }
        )
        partition.file = partition.writer = partition.path = None


def _strings(texts: Sequence[bytes | memoryview]) -> pa.Array:
    """A column of strings out of their UTF-8 bytes, copied once.

    Raises:
        FairtroveError: together they are more than a Parquet page can hold.
    """
    ends = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=ends[1:])
    if ends[-1] > _MOST_IN_COLUMN:
        raise FairtroveError(f"{ends[-1]:,} bytes of text in one row group; lower source.<name>.max_document_bytes")
    data = pa.py_buffer(b"".join(texts))
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends.astype(np.int32)), data])


_MOST_IN_COLUMN = 2**31 - 1


def rewrite_shard(
    shard: Mapping[str, Any], corpus: Path, task: str, removed: Mapping[int, int], staging: Path
) -> tuple[dict[str, Any], Path] | None:
    """Write a published shard again without some of its rows, the others in their order and row groups.

    Args:
        shard: its description in the manifest.
        removed: row of the shard → bytes of its text.
        staging: folder for the temporary file.

    Returns:
        Description and temporary path of the new shard, whose name tells what it came from; None when no row is left.

    Raises:
        CorpusError: the shard is not the one that the manifest vouches for: it is not passed on under a new digest.
    """
    source = corpus / shard["name"]
    verify_file(source, shard["sha256"])
    if len(removed) == shard["rows"]:
        return None
    gone = np.array(sorted(removed), dtype=np.int64)
    edition = sha256(b"retract\0%b\0%b" % (shard["sha256"].encode(), gone.tobytes())).hexdigest()[:10]
    folder, _, name = shard["name"].rpartition("/")
    number = name.rpartition("-")[2]
    path = staging / f"{edition}-{number}"
    target = DigestingFile(path)
    with pq.ParquetFile(source) as old, _parquet_writer(target, task) as writer:
        start = 0
        for group in range(old.num_row_groups):
            rows = old.metadata.row_group(group).num_rows
            within = gone[(gone >= start) & (gone < start + rows)] - start
            start += rows
            if len(within) < rows:
                stays = np.ones(rows, dtype=bool)
                stays[within] = False
                table = old.read_row_group(group, columns=_COLUMNS).cast(writer.schema)
                writer.write_table(table.filter(pa.array(stays)) if len(within) else table, row_group_size=rows)
    target.close()
    return {
        **shard,
        "name": f"{folder}/{task}.{edition}-{number}",
        "sha256": target.sha256,
        "bytes": target.bytes,
        "rows": shard["rows"] - len(removed),
        "text_bytes": shard["text_bytes"] - sum(removed.values()),
    }, path


def _parquet_writer(file: DigestingFile, task: str) -> pq.ParquetWriter:
    schema = SHARD.with_metadata({"fairtrove.format": str(FORMAT), "fairtrove.task": task})
    return pq.ParquetWriter(file, schema, **ENCODING)


def language_label(metadata: dict[str, Any]) -> str:
    """`deu_Latn` from FineWeb-2's two columns; `und_Zzzz` for what is no label, since labels name folders."""
    return _label(metadata.get("language"), metadata.get("language_script"))


@lru_cache(maxsize=4096)
def _label(language: Any, script: Any) -> str:
    label = f"{language}_{script}" if script else str(language)
    return label if _LABEL.fullmatch(label) else "und_Zzzz"

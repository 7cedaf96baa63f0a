"""Publishing files: write under a temporary name, digest, fsync, rename. A reader sees a whole file or none."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class DigestingFile:
    """A binary file, written once from start to end, that knows the digest of what went through it."""

    def __init__(self, path: Path):
        self.path = path
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - lives as long as the object
        self._digest = sha256()
        self.bytes = 0
        self.closed = False

    def write(self, block: bytes | memoryview) -> int:
        self._digest.update(block)
        self.bytes += len(block)
        return self._file.write(block)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._file.flush()

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Flush to the disk itself, then close: a rename after this is durable in content."""
        if not self.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.closed = True

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def write_table(table: pa.Table, path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Write a manifest table to `path` (a temporary name: the caller renames) and describe the file.

    Small row groups (20,000 rows) keep the statistics of sorted columns sharp, which is what a host query prunes by.
    """
    file = DigestingFile(path)
    schema = table.schema.with_metadata(metadata)
    with pq.ParquetWriter(file, schema, compression="zstd", compression_level=9, write_page_index=True) as writer:
        writer.write_table(table.cast(schema), row_group_size=20_000)
    file.close()
    return {"sha256": file.sha256, "bytes": file.bytes, "rows": len(table)}


def write_json(value: Any, path: Path) -> str:
    """Atomically write canonical JSON (sorted keys, no floats by convention); returns its SHA-256."""
    content = (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)
    return sha256(content).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

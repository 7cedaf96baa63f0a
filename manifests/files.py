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

    Half of a table's bytes are digests, which nothing compresses, so the rest is encoded for what it is: numbers as
    differences, sorted host names by the prefix they share with the one before, words of closed sets as dictionaries.
    Statistics are kept of host names alone, by which host queries prune; small row groups (20,000 rows) keep them
    sharp.
    Every encoding is one that duckdb reads since 1.1. On the development corpus a kept row takes 45.0 bytes in
    place of 54.9 (32 of them are its key and the digest of its text), a decision 55.5 in place of 65.1, a piece of
    evidence 45.0 in place of 62.2.
    """
    file = DigestingFile(path)
    schema = table.schema.remove_metadata()
    words = [field.name for field in schema if _is_words(field)]
    encodings = {field.name: encoding for field in schema if (encoding := _encoding(field))}
    with pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=words,
        column_encoding=encodings,
        write_statistics=[field.name for field in schema if field.name == "rhost"],
        store_schema=False,
    ) as writer:
        writer.write_table(table.cast(schema), row_group_size=20_000)
        writer.add_key_value_metadata(metadata)  # without Arrow's own schema beside it, a kilobyte per file
    file.close()
    return {"sha256": file.sha256, "bytes": file.bytes, "rows": len(table)}


_ZSTD_LEVEL = 9
_PREFIXED = frozenset({"rhost"})
_PLAIN = frozenset({"path", "host", "text"})


def _is_words(field: pa.Field) -> bool:
    """Text of few different values; nested columns too."""
    return field.name not in _PREFIXED | _PLAIN and not (
        pa.types.is_integer(field.type) or pa.types.is_fixed_size_binary(field.type)
    )


def _encoding(field: pa.Field) -> str | None:
    if field.name in _PREFIXED:
        return "DELTA_BYTE_ARRAY"
    return "DELTA_BINARY_PACKED" if pa.types.is_integer(field.type) else None


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

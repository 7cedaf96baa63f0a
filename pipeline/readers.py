"""Readers: which one reads a file, and how many rows a file has.

A reader says how many rows its file has from the file itself (Parquet footer, line ends of the JSONL stream, records of
the WARC), apart from the rows that it hands out, so that the ledger catches a reader that drops some. A row that cannot
become a document is an exclusion with a reason, never a warning: whatever one row holds costs that row alone. A file
that cannot be read as a whole (no footer, a stream cut off) fails its own task with the file named, and so does a fault
of the machine (memory, disk), which is nothing that a row's bytes say.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs import SUFFIXES, InputFile, SourceError, expect_damage, first_line
from pipeline.read_jsonl import JsonlReader, LineCount, decompressed
from pipeline.read_parquet import ParquetReader
from pipeline.read_warc import WarcReader
from pipeline.recipe import RecipeError, Source
from pipeline.rows import Reader


def reader_of(file: InputFile, source: Source) -> str:
    """`parquet`, `jsonl` or `warc`: as the recipe says, else by the file's ending.

    Raises:
        RecipeError: neither tells.
    """
    if source.reader:
        return source.reader
    for reader, suffixes in SUFFIXES.items():
        if file.name.endswith(suffixes):
            return reader
    raise RecipeError(f"source.{file.source}.reader: cannot tell from {file.name}; set parquet, jsonl or warc")


READERS: Mapping[str, Callable[[Path, InputFile, Source, int | None], Reader]] = {
    "parquet": ParquetReader,
    "jsonl": JsonlReader,
    "warc": WarcReader,
}


def count_rows(file: InputFile, source: Source) -> int:
    """Rows of a local file, without making any: for a plan, and so a WARC's records by their header lines.

    Raises:
        SourceError: the file cannot be read to its end.
    """
    reader = reader_of(file, source)
    try:
        if reader == "parquet":
            return pq.read_metadata(file.location).num_rows
        with LineCount(decompressed(Path(file.location), file.location)) as count:
            stream = io.BufferedReader(count, 1 << 20)
            if reader == "warc":
                return sum(_PAGE_HEADER.match(line) is not None for line in stream)
            while stream.read(1 << 20):
                pass
            return count.lines
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        expect_damage(error, file.location)
        raise SourceError(f"{file.location}: cannot be read to its end ({first_line(error)})") from error


_PAGE_HEADER = re.compile(rb"WARC-Type:[ \t]*(?:response|conversion|resource)[ \t]*\r?\n", re.IGNORECASE)

"""The limit of the pass: pyarrow alone reads the rows in batches of 1,000 and writes them again, nothing between.

Prints JSON: `read_seconds`, `write_seconds` of CPU over all threads, `text_bytes` (UTF-8) and `documents` of the input.
The Parquet is encoded as ours is (`pipeline.shards.ENCODING`: zstd at level 3, no dictionary on text, page indexes),
for most of writing is compression: at pyarrow's own level 1 it takes half the time, and the files are a fifth larger.
One thread reads, as in ours: more of them take up to four times the CPU seconds for the same rows.

    python -m tests.bench.arrow_limit PAGES OUT.parquet
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.shards import ENCODING


def main(arguments: Sequence[str]) -> None:
    """Command line: the folder of Parquet files, and the file to write."""
    print(json.dumps(read_and_write(Path(arguments[0]), Path(arguments[1]))))


def read_and_write(pages: Path, out: Path) -> dict[str, float]:
    """Copy all rows of all files in the folder into one file."""
    files = sorted(pages.glob("*.parquet"))
    schema = pq.read_schema(files[0])
    read = write = 0.0
    text_bytes = documents = 0
    with pq.ParquetWriter(out, schema, **ENCODING) as writer:
        for file in files:
            started = time.process_time()
            batches = list(pq.ParquetFile(file).iter_batches(batch_size=1000, use_threads=False))
            finished = time.process_time()
            writer.write_table(pa.Table.from_batches(batches))
            write += time.process_time() - finished
            read += finished - started
            documents += sum(len(batch) for batch in batches)
            text_bytes += sum(pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0 for batch in batches)
    return {"read_seconds": read, "write_seconds": write, "text_bytes": text_bytes, "documents": documents}


if __name__ == "__main__":
    main(sys.argv[1:])

"""Sizes that a cluster meets: peak memory of a worker, planning of a million files, two workers against one.

    python -m tests.bench.bench_scale [--quick]

The bars, checked at the end, exit status 1 if one is missed:
- memory: a task over a file of 2 GB of text, one document of which has 200 MB, in at most 2 GB of resident memory
- planning: 1,000,000 input files listed, named and checked in 60 CPU s and 1 GB
Two workers are compared with one by wall clock, which says something on an idle machine only: a figure, no bar.

`--quick` takes a tenth of each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs import InputFile, list_files
from pipeline.recipe import Source
from tests.bench.inputs import REPOSITORY
from tests.bench.resources import usage

MEMORY_MB, PLAN_SECONDS, PLAN_MB = 2000.0, 60.0, 1000.0
WORDS = "the ferry leaves from the upper steps at six and again at seven in the evening, when the harbour is quiet. "
RECIPE = """
name = "scale"
[source.web]
path = "pages"
kind = "web"
[policy.web]
language = {}
pii = {}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 if every bar is met, 1 if one is missed."""
    if arguments is None and sys.argv[1:2] == ["--list"]:
        print(plan(Path(sys.argv[2])))
        return 0
    parser = argparse.ArgumentParser(description="Peak memory, planning, two workers.")
    parser.add_argument("--quick", action="store_true", help="a tenth of each size")
    scale = 10 if parser.parse_args(arguments).quick else 1
    with tempfile.TemporaryDirectory(prefix="fairtrove-scale-") as scratch:
        folder = Path(scratch)
        checked = [_memory(folder, scale), _planning(folder, scale)]
        _workers(folder, scale)
    for line, met in checked:
        print(f"{line} {'PASS' if met else 'FAIL'}")
    return 0 if all(met for _, met in checked) else 1


def _memory(folder: Path, scale: int) -> tuple[str, bool]:
    recipe = folder / "memory" / "recipe.toml"
    large = recipe.parent / "pages" / "large.parquet"
    large.parent.mkdir(parents=True)
    _write(large, 2_000_000_000 // scale, 200_000_000 // scale)
    recipe.write_text(RECIPE)
    taken = usage(_curate(recipe, folder / "memory-out", 1), REPOSITORY)
    assert taken.status == 0, taken.output[-2000:]
    line = f"bar memory: {taken.peak_rss_mb:,.0f} MB resident at most, {taken.cpu_seconds:,.0f} CPU s"
    return f"{line} (bar {MEMORY_MB:,.0f} MB)", taken.peak_rss_mb <= MEMORY_MB


def _planning(folder: Path, scale: int) -> tuple[str, bool]:
    files = 1_000_000 // scale
    pages = folder / "many"
    for number in range(0, files, 1000):
        part = pages / f"{number // 1000:04d}"
        part.mkdir(parents=True)
        for inner in range(min(1000, files - number)):
            os.mknod(part / f"{inner:03d}.parquet")
    taken = usage([sys.executable, "-m", "tests.bench.bench_scale", "--list", str(pages)], REPOSITORY)
    assert taken.output.strip().splitlines()[-1] == str(files), taken.output[-2000:]
    line = f"bar planning: {files:,} files in {taken.cpu_seconds:.1f} CPU s and {taken.peak_rss_mb:,.0f} MB"
    met = taken.cpu_seconds <= PLAN_SECONDS and taken.peak_rss_mb <= PLAN_MB
    return f"{line} (bar {PLAN_SECONDS:.0f} s, {PLAN_MB:,.0f} MB)", met


def plan(pages: Path) -> int:
    """Number of tasks that the files of a folder make."""
    listed: list[InputFile] = list_files("web", Source.model_validate({"path": str(pages), "kind": "web"}))
    return len({file.task for file in listed})


def _workers(folder: Path, scale: int) -> None:
    recipe = folder / "workers" / "recipe.toml"
    for number in range(4):
        path = recipe.parent / "pages" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, 60_000_000 // scale, 0)
    recipe.write_text(RECIPE)
    seconds = []
    for workers in (1, 2):
        started = time.monotonic()
        taken = usage(_curate(recipe, folder / f"workers-out{workers}", workers), REPOSITORY)
        assert taken.status == 0, taken.output[-2000:]
        seconds.append(time.monotonic() - started)
    print(
        f"workers: 2 are {seconds[0] / seconds[1]:.2f}x as fast as 1 by wall clock, start-up included, on "
        f"{os.cpu_count()} cores at load {os.getloadavg()[0]:.1f} (wanted on an idle machine: 1.9x)"
    )


def _curate(recipe: Path, out: Path, workers: int) -> list[str]:
    words = ["-m", "pipeline.cli", "curate", str(recipe), "--out", str(out), "--workers", str(workers)]
    return [sys.executable, *words]


def _write(path: Path, size: int, largest: int) -> None:
    """A Parquet file with that much text, in documents of 3 kB and one that is `largest`; written in parts."""
    text = WORDS * 28
    schema = pa.schema([("text", pa.string()), ("id", pa.string()), ("url", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        rows = size // len(text)
        for start in range(0, rows, 10_000):
            numbers = range(start, min(start + 10_000, rows))
            texts = [f"Page {number}. {text}" for number in numbers]
            if largest and start == 0:
                texts[5000 % len(texts)] = "x " * (largest // 2)
            urls = [f"https://h{number % 997}.example/{number}" for number in numbers]
            columns = [texts, [str(number) for number in numbers], urls]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


if __name__ == "__main__":
    sys.exit(main())

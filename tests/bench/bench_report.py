"""What the report, a full audit and the manifest of a corpus cost, against limits: 5 CPU seconds and 2 MB for the page,
30 bytes per document for the manifest.

    python -m tests.bench.bench_report CORPUS     # a curated corpus, such as that of the development pages

Reported of the manifest are bytes per row of each table, and per document of everything under its folder: which part
of it is what.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pyarrow.parquet as pq

from manifests.corpus import Corpus, open_corpus
from tests.bench.resources import usage

PAGE_SECONDS, PAGE_BYTES = 5.0, 2_000_000
BYTES_PER_DOCUMENT = 30.0
LIMITS = {"kept": 25.0, "decisions": 45.0}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the report and the manifest of a corpus.")
    parser.add_argument("corpus", type=Path)
    corpus = open_corpus(parser.parse_args().corpus)
    missed = _page(corpus)
    _audit(corpus)
    return int(_manifest(corpus) or missed)


def _page(corpus: Corpus) -> bool:
    command = [sys.executable, "-m", "pipeline.cli", "report", str(corpus.path)]
    found = usage(command, Path(__file__).parents[2])
    assert found.status == 0, found.output
    size = (corpus.path / "report" / "index.html").stat().st_size
    print(f"report: {found.cpu_seconds:.2f} CPU s, limit / found {PAGE_SECONDS / found.cpu_seconds:.1f}x; ", end="")
    print(f"{size:,} bytes, limit / found {PAGE_BYTES / size:.1f}x")
    return found.cpu_seconds > PAGE_SECONDS or size > PAGE_BYTES


def _audit(corpus: Corpus) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "audit", str(corpus.path)]
    for what, more in (("without a sample", ["--sample", "0"]), ("with one of 15,000", [])):
        found = usage([*command, *more], Path(__file__).parents[2])
        assert found.status == 0, found.output
        print(f"audit {what}: {found.cpu_seconds:.1f} CPU s, peak {found.peak_rss_mb:.0f} MB")


def _manifest(corpus: Corpus) -> bool:
    rows = corpus.run["totals"]["rows"]
    total = 0
    for name in ("kept", "decisions", "evidence"):
        paths = [Path(path) for path in corpus.tables(name)]
        size = sum(path.stat().st_size for path in paths)
        number = sum(pq.read_metadata(path).num_rows for path in paths)
        total += size
        limit = f", limit {LIMITS[name]:g}" if name in LIMITS else ""
        print(f"{name}: {number:,} rows, {size / max(number, 1):.1f} bytes each{limit}")
    rollups = sum(path.stat().st_size for path in corpus.manifest.glob("*.parquet"))
    records = sum(path.stat().st_size for path in corpus.manifest.rglob("*.json"))
    print(f"rollups {rollups / rows:.1f}, records (JSON) {records / rows:.1f} bytes per document")
    print(
        f"tables and rollups: {(total + rollups) / rows:.1f} bytes per document, limit / found "
        f"{BYTES_PER_DOCUMENT * rows / (total + rollups):.2f}x"
    )
    return total + rollups > BYTES_PER_DOCUMENT * rows


if __name__ == "__main__":
    sys.exit(main())

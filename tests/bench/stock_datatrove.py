"""For reference: the nearest that datatrove offers out of the box, each step as it comes.

ParquetReader, URLFilter without its adult-site lists (they have nothing to do with consent; 27 instead of 8 ms/MB with
them), LanguageFilter, PIIFormatter (e-mail and IP addresses), ParquetWriter. No robots.txt, no licence, no toxicity, no
record of what was removed: datatrove has none of these. It is not a bar; it shows what the engine alone costs.

    python -m tests.bench.stock_datatrove --input PAGES --out DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters import URLFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from tldextract import TLDExtract

from tests.bench.apertus_baseline import LocalLanguageFilter, drain
from tests.bench.inputs import language_model


def main() -> None:
    """Command line: run the steps over a folder of Parquet files and print CPU seconds per step as JSON."""
    parser = argparse.ArgumentParser(description="Stock datatrove: URL filter, language, PII.")
    parser.add_argument("--input", type=Path, required=True, help="folder of Parquet files with text, id and url")
    parser.add_argument("--out", type=Path, required=True, help="empty folder for the documents that stay")
    parser.add_argument("--lid", type=Path, help="fastText language model (default: lid.176.ftz where it is installed)")
    parser.add_argument("--costs", type=Path, help="write the costs here, as bench_pass wants them")
    arguments = parser.parse_args()
    steps = pipeline(arguments.input, arguments.out, arguments.lid or language_model())
    seconds, clock = drain(steps)
    if arguments.costs:
        outer = {name: seconds.pop(name) for name in ("read", "write")}
        arguments.costs.write_text(json.dumps({**outer, "stages": seconds, "clock": clock, "documents": 0}))
    else:
        print(json.dumps(seconds, indent=1))


def pipeline(pages: Path, out: Path, lid: Path) -> dict[str, PipelineStep]:
    """The steps by name, in order. Raises ImportError, with what to install, where the `bench` extra is missing."""
    urls = URLFilter(use_integrated_lists=False)
    urls.tldextractor = TLDExtract(suffix_list_urls=())  # its default asks the network for the list of suffixes
    return {
        "read": ParquetReader(str(pages), glob_pattern="*.parquet"),
        "url": urls,
        "language": LocalLanguageFilter(lid),
        "pii": PIIFormatter(),
        "write": ParquetWriter(str(out), compression="zstd"),
    }


if __name__ == "__main__":
    main()

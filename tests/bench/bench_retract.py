"""What a retraction costs, against curating everything again under the newer snapshot: CPU seconds, in one run.

    python -m tests.bench.bench_retract [--hosts 100000 --documents 120000 --files 20] [--again]

A generated corpus of short texts (about 600 characters; longer ones only raise the cost of the re-run) on 100,000
hosts, each with a robots.txt of its own, is curated by the shipped `corpus` recipe. Then three newer snapshots:

- `1 host`: one site bars an agent, all others say what they said on the same day;
- `1,000 hosts`: a thousand do, spread over all input files;
- `refetched`, with `--again`: the same thousand, and every site was asked again, so that all evidence has another date.

Each program runs in its own process, imports and reading of snapshots included. A full re-run costs the same under
each snapshot, the first included, so the first curation is what a retraction is compared with (100 CPU s in all).
`--again` also curates everything under the last snapshot and compares the roots, which the tests do at a small scale:
exit status 1 if they differ.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from manifests.corpus import open_corpus
from tests.bench.generated_corpus import generated_sentences
from tests.bench.inputs import REPOSITORY
from tests.bench.resources import Usage, usage

BARRING = b"User-agent: GPTBot\nDisallow: /\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of a retraction against a full re-run.")
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--documents", type=int, default=120_000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--again", action="store_true", help="also refetch every site, re-run in full, compare roots")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return _bench(Path(scratch), options)


def _bench(folder: Path, options: argparse.Namespace) -> int:
    console = Console()
    write_pages(folder / "pages", options.hosts, options.documents, options.files)
    changes = {"1 host": (1, False), "1,000 hosts": (min(1000, options.hosts // 2), False)}
    if options.again:
        changes["refetched"] = (changes["1,000 hosts"][0], True)
    write_snapshot(folder / "robots.parquet", options.hosts, 0, "2026-01-01")
    first = _curate(folder, folder / "robots.parquet", "out")
    totals = open_corpus(folder / "out").run["totals"]
    console.print(
        f"{totals['rows']:,} documents, {totals['text_bytes_read'] / 1e6:.1f} MB of text, {options.hosts:,} hosts, "
        f"{options.files} input files; curated in {first.cpu_seconds:.1f} CPU s"
    )
    taken: dict[str, tuple[Usage, int]] = {}
    for name, (barring, refetched) in changes.items():
        write_snapshot(folder / "newer.parquet", options.hosts, barring, "2026-02-01" if refetched else "2026-01-01")
        shutil.rmtree(folder / "copy", ignore_errors=True)
        shutil.copytree(folder / "out", folder / "copy")
        ours = _fairtrove(folder, "retract", "copy", "--robots", "newer.parquet")
        taken[name] = ours, open_corpus(folder / "copy").run["retraction"]["documents"]
        console.print(f"{name}: {ours.cpu_seconds:.1f} CPU s, {taken[name][1]:,} documents withdrawn")
    full = _curate(folder, folder / "newer.parquet", "again") if options.again else first
    table = Table(title="CPU seconds", title_justify="left")
    for heading in ("newer snapshot", "withdrawn", "retract", "full re-run", "ratio"):
        table.add_column(heading, justify="left" if heading == "newer snapshot" else "right", no_wrap=True)
    for name, (ours, withdrawn) in taken.items():
        ratio = full.cpu_seconds / ours.cpu_seconds
        table.add_row(name, f"{withdrawn:,}", f"{ours.cpu_seconds:.1f}", f"{full.cpu_seconds:.1f}", f"{ratio:.1f}x")
    console.print(table)
    if not options.again:
        return 0
    same = open_corpus(folder / "again").root == open_corpus(folder / "copy").root
    console.print(
        f"The roots after `refetched` and after the full re-run are {'the same' if same else 'NOT THE SAME'}."
    )
    return 0 if same else 1


def write_pages(folder: Path, hosts: int, documents: int, files: int) -> None:
    """Short pages; every host has one, some have more."""
    rng = random.Random(0)
    sentences = [sentence for _, sentence in generated_sentences(4000)]
    folder.mkdir(parents=True)
    order = [number % hosts for number in range(documents)]
    rng.shuffle(order)
    for file in range(files):
        rows = [
            {
                "text": " ".join(rng.choices(sentences, k=8)),
                "id": f"<urn:uuid:{number:08x}-0000-4000-8000-000000000000>",
                "url": f"https://{host_name(order[number])}/{rng.choice(('news', 'private', 'blog'))}/{number}",
                "dump": "CC-MAIN-2024-10",
                "date": "2024-03-01T00:00:00Z",
            }
            for number in range(file, documents, files)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{file:03d}.parquet", compression="zstd")


def write_snapshot(path: Path, hosts: int, barring: int, date: str) -> None:
    """A robots.txt per host, no two alike; the first `barring` hosts, spread over the names, bar an agent."""
    bodies = []
    for host in range(hosts):
        kind = (
            b"User-agent: *\nDisallow:\n",
            b"User-agent: *\nDisallow: /private/\nCrawl-delay: 5\n",
            b"User-agent: Googlebot\nDisallow: /search\n\nUser-agent: *\nDisallow: /search\n",
        )[host % 3]
        kind = BARRING if host % (hosts // barring if barring else hosts + 1) == 0 and barring else kind
        bodies.append(kind + b"Sitemap: https://%b/sitemap.xml\n" % host_name(host).encode())
    columns = {
        "host": [host_name(host) for host in range(hosts)],
        "status": pa.array([200] * hosts, pa.int16()),
        "body": pa.array(bodies, pa.binary()),
        "fetched_at": [date] * hosts,
    }
    pq.write_table(pa.table(columns), path)


def host_name(host: int) -> str:
    return f"site{host}.example"


def _curate(folder: Path, snapshot: Path, out: str) -> Usage:
    return _fairtrove(
        folder,
        *("curate", "corpus", "--out", out, "--workers", "1"),
        *("--set", f"source.web.path={folder}/pages"),
        *("--set", f"policy.web.robots.snapshot={snapshot}"),
        *("--set", "policy.web.language.undetermined=keep", "--set", "policy.web.language.thresholds={default=0.0}"),
    )


def _fairtrove(folder: Path, *arguments: str) -> Usage:
    bootstrap = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from pipeline.cli import main; main()"
    taken = usage([sys.executable, "-c", bootstrap, *arguments], folder)
    if taken.status:
        raise RuntimeError(f"fairtrove {' '.join(arguments)} ended with {taken.status}:\n{taken.output}")
    return taken


if __name__ == "__main__":
    sys.exit(main())

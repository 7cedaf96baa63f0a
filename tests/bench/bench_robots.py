"""robots.txt for a million URLs: CPU seconds of our stage against protego called per document and agent, in one run.

    python -m tests.bench.bench_robots [--urls 1000000 --hosts 100000 --sample 5000]

Hosts get real files (the development snapshot; generated ones for want of it), as alike as real hosts' files are: of
100 hosts 57 have a file that no other has, and of 100 such files 55 have rules that no other has (both counted on the
development files). So a host's file is another host's, or a real file with a comment of its own, or with a rule of its
own too. URLs are ordinary page addresses, some made from the rules of their host's file. They come as a crawl has them,
hosts of Zipf's popularity in random order, 15 agents, the published list.

- ours: `filters.robots.Robots` over documents in batches of 1,000, the snapshot in memory, everything else included:
  origin of each URL, look-up, reading, compiling, matching, evidence of each exclusion.
- protego: a parser per host, kept for all its documents (kinder than the published pipeline, whose cache of 8,192 reads
  files again and again), and `can_fetch` for each document and agent. It is measured on the documents of a random
  sample of hosts and scaled by documents and hosts; its origins and look-ups are left out.

The bar: at least 12 times fewer CPU seconds. Exit status 1 if it is missed, or if the verdicts differ on more of the
sample's documents than the departures of protego account for (see `filters.robots_txt`).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import protego
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from rich.console import Console

from filters.robots import Robots, agent_list
from tests.bench.inputs import shared_folder

BAR = 12.0
DISTINCT = 0.57  # 13,388 distinct files of 23,619 hosts, 2024-05
DISTINCT_RULES = 0.55  # 5,909 distinct lists of lines that count in 10,923 distinct files
BATCH = 1000
DIFFERING = 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description="robots.txt: our stage against protego.")
    parser.add_argument("--urls", type=int, default=1_000_000)
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=5000, help="hosts on which protego is measured")
    options = parser.parse_args()
    console = Console()
    rng = random.Random(9309)
    files, source = real_files()
    bodies = host_files(files, options.hosts, rng)
    owners = (np.random.default_rng(9309).zipf(1.1, 4 * options.urls) - 1).tolist()
    owners = [owner for owner in owners if owner < options.hosts][: options.urls - options.hosts]
    owners += range(options.hosts)
    rng.shuffle(owners)
    urls = [url_of(owner, bodies[owner], rng) for owner in owners]
    mean = sum(map(len, bodies)) / len(bodies)
    console.print(
        f"{len(urls):,} URLs on {options.hosts:,} hosts, {len(set(bodies)):,} distinct files of {mean:,.0f} bytes on "
        f"average ({source}), {len(agent_list('paper'))} agents"
    )
    with tempfile.TemporaryDirectory() as scratch:
        snapshot = Path(scratch) / "robots.parquet"
        write_snapshot(snapshot, bodies)
        stage = Robots(snapshot, unknown="keep", signals=[])
        stage.pins()  # reads the snapshot
        ours, excluded = run_ours(stage, urls)
    chosen = set(rng.sample(range(options.hosts), min(options.sample, options.hosts)))
    theirs, checks, differing = run_protego(chosen, owners, urls, bodies, excluded)
    scaled = theirs[0] * options.hosts / len(chosen) + theirs[1] * len(urls) / checks
    console.print(
        f"ours: {ours:.1f} CPU s, {len(urls) / ours:,.0f} URLs/s, {sum(excluded):,} excluded\n"
        f"protego: measured {theirs[0]:.1f} s for {len(chosen):,} files and {theirs[1]:.1f} s for {checks:,} "
        f"documents, scaled linearly to {scaled:.1f} CPU s; verdicts on these documents differ in {differing:,}"
    )
    ratio = scaled / ours
    console.print(f"ratio {ratio:.1f}x of at least {BAR:.0f}x: {'met' if ratio >= BAR else 'MISSED'}")
    return 0 if ratio >= BAR and differing <= DIFFERING * checks else 1


def real_files() -> tuple[list[bytes], str]:
    """Files to start from, each once."""
    path = shared_folder() / "robots" / "robots.parquet"
    if not path.exists():
        kinds = [b"User-agent: *\nDisallow: /p%d/\nAllow: /p%d/x\nDisallow: /*?s=%d\n" % (n, n, n) for n in range(3000)]
        return kinds, "generated"
    table = pq.read_table(path, columns=["status", "body"])
    bodies = {
        body
        for status, body in zip(table["status"].to_pylist(), table["body"].to_pylist(), strict=True)
        if body and status in (None, 200) and b"user-agent" in body.lower()
    }
    return sorted(bodies), "real ones, varied"


def host_files(files: list[bytes], hosts: int, rng: random.Random) -> list[bytes]:
    """A file per host, `DISTINCT` of them distinct."""
    made: list[bytes] = []
    for number in range(hosts):
        if made and rng.random() > DISTINCT:
            made.append(rng.choice(made))
            continue
        body = rng.choice(files)
        rule = b"Disallow: /own-%d/\n" % number if rng.random() < DISTINCT_RULES else b""
        made.append(b"%b\n%b# site %d\n" % (body.rstrip(), rule, number))
    return made


def url_of(owner: int, body: bytes, rng: random.Random) -> str:
    """An address on a host; one in ten goes where a rule points."""
    path = f"/{rng.choice(('blog', 'news', 'product', 'en', 'wiki'))}/{rng.randrange(10**6)}-{'some-words-of-a-title'}"
    if rng.random() < 0.1:
        line = rng.choice(body[:4096].split(b"\n"))
        value = line.partition(b":")[2].strip().decode("ascii", "ignore")
        if value.startswith("/"):
            path = value.replace("*", "x").replace("$", "").split("#")[0] + str(rng.randrange(100))
    if rng.random() < 0.1:
        path += f"?id={rng.randrange(1000)}"
    return f"https://www.site{owner}.example{path.replace(' ', '%20')}"


def write_snapshot(path: Path, bodies: list[bytes]) -> None:
    """One row per host."""
    hosts = [f"www.site{number}.example" for number in range(len(bodies))]
    columns = {
        "host": hosts,
        "status": pa.array([200] * len(bodies), pa.int16()),
        "body": pa.array(bodies, pa.binary()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=10_000)


def run_ours(stage: Robots, urls: list[str]) -> tuple[float, list[bool]]:
    """CPU seconds, and whether each URL is excluded."""
    seconds = 0.0
    excluded: list[bool] = []
    for start in range(0, len(urls), BATCH):
        batch = [Document(text="", id="", metadata={"url": url}) for url in urls[start : start + BATCH]]
        started = time.process_time()
        decisions = stage.decide(batch)
        seconds += time.process_time() - started
        excluded += [not decision.kept for decision in decisions]
    return seconds, excluded


def run_protego(
    chosen: set[int], owners: list[int], urls: list[str], bodies: list[bytes], excluded: list[bool]
) -> tuple[tuple[float, float], int, int]:
    """CPU seconds of reading files and of all checks, documents checked, and those with another verdict than ours."""
    agents = agent_list("paper")
    texts = {owner: bodies[owner].decode("utf-8", "replace") for owner in chosen}
    started = time.process_time()
    parsers = {owner: protego.Protego.parse(text) for owner, text in texts.items()}
    reading = time.process_time() - started
    # Popular hosts would make the sample's documents those of a few files, so that each host gives at most 50.
    taken: dict[int, int] = {}
    places = []
    for place, owner in enumerate(owners):
        if owner in chosen and taken.setdefault(owner, 0) < 50:
            taken[owner] += 1
            places.append(place)
    differing = 0
    started = time.process_time()
    verdicts = [[parsers[owners[place]].can_fetch(urls[place], agent) for agent in agents] for place in places]
    checking = time.process_time() - started
    for place, allowed in zip(places, verdicts, strict=True):
        differing += all(allowed) is excluded[place]
    return (reading, checking), len(places), differing


if __name__ == "__main__":
    sys.exit(main())

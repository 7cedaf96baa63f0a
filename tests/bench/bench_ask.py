"""What asking costs on a manifest of 10 million documents, against the limit of one second.

    python -m tests.bench.bench_ask            # 10 million documents in 40 tasks, in a temporary folder
    python -m tests.bench.bench_ask --quick    # 2 million in 8
    python -m tests.bench.bench_ask --keep DIR # the manifest stays there, and is asked again next time

The manifest is made by numpy: a million hosts of which the largest has one document in a hundred, every seventh
document excluded, tables written as `manifests.files.write_table` does but with a weaker compression. Each question is
put by a fresh reader; CPU seconds are printed, of `ask` alone and of the whole command, with their ratio to the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.ask import ask, host_of
from manifests.files import write_json
from manifests.schema import DECISIONS, EVIDENCE, FORMAT, HOSTS, KEPT, SHARD
from pipeline.addresses import locate
from tests.bench.resources import usage

LIMIT_SECONDS = 1.0
STAGES = ["intake", "robots", "license", "language", "toxicity", "pii"]
HOSTS_PER_DOCUMENT = 0.1
EXCLUDED = 0.15


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask about sites in a manifest of 10 million documents.")
    parser.add_argument("--quick", action="store_true", help="2 million documents")
    parser.add_argument("--keep", type=Path, help="folder to make the corpus in, or to find it in")
    given = parser.parse_args()
    tasks, rows = (8, 250_000) if given.quick else (40, 250_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        if not (folder / "manifests/v0001/run.json").exists():
            started = time.process_time()
            make_manifest(folder, tasks, rows)
            print(f"made {tasks * rows:,} documents in {time.process_time() - started:.0f} CPU s")
        return measure(folder)


def measure(folder: Path) -> int:
    """Print the cost of each question; 1 when one is over the limit."""
    size = sum(path.stat().st_size for path in (folder / "manifests").rglob("*.parquet"))
    run = json.loads((folder / "manifests/v0001/run.json").read_bytes())
    print(f"{run['totals']['rows']:,} documents in {len(run['tasks'])} tasks, manifest {size / 1e6:,.0f} MB\n")
    print(f"{'question':44}{'documents':>10}{'ask, CPU s':>12}{'limit / ask':>12}")
    missed = False
    for name, site, url in questions(folder):
        started = time.process_time()
        (version,) = ask(folder, site, url, locate=locate).versions
        seconds = time.process_time() - started
        missed |= seconds > LIMIT_SECONDS
        documents = version.kept + version.excluded
        print(f"{name:44}{documents:>10,}{seconds:>12.3f}{LIMIT_SECONDS / seconds:>11.1f}x")
    site = questions(folder)[1][1]
    command = [sys.executable, "-m", "pipeline.cli", "ask", str(folder), site, "--json"]
    whole = usage(command, Path(__file__).parents[2])
    assert whole.status == 0, whole.output
    blank = usage([sys.executable, "-m", "pipeline.cli", "--version"], Path(__file__).parents[2])
    print(f"\nthe whole command, start included: {whole.cpu_seconds:.2f} CPU s, peak {whole.peak_rss_mb:.0f} MB")
    print(f"  of which starting without a question: {blank.cpu_seconds:.2f} CPU s")
    return int(missed)


def questions(folder: Path) -> list[tuple[str, str, str | None]]:
    """Sites by size: absent, of about a hundred documents, a domain with subdomains, the largest; and a page."""
    hosts = pq.read_table(folder / "manifests/v0001/hosts.parquet", columns=["rhost", "rows"])
    names, rows = hosts.column("rhost").to_pylist(), hosts.column("rows").to_numpy()
    middle = host_of(names[int(np.argmin(np.abs(rows - 100)))])
    largest = host_of(names[int(np.argmax(rows))])
    domain = middle.partition(".")[2]
    return [
        ("a site that is not there", "nowhere.example", None),
        ("a host", middle, None),
        ("a domain of a hundred hosts", domain, None),
        ("one page of a host", middle, f"https://{middle}/page/17"),
        ("the largest host, 1 % of the corpus", largest, None),
    ]


def make_manifest(folder: Path, tasks: int, rows: int) -> None:
    """Write run.json, task records, tables, and shards that hold nothing but URLs."""
    random = np.random.default_rng(7)
    number = int(tasks * rows * HOSTS_PER_DOCUMENT)
    digits = np.char.zfill(np.arange(number).astype(str), 7)
    domains = np.char.add("org.site", np.array([text[:-2] for text in digits]))
    names = pa.array(np.char.add(np.char.add(domains, ".w"), np.array([text[-2:] for text in digits])))
    popularity = random.permutation(number)  # rank of popularity → host
    version = folder / "manifests/v0001"
    for table in ("kept", "decisions", "evidence", "tasks"):
        (version / table).mkdir(parents=True, exist_ok=True)
    (folder / "shards").mkdir(exist_ok=True)
    pairs, listed, shards = [], [], []
    for place in range(tasks):
        task = f"web-{place:03d}"
        chosen = np.sort(popularity[(number * random.random(rows) ** 3).astype(np.int64)])
        gone = random.random(rows) < EXCLUDED
        shard = f"shards/{task}.parquet"
        _write_kept(folder, task, shard, names.take(pa.array(chosen[~gone])), random)
        _write_decisions(folder, task, names.take(pa.array(chosen[gone])), chosen[gone], random)
        pairs.append((chosen, gone))
        kept = int((~gone).sum())
        shards.append(
            {"name": shard, "task": task, "rows": kept, "text_bytes": 0, "language": None, "sha256": "0" * 64}
        )
        record = {"name": task, "source": "web", "kind": "web", "rows": rows, "kept": kept, "excluded": rows - kept}
        content = write_json({**record, "stages": STAGES, "counts": [], "tables": {}}, version / f"tasks/{task}.json")
        listed.append({**record, "sha256": content})
    _write_hosts(version / "hosts.parquet", names, pairs, [shard["name"] for shard in shards])
    total = tasks * rows
    run = {"format": FORMAT, "version": 1, "parent": None, "tasks": listed, "shards": shards, "tables": {}}
    roots = {"corpus": sha256(b"made by numpy").hexdigest(), "hosts": "0" * 64}
    write_json({**run, "totals": {"rows": total}, "roots": roots}, version / "run.json")


def _write_kept(folder: Path, task: str, shard: str, rhosts: pa.Array, random: np.random.Generator) -> None:
    rows = len(rhosts)
    place = np.arange(rows)
    table = {
        "key": _keys(rows, random),
        "file_row": pa.array(place * 2),
        "rhost": rhosts,
        "shard": _constant(shard, rows),
        "shard_row": pa.array(random.permutation(rows).astype(np.int32)),
        "text_digest": _keys(rows, random),
        "text_bytes": pa.array(random.integers(200, 20_000, rows)),
        "language": _constant("eng_Latn", rows),
        "license": pa.nulls(rows, pa.string()),
        "redactions": pa.nulls(rows, KEPT.field("redactions").type),
        "trail": _either("read allowed no_evidence identified=eng_Latn clean clean", "read host_unknown", rows, random),
    }
    _write(pa.table(table, schema=KEPT), folder / f"manifests/v0001/kept/{task}.parquet", 20_000)
    order = np.argsort(table["shard_row"].to_numpy())
    hosts = pc.replace_substring_regex(rhosts.take(pa.array(order)), r"(\w+)\.(\w+)\.(\w+)", r"https://\3.\2.\1/page/")
    urls = pc.binary_join_element_wise(hosts, pa.array(place % 50).cast(pa.string()), "")
    columns = {name: urls if name == "url" else _constant("x", rows) for name in ("text", "url", "source", "kind")}
    columns |= {field.name: pa.nulls(rows, field.type) for field in SHARD if field.name not in columns}
    _write(pa.table(columns).select(SHARD.names).cast(SHARD), folder / shard, 10_000)


def _write_decisions(folder: Path, task: str, rhosts: pa.Array, ids: np.ndarray, random: np.random.Generator) -> None:
    rows = len(rhosts)
    _, which = np.unique(ids, return_inverse=True)
    hosts = int(which.max()) + 1
    numbers = random.integers(-(2**63), 2**63 - 1, hosts)
    table = {
        "key": _keys(rows, random),
        "file_row": pa.array(np.arange(rows) * 2 + 1),
        "rhost": rhosts,
        "path": pc.binary_join_element_wise("/page", pa.array(np.arange(rows) % 50).cast(pa.string()), "/"),
        "stage": _constant("robots", rows),
        "action": _constant("exclude", rows),
        "reason": _either("agent_disallowed", "star_disallowed", rows, random),
        "evidence_id": pa.array(numbers[which]),
        "score": pa.nulls(rows, pa.float32()),
        "language": pa.nulls(rows, pa.string()),
        "text_bytes": pa.array(random.integers(200, 20_000, rows)),
        "trail": _either("read agent_disallowed", "read star_disallowed", rows, random),
    }
    _write(pa.table(table, schema=DECISIONS), folder / f"manifests/v0001/decisions/{task}.parquet", 20_000)
    evidence = {field.name: pa.nulls(hosts, field.type) for field in EVIDENCE} | {
        "evidence_id": pa.array(numbers),
        "stage": _constant("robots", hosts),
        "protocol": _constant("robots.txt", hosts),
        "host": _constant("www.example.org", hosts),
        "agents": _constant("GPTBot,CCBot", hosts),
        "basis": _constant("named", hosts),
        "line": pa.array(random.integers(1, 50, hosts).astype(np.int32)),
        "rule": _constant("Disallow: /", hosts),
        "body_sha256": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(32), hosts, [None, pa.py_buffer(random.bytes(32 * hosts))]
        ),
        "fetched_at": _constant("2025-01-31", hosts),
        "status": pa.array(np.full(hosts, 200, np.int32)),
    }
    _write(pa.table(evidence, schema=EVIDENCE), folder / f"manifests/v0001/evidence/{task}.parquet", 20_000)


def _write_hosts(path: Path, names: pa.Array, pairs: list[tuple[np.ndarray, np.ndarray]], shards: list[str]) -> None:
    number = len(names)
    kept, gone = np.zeros(number, np.int64), np.zeros(number, np.int64)
    holders = []
    for place, (chosen, excluded) in enumerate(pairs):
        kept += np.bincount(chosen[~excluded], minlength=number)
        gone += np.bincount(chosen[excluded], minlength=number)
        holders.append(np.unique(chosen[~excluded]) * len(shards) + place)
    holding = np.sort(np.concatenate(holders))
    there, away = np.flatnonzero(kept), np.flatnonzero(gone)
    offsets = np.searchsorted(holding // len(shards), there)
    lists = pa.ListArray.from_arrays(
        pa.array(np.append(offsets, len(holding)).astype(np.int32)),
        pa.array(shards).take(pa.array(holding % len(shards))),
    )
    ids = np.concatenate([there * 2, away * 2 + 1])
    order = pa.array(np.argsort(ids, kind="stable"))
    one = np.concatenate([np.ones(len(there), bool), np.zeros(len(away), bool)])
    table = {
        "rhost": names.take(pa.array(ids // 2)),
        "action": pa.array(np.where(one, "keep", "exclude")),
        "stage": pc.if_else(pa.array(one), None, "robots"),
        "reason": pc.if_else(pa.array(one), None, "agent_disallowed"),
        "rows": pa.array(np.concatenate([kept[there], gone[away]])),
        "text_bytes": pa.array(np.concatenate([kept[there], gone[away]]) * 3000),
        "shards": pa.concat_arrays([lists, pa.nulls(len(away), lists.type)]),
    }
    _write(pa.table(table).take(order).cast(HOSTS), path, 20_000)


def _write(table: pa.Table, path: Path, row_group: int) -> None:
    pq.write_table(
        table, path, row_group_size=row_group, compression="zstd", compression_level=1, write_page_index=True
    )


def _keys(rows: int, random: np.random.Generator) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(random.bytes(16 * rows))])


def _constant(value: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value])).cast(pa.string())


def _either(one: str, other: str, rows: int, random: np.random.Generator) -> pa.Array:
    choice = pa.array((random.random(rows) < 0.3).astype(np.int32))
    return pa.DictionaryArray.from_arrays(choice, pa.array([one, other])).cast(pa.string())


if __name__ == "__main__":
    sys.exit(main())

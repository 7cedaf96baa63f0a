"""What an audit of 10 million decision records costs, against limits of 60 CPU seconds and 2 GB.

    python -m tests.bench.bench_audit              # 10 million decisions in 40 tasks, in a temporary folder
    python -m tests.bench.bench_audit --quick      # 1 million in 4
    python -m tests.bench.bench_audit --keep DIR   # the manifest stays there, and is audited again next time

The manifest is true: made by numpy, its sums and roots by the code under test, so that every check passes and none ends
early. Ten documents per host, nine in ten excluded by a rule of robots.txt that their host's evidence names, one
altered and kept besides. Without shards, as an auditor has it; printed are the CPU seconds and the peak memory of the
whole command, start included, and bytes on disk per record.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests import merkle
from manifests.check_accounts import _marks
from manifests.ledger import DECISION_LEAF, EVIDENCE_LEAF, KEPT_LEAF, Account, Count
from manifests.publish import publish_task, publish_version
from manifests.schema import DECISIONS, EVIDENCE, KEPT
from tests.bench.resources import usage

LIMIT_SECONDS, LIMIT_MB = 60.0, 2000.0
STAGES = ["intake", "robots", "pii"]
HOSTS_PER_ROW = 0.1
KEPT_SHARE = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description="Audit a manifest of 10 million decisions.")
    parser.add_argument("--quick", action="store_true", help="1 million decisions")
    parser.add_argument("--keep", type=Path, help="folder to make the corpus in, or to find it in")
    given = parser.parse_args()
    tasks, rows = (4, 250_000) if given.quick else (40, 250_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        if not (folder / "manifests/v0001/run.json").exists():
            started = time.process_time()
            make_manifest(folder, tasks, rows)
            print(f"made {tasks * rows:,} decisions in {time.process_time() - started:.0f} CPU s", flush=True)
        return measure(folder, tasks * rows)


def measure(folder: Path, decisions: int) -> int:
    """Print what the audit takes; 1 when it fails or is over a limit."""
    size = {
        name: sum(path.stat().st_size for path in (folder / "manifests/v0001").glob(pattern))
        for name, pattern in (
            ("decisions", "decisions/*"),
            ("evidence", "evidence/*"),
            ("kept", "kept/*"),
            ("rollups", "*.parquet"),
        )
    }
    kept = round(decisions * KEPT_SHARE)
    print(
        f"{decisions:,} decisions: {size['decisions'] / decisions:.1f} bytes each and "
        f"{size['evidence'] / decisions:.1f} of evidence; {kept:,} kept: {size['kept'] / kept:.1f} bytes each; "
        f"rollups {size['rollups'] / decisions:.2f} bytes per document"
    )
    command = [sys.executable, "-m", "pipeline.cli", "audit", str(folder), "--sample", "0"]
    found = usage(command, Path(__file__).parents[2])
    limit = LIMIT_SECONDS * decisions / 10_000_000
    print(f"{'':12}{'CPU s':>10}{'limit':>10}{'limit / found':>15}{'peak MB':>10}{'limit':>8}")
    print(
        f"{'audit':12}{found.cpu_seconds:>10.1f}{limit:>10.1f}{limit / found.cpu_seconds:>14.2f}x"
        f"{found.peak_rss_mb:>10.0f}{LIMIT_MB:>8.0f}"
    )
    if found.status:
        print(found.output)
    return int(found.status != 0 or found.cpu_seconds > limit or found.peak_rss_mb > LIMIT_MB)


def make_manifest(folder: Path, tasks: int, rows: int) -> None:
    """Write a manifest whose every check passes; `rows`: decisions per task."""
    random = np.random.default_rng(11)
    hosts = int(tasks * rows * HOSTS_PER_ROW)
    names = []
    for place in range(tasks):
        name = f"web-{place:03d}"
        account, shards = _account(name, rows, hosts, random)
        record = {
            "name": name,
            "source": "web",
            "kind": "web",
            "input": {"name": f"{name}.parquet", "sha256": "0" * 64, "bytes": 0},
            "fingerprint": "0" * 64,
            "evidence": {},
            "stages": STAGES,
        }
        staging = folder / ".staging"
        staging.mkdir(parents=True, exist_ok=True)
        publish_task(folder, 1, account, shards, {}, staging, record)
        staging.rmdir()
        names.append(name)
    run: dict[str, Any] = {
        "recipe": {"name": "made by numpy", "digest": "0" * 64, "policy": {}},
        "pins": {},
        "code": "",
    }
    publish_version(folder, 1, None, names, run)


def _account(task: str, rows: int, hosts: int, random: np.random.Generator) -> tuple[Account, list[dict[str, Any]]]:
    number = round(rows * KEPT_SHARE)  # documents that are altered, so that each has a decision and a kept row
    ids = np.sort((hosts * random.random(rows) ** 2).astype(np.int64))
    altered = np.zeros(rows, bool)
    altered[random.permutation(rows)[:number]] = True
    keys = _keys(rows, random)
    file_row = pa.array(random.permutation(rows))
    rhosts = _hosts(ids)
    size = random.integers(200, 20_000, rows)
    evidence, of_host, redacting = _evidence(ids, altered, random)
    plain = {
        "key": keys,
        "file_row": file_row,
        "rhost": rhosts,
        "path": pa.array([f"/page{value}/" if value % 3 else f"/{value}.html" for value in random.permutation(rows)]),
        "stage": _either("pii", "robots", altered),
        "action": _either("alter", "exclude", altered),
        "reason": _either("redacted", "agent_disallowed", altered),
        "evidence_id": pa.array(np.where(altered, redacting, of_host)),
        "score": pa.nulls(rows, pa.float32()),
        "language": pa.array(["eng_Latn"] * rows),
        "text_bytes": pa.array(size),
        "trail": _either("read=eng_Latn allowed redacted", "read=eng_Latn agent_disallowed", altered),
    }
    decisions = pa.table(plain, schema=DECISIONS)
    order = [("rhost", "ascending"), ("key", "ascending"), ("file_row", "ascending")]
    sortable = decisions.set_column(0, "key", decisions.column("key").cast(pa.binary()))
    decisions = sortable.sort_by(order).cast(DECISIONS)
    mask = pc.equal(decisions.column("action"), "alter")
    stays = decisions.filter(mask)
    shard = f"shards/{task}.0000000000-00000.parquet"
    kept = pa.table(
        {
            "key": stays.column("key"),
            "file_row": stays.column("file_row"),
            "rhost": stays.column("rhost"),
            "shard": pa.array([shard] * number),
            "shard_row": pc.rank(stays.column("file_row")).cast(pa.int64()).to_numpy() - 1,
            "text_digest": _keys(number, random),
            "text_bytes": stays.column("text_bytes"),
            "language": stays.column("language"),
            "license": pa.nulls(number, pa.string()),
            "redactions": [[("EMAIL", 1)]] * number,
            "trail": stays.column("trail"),
        },
        schema=KEPT,
    )
    leaves = merkle.table_leaves(evidence, EVIDENCE_LEAF)
    behind = pa.array(leaves, pa.binary()).take(
        pc.index_in(decisions.column("evidence_id"), value_set=evidence.column("evidence_id")).combine_chunks()
    )
    gone = decisions.filter(pc.invert(mask))
    whole, out, on = (_sum(table) for table in (decisions, gone, stays))
    total, lost = int(size.sum()), pc.sum(gone.column("text_bytes")).as_py()
    counts = [
        Count(0, "intake", "keep", "read", "eng_Latn", rows, total, whole),
        Count(1, "robots", "exclude", "agent_disallowed", "eng_Latn", rows - number, lost, out),
        Count(1, "robots", "keep", "allowed", "eng_Latn", number, total - lost, on),
        Count(2, "pii", "alter", "redacted", "eng_Latn", number, total - lost, on),
    ]
    roots = {
        "decisions": merkle.root(merkle.table_leaves(decisions, DECISION_LEAF, behind)),
        "evidence": merkle.root(leaves),
        "kept": merkle.root(merkle.table_leaves(kept, KEPT_LEAF)),
    }
    described = {"name": shard, "sha256": "0" * 64, "bytes": 0, "rows": number, "text_bytes": total - lost}
    account = Account(decisions, evidence, kept, counts, rows, number, rows - number, roots)
    return account, [{**described, "language": None}]


def _sum(table: pa.Table) -> int:
    limbs = _marks(table.combine_chunks()).sum(axis=0, dtype=np.uint64)
    return sum(int(limb) << 32 * (7 - place) for place, limb in enumerate(limbs)) % (1 << 256)


def _evidence(ids: np.ndarray, altered: np.ndarray, random: np.random.Generator) -> tuple[pa.Table, np.ndarray, int]:
    """A rule per host with an exclusion, and one detector; each row's number, and the detector's."""
    met = np.unique(ids[~altered])
    which = np.minimum(np.searchsorted(met, ids), len(met) - 1)
    number = len(met) + 1
    numbers = random.integers(-(2**63), 2**63 - 1, number)
    robots = np.arange(number) < len(met)
    bodies = [random.bytes(32) for _ in range(200)]
    table = {field.name: pa.nulls(number, field.type) for field in EVIDENCE} | {
        "evidence_id": pa.array(numbers),
        "stage": _either("robots", "pii", robots),
        "protocol": _either("robots.txt", "presidio", robots),
        "host": pa.concat_arrays([_plain_hosts(met), pa.nulls(1, pa.string())]),
        "agents": _either("GPTBot,CCBot", None, robots),
        "basis": _either("named", None, robots),
        "line": pa.array(random.integers(1, 50, number).astype(np.int32), mask=~robots),
        "rule": _either("Disallow: /", None, robots),
        "body_sha256": pa.array([bodies[place % 200] for place in range(len(met))] + [None], pa.binary(32)),
        "fetched_at": _either("2025-01-31", None, robots),
        "status": pa.array(np.full(number, 200, np.int32), mask=~robots),
        "detector": _either(None, "pii@1", robots),
    }
    return pa.table(table, schema=EVIDENCE), numbers[which], int(numbers[-1])


def _hosts(ids: np.ndarray) -> pa.Array:
    return pa.array([f"org.site{value // 100:06d}.w{value % 100:02d}" for value in ids.tolist()])


def _plain_hosts(ids: np.ndarray) -> pa.Array:
    return pa.array([f"w{value % 100:02d}.site{value // 100:06d}.org" for value in ids.tolist()])


def _keys(rows: int, random: np.random.Generator) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(random.bytes(16 * rows))])


def _either(one: str | None, other: str | None, first: np.ndarray) -> pa.Array:
    return pa.array([one, other]).take(pa.array(np.where(first, 0, 1)))


if __name__ == "__main__":
    sys.exit(main())

"""Publish, then say so: a task is its `tasks/<task>.json`, a version is its `run.json`, each written last.

A task's files are renamed into place first, its record after them; the version's rollups (`counts`, `hosts`) are built
from the records, its `run.json` after them. A crash in between leaves files that no record names: readers cannot see
them, and `sweep` removes them at the next start. Nothing here depends on the clock, so that a run that was killed and
resumed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from manifests import merkle
from manifests.corpus import open_corpus, published_versions, version_folder
from manifests.files import sync_folder, write_json, write_table
from manifests.ledger import Account
from manifests.schema import COUNTS, FORMAT, HOSTS, Stage

TABLES = ("decisions", "evidence", "kept")
_HOST_ROWS = (Path(__file__).parent / "queries" / "hosts.sql").read_text(encoding="utf-8")


def task_record_path(corpus: Path, version: int, task: str) -> Path:
    """Where a task's record lies."""
    return version_folder(corpus, version) / "tasks" / f"{task}.json"


def read_task_record(corpus: Path, version: int, task: str) -> dict[str, Any] | None:
    """A task's record, or None when it is not there or not whole."""
    try:
        record = json.loads(task_record_path(corpus, version, task).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= _RECORD_KEYS else None


_RECORD_KEYS = {"name", "source", "kind", "input", "fingerprint", "evidence", "tables", "shards", "counts", "roots"}


def publish_task(
    corpus: Path,
    version: int,
    account: Account,
    shards: Sequence[Mapping[str, Any]],
    staged: Mapping[Path, str],
    staging: Path,
    record: Mapping[str, Any],
) -> None:
    """Put a task's tables and shards in place, then write its record.

    Args:
        account: the closed ledger.
        shards: description of each shard (`name` relative to the corpus, `sha256`, `bytes`, `rows`, ...).
        staged: temporary shard file → name relative to the corpus.
        staging: folder for temporary files on the same file system as the corpus.
        record: what identifies the task: name, source, kind, input, fingerprint, evidence, stages.
    """
    task = record["name"]
    folder = version_folder(corpus, version)
    metadata = {"fairtrove.format": str(FORMAT), "fairtrove.task": task}
    tables: dict[str, Any] = {}
    moves = [(source, corpus / name) for source, name in staged.items()]
    for name in TABLES:
        temporary = staging / f"{name}.parquet"
        tables[name] = write_table(getattr(account, name), temporary, metadata)
        moves.append((temporary, folder / name / f"{task}.parquet"))
    for source, target in moves:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    for parent in {target.parent for _, target in moves}:
        sync_folder(parent)
    write_json(
        {
            **record,
            "format": FORMAT,
            "rows": account.rows,
            "kept": account.rows_kept,
            "excluded": account.rows_excluded,
            "counts": [
                {
                    "position": count.position,
                    "stage": count.stage,
                    "action": count.action,
                    "reason": count.reason,
                    "language": count.language,
                    "rows": count.rows,
                    "text_bytes": count.text_bytes,
                    "multiset_hash": count.multiset_hash.to_bytes(32, "big").hex(),
                }
                for count in account.counts
            ],
            "tables": tables,
            "shards": list(shards),
            "roots": {name: value.hex() for name, value in account.roots.items()},
        },
        task_record_path(corpus, version, task),
    )


def adopt_task(corpus: Path, parent: int, version: int, task: str, changes: Mapping[str, Any] | None = None) -> None:
    """Carry an unchanged task of a published version over to the next one, by hard links where the disk has them.

    Args:
        changes: keys of the record to set: what its tables rest on may have got a newer name without saying otherwise.
    """
    for name in TABLES:
        source = version_folder(corpus, parent) / name / f"{task}.parquet"
        _link(source, version_folder(corpus, version) / name / f"{task}.parquet")
    record = task_record_path(corpus, version, task)
    if changes:
        write_json({**json.loads(task_record_path(corpus, parent, task).read_bytes()), **changes}, record)
    else:
        _link(task_record_path(corpus, parent, task), record)


def corpus_root(records: Iterable[Mapping[str, Any]], hosts: bytes) -> bytes:
    """Merkle root of a corpus: one leaf per task, by name, over its rows, its counts and the roots of its tables.

    The last leaf binds the root of the hosts' tree, so that a proof about a host climbs to the same root. The counts
    are in it for what no table has a row for: why documents were *kept* (allowed, or consent unknown).
    """
    leaves = [
        merkle.leaf(
            merkle.encode(
                [record["name"], record["source"], record["kind"], record["rows"], record["kept"]]
                + [count_root(record["counts"])]
                + [bytes.fromhex(record["roots"][name]) for name in TABLES]
            )
        )
        for record in sorted(records, key=lambda record: record["name"])
    ]
    return merkle.root([*leaves, merkle.leaf(merkle.encode(["hosts", hosts]))])


def count_root(counts: Iterable[Mapping[str, Any]]) -> bytes:
    """Merkle root over a task's counts, in their order."""
    return merkle.root([merkle.leaf(merkle.encode([count[name] for name in COUNT_LEAF])) for count in counts])


COUNT_LEAF = ("position", "stage", "action", "reason", "language", "rows", "text_bytes", "multiset_hash")


def host_root(hosts: pa.Table) -> bytes:
    """Merkle root with one leaf per host, over all its rows: one leaf proves a host's complete answer."""
    names = hosts.column("rhost").to_pylist()
    rows = merkle.encoded_rows(hosts, ("rhost", "action", "stage", "reason", "rows", "text_bytes"))
    leaves: list[bytes] = []
    group: list[bytes] = []
    for place, row in enumerate(rows):
        group.append(b"l%d:%b" % (len(row), row))
        if place + 1 == len(names) or names[place + 1] != names[place]:
            leaves.append(merkle.leaf(b"".join(group)))
            group.clear()
    return merkle.root(leaves)


def publish_version(
    corpus: Path,
    version: int,
    parent: int | None,
    tasks: Sequence[str],
    run: Mapping[str, Any],
    more: Mapping[str, pa.Table] | None = None,
) -> str:
    """Build the rollups of a version whose tasks are all there, then write its `run.json`; returns the root.

    Args:
        parent: the version that this one replaces.
        tasks: names of the version's tasks.
        run: recipe digest, policy, pins and code version, as the run wants them recorded.
        more: tables of the version besides `counts` and `hosts`: what a retraction withdrew.
    """
    folder = version_folder(corpus, version)
    records: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for task in sorted(tasks):
        content = task_record_path(corpus, version, task).read_bytes()
        record = json.loads(content)
        records.append(record)
        listed.append(
            {name: record[name] for name in ("name", "source", "kind", "rows", "kept", "excluded")}
            | {"sha256": sha256(content).hexdigest()}
        )
    staging = folder / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    metadata = {"fairtrove.format": str(FORMAT)}
    hosts = host_table(folder, [record["name"] for record in records])
    tables = {}
    for name, table in {"counts": count_table(records), "hosts": hosts, **(more or {})}.items():
        tables[name] = write_table(table, staging / f"{name}.parquet", metadata)
        os.replace(staging / f"{name}.parquet", folder / f"{name}.parquet")
    staging.rmdir()
    hosts_root = host_root(hosts)
    root = corpus_root(records, hosts_root).hex()
    write_json(
        {
            **run,
            "format": FORMAT,
            "version": version,
            "parent": parent,
            "tasks": listed,
            "shards": [{**shard, "task": record["name"]} for record in records for shard in record["shards"]],
            "tables": tables,
            "totals": _totals(records),
            "roots": {"corpus": root, "hosts": hosts_root.hex()},
        },
        folder / "run.json",
    )
    return root


def count_table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The `counts` table of a version from its tasks' records."""
    rows = [
        {"task": record["name"], "source": record["source"]}
        | count
        | {"multiset_hash": bytes.fromhex(count["multiset_hash"])}
        for record in records
        for count in record["counts"]
    ]
    return pa.Table.from_pylist(rows, schema=COUNTS)


def host_table(folder: Path, tasks: Sequence[str]) -> pa.Table:
    """The `hosts` table of a version, from the `kept` and `decisions` tables of its tasks."""
    if not tasks:
        return HOSTS.empty_table()
    with duckdb.connect() as connection:
        kept = [str(folder / "kept" / f"{task}.parquet") for task in tasks]
        decisions = [str(folder / "decisions" / f"{task}.parquet") for task in tasks]
        query = connection.sql(_HOST_ROWS, params={"kept": kept, "decisions": decisions})
        return query.to_arrow_table().cast(HOSTS)


def sweep(corpus: Path, referenced: Iterable[str]) -> list[str]:
    """Remove shards that no record names; returns their names relative to the corpus."""
    referenced = set(referenced)
    shards = corpus / "shards"
    removed = []
    for path in sorted(shards.rglob("*")) if shards.is_dir() else []:
        name = path.relative_to(corpus).as_posix()
        if path.is_file() and name not in referenced and _SHARD_NAME.fullmatch(path.name):
            path.unlink()
            removed.append(name)
    for folder in sorted((path for path in shards.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return removed


_SHARD_NAME = re.compile(r".+\.[0-9a-f]{10}-[0-9]{5,}\.parquet")


def working_version(corpus: Path) -> tuple[int | None, int]:
    """The newest published version, or None, and the number of the one in the making."""
    published = published_versions(corpus)
    return (published[-1], published[-1] + 1) if published else (None, 1)


def published_shards(corpus: Path) -> set[str]:
    """Names of the shards that must stay: the newest version's, and its parents' as far back as it keeps them."""
    return {shard["name"] for version in kept_versions(corpus) for shard in open_corpus(corpus, version).run["shards"]}


def kept_versions(corpus: Path) -> list[int]:
    """The versions whose shards are there, newest first: a version that replaces another says whether it keeps it."""
    published = published_versions(corpus)
    kept = published[-1:]
    while kept:
        run = open_corpus(corpus, kept[-1]).run
        if not run.get("keeps_parent") or run["parent"] not in published:
            break
        kept.append(run["parent"])
    return kept


def _totals(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts = [count for record in records for count in record["counts"]]
    read = [count for count in counts if count["stage"] == Stage.INTAKE]
    return {
        "rows": sum(record["rows"] for record in records),
        "kept": sum(record["kept"] for record in records),
        "excluded": sum(record["excluded"] for record in records),
        "altered": sum(count["rows"] for count in counts if count["action"] == "alter"),
        "text_bytes_read": sum(count["text_bytes"] for count in read),
        "text_bytes_kept": sum(shard["text_bytes"] for record in records for shard in record["shards"]),
    }


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.link")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)

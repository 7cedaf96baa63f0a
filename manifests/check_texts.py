"""Third check of an audit: does each kept row point to the published text that it describes?

The claims of rows on shards are held against `run.json` in any case. Texts are read again where shards are at hand: all
of them up to `ALL_TEXTS_UP_TO` documents, beyond that a sample of row groups (reading 200,000 texts takes seconds),
chosen by a hash, so that another seed makes it another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.check_files import Task, safe
from manifests.corpus import Corpus, Shard
from manifests.ledger import document_key
from manifests.notes import Notes

ALL_TEXTS_UP_TO = 200_000
"""Documents up to which every text is read again."""
_COLUMNS = ["key", "file_row", "shard", "shard_row", "text_digest", "text_bytes", "language", "license", "redactions"]
_LABEL = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")


def check_texts(
    corpus: Corpus, tasks: Sequence[Task], row_groups: int, seed: str, present: bool, limit: int, notes: Notes
) -> None:
    """Each kept row against the shard row that it points to: text, length, key, language, licence, redactions.

    Args:
        row_groups: how many are read where there are more than `limit` documents; 0 for all.
        present: whether the shards are at hand; without them only the claims on them are checked.
    """
    with notes.check("places"):
        notes.examined(f"kept rows claim {len(corpus.shards):,} shards as run.json describes them")
        known = {shard.name for shard in corpus.shards}
        described: dict[str, list[Shard]] = {}
        for shard in corpus.shards:
            described.setdefault(shard.task, []).append(shard)
        for task in tasks:
            with notes.check("places"):
                _check_claims(task, described.get(task.name, ()), known, notes)
    if not present:
        notes.skip("texts", "not examined: the shards are not in this copy")
        return
    total = sum(task.record["kept"] for task in tasks)
    with notes.check("texts"):
        groups = [
            (shard, group)
            for shard in corpus.shards
            if safe(shard.name) and shard.path.is_file()
            for group in range(_row_groups(shard.path))
        ]
        if row_groups and total > limit:
            order = {place: _draw(seed, f"{place[0].name} {place[1]}") for place in groups}
            groups = sorted(sorted(groups, key=order.__getitem__)[:row_groups], key=lambda at: (at[0].name, at[1]))
        wanted: dict[str, dict[str, list[tuple[Shard, int]]]] = {}
        for shard, group in groups:
            wanted.setdefault(shard.task, {}).setdefault(shard.name, []).append((shard, group))
        read = 0
        for task in tasks:
            for name, places in wanted.get(task.name, {}).items():
                claimed = _claimed(task, name)
                for shard, group in places:
                    with notes.check("texts"):
                        read += _compare(shard, group, claimed, notes)
        part = "every text" if read == total else f"a sample of {read:,} texts in {len(groups):,} row groups"
        notes.examined(f"{part} of {total:,} has the digest, key and marks that the manifest gives it")


def _draw(seed: str, name: str) -> bytes:
    return sha256(f"{seed} {name}".encode()).digest()


def _check_claims(task: Task, described: Sequence[Shard], known: set[str], notes: Notes) -> None:
    claims = pq.read_table(task.tables["kept"], columns=["shard", "text_bytes"], partitioning=None)
    sums = claims.group_by("shard").aggregate([("text_bytes", "sum"), ("text_bytes", "count")])
    found = {row["shard"]: (row["text_bytes_count"], row["text_bytes_sum"]) for row in sums.to_pylist()}
    for name in sorted(found.keys() - known):
        notes.add(f"kept/{task.name}.parquet points to {name}, which run.json does not list")
    for shard in described:
        rows, size = found.get(shard.name, (0, 0))
        if rows != shard.rows:
            notes.add(f"{shard.name}: {shard.rows:,} documents, {rows:,} rows of kept/{task.name}.parquet claim it")
        elif size != shard.text_bytes:
            notes.add(f"{shard.name}: {shard.text_bytes:,} bytes of text recorded, its documents have {size:,}")


def _claimed(task: Task, shard: str) -> pa.Table:
    """Rows of `kept` that point into a shard, in the order of their places."""
    rows = pq.read_table(task.tables["kept"], columns=_COLUMNS, partitioning=None, filters=pc.field("shard") == shard)
    return rows.sort_by("shard_row")


def _row_groups(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_row_groups)
    except pa.ArrowException:
        return 0  # said by the check of shards


def _compare(shard: Shard, group: int, claimed: pa.Table, notes: Notes) -> int:
    file = pq.ParquetFile(shard.path)
    start = sum(file.metadata.row_group(before).num_rows for before in range(group))
    columns = ["text", "id", "language", "language_script", "license", "redactions"]
    published = file.read_row_group(group, columns=columns)
    texts = published.column("text").cast(pa.large_binary()).to_pylist()
    others = [published.column(name).to_pylist() for name in columns[1:]]
    rows = claimed.slice(start, len(published)).to_pylist()
    for place, row, text, identifier, language, script, license, redactions in zip(
        range(start, start + len(texts)), rows, texts, *others, strict=False
    ):
        wrong = []
        if row["shard_row"] != place:
            wrong.append(f"kept row points to row {row['shard_row']}")
        if sha256(text).digest()[:16] != row["text_digest"]:
            wrong.append("text is another than the manifest's digest says")
        if len(text) != row["text_bytes"]:
            wrong.append(f"{len(text)} bytes of text, the manifest has {row['text_bytes']}")
        if row["key"] not in _keys(identifier, shard.task, row["file_row"]):
            wrong.append("id is not that of the key")
        if row["language"] not in _labels(language, script):
            wrong.append(f"language {language}, the manifest has {row['language']}")
        if shard.language is not None and row["language"] != shard.language:
            wrong.append(f"language {row['language']} in a shard of {shard.language}")
        if license != row["license"]:
            wrong.append(f"licence {license}, the manifest has {row['license']}")
        if (redactions or 0) != sum(number for _, number in row["redactions"] or ()):
            wrong.append(f"{redactions} redactions, the manifest counts {row['redactions']}")
        if wrong:
            notes.add(f"{shard.name} row {place} (key {row['key'].hex()}): {'; '.join(wrong)}")
    return len(texts)


def _keys(identifier: str | None, task: str, file_row: int) -> tuple[bytes, ...]:
    """Keys that an id may stand for: a document without one is published under `task/row`, and keyed by its place."""
    key = document_key(identifier, task, file_row)
    return (key, document_key(None, task, file_row)) if identifier == f"{task}/{file_row}" else (key,)


def _labels(language: str | None, script: str | None) -> tuple[str | None, ...]:
    """Labels that a shard's two columns may stand for; what is no label is `und_Zzzz`."""
    joined = f"{language}_{script}" if script else language
    return (language, joined) if joined and _LABEL.fullmatch(joined) else (language, joined, "und_Zzzz")

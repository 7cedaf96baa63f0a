"""A small corpus made through the real ledger and publisher, and the hands of a forger to break it in one precise way.

`build(folder)` writes two tasks of 40 rows each that meet every stage and most reasons. The forger edits a table, a
record or a shard; `fix_digests` then makes every SHA-256 fit again from the edited files upward, and `fix_roots`
recomputes the Merkle roots as well, which is the most that somebody can do who owns the whole folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from filters.decision import Action, Decision, Evidence
from manifests import merkle
from manifests.files import file_sha256, write_json, write_table
from manifests.ledger import DECISION_LEAF, EVIDENCE_LEAF, KEPT_LEAF, Account, Entry, Ledger, document_key
from manifests.publish import corpus_root, host_root, publish_task, publish_version
from manifests.schema import SHARD, reverse_host

STAGES = ("intake", "robots", "license", "language", "toxicity", "pii")
HOSTS = ("www.example.org", "news.example.org", "a.example.net", "b.example.net", "шпиль.example", "[2001:db8::1]")
BODY = sha256(b"User-agent: *\nDisallow: /private\n").digest()
MODEL = sha256(b"a toxicity model").digest()


def keep(reason: str) -> Decision:
    return Decision(Action.KEEP, reason)


NAMED = Evidence(
    "robots.txt",
    agents="GPTBot,CCBot",
    basis="named",
    line=3,
    rule="Disallow: /",
    body_sha256=BODY,
    fetched_at="2024-05-01",
    status=200,
)
STAR = Evidence(
    "robots.txt",
    agents="GPTBot,CCBot,ClaudeBot",
    basis="star",
    line=2,
    rule="Disallow: /private",
    body_sha256=BODY,
    fetched_at="2024-06-01",
    status=200,
)
TOXIC = Evidence("fasttext", detector="toxicity@1", model_sha256=MODEL, threshold=0.5)
EMPTY = Evidence("intake", detector="intake@1")
NONFREE = Evidence("cc-mark", license="CC-BY-NC-4.0", start=3, end=20, detector="license@1")
PRESIDIO = Evidence("presidio", detector="pii@1")

# What each of a task's 40 rows meets: the first matching divisor decides.
FATES: tuple[tuple[int, str, Decision], ...] = (
    (13, "intake", Decision(Action.EXCLUDE, "empty_text", EMPTY)),
    (11, "robots", Decision(Action.EXCLUDE, "agent_disallowed", NAMED)),
    (9, "robots", Decision(Action.EXCLUDE, "star_disallowed", STAR)),
    (8, "license", Decision(Action.EXCLUDE, "restricted", NONFREE)),
    (7, "toxicity", Decision(Action.EXCLUDE, "toxic", TOXIC, score=0.875)),
    (5, "pii", Decision(Action.ALTER, "redacted", PRESIDIO, counts={"email": 2, "iban": 1})),
)
PASSES = {
    "intake": keep("read"),
    "robots": keep("allowed"),
    "license": keep("no_evidence"),
    "language": keep("trusted"),
    "toxicity": keep("clean"),
    "pii": keep("clean"),
}
UNKNOWN = keep("host_unknown")


def build(
    corpus: Path,
    tasks: Mapping[str, str] | None = None,
    rows: int = 40,
    hosts: tuple[str, ...] = HOSTS,
    salt: str = "",
    version: int = 1,
) -> str:
    """Write a corpus and return its root. `tasks`: task name → source; `salt` makes the documents others."""
    tasks = {"web-0": "web", "books-0": "books"} if tasks is None else tasks
    staging = corpus / ".staging"
    staging.mkdir(parents=True, exist_ok=True)
    for task, source in tasks.items():
        account, shards, staged = curate(task, source, staging, rows, hosts, salt)
        record = {"name": task, "source": source, "kind": "web", "input": {"name": f"{task}.parquet"}}
        publish_task(corpus, version, account, shards, staged, staging, {**record, "stages": list(STAGES)})
    staging.rmdir()
    run = {
        "recipe": {"name": "tiny", "digest": "ab" * 32, "policy": {"web": {"agents": ["GPTBot"], "toxicity": 0.5}}},
        "pins": {"robots": BODY.hex(), "toxicity": MODEL.hex()},
        "code": "0.1.0",
    }
    return publish_version(corpus, version, None, list(tasks), run)


def curate(
    task: str, source: str, staging: Path, rows: int, hosts: tuple[str, ...], salt: str
) -> tuple[Account, list[dict[str, Any]], dict[Path, str]]:
    """One task: every row through every stage, survivors into shards of 20 rows."""
    ledger = Ledger(task, STAGES)
    documents = [_document(task, source, row, hosts, salt) for row in range(rows)]
    entries = [
        Entry(
            file_row=row,
            key=document_key(document["id"], task, row),
            rhost=reverse_host(hosts[row % len(hosts)]) if document["url"] else None,
            path=f"/{row}",
            text_bytes=len(document["text"].encode()),
        )
        for row, document in enumerate(documents)
    ]
    fates = [next((fate for fate in FATES if row and row % fate[0] == 0), None) for row in range(rows)]
    alive = list(range(rows))
    for stage in STAGES:
        decisions = [_answer(stage, fates[row], documents[row]) for row in alive]
        languages = [documents[row]["language"] if stage != "intake" else None for row in alive]
        ledger.record(stage, [entries[row] for row in alive], decisions, languages)
        alive = [row for row, decision in zip(alive, decisions, strict=True) if decision.kept]
    for row in alive:
        if entries[row].redactions:
            documents[row]["text"] += " <email-pii> <email-pii> <iban-pii>"
            documents[row]["redactions"] = 3
    shards: list[dict[str, Any]] = []
    staged: dict[Path, str] = {}
    for start in range(0, len(alive), 20):
        name = f"shards/{task}-{start // 20:03d}.parquet"
        chosen = alive[start : start + 20]
        temporary = staging / name.replace("/", "-")
        published = [{**documents[row], "id": documents[row]["id"] or f"{task}/{row}"} for row in chosen]
        table = pa.Table.from_pylist(published, schema=SHARD)
        described = write_table(table, temporary, {"fairtrove.task": task})
        sizes = [len(documents[row]["text"].encode()) for row in chosen]
        shards.append({"name": name, **described, "text_bytes": sum(sizes), "language": None})
        staged[temporary] = name
        for shard_row, row in enumerate(chosen):
            text = documents[row]["text"].encode()
            digest = sha256(text).digest()[:16]
            document = documents[row]
            ledger.keep(entries[row], name, shard_row, digest, len(text), document["language"], document["license"])
    return ledger.close(rows), shards, staged


def edit_table(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]] | None]) -> None:
    """Rewrite a Parquet file with its rows changed, its footer metadata kept."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    changed = change(rows)
    rows = rows if changed is None else changed
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items() if k != b"ARROW:schema"}
    write_table(pa.Table.from_pylist(rows, schema=table.schema), path, metadata)


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    write_json(value, path)


def fix_digests(corpus: Path, version: int = 1) -> None:
    """Make every digest, size and row count fit the files as they are now, from tables and shards up to `run.json`."""
    folder = corpus / f"manifests/v{version:04d}"
    run = json.loads((folder / "run.json").read_bytes())
    shards = []
    for task in run["tasks"]:
        file = folder / f"tasks/{task['name']}.json"
        record = json.loads(file.read_bytes())
        for name in record["tables"]:
            record["tables"][name] = _describe(folder / name / f"{task['name']}.parquet")
        for shard in record["shards"]:
            shard.update(_describe(corpus / shard["name"]))
        shards += [{**shard, "task": task["name"]} for shard in record["shards"]]
        task["sha256"] = write_json(record, file)
        task.update({name: record[name] for name in ("source", "kind", "rows", "kept", "excluded")})
    run["shards"] = shards
    for name in run["tables"]:
        run["tables"][name] = _describe(folder / f"{name}.parquet")
    write_json(run, folder / "run.json")


def fix_roots(corpus: Path, version: int = 1) -> str:
    """Recompute every Merkle root from the tables as they are now, then the digests; returns the new corpus root."""
    folder = corpus / f"manifests/v{version:04d}"
    run = json.loads((folder / "run.json").read_bytes())
    records = []
    for task in run["tasks"]:
        file = folder / f"tasks/{task['name']}.json"
        record = json.loads(file.read_bytes())
        kept, decisions, evidence = (
            pq.read_table(folder / name / f"{task['name']}.parquet") for name in ("kept", "decisions", "evidence")
        )
        evidence_leaves = merkle.table_leaves(evidence, EVIDENCE_LEAF)
        leaf_of = dict(zip(evidence.column("evidence_id").to_pylist(), evidence_leaves, strict=True))
        leaves = []
        for row in decisions.to_pylist():
            behind = leaf_of.get(row["evidence_id"])
            leaves.append(merkle.leaf(merkle.encode([*(row[name] for name in DECISION_LEAF), behind])))
        record["roots"] = {
            "kept": merkle.root(merkle.table_leaves(kept, KEPT_LEAF)).hex(),
            "decisions": merkle.root(leaves).hex(),
            "evidence": merkle.root(evidence_leaves).hex(),
        }
        write_json(record, file)
        records.append(record)
    run["roots"] = {
        "corpus": corpus_root(records, hosts := host_root(pq.read_table(folder / "hosts.parquet"))).hex(),
        "hosts": hosts.hex(),
    }
    write_json(run, folder / "run.json")
    fix_digests(corpus, version)
    return run["roots"]["corpus"]


def _describe(path: Path) -> dict[str, Any]:
    return {
        "sha256": file_sha256(path),
        "bytes": path.stat().st_size,
        "rows": pq.ParquetFile(path).metadata.num_rows,
    }


def _document(task: str, source: str, row: int, hosts: tuple[str, ...], salt: str) -> dict[str, Any]:
    return {
        "text": f"Document {row} of {task}.{salt} Grüße, 你好, здравствуйте. " * (row % 3 + 1),
        "id": f"<urn:uuid:{sha256(f'{task}{row}{salt}'.encode()).hexdigest()[:8]}-0000-4000-8000-000000000000>"
        if row % 4
        else None,
        "dump": "CC-MAIN-2024-18",
        "url": None if row % 23 == 19 else f"https://{hosts[row % len(hosts)]}/{row}",
        "date": "2024-04-20T00:00:00Z",
        "source": source,
        "kind": "web",
        "language": ("deu_Latn", "zho_Hans", "rus_Cyrl")[row % 3],
        "language_script": ("Latn", "Hans", "Cyrl")[row % 3],
        "language_score": 0.99,
        "license": "CC-BY-4.0" if row % 6 == 1 else None,
        "toxicity": 0.125,
        "redactions": 0,
    }


def _answer(stage: str, fate: tuple[int, str, Decision] | None, document: Mapping[str, Any]) -> Decision:
    if stage == "robots" and document["url"] is None:
        return keep("no_url")
    if fate and fate[1] == stage:
        decision = fate[2]
        if stage == "robots" and decision.evidence:
            host = document["url"].split("/")[2]
            return replace(decision, evidence=replace(decision.evidence, host=host))
        if stage == "toxicity":
            return replace(decision, score=0.5 + len(document["id"] or "") * len(document["text"]) % 61 / 128)
        return decision
    if stage == "robots" and "example.org" in document["url"]:
        return UNKNOWN
    if stage == "license" and document["license"]:
        return keep("permissive")
    return PASSES[stage]

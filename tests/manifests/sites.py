"""A corpus of documents on hosts that neighbour, contain and imitate each other, and some that attack whoever asks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from filters.decision import Action, Decision
from manifests.corpus import open_corpus
from manifests.files import write_table
from manifests.ledger import Entry, Ledger, document_key
from manifests.publish import publish_task, publish_version
from manifests.schema import SHARD
from pipeline.addresses import locate
from tests.manifests.build import NAMED, NONFREE, PRESIDIO, STAR, keep

STAGES = ("intake", "robots", "license", "language", "toxicity", "pii")
AUTHORITIES = (
    "example.org",
    "www.example.org",
    "a.b.example.org",
    "example.org:8080",
    "www.example.org:8443",
    "example-shop.org",
    "example1.org",
    "examples.org",
    "notexample.org",
    "example.org.evil.example",
    "org",
    "bücher.example",
    "www.bücher.example",
    "💩.example",
    "1.2.3.4",
    "1.2.3.4:81",
    "11.2.3.4",
    "5.4.3.2.1",
    "[2001:db8::1]",
    "[2001:db8::1]:8443",
    "[2001:db8::11]",
    "x';DROP TABLE kept;--.example",
    '".example',
    "%.example",
    "_.example",
    "*.example",
    "\x1b[31m.example",
    "[bold].example",
    "‮gro.elpmaxe.example",
    "a" * 300 + ".example",
)
FATES: tuple[tuple[str, Decision] | None, ...] = (
    None,
    None,
    None,
    ("robots", Decision(Action.EXCLUDE, "agent_disallowed", NAMED)),
    ("robots", Decision(Action.EXCLUDE, "star_disallowed", STAR)),
    ("license", Decision(Action.EXCLUDE, "restricted", NONFREE)),
    ("pii", Decision(Action.ALTER, "redacted", PRESIDIO, counts={"email": 2})),
)


def build_sites(
    corpus: Path,
    tasks: Sequence[str] = ("web-0", "web-1", "web-2"),
    rows: int = 150,
    version: int = 1,
    seed: int = 1,
    barred: Sequence[str] = (),
    **publishing: Any,
) -> str:
    """Write a version; the same seed makes the same documents. `barred`: hosts of which nothing is kept."""
    staging = corpus / ".staging"
    staging.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        chance = random.Random(f"{seed} {task}")
        documents = [_document(chance, task, row) for row in range(rows)]
        ledger = Ledger(task, STAGES)
        entries, fates = [], []
        for row, (url, identifier) in enumerate(documents):
            rhost, path = locate(url)
            entries.append(Entry(row, document_key(identifier, task, row), rhost, path, 10 + row))
            fate = chance.choice(FATES)
            fates.append(FATES[4] if rhost in barred else fate)
        alive = list(range(rows))
        for stage in STAGES:
            decisions = [_answer(stage, fates[row], documents[row][0], chance) for row in alive]
            labels = [None if stage == "intake" else "eng_Latn"] * len(alive)
            ledger.record(stage, [entries[row] for row in alive], decisions, labels)
            alive = [row for row, decision in zip(alive, decisions, strict=True) if decision.kept]
        shards, staged = [], {}
        for number, start in enumerate(range(0, len(alive), 40)):
            chosen = alive[start : start + 40]
            name = f"shards/{task}.v{version}-{number:05d}.parquet"
            published = [_published(task, row, documents[row]) for row in chosen]
            temporary = staging / name.replace("/", "-")
            described = write_table(pa.Table.from_pylist(published, schema=SHARD), temporary, {})
            for place, row in enumerate(chosen):
                text = published[place]["text"].encode()
                digest = sha256(text).digest()[:16]
                ledger.keep(entries[row], name, place, digest, len(text), "eng_Latn", None)
            size = sum(len(document["text"]) for document in published)
            shards.append({"name": name, **described, "text_bytes": size, "language": None})
            staged[temporary] = name
        record = {"name": task, "source": "web", "kind": "web", "stages": list(STAGES)}
        publish_task(corpus, version, ledger.close(rows), shards, staged, staging, record)
    staging.rmdir()
    run = {"recipe": {"name": "sites", "digest": "cd" * 32}, "code": "0.1.0"}
    return publish_version(corpus, version, publishing.pop("parent", None), list(tasks), run, **publishing)


def small_row_groups(corpus: Path, rows: int = 7) -> None:
    """Rewrite every table with tiny row groups, so that most of them can be pruned."""
    for path in (corpus / "manifests").rglob("*.parquet"):
        pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=rows)


def documents(corpus: Path, version: int) -> list[dict[str, Any]]:
    """Every document of a version by full scan: host, url or path, whether it is kept, where, and what was decided."""
    opened = open_corpus(corpus, version)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for task in opened.run["tasks"]:
        folder = opened.manifest
        name = task["name"]
        evidence = {row["evidence_id"]: row for row in pq.read_table(folder / f"evidence/{name}.parquet").to_pylist()}
        for row in pq.read_table(folder / f"decisions/{name}.parquet").to_pylist():
            entry = found.setdefault((name, row["file_row"]), {"kept": False, "decisions": []})
            entry.update(rhost=row["rhost"], path=row["path"], key=row["key"].hex(), task=name)
            entry["decisions"].append({**row, "evidence": evidence[row["evidence_id"]]})
        for row in pq.read_table(folder / f"kept/{name}.parquet").to_pylist():
            entry = found.setdefault((name, row["file_row"]), {"decisions": []})
            entry.update(row, kept=True, key=row["key"].hex(), task=name)
            if (corpus / row["shard"]).is_file():
                entry["path"] = locate(pq.read_table(corpus / row["shard"])["url"][row["shard_row"]].as_py())[1]
        chance = random.Random(f"1 {name}")
        urls = [_document(chance, name, row)[0] for row in range(task["rows"])]
        for (of_task, file_row), entry in found.items():
            if of_task == name:
                entry["url"] = urls[file_row]
    return list(found.values())


def _document(chance: random.Random, task: str, row: int) -> tuple[str | None, str | None]:
    identifier = f"<urn:uuid:{chance.getrandbits(128):032x}>" if row % 3 else None
    if identifier:
        digits = identifier[10:-1]
        parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
        identifier = f"<urn:uuid:{'-'.join(parts)}>"
    if row % 29 == 11:
        return None, identifier
    path = chance.choice(("", "/", "/a", "/a?b=c", f"/{row % 5}", "/Grüße", "/a';--"))
    return f"{chance.choice(('http', 'https'))}://{chance.choice(AUTHORITIES)}{path}", identifier


def _published(task: str, row: int, document: tuple[str | None, str | None]) -> dict[str, Any]:
    url, identifier = document
    values: dict[str, Any] = dict.fromkeys(SHARD.names)
    return values | {"text": f"Page {row} of {task}", "id": identifier, "url": url, "source": "web", "kind": "web"}


def _answer(stage: str, fate: tuple[str, Decision] | None, url: str | None, chance: random.Random) -> Decision:
    if fate and fate[0] == stage:
        decision = fate[1]
        if stage == "robots" and decision.evidence is not None:
            return replace(decision, evidence=replace(decision.evidence, line=chance.randrange(3)))
        return decision
    if stage == "robots":
        return keep("no_url" if url is None else chance.choice(("allowed", "host_unknown")))
    return keep(
        {"intake": "read", "license": "no_evidence", "language": "trusted", "toxicity": "clean", "pii": "clean"}[stage]
    )

"""First check of an audit: is every file the one that somebody vouches for, from `run.json` down?

Who owns the whole folder can make every digest fit; then the other checks must find what is wrong. What is found here
is that a file was changed, lost, exchanged or left lying by anybody else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from manifests.corpus import Corpus, published_versions
from manifests.files import file_sha256
from manifests.notes import Notes
from manifests.publish import TABLES, published_shards
from manifests.schema import COUNTS, DECISIONS, EVIDENCE, FORMAT, HOSTS, KEPT, RETURNED, SHARD, TOMBSTONES

Row = Mapping[str, Any]
SCHEMAS = {
    "decisions": DECISIONS,
    "evidence": EVIDENCE,
    "kept": KEPT,
    "counts": COUNTS,
    "hosts": HOSTS,
    "tombstones": TOMBSTONES,
    "returned": RETURNED,
}
WITHDRAWALS = ("tombstones", "returned")
"""Tables that only a version made by a retraction has."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task whose three tables are there, with the columns that they should have."""

    name: str
    record: Row
    tables: Mapping[str, Path]


def check_records(corpus: Corpus, notes: Notes) -> list[Row]:
    """Read every task record, whether or not its digest fits: what else is wrong should be said too."""
    records: list[Row] = []
    run = corpus.run
    with notes.check("task records"):
        notes.examined(f"{len(run['tasks']):,} records have the digests and figures in run.json")
        if run.get("version") != corpus.version:
            notes.add(f"run.json says version {run.get('version')}, its folder is v{corpus.version:04d}")
        parent = run["parent"]
        if parent is not None and not (type(parent) is int and 0 < parent < corpus.version):
            notes.add(f"run.json: its parent is {parent!r}, which is no earlier version")
        names = [task["name"] for task in run["tasks"]]
        for name in sorted({name for name in names if names.count(name) > 1}):
            notes.add(f"run.json lists task {name} twice")
        if names != sorted(names):
            notes.add("run.json: tasks are not in order of name")
        shards: list[Row] = []
        for task in run["tasks"]:
            name = task["name"]
            where = f"tasks/{name}.json"
            if not safe(name):
                notes.add(f"run.json: {name!r} is not a name of a task")
                continue
            with notes.check("task records"):
                content = (corpus.manifest / where).read_bytes()
                if sha256(content).hexdigest() != task["sha256"]:
                    notes.add(f"{where}: its SHA-256 is not the one in run.json: altered")
                record = json.loads(content)
                for field in ("name", "source", "kind", "rows", "kept", "excluded"):
                    if record[field] != task[field]:
                        notes.add(f"{where}: {field} is {record[field]!r}, run.json has {task[field]!r}")
                if record["format"] != FORMAT:
                    notes.add(f"{where}: format {record['format']}, this audit knows {FORMAT}")
                shards += [{**shard, "task": name} for shard in record["shards"]]
                records.append(record)
        made_by: dict[str, set[str]] = {}
        for record in records:
            made_by.setdefault(str(record["source"]), set()).add(str(record.get("fingerprint")))
        for source, fingerprints in made_by.items():
            if len(fingerprints) > 1:
                notes.add(f"tasks of source {source} were made by {len(fingerprints)} recipes or versions of the code")
        if shards != run["shards"]:
            known = {shard.get("name") for shard in shards}
            other = [shard["name"] for shard in run["shards"] if shard["name"] not in known]
            notes.add(f"run.json: its shards are not those of the task records{': ' + other[0] if other else ''}")
    return records


def check_tables(corpus: Corpus, records: Sequence[Row], notes: Notes) -> list[Task]:
    """Every table against its description; returns the tasks whose rows the other checks can read."""
    tasks = []
    rollups = ("counts", "hosts", *withdrawals(corpus))
    number = len(TABLES) * len(records) + len(rollups)
    with notes.check("tables", f"{number:,} tables have the recorded digests, rows and columns"):
        for record in records:
            name = record["name"]
            found: dict[str, Path] = {}
            for table in TABLES:
                with notes.check("tables"):
                    path = corpus.manifest / table / f"{name}.parquet"
                    if _check_table(path, table, record["tables"][table], name, notes):
                        found[table] = path
            if len(found) == len(TABLES):
                tasks.append(Task(name, record, found))
        for table in rollups:
            with notes.check("tables"):
                _check_table(corpus.manifest / f"{table}.parquet", table, corpus.run["tables"][table], None, notes)
    return tasks


def _check_table(path: Path, table: str, described: Row, task: str | None, notes: Notes) -> bool:
    """Hold a manifest table against its description; False when its columns are not the table's."""
    where = f"{table}/{path.name}" if task is not None else path.name
    if file_sha256(path) != described["sha256"]:
        notes.add(f"{where}: its SHA-256 is not the one recorded: altered")
    with pq.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        footer = file.metadata.metadata or {}
    if rows != described["rows"]:
        notes.add(f"{where}: {rows:,} rows, recorded are {described['rows']:,}")
    if path.stat().st_size != described["bytes"]:
        notes.add(f"{where}: {path.stat().st_size:,} bytes, recorded are {described['bytes']:,}")
    if task is not None and footer.get(b"fairtrove.task") != task.encode():
        notes.add(f"{where}: its footer is that of task {footer.get(b'fairtrove.task')!r}")
    if not schema.remove_metadata().equals(SCHEMAS[table]):
        notes.add(f"{where}: columns are not those of format {FORMAT}: {', '.join(schema.names)}")
        return False
    return True


def has_shards(corpus: Corpus) -> bool:
    """Whether this is more than a copy of the manifests, which is all that many auditors have."""
    return not corpus.shards or (corpus.path / "shards").is_dir()


def check_shards(corpus: Corpus, notes: Notes) -> None:
    """Every shard has the recorded digest, size, rows and columns."""
    with notes.check("shards"):
        size = sum(shard["bytes"] for shard in corpus.run["shards"])
        notes.examined(f"{len(corpus.shards):,} shards, {size / 1e6:,.1f} MB, have the recorded digests and rows")
        names = [shard.name for shard in corpus.shards]
        if len(set(names)) != len(names):
            notes.add("run.json: a shard is listed twice")
        for shard, described in zip(corpus.shards, corpus.run["shards"], strict=True):
            with notes.check("shards"):
                if not shard.name.startswith("shards/") or not safe(shard.name):
                    notes.add(f"{shard.name}: not a place inside shards/")
                    continue
                if file_sha256(shard.path) != shard.sha256:
                    notes.add(f"{shard.name}: its SHA-256 is not the one recorded: altered")
                file = pq.ParquetFile(shard.path)
                if file.metadata.num_rows != shard.rows:
                    notes.add(f"{shard.name}: {file.metadata.num_rows:,} rows, recorded are {shard.rows:,}")
                if shard.path.stat().st_size != described["bytes"]:
                    notes.add(f"{shard.name}: its size is not the one recorded")
                if not file.schema_arrow.remove_metadata().equals(SHARD):
                    notes.add(f"{shard.name}: columns are not those of format {FORMAT}")


def check_strays(corpus: Corpus, notes: Notes) -> None:
    """Files in the version's folder that nobody vouches for: readers do not see them, an auditor's glob would."""
    with notes.check("no strays", "nothing in shards/ and in the manifest's folder but what a version names"):
        named = {"run.json", "counts.parquet", "hosts.parquet"}
        named |= {f"{name}.parquet" for name in withdrawals(corpus)}
        for task in corpus.run["tasks"]:
            named |= {f"tasks/{task['name']}.json"} | {f"{table}/{task['name']}.parquet" for table in TABLES}
        for path in sorted(corpus.manifest.rglob("*")):
            name = path.relative_to(corpus.manifest).as_posix()
            if path.is_file() and name not in named:
                notes.add(f"{corpus.manifest.name}/{name}: no record names this file; a query by hand would read it")
        known = published_shards(corpus.path)
        for path in sorted((corpus.path / "shards").rglob("*")):
            name = path.relative_to(corpus.path).as_posix()
            if path.is_file() and name not in known:
                notes.add(f"{name}: no version names this file and vouches for its texts; curating removes it")


def check_published(corpus: Corpus, notes: Notes) -> None:
    """Card, Croissant and summary beside the report, if they are there, carry this version's root and totals."""
    files = [path for name in PUBLISHED if (path := corpus.path / "report" / name).is_file()]
    if not files or published_versions(corpus.path)[-1] != corpus.version:
        return
    said = f"{len(files)} documents in report/ have the root and totals of this version"
    anew = "`fairtrove report` writes it anew"
    with notes.check("published documents", said):
        totals = corpus.run["totals"]
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace")
            if str(corpus.run["roots"]["corpus"]) not in text:
                notes.add(f"report/{path.name}: is not of this version's root; {anew}")
            elif not all(f"{totals[name]:,}" in text for name in ("rows", "kept")):
                notes.add(f"report/{path.name}: its totals are not those of run.json; {anew}")


PUBLISHED = ("README.md", "croissant.json", "eu-summary.md")
"""What `fairtrove report` writes for others to read (`manifests.published`)."""


def withdrawals(corpus: Corpus) -> list[str]:
    """Those of `WITHDRAWALS` that the version has."""
    tables = corpus.run["tables"]
    return [name for name in WITHDRAWALS if isinstance(tables, dict) and name in tables]


def safe(name: str) -> bool:
    """A relative name that stays where it is put."""
    return bool(name) and not name.startswith("/") and ".." not in name.split("/") and "\0" not in name

"""The audit: can this corpus be believed from its manifest alone? Named checks, each failing with file, row or key.

What is checked, in this order, each from the files upward and not from what a summary claims:

1. every digest from `run.json` down to task records, tables and shards, and no file that nobody vouches for;
2. conservation: rows in = kept + excluded, per file, task and run, and as multiset hashes, which find the lost, doubled
   or swapped document that equal counts hide;
3. the Merkle roots, recomputed from the rows;
4. the texts: each kept row's digest is that of the published text it points to;
5. the SQL in `queries/NN_*.sql`, each row of an answer a violation: an auditor runs the same files by hand.

Somebody who owns the whole folder can make every digest fit again. Then the logic of 2, 4 and 5 must catch it, or the
root has changed: give the root that you were told before as `expected_root`. Counts of *kept* documents by reason
(allowed or unknown, say) are proved by the trails of the rows. A version made by a retraction is held against its
parent, as long as that is there: each tombstone, and that nothing left without one.

Measured: 22,000 short documents in 4 tasks and 628 shards take 1.7 CPU seconds, texts included. Memory holds one
version's tables and 100 bytes per row of leaves, so this is for millions of documents, not yet for billions.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from manifests import merkle, trail
from manifests.corpus import Corpus, Shard, open_corpus, verify_file
from manifests.files import file_sha256
from manifests.ledger import DECISION_LEAF, EVIDENCE_LEAF, KEPT_LEAF, MODULUS, document_key
from manifests.publish import TABLES, corpus_root, count_table, host_root
from manifests.schema import (
    COUNTS,
    DECISIONS,
    EVIDENCE,
    FORMAT,
    HOSTS,
    KEPT,
    RETURNED,
    SHARD,
    TOMBSTONES,
    CorpusError,
    Stage,
)

QUERIES = Path(__file__).parent / "queries"
SCHEMAS = {
    "decisions": DECISIONS,
    "evidence": EVIDENCE,
    "kept": KEPT,
    "counts": COUNTS,
    "hosts": HOSTS,
    "tombstones": TOMBSTONES,
    "returned": RETURNED,
}
_WITHDRAWALS = ("tombstones", "returned")
ALL_TEXTS_UP_TO = 200_000
"""Documents up to which every text is read again; beyond, a sample of row groups (reading 200,000 takes seconds)."""
NAMED_PER_CHECK = 20
"""Violations named per check; the rest is counted. One edited file can make millions."""
_BATCH = 50_000
_LABEL = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")

Row = Mapping[str, Any]
Recheck = Callable[[Sequence[Row], Sequence[Row]], Sequence[str]]
"""A second evaluator of consent, `recheck(excluded, kept) -> violations`, given by the caller because this package
knows no filter. `excluded`: sampled consent exclusions with the columns of their evidence (`task file_row rhost path
reason host agents basis line rule body_sha256 fetched_at status`). `kept`: sampled kept documents (`task file_row rhost
url`). It answers one line per decision that it would have taken otherwise."""


@dataclass(frozen=True, slots=True)
class Check:
    """One named check.

    Attributes:
        name: what is checked, in a few words.
        passed: True when nothing was found.
        detail: what was examined when it passed; the first violation, and how many more, when not.
        violations: the first `NAMED_PER_CHECK` of them, each naming its file, row or key.
        found: how many there are.
    """

    name: str
    passed: bool
    detail: str
    violations: tuple[str, ...] = ()
    found: int = 0


@dataclass(frozen=True, slots=True)
class AuditResult:
    """All checks of one version of a corpus."""

    corpus: str
    version: int
    root: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when every check passed."""
        return all(check.passed for check in self.checks)


def audit(
    corpus: Corpus, sample: int = 200, recheck: Recheck | None = None, expected_root: str | None = None
) -> AuditResult:
    """Check a corpus against its manifest; reads, never writes, and never raises for what is wrong with the corpus.

    Args:
        sample: row groups of text re-read when the corpus is large (`ALL_TEXTS_UP_TO`), and documents of each side
            given to `recheck`; 0 means all. The choice is a hash of the root, so it is the same for everybody.
        recheck: a second evaluator of consent decisions.
        expected_root: the Merkle root as published elsewhere (a card, a release, a receipt), hexadecimal.
    """
    notes = _Notes()
    if expected_root is not None:
        with notes.check("expected root", f"the root is {expected_root[:16]}…, as expected"):
            if _root(corpus).lower() != expected_root.strip().lower():
                notes.add(f"run.json: the root is {_root(corpus)}, expected was {expected_root}: another corpus")
    records = _records(corpus, notes)
    tasks = _tables(corpus, records, notes)
    _shards(corpus, notes)
    _strays(corpus, notes)
    _totals(corpus, records, notes)
    _account(corpus, tasks, notes)
    _texts(corpus, tasks, sample, notes)
    _queries(corpus, tasks, notes)
    if recheck is not None:
        _recheck(corpus, sample, recheck, notes)
    return AuditResult(str(corpus.path), corpus.version, _root(corpus), notes.checks())


def render(result: AuditResult) -> Table:
    """The result as a table for the terminal."""
    verdict = "passed" if result.passed else "FAILED"
    table = Table(title=f"Audit of version {result.version}, root {result.root[:16]}…: {verdict}", title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("")
    table.add_column("examined, or what is wrong", overflow="fold")
    for check in result.checks:
        mark = Text("ok", style="green") if check.passed else Text("FAIL", style="bold red")
        table.add_row(Text(check.name), mark, Text(printable(check.detail)))
    return table


def to_json(result: AuditResult) -> dict[str, Any]:
    """The result as a value that `json.dumps` takes, with every violation that was named."""
    return {
        "corpus": result.corpus,
        "version": result.version,
        "root": result.root,
        "passed": result.passed,
        "checks": [
            {
                "name": check.name,
                "passed": check.passed,
                "detail": check.detail,
                "found": check.found,
                "violations": list(check.violations),
            }
            for check in result.checks
        ],
    }


def printable(text: str) -> str:
    """`text` with control, format and bidirectional characters escaped: hosts and paths come from strangers."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


class _Notes:
    """Collects violations under the check that is open; checks appear in the order in which they were first opened."""

    def __init__(self) -> None:
        self._examined: dict[str, str] = {}
        self._violations: dict[str, list[str]] = {}
        self._found: dict[str, int] = {}
        self._open: list[str] = []

    @contextlib.contextmanager
    def check(self, name: str, examined: str | None = None) -> Iterator[None]:
        """Open a check. What the corpus makes us stumble over is a violation of it, not a crash of ours."""
        self._violations.setdefault(name, [])
        self._found.setdefault(name, 0)
        if examined is not None:
            self._examined[name] = examined
        self._open.append(name)
        try:
            yield
        except (CorpusError, OSError, pa.ArrowException, duckdb.Error) as error:
            self.add(f"could not be read: {_one_line(error)}")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            self.add(f"not of the expected form: {type(error).__name__}: {_one_line(error)}")
        finally:
            self._open.pop()

    def add(self, violation: str) -> None:
        name = self._open[-1]
        self._found[name] += 1
        if len(self._violations[name]) < NAMED_PER_CHECK:
            self._violations[name].append(violation)

    def examined(self, text: str) -> None:
        self._examined[self._open[-1]] = text

    def checks(self) -> tuple[Check, ...]:
        checks = []
        for name, violations in self._violations.items():
            found = self._found[name]
            more = f" (and {found - 1:,} more)" if found > 1 else ""
            detail = violations[0] + more if violations else self._examined.get(name, "")
            checks.append(Check(name, not found, detail, tuple(violations), found))
        return tuple(checks)


@dataclass(frozen=True, slots=True)
class _Task:
    """A task whose three tables could be read."""

    name: str
    record: Row
    kept: pa.Table
    decisions: pa.Table
    evidence: pa.Table


# -- digests


def _records(corpus: Corpus, notes: _Notes) -> list[Row]:
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
            if not _safe(name):
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
        if shards != run["shards"]:
            known = {shard.get("name") for shard in shards}
            other = [shard["name"] for shard in run["shards"] if shard["name"] not in known]
            notes.add(f"run.json: its shards are not those of the task records{': ' + other[0] if other else ''}")
    return records


def _tables(corpus: Corpus, records: Sequence[Row], notes: _Notes) -> list[_Task]:
    tasks = []
    rollups = ("counts", "hosts", *_withdrawals(corpus))
    number = len(TABLES) * len(records) + len(rollups)
    with notes.check("tables", f"{number:,} tables have the recorded digests, rows and columns"):
        for record in records:
            name = record["name"]
            loaded = {}
            for table in TABLES:
                with notes.check("tables"):
                    path = corpus.manifest / table / f"{name}.parquet"
                    if (found := _table(path, table, record["tables"][table], name, notes)) is not None:
                        loaded[table] = found
            if len(loaded) == len(TABLES):
                tasks.append(_Task(name, record, **loaded))
        for table in rollups:
            with notes.check("tables"):
                _table(corpus.manifest / f"{table}.parquet", table, corpus.run["tables"][table], None, notes)
    return tasks


def _table(path: Path, table: str, described: Row, task: str | None, notes: _Notes) -> pa.Table | None:
    """Read a manifest table and hold it against its description; None when its columns are not the table's."""
    where = f"{table}/{path.name}" if task is not None else path.name
    if file_sha256(path) != described["sha256"]:
        notes.add(f"{where}: its SHA-256 is not the one recorded: altered")
    found = pq.read_table(path, partitioning=None)
    if len(found) != described["rows"]:
        notes.add(f"{where}: {len(found):,} rows, recorded are {described['rows']:,}")
    if path.stat().st_size != described["bytes"]:
        notes.add(f"{where}: {path.stat().st_size:,} bytes, recorded are {described['bytes']:,}")
    footer = found.schema.metadata or {}
    if task is not None and footer.get(b"fairtrove.task") != task.encode():
        notes.add(f"{where}: its footer is that of task {footer.get(b'fairtrove.task')!r}")
    if not found.schema.remove_metadata().equals(SCHEMAS[table]):
        notes.add(f"{where}: columns are not those of format {FORMAT}: {', '.join(found.schema.names)}")
        return None
    return found


def _shards(corpus: Corpus, notes: _Notes) -> None:
    with notes.check("shards"):
        size = sum(shard["bytes"] for shard in corpus.run["shards"])
        notes.examined(f"{len(corpus.shards):,} shards, {size / 1e6:,.1f} MB, have the recorded digests and rows")
        names = [shard.name for shard in corpus.shards]
        if len(set(names)) != len(names):
            notes.add("run.json: a shard is listed twice")
        for shard, described in zip(corpus.shards, corpus.run["shards"], strict=True):
            with notes.check("shards"):
                if not shard.name.startswith("shards/") or not _safe(shard.name):
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


def _strays(corpus: Corpus, notes: _Notes) -> None:
    """Files in the version's folder that nobody vouches for: readers do not see them, an auditor's glob would."""
    with notes.check("no strays", "nothing in the manifest's folder but what run.json names"):
        named = {"run.json", "counts.parquet", "hosts.parquet"}
        named |= {f"{name}.parquet" for name in _withdrawals(corpus)}
        for task in corpus.run["tasks"]:
            named |= {f"tasks/{task['name']}.json"} | {f"{table}/{task['name']}.parquet" for table in TABLES}
        for path in sorted(corpus.manifest.rglob("*")):
            name = path.relative_to(corpus.manifest).as_posix()
            if path.is_file() and name not in named:
                notes.add(f"{corpus.manifest.name}/{name}: no record names this file; a query by hand would read it")


# -- conservation


def _totals(corpus: Corpus, records: Sequence[Row], notes: _Notes) -> None:
    """Figures of `run.json` and of the table of counts are the sums and rows of the task records."""
    with notes.check("totals", "the figures in run.json are the sums over its tasks"):
        counts = [count for record in records for count in record["counts"]]
        sums = {
            "rows": sum(record["rows"] for record in records),
            "kept": sum(record["kept"] for record in records),
            "excluded": sum(record["excluded"] for record in records),
            "altered": sum(count["rows"] for count in counts if count["action"] == "alter"),
            "text_bytes_read": sum(count["text_bytes"] for count in counts if count["stage"] == Stage.INTAKE),
            "text_bytes_kept": sum(shard["text_bytes"] for shard in corpus.run["shards"]),
        }
        totals = corpus.run["totals"]
        for name, value in sums.items():
            if totals[name] != value:
                notes.add(f"run.json: totals.{name} is {totals[name]:,}, the tasks add up to {value:,}")
        if totals["rows"] != totals["kept"] + totals["excluded"]:
            notes.add("run.json: totals.rows is not totals.kept + totals.excluded")
    with notes.check("table of counts", "counts.parquet repeats the task records"):
        table = pq.read_table(corpus.manifest / "counts.parquet").to_pylist()
        expected = count_table(records).to_pylist()
        if len(table) != len(expected):
            notes.add(f"counts.parquet: {len(table):,} rows, the task records have {len(expected):,}")
        for place, (row, other) in enumerate(zip(table, expected, strict=False)):
            if row != other:
                fields = ", ".join(name for name in other if row[name] != other[name])
                notes.add(f"counts.parquet row {place} (task {other['task']}, {other['reason']}): {fields} differ")


def _account(corpus: Corpus, tasks: Sequence[_Task], notes: _Notes) -> None:
    """Conservation, multiset hashes and Merkle roots of each task, from its rows; then the roots of the corpus."""
    rows = sum(len(task.kept) + task.decisions.column("action").to_pylist().count("exclude") for task in tasks)
    decisions = sum(len(task.decisions) for task in tasks)
    recomputed: dict[str, dict[str, str]] = {task.name: {} for task in tasks}
    with notes.check("conservation", f"{rows:,} rows in = kept + excluded, in {len(tasks):,} tasks, stage by stage"):
        for task in tasks:
            with notes.check("conservation"):
                _conserve(task, notes)
    with notes.check("multiset hashes", f"{rows:,} rows: no loss, doubling or swap between stages"):
        for task in tasks:
            with notes.check("multiset hashes"):
                _multiset_hashes(task, notes)
    with notes.check(
        "Merkle roots", f"recomputed from {decisions:,} decisions and {rows:,} rows: {_root(corpus)[:16]}…"
    ):
        for task in tasks:
            with notes.check("Merkle roots"):
                for name, found in _roots(task).items():
                    recomputed[task.name][name] = found.hex()
                    if task.record["roots"][name] != found.hex():
                        notes.add(f"tasks/{task.name}.json: the root of {name} is not that of its rows")
        hosts = host_root(pq.read_table(corpus.manifest / "hosts.parquet"))
        value = corpus_root(({**task.record, "roots": recomputed[task.name]} for task in tasks), hosts).hex()
        if value != _root(corpus):
            notes.add(f"run.json: the root is {_root(corpus)[:16]}…, its tables give {value[:16]}…")
        if hosts.hex() != corpus.run["roots"]["hosts"]:
            notes.add(f"run.json: the root over hosts is not that of hosts.parquet ({hosts.hex()[:16]}…)")


def _conserve(task: _Task, notes: _Notes) -> None:
    record, where = task.record, f"tasks/{task.name}.json"
    if record["rows"] != record["kept"] + record["excluded"]:
        notes.add(f"{where}: {record['rows']:,} rows, {record['kept']:,} kept + {record['excluded']:,} excluded")
    if record["kept"] != len(task.kept):
        notes.add(f"{where}: {record['kept']:,} kept, kept/{task.name}.parquet has {len(task.kept):,} rows")
    excluded = task.decisions.column("action").to_pylist().count("exclude")
    if record["excluded"] != excluded:
        notes.add(f"{where}: {record['excluded']:,} excluded, decisions/{task.name}.parquet has {excluded:,}")
    in_shards = sum(shard["rows"] for shard in record["shards"])
    if record["kept"] != in_shards:
        notes.add(f"{where}: {record['kept']:,} kept, its shards hold {in_shards:,}")
    given = record.get("input", {})
    if given.get("rows") is not None and given.get("limit") is None and given["rows"] != record["rows"]:
        notes.add(f"{where}: the input file has {given['rows']:,} rows, {record['rows']:,} are accounted for")
    passed = record["rows"]
    entered: dict[str, int] = {}
    excluded_by: dict[str, int] = {}
    for count in record["counts"]:
        entered[count["stage"]] = entered.get(count["stage"], 0) + count["rows"]
        out = count["rows"] if count["action"] == "exclude" else 0
        excluded_by[count["stage"]] = excluded_by.get(count["stage"], 0) + out
    for stage in record.get("stages", entered):
        if entered.get(stage, 0) != passed:
            notes.add(f"{where}: {passed:,} documents reached {stage}, it counted {entered.get(stage, 0):,}")
        passed = entered.get(stage, 0) - excluded_by.get(stage, 0)
    if passed != record["kept"]:
        notes.add(f"{where}: {passed:,} documents passed the last stage, {record['kept']:,} were kept")
    for stage in entered.keys() - set(record.get("stages", entered)):
        notes.add(f"{where}: counts of stage {stage}, which the task did not run")


def _multiset_hashes(task: _Task, notes: _Notes) -> None:
    """Sums of SHA-256(key, row) modulo 2^256: recomputed from the rows where rows exist, carried from stage to stage
    where they do not."""
    where = f"tasks/{task.name}.json"
    ended: dict[str, int] = {}
    for key, file_row, passed_by in _rows(task.kept, ("key", "file_row", "trail")):
        ended[passed_by] = ended.get(passed_by, 0) + _mark(key, file_row)
    kept = sum(ended.values()) % MODULUS
    outcomes: dict[tuple[str, str, str, str | None], int] = {}
    columns = ("key", "file_row", "stage", "action", "reason", "language", "trail")
    for key, file_row, stage, action, reason, language, passed_by in _rows(task.decisions, columns):
        cell = (stage, action, reason, language)
        mark = _mark(key, file_row)
        outcomes[cell] = outcomes.get(cell, 0) + mark
        if action == "exclude":
            ended[passed_by] = ended.get(passed_by, 0) + mark
    _trails(task, ended, notes)
    entered: dict[str, int] = {}
    passed: dict[str, int] = {}
    for count in task.record["counts"]:
        value = int(count["multiset_hash"], 16)
        stage, action = count["stage"], count["action"]
        entered[stage] = entered.get(stage, 0) + value
        passed[stage] = passed.get(stage, 0) + (0 if action == "exclude" else value)
        if action != "keep":
            cell = (stage, action, count["reason"], count["language"])
            if outcomes.pop(cell, 0) % MODULUS != value:
                notes.add(f"{where}: the rows of {stage} {action} {count['reason']} are not those in the decisions")
    for stage, action, reason, _ in outcomes:
        notes.add(f"{where}: decisions of {stage} {action} {reason} are not counted")
    before: int | None = None
    for stage in sorted(entered, key=lambda name: _position(task.record, name)):
        if before is not None and (entered[stage] - before) % MODULUS:
            notes.add(f"{where}: the documents that entered {stage} are not those that the stage before let pass")
        before = passed[stage]
    if before is not None and (before - kept) % MODULUS:
        notes.add(f"{where}: the documents that passed the last stage are not those in kept/{task.name}.parquet")


def _trails(task: _Task, ended: Mapping[str, int], notes: _Notes) -> None:
    """The documents counted at each stage by reason and language are those whose trails say so. `ended`: by trail."""
    met: dict[tuple[int, str, str | None], int] = {}
    for passed_by, value in ended.items():
        for position, (reason, language) in enumerate(trail.steps(passed_by)):
            met[position, reason, language] = met.get((position, reason, language), 0) + value
    for count in task.record["counts"]:
        cell = (count["position"], count["reason"], count["language"])
        met[cell] = met.get(cell, 0) - int(count["multiset_hash"], 16)
    for (position, reason, language), left in met.items():
        if left % MODULUS:
            notes.add(
                f"tasks/{task.name}.json: the rows counted as {reason} ({language}) by stage {position} are not those "
                "whose trails say so"
            )


def _position(record: Row, stage: str) -> int:
    return min(count["position"] for count in record["counts"] if count["stage"] == stage)


def _mark(key: bytes, file_row: int) -> int:
    return int.from_bytes(sha256(key + file_row.to_bytes(8, "big", signed=file_row < 0)).digest(), "big")


def _roots(task: _Task) -> dict[str, bytes]:
    evidence = merkle.table_leaves(task.evidence, EVIDENCE_LEAF)
    leaf_of = dict(zip(task.evidence.column("evidence_id").to_pylist(), evidence, strict=True))
    decisions = []
    for *row, identifier in _rows(task.decisions, (*DECISION_LEAF, "evidence_id")):
        decisions.append(merkle.leaf(merkle.encode([*row, leaf_of.get(identifier)])))
    kept: list[bytes] = []
    for start in range(0, len(task.kept), _BATCH):
        kept += merkle.table_leaves(task.kept.slice(start, _BATCH), KEPT_LEAF)
    return {"decisions": merkle.root(decisions), "evidence": merkle.root(evidence), "kept": merkle.root(kept)}


def _rows(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for batch in table.select(list(columns)).to_batches(max_chunksize=_BATCH):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


# -- texts


def _texts(corpus: Corpus, tasks: Sequence[_Task], sample: int, notes: _Notes) -> None:
    """Each kept row against the shard row that it points to: text, length, key, language, licence, redactions."""
    total = sum(len(task.kept) for task in tasks)
    with notes.check("texts"):
        groups = [
            (shard, group)
            for shard in corpus.shards
            if _safe(shard.name) and shard.path.is_file()
            for group in range(_row_groups(shard.path))
        ]
        if sample and total > ALL_TEXTS_UP_TO:
            seed = _root(corpus).encode()
            groups.sort(key=lambda place: sha256(b"%b %b %d" % (seed, place[0].name.encode(), place[1])).digest())
            groups = sorted(groups[:sample], key=lambda place: (place[0].name, place[1]))
        read = 0
        shards_of: dict[str, dict[str, pa.Table]] = {}
        known = {shard.name for shard in corpus.shards}
        for task in tasks:
            ordered = task.kept.sort_by([("shard", "ascending"), ("shard_row", "ascending")])
            shards_of[task.name] = _by_shard(ordered)
            for shard_name in shards_of[task.name].keys() - known:
                notes.add(f"kept/{task.name}.parquet points to {shard_name}, which run.json does not list")
        for shard in corpus.shards:
            claimed = shards_of.get(shard.task, {}).get(shard.name)
            rows = 0 if claimed is None else len(claimed)
            if rows != shard.rows:
                notes.add(
                    f"{shard.name}: {shard.rows:,} documents, {rows:,} rows of kept/{shard.task}.parquet claim it"
                )
            elif claimed is not None:
                size = sum(claimed.column("text_bytes").to_pylist())
                if size != shard.text_bytes:
                    notes.add(f"{shard.name}: {shard.text_bytes:,} bytes of text recorded, its documents have {size:,}")
        for shard, group in groups:
            claimed = shards_of.get(shard.task, {}).get(shard.name)
            if claimed is not None:
                with notes.check("texts"):
                    read += _compare(shard, group, claimed, notes)
        part = "every text" if read == total else f"a sample of {read:,} texts in {len(groups):,} row groups"
        notes.examined(f"{part} of {total:,} has the digest, key and marks that the manifest gives it")


def _row_groups(path: Path) -> int:
    try:
        return pq.ParquetFile(path).metadata.num_row_groups
    except pa.ArrowException:
        return 0  # said by the check of shards


def _by_shard(ordered: pa.Table) -> dict[str, pa.Table]:
    names = ordered.column("shard").to_pylist()
    parts: dict[str, pa.Table] = {}
    start = 0
    for place in range(1, len(names) + 1):
        if place == len(names) or names[place] != names[start]:
            parts[names[start]] = ordered.slice(start, place - start)
            start = place
    return parts


def _compare(shard: Shard, group: int, claimed: pa.Table, notes: _Notes) -> int:
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


# -- queries


def _queries(corpus: Corpus, tasks: Sequence[_Task], notes: _Notes) -> None:
    """Run every `NN_*.sql`; each row of an answer is a violation."""
    paths: dict[str, list[str]] = {
        table: [str(corpus.manifest / table / f"{task.name}.parquet") for task in tasks] for table in TABLES
    }
    paths |= {table: corpus.tables(table) for table in ("counts", "hosts")}
    paths |= _withdrawal_paths(corpus, notes)
    with duckdb.connect() as connection:
        for file in sorted(QUERIES.glob("[0-9][0-9]_*.sql")):
            query = file.read_text(encoding="utf-8")
            if not paths.keys() >= set(parameters(query)):
                continue  # what a retraction withdrew, and this version is not made by one
            with notes.check(file.stem[3:].replace("_", " "), f"queries/{file.name} returns no row"):
                if not tasks:
                    continue
                result = connection.execute(query, {name: paths[name] for name in parameters(query)})
                names = [column[0] for column in result.description or ()]
                while rows := result.fetchmany(1000):
                    for row in rows:
                        notes.add(_describe_row(names, row))


def _withdrawal_paths(corpus: Corpus, notes: _Notes) -> dict[str, list[str]]:
    """What `14_tombstones.sql` reads: empty unless a retraction made this version and its parent is still there."""
    if len(_withdrawals(corpus)) < len(_WITHDRAWALS):
        return {}
    paths = {name: corpus.tables(name) for name in _WITHDRAWALS}
    with notes.check("tombstones", "the parent version is not here any more: not compared"):
        parent = corpus.run["parent"]
        if parent is None:
            notes.add("run.json: tombstones of no parent version")
        elif (corpus.path / "manifests" / f"v{parent:04d}" / "run.json").is_file():
            before = open_corpus(corpus.path, parent)
            paths["before"] = before.tables("kept")
            for record, path in zip(before.tasks, paths["before"], strict=True):
                verify_file(Path(path), record["tables"]["kept"]["sha256"])
            return paths
    return {}


def parameters(query: str) -> list[str]:
    """Names of the `$parameters` of a query, its comments left out."""
    code = re.sub(r"--[^\n]*", "", query)
    return sorted(set(re.findall(r"\$([a-z]+)", code)))


def _describe_row(names: Sequence[str], row: Sequence[Any]) -> str:
    shown = (
        (name, value.hex() if isinstance(value, bytes) else value)
        for name, value in zip(names, row, strict=True)
        if value is not None
    )
    return ", ".join(str(value) if name == "violation" else f"{name} {value}" for name, value in shown)


def _withdrawals(corpus: Corpus) -> list[str]:
    """Tables that only a version made by a retraction has."""
    tables = corpus.run["tables"]
    return [name for name in _WITHDRAWALS if isinstance(tables, dict) and name in tables]


# -- second evaluator


def _recheck(corpus: Corpus, sample: int, recheck: Recheck, notes: _Notes) -> None:
    limit = sample or (1 << 62)
    with notes.check("consent re-evaluated"), duckdb.connect() as connection:
        excluded = _dictionaries(
            connection.execute(
                """SELECT d.task, file_row, rhost, path, reason, host, agents, basis, line, rule, body_sha256,
                    fetched_at, status
                FROM (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($decisions, filename = true)) d
                JOIN (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($evidence, filename = true)) e
                    ON d.task = e.task AND d.evidence_id = e.evidence_id
                WHERE d.action = 'exclude' AND d.stage = 'robots'
                ORDER BY md5($seed || hex(key)), d.task, file_row LIMIT $limit""",
                {
                    "decisions": corpus.tables("decisions"),
                    "evidence": corpus.tables("evidence"),
                    "seed": _root(corpus),
                    "limit": limit,
                },
            )
        )
        kept = _dictionaries(
            connection.execute(
                """SELECT parse_filename(filename, true) AS task, file_row, rhost, shard, shard_row
                FROM read_parquet($kept, filename = true) WHERE rhost IS NOT NULL
                ORDER BY md5($seed || hex(key)), task, file_row LIMIT $limit""",
                {"kept": corpus.tables("kept"), "seed": _root(corpus), "limit": limit},
            )
        )
        urls = _urls(corpus, kept)
        for violation in recheck(excluded, urls):
            notes.add(str(violation))
        notes.examined(f"{len(excluded):,} consent exclusions and {len(urls):,} kept documents decided alike again")


def _urls(corpus: Corpus, kept: Sequence[Row]) -> list[Row]:
    by_shard: dict[str, list[Row]] = {}
    for row in kept:
        by_shard.setdefault(row["shard"], []).append(row)
    found: list[Row] = []
    for shard in corpus.shards:
        if rows := by_shard.get(shard.name):
            urls = pq.read_table(shard.path, columns=["url"], partitioning=None).column("url")
            found += [
                {"task": row["task"], "file_row": row["file_row"], "rhost": row["rhost"], "url": url}
                for row in rows
                if (url := urls[row["shard_row"]].as_py()) is not None
            ]
    return found


def _dictionaries(result: duckdb.DuckDBPyConnection) -> list[Row]:
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _root(corpus: Corpus) -> str:
    return str(corpus.run["roots"]["corpus"])


def _safe(name: str) -> bool:
    """A relative name that stays where it is put."""
    return bool(name) and not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]

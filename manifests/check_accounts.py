"""Second check of an audit: do the rows add up, by number and by which they are, and do they lead to the root?

A task's tables are read once, in parts, and nothing of a task outlives it, so that memory depends on no corpus's size.
Multiset hashes are sums of SHA-256(key, row) modulo 2^256: recomputed from the rows where rows exist, carried from
stage to stage where they do not. Two equal counts may hide an exchange; two equal sums do not.

Per row and CPU core 5 to 6 µs, of which three SHA-256 are half (`audit` in `tests/bench/LOG.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import merkle, trail
from manifests.check_files import Row, Task
from manifests.corpus import Corpus
from manifests.ledger import DECISION_LEAF, EVIDENCE_LEAF, KEPT_LEAF, MODULUS
from manifests.notes import Notes
from manifests.publish import corpus_root, count_table, host_root
from manifests.schema import Stage

_BATCH = 50_000


def check_accounts(corpus: Corpus, tasks: Sequence[Task], notes: Notes) -> None:
    """Conservation, multiset hashes and Merkle roots of each task, from its rows; then the roots of the corpus."""
    root = str(corpus.run["roots"]["corpus"])
    roots: dict[str, dict[str, str]] = {}
    rows = decisions = 0
    names = ("conservation", "multiset hashes", "Merkle roots")
    for name in names:
        with notes.check(name):
            pass
    for task in tasks:
        with notes.check("conservation"):
            found = _Sums()
            roots[task.name] = {}
            roots[task.name] = {name: value.hex() for name, value in _read(task, found).items()}
            rows += found.kept + found.excluded
            decisions += found.decisions
            _conserve(task, found, notes)
            with notes.check("multiset hashes"):
                _multiset_hashes(task, found, notes)
            with notes.check("Merkle roots"):
                for name, value in roots[task.name].items():
                    if task.record["roots"][name] != value:
                        notes.add(f"tasks/{task.name}.json: the root of {name} is not that of its rows")
    examined = (
        f"{rows:,} rows in = kept + excluded, in {len(tasks):,} tasks, stage by stage",
        f"{rows:,} rows: no loss, doubling or swap between stages",
        f"recomputed from {decisions:,} decisions and {rows:,} rows: {root[:16]}…",
    )
    for name, text in zip(names, examined, strict=True):
        with notes.check(name, text):
            pass
    with notes.check("Merkle roots"):
        hosts = host_root(pq.read_table(corpus.manifest / "hosts.parquet"))
        value = corpus_root(({**task.record, "roots": roots.get(task.name, {})} for task in tasks), hosts).hex()
        if value != root:
            notes.add(f"run.json: the root is {root[:16]}…, its tables give {value[:16]}…")
        if hosts.hex() != corpus.run["roots"]["hosts"]:
            notes.add(f"run.json: the root over hosts is not that of hosts.parquet ({hosts.hex()[:16]}…)")


class _Sums:
    """What a task's rows add up to.

    Attributes:
        kept, excluded, decisions: number of rows.
        ended: multiset hash by trail of the documents that ended there.
        outcomes: multiset hash by stage, action, reason and language of what decisions were made of.
    """

    def __init__(self) -> None:
        self.kept = self.excluded = self.decisions = 0
        self.kept_hash = 0
        self.ended: dict[str, int] = {}
        self.outcomes: dict[tuple[str, str, str, str | None], int] = {}


def _read(task: Task, sums: _Sums) -> dict[str, bytes]:
    """Read a task's tables once: their sums, and the roots of their trees."""
    evidence = pq.read_table(task.tables["evidence"], partitioning=None)
    leaves = merkle.table_leaves(evidence, EVIDENCE_LEAF)
    numbers = evidence.column("evidence_id").combine_chunks()
    behind = pa.array([*leaves, None], pa.binary())
    decisions, kept = merkle.RootBuilder(), merkle.RootBuilder()
    for part in _parts(task.tables["decisions"]):
        place = pc.fill_null(pc.index_in(part.column("evidence_id"), value_set=numbers), len(leaves))
        place = pc.if_else(pc.is_null(part.column("evidence_id")), len(leaves), place).combine_chunks()
        decisions.add(merkle.table_leaves(part, DECISION_LEAF, behind.take(place)))
        gone = pc.equal(part.column("action"), "exclude")
        sums.decisions += len(part)
        sums.excluded += pc.sum(gone).as_py() or 0
        columns = ("stage", "action", "reason", "language", "trail")
        for (*outcome, passed_by), value in _added(part, columns, _marks(part)):
            cell = tuple(outcome)
            sums.outcomes[cell] = sums.outcomes.get(cell, 0) + value
            if cell[1] == "exclude":
                sums.ended[passed_by] = sums.ended.get(passed_by, 0) + value
    for part in _parts(task.tables["kept"]):
        kept.add(merkle.table_leaves(part, KEPT_LEAF))
        sums.kept += len(part)
        for (passed_by,), value in _added(part, ("trail",), _marks(part)):
            sums.ended[passed_by] = sums.ended.get(passed_by, 0) + value
            sums.kept_hash += value
    return {"decisions": decisions.root(), "evidence": merkle.root(leaves), "kept": kept.root()}


def _parts(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH, use_threads=False):
            yield pa.Table.from_batches([batch]).combine_chunks()


def _marks(part: pa.Table) -> np.ndarray:
    """What each row adds to a multiset hash, as eight limbs of 32 bits: [rows, 8], most significant first."""
    marked = np.empty((len(part), 24), np.uint8)
    keys = part.column("key").combine_chunks().cast(pa.binary(16))
    marked[:, :16] = np.frombuffer(keys.buffers()[1], np.uint8)[16 * keys.offset :][: 16 * len(keys)].reshape(-1, 16)
    marked[:, 16:] = part.column("file_row").to_numpy().astype(">i8").view(np.uint8).reshape(-1, 8)
    content = marked.tobytes()
    digests = b"".join([sha256(content[start : start + 24]).digest() for start in range(0, len(content), 24)])
    return np.frombuffer(digests, ">u4").reshape(-1, 8).astype(np.uint32)


def _added(part: pa.Table, columns: Sequence[str], marks: np.ndarray) -> Iterable[tuple[tuple[Any, ...], int]]:
    """Sums of marks by the values of some columns of few different words."""
    if not len(part):
        return
    codes = np.zeros(len(part), np.int64)
    for name in columns:
        encoded = part.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    # A batch has fewer than 2^21 rows, so that sums of 32-bit limbs are exact in a double's 53 bits.
    limbs = [np.bincount(codes, weights=marks[:, limb], minlength=len(first)) for limb in range(8)]
    named = part.select(list(columns)).take(pa.array(first)).to_pylist()
    for place, row in enumerate(named):
        yield tuple(row.values()), sum(int(limbs[limb][place]) << 32 * (7 - limb) for limb in range(8))


def check_totals(corpus: Corpus, records: Sequence[Row], notes: Notes) -> None:
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


def _conserve(task: Task, found: _Sums, notes: Notes) -> None:
    record, where = task.record, f"tasks/{task.name}.json"
    if record["rows"] != record["kept"] + record["excluded"]:
        notes.add(f"{where}: {record['rows']:,} rows, {record['kept']:,} kept + {record['excluded']:,} excluded")
    if record["kept"] != found.kept:
        notes.add(f"{where}: {record['kept']:,} kept, kept/{task.name}.parquet has {found.kept:,} rows")
    excluded = found.excluded
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


def _multiset_hashes(task: Task, found: _Sums, notes: Notes) -> None:
    where = f"tasks/{task.name}.json"
    _trails(task, found.ended, notes)
    outcomes = dict(found.outcomes)
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
    if before is not None and (before - found.kept_hash) % MODULUS:
        notes.add(f"{where}: the documents that passed the last stage are not those in kept/{task.name}.parquet")


def _trails(task: Task, ended: Mapping[str, int], notes: Notes) -> None:
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

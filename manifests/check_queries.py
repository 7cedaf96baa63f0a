"""Fourth check of an audit: the SQL in `queries/NN_*.sql`, each row of an answer a violation.

An auditor runs the same files by hand over everything at once. Here, queries that relate rows of one task to each other
(all but the two about hosts and order) run over some tasks at a time, with the counts of just these, so that the memory
for their joins does not grow with the corpus.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.check_files import WITHDRAWALS, Task, withdrawals
from manifests.corpus import Corpus, open_corpus, verify_file
from manifests.notes import Notes

QUERIES = Path(__file__).parent / "queries"
ROWS_AT_A_TIME = 2_000_000
MEMORY_LIMIT = "1GB"
"""Of duckdb's own buffers; what does not fit spills to a temporary folder."""


def check_queries(corpus: Corpus, tasks: Sequence[Task], queries: Path, notes: Notes) -> None:
    """Run every numbered query of a folder."""
    files = [(file, file.read_text(encoding="utf-8")) for file in sorted(queries.glob("[0-9][0-9]_*.sql"))]
    before = _before(corpus, notes)
    with tempfile.TemporaryDirectory(prefix="fairtrove-audit-") as scratch, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("SET temp_directory = $folder", {"folder": str(Path(scratch) / "spill")})
        connection.execute("SET preserve_insertion_order = false")
        for file, query in files:
            wanted = parameters(query)
            if not (before.keys() >= set(wanted) - _ALWAYS):
                continue  # what a retraction withdrew, and this version is not made by one
            with notes.check(file.stem[3:].replace("_", " "), f"queries/{file.name} returns no row"):
                whole = "hosts" in wanted or "tombstones" in wanted
                for chosen in [tasks] if whole else _portions(tasks):
                    if chosen:
                        paths = _paths(corpus, chosen, wanted, whole or len(chosen) == len(tasks), Path(scratch))
                        result = connection.execute(query, {name: (paths | before)[name] for name in wanted})
                        _add_rows(result, notes)


_ALWAYS = {"kept", "decisions", "evidence", "counts", "hosts"}


def parameters(query: str) -> list[str]:
    """Names of the `$parameters` of a query, its comments left out."""
    code = re.sub(r"--[^\n]*", "", query)
    return sorted(set(re.findall(r"\$([a-z]+)", code)))


def _portions(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    """Tasks in groups of about `ROWS_AT_A_TIME` rows."""
    group: list[Task] = []
    rows = 0
    for task in tasks:
        size = sum(pq.read_metadata(task.tables[name]).num_rows for name in ("kept", "decisions"))
        if group and rows + size > ROWS_AT_A_TIME:
            yield group
            group, rows = [], 0
        group.append(task)
        rows += size
    yield group


def _paths(
    corpus: Corpus, tasks: Sequence[Task], wanted: Sequence[str], whole: bool, scratch: Path
) -> dict[str, list[str]]:
    paths = {name: [str(task.tables[name]) for task in tasks] for name in ("kept", "decisions", "evidence")}
    paths |= {name: corpus.tables(name) for name in ("counts", "hosts")}
    if "counts" in wanted and not whole:
        counts = pq.read_table(corpus.tables("counts")[0], partitioning=None)
        own = pc.is_in(counts.column("task"), value_set=pa.array([task.name for task in tasks], pa.string()))
        pq.write_table(counts.filter(own), scratch / "counts.parquet")
        paths["counts"] = [str(scratch / "counts.parquet")]
    return paths


def _add_rows(result: duckdb.DuckDBPyConnection, notes: Notes) -> None:
    names = [column[0] for column in result.description or ()]
    while rows := result.fetchmany(1000):
        for row in rows:
            shown = (
                (name, value.hex() if isinstance(value, bytes) else value)
                for name, value in zip(names, row, strict=True)
                if value is not None
            )
            notes.add(", ".join(str(value) if name == "violation" else f"{name} {value}" for name, value in shown))


def _before(corpus: Corpus, notes: Notes) -> dict[str, list[str]]:
    """What `14_tombstones.sql` reads: empty unless a retraction made this version and its parent is still there."""
    if len(withdrawals(corpus)) < len(WITHDRAWALS):
        return {}
    paths = {name: corpus.tables(name) for name in WITHDRAWALS}
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

"""Fifth check of an audit: documents drawn at random are decided again, by evaluators that the caller brings.

This package knows no filter, so it draws and reports, and the evaluators judge (`pipeline.recheck`, `pipeline.rescan`).
The draw is by the order of a hash of seed and key: the same seed draws the same documents for everybody, each document
with the same chance. The default seed is the root of the corpus, which its maker knows before anybody else; who does
not trust the maker gives a seed of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.check_files import Row, Task
from manifests.corpus import Corpus
from manifests.notes import Notes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an evaluator found.

    Attributes:
        violations: one line per decision that it would have taken otherwise and cannot explain.
        examined: what it looked at and how sure that makes us, for when there are none.
        skipped: True when what it needs is not there; `examined` says what.
    """

    violations: Sequence[str]
    examined: str
    skipped: bool = False


Recheck = Callable[[Iterator[Row], Iterator[Row]], Verdict]
"""A second evaluator of consent, `recheck(excluded, kept)`. `excluded`: drawn exclusions by robots.txt, with the
columns of their evidence (`task source file_row rhost path reason host agents basis line rule body_sha256 fetched_at
status`). `kept`: drawn kept documents with a URL (`task source file_row rhost url`)."""

Rescan = Callable[[int, Iterator[Row]], Verdict]
"""A second pass of every filter, `rescan(kept, documents)`: `kept` is the number of kept documents of the corpus,
`documents` those drawn, with the columns of their shard and `task source file_row trail altered`."""


def check_consent(
    corpus: Corpus, tasks: Sequence[Task], recheck: Recheck, number: int, seed: str, present: bool, notes: Notes
) -> None:
    """Consent decisions, re-derived by another evaluator; of kept documents where shards, which have the URLs, are
    present."""
    with notes.check("consent re-derived"), duckdb.connect() as connection:
        sources = _sources(tasks)
        excluded = _dictionaries(connection, _EXCLUDED, _paths(tasks, "decisions", "evidence"), number, seed)
        kept = _dictionaries(connection, _KEPT, _paths(tasks, "kept"), number, seed, "rhost IS NOT NULL")
        kept = kept if present else []
        _report(
            recheck(
                ({**row, "source": sources[row["task"]]} for row in excluded),
                (
                    {**row, "source": sources[row["task"]]}
                    for row in _from_shards(corpus, kept, ["url"])
                    if row["url"] is not None
                ),
            ),
            "consent re-derived",
            notes,
        )


def check_filters(corpus: Corpus, tasks: Sequence[Task], rescan: Rescan, number: int, seed: str, notes: Notes) -> None:
    """A random sample of kept documents, scanned again by every filter."""
    with notes.check("re-scanned"), duckdb.connect() as connection:
        sources = _sources(tasks)
        total = sum(task.record["kept"] for task in tasks)
        kept = _dictionaries(connection, _KEPT, _paths(tasks, "kept"), number, seed)
        altered = {
            (row[0], row[1])
            for row in (connection.execute(_ALTERED, _paths(tasks, "decisions")).fetchall() if tasks else ())
        }
        documents = (
            {**row, "source": sources[row["task"]], "altered": (row["task"], row["file_row"]) in altered}
            for row in _from_shards(corpus, kept, None)
        )
        _report(rescan(total, documents), "re-scanned", notes)


_EXCLUDED = """
    SELECT d.task, file_row, rhost, path, reason, host, agents, basis, line, rule, body_sha256, fetched_at, status
    FROM (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($decisions, filename = true)) d
    JOIN (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($evidence, filename = true)) e
        ON d.task = e.task AND d.evidence_id = e.evidence_id
    WHERE d.action = 'exclude' AND d.reason IN ('agent_disallowed', 'star_disallowed')
    ORDER BY md5($seed || hex(key)), d.task, file_row LIMIT $number"""
_KEPT = """
    SELECT task, file_row, rhost, shard, shard_row, trail FROM (
        SELECT *, parse_filename(filename, true) AS task FROM read_parquet($kept, filename = true) WHERE {where}
        ORDER BY md5($seed || hex(key)), task, file_row LIMIT $number)
    ORDER BY shard, shard_row"""
_ALTERED = """
    SELECT DISTINCT parse_filename(filename, true), file_row FROM read_parquet($decisions, filename = true)
    WHERE action = 'alter'"""


def _report(verdict: Verdict, name: str, notes: Notes) -> None:
    if verdict.skipped:
        notes.skip(name, verdict.examined)
    for violation in verdict.violations:
        notes.add(violation)
    notes.examined(verdict.examined)


def _sources(tasks: Sequence[Task]) -> dict[str, str]:
    return {task.name: str(task.record["source"]) for task in tasks}


def _paths(tasks: Sequence[Task], *names: str) -> dict[str, Any]:
    return {name: [str(task.tables[name]) for task in tasks] for name in names}


def _dictionaries(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    paths: Mapping[str, Any],
    number: int,
    seed: str,
    where: str = "true",
) -> list[dict[str, Any]]:
    if not all(paths.values()):
        return []
    result = connection.execute(query.replace("{where}", where), {**paths, "number": number, "seed": seed})
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _from_shards(corpus: Corpus, rows: Sequence[dict[str, Any]], columns: list[str] | None) -> Iterator[dict[str, Any]]:
    """Rows, in order of their places, with columns of their shards: row group by row group, so that memory is one's."""
    known = {shard.name: shard.path for shard in corpus.shards}
    place = 0
    while place < len(rows):
        name = rows[place]["shard"]
        with pq.ParquetFile(known[name]) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                chosen = []
                while place < len(rows) and rows[place]["shard"] == name and rows[place]["shard_row"] < end:
                    chosen.append(rows[place])
                    place += 1
                if chosen:
                    table = file.read_row_group(group, columns=columns)
                    found = table.take(pa.array([row["shard_row"] - start for row in chosen]))
                    for row, values in zip(chosen, found.to_pylist(), strict=True):
                        yield {**values, **row}
                start = end
        while place < len(rows) and rows[place]["shard"] == name:
            place += 1  # beyond the end of the shard: said by the checks before

"""How much of a corpus a robots snapshot speaks about: hosts, documents and text bytes, by kind of entry and its age.

Counted over the corpus's `hosts` table, so over every document of its inputs, kept or excluded, without touching text.
A document without an entry is one whose consent nobody knows, and so is one whose entry is a failure; they are counted
apart here, and neither is "allowed".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from filters.robots import origin
from manifests.corpus import Corpus
from manifests.schema import reverse_host
from pipeline.snapshot_sources import read_source
from pipeline.snapshots import OTHER_FILES, Outcome
from pipeline.terminal import UsageError

NO_ENTRY, NO_HOST = "no entry", "no host"
AGES: dict[str, int] = {
    "up to a day": 1,  # RFC 9309, 2.4: a copy should not be used for longer
    "up to a week": 7,
    "up to 30 days": 30,  # 2.3.1.4: after that an unreachable file may be taken for none
    "up to 90 days": 90,
    "up to a year": 365,
}
"""Classes of age by their last day."""
OLDER, LATER, UNDATED = "over a year", "later than that day", "no date"
_BATCH = 50_000


@dataclass(frozen=True, slots=True)
class Amount:
    """Hosts, documents, and UTF-8 bytes of their texts as read."""

    hosts: int = 0
    documents: int = 0
    text_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """A corpus against a snapshot.

    Attributes:
        totals, covered: `all`, `kept` and `excluded` documents; those of them whose host has an entry.
        by_outcome: every document is in one class: an `Outcome`, `NO_ENTRY`, or `NO_HOST` for rows without a URL.
        by_file: those whose host's entry also holds a `tdmrep` or an `ai_txt`.
        by_age: the covered ones by the age of their entry on the day `as_of`.
    """

    corpus: str
    version: int
    snapshot: str
    as_of: str
    totals: dict[str, Amount]
    covered: dict[str, Amount]
    by_outcome: dict[str, Amount]
    by_age: dict[str, Amount]
    by_file: dict[str, Amount]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return asdict(self)


def measure_coverage(corpus: Corpus, snapshot: Path, as_of: date) -> Coverage:
    """Join a corpus's hosts with a snapshot.

    Raises:
        UsageError: the snapshot is none.
        SnapshotSourceError: it is damaged.
    """
    if snapshot.is_dir() or not snapshot.is_file():
        raise UsageError(f"{snapshot}: not a snapshot; make one with fairtrove robots build, or fetch")
    with duckdb.connect(config={"memory_limit": "512MB", "threads": 2}) as tables:
        tables.execute("SET enable_progress_bar = false")  # it goes to stdout, where --json does
        _load(tables, snapshot)
        ages = " ".join(f"WHEN age <= {days} THEN '{name}'" for name, days in AGES.items())
        (hosts,) = corpus.tables("hosts")
        tables.execute(
            f"""CREATE TABLE joined AS
                SELECT rhost, rows, text_bytes, tdmrep, ai_txt,
                    CASE action WHEN 'keep' THEN 'kept' ELSE 'excluded' END AS action,
                    CASE WHEN rhost IS NULL THEN '{NO_HOST}' ELSE coalesce(outcome, '{NO_ENTRY}') END AS outcome,
                    CASE WHEN outcome IS NULL THEN NULL WHEN age IS NULL THEN '{UNDATED}' WHEN age < 0 THEN '{LATER}'
                        {ages} ELSE '{OLDER}' END AS age
                FROM read_parquet($hosts) LEFT JOIN (
                    SELECT rhost, outcome, tdmrep, ai_txt, $as_of::DATE - fetched_at::DATE AS age FROM entries
                    QUALIFY row_number() OVER (PARTITION BY rhost ORDER BY fetched_at DESC NULLS LAST, place DESC) = 1
                ) USING (rhost)""",
            {"hosts": hosts, "as_of": as_of},
        )

        def amounts(key: str, order: list[str], where: str = "true") -> dict[str, Amount]:
            rows = tables.execute(
                f"""SELECT {key}, count(DISTINCT rhost), CAST(sum(rows) AS BIGINT), CAST(sum(text_bytes) AS BIGINT)
                    FROM joined WHERE {where} GROUP BY 1"""
            ).fetchall()
            found = {name: Amount(*counts) for name, *counts in rows}
            return {name: found[name] for name in order if name in found}

        covered = "age IS NOT NULL"
        actions = ["kept", "excluded"]
        none = dict.fromkeys(["all", *actions], Amount())
        return Coverage(
            corpus=corpus.path.name,
            version=corpus.version,
            snapshot=snapshot.name,
            as_of=as_of.isoformat(),
            totals=none | amounts("'all'", ["all"]) | amounts("action", actions),
            covered=none | amounts("'all'", ["all"], covered) | amounts("action", actions, covered),
            by_outcome=amounts("outcome", [*Outcome, NO_ENTRY, NO_HOST]),
            by_age=amounts("age", [*AGES, OLDER, LATER, UNDATED], covered),
            by_file={name: Amount() for name in OTHER_FILES}
            | {name: found for name in OTHER_FILES for found in amounts(f"'{name}'", [name], name).values()},
        )


def print_coverage(console: Console, coverage: Coverage) -> None:
    """Three small tables: what is covered, what the entries are, how old they are."""
    everything = coverage.totals["all"]
    for heading, rows in (
        (f"version {coverage.version}, covered by {coverage.snapshot}", coverage.covered),
        ("by entry", coverage.by_outcome),
        ("with another file", coverage.by_file),
        (f"by age of the entry on {coverage.as_of}", coverage.by_age),
    ):
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column(heading, min_width=36)
        for column in ("hosts", "documents", "share", "text bytes", "share"):
            table.add_column(column, justify="right")
        for name, amount in rows.items():
            whole = coverage.totals[name] if rows is coverage.covered else everything
            table.add_row(
                name,
                f"{amount.hosts:,}",
                f"{amount.documents:,}",
                _percent(amount.documents, whole.documents),
                f"{amount.text_bytes:,}",
                _percent(amount.text_bytes, whole.text_bytes),
            )
        console.print(table)
        console.print()


def _percent(part: int, whole: int) -> str:
    """Rounded towards what is missing: only all is 100%."""
    return f"{int(1000 * part / whole) / 10:.1f}%" if whole else "·"


def _load(tables: duckdb.DuckDBPyConnection, snapshot: Path) -> None:
    tables.execute(
        "CREATE TABLE entries (rhost VARCHAR, fetched_at TIMESTAMP_MS, outcome VARCHAR, place BIGINT, "
        "tdmrep BOOLEAN, ai_txt BOOLEAN)"
    )
    schema = pa.schema(
        [
            ("rhost", pa.string()),
            ("fetched_at", pa.timestamp("ms")),
            ("outcome", pa.string()),
            ("place", pa.int64()),
            *((name, pa.bool_()) for name in OTHER_FILES),
        ]
    )

    def insert(rows: list[tuple]) -> None:
        columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)]
        tables.register("batch", pa.table(columns, schema))
        tables.execute("INSERT INTO entries SELECT * FROM batch")
        tables.unregister("batch")

    rows: list[tuple] = []
    for place, answer in enumerate(read_source(str(snapshot))):
        rhost = reverse_host(*origin(f"https://{answer.host}"))
        outcome = Outcome.of(answer.status, answer.body is not None).value
        others = (getattr(answer, name) is not None for name in OTHER_FILES)
        rows.append((rhost, answer.fetched_at, outcome, place, *others))
        if len(rows) == _BATCH:
            insert(rows)
            rows = []
    if rows:
        insert(rows)

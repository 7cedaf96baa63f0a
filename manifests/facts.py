"""What a version's manifest says about itself in figures: from here card, Croissant and summary take them.

Everything is a sum over the manifest's tables, so no document that is published with a corpus can give a total that the
tables do not. Dates of collection are the exception: they are a column of the shards, and unknown in a copy without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb

from manifests.corpus import Corpus
from manifests.schema import restore_host

BYTES_PER_TOKEN = 4
"""Of multilingual text under a tokenizer of 128k words, roughly; only bands of size are derived from it."""


@dataclass(frozen=True)
class Source:
    """One source of a corpus: what was read of it and what was kept, in documents and bytes of text."""

    name: str
    kind: str
    read: int
    kept: int
    read_bytes: int
    kept_bytes: int
    languages: int
    since: str | None = None
    until: str | None = None
    dumps: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """A corpus and its figures, each asked for once."""

    corpus: Corpus
    _connection: Any = field(default_factory=duckdb.connect, repr=False)

    @property
    def name(self) -> str:
        """Name of the corpus as its recipe has it."""
        recipe = self.corpus.run.get("recipe")
        return str((recipe.get("name") if isinstance(recipe, dict) else None) or self.corpus.path.name)

    @property
    def totals(self) -> Mapping[str, int]:
        """`totals` of `run.json`."""
        return self.corpus.run["totals"]

    @property
    def policies(self) -> Mapping[str, Mapping[str, Any]]:
        """Policy by source, as recorded."""
        recipe = self.corpus.run.get("recipe")
        found = recipe.get("policy") if isinstance(recipe, dict) else None
        return {name: policy for name, policy in (found or {}).items() if isinstance(policy, dict)}

    @cached_property
    def tokens(self) -> int:
        """Estimated tokens of the kept text."""
        return self.totals["text_bytes_kept"] // BYTES_PER_TOKEN

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Sources by name."""
        kinds = {task["source"]: task["kind"] for task in self.corpus.run["tasks"]}
        of = {task["name"]: task["source"] for task in self.corpus.run["tasks"]}
        read = {
            row[0]: row[1:]
            for row in self.ask(
                "SELECT source, CAST(sum(rows) AS BIGINT), CAST(sum(text_bytes) AS BIGINT) FROM read_parquet($counts) "
                "WHERE stage = 'intake' GROUP BY source",
                "counts",
            )
        }
        kept: dict[str, list[int]] = {}
        spoken: dict[str, set[str | None]] = {}
        for task, language, rows, size in self.ask(
            "SELECT parse_filename(filename, true), language, count(*), CAST(sum(text_bytes) AS BIGINT) "
            "FROM read_parquet($kept, filename = true) GROUP BY ALL",
            "kept",
        ):
            cell = kept.setdefault(of[task], [0, 0])
            cell[0] += rows
            cell[1] += size
            spoken.setdefault(of[task], set()).add(language)
        dates = self._dates()
        return tuple(
            Source(
                name,
                kinds[name],
                read.get(name, (0, 0))[0],
                kept.get(name, [0, 0])[0],
                read.get(name, (0, 0))[1],
                kept.get(name, [0, 0])[1],
                len(spoken.get(name, ())),
                *dates.get(name, (None, None, ())),
            )
            for name in sorted(kinds)
        )

    def _dates(self) -> dict[str, tuple[str | None, str | None, tuple[str, ...]]]:
        """First and last day and dumps of each source's kept documents, from the shards where they are."""
        paths = [str(shard.path) for shard in self.corpus.shards if shard.path.is_file()]
        if not paths:
            return {}
        rows = self._connection.execute(
            "SELECT source, min(left(date, 10)) FILTER (regexp_matches(date, '^[0-9]{4}-[0-9]{2}')), "
            "max(left(date, 10)) FILTER (regexp_matches(date, '^[0-9]{4}-[0-9]{2}')), "
            "list_sort(list_distinct(list(dump) FILTER (dump IS NOT NULL))) "
            "FROM read_parquet($shards, hive_partitioning = false) GROUP BY source",
            {"shards": paths},
        ).fetchall()
        return {source: (since, until, tuple(dumps or ())) for source, since, until, dumps in rows}

    @cached_property
    def languages(self) -> list[tuple[str, int, int]]:
        """Label, documents and bytes kept, the most documents first."""
        return self.ask(
            "SELECT coalesce(language, 'und_Zzzz') AS label, count(*) AS documents, CAST(sum(text_bytes) AS BIGINT) "
            "FROM read_parquet($kept) GROUP BY label ORDER BY documents DESC, label",
            "kept",
        )

    @cached_property
    def exclusions(self) -> list[tuple[str, str, int, int]]:
        """Stage, reason, documents and bytes of what was excluded, in the order of the pass."""
        return self.ask(
            "SELECT stage, reason, CAST(sum(rows) AS BIGINT), CAST(sum(text_bytes) AS BIGINT) "
            "FROM read_parquet($counts) WHERE action = 'exclude' GROUP BY stage, reason "
            "ORDER BY max(max(position)) OVER (PARTITION BY stage), stage, 3 DESC, reason",
            "counts",
        )

    @cached_property
    def consent(self) -> dict[str, int]:
        """Documents by what the consent stage said of them."""
        return dict(
            self.ask(
                "SELECT reason, CAST(sum(rows) AS BIGINT) FROM read_parquet($counts) WHERE stage = 'robots' "
                "GROUP BY reason ORDER BY reason",
                "counts",
            )
        )

    @cached_property
    def redactions(self) -> list[tuple[str, int, int]]:
        """Type, personal values replaced and documents, the most values first."""
        return self.ask(
            "SELECT entry.key AS type, CAST(sum(entry.value) AS BIGINT) AS number, count(*) "
            "FROM (SELECT unnest(map_entries(redactions)) AS entry FROM read_parquet($kept) "
            "WHERE redactions IS NOT NULL) GROUP BY type ORDER BY number DESC, type",
            "kept",
        )

    @cached_property
    def fetched(self) -> tuple[str | None, str | None]:
        """First and last date of the robots.txt files behind exclusions."""
        rows = self.ask(
            "SELECT min(fetched_at), max(fetched_at) FROM read_parquet($evidence) WHERE stage = 'robots'", "evidence"
        )
        return rows[0] if rows else (None, None)

    @cached_property
    def domains(self) -> list[tuple[str, int, int]]:
        """Registered domain, kept documents and bytes, the most bytes first; hosts without one count as themselves."""
        rows = self.ask(
            "SELECT rhost, CAST(sum(rows) AS BIGINT), CAST(sum(text_bytes) AS BIGINT) FROM read_parquet($hosts) "
            "WHERE action = 'keep' AND rhost IS NOT NULL GROUP BY rhost",
            "hosts",
        )
        import tldextract

        extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list that came with it: no network
        found: dict[str, list[int]] = {}
        for rhost, documents, size in rows:
            host = restore_host(rhost)[0]
            cell = found.setdefault(extract(host).top_domain_under_public_suffix or host, [0, 0])
            cell[0] += documents
            cell[1] += size
        return sorted(((name, cell[0], cell[1]) for name, cell in found.items()), key=lambda row: (-row[2], row[0]))

    def ask(self, query: str, *tables: str) -> list[Any]:
        """Rows of a query over some tables; none for a corpus without tasks."""
        if not self.corpus.run["tasks"]:
            return []
        return self._connection.execute(query, {name: self.corpus.tables(name) for name in tables}).fetchall()

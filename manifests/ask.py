"""Was my site used? What every version of a corpus kept and excluded of a host and its subdomains, and on what ground.

The answer comes from the rows, not from a rollup: documents by stage and reason, by signal, agents, line and date of
the evidence; for what was kept, what was known of consent (`allowed` and `host_unknown` are two things) and where each
document lies. Of a URL it says what became of it; a kept document's URL is read from its shard, in no manifest.

Tables are sorted by reversed host, so a host is a range of rows. Footers say which row groups can hold it, of those the
host column is read first and the others only where it is in there; `hosts.parquet` says first whether it is anywhere.
Files that versions share are read once. What it costs on 10 million documents: `ask` in `tests/bench/LOG.md`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.text import Text

from manifests import trail
from manifests.corpus import Corpus, open_corpus, published_versions
from manifests.printable import printable
from manifests.schema import CorpusError, FairtroveError, Stage, restore_host
from manifests.verify import belongs

Locate = Callable[[str], tuple[str | None, str | None]]
"""URL → reversed host and path, exactly as the pipeline wrote them; given by the caller, this package parses no URL."""

_GROUND: tuple[str, ...] = (
    "protocol",
    "host",
    "agents",
    "basis",
    "line",
    "rule",
    "body_sha256",
    "fetched_at",
    "status",
    "license",
)
_GROUND += ("detector", "threshold")
_SHOWN = 20


class QuestionError(FairtroveError):
    """What was asked names no host, or a URL of another one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Documents of one host that ended, or were altered, in the same way and on the same ground.

    Attributes:
        host: as written in a URL, with a port if it is not the scheme's default.
        action: `keep`, `alter` (also in a `keep` group, unless excluded later) or `exclude`.
        stage: who decided; of kept documents `robots`, None where no consent was asked for.
        reason: of `manifests.schema.Reason`; of kept documents what was known of consent.
        ground: columns of the evidence that are not null, digests as hexadecimal.
        documents, text_bytes: how much. Bytes are of the published text when kept, of the text as read otherwise.
    """

    host: str
    action: str
    stage: str | None
    reason: str | None
    ground: Mapping[str, Any]
    documents: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where kept documents of a host lie: a shard, relative to the corpus, and rows in it, ascending."""

    host: str
    shard: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One document that has the URL asked about.

    Attributes:
        task, file_row, key: which document it is; the key as hexadecimal.
        url: as in its shard; of an excluded one its address from the record.
        kept: whether it is in this version.
        shard, shard_row: where, if it is.
        decisions: what was decided of it but to keep it: stage, action, reason, ground.
    """

    task: str
    file_row: int
    key: str
    url: str
    kept: bool
    shard: str | None
    shard_row: int | None
    decisions: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class VersionAnswer:
    """What one version says.

    Attributes:
        version, root: which one.
        kept, excluded: documents of the site.
        withdrawn: documents of the site that this version, a retraction, took out of its parent.
        outcomes, places: in order of reversed host.
        pages: the documents that have the URL; None when none was asked about.
        unread: kept documents of the URL's host whose shard is not on disk (a later version replaced it).
    """

    version: int
    root: str
    kept: int
    excluded: int
    withdrawn: int
    outcomes: tuple[Outcome, ...]
    places: tuple[Place, ...]
    pages: tuple[Page, ...] | None
    unread: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What all published versions say, the oldest first. `rhost` and `path` are the question as the tables have it."""

    corpus: str
    site: str
    rhost: str
    url: str | None
    path: str | None
    versions: tuple[VersionAnswer, ...]


def ask(corpus: str | Path, site: str, url: str | None = None, *, locate: Locate) -> Answer:
    """What became of a site's documents, and of those with a URL.

    Args:
        site: a host (with its subdomains and all ports), a `host:port` or an IP address (alone), or a URL, of which the
            host counts. In any case, with an IDN or in punycode.
        url: an address on that site.
        locate: `pipeline.intake.locate`.

    Raises:
        QuestionError: no host in `site`, or `url` is elsewhere.
        CorpusError: no corpus, or a table that cannot be read.
    """
    rhost, path = question(site, url, locate)
    page_host = locate(url)[0] if url is not None else None
    newest = open_corpus(corpus)
    versions = [open_corpus(newest.path, number) for number in published_versions(newest.path)]
    reader = _Reader(rhost)
    answers: list[VersionAnswer] = []
    known: dict[tuple[str, int, bytes], str] = {}
    for version in reversed(versions):  # a shard that a retraction replaced is gone: newer versions know its pages
        answers.append(_version(version, reader, page_host, path, locate, known))
    return Answer(str(newest.path), site, rhost, url, path, tuple(reversed(answers)))


def question(site: str, url: str | None, locate: Locate) -> tuple[str, str | None]:
    """Reversed host of the site and path of the URL, as the tables have them.

    Raises:
        QuestionError: there is no host, or the URL is on another one.
    """
    site = site.strip()
    rhost = locate(_clean(site if "://" in site else f"https://{_bracketed(site)}"))[0]
    if not rhost:
        raise QuestionError(f"{printable(site)!r}: no host in it; write example.org, example.org:8080 or a URL")
    if url is None:
        return rhost, None
    page_host, path = locate(_clean(url.strip()))
    if not page_host or not belongs(page_host, rhost):
        raise QuestionError(f"{printable(url)!r}: not a URL on {host_of(rhost)}; write it whole, with https://")
    return rhost, path or "/"


def host_of(rhost: str | None) -> str:
    """`www.example.org:8080` from `org.example.www:8080`, an IPv6 address in brackets."""
    if not rhost:
        return ""
    host, port = restore_host(rhost)
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def to_json(answer: Answer) -> dict[str, Any]:
    """The answer as a value that `json.dumps` takes."""
    return asdict(answer)


def render(answer: Answer) -> Text:
    """The answer for the terminal: per version a headline, each host's outcomes with their ground, shards and pages."""
    lines: list[str] = []
    heads: list[int] = []
    for version in answer.versions:
        withdrawn = f", {version.withdrawn:,} of them withdrawn by this version" if version.withdrawn else ""
        heads.append(len(lines))
        lines.append(
            f"version {version.version}: {version.kept:,} documents of {host_of(answer.rhost)} kept, "
            f"{version.excluded:,} excluded{withdrawn}"
        )
        host = None
        for outcome in version.outcomes[: 5 * _SHOWN]:
            if outcome.host != host:
                host = outcome.host
                lines.append(f"  {host}")
            how = f"{outcome.stage}: {outcome.reason}" if outcome.stage else "no consent stage"
            lines.append(f"    {outcome.documents:,} {_DONE[outcome.action]} ({outcome.text_bytes:,} B), {how}")
            if outcome.ground:
                lines.append(f"      {_ground_text(outcome.ground)}")
        lines += _more(len(version.outcomes) - 5 * _SHOWN, "outcomes")
        for place in version.places[:_SHOWN]:
            rows = ", ".join(map(str, place.rows[:_SHOWN])) + (", …" if len(place.rows) > _SHOWN else "")
            lines.append(f"  in {place.shard} ({place.host}): rows {rows}")
        lines += _more(len(version.places) - _SHOWN, "shards")
        lines += _page_lines(answer, version)
    text = Text()
    for number, line in enumerate(lines):
        text.append(printable(line) + "\n" * (number + 1 < len(lines)), "bold" if number in heads else "")
    return text


_DONE = {"keep": "kept", "alter": "altered", "exclude": "excluded"}


def _more(number: int, what: str) -> list[str]:
    return [f"  … and {number:,} more {what}; --json lists them"] if number > 0 else []


def _ground_text(ground: Mapping[str, Any]) -> str:
    said = dict(ground)
    parts = [str(said.pop("protocol", ""))]
    said.pop("body_sha256", None)
    if (host := said.pop("host", None)) is not None:
        parts.append(f"of {host}")
    if (date := said.pop("fetched_at", None)) is not None:
        parts.append(f"as of {date}")
    if (line := said.pop("line", None)) is not None:
        parts.append(f"line {line}")
    if (rule := said.pop("rule", None)) is not None:
        parts.append(f"“{rule}”")
    return " ".join(part for part in parts if part) + "".join(f", {name} {value}" for name, value in said.items())


def _page_lines(answer: Answer, version: VersionAnswer) -> list[str]:
    if version.pages is None:
        return []
    lines = []
    for page in version.pages:
        where = f"kept: {page.shard}, row {page.shard_row}" if page.kept else "excluded"
        lines.append(f"  {page.url}: {where} (document {page.key})")
        for decision in page.decisions:
            ground = _ground_text(decision["ground"])
            lines.append(f"    {decision['stage']}: {decision['action']}, {decision['reason']}, {ground}")
    if not version.pages:
        lines.append(f"  {answer.url}: no document with this address")
    if version.unread:
        lines.append(
            f"  {version.unread:,} kept documents could not be compared: their shards are not on disk any more"
        )
    return lines


# -- one version


def _version(
    corpus: Corpus,
    reader: _Reader,
    page_host: str | None,
    path: str | None,
    locate: Locate,
    known: dict[tuple[str, int, bytes], str],
) -> VersionAnswer:
    hosts = reader.rows(corpus.tables("hosts")[0], ("rhost", "action", "shards"))
    holding = {shard for shards in hosts.column("shards").to_pylist() for shard in shards or ()}
    tasks = {shard["task"] for shard in corpus.run["shards"] if shard["name"] in holding}
    excluded_somewhere = "exclude" in hosts.column("action").to_pylist()
    outcomes: dict[tuple[Any, ...], list[int]] = {}
    places: dict[tuple[str, str], list[int]] = {}
    pages: list[Page] = []
    unread = 0
    which, what = ((), ()) if page_host is None else (("key", "file_row"), ("key", "file_row", "path"))
    for task in corpus.run["tasks"] if len(hosts) else ():
        name = task["name"]
        kept = decisions = None
        if name in tasks:
            kept = reader.rows(corpus.manifest / "kept" / f"{name}.parquet", (*_KEPT, *which))
            if len(kept):
                stages = _stages(corpus, name)
                _add_kept(kept, stages, outcomes)
                _add_places(kept, places)
        if name in tasks or excluded_somewhere:
            decisions = reader.rows(corpus.manifest / "decisions" / f"{name}.parquet", (*_DECIDED, *what))
            if len(decisions):
                grounds = reader.grounds(corpus.manifest / "evidence" / f"{name}.parquet", decisions)
                _add_decisions(decisions, grounds, outcomes)
        if page_host is not None and path is not None:
            found, missed = _pages(corpus, name, kept, decisions, reader, page_host, path, locate, known)
            pages += found
            unread += missed
    listed = [
        Outcome(host_of(rhost), action, stage, reason, dict(ground), *amount)
        for (rhost, action, stage, reason, ground), amount in sorted(outcomes.items(), key=_outcome_order)
    ]
    withdrawn = sum(len(reader.rows(table, ("rhost",))) for table in corpus.tables("tombstones"))
    return VersionAnswer(
        version=corpus.version,
        root=corpus.root,
        kept=sum(outcome.documents for outcome in listed if outcome.action == "keep"),
        excluded=sum(outcome.documents for outcome in listed if outcome.action == "exclude"),
        withdrawn=withdrawn,
        outcomes=tuple(listed),
        places=tuple(
            Place(host_of(rhost), shard, tuple(sorted(rows))) for (rhost, shard), rows in sorted(places.items())
        ),
        pages=tuple(pages) if page_host is not None else None,
        unread=unread,
    )


_KEPT = ("rhost", "shard", "shard_row", "text_bytes", "trail")
_DECIDED = ("rhost", "stage", "action", "reason", "evidence_id", "text_bytes")


def _outcome_order(item: tuple[tuple[Any, ...], Any]) -> tuple[Any, ...]:
    (rhost, action, stage, reason, ground), _ = item
    stages = [*Stage]
    place = stages.index(Stage(stage.partition(":")[0])) if stage and stage.partition(":")[0] in stages else -1
    return rhost, ("keep", "alter", "exclude").index(action), place, stage or "", reason or "", repr(ground)


def _add_kept(kept: pa.Table, stages: Sequence[str], outcomes: dict[tuple[Any, ...], list[int]]) -> None:
    at = stages.index(Stage.ROBOTS) if Stage.ROBOTS in stages else None
    stage = str(Stage.ROBOTS) if at is not None else None
    for (rhost, passed), amount in _tally(kept, ("rhost", "trail")).items():
        reason = None
        if at is not None and passed is not None and len(met := trail.steps(passed)) > at:
            reason = met[at][0]
        _add(outcomes, (rhost, "keep", stage, reason, ()), amount)


def _add_places(kept: pa.Table, places: dict[tuple[str, str], list[int]]) -> None:
    columns = (kept.column(name).to_pylist() for name in ("rhost", "shard", "shard_row"))
    for rhost, shard, row in zip(*columns, strict=True):
        places.setdefault((rhost, shard), []).append(row)


def _add_decisions(
    decisions: pa.Table, grounds: Mapping[int, Mapping[str, Any]], outcomes: dict[tuple[Any, ...], list[int]]
) -> None:
    tally = _tally(decisions, ("rhost", "action", "stage", "reason", "evidence_id"))
    for (*outcome, number), amount in tally.items():
        _add(outcomes, (*outcome, tuple(grounds.get(number, {}).items())), amount)


def _tally(rows: pa.Table, names: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    """Number and bytes of rows by their values in some columns; plain Python, as rows are mostly few."""
    tally: dict[tuple[Any, ...], list[int]] = {}
    sizes = rows.column("text_bytes").to_pylist()
    for values, size in zip(zip(*(rows.column(name).to_pylist() for name in names), strict=True), sizes, strict=True):
        _add(tally, values, (1, size))
    return tally


def _add(tally: dict[tuple[Any, ...], list[int]], values: tuple[Any, ...], amount: Sequence[int]) -> None:
    cell = tally.setdefault(values, [0, 0])
    cell[0] += amount[0]
    cell[1] += amount[1]


def _stages(corpus: Corpus, task: str) -> Sequence[str]:
    record = next(record for record in corpus.tasks if record["name"] == task)
    return record.get("stages", ())


# -- one URL


def _pages(
    corpus: Corpus,
    task: str,
    kept: pa.Table | None,
    decisions: pa.Table | None,
    reader: _Reader,
    page_host: str,
    path: str,
    locate: Locate,
    known: dict[tuple[str, int, bytes], str],
) -> tuple[list[Page], int]:
    """Documents of a task with that address, and how many kept ones could not be compared. `known`: paths of the host's
    documents as newer versions have them; those of this one are added."""
    decided: dict[tuple[int, bytes], list[dict[str, Any]]] = {}
    if decisions is not None and len(decisions):
        on_host = decisions.filter(pc.equal(decisions.column("rhost"), page_host))
        grounds = reader.grounds(corpus.manifest / "evidence" / f"{task}.parquet", on_host)
        for row in on_host.to_pylist():
            row["ground"] = dict(grounds.get(row["evidence_id"], {}))
            decided.setdefault((row["file_row"], row["key"]), []).append(row)
    pages: list[Page] = []
    unread = 0
    if kept is not None and len(kept):
        kept = kept.filter(pc.equal(kept.column("rhost"), page_host))
        for shard in sorted(set(kept.column("shard").to_pylist())):
            rows = kept.filter(pc.equal(kept.column("shard"), shard)).to_pylist()
            urls = reader.urls(corpus.path / shard, [row["shard_row"] for row in rows])
            for place, row in enumerate(rows):
                document = (row["file_row"], row["key"])
                own = decided.get(document, [])
                url = urls[place] if urls is not None else None
                if url is not None:
                    known[(task, *document)] = locate(url)[1] or "/"
                elif own:
                    known[(task, *document)] = own[0]["path"] or "/"
                unread += (task, *document) not in known
                if known.get((task, *document)) == path:
                    url = url or f"https://{host_of(page_host)}{path}"
                    pages.append(_page(task, document, url, own, (shard, row["shard_row"])))
    found_kept = {(page.file_row, page.key) for page in pages}
    for document, own in decided.items():
        known[(task, *document)] = own[0]["path"] or "/"
        excluded = any(row["action"] == "exclude" for row in own)
        if excluded and (own[0]["path"] or "/") == path and (document[0], document[1].hex()) not in found_kept:
            pages.append(_page(task, document, f"https://{host_of(page_host)}{path}", own, None))
    return pages, unread


def _page(
    task: str,
    document: tuple[int, bytes],
    url: str,
    decided: Iterable[Mapping[str, Any]],
    place: tuple[str, int] | None,
) -> Page:
    decisions = tuple({name: row[name] for name in ("stage", "action", "reason", "ground")} for row in decided)
    shard, shard_row = place or (None, None)
    return Page(task, document[0], document[1].hex(), url, place is not None, shard, shard_row, decisions)


# -- reading


class _Reader:
    """Reads the rows of one site out of sorted tables; a file that several versions link to is read once."""

    def __init__(self, rhost: str):
        self.rhost = rhost
        self._tables: dict[tuple[Any, ...], pa.Table] = {}
        self._grounds: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = {}
        self._urls: dict[tuple[Path, tuple[int, ...]], list[str | None] | None] = {}

    def rows(self, path: str | Path, columns: Sequence[str]) -> pa.Table:
        """Rows of the site and its subdomains, of a table sorted by `rhost`."""
        path = Path(path)
        with _named(path):
            cached = (*_identity(path), tuple(columns))
            if cached not in self._tables:
                self._tables[cached] = self._read(path, columns)
            return self._tables[cached]

    def _read(self, path: Path, columns: Sequence[str]) -> pa.Table:
        with _open(path) as file:
            schema = file.schema_arrow
            others = [name for name in columns if name in schema.names and name != "rhost"]
            parts = []
            for group in self._candidates(file):
                rhosts = file.read_row_group(group, columns=["rhost"], use_threads=False)
                mask = self._mask(rhosts.column("rhost"))
                if pc.any(mask).as_py():
                    part = rhosts.filter(mask)
                    if others:
                        more = _plain(file.read_row_group(group, columns=others, use_threads=False).filter(mask))
                        for name in others:
                            part = part.append_column(name, more.column(name))
                    parts.append(part)
            names = ["rhost", *others]
            empty = _plain(pa.schema([schema.field(name) for name in names]).empty_table())
            table = pa.concat_tables(parts).combine_chunks() if parts else empty
        for name in columns:
            if name not in table.column_names:  # a table of an earlier format
                table = table.append_column(name, pa.nulls(len(table), pa.string()))
        return table.select(list(columns))

    def _candidates(self, file: pq.ParquetFile) -> list[int]:
        """Row groups whose statistics allow the host. From `;`, which follows `:`, no name is one of the site's."""
        column = file.schema_arrow.names.index("rhost")
        found = []
        for group in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(group).column(_leaf(file, column)).statistics
            if statistics is not None and statistics.has_min_max:
                if statistics.max < self.rhost or statistics.min >= self.rhost + ";":
                    continue
            elif statistics is not None and statistics.null_count == file.metadata.row_group(group).num_rows:
                continue
            found.append(group)
        return found

    def _mask(self, rhosts: pa.ChunkedArray) -> pa.ChunkedArray:
        mask = pc.fill_null(pc.starts_with(rhosts, self.rhost), False)
        names = [name for name in pc.unique(rhosts.filter(mask)).to_pylist() if belongs(name, self.rhost)]
        return pc.is_in(rhosts, value_set=pa.array(names, pa.string()))

    def grounds(self, path: Path, decisions: pa.Table) -> dict[int, dict[str, Any]]:
        """What decisions rest on, by evidence number: the columns that are not null."""
        wanted = pc.unique(decisions.column("evidence_id")).drop_null()
        with _named(path):
            cached = (*_identity(path), tuple(wanted.to_pylist()))
            if cached not in self._grounds:
                found = self._grounds[cached] = {}
                for row in _evidence_rows(path, wanted):
                    number = row.pop("evidence_id")
                    if row["body_sha256"] is not None:
                        row["body_sha256"] = row["body_sha256"].hex()
                    found[number] = {name: value for name, value in row.items() if value is not None}
            return self._grounds[cached]

    def urls(self, path: Path, rows: Sequence[int]) -> list[str | None] | None:
        """URLs of rows of a shard, None when it is not there."""
        cached = (path, tuple(rows))
        if cached not in self._urls:
            with _named(path):
                self._urls[cached] = _urls(path, rows) if path.is_file() else None
        return self._urls[cached]


def _evidence_rows(path: Path, wanted: pa.Array) -> list[dict[str, Any]]:
    """Rows of a table of evidence by number, with the columns of a ground; in the table's order."""
    found: list[dict[str, Any]] = []
    if not len(wanted):
        return found
    with _open(path) as file:
        for group in range(file.metadata.num_row_groups):
            numbers = file.read_row_group(group, columns=["evidence_id"], use_threads=False).column("evidence_id")
            mask = pc.is_in(numbers, value_set=wanted)
            if pc.any(mask).as_py():
                table = file.read_row_group(group, columns=["evidence_id", *_GROUND], use_threads=False)
                found += table.filter(mask).to_pylist()
    return found


def _open(path: Path) -> pq.ParquetFile:
    """A Parquet file whose columns of few different words are not spelled out for each row when they are read."""
    footer = pq.read_metadata(path)
    few = [name for name in _FEW_WORDS if name in footer.schema.names]
    return pq.ParquetFile(path, metadata=footer, read_dictionary=few, pre_buffer=False)


_FEW_WORDS: tuple[str, ...] = ("shard", "trail", "path", "stage", "action", "reason")
_FEW_WORDS += ("protocol", "host", "agents", "basis", "rule", "fetched_at", "license", "detector")


def _plain(table: pa.Table) -> pa.Table:
    """The same with every word spelled out."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
    return table


def _urls(path: Path, rows: Sequence[int]) -> list[str | None]:
    found: dict[int, str | None] = {}
    wanted = sorted(rows)
    with pq.ParquetFile(path, pre_buffer=False) as file:
        start = 0
        for group in range(file.metadata.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            within = [row for row in wanted if start <= row < end]
            if within:
                column = file.read_row_group(group, columns=["url"], use_threads=False).column("url")
                found.update(zip(within, column.take([row - start for row in within]).to_pylist(), strict=True))
            start = end
    return [found.get(row) for row in rows]


def _leaf(file: pq.ParquetFile, column: int) -> int:
    """Place of a flat column among the leaves of the Parquet schema, where a map counts twice."""
    name = file.schema_arrow.names[column]
    return next(place for place in range(len(file.schema)) if file.schema.column(place).path == name)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of reading as ours, with the file's name."""
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(f"{path}: cannot be read ({reason}); `fairtrove audit` says what else is wrong") from error


def _identity(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino


def _clean(url: str) -> str:
    return url.encode("utf-8", "replace").decode()


def _bracketed(site: str) -> str:
    """A bare IPv6 address in the brackets that a URL needs."""
    return f"[{site}]" if site.count(":") > 1 and not site.startswith("[") else site

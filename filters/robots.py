"""Consent, applied retroactively: what a snapshot, the page itself and takedown requests say about a document's URL.

Three kinds of statement meet here, and each keeps its own reason and evidence:
1. a takedown request (`filters.takedown`), which needs no snapshot;
2. the rules of robots.txt (`filters.robots_txt`): they bar a crawler, and so its corpus, from a URL;
3. signals about training (`filters.signals`): they bar although robots.txt allows, since they answer another question.
The first that bars is the reason. A statement in favour overrides none, and where nobody made a statement the document
is *unknown*, counted apart and kept or excluded by policy, never "allowed".

The stage settles what an origin says once, and 44% of the development corpus's documents need no look at their URL.
Measured on that corpus (22,020 documents, 4,820 origins): 7 CPU-ms per MB of text, most of it reading each file once,
of which what is beside robots.txt takes 0.3 to 0.7.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import idna
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document

from filters.decision import Action, Decision, Evidence
from filters.robots_txt import (
    MAX_BODY_BYTES,
    MAX_LINE_BYTES,
    MAX_RULE_CHARS,
    RobotsTxt,
    RuleSet,
    allows,
    as_bytes,
    disallowed_agents,
    evidence,
    host_key,
    independent_verdict,
    origin,
    parse,
    request_path,
    request_url,
)
from filters.signals import DEFAULT_SIGNALS, Answer, Finding, Says, Signal, Site, named_signals
from filters.stage import Stage
from filters.takedown import Line, Lines, TakedownList, open_takedown

__all__ = [
    "DEFAULT_SIGNALS",
    "MAX_BODY_BYTES",
    "MAX_LINE_BYTES",
    "UNKNOWN_REASONS",
    "Entry",
    "Reason",
    "Robots",
    "RobotsTxt",
    "Snapshot",
    "SnapshotError",
    "agent_list",
    "disallowed_agents",
    "evidence",
    "host_key",
    "independent_verdict",
    "origin",
    "request_path",
    "request_url",
    "settle",
]


# Bumped whenever a change here can change an answer.
CODE_VERSION = "3"

AGENT_LISTS = Path(__file__).parent / "lists" / "agents.toml"


class Reason(StrEnum):
    """Why a document stays or goes. The first six do not exclude by themselves; policy may exclude the unknown ones."""

    ALLOWED = "allowed"
    NO_FILE = "no_file"  # 3xx or 4xx: the file is "unavailable" and everything may be crawled (RFC 9309, 2.3.1.3)
    FETCH_ERROR = "fetch_error"  # unknown: 5xx, network failure, or a success without a body
    PARSE_ERROR = "parse_error"  # unknown: something else was served in place of a robots.txt
    HOST_UNKNOWN = "host_unknown"  # unknown: the snapshot has no row for the host
    NO_URL = "no_url"  # unknown: the document does not say where it is from
    AGENT_DISALLOWED = "agent_disallowed"
    STAR_DISALLOWED = "star_disallowed"
    SIGNAL_RESERVED = "signal_reserved"  # a reservation about training other than a rule of robots.txt
    TAKEDOWN = "takedown"  # its owner asked for removal


UNKNOWN_REASONS = frozenset({Reason.FETCH_ERROR, Reason.PARSE_ERROR, Reason.HOST_UNKNOWN, Reason.NO_URL})


class SnapshotError(ValueError):
    """A robots snapshot that cannot be read or lacks a column; the message names file, fault and remedy."""


# ---------------------------------------------------------------------------------------------------------------------
# Agents and snapshots: the pinned evidence
# ---------------------------------------------------------------------------------------------------------------------


@functools.cache
def agent_list(name: str) -> tuple[str, ...]:
    """A list of `lists/agents.toml` by name: `paper`, `training` or `strict`. ValueError names the lists there are."""
    lists = tomllib.loads(AGENT_LISTS.read_text(encoding="utf-8"))["lists"]
    if name not in lists:
        raise ValueError(f"no agent list {name!r} in {AGENT_LISTS.name}; there are: {', '.join(sorted(lists))}")
    return tuple(lists[name])


@dataclass(frozen=True, slots=True)
class Entry:
    """What a snapshot says about one origin.

    Attributes:
        host, port: the origin asked for.
        status: HTTP status of the fetch, None when the source did not record it.
        fetched_at: date of the fetch, ISO 8601, None when not recorded.
        body: the file as stored, None when there was none.
        tdmrep, ai_txt: the same of /.well-known/tdmrep.json and /ai.txt.
    """

    host: str
    port: int | None
    status: int | None
    fetched_at: str | None
    body: bytes | None
    tdmrep: bytes | None = None
    ai_txt: bytes | None = None

    @property
    def body_sha256(self) -> bytes | None:
        """SHA-256 of the body, 32 bytes."""
        return None if self.body is None else hashlib.sha256(self.body).digest()

    def file(self, name: str) -> bytes | None:
        """A file of the origin: `body` for its robots.txt, or by the signal it carries `tdmrep` or `ai-txt`."""
        return {"body": self.body, "tdmrep": self.tdmrep, "ai-txt": self.ai_txt}[name]


def settle(entry: Entry | None) -> Reason | RobotsTxt:
    """What the status of a fetch means (RFC 9309, 2.3.1): a reason that holds for every URL, or rules to ask.

    4xx is "unavailable": the owner serves no file. But 429 is a server that would not answer, and a redirect that a
    snapshot holds unfollowed says nothing of what it leads to: both are unknown, though the RFC would let a crawler
    take the latter for unavailable after five hops.
    """
    if entry is None:
        return Reason.HOST_UNKNOWN
    status = entry.status
    if status is not None and 400 <= status < 500 and status != 429:
        return Reason.NO_FILE
    if entry.body is None or (status is not None and not 200 <= status < 300):
        return Reason.FETCH_ERROR
    parsed = parse(entry.body)
    return Reason.PARSE_ERROR if parsed.looks_like_something_else else parsed


class Snapshot:
    """A Parquet file of fetched robots.txt files, looked up by origin.

    Columns: `host` (may carry `:port`; in any case, as a URL or with an IDN it is found all the same), `status`, the
    body in `body`, `robots_txt` or `content` (binary or text), and optionally `fetched_at`. Two more optional columns,
    `tdmrep` and `ai_txt`, hold the bodies of an origin's /.well-known/tdmrep.json and /ai.txt (binary or text; null:
    not asked for, or not served): columns and not rows, since files of one origin are fetched together, and so a
    snapshot without them loads as before. Of several rows for one origin the newest `fetched_at` counts, then the last,
    and it counts as a whole: who merges snapshots carries the two columns over. Columns stay in Arrow memory and the
    index is two numpy arrays of 8 bytes per row (hash of the key, row), an eighth of a dict of strings.
    """

    BODY_COLUMNS = ("body", "robots_txt", "content")
    OTHER_FILES = ("tdmrep", "ai_txt")

    def __init__(self, path: str | Path, table: pa.Table, sha256: str):
        self.path = str(path)
        self.sha256 = sha256
        self._hosts: pa.ChunkedArray = table["host"]
        self._statuses: pa.ChunkedArray = table["status"]
        self._bodies: pa.ChunkedArray = table["body"]
        self._dates: pa.ChunkedArray | None = table["fetched_at"] if "fetched_at" in table.column_names else None
        self._others = {name: table[name] for name in self.OTHER_FILES if name in table.column_names}
        keys = np.fromiter((hash(_snapshot_key(host)) for host in _values(self._hosts)), np.int64, len(table))
        self._rows = np.argsort(keys, kind="stable")
        self._keys = keys[self._rows]

    def __len__(self) -> int:
        return len(self._hosts)

    @classmethod
    def check(cls, path: str | Path) -> None:
        """Raise `SnapshotError` unless `path` is a snapshot; reads the footer only."""
        cls._columns(path)

    @classmethod
    def load(cls, path: str | Path) -> Snapshot:
        """Read a snapshot. Raises `SnapshotError` when it cannot be read or lacks a column."""
        columns = cls._columns(path)
        try:
            table = pq.read_table(path, columns=list(columns.values()), partitioning=None)
            with open(path, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, pa.ArrowException) as error:
            raise SnapshotError(f"robots snapshot {path}: damaged ({_first_line(error)}); build it anew") from error
        return cls(path, table.rename_columns(list(columns)), sha256)

    @classmethod
    def _columns(cls, path: str | Path) -> dict[str, str]:
        """The columns to read: our name to the file's."""
        if not os.path.isfile(path):
            raise SnapshotError(f"robots snapshot {path}: no such file; give the path of a Parquet file")
        try:
            schema = pq.read_schema(path)
        except (OSError, pa.ArrowException) as error:
            raise SnapshotError(f"robots snapshot {path}: not a Parquet file ({_first_line(error)})") from error
        body = next((name for name in cls.BODY_COLUMNS if name in schema.names), None)
        columns = {"host": "host", "status": "status"}
        missing = [name for name in columns if name not in schema.names]
        if body is None:
            missing.append("body")
        if missing:
            raise SnapshotError(
                f"robots snapshot {path}: no column {', '.join(missing)} (it has {', '.join(schema.names) or 'none'}); "
                "it needs host, status and the file in body, robots_txt or content, and may have fetched_at"
            )
        host_type, status_type, body_type = (schema.field(name).type for name in ("host", "status", body))
        for name, kind, fits in (
            ("host", host_type, _is_text(host_type)),
            ("status", status_type, pa.types.is_integer(status_type) or pa.types.is_null(status_type)),
            (body, body_type, _is_text(body_type) or _is_binary(body_type)),
        ):
            if not fits:
                raise SnapshotError(
                    f"robots snapshot {path}: column {name} is {kind}; host is text, status integer, body binary"
                )
        for name in cls.OTHER_FILES:
            if name in schema.names:
                kind = schema.field(name).type
                if not (_is_text(kind) or _is_binary(kind) or pa.types.is_null(kind)):
                    raise SnapshotError(f"robots snapshot {path}: column {name} is {kind}; it holds bodies, binary")
                columns[name] = name
        columns["body"] = str(body)
        if "fetched_at" in schema.names:
            columns["fetched_at"] = "fetched_at"
        return columns

    def lookup(self, host: str, port: int | None = None) -> Entry | None:
        """The newest row for an origin as `origin` gives it, None when there is no row."""
        key = host_key(host, port)
        wanted = hash(key)
        place = int(np.searchsorted(self._keys, wanted))
        newest: tuple[str, int] | None = None
        while place < len(self._keys) and self._keys[place] == wanted:
            row = int(self._rows[place])
            if _snapshot_key(self._hosts[row].as_py()) == key:
                newest = max(newest or ("", -1), (self._date(row) or "", row))
            place += 1
        if newest is None:
            return None
        row = newest[1]
        body = self._bodies[row].as_py()
        body = None if body is None else as_bytes(body)
        entry = Entry(host, port, self._statuses[row].as_py(), self._date(row), body)
        if self._others:
            others = {name: column[row].as_py() for name, column in self._others.items()}
            files = {name: as_bytes(file) for name, file in others.items() if file is not None}
            entry = replace(entry, tdmrep=files.get("tdmrep"), ai_txt=files.get("ai_txt"))
        return entry

    def _date(self, row: int) -> str | None:
        value: Any = None if self._dates is None else self._dates[row].as_py()
        if value is None:
            return None
        return value.isoformat() if hasattr(value, "isoformat") else str(value)


_PLAIN_KEY = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z][a-z0-9-]*\Z")


def _snapshot_key(host: str | None) -> str:
    """A snapshot's `host` as `host_key` would write it. Ports 80 and 443 count as defaults: no scheme is stored."""
    if host is None:
        return ""
    if _PLAIN_KEY.match(host) and "xn--" not in host:
        return host
    name, port = origin(host if "://" in host else f"https://{host}")
    return host_key(name, None if port == 80 else port)


def _values(column: pa.ChunkedArray) -> Iterable[str | None]:
    for chunk in column.chunks:
        for start in range(0, len(chunk), 65536):
            yield from chunk.slice(start, 65536).to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@functools.lru_cache(maxsize=2)
def _open_snapshot(path: str, size: int, modified: int) -> Snapshot:
    return Snapshot.load(path)


# ---------------------------------------------------------------------------------------------------------------------
# The stage
# ---------------------------------------------------------------------------------------------------------------------

_KEEP = {reason: Decision(Action.KEEP, reason) for reason in Reason}
_MAX_HOSTS_HELD = 20_000  # with their compiled rules, some 20 kB each


class Robots(Stage):
    """Exclude documents whose owner does not want them trained on, as far as a machine can read it, whenever the text
    was crawled.

    Args:
        snapshot: path of the snapshot (see `Snapshot`).
        agents: product tokens, or the name of a list in `lists/agents.toml`; None is the published list, `paper`.
        star: what a `*` group means that bars a policy agent. `counts`, the default, excludes: the site said "nobody",
            which includes these agents, and an owner who bars everyone would hardly call training the exception. It is
            what the published corpus did (half of its removals rest on `*` alone), and the evidence tells the two
            bases apart so that the other reading can be counted. `ignore` heeds only groups that name an agent.
        unknown: `keep` or `exclude` documents of which nobody knows what their site says; either way they carry the
            reason why it is unknown and are never recorded as allowed. A signal may bar them all the same.
        exclusion_writer: see `Stage`.
        signals: names of `filters.signals.SIGNALS` that count, in the order in which they are asked. The default is
            what an owner says in machine-readable form about *training*: `content-signal`, `content-usage`, `tdmrep`,
            `noai` and `ai-txt`. It leaves out `rsl`, since a declared licence nobody has read may well permit it, and
            `noarchive`, which speaks of copies shown to readers. An empty list leaves robots.txt alone.
        takedown: path of a list of removal requests (see `filters.takedown`). Given, it counts before all else.
    """

    name = "🤖 robots.txt"
    stage = "robots"

    def __init__(
        self,
        snapshot: str | Path,
        agents: Sequence[str] | str | None = None,
        star: str = "counts",
        unknown: str = "keep",
        exclusion_writer: Any = None,
        signals: Sequence[str] | None = DEFAULT_SIGNALS,
        takedown: str | Path | None = None,
    ):
        super().__init__(exclusion_writer)
        if star not in ("counts", "ignore"):
            raise ValueError(f'star is "counts" or "ignore", not {star!r}')
        if unknown not in ("keep", "exclude"):
            raise ValueError(f'unknown is "keep" or "exclude", not {unknown!r}')
        if isinstance(signals, str):
            raise ValueError(f'signals is a list of names, like ["{signals}"], not {signals!r}')
        self.snapshot = str(snapshot)
        self.agents = agent_list(agents or "paper") if agents is None or isinstance(agents, str) else tuple(agents)
        self.star = star
        self.unknown = unknown
        self.signals = tuple(signal.name for signal in named_signals(DEFAULT_SIGNALS if signals is None else signals))
        self.takedown = None if takedown is None else str(takedown)
        self._asked = named_signals(self.signals)
        self._page_fields = frozenset(field for signal in self._asked for field in signal.page_fields)
        self._opened: Snapshot | None = None
        self._requests: TakedownList | None = None
        self._hosts: dict[tuple[str, int | None], _Host] = {}
        self._nowhere = _Host(None, self._asked, self.agents, self._unknown(Reason.NO_URL, None))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_requests": None, "_hosts": {}}

    def check(self) -> None:
        """Raise `SnapshotError` or `TakedownError` unless the files are what they should be."""
        Snapshot.check(self.snapshot)
        self._takedown()

    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        """One decision per document; documents of one host are settled together."""
        decisions = [self._nowhere.decide("")] * len(documents)
        by_origin: dict[tuple[str, int | None], list[int]] = {}
        speaking: set[int] = set()  # documents with headers or meta elements that may say something
        for place, document in enumerate(documents):
            metadata = document.metadata
            if not self._page_fields.isdisjoint(metadata):
                speaking.add(place)
            url = metadata.get("url")
            where = origin(url) if url and isinstance(url, str) else _NO_ORIGIN
            if where[0]:
                by_origin.setdefault(where, []).append(place)
            elif place in speaking:
                decisions[place] = self._nowhere.decide("", metadata)
        for where, places in by_origin.items():
            host = self._host(where)
            for place in places:
                metadata = documents[place].metadata
                if place in speaking:
                    decisions[place] = host.decide(metadata["url"], metadata)
                else:
                    decisions[place] = host.fixed or host.decide(metadata["url"])
        return decisions

    def fingerprint(self) -> dict[str, str]:
        """What decisions depend on besides the document and the evidence about its host (see `evidence_digest`)."""
        return {
            "code": CODE_VERSION,
            "agents": ",".join(self.agents),
            "star": self.star,
            "unknown": self.unknown,
            "signals": ",".join(self.signals),
            "idna": idna.__version__,
        }

    def pins(self) -> dict[str, str]:
        """Digests of the files behind this stage. Not in `fingerprint`: a newer snapshot or a longer list of takedown
        requests need not change a task."""
        requests = self._takedown()
        return {
            "snapshot_sha256": self._snapshot().sha256,
            **({"takedown_sha256": requests.sha256} if requests else {}),
        }

    def evidence_digest(self, hosts: Iterable[tuple[str, int | None]]) -> str:
        """SHA-256, in hexadecimal, over what snapshot and takedown list say about these origins, in any order.

        Equal digests mean equal evidence, so a task whose hosts say the same in a newer snapshot need not run again.
        It covers the files that the policy's signals consult and no others.
        """
        snapshot, requests = self._snapshot(), self._takedown()
        lines = []
        for host, port in sorted(set(hosts), key=lambda origin: host_key(*origin)):
            entry = snapshot.lookup(host, port)
            if entry is None:
                line = f"{host_key(host, port)}\t-\t-\t-"
            else:
                digest = entry.body_sha256.hex() if entry.body_sha256 else "-"
                line = f"{host_key(host, port)}\t{entry.status}\t{entry.fetched_at}\t{digest}"
                for name in ("tdmrep", "ai-txt"):
                    body = entry.file(name) if name in self.signals else None
                    if body is not None:
                        line += f"\t{name}={hashlib.sha256(body).hexdigest()}"
            about = requests.about(host, port) if requests else None
            if about:
                line += f"\ttakedown={about.digest}"
            lines.append(f"{line}\n")
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    def _snapshot(self) -> Snapshot:
        if self._opened is None:
            Snapshot.check(self.snapshot)
            found = os.stat(self.snapshot)
            self._opened = _open_snapshot(self.snapshot, found.st_size, found.st_mtime_ns)
        return self._opened

    def _takedown(self) -> TakedownList | None:
        if self._requests is None and self.takedown is not None:
            self._requests = open_takedown(self.takedown)
        return self._requests

    def _host(self, where: tuple[str, int | None]) -> _Host:
        host = self._hosts.get(where)
        if host is None:
            if len(self._hosts) >= _MAX_HOSTS_HELD:
                self._hosts.clear()
            host = self._hosts[where] = self._settle_host(where)
        return host

    def _settle_host(self, where: tuple[str, int | None]) -> _Host:
        entry = self._snapshot().lookup(*where)
        settled = settle(entry)
        requests = self._takedown()
        parsed = None if isinstance(settled, Reason) else settled
        says = _SILENCE
        if (parsed and parsed.directives) or (entry and (entry.tdmrep or entry.ai_txt)):
            site = Site(parsed, entry.tdmrep, entry.ai_txt)  # type: ignore[union-attr]
            found = {signal.name: signal.of_site(site, self.agents) for signal in self._asked}
            says = {name: said for name, said in found.items() if said is not None}
        if not isinstance(settled, Reason):
            otherwise = _KEEP[Reason.ALLOWED]
        elif settled in UNKNOWN_REASONS:
            otherwise = self._unknown(settled, entry, where)
        else:
            otherwise = _KEEP[settled]
        rule_sets = [
            rule_set
            for rule_set in (parsed.rule_sets(self.agents) if parsed else ())
            if rule_set.rules.can_bar and (self.star == "counts" or rule_set.basis == "named")
        ]
        about = requests.about(*where) if requests else None
        return _Host(where, self._asked, self.agents, otherwise, entry, about, parsed, rule_sets, says)

    def _unknown(self, reason: Reason, entry: Entry | None, where: tuple[str, int | None] | None = None) -> Decision:
        if self.unknown == "keep":
            return _KEEP[reason]
        return Decision(
            Action.EXCLUDE,
            reason,
            Evidence(
                "robots.txt",
                host=host_key(*where) if where else None,
                line=0,
                body_sha256=entry.body_sha256 if entry else None,
                fetched_at=entry.fetched_at if entry else None,
                status=entry.status if entry else None,
            ),
        )


_NO_ORIGIN: tuple[str, int | None] = ("", None)
_SILENCE: Mapping[str, Any] = {}


class _Host:
    """All that is known of an origin, to be asked for each document.

    `fixed` is the decision for every document whose page says nothing itself, None when it depends on the URL.
    """

    __slots__ = (
        "_agents",
        "_asked",
        "_decisions",
        "_entry",
        "_otherwise",
        "_parsed",
        "_rule_sets",
        "_says",
        "_takedown",
        "_where",
        "fixed",
    )

    def __init__(
        self,
        where: tuple[str, int | None] | None,
        asked: tuple[Signal, ...],
        agents: tuple[str, ...],
        otherwise: Decision,
        entry: Entry | None = None,
        takedown: Lines | None = None,
        parsed: RobotsTxt | None = None,
        rule_sets: Sequence[RuleSet] = (),
        says: Mapping[str, Says] = _SILENCE,
    ):
        self._where, self._asked, self._agents, self._otherwise = where, asked, agents, otherwise
        self._entry, self._takedown, self._parsed, self._rule_sets = entry, takedown, parsed, rule_sets
        self._says = says  # by signal, what the origin's files say
        self._decisions: dict[Any, Decision] = {}  # by what bars: URLs share evidence
        self.fixed: Decision | None = None
        if takedown and takedown.whole:
            self.fixed = self._taken_down(takedown.whole)
        elif not takedown and not rule_sets and not says:
            self.fixed = otherwise

    def decide(self, url: str, metadata: Mapping[str, Any] = _SILENCE) -> Decision:
        if self._takedown and (line := self._takedown.covering(url)):
            return self._taken_down(line)
        path = request_path(request_url(url))
        if self._rule_sets:
            ranks = [rule_set.rules.match(path) for rule_set in self._rule_sets]
            if not all(map(allows, ranks)) and path != "/robots.txt":
                return self._disallowed(tuple(None if allows(rank) else rank for rank in ranks))
        if metadata or self._says:
            for signal in self._asked:
                found = signal.answer(self._says.get(signal.name), path, metadata, self._agents)
                if found.answer is Answer.DISALLOWED:
                    return self._reserved(signal, found)
        return self._otherwise

    def _disallowed(self, barring: tuple[int | None, ...]) -> Decision:
        """The decision when each rule set is barred by the rule of this rank, or not (None)."""
        decision = self._decisions.get(barring)
        if decision is None:
            decision = self._decisions[barring] = self._by_rules(barring)
        return decision

    def _by_rules(self, barring: tuple[int | None, ...]) -> Decision:
        assert self._entry is not None
        assert self._parsed is not None
        barred = [(rule_set, rank) for rule_set, rank in zip(self._rule_sets, barring, strict=True) if rank is not None]
        names = {agent for rule_set, _ in barred for agent in rule_set.agents}
        first, rank = next((pair for pair in barred if pair[0].basis == "named"), barred[0])
        found = Evidence(
            "robots.txt",
            host=self._name,
            agents=",".join(agent for agent in self._agents if agent in names),
            basis=first.basis,
            line=self._parsed.line(rank),
            rule=self._parsed.rule(rank),
            body_sha256=self._entry.body_sha256,
            fetched_at=self._entry.fetched_at,
            status=self._entry.status,
        )
        reason = Reason.AGENT_DISALLOWED if first.basis == "named" else Reason.STAR_DISALLOWED
        return Decision(Action.EXCLUDE, reason, found)

    def _reserved(self, signal: Signal, found: Finding) -> Decision:
        decision = self._decisions.get((signal.name, found))
        if decision is None:
            decision = self._decisions[signal.name, found] = Decision(
                Action.EXCLUDE, Reason.SIGNAL_RESERVED, self._signal_evidence(signal, found)
            )
        return decision

    def _signal_evidence(self, signal: Signal, found: Finding) -> Evidence:
        """What a signal rests on; a page's own headers and meta elements are in no snapshot, so they have no digest."""
        entry = self._entry if found.file else None
        body = {"tdmrep.json": "tdmrep", "ai.txt": "ai-txt"}.get(found.file or "", "body")
        content = entry.file(body) if entry else None
        return Evidence(
            signal.protocol,
            host=self._name,
            agents=",".join(found.agents) or None,
            basis=found.basis,
            line=found.line,
            rule=found.rule,
            body_sha256=None if content is None else hashlib.sha256(content).digest(),
            fetched_at=entry.fetched_at if entry else None,
            status=entry.status if entry and found.file == "robots.txt" else None,
        )

    def _taken_down(self, line: Line) -> Decision:
        decision = self._decisions.get(line)
        if decision is None:
            assert self._takedown
            found = Evidence(
                "takedown",
                host=self._name,
                line=line.number,
                rule=line.text[:MAX_RULE_CHARS],
                detector=f"takedown-list@{self._takedown.digest[:12]}",
            )
            decision = self._decisions[line] = Decision(Action.EXCLUDE, Reason.TAKEDOWN, found)
        return decision

    @property
    def _name(self) -> str | None:
        return host_key(*self._where) if self._where else None

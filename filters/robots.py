"""Consent, applied retroactively: what a snapshot, the page itself and takedown requests say about a document's URL.

Three kinds of statement meet here, and each keeps its own reason and evidence:
1. a takedown request (`filters.takedown`), which needs no snapshot;
2. the rules of robots.txt (`filters.robots_txt`): they bar a crawler, and so its corpus, from a URL;
3. signals about training (`filters.signals`): they bar although robots.txt allows, since they answer another question.
The first that bars is the reason. A statement in favour overrides none, and where nobody made a statement the document
is *unknown*, counted apart and kept or excluded by policy, never "allowed".

The stage settles what an origin says once, and 44% of the development corpus's documents need no look at their URL. Of
the others most are settled by the beginnings and pieces that the site's rules need, before any rule is compiled.
Measured on that corpus (22,020 documents, 4,820 origins, 96 of 100 bytes of robots.txt in 25 of its files): 4 to 5
CPU-ms per MB of text, half of it reading each file once.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import idna
from datatrove.data import Document

from filters.decision import Action, Decision, Evidence
from filters.robots_rules import allows
from filters.robots_snapshot import Entry, Snapshot, SnapshotError, changed_origins, open_snapshot
from filters.robots_txt import (
    MAX_BODY_BYTES,
    MAX_LINE_BYTES,
    MAX_RULE_CHARS,
    RobotsTxt,
    RuleSet,
    disallowed_agents,
    evidence,
    independent_verdict,
    parse,
)
from filters.robots_url import host_key, origin, path_from, plain_prefix, request, request_path, request_url
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
CODE_VERSION = "4"

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


# ---------------------------------------------------------------------------------------------------------------------
# The stage
# ---------------------------------------------------------------------------------------------------------------------

_KEEP = {reason: Decision(Action.KEEP, reason) for reason in Reason}
_MAX_HOSTS_HELD = 400_000  # names, two or three for each host; 1 kB each, bodies and parsed files not among it


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
        self.asked = named_signals(self.signals)
        self._page_fields = frozenset(field for signal in self.asked for field in signal.page_fields)
        self._opened: Snapshot | None = None
        self._requests: TakedownList | None = None
        self._hosts: dict[str | tuple[str, int | None], _Host] = {}  # by origin, and by the beginning of plain URLs
        self._nowhere = _Host(self, None, self._unknown(Reason.NO_URL, None))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_requests": None, "_hosts": {}}

    def check(self) -> None:
        """Raise `SnapshotError` or `TakedownError` unless the files are what they should be."""
        Snapshot.check(self.snapshot)
        self._takedown()

    def decide(self, documents: Sequence[Document]) -> list[Decision]:
        """One decision per document."""
        with _collector_paused():
            return self._decide(documents)

    def _decide(self, documents: Sequence[Document]) -> list[Decision]:
        nowhere = self._nowhere.decide("", "/")
        silent, hosts, decisions = self._page_fields.isdisjoint, self._hosts, []
        for document in documents:
            metadata = document.metadata
            url = metadata.get("url")
            if not url or not isinstance(url, str):
                decisions.append(nowhere if silent(metadata) else self._nowhere.decide("", "/", metadata))
                continue
            slash = url.find("/", 8)
            host = hosts.get(url[:slash]) if slash > 0 else None  # by scheme and authority, as most URLs spell them
            path = None
            if host is None:
                host, path = self._host_and_path(url)
            if not silent(metadata):
                decision = host.decide(url, path or request(url)[1], metadata)
            elif host.fixed is not None:
                decision = host.fixed
            elif path is None and host.passes(url, slash):
                decision = host.otherwise
            else:
                decision = host.decide(url, path or path_from(url, slash) or request(url)[1])
            decisions.append(decision)
        return decisions

    def _host_and_path(self, url: str) -> tuple[_Host, str]:
        where, path = request(url)
        if not where[0]:
            return self._nowhere, path
        host = self._host(where)
        if prefix := plain_prefix(url):
            self._hosts[prefix[0]] = host
        return host, path

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

    def differing(self, before: Robots, hosts: Iterable[tuple[str, int | None]]) -> dict[tuple[str, int | None], bool]:
        """Which of these origins the files of this stage tell something else about than those of `before`, a stage of
        the same policy, and whether more than a date is different. May name some that are the same, and misses none."""
        others = tuple(column for name, column in (("tdmrep", "tdmrep"), ("ai-txt", "ai_txt")) if name in self.signals)
        differing = changed_origins(before._snapshot(), self._snapshot(), others)
        was, now = before._takedown(), self._takedown()
        found = {}
        for where in hosts:
            more = differing.get(host_key(*where))
            if was is not now:
                about = [requests.about(*where) if requests else None for requests in (was, now)]
                if (about[0] and about[0].digest) != (about[1] and about[1].digest):
                    more = True
            if more is not None:
                found[where] = more
        return found

    def entry(self, where: tuple[str, int | None]) -> Entry | None:
        """What the snapshot says about an origin."""
        return self._snapshot().lookup(*where)

    def _snapshot(self) -> Snapshot:
        if self._opened is None:
            self._opened = open_snapshot(self.snapshot)
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
        entry = self.entry(where)
        settled = settle(entry)
        requests = self._takedown()
        parsed = None if isinstance(settled, Reason) else settled
        says = _SILENCE
        if (parsed and parsed.directives) or (entry and (entry.tdmrep or entry.ai_txt)):
            site = Site(parsed, entry.tdmrep, entry.ai_txt)  # type: ignore[union-attr]
            found = {signal.name: signal.of_site(site, self.agents) for signal in self.asked}
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
        return _Host(self, where, otherwise, about, rule_sets, says)

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


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Without the garbage collector for a batch: rules and hosts are thousands of objects that stay, in no cycle, and
    going through them again and again took half of the time."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


_SILENCE: Mapping[str, Any] = {}


class _Host:
    """All that decides about an origin's documents, without the files behind it: those are looked up again for the one
    exclusion in many that quotes them.

    `fixed` is the decision for every document whose page says nothing itself, None when it depends on the URL, and
    `otherwise` that of a document that nothing bars.
    """

    __slots__ = (
        "_decisions",
        "_pieces",
        "_rule_sets",
        "_says",
        "_stage",
        "_takedown",
        "_where",
        "fixed",
        "otherwise",
    )

    def __init__(
        self,
        stage: Robots,
        where: tuple[str, int | None] | None,
        otherwise: Decision,
        takedown: Lines | None = None,
        rule_sets: Sequence[RuleSet] = (),
        says: Mapping[str, Says] = _SILENCE,
    ):
        self._stage, self._where, self.otherwise, self._takedown = stage, where, otherwise, takedown
        self._rule_sets = rule_sets
        self._says = says  # by signal, what the origin's files say
        self._decisions: dict[Any, Decision] | None = None  # by what bars: URLs share evidence
        self.fixed: Decision | None = None
        if takedown and takedown.whole:
            self.fixed = self._taken_down(takedown.whole)
        elif not takedown and not rule_sets and not says:
            self.fixed = otherwise
        self._pieces: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        if len(rule_sets) == 1 and not takedown and not says:
            self._pieces = rule_sets[0].rules.pieces

    def passes(self, url: str, slash: int) -> bool:
        """True where it takes no more than a look at a URL, whose path begins at `slash`, to see that it gets
        `otherwise`."""
        if self._pieces is None:
            return False
        beginnings, needles = self._pieces
        if url.startswith(beginnings, slash) or "%" in url or not url.isascii():
            return False
        for needle in needles:  # noqa: SIM110 - a generator costs more than the search
            if needle in url:
                return False
        return True

    def decide(self, url: str, path: str, metadata: Mapping[str, Any] = _SILENCE) -> Decision:
        """The decision for a document with this URL, which asks for `path`."""
        if self._takedown and (line := self._takedown.covering(url)):
            return self._taken_down(line)
        if self._rule_sets and path != "/robots.txt":
            for rule_set in self._rule_sets:
                if rule_set.rules.may_bar(path):
                    ranks = [rule_set.rules.match(path) for rule_set in self._rule_sets]
                    if not all(map(allows, ranks)):
                        return self._disallowed(tuple(None if allows(rank) else rank for rank in ranks))
                    break
        if metadata or self._says:
            asked, agents = self._stage.asked, self._stage.agents
            for signal in asked:
                found = signal.answer(self._says.get(signal.name), path, metadata, agents)
                if found.answer is Answer.DISALLOWED:
                    return self._reserved(signal, found)
        return self.otherwise

    def _disallowed(self, barring: tuple[int | None, ...]) -> Decision:
        """The decision when each rule set is barred by the rule of this rank, or not (None)."""
        return self._shared(barring) or self._share(barring, self._by_rules(barring))

    def _by_rules(self, barring: tuple[int | None, ...]) -> Decision:
        entry = self._entry
        assert entry is not None
        assert entry.body is not None
        parsed = parse(entry.body)
        agents = self._stage.agents
        barred = [(rule_set, rank) for rule_set, rank in zip(self._rule_sets, barring, strict=True) if rank is not None]
        names = {agent for rule_set, _ in barred for agent in rule_set.agents}
        first, rank = next((pair for pair in barred if pair[0].basis == "named"), barred[0])
        found = Evidence(
            "robots.txt",
            host=self._name,
            agents=",".join(agent for agent in agents if agent in names),
            basis=first.basis,
            line=parsed.line(first, rank),
            rule=parsed.rule(first, rank),
            body_sha256=entry.body_sha256,
            fetched_at=entry.fetched_at,
            status=entry.status,
        )
        reason = Reason.AGENT_DISALLOWED if first.basis == "named" else Reason.STAR_DISALLOWED
        return Decision(Action.EXCLUDE, reason, found)

    def _reserved(self, signal: Signal, found: Finding) -> Decision:
        key = signal.name, found
        return self._shared(key) or self._share(
            key, Decision(Action.EXCLUDE, Reason.SIGNAL_RESERVED, self._signal_evidence(signal, found))
        )

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
        if shared := self._shared(line):
            return shared
        assert self._takedown
        found = Evidence(
            "takedown",
            host=self._name,
            line=line.number,
            rule=line.text[:MAX_RULE_CHARS],
            detector=f"takedown-list@{self._takedown.digest[:12]}",
        )
        return self._share(line, Decision(Action.EXCLUDE, Reason.TAKEDOWN, found))

    def _shared(self, key: Any) -> Decision | None:
        return self._decisions.get(key) if self._decisions else None

    def _share(self, key: Any, decision: Decision) -> Decision:
        if self._decisions is None:
            self._decisions = {}
        self._decisions[key] = decision
        return decision

    @property
    def _entry(self) -> Entry | None:
        return self._stage.entry(self._where) if self._where else None

    @property
    def _name(self) -> str | None:
        return host_key(*self._where) if self._where else None

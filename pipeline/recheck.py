"""Consent re-derived from snapshot and URL by another evaluator: protego as it is, none of our reading of robots.txt.

`filters.robots_txt` lists where protego departs from RFC 9309 and Google's parser. An audit that took every departure
for a violation would cry wolf on one file in a hundred; one that waved them through would be blind wherever a file
has such a line. So a decision that protego would have taken otherwise goes through two more readings, each independent
of the filter's:

1. *rewritten*: the file in the plainest form that says the same (`plain`): no byte order mark, the first 500 KiB, one
   user agent per line cut to its token, tokens numbered so that none is part of another, no line between the
   lines that count, the spellings of their keys that Google accepts made one. On it protego has nothing left to depart
   on but the matching of patterns. This resolves departures in reading lines and agents.
2. *literal*: RFC 9309, 2.2.2, word for word on the rewritten file (`longest_match`): every pattern a regular
   expression, the longest that matches decides, an Allow before a Disallow. This resolves departures in ranking and
   matching.

What 2 finds against the record is a violation. What 1 or 2 explains is counted and reported by kind, so that a reader
sees how much rests on them. On the development corpus 1 of 17,176 decisions is explained by 1, none by 2.

A named group binds its agent and `*` the others; a policy with `star = "ignore"` is asked about named agents only.
Takedown requests and other signals than rules are no business of protego; `pipeline.rescan` asks the filter about them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import protego

from filters.robots import Snapshot, SnapshotError, agent_list, origin, request_url
from manifests.check_samples import Verdict
from manifests.corpus import Corpus
from manifests.files import file_sha256
from pipeline.terminal import UsageError

READ_BYTES = 500 * 1024
"""RFC 9309, 2.5: what a parser must read; Google reads no more."""


@dataclass
class _Tally:
    """Decisions by how they were confirmed."""

    asked: Counter = field(default_factory=Counter)
    rewritten: int = 0
    literal: int = 0
    violations: list[str] = field(default_factory=list)


def consent_recheck(corpus: Corpus, snapshots: Sequence[Path]) -> Any:
    """An evaluator for `manifests.audit` of the consent decisions of a corpus.

    Args:
        snapshots: robots.txt snapshots; each must be one that the corpus pins, by digest.

    Raises:
        UsageError: a file is no snapshot, or not one that this corpus rests on.
    """
    found = pinned_snapshots(corpus, snapshots)
    policies = {source: policy["robots"] for source, policy in _policies(corpus).items() if policy.get("robots")}

    def recheck(excluded: Iterator[Mapping[str, Any]], kept: Iterator[Mapping[str, Any]]) -> Verdict:
        absent = sorted(source for source in policies if source not in found)
        if not policies:
            return Verdict((), "no source of this corpus consults robots.txt", True)
        if len(absent) == len(policies):
            pins = sorted({_pin(corpus, source)[:16] for source in absent})
            return Verdict((), f"not examined: give the snapshot with SHA-256 {', '.join(pins)}… (--robots FILE)", True)
        tally = _Tally()
        for rows, barred in ((excluded, True), (kept, False)):
            for row in rows:
                if row["source"] in found and row["source"] in policies:
                    _recheck(row, barred, policies[row["source"]], found[row["source"]], tally)
        left = f"; not examined: {', '.join(absent)}, whose snapshot was not given" if absent else ""
        explained = ""
        if tally.rewritten or tally.literal:
            explained = (
                f" ({tally.rewritten:,} of them once the file was rewritten in plain form, {tally.literal:,} by RFC "
                "9309 taken literally: known departures of protego)"
            )
        return Verdict(
            tally.violations,
            f"protego on snapshot and URL decides {tally.asked[True]:,} exclusions and {tally.asked[False]:,} kept "
            f"documents alike{explained}{left}",
        )

    return recheck


def pinned_snapshots(corpus: Corpus, paths: Sequence[Path]) -> dict[str, Snapshot]:
    """Sources whose pinned snapshot is among `paths`, or is the one that ships with the sample, and that snapshot.

    Raises:
        UsageError: a file is no snapshot, or no source pins it.
    """
    found: dict[str, Snapshot] = {}
    for path in paths:
        try:
            snapshot = Snapshot.load(path)
        except SnapshotError as error:
            raise UsageError(str(error)) from error
        sources = [source for source in _policies(corpus) if _pin(corpus, source) == snapshot.sha256]
        if not sources:
            pins = sorted({pin for source in _policies(corpus) if (pin := _pin(corpus, source))})
            raise UsageError(
                f"--robots {path}: SHA-256 {snapshot.sha256[:16]}…, but this corpus rests on "
                f"{', '.join(pin[:16] + '…' for pin in pins) or 'no snapshot'}; give that file"
            )
        found |= dict.fromkeys(sources, snapshot)
    shipped = Path(__file__).parent / "sample" / "robots.parquet"
    wanted = [source for source in _policies(corpus) if source not in found and _pin(corpus, source)]
    if wanted and shipped.is_file():
        digest = file_sha256(shipped)
        found |= {source: Snapshot.load(shipped) for source in wanted if _pin(corpus, source) == digest}
    return found


def _policies(corpus: Corpus) -> Mapping[str, Mapping[str, Any]]:
    recipe = corpus.run.get("recipe")
    policies = recipe.get("policy") if isinstance(recipe, dict) else None
    return {name: policy for name, policy in (policies or {}).items() if isinstance(policy, dict)}


def _pin(corpus: Corpus, source: str) -> str:
    return str((corpus.run.get("pins") or {}).get(f"{source}.robots.snapshot_sha256", ""))


# -- one decision


def _recheck(
    row: Mapping[str, Any], barred: bool, policy: Mapping[str, Any], snapshot: Snapshot, tally: _Tally
) -> None:
    url = row["url"] if "url" in row else _url(row)
    tally.asked[barred] += 1
    agents = agent_list(policy["agents"]) if isinstance(policy["agents"], str) else tuple(policy["agents"])
    named_only = policy.get("star") == "ignore"
    where = f"task {row['task']} row {row['file_row']} ({url[:120]})"
    entry = snapshot.lookup(*origin(url))
    status = entry.status if entry else None
    serves = entry is not None and entry.body is not None and (status is None or 200 <= status < 300)
    if not serves:
        if barred:
            tally.violations.append(
                f"{where}: excluded, but the snapshot has no robots.txt of this host (status {status})"
            )
        return
    assert entry is not None
    assert entry.body is not None
    if barred and row["body_sha256"] != entry.body_sha256:
        tally.violations.append(f"{where}: rests on another robots.txt than the snapshot's")
        return
    if _urllib_path(url) == "/robots.txt":
        return  # always allowed (RFC 9309, 2.2.2), whatever a rule says
    url = request_url(url)
    says = _protego(entry.body, agents, url, named_only)
    if says == barred:
        return
    says = _rewritten(entry.body, agents, url, named_only)
    if says == barred:
        tally.rewritten += 1
        return
    says = _literal(entry.body, agents, url, named_only)
    if says == barred:
        tally.literal += 1
        return
    how = "excluded, but no agent of the policy is barred" if barred else "kept, but an agent of the policy is barred"
    tally.violations.append(f"{where}: {how} by the robots.txt of the snapshot")


def _url(row: Mapping[str, Any]) -> str:
    """The address of an excluded document; the scheme is not on record and does not matter to robots.txt."""
    return f"https://{row['host']}{row['path'] or '/'}"


def _urllib_path(url: str) -> str:
    """Path of a URL; empty when Python does not take it for one."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


NOBODY = "nobody-is-called-this"
"""An agent that no file names: what binds it binds everybody."""


def _protego(body: bytes, agents: Sequence[str], url: str, named_only: bool) -> bool:
    """Whether one of the agents is barred, by protego on the file as it is."""
    parsed = _parsed(body)
    asked = [agent for agent in agents if agent != "*" and _names(body, agent)] if named_only else agents
    return any(_bars(parsed, NOBODY if agent == "*" else agent, url) for agent in asked)


def _names(body: bytes, agent: str) -> bool:
    return agent.split("/")[0].lower().encode() in body.lower()


def _rewritten(body: bytes, agents: Sequence[str], url: str, named_only: bool) -> bool:
    text, numbers = plain(body)
    parsed = _parsed(text.encode("utf-8", "surrogateescape"))
    asked = _asked(agents, numbers, named_only)
    return any(_bars(parsed, name, url) for name in asked)


def _literal(body: bytes, agents: Sequence[str], url: str, named_only: bool) -> bool:
    text, numbers = plain(body)
    groups = _groups(text)
    path = _path(url)
    return any(
        longest_match(groups.get(name, groups.get("*", [])), path) for name in _asked(agents, numbers, named_only)
    )


def _asked(agents: Sequence[str], numbers: Mapping[str, str], named_only: bool) -> set[str]:
    """Names that agents have in a rewritten file; `NOBODY` for those that it does not name."""
    asked = set()
    for agent in agents:
        name = numbers.get(token(agent)) if agent != "*" else None
        if name is not None:
            asked.add(name)
        elif not named_only:
            asked.add(NOBODY)
    return asked


def _bars(parsed: Any, agent: str, url: str) -> bool:
    try:
        return not parsed.can_fetch(url, agent)
    except Exception:  # protego raises ValueError, UnicodeError and others on URLs that urllib rejects
        return False


@lru_cache(maxsize=4096)
def _parsed(body: bytes) -> Any:
    return protego.Protego.parse(body.decode("utf-8", "replace"))


# -- the plain form of a file

_KEY = re.compile(
    r"[ \t\v\f]*(?:(user[- ]?agent)|(allow)|(dis(?:allow|sallow|salow|alow|allaw)|diasllow))([^:#]*)(:?)(.*)",
    re.IGNORECASE | re.DOTALL,
)
_BLANKS = " \t\v\f"


@lru_cache(maxsize=4096)
def plain(body: bytes) -> tuple[str, dict[str, str]]:
    """A robots.txt in the plainest form that says the same, and the number that it gives each agent's token.

    Only user-agent, allow and disallow lines are left, by RFC 9309, 2.2.1 and 2.2.2, and by Google's parser where the
    RFC leaves it open: keys may be misspelt or go on before the colon, a colon may be missing before a single word, a
    token ends before what is no letter, digit, `-` or `_`, `*` may be followed by blank and more.
    """
    if len(body) > READ_BYTES:
        body = body[:READ_BYTES]
        body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1] or body
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines: list[str] = []
    numbers: dict[str, str] = {}
    for line in re.split(r"\r\n|\r|\n", text):
        line = line.split("\0")[0].split("#")[0].rstrip(_BLANKS)
        found = _KEY.fullmatch(line)
        if not found:
            continue
        value = found[6].strip(_BLANKS) if found[5] else _single_word(found[4])
        if value is None:
            continue
        if found[1]:
            if value[:1] == "*" and (len(value) == 1 or value[1] in _BLANKS):
                lines.append("User-agent: *")
            else:
                name = numbers.setdefault(token(value), f"agent{len(numbers):06d}x")
                lines.append(f"User-agent: {name}")
        else:
            lines.append(f"{'Allow' if found[2] else 'Disallow'}: {value}")
    return "\n".join(lines) + "\n", numbers


def _single_word(rest: str) -> str | None:
    """The one word behind a key without a colon, None when there is another number of them."""
    found = re.search(r"[ \t]", rest)
    words = rest[found.end() :].split() if found else []
    return words[0] if len(words) == 1 else None


def token(agent: str) -> str:
    """A product token: what is before the first character that none may have (RFC 9309, 2.2.1, and digits)."""
    return re.match(r"[A-Za-z0-9_-]*", agent)[0].lower()  # type: ignore[index]


# -- RFC 9309, 2.2.2, taken literally

Rule = tuple[bool, str]


def _groups(text: str) -> dict[str, list[Rule]]:
    """Rules by agent of a file in plain form; groups of one agent are one (RFC 9309, 2.2.1)."""
    groups: dict[str, list[Rule]] = {}
    current: list[list[Rule]] = []
    opened = False
    for line in text.split("\n")[:-1]:
        key, _, value = line.partition(": ")
        if key == "User-agent":
            if not opened:
                current = []
            opened = True
            current.append(groups.setdefault(value, []))
        else:
            opened = False
            for group in current:
                group.append((key == "Allow", value))
    return groups


def longest_match(rules: Sequence[Rule], path: str) -> bool:
    """Whether the rules bar a path: the most octets win, of equals an Allow; no match allows."""
    best, barred = -1, False
    for allows, value in _with_folders(rules):
        pattern = _octets(value)
        if not pattern or not _expression(pattern).match(path):
            continue
        if len(pattern) > best or (len(pattern) == best and allows):
            best, barred = len(pattern), not allows
    return barred


def _with_folders(rules: Sequence[Rule]) -> Iterator[Rule]:
    """Rules, and for an Allow of an index page one for its folder, as Google reads it."""
    for allows, value in rules:
        yield allows, value
        folder, _, page = value.rpartition("/")
        if allows and page.startswith("index.htm"):
            yield True, f"{folder}/$"


@lru_cache(maxsize=65536)
def _octets(value: str) -> str:
    """A pattern with octets above 127 percent-encoded and its escapes in upper case."""
    octets = value.encode("utf-8", "surrogateescape")
    encoded = "".join(chr(octet) if octet < 128 else f"%{octet:02X}" for octet in octets)
    return re.sub(r"%[0-9A-Fa-f]{2}", lambda escape: escape[0].upper(), encoded)


@lru_cache(maxsize=65536)
def _expression(pattern: str) -> re.Pattern[str]:
    anchored = pattern.endswith("$")
    parts = re.sub(r"\*+", "*", pattern[:-1] if anchored else pattern).split("*")
    return re.compile(".*?".join(map(re.escape, parts)) + (r"\Z" if anchored else ""), re.DOTALL)


def _path(url: str) -> str:
    """What follows the authority, without fragment; `/` when there is nothing."""
    rest = url.split("://", 1)[-1].split("#", 1)[0]
    start = min((place for sign in "/?;" if (place := rest.find(sign)) >= 0), default=-1)
    if start < 0:
        return "/"
    return rest[start:] if rest[start] == "/" else "/" + rest[start:]

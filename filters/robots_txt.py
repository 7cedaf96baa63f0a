"""robots.txt as it applies to a URL, with the line that decides.

The rule is RFC 9309, and Google's parser (google/robotstxt) where the RFC is silent. protego is the field's parser, but
it departs from both, in seven of ten cases by allowing what the site forbids. The departures are in the reading of
lines and in the ranking of rules, too deep to wrap, so this module reads and ranks on its own and keeps protego as the
independent second evaluator (`independent_verdict`) that an audit runs beside it. Each departure of protego 0.7.0, with
the URL asked, what protego says and what holds here (`tests/filters/test_robots.py` runs this table):

| point | robots.txt | agent, URL | protego | here |
|---|---|---|---|---|
| token found inside another | `User-agent: Applebot` `Disallow: /` | Applebot-Extended, /p | barred | allowed |
| token with a version | `User-agent: CCBot/2.0` `Disallow: /` | CCBot, /p | allowed | barred |
| text after a token | `User-agent: GPTBot, CCBot` `Disallow: /` | GPTBot, /p | allowed | barred |
| `*` and more text | `User-agent: * (all)` `Disallow: /` | CCBot, /p | allowed | barred |
| rank by re-quoted length | `User-agent: *` `Disallow: /*?` `Allow: /abc` | CCBot, /abc?x | barred | allowed |
| byte order mark | BOM `User-agent: *` `Disallow: /p` | CCBot, /p | allowed | barred |
| ended early | `User-agent: GPTBot` `Crawl-delay: 5` `User-agent: *` `Disallow: /` | GPTBot, / | allowed | barred |
| line ends | `User-agent: *` `Disallow: /a<VT>b` | CCBot, /a | barred | allowed |
| key with a suffix | `User-agent: *` `Disallowed: /p` | CCBot, /p | allowed | barred |
| no colon, three words | `User-agent: *` `Disallow /p q` | CCBot, /p%20q | barred | allowed |
| `$` inside a pattern | `User-agent: *` `Disallow: /a$b` | CCBot, /a%24b | barred | allowed |
| reserved characters | `User-agent: *` `Disallow: /a%3Fb` | CCBot, /a?b | barred | allowed |
| index.htm | `User-agent: *` `Disallow: /x/` `Allow: /x/index.htm` | CCBot, /x/ | barred | allowed |
| size | rules after 500 KiB | | read | not read |

Two deliberate steps beyond Google: a token may hold digits (`AI2Bot` would otherwise be read as `AI` and never match;
names without digits are compared as Google does), and /robots.txt itself is always allowed (RFC 9309, 2.2.2). A token
in a policy ends where it ends in a file, so `CCBot/2.0` asks for `CCBot`.

What makes it fast: one expression picks out the lines that begin with a letter of the keys that count, and nothing else
of a file is looked at; only the groups that speak to the policy's agents are read further; agents under equal rules
share one evaluation (1.06 distinct rule sets per file for the paper's agents), and files with equal rules one compiled
object (half of the real files differ in comments and sitemaps only). Ranking and matching: `filters.robots_rules`.
Measured on one core: 0 disagreements with Google's parser, in verdict or line, over all 17,081 development files and
10,000 mutants of them, and with a slow reader over 10,000 fuzzed files. Reading and compiling 18 + 34 µs for a file of
2 KB. Against protego, called per document and agent: `tests/bench/bench_robots.py` and its log.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import protego

from filters.robots_rules import ALLOW_BIT, NO_RECORD, NOTHING_FITS, Rules, Screen, allows
from filters.robots_url import request_path

# RFC 9309, 2.5: a parser must read at least 500 kibibytes; Google drops the rest, and so do we.
MAX_BODY_BYTES = 500 * 1024
# Google's parser reads this much of a line: eight times 2,083, an old browser's limit on URLs, less the final NUL.
MAX_LINE_BYTES = 2083 * 8 - 1
MAX_RULE_CHARS = 200  # of a rule quoted as evidence


# ---------------------------------------------------------------------------------------------------------------------
# The rule: a robots.txt, an agent, a URL
# ---------------------------------------------------------------------------------------------------------------------


def disallowed_agents(robots_txt: bytes | str, agents: Sequence[str], url: str) -> set[str]:
    """Which of `agents` may not crawl `url`.

    Args:
        robots_txt: the file as served, or its text.
        agents: product tokens (case is ignored, a version after the token too), or `*` for everyone without a group.
        url: as a crawler requests it, percent-encoded (RFC 3986); `request_url` encodes what is not.

    Returns:
        The members of `agents`, as given, that are disallowed.
    """
    path = request_path(url)
    if path == "/robots.txt":
        return set()
    barred: set[str] = set()
    for rule_set in parse(as_bytes(robots_txt)).rule_sets(tuple(agents)):
        if rule_set.rules.may_bar(path) and not allows(rule_set.rules.match(path)):
            barred.update(rule_set.agents)
    return barred


def evidence(robots_txt: bytes | str, agent: str, url: str) -> tuple[bool, int]:
    """Whether `agent` may crawl `url`, and the 1-based number of the line that decides it, 0 when no line does.

    The line is the one that Google's parser names: the longest matching rule, an Allow before a Disallow of the same
    length, the earlier line among equals. A `Disallow:` without a value matches everything with length 0 and allows it.
    """
    path = request_path(url)
    if path == "/robots.txt":
        return True, 0
    parsed = parse(as_bytes(robots_txt))
    (rule_set,) = parsed.rule_sets((agent,))
    rank = rule_set.rules.match(path)
    return allows(rank), parsed.line(rule_set, rank)


def independent_verdict(robots_txt: bytes | str, agent: str, url: str) -> bool | None:
    """What protego, untouched, says: True allowed, False not, None when it fails. The second evaluator of an audit.

    It shares no code with `evidence`. Where the two differ, the table in this module's docstring should say why.
    """
    text = robots_txt if isinstance(robots_txt, str) else robots_txt.decode("utf-8", "replace")
    try:
        return bool(protego.Protego.parse(text).can_fetch(url, agent))
    except Exception:  # protego raises ValueError, UnicodeError and others on URLs that urllib rejects
        return None


# ---------------------------------------------------------------------------------------------------------------------
# Reading a file: lines to groups
# ---------------------------------------------------------------------------------------------------------------------

# Lines that may count, from their first letter, found at memory speed: \n comes first because the engine then skips
# from line to line (`_prepare` puts one before the first), and what else begins with one of these letters is told
# apart later, line by line and only where it matters.
_LETTERS = frozenset("uUaAdDcClL")
_CANDIDATE = re.compile(rf"\n[ \t\v\f]*([{''.join(sorted(_LETTERS))}].*)")
# A line that does count: its key by Google's prefixes and typos, then a colon and a value; or, for want of a colon,
# white space and exactly one word. Group 2 is the value after a colon, 3 that word.
_VALUE = r"(?:[^:#]*:([^#]*)|[^ \t:#]*[ \t]+([^ \t:#]+)[ \t\v\f]*(?=#|\Z))"
_AGENT = re.compile(r"(user[- ]?agent)" + _VALUE, re.IGNORECASE | re.ASCII)
_RULE = re.compile(r"(allow|dis(?:allow|sallow|salow|alow|allaw)|diasllow)" + _VALUE, re.IGNORECASE | re.ASCII)
_USUAL_KEYS = {"Disallow": 0, "Allow": ALLOW_BIT, "disallow": 0, "allow": ALLOW_BIT}
_USUAL_RULE = tuple(f"{key}:" for key in _USUAL_KEYS)
# Lines about use. For Allow and Disallow they are not there (RFC 9309, 2.2.4). Among themselves they are rules of their
# group (AIPREF attach, 3), so that a user-agent line behind one begins the next group.
DIRECTIVES = ("content-signal", "content-usage", "license")
BEFORE_GROUPS = -1
_DIRECTIVE = re.compile(rf"({'|'.join(DIRECTIVES)})[ \t\v\f]*:([^#]*)", re.IGNORECASE | re.ASCII)
_OTHER_DIRECTIVE = re.compile(
    r"\n[ \t\v\f]*(?:site-?map|crawl-delay|host|request-rate|content-signal|content-usage|license|clean-param)[^:\n]*:",
    re.IGNORECASE | re.ASCII,
)
_BLANK = " \t\v\f"  # ASCII white space within a line; str.strip() alone would take NBSP and others too
_TOKEN = re.compile(r"[A-Za-z0-9_-]*")
_DIGITS = re.compile(r"[0-9].*", re.DOTALL)


class Directive(NamedTuple):
    """A line that bars no URL and says what a document may be used for."""

    name: str  # a member of `DIRECTIVES`
    value: str  # what follows the colon up to a comment, as latin-1, one character per octet
    group: int  # the group it stands in, BEFORE_GROUPS ahead of the first
    line: int  # 1-based
    text: str  # as written, at most 200 characters


class Audience(NamedTuple):
    """Agents that the same groups speak to, on the same basis."""

    groups: tuple[int, ...]
    basis: str  # "named" or "star"
    agents: tuple[str, ...]


class GroupRules(Screen):
    """The rules of an agent's groups, compiled when a path needs them: `may_bar` rules out most before."""

    __slots__ = ("_compiled", "_text")

    def __init__(self, text: str):
        """`text` holds the lines, each with \\n before it."""
        super().__init__(text)
        self._text = text
        self._compiled: Rules | None = None

    def match(self, path: str) -> int:
        """The rank of the rule that decides, as `Rules.match` gives it."""
        if self._compiled is None:
            self._compiled = _compiled(self._text.split("\n")[1:])
        return self._compiled.match(path)


class RuleSet(NamedTuple):
    """Agents that obey the same rules on the same basis."""

    rules: GroupRules
    basis: str  # "named" or "star"
    agents: tuple[str, ...]
    groups: tuple[int, ...]  # of the file


class _Agents:
    """Which groups speak to whom."""

    __slots__ = ("_groups", "_lines", "star")

    def __init__(self) -> None:
        self._lines: list[_AgentLine] = []
        self._groups: list[int] = []  # of each of them
        self.star: list[int] = []

    def add(self, agent: _AgentLine, group: int) -> None:
        """A user-agent line in a group."""
        if not agent.star:
            self._lines.append(agent)
            self._groups.append(group)
        elif group not in self.star:
            self.star.append(group)

    def grouped(self, agents: tuple[str, ...]) -> dict[tuple[tuple[int, ...], str], tuple[str, ...]]:
        """Agents by the groups they obey and on what basis, `named` or `star`, in the order of their first agent."""
        digits, plain = _tokens(agents)
        named: dict[str, list[int]] = {}
        for agent, group in zip(self._lines, self._groups, strict=True):
            if agent.google_token in plain:
                named.setdefault(agent.google_token, []).append(group)
            if agent.token in digits:
                named.setdefault(agent.token, []).append(group)
        if not named:
            return {(tuple(self.star), "star"): agents} if agents else {}
        found: dict[tuple[tuple[int, ...], str], list[str]] = {}
        for name in agents:
            groups = named.get(product_token(name)[0])
            key = (tuple(self.star), "star") if groups is None else (tuple(dict.fromkeys(groups)), "named")
            found.setdefault(key, []).append(name)
        return {key: tuple(of) for key, of in found.items()}


class RobotsTxt:
    """A parsed file: its groups by token, and their rules, compiled when an agent first needs them."""

    __slots__ = ("_agents", "_directive_agents", "_directives", "_groups", "_lines", "_may_direct", "_plans", "body")

    def __init__(self, body: bytes):
        self.body = body
        self._lines: list[str] = _CANDIDATE.findall(_prepare(body))
        self._agents = _Agents()
        self._groups: list[tuple[int, int]] = []  # per group: its first rule, and the end of its lines, in `_lines`
        self._plans: dict[tuple[str, ...], list[RuleSet]] = {}
        self._directives: tuple[Directive, ...] | None = None
        self._directive_agents: _Agents | None = None
        self._may_direct = False
        self._read()

    def _read(self) -> None:
        lines = self._lines
        letters = "".join([line[0] for line in lines]).lower()
        self._may_direct = "c" in letters or "l" in letters
        group = -1
        closed = True  # a rule was seen since the last user-agent line, so the next one starts a group
        first_rule = 0
        place = letters.find("u")
        while place >= 0:
            agent = _agent(lines[place])
            if agent is not None:
                if closed:
                    if group >= 0:
                        self._groups.append((first_rule, place))
                    closed = False
                    group += 1
                self._agents.add(agent, group)
            following = letters.find("u", place + 1)
            if not closed:
                for rule in range(place + 1, following if following >= 0 else len(lines)):
                    if letters[rule] in "ad" and (lines[rule].startswith(_USUAL_RULE) or _RULE.match(lines[rule])):
                        closed, first_rule = True, rule
                        break
            place = following
        if group >= 0:
            self._groups.append((first_rule if closed else len(lines), len(lines)))

    @property
    def empty(self) -> bool:
        """True when no line counts."""
        return not self._groups and not any(map(_RULE.match, self._lines))

    def rule_sets(self, agents: tuple[str, ...]) -> list[RuleSet]:
        """The distinct rule sets that `agents` fall under, in the order of their first agent: the merged rules of an
        agent's groups, or else of the `*` groups (RFC 9309, 2.2.1)."""
        plan = self._plans.get(agents)
        if plan is None:
            plan = [
                RuleSet(self._rules(groups), basis, of, groups)
                for (groups, basis), of in self._agents.grouped(agents).items()
            ]
            self._plans[agents] = plan
        return plan

    @property
    def directives(self) -> tuple[Directive, ...]:
        """The lines named in `DIRECTIVES`, in order."""
        if self._directives is None:
            speaks = self._may_direct and any(map(_DIRECTIVE.match, self._lines))
            self._directives = self._read_directives() if speaks else ()
        return self._directives

    def audiences(self, agents: tuple[str, ...]) -> list[Audience]:
        """Whom the directives in the groups of `agents` and in the `*` groups speak to, in the agents' order, `*` last.

        `*` is there whether or not an agent falls under it, and lines ahead of every group belong to it: rules there
        bind nobody (RFC 9309, 2.2.1), but who writes a directive there can only mean everyone.
        """
        speaks_to = (self.directives and self._directive_agents) or _Agents()
        by_groups = speaks_to.grouped(agents)
        star = by_groups.pop((tuple(speaks_to.star), "star"), ())
        named = [Audience(groups, basis, of) for (groups, basis), of in by_groups.items()]
        return [*named, Audience((*speaks_to.star, BEFORE_GROUPS), "star", star)]

    def _read_directives(self) -> tuple[Directive, ...]:
        """A second pass over a file that has directives, by the grammar in which they are rules (see `DIRECTIVES`)."""
        agents, directives = _Agents(), []
        group, closed = BEFORE_GROUPS, True
        numbers = self._line_numbers()
        for place, line in enumerate(self._lines):
            agent = _agent(line)
            if agent is not None:
                if closed:
                    closed, group = False, group + 1
                agents.add(agent, group)
            elif found := _DIRECTIVE.match(line):
                closed = True
                name, value = found[1].lower(), found[2].strip(_BLANK)
                directives.append(Directive(name, value, group, numbers[place], _quoted(line)))
            elif _RULE.match(line):
                closed = True
        self._directive_agents = agents
        return tuple(directives)

    def _rules(self, groups: tuple[int, ...]) -> GroupRules:
        if len(groups) == 1:
            first, end = self._groups[groups[0]]
            lines = self._lines[first:end]
        else:
            lines = [line for group in groups for line in self._lines[slice(*self._groups[group])]]
        text = "\n".join(["", *lines])
        # Sharing what is small serves nearly all files and bounds what is held.
        return _shared_rules(text) if len(text) <= _MAX_SHARED_CHARS else GroupRules(text)

    def line(self, rule_set: RuleSet, rank: int) -> int:
        """1-based number of the line behind a rank of one of its rule sets, 0 for none."""
        return 0 if rank == NOTHING_FITS else self._line_number(self._place(rule_set, rank))

    def rule(self, rule_set: RuleSet, rank: int) -> str:
        """The line behind a rank as written, at most 200 characters."""
        return "" if rank == NOTHING_FITS else _quoted(self._lines[self._place(rule_set, rank)])

    def _place(self, rule_set: RuleSet, rank: int) -> int:
        record = NO_RECORD - (rank & NO_RECORD)
        for group in rule_set.groups:
            first, end = self._groups[group]
            if record < end - first:
                return first + record
            record -= end - first
        raise IndexError(f"no rule of rank {rank}")

    def _line_number(self, place: int) -> int:
        """The 1-based number of one of `_lines` in the file."""
        prepared = _prepare(self.body) + "\n"
        line = f"\n{self._lines[place]}\n"
        # Where every line with this text stands without blanks around it, the one sought is found by its text.
        starts = [prepared.find(line)]
        while starts[-1] >= 0 and len(starts) <= _MAX_TWINS:
            starts.append(prepared.find(line, starts[-1] + 1))
        if starts.pop() < 0 and len(starts) == self._lines.count(line[1:-1]):
            return prepared.count("\n", 0, starts[self._lines[:place].count(line[1:-1])] + 1)
        found = next(itertools.islice(_CANDIDATE.finditer(prepared), place, None))
        return prepared.count("\n", 0, found.start() + 1)

    def _line_numbers(self) -> list[int]:
        lines = enumerate(_prepare(self.body).split("\n"))
        return [number for number, line in lines if line.lstrip(_BLANK)[:1] in _LETTERS]

    @property
    def looks_like_something_else(self) -> bool:
        """True for a page or a binary without a single directive, served in place of a robots.txt."""
        if not self.body or not self.empty:
            return False
        if _OTHER_DIRECTIVE.search(_prepare(self.body)):
            return False
        head = self.body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n\v\f")
        if head[:1] in (b"<", b"{") or b"<html" in head.lower():
            return True
        controls = sum(byte < 9 or 13 < byte < 32 for byte in head)
        return controls * 20 > len(head)


class _AgentLine(NamedTuple):
    """Whom a user-agent line names."""

    star: bool
    token: str  # as we cut it, with digits
    google_token: str  # as Google cuts it, before a digit


_MAX_CACHED_LINE = 200


def _agent(line: str) -> _AgentLine | None:
    """A user-agent line, None for another."""
    return _short_agent(line) if len(line) <= _MAX_CACHED_LINE else _read_agent(line)


def _read_agent(line: str) -> _AgentLine | None:
    found = _AGENT.match(line)
    if found is None:
        return None
    agent = (found[2] or found[3] or "").strip(_BLANK)
    if agent[:1] == "*" and (len(agent) == 1 or agent[1] in _BLANK):
        return _AgentLine(True, "", "")
    token = _TOKEN.match(agent)[0].lower()  # type: ignore[index]
    return _AgentLine(False, token, _DIGITS.sub("", token))


_short_agent = functools.lru_cache(maxsize=8192)(_read_agent)


@functools.lru_cache(maxsize=4096)
def product_token(agent: str) -> tuple[str, bool]:
    """The token of a policy's agent as files name it, and whether it holds digits."""
    token = _TOKEN.match(agent)[0].lower()  # type: ignore[index]
    return token, bool(_DIGITS.search(token))


@functools.lru_cache(maxsize=256)
def _tokens(agents: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The tokens of a policy: those with digits, and those without."""
    tokens = [product_token(agent) for agent in agents]
    return (
        frozenset(token for token, has_digits in tokens if has_digits),
        frozenset(token for token, has_digits in tokens if token and not has_digits),
    )


def _compiled(lines: Sequence[str]) -> Rules:
    """The rules among lines of a file, ranked by their place there."""
    patterns, ranks = [], []
    for place, line in enumerate(lines):
        key, colon, value = line.partition(":")
        verdict = _USUAL_KEYS.get(key) if colon else None
        if verdict is None:
            found = _RULE.match(line)
            if found is None:
                continue
            verdict = ALLOW_BIT if line[0] in "aA" else 0
            value = found[2] or found[3] or ""
        elif "#" in value:
            value = value[: value.index("#")]
        patterns.append(value.strip(_BLANK))
        ranks.append(NO_RECORD - place | verdict)
    return Rules(patterns, ranks)


_MAX_TWINS = 20
_MAX_SHARED_CHARS = 8192
_shared_rules = functools.lru_cache(maxsize=8192)(GroupRules)


def _quoted(line: str) -> str:
    """A line as evidence shows it."""
    return line.strip(_BLANK).encode("latin-1").decode("utf-8", "replace")[:MAX_RULE_CHARS]


def _prepare(body: bytes) -> str:
    """The lines that count for a parser: limits applied, byte order mark off, \\n as the only line end, one put first.

    As latin-1, one character per octet: string operations are faster than those on bytes, and nothing is lost.

    A body over the limit is cut behind its last whole line, so that a rule cut in two does not become a shorter one.
    """
    if len(body) > MAX_BODY_BYTES:
        body = body[:MAX_BODY_BYTES]
        end = max(body.rfind(b"\n"), body.rfind(b"\r"))
        if end >= 0:
            body = body[: end + 1]
    if body[:1] == b"\xef":
        for octet in b"\xef\xbb\xbf":  # Google skips a cut-off mark too
            if body[:1] != bytes((octet,)):
                break
            body = body[1:]
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if len(body) > MAX_LINE_BYTES:
        lines = body.split(b"\n")
        if max(map(len, lines)) > MAX_LINE_BYTES:
            body = b"\n".join(line[:MAX_LINE_BYTES] for line in lines)
    if b"\0" in body:  # NUL ends what Google reads of a line
        body = re.sub(rb"\0[^\n]*", b"", body)
    return (b"\n" + body).decode("latin-1")


def as_bytes(robots_txt: bytes | str) -> bytes:
    return robots_txt.encode("utf-8", "surrogatepass") if isinstance(robots_txt, str) else bytes(robots_txt)


def parse(body: bytes) -> RobotsTxt:
    """A file, parsed once for as long as it is among the last that were: hosts share bodies (13,388 distinct ones among
    23,619 hosts), and a batch asks about one host many times."""
    parsed = _PARSED.get(body)
    if parsed is None:
        parsed = _PARSED[body] = RobotsTxt(body)
        _PARSED.held += len(body)
        while _PARSED.held > _MAX_HELD_BYTES and len(_PARSED) > 1:
            oldest = next(iter(_PARSED))
            del _PARSED[oldest]
            _PARSED.held -= len(oldest)
    return parsed


_MAX_HELD_BYTES = 32 << 20  # of bodies; parsed they take some four times as much


class _Parsed(dict[bytes, RobotsTxt]):
    """Files by body, the oldest first."""

    held = 0


_PARSED = _Parsed()

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

What makes it fast: one regular expression over a file finds the few kinds of line that count, agents under equal rules
share one evaluation (1.06 distinct rule sets per file for the paper's agents), a file without an effective Disallow
needs no look at the URL, plain prefixes are one `startswith(tuple)`, and the rest is `str.find` without backtracking.
Measured on one core: 0 disagreements with Google's parser, in verdict or line, over all 17,081 development files and
10,000 mutants of them; reading and compiling 6,300 files/s of 4.2 KB; 270,000 URLs/s, which is 4.1 million agent checks
per second for the paper's 15.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote

import idna
import protego

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
        if rule_set.rules.can_bar and not allows(rule_set.rules.match(path)):
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
    rank = parsed.rules_for(agent).match(path)
    return allows(rank), parsed.line(rank)


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
# The rule: which file a URL falls under
# ---------------------------------------------------------------------------------------------------------------------

DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "ftp": 21}

# Nine in ten URLs: nothing to normalise in the authority.
_PLAIN_AUTHORITY = re.compile(r"https?://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(?=[/?#]|\Z)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?=//|\\\\)")
_AUTHORITY_END = re.compile(r"[/?#\\]")
_PORT = re.compile(r":([0-9]*)\Z")


def origin(url: str) -> tuple[str, int | None]:
    """The authority whose robots.txt covers `url` (RFC 9309, 2.3): host, and port unless it is the scheme's default.

    The host is lower case, in punycode (UTS 46, as browsers do it), without user information and trailing dot. An IPv6
    address has no brackets, as in `urllib.parse`; `host_key` puts them back. A URL without a host gives `("", None)`.
    """
    if plain := _PLAIN_AUTHORITY.match(url):
        host = plain[1]
        if "xn--" not in host and not host[-1].isdigit():
            return host, None
    url = url.strip("".join(map(chr, range(33)))).translate({9: None, 10: None, 13: None})
    scheme = _SCHEME.match(url)
    if scheme:
        rest, default_port = url[scheme.end() + 2 :], DEFAULT_PORTS.get(scheme[0][:-1].lower())
    elif url.startswith("//"):
        rest, default_port = url[2:], None
    else:
        return "", None
    return _authority(_AUTHORITY_END.split(rest, maxsplit=1)[0], default_port)


def host_key(host: str, port: int | None) -> str:
    """`host` or `host:port`, as snapshots and evidence write an origin."""
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def _authority(authority: str, default_port: int | None) -> tuple[str, int | None]:
    host = authority.rpartition("@")[2]
    port = None
    if number := _PORT.search(host):
        host = host[: number.start()]
        if number[1] and int(number[1][:9]) not in (default_port, 0):
            port = int(number[1][:9])
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.IPv6Address(host[1:-1]).compressed, port
        except ValueError:
            return host[1:-1].lower(), port
    if "%" in host:
        host = unquote(host)
    return _ascii_host(host), port


@functools.lru_cache(maxsize=65536)
def _ascii_host(host: str) -> str:
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            try:  # names that today's registries refuse, such as emoji, still resolve
                host = host.encode("idna").decode("ascii")
            except UnicodeError:
                host = host.encode("utf-8", "replace").decode("utf-8")  # lone surrogates fit no other file
    return host.lower().rstrip(".")


def request_url(url: str) -> str:
    """`url` percent-encoded as a crawler sends it: other than ASCII encoded as UTF-8, hexadecimal digits upper case.

    RFC 9309, 2.2.2 asks for this before the comparison; Google's parser, and so `evidence`, leaves it to the caller.
    """
    if not url.isascii():
        url = quote(url, safe=_ASCII, encoding="utf-8", errors="surrogatepass")
    if "%" in url:
        url = _PERCENT.sub(lambda escape: escape[0].upper(), url)
    return url


_ASCII = "".join(map(chr, range(128)))
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_HIGH_OCTET = re.compile(r"[\x80-\xff]")
_PATH_START = re.compile(r"[/?;]")


def request_path(url: str) -> str:
    """Path, parameters and query of `url`, as Google's parser takes them: from the first `/`, `?` or `;` behind the
    authority to the fragment, with a leading slash; `/` when there is none."""
    start = 2 if url.startswith("//") else 0
    scheme_end = url.find("://", start)
    if scheme_end >= 0:
        early = _PATH_START.search(url, start, scheme_end)
        if early is None:
            start = scheme_end + 3
    found = _PATH_START.search(url, start)
    if found is None:
        return "/"
    begin = found.start()
    fragment = url.find("#")
    if fragment >= 0:
        if fragment < begin:
            return "/"
        path = url[begin:fragment]
    else:
        path = url[begin:]
    return path if path[0] == "/" else "/" + path


def canonical_path(path: str) -> str:
    """`path` or pattern so that equal addresses are equal texts (RFC 3986, 6.2.2): what need not be escaped is not,
    what must be is, with upper case digits."""
    if not path.isascii():
        path = quote(path, safe=_ASCII, encoding="utf-8", errors="surrogatepass")
    path = path.replace(" ", "%20")
    return _PERCENT.sub(_unescaped, path) if "%" in path else path


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if character in _UNRESERVED else escape[0].upper()


# ---------------------------------------------------------------------------------------------------------------------
# Reading a file: lines to groups
# ---------------------------------------------------------------------------------------------------------------------

# A line that counts: its key by Google's prefixes and typos, then a colon and a value; or, for want of a colon, white
# space and exactly one word. Group 1 is the key, 2 the value after a colon, 3 that word. \n comes first because the
# engine then skips from line to line at memory speed; `_prepare` puts one before the first line.
_LINE = re.compile(
    r"\n[ \t\v\f]*(user[- ]?agent|allow|dis(?:allow|sallow|salow|alow|allaw)|diasllow)"
    r"(?:[^:#\n]*:([^#\n]*)|[^ \t:#\n]*[ \t]+([^ \t:#\n]+)[ \t\v\f]*(?=[#\n]|\Z))",
    re.IGNORECASE | re.ASCII,
)
# Lines about use. For Allow and Disallow they are not there (RFC 9309, 2.2.4). Among themselves they are rules of their
# group (AIPREF attach, 3), so that a user-agent line behind one begins the next group.
DIRECTIVES = ("content-signal", "content-usage", "license")
BEFORE_GROUPS = -1
_DIRECTIVE = re.compile(rf"\n[ \t\v\f]*({'|'.join(DIRECTIVES)})[ \t\v\f]*:([^#\n]*)", re.IGNORECASE | re.ASCII)
_DIRECTIVE_SIGNS = (b"content-", b"license")
_OTHER_DIRECTIVE = re.compile(
    r"\n[ \t\v\f]*(?:site-?map|crawl-delay|host|request-rate|content-signal|content-usage|license|clean-param)[^:\n]*:",
    re.IGNORECASE | re.ASCII,
)
_BLANK = " \t\v\f"  # ASCII white space within a line; str.strip() alone would take NBSP and others too
_TOKEN = re.compile(r"[A-Za-z0-9_-]*")
_DIGITS = re.compile(r"[0-9].*", re.DOTALL)

# A rule that fits, as one number, so that the greatest is the one that decides: length of the pattern in octets (the
# longest match wins), then whether it allows (it wins a tie), then how early its line is.
ALLOW_BIT = 1 << 32
_LENGTH_SHIFT = 33
NO_RECORD = ALLOW_BIT - 1
_NOTHING_FITS = ALLOW_BIT | 0  # allowed, and by no line


def allows(rank: int) -> bool:
    return bool(rank & ALLOW_BIT)


class Directive(NamedTuple):
    """A line that bars no URL and says what a document may be used for."""

    name: str  # a member of `DIRECTIVES`
    value: str  # what follows the colon up to a comment, as latin-1, one character per octet
    group: int  # the group it stands in, BEFORE_GROUPS ahead of the first
    line: int  # 1-based
    text: str  # as written, at most 200 characters


class _Agents:
    """Which groups speak to whom."""

    __slots__ = ("_by_google_token", "_by_token", "star")

    def __init__(self) -> None:
        self._by_token: dict[str, list[int]] = {}  # token as we cut it (with digits) -> its groups
        self._by_google_token: dict[str, list[int]] = {}  # token as Google cuts it (before a digit)
        self.star: list[int] = []

    def add(self, agent: str, group: int) -> None:
        """The value of a user-agent line."""
        if agent[:1] == "*" and (len(agent) == 1 or agent[1] in _BLANK):
            if group not in self.star:
                self.star.append(group)
        else:
            token = _TOKEN.match(agent)[0].lower()  # type: ignore[index]
            self._by_token.setdefault(token, []).append(group)
            self._by_google_token.setdefault(_DIGITS.sub("", token), []).append(group)

    def groups_for(self, agent: str) -> tuple[tuple[int, ...], str]:
        """The groups an agent obeys and on what basis: `named` or `star`."""
        token, has_digits = product_token(agent)
        named = (self._by_token if has_digits else self._by_google_token).get(token)
        if named is not None and token:
            return tuple(dict.fromkeys(named)), "named"
        return tuple(self.star), "star"


class Audience(NamedTuple):
    """Agents that the same groups speak to, on the same basis."""

    groups: tuple[int, ...]
    basis: str  # "named" or "star"
    agents: tuple[str, ...]


class RobotsTxt:
    """A parsed file: groups by token, each with its raw rules, compiled when an agent first needs them."""

    def __init__(self, body: bytes):
        self.body = body
        self.empty = True  # no line that counts
        self._groups: list[list[tuple[str, int]]] = []  # per group its rules: value, rank without the length
        self._agents = _Agents()
        self._compiled: dict[tuple[int, ...], Rules] = {}
        self._plans: dict[tuple[str, ...], list[RuleSet]] = {}
        self._directives: tuple[Directive, ...] | None = None
        self._directive_agents: _Agents | None = None
        self._lines: list[tuple[int, str]] | None = None
        self._read()

    def _read(self) -> None:
        rules: list[tuple[str, int]] | None = None
        closed = True  # a rule was seen since the last user-agent line, so the next one starts a group
        record = -1
        add = self._agents.add
        for record, (key, value, word) in enumerate(_LINE.findall(_prepare(self.body))):
            letter = key[0]
            if letter not in "uU":
                if rules is not None:
                    closed = True
                    rank = NO_RECORD - record
                    if letter in "aA":
                        rank |= ALLOW_BIT
                    rules.append((value.strip(_BLANK) if value else word, rank))
                continue
            if closed:
                closed, rules = False, []
                self._groups.append(rules)
            add((value or word).strip(_BLANK), len(self._groups) - 1)
        self.empty = record < 0

    def rules_for(self, agent: str) -> Rules:
        """The merged rules of the agent's groups, or else of the `*` groups (RFC 9309, 2.2.1)."""
        return self._compile(self._agents.groups_for(agent)[0])

    def rule_sets(self, agents: tuple[str, ...]) -> list[RuleSet]:
        """The distinct rule sets that `agents` fall under, in the order of their first agent."""
        plan = self._plans.get(agents)
        if plan is None:
            by_groups: dict[tuple[tuple[int, ...], str], list[str]] = {}
            for agent in agents:
                by_groups.setdefault(self._agents.groups_for(agent), []).append(agent)
            plan = [RuleSet(self._compile(groups), basis, tuple(of)) for (groups, basis), of in by_groups.items()]
            self._plans[agents] = plan
        return plan

    @property
    def directives(self) -> tuple[Directive, ...]:
        """The lines named in `DIRECTIVES`, in order. Most files have none, and then this is two searches, once."""
        if self._directives is None:
            lower = self.body[:MAX_BODY_BYTES].lower()
            self._directives = self._read_directives() if any(sign in lower for sign in _DIRECTIVE_SIGNS) else ()
        return self._directives

    def audiences(self, agents: tuple[str, ...]) -> list[Audience]:
        """Whom the directives in the groups of `agents` and in the `*` groups speak to, in the agents' order, `*` last.

        `*` is there whether or not an agent falls under it, and lines ahead of every group belong to it: rules there
        bind nobody (RFC 9309, 2.2.1), but who writes a directive there can only mean everyone.
        """
        speaks_to = (self.directives and self._directive_agents) or _Agents()
        by_groups: dict[tuple[tuple[int, ...], str], list[str]] = {}
        for agent in agents:
            by_groups.setdefault(speaks_to.groups_for(agent), []).append(agent)
        star = by_groups.pop((tuple(speaks_to.star), "star"), [])
        named = [Audience(groups, basis, tuple(of)) for (groups, basis), of in by_groups.items()]
        return [*named, Audience((*speaks_to.star, BEFORE_GROUPS), "star", tuple(star))]

    def _read_directives(self) -> tuple[Directive, ...]:
        """A second pass over a file that has directives, by the grammar in which they are rules (see `DIRECTIVES`)."""
        prepared = _prepare(self.body)
        lines = [*_LINE.finditer(prepared), *_DIRECTIVE.finditer(prepared)]
        lines.sort(key=re.Match.start)
        agents, directives = _Agents(), []
        group, closed, line, counted = BEFORE_GROUPS, True, 0, 0
        for found in lines:
            if found.re is _LINE and found[1][0] in "uU":
                if closed:
                    closed, group = False, group + 1
                agents.add((found[2] or found[3] or "").strip(_BLANK), group)
                continue
            closed = True
            if found.re is _DIRECTIVE:
                line += prepared.count("\n", counted, found.start() + 1)
                counted = found.start() + 1
                end = prepared.find("\n", counted)
                text = prepared[counted : len(prepared) if end < 0 else end].strip(_BLANK)
                value = found[2].strip(_BLANK)
                directives.append(Directive(found[1].lower(), value, group, line, _quoted(text)))
        self._directive_agents = agents
        return tuple(directives)

    def _compile(self, groups: tuple[int, ...]) -> Rules:
        rules = self._compiled.get(groups)
        if rules is None:
            rules = self._compiled[groups] = Rules(rule for group in groups for rule in self._groups[group])
        return rules

    def line(self, rank: int) -> int:
        """1-based number of the line behind a rank, 0 for none."""
        return self._line(rank)[0]

    def rule(self, rank: int) -> str:
        """The line behind a rank as written, at most 200 characters."""
        return self._line(rank)[1]

    def _line(self, rank: int) -> tuple[int, str]:
        if rank == _NOTHING_FITS:
            return 0, ""
        if self._lines is None:  # only who is excluded needs line numbers, so they are counted on demand
            prepared = _prepare(self.body)
            self._lines, line, counted = [], 0, 0
            for found in _LINE.finditer(prepared):
                line += prepared.count("\n", counted, found.start() + 1)
                counted = found.start() + 1
                end = prepared.find("\n", counted)
                text = prepared[counted : len(prepared) if end < 0 else end].strip(_BLANK)
                self._lines.append((line, _quoted(text)))
        return self._lines[NO_RECORD - (rank & NO_RECORD)]

    @property
    def looks_like_something_else(self) -> bool:
        """True for a page or a binary without a single directive, served in place of a robots.txt."""
        if not self.empty or not self.body:
            return False
        if _OTHER_DIRECTIVE.search(_prepare(self.body)):
            return False
        head = self.body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n\v\f")
        if head[:1] in (b"<", b"{") or b"<html" in head.lower():
            return True
        controls = sum(byte < 9 or 13 < byte < 32 for byte in head)
        return controls * 20 > len(head)


class Rules:
    """The compiled rules of one agent: which of them fits a path and wins."""

    def __init__(self, rules: Iterable[tuple[str, int]], index_is_folder: bool = True):
        best: dict[str, int] = {}  # of equal patterns only the winner matters
        self.can_bar = False
        for pattern, rank in rules:
            if "%" in pattern or not pattern.isascii():
                pattern = encoded_pattern(pattern)
            rank |= len(pattern) << _LENGTH_SHIFT
            if rank > best.get(pattern, 0):
                best[pattern] = rank
            if not rank & ALLOW_BIT:
                if pattern:
                    self.can_bar = True
            elif index_is_folder and "/index.htm" in pattern:  # Google: an index page is its folder
                slash = pattern.rfind("/")
                if pattern.startswith("/index.htm", slash):
                    pattern = pattern[: slash + 1] + "$"
                    rank = (rank & (2 * ALLOW_BIT - 1)) | len(pattern) << _LENGTH_SHIFT
                    best[pattern] = max(best.get(pattern, 0), rank)
        # An empty value fits everything with length 0 and bars nothing.
        self._default = best.pop("", _NOTHING_FITS) | ALLOW_BIT
        self._prefixes: dict[str, int] = {}
        self._exact: dict[str, int] = {}
        self._wildcards: list[tuple[int, str, list[str], str, bool]] = []
        for pattern, rank in best.items():
            if "*" in pattern:
                anchored = pattern[-1] == "$"
                head, *middle, tail = (pattern[:-1] if anchored else pattern).split("*")
                self._wildcards.append((rank, head, middle, tail, anchored))
            elif pattern[-1] == "$":
                self._exact[pattern[:-1]] = rank
            else:
                self._prefixes[pattern] = rank
        self._wildcards.sort(reverse=True)
        self._any_prefix = tuple(self._prefixes)
        self._lengths = sorted(set(map(len, self._any_prefix)), reverse=True)

    def match(self, path: str) -> int:
        """The rank of the rule that decides for `path`; `allows` reads the verdict from it."""
        winner = self._default
        if path.startswith(self._any_prefix):
            for length in self._lengths:
                found = self._prefixes.get(path[:length])
                if found is not None:
                    winner = found
                    break
        if self._exact:
            winner = max(winner, self._exact.get(path, 0))
        for wildcard in self._wildcards:
            if wildcard[0] < winner:
                break
            if path.startswith(wildcard[1]) and _wildcard_fits(path, wildcard):
                return wildcard[0]
        return winner


@functools.lru_cache(maxsize=4096)
def product_token(agent: str) -> tuple[str, bool]:
    """The token of a policy's agent as files name it, and whether it holds digits."""
    token = _TOKEN.match(agent)[0].lower()  # type: ignore[index]
    return token, bool(_DIGITS.search(token))


class RuleSet(NamedTuple):
    """Agents that obey the same rules on the same basis."""

    rules: Rules
    basis: str  # "named" or "star"
    agents: tuple[str, ...]


def _wildcard_fits(path: str, wildcard: tuple[int, str, list[str], str, bool]) -> bool:
    """Whether the rest of a pattern fits behind its head. The leftmost place for each part is as good as any, so there
    is nothing to backtrack into."""
    _, head, middle, tail, anchored = wildcard
    position = len(head)
    for part in middle:
        position = path.find(part, position)
        if position < 0:
            return False
        position += len(part)
    if anchored:
        return len(path) - len(tail) >= position and path.endswith(tail)
    return path.find(tail, position) >= 0


def pattern_fits(pattern: str, path: str) -> bool:
    """Whether a path begins as `pattern` says, with `*` for anything and a final `$` for the end."""
    anchored = pattern.endswith("$")
    start = pattern[:-1] if anchored else pattern
    if "*" not in start:
        return path == start if anchored else path.startswith(start)
    head, *middle, tail = start.split("*")
    return path.startswith(head) and _wildcard_fits(path, (0, head, middle, tail, anchored))


def encoded_pattern(value: str) -> str:
    """A rule's value as Google compares it: octets above 127 percent-encoded, escapes in upper case."""
    if "%" in value:
        value = _PERCENT.sub(lambda escape: escape[0].upper(), value)
    return _HIGH_OCTET.sub(lambda octet: f"%{ord(octet[0]):02X}", value)


def _quoted(line: str) -> str:
    """A line as evidence shows it."""
    return line.encode("latin-1").decode("utf-8", "replace")[:MAX_RULE_CHARS]


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


# Hosts share bodies (13,388 distinct ones among 23,619 hosts), and a batch asks about one host many times.
@functools.lru_cache(maxsize=8192)
def parse(body: bytes) -> RobotsTxt:
    return RobotsTxt(body)

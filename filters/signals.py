"""What an owner says in machine-readable form about training, beside the rules of robots.txt: one small class a signal.

| signal | where it is said | what bars | specification |
|---|---|---|---|
| `content-signal` | robots.txt line, header | `ai-train=no` | contentsignals.org; draft-romm-aipref-contentsignals-00 |
| `content-usage` | robots.txt line with optional path, header | `train-ai=n` | draft-ietf-aipref-attach-05, -vocab-08 |
| `tdmrep` | /.well-known/tdmrep.json, header, meta | `tdm-reservation` 1 | W3C TDMRep, final report of 2024-05-10 |
| `noai` | meta robots, X-Robots-Tag | `noai` | DeviantArt, 2022 |
| `noarchive` | meta robots, X-Robots-Tag | `noarchive` | Google's robots meta tag; read by some as "keep no copy" |
| `ai-txt` | /ai.txt | `Disallow` of text files or of all | Spawning, 2023 |
| `rsl` | robots.txt line `License:` | that a licence is declared | RSL 1.0, section 4.3 |

Each answers *allowed*, *disallowed* or *unknown*, and unknown is what anything absent or unparsable is. An answer
"allowed" is a statement of its own and overrides nothing: not a rule of robots.txt, not another signal.

Why this way: a signal sees what the snapshot holds of an origin once (`of_site`), and what a page carries (`of_page`);
so a site without signals, which is nineteen of twenty, costs two substring searches in its robots.txt and nothing per
document. Where specification and plain intent part, the doubt goes to the owner, and the place says so. Measured: of
17,081 development files, most older than any of this, 8 bar by `content-signal` and 6 declare a licence; the reader of
dictionaries agrees with http-sf 1.5.0 on 300,000 generated fields; the stage costs 0.3 to 0.7 CPU-ms per MB more than
without signals.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from filters.robots_rules import ALLOW_BIT, NO_RECORD, Rules, allows, encoded_pattern, pattern_fits
from filters.robots_txt import MAX_RULE_CHARS, Audience, Directive, RobotsTxt, parse, product_token
from filters.robots_url import canonical_path


class Answer(StrEnum):
    """What a signal says about training on a document."""

    ALLOWED = "allowed"
    DISALLOWED = "disallowed"
    UNKNOWN = "unknown"  # absent, silent about training, or not readable


@dataclass(frozen=True, slots=True)
class Finding:
    """A signal's answer and where it stands.

    Attributes:
        file: `robots.txt`, `tdmrep.json` or `ai.txt` as the snapshot holds it; None for what a page carries.
        line: 1-based line in that file, where it has one.
        rule: the line as written, or the header or meta element with the part that counts.
        agents, basis: whom a group of the file speaks to, as in `filters.decision.Evidence`.
    """

    answer: Answer
    file: str | None = None
    line: int | None = None
    rule: str | None = None
    agents: tuple[str, ...] = ()
    basis: str | None = None


NOTHING = Finding(Answer.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Site:
    """What a snapshot holds of an origin; None for what it does not hold."""

    robots: RobotsTxt | None = None
    tdmrep: bytes | None = None
    ai_txt: bytes | None = None


# Asked with a path as `filters.robots_txt.request_path` gives it.
Says = Callable[[str], Finding]


class Signal:
    """A way to say it. Subclass, and name it in `SIGNALS`, to add one.

    Attributes:
        name: as policies name it.
        protocol: as evidence names it.
        page_fields: keys of a document's metadata that may carry it, as the WARC reader fills them.
        page_wins: whether a page's own statement replaces the site's; else the stricter of the two counts.
    """

    name: ClassVar[str]
    protocol: ClassVar[str]
    page_fields: ClassVar[tuple[str, ...]] = ()
    page_wins: ClassVar[bool] = False

    def of_site(self, site: Site, agents: tuple[str, ...]) -> Says | None:
        """What the files of an origin say, None when they say nothing for any path."""
        return None

    def of_page(self, metadata: Mapping[str, Any], agents: tuple[str, ...]) -> Finding:
        """What a page's headers and meta elements say."""
        return NOTHING

    def answer(self, says: Says | None, path: str, metadata: Mapping[str, Any], agents: tuple[str, ...]) -> Finding:
        """Both together: any statement against wins, and one in favour only where there is none against."""
        page = NOTHING
        if any(field in metadata for field in self.page_fields):
            page = self.of_page(metadata, agents)
        if says is None or page.answer is Answer.DISALLOWED or (self.page_wins and page is not NOTHING):
            return page
        site = says(path)
        return site if site.answer is not Answer.UNKNOWN else page


class ContentSignal(Signal):
    """Cloudflare's Content Signals: `Content-Signal: search=yes, ai-train=no` in a group, or as HTTP header.

    The policy names keys and values and no grammar, so `ai-train=no` is found wherever it stands between separators,
    in any case. A key that is absent "neither grants nor restricts". Several lines: any `no` counts.

    Which groups? Those that speak to the policy's agents, and always the `*` group, whatever the policy makes of a
    `*` group's *rules*: those say who may fetch, and a crawler with a group of its own is rightly not bound by them.
    This says what may become of the text, and a corpus goes on to trainers whom no group names.
    """

    name = protocol = "content-signal"
    page_fields = ("content_signal",)

    def of_site(self, site: Site, agents: tuple[str, ...]) -> Says | None:
        findings = [
            _found(content_signal(directive.value), directive, audience)
            for audience, directive in _spoken(site.robots, self.name, agents)
        ]
        return _constant(_strictest(findings))

    def of_page(self, metadata: Mapping[str, Any], agents: tuple[str, ...]) -> Finding:
        answers = [content_signal(value) for value in _texts(metadata, "content_signal")]
        return _strictest(
            Finding(answer, rule=f"Content-Signal: ai-train={'no' if answer is Answer.DISALLOWED else 'yes'}")
            for answer in answers
        )


_AI_TRAIN = re.compile(r"(?<![\w.-])ai-train[ \t]*=[ \t]*(yes|no)(?![\w.-])", re.IGNORECASE | re.ASCII)


def content_signal(value: str) -> Answer:
    """The `ai-train` of a Content-Signal value."""
    said = {found.lower() for found in _AI_TRAIN.findall(value)}
    return Answer.DISALLOWED if "no" in said else Answer.ALLOWED if said else Answer.UNKNOWN


class ContentUsage(Signal):
    """IETF AIPREF: `Content-Usage: [/path SP] train-ai=n` in a group, and the HTTP header `Content-Usage: train-ai=n`.

    In robots.txt the rule with the longest path decides, as for Allow and Disallow (attach, 3.1); a rule without a
    path fits all with length 0, and of equal paths the stricter counts (vocab, 7.1). The deciding rule may be silent
    about `train-ai`, and then so is the site: a longer path replaces a shorter one whole. The drafts would not apply
    an update to what was fetched before (attach, 3.3); doing so is what a retroactive check is for.
    Which groups: see `ContentSignal`.
    """

    name = protocol = "content-usage"
    page_fields = ("content_usage",)

    def of_site(self, site: Site, agents: tuple[str, ...]) -> Says | None:
        by_audience: dict[Audience, list[Directive]] = {}
        for audience, directive in _spoken(site.robots, self.name, agents):
            by_audience.setdefault(audience, []).append(directive)
        rules = [_UsageRules(directives, audience) for audience, directives in by_audience.items()]
        if not any(rule.speaks for rule in rules):
            return None
        return lambda path: _strictest(rule.decide(path) for rule in rules)

    def of_page(self, metadata: Mapping[str, Any], agents: tuple[str, ...]) -> Finding:
        answer = content_usage(", ".join(_texts(metadata, "content_usage")))  # field lines combine so (RFC 9110, 5.3)
        if answer is Answer.UNKNOWN:
            return NOTHING
        return Finding(answer, rule=f"Content-Usage: train-ai={'n' if answer is Answer.DISALLOWED else 'y'}")


class _UsageRules:
    """The Content-Usage rules of an audience, ranked by the matcher of Allow and Disallow."""

    def __init__(self, directives: Iterable[Directive], audience: Audience):
        by_path: dict[str, Finding] = {}
        for directive in directives:
            path, preference = split_usage(directive.value)
            found = _found(content_usage(preference), directive, audience)
            path = encoded_pattern(path)
            by_path[path] = _strictest([by_path[path], found]) if path in by_path else found
        self._findings = list(by_path.values())
        self.speaks = any(found.answer is not Answer.UNKNOWN for found in self._findings)
        # The bit by which an Allow wins against a Disallow of equal length goes to the one that must win here: "no".
        ranks = [
            NO_RECORD - record | (ALLOW_BIT if found.answer is Answer.DISALLOWED else 0)
            for record, found in enumerate(self._findings)
        ]
        self._rules = Rules(list(by_path), ranks, index_is_folder=False)

    def decide(self, path: str) -> Finding:
        record = NO_RECORD - (self._rules.match(path) & NO_RECORD)
        return self._findings[record] if record < len(self._findings) else NOTHING


def split_usage(value: str) -> tuple[str, str]:
    """Path and preference of a Content-Usage rule (attach, 3.2): a path is there when the value begins with `/`."""
    if not value.startswith("/"):
        return "", value
    parts = re.split(r"[ \t]+", value, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def content_usage(value: str) -> Answer:
    """The `train-ai` of a usage preference: a structured field dictionary (RFC 9651) with the tokens `y` and `n`.

    What does not parse says nothing as a whole, unknown keys and parameters are ignored (vocab, 6).
    """
    said = _dictionary(value).get("train-ai")
    return Answer.DISALLOWED if said == "n" else Answer.ALLOWED if said == "y" else Answer.UNKNOWN


_KEY = r"[a-z*][a-z0-9_.*-]*+"
_BARE = (
    r"""(?:-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9.])|-?[0-9]{1,15}(?![0-9.])|"(?:[ !#-\[\]-~]|\\["\\])*+\""""
    r"""|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*+|:[A-Za-z0-9+/=]*+:|\?[01]|@-?[0-9]{1,15}(?![0-9.])"""
    r"""|%"(?:[ !#$&-~]|%[0-9a-f]{2})*+")"""
)
_PARAMETERS = rf"(?:;[ ]*+{_KEY}(?:={_BARE})?+)*+"
_ITEM = rf"{_BARE}{_PARAMETERS}"
_INNER_LIST = rf"\([ ]*+(?:{_ITEM}(?:[ ]++|(?=\))))*+\)"
_MEMBER = re.compile(rf"({_KEY})(?:=(?:(?P<bare>{_BARE})|{_INNER_LIST}))?+{_PARAMETERS}")
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")


def _dictionary(text: str) -> dict[str, str]:
    """Keys and bare values as written of an RFC 9651 dictionary, empty when it does not parse (section 4.2.2)."""
    members: dict[str, str] = {}
    text = text.lstrip(" ")
    position = 0
    while position < len(text):
        member = _MEMBER.match(text, position)
        if member is None:
            return {}
        members[member[1]] = member["bare"] or ""  # of several the last counts
        comma = _COMMA.match(text, member.end())
        if comma is None:
            return {} if text[member.end() :].strip(" \t") else members
        position = comma.end()
        if position == len(text):
            return {}
    return members


class TDMReservation(Signal):
    """W3C TDMRep: 1 reserves the right to mine (Directive 2019/790, article 4), 0 does not, all else is unset.

    The page's meta element replaces its header, which replaces the file ("Processing priority"). In the file the first
    location that fits decides. Beyond the letter: one rule without the brackets of a list, and a value in quotes, are
    read as what they say.
    """

    name = protocol = "tdmrep"
    page_fields = ("tdm_reservation", "meta_tdm_reservation")
    page_wins = True

    def of_site(self, site: Site, agents: tuple[str, ...]) -> Says | None:
        rules = _tdm_rules(site.tdmrep) if site.tdmrep else ()
        if not any(found.answer is not Answer.UNKNOWN for _, found in rules):
            return None

        def says(path: str) -> Finding:
            path = canonical_path(path)
            return next((found for location, found in rules if pattern_fits(location, path)), NOTHING)

        return says

    def of_page(self, metadata: Mapping[str, Any], agents: tuple[str, ...]) -> Finding:
        for field, place in (("meta_tdm_reservation", "meta tdm-reservation"), ("tdm_reservation", "tdm-reservation")):
            # Several field lines arrive joined with commas.
            values = [item for text in _texts(metadata, field) for item in text.split(",")]
            found = _strictest(
                Finding(answer, rule=f"{place}: {value.strip()}")
                for value in values
                if (answer := tdm_reservation(value)) is not Answer.UNKNOWN
            )
            if found is not NOTHING:
                return found
        return NOTHING


def tdm_reservation(value: Any) -> Answer:
    """What a `tdm-reservation` property says."""
    if isinstance(value, str):
        value = {"1": 1, "0": 0}.get(value.strip())
    if value is None or isinstance(value, bool | float) or value not in (0, 1):
        return Answer.UNKNOWN
    return Answer.DISALLOWED if value else Answer.ALLOWED


@functools.lru_cache(maxsize=1024)
def _tdm_rules(body: bytes) -> tuple[tuple[str, Finding], ...]:
    """Location and what it says, for each rule of a tdmrep.json."""
    try:
        text = body.decode("utf-8-sig")
        content = json.loads(text)
        listed = content if isinstance(content, list) else [content]
        lines = _rule_lines(text, len(listed))
    except (ValueError, RecursionError):  # a page served in its place, most often
        return ()
    rules = []
    for rule, line in zip(listed, lines, strict=True):
        location = rule.get("location") if isinstance(rule, dict) else None
        if isinstance(location, str):
            said = rule.get("tdm-reservation")
            answer = tdm_reservation(said)
            value = {Answer.DISALLOWED: 1, Answer.ALLOWED: 0}.get(answer)
            quoted = f'"location": {json.dumps(location)}, "tdm-reservation": {value}'[:MAX_RULE_CHARS]
            rules.append((canonical_path(location), Finding(answer, "tdmrep.json", line, quoted)))
    return tuple(rules)


_BETWEEN_RULES = re.compile(r"[\s\[,]*")
_RESERVATION = re.compile(r'"tdm-reservation"\s*:')
_LINE_END = re.compile(r"\r\n|\r|\n")


def _rule_lines(text: str, count: int) -> list[int]:
    """The 1-based line of each rule's reservation, or where the rule begins if it has none."""
    ends = [end.end() for end in _LINE_END.finditer(text)]
    decoder = json.JSONDecoder()
    lines, position = [], 0
    for _ in range(count):
        begin = _BETWEEN_RULES.match(text, position).end()  # type: ignore[union-attr]
        _, position = decoder.raw_decode(text, begin)
        found = _RESERVATION.search(text, begin, position)
        lines.append(bisect_right(ends, found.start() if found else begin) + 1)
    return lines


class NoAI(Signal):
    """`noai` in a robots meta element or an X-Robots-Tag field. `noimageai` speaks of images and bars no text.

    A field may be addressed to one bot (`GPTBot: noindex, noai`): what follows to the end of the field counts when that
    bot is one of the policy's agents. A reader that keeps fields apart gives a list, as ours does. In one text several
    fields may be joined with commas, where the end of such an address cannot be told: there it is taken to hold for its
    own word only, and a bare `noai` behind it counts for everyone.
    """

    name = protocol = "noai"
    page_fields = ("x_robots_tag", "meta_robots")
    word: ClassVar[str] = "noai"

    def of_page(self, metadata: Mapping[str, Any], agents: tuple[str, ...]) -> Finding:
        for field, place in (("x_robots_tag", "X-Robots-Tag"), ("meta_robots", "meta robots")):
            one_field = isinstance(metadata.get(field), list | tuple)
            for text in _texts(metadata, field):
                if self.word in text.lower():
                    address = says_word(text, self.word, agents, one_field)
                    if address is not None:
                        return Finding(Answer.DISALLOWED, rule=f"{place}: {address}{self.word}")
        return NOTHING


class NoArchive(NoAI):
    """`noarchive` where `noai` would stand. It asks that no copy be offered to readers, which says nothing of training
    by itself; some owners and Bing's documentation (2023) use it so, hence a switch, off by default."""

    name = protocol = "noarchive"
    word = "noarchive"


_EVERY_BOT = frozenset({"", "*", "robots", "bot"})


# Directives with a value of their own behind a colon: not a bot's name.
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def says_word(text: str, word: str, agents: Iterable[str], one_field: bool = False) -> str | None:
    """The address under which a directive list holds `word` for one of `agents` (`GPTBot: `, or empty), else None.

    Args:
        one_field: the text is one header field, so that an address holds to its end (Google: robots meta tag).
    """
    by_token = {product_token(agent)[0]: agent for agent in reversed(tuple(agents))}
    spoken_to = ""
    for item in re.split(r"[,;\n]", text.lower()):
        address, colon, words = item.rpartition(":")
        bot = address.rpartition(":")[2].strip() if colon else ""
        if one_field and colon and address.partition(":")[0].strip() not in _VALUED:
            spoken_to = bot
        if word not in words.split():
            continue
        bot = spoken_to if one_field else bot
        if bot in _EVERY_BOT:
            return ""
        if bot in by_token:
            return f"{by_token[bot]}: "
    return None


class AITxt(Signal):
    """Spawning's ai.txt: robots.txt grammar about kinds of media, `Disallow: *.html`, `Disallow: /`.

    Its patterns name file types, not addresses, and a page has a type whether or not its address shows one. So a
    document is asked for twice: by its path, and by its path as an `.html` file unless it ends in the name of another
    text type; one Disallow is enough. Groups as in `ContentSignal`.
    """

    name = "ai-txt"
    protocol = "ai.txt"

    def of_site(self, site: Site, agents: tuple[str, ...]) -> Says | None:
        parsed = parse(site.ai_txt) if site.ai_txt else None
        if parsed is None or parsed.empty or parsed.looks_like_something_else:
            return None
        rule_sets = parsed.rule_sets((*agents, "*") if "*" not in agents else agents)

        def says(path: str) -> Finding:
            findings = []
            for rule_set in rule_sets:
                for asked in (path, as_text_file(path)):
                    rank = rule_set.rules.match(asked)
                    if line := parsed.line(rule_set, rank):
                        answer = Answer.ALLOWED if allows(rank) else Answer.DISALLOWED
                        rule = parsed.rule(rule_set, rank)
                        findings.append(Finding(answer, "ai.txt", line, rule, rule_set.agents, rule_set.basis))
            return _strictest(findings)

        return says


# Those of Spawning's generator, and what else a reader makes text of.
_TEXT_TYPES = frozenset(
    ("txt", "pdf", "doc", "docx", "odt", "rtf", "tex", "wks", "wpd", "wps", "html", "htm", "xhtml", "xml", "md", "epub")
)


def as_text_file(path: str) -> str:
    """The path under which a text document falls: its own if it ends in a text type, else as an `.html` file."""
    path = path.partition("?")[0]
    ending = path.rpartition("/")[2].rpartition(".")
    return path if ending[1] and ending[2].lower() in _TEXT_TYPES else f"{path}.html"


class RSL(Signal):
    """Really Simple Licensing: `License: https://…/license.xml`, an absolute URL, anywhere in robots.txt, in no group.

    A snapshot does not hold the licence, so all that is known is that one is declared. A policy that names this signal
    decides that a text under terms nobody has read is not to be trained on.
    """

    name = protocol = "rsl"

    def of_site(self, site: Site, agents: tuple[str, ...]) -> Says | None:
        for directive in site.robots.directives if site.robots else ():
            if directive.name == "license" and _ABSOLUTE_URL.match(directive.value):
                return _constant(Finding(Answer.DISALLOWED, "robots.txt", directive.line, directive.text))
        return None


_ABSOLUTE_URL = re.compile(r"https?://[^\s/?#]+\S*\Z", re.IGNORECASE)

SIGNALS: Mapping[str, Signal] = {
    signal.name: signal
    for signal in (ContentSignal(), ContentUsage(), TDMReservation(), NoAI(), AITxt(), NoArchive(), RSL())
}
DEFAULT_SIGNALS = ("content-signal", "content-usage", "tdmrep", "noai", "ai-txt")


def named_signals(names: Sequence[str]) -> tuple[Signal, ...]:
    """The signals of a policy, in its order, each once. ValueError names the nearest valid name."""
    for name in names:
        if name not in SIGNALS:
            if name == "takedown":
                raise ValueError("signals: `takedown` is no signal; name its file in takedown and it counts")
            nearest = difflib.get_close_matches(str(name).lower().replace(".", "-").replace("_", "-"), SIGNALS, n=1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else f"there are: {', '.join(SIGNALS)}"
            raise ValueError(f"signals: no signal `{name}`; {hint}")
    return tuple(SIGNALS[name] for name in dict.fromkeys(names))


# ---------------------------------------------------------------------------------------------------------------------
# What the signals share
# ---------------------------------------------------------------------------------------------------------------------


def _spoken(robots: RobotsTxt | None, name: str, agents: tuple[str, ...]) -> list[tuple[Audience, Directive]]:
    """The directives of that name with each audience they speak to."""
    directives = [directive for directive in robots.directives if directive.name == name] if robots else []
    if not directives:
        return []
    return [
        (audience, directive)
        for audience in robots.audiences(agents)  # type: ignore[union-attr]
        for directive in directives
        if directive.group in audience.groups
    ]


def _found(answer: Answer, directive: Directive, audience: Audience) -> Finding:
    return Finding(answer, "robots.txt", directive.line, directive.text, audience.agents, audience.basis)


def _strictest(findings: Iterable[Finding]) -> Finding:
    """The first that disallows, else the first that allows, else nothing."""
    allowed = NOTHING
    for found in findings:
        if found.answer is Answer.DISALLOWED:
            return found
        if found.answer is Answer.ALLOWED and allowed is NOTHING:
            allowed = found
    return allowed


def _constant(found: Finding) -> Says | None:
    return None if found is NOTHING else lambda path: found


def _texts(metadata: Mapping[str, Any], field: str) -> list[str]:
    """A metadata field as texts: readers give one string, or a list of them, or a number."""
    value = metadata.get(field)
    values = value if isinstance(value, list | tuple) else [value]
    return [str(item) for item in values if isinstance(item, str | int)]

"""The public summary of training content of AI Act Article 53(1)(d), filled from the manifests.

It follows the sections of the template in C(2025) 8311. What the manifests know is filled in: sizes, languages, dates,
crawled domains by size, opt-out measures with amounts, removals. What only the provider knows (who they are, which
model, which licences they signed) is marked, each mark with the key under which a profile gives it:

    [provider]
    name = "…"

so that the same command with `--profile FILE` gives the document without that mark. Nothing is made up: a field that
is neither in the manifests nor in the profile stays marked.

`score` follows the public assessment framework for such summaries (Blankvoort, Pandit, Gahntz, FAccT 2026) as far as a
machine can: which fields are answered at all, by section, weighted by the points that their published assessments give
the section for clarity and completeness, graded on their scale. What people judge in it (is the wording clear, is it
correct) is not in the score, and the score says so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manifests.docx import Block, Heading, Paragraph, Table, document
from manifests.facts import Facts, Source
from manifests.printable import printable

TEMPLATE = "C(2025) 8311 final, 5 December 2025"
DOMAIN_SHARE = 0.10
"""The template asks for the top 10 % of crawled domains by size; small and medium providers may give 5 % or 1,000."""
DOMAINS_SHOWN = 50
LARGE = 0.03
"""A data set is listed by name when it is more than 3 % of the public data of its modality."""
MARK = "[To be added by the provider: {}]"


@dataclass(frozen=True)
class Field:
    """One field of the template.

    Attributes:
        section: the template's number, `1.1` to `3.3`.
        label: what it asks for.
        text: the answer, None when only a person can give it.
        key: where a profile gives it, `table.name`.
        table: head and rows, when the answer is one.
    """

    section: str
    label: str
    text: str | None
    key: str = ""
    table: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None

    @property
    def answered(self) -> bool:
        """Whether nobody needs to add anything."""
        return self.text is not None


SECTIONS: Mapping[str, str] = {
    "1.1": "Provider identification",
    "1.2": "Model identification",
    "1.3": "Modalities, overall training data size and other characteristics",
    "2.1": "Publicly available datasets",
    "2.2": "Private non-publicly available datasets obtained from third parties",
    "2.3": "Data crawled and scraped from online sources",
    "2.4": "User data",
    "2.5": "Synthetic data",
    "2.6": "Other sources of data",
    "3.1": "Respect of reservation of rights from the text and data mining exception or limitation",
    "3.2": "Removal of illegal content",
    "3.3": "Other information",
}
PARTS: Mapping[str, str] = {"1": "General information", "2": "List of data sources", "3": "Relevant data processing"}
POINTS: Mapping[str, float] = {
    "1.1": 42,
    "1.2": 42,
    "1.3": 41,
    "2.1": 110,
    "2.2": 2,
    "2.3": 307,
    "2.4": 8,
    "2.5": 58,
    "2.6": 10,
    "3.1": 22,
    "3.2": 11,
    "3.3": 10,
}
"""Points for clarity and completeness of each section in a published assessment where every section applies in part."""
GRADES = ((95, "A+"), (90, "A"), (80, "B+"), (75, "B"), (60, "C+"), (50, "C"), (40, "D+"), (25, "D"), (0, "F"))


def fields(facts: Facts, profile: Mapping[str, Any] | None = None) -> list[Field]:
    """Every field of the template, in its order.

    Args:
        profile: what the provider adds: tables of texts, as read from a TOML file.
    """
    asked = [
        *_identity(),
        *_characteristics(facts),
        *_public(facts),
        *_others(facts),
        *_crawled(facts),
        *_rest(),
        *_measures(facts),
    ]
    order = list(SECTIONS)
    given = [_given(field, profile or {}) for field in asked]
    return sorted(given, key=lambda field: order.index(field.section))


def score(answers: Sequence[Field]) -> tuple[float, str, dict[str, tuple[int, int]]]:
    """Percentage, grade, and fields answered of fields asked by section."""
    found = {
        section: (
            sum(field.answered for field in answers if field.section == section),
            sum(field.section == section for field in answers),
        )
        for section in SECTIONS
    }
    whole = sum(POINTS[section] for section, (_, asked) in found.items() if asked)
    reached = sum(POINTS[section] * done / asked for section, (done, asked) in found.items() if asked)
    percentage = 100 * reached / whole if whole else 0.0
    return percentage, next(grade for least, grade in GRADES if percentage >= least), found


def markdown(facts: Facts, answers: Sequence[Field]) -> str:
    """The summary as Markdown."""
    lines: list[str] = []
    for block in _blocks(facts, answers):
        if isinstance(block, Heading):
            lines += [f"{'#' * block.level} {plain(block.text)}", ""]
        elif isinstance(block, Paragraph):
            lines += [f"**{plain(block.text)}**" if block.marked else plain(block.text), ""]
        else:
            lines.append("| " + " | ".join(map(plain, block.head)) + " |")
            lines.append("|" + "---|" * len(block.head))
            for row in block.rows:
                cells = (f"**{plain(cell)}**" if cell in block.marked else plain(cell) for cell in row)
                lines.append("| " + " | ".join(cells) + " |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def word(facts: Facts, answers: Sequence[Field]) -> bytes:
    """The summary as a Word document."""
    return document(_blocks(facts, answers))


def domain_list(facts: Facts) -> str:
    """The domains of section 2.3 as CSV: every domain of the template's top share, by kept bytes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["domain", "documents", "text_bytes"])
    for name, documents, size in facts.domains[: _top(facts)]:
        writer.writerow([printable(name), documents, size])
    return buffer.getvalue()


def profile_form(answers: Sequence[Field]) -> str:
    """A profile with an empty value for each field that is still marked, as TOML."""
    tables: dict[str, list[str]] = {}
    for field in answers:
        if not field.answered and field.key:
            table, _, name = field.key.partition(".")
            tables.setdefault(table, []).append(f'# {field.section} {field.label}\n{name} = ""\n')
    lines = ["# What the manifests cannot know. Fill in, then: fairtrove report CORPUS --eu --profile THIS-FILE\n"]
    for table, entries in tables.items():
        lines += [f"[{table}]", *entries]
    return "\n".join(lines)


# -- fields by section


def _given(field: Field, profile: Mapping[str, Any]) -> Field:
    table, _, name = field.key.partition(".")
    values = profile.get(table)
    value = values.get(name) if isinstance(values, Mapping) and name else None
    if value is None or value == "":
        return field
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Field(field.section, field.label, text, field.key, None if field.text is None else field.table)


def _identity() -> list[Field]:
    return [
        Field("1.1", "Provider name and contact details", None, "provider.name"),
        Field("1.1", "Authorised representative name and contact details", None, "provider.representative"),
        Field("1.2", "Versioned model name(s)", None, "model.names"),
        Field("1.2", "Model dependencies", None, "model.dependencies"),
        Field("1.2", "Date of placement of the model on the Union market", None, "model.placed_on_market"),
    ]


def _characteristics(facts: Facts) -> list[Field]:
    totals = facts.totals
    languages = ", ".join(label for label, _, _ in facts.languages[:40])
    more = len(facts.languages) - 40
    days = [source.until for source in facts.sources if source.until]
    latest = f"{max(days)[5:7]}/{max(days)[:4]}" if days else None
    return [
        Field("1.3", "Modality", "Text"),
        Field(
            "1.3",
            "Training data size (text), after preprocessing",
            f"{_band(facts.tokens)} (about {_number(facts.tokens)} tokens, taking {_number(totals['text_bytes_kept'])} "
            f"bytes of text in {_number(totals['kept'])} documents at four bytes a token)",
        ),
        Field("1.3", "Types of content", ", ".join(_KINDS[kind] for kind in _kinds(facts.sources))),
        Field("1.3", "Latest date of data acquisition or collection", latest, "model.latest_collection"),
        Field("1.3", "Is the model continuously trained on new data?", None, "model.continuous"),
        Field(
            "1.3",
            "Linguistic characteristics",
            f"{_number(len(facts.languages))} labels of language and script: {languages}"
            + (f" and {_number(more)} more (see the dataset card)" if more > 0 else ""),
        ),
        Field("1.3", "Other relevant characteristics", _amounts(facts)),
    ]


def _public(facts: Facts) -> list[Field]:
    """Crawls that somebody else made and published belong here (notice to section 2.1)."""
    listed = [source for source in facts.sources if _is_public(source)]
    total = sum(source.kept_bytes for source in listed)
    if not listed:
        return [Field("2.1", "Publicly available datasets used", "None that the manifests name", "data.public")]
    rows = [
        [
            source.name,
            ", ".join(source.dumps) or "not recorded",
            _period(source),
            _number(source.kept),
            size_of(source.kept_bytes),
        ]
        for source in listed
        if source.kept_bytes > LARGE * total
    ]
    small = [source.name for source in listed if source.kept_bytes <= LARGE * total]
    return [
        Field(
            "2.1",
            "Large publicly available datasets (more than 3 % of the public data)",
            f"{_number(len(rows))}, as in the table",
            table=(["Source", "Dumps", "Collected", "Documents kept", "Text kept"], rows),
        ),
        Field("2.1", "Links to the large datasets", None, "data.public_links"),
        Field("2.1", "Other publicly available datasets", ", ".join(small) or "None"),
    ]


def _others(facts: Facts) -> list[Field]:
    return [
        Field("2.2", "Datasets licensed commercially from rightsholders", None, "data.licensed"),
        Field("2.2", "Other private datasets obtained from third parties", None, "data.private"),
    ]


def _crawled(facts: Facts) -> list[Field]:
    sources = [source for source in facts.sources if source.kind in _WEB]
    if not sources:
        return [Field("2.3", "Data crawled by or for the provider", "None that the manifests name", "crawl.names")]
    agents = sorted({agent for policy in facts.policies.values() for agent in _agents(policy)})
    since = min((source.since for source in sources if source.since), default=None)
    until = max((source.until for source in sources if source.until), default=None)
    first, last = facts.fetched
    rows = [
        [printable(name), _number(documents), size_of(size)] for name, documents, size in facts.domains[:DOMAINS_SHOWN]
    ]
    return [
        Field("2.3", "Crawler name(s) and identifier(s)", None, "crawl.names"),
        Field("2.3", "Purposes of the crawler(s)", None, "crawl.purposes"),
        Field(
            "2.3",
            "General description of crawler behaviour",
            "Whatever the crawler did, robots.txt was applied to every document with hindsight"
            + (f", in files fetched between {first} and {last}" if first else "")
            + (f", as it stands for these agents: {', '.join(agents)}" if agents else "")
            + ". Captchas and paywalls: see the crawler's own description.",
            "crawl.behaviour",
        ),
        Field(
            "2.3",
            "Period of data collection",
            f"{since[5:7]}/{since[:4]} to {until[5:7]}/{until[:4]}" if since and until else None,
            "crawl.period",
        ),
        Field(
            "2.3",
            "Type of content and online sources crawled",
            f"{', '.join(_KINDS[kind] for kind in _kinds(sources))}; {_number(len(facts.domains))} domains; by source: "
            + "; ".join(f"{source.name} {_number(source.kept)} documents" for source in sources),
        ),
        Field("2.3", "Types of modalities covered", "Text"),
        Field(
            "2.3",
            "Summary of the most relevant domain names crawled (top 10 % by size)",
            f"{_number(_top(facts))} of {_number(len(facts.domains))} domains, all in eu-domains.csv; largest first",
            table=(["Domain", "Documents kept", "Text kept"], rows),
        ),
    ]


def _rest() -> list[Field]:
    return [
        Field("2.4", "Was data from user interactions with the provider's models used?", None, "data.user_models"),
        Field("2.4", "Was data from user interactions with other services used?", None, "data.user_services"),
        Field("2.5", "Was synthetic data generated by or for the provider used?", None, "data.synthetic"),
        Field("2.6", "Other sources of data", None, "data.other"),
    ]


def _measures(facts: Facts) -> list[Field]:
    protocols = sorted({signal for policy in facts.policies.values() for signal in _signals(policy)})
    excluded = {reason: rows for stage, reason, rows, _ in facts.exclusions if stage == "robots"}
    consent = facts.consent
    unknown = sum(consent.get(reason, 0) for reason in ("host_unknown", "fetch_error", "parse_error", "no_url"))
    opt_out: str | None = None
    if consent:
        opt_out = (
            f"Protocols honoured: {', '.join(protocols)}. Documents excluded: "
            + (", ".join(f"{_number(rows)} {_REASONS.get(reason, reason)}" for reason, rows in excluded.items()) or "0")
            + f". Of {_number(sum(consent.values()))} documents asked about, {_number(unknown)} are of sites whose "
            "wishes could not be read; they are counted as unknown, not as allowed. Each exclusion is on record with "
            f"rule, line and date; the record's root is {facts.corpus.root}."
        )
    toxic = sum(rows for stage, _, rows, _ in facts.exclusions if stage == "toxicity")
    values = sum(number for _, number, _ in facts.redactions)
    licences = sum(rows for stage, _, rows, _ in facts.exclusions if stage == "license")
    return [
        Field("3.1", "Signatory to the Code of Practice?", None, "code.signatory"),
        Field("3.1", "Measures to respect reservations of rights", opt_out, "code.measures"),
        Field("3.1", "Licences", f"{_number(licences)} documents were excluded for the licence that they state"),
        Field("3.1", "Complaints and withdrawal", None, "code.complaints"),
        Field("3.2", "Measures to avoid or remove illegal content", None, "data.illegal_content"),
        Field(
            "3.2",
            "Related measures on record",
            f"Toxicity classifier: {_number(toxic)} documents excluded. Personal data: {_number(values)} values "
            "replaced by markers ("
            + (", ".join(f"{kind} {_number(number)}" for kind, number, _ in facts.redactions) or "none")
            + ").",
        ),
        Field("3.3", "Other information", _amounts(facts), "data.other_information"),
    ]


_WEB = ("web", "parallel")
_KINDS: Mapping[str, str] = {
    "web": "web pages",
    "code": "source code",
    "math": "mathematical text",
    "books": "books",
    "parallel": "parallel text",
}
_REASONS: Mapping[str, str] = {
    "agent_disallowed": "because an AI agent is disallowed by name",
    "star_disallowed": "because everybody is disallowed",
    "signal_reserved": "because of another machine-readable reservation",
    "takedown": "at the owner's request",
}


def _amounts(facts: Facts) -> str:
    totals = facts.totals
    by_stage: dict[str, int] = {}
    for stage, _, rows, _ in facts.exclusions:
        by_stage[stage] = by_stage.get(stage, 0) + rows
    removed = ", ".join(f"{stage} {_number(rows)}" for stage, rows in by_stage.items()) or "nothing"
    return (
        f"{_number(totals['rows'])} documents read = {_number(totals['kept'])} kept + {_number(totals['excluded'])} "
        f"excluded (by stage: {removed})"
    )


def _is_public(source: Source) -> bool:
    """Derived from a published crawl: its rows name the dump, as Common Crawl's derivatives do; or not web at all."""
    return bool(source.dumps) or source.kind not in _WEB


def _kinds(sources: Sequence[Source]) -> list[str]:
    return [kind for kind in _KINDS if any(source.kind == kind for source in sources)]


def _agents(policy: Mapping[str, Any]) -> list[str]:
    agents = (policy.get("robots") or {}).get("agents") or []
    return [f"the list “{agents}”"] if isinstance(agents, str) else [str(agent) for agent in agents]


def _signals(policy: Mapping[str, Any]) -> list[str]:
    robots = policy.get("robots")
    if not robots:
        return []
    return ["robots.txt (RFC 9309)", *(robots.get("signals") or ["the default signals beside it"])]


def _top(facts: Facts) -> int:
    return -(-len(facts.domains) // round(1 / DOMAIN_SHARE))


def _period(source: Source) -> str:
    return f"{source.since} to {source.until}" if source.since else "not recorded"


def _band(tokens: int) -> str:
    if tokens < 10**9:
        return "Less than 1 billion tokens"
    return "1 billion to 10 trillion tokens" if tokens <= 10**13 else "More than 10 trillion tokens"


def _number(value: int) -> str:
    return f"{value:,}"


def size_of(value: int) -> str:
    """Bytes as a person reads them."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)):
        if value >= 10**power:
            return f"{value / 10**power:,.1f} {unit}"
    return f"{value:,} bytes"


# -- the document


def _blocks(facts: Facts, answers: Sequence[Field]) -> list[Block]:
    percentage, grade, found = score(answers)
    missing = [field for field in answers if not field.answered]
    blocks: list[Block] = [
        Heading(f"Public summary of training content: {facts.name}"),
        Paragraph(
            f"Template: {TEMPLATE} (Article 53(1)(d) of Regulation (EU) 2024/1689). Filled by fairtrove from the "
            f"manifest of version {facts.corpus.version}, Merkle root {facts.corpus.root}. A help for the provider and "
            "no legal advice."
        ),
    ]
    if missing:
        blocks.append(
            Paragraph(
                f"{len(missing)} of {len(answers)} fields are for a person to add; each is marked like this one.", True
            )
        )
    part = ""
    for section, title in SECTIONS.items():
        if section[0] != part:
            part = section[0]
            blocks.append(Heading(f"{part}. {PARTS[part]}", 2))
        blocks.append(Heading(f"{section}. {title}", 3))
        own = [field for field in answers if field.section == section]
        marks = {field.label: MARK.format(field.key) for field in own if not field.answered}
        rows = [[field.label, field.text if field.text is not None else marks[field.label]] for field in own]
        blocks.append(Table(("Field", "Answer"), rows, frozenset(marks.values())))
        for field in own:
            if field.table and field.table[1]:
                blocks.append(Table(field.table[0], field.table[1]))
    blocks += [
        Heading("How complete this is", 2),
        Paragraph(
            f"{percentage:.1f} % of what the template asks for, grade {grade}, counting answered fields by the points "
            "that the public assessment framework (Blankvoort, Pandit, Gahntz 2026) gives each section. Clarity and "
            "correctness are for people to judge, and are not in this figure."
        ),
        Table(
            ("Section", "Answered", "Asked"),
            [[f"{section}. {SECTIONS[section]}", str(done), str(asked)] for section, (done, asked) in found.items()],
        ),
    ]
    return blocks


def plain(text: str) -> str:
    """Text that Markdown takes as text."""
    escaped = printable(text)
    for character in "\\`*_{}[]<>#|~":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped

"""The report: one self-contained HTML page that says what a corpus is made of, for people without any tool at hand.

It opens from the file system, loads nothing, needs no JavaScript but for the search over hosts, prints, and reads on a
phone. Every figure is a duckdb aggregate over the manifest's tables; the same corpus gives the same bytes. Hosts,
paths and rules are written by strangers, so text becomes markup in one place only (`markup.cell`), where it is
escaped, and the page's content security policy refuses every script but its own by digest.

Size: 79 kB for the sample, and at most 1 MB of host data (20,000 hosts) whatever the corpus holds. 0.1 to 0.4 CPU
seconds for 3,000 to 22,000 documents.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

import duckdb

from manifests.check_queries import parameters
from manifests.corpus import Corpus, open_corpus, published_versions
from manifests.markup import (
    Markup,
    amount,
    cell,
    details,
    figure,
    grid,
    grouped,
    histogram,
    meter,
    mono,
    note,
    percent,
    plural,
    section,
    stack,
    titled,
    wrap,
)
from manifests.obligations import Obligation, obligations, write_obligations
from manifests.printable import printable
from manifests.schema import UNKNOWN_CONSENT, CorpusError, restore_host

_TEMPLATE = Path(__file__).parent / "report.html"
_HOST_DATA_BYTES = 1_000_000
_HOST_DATA_ROWS = 20_000
_TOP_LANGUAGES = 15
_TOP_HOSTS = 25
_TASKS_SHOWN = 200

STAGES: Mapping[str, tuple[str, str]] = {
    "intake": ("Reading", "Every row of every input file is counted here, whether it can be read or not."),
    "robots": ("robots.txt", "What each site's owner asks of AI agents, applied with hindsight."),
    "license": ("Licence", "What the marks on a page, in a file or in its metadata permit."),
    "language": ("Language", "Which language and script the text is written in."),
    "toxicity": ("Toxicity", "A classifier's score against the threshold of the text's language."),
    "filter": ("Filter", "A stock datatrove step."),
    "pii": ("Personal data", "Personal values are replaced by typed markers; the document stays."),
}
REASONS: Mapping[str, str] = {
    "empty_text": "no text",
    "missing_text": "text missing",
    "too_large": "over the size limit",
    "unreadable_row": "row unreadable",
    "undecodable": "not decodable",
    "invalid_unicode": "invalid Unicode",
    "http_status": "HTTP error page",
    "not_html": "not HTML",
    "extraction_failed": "no text could be extracted",
    "allowed": "allowed by robots.txt",
    "no_file": "the site has no robots.txt",
    "fetch_error": "robots.txt could not be fetched",
    "parse_error": "robots.txt could not be parsed",
    "host_unknown": "no snapshot covers the host",
    "no_url": "no URL",
    "agent_disallowed": "an AI agent disallowed by name",
    "star_disallowed": "everybody disallowed (*)",
    "signal_reserved": "the site reserves training by another signal",
    "takedown": "removed at the owner's request",
    "restricted": "licence restricts use",
    "no_evidence": "no licence found",
    "conflict": "licence marks contradict each other",
    "unrecognized": "licence not recognised",
    "low_score": "language uncertain",
    "not_selected": "language not selected",
    "undetermined": "language undetermined",
    "mismatch": "language is not the declared one",
    "cleared": "cleared by the cheap model",
    "toxic": "toxic",
    "unscored_language": "language without a classifier",
    "filtered": "filtered",
    "altered": "altered",
    "redacted": "redacted",
    "clean": "nothing found",
    "read": "read",
    "identified": "identified",
    "trusted": "label trusted",
    "passed": "passed",
    "permissive": "permissive licence",
}

_SCRIPT = """(function () {
  var box = document.getElementById("site"), form = document.getElementById("search");
  var data = JSON.parse(document.getElementById("host-data").textContent);
  var body = document.querySelector("#host-table tbody"), said = document.getElementById("found");
  var first = Array.prototype.slice.call(body.rows);
  function cell(row, text, label, kind) {
    var td = document.createElement("td"), span = document.createElement("span");
    span.textContent = text; td.appendChild(span); td.setAttribute("data-label", label);
    if (kind) { td.className = kind; }
    row.appendChild(td);
  }
  function count(n) { return n.toLocaleString("en"); }
  function show() {
    var query = box.value.trim().toLowerCase().replace(/^[a-z]+:\\/\\//, "").replace(/\\/.*/, "");
    body.textContent = "";
    if (!query) { first.forEach(function (row) { body.appendChild(row); }); said.textContent = ""; return; }
    var hits = data.hosts.filter(function (host) { return host[0].indexOf(query) >= 0; });
    hits.sort(function (a, b) { return rank(b[0], query) - rank(a[0], query); });
    hits.slice(0, 50).forEach(function (host) {
      var row = document.createElement("tr");
      var why = host[3].map(function (pair) { return data.reasons[pair[0]] + " " + count(pair[1]); }).join(", ");
      cell(row, host[0], "Host");
      cell(row, count(host[1]), "Kept", "r");
      cell(row, count(host[2]), "Excluded", "r");
      cell(row, why || "\\u2013", "Why");
      body.appendChild(row);
    });
    said.textContent = count(hits.length) + (hits.length === 1 ? " host" : " hosts") +
      (hits.length > 50 ? ", the first 50 shown" : "");
  }
  function rank(host, query) {
    return host === query ? 2 : host.slice(-query.length - 1) === "." + query ? 1 : 0;
  }
  form.hidden = false;
  box.addEventListener("input", show);
  var asked = /^#site=(.+)$/.exec(location.hash);
  if (asked) {
    try { box.value = decodeURIComponent(asked[1]); } catch (broken) { box.value = asked[1]; }
    show();
    document.getElementById("hosts").scrollIntoView();
  }
})();"""


MORE_SECTIONS: list[Callable[[Corpus, duckdb.DuckDBPyConnection], Markup]] = []
"""Sections that other modules add to the page, after those about content; each gives `Markup`, made by `cell`."""


def write_report(corpus: Corpus, out: Path | None = None) -> Path:
    """Write the page to `out`, by default `CORPUS/report/index.html`, and return where it lies.

    Beside it lie the tables of documents whose licence asks for something in return (`manifests.obligations`).

    Deterministic: it depends on the corpus and, for the section on cost, on `logs/costs.json` if that is there.
    """
    out = corpus.path / "report" / "index.html" if out is None else Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.write_text(page(corpus), encoding="utf-8", errors="backslashreplace")
    os.replace(temporary, out)
    write_obligations(corpus, out.parent)
    return out


def page(corpus: Corpus) -> str:
    """The whole page as a string.

    Raises:
        CorpusError: the manifest is not what it should be; the audit says where.
    """
    try:
        return _page(corpus)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, IndexError, duckdb.Error) as error:
        raise CorpusError(
            f"{corpus.manifest}: no report can be made of this manifest ({type(error).__name__}: {error}); "
            "`fairtrove audit` says what is wrong with it"
        ) from error


def _page(corpus: Corpus) -> str:
    with duckdb.connect() as connection:
        facts = _Facts(corpus, connection)
        sections = [
            _funnel(facts),
            _sources(facts),
            _consent(facts),
            _languages(facts),
            _hosts(facts),
            _licences(facts),
            _content(facts),
            *(more(facts.corpus, facts.connection) for more in MORE_SECTIONS),
            _versions(facts),
            _foundations(facts),
            _cost(facts),
            _check(facts),
        ]
        name = _name(corpus)
        body = f"{_header(facts, name)}<main>{''.join(sections)}</main>{_footer(facts)}"
    digest = base64.b64encode(sha256(_SCRIPT.encode()).digest()).decode()
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=cell(f"{name}: what was kept, what was excluded, and why"),
        body=body,
        script=_SCRIPT,
        script_digest=f"sha256-{digest}",
    )


@dataclass(frozen=True)
class _Facts:
    """A corpus and a connection to ask its tables; queries name them `$kept`, `$decisions` and so on."""

    corpus: Corpus
    connection: duckdb.DuckDBPyConnection

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        if not self.corpus.run["tasks"]:
            return []
        paths = {name: self.corpus.tables(name) for name in parameters(query)}
        return self.connection.execute(query, paths).fetchall()

    @property
    def totals(self) -> Mapping[str, int]:
        return self.corpus.run["totals"]


# -- sections, in the order of the page


def _header(facts: _Facts, name: str) -> Markup:
    totals = facts.totals
    hosts = facts.ask("SELECT count(DISTINCT rhost) FROM read_parquet($hosts)")
    languages = facts.ask("SELECT count(DISTINCT language) FROM read_parquet($kept)")
    figures = [
        ("Documents read", figure(totals["rows"]), amount(totals["text_bytes_read"])),
        (
            "Kept",
            figure(totals["kept"]),
            f"{percent(totals['kept'], totals['rows'])}, {amount(totals['text_bytes_kept'])}",
        ),
        ("Excluded", figure(totals["excluded"]), percent(totals["excluded"], totals["rows"])),
        ("Kept, text altered", figure(_altered_kept(facts)), "personal data replaced by markers"),
        ("Hosts", figure(hosts[0][0] if hosts else 0), plural(languages[0][0] if languages else 0, "language")),
    ]
    items = "".join(
        f"<div><dt>{cell(label)}</dt><dd>{cell(value)}<small>{cell(more)}</small></dd></div>"
        for label, value, more in figures
    )
    links = (
        ("funnel", "Funnel"),
        ("consent", "Consent"),
        ("languages", "Languages"),
        ("hosts", "Was my site used?"),
        ("licences", "Licences"),
        ("content", "Toxicity and personal data"),
        *((("versions", "Versions"),) if len(published_versions(facts.corpus.path)) > 1 else ()),
        ("foundations", "Policy and pins"),
        ("check", "Check it yourself"),
    )
    nav = "".join(f'<li><a href="#{anchor}">{cell(text)}</a></li>' for anchor, text in links)
    parent = facts.corpus.run.get("parent")
    version = f"version {facts.corpus.version}" + (f", replaces version {parent}" if parent else "")
    return Markup(
        f'<header><p class="mark">fairtrove corpus report</p><h1>{cell(name)}</h1>'
        f'<p class="lead">Of <b>{figure(totals["rows"])}</b> documents read, <b>{figure(totals["kept"])}</b> were '
        f"kept and <b>{figure(totals['excluded'])}</b> excluded. Each one is accounted for, with the reason and what "
        f"it rests on.</p>"
        f'<dl class="figures">{items}</dl>'
        f'<p class="root">{cell(version[0].upper() + version[1:])} &middot; Merkle root '
        f"<code>{cell(grouped(facts.corpus.root))}</code></p>"
        f'<nav aria-label="Sections"><ul>{nav}</ul></nav></header>'
    )


def _altered_kept(facts: _Facts) -> int:
    rows = facts.ask(
        """SELECT count(*) FROM (
            SELECT parse_filename(filename, true) AS task, file_row FROM read_parquet($decisions, filename = true)
            GROUP BY ALL HAVING bool_or(action = 'alter') AND NOT bool_or(action = 'exclude'))"""
    )
    return rows[0][0] if rows else 0


def _funnel(facts: _Facts) -> Markup:
    rows = facts.ask(
        """SELECT max(max(position)) OVER (PARTITION BY stage), stage, action, reason, CAST(sum(rows) AS BIGINT)
        FROM read_parquet($counts) GROUP BY stage, action, reason ORDER BY 1, stage, 5 DESC, action, reason"""
    )
    rows.sort(key=lambda row: (_order(row[1]), row[0], row[1]))
    read = facts.totals["rows"]
    items = []
    alive = read
    skipped = False
    for stage in dict.fromkeys(row[1] for row in rows):
        outcomes = [(action, reason, number) for _, name, action, reason, number in rows if name == stage]
        entered = sum(number for _, _, number in outcomes)
        excluded = [(reason, number) for action, reason, number in outcomes if action == "exclude"]
        altered = [(reason, number) for action, reason, number in outcomes if action == "alter"]
        out, changed = sum(n for _, n in excluded), sum(n for _, n in altered)
        title, meaning = _stage(stage)
        beside = max(alive - entered, 0)  # documents of sources whose policy leaves this stage out
        skipped = skipped or beside > 0
        bar = stack([("k", entered - out - changed), ("a", changed), ("s", beside), ("x", out)], read)
        alive -= out
        label = (
            f"{title}: {figure(entered)} documents entered, {figure(out)} excluded, {figure(changed)} altered, "
            f"{figure(entered - out)} went on"
        )
        chips = [
            f'<li class="{kind}">{cell(_reason(reason))} <b>{figure(number)}</b></li>'
            for kind, group in (("x", excluded), ("a", altered))
            for reason, number in group
        ]
        took = f"&minus;{figure(out)}" if out else "none excluded"
        share = f"{percent(out, entered)} of {figure(entered)}" if out else f"of {figure(entered)}"
        items.append(
            f'<li><div class="head"><h3>{cell(title)}</h3><p>{cell(meaning)}</p>'
            f'<div class="took{"" if out else " none"}">{took}</div><div class="of">{share}</div></div>'
            f'<div class="bar" role="img" aria-label="{cell(label)}">{bar}</div>'
            f"{wrap('ul', chips, 'why')}</li>"
        )
    kept = facts.totals["kept"]
    items.append(
        f'<li><div class="head"><h3>Kept</h3><p>Published in {plural(len(facts.corpus.shards), "shard")}.</p>'
        f'<div class="took none">{figure(kept)}</div><div class="of">{percent(kept, read)} of what was read</div>'
        "</div>"
        f'<div class="bar" role="img" aria-label="{percent(kept, read)} kept">{stack([("k", kept)], read)}</div></li>'
    )
    beside_text = '<li class="s">goes on, stage not in its source\'s policy</li>' if skipped else ""
    legend = (
        '<ul class="legend" aria-hidden="true"><li class="k">goes on</li><li class="a">goes on, text altered</li>'
        f'{beside_text}<li class="x">excluded here</li><li class="g">excluded before</li></ul>'
    )
    outcomes_table = grid(
        ["Stage", "Outcome", "Reason", "Code", "Documents"],
        [
            [_stage(stage)[0], action, _reason(reason), reason, figure(number)]
            for _, stage, action, reason, number in rows
        ],
        right={4},
        wide=True,
    )
    return section(
        "funnel",
        "From what was read to what was kept",
        "Each bar is all documents read. A document that a stage excludes is not seen by the next.",
        Markup(legend + f'<ol class="funnel">{"".join(items)}</ol>'),
        details("Every outcome by its code, kept ones too", outcomes_table),
    )


def _sources(facts: _Facts) -> Markup:
    rows = facts.ask(
        """SELECT source, max(position) AS position, stage, CAST(sum(rows) AS BIGINT) AS entered,
            CAST(coalesce(sum(rows) FILTER (action = 'exclude'), 0) AS BIGINT) AS excluded
        FROM read_parquet($counts) GROUP BY source, stage ORDER BY source, position, stage"""
    )
    kinds = {task["source"]: task["kind"] for task in facts.corpus.run["tasks"]}
    stages = list(dict.fromkeys(row[2] for row in sorted(rows, key=lambda row: (_order(row[2]), row[1], row[2]))))
    body = []
    for source in dict.fromkeys(row[0] for row in rows):
        by_stage = {stage: (entered, out) for name, _, stage, entered, out in rows if name == source}
        read = by_stage["intake"][0]
        kept = read - sum(out for _, out in by_stage.values())
        cells = [figure(by_stage[stage][1]) if stage in by_stage else "not run" for stage in stages]
        body.append([source, kinds.get(source, ""), figure(read), *cells, figure(kept), meter(kept, read)])
    heads = ["Source", "Kind", "Read", *(_stage(stage)[0] for stage in stages), "Kept", "Share kept"]
    table = grid(
        heads,
        body,
        right=set(range(2, len(heads) - 1)),
        wide=True,
        caption="Documents; between Read and Kept, what each stage excluded.",
    )
    tasks = facts.corpus.run["tasks"]
    files = grid(
        ["Input file (task)", "Source", "Rows", "Kept", "Excluded"],
        [
            [task["name"], task["source"], *(figure(task[name]) for name in ("rows", "kept", "excluded"))]
            for task in tasks[:_TASKS_SHOWN]
        ],
        right={2, 3, 4},
        wide=True,
    )
    shown = f"the first {_TASKS_SHOWN} of {figure(len(tasks))}" if len(tasks) > _TASKS_SHOWN else figure(len(tasks))
    return section(
        "sources",
        "By source",
        "A source's kind picks its policy, so not every source meets every stage.",
        table,
        details(f"Input files ({shown})", files),
    )


def _consent(facts: _Facts) -> Markup:
    rows = facts.ask(
        """SELECT reason, CAST(coalesce(sum(rows) FILTER (action <> 'exclude'), 0) AS BIGINT) AS kept,
            CAST(coalesce(sum(rows) FILTER (action = 'exclude'), 0) AS BIGINT) AS excluded
        FROM read_parquet($counts) WHERE stage = 'robots' GROUP BY reason ORDER BY kept + excluded DESC, reason"""
    )
    if not rows:
        return section("consent", "Consent", "No source of this corpus met the robots.txt stage.")
    asked = sum(kept + excluded for _, kept, excluded in rows)
    unknown = [row for row in rows if row[0] in UNKNOWN_CONSENT]
    sums = {reason: kept + excluded for reason, kept, excluded in rows}
    parts = [
        ("k", "allowed by robots.txt", sums.get("allowed", 0)),
        ("n", "no robots.txt, so no restriction", sums.get("no_file", 0)),
        ("u", "unknown: no statement could be read", sum(kept + excluded for _, kept, excluded in unknown)),
        ("x", "disallowed", sums.get("agent_disallowed", 0) + sums.get("star_disallowed", 0)),
        ("x", "reserved by another signal", sums.get("signal_reserved", 0)),
        ("x", "removed at the owner's request", sums.get("takedown", 0)),
    ]
    parts = [part for part in parts if part[2] or part[0] != "x" or part[1] == "disallowed"]
    legend = "".join(
        f'<li class="{kind}">{cell(text)} <b>{figure(number)}</b> ({percent(number, asked)})</li>'
        for kind, text, number in parts
    )
    label = "; ".join(f"{text}: {percent(number, asked)}" for _, text, number in parts)
    bar = stack([(kind, number) for kind, _, number in parts], asked)
    agents = facts.ask(
        """WITH decided AS (
            SELECT parse_filename(filename, true) AS task, evidence_id, reason, count(*) AS rows,
                sum(text_bytes) AS text_bytes
            FROM read_parquet($decisions, filename = true)
            WHERE stage = 'robots' AND reason IN ('agent_disallowed', 'star_disallowed') GROUP BY ALL
        ), e AS (
            SELECT parse_filename(filename, true) AS task, evidence_id, host, unnest(string_split(agents, ',')) AS agent
            FROM read_parquet($evidence, filename = true) WHERE agents IS NOT NULL
        )
        SELECT agent, CAST(sum(rows) AS BIGINT) AS documents,
            CAST(coalesce(sum(rows) FILTER (reason = 'agent_disallowed'), 0) AS BIGINT) AS named,
            CAST(coalesce(sum(rows) FILTER (reason = 'star_disallowed'), 0) AS BIGINT) AS star,
            count(DISTINCT host) AS hosts, CAST(sum(text_bytes) AS BIGINT)
        FROM e JOIN decided ON e.task = decided.task AND e.evidence_id = decided.evidence_id
        GROUP BY agent ORDER BY documents DESC, agent"""
    )
    most = max((row[1] for row in agents), default=0)
    agent_table = grid(
        ["Agent", "Documents barred", "Rule names an AI agent", "Rule for everybody (*)", "Hosts", "Text", ""],
        [
            [
                "* (everybody)" if agent == "*" else agent,
                figure(total),
                figure(named),
                figure(star),
                figure(hosts),
                amount(text_bytes),
                meter(total, most, "x"),
            ]
            for agent, total, named, star, hosts, text_bytes in agents
        ],
        right={1, 2, 3, 4, 5},
        wide=True,
        caption="A document counts for every agent that its site's rules bar, so the rows overlap.",
    )
    unknown_table = grid(
        ["Why consent is unknown", "Kept", "Excluded"],
        [[_reason(reason), figure(kept), figure(excluded)] for reason, kept, excluded in unknown],
        right={1, 2},
    )
    dates = facts.ask("SELECT min(fetched_at), max(fetched_at) FROM read_parquet($evidence) WHERE stage = 'robots'")
    period = ""
    if dates and dates[0][0]:
        since, until = dates[0]
        when = f"on {since}" if since == until else f"between {since} and {until}"
        period = f"The robots.txt files behind these exclusions were fetched {when}."
    return section(
        "consent",
        "Consent",
        "What each site's robots.txt says, by document. Unknown is counted as unknown, never as allowed.",
        Markup(f'<div class="bar" role="img" aria-label="{cell(label)}">{bar}</div><ul class="legend">{legend}</ul>'),
        titled("Whom the sites bar", agent_table) if agents else Markup(""),
        titled("Unknown consent", unknown_table) if unknown else Markup(""),
        note(period) if period else Markup(""),
    )


def _languages(facts: _Facts) -> Markup:
    rows = facts.ask(
        """SELECT coalesce(language, 'not identified') AS label, count(*) AS documents,
            CAST(sum(text_bytes) AS BIGINT) AS text_bytes
        FROM read_parquet($kept) GROUP BY label ORDER BY documents DESC, label"""
    )
    kept = facts.totals["kept"]
    most = rows[0][1] if rows else 0
    body = [
        [label, figure(documents), percent(documents, kept), amount(size), meter(documents, most)]
        for label, documents, size in rows
    ]
    heads = ["Language and script", "Documents kept", "Share", "Text", ""]
    return section(
        "languages",
        "Languages",
        f"{figure(len(rows))} labels (ISO 639-3 language, ISO 15924 script) among the kept documents.",
        grid(heads, body[:_TOP_LANGUAGES], right={1, 2, 3}),
        details(
            f"The other {figure(len(rows) - _TOP_LANGUAGES)}",
            grid(heads, body[_TOP_LANGUAGES:], right={1, 2, 3}),
        )
        if len(rows) > _TOP_LANGUAGES
        else Markup(""),
    )


def _hosts(facts: _Facts) -> Markup:
    rows = facts.ask(
        """SELECT rhost, CAST(coalesce(sum(rows) FILTER (action = 'keep'), 0) AS BIGINT) AS kept,
            CAST(coalesce(sum(rows) FILTER (action = 'exclude'), 0) AS BIGINT) AS excluded,
            list({'reason': reason, 'rows': rows} ORDER BY rows DESC, reason) FILTER (action = 'exclude') AS why
        FROM read_parquet($hosts) WHERE rhost IS NOT NULL GROUP BY rhost ORDER BY kept + excluded DESC, rhost"""
    )
    nameless = facts.ask("SELECT CAST(coalesce(sum(rows), 0) AS BIGINT) FROM read_parquet($hosts) WHERE rhost IS NULL")
    data, covered = _host_data(rows)
    top = sorted(rows, key=lambda row: (-row[1], row[0]))[:_TOP_HOSTS]
    table = grid(
        ["Host", "Kept", "Excluded", "Why"],
        [[_host(rhost), figure(kept), figure(excluded), _why(why)] for rhost, kept, excluded, why in top],
        right={1, 2},
        wide=True,
        identifier="host-table",
    )
    search = Markup(
        '<div class="search" id="search" role="search" hidden><label for="site">Host</label>'
        '<input id="site" type="search" autocomplete="off" autocapitalize="off" spellcheck="false" '
        'placeholder="example.org"><output id="found" for="site" aria-live="polite"></output></div>'
    )
    extent = (
        f"The search covers all {figure(len(rows))} hosts."
        if covered == len(rows)
        else f"The search covers the {figure(covered)} hosts with most documents of {figure(len(rows))}; "
        "the query under “Check it yourself” answers for every host."
    )
    without = f" {figure(nameless[0][0])} documents have no URL." if nameless and nameless[0][0] else ""
    return section(
        "hosts",
        "Was my site used?",
        "Documents by host: what was kept, what was excluded, and why. First the hosts with most kept documents.",
        search,
        table,
        note(extent + without),
        Markup(f'<script type="application/json" id="host-data">{data}</script>'),
    )


def _licences(facts: _Facts) -> Markup:
    kept = facts.ask("SELECT license, count(*) FROM read_parquet($kept) GROUP BY license")
    excluded = facts.ask(
        """SELECT e.license, count(*)
        FROM (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($decisions, filename = true)) d
        JOIN (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($evidence, filename = true)) e
            ON d.task = e.task AND d.evidence_id = e.evidence_id
        WHERE d.stage = 'license' AND d.action = 'exclude' GROUP BY e.license"""
    )
    stays, goes = dict(kept), dict(excluded)
    names = sorted(stays.keys() | goes.keys(), key=lambda name: (-stays.get(name, 0) - goes.get(name, 0), name or ""))
    body = [[name or "none found", figure(stays.get(name, 0)), figure(goes.get(name, 0))] for name in names]
    return section(
        "licences",
        "Licences",
        "SPDX expressions found in the documents. “None found” is not a licence: it says that no mark was seen.",
        grid(["Licence", "Documents kept", "Excluded for it"], body[:40], right={1, 2}),
        details(
            f"The other {figure(len(body) - 40)}",
            grid(["Licence", "Kept", "Excluded for it"], body[40:], {1, 2}),
        )
        if len(body) > 40
        else Markup(""),
        _obligations(stays),
    )


def _obligations(kept: Mapping[str | None, int]) -> Markup:
    """How many kept documents ask for something in return, and where they are listed."""
    asked = dict.fromkeys(Obligation, 0)
    for name, number in kept.items():
        for obligation in obligations(name) if name else ():
            asked[obligation] += number
    rows = [
        ["To name the author and source", figure(asked[Obligation.ATTRIBUTION]), "attribution.parquet"],
        ["To keep the licence's notice", figure(asked[Obligation.NOTICE]), "attribution.parquet"],
        ["To pass on under the same terms", figure(asked[Obligation.SHARE_ALIKE]), "share-alike.parquet"],
    ]
    return titled(
        "What kept documents ask in return",
        grid(["Obligation", "Documents", "Listed beside this page in"], rows, {1}),
    )


def _content(facts: _Facts) -> Markup:
    scores = facts.ask(
        """SELECT CAST(least(floor(score * 20), 19) AS INTEGER) AS bin, count(*)
        FROM read_parquet($decisions) WHERE stage = 'toxicity' AND action = 'exclude' AND score IS NOT NULL
        GROUP BY bin ORDER BY bin"""
    )
    redactions = facts.ask(
        """SELECT entry.key AS type, CAST(sum(entry.value) AS BIGINT) AS values_replaced, count(*) AS documents
        FROM (SELECT unnest(map_entries(redactions)) AS entry FROM read_parquet($kept) WHERE redactions IS NOT NULL)
        GROUP BY type ORDER BY values_replaced DESC, type"""
    )
    stock = facts.ask(
        """SELECT d.stage, coalesce(e.rule, d.reason) AS why, count(*) AS documents
        FROM (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($decisions, filename = true)) d
        LEFT JOIN (SELECT *, parse_filename(filename, true) AS task FROM read_parquet($evidence, filename = true)) e
            ON d.task = e.task AND d.evidence_id = e.evidence_id
        WHERE d.stage LIKE 'filter%' AND d.action = 'exclude' GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT 50"""
    )
    toxicity = (
        histogram({int(place): number for place, number in scores}, "Toxicity scores of excluded documents")
        if scores
        else note("No document was excluded for toxicity.")
    )
    pii = (
        grid(
            ["Type", "Values replaced", "Documents"],
            [[kind, figure(values), figure(documents)] for kind, values, documents in redactions],
            right={1, 2},
        )
        if redactions
        else note("No personal value was replaced.")
    )
    columns = Markup(
        f'<div class="two"><div><h3>Toxicity scores of excluded documents</h3>{toxicity}</div>'
        f"<div><h3>Personal values replaced</h3>{pii}</div></div>"
    )
    others = (
        titled(
            "Other filters",
            grid(
                ["Filter", "Its reason", "Excluded"],
                [[_stage(stage)[0], why, figure(number)] for stage, why, number in stock],
                right={2},
            ),
        )
        if stock
        else Markup("")
    )
    return section(
        "content",
        "Toxicity and personal data",
        "Neither the excluded text nor any personal value is stored: the manifest holds scores and counts only.",
        columns,
        _kept_scores(facts),
        others,
    )


def _kept_scores(facts: _Facts) -> Markup:
    """What classifiers said of what stays: columns of the shards, so nothing is shown for a copy without them."""
    paths = [str(shard.path) for shard in facts.corpus.shards if shard.path.is_file()]
    if not paths:
        return note("Scores of kept documents are in the shards, which are not in this copy.")
    charts = []
    for column, title in (("toxicity", "Toxicity scores"), ("language_score", "Language scores")):
        rows = facts.connection.execute(
            f"SELECT CAST(greatest(least(floor({column} * 20), 19), 0) AS INTEGER) AS bin, count(*) FROM "
            f"read_parquet($shards, hive_partitioning = false) WHERE {column} IS NOT NULL GROUP BY bin ORDER BY bin",
            {"shards": paths},
        ).fetchall()
        if rows:
            chart = histogram({int(place): number for place, number in rows}, f"{title} of kept documents", "k")
            charts.append(f"<div><h3>{cell(title)} of kept documents</h3>{chart}</div>")
    return Markup(f'<div class="two">{"".join(charts)}</div>') if charts else Markup("")


def _versions(facts: _Facts) -> Markup:
    """Every published version, and what this one has otherwise than the one it replaces."""
    corpus = facts.corpus
    known = [open_corpus(corpus.path, number) for number in published_versions(corpus.path)]
    known = [version for version in known if version.version <= corpus.version]
    if len(known) < 2:
        return Markup("")
    rows = []
    for version in reversed(known):
        totals = version.run["totals"]
        retraction = version.run.get("retraction")
        how = "curated"
        if isinstance(retraction, dict):
            how = f"retraction: {plural(retraction.get('documents', 0), 'document')} withdrawn"
        figures = (figure(totals[name]) for name in ("rows", "kept", "excluded"))
        rows.append([f"{version.version}", how, *figures, mono(version.root[:16])])
    table = grid(["Version", "How it was made", "Read", "Kept", "Excluded", "Root begins"], rows, {2, 3, 4}, wide=True)
    parent = next((version for version in known if version.version == corpus.run.get("parent")), None)
    return section(
        "versions",
        "Versions",
        "What was published before stays on record; a version that withdraws documents names each of them.",
        table,
        _difference(facts, parent) if parent else Markup(""),
    )


def _difference(facts: _Facts, parent: Corpus) -> Markup:
    query = """SELECT stage, action, reason, CAST(sum(rows) AS BIGINT) FROM read_parquet($counts)
        GROUP BY stage, action, reason"""
    now = {tuple(row[:3]): row[3] for row in facts.ask(query)}
    before = {tuple(row[:3]): row[3] for row in _Facts(parent, facts.connection).ask(query)}
    changed = sorted(
        (outcome for outcome in now.keys() | before.keys() if now.get(outcome, 0) != before.get(outcome, 0)),
        key=lambda outcome: (_order(outcome[0]), outcome),
    )
    rows = [
        [
            _stage(stage)[0],
            action,
            _reason(reason),
            figure(before.get((stage, action, reason), 0)),
            figure(now.get((stage, action, reason), 0)),
            f"{now.get((stage, action, reason), 0) - before.get((stage, action, reason), 0):+,}",
        ]
        for stage, action, reason in changed
    ]
    settings = {
        name: (
            dict(_flatten(_rests_on(parent))).get(name, "not set"),
            dict(_flatten(_rests_on(facts.corpus))).get(name),
        )
        for name in sorted(dict(_flatten(_rests_on(parent))).keys() | dict(_flatten(_rests_on(facts.corpus))).keys())
    }
    other = [[name, was, value or "not set"] for name, (was, value) in settings.items() if was != (value or "not set")]
    heads = ["Stage", "Outcome", "Reason", f"Version {parent.version}", f"Version {facts.corpus.version}", "Difference"]
    parts = [titled(f"What changed since version {parent.version}", grid(heads, rows, {3, 4, 5}, wide=True))]
    if not rows:
        parts = [note(f"Every outcome has the same number as in version {parent.version}.")]
    if other:
        parts.append(
            titled("Settings and pinned files that changed", grid(["What", "Before", "Now"], other, wide=True))
        )
    gone = (
        facts.ask("SELECT reason, count(*) FROM read_parquet($tombstones) GROUP BY reason ORDER BY 2 DESC, reason")
        if (facts.corpus.tables("tombstones"))
        else []
    )
    if gone:
        withdrawn = [[_reason(reason), figure(number)] for reason, number in gone]
        parts.append(titled("Withdrawn", grid(["Why", "Documents"], withdrawn, {1})))
    return Markup("".join(parts))


def _rests_on(corpus: Corpus) -> dict[str, Any]:
    recipe = corpus.run.get("recipe")
    policy = recipe.get("policy") if isinstance(recipe, dict) else None
    return {"policy": policy or {}, "pins": corpus.run.get("pins") or {}, "code": corpus.run.get("code") or ""}


def _foundations(facts: _Facts) -> Markup:
    run = facts.corpus.run
    recipe = run.get("recipe") or {}
    policy = [[name, value] for name, value in _flatten(recipe.get("policy") or {})]
    pins = [["recipe", recipe.get("digest", "")]] if recipe.get("digest") else []
    pins += [[name, digest] for name, digest in sorted((run.get("pins") or {}).items())]
    models = facts.ask(
        """SELECT DISTINCT stage, coalesce(detector, protocol), lower(hex(model_sha256)), threshold
        FROM read_parquet($evidence) WHERE detector IS NOT NULL OR model_sha256 IS NOT NULL
        ORDER BY ALL NULLS FIRST LIMIT 100"""
    )
    digests = [["run.json", sha256((facts.corpus.manifest / "run.json").read_bytes()).hexdigest()]]
    digests += [[f"{name}.parquet", table["sha256"]] for name, table in sorted(run["tables"].items())]
    digests += [["root over hosts", run["roots"].get("hosts", "")]]
    return section(
        "foundations",
        "What the decisions rest on",
        f"Code {run.get('code', 'of unknown version')}. A changed value here re-runs exactly what it affects.",
        titled("Policy", grid(["Setting", "Value"], policy)) if policy else Markup(""),
        titled("Pinned files", grid(["What", "SHA-256"], [[name, mono(value)] for name, value in pins]))
        if pins
        else Markup(""),
        details(
            "Detectors named in the evidence",
            grid(
                ["Stage", "Detector", "Threshold", "Model SHA-256"],
                [
                    [_stage(stage)[0], detector, "" if threshold is None else f"{threshold:g}", mono(model or "")]
                    for stage, detector, model, threshold in models
                ],
            ),
        )
        if models
        else Markup(""),
        details("Digests of the manifest", grid(["File", "SHA-256"], [[name, mono(value)] for name, value in digests])),
    )


def _cost(facts: _Facts) -> Markup:
    """Cost as the last run logged it; outside the manifest, so a page without it is complete."""
    try:
        costs = json.loads((facts.corpus.path / "logs" / "costs.json").read_bytes())
        size = costs["text_bytes"]
        parts = {
            "reading": costs["read"],
            **costs["stages"],
            "ledger": costs.get("ledger", 0),
            "writing": costs["write"],
        }
        total = costs["total"]
        rows = [
            [
                _stage(name)[0] if name in costs["stages"] else name.capitalize(),
                f"{seconds:,.2f} s",
                percent(seconds, total),
                f"{seconds / size * 1e9:,.1f}",
            ]
            for name, seconds in parts.items()
        ]
        lead = (
            f"The last run took {total:,.1f} CPU seconds for {figure(costs['documents'])} documents, {amount(size)}: "
            f"{size / 1e6 / total:,.1f} MB per CPU second. Measured on its machine, not covered by the root."
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return Markup("")
    return section(
        "cost",
        "What it cost",
        lead,
        grid(["Step", "CPU time", "Share", "CPU-ms per MB"], rows, right={1, 2, 3}),
    )


def _check(facts: _Facts) -> Markup:
    folder = f"manifests/v{facts.corpus.version:04d}"
    conservation = (
        f"duckdb -c \"SELECT (SELECT sum(rows) FROM '{folder}/counts.parquet' WHERE stage = 'intake') AS read,\n"
        f"  (SELECT count(*) FROM '{folder}/kept/*.parquet') AS kept,\n"
        f"  (SELECT count(*) FROM '{folder}/decisions/*.parquet' WHERE action = 'exclude') AS excluded\""
    )
    site = (
        f"duckdb -c \"SELECT rhost, action, stage, reason, rows, shards FROM '{folder}/hosts.parquet'\n"
        "  WHERE rhost = 'org.example' OR starts_with(rhost, 'org.example.')\""
    )
    why = (
        'duckdb -c "SELECT d.path, d.reason, e.agents, e.line, e.rule, e.fetched_at, hex(e.body_sha256) AS body\n'
        f"  FROM read_parquet('{folder}/decisions/*.parquet', filename = true) d\n"
        f"  JOIN read_parquet('{folder}/evidence/*.parquet', filename = true) e\n"
        "    ON parse_filename(d.filename) = parse_filename(e.filename) AND d.evidence_id = e.evidence_id\n"
        "  WHERE d.rhost = 'org.example' OR starts_with(d.rhost, 'org.example.')\""
    )
    parts = [
        ("Everything at once: digests, conservation, Merkle roots, texts, and the SQL checks", "fairtrove audit ."),
        ("Does what was read equal kept plus excluded?", conservation),
        ("Was my site used? Hosts are stored reversed, so a domain and its subdomains are neighbours", site),
        ("Which line of which robots.txt excluded a page?", why),
        ("Is this file the one that was published?", f"sha256sum {folder}/run.json"),
    ]
    body = Markup("".join(f"<h4>{cell(text)}</h4><pre>{html.escape(command)}</pre>" for text, command in parts))
    return section(
        "check",
        "Check it yourself",
        "You need the folder manifests and duckdb, not us. Run these in the corpus folder. The checks that the audit "
        "runs are SQL files in fairtrove's manifests/queries, and each explains itself.",
        body,
    )


def _footer(facts: _Facts) -> Markup:
    return Markup(
        f"<footer>Written by fairtrove from {cell(f'manifests/v{facts.corpus.version:04d}')} alone. "
        f"Root <code>{cell(facts.corpus.root)}</code></footer>"
    )


# -- words


def _host_data(rows: Sequence[tuple[Any, ...]]) -> tuple[str, int]:
    """JSON for the search, `<` escaped so that no host can end the element, and the number of hosts in it."""
    reasons: dict[str, int] = {}
    hosts: list[str] = []
    size = 0
    for rhost, kept, excluded, why in rows[:_HOST_DATA_ROWS]:
        pairs = [[reasons.setdefault(item["reason"], len(reasons)), item["rows"]] for item in why or ()]
        entry = json.dumps([printable(_plain_host(rhost)), kept, excluded, pairs], separators=(",", ":"))
        size += len(entry) + 1
        if size > _HOST_DATA_BYTES:
            break
        hosts.append(entry)
    names = json.dumps([_reason(reason) for reason in reasons])
    data = f'{{"reasons":{names},"hosts":[{",".join(hosts)}]}}'
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return data, len(hosts)


def _why(why: Sequence[Mapping[str, Any]] | None) -> str:
    return ", ".join(f"{_reason(item['reason'])} {figure(item['rows'])}" for item in why or ()) or "–"


def _plain_host(rhost: str) -> str:
    host, port = restore_host(rhost)
    return host if port is None else f"{host}:{port}"


def _host(rhost: str) -> Markup:
    return Markup(f"<bdi>{cell(_plain_host(rhost))}</bdi>")


def _stage(stage: str) -> tuple[str, str]:
    name, _, detail = stage.partition(":")
    title, meaning = STAGES.get(name, (stage, ""))
    return (detail, meaning) if detail else (title, meaning)


def _order(stage: str) -> int:
    """Place in the pass. Positions differ between sources whose policies leave stages out, so the names decide."""
    name = stage.partition(":")[0]
    return list(STAGES).index(name) if name in STAGES else len(STAGES)


def _reason(reason: str) -> str:
    return REASONS.get(reason, reason)


def _name(corpus: Corpus) -> str:
    recipe = corpus.run.get("recipe") or {}
    return str(recipe.get("name") or corpus.path.name)


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [
            pair
            for name in sorted(value)
            for pair in _flatten(value[name], f"{prefix}.{name}" if prefix else str(name))
        ]
    if isinstance(value, Mapping):
        shown = "as by default"
    elif isinstance(value, list | tuple) and not value:
        shown = "none"
    elif isinstance(value, list | tuple):
        shown = ", ".join(item if isinstance(item, str) else json.dumps(item, sort_keys=True) for item in value)
    else:
        shown = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return [(prefix, shown)]

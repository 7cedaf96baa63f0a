"""The report: one self-contained HTML page that says what a corpus is made of, for people without any tool at hand.

It opens from the file system, loads nothing, needs no JavaScript but for the search over hosts, prints, and reads on a
phone. Every figure is a duckdb aggregate over the manifest's tables; the same corpus gives the same bytes. Hosts,
paths and rules are written by strangers, so text becomes markup in one place only (`_cell`), where it is escaped, and
the page's content security policy refuses every script but its own by digest.

Size: 79 kB for the sample, and at most 1 MB of host data (20,000 hosts) whatever the corpus holds. 0.1 to 0.4 CPU
seconds for 3,000 to 22,000 documents.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

import duckdb

from manifests.check_queries import parameters
from manifests.corpus import Corpus
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


class Markup(str):
    """HTML that this module wrote; any other string is text and is escaped where it meets the page."""

    __slots__ = ()


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
            _foundations(facts),
            _cost(facts),
            _check(facts),
        ]
        name = _name(corpus)
        body = f"{_header(facts, name)}<main>{''.join(sections)}</main>{_footer(facts)}"
    digest = base64.b64encode(sha256(_SCRIPT.encode()).digest()).decode()
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=_cell(f"{name}: what was kept, what was excluded, and why"),
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
        ("Documents read", _number(totals["rows"]), _size(totals["text_bytes_read"])),
        (
            "Kept",
            _number(totals["kept"]),
            f"{_percent(totals['kept'], totals['rows'])}, {_size(totals['text_bytes_kept'])}",
        ),
        ("Excluded", _number(totals["excluded"]), _percent(totals["excluded"], totals["rows"])),
        ("Kept, text altered", _number(_altered_kept(facts)), "personal data replaced by markers"),
        ("Hosts", _number(hosts[0][0] if hosts else 0), _plural(languages[0][0] if languages else 0, "language")),
    ]
    items = "".join(
        f"<div><dt>{_cell(label)}</dt><dd>{_cell(value)}<small>{_cell(more)}</small></dd></div>"
        for label, value, more in figures
    )
    links = (
        ("funnel", "Funnel"),
        ("consent", "Consent"),
        ("languages", "Languages"),
        ("hosts", "Was my site used?"),
        ("licences", "Licences"),
        ("content", "Toxicity and personal data"),
        ("foundations", "Policy and pins"),
        ("check", "Check it yourself"),
    )
    nav = "".join(f'<li><a href="#{anchor}">{_cell(text)}</a></li>' for anchor, text in links)
    parent = facts.corpus.run.get("parent")
    version = f"version {facts.corpus.version}" + (f", replaces version {parent}" if parent else "")
    return Markup(
        f'<header><p class="mark">fairtrove corpus report</p><h1>{_cell(name)}</h1>'
        f'<p class="lead">Of <b>{_number(totals["rows"])}</b> documents read, <b>{_number(totals["kept"])}</b> were '
        f"kept and <b>{_number(totals['excluded'])}</b> excluded. Each one is accounted for, with the reason and what "
        f"it rests on.</p>"
        f'<dl class="figures">{items}</dl>'
        f'<p class="root">{_cell(version[0].upper() + version[1:])} &middot; Merkle root '
        f"<code>{_cell(_grouped(facts.corpus.root))}</code></p>"
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
        bar = _bar([("k", entered - out - changed), ("a", changed), ("s", beside), ("x", out)], read)
        alive -= out
        label = (
            f"{title}: {_number(entered)} documents entered, {_number(out)} excluded, {_number(changed)} altered, "
            f"{_number(entered - out)} went on"
        )
        chips = [
            f'<li class="{kind}">{_cell(_reason(reason))} <b>{_number(number)}</b></li>'
            for kind, group in (("x", excluded), ("a", altered))
            for reason, number in group
        ]
        took = f"&minus;{_number(out)}" if out else "none excluded"
        share = f"{_percent(out, entered)} of {_number(entered)}" if out else f"of {_number(entered)}"
        items.append(
            f'<li><div class="head"><h3>{_cell(title)}</h3><p>{_cell(meaning)}</p>'
            f'<div class="took{"" if out else " none"}">{took}</div><div class="of">{share}</div></div>'
            f'<div class="bar" role="img" aria-label="{_cell(label)}">{bar}</div>'
            f"{_wrap('ul', chips, 'why')}</li>"
        )
    kept = facts.totals["kept"]
    items.append(
        f'<li><div class="head"><h3>Kept</h3><p>Published in {_plural(len(facts.corpus.shards), "shard")}.</p>'
        f'<div class="took none">{_number(kept)}</div><div class="of">{_percent(kept, read)} of what was read</div>'
        "</div>"
        f'<div class="bar" role="img" aria-label="{_percent(kept, read)} kept">{_bar([("k", kept)], read)}</div></li>'
    )
    beside_text = '<li class="s">goes on, stage not in its source\'s policy</li>' if skipped else ""
    legend = (
        '<ul class="legend" aria-hidden="true"><li class="k">goes on</li><li class="a">goes on, text altered</li>'
        f'{beside_text}<li class="x">excluded here</li><li class="g">excluded before</li></ul>'
    )
    outcomes_table = _table(
        ["Stage", "Outcome", "Reason", "Code", "Documents"],
        [
            [_stage(stage)[0], action, _reason(reason), reason, _number(number)]
            for _, stage, action, reason, number in rows
        ],
        right={4},
        wide=True,
    )
    return _section(
        "funnel",
        "From what was read to what was kept",
        "Each bar is all documents read. A document that a stage excludes is not seen by the next.",
        Markup(legend + f'<ol class="funnel">{"".join(items)}</ol>'),
        _details("Every outcome by its code, kept ones too", outcomes_table),
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
        cells = [_number(by_stage[stage][1]) if stage in by_stage else "not run" for stage in stages]
        body.append([source, kinds.get(source, ""), _number(read), *cells, _number(kept), _meter(kept, read)])
    heads = ["Source", "Kind", "Read", *(_stage(stage)[0] for stage in stages), "Kept", "Share kept"]
    table = _table(
        heads,
        body,
        right=set(range(2, len(heads) - 1)),
        wide=True,
        caption="Documents; between Read and Kept, what each stage excluded.",
    )
    tasks = facts.corpus.run["tasks"]
    files = _table(
        ["Input file (task)", "Source", "Rows", "Kept", "Excluded"],
        [
            [task["name"], task["source"], *(_number(task[name]) for name in ("rows", "kept", "excluded"))]
            for task in tasks[:_TASKS_SHOWN]
        ],
        right={2, 3, 4},
        wide=True,
    )
    shown = f"the first {_TASKS_SHOWN} of {_number(len(tasks))}" if len(tasks) > _TASKS_SHOWN else _number(len(tasks))
    return _section(
        "sources",
        "By source",
        "A source's kind picks its policy, so not every source meets every stage.",
        table,
        _details(f"Input files ({shown})", files),
    )


def _consent(facts: _Facts) -> Markup:
    rows = facts.ask(
        """SELECT reason, CAST(coalesce(sum(rows) FILTER (action <> 'exclude'), 0) AS BIGINT) AS kept,
            CAST(coalesce(sum(rows) FILTER (action = 'exclude'), 0) AS BIGINT) AS excluded
        FROM read_parquet($counts) WHERE stage = 'robots' GROUP BY reason ORDER BY kept + excluded DESC, reason"""
    )
    if not rows:
        return _section("consent", "Consent", "No source of this corpus met the robots.txt stage.")
    asked = sum(kept + excluded for _, kept, excluded in rows)
    unknown = [row for row in rows if row[0] in UNKNOWN_CONSENT]
    sums = {reason: kept + excluded for reason, kept, excluded in rows}
    parts = [
        ("k", "allowed by robots.txt", sums.get("allowed", 0)),
        ("n", "no robots.txt, so no restriction", sums.get("no_file", 0)),
        ("u", "unknown: no statement could be read", sum(kept + excluded for _, kept, excluded in unknown)),
        ("x", "disallowed", sums.get("agent_disallowed", 0) + sums.get("star_disallowed", 0)),
    ]
    legend = "".join(
        f'<li class="{kind}">{_cell(text)} <b>{_number(number)}</b> ({_percent(number, asked)})</li>'
        for kind, text, number in parts
    )
    label = "; ".join(f"{text}: {_percent(number, asked)}" for _, text, number in parts)
    bar = _bar([(kind, number) for kind, _, number in parts], asked)
    agents = facts.ask(
        """WITH decided AS (
            SELECT parse_filename(filename, true) AS task, evidence_id, reason, count(*) AS rows
            FROM read_parquet($decisions, filename = true)
            WHERE stage = 'robots' AND reason IN ('agent_disallowed', 'star_disallowed') GROUP BY ALL
        ), e AS (
            SELECT parse_filename(filename, true) AS task, evidence_id, host, unnest(string_split(agents, ',')) AS agent
            FROM read_parquet($evidence, filename = true) WHERE agents IS NOT NULL
        )
        SELECT agent, CAST(sum(rows) AS BIGINT) AS documents,
            CAST(coalesce(sum(rows) FILTER (reason = 'agent_disallowed'), 0) AS BIGINT) AS named,
            CAST(coalesce(sum(rows) FILTER (reason = 'star_disallowed'), 0) AS BIGINT) AS star,
            count(DISTINCT host) AS hosts
        FROM e JOIN decided ON e.task = decided.task AND e.evidence_id = decided.evidence_id
        GROUP BY agent ORDER BY documents DESC, agent"""
    )
    most = max((row[1] for row in agents), default=0)
    agent_table = _table(
        ["Agent", "Documents barred", "Rule names an AI agent", "Rule for everybody (*)", "Hosts", ""],
        [
            [
                "* (everybody)" if agent == "*" else agent,
                _number(total),
                _number(named),
                _number(star),
                _number(hosts),
                _meter(total, most, "x"),
            ]
            for agent, total, named, star, hosts in agents
        ],
        right={1, 2, 3, 4},
        wide=True,
        caption="A document counts for every agent that its site's rules bar, so the rows overlap.",
    )
    unknown_table = _table(
        ["Why consent is unknown", "Kept", "Excluded"],
        [[_reason(reason), _number(kept), _number(excluded)] for reason, kept, excluded in unknown],
        right={1, 2},
    )
    dates = facts.ask("SELECT min(fetched_at), max(fetched_at) FROM read_parquet($evidence) WHERE stage = 'robots'")
    period = ""
    if dates and dates[0][0]:
        since, until = dates[0]
        when = f"on {since}" if since == until else f"between {since} and {until}"
        period = f"The robots.txt files behind these exclusions were fetched {when}."
    return _section(
        "consent",
        "Consent",
        "What each site's robots.txt says, by document. Unknown is counted as unknown, never as allowed.",
        Markup(f'<div class="bar" role="img" aria-label="{_cell(label)}">{bar}</div><ul class="legend">{legend}</ul>'),
        _titled("Whom the sites bar", agent_table) if agents else Markup(""),
        _titled("Unknown consent", unknown_table) if unknown else Markup(""),
        _note(period) if period else Markup(""),
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
        [label, _number(documents), _percent(documents, kept), _size(size), _meter(documents, most)]
        for label, documents, size in rows
    ]
    heads = ["Language and script", "Documents kept", "Share", "Text", ""]
    return _section(
        "languages",
        "Languages",
        f"{_number(len(rows))} labels (ISO 639-3 language, ISO 15924 script) among the kept documents.",
        _table(heads, body[:_TOP_LANGUAGES], right={1, 2, 3}),
        _details(
            f"The other {_number(len(rows) - _TOP_LANGUAGES)}", _table(heads, body[_TOP_LANGUAGES:], right={1, 2, 3})
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
    table = _table(
        ["Host", "Kept", "Excluded", "Why"],
        [[_host(rhost), _number(kept), _number(excluded), _why(why)] for rhost, kept, excluded, why in top],
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
        f"The search covers all {_number(len(rows))} hosts."
        if covered == len(rows)
        else f"The search covers the {_number(covered)} hosts with most documents of {_number(len(rows))}; "
        "the query under “Check it yourself” answers for every host."
    )
    without = f" {_number(nameless[0][0])} documents have no URL." if nameless and nameless[0][0] else ""
    return _section(
        "hosts",
        "Was my site used?",
        "Documents by host: what was kept, what was excluded, and why. First the hosts with most kept documents.",
        search,
        table,
        _note(extent + without),
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
    body = [[name or "none found", _number(stays.get(name, 0)), _number(goes.get(name, 0))] for name in names]
    return _section(
        "licences",
        "Licences",
        "SPDX expressions found in the documents. “None found” is not a licence: it says that no mark was seen.",
        _table(["Licence", "Documents kept", "Excluded for it"], body[:40], right={1, 2}),
        _details(
            f"The other {_number(len(body) - 40)}", _table(["Licence", "Kept", "Excluded for it"], body[40:], {1, 2})
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
        ["To name the author and source", _number(asked[Obligation.ATTRIBUTION]), "attribution.parquet"],
        ["To keep the licence's notice", _number(asked[Obligation.NOTICE]), "attribution.parquet"],
        ["To pass on under the same terms", _number(asked[Obligation.SHARE_ALIKE]), "share-alike.parquet"],
    ]
    return _titled(
        "What kept documents ask in return",
        _table(["Obligation", "Documents", "Listed beside this page in"], rows, {1}),
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
        _histogram({int(place): number for place, number in scores})
        if scores
        else _note("No document was excluded for toxicity.")
    )
    pii = (
        _table(
            ["Type", "Values replaced", "Documents"],
            [[kind, _number(values), _number(documents)] for kind, values, documents in redactions],
            right={1, 2},
        )
        if redactions
        else _note("No personal value was replaced.")
    )
    columns = Markup(
        f'<div class="two"><div><h3>Toxicity scores of excluded documents</h3>{toxicity}</div>'
        f"<div><h3>Personal values replaced</h3>{pii}</div></div>"
    )
    others = (
        _titled(
            "Other filters",
            _table(
                ["Filter", "Its reason", "Excluded"],
                [[_stage(stage)[0], why, _number(number)] for stage, why, number in stock],
                right={2},
            ),
        )
        if stock
        else Markup("")
    )
    return _section(
        "content",
        "Toxicity and personal data",
        "Neither the excluded text nor any personal value is stored: the manifest holds scores and counts only.",
        columns,
        others,
    )


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
    return _section(
        "foundations",
        "What the decisions rest on",
        f"Code {run.get('code', 'of unknown version')}. A changed value here re-runs exactly what it affects.",
        _titled("Policy", _table(["Setting", "Value"], policy)) if policy else Markup(""),
        _titled("Pinned files", _table(["What", "SHA-256"], [[name, _mono(value)] for name, value in pins]))
        if pins
        else Markup(""),
        _details(
            "Detectors named in the evidence",
            _table(
                ["Stage", "Detector", "Threshold", "Model SHA-256"],
                [
                    [_stage(stage)[0], detector, "" if threshold is None else f"{threshold:g}", _mono(model or "")]
                    for stage, detector, model, threshold in models
                ],
            ),
        )
        if models
        else Markup(""),
        _details(
            "Digests of the manifest", _table(["File", "SHA-256"], [[name, _mono(value)] for name, value in digests])
        ),
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
                _percent(seconds, total),
                f"{seconds / size * 1e9:,.1f}",
            ]
            for name, seconds in parts.items()
        ]
        lead = (
            f"The last run took {total:,.1f} CPU seconds for {_number(costs['documents'])} documents, {_size(size)}: "
            f"{size / 1e6 / total:,.1f} MB per CPU second. Measured on its machine, not covered by the root."
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return Markup("")
    return _section(
        "cost",
        "What it cost",
        lead,
        _table(["Step", "CPU time", "Share", "CPU-ms per MB"], rows, right={1, 2, 3}),
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
    body = Markup("".join(f"<h4>{_cell(text)}</h4><pre>{html.escape(command)}</pre>" for text, command in parts))
    return _section(
        "check",
        "Check it yourself",
        "You need the folder manifests and duckdb, not us. Run these in the corpus folder. The checks that the audit "
        "runs are SQL files in fairtrove's manifests/queries, and each explains itself.",
        body,
    )


def _footer(facts: _Facts) -> Markup:
    return Markup(
        f"<footer>Written by fairtrove from {_cell(f'manifests/v{facts.corpus.version:04d}')} alone. "
        f"Root <code>{_cell(facts.corpus.root)}</code></footer>"
    )


# -- pieces


def _cell(value: Any) -> Markup:
    """The one place where text becomes markup: escaped, with control and bidirectional characters made visible."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(str(value)), quote=True))


def _section(anchor: str, title: str, lead: str, *content: Markup) -> Markup:
    intro = f"<p>{_cell(lead)}</p>" if lead else ""
    return Markup(
        f'<section id="{anchor}" aria-labelledby="h-{anchor}"><h2 id="h-{anchor}">{_cell(title)}</h2>{intro}'
        f"{''.join(content)}</section>"
    )


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    right: set[int] | frozenset[int] = frozenset(),
    wide: bool = False,
    caption: str = "",
    identifier: str = "",
) -> Markup:
    """A table; columns in `right` are numbers; a `wide` one becomes a list of cards on a phone."""
    classes = ["r" if place in right else "" if head else "m" for place, head in enumerate(heads)]
    opened = [f' class="{name}"' if name else "" for name in classes]
    head = "".join(f'<th scope="col"{opened[place]}>{_cell(text)}</th>' for place, text in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{opened[place]} data-label="{_cell(heads[place])}"><span>{_cell(value)}</span></td>'
            if wide
            else f"<td{opened[place]}>{_cell(value)}</td>"
            for place, value in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    name = f' id="{identifier}"' if identifier else ""
    return Markup(
        f'<div class="scroll"><table{name}{" class=wide" if wide else ""}>'
        f"{f'<caption>{_cell(caption)}</caption>' if caption else ''}"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _details(summary: str, content: Markup) -> Markup:
    return Markup(f"<details><summary>{_cell(summary)}</summary>{content}</details>")


def _titled(title: str, content: Markup) -> Markup:
    return Markup(f"<h4>{_cell(title)}</h4>{content}")


def _note(text: str) -> Markup:
    return Markup(f'<p class="note">{_cell(text)}</p>')


def _mono(text: str) -> Markup:
    return Markup(f"<code>{_cell(text)}</code>")


def _wrap(tag: str, items: Sequence[str], name: str) -> str:
    return f'<{tag} class="{name}">{"".join(items)}</{tag}>' if items else ""


def _bar(parts: Sequence[tuple[str, int]], whole: int) -> str:
    return "".join(
        f'<i class="{kind}" style="width:{100 * number / whole:.3f}%"></i>'
        for kind, number in parts
        if number and whole
    )


def _meter(number: int, whole: int, kind: str = "") -> Markup:
    share = 100 * number / whole if whole else 0
    extra = f" {kind}" if kind else ""
    return Markup(
        f'<span class="meter{extra}" role="img" aria-label="{share:.1f}%"><i style="width:{share:.2f}%"></i></span>'
    )


def _histogram(bins: Mapping[int, int]) -> Markup:
    """Twenty bars over scores 0 to 1, as inline SVG with a table behind it for those who do not see it."""
    most = max(bins.values())
    width, step, base, tall = 440, 22, 150, 125
    labelled = {place for place, number in bins.items() if most < 1000 or number == most}
    bars = "".join(
        f'<rect class="x" x="{place * step + 1.5}" y="{base - tall * number / most:.1f}" width="{step - 3}" '
        f'height="{tall * number / most:.1f}" rx="2"/>'
        for place, number in sorted(bins.items())
    )
    bars += "".join(
        f'<text x="{(place + 0.5) * step}" y="{base - 6 - tall * bins[place] / most:.1f}" text-anchor="middle">'
        f"{_number(bins[place])}</text>"
        for place in sorted(labelled)
    )
    ticks = "".join(
        f'<text x="{tick * width:g}" y="{base + 18}" text-anchor="{anchor}">{tick:g}</text>'
        for tick, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    )
    rows = [[f"{place / 20:.2f} to {(place + 1) / 20:.2f}", _number(number)] for place, number in sorted(bins.items())]
    return Markup(
        f'<svg viewBox="0 0 {width} {base + 26}" role="img" aria-label="Toxicity scores of excluded documents">'
        f'<line x1="0" y1="{base}" x2="{width}" y2="{base}"/>{bars}{ticks}</svg>'
        f"{_details('As a table', _table(['Score', 'Documents'], rows, right={1}))}"
    )


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
    return ", ".join(f"{_reason(item['reason'])} {_number(item['rows'])}" for item in why or ()) or "–"


def _plain_host(rhost: str) -> str:
    host, port = restore_host(rhost)
    return host if port is None else f"{host}:{port}"


def _host(rhost: str) -> Markup:
    return Markup(f"<bdi>{_cell(_plain_host(rhost))}</bdi>")


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


def _number(value: int) -> str:
    return f"{value:,}"


def _plural(value: int, noun: str) -> str:
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def _percent(part: float, whole: float) -> str:
    """One decimal, and never a rounded 0 % or 100 % for what is more or less."""
    if not whole:
        return "0%"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1%"
    if 99.9 < share < 100:
        return ">99.9%"
    return f"{share:.1f}%"


def _size(size: int) -> str:
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            return f"{size / 10**power:,.1f} {unit}"
    return f"{size:,} bytes"


def _grouped(root: str) -> str:
    return " ".join(root[start : start + 8] for start in range(0, len(root), 8))

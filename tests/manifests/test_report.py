"""The report: right figures, one file, the same bytes each time, and nothing that a stranger wrote becomes markup."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest

from manifests.corpus import open_corpus
from manifests.markup import cell
from manifests.report import REASONS, STAGES, page, write_report
from manifests.schema import Reason, Stage
from tests.manifests.build import HOSTS, build, edit_json, edit_table

HOSTILE = (
    "<script>alert(1)</script>.example",
    '"><img src=x onerror=alert(1)>.example',
    "</script><script>alert(2)</script>.example",
    "a\u202egro.elpmaxe.example",
    "\x1b[31mred\x00.example",
    "&lt;b&gt;.example",
    "<!--.example",
    "${title}.$body.example",
    "x" * 300 + ".example",
)
# fmt: off
OURS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "p", "h1", "b", "dl", "div", "dt", "dd",
    "small", "code", "nav", "ul", "li", "main", "section", "h2", "h3", "h4", "ol", "i", "details", "summary",
    "table", "thead", "tbody", "tr", "th", "td", "span", "caption", "input", "output", "label", "bdi", "svg",
    "line", "rect", "text", "pre", "footer", "script",
}
# fmt: on
VOID = {"meta", "input", "rect", "line", "br", "img", "link"}


class Page(HTMLParser):
    """Tags, attributes, text and scripts of a page; fails on a tag that is closed out of turn."""

    def __init__(self, content: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self._open or self._open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "corpus"
    build(folder)
    return folder


@pytest.fixture(scope="module")
def content(corpus: Path) -> str:
    return page(open_corpus(corpus))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile") / "corpus"
    build(folder, hosts=HOSTILE, rows=120)
    edit_json(
        folder / "manifests/v0001/run.json",
        lambda run: run.update(
            recipe={"name": "<script>alert(3)</script>", "digest": "<b>", "policy": {"<i>": ["<u>"]}},
            pins={"<s>": "<em>"},
            code="<code onclick=x>",
        ),
    )
    edit_table(
        folder / "manifests/v0001/evidence/web-0.parquet",
        lambda rows: [row.update(agents="<h1>Bot</h1>", license="<h2>", detector="<h3>") for row in rows] and None,
    )
    return page(open_corpus(folder))


def test_the_page_is_one_well_formed_file_that_loads_nothing(content):
    parsed = Page(content)
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        for name in ("src", "srcset", "data", "action", "href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in content
    assert "url(" not in content
    assert "//" not in re.sub(r"<script.*?</script>", "", content, flags=re.DOTALL).replace("<!doctype html>", "")


def test_the_same_corpus_gives_the_same_bytes(corpus, content, tmp_path):
    first = write_report(open_corpus(corpus), tmp_path / "one.html").read_bytes()
    copy = tmp_path / "elsewhere"
    shutil.copytree(corpus, copy)
    assert write_report(open_corpus(copy)) == copy / "report/index.html"
    assert (copy / "report/index.html").read_bytes() == first == content.encode()
    names = sorted(path.name for path in (copy / "report").iterdir())
    assert names == ["attribution.parquet", "index.html", "share-alike.parquet"]


def test_figures_are_those_of_the_manifest(corpus, content):
    totals = open_corpus(corpus).run["totals"]
    words = Page(content).words
    assert f"Of {totals['rows']} documents read, {totals['kept']} were kept and {totals['excluded']} excluded" in words
    assert open_corpus(corpus).root in words
    for reason in ("empty_text", "agent_disallowed", "star_disallowed", "restricted", "toxic"):
        counts = f"'{corpus}/manifests/v0001/counts.parquet'"
        [(number,)] = duckdb.sql(f"SELECT CAST(sum(rows) AS BIGINT) FROM {counts} WHERE reason = '{reason}'").fetchall()
        assert f"{REASONS[reason]} {number}" in words


def test_agents_are_counted_once_per_document_that_they_are_barred_from(corpus, content):
    rows = table_after(content, "Whom the sites bar")
    decisions = f"'{corpus}/manifests/v0001/decisions/*.parquet'"
    named, star = (
        duckdb.sql(f"SELECT count(*) FROM {decisions} WHERE reason = '{reason}'").fetchall()[0][0]
        for reason in ("agent_disallowed", "star_disallowed")
    )
    assert named
    assert star
    assert {tuple(row[:4]) for row in rows} == {
        ("GPTBot", str(named + star), str(named), str(star)),
        ("CCBot", str(named + star), str(named), str(star)),
        ("ClaudeBot", str(star), "0", str(star)),
    }


def test_unknown_consent_is_listed_apart(content):
    reasons = {row[0] for row in table_after(content, "Unknown consent")}
    assert reasons == {REASONS["host_unknown"], REASONS["no_url"]}


def test_redactions_and_licences_are_counted(corpus, content):
    kept = f"'{corpus}/manifests/v0001/kept/*.parquet'"
    [(redacted,)] = duckdb.sql(f"SELECT count(*) FROM {kept} WHERE redactions IS NOT NULL").fetchall()
    rows = table_after(content, "Personal values replaced")
    assert rows == [["email", str(2 * redacted), str(redacted)], ["iban", str(redacted), str(redacted)]]
    licences = {row[0] for row in table_after(content, 'id="h-licences"')}
    assert licences == {"none found", "CC-BY-4.0", "CC-BY-NC-4.0"}


def test_the_search_knows_every_host_and_counts_as_the_manifest_does(corpus, content):
    data = host_data(content)
    hosts = f"'{corpus}/manifests/v0001/hosts.parquet'"
    [(rows,)] = duckdb.sql(f"SELECT CAST(sum(rows) AS BIGINT) FROM {hosts} WHERE rhost IS NOT NULL").fetchall()
    assert {host[0] for host in data["hosts"]} == set(HOSTS)
    assert sum(host[1] + host[2] for host in data["hosts"]) == rows
    for _, _, excluded, why in data["hosts"]:
        assert sum(number for _, number in why) == excluded
        assert all(0 <= place < len(data["reasons"]) for place, _ in why)


def test_essentials_are_there_without_javascript(content):
    without = re.sub(r"<script.*?</script>", "", content, flags=re.DOTALL)
    words = Page(without).words
    for wanted in ("From what was read to what was kept", "www.example.org", "GPTBot", "deu_Latn", "sha256sum"):
        assert wanted in words
    [search] = [attributes for tag, attributes in Page(without).tags if attributes.get("id") == "search"]
    assert "hidden" in search


def test_hostile_hosts_and_names_stay_text(hostile):
    parsed = Page(hostile)
    assert {tag for tag, _ in parsed.tags} <= OURS
    for _, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert len(parsed.scripts) == 2
    assert "<script>alert(1)</script>.example" in parsed.words
    assert "<script>alert(3)</script>" in parsed.words
    assert "<h1>Bot</h1>" in parsed.words


def test_control_and_bidirectional_characters_are_shown_not_obeyed(hostile):
    assert not {character for character in hostile if not character.isprintable()} - {"\n"}
    assert "\\u202e" in hostile


def test_hostile_hosts_cannot_end_the_data_element(hostile):
    data = host_data(hostile)
    found = {host[0] for host in data["hosts"]}
    assert "</script><script>alert(2)</script>.example" in found
    assert "${title}.$body.example" in found


def test_only_the_pages_own_script_may_run(content):
    [policy] = [a["content"] for tag, a in Page(content).tags if a.get("http-equiv") == "Content-Security-Policy"]
    [script] = [text for attributes, text in Page(content).scripts if "type" not in attributes]
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_page_of_many_hosts_stays_under_two_megabytes_and_says_what_it_left_out(tmp_path, monkeypatch):
    hosts = tuple(f"{number}.{'long' * 20}.example" for number in range(3000))
    build(tmp_path, rows=3000, hosts=hosts)
    monkeypatch.setattr("manifests.report._HOST_DATA_BYTES", 50_000)
    content = page(open_corpus(tmp_path))
    data = host_data(content)
    assert 0 < len(data["hosts"]) < 3000
    assert f"The search covers the {len(data['hosts'])} hosts with most documents" in Page(content).words
    assert len(content) < 2_000_000


def test_costs_are_shown_when_logged_and_a_broken_log_is_left_out(corpus, tmp_path):
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    log = copy / "logs/costs.json"
    log.parent.mkdir()
    costs = {"stages": {"robots": 1.5}, "read": 0.25, "write": 0.25, "total": 2.0}
    log.write_text(json.dumps({**costs, "text_bytes": 4_000_000, "documents": 80}))
    assert "2.0 MB per CPU second" in Page(page(open_corpus(copy))).words
    for broken in ("{", "[]", '{"stages": 1}', '{"total": 0, "read": 0, "write": 0, "stages": {}, "text_bytes": 0}'):
        log.write_text(broken)
        assert "What it cost" not in Page(page(open_corpus(copy))).words


def test_the_commands_on_the_page_run(corpus, content):
    commands = [command for command in preformatted(content) if command.startswith("duckdb -c ")]
    assert len(commands) == 3
    for command in commands:
        query = command.removeprefix('duckdb -c "').removesuffix('"').replace("'manifests/", f"'{corpus}/manifests/")
        assert duckdb.sql(query).fetchall()
    [read] = duckdb.sql(
        commands[0].removeprefix('duckdb -c "').removesuffix('"').replace("'manifests/", f"'{corpus}/manifests/")
    ).fetchall()
    assert read[0] == read[1] + read[2]


def test_every_stage_and_reason_has_words():
    assert set(STAGES) == {str(stage) for stage in Stage}
    assert set(REASONS) == {str(reason) for reason in Reason}


@pytest.mark.slow
def test_the_search_finds_a_host_in_a_browser(corpus, tmp_path):
    browser = next((name for name in ("chromium", "google-chrome", "chrome") if shutil.which(name)), None)
    if browser is None:
        pytest.skip("no headless browser on this machine")
    path = write_report(open_corpus(corpus), tmp_path / "index.html")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    found = subprocess.run([browser, *flags, f"{path.as_uri()}#site=news.example"], capture_output=True, text=True)
    [row] = table_after(found.stdout, 'id="host-table"')
    assert row[0] == "news.example.org"


def table_after(content: str, mark: str) -> list[list[str]]:
    """Cells of the rows of the first table body after `mark`, as text."""
    body = content[content.index(mark) :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL) for row in body.split("<tr")[1:]]
    return [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in rows]


def host_data(content: str) -> dict:
    [data] = [text for attributes, text in Page(content).scripts if attributes.get("id") == "host-data"]
    return json.loads(data)


def preformatted(content: str) -> list[str]:
    blocks: list[str] = []

    class Blocks(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag == "pre":
                blocks.append("")

        def handle_data(self, data):
            if self.lasttag == "pre" and blocks and data.strip():
                blocks[-1] += data

        def handle_endtag(self, tag):
            self.lasttag = ""

    Blocks().feed(content)
    return blocks


def test_versions_and_what_changed_between_them_are_shown(tmp_path):
    build(tmp_path)
    build(tmp_path, rows=60, version=2)
    edit_json(tmp_path / "manifests/v0002/run.json", lambda run: run.update(parent=1, pins={"robots": "another"}))
    content = page(open_corpus(tmp_path))
    listed = table_after(content, 'id="h-versions"')
    assert [row[0] for row in listed] == ["2", "1"]
    changed = table_after(content, "What changed since version 1")
    assert ["Reading", "keep", "read"] in [row[:3] for row in changed]
    assert all(row[5] == f"{int(row[4]) - int(row[3]):+}" for row in changed)
    assert ["pins.robots", "another"] in [[row[0], row[2]] for row in table_after(content, "pinned files that changed")]
    assert "What changed since" not in page(open_corpus(tmp_path, 1))


def test_scores_of_kept_documents_are_those_of_the_shards(corpus, content, tmp_path):
    kept = open_corpus(corpus).run["totals"]["kept"]
    assert table_after(content, "Toxicity scores of kept documents</h3>") == [["0.10 to 0.15", str(kept)]]
    shutil.copytree(corpus / "manifests", tmp_path / "manifests")
    assert "which are not in this copy" in Page(page(open_corpus(tmp_path))).words


def test_another_module_may_add_a_section(corpus, monkeypatch):
    monkeypatch.setattr("manifests.report.MORE_SECTIONS", [lambda corpus, connection: cell(f"<{corpus.version}>")])
    assert "&lt;1&gt;" in page(open_corpus(corpus))

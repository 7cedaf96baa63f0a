"""Asking about a site: the answer is that of a full scan, whatever the host is called and however it is written."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from manifests import trail
from manifests.ask import Answer, QuestionError, ask, host_of, render, to_json
from manifests.corpus import open_corpus
from manifests.schema import TOMBSTONES, CorpusError
from pipeline.addresses import locate
from pipeline.cli import app
from tests.manifests import sites
from tests.manifests.sites import AUTHORITIES, STAGES, build_sites, small_row_groups

documents = functools.cache(sites.documents)


@pytest.fixture(scope="module", params=[False, True], ids=["one row group", "many row groups"])
def corpus(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    build_sites(folder)
    if request.param:
        small_row_groups(folder)
    return folder


def concerned(rhost: str | None, authority: str) -> bool:
    """Whether a document's host is the one asked about or below it, told from names in their usual order."""
    wanted, host = host_of(locate(f"http://{authority}/")[0]), host_of(rhost)
    if host == wanted or host.startswith(wanted + ":"):
        return True
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    numbers = [which.replace(".", "").isdigit() and which.count(".") == 3 for which in (wanted, name)]
    return name.endswith("." + wanted) and not any(numbers) and ":" not in wanted + name


def scan(corpus: Path, authority: str) -> tuple[Counter, Counter]:
    """Outcomes, as (host, action, stage, reason, line) → documents, and places of kept documents."""
    outcomes: Counter = Counter()
    places: Counter = Counter()
    for document in documents(corpus, 1):
        if not document["rhost"] or not concerned(document["rhost"], authority):
            continue
        host = host_of(document["rhost"])
        if document["kept"]:
            consent = trail.steps(document["trail"])[STAGES.index("robots")][0]
            outcomes[host, "keep", "robots", consent, None] += 1
            places[host, document["shard"], document["shard_row"]] += 1
        for row in document["decisions"]:
            outcomes[host, row["action"], row["stage"], row["reason"], row["evidence"]["line"]] += 1
    return outcomes, places


@pytest.mark.parametrize("authority", [*AUTHORITIES, "example", "4", "2.3.4", "nowhere.invalid", "b.example.org"])
def test_the_answer_is_that_of_a_full_scan(corpus, authority):
    (version,) = ask(corpus, authority, locate=locate).versions
    outcomes, places = scan(corpus, authority)
    found: Counter = Counter()
    for outcome in version.outcomes:
        line = outcome.ground.get("line")
        found[outcome.host, outcome.action, outcome.stage, outcome.reason, line] += outcome.documents
    assert found == outcomes
    assert Counter((place.host, place.shard, row) for place in version.places for row in place.rows) == places
    assert version.kept == sum(places.values())
    assert version.excluded == sum(count for key, count in outcomes.items() if key[1] == "exclude")


def test_bytes_and_evidence_are_those_of_the_rows(corpus):
    (version,) = ask(corpus, "example.org", locate=locate).versions
    mine = [document for document in documents(corpus, 1) if concerned(document["rhost"], "example.org")]
    kept = sum(outcome.text_bytes for outcome in version.outcomes if outcome.action == "keep")
    assert kept == sum(document["text_bytes"] for document in mine if document["kept"])
    for outcome in version.outcomes:
        if outcome.reason == "agent_disallowed":
            assert outcome.ground["agents"] == "GPTBot,CCBot"
            assert outcome.ground["fetched_at"] == "2024-05-01"
            assert outcome.ground["basis"] == "named"
            assert len(outcome.ground["body_sha256"]) == 64


def test_every_url_is_found_with_its_fate(corpus):
    by_url: dict[str, list[dict[str, Any]]] = {}
    for document in documents(corpus, 1):
        if document["rhost"]:
            by_url.setdefault(document["url"], []).append(document)
    assert len(by_url) > 80
    for url in sorted(by_url)[::6]:
        (version,) = ask(corpus, url, url, locate=locate).versions
        assert version.pages is not None
        found = {(page.task, page.key, page.kept) for page in version.pages}
        there = {(document["task"], document["key"], document["kept"]) for document in by_url[url]}
        assert there <= found
        same = [document for other, group in by_url.items() if locate(other) == locate(url) for document in group]
        assert found == {(document["task"], document["key"], document["kept"]) for document in same}
        for page in version.pages:
            assert page.kept == (page.shard is not None)
            assert page.kept or page.decisions[-1]["action"] == "exclude"


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("EXAMPLE.org", "example.org"),
        (" example.org. ", "example.org"),
        ("https://example.org/some/page", "example.org"),
        ("example.org:443", "example.org"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("2001:db8::1", "[2001:DB8:0::1]"),
    ],
)
def test_a_site_may_be_written_in_several_ways(corpus, written, same):
    found, other = (ask(corpus, site, locate=locate) for site in (written, same))
    assert found.versions == other.versions
    assert found.versions[0].outcomes


def test_a_port_is_an_origin_of_its_own_and_an_address_has_no_subdomains(corpus):
    def hosts(site: str) -> set[str]:
        return {outcome.host for outcome in ask(corpus, site, locate=locate).versions[0].outcomes}

    assert hosts("example.org:8080") == {"example.org:8080"}
    assert {"example.org:8080", "www.example.org:8443", "a.b.example.org"} <= hosts("example.org")
    assert hosts("example.org") & {"example-shop.org", "example1.org", "notexample.org"} == set()
    assert hosts("1.2.3.4") == {"1.2.3.4", "1.2.3.4:81"}
    assert hosts("[2001:db8::1]") == {"[2001:db8::1]", "[2001:db8::1]:8443"}


@pytest.mark.parametrize("site", ["", " ", "https://", "/", "?", "https:///path"])
def test_a_question_without_a_host_is_refused(corpus, site):
    with pytest.raises(QuestionError, match="no host"):
        ask(corpus, site, locate=locate)


@pytest.mark.parametrize("url", ["https://elsewhere.example/", "/path", "example.org/path", "", "https://org/"])
def test_a_url_elsewhere_is_refused(corpus, url):
    with pytest.raises(QuestionError, match="not a URL on"):
        ask(corpus, "example.org", url, locate=locate)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | st.sampled_from(["' OR 1=1 --", "%", "_", "\ud800", "\x00", "a\x00b", "*", "..", ".org"]))
def test_no_site_finds_what_a_full_scan_does_not(corpus, site):
    try:
        answer = ask(corpus, site, locate=locate)
    except QuestionError:
        return
    hosts = {document["rhost"] for document in documents(corpus, 1) if document["rhost"]}
    assert {outcome.host for outcome in answer.versions[0].outcomes} == {
        host_of(rhost) for rhost in hosts if concerned(rhost, host_of(answer.rhost))
    }
    json.dumps(to_json(answer))


def test_few_row_groups_are_read(corpus, monkeypatch):
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counting(self, group, columns=None, **options):
        if columns != ["rhost"]:
            read.append(group)
        return original(self, group, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    ask(corpus, "nowhere.invalid", locate=locate)
    assert read == []
    ask(corpus, "example1.org", locate=locate)
    total = sum(pq.ParquetFile(path).num_row_groups for path in (corpus / "manifests").rglob("*.parquet"))
    assert total < 20 or len(read) < total / 3


def withdrawn_in_the_second_version(folder: Path) -> None:
    build_sites(folder)
    build_sites(folder, version=2, parent=1, barred=("org.example.www",), more={"tombstones": _tombstones(folder)})
    for path in (folder / "shards").glob("*.v1-*"):
        path.unlink()


def _tombstones(folder: Path) -> pa.Table:
    rows = []
    for document in documents(folder, 1):
        if document["kept"] and document["rhost"] == "org.example.www":
            row = {name: document.get(name) for name in TOMBSTONES.names}
            rows.append(row | {"key": bytes.fromhex(document["key"]), "reason": "star_disallowed"})
    return pa.Table.from_pylist(rows, schema=TOMBSTONES)


def test_each_version_says_what_it_held_and_what_was_withdrawn(tmp_path):
    withdrawn_in_the_second_version(tmp_path)
    before, after = ask(tmp_path, "www.example.org", locate=locate).versions
    assert (before.version, after.version) == (1, 2)
    kept_before = [place for place in before.places if place.host == "www.example.org"]
    assert kept_before
    assert [place.host for place in after.places if place.host == "www.example.org"] == []
    assert after.withdrawn == sum(len(place.rows) for place in kept_before)
    assert before.withdrawn == 0


def test_a_url_is_found_in_a_version_whose_shards_are_gone(tmp_path):
    withdrawn_in_the_second_version(tmp_path)
    held = [document for document in documents(tmp_path, 1) if document["rhost"] == "org.example.www"]
    assert len(held) > 10
    for document in held[::3]:
        url = f"https://www.example.org{document['path']}"
        before, after = ask(tmp_path, "www.example.org", url, locate=locate).versions
        assert before.pages is not None
        assert after.pages is not None
        same = {(other["key"], other["kept"]) for other in held if other["path"] == document["path"]}
        assert {(page.key, page.kept) for page in before.pages} == same
        assert {(page.key, page.kept) for page in after.pages} == {(key, False) for key, _ in same}
        assert before.unread == 0


def test_a_damaged_table_is_named(tmp_path):
    build_sites(tmp_path, tasks=("web-0",))
    path = tmp_path / "manifests/v0001/kept/web-0.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CorpusError, match=r"kept/web-0\.parquet: cannot be read"):
        ask(tmp_path, "example.org", locate=locate)


def shown(answer: Answer) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(render(answer), soft_wrap=True, highlight=False)
    return capture.get()


def test_hostile_names_reach_the_terminal_escaped(corpus):
    text = shown(ask(corpus, "example", locate=locate))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold].example" in text


def test_the_command_answers_in_text_and_json(corpus):
    text = CliRunner().invoke(app, ["ask", str(corpus), "www.example.org", "https://www.example.org/a"])
    assert text.exit_code == 0
    assert "www.example.org" in text.stdout
    as_json = CliRunner().invoke(app, ["ask", str(corpus), "www.example.org", "--json"])
    assert json.loads(as_json.stdout) == json.loads(json.dumps(to_json(ask(corpus, "www.example.org", locate=locate))))


@pytest.mark.parametrize(
    "arguments", [["", "--json"], ["example.org", "https://x.invalid/"], ["a.b", "--version", "1"]]
)
def test_a_wrong_question_ends_with_code_2(corpus, arguments):
    result = CliRunner().invoke(app, ["ask", str(corpus), *arguments])
    assert result.exit_code == 2
    assert "error:" in result.stderr


def test_a_site_of_many_hosts_is_cut_short_on_the_terminal_only(corpus):
    answer = ask(corpus, "example", locate=locate)
    assert "more shards; --json lists them" in shown(answer)
    assert len(to_json(answer)["versions"][0]["places"]) > 20


def test_the_newest_version_counts_what_the_run_counts(corpus):
    total = open_corpus(corpus).run["totals"]
    hosts = {host_of(document["rhost"]) for document in documents(corpus, 1) if document["rhost"]}
    tops = {locate(f"https://{host}/")[0] for host in hosts}
    alone = {top: ask(corpus, host_of(top), locate=locate).versions[0] for top in sorted(filter(None, tops))}
    kept = sum(
        outcome.documents
        for top, version in alone.items()
        for outcome in version.outcomes
        if outcome.action == "keep" and outcome.host == host_of(top)
    )
    without_url = sum(document["kept"] and not document["rhost"] for document in documents(corpus, 1))
    assert kept + without_url == total["kept"]

"""Consent re-derived by protego: no wolf is cried over protego's departures, and no false decision passes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.robots import evidence
from manifests.audit import audit
from manifests.corpus import Corpus, open_corpus
from pipeline.curate import curate
from pipeline.recheck import _literal, _protego, _rewritten, consent_recheck, longest_match, plain
from pipeline.terminal import UsageError
from tests.filters.test_robots import BODIES, DEPARTURES, PATHS, SITE
from tests.pipeline.crawl import make_crawl, planned, write_snapshot


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Path]:
    folder = tmp_path_factory.mktemp("recheck")
    recipe = make_crawl(folder, files=2, rows=60)
    result = curate(planned(recipe), folder / "out")
    assert result.corpus is not None
    return result.corpus, folder / "robots.parquet"


def rows_of(corpus: Corpus) -> tuple[list[dict], list[dict]]:
    """Exclusions and kept documents as an audit hands them out."""
    seen: list[list[dict]] = []

    def look(excluded, kept):
        seen.extend([list(excluded), list(kept)])
        return consent_recheck(corpus, [])(iter(()), iter(()))

    audit(corpus, recheck=look)
    return seen[0], seen[1]


def test_a_true_corpus_is_decided_alike(crawl):
    corpus, snapshot = crawl
    excluded, kept = rows_of(corpus)
    verdict = consent_recheck(corpus, [snapshot])(iter(excluded), iter(kept))
    assert list(verdict.violations) == []
    assert f"{len(excluded):,} exclusions and {len(kept):,} kept documents" in verdict.examined
    assert excluded
    assert kept


def test_without_the_snapshot_the_check_is_skipped_with_its_digest(crawl):
    corpus, _ = crawl
    verdict = consent_recheck(corpus, [])(iter(()), iter(()))
    assert verdict.skipped
    assert corpus.run["pins"]["web.robots.snapshot_sha256"][:16] in verdict.examined


def test_every_kept_document_of_a_barred_site_and_every_exclusion_of_an_open_one_is_a_violation(crawl):
    corpus, snapshot = crawl
    excluded, kept = rows_of(corpus)
    recheck = consent_recheck(corpus, [snapshot])
    smuggled = [{**row, "url": f"https://{row['host']}{row['path']}"} for row in excluded]
    assert len(recheck(iter(()), iter(smuggled)).violations) == len(smuggled)
    open_page = next(row for row in kept if "open.example" in row["url"])
    opened = [{**row, "host": "open.example", "path": "/x"} for row in excluded]
    assert open_page
    assert len(recheck(iter(opened), iter(())).violations) == len(opened)
    gone = [{**row, "host": "gone.example", "path": "/x"} for row in excluded]
    assert len(recheck(iter(gone), iter(())).violations) == len(gone)


def test_a_rule_for_everybody_does_not_bind_agents_with_a_group_of_their_own():
    body = b"User-agent: GPTBot\nUser-agent: CCBot\nAllow: /\n\nUser-agent: *\nDisallow: /\n"
    for read in (_protego, _rewritten, _literal):
        assert read(body, ("GPTBot", "CCBot"), SITE + "/p", False) is False
        assert read(body, ("GPTBot", "CCBot", "*"), SITE + "/p", False) is True
        assert read(body, ("GPTBot", "ClaudeBot"), SITE + "/p", False) is True
        assert read(body, ("GPTBot", "ClaudeBot"), SITE + "/p", True) is False


def test_a_snapshot_that_the_corpus_does_not_rest_on_is_refused(crawl, tmp_path):
    corpus, _ = crawl
    write_snapshot(tmp_path / "other.parquet", {"open.example": (200, b"User-agent: *\nDisallow: /\n")})
    with pytest.raises(UsageError, match="rests on"):
        consent_recheck(corpus, [tmp_path / "other.parquet"])
    (tmp_path / "none.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="not a Parquet file"):
        consent_recheck(corpus, [tmp_path / "none.parquet"])


@pytest.mark.parametrize(("point", "text", "agent", "path", "by_protego", "here"), DEPARTURES)
def test_each_departure_of_protego_is_explained_and_its_opposite_is_not(point, text, agent, path, by_protego, here):
    """The record (`here`) is confirmed by one of the two readings; the false record that protego would wave through, or
    demand, is confirmed by none."""
    body = text.encode()
    readings = {read(body, (agent,), SITE + path, False) for read in (_rewritten, _literal)}
    assert (not here) in readings, point
    assert _literal(body, (agent,), SITE + path, False) is not here, point


@settings(max_examples=300, deadline=None)
@given(body=BODIES, path=PATHS, agent=st.sampled_from(["CCBot", "GPTBot", "Google-Extended", "anthropic-ai"]))
def test_the_literal_reading_is_that_of_the_filter(body, path, agent):
    url = SITE + "/" + path
    barred = not evidence(body, agent, url)[0]
    if path.split("?")[0].split("#")[0] != "robots.txt" and b"\xef" not in body[:3]:
        assert _literal(body, (agent,), url, False) is barred


def test_the_plain_form_keeps_rules_and_drops_the_rest():
    text, numbers = plain(
        b"\xef\xbb\xbfUser-agent: CCBot/2.0\nCrawl-delay: 5\nUser-agent: *\nDisalow /p # no\nSitemap: x\n"
    )
    assert text == "User-agent: agent000000x\nUser-agent: *\nDisallow: /p\n"
    assert numbers == {"ccbot": "agent000000x"}


def test_of_equally_long_rules_the_allow_counts_and_none_allows():
    assert longest_match([(False, "/a"), (True, "/a")], "/a") is False
    assert longest_match([(True, "/a"), (False, "/a*")], "/ab") is True
    assert longest_match([], "/") is False


def test_the_corpus_of_a_policy_that_ignores_star_is_asked_about_named_agents_only(tmp_path):
    recipe = make_crawl(tmp_path, files=1, rows=60)
    result = curate(planned(recipe, "policy.web.robots.star=ignore"), tmp_path / "out")
    assert result.corpus is not None
    corpus = open_corpus(tmp_path / "out")
    excluded, kept = rows_of(corpus)
    assert any("barred.example" in row["url"] for row in kept)
    verdict = consent_recheck(corpus, [tmp_path / "robots.parquet"])(iter(excluded), iter(kept))
    assert list(verdict.violations) == []


def test_bodies_of_snapshots_may_be_text(crawl, tmp_path):
    """A snapshot with `robots_txt` as text has another digest, so it is another snapshot, and said to be."""
    corpus, snapshot = crawl
    table = pq.read_table(snapshot)
    bodies = [None if body is None else body.decode() for body in table["body"].to_pylist()]
    pq.write_table(table.set_column(table.schema.get_field_index("body"), "body", [pa.array(bodies)]), tmp_path / "s")
    with pytest.raises(UsageError):
        consent_recheck(corpus, [tmp_path / "s"])

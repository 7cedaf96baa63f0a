"""The main job on real input with ground truth: what was planted is found, what only looks alike stays."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from manifests.ledger import document_key
from manifests.schema import reverse_host
from pipeline.curate import RunResult, curate, make_plan
from pipeline.recipe import load_recipe
from tests.conftest import shared_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def truth() -> dict[bytes, dict]:
    rows = pq.read_table(shared_data("data/corpus/truth.parquet")).to_pylist()
    return {document_key(row["id"], "", 0): row for row in rows}


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> RunResult:
    pages, snapshot = shared_data("data/corpus/pages"), shared_data("data/corpus/robots.parquet")
    settings = [f"source.web.path={pages}/00[01]*.parquet", f"policy.web.robots.snapshot={snapshot}"]
    return curate(make_plan(load_recipe("corpus", settings)), tmp_path_factory.mktemp("real") / "out", workers=2)


@pytest.fixture(scope="module")
def texts(result) -> dict[bytes, str]:
    found = {}
    for shard in result.corpus.shards:
        for row in pq.read_table(shard.path, columns=["id", "text"]).to_pylist():
            found[document_key(row["id"], "", 0)] = row["text"]
    return found


def query(result: RunResult, sql: str) -> list[tuple]:
    folder = result.corpus.manifest
    with duckdb.connect() as connection:
        for table in ("kept", "decisions", "evidence"):
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM '{folder}/{table}/*.parquet'")
        return connection.execute(sql).fetchall()


def test_nothing_is_lost(result):
    totals = result.corpus.run["totals"]
    assert totals["rows"] == sum(pq.read_metadata(path).num_rows for path in inputs())
    assert totals["rows"] == totals["kept"] + totals["excluded"]


def inputs() -> list[Path]:
    return sorted(shared_data("data/corpus/pages").glob("00[01]*.parquet"))


def test_exactly_the_documents_that_owners_barred_are_excluded_for_it(result, truth):
    excluded = {
        key for (key,) in query(result, "SELECT key FROM decisions WHERE stage = 'robots' AND action = 'exclude'")
    }
    seen = {key for (key,) in query(result, "SELECT key FROM kept UNION SELECT key FROM decisions")}
    barred = {key for key, row in truth.items() if row["disallowed_user_agents"]}
    assert excluded == barred & seen
    assert len(excluded) > 300


def test_every_robots_exclusion_names_the_line_that_it_rests_on(result, truth):
    rows = query(
        result,
        "SELECT d.rhost, e.line, e.rule, e.agents, e.basis, octet_length(e.body_sha256) FROM decisions d "
        "JOIN evidence e USING (evidence_id) WHERE d.stage = 'robots' AND d.action = 'exclude'",
    )
    assert rows
    for rhost, line, rule, agents, basis, digest_bytes in rows:
        assert line > 0
        assert "disallow" in rule.lower()
        assert agents
        assert basis in ("named", "star")
        assert digest_bytes == 32
        assert rhost == reverse_host(*_origin(rhost))


def _origin(rhost):
    from manifests.schema import restore_host

    return restore_host(rhost)


def test_planted_pii_is_gone_from_what_is_kept_and_look_alikes_are_not(result, truth, texts):
    positives = missed = negatives = harmed = 0
    for key, text in texts.items():
        for planted in truth[key]["injected"] if key in truth else []:
            if planted["kind"] != "pii":
                continue
            if planted["positive"]:
                positives += 1
                missed += planted["value"] in text
            else:
                negatives += 1
                harmed += planted["value"] not in text
    assert positives > 300
    assert negatives > 100
    assert missed <= 0.02 * positives
    assert harmed <= 0.05 * negatives


def test_most_kept_documents_carry_their_true_language(result, truth):
    rows = query(result, "SELECT key, language FROM kept")
    known = [(truth[key]["language"], language) for key, language in rows if key in truth]
    assert sum(a == b for a, b in known) / len(known) > 0.93


def test_clean_documents_are_not_flagged_and_insults_are(result, truth):
    toxic = {
        key for (key,) in query(result, "SELECT key FROM decisions WHERE stage = 'toxicity' AND action = 'exclude'")
    }
    scored = toxic | {key for (key,) in query(result, "SELECT key FROM kept")}
    insulted = {key for key in scored if any(planted["kind"] == "toxic" for planted in truth[key]["injected"])}
    flagged_clean = len(toxic - insulted) / len(scored - insulted)
    assert flagged_clean < 0.06
    assert len(toxic & insulted) / len(insulted) > 5 * flagged_clean


def test_planted_licences_that_forbid_are_excluded_and_permissive_ones_stay(result, truth):
    excluded = {
        key for (key,) in query(result, "SELECT key FROM decisions WHERE stage = 'license' AND action = 'exclude'")
    }
    kept = {key for (key,) in query(result, "SELECT key FROM kept")}
    marks = {
        key: {planted["sub"] for planted in truth[key]["injected"] if planted["kind"] == "licence"}
        for key in excluded | kept
        if key in truth
    }
    forbidden = {key for key, subs in marks.items() if subs & {"cc-by-nc", "cc-by-nc-nd", "arr", "tdm-optout", "no-ai"}}
    free = {key for key, subs in marks.items() if subs and subs <= {"cc-by", "cc0"}}
    assert len(forbidden) > 50
    assert len(forbidden & excluded) / len(forbidden) > 0.9
    assert len(free & excluded) <= 0.05 * len(free)

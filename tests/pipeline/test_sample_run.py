"""The sample, end to end: what a newcomer's first command makes, against what was planted in it."""

from __future__ import annotations

import json
from importlib.metadata import version

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline.curate import RunResult, curate, make_plan
from pipeline.recipe import load_recipe
from pipeline.table import funnel
from tests.conftest import REPOSITORY
from tests.pipeline.crawl import files_of

SAMPLE = REPOSITORY / "pipeline" / "sample"
TRUTH = json.loads((SAMPLE / "truth.json").read_text(encoding="utf-8"))

GOLDEN_ROOT = "6ea9944678f4eed366d0c4ca9856229a3f43db3f972c96707a15e93c9db9a5e6"
GOLDEN_FOR = {"presidio-analyzer": "2.2.366", "phonenumbers": "9.0.43", "trafilatura": "2.3.1"}
"""Libraries whose version is part of the evidence or of a text: the golden root holds for these."""


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> RunResult:
    return curate(make_plan(load_recipe("sample")), tmp_path_factory.mktemp("sample") / "out")


@pytest.fixture(scope="module")
def texts(result) -> dict[str, str]:
    return {row["id"]: row["text"] for shard in result.corpus.shards for row in pq.read_table(shard.path).to_pylist()}


def test_every_line_of_the_sample_is_accounted_for(result):
    lines = {name: len((SAMPLE / f"{name}.jsonl").read_bytes().splitlines()) for name in ("pages", "code")}
    rows = {task["source"]: task["rows"] for task in result.corpus.run["tasks"]}
    assert {name: rows[name] for name in lines} == lines
    assert rows["crawl"] == (SAMPLE / "crawl.warc").read_bytes().count(b"WARC-Type: response")
    for task in result.corpus.run["tasks"]:
        assert task["rows"] == task["kept"] + task["excluded"]


def test_every_stage_has_something_to_do_in_the_sample(result):
    stages = funnel(result.corpus)
    assert list(stages) == ["intake", "robots", "license", "language", "toxicity", "pii"]
    for name in ("intake", "robots", "license", "language", "toxicity"):
        assert sum(stages[name].excluded.values()) > 0
    assert stages["pii"].altered > 0


def test_no_planted_value_is_in_any_file_of_the_corpus(result):
    values = {item["value"] for items in TRUTH["pages"].values() for item in items if item["kind"] == "pii"}
    assert len(values) > 80
    for name, content in files_of(result.corpus.path).items():
        if name.endswith(".parquet"):
            content = str(pq.read_table(result.corpus.path / name).to_pylist()).encode()
        for value in values:
            assert value.encode() not in content, f"{name} holds a planted value of length {len(value)}"


def test_look_alikes_stay_in_the_texts_that_are_kept(result, texts):
    kept = [
        (item["value"], texts[identifier])
        for identifier, items in TRUTH["pages"].items()
        for item in items
        if item["kind"] == "lookalike" and identifier in texts
    ]
    assert len(kept) > 20
    assert sum(value in text for value, text in kept) >= 0.93 * len(kept)


def test_no_page_of_a_host_that_bars_everyone_is_kept(result):
    barred = {
        row["host"]
        for line in (SAMPLE / "robots.jsonl").read_text(encoding="utf-8").splitlines()
        if (row := json.loads(line))["status"] == 200 and _bars_everyone(row)
    }
    assert barred
    with duckdb.connect() as connection:
        kept = connection.execute(
            "SELECT url FROM read_parquet(?)", [[str(shard.path) for shard in result.corpus.shards]]
        ).fetchall()
    assert not [url for (url,) in kept if url and any(f"//{host}/" in url for host in barred)]


def _bars_everyone(row: dict) -> bool:
    lines = [line.strip().lower() for line in str(row.get("body") or "").splitlines() if line.strip()]
    return lines == ["user-agent: *", "disallow: /"]


def test_the_golden_root(result):
    installed = {name: version(name) for name in GOLDEN_FOR}
    if installed != GOLDEN_FOR:
        pytest.skip(f"the golden root holds for {GOLDEN_FOR}, installed are {installed}")
    assert result.corpus.root == GOLDEN_ROOT

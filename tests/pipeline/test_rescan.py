"""The sample of kept documents goes through the filters of the version's own policy, and what they find is counted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from manifests.audit import audit
from manifests.corpus import Corpus, open_corpus
from pipeline.curate import curate
from pipeline.rescan import TOLERATED, filter_rescan, percent
from tests.conftest import REPOSITORY
from tests.pipeline.crawl import make_crawl, planned


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Path]:
    folder = tmp_path_factory.mktemp("rescan")
    recipe = make_crawl(folder, files=2, rows=60)
    result = curate(planned(recipe), folder / "out")
    assert result.corpus is not None
    return result.corpus, folder / "robots.parquet"


def documents_of(corpus: Corpus, number: int = 15_000, seed: str | None = None) -> tuple[int, list[dict]]:
    seen: list = []

    def look(total, documents):
        seen.extend([total, list(documents)])
        return filter_rescan(corpus, [])(0, iter(()))

    audit(corpus, rescan=look, documents=number, seed=seed)
    return seen[0], seen[1]


def test_nothing_is_found_in_a_true_corpus(crawl):
    corpus, snapshot = crawl
    total, documents = documents_of(corpus)
    verdict = filter_rescan(corpus, [snapshot])(total, iter(documents))
    assert list(verdict.violations) == []
    assert verdict.examined.startswith(f"all {total:,} kept documents: 0 would")
    assert total == len(documents) == corpus.run["totals"]["kept"]


def test_a_sample_states_its_bound(crawl):
    corpus, snapshot = crawl
    total, documents = documents_of(corpus, number=40)
    assert len(documents) == 40
    verdict = filter_rescan(corpus, [snapshot])(total, iter(documents))
    assert "at most 7.3 % of all (95 %, Clopper-Pearson)" in verdict.examined  # 1 - 0.05 ** (1 / 40) = 0.0722


def test_the_draw_is_the_same_for_a_seed_and_another_for_another(crawl):
    corpus, _ = crawl

    def draw(seed):
        return [(row["task"], row["file_row"]) for row in documents_of(corpus, 20, seed)[1]]

    assert draw("one") == draw("one")
    assert draw("one") != draw("two")
    assert draw(None) == draw(corpus.root)


def test_a_personal_value_in_a_kept_text_is_found_also_where_others_were_redacted(crawl):
    corpus, snapshot = crawl
    total, documents = documents_of(corpus)
    text = "Write to keeper@lanternpost.net for the timetable of the ferry."
    for altered in (False, True):
        leaky = [{**documents[0], "text": text, "altered": altered}, *documents[1:]]
        verdict = filter_rescan(corpus, [snapshot])(total, iter(leaky))
        assert "pii: personal values left (EMAIL)" in verdict.violations[1]
        assert "keeper@" not in " ".join(verdict.violations)


def test_a_barred_page_put_back_into_a_shard_is_found_when_the_snapshot_is_given(crawl):
    corpus, snapshot = crawl
    total, documents = documents_of(corpus)
    smuggled = [{**documents[0], "url": "https://barred.example/x", "altered": False}, *documents[1:]]
    assert "robots: star_disallowed" in filter_rescan(corpus, [snapshot])(total, iter(smuggled)).violations[0]
    without = filter_rescan(corpus, [])(total, iter(smuggled))
    assert list(without.violations) == []
    assert "left out: web: robots, whose snapshot was not given" in without.examined


def test_what_a_marker_moved_is_counted_apart(crawl):
    corpus, snapshot = crawl
    total, documents = documents_of(corpus)
    moved = [{**documents[0], "url": "https://barred.example/x", "altered": True}, *documents[1:]]
    verdict = filter_rescan(corpus, [snapshot])(total, iter(moved))
    assert list(verdict.violations) == []
    assert "1 whose text was redacted are judged otherwise" in verdict.examined


def test_another_version_of_the_code_may_judge_one_in_a_hundred_otherwise(crawl):
    corpus, snapshot = crawl
    other = replace(corpus, run={**corpus.run, "code": "another"})
    total, documents = documents_of(corpus)
    many = (documents * 20)[:1000]

    def failing(number):
        barred = [{**row, "url": "https://barred.example/x", "altered": False} for row in many[:number]]
        return filter_rescan(other, [snapshot])(total * 20, iter([*barred, *many[number:]])).violations

    assert not failing(int(1000 * TOLERATED))
    assert failing(int(1000 * TOLERATED) + 1)


def test_a_model_of_ones_own_is_left_out_and_named(crawl):
    corpus, snapshot = crawl
    policy = {"web": {**corpus.run["recipe"]["policy"]["web"], "language": {"model": "mine.ftz"}}}
    other = replace(corpus, run={**corpus.run, "recipe": {**corpus.run["recipe"], "policy": policy}})
    total, documents = documents_of(corpus)
    assert (
        "language, whose model is not one that ships"
        in filter_rescan(other, [snapshot])(total, iter(documents)).examined
    )


def test_a_share_is_rounded_up_to_two_digits():
    assert percent(0.00019969) == "0.020 %"
    assert percent(0.0001901) == "0.020 %"
    assert percent(0.25) == "25 %"
    assert percent(1.0) == "100 %"


def test_a_copy_of_the_manifests_is_audited_without_texts(crawl, tmp_path):
    corpus, snapshot = crawl
    shutil.copytree(corpus.path / "manifests", tmp_path / "manifests")
    command = [sys.executable, "-m", "pipeline.cli", "audit", str(tmp_path), "--json", "--robots", str(snapshot)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    checks = {check["name"]: check for check in json.loads(ended.stdout)["checks"]}
    assert {name for name, check in checks.items() if check["skipped"]} == {"shards", "texts", "re-scanned"}
    assert "0 kept documents" in checks["consent re-derived"]["detail"]
    (tmp_path / "shards").mkdir()  # not a copy of the manifests any more, but a corpus that lost its shards
    assert not audit(open_corpus(tmp_path)).passed

"""What runs again, what does not, and that nothing stale is left for a reader to see."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest

from manifests.corpus import open_corpus, published_versions
from pipeline.curate import curate
from pipeline.folder import RunError, locked
from tests.pipeline.crawl import (
    RECIPE,
    ROBOTS,
    files_of,
    make_crawl,
    pages,
    planned,
    run,
    write_parquet,
    write_snapshot,
)


def shards_on_disk(corpus) -> set[str]:
    return {path.relative_to(corpus).as_posix() for path in (corpus / "shards").rglob("*") if path.is_file()}


def shards_vouched(corpus) -> set[str]:
    return {shard["name"] for shard in open_corpus(corpus).run["shards"]}


def test_an_unchanged_recipe_runs_nothing_and_touches_nothing(tmp_path):
    recipe = make_crawl(tmp_path)
    run(recipe, tmp_path / "out")
    before = files_of(tmp_path / "out")
    again = run(recipe, tmp_path / "out")
    assert again.unchanged
    assert again.ran == []
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize("workers", [1, 2])
def test_one_root_for_any_folder_worker_count_and_order(tmp_path, workers):
    first = run(make_crawl(tmp_path / "a"), tmp_path / "a" / "out").corpus
    recipe = make_crawl(tmp_path / "elsewhere" / "b")
    plan = planned(recipe)
    plan.files.reverse()
    second = curate(plan, tmp_path / "other-out", workers).corpus
    assert second.root == first.root
    assert files_of(second.path) == files_of(first.path)


def test_a_changed_policy_publishes_the_next_version_and_leaves_nothing_stale(tmp_path):
    recipe = make_crawl(tmp_path)
    first = run(recipe, tmp_path / "out").corpus
    second = run(recipe, tmp_path / "out", "policy.web.robots.star=ignore")
    assert sorted(second.ran) == ["web-000", "web-001", "web-002"]
    assert second.corpus.version == 2
    assert second.corpus.run["parent"] == 1
    assert second.corpus.root != first.root
    assert second.corpus.run["totals"]["kept"] > first.run["totals"]["kept"]
    assert shards_on_disk(tmp_path / "out") == shards_vouched(tmp_path / "out")


def test_a_version_after_a_change_has_the_root_of_a_run_from_scratch(tmp_path):
    recipe = make_crawl(tmp_path)
    run(recipe, tmp_path / "out")
    changed = run(recipe, tmp_path / "out", "policy.web.robots.star=ignore").corpus
    scratch = run(recipe, tmp_path / "scratch", "policy.web.robots.star=ignore").corpus
    assert changed.root == scratch.root


def test_a_policy_for_one_kind_re_runs_only_its_sources(tmp_path):
    recipe = make_crawl(tmp_path)
    write_parquet(tmp_path / "books" / "one.parquet", pages(40, seed=9))
    text = RECIPE.replace("[policy.web]", '[source.shelf]\npath = "books"\nkind = "books"\n[policy.web]')
    recipe.write_text(text + "\n[policy.books]\npii = {}\n")
    run(recipe, tmp_path / "out")
    again = run(recipe, tmp_path / "out", 'policy.books.pii.types=["EMAIL"]')
    assert again.ran == ["shelf-one"]
    assert sorted(again.adopted) == ["web-000", "web-001", "web-002"]


def test_an_added_input_file_runs_alone(tmp_path):
    recipe = make_crawl(tmp_path)
    run(recipe, tmp_path / "out")
    write_parquet(tmp_path / "pages" / "003.parquet", pages(50, seed=8))
    again = run(recipe, tmp_path / "out")
    assert again.ran == ["web-003"]
    assert again.corpus.root == run(recipe, tmp_path / "scratch").corpus.root


def test_a_changed_input_file_runs_alone_and_its_old_shards_go(tmp_path):
    recipe = make_crawl(tmp_path)
    run(recipe, tmp_path / "out")
    write_parquet(tmp_path / "pages" / "001.parquet", pages(90, seed=77))
    again = run(recipe, tmp_path / "out")
    assert again.ran == ["web-001"]
    assert shards_on_disk(tmp_path / "out") == shards_vouched(tmp_path / "out")
    assert again.corpus.root == run(recipe, tmp_path / "scratch").corpus.root


def test_a_removed_input_file_is_not_in_the_next_version(tmp_path):
    recipe = make_crawl(tmp_path)
    run(recipe, tmp_path / "out")
    (tmp_path / "pages" / "002.parquet").unlink()
    again = run(recipe, tmp_path / "out")
    assert again.ran == []
    assert [task["name"] for task in again.corpus.run["tasks"]] == ["web-000", "web-001"]
    assert shards_on_disk(tmp_path / "out") == shards_vouched(tmp_path / "out")


def test_a_newer_snapshot_re_runs_only_files_whose_hosts_changed_their_mind(tmp_path):
    recipe = make_crawl(tmp_path)
    rows = pages(30, seed=5, contact=False)
    for row in rows:
        row["url"] = row["url"].replace(row["url"].split("/")[2], "alone.example")
    write_parquet(tmp_path / "pages" / "alone.parquet", rows)
    run(recipe, tmp_path / "out")
    write_snapshot(tmp_path / "robots.parquet", {**ROBOTS, "alone.example": (200, b"User-agent: CCBot\nDisallow: /\n")})
    again = run(recipe, tmp_path / "out")
    assert again.ran == ["web-alone"]
    assert again.corpus.version == 2
    assert again.corpus.root == run(recipe, tmp_path / "scratch").corpus.root
    alone = next(task for task in again.corpus.tasks if task["name"] == "web-alone")
    assert alone["kept"] == 0


def test_a_snapshot_that_says_the_same_re_runs_nothing_but_is_recorded(tmp_path):
    recipe = make_crawl(tmp_path)
    first = run(recipe, tmp_path / "out").corpus
    write_snapshot(tmp_path / "robots.parquet", {**ROBOTS, "nobody.example": (200, b"User-agent: *\nDisallow: /\n")})
    again = run(recipe, tmp_path / "out")
    assert again.ran == []
    assert again.corpus.root == first.root
    assert again.corpus.run["pins"] != first.run["pins"]


def test_old_shards_stay_when_asked(tmp_path):
    recipe = make_crawl(tmp_path)
    run(recipe, tmp_path / "out")
    before = shards_on_disk(tmp_path / "out")
    run(recipe, tmp_path / "out", "policy.web.robots.star=ignore", keep_old=True)
    assert before < shards_on_disk(tmp_path / "out")


def test_a_lost_shard_is_made_again(tmp_path):
    recipe = make_crawl(tmp_path)
    first = run(recipe, tmp_path / "out").corpus
    first.shards[0].path.unlink()
    again = run(recipe, tmp_path / "out")
    assert again.ran == [first.shards[0].task]
    again.corpus.verify_shards()


def test_a_second_run_on_the_same_folder_is_refused(tmp_path):
    recipe = make_crawl(tmp_path)
    with locked(tmp_path / "out"), pytest.raises(RunError, match="another run"):
        run(recipe, tmp_path / "out")


def test_a_folder_that_is_not_a_corpus_is_left_alone(tmp_path):
    recipe = make_crawl(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="not a fairtrove corpus"):
        run(recipe, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_shards_rotate_at_their_size_with_the_same_root(tmp_path):
    recipe = make_crawl(tmp_path)
    whole = run(recipe, tmp_path / "whole").corpus
    cut = run(recipe, tmp_path / "cut", "output.shard_bytes=1", "output.row_group_rows=20").corpus
    assert len(cut.shards) > len(whole.shards)
    assert cut.root == whole.root
    cut.verify_shards()
    assert sum(pq.read_metadata(shard.path).num_rows for shard in cut.shards) == cut.run["totals"]["kept"]


def test_partition_by_language_writes_a_folder_per_label(tmp_path):
    recipe = make_crawl(tmp_path)
    corpus = run(recipe, tmp_path / "out", "output.partition=language").corpus
    assert {shard.language for shard in corpus.shards} == {"eng_Latn"}
    assert all(shard.name.startswith("shards/eng_Latn/") for shard in corpus.shards)


def test_the_corpus_says_the_same_after_moving_its_folder(tmp_path):
    recipe = make_crawl(tmp_path)
    run(recipe, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    corpus = open_corpus(tmp_path / "moved")
    corpus.verify_manifest()
    corpus.verify_shards()
    assert published_versions(tmp_path / "moved") == [1]

"""What a run may touch: its own folder, its own shards, and no version that is to be kept."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from manifests.corpus import open_corpus
from manifests.publish import kept_versions
from pipeline.folder import RunError
from pipeline.version import DECIDES, code_version
from tests.pipeline.crawl import RECIPE, make_crawl, pages, run, write_parquet


@pytest.mark.parametrize("inside", ["manifests", "shards", ".git"])
def test_a_folder_that_only_looks_like_a_corpus_is_refused(tmp_path, inside):
    recipe = make_crawl(tmp_path, files=1)
    (tmp_path / "mine" / inside).mkdir(parents=True)
    (tmp_path / "mine" / "shards").mkdir(exist_ok=True)
    (tmp_path / "mine" / "shards" / "precious.txt").write_text("precious")
    with pytest.raises(RunError, match="not a fairtrove corpus"):
        run(recipe, tmp_path / "mine")
    assert (tmp_path / "mine" / "shards" / "precious.txt").read_text() == "precious"


def test_a_file_beside_our_shards_that_is_none_of_them_stays(tmp_path):
    recipe = make_crawl(tmp_path, files=1)
    run(recipe, tmp_path / "out")
    (tmp_path / "out" / "shards" / "NOTES.txt").write_text("mine")
    run(recipe, tmp_path / "out", "policy.web.robots.star=ignore")
    assert (tmp_path / "out" / "shards" / "NOTES.txt").read_text() == "mine"


def test_a_version_that_was_kept_stays_kept(tmp_path):
    recipe = make_crawl(tmp_path, files=1)
    run(recipe, tmp_path / "out")
    run(recipe, tmp_path / "out", "policy.web.robots.star=ignore", keep_old=True)
    run(recipe, tmp_path / "out", "policy.web.robots.star=ignore")
    run(recipe, tmp_path / "out", "policy.web.robots.unknown=exclude", keep_old=True)
    assert kept_versions(tmp_path / "out") == [3, 2, 1]
    for kept in (1, 2, 3):
        open_corpus(tmp_path / "out", kept).verify_shards()
    run(recipe, tmp_path / "out")
    assert kept_versions(tmp_path / "out") == [4]


def test_a_replaced_version_is_said_to_be_superseded(tmp_path):
    recipe = make_crawl(tmp_path, files=1)
    run(recipe, tmp_path / "out")
    run(recipe, tmp_path / "out", "policy.web.robots.star=ignore")
    command = [sys.executable, "-m", "pipeline.cli", "audit", str(tmp_path / "out"), "--version", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "superseded by version 2" in result.stderr


@pytest.mark.parametrize("damage", ["kept", "decisions", "shard", "record"])
def test_a_damaged_task_is_run_again_and_the_corpus_is_whole_afterwards(tmp_path, damage):
    recipe = make_crawl(tmp_path, files=2)
    first = run(recipe, tmp_path / "out").corpus
    if damage == "shard":
        victim = first.shards[0].path
    elif damage == "record":
        victim = first.manifest / "tasks" / "web-000.json"
    else:
        victim = first.manifest / damage / "web-000.parquet"
    victim.write_text("[]")
    write_parquet(tmp_path / "pages" / "more.parquet", pages(10, seed=5))
    again = run(recipe, tmp_path / "out")
    assert sorted(again.ran) == ["web-000", "web-more"]
    again.corpus.verify_manifest()
    again.corpus.verify_shards()


def test_every_module_that_a_task_runs_through_is_in_the_version_of_the_code():
    code = "import pipeline.task, sys; print(*sorted(n for n in sys.modules if n.count('.') == 1))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.split(".")[0] in ("filters", "manifests", "pipeline")}
    decides = {f"{package.__name__}.{name}" for package, names in DECIDES.items() for name in names or ()}
    carries = {
        "manifests.corpus",
        "pipeline.recipe",
        "pipeline.version",
        "manifests.amend",
        "pipeline.retrying",
    }  # decide nothing by themselves
    assert {name for name in ours if not name.startswith("filters.")} - decides - carries == set()
    assert code_version().startswith(version("fairtrove"))


def test_a_recipe_without_stages_for_its_kind_is_not_silent(tmp_path):
    recipe = make_crawl(tmp_path, files=1)
    recipe.write_text(RECIPE.replace("[policy.web]", "[policy.books]"))
    command = [sys.executable, "-m", "pipeline.cli", "curate", str(recipe), "--out", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "no stage" in result.stderr

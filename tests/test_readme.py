"""The README is true: its commands run, its targets and commands exist, nothing public is missing from it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipeline.recipe import RECIPES, load_recipe
from tests.conftest import REPOSITORY
from tests.pipeline.crawl import ROBOTS, make_crawl, write_snapshot
from tests.pipeline.test_cli import commands

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
COMMANDS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
TARGETS = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with the sample curated at out/sample, pages/, robots.parquet and a newer.parquet, as the README takes
    for granted."""
    folder = tmp_path_factory.mktemp("readme")
    make_crawl(folder, files=1, rows=30)
    write_snapshot(folder / "newer.parquet", {**ROBOTS, "open.example": (200, b"User-agent: GPTBot\nDisallow: /\n")})
    fairtrove("curate sample --out out/sample --workers 1", folder)
    return folder


def fairtrove(arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "pipeline.cli", *shlex.split(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("line", [line for line in COMMANDS.splitlines() if line.startswith("fairtrove ")])
def test_every_fairtrove_command_of_the_readme_runs(workplace, line):
    if line.startswith("fairtrove retract") and not (workplace / "out" / "mine").exists():
        (curate,) = re.findall(r"^fairtrove (curate .* --out out/mine .*)$", COMMANDS, re.MULTILINE)
        fairtrove(curate, workplace)
    assert fairtrove(line.removeprefix("fairtrove "), workplace).strip()


def test_the_example_that_asks_live_sites_is_only_shown_and_lacks_nothing_but_its_list(workplace):
    (line,) = re.findall(r"```text\nfairtrove (robots fetch .*)\n```", README)
    command = [sys.executable, "-m", "pipeline.cli", *shlex.split(line)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, cwd=workplace, capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode, "hosts.txt: cannot be read" in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize("sql", re.findall(r'duckdb -c "(.*?)"\n', COMMANDS, re.DOTALL))
def test_every_query_of_the_readme_answers(workplace, sql, monkeypatch):
    monkeypatch.chdir(workplace)
    rows = duckdb.connect().execute(sql).fetchall()
    assert rows


def test_the_worked_audit_shows_whole_evidence_once(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    (sql,) = [sql for sql in re.findall(r'duckdb -c "(.*?)"\n', COMMANDS, re.DOTALL) if "JOIN" in sql]
    rows = duckdb.connect().execute(sql).fetchall()
    host = (
        "FROM 'out/sample/manifests/v0001/hosts.parquet' WHERE rhost = 'example.bagh-e-anar.www' AND stage = 'robots'"
    )
    (excluded,) = duckdb.connect().execute(f"SELECT sum(rows) {host}").fetchone() or (None,)
    assert len(rows) == excluded
    assert all(all(value is not None for value in row) for row in rows)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z][a-z-]*)", README))))
def test_every_make_target_of_the_readme_exists_and_would_run(target):
    assert target in TARGETS
    if shutil.which("make"):
        result = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr


def test_make_help_lists_every_target():
    listed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target} " in listed for target in TARGETS)
    assert {"corpus", "test", "audit", "report", "train", "bench", "clean", "help"} <= set(TARGETS)


def test_every_command_and_shipped_recipe_is_in_the_readme():
    for name in commands():
        assert f"fairtrove {name}" in README or f"make {name}" in README
    for recipe in RECIPES.glob("*.toml"):
        assert f"`{recipe.stem}`" in README


def test_the_recipe_of_the_readme_is_a_recipe(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    recipe = load_recipe(tmp_path / "mine.toml")
    assert recipe.policy_for("web").filters[0].args == {"min_doc_words": 20}


def test_every_reason_to_exclude_is_explained_in_the_readme():
    from manifests.schema import Reason

    kept_or_altered = {"read", "allowed", "no_file", "permissive", "identified", "trusted", "clean", "passed"}
    kept_or_altered |= {"unscored_language", "altered", "redacted", "filtered"}
    for reason in Reason:
        assert f"`{reason}`" in README or reason in kept_or_altered


def test_the_map_names_every_folder():
    for folder in ("pipeline", "filters", "manifests", "train", "tests"):
        assert f"| `{folder}/` |" in README


def test_the_table_of_the_readme_is_that_of_the_sample(workplace):
    from manifests.corpus import open_corpus
    from pipeline.table import funnel

    corpus = open_corpus(workplace / "out" / "sample")
    (table,) = re.findall(r"<!-- sample table -->\n```\n(.*?)```", README, re.DOTALL)
    totals = corpus.run["totals"]
    assert f"{totals['rows']} rows in = {totals['kept']} kept + {totals['excluded']} excluded" in table
    stages = funnel(corpus)
    for line in table.splitlines():
        name, *figures = line.split()
        if name in stages:
            excluded = sum(stages[name].excluded.values())
            shown = [str(stages[name].rows), str(excluded or "·"), str(stages[name].altered or "·")]
            assert figures[:4] == [*shown, str(stages[name].left)]

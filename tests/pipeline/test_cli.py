"""The command line: help with examples, one-line errors with an exit code, nothing written by a refused recipe."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer

from manifests.corpus import open_corpus
from pipeline.cli import app
from tests.pipeline.crawl import RECIPE, make_crawl, pages, write_jsonl, write_snapshot


def fairtrove(*arguments: object, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def one_line(result: subprocess.CompletedProcess) -> str:
    lines = [line for line in result.stderr.strip().splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    return lines[0]


def commands(group: typer.Typer = app, prefix: str = "") -> list[str]:
    """Every command as one types it: `curate`, `robots build` and so on."""
    own = [prefix + (command.name or command.callback.__name__) for command in group.registered_commands]
    return own + [
        name for inner in group.registered_groups for name in commands(inner.typer_instance, f"{prefix}{inner.name} ")
    ]


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_that_ends_with_an_example(command):
    result = fairtrove(*command.split(), "--help")
    assert result.returncode == 0
    assert f"Example: fairtrove {command}" in " ".join(result.stdout.split())


def test_a_run_ends_with_the_funnel_and_the_paths_and_a_second_one_does_nothing(tmp_path):
    recipe = make_crawl(tmp_path)
    first = fairtrove("curate", recipe, "--out", tmp_path / "out", "--workers", 1)
    assert first.returncode == 0, first.stderr
    for word in ("intake", "robots", "agent_disallowed", "star_disallowed", "documents/s", "MB/s", "Merkle root"):
        assert word in first.stdout
    assert "360 rows in = " in first.stdout
    for place in ("shards", "manifests", "report"):
        assert f"  {place}" in first.stdout
    second = fairtrove("curate", recipe, "--out", tmp_path / "out", "--workers", 1)
    assert second.returncode == 0
    assert "Nothing to do" in second.stdout


@pytest.mark.parametrize(
    ("change", "key", "remedy"),
    [
        (lambda text: text.replace("kind =", "knid ="), "source.web.knid", "did you mean `kind`?"),
        (lambda text: text.replace('kind = "web"', "kind = 3"), "source.web.kind", "'web'"),
        (lambda text: text.replace('path = "pages"', 'path = "pagse"'), "source.web.path", "no file at"),
        (lambda text: text.replace("robots.parquet", "nothere.parquet"), "policy.web.robots", "nothere.parquet"),
        (lambda text: text.replace('"robots.parquet"', '"recipe.toml"'), "policy.web.robots", "recipe.toml"),
        (lambda text: text.replace("pii = {}", 'pii = { types = ["EMIAL"] }'), "policy.web.pii", "EMIAL"),
        (lambda text: text.replace("pii = {}", 'pii = { marker = "hash" }'), "policy.web.pii", "key"),
        (lambda text: text.replace("pii = {}", 'toxicity = { model = "no.bin" }'), "policy.web.toxicity", "no.bin"),
        (lambda text: text.replace("pii = {}", 'language = { model = "no.bin" }'), "policy.web.language", "no.bin"),
        (lambda text: text + "row_group_rows = 0\n", "", "TOML"),
        (lambda text: text.replace("[source.web]", "[source.web"), "", "TOML"),
    ],
)
def test_a_wrong_recipe_is_one_line_with_file_key_and_remedy_and_writes_nothing(tmp_path, change, key, remedy):
    recipe = make_crawl(tmp_path)
    recipe.write_text(change(RECIPE))
    result = fairtrove("curate", recipe, "--out", tmp_path / "out")
    line = one_line(result)
    assert result.returncode == 2
    assert "recipe.toml: " in line
    assert key in line
    assert remedy in line
    assert not (tmp_path / "out").exists()


def test_a_failing_file_is_named_and_the_exit_code_says_so(tmp_path):
    recipe = make_crawl(tmp_path)
    (tmp_path / "pages" / "001.parquet").write_bytes(b"not parquet")
    result = fairtrove("curate", recipe, "--out", tmp_path / "out", "--workers", 2)
    assert result.returncode == 1
    assert "001.parquet" in result.stderr
    assert "--skip-failed" in result.stderr
    assert "Traceback" not in result.stderr
    assert "2 are finished" in " ".join(result.stderr.split())


def test_settings_on_the_command_line_anchor_paths_where_the_command_runs(tmp_path):
    recipe = make_crawl(tmp_path / "recipes")
    write_jsonl(tmp_path / "here" / "mine.jsonl", pages(5))
    write_snapshot(tmp_path / "here" / "robots.parquet")
    result = fairtrove(
        "curate", recipe, "--out", "out", "--workers", 1, "--set", "source.web.path=mine.jsonl", cwd=tmp_path / "here"
    )
    assert result.returncode == 0, result.stderr
    assert open_corpus(tmp_path / "here" / "out").run["totals"]["rows"] == 5


def test_the_plan_lists_the_work_and_the_cost_and_writes_nothing(tmp_path):
    recipe = make_crawl(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = fairtrove("plan", recipe)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "core-hours" in result.stdout
    assert "robots → pii" in result.stdout
    assert re.search(r" 3[5-7]\d ", result.stdout)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_plan_of_a_wrong_recipe_lists_every_problem(tmp_path):
    recipe = make_crawl(tmp_path)
    recipe.write_text(RECIPE.replace('path = "pages"', 'path = "pagse"'))
    result = fairtrove("plan", recipe)
    assert result.returncode == 2
    assert "source.web.path" in result.stdout


def test_a_folder_without_a_corpus_is_said_in_one_line(tmp_path):
    for command in ("audit", "report"):
        result = fairtrove(command, tmp_path)
        assert result.returncode == 1
        assert "fairtrove curate" in one_line(result)


def test_no_redacted_value_is_in_any_output(tmp_path):
    recipe = make_crawl(tmp_path)
    result = fairtrove("curate", recipe, "--out", tmp_path / "out", "--workers", 2)
    assert "lanternpost" not in result.stdout + result.stderr
    import pyarrow.parquet as pq

    for path in (tmp_path / "out").rglob("*"):
        if path.suffix == ".parquet":
            assert "lanternpost" not in str(pq.read_table(path).to_pylist())
        elif path.is_file():
            assert b"lanternpost" not in path.read_bytes()


def test_no_text_of_an_excluded_document_is_kept_anywhere(tmp_path):
    import pyarrow.parquet as pq

    secret = "quincunx zephyr marginalia"
    rows = pages(40)
    for row in rows[::2]:
        row["url"] = "https://closed.example/x"
        row["text"] += f" {secret}"
    write_jsonl(tmp_path / "pages" / "one.jsonl", rows)
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = fairtrove("curate", tmp_path / "recipe.toml", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix == ".parquet":
            assert secret not in str(pq.read_table(path).to_pylist())
        elif path.is_file():
            assert secret.encode() not in path.read_bytes()

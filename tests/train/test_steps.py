"""Accountability: a run says which steps saw an owner's documents, and goes on without what was withdrawn."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")
pytest.importorskip("tokenizers", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from rich.console import Console
from typer.testing import CliRunner

from manifests.corpus import open_corpus
from pipeline.cli import app
from pipeline.intake import locate
from pipeline.retract import retract
from tests.pipeline.crawl import ROBOTS, make_crawl, run, write_snapshot
from tests.train.conftest import SMALL_RECIPE
from train.checkpoint import latest_checkpoint
from train.errors import TrainError
from train.run import training_rows
from train.steps import SeenSteps, find_steps, ranges
from train.summary import Summary
from train.tokens import TokenCache, split_documents
from train.trainer import train

SITE = "shop.example"
SETTINGS = ["data.validation=0.1", "training.double_rows_at=[14]", "checkpoint.keep=100", "schedule.cooldown=0"]


def quietly(corpus: Path, folder: Path, steps: int, *overrides: str, **options) -> Summary:
    (folder / "small.toml").write_text(SMALL_RECIPE)
    arguments = folder / "small.toml", corpus, folder / "model", [*SETTINGS, f"training.steps={steps}", *overrides]
    return train(*arguments, **options, console=Console(file=io.StringIO()))


def cache_of(folder: Path) -> TokenCache:
    (cache,) = (folder / "model" / "cache").glob("tokens-*")
    return TokenCache(cache)


def documents_of(cache: TokenCache, corpus: Path, site: str, version: int = 1) -> set[int]:
    """Rows of the document table whose URL is on the site, by looking at every shard as it was published."""
    table = pq.read_table(cache.folder / "documents.parquet").to_pylist()
    urls = {}
    for shard in open_corpus(corpus, version).shards:
        for row, url in enumerate(pq.read_table(shard.path, columns=["url"])["url"].to_pylist()):
            urls[shard.name, row] = url
    return {n for n, row in enumerate(table) if f"//{site}/" in (urls[row["shard"], row["row"]] or "")}


def replay(folder: Path, documents: set[int], steps: int) -> set[int]:
    """Steps whose batches hold tokens of these documents, by making every batch again."""
    checkpoint = latest_checkpoint(folder / "model" / "checkpoints")
    assert checkpoint is not None
    from train.recipe import Recipe

    recipe = Recipe.model_validate(checkpoint.provenance.recipe)
    cache = cache_of(folder)
    cache.holes = None  # as it was before anything was withdrawn
    rows = training_rows(recipe, cache, split_documents(cache, recipe.data.validation)[0])
    size, wanted = recipe.training.batch_size, np.array(sorted(documents))
    return {
        step + 1
        for step in range(steps)
        if np.isin(rows.batch(size.position_at(step), size.rows_at(step)).table_rows, wanted).any()
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a crawl, its corpus at out/, and a run of 20 steps over it, to be copied."""
    folder = tmp_path_factory.mktemp("steps")
    run(make_crawl(folder, files=2, rows=40), folder / "out", "output.shard_bytes=6000")
    quietly(folder / "out", folder, 20)
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "place")
    return tmp_path / "place"


def withdraw(place: Path, *sites: str) -> None:
    barred = dict.fromkeys(sites, (200, b"User-agent: GPTBot\nDisallow: /\n"))
    newer = write_snapshot(place / "newer.parquet", {**ROBOTS, **barred})
    assert retract(place / "out", newer).published


def test_the_steps_of_a_site_are_those_whose_batches_hold_its_documents(trained: Path) -> None:
    seen = find_steps(trained / "out", SITE, trained / "model", locate=locate)
    cache = cache_of(trained)
    mine = documents_of(cache, trained / "out", SITE)
    held_out = set(split_documents(cache, 0.1)[1].tolist())
    assert seen.documents == len(mine) > 3
    assert seen.held_out == len(mine & held_out)
    assert set(seen.steps) == replay(trained, mine - held_out, 20)
    assert seen.total_steps == 20
    earlier = find_steps(trained / "out", SITE, trained / "model" / "checkpoints" / "step-00000005", locate=locate)
    assert earlier.steps == tuple(step for step in seen.steps if step <= 5)


def test_a_site_that_is_not_there_was_seen_by_no_step(trained: Path) -> None:
    seen = find_steps(trained / "out", "absent.example", trained / "model", locate=locate)
    assert (seen.documents, seen.rows, seen.steps) == (0, 0, ())


def test_a_run_goes_on_without_what_was_withdrawn_and_knows_what_it_had_seen(place: Path) -> None:
    began = cache_of(place)
    mine = documents_of(began, place / "out", SITE)
    kept_before = {n: began.tokens[began.starts[n] : began.ends[n]].tolist() for n in range(len(began.starts))}
    withdraw(place, SITE)
    summary = quietly(place / "out", place, 40)
    assert summary.resumed_from == 20
    cache = cache_of(place)
    assert set(cache.withdrawn) == mine
    for document, tokens in kept_before.items():
        now = cache.tokens[cache.starts[document] : cache.ends[document]].tolist()
        assert now == ([0] * len(tokens) if document in mine else tokens)
    checkpoint = latest_checkpoint(place / "model" / "checkpoints")
    assert checkpoint is not None
    first, second = checkpoint.provenance.corpora
    position = 14 * 4 + 6 * 8
    assert (first["position"], first["version"]) == (0, 1)
    assert second == {"position": position, "version": 2, "root": open_corpus(place / "out").root}
    assert checkpoint.provenance.corpus_version == 2
    seen = find_steps(place / "out", SITE, place / "model", locate=locate)
    assert seen.documents == seen.withdrawn + seen.held_out == len(mine)
    assert seen.total_steps == 40
    held_out = set(split_documents(cache, 0.1)[1].tolist())
    assert set(seen.steps) == replay(place, mine - held_out, 20)
    other = find_steps(place / "out", "open.example", place / "model", locate=locate)
    assert max(other.steps) > 20


def test_no_token_of_a_withdrawn_document_is_an_input_or_a_target(place: Path) -> None:
    withdraw(place, SITE, "open.example")
    quietly(place / "out", place, 22)
    cache = cache_of(place)
    gone = np.array(sorted(cache.withdrawn))
    assert len(gone) > 10
    training = split_documents(cache, 0.1)[0]
    checkpoint = latest_checkpoint(place / "model" / "checkpoints")
    assert checkpoint is not None
    from train.recipe import Recipe

    rows = training_rows(Recipe.model_validate(checkpoint.provenance.recipe), cache, training)
    trained_on = np.setdiff1d(training, gone)
    tokens = int((cache.ends[trained_on] - cache.starts[trained_on]).sum())
    batch = rows.batch(0, rows.epoch_rows)
    assert int((batch.documents_BT != -1).sum()) in (tokens, tokens - 1)  # the last token of an epoch is no input
    assert batch.candidates == tokens - len(trained_on)
    assert (batch.inputs_BT[batch.documents_BT == -1] == 0).all()


def test_a_second_retraction_buries_what_the_first_one_left(place: Path) -> None:
    mine = documents_of(cache_of(place), place / "out", SITE)
    others = documents_of(cache_of(place), place / "out", "open.example")
    withdraw(place, SITE)
    quietly(place / "out", place, 22)
    withdraw(place, SITE, "open.example")
    quietly(place / "out", place, 24)
    withdrawn = cache_of(place).withdrawn
    assert {n for n, version in withdrawn.items() if version == 2} == mine
    assert {n for n, version in withdrawn.items() if version == 3} == others


def test_a_new_run_after_a_retraction_reads_the_newest_corpus_only(place: Path) -> None:
    withdraw(place, SITE)
    summary = quietly(place / "out", place, 10, restart=True)
    assert summary.corpus_root == open_corpus(place / "out").root
    with_tokens = [path.parent.name for path in (place / "model" / "cache").glob("tokens-*/tokens.bin")]
    assert with_tokens == [name for name in with_tokens if summary.corpus_root[:16] in name]
    assert len(with_tokens) == 1


def test_a_run_whose_tokens_are_gone_is_not_taken_up_after_a_retraction(place: Path) -> None:
    withdraw(place, SITE)
    shutil.rmtree(cache_of(place).folder)
    with pytest.raises(TrainError, match="are gone, and the corpus has had documents withdrawn since"):
        quietly(place / "out", place, 22)


def test_a_corpus_that_fails_its_audit_is_not_trained_on(place: Path) -> None:
    """Every digest fits, but a row of the ledger is a lie: only an audit sees it."""
    from tests.manifests.build import edit_table, fix_digests

    table = next((place / "out" / "manifests" / "v0001" / "decisions").glob("*.parquet"))
    edit_table(table, lambda rows: rows[1:])
    fix_digests(place / "out")
    with pytest.raises(TrainError, match=r"fails its audit \(.*`fairtrove audit"):
        quietly(place / "out", place, 22, restart=True)


def test_the_checkpoint_of_another_corpus_is_refused(trained: Path, place: Path) -> None:
    description = place / "model" / "checkpoints" / "step-00000020" / "checkpoint.json"
    content = json.loads(description.read_text())
    content["corpora"][0]["root"] = "0" * 64
    description.write_text(json.dumps(content))
    with pytest.raises(TrainError, match="which no version of"):
        find_steps(place / "out", SITE, description.parent, locate=locate)
    with pytest.raises(TrainError, match="no checkpoint here"):
        find_steps(place / "out", SITE, place, locate=locate)


def test_the_command_answers_people_and_programs(trained: Path) -> None:
    corpus, model = str(trained / "out"), str(trained / "model")
    said = CliRunner().invoke(app, ["steps", corpus, SITE, "--checkpoint", model])
    assert said.exit_code == 0, said.output
    assert f"{SITE}: " in said.stdout
    assert "of 20 steps saw them" in said.stdout
    found = CliRunner().invoke(app, ["steps", corpus, SITE, "--checkpoint", model, "--json"])
    seen = SeenSteps(**json.loads(found.stdout))
    assert f"steps {ranges(seen.steps)}" in said.stdout
    wrong = CliRunner().invoke(app, ["steps", corpus, " ", "--checkpoint", model])
    assert (wrong.exit_code, "no host in it" in wrong.stderr) == (2, True)


def test_the_tokenizer_command_writes_one_that_a_recipe_takes(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokenizer.json"
    made = CliRunner().invoke(app, ["tokenizer", str(trained / "out"), "--out", str(out), "--vocab-size", "280"])
    assert made.exit_code == 0, made.output
    assert "280 tokens" in made.stdout
    shutil.copytree(trained / "out", tmp_path / "out")
    summary = quietly(tmp_path / "out", tmp_path, 12, f"tokenizer.path={out}")
    assert summary.steps == 12
    for arguments in (["--out", str(tmp_path)], ["--out", str(out), "--vocab-size", "10"]):
        assert CliRunner().invoke(app, ["tokenizer", str(trained / "out"), *arguments]).exit_code == 2


def test_ranges_are_short() -> None:
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert ranges([]) == ""
    assert ranges(range(0, 400, 2)).endswith("and 140 more ranges; --json lists them")

"""Mixtures: exact shares, nothing drawn that a restart must remember, and the deal can be read backwards."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")
pytest.importorskip("tokenizers", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.corpus import open_corpus
from tests.conftest import REPOSITORY
from tests.train.conftest import invented_documents, write_corpus
from train import mixture
from train.data import PackedRows, share
from train.errors import TrainError
from train.goldfish import Goldfish, Variant
from train.mixture import MixedRows, Stage, deal
from train.recipe import load_recipe
from train.run import training_rows
from train.tokenizer import train_tokenizer
from train.tokens import TokenCache, open_cache, read_texts, split_documents

STAGES = [
    Stage("first", 0, {"web": 5, "code": 3}),
    Stage("second", 50, {"web": 1, "books": 1}),
    Stage("third", 77, {"code": 2, "books": 1, "web": 0}),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> TokenCache:
    folder = tmp_path_factory.mktemp("mixture")
    shards = [invented_documents(20, seed=seed) for seed in range(3)]
    corpus = open_corpus(write_corpus(folder / "corpus", shards, sources=("web", "code", "books")))
    tokenizer = train_tokenizer(read_texts(corpus, 10**9), 300, folder / "tokenizer.json")
    return open_cache(corpus, tokenizer, folder / "cache")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "BLOCK", 16)
    monkeypatch.setattr(mixture.deal, "__defaults__", (16,))


def sources(cache: TokenCache, goldfish: Goldfish | None = None) -> dict[str, PackedRows]:
    names, numbers = cache.sources
    return {
        name: PackedRows(cache, 16, 5, goldfish, np.flatnonzero(numbers == place)) for place, name in enumerate(names)
    }


def mixed(cache: TokenCache, goldfish: Goldfish | None = None) -> MixedRows:
    return MixedRows(sources(cache, goldfish), STAGES, 5)


def test_each_source_goes_through_its_own_rows_in_order_without_a_gap(cache: TokenCache) -> None:
    rows = mixed(cache)
    source, number = rows.assign(np.arange(200))
    for which in range(len(rows.names)):
        assert number[source == which].tolist() == list(range((source == which).sum()))


def test_every_block_of_a_stage_has_the_stages_shares(cache: TokenCache) -> None:
    rows = mixed(cache)
    source, _ = rows.assign(np.arange(200))
    names = np.array(rows.names)[source]
    for begin in (0, 16, 32):
        assert [(names[begin : begin + 16] == name).sum() for name in ("web", "code", "books")] == [10, 6, 0]
    assert [(names[50:66] == name).sum() for name in ("web", "code", "books")] == [8, 0, 8]
    assert [(names[77:93] == name).sum() for name in ("web", "code", "books")] == [0, 11, 5]
    assert names[:16].tolist() != names[16:32].tolist()


def test_rows_of_a_batch_are_those_of_their_sources(cache: TokenCache) -> None:
    mask = Goldfish(Variant.DEFAULT, 3, 5)
    rows, own = mixed(cache, mask), sources(cache, mask)
    whole = rows.batch(45, 40)
    source, number = rows.assign(np.arange(45, 85))
    candidates = 0
    for place, (which, row) in enumerate(zip(source.tolist(), number.tolist(), strict=True)):
        alone = own[rows.names[which]].batch(row, 1)
        candidates += alone.candidates
        for name in ("inputs_BT", "targets_BT", "documents_BT", "positions_BT"):
            assert torch.equal(getattr(whole, name)[place], getattr(alone, name)[0])
        assert set(alone.table_rows) <= set(whole.table_rows)
    assert whole.candidates == candidates


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_workers_share_the_same_global_batch(cache: TokenCache, ranks: int) -> None:
    rows = mixed(cache)
    parts = [share(rows, 72, 8, rank, ranks).inputs_BT for rank in range(ranks)]
    assert torch.equal(torch.cat(parts), mixed(cache).batch(72, 8).inputs_BT)


@pytest.mark.parametrize("mixing", [True, False])
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_positions_of_documents_are_those_whose_rows_hold_them(cache: TokenCache, mixing: bool, data) -> None:
    rows = mixed(cache) if mixing else PackedRows(cache, 16, 5)
    end = data.draw(st.integers(0, 120))
    wanted = np.array(sorted(data.draw(st.sets(st.integers(0, 59), max_size=4))), dtype=np.int64)
    expected = [p for p in range(end) if np.isin(rows.batch(p, 1).table_rows, wanted).any()]
    assert rows.positions_of(wanted, end).tolist() == expected


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e9)), min_size=1, max_size=12), st.integers(12, 5000))
def test_a_deal_is_whole_and_close_to_the_weights(weights: list[float], rows: int) -> None:
    if not any(weights):
        with pytest.raises(TrainError, match="weight above zero"):
            deal(weights, rows)
        return
    dealt = deal(weights, rows)
    exact = np.array(weights) * rows / sum(weights)
    assert dealt.sum() == rows
    assert ((dealt > 0) == (exact > 0)).all()
    assert (np.abs(dealt - exact) <= len(weights)).all()


def test_a_stage_with_an_unknown_source_is_refused_with_those_there_are(cache: TokenCache) -> None:
    with pytest.raises(TrainError, match=r"no source 'wiki' to train on; it has: books, code, web"):
        MixedRows(sources(cache), [Stage("a", 0, {"wiki": 1})], 0)


def test_the_papers_five_stages_are_in_the_recipe_of_the_70b() -> None:
    stages = load_recipe("70b")[0].data.stages
    assert [stage.from_tokens for stage in stages] == [0, 5e12, 9e12, 12e12, 13.5e12]
    assert stages[0].weights["fineweb-edu-score-2"] == 4815
    assert [stage.from_tokens for stage in load_recipe("8b")[0].data.stages] == [0, 7e12, 12e12, 13.5e12]


@pytest.mark.parametrize("name", ["8b", "70b"])
def test_the_papers_stages_name_sources_of_the_papers_corpus(name: str) -> None:
    corpus = tomllib.loads((REPOSITORY / "pipeline" / "recipes" / "apertus.toml").read_text())
    for stage in load_recipe(name)[0].data.stages:
        assert stage.weights.keys() <= corpus["source"].keys()


def test_a_recipe_with_stages_trains_on_their_sources_only(cache: TokenCache, recipe_path: Path) -> None:
    stages = '[{name="a", weights={web=3, code=1}}, {name="b", from_tokens=3200, weights={code=1}}]'
    recipe, _ = load_recipe(recipe_path, [f"data.stages={stages}", "data.validation=0.2"])
    training, held_out = split_documents(cache, 0.2)
    rows = training_rows(recipe, cache, training)
    names, numbers = cache.sources
    early, late = rows.batch(0, 100).table_rows, rows.batch(100, 40).table_rows
    assert {names[number] for number in numbers[early]} == {"web", "code"}
    assert {names[number] for number in numbers[late]} == {"code"}
    assert not set(early) & set(held_out)

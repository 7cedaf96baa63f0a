"""From shards to rows: nothing unverified, nothing withdrawn, every target once, and no document in another's way."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")
pytest.importorskip("tokenizers", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.corpus import CorpusError, open_corpus
from tests.train.conftest import invented_documents
from train import data, tokens
from train.data import IGNORED, PackedRows, share
from train.errors import TrainError
from train.goldfish import Goldfish, Variant, keep_mask, reference_keep_mask
from train.shuffle import permute, unpermute
from train.tokenizer import DocumentTokenizer, load_tokenizer, train_tokenizer
from train.tokens import TokenCache, open_cache, read_texts, split_documents

LENGTH = 16


@pytest.fixture(scope="module")
def tokenizer(corpus_path: Path, tmp_path_factory: pytest.TempPathFactory) -> DocumentTokenizer:
    texts = read_texts(open_corpus(corpus_path), 10**9)
    return train_tokenizer(texts, 300, tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def cache(corpus_path: Path, tokenizer: DocumentTokenizer, tmp_path_factory: pytest.TempPathFactory) -> TokenCache:
    return open_cache(open_corpus(corpus_path), tokenizer, tmp_path_factory.mktemp("cache"))


def whole_epoch(rows: PackedRows, epoch: int = 0) -> data.Batch:
    return rows.batch(epoch * rows.epoch_rows, rows.epoch_rows)


def tokens_of(cache: TokenCache, document: int) -> list[int]:
    return cache.tokens[cache.starts[document] : cache.ends[document]].tolist()


def test_cache_holds_each_document_between_its_boundaries(
    cache: TokenCache, tokenizer: DocumentTokenizer, corpus_path: Path
) -> None:
    documents = [*invented_documents(50), *invented_documents(40, seed=1)]
    assert cache.name_documents(np.arange(90)) == [identity for identity, _ in documents]
    for number, (_, text) in enumerate(documents):
        begin, *inside, end = tokens_of(cache, number)
        assert (begin, end) == (tokenizer.begin, tokenizer.end) == (1, 2)
        assert tokenizer.decode(inside) == text


def test_text_that_looks_like_a_boundary_is_text(make_corpus: Callable[..., Path], tokenizer, tmp_path: Path) -> None:
    text = "before </s><s> <pad> after"
    cache = open_cache(open_corpus(make_corpus([("a", text)])), tokenizer, tmp_path / "cache")
    inside = tokens_of(cache, 0)[1:-1]
    assert not {0, 1, 2, 3} & set(inside)
    assert tokenizer.decode(inside) == text


def test_every_target_comes_once_per_epoch_with_its_input(cache: TokenCache) -> None:
    for epoch in (0, 1):
        batch = whole_epoch(PackedRows(cache, LENGTH, seed=5), epoch)
        inputs, targets = batch.inputs_BT.flatten(), batch.targets_BT.flatten()
        seen = targets != IGNORED
        pairs = sorted(zip(inputs[seen].tolist(), targets[seen].tolist(), strict=True))
        expected = []
        for document in range(len(cache.starts)):
            tokens = tokens_of(cache, document)
            expected += itertools.pairwise(tokens)
        assert pairs == sorted(expected)
        assert batch.supervised == len(expected)


def test_rows_hold_whole_runs_of_documents_and_positions_count_them(cache: TokenCache) -> None:
    batch = whole_epoch(PackedRows(cache, LENGTH, seed=5))
    for inputs, documents, positions in zip(
        batch.inputs_BT.tolist(), batch.documents_BT.tolist(), batch.positions_BT.tolist(), strict=True
    ):
        for place in range(LENGTH):
            fresh = place == 0 or documents[place] != documents[place - 1]
            assert positions[place] == (0 if fresh else positions[place - 1] + 1)
            if place and documents[place] != -1:
                assert fresh == (inputs[place] == cache.begin)


def test_a_row_does_not_depend_on_the_batch_around_it(cache: TokenCache) -> None:
    rows = PackedRows(cache, LENGTH, seed=5, goldfish=Goldfish(Variant.DEFAULT, 3, 5))
    together = rows.batch(3, 8)
    fresh = PackedRows(cache, LENGTH, seed=5, goldfish=Goldfish(Variant.DEFAULT, 3, 5))  # as after a restart
    for number in (7, 0, 3):
        alone = fresh.batch(3 + number, 1)
        for name in ("inputs_BT", "targets_BT", "documents_BT", "positions_BT"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[number])


def test_a_batch_over_the_end_of_an_epoch_is_the_end_and_the_next_beginning(cache: TokenCache) -> None:
    rows = PackedRows(cache, LENGTH, seed=5)
    across = rows.batch(rows.epoch_rows - 2, 5)
    parts = [rows.batch(rows.epoch_rows - 2, 2), rows.batch(rows.epoch_rows, 3)]
    assert torch.equal(across.inputs_BT, torch.cat([part.inputs_BT for part in parts]))
    assert across.supervised == sum(part.supervised for part in parts)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_workers_share_the_same_global_batch(cache: TokenCache, ranks: int) -> None:
    rows = PackedRows(cache, LENGTH, seed=5)
    shares = [share(rows, 16, 8, rank, ranks) for rank in range(ranks)]
    assert torch.equal(torch.cat([share.inputs_BT for share in shares]), rows.batch(16, 8).inputs_BT)
    with pytest.raises(TrainError, match="multiple"):
        share(rows, 0, 8, 0, 3)


def test_epochs_and_seeds_have_their_own_order(cache: TokenCache) -> None:
    orders = [
        whole_epoch(PackedRows(cache, LENGTH, seed), epoch).inputs_BT.tolist()
        for seed, epoch in ((5, 0), (5, 1), (6, 0), (5, 0))
    ]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_the_documents_of_a_batch_are_named(cache: TokenCache) -> None:
    rows = PackedRows(cache, LENGTH, seed=5)
    batch = rows.batch(4, 3)
    held = {tuple(tokens_of(cache, document)) for document in batch.table_rows}
    order, _ = rows._order(0)
    inside = {tuple(tokens_of(cache, order[number])) for number in batch.documents_BT.unique().tolist()}
    assert inside <= held
    assert len(held) <= len(inside) + 3  # a row's last target may open a document


@pytest.mark.parametrize(("k", "h"), [(2, 1), (3, 5), (4, 13), (50, 50)])
def test_goldfish_drops_the_same_tokens_in_rows_as_in_whole_documents(cache: TokenCache, k: int, h: int) -> None:
    rows = PackedRows(cache, LENGTH, seed=5, goldfish=Goldfish(Variant.DEFAULT, k, h))
    plain = whole_epoch(PackedRows(cache, LENGTH, seed=5))
    masked = whole_epoch(rows)
    dropped = (plain.targets_BT != IGNORED) & (masked.targets_BT == IGNORED)
    assert masked.dropped == int(dropped.sum()) == plain.supervised - masked.supervised
    expected = []
    for document in range(len(cache.starts)):
        tokens = torch.tensor([tokens_of(cache, document)])
        keep = keep_mask(tokens, k, h, exempt=(cache.begin, cache.end))
        assert keep[0, 0]
        assert keep[0, -1]
        pairs = torch.stack([tokens[0, :-1], tokens[0, 1:]], dim=1)[~keep[0, 1:]]
        expected += pairs.tolist()
    inputs, targets = plain.inputs_BT[dropped].tolist(), plain.targets_BT[dropped].tolist()
    assert sorted(map(list, zip(inputs, targets, strict=True))) == sorted(expected)
    assert expected


def test_reference_goldfish_is_the_published_mask_of_the_row(cache: TokenCache) -> None:
    batch = PackedRows(cache, LENGTH, seed=5, goldfish=Goldfish(Variant.REFERENCE, 3, 4)).batch(2, 6)
    plain = PackedRows(cache, LENGTH, seed=5).batch(2, 6)
    following = torch.cat([plain.inputs_BT[:, 1:], torch.zeros(6, 1, dtype=torch.int64)], dim=1)
    keep = reference_keep_mask(following, 3, 4)[:, :-1]
    expected = torch.where(keep, plain.targets_BT[:, :-1], IGNORED)
    assert torch.equal(batch.targets_BT[:, :-1], expected)


def test_held_out_documents_are_a_share_and_never_trained_on(cache: TokenCache) -> None:
    training, held_out = split_documents(cache, 0.3)
    assert 0.15 < len(held_out) / 90 < 0.45
    assert sorted([*training, *held_out]) == list(range(90))
    touched = whole_epoch(PackedRows(cache, LENGTH, 5, None, training)).table_rows
    assert not set(touched) & set(held_out)
    assert len(split_documents(cache, 0.0)[1]) == 0


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_permutation_meets_every_number_once(size: int, key: int) -> None:
    permuted = permute(np.arange(size), size, key)
    assert sorted(permuted) == list(range(size))
    assert unpermute(permuted, size, key).tolist() == list(range(size))


def test_permutation_reaches_far_and_depends_on_its_key() -> None:
    size = 10**12
    a, b = permute(np.arange(1000), size, 1), permute(np.arange(1000), size, 2)
    assert (a != b).all()
    assert len(set(a.tolist())) == 1000
    assert abs(a.mean() / size - 0.5) < 0.05


def test_a_tampered_shard_is_refused(make_corpus: Callable[..., Path]) -> None:
    path = make_corpus(invented_documents(20))
    corpus = open_corpus(path)
    corpus.verify_shards()
    content = bytearray(corpus.shards[0].path.read_bytes())
    content[len(content) // 2] ^= 1
    corpus.shards[0].path.write_bytes(content)
    with pytest.raises(CorpusError, match=corpus.shards[0].path.name):
        corpus.verify_shards()


def test_a_shard_with_other_rows_than_the_manifest_says_is_refused(
    make_corpus: Callable[..., Path], tokenizer, tmp_path: Path
) -> None:
    corpus = open_corpus(make_corpus(invented_documents(20)))
    corpus.shards[0] = dataclasses.replace(corpus.shards[0], rows=21)
    with pytest.raises(CorpusError, match="20 rows, the manifest vouches for 21"):
        open_cache(corpus, tokenizer, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_no_manifest_names_is_never_read(
    make_corpus: Callable[..., Path], tokenizer, tmp_path: Path
) -> None:
    path = make_corpus([("a", "kept")])
    shard = open_corpus(path).shards[0].path
    shard.with_name("orphan.parquet").write_bytes(shard.read_bytes())
    cache = open_cache(open_corpus(path), tokenizer, tmp_path / "cache")
    assert cache.name_documents(np.arange(len(cache.starts))) == ["a"]


def test_the_next_version_leaves_no_token_of_a_withdrawn_document(
    make_corpus: Callable[..., Path], tokenizer, tmp_path: Path
) -> None:
    documents = invented_documents(20)
    path = make_corpus(documents)
    first = open_cache(open_corpus(path), tokenizer, tmp_path / "cache")
    make_corpus(documents[1:], version=2)
    second = open_cache(open_corpus(path), tokenizer, tmp_path / "cache")
    assert not (first.folder / "tokens.bin").exists()
    assert "doc-0-0" not in second.name_documents(np.arange(19))
    assert len(second.starts) == 19


def test_a_withdrawal_keeps_the_order_of_the_others(
    make_corpus: Callable[..., Path], tokenizer, tmp_path: Path
) -> None:
    documents = invented_documents(30)

    def order(name: str, *shards) -> list[str]:
        cache = open_cache(open_corpus(make_corpus(*shards, name=name)), tokenizer, tmp_path / f"{name}-cache")
        return cache.name_documents(PackedRows(cache, LENGTH, seed=1)._order(0)[0])

    before = order("a", documents)
    assert order("b", documents[15:], documents[:15]) == before  # nor does the layout of shards matter
    del documents[7]
    assert order("c", documents) == [name for name in before if name != "doc-0-7"]


def test_cache_is_built_once_and_opened_after(corpus_path: Path, tokenizer, tmp_path: Path, monkeypatch) -> None:
    corpus = open_corpus(corpus_path)
    built = open_cache(corpus, tokenizer, tmp_path)
    monkeypatch.setattr(tokens, "_read_shard", lambda shard: pytest.fail("tokenized again"))
    opened = open_cache(corpus, tokenizer, tmp_path)
    assert opened.tokens.tolist() == built.tokens.tolist()


def test_a_cache_whose_building_was_cut_off_is_built_again(
    corpus_path: Path, tokenizer, cache: TokenCache, tmp_path: Path
) -> None:
    leftover = tmp_path / f".tmp-1-{cache.folder.name}"
    leftover.mkdir()
    (leftover / "tokens.bin").write_bytes(b"half")
    again = open_cache(open_corpus(corpus_path), tokenizer, tmp_path)
    assert again.tokens.tolist() == cache.tokens.tolist()
    assert not leftover.exists()


def test_a_damaged_cache_is_refused_with_the_remedy(corpus_path: Path, tokenizer, tmp_path: Path) -> None:
    corpus = open_corpus(corpus_path)
    folder = open_cache(corpus, tokenizer, tmp_path).folder
    os.truncate(folder / "tokens.bin", 10)
    with pytest.raises(TrainError, match="delete it"):
        open_cache(corpus, tokenizer, tmp_path)


def test_documents_without_id_are_named_by_their_place(
    make_corpus: Callable[..., Path], tokenizer, tmp_path: Path
) -> None:
    corpus = open_corpus(make_corpus([("a", "one"), (None, "two"), (None, "")]))
    cache = open_cache(corpus, tokenizer, tmp_path / "cache")
    assert cache.name_documents(np.array([0, 1, 2])) == ["a", "shards/v1-0.parquet:1", "shards/v1-0.parquet:2"]


def test_a_small_sample_for_the_tokenizer_is_drawn_from_every_shard(corpus_path: Path) -> None:
    corpus = open_corpus(corpus_path)
    total = sum(shard.text_bytes for shard in corpus.shards)
    texts = [text for _, text in [*invented_documents(50), *invented_documents(40, seed=1)]]
    sample = list(read_texts(corpus, total // 3))
    assert 0.15 * total < sum(len(text.encode()) for text in sample) < 0.55 * total
    places = [texts.index(text) for text in sample]
    assert places == sorted(places)
    assert min(places) < 50 <= max(places)


def test_the_same_texts_train_the_same_tokenizer(corpus_path: Path, tokenizer, tmp_path: Path) -> None:
    again = train_tokenizer(read_texts(open_corpus(corpus_path), 10**9), 300, tmp_path / "t.json")
    assert again.digest == tokenizer.digest
    assert again.vocab_size == 300


@pytest.mark.parametrize("text", ["\x00", "🤷🏽‍♀️ नमस्ते", "  a \r\n\t b  ", "ﬁ e\u0301", "x" * 5000, ""])
def test_tokenizer_gives_back_every_text(tokenizer: DocumentTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text


def test_a_tokenizer_that_cannot_be_used_is_refused_with_the_remedy(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"give the path of a tokenizer\.json"):
        load_tokenizer(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(TrainError, match="not a tokenizers JSON file"):
        load_tokenizer(tmp_path / "bad.json")
    with pytest.raises(TrainError, match="no token '<doc>'"):
        load_tokenizer(tokenizer.path, begin="<doc>")

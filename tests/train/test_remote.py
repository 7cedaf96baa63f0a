"""A corpus behind an address: fetched through its manifest, believed no more than any other."""

from __future__ import annotations

import io
from pathlib import Path

import fsspec
import pytest

pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")
pytest.importorskip("tokenizers", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from rich.console import Console

from manifests.corpus import CorpusError, open_corpus
from tests.train.conftest import invented_documents, write_corpus
from train.errors import TrainError
from train.remote import local_corpus
from train.trainer import train


def upload(folder: Path, address: str) -> None:
    files, root = fsspec.core.url_to_fs(address)
    if files.exists(root):
        files.rm(root, recursive=True)
    for path in folder.rglob("*"):
        if path.is_file():
            files.pipe(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def test_a_run_reads_a_corpus_from_an_address(corpus_path: Path, recipe_path: Path, tmp_path: Path) -> None:
    upload(corpus_path, "memory://bucket/corpus")
    overrides = ["training.steps=13"]
    summaries = [
        train(recipe_path, corpus, tmp_path / name, overrides, console=Console(file=io.StringIO()))
        for name, corpus in (("far", "memory://bucket/corpus"), ("near", corpus_path))
    ]
    assert summaries[0].losses == summaries[1].losses


def test_the_next_version_is_fetched_and_replaced_shards_go(tmp_path: Path) -> None:
    documents = invented_documents(20)
    path = write_corpus(tmp_path / "corpus", [documents])
    upload(path, "memory://bucket/growing")
    copy = local_corpus("memory://bucket/growing", tmp_path / "copy")
    first = open_corpus(copy)
    first.verify_shards()
    write_corpus(path, [documents[1:]], version=2)
    upload(path, "memory://bucket/growing")
    second = open_corpus(local_corpus("memory://bucket/growing/", tmp_path / "copy"))
    assert second.version == 2
    second.verify_shards()
    assert not first.shards[0].path.exists()


def test_what_was_altered_on_the_way_is_refused(recipe_path: Path, corpus_path: Path, tmp_path: Path) -> None:
    upload(corpus_path, "memory://bucket/altered")
    files, root = fsspec.core.url_to_fs("memory://bucket/altered")
    name = open_corpus(corpus_path).shards[0].name
    files.pipe(f"{root}/{name}", files.cat(f"{root}/{name}")[:-1] + b"x")
    with pytest.raises(CorpusError, match="altered"):
        train(recipe_path, "memory://bucket/altered", tmp_path / "out", console=Console(file=io.StringIO()))


def test_an_address_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no published corpus there"):
        local_corpus("memory://bucket/nothing", tmp_path / "copy")
    with pytest.raises(TrainError, match="nosuch://bucket: cannot be read"):
        local_corpus("nosuch://bucket", tmp_path / "copy")

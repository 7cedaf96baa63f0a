"""Inputs from, and copies to, an object store with faults: the same corpus, or a clear failure."""

from __future__ import annotations

import json

import fsspec
import pytest

from manifests.audit import audit
from manifests.corpus import open_corpus
from manifests.schema import CorpusError
from pipeline import push as push_module
from pipeline import retrying
from pipeline.inputs import SourceError
from pipeline.push import PushError, push
from tests.pipeline.crawl import files_of, make_crawl, run, write_parquet
from tests.pipeline.store import faulty_store


@pytest.fixture
def store(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retrying, "WAITS", (0.01, 0.02, 0.02, 0.05, 0.05, 0.05, 0.05))
    with faulty_store() as (address, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        fsspec.filesystem("s3").clear_instance_cache()  # it has another test's address
        filesystem = fsspec.filesystem("s3")
        filesystem.retries = 1
        if filesystem.exists("bucket"):  # moto's memory outlives its server
            filesystem.rm("bucket", recursive=True)
        filesystem.mkdir("bucket")
        yield filesystem, faults
        fsspec.filesystem("s3").clear_instance_cache()


def _upload(filesystem, folder, prefix="bucket/pages"):
    for path in sorted(folder.glob("*.parquet")):
        filesystem.put_file(str(path), f"{prefix}/{path.name}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["throttle", "error", "truncate", "reset"])
def test_inputs_from_a_faulty_store_make_the_same_corpus(tmp_path, store, kind):
    filesystem, faults = store
    recipe = make_crawl(tmp_path)
    calm = run(recipe, tmp_path / "calm").corpus.root
    _upload(filesystem, tmp_path / "pages")
    faults.rates = {kind: 0.25}
    result = None
    for _ in range(4):  # what a run cannot fetch it says, and the next one fetches
        try:
            result = run(recipe, tmp_path / "out", "source.web.path=s3://bucket/pages/*.parquet")
        except SourceError:  # it cannot even be listed
            continue
        assert all("s3://bucket/pages" in outcome.error for outcome in result.failed)
        if result.corpus:
            break
    faults.rates = {}
    assert faults.seen[kind] > 0
    assert result is not None
    assert result.corpus is not None
    assert result.corpus.root == calm


@pytest.mark.slow
def test_a_store_that_always_fails_is_a_failed_task_that_names_the_file(tmp_path, store, monkeypatch):
    filesystem, faults = store
    recipe = make_crawl(tmp_path, files=2)
    _upload(filesystem, tmp_path / "pages")
    monkeypatch.setattr(retrying, "WAITS", (0.01,))

    def from_now_on(jobs, current):
        faults.rates = {"truncate": 1.0}

    result = run(recipe, tmp_path / "out", "source.web.path=s3://bucket/pages/*.parquet", on_start=from_now_on)
    faults.rates = {}
    assert result.corpus is None
    assert [outcome.error.partition(": ")[0] for outcome in result.failed] == [
        "s3://bucket/pages/000.parquet",
        "s3://bucket/pages/001.parquet",
    ]
    assert run(recipe, tmp_path / "out", "source.web.path=s3://bucket/pages/*.parquet").corpus is not None


@pytest.mark.slow
def test_an_object_that_is_replaced_while_it_is_fetched_is_an_error(tmp_path, store, monkeypatch):
    filesystem, _ = store
    recipe = make_crawl(tmp_path, files=1)
    _upload(filesystem, tmp_path / "pages")

    def replaced(jobs, current):
        content = bytearray((tmp_path / "pages" / "000.parquet").read_bytes())
        content[100] ^= 1  # the same size: only the store's own tag tells
        filesystem.pipe_file("bucket/pages/000.parquet", bytes(content))

    monkeypatch.setattr(retrying, "WAITS", ())
    result = run(recipe, tmp_path / "out", "source.web.path=s3://bucket/pages/*.parquet", on_start=replaced)
    assert result.corpus is None
    assert "it changed while it was read" in result.failed[0].error


def _fetch(filesystem, folder):
    filesystem.invalidate_cache()
    filesystem.get("bucket/corpus", str(folder), recursive=True)
    return open_corpus(folder)


@pytest.mark.slow
def test_a_pushed_corpus_is_the_one_that_was_made_through_any_fault(tmp_path, store):
    filesystem, faults = store
    recipe = make_crawl(tmp_path)
    corpus = run(recipe, tmp_path / "out").corpus
    faults.rates = {"throttle": 0.1, "error": 0.1, "reset": 0.05}
    done = push(corpus.path, "s3://bucket/corpus")
    assert len(faults.seen) == 3
    faults.rates = {}
    copy = _fetch(filesystem, tmp_path / "copy")
    assert audit(copy).passed
    assert files_of(tmp_path / "copy") == files_of(corpus.path)
    again = push(corpus.path, "s3://bucket/corpus")
    assert (again.sent, again.present) == (1, done.sent - 1), "only run.json is written anew"


@pytest.mark.slow
def test_a_push_that_dies_anywhere_leaves_the_version_before_in_place(tmp_path, store, monkeypatch):
    filesystem, _ = store
    recipe = make_crawl(tmp_path, files=2)
    first = run(recipe, tmp_path / "out").corpus
    push(first.path, "s3://bucket/corpus")
    write_parquet(tmp_path / "pages" / "000.parquet", [{"text": "Another page.", "id": "x", "url": None}])
    second = run(recipe, tmp_path / "out").corpus
    send = push_module._send
    for count in range(30):
        left = [count]

        def dying(*arguments, left=left):
            if not left[0]:
                raise PushError("dead")
            left[0] -= 1
            send(*arguments)

        monkeypatch.setattr(push_module, "_send", dying)
        try:
            push(second.path, "s3://bucket/corpus")
            break
        except PushError:
            # `curate` removed the first version's shards here, not there: what is published stays readable
            runs = sorted(filesystem.glob("bucket/corpus/manifests/v*/run.json"))
            newest = json.loads(filesystem.cat_file(runs[-1]))
            assert newest["roots"]["corpus"] in (first.root, second.root)
            filesystem.invalidate_cache()
            names = {name.removeprefix("bucket/corpus/") for name in filesystem.find("bucket/corpus")}
            assert {shard["name"] for shard in newest["shards"]} <= names
    copy = _fetch(filesystem, tmp_path / "copy")
    assert copy.root == second.root
    assert audit(copy).passed
    assert {shard.name for shard in copy.shards} == {
        name.removeprefix("bucket/corpus/") for name in filesystem.find("bucket/corpus/shards")
    }


def test_a_damaged_corpus_is_not_pushed(tmp_path):
    corpus = run(make_crawl(tmp_path, files=1), tmp_path / "out").corpus
    shard = corpus.shards[0].path
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CorpusError, match="altered"):
        push(corpus.path, f"memory://{tmp_path.name}/corpus")
    filesystem = fsspec.filesystem("memory")
    assert not filesystem.glob(f"/{tmp_path.name}/corpus/manifests/v*/run.json")


def test_a_place_that_holds_something_else_is_refused(tmp_path):
    corpus = run(make_crawl(tmp_path, files=1), tmp_path / "out").corpus
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file(f"/{tmp_path.name}/thesis.tex", b"two years of work")
    with pytest.raises(PushError, match=r"holds thesis\.tex, so it is not a corpus"):
        push(corpus.path, f"memory://{tmp_path.name}")
    with pytest.raises(PushError, match="not the address of a store"):
        push(corpus.path, str(tmp_path / "elsewhere"))

"""Publish, then say so: what has no record does not exist for a reader, and the same corpus has the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests import publish
from manifests.corpus import open_corpus, published_versions
from manifests.files import DigestingFile, file_sha256, write_json
from manifests.publish import adopt_task, publish_version, published_shards, read_task_record, sweep, working_version
from manifests.schema import FORMAT, CorpusError
from tests.manifests.build import build


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_the_same_documents_give_the_same_bytes_in_another_folder_and_task_order(tmp_path):
    one = build(tmp_path / "one")
    other = build(tmp_path / "another" / "place", tasks={"books-0": "books", "web-0": "web"})
    assert one == other
    assert tree(tmp_path / "one") == tree(tmp_path / "another" / "place")


def test_another_document_gives_another_root(tmp_path):
    assert build(tmp_path / "one") != build(tmp_path / "two", salt="other")


def test_no_record_no_corpus(tmp_path):
    build(tmp_path)
    (tmp_path / "manifests/v0001/run.json").unlink()
    assert published_versions(tmp_path) == []
    assert working_version(tmp_path) == (None, 1)
    assert published_shards(tmp_path) == set()
    with pytest.raises(CorpusError, match="no published corpus here"):
        open_corpus(tmp_path)


@pytest.mark.parametrize("crash_at", range(1, 10))  # two shards, three tables, the record, two rollups, run.json
def test_a_crash_while_publishing_leaves_the_task_invisible_or_whole(crash_at, tmp_path, monkeypatch):
    """The nth rename never happens: then either there is no record, or every file that it names has its digest."""
    renames = 0
    rename = publish.os.replace

    def replace(source, target):
        nonlocal renames
        renames += 1
        if renames == crash_at:
            raise OSError("the machine stopped")
        rename(source, target)

    monkeypatch.setattr("os.replace", replace)
    with pytest.raises(OSError, match="the machine stopped"):
        build(tmp_path, tasks={"web-0": "web"})
    monkeypatch.undo()
    assert published_versions(tmp_path) == []
    record = read_task_record(tmp_path, 1, "web-0")
    if record is not None:
        for table, described in record["tables"].items():
            assert file_sha256(tmp_path / f"manifests/v0001/{table}/web-0.parquet") == described["sha256"]
        for shard in record["shards"]:
            assert file_sha256(tmp_path / shard["name"]) == shard["sha256"]


def test_a_version_that_follows_a_crash_has_the_bytes_of_an_undisturbed_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(publish, "host_table", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(tmp_path / "one")
    build(tmp_path / "one")
    build(tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_sweep_removes_what_no_record_names_and_nothing_else(tmp_path):
    build(tmp_path)
    named = published_shards(tmp_path)
    orphan = tmp_path / "shards/deu_Latn/web-1.0123456789-00000.parquet"
    orphan.parent.mkdir()
    orphan.write_bytes(b"excluded text")
    stranger = tmp_path / "shards/notes.parquet"
    stranger.write_bytes(b"somebody's own")
    assert sweep(tmp_path, named) == ["shards/deu_Latn/web-1.0123456789-00000.parquet"]
    assert not orphan.parent.exists()
    assert stranger.exists()
    open_corpus(tmp_path).verify_shards()


def test_an_adopted_task_keeps_its_bytes_and_the_root(tmp_path):
    root = build(tmp_path)
    for task in ("books-0", "web-0"):
        adopt_task(tmp_path, 1, 2, task)
    run = open_corpus(tmp_path).run
    assert publish_version(tmp_path, 2, 1, ["web-0", "books-0"], {"recipe": run["recipe"]}) == root
    corpus = open_corpus(tmp_path)
    assert (corpus.version, corpus.run["parent"]) == (2, 1)
    corpus.verify_manifest()
    assert open_corpus(tmp_path, 1).root == corpus.root


def test_opening_says_which_versions_there_are(tmp_path):
    build(tmp_path)
    with pytest.raises(CorpusError, match="no version 7; published: 1"):
        open_corpus(tmp_path, 7)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1}'])
def test_a_broken_run_record_is_an_error_with_a_remedy(content, tmp_path):
    build(tmp_path)
    (tmp_path / "manifests/v0001/run.json").write_text(content)
    with pytest.raises(CorpusError, match=r"run\.json: not a run record .* curate again"):
        open_corpus(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    build(tmp_path)
    path = tmp_path / "manifests/v0001/run.json"
    run = json.loads(path.read_bytes())
    path.write_text(json.dumps({**run, "format": FORMAT + 1}))
    with pytest.raises(CorpusError, match="upgrade fairtrove"):
        open_corpus(tmp_path)


def test_verification_names_the_altered_file(tmp_path):
    build(tmp_path)
    shard = tmp_path / "shards/web-0-000.parquet"
    shard.write_bytes(shard.read_bytes() + b"\0")
    with pytest.raises(CorpusError, match=r"web-0-000\.parquet: its SHA-256 is .* altered"):
        open_corpus(tmp_path).verify_shards()
    table = tmp_path / "manifests/v0001/kept/web-0.parquet"
    table.unlink()
    with pytest.raises(CorpusError, match=r"kept/web-0\.parquet: .* the manifest vouches for it"):
        open_corpus(tmp_path).verify_manifest()


def test_a_digesting_file_knows_the_digest_of_its_bytes(tmp_path):
    file = DigestingFile(tmp_path / "file")
    file.write(b"one")
    file.write(memoryview(b"two"))
    file.close()
    assert file.sha256 == file_sha256(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"onetwo"
    assert file.bytes == 6


def test_json_is_canonical_and_leaves_no_temporary_file(tmp_path):
    one = write_json({"b": 1, "a": "ü"}, tmp_path / "x.json")
    other = write_json({"a": "ü", "b": 1}, tmp_path / "y.json")
    assert one == other == file_sha256(tmp_path / "x.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "y.json"]

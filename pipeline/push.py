"""Copying a corpus to an object store, so that a reader there sees a whole version or none.

An object store has no rename: what makes a version appear is its `run.json`, as on a disk, and it is written last,
after everything it names is there with the size and the digest that it says. Names do not change their content (a
shard's name ends with a digest of what made it, a version's tables are written once), so an interrupted push goes on
where it was, and a version in place stays whole until the next one has taken its place; only then its superseded
shards go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fsspec

from manifests.corpus import open_corpus, published_versions, verify_file, version_folder
from manifests.publish import TABLES, kept_versions
from manifests.schema import FairtroveError
from pipeline.retrying import retried


class PushError(FairtroveError):
    """A corpus cannot be copied as it is, or not to this place."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: files and bytes sent, files that were there, superseded shards removed."""

    sent: int
    bytes: int
    present: int
    removed: int


OnFile = Callable[[str, int], None]
"""Called with each file's name and size once it is in place."""


def push(corpus: Path, target: str, on_file: OnFile | None = None) -> Pushed:
    """Bring `target` to what the newest version of `corpus` is.

    Args:
        target: fsspec URL of a folder, as `s3://bucket/corpus`; empty, or pushed to before.

    Raises:
        CorpusError: a file differs from what the manifest vouches for.
        PushError: the store does not take a file after five attempts. Readers there see no change in either case.
    """
    found = open_corpus(corpus)
    filesystem, root = _reached(target)
    listed = _naming(target, lambda: retried(lambda: filesystem.find(root, detail=True)))
    present = {name[len(root) :].lstrip("/"): int(info.get("size") or 0) for name, info in listed.items()}
    _expect_ours(target, present)
    sent = sent_bytes = there = 0
    for name, digest, replaced in _files(found.path):
        source = found.path / name
        size = source.stat().st_size
        if not replaced and present.get(name) == size:
            there += 1
        else:
            if digest is not None:
                verify_file(source, digest)
            _naming(f"{target}/{name}", partial(retried, partial(_send, source, filesystem, f"{root}/{name}")))
            sent, sent_bytes = sent + 1, sent_bytes + size
        if on_file:
            on_file(name, size)
    kept = {name for name, _, _ in _files(found.path)}
    superseded = [name for name in present if name.startswith("shards/") and name not in kept]
    for name in superseded:
        _naming(f"{target}/{name}", partial(retried, partial(filesystem.rm_file, f"{root}/{name}")))
    return Pushed(sent, sent_bytes, there, len(superseded))


def _files(corpus: Path) -> Iterator[tuple[str, str | None, bool]]:
    """Name, digest where the manifest has one, and whether it may replace another, in the order of copying: what a
    version names before its `run.json`."""
    for version in kept_versions(corpus):
        for shard in open_corpus(corpus, version).shards:
            yield shard.name, shard.sha256, False
    for version in published_versions(corpus):
        folder = version_folder(corpus, version).relative_to(corpus).as_posix()
        found = open_corpus(corpus, version)
        for record in found.tasks:
            for table in TABLES:
                yield f"{folder}/{table}/{record['name']}.parquet", record["tables"][table]["sha256"], False
        for task in found.run["tasks"]:
            yield f"{folder}/tasks/{task['name']}.json", task["sha256"], False
        for table, described in found.run["tables"].items():
            yield f"{folder}/{table}.parquet", described["sha256"], False
        yield f"{folder}/run.json", None, True
    if (corpus / "report" / "index.html").is_file():
        yield "report/index.html", None, True


def _reached(target: str) -> tuple[Any, str]:
    if "://" not in target:
        raise PushError(f"{target}: not the address of a store, such as s3://bucket/corpus; copy with your own tools")
    try:
        filesystem, root = fsspec.core.url_to_fs(target.rstrip("/"))
    except (ImportError, ValueError) as error:
        raise PushError(f"{target}: {error}") from error
    return filesystem, root


def _expect_ours(target: str, present: dict[str, int]) -> None:
    strange = [name for name in present if not name.startswith(("shards/", "manifests/", "report/"))]
    if strange:
        raise PushError(f"{target}: holds {strange[0]}, so it is not a corpus; give an empty folder of its own")


def _send(source: Path, filesystem: Any, path: str) -> None:
    """One file whole under its name: a store shows an object only when its last byte is there."""
    with open(source, "rb") as file, filesystem.open(path, "wb") as out:
        while block := file.read(1 << 23):
            out.write(block)
    filesystem.invalidate_cache()
    there = int(filesystem.info(path)["size"])
    if there != source.stat().st_size:
        raise OSError(f"{there} bytes arrived of {source.stat().st_size}")


def _naming(place: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (PushError, MemoryError):
        raise
    except Exception as error:  # each file system has its own kinds
        said = getattr(error, "strerror", None) or str(error).strip().split("\n")[0] or type(error).__name__
        raise PushError(f"{place}: {said}; run the same command again") from error

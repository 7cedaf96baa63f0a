"""Reading a corpus through its manifest: never by listing folders.

A corpus is the newest `manifests/vNNNN/run.json`; what that file does not name does not exist for a reader, so the
orphans of a crash and the next version in the making are invisible.

    corpus = open_corpus("out/sample")
    corpus.verify_shards()
    for shard in corpus.shards: ...
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from manifests.files import file_sha256
from manifests.schema import FORMAT, CorpusError


@dataclass(frozen=True, slots=True)
class Shard:
    """One published Parquet file of text.

    Attributes:
        path: absolute.
        name: relative to the corpus, as the manifest has it.
        sha256: of its bytes, hexadecimal.
        rows: documents in it.
        text_bytes: UTF-8 bytes of their texts.
        language: label of its partition, None when the corpus is not partitioned.
        task: the task that wrote it.
    """

    path: Path
    name: str
    sha256: str
    rows: int
    text_bytes: int
    language: str | None
    task: str


@dataclass(frozen=True)
class Corpus:
    """One version of a corpus, as its `run.json` describes it."""

    path: Path
    version: int
    run: dict[str, Any]

    @property
    def root(self) -> str:
        """Merkle root over keys, decisions, evidence and text digests, hexadecimal."""
        return self.run["roots"]["corpus"]

    @property
    def manifest(self) -> Path:
        """Folder of this version's tables."""
        return version_folder(self.path, self.version)

    @cached_property
    def shards(self) -> list[Shard]:
        """All shards, by task and number."""
        return [
            Shard(
                path=self.path / shard["name"],
                name=shard["name"],
                sha256=shard["sha256"],
                rows=shard["rows"],
                text_bytes=shard["text_bytes"],
                language=shard["language"],
                task=shard["task"],
            )
            for shard in self.run["shards"]
        ]

    @cached_property
    def tasks(self) -> list[dict[str, Any]]:
        """Each task's own record, `tasks/<task>.json`, in the order of `run.json`.

        Raises:
            CorpusError: a record is missing or is not the one that `run.json` vouches for.
        """
        records = []
        for task in self.run["tasks"]:
            path = self.manifest / "tasks" / f"{task['name']}.json"
            verify_file(path, task["sha256"])
            records.append(json.loads(path.read_bytes()))
        return records

    def tables(self, name: str) -> list[str]:
        """Paths of every file of a table: `decisions`, `evidence`, `kept` (one per task), `counts` or `hosts`.

        A version made by a retraction also has `tombstones` and `returned`; any other has no file of these.
        """
        if name in ("tombstones", "returned") and name not in self.run["tables"]:
            return []
        if name in ("counts", "hosts", "tombstones", "returned"):
            return [str(self.manifest / f"{name}.parquet")]
        return [str(self.manifest / name / f"{task['name']}.parquet") for task in self.run["tasks"]]

    def verify_shards(self) -> None:
        """Compare every shard with its digest.

        Raises:
            CorpusError: names the first file that is missing or differs.
        """
        for shard in self.shards:
            verify_file(shard.path, shard.sha256)

    def verify_manifest(self) -> None:
        """Compare every table and task record with its digest.

        Raises:
            CorpusError: names the first file that is missing or differs.
        """
        for task in self.tasks:
            for table, described in task["tables"].items():
                verify_file(self.manifest / table / f"{task['name']}.parquet", described["sha256"])
        for table, described in self.run["tables"].items():
            verify_file(self.manifest / f"{table}.parquet", described["sha256"])


def open_corpus(path: str | Path, version: int | None = None) -> Corpus:
    """Open the newest published version of a corpus, or a given one.

    Raises:
        CorpusError: there is none, it is unreadable, or it is of a newer format.
    """
    path = Path(path).resolve()
    published = published_versions(path)
    if not published:
        raise CorpusError(f"{path}: no published corpus here (no manifests/v*/run.json); run `fairtrove curate` first")
    version = published[-1] if version is None else version
    if version not in published:
        raise CorpusError(f"{path}: no version {version}; published: {', '.join(map(str, published))}")
    file = version_folder(path, version) / "run.json"
    try:
        run = json.loads(file.read_bytes())
        found = run["format"]
        run["roots"]["corpus"], run["tasks"], run["shards"], run["tables"]
        if not isinstance(found, int):
            raise ValueError(f"format {found!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{file}: not a run record ({error!r}); restore it or curate again") from error
    if found > FORMAT:
        raise CorpusError(f"{file}: format {found} is newer than this fairtrove reads ({FORMAT}); upgrade fairtrove")
    return Corpus(path, version, run)


def published_versions(path: Path) -> list[int]:
    """Numbers of the versions that have a `run.json`, ascending."""
    numbers = []
    for file in (path / "manifests").glob("v[0-9][0-9][0-9][0-9]*/run.json"):
        digits = file.parent.name[1:]
        if digits.isdigit():
            numbers.append(int(digits))
    return sorted(numbers)


def version_folder(path: Path, version: int) -> Path:
    """`manifests/v0001` and so on."""
    return path / "manifests" / f"v{version:04d}"


def verify_file(path: Path, sha256: str) -> None:
    """Compare a file with its digest in the manifest.

    Raises:
        CorpusError: it is missing or differs.
    """
    try:
        found = file_sha256(path)
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}; the manifest vouches for it") from error
    if found != sha256:
        raise CorpusError(f"{path}: its SHA-256 is {found[:16]}…, the manifest vouches for {sha256[:16]}…: altered")

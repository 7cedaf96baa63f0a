"""Inputs: which files a source names, and their bytes on this machine.

Remote files are copied to a local temporary file first, digested on the way. So a network fault is an error of the
task, after five attempts, and never looks like a damaged row; the digest in the manifest is of the very bytes that were
read; and a file that changes in the meantime is an error, never a mixture.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from manifests.schema import FairtroveError
from pipeline.recipe import RecipeError, Source
from pipeline.retrying import Result, retried

SUFFIXES = {
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".ndjson"),
    "warc": (".warc", ".warc.gz"),
}
_GLOB = re.compile(r"[*?\[]")


class SourceError(FairtroveError):
    """An input file cannot be read; the message names the file."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file, and so one task.

    Attributes:
        source: name of the recipe's source.
        location: fsspec URL or local path.
        name: path relative to the source's folder; with the source's name it makes the task's name.
        bytes: size as listed.
        version: what the file system offers to tell that the file changed (mtime or etag); never recorded.
    """

    source: str
    location: str
    name: str
    bytes: int
    version: str

    @property
    def task(self) -> str:
        """Name of the task: readable, safe as a file name, the same wherever the folder lies."""
        stem = self.name
        for suffix in (suffix for suffixes in SUFFIXES.values() for suffix in suffixes):
            stem = stem.removesuffix(suffix)
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", stem.replace("/", "__"))[:100].lstrip(".")
        plain = safe == stem.replace("/", "__") and "__" not in stem
        return f"{self.source}-{safe}" + ("" if plain else f"-{sha256(self.name.encode()).hexdigest()[:8]}")


def list_files(name: str, source: Source) -> list[InputFile]:
    """The input files of a source, sorted by name.

    Raises:
        RecipeError: a path matches nothing, or two files would share one task name.
        SourceError: the file system cannot be reached.
    """
    files = [file for path in source.paths for file in _list_path(name, source, path)]
    by_task: dict[str, InputFile] = {}
    for file in files:
        other = by_task.setdefault(file.task, file)
        if other is not file:
            raise RecipeError(
                f"source.{name}.path: {other.location} and {file.location} would both be task {file.task}; "
                "rename one, or make them two sources"
            )
    return sorted(files, key=lambda file: file.name)


def _list_path(name: str, source: Source, path: str) -> Iterator[InputFile]:
    try:
        filesystem, root = fsspec.core.url_to_fs(path)
        glob = _GLOB.search(root)
        found = {
            location: (int(info.get("size") or 0), _version(info))
            for location, info in _found(filesystem, root, glob is not None)
            if info.get("type") == "file"
        }
    except (ImportError, ValueError) as error:
        raise RecipeError(f"source.{name}.path: {path}: {error}") from error
    except Exception as error:
        raise SourceError(f"source.{name}.path: {path}: cannot be listed: {type(error).__name__}: {error}") from error
    folder = root.rstrip("/")
    base = root[: glob.start()].rpartition("/")[0] if glob else root.rpartition("/")[0] if folder in found else folder
    whole = len(found) == 1 and base != folder  # a file that is named alone may end as it likes
    suffixes = SUFFIXES[source.reader] if source.reader else tuple(sum(SUFFIXES.values(), ()))
    matched = 0
    for location, (size, version) in sorted(found.items()):
        if not (whole or location.endswith(suffixes)):
            continue
        matched += 1
        yield InputFile(
            source=name,
            location=filesystem.unstrip_protocol(location) if "://" in path else location,
            name=location[len(base) :].lstrip("/"),
            bytes=size,
            version=version,
        )
    if not matched:
        raise RecipeError(f"source.{name}.path: no file at {path} ({', '.join(suffixes)}); check it, or give --set")


def _found(filesystem: Any, root: str, glob: bool) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Places and what is said of them; of a local folder one by one, since of a million files that is a gigabyte."""
    if glob:
        return filesystem.glob(root, detail=True).items()
    if isinstance(filesystem, LocalFileSystem) and filesystem.isdir(root):
        return ((info["name"], info) for _, _, files in filesystem.walk(root, detail=True) for info in files.values())
    return filesystem.find(root, detail=True).items()


@dataclass(frozen=True, slots=True)
class LocalFile:
    """The bytes of an input file on this machine, and their digest."""

    path: Path
    bytes: int
    sha256: str


@contextlib.contextmanager
def localized(file: InputFile, staging: Path) -> Iterator[LocalFile]:
    """The file on a local disk, digested; a remote one is copied into `staging` and removed afterwards.

    Raises:
        SourceError: it cannot be opened or read to its end, or it changed in the meantime.
    """
    if "://" in file.location:
        copy = staging / "input"
        try:
            yield _naming(file, lambda: retried(lambda: _fetched(file, copy)))
        finally:
            copy.unlink(missing_ok=True)
        return
    path = Path(file.location)
    before = _naming(file, lambda: _state(path))
    size, digest = _naming(file, lambda: _digested(file, None))
    _expect_whole(file, size)
    yield LocalFile(path, size, digest)
    if _naming(file, lambda: _state(path)) != before:
        raise SourceError(f"{file.location}: cannot be read: it changed while it was read")


def _state(path: Path) -> tuple[int, ...]:
    """What changes with a file, the time of its last change among it, which no program can set back."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _fetched(file: InputFile, copy: Path) -> LocalFile:
    with open(copy, "wb") as target:
        size, digest = _digested(file, target)
    _expect_whole(file, size)
    filesystem, path = fsspec.core.url_to_fs(file.location)
    filesystem.invalidate_cache()
    if _version(filesystem.info(path)) != file.version:
        raise SourceError(f"{file.location}: cannot be read: it changed while it was read")
    return LocalFile(copy, size, digest)


def _digested(file: InputFile, target: BinaryIO | None) -> tuple[int, str]:
    digest = sha256()
    size = 0
    with fsspec.open(file.location, "rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
            size += len(block)
            if target:
                target.write(block)
    return size, digest.hexdigest()


def _expect_whole(file: InputFile, size: int) -> None:
    if file.bytes and size != file.bytes:
        raise SourceError(
            f"{file.location}: cannot be read: {size} bytes came of {file.bytes}: it is being written, or the "
            "transfer broke off"
        )


def _naming(file: InputFile, read: Callable[[], Result]) -> Result:
    """What `read` returns; whatever the file system raises names the file."""
    try:
        return read()
    except (MemoryError, SourceError):
        raise
    except Exception as error:  # each file system has its own kinds
        said = getattr(error, "strerror", None) or first_line(error)
        raise SourceError(f"{file.location}: cannot be read: {said}") from error


def _version(info: Mapping[str, Any]) -> str:
    return str(info.get("mtime") or info.get("ETag") or info.get("blob_id") or info.get("LastModified"))


def expect_damage(error: BaseException, location: str) -> None:
    """Let pass what is wrong with the bytes; a fault of the machine must not look like it, and fails the task."""
    if isinstance(error, MemoryError):  # Arrow's is one too
        raise error
    if isinstance(error, OSError) and error.errno is not None:
        raise SourceError(f"{location}: cannot be read: {error.strerror or error}") from error


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__

"""The folder of a corpus: one writer at a time, and no trace of what was begun and not finished."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from manifests.corpus import published_versions, version_folder
from manifests.publish import TABLES, published_shards, sweep, task_record_path
from manifests.schema import FairtroveError

MARK = b"fairtrove corpus\n"
"""Content of `.lock`, by which a folder is known as ours."""


class RunError(FairtroveError):
    """A run cannot start, or some of its tasks failed."""


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """One run at a time on a folder; the lock goes with the process, however it ends."""
    if any(character in str(out) for character in "*?["):
        raise RunError(
            f"{out}: the path holds a glob character (* ? [), which duckdb would expand; choose another --out"
        )
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: not a folder; choose another --out")
    if out.is_dir() and not _is_ours(out):
        raise RunError(f"{out}: not empty and not a fairtrove corpus; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        os.pwrite(descriptor, MARK, 0)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RunError(f"{out}: another run is writing here; wait for it, or choose another --out") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _is_ours(out: Path) -> bool:
    """Whether a folder is empty but for a lock, or carries our mark: nothing is ever removed from any other."""
    if not {path.name for path in out.iterdir()} - {".lock"}:
        return True
    try:
        return (out / ".lock").read_bytes().startswith(MARK) or bool(published_versions(out))
    except OSError:
        return False


def clean_version(out: Path, version: int, current: Sequence[str]) -> None:
    """Remove what an interrupted or outdated run left: records and tables that are not current, unreferenced shards."""
    folder = version_folder(out, version)
    wanted = {f"tasks/{task}.json" for task in current}
    wanted |= {f"{table}/{task}.parquet" for table in TABLES for task in current}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    records = [json.loads(task_record_path(out, version, task).read_bytes()) for task in current]
    vouched = {shard["name"] for record in records for shard in record["shards"]}
    sweep(out, vouched | published_shards(out))

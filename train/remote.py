"""A corpus behind any fsspec address (`s3://…`, `hf://…`, `gs://…`), as a local folder that is checked like any other.

Files are fetched through the manifest: the run records and tables of every version, and the shards that the newest one
names. What is already here is not fetched again, and nothing is believed because it was fetched: the trainer audits the
copy. Shards of versions that were replaced are deleted from the copy, so that nothing withdrawn stays in it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec

from manifests.corpus import CorpusError, open_corpus
from train.errors import TrainError
from train.publish import TEMPORARY, remove_leftovers


def local_corpus(corpus: str | Path, folder: Path) -> Path:
    """The corpus itself if it is local, else its copy in `folder`, brought up to date.

    Raises:
        TrainError: the address cannot be read.
        CorpusError: there is no published corpus there.
    """
    if "://" not in str(corpus):
        return Path(corpus)
    address = str(corpus).rstrip("/")
    try:
        files, root = fsspec.core.url_to_fs(address)
        _mirror(files, root, address, folder)
    except CorpusError:
        raise
    except Exception as error:  # each file system has its own errors
        said = str(error).splitlines()[0] if str(error) else ""
        raise TrainError(
            f"{address}: cannot be read ({type(error).__name__}: {said}); check address and access"
        ) from error
    return folder


def _mirror(files: fsspec.AbstractFileSystem, root: str, address: str, folder: Path) -> None:
    there = {path[len(root) :].lstrip("/"): path for path in files.find(f"{root}/manifests")}
    if not any(name.endswith("/run.json") for name in there):
        raise CorpusError(f"{address}: no published corpus there (no manifests/v*/run.json)")
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    # run.json last: a version exists once it is here
    for name in sorted(there, key=lambda name: name.endswith("/run.json")):
        _fetch(files, there[name], folder / name)
    shards = {shard.name for shard in open_corpus(folder).shards}
    for name in sorted(shards):
        _fetch(files, f"{root}/{name}", folder / name)
    for path in (folder / "shards").rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in shards:
            path.unlink()


def _fetch(files: fsspec.AbstractFileSystem, source: str, target: Path) -> None:
    """Fetch a file that is not here: published files never change under a name."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{TEMPORARY}{target.name}")
    with files.open(source, "rb") as far, draft.open("wb") as near:
        shutil.copyfileobj(far, near, 1 << 20)
    draft.replace(target)

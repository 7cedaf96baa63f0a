"""Publish, then say so: a file or folder gets its final name only when every byte of it is on the disk.

Readers never look at a name that starts with `.tmp-`, so a run killed at any moment leaves either the whole thing or
nothing. What a killed run left behind is removed by the next one with `remove_leftovers`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"
"""How the names begin of what is not whole yet."""


@contextmanager
def publish_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on a clean exit its files are synced and it is renamed to `folder`.

    `folder` must not exist: a published folder is never written again.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.parent / f"{TEMPORARY}{os.getpid()}-{folder.name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        for path in sorted(draft.rglob("*"), reverse=True):
            _sync(path)
        _sync(draft)
        draft.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def publish_text(path: Path, text: str) -> None:
    """Write a whole text file, replacing an older one in a single step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name}"
    draft.write_text(text, encoding="utf-8")
    _sync(draft)
    draft.replace(path)
    _sync(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files and folders that a killed run left in `folder`."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

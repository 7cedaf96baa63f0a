"""Which code decided: part of every task's fingerprint, and recorded with every version of a corpus.

In a module of its own because a retraction records it and needs none of the stages, whose libraries take longer to
import (1.6 CPU seconds) than a small retraction takes.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import filters
import manifests
import pipeline


@lru_cache
def code_version() -> str:
    """Version of the distribution and digest of the source text that decides: changed code re-runs tasks."""
    digest = sha256()
    for package, names in DECIDES.items():
        folder = Path(package.__file__ or "").parent
        for file in sorted(folder.glob("*.py")):
            if file.stem in names or (not names and file.stem not in MEASURES):
                digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return f"{version('fairtrove')}+{digest.hexdigest()[:12]}"


DECIDES: dict[ModuleType, frozenset[str]] = {
    filters: frozenset(),
    manifests: frozenset({"files", "ledger", "merkle", "publish", "schema", "trail"}),
    pipeline: frozenset(
        {
            "addresses",
            "alarm",
            "inputs",
            "intake",
            "read_jsonl",
            "read_parquet",
            "read_warc",
            "readers",
            "retrying",
            "rows",
            "shards",
            "stages",
            "stock",
            "task",
        }
    ),
}
"""Modules whose text decides what a task writes; none named: the whole package, but for what only measures. A test
holds the list against what a task imports."""
MEASURES = frozenset({"encoder_heads", "language_card", "pii_card", "toxicity_card"})

"""A small corpus on disk, made of invented text, and a recipe that trains on it in seconds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from filters.decision import Action, Decision
from manifests.files import write_table
from manifests.ledger import Entry, Ledger, document_key
from manifests.publish import publish_task, publish_version
from manifests.schema import SHARD

Documents = Sequence[tuple[str | None, str]]

SMALL_RECIPE = """
[tokenizer]
vocab_size = 300
[data]
length = 32
[goldfish]
k = 4
h = 5
[model]
layers = 2
dim = 32
ffn = 64
heads = 4
kv_heads = 2
init_std = 0.05
[optimizer]
learning_rate = 3e-3
beta3 = 0.99
alpha = 2.0
slow_warmup = 20
clip = 1.0
[schedule]
warmup = 3
cooldown = 10
[training]
steps = 40
rows = 4
threads = 1
device = "cpu"
[checkpoint]
every = 5
"""


def write_corpus(path: Path, shards: Sequence[Documents], version: int = 1, sources: Sequence[str] = ()) -> Path:
    """Publish shards of (id, text) pairs, each as a task that keeps all it read; what an audit would pass."""
    names = [f"task-{number}" for number in range(len(shards))]
    staging = path / ".staging"
    staging.mkdir(parents=True)
    for number, (task, documents) in enumerate(zip(names, shards, strict=True)):
        source = sources[number] if sources else "test"
        ledger = Ledger(task, ("intake",))
        entries = [
            Entry(row, document_key(identity, task, row), None, None, len(text.encode()))
            for row, (identity, text) in enumerate(documents)
        ]
        ledger.record("intake", entries, [Decision(Action.KEEP, "read")] * len(entries), [None] * len(entries))
        name, described, staged = f"shards/v{version}-{number}.parquet", [], {}
        if documents:
            rows = [{"id": i, "text": text, "source": source, "kind": "web"} for i, text in documents]
            temporary = staging / f"{number}.parquet"
            table = pa.Table.from_pylist(rows, schema=SHARD)
            text_bytes = sum(len(text.encode()) for _, text in documents)
            written = write_table(table, temporary, {"fairtrove.task": task})
            described = [{"name": name, **written, "text_bytes": text_bytes, "language": None}]
            staged = {temporary: name}
        for row, (_, text) in enumerate(documents):
            content = text.encode()
            ledger.keep(entries[row], name, row, hashlib.sha256(content).digest()[:16], len(content), None, None)
        record = {"name": task, "source": source, "kind": "web", "input": {"name": task}, "stages": ["intake"]}
        publish_task(path, version, ledger.close(len(documents)), described, staged, staging, record)
    staging.rmdir()
    run = {"recipe": {"name": "test", "digest": "ab" * 32, "policy": {}}, "pins": {}, "code": "test"}
    publish_version(path, version, version - 1 or None, names, {**run, "keeps_parent": True})
    return path


def invented_documents(count: int, seed: int = 0) -> list[tuple[str | None, str]]:
    """Documents of 0 to 60 words from a small invented vocabulary: text with something to learn in it."""
    draw = random.Random(seed)
    words = ["fair", "trove", "korpus", "wörter", "zählen", "данные", "言葉", "open", "model", "shard", "\n"]
    return [(f"doc-{seed}-{number}", " ".join(draw.choices(words, k=draw.randint(0, 60)))) for number in range(count)]


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Path]:
    """Writes shards of (id, text) pairs as a corpus; each call with another name is another corpus."""

    def make(*shards: Documents, name: str = "corpus", version: int = 1) -> Path:
        return write_corpus(tmp_path / name, shards, version)

    return make


@pytest.fixture(scope="session")
def corpus_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards, 90 documents. Read-only: tests that alter a corpus make their own."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), [invented_documents(50), invented_documents(40, seed=1)])


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    """`SMALL_RECIPE` as a file."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL_RECIPE)
    return path

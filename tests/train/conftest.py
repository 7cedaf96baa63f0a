"""A small corpus on disk, made of invented text, and a recipe that trains on it in seconds."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.schema import FORMAT, SHARD

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


def write_corpus(path: Path, shards: Sequence[Documents], version: int = 1) -> Path:
    """Publish shards of (id, text) pairs with a `run.json` that vouches for them; the root follows the content."""
    (path / "shards").mkdir(parents=True, exist_ok=True)
    described = []
    for number, documents in enumerate(shards):
        name = f"shards/v{version}-{number}.parquet"
        rows = [{"id": i, "text": text, "source": "test", "kind": "web"} for i, text in documents]
        pq.write_table(pa.Table.from_pylist(rows, schema=SHARD), path / name, row_group_size=7)
        described.append(
            {
                "name": name,
                "sha256": hashlib.sha256((path / name).read_bytes()).hexdigest(),
                "rows": len(rows),
                "text_bytes": sum(len(text.encode()) for _, text in documents),
                "language": None,
                "task": f"task-{number}",
            }
        )
    root = hashlib.sha256(json.dumps(described).encode()).hexdigest()
    run = {"format": FORMAT, "version": version, "roots": {"corpus": root}, "tasks": [], "shards": described}
    file = path / "manifests" / f"v{version:04d}" / "run.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({**run, "tables": {}}))
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

"""A fastText toxicity classifier that costs what such models cost; a stand-in for the paper's XLM-R heads.

Trained once, with a fixed seed and one thread, on `toxicity/train.parquet` of the development data, into the user's
cache folder (dim 100, word bigrams, half a million buckets: about 300 MB, in the range of published toxicity models of
this kind). Only its cost enters the bench. Without the development data it is trained on generated words: the same
dimensions and buckets, fewer words.

    python -m tests.bench.toxicity_standin        # prints the model's path
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.bench.generated_corpus import labelled_sentences
from tests.bench.inputs import cache_folder, shared_folder

SETTINGS = {
    "dim": 100,
    "wordNgrams": 2,
    "bucket": 500_000,
    "minCount": 2,
    "epoch": 5,
    "lr": 0.25,
    "loss": "softmax",
    "thread": 1,  # with more, the result depends on their race; see also `train`
    "seed": 7,
}


def toxicity_standin(cache: Path | None = None) -> Path:
    """Path of the model; trained first if the cache folder has none for this data and these settings."""
    data = shared_folder() / "toxicity" / "train.parquet"
    origin = f"{data.name} {data.stat().st_size}" if data.exists() else "generated"
    digest = hashlib.sha256(f"{origin} {sorted(SETTINGS.items())}".encode()).hexdigest()[:16]
    model = (cache or cache_folder()) / f"toxicity-{digest}.bin"
    if not model.exists():
        train(_shared_sentences(data) if data.exists() else labelled_sentences(20_000), model)
    return model


def train(sentences: Iterable[tuple[str, bool]], model: Path, **settings: float | str) -> None:
    """Train on (sentence, toxic?) pairs and publish the model under its final name once it is whole.

    fastText 0.9.3 fills one tenth of the input matrix with random numbers per thread and leaves the others as the
    allocator handed them out. A matrix over 32 MB comes as fresh zeros, and the result is the same every time; a
    smaller one may hold what was freed before, up to NaN. So keep (words + bucket) * dim above 8.4 million.
    """
    import fasttext

    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        lines = Path(folder) / "lines.txt"
        with lines.open("w", encoding="utf-8") as file:
            for sentence, toxic in sentences:
                label = "toxic" if toxic else "clean"
                file.write(f"__label__{label} {' '.join(sentence.split())}\n")
        trained = fasttext.train_supervised(str(lines), verbose=0, **{**SETTINGS, **settings})
        whole = Path(folder) / model.name
        trained.save_model(str(whole))
        whole.replace(model)


def _shared_sentences(data: Path) -> Iterable[tuple[str, bool]]:
    import pyarrow.parquet as pq

    table = pq.read_table(data, columns=["text", "label"])
    return zip(table["text"].to_pylist(), (label == 1 for label in table["label"].to_pylist()), strict=True)


if __name__ == "__main__":
    print(toxicity_standin())

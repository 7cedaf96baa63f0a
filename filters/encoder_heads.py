"""Training of the two-layer heads: frozen encoder, mean pooling, one small classifier per language.

The recipe is the published one (arXiv 2509.14233, section 3.1.3): Linear-ReLU-Dropout(0.2)-Linear on the mean of the
last hidden states, negatives drawn to 50/50, AdamW at 3e-4 with 200 warm-up steps, batches of 64, 6 epochs, 10% of the
texts held out. Three faults of the published training are left out: its forward pass applies softmax and its loss
applies it again, so that scores are squashed towards the middle; the split that it reports is the one that picks the
checkpoint; and accuracy at one cut says little of a score whose threshold is fitted later. Here the loss sees logits,
the last epoch is kept whatever the held-out tenth says, and that tenth is reported as AUROC and recall.

Texts are embedded once, so that an epoch costs seconds; which texts are held out is decided by their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filters.encoder import embedder, extra_module
from filters.toxicity_card import CardError, Labelled, auroc, recall_at

EPOCHS, BATCH, RATE, WARM_UP, DROPOUT = 6, 64, 3e-4, 200, 0.2
HELD_OUT = 0.1
MINIMUM = 20  # texts of each label that a language needs


@dataclass(frozen=True, slots=True)
class Head:
    """What came of one language.

    Attributes:
        language: its label.
        trained: number of texts trained on, half of them toxic.
        held_out: number of texts held out.
        auroc, recall: on those; None when they lack one of the labels.
    """

    language: str
    trained: int
    held_out: int
    auroc: float | None
    recall: float | None


def train_heads(
    rows: Sequence[Labelled],
    encoder: str,
    out: Path,
    precision: str = "float32",
    seed: int = 1,
    epochs: int = EPOCHS,
    progress: Callable[[str], None] | None = None,
) -> list[Head]:
    """Train a head per language and write them to a `.safetensors` file that `Toxicity(heads=...)` takes.

    Args:
        rows: labelled texts; languages with fewer than `MINIMUM` texts of a label are left out.
        encoder, precision: see `filters.encoder.Embedder`.
        out: file to write, whole or not at all.
        epochs: passes over the texts.
        seed: of initial weights, negatives and order; the same seed, rows and machine give the same heads.
        progress: is told each language before it is embedded.

    Raises:
        CardError: no language has enough rows.
        ModelError: the encoder cannot be used.
    """
    safetensors = extra_module("safetensors.torch")
    tensors: dict[str, Any] = {}
    heads: list[Head] = []
    for language in sorted({row.language for row in rows}):
        mine = [row for row in rows if row.language == language]
        training = [row for row in mine if _lot(row.text) >= HELD_OUT]
        if min(sum(row.toxic is kind for row in training) for kind in (True, False)) < MINIMUM:
            continue
        if progress:
            progress(language)
        balanced = _balanced(training, np.random.default_rng(seed))
        test = [row for row in mine if _lot(row.text) < HELD_OUT]
        vectors = _vectors([row.text for row in balanced], encoder, precision)
        head = _fit(vectors, np.array([row.toxic for row in balanced]), seed, epochs)
        tensors |= {f"{language}.{name}": tensor for name, tensor in head.items()}
        scores = _scores(_vectors([row.text for row in test], encoder, precision), head)
        toxic = np.array([row.toxic for row in test], dtype=bool)
        judged = bool(toxic.any() and not toxic.all())
        heads.append(
            Head(
                language,
                len(balanced),
                len(test),
                auroc(toxic, scores) if judged else None,
                recall_at(toxic, scores, 0.05) if judged else None,
            )
        )
    if not heads:
        raise CardError(f"no language has {MINIMUM} toxic and {MINIMUM} clean texts; heads need more labelled rows")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.name + ".tmp")
    safetensors.save_file(tensors, str(draft))
    draft.replace(out)
    return heads


def _lot(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") / 2**32


def _balanced(rows: Sequence[Labelled], random: np.random.Generator) -> list[Labelled]:
    """All rows of the rarer label and as many of the other, shuffled."""
    toxic = [row for row in rows if row.toxic]
    clean = [row for row in rows if not row.toxic]
    count = min(len(toxic), len(clean))
    chosen = [side[index] for side in (toxic, clean) for index in sorted(random.permutation(len(side))[:count])]
    return [chosen[index] for index in random.permutation(len(chosen))]


def _vectors(texts: Sequence[str], encoder: str, precision: str) -> Any:
    """float32[texts, hidden]; of a text longer than one stretch the first, zeros for a text without words."""
    torch = extra_module("torch")
    model = embedder(encoder, precision)
    vectors = torch.zeros((len(texts), model.hidden))
    first = [-1] * len(texts)
    for owner, start, _, vector in model.stretches(texts):
        if first[owner] < 0 or start < first[owner]:
            first[owner], vectors[owner] = start, vector
    return vectors


def _fit(vectors: Any, toxic: np.ndarray, seed: int, epochs: int) -> dict[str, Any]:
    torch = extra_module("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = vectors.shape[1]
        head = torch.nn.Sequential(
            torch.nn.Linear(hidden, hidden), torch.nn.ReLU(), torch.nn.Dropout(DROPOUT), torch.nn.Linear(hidden, 2)
        )
        labels = torch.from_numpy(toxic.astype(np.int64))
        optimizer = torch.optim.AdamW(head.parameters(), lr=RATE)
        # 200 steps of warm-up are most of a small training set's: never more than a tenth of all.
        rising = max(min(WARM_UP, epochs * len(vectors) // BATCH // 10), 1)
        warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / rising))
        loss = torch.nn.CrossEntropyLoss()
        for _ in range(epochs):
            for part in torch.randperm(len(vectors)).split(BATCH):
                optimizer.zero_grad()
                loss(head(vectors[part]), labels[part]).backward()
                optimizer.step()
                warm_up.step()
        return {name: tensor.detach().clone() for name, tensor in head.state_dict().items()}


def _scores(vectors: Any, head: dict[str, Any]) -> np.ndarray:
    torch = extra_module("torch")
    with torch.inference_mode():
        inner = torch.relu(vectors @ head["0.weight"].T + head["0.bias"])
        return torch.softmax((inner @ head["3.weight"].T + head["3.bias"]).double(), dim=1)[:, 1].numpy()

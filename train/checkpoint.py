"""Checkpoints: everything that a run needs to go on bit for bit, and everything that an auditor asks of it.

A checkpoint is a folder `step-NNNNNNNN` that appears whole or not at all: `state.pt` holds weights, optimizer state and
random state; `checkpoint.json` says in plain text which corpus (version and Merkle root), recipe and tokenizer it comes
from and how many rows of which shuffle it has consumed, which is the exact position in the data.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from train.errors import TrainError
from train.publish import publish_folder, remove_leftovers

FORMAT = 1


@dataclass(frozen=True)
class Provenance:
    """What a checkpoint comes from.

    Attributes:
        step: optimizer steps taken.
        position: rows consumed, over all epochs; with `recipe.data.seed` the exact position in the data.
        corpus_version, corpus_root: version and Merkle root of the corpus.
        tokenizer_sha256: digest of the tokenizer file.
        recipe: all values of the recipe.
        recipe_digest: their digest.
        supervised, dropped: targets trained on, and left out by the Goldfish mask, since the first step.
        torch: version that computed it; another one may round differently.
        format: of this file.
    """

    step: int
    position: int
    corpus_version: int
    corpus_root: str
    tokenizer_sha256: str
    recipe: dict[str, Any]
    recipe_digest: str
    supervised: int
    dropped: int
    torch: str
    format: int = FORMAT


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint."""

    folder: Path
    provenance: Provenance
    state_sha256: str

    def load_state(self, device: torch.device) -> dict[str, Any]:
        """Weights, optimizer and random state.

        Raises:
            TrainError: the file is not the one that the checkpoint describes.
        """
        path = self.folder / "state.pt"
        if not path.exists() or _sha256(path) != self.state_sha256:
            raise TrainError(f"{path}: not what checkpoint.json describes; delete {self.folder} to resume before it")
        return torch.load(path, map_location=device, weights_only=True)


def save_checkpoint(folder: Path, provenance: Provenance, state: dict[str, Any], keep: int) -> Path:
    """Publish a checkpoint in `folder`, then delete all but the newest `keep`."""
    target = folder / f"step-{provenance.step:08d}"
    with publish_folder(target) as draft:
        torch.save(state, draft / "state.pt")
        described = {**asdict(provenance), "state_sha256": _sha256(draft / "state.pt")}
        (draft / "checkpoint.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    for old in _published(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest published checkpoint in `folder`, or None; leftovers of a killed run are removed.

    Raises:
        TrainError: its description cannot be read.
    """
    remove_leftovers(folder)
    published = _published(folder)
    if not published:
        return None
    path = published[-1] / "checkpoint.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        digest = described.pop("state_sha256")
        return Checkpoint(published[-1], Provenance(**described), digest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{path}: not a checkpoint description ({error}); delete {published[-1]}") from error


def _published(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

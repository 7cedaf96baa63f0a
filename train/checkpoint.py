"""Checkpoints: everything that a run needs to go on bit for bit, and everything that an auditor asks of it.

A checkpoint is a folder `step-NNNNNNNN` that appears whole or not at all: `state.pt` holds weights, optimizer state and
random state, or with sharded weights a folder `shards/` holds the tensors, written by all workers and readable by any
number of them; `checkpoint.json` says in plain text which corpus (versions and Merkle roots), recipe and tokenizer it
comes from and how many rows of which shuffle it has consumed, which is the exact position in the data.

Writing goes on beside the training: the tensors are copied, a thread writes the copies, and only the next checkpoint,
or the end, waits for it. What a killed run was writing has no name that anyone reads.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from train.distributed import World
from train.errors import TrainError
from train.publish import TEMPORARY, publish_folder

FORMAT = 2


@dataclass(frozen=True)
class Provenance:
    """What a checkpoint comes from.

    Attributes:
        step: optimizer steps taken.
        position: rows consumed, over all epochs; with `recipe.data.seed` the exact position in the data.
        corpus_version, corpus_root: version and Merkle root of the corpus.
        corpora: the versions that the run has gone through, oldest first: `position` from which on it read one without
            the documents withdrawn by then, its `version` and `root`. The first one made the token cache.
        tokenizer_sha256: digest of the tokenizer file.
        recipe: all values of the recipe.
        recipe_digest: their digest.
        supervised, dropped: targets trained on, and left out by the Goldfish mask, since the first step.
        ranks: workers that took part in the last step.
        torch: version that computed it; another one may round differently.
        format: of this file.
    """

    step: int
    position: int
    corpus_version: int
    corpus_root: str
    corpora: list[dict[str, Any]]
    tokenizer_sha256: str
    recipe: dict[str, Any]
    recipe_digest: str
    supervised: int
    dropped: int
    ranks: int
    torch: str
    format: int = FORMAT


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint: where it lies, what it comes from, and the SHA-256 of each of its files."""

    folder: Path
    provenance: Provenance
    files: dict[str, str]

    @property
    def sharded(self) -> bool:
        """Whether its tensors lie in `shards/`."""
        return any(name.startswith("shards/") for name in self.files)

    def verify(self) -> None:
        """Compare its files with their digests.

        Raises:
            TrainError: a file is not the one that the checkpoint describes.
        """
        for name, digest in self.files.items():
            path = self.folder / name
            if not path.exists() or _sha256(path) != digest:
                raise TrainError(
                    f"{path}: not what checkpoint.json describes; delete {self.folder} to resume before it"
                )

    def load_state(self) -> dict[str, Any]:
        """What `CheckpointWriter.save` was given, on the CPU; `tensors` is absent when they are sharded."""
        return torch.load(self.folder / "state.pt", map_location="cpu", weights_only=True)

    def load_shards(self, tensors: dict[str, Tensor]) -> None:
        """Fill the tensors of these names from `shards/`, each worker its own part."""
        import torch.distributed.checkpoint as dcp

        alone = not dist.is_initialized()
        dcp.load(tensors, checkpoint_id=self.folder / "shards", no_dist=alone)


class CheckpointWriter:
    """Publishes checkpoints in a folder, one at a time, beside the training; all workers call it alike.

    Args:
        folder: of the checkpoints.
        keep: how many to keep; older ones are deleted.
        world: this worker.
        sharded: whether the tensors are parts, so that all workers write.
    """

    def __init__(self, folder: Path, keep: int, world: World, sharded: bool):
        self.folder, self.keep, self.world, self.sharded = folder, keep, world, sharded
        # a group of its own, since its messages may not get between those of the training
        self._group = dist.new_group(backend="gloo") if sharded else None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, provenance: Provenance, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Copy everything, then publish it from a thread. Waits for the checkpoint before.

        Raises:
            OSError: that one could not be written.
        """
        self.wait()
        if not (self.world.first or self.sharded):
            return
        copies = {name: _copy(tensor) for name, tensor in tensors.items()}
        self._thread = threading.Thread(target=self._write, args=(provenance, copies, dict(state)), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until the last checkpoint is published.

        Raises:
            OSError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, provenance: Provenance, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        try:
            target = self.folder / f"step-{provenance.step:08d}"
            shards = self.folder / f"{TEMPORARY}shards-{provenance.step:08d}"
            if self.sharded:
                import torch.distributed.checkpoint as dcp

                dcp.save(tensors, checkpoint_id=shards, process_group=self._group)  # returns when all have written
            if self.world.first:
                with publish_folder(target) as draft:
                    torch.save(state if self.sharded else {**state, "tensors": tensors}, draft / "state.pt")
                    if self.sharded:
                        shards.rename(draft / "shards")
                    files = sorted(path for path in draft.rglob("*") if path.is_file())
                    digests = {path.relative_to(draft).as_posix(): _sha256(path) for path in files}
                    described = {**asdict(provenance), "files": digests}
                    (draft / "checkpoint.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
                for old in _published(self.folder)[: -self.keep]:
                    shutil.rmtree(old)
        except BaseException as error:
            self._error = error


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest published checkpoint in `folder`, or None.

    Raises:
        TrainError: its description cannot be read.
    """
    published = _published(folder)
    return read_checkpoint(published[-1]) if published else None


def read_checkpoint(folder: Path) -> Checkpoint:
    """A published checkpoint, its description only.

    Raises:
        TrainError: the description is missing, unreadable, or of another version of fairtrove.
    """
    path = folder / "checkpoint.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            raise ValueError(f"format {described['format']}, this fairtrove reads {FORMAT}")
        files = described.pop("files")
        return Checkpoint(folder, Provenance(**described), files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{path}: not a checkpoint description ({error}); delete {folder}") from error


def _published(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, which the next step cannot change."""
    if isinstance(tensor, DTensor):
        return tensor.detach().clone()
    return tensor.detach().to("cpu", copy=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

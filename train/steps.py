"""Which steps of a run saw a site's documents: the question of an owner, answered from a checkpoint and the manifest.

The order of the data is a function of the position, so nothing was logged and nothing needs to be: the manifest says
which documents a site has in the corpus that the run began with, the run's document table where their tokens lie, the
shuffle read backwards in which rows they came, and the recipe in which steps. Documents that were withdrawn while the
run went on count up to the position from which on they were masked.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifests.ask import Locate, ask, host_of
from train.checkpoint import Checkpoint, latest_checkpoint, read_checkpoint
from train.errors import TrainError
from train.recipe import Recipe
from train.run import training_rows
from train.tokens import DocumentTable, cache_folder, split_documents


@dataclass(frozen=True)
class SeenSteps:
    """What a checkpoint's steps saw of a site.

    Attributes:
        site: the host asked about, with its subdomains.
        checkpoint: the folder.
        corpus_version, corpus_root: of the corpus that the run began with.
        total_steps: steps of the run up to the checkpoint.
        documents: documents of the site in that corpus.
        held_out: of these, never trained on, only evaluated.
        withdrawn: of these, masked from some step on, since a retraction withdrew them.
        tokens: of the documents that are not held out, BoD and EoD included.
        rows: rows of the data, over all epochs, in which their tokens came.
        steps: steps that saw such a row, from 1, ascending.
    """

    site: str
    checkpoint: str
    corpus_version: int
    corpus_root: str
    total_steps: int
    documents: int
    held_out: int
    withdrawn: int
    tokens: int
    rows: int
    steps: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As a value that `json.dumps` takes."""
        return asdict(self)


def find_steps(corpus: str | Path, site: str, checkpoint: str | Path, *, locate: Locate) -> SeenSteps:
    """Steps up to a checkpoint that saw documents of a site.

    Args:
        corpus: the corpus; a newer version of it than the run's will do.
        site: a host (with its subdomains), a `host:port` or a URL, as `fairtrove ask` takes it.
        checkpoint: folder of a checkpoint, or of a run, whose newest one then counts.
        locate: `pipeline.intake.locate`.

    Raises:
        TrainError: no checkpoint is there, its document table is gone, or it was not trained on this corpus.
        FairtroveError: the corpus cannot be read, or there is no host in `site`.
    """
    found = _open(Path(checkpoint))
    provenance = found.provenance
    began = provenance.corpora[0]
    answer = ask(corpus, site, locate=locate)
    version = next((version for version in answer.versions if version.root == began["root"]), None)
    if version is None:
        raise TrainError(
            f"{found.folder}: trained on corpus root {began['root'][:16]}…, which no version of {corpus} has; "
            "give the corpus that it was trained on"
        )
    recipe = Recipe.model_validate(provenance.recipe)
    table = DocumentTable(
        cache_folder(found.folder.parent.parent / "cache", began["root"], provenance.tokenizer_sha256, recipe.mask)
    )
    mine = table.find([(place.shard, row) for place in version.places for row in place.rows])
    training, held_out = split_documents(table, recipe.data.validation)
    trained = np.intersect1d(mine, training)
    rows = training_rows(recipe, table, training)
    positions = [np.zeros(0, dtype=np.int64)]
    masked = 0
    for end, documents in _until(table, trained, provenance.corpora, provenance.position):
        positions.append(rows.positions_of(documents, end))
        masked += len(documents) if end < provenance.position else 0
    seen = np.unique(np.concatenate(positions))
    size = recipe.training.batch_size
    return SeenSteps(
        site=host_of(answer.rhost),
        checkpoint=str(found.folder),
        corpus_version=version.version,
        corpus_root=version.root,
        total_steps=provenance.step,
        documents=len(mine),
        held_out=len(np.intersect1d(mine, held_out)),
        withdrawn=masked,
        tokens=int((table.ends[trained] - table.starts[trained]).sum()),
        rows=len(seen),
        steps=tuple(sorted({size.step_of(int(position)) + 1 for position in seen})),
    )


def render(seen: SeenSteps) -> str:
    """The answer for people."""
    lines = [
        f"{seen.site}: {seen.documents:,} documents in version {seen.corpus_version} (root {seen.corpus_root[:16]}…)"
        + (f", {seen.held_out:,} of them held out for evaluation" if seen.held_out else "")
        + (f", {seen.withdrawn:,} withdrawn and masked while the run went on" if seen.withdrawn else ""),
        f"{len(seen.steps):,} of {seen.total_steps:,} steps saw them: {seen.tokens:,} tokens, in {seen.rows:,} rows",
    ]
    if seen.steps:
        lines.append(f"steps {ranges(seen.steps)}")
    return "\n".join(lines)


def ranges(numbers: Sequence[int], most: int = 60) -> str:
    """`1-3, 7, 9-12` of ascending numbers; long lists are cut."""
    parts = []
    for _, group in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    rest = len(parts) - most
    return ", ".join(parts[:most]) + (f" … and {rest:,} more ranges; --json lists them" if rest > 0 else "")


def _open(path: Path) -> Checkpoint:
    if (path / "checkpoint.json").exists():
        return read_checkpoint(path.resolve())
    for folder in (path, path / "checkpoints"):
        if (found := latest_checkpoint(folder.resolve())) is not None:
            return found
    raise TrainError(f"{path}: no checkpoint here; give OUT of a run, or OUT/checkpoints/step-…")


def _until(
    table: DocumentTable, documents: NDArray[np.int64], corpora: Sequence[dict[str, Any]], end: int
) -> list[tuple[int, NDArray[np.int64]]]:
    """The documents, grouped by the position up to which the run could see them."""
    withdrawn = table.withdrawn
    groups: dict[int, list[int]] = {}
    for row in documents.tolist():
        until = end
        if row in withdrawn:
            # the run may have skipped versions: the first one it took up that already lacked the document
            cuts = [entry["position"] for entry in corpora if entry["version"] >= withdrawn[row]]
            until = min([end, *cuts])
        groups.setdefault(until, []).append(row)
    return [(until, np.array(rows, dtype=np.int64)) for until, rows in sorted(groups.items())]

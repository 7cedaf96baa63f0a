"""Mixtures and curricula: which source each row comes from, as a pure function of its position.

A stage has a weight per source (any unit: the paper's tables are in billions of tokens) and begins at a number of
tokens. Its rows are dealt in blocks of 16,384: the weights become whole rows of a block by largest remainder, one row
at least, and a keyed permutation spreads them over it. So after any block the mixture is exact, the position alone says
how many rows of each source came before, and nothing is drawn that a restart would have to remember. Each source goes
through its own epochs at its own pace, on through the stages, like a `PackedRows` of its own.

The five stages of Apertus (arXiv 2509.14233, table 6) are in `recipes/70b.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from train.data import Batch, PackedRows
from train.errors import TrainError
from train.shuffle import derive_key, permute

BLOCK = 1 << 14  # rows: the smallest source of the paper's stages, 2 of 8,676 billion tokens, has 4 of them


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a curriculum.

    Attributes:
        name: for people.
        start: position of its first row.
        weights: share of each source, in any unit.
    """

    name: str
    start: int
    weights: Mapping[str, float]


class MixedRows:
    """Rows of several sources, mixed by stages; the same face as `PackedRows`.

    Args:
        sources: each source's own rows.
        stages: in order of `start`, the first at 0.
        seed: of the deal.

    Raises:
        TrainError: a stage names a source that is not there, or too many to have a row each.
    """

    def __init__(self, sources: Mapping[str, PackedRows], stages: Sequence[Stage], seed: int):
        self.names = sorted({name for stage in stages for name, weight in stage.weights.items() if weight > 0})
        for name in self.names:
            if name not in sources:
                known = ", ".join(sorted(sources)) or "none"
                raise TrainError(f"data.stages: the corpus has no source {name!r} to train on; it has: {known}")
        self.sources = [sources[name] for name in self.names]
        self.stages = list(stages)
        self.seed = seed
        # rows of each source in a block of each stage [stages, sources], and before the stage begins
        self._in_block = np.array([deal([stage.weights.get(name, 0.0) for name in self.names]) for stage in stages])
        self._before = np.zeros_like(self._in_block)
        self._blocks: dict[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for number in range(1, len(self.stages)):
            rows = self.stages[number].start - self.stages[number - 1].start
            self._before[number] = self._before[number - 1] + self._rows_within(number - 1, rows)

    def batch(self, position: int, rows: int) -> Batch:
        """The `rows` rows from `position` on."""
        source, number = self.assign(np.arange(position, position + rows))
        parts = []
        for which in np.unique(source):
            chosen = np.flatnonzero(source == which)
            parts.append((chosen, self.sources[which].rows_at(number[chosen])))
        return _merge(parts, rows)

    def assign(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source of each position, as a place in `names`, and the row of that source's own stream."""
        source, number = np.empty_like(positions), np.empty_like(positions)
        starts = np.array([stage.start for stage in self.stages])
        stages = np.searchsorted(starts, positions, side="right") - 1
        blocks = (positions - starts[stages]) // BLOCK
        for stage, block in np.unique(np.stack([stages, blocks]), axis=1).T.tolist():
            chosen = (stages == stage) & (blocks == block)
            places = (positions[chosen] - starts[stage]) % BLOCK
            dealt, nth = self._block(stage, block)
            source[chosen] = dealt[places]
            earlier = self._before[stage] + block * self._in_block[stage]
            number[chosen] = earlier[dealt[places]] + nth[places]
        return source, number

    def positions_of(self, table_rows: NDArray[np.int64], end: int) -> NDArray[np.int64]:
        """Positions before `end` whose rows hold tokens of these documents, ascending."""
        found = [np.zeros(0, dtype=np.int64)]
        for which, rows in enumerate(self.sources):
            mine = np.intersect1d(table_rows, rows.documents)
            consumed = self._rows_of(which, end)
            if len(mine) and consumed:
                found.append(self._position(which, rows.positions_of(mine, consumed)))
        return np.sort(np.concatenate(found))

    def _position(self, which: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of rows of one source, by their numbers in its own stream."""
        positions = np.empty_like(numbers)
        stages = np.searchsorted(self._before[:, which], numbers, side="right") - 1
        for place, (stage, number) in enumerate(zip(stages.tolist(), numbers.tolist(), strict=True)):
            block, nth = divmod(number - int(self._before[stage, which]), int(self._in_block[stage, which]))
            dealt, _ = self._block(stage, block)
            within = int(np.flatnonzero(dealt == which)[nth])
            positions[place] = self.stages[stage].start + block * BLOCK + within
        return positions

    def _rows_of(self, which: int, end: int) -> int:
        """Rows of a source before position `end`."""
        stage = int(np.searchsorted([stage.start for stage in self.stages], end, side="right")) - 1
        return int((self._before[stage] + self._rows_within(stage, end - self.stages[stage].start))[which])

    def _rows_within(self, stage: int, rows: int) -> NDArray[np.int64]:
        """Rows of each source in the first `rows` rows of a stage."""
        block, rest = divmod(rows, BLOCK)
        dealt, _ = self._block(stage, block)
        return block * self._in_block[stage] + np.bincount(dealt[:rest], minlength=len(self.names))

    def _block(self, stage: int, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source of each row of a block, and which of that source's rows in it."""
        if (stage, block) not in self._blocks:
            order = permute(np.arange(BLOCK), BLOCK, derive_key(self.seed + 2 + stage, block))
            dealt = np.repeat(np.arange(len(self.names)), self._in_block[stage])[order]
            nth = np.empty(BLOCK, dtype=np.int64)
            for which in range(len(self.names)):
                mine = dealt == which
                nth[mine] = np.arange(mine.sum())
            if len(self._blocks) > 8:
                self._blocks.clear()
            self._blocks[stage, block] = dealt, nth
        return self._blocks[stage, block]


def deal(weights: Sequence[float], rows: int = BLOCK) -> NDArray[np.int64]:
    """Whole rows for each weight, `rows` in all, by largest remainder; a weight above zero gets one at least.

    Raises:
        TrainError: no weight is above zero, or there are more of them than rows.
    """
    exact = np.array(weights, dtype=np.float64)
    if not (exact > 0).any() or (exact > 0).sum() > rows:
        raise TrainError(f"data.stages: a stage needs 1 to {rows} sources with a weight above zero")
    exact *= rows / exact.sum()
    dealt = np.floor(exact).astype(np.int64)
    dealt[(exact > 0) & (dealt == 0)] = 1
    remainders = np.argsort(dealt - exact, kind="stable")  # most wanting first
    for place in remainders[: max(0, rows - dealt.sum())]:
        dealt[place] += 1
    while dealt.sum() > rows:  # the single rows of tiny weights come from whoever has most
        dealt[dealt.argmax()] -= 1
    return dealt


def _merge(parts: list[tuple[NDArray[np.int64], Batch]], rows: int) -> Batch:
    """One batch of parts, each with the places of its rows."""
    if len(parts) == 1:
        return parts[0][1]
    tensors = {}
    for name in ("inputs_BT", "targets_BT", "documents_BT", "positions_BT"):
        whole = torch.empty((rows, parts[0][1].inputs_BT.shape[1]), dtype=torch.int64)
        for chosen, batch in parts:
            whole[torch.from_numpy(chosen)] = getattr(batch, name)
        tensors[name] = whole
    return Batch(
        **tensors,
        candidates=sum(batch.candidates for _, batch in parts),
        dropped=sum(batch.dropped for _, batch in parts),
        table_rows=np.unique(np.concatenate([batch.table_rows for _, batch in parts])),
    )

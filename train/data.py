"""From tokens to batches: pack, shuffle, mask, and know for every token whose it is.

The order of training is a pure function of (cache, seed, position). Documents of an epoch are sorted by a hash of their
key and concatenated, BoD and EoD included; the stream is cut into rows of T targets, and a keyed permutation orders the
rows. So the whole state of the loader is one integer, the number of rows consumed; a row never depends on the batch
size, and every target is seen once per epoch. It can be read backwards too: `positions_of` says where a document comes.
Attention and loss never cross a document's boundary: no target lies in another document than its input, and the batch
carries document ids and positions.

Measured on one shared core, 8 rows a batch, with document shuffle: 49 M tokens per CPU-second at T=4096 (27 M with the
default Goldfish mask), 5.8 M at T=512, where the cost is calls, 20 M from a mixture of three sources; a cold start on
40,000 documents takes 0.08 CPU-seconds (`tests/bench/bench_data.py`).

Shapes: B rows, T targets of a row, N documents, C context before a row that the Goldfish mask looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.errors import TrainError
from train.goldfish import IGNORED, Goldfish, Variant, keep_mask, reference_keep_mask
from train.shuffle import derive_key, mix, permute, unpermute
from train.tokens import DocumentTable, TokenCache

_NO_DOCUMENT = -1


@dataclass(frozen=True)
class Batch:
    """Packed rows.

    Attributes:
        inputs_BT: token ids.
        targets_BT: the next token of the same document, or `IGNORED`.
        documents_BT: document of each input, its number in the epoch's order; -1 is padding, or was withdrawn.
        positions_BT: place of each input in its document's part of the row.
        candidates: targets that have a document to learn from, before the Goldfish mask.
        dropped: how many of them the mask took out.
        table_rows: rows of the document table that have tokens in this batch.
    """

    inputs_BT: Tensor
    targets_BT: Tensor
    documents_BT: Tensor
    positions_BT: Tensor
    candidates: int
    dropped: int
    table_rows: NDArray[np.int64]

    @property
    def supervised(self) -> int:
        """Targets in the loss."""
        return self.candidates - self.dropped


class Rows(Protocol):
    """What a run trains on: rows by position, and positions by document."""

    def batch(self, position: int, rows: int) -> Batch:
        """The `rows` rows from `position` on, counted over all epochs."""

    def positions_of(self, table_rows: NDArray[np.int64], end: int) -> NDArray[np.int64]:
        """Positions before `end` whose rows hold tokens of these documents, ascending."""


def share(rows: Rows, position: int, count: int, rank: int, ranks: int) -> Batch:
    """What one of `ranks` workers takes of the global batch at `position`: equal parts, in order.

    Raises:
        TrainError: the batch cannot be shared equally.
    """
    if count % ranks:
        raise TrainError(f"a batch of {count} rows cannot be shared by {ranks} workers; make it a multiple")
    part = count // ranks
    return rows.batch(position + rank * part, part)


class PackedRows:
    """The rows that training sees, in the order in which it sees them.

    Args:
        cache: the tokens; a `DocumentTable` suffices to ask for positions.
        length: targets of a row (T).
        seed: of the shuffle.
        goldfish: mask to put on the targets, None for none.
        documents: rows of the document table to use; None for all.
    """

    def __init__(
        self,
        cache: TokenCache | DocumentTable,
        length: int,
        seed: int,
        goldfish: Goldfish | None = None,
        documents: NDArray[np.int64] | None = None,
    ):
        self.cache = cache
        self.length = length
        self.seed = seed
        self.goldfish = goldfish if goldfish and goldfish.variant is not Variant.OFF else None
        self._orders: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self.documents = np.arange(len(cache.starts)) if documents is None else documents
        self.epoch_tokens = int((cache.ends[self.documents] - cache.starts[self.documents]).sum())
        # a row's first input is the last target of the row before, so N tokens have N - 1 targets
        self.epoch_rows = -(-(self.epoch_tokens - 1) // length)
        if self.epoch_rows < 1:
            raise TrainError(f"{cache.folder}: no tokens to train on; the corpus or this split of it is empty")

    def batch(self, position: int, rows: int) -> Batch:
        """The `rows` rows from `position` on, counted over all epochs."""
        return self.rows_at(np.arange(position, position + rows))

    def rows_at(self, places: NDArray[np.int64]) -> Batch:
        """The rows at these positions, in this order."""
        length = self.length
        context = self.goldfish.context if self.goldfish else 0
        source, documents, table_rows = self._locate(places, context)
        tokens = self._read(source)
        inputs, targets = tokens[:, context:-1], tokens[:, context + 1 :]
        input_documents, target_documents = documents[:, context:-1], documents[:, context + 1 :]
        candidate = (input_documents == target_documents) & (input_documents != _NO_DOCUMENT)
        keep = candidate & self._kept(tokens, documents, source) if self.goldfish else candidate
        candidates = int(np.count_nonzero(candidate))
        return Batch(
            inputs_BT=torch.from_numpy(np.ascontiguousarray(inputs)),
            targets_BT=torch.from_numpy(np.where(keep, targets, IGNORED)),
            documents_BT=torch.from_numpy(np.ascontiguousarray(input_documents)),
            positions_BT=torch.from_numpy(_positions(input_documents, length)),
            candidates=candidates,
            dropped=candidates - int(np.count_nonzero(keep)),
            table_rows=table_rows,
        )

    def positions_of(self, table_rows: NDArray[np.int64], end: int) -> NDArray[np.int64]:
        """Positions before `end` whose rows hold tokens of these documents, ascending."""
        found = [np.zeros(0, dtype=np.int64)]
        for epoch in range(-(-end // self.epoch_rows)):
            order, ends = self._order(epoch)
            places = np.flatnonzero(np.isin(order, table_rows))
            lengths = self.cache.ends[order[places]] - self.cache.starts[order[places]]
            # a row covers T targets and the input before the first: its last token opens the next row
            first = np.maximum(ends[places] - lengths - 1, 0) // self.length
            last = np.minimum((ends[places] - 1) // self.length, self.epoch_rows - 1)
            counts = last - first + 1
            rows = np.repeat(first, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            key = derive_key(self.seed, epoch)
            found.append(unpermute(np.unique(rows), self.epoch_rows, key) + epoch * self.epoch_rows)
        positions = np.concatenate(found)
        return np.sort(positions[positions < end])

    def _kept(self, tokens: NDArray, documents: NDArray, source: NDArray) -> NDArray[np.bool_]:
        assert self.goldfish is not None
        assert isinstance(self.cache, TokenCache)
        k, h, context = self.goldfish.k, self.goldfish.h, self.goldfish.context
        if self.goldfish.variant is Variant.NEAR_DUPLICATE:
            if self.cache.dropped is None:
                raise TrainError(f"{self.cache.folder}: made without the near-duplicate mask; delete it")
            return self.cache.dropped[source[:, 1:]] == 0
        if self.goldfish.variant is Variant.REFERENCE:
            return reference_keep_mask(torch.from_numpy(tokens[:, 1:]), k, h).numpy()
        boundaries = (self.cache.begin, self.cache.end)
        kept = keep_mask(torch.from_numpy(tokens), k, h, torch.from_numpy(documents), exempt=boundaries)
        return kept[:, context + 1 :].numpy()

    def _read(self, source: NDArray[np.int64]) -> NDArray[np.int64]:
        assert isinstance(self.cache, TokenCache)
        tokens = self.cache.tokens[source].astype(np.int64)
        tokens[source < 0] = 0
        return tokens

    def _locate(self, places: NDArray[np.int64], context: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray]:
        """Where in the cache each token of the rows lies, and its document's number [B, C + T + 1]; -1 for padding.

        Also the rows of the document table in them.
        """
        width = context + self.length + 1
        source = np.full((len(places), width), -1, dtype=np.int64)
        documents = np.full((len(places), width), _NO_DOCUMENT, dtype=np.int64)
        touched = []
        epochs = places // self.epoch_rows
        for epoch in np.unique(epochs):
            chosen = np.flatnonzero(epochs == epoch)
            order, ends = self._order(int(epoch))
            rows = permute(places[chosen] % self.epoch_rows, self.epoch_rows, derive_key(self.seed, int(epoch)))
            begins = rows * self.length - context
            # the documents that each row meets, as (row, document) segments in stream order
            first = np.searchsorted(ends, np.maximum(begins, 0), side="right")
            last = np.searchsorted(ends, np.minimum(begins + width, self.epoch_tokens) - 1, side="right")
            counts = last - first + 1
            segment_row = np.repeat(np.arange(len(rows)), counts)
            segment_document = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            segment_document += np.repeat(first, counts)
            stream_start = np.where(segment_document > 0, ends[segment_document - 1], 0)
            low = np.maximum(stream_start, begins[segment_row])
            high = np.minimum(ends[segment_document], begins[segment_row] + width)
            in_cache = self.cache.starts[order[segment_document]] + low - stream_start
            number = segment_document
            if (holes := getattr(self.cache, "holes", None)) is not None:
                number = np.where(holes[order[segment_document]], _NO_DOCUMENT, number)
            targets = (chosen[segment_row] * width + low - begins[segment_row]).tolist()
            flat_source, flat_documents = source.reshape(-1), documents.reshape(-1)
            for target, size, start, document in zip(
                targets, (high - low).tolist(), in_cache.tolist(), number.tolist(), strict=True
            ):
                flat_source[target : target + size] = np.arange(start, start + size)
                flat_documents[target : target + size] = document
            touched.append(order[segment_document])
        return source, documents, np.unique(np.concatenate(touched))

    def _order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Documents of an epoch in stream order (rows of the document table), and where each ends in the stream."""
        if epoch not in self._orders:
            cache, key = self.cache, np.uint64(derive_key(self.seed + 1, epoch))
            order = self.documents[np.argsort(mix(cache.order_hashes[self.documents] ^ key), kind="stable")]
            # only the newest two are kept: a batch can lie across the end of an epoch, never across two
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = order, np.cumsum(cache.ends[order] - cache.starts[order])
        return self._orders[epoch]


def _positions(documents_BT: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Place of each input in its document's part of the row."""
    begins = np.ones(documents_BT.shape, dtype=bool)
    np.not_equal(documents_BT[:, 1:], documents_BT[:, :-1], out=begins[:, 1:])
    places = np.arange(length)
    return places - np.maximum.accumulate(np.where(begins, places, 0), axis=1)

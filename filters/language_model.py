"""The embedded language model: one Arrow file of hashed words and n-grams, read whole and scored with whole numbers.

A text's score for a label is a sum of logarithms, log(1 + rate / background), over its words and, for words that the
model does not know, over their n-grams. Rates are of the training text of that label. Most words and n-grams belong to
a few labels and are stored as pairs (label, weight); n-grams that many labels share are rows of a low-rank factor
instead, because adding a row of 48 numbers costs less than a hundred pairs.

Weights are whole numbers and the sums are exact, whatever the order of additions: an answer depends neither on the
batch nor on the processor's vector width.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.language_features import Words, gram_keys, ragged, word_keys
from filters.scores import ModelError

BUCKET_BITS, PRINT_BITS = 21, 8  # of a 32-bit key, the first 21 find the bucket and the next 8 the entry in it
DENSE = 255  # in `counts`: the entry is a row of the factor, not a list of pairs
EXACT = 1 << 24  # whole numbers up to here are exact in float32, in any order of addition
UNIT = 0.125  # what a weight of 1 stands for
CHUNK = 256  # texts per pass: fewer, and calls cost more than sums; more, and sums leave the caches
SHORT = 8  # words up to which the n-grams of known words count as well
_ONE_THREAD = 1 << 18  # multiplications below which OpenBLAS uses one thread
_ROWS = 64  # texts per product


@dataclass(frozen=True)
class Arrays:
    """What a model file holds.

    Attributes:
        labels: `iso639-3_Script`, L of them, sorted by script and then by language.
        buckets: uint8[2^21], entries per bucket of keys.
        prints: uint8[K], the 8 bits of the key after the bucket's, ascending within a bucket.
        counts: uint8[K], pairs of each entry, or `DENSE`.
        pair_labels: uint16[P]; pair_weights: uint8[P], in units of `UNIT`.
        rows: int8[D, R]; columns: int8[L, R]; scale: the product of both in units of `UNIT`.
        offsets: float32[L], added per word of the text; priors: float32[L], added once. In units of `UNIT`.
        fold: uint16[65536], see `filters.language_features.folding_table`.
        about: digests of the training data, settings, sharpness.
    """

    labels: list[str]
    buckets: np.ndarray
    prints: np.ndarray
    counts: np.ndarray
    pair_labels: np.ndarray
    pair_weights: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    scale: float
    offsets: np.ndarray
    priors: np.ndarray
    fold: np.ndarray
    about: dict[str, Any]


_PLAIN = ("buckets", "prints", "counts", "pair_weights", "offsets", "priors", "fold")


def save(arrays: Arrays, path: Path) -> None:
    """Write the file: an Arrow stream with one row, zstd-compressed; the same arrays give the same bytes."""
    columns = {name: getattr(arrays, name) for name in _PLAIN}
    # Low and high bytes apart: the high ones compress to a third of their size.
    columns |= {
        "pair_labels_low": (arrays.pair_labels & 0xFF).astype(np.uint8),
        "pair_labels_high": (arrays.pair_labels >> 8).astype(np.uint8),
        "rows": arrays.rows.reshape(-1),
        "columns": arrays.columns.reshape(-1),
    }
    about = {"labels": arrays.labels, "scale": arrays.scale, "rank": arrays.rows.shape[1], "about": arrays.about}
    lists = {name: pa.array([values]) for name, values in sorted(columns.items())}
    schema = pa.schema([(name, value.type) for name, value in lists.items()], {"about": json.dumps(about)})
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=19))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema, options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(list(lists.values()), schema=schema))


def load(path: Path) -> Arrays:
    """Read a file that `save` wrote.

    Raises:
        ModelError: no such file, or not one of ours.
    """
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            batch = reader.read_next_batch()
        about = json.loads(batch.schema.metadata[b"about"])
        values = {name: batch.column(name)[0].values.to_numpy(zero_copy_only=True) for name in batch.schema.names}
        low, high = values.pop("pair_labels_low"), values.pop("pair_labels_high")
        rank = about["rank"]
        return Arrays(
            labels=about["labels"],
            pair_labels=high.astype(np.uint16) << 8 | low,
            rows=values.pop("rows").reshape(-1, rank),
            columns=values.pop("columns").reshape(-1, rank),
            scale=about["scale"],
            about=about["about"],
            **values,
        )
    except OSError as error:
        raise ModelError(f"language model {path}: {error.strerror or error}; reinstall fairtrove") from error
    except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise ModelError(f"language model {path}: not a model of fairtrove ({error}); reinstall it") from error


@dataclass(frozen=True)
class Evidence:
    """What the words and n-grams of a batch of texts say, before labels are compared.

    Attributes:
        sums: float64[T, L], summed weights of pairs, in units of `UNIT`.
        hidden: float32[T, R], summed rows; `shifts` float64[T], what a sum is to be multiplied by.
        words: int64[T], words of each text; `known`: int64[T], those that the model knows.
        owners: int64[O], text of each known word that has pairs; `sizes`: int64[O], how many; and these pairs:
        labels: uint16[P], weights: float64[P].
    """

    sums: np.ndarray
    hidden: np.ndarray
    shifts: np.ndarray
    words: np.ndarray
    known: np.ndarray
    owners: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


class WordModel:
    """Scores texts; one per process, about 60 MB."""

    def __init__(self, arrays: Arrays):
        self.arrays = arrays
        self.labels = arrays.labels
        self.scripts = script_ranges(arrays.labels)
        self.starts = _offsets(arrays.buckets)
        dense = arrays.counts == DENSE
        self.pair_starts = _offsets(np.where(dense, 0, arrays.counts))
        self.row_numbers = np.cumsum(dense, dtype=np.int32) - 1
        self.deepest = int(arrays.buckets.max())
        self.columns = np.ascontiguousarray(arrays.columns.T.astype(np.float32))  # [R, L]
        self.offsets = np.asarray(arrays.offsets, dtype=np.float32)
        self.priors = np.asarray(arrays.priors, dtype=np.float32)
        self.limit = EXACT // (127 * self.columns.shape[0]) - 1

    def read(self, words: Words, texts: int) -> Evidence:
        """Look up every word, and the n-grams of unknown ones, and add up what they weigh."""
        label_count = len(self.labels)
        found = self.lookup(word_keys(words))
        known = found >= 0
        unknown = np.flatnonzero(~known)
        entries, owners = found[known], words.owners[known]
        word_count = len(entries)
        short = np.bincount(words.owners, minlength=texts) <= SHORT
        if short.any():  # so few witnesses that those of known words are heard too
            unknown = np.flatnonzero(~known | short[words.owners])
        if len(unknown):
            keys, numbers = gram_keys(words, unknown)
            grams = self.lookup(keys)
            hit = grams >= 0
            entries = np.concatenate([entries, grams[hit]])
            owners = np.concatenate([owners, words.owners[numbers[hit]]])
        counts = self.arrays.counts.take(entries)
        dense = counts == DENSE
        sparse = np.flatnonzero(~dense)
        sizes = counts.take(sparse).astype(np.int64)
        places = ragged(self.pair_starts.take(entries.take(sparse)).astype(np.int64), sizes)
        labels = self.arrays.pair_labels.take(places)
        weights = self.arrays.pair_weights.take(places).astype(np.float64)
        cells = labels + np.repeat(owners.take(sparse) * label_count, sizes)
        added = np.bincount(cells, weights, minlength=texts * label_count)
        sums = added.astype(np.float64, copy=False).reshape(texts, label_count)  # without any pair they are integers
        hidden, shifts = self._hidden(self.row_numbers.take(entries[dense]), owners[dense], texts)
        listed = int(np.searchsorted(sparse, word_count))  # words come first
        pairs = int(sizes[:listed].sum())
        return Evidence(
            sums,
            hidden,
            shifts,
            np.bincount(words.owners, minlength=texts),
            np.bincount(owners[:word_count], minlength=texts),
            owners.take(sparse[:listed]),
            sizes[:listed],
            labels[:pairs],
            weights[:pairs],
        )

    def scores(self, evidence: Evidence, texts: np.ndarray, first: int, last: int) -> np.ndarray:
        """Scores float32[len(texts), last - first] of the labels in a range for some texts, in units of `UNIT`."""
        scores = evidence.sums[texts, first:last].astype(np.float32)
        hidden = evidence.hidden[texts]
        shares = np.empty_like(scores)
        # In blocks so small that BLAS does not start threads: for products of this size they cost more than they give.
        block = max(1, _ONE_THREAD // (min(_ROWS, len(texts)) * hidden.shape[1]))
        for row in range(0, len(texts), _ROWS):
            for start in range(first, last, block):
                stop = min(start + block, last)
                out = shares[row : row + _ROWS, start - first : stop - first]
                np.matmul(hidden[row : row + _ROWS], self.columns[:, start:stop], out=out)
        shares *= (evidence.shifts[texts] * self.arrays.scale).astype(np.float32)[:, None]
        shares += evidence.words[texts].astype(np.float32)[:, None] * self.offsets[first:last]
        scores += shares
        scores += self.priors[first:last]
        return scores

    def lookup(self, keys: np.ndarray) -> np.ndarray:
        """Entry of each key, int64, -1 where the model has none (or, in 1 of 280 cases, a stranger's)."""
        buckets = keys >> np.uint32(32 - BUCKET_BITS)
        wanted = (keys >> np.uint32(32 - BUCKET_BITS - PRINT_BITS)).astype(np.uint8)
        place = self.starts.take(buckets).astype(np.int64)
        stop = self.starts.take(buckets + 1)
        found = np.full(len(keys), -1, dtype=np.int64)
        left = np.flatnonzero(place < stop)
        for _ in range(self.deepest):
            if not len(left):
                break
            here = place[left]
            same = self.arrays.prints.take(here) == wanted[left]
            found[left[same]] = here[same]
            left = left[~same]
            place[left] += 1
            left = left[place[left] < stop[left]]
        return found

    def _hidden(self, rows: np.ndarray, owners: np.ndarray, texts: int) -> tuple[np.ndarray, np.ndarray]:
        """Sums of rows per text, shifted right until a product with the columns is exact, and the shifts (2^n)."""
        hidden = np.zeros((texts, self.arrays.rows.shape[1]), dtype=np.float32)
        if not len(rows):
            return hidden, np.ones(texts)
        order = np.argsort(owners, kind="stable")
        gathered = self.arrays.rows.take(rows.take(order), axis=0).astype(np.float32)
        ones = np.ones(min(len(rows), EXACT // 127), dtype=np.float32)
        stops = np.cumsum(np.bincount(owners, minlength=texts)).tolist()
        start = 0
        for number, stop in enumerate(stops):
            if stop - start > len(ones):  # beyond them float32 is not exact; no sample is so long
                hidden[number] = gathered[start:stop].sum(axis=0, dtype=np.float64)
            elif stop > start:
                np.dot(ones[: stop - start], gathered[start:stop], out=hidden[number])
            start = stop
        largest = np.abs(hidden).max(axis=1)
        shifts = np.exp2(np.ceil(np.log2(np.maximum(largest / self.limit, 1.0))))
        return np.rint(hidden / shifts[:, None].astype(np.float32)), shifts


def script_ranges(labels: list[str]) -> dict[str, tuple[int, int]]:
    """First and last + 1 of the labels of each script; labels are sorted by script."""
    ranges: dict[str, tuple[int, int]] = {}
    for number, label in enumerate(labels):
        ranges[label[4:]] = ranges.get(label[4:], (number, 0))[0], number + 1
    return ranges


def entry_bits(keys: np.ndarray) -> np.ndarray:
    """The bits of 32-bit keys that the model keeps."""
    return keys >> np.uint32(32 - BUCKET_BITS - PRINT_BITS)


def digest(path: Path) -> bytes:
    """SHA-256 of a model file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ModelError(f"language model {path}: {error.strerror}") from error


def _offsets(counts: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(counts) + 1, dtype=np.int32)
    np.cumsum(counts, dtype=np.int32, out=offsets[1:])
    return offsets

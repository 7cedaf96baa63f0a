"""Goldfish loss masks: which targets a model is never trained on, so that it cannot recite a passage.

Goldfish loss (Hans et al. 2024, arXiv 2406.10209) leaves one target in k out of the loss, chosen by a hash of the h
tokens that end with it, so that every copy of a passage hides the same tokens. Three variants:

- `reference_keep_mask` is the published one, bit for bit, to reproduce the Apertus release (arXiv 2509.14233, k=h=50).
- `keep_mask` is ours and the default. The published hash is a wrapping 64-bit product: at h=50 it collects so many
  factors of two that 9-43 % of windows hash to 0 and are never dropped (real rate 1.0-1.7 % instead of 2 %), order and
  the token id 1 are invisible to it, id 0 decides a whole window, and windows reach into the neighbouring document, so
  that a repeated document leaks 37 % of its hidden tokens at another offset. Ours is a polynomial hash over 64 bits
  (order counts) with a finaliser (every bit decides), cut at the start of the document (the neighbour is irrelevant).
- `train.near_duplicate` hashes normalised words in place of tokens, so that copies in other line breaks, spacing, case
  or tokenisation hide the same words too. It needs the text, so it is computed when the token cache is made.

The window sum is a difference of two prefix sums, so its cost does not depend on h. Measured on one shared core with
8 rows of 4,096 targets and h=50: 200 M targets/s, 116 M/s with ten documents to a row; the published way (a product
over unfolded windows) 32 M/s (`tests/bench/bench_goldfish.py`).

Shapes: B rows, T targets.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORED = -100
"""Target that is not in the loss (torch's `ignore_index`)."""

REFERENCE_TABLE_SIZE = 1_000_003  # a prime, from the published code, as is the seed below
REFERENCE_TABLE_SEED = 2_971_215_073

# odd, else powers would vanish; 2^64 over the golden ratio: no small multiple of it is close to 0 modulo 2^64
_BASE = 0x9E3779B97F4A7C15
_MULTIPLIERS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))  # MurmurHash3's finaliser (public domain)
_TILE = 1 << 15  # targets masked at once: three arrays of 256 kB stay in a core's second-level cache


class Variant(StrEnum):
    """Which mask a recipe asks for."""

    DEFAULT = "default"
    REFERENCE = "reference"
    NEAR_DUPLICATE = "near-duplicate"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Goldfish:
    """A mask and its parameters: one target in `k` is dropped, chosen by the `h` tokens that end with it."""

    variant: Variant
    k: int
    h: int

    @property
    def context(self) -> int:
        """Tokens before a row's first input that its mask depends on."""
        return max(self.h - 2, 0) if self.variant is Variant.DEFAULT else 0


def keep_mask(
    targets: Tensor,  # int64 [B, T]
    k: int,
    h: int,
    document_ids: Tensor | None = None,  # integer [B, T]
    exempt: Sequence[int] = (),
) -> Tensor:  # bool [B, T]
    """True where a target stays in the loss.

    A target's window is the `h` targets that end with it, fewer near the start of its document. The same tokens at
    the same distance from the start of the document, or after at least h - 1 equal tokens, get the same answer in any
    row, at any offset, beside any neighbour. Computed on the CPU, where loaders mask, whatever device `targets` is on.

    Args:
        targets: token ids, row by row.
        k: one target in k is dropped, 1 or more.
        h: window length in tokens, 1 or more.
        document_ids: a document is a run of equal ids in a row; None makes each row one document.
        exempt: token ids that are never dropped (document boundaries), though windows see them.
    """
    _check(targets, k, h)
    symbols = targets.detach().cpu().contiguous().numpy()
    documents = None if document_ids is None else document_ids.detach().cpu().contiguous().numpy()
    keep = keep_symbols(symbols.view(np.uint64), k, h, documents)
    for token in exempt:
        keep |= symbols == token
    return torch.from_numpy(keep).to(targets.device)


def keep_symbols(
    symbols: NDArray[np.uint64],  # [B, T]
    k: int,
    h: int,
    documents: NDArray | None = None,  # integer [B, T]
) -> NDArray[np.bool_]:  # [B, T]
    """`keep_mask` over any 64-bit symbols: token ids, or the hashes of words."""
    rows, length = symbols.shape
    keep = np.empty((rows, length), dtype=bool)
    dropped_below = np.uint64((1 << 64) // k - 1)  # a hash up to this is dropped
    powers, inverses = _powers(length)
    tile = max(1, min(rows, _TILE // max(length, 1)))
    scratch = np.empty((2, tile, length), dtype=np.uint64)
    for row in range(0, rows, tile):
        part = slice(row, row + tile)
        # sums[i] = Σ_{j<=i} (y[j] + 1) BASE^-j, so that (sums[i] - sums[i-h]) BASE^i weighs y[j] by BASE^(i-j)
        sums, windows = scratch[:, : len(symbols[part])]
        np.add(symbols[part], np.uint64(1), out=windows)
        windows *= inverses
        np.cumsum(windows, axis=1, out=sums)
        windows[:, :h] = sums[:, :h]
        np.subtract(sums[:, h:], sums[:, :-h], out=windows[:, h:])
        if documents is not None:
            _cut_at_document_starts(windows, sums, documents[part], h)
        windows *= powers
        finalise(windows, out=sums)
        np.greater(windows, dropped_below, out=keep[part])
    return keep


def reference_keep_mask(targets: Tensor, k: int, h: int) -> Tensor:  # int64 [B, T] -> bool [B, T]
    """The published mask (strategy `hash-table` of the original code, run on CPU), bit for bit.

    key = product of the h targets that end with and include the decided one, wrapping in int64, floor-modulo
    1,000,003; the target is dropped if table[key] < float32(1/k), where the table is `torch.rand` in float32. The
    first h - 1 targets of a row are never dropped. Windows cross documents, and special tokens count as any other.
    """
    _check(targets, k, h)
    keep = torch.ones_like(targets, dtype=torch.bool)
    if targets.shape[1] >= h:
        keys = torch.remainder(_window_products(targets, h), REFERENCE_TABLE_SIZE)
        threshold = torch.tensor(1 / k, dtype=torch.float32, device=targets.device)
        keep[:, h - 1 :] = _reference_table(targets.device)[keys] >= threshold
    return keep


def _check(targets: Tensor, k: int, h: int) -> None:
    if k < 1 or h < 1:
        raise ValueError(f"goldfish needs k >= 1 and h >= 1, not k={k}, h={h}")
    if targets.dtype != torch.int64 or targets.dim() != 2:
        raise ValueError(f"goldfish needs int64 targets [B, T], not {targets.dtype} {tuple(targets.shape)}")


def _cut_at_document_starts(windows: NDArray, sums: NDArray, documents: NDArray, h: int) -> None:
    """Take what lies before a document's start out of the h - 1 windows that reach over it, in place.

    Costs one comparison per target, and the rest only per document. Windows at a row's start are whole already.
    """
    length = documents.shape[1]
    flat = documents.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1  # flat index of each document's first target
    starts = starts[starts % length != 0]
    if not len(starts) or h == 1:
        return
    ends = np.minimum(np.append(starts[1:], documents.size), (starts // length + 1) * length)
    places = starts[:, None] + np.arange(h - 1)
    inside = places < ends[:, None]
    flat_windows, flat_sums = windows.reshape(-1), sums.reshape(-1)
    before = flat_sums[starts - 1][:, None]
    if inside.all():
        flat_windows[places] = flat_sums[places] - before
    else:
        flat_windows[places[inside]] = (flat_sums[np.minimum(places, documents.size - 1)] - before)[inside]


def finalise(hashes: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Spread every bit of a 64-bit hash over its high bits, which decide, in place; `out` is scratch space."""
    for multiplier in _MULTIPLIERS:
        np.right_shift(hashes, np.uint64(33), out=out)
        hashes ^= out
        hashes *= multiplier


@functools.lru_cache(maxsize=8)
def _powers(length: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """BASE^i and BASE^-i modulo 2^64 for i in 0..length-1."""
    rows = []
    for factor in (_BASE, pow(_BASE, -1, 1 << 64)):
        factors = np.full(length, factor, dtype=np.uint64)
        factors[:1] = 1
        rows.append(np.cumprod(factors))
    return rows[0], rows[1]


@functools.lru_cache(maxsize=8)
def _reference_table(device: torch.device) -> Tensor:
    """Always drawn on the CPU: generators differ between devices, and the published runs masked in CPU workers."""
    generator = torch.Generator().manual_seed(REFERENCE_TABLE_SEED)
    return torch.rand(REFERENCE_TABLE_SIZE, generator=generator, dtype=torch.float32).to(device)


def _window_products(targets: Tensor, h: int) -> Tensor:  # [B, T] -> [B, T - h + 1]
    """Wrapping product of every window of h targets, in log2(h) passes: order does not matter to it."""
    length = targets.shape[1] - h + 1
    block, size, offset = targets, 1, 0
    product = torch.ones_like(targets[:, :length])
    while True:
        if h & size:
            product = product * block[:, offset : offset + length]
            offset += size
        if size * 2 > h:
            return product
        block = block[:, :-size] * block[:, size:]
        size *= 2

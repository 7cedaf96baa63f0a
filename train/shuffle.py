"""Keyed permutations that need no table: the n-th row of an epoch, and back, without building the epoch's order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 4


def permute(numbers: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """A keyed permutation of 0..size-1, applied to `numbers`.

    Four rounds of a Feistel network over the smallest even number of bits that holds `size`; a result outside the
    range is permuted again until it falls inside (cycle walking, at most 4 times on average), which keeps a bijection.
    """
    return _walk(numbers, size, [(key, number) for number in range(_ROUNDS)], _forward)


def unpermute(numbers: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """The inverse of `permute`."""
    return _walk(numbers, size, [(key, number) for number in reversed(range(_ROUNDS))], _backward)


def mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """MurmurHash3's 64-bit finaliser: every bit of the result depends on every bit of the number."""
    mixed = numbers.copy()
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed ^= mixed >> np.uint64(33)
        mixed *= np.uint64(multiplier)
    return mixed ^ (mixed >> np.uint64(33))


def derive_key(seed: int, number: int) -> int:
    """A 64-bit key from a seed and a counter."""
    content = (seed % 2**64).to_bytes(8, "big") + number.to_bytes(8, "big")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


_Numbers = NDArray[np.uint64]
_Turn = Callable[[_Numbers, _Numbers, np.uint64, np.uint64], tuple[_Numbers, _Numbers]]


def _walk(numbers: NDArray[np.int64], size: int, rounds: list[tuple[int, int]], turn: _Turn) -> NDArray[np.int64]:
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    keys = [np.uint64(derive_key(key, number)) for key, number in rounds]
    result = numbers.astype(np.uint64)
    pending = np.arange(len(result))
    while len(pending):
        left, right = result[pending] >> np.uint64(half), result[pending] & mask
        for key in keys:
            left, right = turn(left, right, key, mask)
        result[pending] = left << np.uint64(half) | right
        pending = pending[result[pending] >= size]
    return result.astype(np.int64)


def _forward(left: _Numbers, right: _Numbers, key: np.uint64, mask: np.uint64) -> tuple[_Numbers, _Numbers]:
    return right, left ^ (mix(right ^ key) & mask)


def _backward(left: _Numbers, right: _Numbers, key: np.uint64, mask: np.uint64) -> tuple[_Numbers, _Numbers]:
    return right ^ (mix(left ^ key) & mask), left

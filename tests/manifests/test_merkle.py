"""Merkle roots against RFC 9162 as it defines them, recursively; row encoding is injective."""

from __future__ import annotations

import struct
from hashlib import sha256

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import merkle

values = st.recursive(
    st.none()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, width=64),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(values, max_size=6)


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, over leaf hashes: split at the largest power of two below n."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


@pytest.mark.parametrize("size", [*range(70), 127, 128, 129, 1000])
def test_root_is_the_tree_hash_of_rfc_9162(size):
    leaves = [merkle.leaf(b"%d" % number) for number in range(size)]
    assert merkle.root(leaves) == tree_hash(leaves)


def test_known_roots_of_the_certificate_transparency_test_vectors():
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [merkle.leaf(bytes.fromhex(value)) for value in inputs]
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_root_does_not_change_the_list_it_is_given():
    leaves = [merkle.leaf(b"a"), merkle.leaf(b"b"), merkle.leaf(b"c")]
    before = list(leaves)
    merkle.root(leaves)
    assert leaves == before


@given(rows, rows)
def test_different_rows_have_different_bytes(one, other):
    assert (merkle.encode(one) == merkle.encode(other)) == (canonical(one) == canonical(other))


@given(rows, st.integers(0, 5))
def test_moving_a_value_into_a_list_changes_the_bytes(row, place):
    nested = [*row[:place], row[place:]]
    assert merkle.encode(row) != merkle.encode(nested)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["ab"]),
        (["ab", ""], ["a", "b"]),
        ([None], [""]),
        ([None], []),
        (["1"], [1]),
        ([b"a"], ["a"]),
        ([1], [1.0]),
        ([0.0], [-0.0]),
        ([[1], [2]], [[1, 2]]),
        (["i1;"], [1]),
        (["\ud800"], ["?"]),
    ],
)
def test_rows_that_look_alike_are_told_apart(one, other):
    assert merkle.encode(one) != merkle.encode(other)


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 9)), max_size=5, unique_by=lambda pair: pair[0]))
def test_a_map_column_has_one_leaf_whatever_the_order_of_its_pairs(pairs):
    def leaves(order: list) -> list[bytes]:
        column = pa.array([order], pa.map_(pa.string(), pa.int32()))
        return merkle.table_leaves(pa.table({"marks": column}), ["marks"])

    assert leaves(pairs) == leaves(pairs[::-1])


def test_leaves_do_not_depend_on_how_the_table_is_chunked():
    whole = pa.table({"number": [1, 2, 3], "word": ["a", None, "c"]})
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert merkle.table_leaves(whole, ["word", "number"]) == merkle.table_leaves(parts, ["word", "number"])
    assert len(set(merkle.table_leaves(whole, ["word"]))) == 3


def canonical(value):
    """A form in which equal means the same to `encode`: types apart, floats by their bits."""
    if isinstance(value, list | tuple):
        return ("list", tuple(canonical(item) for item in value))
    if isinstance(value, float):
        return ("float", struct.pack(">d", value))
    return (type(value).__name__, value)

"""What licences of kept documents ask, and the two tables that say so."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.corpus import open_corpus
from manifests.obligations import ATTRIBUTION, SHARE_ALIKE, Obligation, obligations, write_obligations
from tests.manifests.build import build


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("obligations") / "corpus"
    build(folder)
    return folder


A, N, S = Obligation.ATTRIBUTION, Obligation.NOTICE, Obligation.SHARE_ALIKE


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("CC-BY-4.0", {A}),
        ("CC-BY-SA-3.0-DE", {A, S}),
        ("CC0-1.0", set()),
        ("LicenseRef-public-domain", set()),
        ("MIT", {N}),
        ("0BSD", set()),
        ("GPL-2.0-only", {N, S}),
        ("GFDL-1.3-or-later", {A, S}),
        ("ODbL-1.0", {A, S}),
        ("MIT OR GPL-3.0-only", {N}),
        ("MIT AND CC-BY-SA-4.0", {A, N, S}),
        ("GPL-2.0-only WITH Classpath-exception-2.0", {N, S}),
        ("CC-BY-4.0 OR CC0-1.0", set()),
        ("LicenseRef-own", {N}),
        ("not ( an expression", {N}),
    ],
)
def test_an_expression_asks_all_of_its_parts_and_the_least_of_a_choice(expression, asked):
    assert obligations(expression) == asked


def test_each_licensed_document_is_listed_once_with_its_place(corpus, tmp_path):
    found = open_corpus(corpus)
    named, shared = write_obligations(found, tmp_path)
    expected_named, expected_shared = [], []
    for shard in found.shards:
        for row, document in enumerate(pq.read_table(shard.path).to_pylist()):
            asked = obligations(document["license"]) if document["license"] else frozenset()
            place = (document["license"], document["url"], shard.name, row)
            if asked & {A, N}:
                expected_named.append(place)
            if S in asked:
                expected_shared.append(place)
    for path, schema, expected in ((named, ATTRIBUTION, expected_named), (shared, SHARE_ALIKE, expected_shared)):
        table = pq.read_table(path)
        assert table.schema.equals(schema)
        assert [(r["license"], r["url"], r["shard"], r["shard_row"]) for r in table.to_pylist()] == expected
    assert expected_named


def test_the_tables_are_the_same_bytes_each_time_and_leave_nothing_beside_them(corpus, tmp_path):
    first = [path.read_bytes() for path in write_obligations(open_corpus(corpus), tmp_path)]
    assert [path.read_bytes() for path in write_obligations(open_corpus(corpus), tmp_path)] == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attribution.parquet", "share-alike.parquet"]

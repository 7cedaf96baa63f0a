"""The manifest that `bench_ask` makes is one: its hosts add up, and answers about it are those of a full scan."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.ask import ask
from manifests.audit import audit
from manifests.corpus import open_corpus
from pipeline.addresses import locate
from tests.bench import bench_ask, bench_audit


def test_answers_about_the_made_manifest_are_those_of_a_full_scan(tmp_path):
    bench_ask.make_manifest(tmp_path, tasks=2, rows=3000)
    manifest = tmp_path / "manifests/v0001"
    assert pc.sum(pq.read_table(manifest / "hosts.parquet").column("rows")).as_py() == 6000
    for _, site, url in bench_ask.questions(tmp_path):
        answer = ask(tmp_path, site, url, locate=locate)
        (version,) = answer.versions
        for table, found in (("kept", version.kept), ("decisions", version.excluded)):
            rhosts = pq.read_table(manifest / table, columns=["rhost"]).column("rhost")
            below = pc.or_(pc.equal(rhosts, answer.rhost), pc.starts_with(rhosts, answer.rhost + "."))
            assert found == pc.sum(below).as_py()


def test_the_page_asked_about_is_found(tmp_path):
    bench_ask.make_manifest(tmp_path, tasks=2, rows=3000)
    url = pq.read_table(tmp_path / "shards/web-001.parquet", columns=["url"]).column("url")[7].as_py()
    (version,) = ask(tmp_path, url, url, locate=locate).versions
    assert [page.shard_row for page in version.pages or () if page.task == "web-001" and page.shard_row == 7] == [7]


def test_the_manifest_made_for_the_audit_passes_it(tmp_path):
    bench_audit.make_manifest(tmp_path, tasks=2, rows=2000)
    result = audit(open_corpus(tmp_path))
    assert [check.detail for check in result.checks if not check.passed] == []
    assert open_corpus(tmp_path).run["totals"]["rows"] == 4000

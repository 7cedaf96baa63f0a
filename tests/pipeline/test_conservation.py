"""Rows in the file = kept + excluded, per file, task and run, whatever the file holds."""

from __future__ import annotations

import gzip
import io
import json
import random
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.schema import Reason
from pipeline import read_parquet
from pipeline.read_jsonl import JsonlReader
from pipeline.read_warc import WarcReader
from tests.pipeline.crawl import RECIPE, make_crawl, pages, run, write_jsonl, write_parquet, write_snapshot


def outcomes(result) -> dict[str, int]:
    """Excluded rows by stage and reason, and the kept ones."""
    counts: dict[str, int] = {"kept": result.corpus.run["totals"]["kept"]}
    for task in result.corpus.tasks:
        for count in task["counts"]:
            if count["action"] == "exclude":
                name = f"{count['stage']}:{count['reason']}"
                counts[name] = counts.get(name, 0) + count["rows"]
    return counts


def assert_conserved(result, rows_by_task: dict[str, int]) -> None:
    tasks = {task["name"]: task for task in result.corpus.tasks}
    assert set(tasks) == set(rows_by_task)
    for name, rows in rows_by_task.items():
        task = tasks[name]
        excluded = sum(count["rows"] for count in task["counts"] if count["action"] == "exclude")
        assert task["input"]["rows"] == task["rows"] == rows
        assert task["kept"] + excluded == rows
        assert sum(shard["rows"] for shard in task["shards"]) == task["kept"]
    totals = result.corpus.run["totals"]
    assert totals["rows"] == totals["kept"] + totals["excluded"] == sum(rows_by_task.values())


def test_every_row_of_every_file_ends_once(tmp_path):
    result = run(make_crawl(tmp_path), tmp_path / "out")
    assert_conserved(result, {f"web-{number:03d}": 120 for number in range(3)})
    assert outcomes(result)["robots:agent_disallowed"] > 0
    assert outcomes(result)["robots:star_disallowed"] > 0


def test_shards_hold_exactly_the_kept_rows(tmp_path):
    result = run(make_crawl(tmp_path), tmp_path / "out")
    for task in result.corpus.tasks:
        kept = pq.read_table(result.corpus.manifest / "kept" / f"{task['name']}.parquet").to_pylist()
        for row in kept:
            shard = pq.read_table(result.corpus.path / row["shard"]).slice(row["shard_row"], 1).to_pylist()[0]
            assert len(shard["text"].encode()) == row["text_bytes"]


def test_rows_that_cannot_become_documents_are_excluded_with_their_reason(tmp_path):
    page = pages(1)[0]
    lines = [
        page,
        {**page, "text": ""},
        {**page, "text": " \n\t"},
        {**page, "text": None},
        {key: value for key, value in page.items() if key != "text"},
        {**page, "text": 12},
        {**page, "text": ["a"]},
        "{not json",
        json.dumps(page)[:80],
        "",
        "[1, 2]",
        '{"text": "half a pair \\ud800", "id": "a", "url": "https://open.example/s"}',
        {**page, "text": "x" * 2000},
        {**page, "id": None, "url": None},
        page,
    ]
    write_jsonl(tmp_path / "pages" / "rows.jsonl", lines)
    write_snapshot(tmp_path / "robots.parquet")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.replace('kind = "web"', 'kind = "web"\nmax_document_bytes = "1 kB"'))
    result = run(recipe, tmp_path / "out")
    assert_conserved(result, {"web-rows": len(lines)})
    found = outcomes(result)
    assert found["intake:empty_text"] == 2
    assert found["intake:missing_text"] == 2
    assert found["intake:unreadable_row"] == 6
    assert found["intake:invalid_unicode"] == 1
    assert found["intake:too_large"] == 1


def test_a_document_of_100_mb_is_one_exclusion(tmp_path):
    rows = pages(3)
    rows[1]["text"] = "word " * 20_000_000
    write_parquet(tmp_path / "pages" / "big.parquet", rows)
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert_conserved(result, {"web-big": 3})
    assert outcomes(result)["intake:too_large"] == 1


def test_missing_optional_columns_are_empty_not_fatal(tmp_path):
    write_parquet(tmp_path / "pages" / "bare.parquet", [{"text": page["text"]} for page in pages(10)])
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert_conserved(result, {"web-bare": 10})
    reasons = {
        count["reason"] for task in result.corpus.tasks for count in task["counts"] if count["stage"] == "robots"
    }
    assert reasons == {str(Reason.NO_URL)}


def test_a_missing_text_column_fails_the_task_and_names_the_key(tmp_path):
    write_parquet(tmp_path / "pages" / "other.parquet", [{"body": "x", "id": "1"}])
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert result.corpus is None
    assert "no column `text`" in result.failed[0].error
    assert "columns.text" in result.failed[0].error


def test_duplicate_ids_are_two_rows(tmp_path):
    rows = pages(20, contact=False)
    for row in rows:
        row["id"] = rows[0]["id"]
        row["url"] = "https://open.example/same"
    write_parquet(tmp_path / "pages" / "twins.parquet", rows)
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert_conserved(result, {"web-twins": 20})
    assert result.corpus.run["totals"]["kept"] == 20


def test_a_truncated_parquet_file_fails_alone_and_the_others_complete(tmp_path):
    recipe = make_crawl(tmp_path)
    broken = tmp_path / "pages" / "001.parquet"
    broken.write_bytes(broken.read_bytes()[:-200])
    result = run(recipe, tmp_path / "out")
    assert [outcome.job.file.task for outcome in result.failed] == ["web-001"]
    assert str(broken) in result.failed[0].error
    assert sorted(result.ran) == ["web-000", "web-002"]
    assert result.corpus is None
    assert not list((tmp_path / "out" / "manifests").glob("v*/run.json"))


def test_failed_files_can_be_left_out_by_name(tmp_path):
    recipe = make_crawl(tmp_path)
    (tmp_path / "pages" / "001.parquet").write_bytes(b"PAR1")
    result = run(recipe, tmp_path / "out", skip_failed=True)
    assert_conserved(result, {"web-000": 120, "web-002": 120})
    assert list(result.corpus.run["failed"]) == ["web-001"]


def test_a_row_group_that_does_not_decode_is_accounted_row_by_row(tmp_path):
    recipe = make_crawl(tmp_path, files=1, rows=300)
    path = tmp_path / "pages" / "000.parquet"
    metadata = pq.read_metadata(path)
    column = next(
        metadata.row_group(1).column(index)
        for index in range(metadata.num_columns)
        if metadata.row_group(1).column(index).path_in_schema == "text"
    )
    damaged = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    damaged[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(damaged)
    result = run(recipe, tmp_path / "out")
    assert_conserved(result, {"web-000": 300})
    assert outcomes(result)["intake:undecodable"] == 100


@pytest.mark.parametrize("binary", [False, True], ids=["string", "binary"])
def test_invalid_utf8_in_a_parquet_text_costs_its_row_only(tmp_path, binary):
    rows = pages(30, contact=False)
    texts = [row["text"].encode() for row in rows]
    texts[7] = b"broken \xff\xfe bytes"
    table = pa.Table.from_pylist(rows).drop_columns("text")
    column = pa.array(texts, pa.binary())
    table = table.append_column("text", column if binary else column.view(pa.string()))
    (tmp_path / "pages").mkdir()
    pq.write_table(table, tmp_path / "pages" / "bytes.parquet")
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert_conserved(result, {"web-bytes": 30})
    assert outcomes(result)["intake:invalid_unicode"] == 1


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst"])
def test_compressed_jsonl_reads_the_same(tmp_path, ending):
    plain = "".join(json.dumps(page) + "\n" for page in pages(700)).encode()
    packed = io.BytesIO()
    if ending == ".jsonl.gz":
        packed.write(gzip.compress(plain))
    else:
        with pa.output_stream(packed, compression="zstd") as stream:
            stream.write(plain)
        packed = io.BytesIO(_zstd(plain))
    for folder, name, content in (("a", "p.jsonl", plain), ("b", f"p{ending}", packed.getvalue())):
        (tmp_path / folder / "pages").mkdir(parents=True)
        (tmp_path / folder / "pages" / name).write_bytes(content)
        write_snapshot(tmp_path / folder / "robots.parquet")
        (tmp_path / folder / "recipe.toml").write_text(RECIPE)
    roots = [run(tmp_path / folder / "recipe.toml", tmp_path / folder / "out").corpus.root for folder in ("a", "b")]
    assert roots[0] == roots[1]


def _zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def test_a_gzip_stream_that_breaks_off_fails_its_task(tmp_path):
    (tmp_path / "pages").mkdir()
    packed = gzip.compress("".join(json.dumps(page) + "\n" for page in pages(500)).encode())
    (tmp_path / "pages" / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert result.corpus is None
    assert "breaks off" in result.failed[0].error


def test_the_limit_counts_rows_of_each_file(tmp_path):
    from pipeline.curate import curate
    from tests.pipeline.crawl import planned

    result = curate(planned(make_crawl(tmp_path), limit=50), tmp_path / "out")
    assert_conserved(result, {f"web-{number:03d}": 50 for number in range(3)})


def test_a_reader_that_drops_rows_publishes_nothing(tmp_path, monkeypatch):
    group, lines, warc = read_parquet._read_row_group, JsonlReader._lines, WarcReader.batches

    def shorter(whole):
        def drop(*arguments):
            batches = list(whole(*arguments))
            yield from batches[:-1]

        return drop

    def shorter_group(*arguments):
        *batches, last = group(*arguments)
        yield from [*batches, last[:-1]]

    write_parquet(tmp_path / "pages" / "a.parquet", pages(30))
    write_jsonl(tmp_path / "pages" / "b.jsonl", pages(30))
    with gzip.open(tmp_path / "pages" / "c.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(page) + "\n" for page in pages(30)))
    record = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ntext\r\n\r\n"
    (tmp_path / "pages" / "d.warc").write_bytes(record * 30)
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    with monkeypatch.context() as patched:
        patched.setattr(read_parquet, "_read_row_group", shorter_group)
        patched.setattr(JsonlReader, "_lines", shorter(lines))
        patched.setattr(WarcReader, "batches", shorter(warc))
        broken = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert broken.corpus is None
    assert {outcome.job.file.task for outcome in broken.failed} == {"web-a", "web-b", "web-c", "web-d"}
    for outcome in broken.failed:
        assert "1 of 30 rows were never read, the first is 29" in outcome.error
    assert_conserved(
        run(tmp_path / "recipe.toml", tmp_path / "out"), dict.fromkeys(["web-a", "web-b", "web-c", "web-d"], 30)
    )


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_reader_that_stops_early_is_held_against_the_whole_stream(tmp_path, monkeypatch, ending):
    content = "".join(json.dumps(page) + "\n" for page in pages(9000)).encode()
    packed = {".jsonl": content, ".jsonl.gz": gzip.compress(content), ".jsonl.zst": _zstd(content)}[ending]
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / f"a{ending}").write_bytes(packed)
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    whole = JsonlReader._lines
    monkeypatch.setattr(JsonlReader, "_lines", lambda reader: islice(whole(reader), 10))
    result = run(tmp_path / "recipe.toml", tmp_path / "out")
    assert "8990 of 9000 rows were never read" in result.failed[0].error


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=60).filter(lambda line: b"\n" not in line),
            st.dictionaries(
                st.sampled_from(["text", "id", "url", "language", "date"]),
                st.one_of(st.none(), st.text(max_size=40), st.integers(), st.lists(st.text(max_size=3), max_size=2)),
            ),
        ),
        min_size=1,
        max_size=40,
    ),
    seed=st.integers(0, 2**32),
)
def test_conservation_holds_for_any_lines(tmp_path_factory, lines, seed):
    folder: Path = tmp_path_factory.mktemp("fuzz")
    (folder / "pages").mkdir()
    random.Random(seed).shuffle(lines)
    content = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode("utf-8", "surrogatepass")) + b"\n"
        for line in lines
    )
    (folder / "pages" / "fuzz.jsonl").write_bytes(content)
    write_snapshot(folder / "robots.parquet")
    (folder / "recipe.toml").write_text(RECIPE)
    result = run(folder / "recipe.toml", folder / "out")
    assert_conserved(result, {"web-fuzz": len(lines)})

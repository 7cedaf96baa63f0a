"""Robots snapshots: the newest answer of each origin, the same bytes from the same sources, whatever their order."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from filters.robots import MAX_BODY_BYTES, Snapshot
from manifests.schema import reverse_host
from pipeline.snapshot_sources import SnapshotSourceError, read_source
from pipeline.snapshots import SCHEMA, Answer, Draft, Failure, origin_key, page_url
from pipeline.terminal import UsageError
from tests.conftest import shared_data
from tests.pipeline.crawl import make_crawl, run, write_snapshot
from tests.pipeline.test_cli import fairtrove, one_line

BARRED = b"User-agent: *\nDisallow: /\n"
OPEN = b"User-agent: *\nDisallow:\n"


def built(out: Path, answers) -> list[dict]:
    with Draft(out) as draft:
        for answer in answers:
            draft.add(answer)
        draft.publish()
    return pq.read_table(out).to_pylist()


def built_from(out: Path, *sources: object, date: str | None = None) -> dict[str, tuple]:
    rows = built(out, (answer for source in sources for answer in read_source(str(source), date)))
    return {row["host"]: (row["fetched_at"], row["status"], row["body"]) for row in rows}


def write_warc(path: Path, records: list[tuple], compressed: bool = True) -> Path:
    """Records as (url, date, status line, headers, body, WARC headers)."""
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=compressed)
        writer.write_record(writer.create_warcinfo_record(path.name, {"software": "test"}))
        for url, moment, status, headers, body, *extra in records:
            http = StatusAndHeaders(status, list(headers), protocol="HTTP/1.1")
            warc = {"WARC-Date": moment, **(extra[0] if extra else {})}
            request = StatusAndHeaders("GET /robots.txt HTTP/1.1", [("Host", "x")], is_http_request=True)
            writer.write_record(writer.create_warc_record(url, "request", http_headers=request, warc_headers_dict=warc))
            writer.write_record(
                writer.create_warc_record(
                    url, "response", payload=io.BytesIO(body), http_headers=http, warc_headers_dict=warc
                )
            )
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Which answer counts
# ---------------------------------------------------------------------------------------------------------------------

HOSTS = ["a.example", "b.example", "b.example:8080", "www.a.example", "[::1]", "10.0.0.1"]
MANY = [f"{host}{suffix}.example" for host in ("x.a", "a", "a-b", "a.b", "b") for suffix in range(12)]
STATUSES = [None, 200, 204, 301, 403, 404, 429, 500, 503, 999, 0, *map(int, Failure)]
answers = st.builds(
    Answer,
    host=st.sampled_from(HOSTS + MANY),
    fetched_at=st.one_of(st.none(), st.integers(0, 3).map(lambda day: datetime(2026, 1, 1 + day, 12, 30, 5))),
    status=st.sampled_from(STATUSES),
    body=st.one_of(st.none(), st.sampled_from([b"", OPEN, BARRED, b"\xff\x00"])),
)


def says(answer: Answer) -> bool:
    if answer.status is None or 200 <= answer.status < 300:
        return answer.body is not None
    return 400 <= answer.status < 500 and answer.status != 429


def stored_body(answer: Answer) -> bytes | None:
    return answer.body if answer.status is None or 200 <= answer.status < 300 else None


@settings(max_examples=15, deadline=None)
@given(found=st.lists(answers, max_size=400), seed=st.integers())
def test_the_newest_answer_wins_no_failure_replaces_it_and_order_does_not_matter(tmp_path_factory, found, seed):
    folder = tmp_path_factory.mktemp("law")
    rows = built(folder / "one.parquet", found)
    shuffled = list(found)
    random.Random(seed).shuffle(shuffled)
    built(folder / "two.parquet", shuffled)
    assert (folder / "one.parquet").read_bytes() == (folder / "two.parquet").read_bytes()
    assert [row["rhost"] for row in rows] == sorted(row["rhost"] for row in rows)
    assert {row["host"] for row in rows} == {answer.host for answer in found}
    for row in rows:
        mine = [answer for answer in found if answer.host == row["host"]]
        telling = [answer for answer in mine if says(answer)] or mine
        newest = max((answer.fetched_at for answer in telling if answer.fetched_at), default=None)
        assert row["fetched_at"] == newest
        assert (row["status"], row["body"]) in {
            (answer.status, stored_body(answer)) for answer in telling if answer.fetched_at == newest
        }


@settings(max_examples=6, deadline=None)
@given(first=st.lists(answers, max_size=200), second=st.lists(answers, max_size=200))
def test_merging_snapshots_is_building_from_all_their_sources(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("merge")
    built(folder / "all.parquet", [*first, *second])
    built(folder / "first.parquet", first)
    built(folder / "second.parquet", second)
    built_from(folder / "merged.parquet", folder / "second.parquet", folder / "first.parquet")
    built_from(folder / "again.parquet", folder / "merged.parquet", folder / "merged.parquet")
    assert (folder / "merged.parquet").read_bytes() == (folder / "all.parquet").read_bytes()
    assert (folder / "again.parquet").read_bytes() == (folder / "all.parquet").read_bytes()


def test_a_site_that_is_down_keeps_its_opt_out_and_one_that_answers_does_not(tmp_path):
    old, new = datetime(2025, 1, 1), datetime(2026, 1, 1)
    rows = built(
        tmp_path / "out.parquet",
        [
            *(Answer(f"s{status}.example", old, 200, BARRED) for status in (503, -1, 429, 301, 404, 200)),
            *(Answer(f"s{status}.example", new, status, None) for status in (503, -1, 429, 301, 404)),
            Answer("s200.example", new, 200, OPEN),
        ],
    )
    found = {row["host"]: (row["fetched_at"], row["status"], row["body"]) for row in rows}
    for status in (503, -1, 429, 301):
        assert found[f"s{status}.example"] == (old, 200, BARRED)
    assert found["s404.example"] == (new, 404, None)
    assert found["s200.example"] == (new, 200, OPEN)


def test_other_files_of_an_origin_are_carried_over_and_null_withdraws_none_of_them(tmp_path):
    days = [datetime(2026, 1, day) for day in (1, 2, 3)]
    rows = [
        Answer("a.example", days[0], 200, BARRED, tdmrep=b"[1]", ai_txt=b"one"),
        Answer("a.example", days[1], 200, OPEN, tdmrep=b"[2]"),
        Answer("a.example", days[2], 503, None),
        Answer("b.example", days[0], -1, None, ai_txt=b"\xff"),
    ]
    (a, b) = built(tmp_path / "out.parquet", rows)
    assert (a["fetched_at"], a["body"], a["tdmrep"], a["ai_txt"]) == (days[1], OPEN, b"[2]", b"one")
    assert (b["status"], b["tdmrep"], b["ai_txt"]) == (-1, None, b"\xff")
    before = (tmp_path / "out.parquet").read_bytes()
    built(tmp_path / "out.parquet", reversed(rows))
    assert (tmp_path / "out.parquet").read_bytes() == before
    theirs = {"host": ["a.example"], "status": [404], "body": pa.array([None], pa.binary()), "tdmrep": ["[3]"]}
    pq.write_table(pa.table(theirs), tmp_path / "theirs.parquet")
    both = [*read_source(str(tmp_path / "theirs.parquet"), "2026-01-09"), *read_source(str(tmp_path / "out.parquet"))]
    (a, b) = built(tmp_path / "both.parquet", both)
    assert (a["status"], a["tdmrep"], a["ai_txt"]) == (404, b"[3]", b"one")
    assert b["ai_txt"] == b"\xff"


def test_a_body_is_cut_where_the_parser_stops(tmp_path):
    (row,) = built(tmp_path / "out.parquet", [Answer("a.example", None, 200, b"#" * (MAX_BODY_BYTES + 1))])
    assert row["body"] == b"#" * MAX_BODY_BYTES


def test_the_filter_finds_every_origin_of_a_snapshot(tmp_path):
    rows = [Answer(host, datetime(2026, 1, 1), 200, host.encode()) for host in HOSTS]
    built(tmp_path / "out.parquet", rows)
    assert pq.read_schema(tmp_path / "out.parquet").equals(SCHEMA)
    snapshot = Snapshot.load(tmp_path / "out.parquet")
    for host, port in [("a.example", None), ("b.example", 8080), ("::1", None), ("10.0.0.1", None)]:
        entry = snapshot.lookup(host, port)
        assert entry is not None
        assert entry.body.decode().replace("[", "").replace("]", "") == (f"{host}:{port}" if port else host)
        assert entry.fetched_at.startswith("2026-01-01")


def test_one_key_per_origin_however_it_is_written():
    for host in ("EXAMPLE.org", "example.org.", "example.org:443", "http://example.org:80/x", "https://u@example.org"):
        assert origin_key(host) == "example.org"
    assert origin_key("müsli.example:8080") == "xn--msli-0ra.example:8080"
    assert origin_key("") == origin_key("http://") == ""
    assert page_url("HTTPS://Example.org:443/robots.txt#x") == page_url("https://example.org/robots.txt")
    assert page_url("http://example.org/") != page_url("https://example.org/")


# ---------------------------------------------------------------------------------------------------------------------
# Sources
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [True, False])
def test_warcs_give_status_date_and_body_of_robots_txt_alone(tmp_path, compressed):
    day = "2025-01-02T03:04:05Z"
    path = write_warc(
        tmp_path / ("r.warc.gz" if compressed else "r.warc"),
        [
            ("https://A.example:443/robots.txt", day, "200 OK", [], BARRED),
            ("https://a.example/page", day, "200 OK", [], b"<html>a page"),
            ("http://gone.example/robots.txt", day, "404 Not Found", [], b"<html>gone"),
            ("http://down.example/robots.txt", day, "503 Busy", [], b""),
            ("http://b.example:8080/robots.txt", "2025-01-02T03:04:06.789Z", "200", [], b"\xff\xfe"),
            ("http://zipped.example/robots.txt", day, "200 OK", [("Content-Encoding", "gzip")], gzip.compress(OPEN)),
            ("http://odd.example/robots.txt", day, "OK whatever", [], OPEN),
            ("http://cut.example/robots.txt", day, "200 OK", [], OPEN, {"WARC-Truncated": "disconnect"}),
            ("http://long.example/robots.txt", day, "200 OK", [], b"#" * 600_000, {"WARC-Truncated": "length"}),
            ("dns:a.example", day, "200 OK", [], b"1.2.3.4"),
        ],
        compressed,
    )
    moment = datetime(2025, 1, 2, 3, 4, 5)
    assert built_from(tmp_path / "out.parquet", path) == {
        "a.example": (moment, 200, BARRED),
        "gone.example": (moment, 404, None),
        "down.example": (moment, 503, None),
        "b.example:8080": (datetime(2025, 1, 2, 3, 4, 6, 789000), 200, b"\xff\xfe"),
        "zipped.example": (moment, 200, OPEN),
        "odd.example": (moment, Failure.PROTOCOL, None),
        "cut.example": (moment, Failure.INCOMPLETE, None),
        "long.example": (moment, 200, b"#" * MAX_BODY_BYTES),
    }


def test_a_crawled_redirect_takes_the_rules_at_its_end_and_their_older_date(tmp_path):
    def at(day: int) -> str:
        return f"2025-01-0{day}T00:00:00Z"

    def to(*location: str) -> list[tuple[str, str]]:
        return [("Location", location[0])] if location else []

    target = "https://www.a.example/robots.txt"
    first = [
        ("http://a.example/robots.txt", at(3), "301 Moved", to("https://a.example/robots.txt"), b""),
        ("https://a.example/robots.txt", at(3), "302 Found", to("HTTPS://www.A.example:443/robots.txt#top"), b""),
        ("http://same.example/robots.txt", at(3), "301 Moved", to("https://same.example/robots.txt"), b""),
        ("https://same.example/robots.txt", at(3), "200 OK", [], OPEN),
        ("http://page.example/robots.txt", at(1), "302 Found", to("/start"), b""),
        ("http://page.example/start", at(1), "200 OK", [], b"<html>welcome"),
        ("http://gone.example/robots.txt", at(1), "302 Found", to("/nothing"), b""),
        ("http://gone.example/nothing", at(1), "404 Not Found", [], b""),
        ("http://loop.example/robots.txt", at(1), "307 Again", to("/robots.txt"), b""),
        ("http://away.example/robots.txt", at(1), "308 Moved", to("https://unseen.example/robots.txt"), b""),
        ("http://nowhere.example/robots.txt", at(1), "301 Moved", to("http://[::1/"), b""),
        ("http://silent.example/robots.txt", at(1), "301 Moved", [], b""),
    ]
    second = [(target, at(2), "200 OK", [], BARRED), (target, at(1), "200 OK", [], OPEN)]
    warcs = [write_warc(tmp_path / "1.warc.gz", first), write_warc(tmp_path / "2.warc.gz", second)]
    found = built_from(tmp_path / "out.parquet", *warcs)
    assert found == {
        "a.example": (datetime(2025, 1, 2), 200, BARRED),
        "www.a.example": (datetime(2025, 1, 2), 200, BARRED),
        "same.example": (datetime(2025, 1, 3), 200, OPEN),
        "page.example": (datetime(2025, 1, 1), 200, b"<html>welcome"),
        "gone.example": (datetime(2025, 1, 1), 404, None),
        "loop.example": (datetime(2025, 1, 1), 307, None),
        "away.example": (datetime(2025, 1, 1), 308, None),
        "nowhere.example": (datetime(2025, 1, 1), 301, None),
        "silent.example": (datetime(2025, 1, 1), 301, None),
    }
    built_from(tmp_path / "other.parquet", *reversed(warcs))
    assert (tmp_path / "other.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()


def test_a_redirect_is_followed_for_ten_hops_and_no_more(tmp_path):
    def hop(number: int) -> tuple:
        location = [("Location", f"http://h{number + 1}.example/robots.txt")]
        return (f"http://h{number}.example/robots.txt", "2025-01-01T00:00:00Z", "301 Moved", location, b"")

    end = ("http://h11.example/robots.txt", "2025-01-01T00:00:00Z", "200 OK", [], OPEN)
    found = built_from(tmp_path / "o.parquet", write_warc(tmp_path / "w.warc.gz", [*map(hop, range(11)), end]))
    assert found["h1.example"][1:] == (200, OPEN)
    assert found["h0.example"][1:] == (301, None)


def test_a_folder_is_one_file_per_host_with_a_date_that_is_given(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "A.example").write_bytes(BARRED)
    (folder / "b.example:8080.txt").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"x")
    os.utime(folder / "A.example", (1_700_000_000, 1_700_000_000))
    assert built_from(tmp_path / "out.parquet", folder, date="2024-05-26") == {
        "a.example": (datetime(2024, 5, 26), None, BARRED),
        "b.example:8080": (datetime(2024, 5, 26), None, b""),
    }
    assert built_from(tmp_path / "out.parquet", folder, date="mtime")["a.example"][0] == datetime(
        2023, 11, 14, 22, 13, 20
    )
    with pytest.raises(UsageError, match="--date"):
        built_from(tmp_path / "out.parquet", folder)
    with pytest.raises(UsageError, match="not a date"):
        built_from(tmp_path / "out.parquet", folder, date="yesterday")
    (folder / "robots.warc.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"robots\.warc\.gz"):
        built_from(tmp_path / "out.parquet", folder, date="2024-05-26")


@pytest.mark.parametrize(
    ("column", "moment"),
    [
        (pa.array([date(2025, 1, 2)]), datetime(2025, 1, 2)),
        (pa.array(["2025-01-02"]), datetime(2025, 1, 2)),
        (pa.array(["2025-01-02T03:04:05+01:00"]), datetime(2025, 1, 2, 2, 4, 5)),
        (pa.array([datetime(2025, 1, 2, 3, 4, 5)], pa.timestamp("us", "UTC")), datetime(2025, 1, 2, 3, 4, 5)),
        (pa.array([None], pa.string()), datetime(2020, 1, 1)),
        (None, datetime(2020, 1, 1)),
    ],
)
def test_snapshots_of_others_are_read_whatever_they_call_the_body_and_write_dates(tmp_path, column, moment):
    table = pa.table(
        {"host": ["HTTPS://A.example/"], "content": ["Disallow: /é"], "status": pa.array([200], pa.int64())}
    )
    if column is not None:
        table = table.append_column("fetched_at", column)
    pq.write_table(table, tmp_path / "theirs.parquet")
    assert built_from(tmp_path / "out.parquet", tmp_path / "theirs.parquet", date="2020-01-01") == {
        "a.example": (moment, 200, "Disallow: /é".encode())
    }


def test_a_damaged_source_is_named_and_nothing_is_left_behind(tmp_path):
    good = write_warc(
        tmp_path / "good.warc.gz", [("http://a.example/robots.txt", "2025-01-01T00:00:00Z", "200 OK", [], b"")]
    )
    (tmp_path / "bad.warc.gz").write_bytes(good.read_bytes()[:-30])
    (tmp_path / "flipped.warc.gz").write_bytes(
        good.read_bytes()[:-6] + bytes([good.read_bytes()[-6] ^ 1, 0, 0, 0, 0, 0])
    )
    (tmp_path / "text.warc").write_bytes(b"This is no WARC\n" * 10)
    table = pa.table({"host": ["a.example"], "status": [200], "body": [b""], "fetched_at": ["last week"]})
    pq.write_table(table, tmp_path / "dates.parquet")
    before = sorted(path.name for path in tmp_path.iterdir())
    for name in ("bad.warc.gz", "flipped.warc.gz", "text.warc", "dates.parquet"):
        with pytest.raises(SnapshotSourceError, match=name):
            built_from(tmp_path / "out.parquet", good, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(("name", "silent_per_record"), [("r.warc", 3), ("r.warc.gz", 1)])
def test_a_warc_cut_anywhere_is_damaged_unless_only_whole_records_are_gone(tmp_path, name, silent_per_record):
    records = [(f"http://h{n}.example/robots.txt", "2025-01-01T00:00:00Z", "200 OK", [], BARRED) for n in range(2)]
    whole = write_warc(tmp_path / name, records, name.endswith(".gz")).read_bytes()
    cut = tmp_path / f"cut{name}"
    silent = []
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        try:
            silent.append([answer.body for answer in read_source(str(cut))])
        except SnapshotSourceError:
            continue
    assert 0 < len(silent) <= silent_per_record * 5
    assert silent == sorted(silent, key=len)
    assert {body for bodies in silent for body in bodies} == {BARRED}


def test_what_a_killed_build_left_is_removed_and_what_a_running_one_holds_is_not(tmp_path):
    out = tmp_path / "out.parquet"
    abandoned = tmp_path / ".out.parquet.abc.building"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    (abandoned / "bodies").write_bytes(b"x")
    with Draft(out) as running:
        assert not abandoned.exists()
        running.add(Answer("a.example", None, 200, OPEN))
        assert [row["host"] for row in built(out, [Answer("b.example", None, 200, OPEN)])] == ["b.example"]
        running.publish()
    assert [row["host"] for row in pq.read_table(out).to_pylist()] == ["a.example"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_failed_build_leaves_the_old_snapshot_whole(tmp_path):
    out = tmp_path / "out.parquet"
    built(out, [Answer("a.example", None, 200, OPEN)])
    before = out.read_bytes()

    def interrupted():
        yield Answer("b.example", None, 200, OPEN)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(out, interrupted())
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_host_is_found_by_statistics_alone(tmp_path):
    built(tmp_path / "o.parquet", (Answer(f"h{n % 50}.d{n // 50}.example", None, 404, None) for n in range(25_000)))
    groups = pq.ParquetFile(tmp_path / "o.parquet").metadata
    column = SCHEMA.get_field_index("rhost")
    spans = [groups.row_group(number).column(column).statistics for number in range(groups.num_row_groups)]
    wanted = reverse_host("h7.d123.example")
    assert len(spans) == 3
    assert sum(span.min <= wanted <= span.max for span in spans) == 1


# ---------------------------------------------------------------------------------------------------------------------
# The commands
# ---------------------------------------------------------------------------------------------------------------------


def test_build_says_what_it_built_and_may_write_over_its_own_source(tmp_path):
    write_snapshot(tmp_path / "robots.parquet")
    result = fairtrove("robots", "build", "robots.parquet", "--out", "robots.parquet", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for word in ("file", "no file (4xx)", "server error (5xx)", "66.6%", "6 origins of 6 answers"):
        assert word.replace("66.6", "66.7") in result.stdout
    assert pq.read_schema(tmp_path / "robots.parquet").equals(SCHEMA)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["none.parquet", "--out", "o.parquet"], 2, "none.parquet"),
        (["none.warc.gz", "--out", "o.parquet"], 2, "none.warc.gz"),
        (["files", "--out", "o.parquet"], 2, "--date"),
        (["files", "--out", "o.parquet", "--date", "2025-13-01"], 2, "--date 2025-13-01"),
        (["robots.parquet", "--out", "files"], 2, "--out files: is a folder"),
        (["robots.parquet", "--out", "notes.txt/o.parquet"], 2, "notes.txt"),
        (["notes.txt", "--out", "o.parquet"], 2, "notes.txt"),
        (["other.parquet", "--out", "o.parquet"], 2, "no column host"),
        (["robots.parquet", "cut.warc.gz", "--out", "o.parquet"], 1, "cut.warc.gz: damaged"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line_and_writes_nothing(tmp_path, arguments, code, says):
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "files").mkdir()
    (tmp_path / "notes.txt").write_text("not a snapshot")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "cut.warc.gz").write_bytes(gzip.compress(b"WARC/1.0\r\n")[:-4])
    before = sorted(path.name for path in tmp_path.iterdir())
    result = fairtrove("robots", "build", *arguments, cwd=tmp_path)
    assert result.returncode == code
    assert says in one_line(result)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.fixture(scope="module")
def curated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("curated")
    result = run(make_crawl(folder, files=2), folder / "out")
    assert result.corpus is not None
    return folder


def test_coverage_adds_up_and_matches_a_count_by_hand(curated):
    result = fairtrove("robots", "coverage", "out", "robots.parquet", "--as-of", "2025-01-20", "--json", cwd=curated)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    hosts = (
        duckdb.connect()
        .execute(f"SELECT rhost, action, rows, text_bytes FROM '{curated}/out/manifests/v0001/hosts.parquet'")
        .fetchall()
    )
    assert found["totals"]["all"]["documents"] == sum(row[2] for row in hosts) == 240
    assert found["totals"]["kept"]["text_bytes"] == sum(row[3] for row in hosts if row[1] == "keep")
    unlisted = {"example.unlisted", "example.xn--msli-0ra"}
    listed = [row for row in hosts if row[0] not in unlisted]
    assert found["covered"]["all"] == {
        "hosts": 6,
        "documents": sum(row[2] for row in listed),
        "text_bytes": sum(row[3] for row in listed),
    }
    assert found["covered"]["excluded"]["documents"] == sum(row[2] for row in listed if row[1] != "keep")
    assert found["by_outcome"]["no entry"]["hosts"] == 2
    assert found["by_outcome"]["file"]["hosts"] == 4
    assert found["by_outcome"]["no file (4xx)"]["hosts"] == found["by_outcome"]["server error (5xx)"]["hosts"] == 1
    assert sum(amount["documents"] for amount in found["by_outcome"].values()) == 240
    assert found["by_age"] == {"up to 30 days": found["covered"]["all"]}


def test_coverage_reads_any_snapshot_and_sorts_entries_by_age(curated, tmp_path):
    ages = {"open": "2026-01-10", "shop": "2026-01-05", "closed": "2025-12-15", "barred": "2025-11-01"}
    ages |= {"gone": "2025-02-01", "broken": "2020-01-01", "unlisted": "2026-02-01", "müsli": None}
    rows = [
        {"host": f"HTTPS://{name}.example/", "status": 200, "content": "x", "fetched_at": day}
        for name, day in ages.items()
    ]
    rows.append({"host": "open.example", "status": 404, "content": None, "fetched_at": "2019-01-01"})
    rows[0] |= {"tdmrep": b"[]", "ai_txt": None}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "theirs.parquet")
    result = fairtrove(
        "robots", "coverage", curated / "out", tmp_path / "theirs.parquet", "--as-of", "2026-01-10", "--json"
    )
    found = json.loads(result.stdout)
    assert {name: amount["hosts"] for name, amount in found["by_age"].items()} == {
        "up to a day": 1,
        "up to a week": 1,
        "up to 30 days": 1,
        "up to 90 days": 1,
        "up to a year": 1,
        "over a year": 1,
        "later than that day": 1,
        "no date": 1,
    }
    assert {name: amount["hosts"] for name, amount in found["by_outcome"].items()} == {"file": 8}
    assert {name: amount["hosts"] for name, amount in found["by_file"].items()} == {"tdmrep": 1, "ai_txt": 0}
    assert found["covered"] == found["totals"]


def test_coverage_is_a_table_for_people_and_wrong_input_is_one_line(curated, tmp_path):
    shown = fairtrove("robots", "coverage", curated / "out", curated / "robots.parquet")
    assert shown.returncode == 0, shown.stderr
    for word in ("kept", "excluded", "by entry", "no entry", "over a year", "%"):
        assert word in shown.stdout
    for arguments, code, says in [
        ((tmp_path, curated / "robots.parquet"), 1, "no published corpus"),
        ((curated / "out", tmp_path / "none.parquet"), 2, "none.parquet"),
        ((curated / "out", tmp_path), 2, "fairtrove robots build"),
        ((curated / "out", curated / "recipe.toml"), 2, "recipe.toml"),
        ((curated / "out", curated / "robots.parquet", "--as-of", "today"), 2, "--as-of today"),
    ]:
        result = fairtrove("robots", "coverage", *arguments)
        assert result.returncode == code
        assert says in one_line(result)


# ---------------------------------------------------------------------------------------------------------------------
# Real files, and many
# ---------------------------------------------------------------------------------------------------------------------


def test_real_snapshots_come_through_unchanged_but_for_the_choice(tmp_path):
    source = shared_data("data/robots/robots.parquet")
    found = built_from(tmp_path / "out.parquet", source)
    newest = duckdb.connect().execute(
        f"""SELECT host, body FROM '{source}'
            QUALIFY fetched_at = max(fetched_at) OVER (PARTITION BY host)
                AND count(*) OVER (PARTITION BY host, fetched_at) = 1"""
    )
    checked = 0
    for host, body in newest.fetchall():
        entry = found.get(origin_key(host))
        assert entry is not None
        checked += entry[2] == body[:MAX_BODY_BYTES]
    assert checked > 0.99 * len(found) > 15_000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads peak memory from /proc")
def test_memory_stays_flat_while_a_million_rows_are_built(tmp_path):
    """Peak memory, of a process of its own, with a million rows and about 2 GB of bodies: measured 470 MB."""
    rng = random.Random(1)
    text = b"".join(b"Disallow: /%x/\n" % rng.getrandbits(60) for _ in range(100_000))
    schema = pa.schema(
        [("host", pa.string()), ("status", pa.int16()), ("body", pa.binary()), ("fetched_at", pa.date32())]
    )
    with pq.ParquetWriter(tmp_path / "big.parquet", schema, compression="zstd") as writer:
        for first in range(0, 1_000_000, 10_000):
            numbers = range(first, first + 10_000)
            starts = [rng.randrange(len(text) - 4096) for _ in numbers]
            bodies = [b"User-agent: *\n" + text[start : start + rng.randrange(4096)] for start in starts]
            hosts = [f"h{number % 900_000}.d{number % 7919}.example" for number in numbers]
            days = [date(2025, 1, 1 + number % 28) for number in numbers]
            writer.write_table(pa.table([hosts, [200] * len(hosts), bodies, days], schema=schema))
    code = (
        "import sys; from pathlib import Path; from pipeline.snapshots import Draft\n"
        "from pipeline.snapshot_sources import read_source\n"
        "with Draft(Path(sys.argv[2])) as draft:\n"
        "    for answer in read_source(sys.argv[1]): draft.add(answer)\n"
        "    built = draft.publish()\n"
        # not ru_maxrss: that starts at the peak of the process which started this one
        "status = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())\n"
        "print(built.read, built.rows, int(status['VmHWM'].split()[0]) // 1024)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "big.parquet"), str(tmp_path / "out.parquet")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    read, rows, megabytes = map(int, result.stdout.split())
    assert (read, rows) == (1_000_000, 1_000_000)
    assert megabytes < 700

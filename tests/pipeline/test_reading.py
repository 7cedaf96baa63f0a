"""Finding input files, reading remote ones, and what a WARC carries into the pipeline."""

from __future__ import annotations

import datetime
import errno
import gzip
import io
import json
import os
import re
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from filters.decision import Decision
from filters.license import License
from filters.signals import SIGNALS
from pipeline import addresses, read_parquet, read_warc, retrying
from pipeline import intake as intake_module
from pipeline.inputs import InputFile, SourceError, list_files, localized
from pipeline.intake import Intake
from pipeline.plan import _core_time, plan_sources
from pipeline.readers import count_rows, reader_of
from pipeline.recipe import RecipeError, Source, load_recipe
from tests.pipeline.crawl import RECIPE, make_crawl, pages, planned, run, write_jsonl, write_parquet, write_snapshot

PAGE = """<!doctype html><html lang="en"><head><title>Tide tables</title>
<meta name="robots" content="noai, noimageai"><meta name="tdm-reservation" content="1"></head>
<body><nav>Home | Tides | Contact</nav><article><h1>Tide tables for the inner harbour</h1>
<p>High water on Monday is at six in the morning and again shortly after half past six in the evening, so the
ferry leaves from the upper steps and passengers with prams are asked to wait for the second boat.</p>
<p>The harbour master keeps the board by the slipway up to date and answers questions until noon.</p></article>
<footer>Text under <a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a></footer>
</body></html>"""


def write_warc(path: Path, responses: list[tuple[str, str, list[tuple[str, str]], bytes]], gzip: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=gzip)
        writer.write_record(writer.create_warcinfo_record("test.warc", {"software": "test"}))
        for url, status, headers, body in responses:
            http = StatusAndHeaders(status, headers, protocol="HTTP/1.1")
            writer.write_record(writer.create_warc_record(url, "request", http_headers=http, payload=io.BytesIO(b"")))
            writer.write_record(writer.create_warc_record(url, "response", http_headers=http, payload=io.BytesIO(body)))
    return path


def read(path: Path, **settings: object) -> tuple[list, list[Decision], Intake]:
    source = Source.model_validate({"path": str(path), "kind": "web", **settings})
    (file,) = list_files("web", source)
    intake = Intake(file, path, source)
    decisions: list[Decision] = []
    intake.recorder = lambda stage, documents, answers: decisions.extend(answers)
    return list(intake.run()), decisions, intake


@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_a_warc_yields_main_text_and_what_the_owner_said(tmp_path, ending):
    html = [("Content-Type", "text/html; charset=utf-8"), ("X-Robots-Tag", "noai"), ("X-Robots-Tag", "bot: none")]
    path = write_warc(
        tmp_path / f"crawl{ending}",
        [
            ("https://harbour.example/tides", "200 OK", html, PAGE.encode()),
            ("https://harbour.example/old", "301 Moved", [("Location", "/tides")], b""),
            ("https://harbour.example/map.pdf", "200 OK", [("Content-Type", "application/pdf")], b"%PDF-1.7"),
            ("https://harbour.example/void", "200 OK", html, b""),
            ("https://harbour.example/menu", "200 OK", html, b"<html><body></body></html>"),
        ],
        gzip=ending.endswith("gz"),
    )
    documents, decisions, intake = read(path)
    assert intake.rows == len(decisions) == 5
    assert [str(d.reason) for d in decisions] == ["read", "http_status", "not_html", "empty_text", "extraction_failed"]
    (document,) = documents
    assert document.text.startswith("Tide tables for the inner harbour")
    assert "Home | Tides" not in document.text
    assert document.metadata["url"] == "https://harbour.example/tides"
    assert document.metadata["x_robots_tag"] == ["noai", "bot: none"]
    assert document.metadata["meta_robots"] == "noai, noimageai"
    assert document.metadata["meta_tdm_reservation"] == "1"
    assert 'rel="license"' in document.metadata["html"]


def test_a_warc_in_another_charset_is_decoded(tmp_path):
    body = PAGE.replace("Tide tables", "Gezeitentafeln für Müßige").encode("latin-1")
    html = [("Content-Type", "text/html; charset=iso-8859-1")]
    documents, _, _ = read(write_warc(tmp_path / "l.warc", [("https://a.example/", "200 OK", html, body)]))
    assert "für Müßige" in documents[0].text


def test_a_warc_that_breaks_off_is_an_error_that_names_it(tmp_path):
    html = [("Content-Type", "text/html")]
    path = write_warc(tmp_path / "cut.warc.gz", [("https://a.example/", "200 OK", html, PAGE.encode())] * 3, gzip=True)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SourceError, match=r"cut\.warc\.gz"):
        read(path)


def test_files_are_named_by_their_place_under_the_source_not_by_the_folder(tmp_path):
    for place in ("x", "y/elsewhere"):
        write_jsonl(tmp_path / place / "data" / "deu" / "a b.jsonl", pages(1))
        write_jsonl(tmp_path / place / "data" / "fra" / "a b.jsonl", pages(1))
    tasks = [
        [file.task for file in list_files("web", Source(path=str(tmp_path / place / shape), kind="web"))]
        for place in ("x", "y/elsewhere")
        for shape in ("data", "data/**/*.jsonl")
    ]
    assert tasks[0] == tasks[1] == tasks[2] == tasks[3]
    assert len(set(tasks[0])) == 2
    assert all(task.replace("-", "").replace("_", "").isalnum() for task in tasks[0])


def test_names_that_would_leave_the_folder_are_made_safe():
    for name in ("../../etc/passwd.parquet", "/abs/olute.jsonl", ".hidden.jsonl", "a\\b.jsonl", "x" * 300 + ".jsonl"):
        task = InputFile("web", name, name, 1, "").task
        assert "/" not in task
        assert "\\" not in task
        assert len(task) < 200
        assert not task.startswith(".")


def test_two_files_of_one_task_name_are_refused(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", pages(1))
    write_parquet(tmp_path / "a.parquet", pages(1))
    with pytest.raises(RecipeError, match="would both be task web-a; rename one, or make them two sources"):
        list_files("web", Source(path=str(tmp_path), kind="web"))


def test_an_unknown_ending_asks_for_the_reader(tmp_path):
    (tmp_path / "pages.csv").write_text("a,b\n")
    source = Source(path=str(tmp_path / "pages.csv"), kind="web")
    (file,) = list_files("web", source)
    with pytest.raises(RecipeError, match=r"source\.web\.reader"):
        reader_of(file, source)


def test_a_remote_source_gives_the_root_of_a_local_one_and_leaves_no_copy(tmp_path):
    recipe = make_crawl(tmp_path, files=2)
    local = run(recipe, tmp_path / "local").corpus
    memory = fsspec.filesystem("memory")
    for path in (tmp_path / "pages").iterdir():
        memory.pipe_file(f"/remote/{path.name}", path.read_bytes())
    remote = run(recipe, tmp_path / "out", "source.web.path=memory://remote").corpus
    assert remote.root == local.root
    assert not (tmp_path / "out" / ".staging").exists()


def test_a_remote_file_that_comes_short_fails_its_task(tmp_path, monkeypatch):
    monkeypatch.setattr(retrying, "WAITS", (0.01,))
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/short/a.jsonl", b"{}\n")
    file = InputFile("web", "memory://short/a.jsonl", "a.jsonl", 4000, "")
    with pytest.raises(SourceError, match=r"3 bytes came of 4000"), localized(file, tmp_path):
        pass


def test_a_file_that_changes_while_it_is_read_fails_its_task(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", pages(3))
    file = InputFile("web", str(path), "a.jsonl", path.stat().st_size, "")

    def change() -> None:
        with localized(file, tmp_path):
            with open(path, "ab") as stream:
                stream.write(b"{}\n")
            os.utime(path, (1, 1))

    with pytest.raises(SourceError, match="changed while it was read"):
        change()


def test_a_file_system_that_cannot_be_reached_is_said_with_its_key():
    with pytest.raises((SourceError, RecipeError), match=r"source\.web\.path"):
        list_files("web", Source(path="nosuchprotocol://host/x", kind="web"))


def test_columns_are_renamed_and_constants_filled_in(tmp_path):
    table = pa.table({"content": ["print(1)"], "hexsha": ["abc"], "detected_licenses": [["MIT", "Apache-2.0"]]})
    (tmp_path / "code").mkdir()
    pq.write_table(table, tmp_path / "code" / "a.parquet")
    columns = {"text": "content", "id": "hexsha", "license": "detected_licenses"}
    settings = {"kind": "code", "columns": columns, "dump": "stack-1", "language": "eng_Latn"}
    documents, _, _ = read(tmp_path / "code" / "a.parquet", **settings)
    metadata = documents[0].metadata
    assert documents[0].text == "print(1)"
    assert documents[0].id == "abc"
    assert metadata["license"] == "MIT AND Apache-2.0"
    assert (metadata["dump"], metadata["language"], metadata["language_script"]) == ("stack-1", "eng", "Latn")


def test_a_column_brings_the_nearest_licence_file_to_the_licence_stage(tmp_path):
    files = ["GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n", None, ""]
    declared = pa.array(["MIT"] * 3)
    (tmp_path / "code").mkdir()
    pq.write_table(
        pa.table({"text": ["x = 1"] * 3, "license": declared, "near": files}), tmp_path / "code" / "a.parquet"
    )
    documents, _, _ = read(tmp_path / "code" / "a.parquet", kind="code", columns={"license_file": "near"})
    assert [document.metadata.get("license_file") for document in documents] == [files[0], None, None]
    decisions = License(policy="open-only", kind="code").decide(documents)
    assert [decision.reason for decision in decisions] == ["conflict", "permissive", "permissive"]


def test_a_warc_source_runs_through_a_whole_recipe(tmp_path):
    html = [("Content-Type", "text/html")]
    hosts = ["open.example", "closed.example", "barred.example", "gone.example"]
    silent = PAGE[: PAGE.index("<meta")] + PAGE[PAGE.index("</head>") :]
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    for page, kept in ((silent, 2), (PAGE, 0)):
        responses = [(f"https://{host}/tides", "200 OK", html, page.encode()) for host in hosts]
        write_warc(tmp_path / "pages" / "crawl.warc.gz", responses, gzip=True)
        totals = run(tmp_path / "recipe.toml", tmp_path / "out").corpus.run["totals"]
        assert (totals["rows"], totals["kept"], totals["excluded"]) == (4, kept, 4 - kept)


def test_planning_reads_no_input_file(tmp_path, monkeypatch):
    recipe = make_crawl(tmp_path)
    monkeypatch.setattr(pq, "ParquetFile", lambda *a, **k: pytest.fail("a plan opened an input file"))
    assert len(planned(recipe, "policy.web.robots=false").files) == 3


HTML = [("Content-Type", "text/html")]


def reasons(decisions: list[Decision]) -> list[str]:
    return [str(decision.reason) for decision in decisions]


def write_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


# -- columns


def test_binary_columns_are_text_so_that_robots_txt_sees_the_url(tmp_path):
    table = pa.table(
        {
            "text": pa.array([b"page one", b"page two"]),
            "url": pa.array([b"https://closed.example/x", b"https://closed.example/\xff"]),
            "id": pa.array([b"a", b"b"]),
            "language": pa.array([b"deu", b"deu"]),
            "date": pa.array([b"2025", b"2025"]),
            "license": pa.array([[b"MIT"], [b"MIT", b"ISC"]]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    documents, _, _ = read(tmp_path / "a.parquet")
    assert [document.metadata["url"] for document in documents] == [
        "https://closed.example/x",
        "https://closed.example/\ufffd",
    ]
    assert [document.entry.rhost for document in documents] == ["example.closed"] * 2
    assert [document.id for document in documents] == ["a", "b"]
    assert [document.metadata["license"] for document in documents] == ["MIT", "MIT AND ISC"]
    assert {(document.metadata["language"], document.metadata["date"]) for document in documents} == {("deu", "2025")}


@pytest.mark.parametrize("encode", [lambda column: column, pa.Array.dictionary_encode], ids=["plain", "dictionary"])
def test_a_url_that_is_not_utf8_keeps_its_host(tmp_path, encode):
    urls = pa.array([b"https://closed.example/\xfc", b"https://open.example/"]).view(pa.string())
    pq.write_table(pa.table({"text": ["one", "two"], "url": encode(urls)}), tmp_path / "a.parquet")
    documents, _, _ = read(tmp_path / "a.parquet")
    assert [document.entry.rhost for document in documents] == ["example.closed", "example.open"]


@pytest.mark.parametrize("column", ["link", "meta.link", "text.link"])
def test_a_column_that_the_recipe_names_must_be_in_the_file(tmp_path, column):
    pq.write_table(pa.table({"text": ["x"], "meta": [{"url": "https://a.example/"}]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError) as caught:
        read(tmp_path / "a.parquet", columns={"url": column})
    message = str(caught.value)
    assert "a.parquet" in message
    assert f"no column `{column}`, only meta, text" in message
    assert "source.web.columns.url" in message


def test_a_dotted_name_is_a_column_of_that_name_or_a_field_of_a_struct(tmp_path):
    both = pa.table({"meta": [{"url": "https://struct.example/"}], "meta.url": ["https://exact.example/"]})
    struct = both.select(["meta"])
    for name, table, host in (("both", both, "example.exact"), ("struct", struct, "example.struct")):
        table = table.append_column("content", pa.array([{"body": "the text", "other": 1}]))
        pq.write_table(table, tmp_path / f"{name}.parquet")
        columns = {"text": "content.body", "url": "meta.url"}
        [document], _, _ = read(tmp_path / f"{name}.parquet", columns=columns)
        assert (document.text, document.entry.rhost) == ("the text", host)


def test_two_columns_of_one_name_are_an_error_in_one_line(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"a\.parquet: two columns are named `text`") as caught:
        read(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


# -- hostile rows


def test_dates_that_python_cannot_hold_cost_no_row(tmp_path):
    day = datetime.datetime(2025, 1, 2, 3, 4, 5)
    columns = {
        "ns": (pa.array([1_700_000_000_123_456_789, 0], pa.timestamp("ns")), "2023-11-14 22:13:20.123456789"),
        "far": (pa.array([2**62, 0], pa.timestamp("us")), None),
        "days": (pa.array([2**30, 0], pa.date32()), None),
        "zone": (pa.array([0, 0], pa.timestamp("us", tz="Nowhere/Land")), None),
        "plain": (pa.array([day, day]), "2025-01-02 03:04:05"),
    }
    for name, (dates, written) in columns.items():
        pq.write_table(pa.table({"text": ["one", "two"], "date": dates}), tmp_path / f"{name}.parquet")
        documents, decisions, _ = read(tmp_path / f"{name}.parquet")
        assert reasons(decisions) == ["read", "read"], name
        assert documents[0].metadata["date"] == written, name


@pytest.mark.parametrize("number", [b"9" * 400, b"1e400", b"NaN", b"-Infinity"])
def test_a_score_that_is_no_finite_number_costs_no_row(tmp_path, number):
    row = b'{"text": "hello", "id": "a", "language_score": %b}' % number
    [document], _, _ = read(write_lines(tmp_path / "a.jsonl", row))
    assert "language_score" not in document.metadata
    assert document.id == "a"


def test_half_a_pair_condemns_the_text_it_stands_in_and_is_replaced_elsewhere(tmp_path):
    lines = (
        b'{"text": "hello", "id": "a", "url": "https://closed.example/\\ud800", "date": "\\ud800", "x": "\\ud800"}',
        b'{"text": "hello \\ud800", "id": "b"}',
    )
    [document], decisions, _ = read(write_lines(tmp_path / "a.jsonl", *lines))
    assert reasons(decisions) == ["read", "invalid_unicode"]
    assert document.metadata["url"] == "https://closed.example/?"
    assert document.metadata["date"] == "?"


def test_a_byte_order_mark_and_carriage_returns_cost_no_row(tmp_path):
    row = b'{"text": "hello"}\r'
    _, decisions, _ = read(write_lines(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + row, row, b"\xef\xbb\xbf" + row, b"\r"))
    assert reasons(decisions) == ["read", "read", "unreadable_row", "unreadable_row"]


@pytest.mark.parametrize("field", ["url", "license", "id"])
def test_a_value_nested_beyond_reason_costs_its_row_however_deep_the_caller_stands(tmp_path, field):
    deep = b'{"text": "x", "%b": %b}' % (field.encode(), b"[" * 900 + b"]" * 900)
    path = write_lines(tmp_path / "a.jsonl", deep, b'{"text": "x"}')

    def from_depth(levels: int) -> list[str]:
        return from_depth(levels - 1) if levels else reasons(read(path)[1])

    assert from_depth(0) == from_depth(300) == ["unreadable_row", "read"]


def test_an_error_that_nobody_thought_of_costs_one_row_and_keeps_its_name(tmp_path, monkeypatch):
    def odd(url: str | None) -> tuple[str | None, str | None]:
        if url and "odd" in url:
            raise KeyError(url)
        return None, None

    def measured(row, limit, measure=intake_module._measured):
        if row.text == "odd":
            raise ZeroDivisionError
        return measure(row, limit)

    monkeypatch.setattr(intake_module, "locate", odd)
    monkeypatch.setattr(intake_module, "_measured", measured)
    path = write_jsonl(
        tmp_path / "a.jsonl", [{"text": "x", "url": "odd"}, {"text": "odd", "id": "name", "url": "u"}, {"text": "x"}]
    )
    source = Source(path=str(path), kind="web")
    intake = Intake(list_files("web", source)[0], path, source)
    seen: list[tuple[str, str]] = []
    intake.recorder = lambda stage, documents, decisions: seen.extend(
        (document.id, str(decision.reason)) for document, decision in zip(documents, decisions, strict=True)
    )
    list(intake.run())
    assert seen == [("web-a/0", "unreadable_row"), ("name", "unreadable_row"), ("web-a/2", "read")]


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "Input/output error")])
def test_a_fault_of_the_machine_is_never_a_row(tmp_path, monkeypatch, error):
    def fail(row: object, limit: int) -> None:
        raise error

    monkeypatch.setattr(intake_module, "_measured", fail)
    with pytest.raises(type(error)):
        read(write_jsonl(tmp_path / "a.jsonl", pages(1)))


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (pa.ArrowMemoryError("malloc of size 64 failed"), MemoryError),
        (OSError(errno.EIO, "Input/output error"), SourceError),
        (OSError("Corrupt snappy compressed data"), None),
        (pa.ArrowInvalid("bad page"), None),
    ],
)
def test_only_damage_in_the_bytes_makes_a_row_undecodable(tmp_path, monkeypatch, error, raised):
    def fail(*arguments: object, **options: object) -> None:
        raise error

    path = write_parquet(tmp_path / "a.parquet", pages(7))
    monkeypatch.setattr(read_parquet, "_rows_of", fail)
    if raised:
        with pytest.raises(raised, match="malloc" if raised is MemoryError else r"a\.parquet: cannot be read: Input"):
            read(path)
    else:
        assert reasons(read(path)[1]) == ["undecodable"] * 7


# -- reading as a whole


def test_errors_of_whoever_uses_a_local_file_pass_unchanged(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", pages(1))
    file = InputFile("web", str(path), "a.jsonl", path.stat().st_size, "")
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left") as caught, localized(file, tmp_path):
        raise full
    assert caught.value is full


def test_a_file_system_that_fails_in_its_own_way_names_the_file(tmp_path, monkeypatch):
    def fail(*arguments: object) -> None:
        raise RuntimeError("SlowDown\nplease")

    monkeypatch.setattr(fsspec, "open", fail)
    monkeypatch.setattr(retrying, "WAITS", (0.01,))
    file = InputFile("web", "s3://bucket/a.jsonl", "a.jsonl", 10, "")
    with (
        pytest.raises(SourceError, match=r"s3://bucket/a\.jsonl: cannot be read: SlowDown\Z"),
        localized(file, tmp_path),
    ):
        pass


def test_the_footer_is_read_once_and_tells_the_progress(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", pages(1500), row_group=1500)
    monkeypatch.setattr(pq, "read_metadata", lambda *a, **k: pytest.fail("the footer was read again"))
    source = Source(path=str(path), kind="web")
    intake = Intake(list_files("web", source)[0], path, source)
    fractions: list[float] = []
    intake.recorder = lambda *decided: fractions.append(intake.fraction)
    assert len(list(intake.run())) == 1500
    assert fractions == pytest.approx([512 / 1500, 1024 / 1500, 1.0])


# -- WARC


def test_every_robots_meta_element_and_consent_header_counts(tmp_path):
    metas = '<meta name="robots" content="noai"><META NAME="Robots" CONTENT="index">'
    metas += '<meta name="tdm-reservation" content="1"><meta name="tdm-reservation" content="0">'
    page = PAGE[: PAGE.index("<meta")] + metas + PAGE[PAGE.index("</head>") :]
    headers = [*HTML, ("Content-Signal", "search=yes"), ("content-signal", "ai-train=no")]
    [document], _, _ = read(write_warc(tmp_path / "a.warc", [("https://a.example/", "200 OK", headers, page.encode())]))
    assert document.metadata["meta_robots"] == "noai, index"
    assert document.metadata["meta_tdm_reservation"] == "1, 0"
    assert document.metadata["content_signal"] == "search=yes, ai-train=no"
    for name in ("noai", "tdmrep", "content-signal"):
        assert SIGNALS[name].of_page(document.metadata, ()).answer == "disallowed", name


@pytest.mark.parametrize("charset", ["idna", "undefined", "punycode", "hex", "unicode_escape", "nosuch", "utf-8"])
def test_a_charset_that_is_none_costs_nothing(tmp_path, charset):
    headers = [("Content-Type", f"text/html; charset={charset}")]
    page = PAGE.replace("Tide tables", "Gezeitentafeln für Müßige").encode()
    documents, _, _ = read(write_warc(tmp_path / "a.warc", [("https://a.example/", "200 OK", headers, page)] * 2))
    assert ["für Müßige" in document.text for document in documents] == [True, True]


def write_records(path: Path, records: list[tuple[str, str | None, str, bytes]]) -> Path:
    """Records of any type as their header lines and block: type, URL, media type, block."""
    with open(path, "wb") as file:
        for kind, url, media_type, block in records:
            target = f"WARC-Target-URI: {url}\r\n" if url else ""
            head = f"WARC/1.0\r\nWARC-Type: {kind}\r\n{target}Content-Type: {media_type}\r\n"
            file.write(f"{head}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n")
    return path


def test_responses_that_are_no_http_cost_their_row_and_not_the_rest_of_the_file(tmp_path):
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE.encode()
    packed = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    whole = packed + gzip.compress(PAGE.encode(), mtime=0)
    broken = bytearray(whole)
    broken[-200:] = bytes(200)
    blocks = [page, b"\r\n\r\n", b"", b"\x00\xff garbage", whole, bytes(broken), page]
    records = [("response", "https://a.example/", "application/http", block) for block in blocks]
    path = write_records(tmp_path / "a.warc", [*records, ("response", None, "application/http", page), records[0]])
    documents, decisions, intake = read(path)
    assert intake.rows == len(decisions) == 9
    assert [str(decisions[row].reason) for row in (0, 4, 6, 8)] == ["read"] * 4
    assert {str(decisions[row].reason) for row in (1, 2, 3, 7)} <= {"http_status", "unreadable_row"}
    texts = {document.entry.file_row: document.text for document in documents}
    assert texts[0] == texts[4] == texts[6] == texts[8]


def test_a_page_beyond_all_measure_costs_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(read_warc, "_MAX_PAGE_BYTES", 5000)
    bomb = [*HTML, ("Content-Encoding", "gzip")]
    responses = [
        ("https://a.example/", "200 OK", HTML, PAGE.encode()),
        ("https://a.example/", "200 OK", HTML, b"<p>" + b"x" * 9000),
        ("https://a.example/", "200 OK", bomb, gzip.compress(b"<p>" + b"x" * 900_000)),
        ("https://a.example/", "200 OK", HTML, PAGE.encode()),
    ]
    _, decisions, _ = read(write_warc(tmp_path / "a.warc", responses))
    assert reasons(decisions) == ["read", "too_large", "too_large", "read"]


def test_conversions_and_resources_are_pages_too(tmp_path):
    records = [
        ("warcinfo", None, "application/warc-fields", b"software: test\r\n"),
        ("conversion", "https://a.example/1", "text/plain", "Müßige Zeilen".encode()),
        ("conversion", "https://a.example/2", "text/plain", b""),
        ("resource", "https://a.example/3", "text/html", PAGE.encode()),
        ("resource", "https://a.example/4", "image/png", b"\x89PNG"),
        ("metadata", "https://a.example/1", "application/warc-fields", b"a: b\r\n"),
    ]
    path = write_records(tmp_path / "a.warc", records)
    documents, decisions, intake = read(path)
    assert reasons(decisions) == ["read", "empty_text", "read", "not_html"]
    assert [document.metadata["url"] for document in documents] == ["https://a.example/1", "https://a.example/3"]
    assert documents[0].text == "Müßige Zeilen"
    assert documents[1].metadata["meta_robots"] == "noai, noimageai"
    source = Source(path=str(path), kind="web")
    assert intake.rows == count_rows(list_files("web", source)[0], source) == 4


def test_a_warc_without_pages_says_what_it_holds(tmp_path):
    records = [("warcinfo", None, "text/plain", b"a: b"), *[("metadata", "https://a.example/", "text/plain", b"x")] * 2]
    with pytest.raises(SourceError, match=r"a\.warc: no response.*it holds 1 warcinfo, 2 metadata"):
        read(write_records(tmp_path / "a.warc", records))
    assert read(write_records(tmp_path / "b.warc", records[:1]))[2].rows == 0


# -- the plan


def test_a_plan_counts_rows_as_the_reader_does(tmp_path):
    plain = b"".join(json.dumps(page).encode() + b"\n" for page in pages(400))[:-1]
    contents = {
        "a.jsonl": plain,
        "b.jsonl.gz": gzip.compress(plain),
        "c.jsonl.zst": pa.compress(plain, codec="zstd", asbytes=True),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    write_parquet(tmp_path / "d.parquet", pages(400))
    source = Source(path=str(tmp_path), kind="web")
    counted = {
        file.name: (count_rows(file, source), read(Path(file.location))[2].rows) for file in list_files("x", source)
    }
    assert counted == dict.fromkeys([*contents, "d.parquet"], (400, 400))


def test_a_plan_takes_the_documents_of_parquet_files_from_their_footers(tmp_path):
    recipe = make_crawl(tmp_path, files=1, rows=40)
    write_parquet(tmp_path / "pages" / "long.parquet", [{**page, "text": "x" * 9000} for page in pages(1234)])
    [plan] = plan_sources(load_recipe(recipe), sample=10)
    assert plan.documents == 40 + 1234


def test_whatever_stops_the_sample_is_a_note_of_the_plan(tmp_path, monkeypatch):
    def fail(job: object) -> None:
        raise ZeroDivisionError("by the model\nsecond line")

    monkeypatch.setattr("pipeline.plan.run_task", fail)
    [plan] = plan_sources(load_recipe(make_crawl(tmp_path, files=1)), sample=10)
    assert (plan.note, plan.problem) == ("not measured: ZeroDivisionError: by the model", None)


def test_a_plan_shows_small_costs_in_seconds():
    assert [_core_time(seconds) for seconds in (0.0123, 3.5, 3.6, 7200)] == [
        "0.012 CPU s",
        "3.5 CPU s",
        "0.001",
        "2.000",
    ]


_HOSTLIKE = st.text("abcXYZ019.-:@[]%_ ;\\\t\u00e4\u3002", max_size=24)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["http://", "https://", "HTTP://", "ftp://", "//", " http://", "http:\\\\", ""]),
    _HOSTLIKE,
    st.sampled_from(["", "/", "/a;b?c#d", "?q", "#f", "\\x", " /y", "/\n"]),
)
def test_a_plain_url_is_located_as_any_other(scheme, host, rest):
    url = scheme + host + rest
    plain = addresses.locate(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "_PLAIN_URL", re.compile(r"(?!)"))
        assert addresses.locate(url) == plain


def test_the_bytes_that_were_read_are_written_unless_a_stage_altered_the_text(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", pages(5))
    documents, _, _ = read(path)
    assert all(isinstance(document.encoded(), memoryview) for document in documents)
    assert [bytes(document.encoded()) for document in documents] == [document.text.encode() for document in documents]
    documents[0].text = "another \u00e4"
    assert documents[0].encoded() == "another \u00e4".encode()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_any_string_type_are_measured_in_bytes(tmp_path, kind):
    texts = ["na\u00efve caf\u00e9", None, "", " \n", "x" * 40, "\U0001f600"]
    pq.write_table(
        pa.table(
            {
                "text": pa.array(texts).cast(kind)
                if kind != pa.binary()
                else pa.array([t.encode() if t is not None else None for t in texts])
            }
        ),
        tmp_path / "a.parquet",
    )
    documents, decisions, _ = read(tmp_path / "a.parquet", max_document_bytes=30)
    assert [document.text for document in documents] == [texts[0], texts[5]]
    assert [document.entry.text_bytes for document in documents] == [12, 4]
    assert [decision.reason for decision in decisions] == [
        "read",
        "missing_text",
        "empty_text",
        "empty_text",
        "too_large",
        "read",
    ]

"""Finding input files, reading remote ones, and what a WARC carries into the pipeline."""

from __future__ import annotations

import io
import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from filters.decision import Decision
from pipeline.recipe import RecipeError, Source
from pipeline.sources import InputFile, Intake, SourceError, list_files, localized, reader_of
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
    assert document.metadata["x_robots_tag"] == "noai, bot: none"
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
    with pytest.raises(RecipeError, match="would both be task web-a"):
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


def test_a_remote_file_that_comes_short_fails_its_task(tmp_path):
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


def test_a_warc_source_runs_through_a_whole_recipe(tmp_path):
    html = [("Content-Type", "text/html")]
    hosts = ["open.example", "closed.example", "barred.example", "gone.example"]
    responses = [(f"https://{host}/tides", "200 OK", html, PAGE.encode()) for host in hosts]
    write_warc(tmp_path / "pages" / "crawl.warc.gz", responses, gzip=True)
    write_snapshot(tmp_path / "robots.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    totals = run(tmp_path / "recipe.toml", tmp_path / "out").corpus.run["totals"]
    assert (totals["rows"], totals["kept"], totals["excluded"]) == (4, 2, 2)


def test_planning_reads_no_input_file(tmp_path, monkeypatch):
    recipe = make_crawl(tmp_path)
    monkeypatch.setattr(pq, "ParquetFile", lambda *a, **k: pytest.fail("a plan opened an input file"))
    assert len(planned(recipe, "policy.web.robots=false").files) == 3

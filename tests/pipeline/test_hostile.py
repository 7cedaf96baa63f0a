"""Inputs that mean harm: each costs its row or its file, never memory without bound, another folder, or code."""

from __future__ import annotations

import ast
import gzip
import io
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from manifests.report import write_report
from pipeline.inputs import SourceError, list_files
from pipeline.intake import Intake
from pipeline.recipe import RecipeError, Source
from tests.conftest import REPOSITORY
from tests.pipeline.crawl import RECIPE, make_crawl, pages, run, write_parquet

MEMORY = 700_000_000  # bytes beyond what the libraries take, in which each bomb must go off
_LIMITED = """
import resource, sys
from pathlib import Path
from pipeline.inputs import list_files
from pipeline.intake import Intake
from pipeline.recipe import Source
now = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (now + {memory}, now + {memory}))
source = Source.model_validate(dict(path=sys.argv[1], kind="web"))
(file,) = list_files("web", source)
intake = Intake(file, Path(sys.argv[1]), source)
reasons = []
intake.recorder = lambda stage, documents, decisions: reasons.extend(str(decision.reason) for decision in decisions)
kept = sum(1 for _ in intake.run())
print(kept, intake.rows, *sorted(set(reasons)))
"""


def read_limited(path: Path) -> str:
    """Documents, rows and reasons of a file, read by a process that may take no more than `MEMORY` beyond its start."""
    code = _LIMITED.format(memory=MEMORY)
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.strip()


def bomb(path: Path, compress, megabytes: int) -> Path:
    """A JSONL file of three lines, of which the second unpacks to one text of that size."""
    good = json.dumps({"text": "A page like any other."}).encode() + b"\n"
    with compress(path) as file:
        file.write(good + b'{"text": "')
        for _ in range(megabytes):
            file.write(b"a" * 1_000_000)
        file.write(b'"}\n' + good)
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_line_that_unpacks_to_gigabytes_costs_its_row(tmp_path, ending):
    compress = {
        "gz": lambda path: gzip.GzipFile(path, "wb", compresslevel=1),
        "zst": lambda path: pa.output_stream(str(path), compression="zstd"),
    }[ending]
    path = bomb(tmp_path / f"bomb.jsonl.{ending}", compress, 800)
    assert path.stat().st_size < 10_000_000
    assert read_limited(path) == "2 3 read too_large"


def warc(path: Path, *responses: tuple[str, bytes, list[tuple[str, str]]]) -> Path:
    with open(path, "wb") as file:
        writer = WARCWriter(file, gzip=False)
        for url, body, headers in responses:
            http = StatusAndHeaders("200 OK", [("Content-Type", "text/html"), *headers], protocol="HTTP/1.1")
            writer.write_record(writer.create_warc_record(url, "response", http_headers=http, payload=io.BytesIO(body)))
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_page_that_unpacks_to_gigabytes_costs_its_row(tmp_path):
    page = gzip.compress(b"a" * 800_000_000, compresslevel=1)
    path = warc(tmp_path / "bomb.warc", ("https://a.example/", page, [("Content-Encoding", "gzip")]))
    assert read_limited(path) == "0 1 too_large"


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("element", [b"div", b"table><tr><td", b"b", b"ul><li"])
def test_deeply_nested_html_costs_at_most_its_row(tmp_path, element):
    first = element.split(b">")[0]
    deep = b"<html><body>" + b"<%b>" % element * 100_000 + b"words" + b"</%b>" % first * 100_000 + b"</body></html>"
    text = b"<p>" + b"The ferry leaves from the upper steps at six and again at seven in the evening. " * 5 + b"</p>"
    whole = b"<html><body><article>" + text + b"</article></body></html>"
    path = warc(tmp_path / "deep.warc", ("https://a.example/", deep, []), ("https://b.example/", whole, []))
    said = read_limited(path).split()
    assert said[1] == "2"
    assert int(said[0]) >= 1, "the page after it is read"


@pytest.mark.parametrize("rows", [2**40, 2**62])
def test_a_footer_that_announces_absurd_sizes_fails_its_file_at_once(tmp_path, monkeypatch, rows):
    path = write_parquet(tmp_path / "pages.parquet", pages(20))
    source = Source.model_validate({"path": str(path), "kind": "web"})
    (file,) = list_files("web", source)
    real = pq.ParquetFile

    class Absurd:
        """The file with another footer, which nobody can write with pyarrow."""

        def __init__(self, *arguments, **options):
            self._file = real(*arguments, **options)
            self.metadata = self

        num_row_groups, num_rows = 1, rows

        def row_group(self, number):
            return self

        def __getattr__(self, name):
            return getattr(self._file, name)

    monkeypatch.setattr(pq, "ParquetFile", Absurd)
    with pytest.raises(SourceError, match=r"pages\.parquet: its footer says [0-9,]+ rows in [0-9,]+ bytes"):
        list(Intake(file, path, source).run())


@pytest.mark.parametrize("label", ["../../escaped", "/etc", "..", "a/b", "C:\\x", "eng_Latn/../../x", "\0", "eng\n"])
def test_a_language_label_names_no_other_folder(tmp_path, label):
    rows = [{**row, "language": label, "language_script": None} for row in pages(30)]
    recipe = RECIPE + 'partition = "language"\n'
    path = make_crawl(tmp_path / "in", files=1, recipe=recipe)
    write_parquet(tmp_path / "in" / "pages" / "000.parquet", rows)
    before = {file for file in tmp_path.rglob("*") if "out" not in file.parts}
    corpus = run(path, tmp_path / "out").corpus
    assert {shard.language for shard in corpus.shards} == {"und_Zzzz"}
    assert all(shard.path.resolve().is_relative_to((tmp_path / "out" / "shards").resolve()) for shard in corpus.shards)
    assert {file for file in tmp_path.rglob("*") if (tmp_path / "out") not in [file, *file.parents]} == before


@pytest.mark.parametrize(
    "identifier", ["../../../etc/passwd", "/root/x", "a\0b", "x" * 100_000, "'; DROP TABLE kept; --"]
)
def test_an_id_names_no_file(tmp_path, identifier):
    path = make_crawl(tmp_path / "in", files=1)
    write_parquet(tmp_path / "in" / "pages" / "000.parquet", [{**row, "id": identifier} for row in pages(3)])
    corpus = run(path, tmp_path / "out").corpus
    assert corpus.run["totals"]["rows"] == 3
    assert {file.parts[len(tmp_path.parts)] for file in tmp_path.rglob("*")} == {"in", "out"}


def test_a_file_name_makes_a_task_name_that_stays_in_its_folder(tmp_path):
    for name in ("a b;rm -rf ~", "..hidden", "$(id)", "'quoted'", "new\nline", "*?["):
        write_parquet(tmp_path / "pages" / f"{name}.parquet", pages(1))
    source = Source.model_validate({"path": str(tmp_path / "pages"), "kind": "web"})
    tasks = [file.task for file in list_files("web", source)]
    assert len(set(tasks)) == 6
    assert all(
        re.fullmatch(r"web-[A-Za-z0-9._-]+", task) and ".." not in task.removeprefix("web-")[:2] for task in tasks
    )


SCRIPT = "<script>alert(1)</script>"
HOSTS = [
    f"https://{SCRIPT}.example/",
    'https://x"onmouseover="alert(1)".example/',
    f"https://open.example/{SCRIPT}?</script><img src=x onerror=alert(1)>",
    "javascript:alert(document.domain)",
    "https://a.example/' OR 1=1; ATTACH 'x.db'; --",
]


def test_hosts_and_urls_are_text_in_the_report(tmp_path):
    path = make_crawl(tmp_path / "in", files=1)
    rows = [{**row, "url": url, "id": f"{number}"} for number, url in enumerate(HOSTS) for row in pages(1)]
    write_parquet(tmp_path / "in" / "pages" / "000.parquet", rows)
    page = write_report(run(path, tmp_path / "out").corpus).read_text()
    assert SCRIPT not in page
    assert "onerror=alert" not in page
    assert 'onmouseover="alert' not in page


@pytest.mark.parametrize(
    "host", ["'; DROP TABLE x; --", "a' OR '1'='1", "x' UNION SELECT * FROM read_text('/etc/passwd') --"]
)
def test_a_host_given_to_ask_is_no_sql(tmp_path, host):
    corpus = run(make_crawl(tmp_path, files=1), tmp_path / "out").corpus
    command = [sys.executable, "-m", "pipeline.cli", "ask", str(corpus.path), host]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "root:" not in ended.stdout
    assert "Traceback" not in ended.stderr
    assert "open.example" not in ended.stdout, "it answered for hosts that were not asked for"
    with duckdb.connect() as connection:
        assert connection.execute("SELECT count(*) FROM read_parquet(?)", [corpus.tables("kept")]).fetchone() != (0,)


LOADS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def test_nothing_unpickles():
    """Models are read by formats that hold no code. datatrove's dill is its own, for Slurm."""
    for package in ("pipeline", "filters", "manifests", "train"):
        for file in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not LOADS_CODE & {name.partition(".")[0] for name in names}, f"{file} imports {names}"
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    said = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
                    assert said.get("allow_pickle") is not True, f"{file}:{node.lineno} allows pickles"
                    is_torch = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
                    if node.func.attr == "load" and is_torch:
                        assert said.get("weights_only") is True, f"{file}:{node.lineno} loads a pickle by torch"


@pytest.mark.parametrize("stage", ["language", "toxicity"])
def test_a_model_that_is_no_model_is_refused_before_any_work(tmp_path, stage):
    (tmp_path / "model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.")
    recipe = make_crawl(tmp_path, files=1, recipe=RECIPE.replace("pii = {}", f'{stage} = {{ model = "model.bin" }}'))
    try:
        said = [outcome.error for outcome in run(recipe, tmp_path / "out").failed]
    except RecipeError as error:
        said = [str(error)]
    assert len(said) == 1
    assert str(tmp_path / "model.") in said[0]  # the model, or the thresholds that must lie beside it
    assert not list(Path.cwd().glob("hacked"))
    assert not list(tmp_path.rglob("shards/*.parquet"))


def test_the_limit_of_these_tests_is_one():
    assert resource.RLIMIT_AS is not None
    assert MEMORY < 800_000_000

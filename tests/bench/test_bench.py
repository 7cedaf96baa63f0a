"""The bench itself: the baseline does the published work, and what it costs is counted where it belongs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fasttext
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document

from manifests.schema import COUNTS
from tests.bench import bench_pass
from tests.bench.apertus_baseline import AGENTS, MIN_LANGUAGE_SCORE, RobotsFilter, TagFormatter, robots_files, run
from tests.bench.arrow_limit import read_and_write
from tests.bench.bench_pass import Measure, ProgramError, bars, excluded_by_stage, run_program
from tests.bench.generated_corpus import SLURS, SYLLABLES, Planted, generate, generated_sentences, labelled_sentences
from tests.bench.inputs import REPOSITORY
from tests.bench.resources import usage
from tests.bench.toxicity_standin import train

DOCUMENTS = 200
SMALL = {"dim": 8, "bucket": 1_100_000, "epoch": 10}  # see `train` for why not smaller


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models: small ones, trained on the invented languages."""
    folder = tmp_path_factory.mktemp("bench")
    train(labelled_sentences(2000), folder / "toxicity.bin", **SMALL, lr=0.5)
    lines = folder / "languages.txt"
    sentences = [f"__label__{code} {text}\n" for code, text in generated_sentences(1500)]
    slurs = f" {' '.join(SLURS)}\n"  # rude in every language, so no sign of any
    lines.write_text("".join(sentences) + slurs.join(line.strip() for line in sentences), "utf-8")
    model = fasttext.train_supervised(str(lines), **SMALL, lr=0.5, minn=1, maxn=3, thread=1, verbose=0)
    model.save_model(str(folder / "lid.bin"))
    return folder


@pytest.fixture(scope="module")
def planted(work: Path) -> list[Planted]:
    return generate(work, DOCUMENTS, seed=3, rows_per_file=90)


@pytest.fixture(scope="module")
def costs(work: Path, planted: list[Planted]) -> dict:
    return run(work / "pages", work / "robots.parquet", work / "out", work / "lid.bin", work / "toxicity.bin")


def rows(folder: Path) -> dict[str, dict]:
    return {row["id"]: row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()}


def test_baseline_removes_what_a_robots_file_refuses_and_stores_it(work, planted, costs):
    refused = {document.id for document in planted if document.refused}
    removed = rows(work / "out" / "removed" / "robots")
    assert 10 < len(refused) < DOCUMENTS / 2
    assert set(removed) == refused
    assert all(row["text"] for row in removed.values())
    agents = {tuple(row["metadata"]["disallowed_user_agents"]) for row in removed.values()}
    assert ("CCBot", "CCBot/2.0", "CCBot/1.0", "GPTBot") in agents  # a file that names two agents
    assert AGENTS in agents  # a file whose rule for everyone else refuses the path


def test_baseline_removes_mixed_languages_then_toxic_texts(work, planted, costs):
    mixed = {document.id for document in planted if document.mixed and not document.refused}
    toxic = {document.id for document in planted if document.toxic and not document.refused}
    removed = rows(work / "out" / "removed" / "language")
    assert mixed
    assert set(removed) == mixed
    assert all(row["metadata"]["language_score"] <= MIN_LANGUAGE_SCORE for row in removed.values())
    assert toxic
    assert set(rows(work / "out" / "removed" / "toxicity")) == toxic


def test_baseline_tags_pii_and_keeps_the_rest_of_the_text(work, planted, costs):
    source = {row["id"]: row["text"] for row in pq.read_table(work / "pages").to_pylist()}
    kept = rows(work / "out" / "kept")
    for document in planted:
        if document.id in kept:
            expected = source[document.id]
            for value in document.pii:
                tag = "<email-pii>" if "@" in value else "<ip-pii>" if "." in value else "<iban-pii>"
                expected = expected.replace(value, tag)
            assert kept[document.id]["text"] == expected
            assert kept[document.id]["metadata"]["pii_count"] == len(set(document.pii))


def test_baseline_accounts_for_every_document_and_every_stage(costs):
    assert costs["documents"] == DOCUMENTS == costs["kept"] + sum(costs["excluded"].values())
    assert list(costs["excluded"]) == ["robots", "language", "toxicity"]
    assert list(costs["stages"]) == ["robots", "language", "toxicity", "pii"]
    assert costs["stages"]["pii"] > 0
    assert costs["stages"]["language"] > 0


def test_documents_without_robots_file_or_url_are_kept(work, planted):
    robots = RobotsFilter(robots_files(work / "robots.parquet"))
    for url in (None, "https://unheard-of.example/private/1", "https://site0.example/private/1"):
        assert robots.filter(Document(text="x", id="1", metadata={"url": url}))
    assert not robots.filter(Document(text="x", id="1", metadata={"url": "https://site2.example/private/1"}))


def test_printed_ibans_longer_than_the_published_shape_keep_a_tail():
    assert TagFormatter().format("DE89 3704 0044 0532 0130 00.") == "<iban-pii>."
    assert TagFormatter().format("ES91 2100 0418 4502 0005 1332.") == "<iban-pii>32."


def test_generated_corpus_is_the_same_every_time(work, planted, tmp_path):
    assert generate(tmp_path, DOCUMENTS, seed=3, rows_per_file=90) == planted
    for file in sorted((tmp_path / "pages").iterdir()):
        assert pq.read_table(file).equals(pq.read_table(work / "pages" / file.name))
    assert len(SYLLABLES) == len({row["language"] for row in pq.read_table(work / "pages").to_pylist()})


def test_limit_counts_rows_and_utf8_bytes_of_the_input(work, planted, tmp_path):
    limit = read_and_write(work / "pages", tmp_path / "copy.parquet")
    texts = [row["text"] for row in pq.read_table(work / "pages").to_pylist()]
    assert limit["documents"] == DOCUMENTS
    assert limit["text_bytes"] == sum(len(text.encode()) for text in texts)
    assert pq.read_table(tmp_path / "copy.parquet")["text"].to_pylist() == texts


BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_time_of_a_descendant_that_outlives_the_program_is_counted(tmp_path):
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN.format(seconds=0.6)!r}])"
    taken = usage([sys.executable, "-c", orphan], tmp_path)
    assert taken.status == 0
    assert 0.6 <= taken.cpu_seconds < 5


def test_peak_memory_is_the_programs_own(tmp_path):
    ballast = b"x" * 300_000_000
    assert usage([sys.executable, "-c", "pass"], tmp_path).peak_rss_mb < 100
    assert usage([sys.executable, "-c", "len(b'x' * 200_000_000)"], tmp_path).peak_rss_mb > 200
    assert ballast


def test_a_program_that_fails_or_reports_nothing_is_an_error(tmp_path):
    with pytest.raises(ProgramError, match="no_such_module_here"):
        run_program(["no_such_module_here"], tmp_path / "costs.json")
    with pytest.raises(ProgramError, match=r"left no costs\.json"):
        run_program(["this"], tmp_path / "costs.json")


def test_bars_fail_on_a_low_ratio_speed_or_limit_and_on_lost_rows():
    def measures(seconds: float, documents: int, io: float = 0.5) -> dict[str, list[Measure]]:
        peer = Measure(80.0, 1.0, {"stages": {}, "documents": 100})
        ours = Measure(seconds, 1.0, {"stages": {}, "documents": documents, "read": io, "write": io})
        return {"baseline": [peer, peer], "fairtrove": [ours, ours]}

    def met(measures: dict[str, list[Measure]], text_mb: float = 140.0, alone: float = 1.0) -> list[bool]:
        return [met for _, met in bars(measures, 100, text_mb, alone)]

    assert met(measures(10.0, 100)) == [True, True, True, True]
    assert met(measures(10.1, 100)) == [False, False, True, True]
    assert met(measures(1.0, 99)) == [True, True, True, False]
    assert met(measures(10.0, 100, io=0.75)) == [True, True, True, True]
    assert met(measures(10.0, 100, io=0.76)) == [True, True, False, True]


@pytest.mark.parametrize(
    ("seconds", "status", "line"),
    [
        (0.001, 0, "bar pass: 10000.0x the baseline (bar 8.0x) PASS"),
        (8.0, 1, "bar pass: 1.2x the baseline (bar 8.0x) FAIL"),
    ],
)
def test_bench_prints_each_program_stage_and_bar(work, costs, monkeypatch, capsys, seconds, status, line):
    ours = {"stages": {"robots": 1.0, "license": 0.5}, "read": 0.0, "write": 0.0, "ledger": 0.1, "documents": DOCUMENTS}
    commands = []

    def run_program(command: list[str], report: Path) -> Measure:
        if "stock" not in command[0]:
            commands.append(command)
        return Measure(10.0, 500.0, costs) if "baseline" in command[0] else Measure(seconds, 300.0, ours)

    monkeypatch.setattr(bench_pass, "run_program", run_program)
    monkeypatch.setattr(bench_pass, "language_model", lambda: work / "lid.bin")
    monkeypatch.setattr(bench_pass, "_output", lambda module, *paths: _limit(*paths) if "limit" in module else "model")
    assert bench_pass.main(["--input", str(work), "--limit-files", "1"]) == 1  # 90 rows are not the 200 reported
    assert bench_pass.main(["--input", str(work)]) == status
    output = capsys.readouterr().out
    assert line in output
    assert all(
        f"│ {row} " in output for row in ("baseline", "fairtrove", "ratio", "robots", "license", "ledger", "rest")
    )
    assert [command[0].rpartition(".")[2] for command in commands[-4:]] == ["apertus_baseline", "cli"] * 2


def test_exclusions_are_read_from_the_counts_of_a_corpus(tmp_path):
    def count(position: int, stage: str, action: str, language: str, rows: int) -> dict:
        given = {"position": position, "stage": stage, "action": action, "language": language, "rows": rows}
        return {"task": "t", "source": "web", "reason": "r", "text_bytes": 0, "multiset_hash": bytes(32)} | given

    counts = [
        count(3, "toxicity", "exclude", "deu_Latn", 2),
        count(1, "robots", "exclude", None, 5),
        count(1, "robots", "keep", None, 90),
        count(3, "toxicity", "exclude", "fra_Latn", 1),
        count(4, "pii", "alter", "fra_Latn", 7),
    ]
    pq.write_table(pa.Table.from_pylist(counts, schema=COUNTS), tmp_path / "counts.parquet")
    assert list(excluded_by_stage(tmp_path / "counts.parquet").items()) == [("robots", 5), ("toxicity", 3)]


def _limit(pages: str, out: str) -> str:
    return json.dumps(read_and_write(Path(pages), Path(out)))


def test_readme_names_every_file_of_the_bench():
    folder = REPOSITORY / "tests" / "bench"
    readme = (folder / "README.md").read_text("utf-8")
    missing = [file.name for file in folder.glob("*.py") if file.name != "__init__.py" and file.name not in readme]
    assert not missing

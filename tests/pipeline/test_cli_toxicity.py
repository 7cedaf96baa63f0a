"""`fairtrove calibrate` and `fairtrove toxicity`: files, tables, one-line errors, and runs that decide the same."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from filters import toxicity_thresholds
from filters.toxicity import Toxicity
from pipeline.cli import app
from tests.tiny_encoder import needs_torch, save_tiny_encoder, save_tiny_heads

WORDS = ["harbour", "quiet", "boats", "idiot", "stupid", "market", "rain", "nets", "you", "shut", "up", "boxes"]


def run(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)], terminal_width=160)


def rows(count: int, seed: int = 1, **fields: object) -> list[dict[str, object]]:
    draw = random.Random(seed)
    return [
        {"text": " ".join(draw.choice(WORDS) for _ in range(draw.randint(5, 300))), "language": "eng_Latn", **fields}
        for _ in range(count)
    ]


def sample(path: Path, content: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    else:
        lines = "".join(json.dumps(row) + "\n" for row in content).encode()
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def test_a_quantile_excludes_that_share_and_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    content = rows(400)
    one = sample(tmp_path / "one.parquet", content)
    halves = [sample(tmp_path / "b.jsonl.gz", content[200:]), sample(tmp_path / "a.jsonl", content[:200])]
    first = run("calibrate", one, "--quantile", 0.95, "--out", tmp_path / "first.toml")
    assert first.exit_code == 0, first.output
    assert run("calibrate", *halves, "--quantile", 0.95, "--out", tmp_path / "second.toml").exit_code == 0
    assert (tmp_path / "first.toml").read_bytes() == (tmp_path / "second.toml").read_bytes()
    assert "eng_Latn" in first.output
    assert "calibration =" in first.output
    found = toxicity_thresholds.read(tmp_path / "first.toml").languages["eng_Latn"]
    assert found.documents == 400
    assert 0.04 < found.share <= 0.05  # two documents may score the same
    stage = Toxicity(calibration=str(tmp_path / "first.toml"))
    stage.check()
    from datatrove.data import Document

    pages = [Document(text=str(row["text"]), id="d", metadata={"language": "eng_Latn"}) for row in content]
    assert sum(not decision.kept for decision in stage.decide(pages)) == round(400 * found.share)


def test_a_false_positive_rate_looks_at_clean_documents_only(tmp_path: Path) -> None:
    clean, dirty = rows(300, label=0), [{"text": "you stupid idiot " * 3, "language": "eng_Latn", "label": 1}] * 50
    path = sample(tmp_path / "s.jsonl", clean + dirty)
    result = run("calibrate", path, "--false-positives", 0.1, "--out", tmp_path / "t.toml", "--json")
    assert result.exit_code == 0, result.output
    found = toxicity_thresholds.read(tmp_path / "t.toml")
    assert (found.kind, found.languages["eng_Latn"].documents) == ("false-positives", 300)
    assert found.languages["eng_Latn"].share == pytest.approx(0.1)


def test_documents_without_a_language_are_identified_and_thin_languages_named(tmp_path: Path) -> None:
    english = [{"text": f"The boats came back to the harbour before the rain number {n}."} for n in range(120)]
    german = [{"text": f"Die Boote kamen vor dem Regen zurück in den Hafen Nummer {n}."} for n in range(7)]
    path = sample(tmp_path / "s.jsonl", english + german)
    result = run("calibrate", path, "--quantile", 0.95, "--out", tmp_path / "t.toml")
    assert result.exit_code == 0, result.output
    found = toxicity_thresholds.read(tmp_path / "t.toml")
    assert set(found.languages) == {"eng_Latn"}
    assert found.missing["deu_Latn"] == 7
    assert "deu_Latn: 7 documents are too few" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--quantile"),
        (["--quantile", "0.95", "--false-positives", "0.01"], "one of"),
        (["--quantile", "1.0"], "between 0 and 1"),
        (["--quantile", "0.95", "--cascade", "0.99"], "--encoder"),
        (["--quantile", "0.95", "--model", "nowhere.npz"], "nowhere.npz"),
        (["--quantile", "0.9999"], "larger sample"),
        (["--false-positives", "0.5"], "label"),
        (["--quantile", "0.95", "--text", "content"], "--text"),
        (["--quantile", "0.95", "--encoder", "nobody/nothing-here"], "heads"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    path = sample(tmp_path / "s.jsonl", rows(20))
    result = run("calibrate", path, "--out", tmp_path / "t.toml", *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "t.toml").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff\xfe", b'{"text": 3}\n', b"[]\n", b"PAR1"])
@pytest.mark.parametrize("name", ["s.jsonl", "s.parquet", "s.jsonl.gz"])
def test_broken_samples_are_named(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    result = run("calibrate", tmp_path / name, "--quantile", 0.95, "--out", tmp_path / "t.toml")
    assert result.exit_code in (1, 2)
    assert name in result.output
    assert "Traceback" not in result.output
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_card_shows_functional_tests_and_labelled_texts_and_no_text(tmp_path: Path) -> None:
    labelled = [
        {"text": "you worthless stupid piece of shit", "label": 1, "lang": "eng_Latn", "source": "made"},
        {"text": "two boats came back before the rain", "label": 0, "lang": "eng_Latn", "source": "made"},
    ]
    path = sample(tmp_path / "l.jsonl", labelled)
    result = run("toxicity", "card", "--labelled", path)
    assert result.exit_code == 0, result.output
    for word in ("functional tests", "cmn_Hani", "AUROC", "spread", "labelled texts"):
        assert word in result.output
    assert "worthless" not in result.output
    parts = json.loads(run("toxicity", "card", "--labelled", path, "--json").stdout)
    assert len(parts["functional"]) == 9
    assert parts["rankings"][0]["auroc"] == 1.0
    broken = run("toxicity", "card", "--labelled", tmp_path / "none.parquet")
    assert (broken.exit_code, "none.parquet" in broken.output) == (2, True)


@needs_torch
def test_heads_are_trained_calibrated_with_a_cascade_and_used(tmp_path: Path) -> None:
    encoder = save_tiny_encoder(tmp_path / "encoder")
    draw = random.Random(2)
    labelled = [
        {
            "text": "".join(draw.choice("xz " if n % 2 else "abcd ") for _ in range(40)),
            "label": n % 2,
            "lang": "eng_Latn",
        }
        for n in range(160)
    ]
    heads = tmp_path / "heads.safetensors"
    result = run("toxicity", "train", sample(tmp_path / "l.jsonl", labelled), "--encoder", encoder, "--out", heads)
    assert result.exit_code == 0, result.output
    assert "eng_Latn" in result.output
    model = ["--encoder", encoder, "--heads", heads]
    path = sample(tmp_path / "s.jsonl", rows(150))
    result = run("calibrate", path, "--quantile", 0.9, "--cascade", 0.9, *model, "--out", tmp_path / "t.toml")
    assert result.exit_code == 0, result.output
    assert "asked" in result.output
    found = toxicity_thresholds.read(tmp_path / "t.toml").languages["eng_Latn"]
    assert 0 < found.clear < 1
    stage = Toxicity(encoder=str(encoder), heads=str(heads), calibration=str(tmp_path / "t.toml"))
    stage.check()


@needs_torch
def test_a_file_that_is_not_safetensors_is_refused_before_any_work(tmp_path: Path) -> None:
    save_tiny_heads(tmp_path / "heads.safetensors")
    path = sample(tmp_path / "l.jsonl", rows(3, label=1))
    result = run("toxicity", "train", path, "--encoder", tmp_path, "--out", tmp_path / "heads.pth")
    assert (result.exit_code, ".safetensors" in result.output) == (2, True)


@pytest.mark.parametrize("command", [["calibrate"], ["toxicity", "card"], ["toxicity", "train"]])
def test_help_ends_with_an_example(command: list[str]) -> None:
    assert f"Example: fairtrove {' '.join(command)}" in " ".join(run(*command, "--help").stdout.split())

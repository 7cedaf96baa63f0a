"""The language card: counts against a hand count, and files that cannot be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from filters.language_answer import Answer
from filters.language_card import CardError, Labelled, joined, known_to, measure, read_labelled
from pipeline.cli import app

TRUE = ["deu_Latn", "deu_Latn", "deu_Latn", "fra_Latn", "fra_Latn", "hrv_Latn"]
GIVEN = ["deu_Latn", "deu_Latn", "nld_Latn", "fra_Latn", "deu_Latn", "srp_Latn"]


def answered(texts: Sequence[str]) -> list[Answer]:
    return [Answer(GIVEN[int(text)], 0.9) for text in texts]


def documents() -> list[Labelled]:
    return [Labelled(str(number), label) for number, label in enumerate(TRUE)]


def test_ratios_are_those_of_a_hand_count() -> None:
    card = measure("hand", answered, documents())
    german = card.labels["deu_Latn"]
    assert (german.found, german.missed, german.wrong) == (2, 1, 1)
    assert german.f1 == pytest.approx(2 / 3)
    assert card.labels["hrv_Latn"].f1 == 0.0
    assert card.macro_f1() == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert card.accuracy() == pytest.approx(3 / 6)
    assert card.false_positive_rate() == pytest.approx((1 / 3 + 0 + 0) / 3)
    assert card.confusions["fra_Latn", "deu_Latn"] == 1
    assert json.loads(json.dumps(card.to_json()))["by_label"]["fra_Latn"]["recall"] == 0.5


def test_closed_keeps_the_known_languages_and_joining_keeps_every_text() -> None:
    assert [text.label for text in known_to(documents(), {"deu"})] == ["deu_Latn"] * 3
    assert [text.text for text in joined(documents(), 2)] == ["0\n1", "2", "3\n4", "5"]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".jsonl.gz"])
def test_labelled_files_are_read_in_three_forms(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": "a", "lang": "de"}, {"text": "b", "lang": "zho_Hans"}, {"text": "c", "lang": "srp_Latn"}]
    path = tmp_path / f"labelled{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(lines) if suffix.endswith("gz") else lines)
    assert [text.label for text in read_labelled(path)] == ["deu", "cmn_Hani", "srp_Latn"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"[1]\n", "JSON object"),
        (b"{not json\n", "neither Parquet nor JSON Lines"),
        (b'{"text": "a"}\n', "row 1"),
        (b'{"text": "a", "lang": "German"}\n', "no language label"),
        (b"\xff\xfe\n", "neither Parquet nor JSON Lines"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    with pytest.raises(CardError, match=message):
        read_labelled(tmp_path / "bad.jsonl")
    (tmp_path / "bad.parquet").write_bytes(content)
    with pytest.raises(CardError, match=r"bad\.parquet"):
        read_labelled(tmp_path / "bad.parquet")


def test_the_command_prints_the_tables_and_json(tmp_path: Path) -> None:
    rows = [("The harbour was quiet this morning.", "eng_Latn"), ("Heute Morgen war es still im Hafen.", "deu_Latn")]
    lines = "".join(json.dumps({"text": text, "lang": label}) + "\n" for text, label in rows)
    (tmp_path / "two.jsonl").write_text(lines, encoding="utf-8")
    shown = CliRunner().invoke(app, ["language", "card", str(tmp_path / "two.jsonl")])
    assert shown.exit_code == 0
    for part in ("macro-F1", "false-positive rate", "documents/CPU s", "tier", "words"):
        assert part in shown.output
    printed = CliRunner().invoke(app, ["language", "card", str(tmp_path / "two.jsonl"), "--json", "--first", "20"])
    assert json.loads(printed.output)["open"][0]["accuracy"] == 1.0
    missing = CliRunner().invoke(app, ["language", "card", str(tmp_path / "none.jsonl")])
    assert missing.exit_code == 2

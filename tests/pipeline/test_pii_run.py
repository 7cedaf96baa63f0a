"""A run over labelled PII: no value in shards, manifests, logs, report or terminal, whatever the policy or error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from filters import pii_scan
from filters.pii_card import read_labelled
from filters.pii_recognizer import SpanRecognizer
from manifests.corpus import open_corpus
from pipeline.cli import app
from pipeline.sample.labelled import FILE

RECIPE = """
name = "labelled"
[source.pages]
path = "pages.jsonl"
kind = "web"
[policy.web]
pii = {policy}
"""
DOCUMENTS = read_labelled(FILE)
VALUES = sorted({one.text[label.start : label.end] for one in DOCUMENTS for label in one.labels})
POLICIES = [
    "{}",
    "{ spans = true }",
    '{ marker = "hash", key = "a long secret", spans = true }',
    '{ marker = "remove" }',
]


def run(folder: Path, policy: str):
    (folder / "recipe.toml").write_text(RECIPE.replace("{policy}", policy))
    rows = [
        {"id": f"page-{number}", "text": one.text, "language": one.language.partition("_")[0]}
        for number, one in enumerate(DOCUMENTS)
    ]
    (folder / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["curate", str(folder / "recipe.toml"), "--out", str(folder / "out"), "--workers", "1"]
    result = CliRunner().invoke(app, arguments)
    (folder / "pages.jsonl").unlink()
    return result


def everything(folder: Path) -> str:
    """All that a run left behind: Parquet tables as rows, other files as text."""
    said = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            table = path.suffix == ".parquet"
            said.append(
                repr(pq.read_table(path).to_pylist()) if table else path.read_bytes().decode("utf-8", "replace")
            )
    return "\n".join(said)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_value_is_anywhere_in_the_output_of_a_run(tmp_path, policy):
    result = run(tmp_path, policy)
    assert result.exit_code == 0, result.output
    assert len(VALUES) > 150
    said = everything(tmp_path) + result.output
    assert [value for value in VALUES if value in said or re.sub(r"[\s\-\u00a0]", "", value) in said] == []
    assert "a long secret" not in everything(tmp_path / "out") + result.output


def test_the_record_holds_types_counts_recognizer_version_and_spans(tmp_path):
    run(tmp_path, POLICIES[1])
    corpus = open_corpus(tmp_path / "out")
    (kept,) = (tmp_path / "out" / "manifests" / "v0001" / "kept").glob("*.parquet")
    counted: dict[str, int] = {}
    for row in pq.read_table(kept).to_pylist():
        for kind, number in row["redactions"] or ():
            counted[kind] = counted.get(kind, 0) + number
    labelled: dict[str, int] = {}
    for one in DOCUMENTS:
        for label in one.labels:
            labelled[label.type] = labelled.get(label.type, 0) + 1
    assert counted == labelled
    (evidence,) = (tmp_path / "out" / "manifests" / "v0001" / "evidence").glob("*.parquet")
    (row,) = [row for row in pq.read_table(evidence).to_pylist() if row["stage"] == "pii"]
    assert re.fullmatch(r"fairtrove-pii\+presidio-analyzer@\d+\+[\d.]+", row["detector"])
    for shard in corpus.shards:
        for row in pq.read_table(shard.path).to_pylist():
            labels = DOCUMENTS[int(row["id"].partition("-")[2])].labels
            spans = "; ".join(f"{label.type} {label.start}:{label.end}" for label in labels)
            assert row["redaction_spans"] == (spans or None)


class _Breaks(SpanRecognizer):
    kind = "EMAIL"

    def spans(self, window: str, language: str):
        raise ValueError(f"invalid literal: {window!r}")


def test_a_recognizer_that_raises_publishes_nothing_and_no_value_is_in_any_log(tmp_path, monkeypatch):
    monkeypatch.setattr(pii_scan, "_recognizers", lambda: ((_Breaks(), pii_scan._ALL_LOOKS),))
    result = run(tmp_path, "{}")
    assert result.exit_code == 1
    assert "the recognizer of EMAIL raised ValueError" in everything(tmp_path / "out")
    assert list((tmp_path / "out").glob("shards/**/*.parquet")) == []
    said = everything(tmp_path / "out") + result.output
    assert [value for value in VALUES if value in said] == []

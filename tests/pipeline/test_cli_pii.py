"""`fairtrove pii card`: its help, its tables, its JSON, its one-line errors, and no value in any of them."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from filters.pii_card import read_labelled
from pipeline.cli import app
from pipeline.sample.labelled import FILE


def card(*arguments: object):
    return CliRunner().invoke(app, ["pii", "card", *map(str, arguments)], terminal_width=120)


def test_help_ends_with_an_example():
    assert "Example: fairtrove pii card" in " ".join(card("--help").stdout.split())


def test_tables_hold_types_languages_and_speed_and_no_value(tmp_path):
    (tmp_path / "clean.txt").write_text("The ferry waits for the fog.\n" * 2000)
    result = card("sample", "--clean", tmp_path / "clean.txt", "--compare")
    assert result.exit_code == 0, result.output
    for word in ("macro-F1", "published", "datatrove", "EMAIL", "SECRET", "zh_Hans", "0.06 MB clean", "MB/CPU s"):
        assert word in result.output
    values = {one.text[label.start : label.end] for one in read_labelled(FILE) for label in one.labels}
    assert not [value for value in values if value in result.output]


def test_json_holds_the_same_for_each_detector():
    ours, published, stock = json.loads(card("sample", "--compare", "--json").stdout)
    assert (ours["name"], ours["macro_f1"], ours["perfect"]) == ("fairtrove", 1.0, 1.0)
    assert published["macro_f1"] < 0.3
    assert stock["types"]["IBAN"]["recall"] == 0
    assert set(ours["types"]["EMAIL"]) == {"precision", "recall", "f1", "found", "missed", "wrong"}


def test_a_missing_file_is_one_line_and_exit_code_2(tmp_path):
    result = card(tmp_path / "nothere.jsonl")
    assert result.exit_code == 2
    assert "nothere.jsonl" in result.output
    assert "Traceback" not in result.output

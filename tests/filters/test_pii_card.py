"""The card counts by exact span, its peers do what they are said to do, and no value is in it."""

from __future__ import annotations

import gzip
import json

import pytest

from filters.pii_card import Card, CardError, LabelledDocument, measure, ours, published, read_labelled, stock
from pipeline.sample import labelled


def document(tmp_path, *records: dict) -> list[LabelledDocument]:
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return read_labelled(path)


def counts(tmp_path, record: dict, spans: list) -> tuple[int, int, int]:
    card = Card("x")
    (one,) = document(tmp_path, record)
    card.add(one, spans)
    tally = next(iter(card.languages.values()))
    return tally.found, tally.missed, tally.wrong


RECORD = {
    "text": "to mailto:bob@firma.de and more",
    "lang": "en",
    "spans": [{"start": 10, "end": 22, "os": 3, "oe": 22, "type": "EMAIL", "alt": ["PHONE"]}],
    "traps": [{"start": 27, "end": 31, "soft": True}, {"start": 23, "end": 26, "soft": False}],
}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(10, 22, "EMAIL")], (1, 0, 0)),
        ([(3, 22, "EMAIL")], (1, 0, 0)),  # the widest accepted
        ([(10, 22, "PHONE")], (1, 0, 0)),  # an accepted other type
        ([(10, 22, "IBAN")], (0, 1, 1)),
        ([(11, 22, "EMAIL")], (0, 1, 1)),  # too narrow: a rest stays
        ([(2, 22, "EMAIL")], (0, 1, 1)),  # too wide: text is lost
        ([], (0, 1, 0)),
        ([(10, 22, "EMAIL"), (27, 31, "EMAIL")], (1, 0, 0)),  # a soft trap counts neither way
        ([(10, 22, "EMAIL"), (23, 26, "EMAIL")], (1, 0, 1)),
    ],
)
def test_only_the_exact_span_is_found(tmp_path, spans, expected):
    assert counts(tmp_path, RECORD, spans) == expected


def test_ratios_follow_the_counts(tmp_path):
    card = Card("x")
    for one in document(tmp_path, RECORD, {"text": "é" * 500, "spans": [], "kind": "clean"}):
        card.add(one, [(0, 2, "IBAN")])
    assert card.macro_f1() == 0
    assert card.wrong_per_mb("clean") == 1000
    assert (card.with_pii, card.perfect) == (1, 0)
    assert (card.types["IBAN"].precision, card.types["IBAN"].recall, card.types["EMAIL"].precision) == (0, None, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "labelled.jsonl:2: not a JSON object"),
        ("[]", "labelled.jsonl:2: needs `text` and `spans`"),
        ('{"text": "bob@firma.de"}', "labelled.jsonl:2: needs `text` and `spans`"),
        (
            '{"text": "bob@firma.de", "spans": [{"start": 0, "end": 99, "type": "EMAIL"}]}',
            "not within the text of 12",
        ),
        ('{"text": "bob@firma.de", "spans": [{"start": 0, "end": 9, "type": "MAIL"}]}', "'MAIL' is none of EMAIL"),
    ],
)
def test_a_wrong_line_is_named_and_not_quoted(tmp_path, line, message):
    path = tmp_path / "labelled.jsonl"
    path.write_text(f'{{"text": "", "spans": []}}\n{line}\n', "utf-8")
    with pytest.raises(CardError) as caught:
        read_labelled(path)
    assert message in str(caught.value)
    assert "bob@firma" not in str(caught.value)


def test_files_that_cannot_be_read_are_said(tmp_path):
    (tmp_path / "x.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("x.jsonl.gz", "latin.jsonl", "empty.jsonl", "missing.jsonl"):
        with pytest.raises(CardError, match=name):
            read_labelled(tmp_path / name)


def test_gzipped_files_are_read(tmp_path):
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.write(json.dumps(RECORD))
    assert len(read_labelled(tmp_path / "x.jsonl.gz")) == 1


def test_the_published_regexes_replace_a_value_wherever_it_occurs_and_stock_only_matches():
    text = "8.8.8.8 or 18.8.8.88, 10.0.0.1, a@b.co"
    assert [text[start:end] for start, end, _ in published(text, "und")] == ["8.8.8.8", "8.8.8.8", "10.0.0.1", "a@b.co"]
    assert [text[start:end] for start, end, _ in stock(text, "und")] == ["8.8.8.8", "18.8.8.88", "a@b.co"]


def test_the_sample_is_what_its_code_makes_and_is_redacted_without_a_mistake():
    assert labelled.main(["--check"]) == 0
    documents = read_labelled(labelled.FILE)
    assert 60 <= len(documents) <= 100
    card = measure("fairtrove", ours, documents, ["Nothing here, 12 lamps.\n" * 100])
    assert card.macro_f1() == 1
    assert len(card.types) == 10
    assert len(card.languages) == 12
    assert card.clean_per_mb() == 0
    assert card.wrong_by_kind.total() == 0


def test_no_value_is_in_a_card():
    documents = read_labelled(labelled.FILE)
    values = {one.text[label.start : label.end] for one in documents for label in one.labels}
    said = json.dumps([measure(name, finder, documents).to_json() for name, finder in (("a", ours), ("b", published))])
    assert len(values) > 150
    assert not [value for value in values if value in said]

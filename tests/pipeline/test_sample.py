"""The embedded sample is what its README and truth.json say, and its binary files are what its sources make.

Check digits are recomputed here rather than asked of the filters: the sample is one of their judges.
"""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import phonenumbers
import pyarrow.parquet as pq
import pytest
from warcio.archiveiterator import ArchiveIterator

from pipeline.sample import build

SAMPLE = Path(build.__file__).parent
LINES = (SAMPLE / "pages.jsonl").read_text(encoding="utf-8").splitlines()
TRUTH = json.loads((SAMPLE / "truth.json").read_text(encoding="utf-8"))
BROKEN = {entry["line"]: entry["what"] for entry in TRUTH["broken"]}
PAGES: dict[str, dict[str, Any]] = {
    page["id"]: page for page in (json.loads(line) for number, line in enumerate(LINES, 1) if number not in BROKEN)
}
PLANTS = [(id_, plant) for id_, plants in TRUTH["pages"].items() for plant in plants]
README = (SAMPLE / "README.md").read_text(encoding="utf-8")

# One word of a character's Unicode name tells its script.
SCRIPT_WORDS = {
    "Latn": {"LATIN"},
    "Cyrl": {"CYRILLIC"},
    "Grek": {"GREEK"},
    "Arab": {"ARABIC"},
    "Hebr": {"HEBREW"},
    "Deva": {"DEVANAGARI"},
    "Beng": {"BENGALI"},
    "Taml": {"TAMIL"},
    "Telu": {"TELUGU"},
    "Knda": {"KANNADA"},
    "Mlym": {"MALAYALAM"},
    "Gujr": {"GUJARATI"},
    "Guru": {"GURMUKHI"},
    "Orya": {"ORIYA"},
    "Sinh": {"SINHALA"},
    "Thai": {"THAI"},
    "Laoo": {"LAO"},
    "Khmr": {"KHMER"},
    "Mymr": {"MYANMAR"},
    "Geor": {"GEORGIAN"},
    "Armn": {"ARMENIAN"},
    "Ethi": {"ETHIOPIC"},
    "Hang": {"HANGUL"},
    "Hani": {"CJK"},
    "Jpan": {"HIRAGANA", "KATAKANA", "CJK"},
}


def plants(kind: str, *types: str) -> list[tuple[str, dict[str, Any]]]:
    return [(id_, plant) for id_, plant in PLANTS if plant["kind"] == kind and (not types or plant["type"] in types)]


def iban_remainder(value: str) -> int:
    compact = value.replace(" ", "")
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97


def luhn_holds(value: str) -> bool:
    digits = [int(character) for character in value if character.isdigit()][::-1]
    return (sum(digits[0::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def test_it_holds_hundreds_of_pages_in_many_languages_and_scripts():
    languages = {page["language"] for page in PAGES.values()}
    assert len(PAGES) >= 300
    assert len(languages) >= 40
    assert len({page["language_script"] for page in PAGES.values()}) >= 15
    assert all(re.fullmatch(r"[a-z]{3}", language) for language in languages)


def test_each_page_is_written_in_the_script_it_names():
    for page in PAGES.values():
        words = Counter(unicodedata.name(character).split()[0] for character in page["text"] if character.isalpha())
        native = sum(words[word] for word in SCRIPT_WORDS[page["language_script"]])
        assert native / words.total() > 0.6, page["url"]


def test_pages_read_like_pages():
    for page in PAGES.values():
        # Chinese, Japanese and Korean say in a third of the characters what others say in all of them
        shortest = 130 if page["language"] in ("cmn", "jpn", "kor") else 300
        assert shortest <= len(page["text"]) <= 1500, page["url"]
        assert 5 <= len(page["text"].splitlines()) <= 30, page["url"]


def test_no_two_pages_share_a_text_a_url_or_a_line_of_prose():
    assert len({page["text"] for page in PAGES.values()}) == len(PAGES)
    assert len({page["url"] for page in PAGES.values()}) == len(PAGES)
    lines = Counter(line for page in PAGES.values() for line in page["text"].splitlines() if len(line) > 100)
    assert [line for line, times in lines.items() if times > 1] == []


def test_every_host_is_under_a_reserved_name():
    urls = [page["url"] for page in PAGES.values()]
    for name in ("code.jsonl", "crawl.jsonl"):
        urls += [json.loads(line)["url"] for line in (SAMPLE / name).read_text(encoding="utf-8").splitlines()]
    hosts = [urlsplit(url).hostname for url in urls] + build.robots_table()["host"].to_pylist()
    assert [host for host in hosts if not re.search(r"\.(example|test)(:\d+)?$", host)] == []
    assert len(set(hosts)) >= 60


def test_every_plant_is_where_the_truth_says():
    for id_, plant in PLANTS:
        if plant["kind"] != "label":
            assert PAGES[id_]["text"][plant["start"] : plant["end"]] == plant["value"], (id_, plant)


def test_there_is_enough_of_each_kind():
    pages_with = Counter(kind for plants in TRUTH["pages"].values() for kind in {plant["kind"] for plant in plants})
    assert pages_with["pii"] >= 35
    assert pages_with["lookalike"] >= 15
    assert pages_with["license"] >= 40
    assert pages_with["toxic"] >= 15
    toxic_languages = {PAGES[id_]["language"] for id_, _ in plants("toxic")}
    assert toxic_languages >= {"eng", "deu", "fra", "spa", "ita", "por", "pol", "nld", "rus"}


def test_planted_ibans_and_cards_have_right_check_digits():
    assert {plant["value"]: iban_remainder(plant["value"]) for _, plant in plants("pii", "iban")} == {
        plant["value"]: 1 for _, plant in plants("pii", "iban")
    }
    assert [plant["value"] for _, plant in plants("pii", "card") if not luhn_holds(plant["value"])] == []


def test_planted_addresses_are_public_and_phone_numbers_valid():
    assert [p["value"] for _, p in plants("pii", "ip") if not ipaddress.ip_address(p["value"]).is_global] == []
    numbers = [plant["value"] for _, plant in plants("pii", "phone")]
    assert [number for number in numbers if not phonenumbers.is_valid_number(phonenumbers.parse(number))] == []
    mails = [plant["value"] for _, plant in plants("pii", "email")]
    assert [mail for mail in mails if not re.fullmatch(r"[a-z.0-9]+@[a-z0-9-]+\.(net|org)", mail)] == []


def test_lookalikes_are_not_what_they_look_like():
    assert [p["value"] for _, p in plants("lookalike", "ip") if ipaddress.ip_address(p["value"]).is_global] == []
    assert [p["value"] for _, p in plants("lookalike", "iban") if iban_remainder(p["value"]) == 1] == []
    assert [p["value"] for _, p in plants("lookalike", "email") if "@example." not in p["value"]] == []
    assert [p["value"] for _, p in plants("lookalike", "card")] == ["4111 1111 1111 1111"]
    numbers = [p["value"] for _, p in plants("lookalike", "number")]
    assert [n for n in numbers if len(re.sub(r"\D", "", n)) >= 13 and luhn_holds(n)] == []


def test_no_email_or_iban_stands_in_the_pages_that_the_truth_does_not_know():
    known = {(id_, plant["value"]) for id_, plant in PLANTS if plant["kind"] in ("pii", "lookalike")}
    for id_, page in PAGES.items():
        found = re.findall(r"[A-Za-z0-9.]+@[A-Za-z0-9.-]+[a-z]", page["text"])
        found += re.findall(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b", page["text"])
        assert [value for value in found if (id_, value) not in known] == [], page["url"]


def test_license_statements_name_their_license():
    for _, plant in plants("license"):
        words = [word for word in re.split(r"[-.0-9]+", plant["license"]) if word in ("BY", "NC", "SA", "ND")]
        spelled = {"BY": r"\bBY\b|Attribution|Attribuzione|Atribución", "NC": r"\bNC\b", "SA": r"\bSA\b|ShareAlike"}
        assert all(re.search(spelled.get(word, rf"\b{word}\b"), plant["value"]) for word in words), plant
        assert plant["license"] != "CC0-1.0" or re.search("CC0", plant["value"]), plant


def test_the_broken_rows_are_broken_as_documented():
    rows = {what: LINES[number - 1] for number, what in BROKEN.items()}
    assert json.loads(rows["empty text"])["text"] == ""
    assert json.loads(rows["null text"])["text"] is None
    assert json.loads(rows["whitespace text"])["text"].isspace()
    for what in ("not JSON", "truncated JSON"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(rows[what])
    assert rows["truncated JSON"].startswith('{"text": "')
    assert json.loads(rows["text is a number"])["text"] == 42
    assert "url" not in json.loads(rows["missing url"])
    assert "id" not in json.loads(rows["missing id"])
    assert json.loads(rows["duplicate id"])["id"] in PAGES
    with pytest.raises(UnicodeEncodeError):
        json.loads(rows["lone surrogate"])["text"].encode()
    assert not re.search(r"[^\W\d_]", json.loads(rows["digits and punctuation only"])["text"])
    assert json.loads(rows["very short text"])["text"] == "ok"
    assert len(rows) == len(BROKEN) == 12


def test_the_built_files_are_what_their_sources_make():
    assert build.stale() == []
    assert build.main(["--check"]) == 0


def test_building_twice_gives_the_same_bytes():
    assert build.robots_parquet() == build.robots_parquet()
    assert build.crawl_warc() == build.crawl_warc()


@pytest.mark.parametrize("name", ["ROBOTS", "CRAWL"])
def test_a_changed_file_is_called_stale(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    committed = {each: getattr(build, each).read_bytes() for each in ("ROBOTS", "CRAWL")}
    for each, content in committed.items():
        path = tmp_path / getattr(build, each).name
        path.write_bytes(content[:-1] if each == name else content)
        monkeypatch.setattr(build, each, path)
    assert build.stale() == [getattr(build, name).name]
    assert build.main(["--check"]) == 1
    assert getattr(build, name).name in capsys.readouterr().err
    assert build.main([]) == 0
    assert {each: getattr(build, each).read_bytes() for each in committed} == committed


def test_the_snapshot_has_every_kind_of_answer():
    table = pq.read_table(build.ROBOTS)
    assert table.schema.equals(build.ROBOTS_SCHEMA)
    assert set(table["status"].to_pylist()) == {200, 403, 404, 500, 503}
    bodies = [body for body in table["body"].to_pylist() if body is not None]
    for mark in (b"\xef\xbb\xbfUser-agent", b"<!DOCTYPE html>", b"Content-Signal:", b"Content-Usage:", b"USER-AGENT:"):
        assert any(mark in body for body in bodies), mark
    assert any(b"\r" in body and b"\n" not in body for body in bodies)
    hosts = {urlsplit(page["url"]).hostname for page in PAGES.values()}
    assert 5 <= len(hosts - set(table["host"].to_pylist())) <= len(hosts) / 4


def test_the_crawl_reads_back_whole():
    records = [
        (record.rec_type, record.http_headers, record.content_stream().read())
        for record in ArchiveIterator(BytesIO(build.CRAWL.read_bytes()), check_digests="raise")
    ]
    kinds = Counter(kind for kind, _, _ in records)
    assert kinds == {"warcinfo": 1, "request": 1, "response": 14}
    responses = [(headers, body) for kind, headers, body in records if kind == "response"]
    assert any(headers.get_header("X-Robots-Tag") == "noai" for headers, _ in responses)
    assert any(headers.get_header("Content-Type") == "application/pdf" for headers, _ in responses)
    assert any(b'name="robots" content="noai' in body for _, body in responses)
    assert any(b'rel="license"' in body for _, body in responses)
    assert sum(not body and headers.get_statuscode() == "200" for headers, body in responses) == 1


def test_the_code_rows_say_where_they_are_from_and_carry_their_headers():
    rows = [json.loads(line) for line in (SAMPLE / "code.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({row["id"] for row in rows}) == len(rows) >= 20
    assert all(row["url"].endswith(row["path"]) for row in rows)
    tags = Counter(
        tag for row in rows for tag in re.findall(r"SPDX-License-Identifier: (.+?)(?: \*/| -->)?\n", row["text"])
    )
    assert {"MIT", "Apache-2.0", "GPL-3.0-or-later"} <= set(tags)
    assert any("SPDX" not in row["text"] and "license" not in row for row in rows)


def test_the_readme_counts_are_true():
    languages = {page["language"] for page in PAGES.values()}
    for _, plant in plants("label", "wrong"):
        languages.add(plant["language"].split("_")[0])
    hosts = {(urlsplit(json.loads(line)["url"]).hostname or "").encode("idna") for line in _rows_with_url()}
    scripts = {page["language_script"] for page in PAGES.values()}
    assert (
        f"{len(LINES)} lines: {len(PAGES)} pages in {len(languages)} languages and {len(scripts)} scripts on "
        f"{len(hosts)} hosts, with FineWeb-2's column names, and {len(BROKEN)} broken rows"
    ) in README
    for kind in ("pii", "lookalike", "license", "toxic", "label"):
        here = plants(kind)
        assert f" | {len(here)} in {len({id_ for id_, _ in here})} pages | " in README, kind


def _rows_with_url() -> list[str]:
    return [line for line in LINES if line.startswith("{") and line.endswith("}") and '"url": ' in line]

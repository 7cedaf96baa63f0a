"""Licences of files: cases in our own words, whole texts edited and added to, and what the index holds."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.license import detect, inspect
from filters.license_index import CONTAINMENT, INDEX_FILE, find_texts, run_hashes
from filters.license_policy import canonical, permissive
from filters.license_texts import added_restriction, whole_texts
from tests.conftest import shared_data
from tests.filters.license_files import BSD_2, BSD_3RD, FILES, ISC, MIT, comment


@pytest.mark.parametrize(("kind", "content", "expression", "verdict"), FILES)
def test_a_file_says_what_its_author_meant(
    kind: str, content: str, expression: str | None, verdict: bool | None
) -> None:
    found, permitted = detect(kind, content, None)
    assert (found and canonical(found), permitted) == (expression and canonical(expression), verdict)


# --- the index ----------------------------------------------------------------------------------------------------


def test_layout_comments_and_spelling_do_not_change_a_text() -> None:
    plain = run_hashes(MIT)
    assert (run_hashes(comment(MIT, " * ")) == plain).all()
    assert (run_hashes(MIT.replace('"', "“").upper()) == plain).all()
    assert (run_hashes(MIT.replace(" ", "\n\t ")) == plain).all()
    assert (run_hashes("the licence of the authors, https://x.example") == run_hashes(
        "the license of the holders x.example"
    )).all()  # fmt: skip


def test_a_match_says_where_the_text_stands_and_what_is_foreign_in_it() -> None:
    inserted = " and heron and weir and towpath and lantern and mill"
    text = "Präambel über alles.\n\n" + MIT.replace("publish, distribute", "publish," + inserted + ", distribute")
    (match,) = find_texts(text)
    assert match.spdx == "MIT"
    assert text[match.start :].startswith("Permission is hereby")
    assert text[: match.end].endswith("IN THE SOFTWARE")
    assert CONTAINMENT < match.containment < 1
    assert any(inserted.strip() in text[start:end] for start, end in match.foreign)


def test_texts_in_one_file_are_told_apart_and_put_in_order() -> None:
    text = f"First part.\n{ISC}\nSecond part.\n{MIT}\nThird part.\n{BSD_2}{BSD_3RD}"
    found = whole_texts(text)
    assert [known.spdx for known in found][:2] == ["ISC", "MIT"]
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))


def test_a_disclaimer_alone_grants_nothing() -> None:
    disclaimer = MIT[MIT.index("THE SOFTWARE IS PROVIDED") :]
    assert whole_texts(disclaimer + " Warranty.") == []
    assert detect("license_text", disclaimer, None) == (None, None)


@pytest.mark.parametrize(
    ("words", "restriction"),
    [
        ("This software may not be used for commercial purposes.", "noncommercial"),
        ("Commercial use requires a separate licence.", "noncommercial"),
        ("You must not sell it, for it must not be sold.", "noncommercial"),
        ("For academic use only.", "noncommercial"),
        ("The Software shall be used for Good, not Evil.", "proprietary"),
        ("Use for military purposes is excluded.", "proprietary"),
        ("It is prohibited to use this for machine learning.", "no_ai"),
        ("You may use it commercially or non-commercially, for any purpose, commercial or non-commercial.", None),
        ("An AI library. Machine learning for herons.", None),
        ("Sponsored by the commercial users of the weir.", None),
    ],
)
def test_words_that_restrict_are_told_from_words_that_do_not(words: str, restriction: str | None) -> None:
    assert added_restriction(words) == restriction


@pytest.mark.parametrize("place", ["before", "inside", "after"])
@pytest.mark.parametrize("text", [MIT, ISC, BSD_2 + BSD_3RD])
def test_a_free_licence_with_a_restriction_is_never_permissive(text: str, place: str) -> None:
    clause = "Any commercial use of the Software is prohibited without a separate agreement."
    half = text.index("\n\n") if "\n\n" in text else len(text) // 2
    content = {
        "before": f"{clause}\n\n{text}",
        "inside": f"{text[:half]}\n\n{clause}{text[half:]}",
        "after": f"{text}\n\n{clause}",
    }[place]
    for kind in ("license_text", "source", "markdown"):
        body = f"# Weir\n\n## License\n\n{content}" if kind == "markdown" else content
        assert inspect(kind, body).permissive is not True, kind


def test_the_shipped_index_is_the_one_that_its_card_describes() -> None:
    from hashlib import sha256

    card = INDEX_FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert sha256(INDEX_FILE.read_bytes()).hexdigest() in card


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from([MIT, ISC, BSD_2, "\0", "İ", "\ud800", "“", "\n", "a " * 30]) | st.text(max_size=20), max_size=6
    ).map("".join)
)
def test_matches_lie_in_the_text_and_do_not_overlap(text: str) -> None:
    found = sorted(find_texts(text), key=lambda match: match.start)
    for match in found:
        assert 0 <= match.start < match.end <= len(text)
        assert all(match.start <= start < end <= match.end for start, end in match.foreign)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))


@pytest.mark.slow
@pytest.mark.parametrize(("every", "right", "recalled"), [(0, 0.93, 0.95), (50, 0.91, 0.93), (20, 0.75, 0.83)])
def test_texts_of_the_list_are_recognized_with_words_replaced(every: int, right: float, recalled: float) -> None:
    """One word in `every` is another one: far more than editors change, and spread to break the most runs."""
    rng = random.Random(7)
    counts: Counter[str] = Counter()
    rows = [
        row for row in pq.read_table(shared_data("data/license/spdx_texts.parquet")).to_pylist()
        if row["text"] and not (row["deprecated"] or row["is_exception"])
    ]  # fmt: skip
    same: dict[bytes, set[str]] = {}
    for row in rows:
        same.setdefault(run_hashes(row["text"]).tobytes(), set()).add(row["spdx_id"])
    ranked = {
        row["spdx_id"]: row["in_metric"]
        for row in pq.read_table(shared_data("data/license/policy.parquet")).to_pylist()
    }
    for row in rows:
        words = re.split(r"(\s+)", row["text"])
        if every:
            words = [
                rng.choice(["heron", "our", "any"]) if w.strip() and rng.random() < 1 / every else w for w in words
            ]
        found, verdict = detect("license_text", "".join(words), None)
        counts["rows"] += 1
        counts["right"] += (found or "").replace("-or-later", "-only") in {
            name.replace("-or-later", "-only") for name in same[run_hashes(row["text"]).tobytes()]
        }
        counts["permissive"] += permissive(row["spdx_id"])
        counts["recalled"] += bool(verdict and permissive(row["spdx_id"]))
        counts["false"] += bool(verdict and ranked[row["spdx_id"]] and not permissive(row["spdx_id"]))
    assert counts["right"] >= right * counts["rows"], counts
    assert counts["recalled"] >= recalled * counts["permissive"], counts
    assert counts["false"] == 0, counts

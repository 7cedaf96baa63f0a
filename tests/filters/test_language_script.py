"""The script gate and the sampling of long documents."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.language_features import joined_points
from filters.language_script import WINDOW, sample, script_names, writings


def test_shares_of_scripts_add_up_and_kana_makes_japanese() -> None:
    [japanese, mixed] = writings(*joined_points(["今朝の港は静かで", "abcdef абвгде"]))
    assert japanese.scripts == (("Jpan", 1.0),)
    assert dict(mixed.scripts) == {"Latn": 0.5, "Cyrl": 0.5}


def test_a_long_document_is_read_at_start_middle_and_end() -> None:
    text = "".join(f"a{number:05d} " for number in range(20_000))
    taken = sample(text)
    assert len(taken) <= 3 * WINDOW + 2
    assert taken.split()[0] == "a00000"
    assert taken.split()[-1] == "a19999"
    assert any(9_900 < int(word[1:]) < 10_100 for word in taken.split())
    assert all(len(word) == 6 for word in taken.split()[1:-1]), "a word was cut although a space was near"


@given(st.text(max_size=1500))
def test_a_sample_holds_nothing_that_the_text_does_not(text: str) -> None:
    taken = sample(text)
    assert taken == text or (len(taken) <= 3 * WINDOW + 2 and taken[:100] == text[:100])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no letters"),
        ("12.5 17 2024-11-03", "no letters"),
        ("ab", "too few letters"),
        ("17:20 abcdef 0.5 % 3/4 17:20 a 0.5 % 3/4", "mostly not letters"),
        ("QWxhZGRpbjpvcGVuIHNlc2FtZQ" * 4, "words too long"),
        ("plain words", None),
        ("大雨", None),
    ],
)
def test_what_no_language_is_asked_of_says_why(text: str, reason: str | None) -> None:
    assert writings(*joined_points([text]))[0].unreadable == reason


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(codec=None), max_size=80), max_size=5))
def test_a_text_is_written_alike_in_any_company(batch: list[str]) -> None:
    together = writings(*joined_points(batch))
    assert together == [writings(*joined_points([text]))[0] for text in batch]
    for writing in together:
        assert all(script in script_names() for script, _ in writing.scripts)
        assert sum(share for _, share in writing.scripts) <= 1.0 + 1e-9

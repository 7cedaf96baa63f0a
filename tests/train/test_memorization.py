"""The probe measures what it says, arms mask what they say, and near-duplicates are the same words."""

# ruff: noqa: E402 - without torch nothing below the skip must be imported
from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")
pytest.importorskip("tokenizers", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from train import memorization
from train.invented import Language, dress
from train.memorization import ARMS, Recital, Scale, compare, keep_targets, measure, table_of
from train.near_duplicate import find_words
from train.tokenizer import DocumentTokenizer, train_tokenizer

TOY = Scale(steps=3, rows=4, length=64, buckets=(1, 4), canaries=1, layers=1, dim=32, ffn=32, vocabulary=300)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> DocumentTokenizer:
    language, draw = Language(0), random.Random(0)
    texts = [language.write(draw, 100) for _ in range(40)]
    return train_tokenizer(texts, 400, tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


def test_recitals_are_scored_by_words() -> None:
    assert compare([1, 2, 3, 4], [1, 2, 3, 4]) == Recital(1.0, 1.0, 1.0)
    assert compare([9, 8], [1, 2, 3, 4]) == Recital(0.0, 0.0, 0.0)
    assert compare([1, 9, 2, 3], [1, 2, 3, 4]) == Recital(0.0, 0.75, 0.5)
    assert compare([], [1]) == Recital(0.0, 0.0, 0.0)
    assert compare([1], []) == Recital(0.0, 0.0, 0.0)


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_scores_are_those_of_the_slow_definition(written: list[int], true: list[int]) -> None:
    def subsequence(i: int, j: int) -> int:
        if i == len(written) or j == len(true):
            return 0
        if written[i] == true[j]:
            return 1 + subsequence(i + 1, j + 1)
        return max(subsequence(i + 1, j), subsequence(i, j + 1))

    runs = [
        size
        for size in range(len(true) + 1)
        if any(
            true[j : j + size] == written[i : i + size]
            for j in range(len(true) - size + 1)
            for i in range(len(written) - size + 1)
        )
    ]
    short = len(written) <= 7 and len(true) <= 7
    found = compare(written, true)
    if short:
        assert found.rouge == pytest.approx(2 * subsequence(0, 0) / (len(written) + len(true)))
    assert found.longest == pytest.approx(max(runs) / len(true))
    assert found.exact == (written == true)


def test_a_near_duplicate_has_the_same_words_and_other_tokens(tokenizer: DocumentTokenizer) -> None:
    draw = random.Random(1)
    text = Language(0).write(draw, 120)
    copies = [dress(text, draw) for _ in range(5)]
    assert len({*copies, text}) == 6
    for copy in copies:
        assert find_words(copy).hashes.tolist() == find_words(text).hashes.tolist()
        assert tokenizer.encode([copy]) != tokenizer.encode([text])


@pytest.mark.parametrize("arm", ARMS, ids=[arm.name for arm in ARMS])
def test_arms_drop_one_in_k(arm, tokenizer: DocumentTokenizer) -> None:
    language, draw = Language(0), random.Random(2)
    texts = [language.write(draw, 100) for _ in range(60)]
    tokens, documents, keep = keep_targets(arm, 0, texts, tokenizer, 1024)
    assert tokens.shape == documents.shape == keep.shape
    assert documents.max() == 59
    nominal = 1 / arm.k if arm.k else 0.0
    slack = 0.6 if arm.name == "reference 50/50" else 0.25  # its overflow, and few draws
    assert nominal * (1 - slack) - 1e-9 <= 1 - keep.mean() <= nominal * 1.25


def test_a_measured_table_is_taken_up_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Console(file=io.StringIO())
    arms = (ARMS[0], ARMS[-1])
    outcomes = measure(tmp_path, TOY, arms, [0], quiet)
    standard, ours = outcomes
    assert standard.drop_rate == 0
    assert 0.1 < ours.drop_rate < 0.4
    assert abs(ours.supervised / standard.supervised - 1) < 0.25  # three steps of it
    assert set(ours.recitals["near"]) == {0, 1, 4}
    monkeypatch.setattr(memorization, "run_arm", lambda *_: pytest.fail("run again"))
    assert measure(tmp_path, TOY, arms, [0], quiet) == outcomes
    written = io.StringIO()
    Console(file=written, width=120).print(table_of(outcomes, TOY))
    assert "near-duplicate 4/13" in written.getvalue()
    page = (tmp_path / "memorization.html").read_text()
    assert page.count("<polyline") == 4
    assert "http" not in page

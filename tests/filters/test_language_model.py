"""The language model: its file, its arithmetic against a plain re-computation, and the recipe on a toy corpus."""

from __future__ import annotations

import dataclasses
import math
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.language_features import folding_table, gram_keys, joined_points, word_keys, words_of
from filters.language_identifier import EMBEDDED, WordIdentifier
from filters.language_model import DENSE, SHORT, UNIT, WordModel, entry_bits, load, save
from filters.models.measure_language import threshold
from filters.models.train_language import Settings, Source, rates_of, train
from filters.scores import ModelError

FOLD = folding_table()
texts = st.text(st.characters(codec=None), max_size=60)
TOY = {
    "aaa_Latn": Source(sentences=["kala mina soro tuke"] * 80 + ["kala pesa noro"] * 60),
    "bbb_Latn": Source(sentences=["wex zuq brot flim kalawex"] * 80 + ["wex tschin pfol"] * 60),
    "ccc_Latn": Source(words=["hwnlli", "gwdra", "yndlo"], function_words=["yn", "y"], grams=["gwdr", "wnll"]),
    "ddd_Cyrl": Source(sentences=["пора лими тузо"] * 120),
}
TOY_WORDS = ["kala", "mina", "soro", "wex", "zuq", "kalami", "brotil", "yn", "hwnlli", "tuke"]
LOOSE = dataclasses.replace(Settings(), rank=3, gram_labels=1)


@pytest.fixture(scope="module")
def toy() -> WordModel:
    return WordModel(train(TOY, LOOSE))


def folded_words(text: str) -> list[str]:
    words = words_of(*joined_points([text]), FOLD)
    return ["".join(map(chr, words.codes[a:b])) for a, b in zip(words.begins, words.stops, strict=True)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The harbour\u2019s 'quiet' 2nd—day", ["the", "harbour's", "quiet", "nd", "day"]),
        ("今天早上，好。", ["今天早上", "好"]),
        ("שָׁלוֹם مُحَمَّد", ["שלום", "محمد"]),
        ("ＦＵＬＬ width", ["full", "width"]),
        ("𞤀𞤣 😀 ok", ["𞤢𞤣", "ok"]),
        ("'' '", []),
        ("", []),
    ],
)
def test_text_folds_into_words(text: str, words: list[str]) -> None:
    assert folded_words(text) == words


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_keys_of_a_text_are_the_same_in_any_company(batch: list[str]) -> None:
    together = words_of(*joined_points(batch), FOLD)
    keys = word_keys(together)
    for number, text in enumerate(batch):
        alone = words_of(*joined_points([text]), FOLD)
        mine = np.flatnonzero(together.owners == number)
        assert (keys[mine] == word_keys(alone)).all()
        grams = gram_keys(together, mine)[0] if len(mine) else np.zeros(0)
        own = gram_keys(alone, np.arange(len(alone.begins)))[0] if len(mine) else np.zeros(0)
        assert (np.sort(grams) == np.sort(own)).all()


def test_a_saved_model_is_read_back_and_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    arrays = train(TOY, LOOSE)
    save(arrays, tmp_path / "one.arrow")
    save(train(TOY, LOOSE), tmp_path / "two.arrow")
    assert (tmp_path / "one.arrow").read_bytes() == (tmp_path / "two.arrow").read_bytes()
    again = load(tmp_path / "one.arrow")
    for field in dataclasses.fields(arrays):
        assert np.array_equal(getattr(arrays, field.name), getattr(again, field.name)), field.name


def test_files_that_are_no_model_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.arrow.*reinstall"):
        load(tmp_path / "absent.arrow")
    for name, content in (("broken", EMBEDDED.read_bytes()[:5_000]), ("empty", b""), ("text", b"hello\n" * 50)):
        (tmp_path / f"{name}.arrow").write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}\.arrow"):
            load(tmp_path / f"{name}.arrow")


def test_a_known_word_weighs_the_logarithm_of_its_rate(toy: WordModel) -> None:
    keys, values = rates_of(TOY["aaa_Latn"], FOLD, LOOSE).words
    words = words_of(*joined_points(["kala"]), FOLD)
    [entry] = toy.lookup(word_keys(words)).tolist()
    rate = float(values[np.searchsorted(keys, entry_bits(word_keys(words)))[0]])
    start, count = int(toy.pair_starts[entry]), int(toy.arrays.counts[entry])
    labels, weights = (array[start : start + count] for array in (toy.arrays.pair_labels, toy.arrays.pair_weights))
    [weight] = weights[labels == toy.labels.index("aaa_Latn")]
    assert int(weight) * UNIT == pytest.approx(math.log1p(rate / LOOSE.word_background), abs=UNIT)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(TOY_WORDS), min_size=1, max_size=30))
def test_sums_are_those_of_a_plain_loop(toy: WordModel, chosen: list[str]) -> None:
    words = words_of(*joined_points([" ".join(chosen)]), FOLD)
    first, last = toy.scripts["Latn"]
    [found] = toy.scores(toy.read(words, 1), np.array([0]), first, last)
    expected = len(chosen) * toy.arrays.offsets.astype(float) + toy.arrays.priors
    for word, entry in enumerate(toy.lookup(word_keys(words)).tolist()):
        entries = [entry] if entry >= 0 else []
        if entry < 0 or len(chosen) <= SHORT:
            entries += [gram for gram in toy.lookup(gram_keys(words, np.array([word]))[0]).tolist() if gram >= 0]
        for one in entries:
            if toy.arrays.counts[one] == DENSE:
                row = toy.arrays.rows[toy.row_numbers[one]].astype(float)
                expected += row @ toy.arrays.columns.T.astype(float) * toy.arrays.scale
            else:
                for pair in range(toy.pair_starts[one], toy.pair_starts[one] + int(toy.arrays.counts[one])):
                    expected[toy.arrays.pair_labels[pair]] += float(toy.arrays.pair_weights[pair])
    assert found == pytest.approx(expected[first:last], rel=1e-4, abs=0.05)


def test_the_toy_languages_are_told_apart(toy: WordModel, tmp_path: Path) -> None:
    save(toy.arrays, tmp_path / "toy.arrow")
    found = WordIdentifier(tmp_path / "toy.arrow").answers(
        ["kala mina noro", "zuq tschin wex", "hwnlli yn gwdra", "лими пора", "ความเงียบ"]
    )
    assert [answer.label for answer in found] == ["aaa_Latn", "bbb_Latn", "ccc_Latn", "ddd_Cyrl", "und_Thai"]
    assert found[-1].reason == "no language of the model is written so"


def test_the_embedded_model_is_small_and_loads_fast() -> None:
    assert EMBEDDED.stat().st_size <= 12_000_000
    WordIdentifier()
    started = time.process_time()
    for _ in range(3):
        WordIdentifier()
    assert (time.process_time() - started) / 3 <= 0.4  # 0.07 alone; the bench holds the bar of 0.1


def test_composed_and_decomposed_letters_are_alike() -> None:
    text = "Überraschend größer gehört für Müller natürlich möglich schön"
    model = WordIdentifier()
    assert model.answers([unicodedata.normalize("NFD", text)]) == model.answers([text])


def test_a_threshold_is_the_lowest_from_which_enough_are_right() -> None:
    assert threshold([(0.9, True)] * 20) == 0.3
    assert threshold([(0.35, False)] * 5 + [(0.9, True)] * 20) == 0.4
    assert threshold([(0.99, False)] * 9) == 0.95

"""Thresholds as data: what a fitted threshold promises, the file's round trip, and the stage that reads it."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from datatrove.data import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import toxicity, toxicity_thresholds
from filters.decision import Action
from filters.scores import ModelError, exact, longer
from filters.toxicity import Reason, Toxicity, embedded
from filters.toxicity_thresholds import Sample, Threshold, Thresholds, fit, order_interval, read, write

DIGEST = embedded(str(toxicity.MODEL)).digest.hex()
shares = st.floats(0, 1, width=32)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 0.999).map(exact), min_size=100, max_size=400), st.sampled_from([0.05, 0.1, 0.5]))
def test_no_more_than_the_share_is_excluded_and_the_next_lower_score_would_exclude_more(
    scores: list[float], rate: float
) -> None:
    found = fit(scores, [1] * len(scores), rate, sloped=False)
    assert found is not None
    gone = sum(score >= found.threshold for score in scores)
    assert gone <= rate * len(scores)
    kept = [score for score in scores if score < found.threshold]
    assert sum(score >= max(kept) for score in scores) > rate * len(scores) or found.threshold == 1.0
    assert found.low <= found.threshold <= found.high


def test_the_interval_holds_the_true_quantile_as_often_as_it_says() -> None:
    random.seed(3)
    inside = 0
    for _ in range(400):
        scores = [random.random() for _ in range(500)]
        found = fit(scores, [1] * 500, 0.05, sloped=False)
        assert found is not None
        inside += found.low <= 0.95 <= found.high
    assert 0.92 <= inside / 400 <= 0.995


def test_the_interval_is_the_binomials_own() -> None:
    count, quantile = 60, 0.9
    terms = [math.comb(count, k) * quantile**k * (1 - quantile) ** (count - k) for k in range(count + 1)]
    lower, upper = order_interval(count, quantile)
    assert sum(terms[lower + 1 : upper + 1]) >= 0.95
    assert sum(terms[lower + 2 : upper]) < 0.95


def test_a_language_with_too_few_documents_gets_no_threshold() -> None:
    assert fit([0.1] * 99, [1] * 99, 0.05, sloped=False) is None
    assert fit([0.1] * 100, [1] * 100, 0.05, sloped=False) is not None


def test_a_fitted_slope_takes_length_out_of_a_maximum() -> None:
    random = np.random.default_rng(5)
    windows = np.exp(random.uniform(0, 6, 6000)).astype(int) + 1
    scores = 1 / (1 + np.exp(-np.array([random.gumbel(size=count).max() - 6 for count in windows])))
    found = fit(scores.tolist(), windows.tolist(), 0.05, sloped=True)
    assert found is not None
    assert 0.8 < found.slope < 1.2  # the maximum of n Gumbel values grows by exactly ln n
    gone = np.array([longer(s, int(n), found.slope) >= found.threshold for s, n in zip(scores, windows, strict=True)])
    long, short = gone[windows > 100].mean(), gone[windows < 10].mean()
    assert abs(long - short) < 0.03
    flat = fit(scores.tolist(), windows.tolist(), 0.05, sloped=False)
    assert flat is not None
    assert (scores[windows > 100] >= flat.threshold).mean() > 3 * (scores[windows < 10] >= flat.threshold).mean()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=5), st.sampled_from(["deu_Latn", ""]))), st.randoms())
def test_a_sample_is_the_same_in_any_order(rows: list[tuple[str, str]], order: random.Random) -> None:
    one, other = Sample(4), Sample(4)
    for row in rows:
        one.add(*row)
    shuffled = list(rows)
    order.shuffle(shuffled)
    for row in shuffled:
        other.add(*row)
    assert (one.texts(), one.digest()) == (other.texts(), other.digest())
    for texts in one.texts().values():
        assert len(texts) == len(set(texts)) <= 4


labels = st.one_of(st.sampled_from(["deu_Latn", "", 'a"b\\', "zh\n"]), st.text(max_size=8))
entries = st.builds(Threshold, shares, shares, st.integers(1, 10**9), shares, shares, shares, shares)
files = st.builds(
    Thresholds,
    st.just("ab" * 32),
    st.sampled_from(toxicity_thresholds.KINDS),
    st.just(0.05),
    st.just("cd" * 32),
    st.dictionaries(labels, entries, max_size=4),
    st.dictionaries(labels, st.integers(0, 99), max_size=3),
    st.sampled_from(["", "ef" * 32]),
)


@settings(max_examples=100, deadline=None)
@given(files)
def test_a_file_of_thresholds_reads_back(tmp_path_factory: pytest.TempPathFactory, content: Thresholds) -> None:
    path = tmp_path_factory.mktemp("thresholds") / "t.toml"
    try:
        for name in (*content.languages, *content.missing):
            name.encode()
    except UnicodeEncodeError:
        return
    write(content, path)
    assert read(path) == content


@pytest.mark.parametrize("text", ["", "[fitted]\n", "not toml [", "[language.x]\nthreshold = 2.0\n"])
def test_a_file_that_is_none_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "thresholds.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"thresholds\.toml.*fairtrove calibrate"):
        read(path)
    with pytest.raises(ModelError, match=r"nowhere\.toml"):
        Toxicity(calibration=str(tmp_path / "nowhere.toml")).fingerprint()


def document(text: str, language: str = "eng") -> Document:
    return Document(text=text, id="d", metadata={"language": language, "language_script": "Latn"})


def calibrated(tmp_path: Path, threshold: float, model: str = DIGEST, language: str = "eng_Latn") -> str:
    path = tmp_path / f"{threshold}.toml"
    entry = Threshold(threshold, 0.0, 1000, threshold, threshold, 0.05)
    write(Thresholds(model, "quantile", 0.05, "00" * 32, {language: entry}), path)
    return str(path)


def test_the_stage_decides_by_the_file_and_says_so_in_its_evidence(tmp_path: Path) -> None:
    page = document("You are such a stupid idiot, shut up.")
    strict, lenient = (Toxicity(calibration=calibrated(tmp_path, value)) for value in (0.001, 1.0))
    strict.check()
    [gone], [kept] = strict.decide([page]), lenient.decide([page])
    assert gone.action is Action.EXCLUDE
    assert gone.evidence is not None
    assert gone.evidence.threshold == 0.001
    assert kept.reason == Reason.CLEAN
    assert strict.fingerprint() != lenient.fingerprint() != Toxicity().fingerprint()
    own = Toxicity(calibration=strict.calibration, thresholds={"eng_Latn": 1.0})
    assert own.decide([page])[0].action is Action.KEEP  # what the recipe says itself goes first


def test_a_language_that_the_model_has_no_threshold_for_is_decided_by_the_file(tmp_path: Path) -> None:
    page = document("anything at all", "tha")
    assert Toxicity().decide([page])[0].reason == Reason.UNSCORED_LANGUAGE
    path = calibrated(tmp_path, 0.0, language="tha_Latn")
    assert Toxicity(calibration=path).decide([page])[0].action is Action.EXCLUDE


def test_thresholds_of_another_model_and_another_digest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fairtrove calibrate"):
        Toxicity(calibration=calibrated(tmp_path, 0.5, model="ab" * 32)).check()
    with pytest.raises(ModelError, match="digest"):
        Toxicity(digest="ab" * 32).check()
    Toxicity(digest="sha256:" + DIGEST.upper()).check()

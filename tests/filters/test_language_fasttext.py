"""Any fastText model by path: what its labels mean, the gate in front of it, and what happens to broken files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fasttext
import pytest

from filters import language
from filters.language import Language, model
from filters.language_fasttext import FastTextModel
from filters.language_labels import languages, model_label, related
from filters.language_script import script_names
from filters.scores import ModelError
from tests.filters.test_language import SENTENCES, document


@pytest.fixture(scope="module")
def labelled_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with labels as GlotLID writes them, `zxx` among them."""
    folder = tmp_path_factory.mktemp("glotlid")
    names = {"__label__deu_Latn": "deu_Latn", "__label__srp_Latn": "pol_Latn", "__label__rus_Cyrl": "rus_Cyrl"}
    lines = [f"{name} {SENTENCES[source]}" for name, source in names.items() for _ in range(60)]
    lines += [f"__label__bel_Cyrl {SENTENCES['ukr_Cyrl']}", f"__label__nod_Thai {SENTENCES['tha_Thai']}"] * 60
    lines += ["__label__zxx_Latn lorem ipsum dolor qwerty asdf zxcv hjkl"] * 60
    (folder / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    # Each of fasttext 0.9.3's threads initialises a tenth of the input matrix: with fewer than ten, NaN may lie in it.
    trained = fasttext.train_supervised(
        str(folder / "train.txt"), minn=2, maxn=4, dim=16, epoch=40, lr=0.2, bucket=5000, thread=12, verbose=0
    )
    trained.save_model(str(folder / "tiny.bin"))
    return folder / "tiny.bin"


@pytest.fixture(autouse=True)
def forget_models() -> Iterator[None]:
    yield
    language.model.cache_clear()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("__label__de", ("deu", ("Latn",))),
        ("__label__zh", ("cmn", ("Hani",))),
        ("__label__ja", ("jpn", ("Jpan",))),
        ("__label__ko", ("kor", ("Hang",))),
        ("__label__als", ("gsw", ("Latn",))),  # lid.176 means Alemannic
        ("__label__als_Latn", ("als", ("Latn",))),  # ISO 639-3 means Tosk Albanian
        ("__label__no", ("nob", ("Latn",))),
        ("__label__zho_Hans", ("cmn", ("Hani",))),
        ("__label__pes_Arab", ("fas", ("Arab",))),
        ("__label__kur_Arab", ("ckb", ("Arab",))),
        ("__label__ku", ("kmr", ("Latn", "Cyrl", "Arab"))),
        ("__label__zxx_Latn", ("und", ())),
    ],
)
def test_labels_of_models_mean_iso_codes_and_scripts(raw: str, expected: tuple[str, tuple[str, ...]]) -> None:
    label = model_label(raw)
    assert (label.language, label.scripts) == expected


def test_every_code_in_the_data_is_well_formed_and_folding_ends() -> None:
    data = languages()
    codes = {*data["iso639_1"].values(), *data["fold"].values(), *data["sole"].values(), *data["scripts"]}
    assert all(len(code) == 3 and code.islower() for code in codes)
    assert not set(data["fold"].values()) & set(data["fold"]), "a code is folded into one that is itself folded"
    names = script_names()
    assert {script for scripts in data["scripts"].values() for script in scripts} <= names
    assert set(data["sole"]) <= names


def test_a_model_with_glotlid_labels_is_used_by_path(labelled_model: Path) -> None:
    model = FastTextModel(labelled_model)
    found = model.answers([SENTENCES[name] for name in ("deu_Latn", "pol_Latn", "rus_Cyrl")])
    assert [answer.label for answer in found] == ["deu_Latn", "srp_Latn", "rus_Cyrl"]


def test_a_script_answers_alone_unless_the_model_knows_a_rival_in_it(labelled_model: Path) -> None:
    model = FastTextModel(labelled_model)
    thai, greek = model.answers([SENTENCES["tha_Thai"], SENTENCES["ell_Grek"]])
    assert thai.label == "nod_Thai"  # the model was asked, because it has a Thai-script language other than Thai
    assert (greek.label, greek.score) == ("ell_Grek", 1.0)


def test_the_gate_refuses_a_label_in_a_script_the_text_is_not_in(labelled_model: Path) -> None:
    model = FastTextModel(labelled_model)
    for text in (SENTENCES["arb_Arab"], SENTENCES["hin_Deva"]):
        [answer] = model.answers([text])
        assert answer.label in ("und_Arab", "und_Deva")
        assert answer.score == 0.0  # it knows no language in these scripts; its zxx may answer
    [noise] = model.answers(["lorem ipsum dolor qwerty asdf zxcv hjkl"])
    assert (noise.label, noise.score, noise.reason) == ("und_Latn", 0.0, "the model calls it no language")


def test_related_languages_are_those_of_one_group_or_one_macrolanguage() -> None:
    assert related("hrv", "srp")
    assert related("zsm", "msa")
    assert not related("deu", "nld")


def test_the_fingerprint_changes_with_policy_and_model(labelled_model: Path) -> None:
    stages = [
        Language(),
        Language(languages=["deu"]),
        Language(given="trust"),
        Language(undetermined="keep"),
        Language(thresholds={"deu": 0.4}),
        Language(model=str(labelled_model)),
    ]
    prints = [tuple(sorted(stage.fingerprint().items())) for stage in stages]
    assert len(set(prints)) == len(stages)
    assert Language().fingerprint()["model"] == language.digest(language.EMBEDDED).hex()


def test_any_text_gets_one_answer_whatever_stands_in_it(labelled_model: Path) -> None:
    model = FastTextModel(labelled_model)
    for text in ("", "a\nb\x00c\u2028d", "\ud800 lone", "x" * 100_000, "\n", "🙂" * 50):
        [answer] = model.answers([text])
        assert 0.0 <= answer.score <= 1.0


def test_capitals_are_lower_cased_for_the_model(labelled_model: Path) -> None:
    [answer] = FastTextModel(labelled_model).answers([SENTENCES["pol_Latn"].upper()])
    assert answer.label == "srp_Latn"


def test_a_stage_with_a_foreign_model_decides_by_it_and_says_so(labelled_model: Path) -> None:
    stage = Language(model=str(labelled_model), languages=["deu"])
    kept, gone = stage.decide([document(SENTENCES["deu_Latn"]), document(SENTENCES["rus_Cyrl"])])
    assert kept.kept
    assert gone.evidence is not None
    assert (gone.evidence.protocol, gone.evidence.detector.partition("@")[0]) == ("fasttext", "tiny")


def test_a_model_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent"):
        model(str(tmp_path / "absent.ftz"))
    (tmp_path / "broken.bin").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="not a fastText model"):
        model(str(tmp_path / "broken.bin"))

"""Language identification with the embedded model: what holds for any text, on held-out lines, on pages; the stage."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import language
from filters.decision import Action
from filters.language import Language, Reason, answers, identify, model
from filters.language_identifier import WordIdentifier
from filters.language_labels import given_label, model_label
from filters.language_thresholds import threshold_of, tiers
from tests.conftest import shared_data

# Written for these tests; a sentence or two each, the script alone decides the last six.
SENTENCES = {
    "eng_Latn": "The harbour was quiet this morning, and only two fishing boats had come back before the rain.",
    "deu_Latn": "Heute Morgen war es still im Hafen, und nur zwei Fischerboote kamen vor dem Regen zurück.",
    "fra_Latn": "Le port était calme ce matin, et seuls deux bateaux de pêche sont rentrés avant la pluie.",
    "spa_Latn": "El puerto estaba tranquilo esta mañana y solo dos barcos de pesca volvieron antes de la lluvia.",
    "pol_Latn": "Dziś rano w porcie było cicho i tylko dwie łodzie rybackie wróciły przed deszczem.",
    "rus_Cyrl": "Сегодня утром в порту было тихо, и только две рыбацкие лодки вернулись до дождя.",
    "ukr_Cyrl": "Сьогодні вранці в порту було тихо, і лише два рибальські човни повернулися до дощу.",
    "arb_Arab": "كان الميناء هادئا هذا الصباح ولم يعد سوى قاربي صيد قبل هطول المطر",
    "hin_Deva": "आज सुबह बंदरगाह शांत था और बारिश से पहले केवल दो नावें लौटीं।",
    "cmn_Hani": "今天早上港口很安静，下雨之前只有两条渔船回来了。",
    "jpn_Jpan": "今朝の港は静かで、雨が降る前に戻ってきた漁船は二隻だけでした。",
    "kor_Hang": "오늘 아침 항구는 조용했고 비가 오기 전에 어선 두 척만 돌아왔다.",
    "tha_Thai": "เช้านี้ท่าเรือเงียบสงบ มีเรือประมงเพียงสองลำกลับมาก่อนฝนตก",
    "ell_Grek": "Σήμερα το πρωί το λιμάνι ήταν ήσυχο και μόνο δύο ψαρόβαρκες γύρισαν πριν από τη βροχή.",
    "tam_Taml": "இன்று காலை துறைமுகம் அமைதியாக இருந்தது, மழைக்கு முன் இரண்டு படகுகள் மட்டுமே திரும்பின.",
    "div_Thaa": "މިއަދު ހެނދުނު ބަނދަރު ވަރަށް މަޑުމައިތިރި",
}
texts = st.text(st.characters(codec=None), max_size=300)  # any code point, lone surrogates and NUL included


def document(text: str, **fields: object) -> Document:
    return Document(text=text, id="d", metadata=dict(fields))


@pytest.mark.parametrize("label", SENTENCES)
def test_a_plain_sentence_gets_its_label(label: str) -> None:
    [(found, score)] = identify([SENTENCES[label]])
    assert found == label
    assert score >= 0.5


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=4))
def test_every_text_gets_one_label_and_a_score_from_0_to_1(batch: list[str]) -> None:
    answers = identify(batch)
    assert len(answers) == len(batch)
    for label, score in answers:
        assert len(label) == 8
        code, script = label.split("_")
        assert code.islower()
        assert script.istitle()
        assert 0.0 <= score <= 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(texts, st.sampled_from(sorted(SENTENCES.values()))), min_size=2, max_size=5))
def test_neighbours_in_a_batch_do_not_change_an_answer(batch: list[str]) -> None:
    assert identify(batch) == [identify([text])[0] for text in batch]


@pytest.mark.parametrize(
    "text",
    ["", "   \n\t", "12.5 17 2024-11-03", "\x00\ud800", "!?", "ab", "🙂🙂🙂", "9" * 200_000, "17:20 a 0.5 % 3/4"],
)
def test_text_without_language_is_undetermined(text: str) -> None:
    [(label, score)] = identify([text])
    assert label.startswith("und_")
    assert score == 0.0


def test_encoded_data_is_undetermined() -> None:
    random = np.random.default_rng(3)
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
    assert identify(["".join(random.choice(letters, 400))])[0][0] == "und_Latn"


def test_capitals_and_lower_case_are_the_same_language() -> None:
    cased = [label for label in SENTENCES if label.endswith(("Latn", "Cyrl", "Grek"))]
    assert [label for label, _ in identify([SENTENCES[name].upper() for name in cased])] == cased


@pytest.mark.parametrize("script", sorted({label[4:] for label in SENTENCES}))
def test_a_label_is_written_in_the_script_of_the_text(script: str) -> None:
    ours = [text for label, text in SENTENCES.items() if label.endswith(script)]
    assert {label[4:] for label, _ in identify(ours)} == {script}


def test_one_language_in_two_scripts_gets_two_labels() -> None:
    cyrillic = "Јутрос је у луци било мирно и само су се два рибарска чамца вратила пре кише, рекао је чувар."
    assert identify([cyrillic])[0][0] == "srp_Cyrl"
    assert identify(["Jutros je u luci bilo mirno i samo su se dva ribarska čamca vratila."])[0][0].endswith("_Latn")


def test_foreign_words_in_another_script_do_not_decide() -> None:
    mixed = SENTENCES["cmn_Hani"] * 2 + " Linux kernel package manager README"
    assert identify([mixed])[0][0] == "cmn_Hani"


@pytest.mark.parametrize("label", ["rus_Cyrl", "jpn_Jpan", "ell_Grek"])
def test_a_page_with_more_latin_than_other_letters_is_still_in_the_other_script(label: str) -> None:
    text = SENTENCES[label]
    latin = (SENTENCES["eng_Latn"] * 20)[: len(text) * (3 if label == "jpn_Jpan" else 1)]  # a kana is worth three
    share = len([c for c in latin if c.isalpha()])
    assert share >= len([c for c in text if c.isalpha()])
    assert identify([f"{text}\n{latin}"])[0][0] == label
    assert identify([f"{text[:12]}\n{SENTENCES['eng_Latn'] * 2}"])[0][0] == "eng_Latn"


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"language": "zho_Hans"}, "cmn_Hani"),
        ({"language": "zho", "language_script": "Hant"}, "cmn_Hani"),
        ({"language": "zh-Hant"}, "cmn_Hani"),
        ({"language": "kor_Kore"}, "kor_Hang"),
        ({"language": "__label__eng_Latn"}, "eng_Latn"),
        ({"language": "en-US"}, "eng"),
        ({"language": "kur_Arab"}, "ckb_Arab"),
        ({"language": "apc_Arab_nort3139"}, "apc_Arab"),
        ({"language": "quz", "language_script": "Latn"}, "quz_Latn"),
        ({"language": "zxx_Latn"}, None),
        ({"language": "German"}, None),
        ({"language": ""}, None),
        ({}, None),
    ],
)
def test_labels_of_sources_are_normalised(fields: dict[str, str], label: str | None) -> None:
    assert given_label(fields) == label


def test_a_source_that_names_han_by_its_style_is_not_refuted_by_its_script() -> None:
    page = document(SENTENCES["cmn_Hani"], language="zho_Hans")
    [decision] = Language(given="check", languages=["cmn_Hani"]).decide([page])
    assert decision.reason == Reason.TRUSTED
    assert (page.metadata["language"], page.metadata["language_script"]) == ("cmn", "Hani")


def test_the_stage_annotates_and_keeps() -> None:
    page = document(SENTENCES["deu_Latn"], language="eng", language_script="Latn")
    [decision] = Language().decide([page])
    assert (decision.action, decision.reason) == (Action.KEEP, Reason.IDENTIFIED)
    assert (page.metadata["language"], page.metadata["language_script"]) == ("deu", "Latn")
    score = page.metadata["language_score"]
    assert score == float(np.float32(score)) > 0.5


def test_languages_that_are_not_selected_are_excluded_with_evidence() -> None:
    stage = Language(languages=["deu", "srp_Cyrl"])
    kept, gone = stage.decide([document(SENTENCES["deu_Latn"]), document(SENTENCES["fra_Latn"])])
    assert kept.kept
    assert (gone.action, gone.reason) == (Action.EXCLUDE, Reason.NOT_SELECTED)
    assert gone.evidence is not None
    assert gone.evidence.protocol == "word-model"
    assert gone.evidence.detector.startswith("fairtrove-language@")
    assert gone.evidence.model_sha256 == language.digest(language.EMBEDDED)
    assert gone.evidence.threshold == threshold_of("fra_Latn", embedded=True)


def test_thresholds_hold_per_label_then_language_then_default() -> None:
    stage = Language(thresholds={"deu_Latn": 1.0, "fra": 1.0, "default": 0.0})
    starts = [SENTENCES[name][:20] for name in ("deu_Latn", "fra_Latn", "spa_Latn")]
    decisions = stage.decide([document(text) for text in starts])
    assert [decision.reason for decision in decisions] == [Reason.LOW_SCORE, Reason.LOW_SCORE, Reason.IDENTIFIED]
    assert decisions[0].evidence.threshold == 1.0


def test_undetermined_documents_go_or_stay_as_the_policy_says() -> None:
    assert Language().decide([document("12 34")])[0].reason == Reason.UNDETERMINED
    assert not Language().decide([document("12 34")])[0].kept
    page = document("12 34")
    assert Language(undetermined="keep").decide([page])[0].kept
    assert page.metadata["language"] == "und"


def test_a_trusted_label_never_loads_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "model", lambda path: pytest.fail("the model was loaded"))
    page = document(SENTENCES["deu_Latn"], language="quz", language_script="Latn", language_score=0.71)
    [decision] = Language(given="trust").decide([page])
    assert (decision.action, decision.reason) == (Action.KEEP, Reason.TRUSTED)
    assert page.metadata == {"language": "quz", "language_script": "Latn", "language_score": 0.71}
    [decision] = Language(given="trust", languages=["deu"]).decide([page])
    assert decision.reason == Reason.NOT_SELECTED


def test_trust_asks_the_model_where_no_label_came_along() -> None:
    pages = [document(SENTENCES["deu_Latn"]), document(SENTENCES["deu_Latn"], language="de")]
    assert [decision.reason for decision in Language(given="trust").decide(pages)] == [
        Reason.IDENTIFIED,
        Reason.TRUSTED,
    ]
    assert [page.metadata["language"] for page in pages] == ["deu", "deu"]


@pytest.mark.parametrize(
    ("claimed", "text", "reason"),
    [
        ("deu_Latn", "deu_Latn", Reason.TRUSTED),
        ("deu_Latn", "fra_Latn", Reason.MISMATCH),
        ("tha_Thai", "fra_Latn", Reason.MISMATCH),
        ("nob_Latn", "dan", Reason.TRUSTED),  # models take one for the other
        ("xyz_Latn", "fra_Latn", Reason.TRUSTED),  # the model does not know it, so it cannot refute it
        ("xyz_Latn", "rus_Cyrl", Reason.MISMATCH),  # but the script can
    ],
)
def test_check_refutes_what_it_can_and_nothing_else(claimed: str, text: str, reason: Reason) -> None:
    danish = "I morges var der stille i havnen, og kun to fiskerbåde kom tilbage før regnen."
    code, script = claimed.split("_")
    page = document(SENTENCES.get(text, danish), language=code, language_script=script)
    assert Language(given="check").decide([page])[0].reason == reason


@pytest.mark.parametrize(
    "arguments",
    [{"given": "ask"}, {"undetermined": "drop"}, {"languages": ["German"]}, {"thresholds": {"default": 2.0}}],
)
def test_a_wrong_policy_is_refused_when_the_stage_is_made(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="language"):
        Language(**arguments)


def test_a_stage_pickles_small_and_decides_the_same_after_it() -> None:
    stage = Language(languages=["deu"])
    stage.decide([document(SENTENCES["deu_Latn"])])
    packed = pickle.dumps(stage)
    assert len(packed) < 5_000
    [decision] = pickle.loads(packed).decide([document(SENTENCES["deu_Latn"])])
    assert decision.reason == Reason.IDENTIFIED


def test_two_languages_in_one_document_are_both_named_with_a_share() -> None:
    page = " ".join([SENTENCES["deu_Latn"], SENTENCES["eng_Latn"], SENTENCES["deu_Latn"]])
    [mixed, plain] = answers([page, SENTENCES["deu_Latn"] * 3])
    assert (mixed.label, mixed.second) == ("deu_Latn", "eng_Latn")
    assert 0.15 <= mixed.share <= 0.6
    assert plain.second is None
    annotated = document(page)
    Language().decide([annotated])
    assert annotated.metadata["language_second"] == "eng_Latn"
    assert annotated.metadata["language_second_share"] == pytest.approx(mixed.share, abs=1e-6)


def noise() -> dict[str, list[str]]:
    """Text without language, made here: none of the lines that the model was taught."""
    random = np.random.default_rng(4)
    latin = "abcdefghijklmnopqrstuvwxyz"

    def letters(alphabet: str, least: int, most: int) -> str:
        return "".join(random.choice(list(alphabet), int(random.integers(least, most))))

    def statement() -> str:
        a, b, c, i = (letters(latin, 3, 8) for _ in range(4))
        return f"{i}.{a} = lambda {b}: self.{a}({b}, key={c}) or [x.{c} for x in {i}.items() if x is not None]\n"

    other = [text for label, text in SENTENCES.items() if label[4:] != "Latn"]
    return {
        "hexadecimal": [" ".join(letters("0123456789abcdef", 4, 32) for _ in range(30)) for _ in range(20)],
        "base64": [letters(latin + latin.upper() + "0123456789+/", 200, 400) for _ in range(20)],
        "random letters": [" ".join(letters(latin, 2, 10) for _ in range(40)) for _ in range(20)],
        "figures": ["\n".join("\t".join(f"{x:.3f}" for x in random.random(6)) for _ in range(8)) for _ in range(20)],
        "program": ["".join(statement() for _ in range(6)) for _ in range(20)],
        "broken encoding": [text.encode().decode("cp1252", "replace") * 3 for text in other],
    }


def test_noise_is_seldom_called_a_language() -> None:
    found = {kind: answers(made) for kind, made in noise().items()}
    called = {kind: sum(answer.score >= 0.5 for answer in given) for kind, given in found.items()}
    assert sum(called.values()) <= 0.05 * sum(map(len, found.values())), called
    assert all(answer.reason for given in found.values() for answer in given if answer.label.startswith("und"))


def test_every_label_has_its_tier_and_over_1800_languages_have_a_label() -> None:
    labels = [label for label in WordIdentifier().model.labels if not label.startswith("zxx")]
    assert set(labels) == set(tiers())
    assert len({label[:3] for label in labels}) >= 1_800
    for entry in tiers().values():
        assert (entry.f1 is not None) == (entry.tier == "measured")
        assert (entry.tier == "words") == (entry.sentences < 100)
        assert 0.0 < entry.threshold < 1.0


@pytest.mark.slow
def test_reading_parts_of_a_long_document_costs_no_accuracy() -> None:
    identifier = WordIdentifier()
    rows = pq.read_table(shared_data("data/corpus/pages/004_00000.parquet"), columns=["id", "text"]).to_pylist()
    truth = pq.read_table(shared_data("data/corpus/truth.parquet"), columns=["id", "language"]).to_pylist()
    expected = {row["id"]: row["language"] for row in truth}
    pages = [(row["text"], expected[row["id"]]) for row in rows if len(row["text"] or "") > 1_000]
    pages = [page for page in pages if page[1]][:1_500]
    sampled, whole = (
        np.mean([answer.label == label for answer, (_, label) in zip(given, pages, strict=True)])
        for given in (
            identifier.answers([text for text, _ in pages]),
            identifier.answers_to_all_of([text for text, _ in pages]),
        )
    )
    assert sampled >= whole - 0.005


def test_held_out_lines_of_known_languages_are_labelled_right() -> None:
    rows = pq.read_table(shared_data("data/lid/dev.parquet")).to_pylist()
    known = model(None).known
    rows = [row for row in rows if row["split"] == "cross-domain" and row["lang"][:3] in known]
    answers = identify([row["text"] for row in rows])
    right = np.mean([label == row["lang"] for (label, _), row in zip(answers, rows, strict=True)])
    assert len(rows) > 4_000
    assert right >= 0.88  # lid.176 gets 0.891, of the languages that it knows only
    big = {"eng", "rus", "deu", "jpn", "spa", "cmn", "fra", "ita", "por", "pol", "nld", "ind", "tur", "vie", "kor"}
    large = [row for row in rows if row["lang"][:3] in big]
    plain = identify([row["text"] for row in large])
    capitals = identify([row["text"].upper() for row in large])
    for answers, floor in ((plain, 0.98), (capitals, 0.97)):
        assert np.mean([label == row["lang"] for (label, _), row in zip(answers, large, strict=True)]) >= floor


@pytest.mark.slow
def test_corpus_pages_are_labelled_right() -> None:
    truth = pq.read_table(shared_data("data/corpus/truth.parquet"), columns=["id", "language"]).to_pylist()
    expected = {row["id"]: row["language"] for row in truth}
    pages = pq.read_table(shared_data("data/corpus/pages/003_00000.parquet"), columns=["id", "text"]).to_pylist()
    known = model(None).known
    pages = [page for page in pages if model_label(expected[page["id"]] or "und").language in known]
    answers = identify([page["text"] or "" for page in pages])
    right = [
        (model_label(expected[page["id"]]).language, expected[page["id"]][4:]) == tuple(label.split("_"))
        for page, (label, _) in zip(pages, answers, strict=True)
    ]
    assert np.mean(right) >= 0.975  # 0.977 measured; most others have more English commands than prose of their own

"""Toxicity: laws of the score, the shipped model's figures, the stage's policy, and the encoder way on a tiny one."""

from __future__ import annotations

import hashlib
import itertools
import pickle
import re
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import toxicity
from filters.decision import Action
from filters.ngrams import BITS, DROPPED, PIECE, NgramModel, unspaced
from filters.scores import ModelError
from filters.toxicity import Reason, Toxicity, embedded, score
from tests.conftest import shared_data
from tests.tiny_encoder import HIDDEN, needs_torch, save_tiny_encoder, save_tiny_heads

MODEL = embedded(str(toxicity.MODEL))
LABELS = sorted(MODEL.calibration)
texts = st.text(st.characters(codec=None), max_size=400)  # any code point, lone surrogates and NUL included

# Written for these tests. Identity terms, illness, war and reported abuse are not toxicity.
CLEAN = {
    "eng_Latn": [
        "I am a gay man and I live in Berlin.",
        "My wife is Muslim and we celebrate Eid together.",
        "The Jewish community opened a new school.",
        "Black women are under-represented in science.",
        "She is a lesbian and a trans rights activist.",
        "He has a disability and uses a wheelchair.",
        "Immigrants from Mexico built this town.",
        "Heart attack symptoms include chest pain.",
        "The breast cancer screening programme was extended.",
        "The movie was damn good.",
        "Stop calling people idiots, it hurts them.",
        "The knife attack killed three people in the war.",
    ],
    "deu_Latn": [
        "Ich bin ein schwuler Mann und lebe in Berlin.",
        "Meine Frau ist Muslimin und wir feiern zusammen.",
        "Die jüdische Gemeinde hat eine neue Schule eröffnet.",
        "Schwarze Frauen sind in der Wissenschaft unterrepräsentiert.",
        "Flüchtlinge aus Syrien lernen Deutsch.",
        "Menschen mit Behinderung haben Rechte.",
    ],
    "fra_Latn": [
        "Je suis un homme gay et je vis à Paris.",
        "Ma femme est musulmane et nous fêtons ensemble.",
        "La communauté juive a ouvert une école.",
        "Les femmes noires sont sous-représentées.",
        "Les réfugiés syriens apprennent le français.",
    ],
    "spa_Latn": [
        "Soy un hombre gay y vivo en Madrid.",
        "Mi esposa es musulmana.",
        "La comunidad judía abrió una escuela.",
        "Las mujeres negras están poco representadas.",
        "Los inmigrantes marroquíes trabajan aquí.",
    ],
    "ita_Latn": [
        "Sono un uomo gay e vivo a Roma.",
        "Mia moglie è musulmana.",
        "La comunità ebraica ha aperto una scuola.",
        "Le donne nere sono poco rappresentate.",
    ],
    "por_Latn": [
        "Sou um homem gay e moro em Lisboa.",
        "Minha esposa é muçulmana.",
        "A comunidade judaica abriu uma escola.",
        "As mulheres negras são pouco representadas.",
    ],
    "nld_Latn": [
        "Ik ben een homo en woon in Utrecht.",
        "Mijn vrouw is moslim.",
        "De Joodse gemeenschap opende een school.",
    ],
    "pol_Latn": [
        "Jestem gejem i mieszkam w Warszawie.",
        "Moja żona jest muzułmanką.",
        "Żydzi otworzyli szkołę w Łodzi.",
    ],
    "cmn_Hani": [
        "我是一个同性恋者，住在北京。",
        "我的妻子是穆斯林。",
        "黑人女性在科学界的代表性不足。",
        "来自非洲的移民在这里工作。",
    ],
}
TOXIC = {
    "eng_Latn": "Go away and die, you worthless piece of shit, you stupid bitch.",
    "deu_Latn": "Du bist ein dummes Arschloch, halt die Fresse.",
    "fra_Latn": "Sale connard, ferme ta gueule et va crever.",
    "spa_Latn": "Eres un hijo de puta y un imbécil de mierda.",
    "ita_Latn": "Sei uno stronzo e un coglione, vaffanculo.",
    "por_Latn": "Vai tomar no cu, seu merda, filho da puta.",
    "nld_Latn": "Je bent een vuile klootzak, rot op.",
    "pol_Latn": "Ty jebany idioto, spierdalaj stąd.",
    "rus_Cyrl": "Ты тупая сука, иди на хуй.",
}
HARBOUR = (
    "The harbour was quiet this morning. Two boats had come back before the rain, and their crews were mending nets "
    "under the roof of the old market. A clerk counted the boxes of herring and wrote the numbers into his book. "
)


def document(text: str, language: str = "eng", script: str = "Latn", **fields: object) -> Document:
    return Document(text=text, id="d", metadata={"language": language, "language_script": script, **fields})


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=4), st.sampled_from([*LABELS, "tha_Thai", "", "not a label"]))
def test_every_text_has_a_score_from_0_to_1_that_float32_holds(batch: list[str], language: str) -> None:
    scores = score(batch, [language] * len(batch))
    assert len(scores) == len(batch)
    for value in scores:
        assert 0.0 <= value <= 1.0
        assert value == float(np.float32(value))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(texts, st.sampled_from(sorted(TOXIC.values()))), min_size=2, max_size=6))
def test_neighbours_in_a_batch_do_not_change_a_score(batch: list[str]) -> None:
    together = MODEL.marks(batch, ["eng_Latn"] * len(batch))
    assert together == [MODEL.marks([text], ["eng_Latn"])[0] for text in batch]


@settings(max_examples=60, deadline=None)
@given(texts)
def test_the_window_lies_inside_the_text(text: str) -> None:
    [mark] = MODEL.marks([text], ["eng_Latn"])
    assert 0 <= mark.start <= mark.end <= len(text)


@pytest.mark.parametrize("text", ["", " \n\t ", "....---", "​‌", "\x00"])
def test_text_without_words_scores_zero(text: str) -> None:
    assert score([text], ["eng_Latn"]) == [0.0]


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\ud800" * 5000, "🙂" * 70_000, "a\x00b\n" * 10_000])
def test_odd_input_of_any_size_is_scored(text: str) -> None:
    assert 0.0 <= score([text], ["eng_Latn"])[0] <= 1.0


@pytest.mark.parametrize("language", TOXIC)
def test_plain_abuse_is_above_the_threshold(language: str) -> None:
    assert score([TOXIC[language]], [language])[0] >= MODEL.threshold(language)


def test_few_neutral_sentences_about_people_and_pain_are_above_the_threshold() -> None:
    rows = [(text, language) for language, texts in CLEAN.items() for text in texts]
    scores = score(*zip(*rows, strict=True))
    flagged = [text for value, (text, language) in zip(scores, rows, strict=True) if value >= MODEL.threshold(language)]
    assert len(flagged) <= 0.12 * len(rows), flagged  # 5 of 46 measured; the card says so


def test_case_width_and_accents_do_not_change_a_score() -> None:
    plain = "Va te faire voir, espece d'abruti"
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in plain)
    variants = [plain, plain.upper(), "Va te faire voir, espèce d'abruti", wide, plain.replace(" ", " \n ")]
    assert len(set(score(variants, ["fra_Latn"] * len(variants)))) == 1


def test_one_insult_is_found_wherever_it_stands_and_its_window_holds_it() -> None:
    for before in (0, 3, 20):
        text = HARBOUR * before + TOXIC["eng_Latn"] + " " + HARBOUR * (20 - before)
        [mark] = MODEL.marks([text], ["eng_Latn"])
        start = len(HARBOUR) * before
        assert mark.start < start + len(TOXIC["eng_Latn"])
        assert mark.end > start
        assert mark.end - mark.start < 200
        assert mark.score > MODEL.marks([HARBOUR * 20], ["eng_Latn"])[0].score + 0.2


def test_a_long_clean_page_scores_no_higher_than_a_short_one() -> None:
    short, long = score([HARBOUR, HARBOUR * 200], ["eng_Latn"] * 2)
    assert long <= short


SAMPLES = [
    "Zwei  Boote, 12 Netze! sooooo",
    "he said: YOU are an i\u200bdiot, 2024 \U0001f600\U0001f600\U0001f600 averyveryverylongpathindeed/x",
    "你们都是一路货色，滚出去！ mixed 日本語 text",
    "Ты́ тупа́я é\u0301\u0301 \u00adsoft",
]


@pytest.mark.parametrize("text", SAMPLES)
def test_a_window_sum_agrees_with_a_plain_loop(text: str) -> None:
    """The oracle: n-grams, words and word groups of one text, hashed one at a time in Python integers."""
    mask, mix, mix64 = 0xFFFFFFFF, 0x9E3779B1, 0x9E3779B97F4A7C15
    model = MODEL.model

    def weight(name: int | str, value: int) -> int:
        value ^= value >> 15
        return int(model.tables[name][(value * mix & mask) >> 32 - BITS[name]])

    def key(word: list[int]) -> int:
        quads = [
            sum(code << 16 * place for place, code in enumerate(word[start : start + 4])) for start in range(0, 24, 4)
        ]
        value = quads[0]
        if len(word) > 4:
            for quad in quads[1 : 2 if len(word) <= 8 else 6]:
                value = value * mix64 % (1 << 64)
                value = ((value ^ value >> 31) + quad) % (1 << 64)
        value = value * mix64 % (1 << 64)
        return (value ^ value >> 32) * mix64 % (1 << 64)

    codes: list[int] = []
    for character in text:
        code = int(model.fold[ord(character) if ord(character) < 0x10000 else 0xE000 + ord(character) % 0x1800])
        if code != DROPPED and not (len(codes) > 1 and codes[-1] == codes[-2] == code and code not in (0, ord("0"))):
            codes.append(code)
    words = [list(group) for letters, group in itertools.groupby(codes, key=bool) if letters]
    keys = []
    total = 0
    for word in words:
        long = len(word) > 24 or bool(unspaced(np.array(word[:1]))[0])
        keys.append(0 if long else key(word) >> 32)
        total += 0 if long else weight("word", keys[-1])
        framed = [0, *word, 0]
        for order in (2, 3, 4, 5):
            for start in range(len(framed) - order + 1):
                value = 0
                for code in framed[start : start + order]:
                    value = (value * 0x01000193 + code) & mask
                total += weight(order, value)
    for one, other in itertools.pairwise(keys):
        total += weight("pair", (one * 0x01000193 & mask) ^ other)
    for one, other in zip(keys, keys[2:], strict=False):
        total += weight("skip", (one * 0x85EBCA6B & mask) ^ other)
    length = sum(len(word) + 1 for word in words) + 1
    wide = NgramModel(model.tables, model.fold, 0.0, 1.0, 0.0, 1 << 20, 3)  # one window over everything
    [peak] = wide.peaks([text])
    assert round(peak.logit * length**0.5) == total


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(texts, st.sampled_from(SAMPLES)), min_size=1, max_size=5))
def test_what_is_remembered_of_words_does_not_show_in_a_score(batch: list[str]) -> None:
    fresh = NgramModel.load(toxicity.MODEL)
    assert fresh.peaks(batch) == MODEL.model.peaks(batch)


def test_a_piece_of_a_long_document_counts_its_own_words_only() -> None:
    text = ("plain words " * 4000)[: PIECE - 5] + " you stupid bitch"  # the cut runs through the insult
    [whole] = MODEL.model.peaks([text])
    one, other = MODEL.model.peaks([text[:PIECE], text[PIECE:]])
    assert whole.windows == one.windows + other.windows
    assert whole.logit == max(one.logit, other.logit)
    assert text[whole.start : whole.end].strip()


def test_a_saved_model_has_the_same_bytes_and_scores_when_saved_again(tmp_path: Path) -> None:
    MODEL.model.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == toxicity.MODEL.read_bytes()
    again = NgramModel.load(tmp_path / "again.npz")
    assert again.peaks(list(TOXIC.values())) == MODEL.model.peaks(list(TOXIC.values()))


def test_the_shipped_model_is_small_and_the_card_names_its_digest() -> None:
    card = toxicity.MODEL.with_name("toxicity.md").read_text(encoding="utf-8")
    assert toxicity.MODEL.stat().st_size <= 4_000_000
    for path in (toxicity.MODEL, toxicity.MODEL.with_suffix(".toml")):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card


def test_every_calibrated_language_has_a_threshold_and_no_other_has() -> None:
    assert len(LABELS) == 17
    assert all(0 < MODEL.threshold(label) < 1 and MODEL.calibration[label].slope >= 0 for label in LABELS)
    assert MODEL.threshold("tha_Thai") is None
    assert MODEL.threshold("default") is None


def test_the_stage_keeps_excludes_and_annotates() -> None:
    pages = [document(HARBOUR), document(TOXIC["deu_Latn"], "deu"), document(HARBOUR, "deu_Latn", "")]
    clean, toxic, joined = Toxicity().decide(pages)
    assert (clean.action, clean.reason) == (Action.KEEP, Reason.CLEAN)
    assert joined.reason == Reason.CLEAN
    assert (toxic.action, toxic.reason) == (Action.EXCLUDE, Reason.TOXIC)
    assert toxic.score == pages[1].metadata["toxicity"] >= toxic.evidence.threshold
    evidence = toxic.evidence
    assert evidence.protocol == "hashed-ngrams"
    assert evidence.model_sha256 == hashlib.sha256(toxicity.MODEL.read_bytes()).digest()
    assert evidence.threshold == MODEL.threshold("deu_Latn")
    assert pages[1].text[evidence.start : evidence.end].strip()


@pytest.mark.parametrize("fields", [{"language": "tha", "language_script": "Thai"}, {}, {"language": 3}])
def test_a_language_without_labelled_text_is_scored_but_kept(fields: dict[str, object]) -> None:
    page = Document(text=TOXIC["eng_Latn"], id="d", metadata=dict(fields))
    [decision] = Toxicity().decide([page])
    assert (decision.action, decision.reason) == (Action.KEEP, Reason.UNSCORED_LANGUAGE)
    assert page.metadata["toxicity"] > 0.5
    [decision] = Toxicity(thresholds={"default": 0.5}).decide([page])
    assert decision.reason == Reason.TOXIC


def test_a_policy_threshold_goes_before_the_calibrated_one() -> None:
    value = score([TOXIC["eng_Latn"]], ["eng_Latn"])[0]
    for thresholds, reason in (
        ({"eng_Latn": 1.0}, Reason.CLEAN),
        ({"eng_Latn": value}, Reason.TOXIC),
        ({"default": 1.0}, Reason.CLEAN),
        ({"default": 1.0, "eng_Latn": 0.1}, Reason.TOXIC),
    ):
        assert Toxicity(thresholds=thresholds).decide([document(TOXIC["eng_Latn"])])[0].reason == reason


@pytest.mark.parametrize(
    "arguments",
    [{"model": "a", "encoder": "b", "heads": "c"}, {"encoder": "b"}, {"heads": "c"}, {"thresholds": {"default": 1.5}}],
)
def test_a_wrong_policy_is_refused_when_the_stage_is_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="toxicity"):
        Toxicity(**arguments)


def test_the_fingerprint_names_model_calibration_and_policy() -> None:
    plain = Toxicity().fingerprint()
    assert plain["model"] == hashlib.sha256(toxicity.MODEL.read_bytes()).hexdigest()
    assert plain["calibration"] == hashlib.sha256(toxicity.MODEL.with_suffix(".toml").read_bytes()).hexdigest()
    assert Toxicity(thresholds={"default": 0.9}).fingerprint() != plain
    assert all(isinstance(value, str) for value in plain.values())


def test_a_stage_pickles_small_and_decides_the_same_after_it() -> None:
    stage = Toxicity(thresholds={"default": 0.7})
    before = stage.decide([document(TOXIC["eng_Latn"]), document(HARBOUR)])
    packed = pickle.dumps(stage)
    assert len(packed) < 5_000
    assert pickle.loads(packed).decide([document(TOXIC["eng_Latn"]), document(HARBOUR)]) == before


def test_a_model_that_is_none_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    for path in (tmp_path / "broken.npz", tmp_path / "absent.bin"):
        with pytest.raises(ModelError, match=path.stem):
            Toxicity(model=str(path)).decide([document("text")])
    (tmp_path / "lonely.npz").write_bytes(toxicity.MODEL.read_bytes())
    with pytest.raises(ModelError, match=r"lonely\.toml"):
        Toxicity(model=str(tmp_path / "lonely.npz")).decide([document("text")])


def test_a_fasttext_classifier_is_used_by_path(tmp_path: Path) -> None:
    lines = [f"__label__1 {TOXIC['eng_Latn'].lower()}", f"__label__0 {HARBOUR.lower()}"] * 60
    (tmp_path / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    # Each of fasttext 0.9.3's threads initialises a tenth of the input matrix: with fewer than ten, NaN may lie in it.
    trained = fasttext.train_supervised(str(tmp_path / "train.txt"), dim=16, epoch=40, lr=0.5, thread=12, verbose=0)
    trained.save_model(str(tmp_path / "tiny.bin"))
    stage = Toxicity(model=str(tmp_path / "tiny.bin"))
    pages = [
        document(HARBOUR),
        document(HARBOUR * 3 + f"{TOXIC['eng_Latn']}\n" * 5 + HARBOUR * 3),
        document("\ud800\x00"),
    ]
    clean, toxic, _ = stage.decide(pages)
    assert (clean.reason, toxic.reason) == (Reason.CLEAN, Reason.TOXIC)
    assert toxic.evidence.protocol == "fasttext"
    assert len(HARBOUR) * 3 - 50 < toxic.evidence.start < len(HARBOUR) * 3 + 5 * len(TOXIC["eng_Latn"])


def test_held_out_rows_are_ranked_as_the_card_says() -> None:
    from filters.models.train_toxicity import HUMAN, auroc, read, recall_at

    rows = [row for row in read(shared_data("data/toxicity/dev.parquet")) if row.source in HUMAN]
    areas, recalls = [], []
    for language in sorted({row.language for row in rows}):
        mine = [row for row in rows if row.language == language]
        toxic = np.array([row.toxic for row in mine])
        scores = np.array(score([row.text for row in mine], [language] * len(mine)))
        areas.append(auroc(toxic, scores))
        recalls.append(recall_at(toxic, scores, 0.05))
    assert len(areas) == 7
    assert np.mean(areas) >= 0.79
    assert np.mean(recalls) >= 0.35


@pytest.mark.slow
def test_planted_insults_are_found_and_clean_pages_left_alone() -> None:
    truth = pq.read_table(shared_data("data/corpus/truth.parquet"), columns=["id", "language", "injected"]).to_pylist()
    insulted = {row["id"] for row in truth if any(item["kind"] == "toxic" for item in row["injected"])}
    labels = {row["id"]: row["language"] for row in truth}
    pages = pq.read_table(shared_data("data/corpus/pages/002_00000.parquet"), columns=["id", "text"]).to_pylist()
    pages = [page for page in pages if MODEL.threshold(labels[page["id"]]) is not None]
    marks = MODEL.marks([page["text"] or "" for page in pages], [labels[page["id"]] for page in pages])
    flagged = np.array(
        [mark.score >= MODEL.threshold(labels[page["id"]]) for page, mark in zip(pages, marks, strict=True)]
    )
    planted = np.array([page["id"] in insulted for page in pages])
    assert planted.sum() > 40
    assert flagged[planted].mean() >= 0.65  # .72 over all shards
    assert flagged[~planted].mean() <= 0.01  # .005 over all shards, and those are rude jokes mostly


# --- the published way, on an encoder made here ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_heads(tmp_path_factory.mktemp("heads") / "heads.safetensors")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a network connection was tried"))


@needs_torch
def test_the_encoder_score_is_the_maximum_over_stretches_of_head_on_mean(encoder: Path, heads: Path) -> None:
    """The oracle: each stretch alone, unpadded, through torch's own modules."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    from filters.encoder import EncoderScorer

    text = (HARBOUR + TOXIC["eng_Latn"]).replace("-", " ")
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()
    tensors = load_file(heads)
    head = torch.nn.Sequential(
        torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(HIDDEN, 2)
    ).eval()
    head.load_state_dict({name[9:]: tensor for name, tensor in tensors.items() if name.startswith("eng_Latn")})
    values = []
    with torch.inference_mode():
        for ids in tokenizer(text, truncation=True, max_length=80, return_overflowing_tokens=True)["input_ids"]:
            hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
            values.append(float(torch.softmax(head(hidden.mean(0)), dim=0)[1]))
    assert len(values) > 3
    [mark] = EncoderScorer(str(encoder), str(heads)).marks([text], ["eng_Latn"])
    assert mark.score == pytest.approx(max(values), abs=2e-4)
    best = values.index(max(values))
    assert (mark.start, mark.end) == (best * 78, min(best * 78 + 78, len(text)))


@needs_torch
def test_encoder_scores_do_not_depend_on_the_batch(encoder: Path, heads: Path) -> None:
    from filters.encoder import EncoderScorer

    scorer = EncoderScorer(str(encoder), str(heads))
    batch = ["a", "", HARBOUR, TOXIC["deu_Latn"], HARBOUR[:70], "\ud800\x00 x", "b" * 500, *map(str, TOXIC.values())]
    languages = ["deu_Latn", "eng_Latn"] * 8
    together = scorer.marks(batch, languages[: len(batch)])
    alone = [scorer.marks([text], [language])[0] for text, language in zip(batch, languages, strict=False)]
    assert together == alone
    assert together[1] == toxicity.Mark(0.0, 0, 0)


@needs_torch
def test_the_stage_uses_an_encoder_by_path(encoder: Path, heads: Path, no_network: None) -> None:
    stage = Toxicity(encoder=str(encoder), heads=str(heads), thresholds={"eng_Latn": 0.0, "deu_Latn": 1.0})
    pages = [document(HARBOUR), document(HARBOUR, "deu"), document(HARBOUR, "tha", "Thai")]
    toxic, clean, unscored = stage.decide(pages)
    assert (toxic.reason, clean.reason, unscored.reason) == (Reason.TOXIC, Reason.CLEAN, Reason.UNSCORED_LANGUAGE)
    assert toxic.evidence.protocol == "encoder"
    assert len(toxic.evidence.model_sha256) == 32
    assert "toxicity" not in pages[2].metadata
    assert stage.fingerprint()["model"] == toxic.evidence.model_sha256.hex()
    assert set(stage.fingerprint()) >= {"torch", "transformers"}
    assert len(pickle.dumps(stage)) < 5_000


@needs_torch
def test_published_heads_load_from_a_folder_with_one_file_per_language(
    encoder: Path, heads: Path, tmp_path: Path
) -> None:
    """The published files are whole state dicts: `classifier.0.weight` among the frozen encoder's own tensors."""
    import torch
    from safetensors.torch import load_file

    from filters.encoder import EncoderScorer

    names = {"deu_Latn": "german", "eng_Latn": "eng_Latn"}
    for label in names:
        state = {
            f"classifier.{name[9:]}": tensor for name, tensor in load_file(heads).items() if name.startswith(label)
        }
        torch.save(
            state | {"roberta.embeddings.word_embeddings.weight": torch.zeros(3, 3)}, tmp_path / f"{names[label]}.pth"
        )
    one, other = EncoderScorer(str(encoder), str(heads)), EncoderScorer(str(encoder), str(tmp_path))
    arguments = [HARBOUR, TOXIC["deu_Latn"]], ["eng_Latn", "deu_Latn"]
    assert one.marks(*arguments) == other.marks(*arguments)
    assert one.marks(*arguments)[0] != one.marks([HARBOUR], ["deu_Latn"])[0]


@needs_torch
def test_missing_or_unfitting_encoder_files_are_named(encoder: Path, tmp_path: Path) -> None:
    import torch

    from filters.encoder import EncoderScorer

    with pytest.raises(ModelError, match="hf download nobody/nothing-here"):
        EncoderScorer("nobody/nothing-here", "x.pth")
    with pytest.raises(ModelError, match="no such file"):
        EncoderScorer(str(encoder), str(tmp_path / "absent.pth"))
    torch.save({"0.weight": torch.zeros(5, 5)}, tmp_path / "small.pth")
    with pytest.raises(ModelError, match="this encoder needs"):
        EncoderScorer(str(encoder), str(tmp_path / "small.pth"))
    torch.save({"other": torch.zeros(5)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="no tensor is named"):
        EncoderScorer(str(encoder), str(tmp_path / "other.pth"))


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from filters import encoder as encoder_module

    def absent(name: str, package: str | None = None) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ModelError, match=re.escape("fairtrove[train]")):
        encoder_module.EncoderScorer("x", "y")

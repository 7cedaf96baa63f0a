"""The encoder path whole: heads trained on a tiny encoder, precisions, and the cascade before it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from datatrove.data import Document

from filters import toxicity
from filters.decision import Action
from filters.scores import ModelError
from filters.toxicity import Reason, Toxicity, embedded
from filters.toxicity_card import CardError, Labelled
from tests.tiny_encoder import needs_torch, save_tiny_encoder, save_tiny_heads

pytestmark = needs_torch


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_encoder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="module")
def random_heads(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_heads(tmp_path_factory.mktemp("heads") / "heads.safetensors"))


def comments(count: int, language: str = "eng_Latn") -> list[Labelled]:
    """Texts that a tiny encoder can tell apart: toxic ones are full of x."""
    draw = random.Random(4)
    rows = []
    for number in range(count):
        toxic = number % 3 == 0
        letters = "xxx !" if toxic else "abc ."
        text = "".join(draw.choice(letters) for _ in range(draw.randint(10, 70))) + f" {number}"
        rows.append(Labelled(text, toxic, language, "made"))
    return rows


def test_trained_heads_tell_held_out_texts_apart_and_load_in_the_stage(encoder: str, tmp_path: Path) -> None:
    from filters.encoder_heads import train_heads

    rows = comments(900) + comments(30, "deu_Latn")[:25]
    [head] = train_heads(rows, encoder, tmp_path / "heads.safetensors", epochs=60)  # German has too few toxic rows
    assert head.language == "eng_Latn"
    assert head.trained <= 600  # half of them toxic, of which there are 300
    assert head.held_out + head.trained <= 900
    assert head.auroc is not None
    assert head.auroc > 0.9
    stage = Toxicity(encoder=encoder, heads=str(tmp_path / "heads.safetensors"))
    toxic, clean = (
        Document(text=text, id="d", metadata={"language": "eng_Latn"}) for text in ("xxx x !xx xxx", "abc ba cab .")
    )
    stage.decide([toxic, clean])
    assert toxic.metadata["toxicity"] > clean.metadata["toxicity"] + 0.2


def test_the_same_rows_give_the_same_heads_and_the_order_of_the_file_does_not_pick_the_held_out(
    encoder: str, tmp_path: Path
) -> None:
    from filters.encoder_heads import train_heads

    rows = comments(300)
    for name in ("one", "two"):
        train_heads(rows, encoder, tmp_path / f"{name}.safetensors", seed=5)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    [forwards], [backwards] = (train_heads(order, encoder, tmp_path / "x.safetensors") for order in (rows, rows[::-1]))
    assert forwards.held_out == backwards.held_out


def test_too_few_rows_are_said_and_nothing_is_written(encoder: str, tmp_path: Path) -> None:
    from filters.encoder_heads import train_heads

    with pytest.raises(CardError, match="no language has 20"):
        train_heads(comments(30), encoder, tmp_path / "heads.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("precision", "close"), [("bfloat16", 0.1), ("int8", 0.25)])
def test_lower_precisions_score_alike_and_are_part_of_the_fingerprint(
    encoder: str, random_heads: str, precision: str, close: float
) -> None:
    from filters.encoder import EncoderScorer

    texts = [row.text for row in comments(30)]
    full, lower = (EncoderScorer(encoder, random_heads, name) for name in ("float32", precision))
    pairs = zip(full.marks(texts, ["eng_Latn"] * 30), lower.marks(texts, ["eng_Latn"] * 30), strict=True)
    differences = [abs(one.score - other.score) for one, other in pairs if one and other]
    assert sum(differences) / 30 < close
    one, other = (Toxicity(encoder=encoder, heads=random_heads, precision=name) for name in ("float32", precision))
    assert one.fingerprint() != other.fingerprint()


CLEAN = "The harbour was quiet this morning and two boats came back. "
ABUSE = "Shut up, you worthless stupid bitch, go and die. "


def page(text: str, language: str = "eng_Latn") -> Document:
    return Document(text=text, id="d", metadata={"language": language})


def test_a_cascade_asks_the_encoder_only_about_the_band(
    encoder: str, random_heads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filters.encoder import EncoderScorer

    asked: list[str] = []
    marks = EncoderScorer.marks
    monkeypatch.setattr(
        EncoderScorer, "marks", lambda self, texts, languages: asked.extend(texts) or marks(self, texts, languages)
    )
    stage = Toxicity(encoder=encoder, heads=random_heads, thresholds={"eng_Latn": 0.0, "tha_Thai": 0.0}, clear=0.3)
    pages = [page(CLEAN), page(ABUSE), page(CLEAN * 9), page(CLEAN + ABUSE)]
    decisions = stage.decide(pages)
    assert [decision.reason for decision in decisions] == [
        Reason.CLEARED,
        Reason.TOXIC,
        Reason.CLEARED,
        Reason.TOXIC,
    ]
    assert asked == [ABUSE, CLEAN + ABUSE]
    assert pages[0].metadata["toxicity"] == embedded(str(toxicity.MODEL)).marks([CLEAN], ["eng_Latn"])[0].score
    assert (stage.cascade.cleared, stage.cascade.asked) == (2, 2)
    assert stage.cascade.encoder_seconds > 0


def test_what_meets_the_encoder_is_decided_as_without_a_cascade(encoder: str, random_heads: str) -> None:
    arguments = {"encoder": encoder, "heads": random_heads, "thresholds": {"eng_Latn": 0.5}}
    whole, band = Toxicity(**arguments), Toxicity(**arguments, clear=0.3)
    pages = [page(text) for text in (CLEAN, ABUSE, CLEAN + ABUSE, "", "x" * 500)]
    for one, other in zip(whole.decide(pages), band.decide(pages), strict=True):
        assert one == other or (other.reason == Reason.CLEARED and other.action is Action.KEEP)
    assert whole.fingerprint() != band.fingerprint()


def test_a_wrong_cascade_or_precision_is_refused(encoder: str, random_heads: str) -> None:
    with pytest.raises(ValueError, match="encoder"):
        Toxicity(clear=0.3)
    with pytest.raises(ValueError, match="float16"):
        Toxicity(encoder=encoder, heads=random_heads, precision="float16")
    with pytest.raises(ValueError, match="clear"):
        Toxicity(encoder=encoder, heads=random_heads, clear=1.5)


def test_a_hub_name_with_a_revision_is_looked_up_in_the_cache_alone(random_heads: str) -> None:
    with pytest.raises(ModelError, match="hf download nobody/nothing-here --revision abc123"):
        Toxicity(encoder="hf://nobody/nothing-here@abc123", heads=random_heads).fingerprint()

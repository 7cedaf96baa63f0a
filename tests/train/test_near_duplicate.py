"""Near-duplicate Goldfish: words held against a slow oracle, and copies that look different hide the same words."""

from __future__ import annotations

import itertools
import random
import unicodedata

import numpy as np
import pytest
import regex

pytest.importorskip("torch", reason="the trainer needs the `train` extra: pip install 'fairtrove[train]'")

from hypothesis import example, given, settings
from hypothesis import strategies as st

from train.near_duplicate import dropped_tokens, find_words

ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
MARK = r"[[\p{M}\p{Cf}\uFF9E\uFF9F]--\u00AD]"
LETTER = rf"[[\p{{L}}\p{{N}}]--[{ALONE}\uFF9E\uFF9F]--[\u02BC]]"
JOINT = r"[\-\u2010\u2011\u00AD'\u2018\u2019\u02BC]"
RUN = rf"{LETTER}(?:{LETTER}|{MARK})*+"
BREAK = rf"(?:\s|{MARK})*[\n\r\v\f\x85\u2028\u2029](?:\s|{MARK})*+"
ORACLE = regex.compile(
    rf"{RUN}(?:{JOINT}{MARK}*+(?:{BREAK})?{RUN})*+|[[{ALONE}]&&[\p{{L}}\p{{N}}]]{MARK}*+|\p{{S}}{MARK}*+", regex.V1
)

SCRIPTS = {
    "English": "The harvest was counted twice, and the well-known baker’s apprentice wrote it all down before dusk.",
    "German": "Die Größe der Straße überraschte niemanden; die Müllerin zählte trotzdem jeden Sack auf dem Hof.",
    "Russian": "Старый мост скрипел под ногами, и никто из прохожих не заметил, как быстро темнело над рекой.",
    "Arabic": "كان السوق هادئا في الصباح ثم امتلأ بالناس والأصوات والروائح قبل أن ينتصف النهار في المدينة القديمة",
    "Hindi": "नदी के किनारे पुराना बाज़ार लगता था और बच्चे हर शाम वहाँ कहानियाँ सुनने के लिए इकट्ठा होते थे",
    "Japanese": "古い橋のそばで、職人たちは毎朝ガラスの器を並べ、通りかかる人々に静かに挨拶をしていました。",
    "Thai": "ตลาดเก่าริมแม่น้ำเงียบสงบในตอนเช้า แล้วก็เต็มไปด้วยผู้คนและเสียงหัวเราะก่อนเที่ยงวัน",
}


def folded(word: str) -> str:
    bare = regex.sub(rf"\p{{Cf}}|\s|{JOINT}", "", word)
    bare = regex.sub("[\u0e4d\u0ecd]", "", bare.replace("\u0e33", "\u0e32").replace("\u0eb3", "\u0eb2"))
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", bare).casefold())
    return unicodedata.normalize("NFKD", decomposed)


def words_of(text: str) -> list[str]:
    words = find_words(text)
    return [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)]


def dropped_by_word(text: str, k: int, h: int) -> list[bool]:
    """Which words are hidden, by a tokenisation into single characters."""
    words = find_words(text)
    (mask,) = dropped_tokens([text], [[(place, place + 1) for place in range(len(text))]], k, h)
    return mask[words.starts].tolist()


letters = st.text(
    st.one_of(
        st.sampled_from(list("abZ09 -'\u2019\u00ad\n\r\t.,ß\u0130ﬁé\u0301\u0323ガｶﾞ日本語สัरहि한국½😀+\u200d\u200b\0")),
        st.characters(exclude_categories=("Cs", "Cn", "Co")),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(letters)
def test_words_are_those_of_the_oracle(text: str) -> None:
    assert words_of(text) == [match.group() for match in ORACLE.finditer(text)]


@settings(deadline=None, max_examples=200)
@given(letters, letters)
@example("Å", "Î")
def test_words_have_equal_hashes_exactly_when_they_fold_to_the_same(one: str, other: str) -> None:
    text = f"{one}\0{other}\0{one.upper()}\0{unicodedata.normalize('NFD', other)}"
    hashes = dict[str, set[int]]()
    for word, value in zip(words_of(text), find_words(text).hashes.tolist(), strict=True):
        hashes.setdefault(folded(word), set()).add(value)
    assert all(len(values) == 1 for values in hashes.values())
    assert len(set.union(set(), *hashes.values())) == len(hashes)


def reflow(text: str, draw: random.Random) -> str:
    """The text in other line breaks, spaces, case and composition, some words broken by a hyphen at a line's end."""
    pieces = []
    for piece in regex.split(r"(\s+)", text):
        if piece.isspace():
            pieces.append(draw.choice([" ", "\n", "\r\n", "   ", "\n\n\t", "\u00a0", " \u200b"]))
        elif piece.isalpha() and len(piece) > 6 and draw.random() < 0.2:
            cut = draw.randrange(2, len(piece) - 2)
            pieces.append(f"{piece[:cut]}-\n{piece[cut:]}" if regex.fullmatch(r"\p{Latin}+", piece) else piece)
        else:
            pieces.append(draw.choice([str.upper, str.lower, str])(piece))
    text = "".join(pieces)
    unspaced = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]"
    text = regex.sub(rf"(?<={unspaced})(?={unspaced}(?<!\p{{M}}))", lambda _: draw.choice(["", "", "", "\n"]), text)
    return unicodedata.normalize(draw.choice(["NFC", "NFD", "NFKC"]), text)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(("k", "h"), [(4, 13), (2, 5)])
def test_copies_in_other_clothes_hide_the_same_words(script: str, k: int, h: int) -> None:
    text = " ".join([SCRIPTS[script], SCRIPTS["English"], SCRIPTS[script][::-1]][: 2 if script == "Thai" else 3])
    expected = dropped_by_word(text, k, h)
    assert any(expected)
    draw = random.Random(script)
    for _ in range(20):
        assert dropped_by_word(reflow(text, draw), k, h) == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 6), max_size=40), st.randoms(use_true_random=False))
def test_tokenisation_does_not_decide(lengths: list[int], draw: random.Random) -> None:
    """A token is hidden exactly when it has a letter of a hidden word, or has none and follows one."""
    text = (SCRIPTS["English"] + " " + SCRIPTS["Japanese"])[: draw.randint(0, 140)]
    words, hidden = find_words(text), dropped_by_word(text, 3, 4)
    cuts = [min(total, len(text)) for total in itertools.accumulate(lengths, initial=0)]
    tokens = [*itertools.pairwise(cuts), (cuts[-1], len(text))]
    (mask,) = dropped_tokens([text], [tokens], 3, 4)
    for (start, end), dropped in zip(tokens, mask, strict=True):
        touched = [n for n in range(len(hidden)) if words.starts[n] < end and words.ends[n] > start]
        before = [n for n in range(len(hidden)) if words.ends[n] <= start]
        expected = any(hidden[n] for n in touched) if touched else bool(before) and hidden[before[-1]]
        assert dropped == expected


def test_a_document_hides_the_same_words_alone_and_among_others() -> None:
    texts = [*SCRIPTS.values(), "", "...", "one", "\0", "x" * 200_000]
    offsets = [[(place, place + 1) for place in range(len(text))] for text in texts]
    together = dropped_tokens(texts, offsets, 3, 5)
    for text, document, mask in zip(texts, offsets, together, strict=True):
        (alone,) = dropped_tokens([text], [document], 3, 5)
        assert mask.tolist() == alone.tolist()
    assert dropped_tokens([], [], 3, 5) == []


@pytest.mark.parametrize(("k", "h"), [(4, 13), (50, 50), (2, 1)])
def test_one_word_in_k_is_hidden(k: int, h: int) -> None:
    draw = random.Random(k)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(200_000)]
    distinct = len(set(words)) if h == 1 else len(words)
    text = " ".join(dict.fromkeys(words) if h == 1 else words)
    rate = np.mean(dropped_by_word(text, k, h))
    assert abs(rate - 1 / k) < 4 * ((1 / k) * (1 - 1 / k) / distinct) ** 0.5


def test_impossible_arguments_are_refused() -> None:
    for k, h in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="k >= 1 and h >= 1"):
            dropped_tokens(["a"], [[(0, 1)]], k, h)

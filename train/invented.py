"""Text of an invented language, without end and without rights in it, to plant passages in.

Words are made of syllables; how often a word comes follows Zipf's law, and each word has a few that like to follow it,
so that there is something to learn. A near-duplicate of a passage is the same words in other clothes: lines broken
elsewhere, some spaces doubled, some words in capitals, as copies of a text on the web differ.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_WORDS, _FOLLOWERS = 300, 6


class Language:
    """A language drawn from a seed; `write` makes its texts."""

    def __init__(self, seed: int):
        draw = random.Random(seed)
        syllables = [a + b for a in _CONSONANTS for b in _VOWELS]
        words: dict[str, None] = {}
        while len(words) < _WORDS:
            words["".join(draw.choices(syllables, k=draw.choice((1, 2, 2, 3))))] = None
        self._words = list(words)
        self._weights = [1 / (rank + 5) for rank in range(_WORDS)]
        self._following = {word: draw.choices(self._words, self._weights, k=_FOLLOWERS) for word in self._words}

    def write(self, draw: random.Random, words: int) -> str:
        """A text of so many words, in sentences."""
        written: list[str] = []
        left, word = 0, draw.choice(self._words)
        for _ in range(words):
            if left == 0:
                left = draw.randint(6, 14)
                if written:
                    written[-1] += "."
            likely = draw.random() < 0.8
            word = draw.choice(self._following[word]) if likely else draw.choices(self._words, self._weights)[0]
            written.append(word)
            left -= 1
        return " ".join(written) + "."


def dress(text: str, draw: random.Random) -> str:
    """A near-duplicate: the same words in other line breaks, spacing and case."""
    return "".join(_dressed(text.split(" "), draw)).rstrip()


def _dressed(words: list[str], draw: random.Random) -> Iterator[str]:
    width = draw.randint(8, 13)
    column = draw.randint(0, width)
    for word in words:
        yield word.capitalize() if draw.random() < 0.01 else word
        column += 1
        if column >= width:
            yield "\n"
            column = draw.randint(-1, 1)
        else:
            yield "  " if draw.random() < 0.01 else " "

"""Tokenizers: any `tokenizers` JSON file with document boundaries, or a byte-level BPE trained on the corpus.

Byte-level BPE covers every script without an unknown token. The special tokens get the ids that Apertus gives them
(BoD 1, EoD 2, padding 3), so that an exported checkpoint needs no special case. A document that contains the text of a
special token (`</s>` on a web page) is encoded as that text, never as the boundary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from train.errors import TrainError
from train.publish import publish_text

UNKNOWN, BEGIN_OF_DOCUMENT, END_OF_DOCUMENT, PADDING = "<unk>", "<s>", "</s>", "<pad>"


@dataclass(frozen=True)
class DocumentTokenizer:
    """A tokenizer that knows how a document begins and ends.

    Attributes:
        tokenizer: the loaded file.
        begin: id of the token before each document (BoD).
        end: id of the token after it (EoD).
        padding: id of `<pad>`, None when the file has none.
        vocab_size: one more than the largest id, special tokens included.
        digest: SHA-256 of the file, hexadecimal.
        path: the file.
    """

    tokenizer: Tokenizer
    begin: int
    end: int
    padding: int | None
    vocab_size: int
    digest: str
    path: Path

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without BoD and EoD."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_offsets(self, texts: list[str]) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """Token ids of each text, without BoD and EoD, and the code points [start, end) that each token stands for."""
        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings], [encoding.offsets for encoding in encodings]

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def load_tokenizer(path: Path, begin: str = BEGIN_OF_DOCUMENT, end: str = END_OF_DOCUMENT) -> DocumentTokenizer:
    """Load a `tokenizers` JSON file.

    Raises:
        TrainError: the file is missing or unreadable, or has no token `begin` or `end`.
    """
    try:
        content = path.read_bytes()
        tokenizer = Tokenizer.from_buffer(content)
    except OSError as error:
        raise TrainError(f"tokenizer {path}: {error.strerror}; give the path of a tokenizer.json") from error
    except Exception as error:  # the library raises bare Exception for whatever is not a tokenizer
        raise TrainError(f"tokenizer {path}: not a tokenizers JSON file ({error}); export one with save()") from error
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    for name in (begin, end):
        if name not in vocabulary:
            raise TrainError(f"tokenizer {path}: no token {name!r}; name its own in [tokenizer] begin and end")
    return DocumentTokenizer(
        tokenizer=tokenizer,
        begin=vocabulary[begin],
        end=vocabulary[end],
        padding=vocabulary.get(PADDING),
        vocab_size=max(vocabulary.values()) + 1,
        digest=hashlib.sha256(content).hexdigest(),
        path=path,
    )


def train_tokenizer(texts: Iterable[str], vocab_size: int, path: Path) -> DocumentTokenizer:
    """Train a byte-level BPE of `vocab_size` tokens, publish it at `path` and load it.

    The same texts in the same order give the same file.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[UNKNOWN, BEGIN_OF_DOCUMENT, END_OF_DOCUMENT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    publish_text(path, tokenizer.to_str(pretty=True))
    return load_tokenizer(path)

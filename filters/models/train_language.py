"""Trains the embedded language model: `python -m filters.models.train_language DATA`.

DATA is the folder that holds `train/sentences.parquet`, `train/words.parquet` and `train/ngrams.parquet`. One process
and numpy only; about three CPU minutes. What was tried is in the card, `language.md`.

For every label, how often it uses a word or an n-gram, per word of text: counted in its sentences, estimated from the
ranks of its word and n-gram lists, or the mean of both. The weight of a word or n-gram is log(1 + rate / background).
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from filters.language_features import folding_table, gram_keys, joined_points, window_keys, word_keys, words_of
from filters.language_identifier import WordIdentifier
from filters.language_model import BUCKET_BITS, DENSE, PRINT_BITS, UNIT, Arrays, digest, entry_bits, save
from filters.models.language_noise import lines as lines_without_language
from filters.models.measure_language import documents, held_out, measured

HERE = Path(__file__).parent
SEED = 1
RANK = 48
UNSPACED = frozenset({"Hani", "Jpan", "Thai", "Khmr", "Laoo", "Mymr", "Tibt", "Tale", "Lana"})  # no words to count
MARK = "<!-- measured: written by the training script -->"


@dataclass(frozen=True)
class Settings:
    """What was chosen on held-out sources; see the card."""

    sentences: tuple[int, ...] = (1000, 1000, 3000, 6000, 6000)  # per label, by web size; evenly from its sources
    list_tokens: int = 1500  # how many words of text a word list counts for beside sentences
    list_share: float = 0.5  # and what share of the words of its sentences
    word_background: float = 1e-4
    gram_background: float = 3e-4
    gram_weight: float = 0.3
    word_minimum: float = 5e-5
    gram_minimum: float = 5e-4
    word_labels: int = 60  # labels per word; beyond, the common part is taken off
    gram_labels: int = 8  # n-grams of more labels become rows of the factor
    rank: int = RANK
    # What a label known from lists alone lacks per word: its lists leave out words that it shares with its relatives.
    list_offset: float = 0.55
    few_sentences: int = 100  # below which a label with word lists counts as known from them
    # A small language pays per word for the share of its n-grams, beyond `kin_free`, that a large one has too: text of
    # the large one that strays from the training data would otherwise be taken for its small relative.
    kin_penalty: float = 1.0
    kin_free: float = 0.3
    noise_offset: float = -0.5  # per word, for program text: documentation is full of names and still language
    leaning: tuple[float, ...] = (0.0, 1.5, 3.5, 6.0, 7.0)  # towards labels, by size on the web


@dataclass
class Source:
    """What is known of one label."""

    sentences: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    function_words: list[str] = field(default_factory=list)
    grams: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rates:
    """Uses per word of text: keys uint32 ascending and rates float64, of words and of n-grams; words counted."""

    words: tuple[np.ndarray, np.ndarray]
    grams: tuple[np.ndarray, np.ndarray]
    counted: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with train/ and dev.parquet")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of language.arrow and language.md")
    parser.add_argument("--lists", type=Path, default=HERE.parent / "lists", help="folder of language_tiers.tsv")
    parser.add_argument("--measure-only", action="store_true", help="keep language.arrow; tiers and card only")
    arguments = parser.parse_args()
    started = time.process_time()
    settings = Settings()
    path = arguments.out / "language.arrow"
    sources = read(arguments.data / "train", settings)
    if not arguments.measure_only:
        about = {"data": sha256(sorted((arguments.data / "train").glob("*.parquet"))), "settings": asdict(settings)}
        save(replace(train(sources, settings), about=about), path)
        print(f"{path}: {path.stat().st_size:,} bytes, {time.process_time() - started:.0f} CPU s", flush=True)
    without = held_out(arguments.data)
    with tempfile.TemporaryDirectory() as scratch:
        save(train(read(arguments.data / "train", settings, without), settings), Path(scratch) / "measured.arrow")
        identifier = WordIdentifier(Path(scratch) / "measured.arrow")
    kinds = documents(arguments.data, without)
    material = {label: (len(one.sentences), len(one.words), len(one.grams)) for label, one in sources.items()}
    tiers, tables = measured(identifier, kinds, material)
    (arguments.lists / "language_tiers.tsv").write_text(tiers, encoding="utf-8")
    digests = [f"- `{path.name}`: {path.stat().st_size:,} bytes, SHA-256 `{digest(path).hex()}`"]
    digests += [f"- `{name}`: SHA-256 `{value}`" for name, value in sha256(_inputs(arguments.data)).items()]
    write_card(arguments.out / "language.md", [*tables, "", "### Digests", *digests])
    print("\n".join(tables[:20]))
    print(f"{time.process_time() - started:.0f} CPU s in all")


def _inputs(data: Path) -> list[Path]:
    return [*sorted((data / "train").glob("*.parquet")), *(path for path in [data / "dev.parquet"] if path.exists())]


def write_card(path: Path, measured: Sequence[str]) -> None:
    """Replace what stands after the card's mark."""
    kept = path.read_text(encoding="utf-8").partition(MARK)[0] if path.exists() else ""
    path.write_text(kept + MARK + "\n" + "\n".join(measured) + "\n", encoding="utf-8")


def read(folder: Path, settings: Settings, without: Mapping[str, set[str] | None] | None = None) -> dict[str, Source]:
    """What the training data says about each label.

    Args:
        folder: holds the three Parquet files.
        settings: the cap on sentences.
        without: label -> sources of sentences to leave out (None: all), for measuring on them.
    """
    without = without or {}
    sources: dict[str, Source] = defaultdict(Source)
    table = pq.read_table(folder / "sentences.parquet", columns=["text", "lang", "source"])
    random = np.random.default_rng(SEED)
    sizes = web_sizes()
    lines: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    labels = table["lang"].cast("string").to_pylist()
    for number, (label, source) in enumerate(zip(labels, table["source"].cast("string").to_pylist(), strict=True)):
        if label in without and (without[label] is None or source in (without[label] or ())):
            continue
        lines[label][source].append(number)
    for label in sorted(lines):
        chosen = _even(lines[label], settings.sentences[sizes.get(label, 0)], random)
        sources[label].sentences = table["text"].take(chosen).to_pylist()
    sources["zxx_Latn"].sentences = lines_without_language(settings.sentences[0], SEED)
    for row in pq.read_table(folder / "words.parquet", columns=["lang", "words", "function_words"]).to_pylist():
        sources[row["lang"]].words = row["words"] or []
        sources[row["lang"]].function_words = row["function_words"] or []
    for row in pq.read_table(folder / "ngrams.parquet", columns=["lang", "ngrams"]).to_pylist():
        sources[row["lang"]].grams = row["ngrams"] or []
    return dict(sources)


def train(sources: Mapping[str, Source], settings: Settings) -> Arrays:
    """The model of these sources."""
    fold = folding_table()
    labels = sorted(sources, key=lambda label: (label[4:], label))
    rates = [rates_of(sources[label], fold, settings) for label in labels]
    word_pairs = _pairs([one.words for one in rates], settings.word_minimum)
    words = _weighted(word_pairs, settings.word_background, 1.0)
    words = _strongest(words, settings.word_labels)
    gram_pairs = _pairs([one.grams for one in rates], settings.gram_minimum)
    grams = _weighted(gram_pairs, settings.gram_background, settings.gram_weight)
    shared = _label_count(grams) > settings.gram_labels
    rows, columns, scale, row_keys = factored(grams, shared, gram_pairs.values, labels, settings.rank)
    grams = grams.chosen(~shared)
    fields = _entries([words, grams], row_keys, rows)
    sizes = web_sizes()
    return Arrays(
        labels=labels,
        columns=columns,
        scale=scale,
        offsets=(offsets_of(labels, sources, rates, sizes, settings) / UNIT).astype(np.float32),
        priors=np.array([settings.leaning[sizes.get(label, 0)] / UNIT for label in labels], dtype=np.float32),
        fold=fold,
        about={},
        **fields,
    )


def rates_of(source: Source, fold: np.ndarray, settings: Settings) -> Rates:
    """Uses per word of text, sentences and lists weighted by the words of text they stand for."""
    words, grams = _Tally(), _Tally()
    counted = 0
    # A label without lists has as many words of text that are not known: its few sentences do not speak for themselves.
    lists = settings.list_tokens
    parts = [_keys(source.sentences[start : start + 200], fold) for start in range(0, len(source.sentences), 200)]
    counted = sum(len(part[0]) for part in parts)
    if source.words or source.function_words or source.grams:
        lists += int(settings.list_share * counted)
    total = max(counted + lists, 1)
    for keys, gram, _ in parts:
        words.add(keys, 1 / total)
        grams.add(gram, 1 / total)
    share = lists / total
    n, m = len(source.words), len(source.function_words)
    uses = np.concatenate(
        [
            _zipf(n, 8, 0.85) * 0.5 * min(1.0, (n + 20) / 300),
            _zipf(m, 2, 0.7) * 0.4,
        ]
    )
    if len(uses):
        listed = [*source.words, *source.function_words]
        (keys, word_owners), gram, owners = _keys_of_each(listed, fold)
        words.add(keys, uses[word_owners] * share)
        grams.add(gram, uses[owners] * share)
    if source.grams:
        keys, owners = _fragment_keys(source.grams, fold)
        uses = _zipf(len(source.grams), 10, 0.8) * (0.3 if n + m else 0.8)
        grams.add(keys, uses[owners] * share)
    return Rates(words.total(), grams.total(), counted)


def offsets_of(
    labels: Sequence[str],
    sources: Mapping[str, Source],
    rates: Sequence[Rates],
    sizes: Mapping[str, int],
    settings: Settings,
) -> np.ndarray:
    """What each label gets per word of a text, float64[L]."""
    offsets = np.zeros(len(labels))
    kin = np.maximum(kinship(labels, rates, sizes) - settings.kin_free, 0.0)
    for number, label in enumerate(labels):
        source = sources[label]
        listed = source.words or source.function_words
        if label.startswith("zxx"):
            offsets[number] = settings.noise_offset
            continue
        if listed and len(source.sentences) < settings.few_sentences and label[4:] not in UNSPACED:
            offsets[number] = settings.list_offset
        if not sizes.get(label):
            offsets[number] -= settings.kin_penalty * kin[number]
    return offsets


def kinship(labels: Sequence[str], rates: Sequence[Rates], sizes: Mapping[str, int]) -> np.ndarray:
    """For each label, the share of its n-gram uses that the closest large or medium language of its script has too."""
    found = np.zeros(len(labels))
    for script in sorted({label[4:] for label in labels}):
        members = [number for number, label in enumerate(labels) if label[4:] == script]
        keys = np.unique(np.concatenate([rates[number].grams[0] for number in members]))
        for large in (number for number in members if sizes.get(labels[number], 0) >= 2):
            uses = np.zeros(len(keys))
            own, values = rates[large].grams
            uses[np.searchsorted(keys, own)] = values
            for number in members:
                own, values = rates[number].grams
                if number != large and len(own):
                    shared = np.minimum(values, uses[np.searchsorted(keys, own)]).sum() / values.sum()
                    found[number] = max(found[number], float(shared))
    return found


def web_sizes() -> dict[str, int]:
    """Label -> 4 (English), 3 (one of the languages with most pages), 2 or 1; others 0."""
    data = tomllib.loads((HERE.parent / "lists" / "languages.toml").read_text(encoding="utf-8"))["web"]
    names = ("small", "medium", "large", "largest")
    return {label: size for size, name in enumerate(names, 1) for label in data[name].split()}


class _Tally:
    def __init__(self) -> None:
        self.keys: list[np.ndarray] = []
        self.values: list[np.ndarray] = []

    def add(self, keys: np.ndarray, values: np.ndarray | float) -> None:
        self.keys.append(keys)
        self.values.append(np.broadcast_to(np.asarray(values, dtype=np.float64), keys.shape))

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        if not self.keys:
            return np.zeros(0, np.uint32), np.zeros(0)
        keys, place = np.unique(entry_bits(np.concatenate(self.keys)), return_inverse=True)
        return keys, np.bincount(place, weights=np.concatenate(self.values))


def _keys(texts: Sequence[str], fold: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys of all words and n-grams, and the number of the word of each n-gram."""
    words = words_of(*joined_points([unicodedata.normalize("NFC", text) for text in texts]), fold)
    grams, numbers = gram_keys(words, np.arange(len(words.begins)))
    return word_keys(words), grams, numbers


def _keys_of_each(
    texts: Sequence[str], fold: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """Keys of words and the number of the text of each, keys of n-grams and the number of the text of each."""
    words = words_of(*joined_points([unicodedata.normalize("NFC", text) for text in texts]), fold)
    grams, numbers = gram_keys(words, np.arange(len(words.begins)))
    return (word_keys(words), words.owners), grams, words.owners[numbers]


def _fragment_keys(fragments: Sequence[str], fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys of what is inside character n-grams cut out of running text: their edges are no word's edges."""
    pieces, owners = [], []
    for number, fragment in enumerate(fragments):
        codes = fold.take(np.array([min(ord(c), 0xFFFF) for c in unicodedata.normalize("NFC", fragment)]))
        gaps = np.flatnonzero(codes == 0)
        start = 0
        for gap in [*gaps.tolist(), len(codes)]:
            piece = codes[max(start - 1, 0) : gap + 1]
            if len(piece) and piece.any():
                pieces.append(piece)
                owners.append(number)
            start = gap + 1
    sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
    if not len(sizes):
        return np.zeros(0, np.uint32), np.zeros(0, np.int64)
    return window_keys(np.concatenate(pieces).astype(np.uint32), np.repeat(owners, sizes), sizes)


def _zipf(count: int, offset: float, power: float) -> np.ndarray:
    """Shares of the ranks 0 .. count - 1 by Zipf's law with an offset (Mandelbrot)."""
    uses = 1 / (np.arange(count) + offset) ** power
    return uses / uses.sum() if count else uses


@dataclass(frozen=True)
class Pairs:
    """Values of (key, label), sorted by key."""

    keys: np.ndarray
    labels: np.ndarray
    values: np.ndarray

    def chosen(self, which: np.ndarray) -> Pairs:
        return Pairs(self.keys[which], self.labels[which], self.values[which])


def _pairs(tables: Sequence[tuple[np.ndarray, np.ndarray]], minimum: float) -> Pairs:
    keys, labels, values = [], [], []
    for number, (key, rate) in enumerate(tables):
        enough = rate >= minimum
        keys.append(key[enough])
        values.append(rate[enough])
        labels.append(np.full(int(enough.sum()), number, dtype=np.uint16))
    merged = np.concatenate(keys)
    order = np.argsort(merged, kind="stable")
    return Pairs(merged[order], np.concatenate(labels)[order], np.concatenate(values)[order])


def _weighted(pairs: Pairs, background: float, factor: float) -> Pairs:
    return Pairs(pairs.keys, pairs.labels, np.log1p(pairs.values / background) * factor)


def _label_count(pairs: Pairs) -> np.ndarray:
    """For each pair, how many labels have its key."""
    _, inverse, counts = np.unique(pairs.keys, return_inverse=True, return_counts=True)
    return counts[inverse]


def _strongest(pairs: Pairs, most: int) -> Pairs:
    """At most so many labels per key; what the next one has is taken off all of them."""
    order = np.lexsort((-pairs.values, pairs.keys))
    keys, labels, values = pairs.keys[order], pairs.labels[order], pairs.values[order]
    _, starts, counts = np.unique(keys, return_index=True, return_counts=True)
    rank = np.arange(len(keys)) - np.repeat(starts, counts)
    common = np.where(counts > most, values[np.minimum(starts + most, len(values) - 1)], 0.0)
    values = values - np.repeat(common, counts)
    stays = (rank < most) & (values > UNIT / 2)
    return Pairs(keys[stays], labels[stays], values[stays])


def factored(
    grams: Pairs, shared: np.ndarray, rates: np.ndarray, labels: Sequence[str], rank: int
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Rows int8[D, rank] and columns int8[L, rank] whose product approximates the shared n-grams' weights; the scale of
    the product in units of `UNIT`; the keys of the rows."""
    scripts = sorted({label[4:] for label in labels})
    script = np.array([scripts.index(label[4:]) for label in labels])
    keys, row = np.unique(grams.keys[shared], return_inverse=True)
    if not len(keys):
        return np.zeros((0, rank), np.int8), np.zeros((len(labels), rank), np.int8), 1.0, keys
    matrix = np.zeros((len(keys), len(labels)), dtype=np.float32)
    matrix[row, grams.labels[shared]] = grams.values[shared]
    use = np.sqrt(np.bincount(row, weights=rates[shared])).astype(np.float32)
    # Within a script, what all labels have in common decides nothing: taken off, so that the factor need not hold it.
    home = np.zeros((len(keys), len(scripts)), dtype=np.int32)
    np.add.at(home, (row, script[grams.labels[shared]]), 1)
    for number in range(len(scripts)):
        mine, members = np.flatnonzero(home.argmax(axis=1) == number), script == number
        if not len(mine):
            continue
        inside = matrix[np.ix_(mine, np.flatnonzero(members))]
        block = np.zeros((len(mine), len(labels)), dtype=np.float32)
        block[:, members] = inside - inside.mean(axis=1, keepdims=True)
        matrix[mine] = block
    basis = _subspace(matrix * use[:, None], rank)
    turned = basis @ np.linalg.qr(np.random.default_rng(SEED).normal(size=(rank, rank)))[0].astype(np.float32)
    rows = matrix @ turned
    row_step = np.quantile(np.abs(rows), 0.9999) / 127
    column_step = np.abs(turned).max() / 127
    return (
        np.clip(np.rint(rows / row_step), -127, 127).astype(np.int8),
        np.clip(np.rint(turned / column_step), -127, 127).astype(np.int8),
        float(row_step * column_step / UNIT),
        keys,
    )


def _subspace(matrix: np.ndarray, rank: int) -> np.ndarray:
    """Orthonormal float32[columns, rank] of the strongest right singular vectors (randomised subspace iteration)."""
    random = np.random.default_rng(SEED)
    basis = np.linalg.qr(random.normal(size=(matrix.shape[1], rank + 8)).astype(np.float32))[0]
    for _ in range(4):
        basis = np.linalg.qr(matrix.T @ (matrix @ basis))[0]
    _, _, right = np.linalg.svd(matrix @ basis, full_matrices=False)
    return np.ascontiguousarray((basis @ right.T)[:, :rank])


def _entries(lists: Sequence[Pairs], row_keys: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of the key table: lists of words and of n-grams, and rows, by key."""
    keys = np.concatenate([pairs.keys for pairs in lists])
    labels = np.concatenate([pairs.labels for pairs in lists])
    weights = np.concatenate([pairs.values for pairs in lists])
    weights = np.clip(np.rint(weights / UNIT), 0, 255).astype(np.uint8)
    stays = (weights > 0) & ~np.isin(keys, row_keys)  # a stranger with the key of a row: one in 300
    keys, labels, weights = keys[stays], labels[stays], weights[stays]
    order = np.lexsort((labels, keys))
    keys, labels, weights = keys[order], labels[order], weights[order]
    own, counts = np.unique(keys, return_counts=True)
    cut = np.minimum(counts, DENSE - 1)
    rank = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    inside = rank < DENSE - 1
    everything = np.concatenate([own, row_keys])
    order = np.argsort(everything, kind="stable")
    all_counts = np.concatenate([cut, np.full(len(row_keys), DENSE)])[order]
    everything = everything[order]
    buckets = np.bincount(everything >> PRINT_BITS, minlength=1 << BUCKET_BITS)
    if buckets.max() > 255:
        raise ValueError(f"{buckets.max()} keys in one bucket; 255 fit")
    return {
        "buckets": buckets.astype(np.uint8),
        "prints": (everything & ((1 << PRINT_BITS) - 1)).astype(np.uint8),
        "counts": all_counts.astype(np.uint8),
        "pair_labels": labels[inside].astype(np.uint16),
        "pair_weights": weights[inside],
        "rows": rows[np.argsort(row_keys, kind="stable")],
    }


def _even(lines: Mapping[str, Sequence[int]], most: int, random: np.random.Generator) -> list[int]:
    """At most so many lines, as evenly from all sources as they have them."""
    chosen: list[int] = []
    groups = sorted((random.permutation(lines[source]).tolist() for source in sorted(lines)), key=len)
    for place, group in enumerate(groups):
        chosen += group[: (most - len(chosen)) // (len(groups) - place)]
    return chosen


def sha256(paths: Iterable[Path]) -> dict[str, str]:
    """Digests of files by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    main()

"""Trains, calibrates and measures the embedded toxicity model: `python -m filters.models.train_toxicity DATA`.

DATA is the folder that holds `toxicity/train.parquet`, `toxicity/dev.parquet` and `lid/train/sentences.parquet`
(ordinary sentences, taken as clean text). The script writes `toxicity.npz` (weights), `toxicity.toml` (length slope
and threshold per language) and the measured part of the card `toxicity.md`. One process and numpy only:
minibatch AdaGrad over hashed n-grams needs two CPU minutes in all, and the same data, numpy and processor give the same
bytes.

What was tried is in the card; choices that mattered are argued where they are made.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import re
import sysconfig
import time
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from filters.models.authored import names as authored_names
from filters.models.authored import sentences as authored_sentences
from filters.models.translated import translations
from filters.ngrams import BITS, PIECE, NgramModel, folded_words, folding_table, ngrams, spelled, word_rows
from filters.toxicity_card import auroc, functional, recall_at
from filters.toxicity_thresholds import tail_slope

HERE = Path(__file__).parent
SEED = 1
EPOCHS, MINING_EPOCHS = 12, 3
BATCH = 4096
RATE = 0.3
PENALTY = 2e-6
DAMPING = 20.0
# Windows of 96 codes, one every 32: about the length of what was labelled. On development pages with one toxic passage,
# windows of 300 / 200 / 100 / 75 codes give AUROC .71 / .73 / .78 / .80.
BLOCK, SPAN = 32, 3
# The logit of text that the model knows nothing about. Where it was learned per language it came out near +1 for those
# with few rows (everything unlike the clean rows counted as toxic: half of the Japanese manual pages were flagged).
BIAS = -2.0
WEAK = 0.4  # weight of rows labelled by rule, relative to a person's label
FALSE_POSITIVES = 0.01  # share of clean pages that a default threshold may exclude
# No default threshold is lower, however clean the pages score: below 0.5 the model itself holds a text to be more
# likely clean than toxic, and neutral sentences about groups of people reach 0.3 to 0.5. Where nothing but listed terms
# was there to learn from, the same abuse scores lower (0.38 in Russian for 0.9 in English), and so is the floor.
FLOOR, FLOOR_LISTED = 0.55, 0.35
# Sources whose clean rows are ordinary prose, and sources labelled by people.
NEUTRAL = {"tatoeba", "wesnoth", "debian_handbook", "libreoffice_help", "icd10", "udhr"}
HUMAN = {"measuring_hs", "mlma", "germeval2018", "told_br", "poleval2019_cbd", "cold"}
TRANSLATED = "told_br"
AUTHORED = "authored"
MENTIONS = 40  # ordinary sentences per name of a group
# Sources whose clean rows are no context for a toxic one: they are comments themselves.
COMMENTS = HUMAN | {"apertium_mt_en", f"{TRANSLATED}_mt", AUTHORED}
# Jokes signed with the newsgroup they come from: the model learned the signature, and flagged clean jokes by it.
UNUSABLE = "fortunes_offensive"
UNSPACED = {"cmn_Hani", "jpn_Jpan"}
OFFSETS = dict(zip(BITS, np.cumsum([0, *(1 << bits for bits in BITS.values())]).tolist(), strict=False))
WIDTH = sum(1 << bits for bits in BITS.values())


@dataclass(frozen=True)
class Row:
    text: str
    toxic: bool
    language: str
    source: str
    weak: bool


@dataclass(frozen=True)
class Features:
    """Rows as lists of table entries: row i holds `entries[pointers[i]:pointers[i + 1]]` and `codes[i]` codes."""

    entries: np.ndarray
    pointers: np.ndarray
    codes: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with toxicity/ and lid/")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: this one)")
    parser.add_argument("--untranslated", action="store_true", help="without rows that need Apertium")
    arguments = parser.parse_args()
    started = time.process_time()

    random = np.random.default_rng(SEED)
    labelled = [row for row in read(arguments.data / "toxicity" / "train.parquet") if row.source != UNUSABLE]
    judged = read(arguments.data / "toxicity" / "dev.parquet")
    languages = sorted({row.language for row in labelled})
    sentences = read_sentences(arguments.data / "lid" / "train" / "sentences.parquet", languages)
    labelled = hold_out(labelled, sentences["calibrate"])
    hold_out(judged, sentences["measure"], share=1.0)
    add_code(sentences, languages)
    if not arguments.untranslated:
        labelled += translated(labelled)
    rows = training_rows(labelled, sentences["train"], random)
    print(f"{len(rows)} training rows, {len(languages)} languages, {time.process_time() - started:.0f} CPU s")

    fold = folding_table()
    weights = fit(rows, fold, MINING_EPOCHS)
    rows += mined(quantized(weights, fold), sentences["train"], languages, random)
    rows = [rows[index] for index in random.permutation(len(rows))]
    print(f"{len(rows)} rows with mined ones, {time.process_time() - started:.0f} CPU s")
    weights = fit(rows, fold, EPOCHS)
    model = quantized(weights, fold)
    print(f"trained, {time.process_time() - started:.0f} CPU s")

    taught = {row.language for row in labelled if row.toxic and row.source != "lexicon_synth"}
    floors = {language: FLOOR if language in taught else FLOOR_LISTED for language in languages}
    calibration = calibrate(model, floors, sentences["calibrate"], np.random.default_rng(SEED + 1))
    arguments.out.mkdir(parents=True, exist_ok=True)
    model.save(arguments.out / "toxicity.npz")
    write_calibration(calibration, arguments.out / "toxicity.toml")
    tables = measure(arguments.out, judged, sentences["measure"], languages, np.random.default_rng(SEED + 2))
    digests = [
        f"- `{path.name}`: {path.stat().st_size:,} bytes, SHA-256 `{hashlib.sha256(path.read_bytes()).hexdigest()}`"
        for path in (arguments.out / "toxicity.npz", arguments.out / "toxicity.toml")
    ]
    print("\n".join(tables))
    write_card(arguments.out / "toxicity.md", [*tables, "", *digests])
    print(f"{time.process_time() - started:.0f} CPU s in all")


def read(path: Path) -> list[Row]:
    table = pq.read_table(path, columns=["text", "label", "lang", "source", "weak"]).to_pydict()
    return [
        Row(text, label == 1, language, source, weak)
        for text, label, language, source, weak in zip(*table.values(), strict=True)
    ]


def read_sentences(path: Path, languages: Sequence[str]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Ordinary sentences by purpose, language and source: 50% to train on, 30% to calibrate, 20% to measure.

    Which purpose a line serves is decided by its digest, so that no line serves two.
    """
    table = pq.read_table(path, columns=["text", "lang", "source"]).to_pydict()
    wanted = set(languages)
    parts: dict[str, dict[str, dict[str, list[str]]]] = {
        purpose: defaultdict(lambda: defaultdict(list)) for purpose in ("train", "calibrate", "measure")
    }
    for text, language, source in zip(*table.values(), strict=True):
        if language.startswith("zxx"):
            continue
        digest = hashlib.blake2b(text.encode(), digest_size=2).digest()
        if language not in wanted and digest[1] > 40:
            continue  # one line in six is plenty for languages that are only a backdrop
        share = digest[0] / 256
        purpose = "train" if share < 0.5 else "calibrate" if share < 0.8 else "measure"
        parts[purpose][language][source].append(text)
    return parts


def hold_out(rows: Sequence[Row], sentences: dict[str, dict[str, list[str]]], share: float = 0.3) -> list[Row]:
    """Move a share of the ordinary clean rows (by digest) to the sentences of a purpose; returns the other rows.

    Technical prose with commands and code in it is what a web page is made of as much as stories are.
    """
    rest = []
    for row in rows:
        lot = hashlib.blake2b(row.text.encode(), digest_size=1).digest()[0] / 256
        if row.source in NEUTRAL and lot < share:
            kind = "technical" if row.source in ("debian_handbook", "libreoffice_help") else "various"
            sentences[row.language][kind].append(row.text)
        else:
            rest.append(row)
    return rest


def add_code(sentences: dict[str, dict[str, dict[str, list[str]]]], languages: Sequence[str]) -> None:
    """Lines of Python's standard library, and lists of its names, as clean sentences of every language.

    Manual pages and tutorials in every language quote code, and names like `calloc` are made of unlikely letters.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    lines = [line.strip() for path in sorted(folder.glob("*.py")) for line in path.open(encoding="utf-8")]
    names = sorted({name for line in lines for name in re.findall(r"\w{4,}", line)})
    lists = [", ".join(f"{name}()" for name in names[first : first + 8]) for first in range(0, len(names), 8)]
    for line in [line for line in lines if len(line) > 20] + lists:
        lot = hashlib.blake2b(line.encode(), digest_size=2).digest()
        if lot[1] > 64:
            continue  # a quarter is plenty
        purpose = "train" if lot[0] < 128 else "calibrate" if lot[0] < 205 else "measure"
        for language in languages:
            sentences[purpose][language]["code"].append(line)


def translated(labelled: Sequence[Row]) -> list[Row]:
    """The comments of `TRANSLATED` in the languages that Apertium has, by the label of the original."""
    originals = [row for row in labelled if row.source == TRANSLATED]
    return [
        Row(text, original.toxic, language, f"{TRANSLATED}_mt", True)
        for language, texts in translations([row.text for row in originals]).items()
        for original, text in zip(originals, texts, strict=True)
    ]


def training_rows(labelled: Sequence[Row], sentences: dict[str, dict[str, list[str]]], random) -> list[Row]:
    """Labelled rows, long clean ones cut; toxic ones also inside clean context; ordinary sentences as clean rows."""
    rows: list[Row] = []
    for row in labelled:
        if not row.toxic and len(row.text) > 400:
            pieces = (row.text[start : start + 300] for start in range(0, min(len(row.text), 4000), 300))
            rows += [Row(piece, False, row.language, row.source, row.weak) for piece in pieces if len(piece) > 40]
        else:
            rows.append(Row(row.text[:600], row.toxic, row.language, row.source, row.weak))
    rows += _identity_sentences()
    rows += [Row(made.text, made.toxic, made.language, AUTHORED, False) for made in authored_sentences()]
    rows += _mentions(sentences, random)
    rows += _clean_sentences(sentences, {row.language for row in labelled}, random)
    rows += _in_context(rows, random)
    order = random.permutation(len(rows))
    return [rows[index] for index in order]


def _clean_sentences(sentences, supported: set[str], random) -> list[Row]:
    """Ordinary sentences of one source joined to 1-5 lines: 600 rows per source, 40 for a language without labels.

    Without them the clean rows are technical prose, and stories, scripture or health advice look like the other side.
    """
    rows = []
    for language in sorted(sentences):
        for source in sorted(sentences[language]):
            lines = sentences[language][source]
            for _ in range(600 if language in supported else 40):
                start, count = random.integers(len(lines)), random.integers(1, 6)
                rows.append(Row("\n".join(lines[start : start + count])[:400], False, language, source, True))
    return rows


def _identity_sentences() -> list[Row]:
    """Neutral sentences about groups of people, at the weight of a person's label."""
    made = []
    for language, lists in tomllib.loads((HERE / "identity.toml").read_text(encoding="utf-8")).items():
        for term in lists["terms"]:
            made += [Row(frame.format(term), False, language, "identity", False) for frame in lists["frames"]]
    return made


def _mentions(sentences, random) -> list[Row]:
    """Ordinary sentences with a group's name before or after them: a name by itself says nothing."""
    rows = []
    for language, names in authored_names().items():
        lines = [line for _, part in sorted(sentences[language].items()) for line in part]
        space = "" if language in UNSPACED else " "
        for name in names:
            for index in random.integers(len(lines), size=MENTIONS):
                pair = (name, lines[index][:200]) if random.random() < 0.5 else (lines[index][:200], name)
                rows.append(Row(space.join(pair), False, language, AUTHORED, False))
    return rows


def _in_context(rows: Sequence[Row], random) -> list[Row]:
    """30% of the short toxic rows again between clean ones, and as many clean rows between clean ones.

    A window of a page holds more than the insult; this teaches that clean context does not outvote it.
    """
    clean, toxic = defaultdict(list), defaultdict(list)
    for row in rows:
        if not row.toxic and row.source not in COMMENTS:
            clean[row.language].append(row.text)
        elif row.toxic and len(row.text) < 200:
            toxic[row.language].append(row.text)
    made = []
    for language in sorted(toxic):
        context = clean[language]
        space = "" if language in UNSPACED else " "
        for text in toxic[language]:
            if random.random() < 0.3:
                before, middle, after = (context[index] for index in random.integers(len(context), size=3))
                left, right = random.integers(0, 50, size=2)
                for core, label in ((text, True), (middle, False)):
                    inside = space.join((before[-left:] if left else "", core, after[:right]))
                    made.append(Row(inside, label, language, "context", True))
    return made


def mined(model: NgramModel, sentences, languages: Sequence[str], random) -> list[Row]:
    """The windows of clean pages that a first model finds worst, as clean rows: 1,000 per language.

    The maximum over windows looks for exactly these; rows drawn at random hardly show them.
    """
    rows = []
    for language in languages:
        parts = usable(sentences[language], random)
        texts = [page for lines in parts for page in pages(lines, 2000 // len(parts), random)]
        worst = sorted(zip(model.peaks(texts), texts, strict=True), key=lambda pair: -pair[0].logit)[:1000]
        rows += [Row(text[peak.start : peak.end], False, language, "mined", False) for peak, text in worst]
    return rows


def featurize(texts: Sequence[str], fold: np.ndarray) -> Features:
    entries, lengths, codes = [], np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    for first in range(0, len(texts), 500):
        part = texts[first : first + 500]
        for words in folded_words(part, fold):
            owner = np.repeat(words.owners, np.diff(words.firsts))
            codes[first : first + len(part)] += np.bincount(words.owners, words.measures, len(part)).astype(np.int64)
            letters, _ = spelled(words, np.arange(len(words.begins)))
            at_code = np.repeat(owner, words.lengths + 1)
            columns, whose = [], []
            for name, rows, valid in ngrams(letters):
                columns.append((rows[valid] + OFFSETS[name]).astype(np.int32))
                whose.append(at_code[: len(rows)][valid])
            short = np.flatnonzero(~words.long)
            columns.append((word_rows(words.keys[short]) + OFFSETS["word"]).astype(np.int32))
            whose.append(owner[short])
            for name, rows, crossing in words.groups():
                inside = np.delete(np.arange(len(rows)), crossing)
                columns.append((rows[inside] + OFFSETS[name]).astype(np.int32))
                whose.append(owner[inside])
            column, row = np.concatenate(columns), np.concatenate(whose)
            entries.append(column[np.argsort(row, kind="stable")])
            lengths[first : first + len(part)] += np.bincount(row, minlength=len(part))
    assert all(len(text) < PIECE for text in texts)  # one piece per row: its features stay in one stretch
    return Features(np.concatenate(entries), np.concatenate([[0], np.cumsum(lengths)]), codes)


def fit(rows: Sequence[Row], fold: np.ndarray, epochs: int) -> np.ndarray:
    """Weights of a logistic regression by minibatch AdaGrad, shared by all languages."""
    features = featurize([row.text for row in rows], fold)
    toxic = np.array([row.toxic for row in rows], dtype=np.float32)
    importance = _importance(rows, toxic)
    norm = (1 / np.sqrt(features.codes + DAMPING)).astype(np.float32)
    weights, seen = np.zeros(WIDTH, np.float32), np.full(WIDTH, 1e-6, np.float32)
    pointers = features.pointers
    random = np.random.default_rng(SEED)
    batches = len(rows) // BATCH
    for epoch in range(epochs):
        loss = 0.0
        for batch in random.permutation(batches):
            first, last = batch * BATCH, (batch + 1) * BATCH if batch < batches - 1 else len(rows)
            part = slice(first, last)
            entries = features.entries[pointers[first] : pointers[last]]
            sums = np.add.reduceat(weights.take(entries), pointers[part] - pointers[first])
            probability = 1 / (1 + np.exp(-(sums * norm[part] + np.float32(BIAS))))
            error = (probability - toxic[part]) * importance[part] / (last - first)
            loss -= float(np.mean(importance[part] * np.log(np.abs(1 - toxic[part] - probability) + 1e-7)))
            spread = np.repeat(error * norm[part], np.diff(pointers[first : last + 1]))
            gradient = np.bincount(entries, weights=spread, minlength=WIDTH).astype(np.float32) + PENALTY * weights
            seen += gradient * gradient
            weights -= RATE * gradient / np.sqrt(seen)
        print(f"epoch {epoch + 1}: loss {loss / batches:.4f}", flush=True)
    return weights


def _importance(rows: Sequence[Row], toxic: np.ndarray) -> np.ndarray:
    """A person's label counts more than a rule's, and within a language the rarer class is lifted half-way."""
    importance = np.array([WEAK if row.weak else 1.0 for row in rows], dtype=np.float32)
    language = np.array([row.language for row in rows])
    for label in {row.language for row in rows if row.toxic}:
        mine = language == label
        positive, negative = importance[mine & (toxic == 1)].sum(), importance[mine & (toxic == 0)].sum()
        importance[mine & (toxic == 1)] *= np.clip(np.sqrt(negative / positive), 0.3, 3)
    return importance / importance.mean()


def quantized(weights: np.ndarray, fold: np.ndarray) -> NgramModel:
    """Weights as int8; the one weight in 10,000 beyond the range is clipped, which keeps the steps small."""
    scale = float(np.quantile(np.abs(weights), 0.9999)) / 127
    small = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
    tables = {name: small[OFFSETS[name] : OFFSETS[name] + (1 << bits)] for name, bits in BITS.items()}
    return NgramModel(tables, fold, BIAS, scale, DAMPING, BLOCK, SPAN)


def usable(sources: dict[str, list[str]], random) -> list[list[str]]:
    """Sources with enough lines that one rude line is not on every page, and one that mixes all of them."""
    everything = [lines[start : start + 3] for _, lines in sorted(sources.items()) for start in range(0, len(lines), 3)]
    mixed = [line for index in random.permutation(len(everything)) for line in everything[index]]
    return [*(lines for _, lines in sorted(sources.items()) if len(lines) >= 150), mixed]


def pages(lines: Sequence[str], count: int, random, insertions: Sequence[str] = ()) -> list[str]:
    """Pages of consecutive sentences, log-uniformly 200 to 15,000 characters long.

    With `insertions`, one of them stands at a random place of each page.
    """
    made = []
    for _ in range(count if lines else 0):
        target, start = math.exp(random.uniform(math.log(200), math.log(15_000))), int(random.integers(len(lines)))
        page: list[str] = []
        while sum(map(len, page)) < target:
            page.append(lines[(start + len(page)) % len(lines)])
        if insertions:
            page.insert(int(random.integers(len(page) + 1)), insertions[int(random.integers(len(insertions)))])
        made.append("\n".join(page))
    return made


def calibrate(model: NgramModel, floors: dict[str, float], sentences, random) -> dict[str, dict[str, float]]:
    """Length slope and threshold per language, and `default` for the languages without labels.

    The maximum over windows grows with their number, on clean pages close to linearly in the logarithm of that number.
    The growth of its upper end (95%) is fitted there and subtracted; then one threshold serves all lengths. A source's
    level is the quantile of its pages that leaves `FALSE_POSITIVES` above it, and the threshold is the median over
    sources, so that one that is not as clean as supposed does not lift it. It is never below the language's floor.
    """
    found: dict[str, dict[str, float]] = {}
    backdrop: list[str] = []
    for language in sorted(sentences):
        if language not in floors:
            backdrop += [line for lines in usable(sentences[language], random) for line in lines[:100]]
    sources = {language: usable(sentences[language], random) for language in floors} | {"default": [backdrop]}
    for language, parts in sources.items():
        logits, sizes, levels = [], [], []
        for lines in parts:
            peaks = model.peaks(pages(lines, 400 if len(parts) > 1 else 2000, random))
            logits.append(np.array([peak.logit for peak in peaks]))
            sizes.append(np.log([max(peak.windows, 1) for peak in peaks]))
        slope = tail_slope(np.concatenate(sizes), np.concatenate(logits))
        levels = [
            np.quantile(part - slope * size, 1 - FALSE_POSITIVES) for part, size in zip(logits, sizes, strict=True)
        ]
        level = 1 / (1 + math.exp(-float(np.median(levels))))
        found[language] = {
            "slope": round(slope, 4),
            "threshold": round(max(level, floors.get(language, FLOOR)), 4),
            "level": round(level, 4),
            "pages": sum(map(len, logits)),
        }
    return found


def write_calibration(calibration: dict[str, dict[str, float]], path: Path) -> None:
    lines = [
        "# Written by `python -m filters.models.train_toxicity`. Per language: slope, subtracted from the logit once",
        "# per natural logarithm of the number of windows; level, the score that 1% of clean pages reach; threshold,",
        "# the same but not below a floor (0.55 or 0.35); number of pages. `default` is for all other languages.",
    ]
    for language, values in calibration.items():
        lines += ["", f"[{language}]", *(f"{name} = {value}" for name, value in values.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(folder: Path, judged: Sequence[Row], sentences, languages: Sequence[str], random) -> list[str]:
    """Markdown tables of what the written model does on rows and pages it has not seen."""
    from filters.toxicity import Embedded

    model = Embedded(folder / "toxicity.npz", folder / "toxicity.toml")
    head = "| language | AUROC, human labels | recall at 5% FPR | flagged: toxic / clean comments | AUROC, all rows |"
    head += " long-page AUROC | toxic pages flagged | clean pages flagged: < 1k / 1-4k / > 4k chars |"
    lines = [head, "|" + "---|" * 8]
    columns = []
    for language in languages:
        rows = [row for row in judged if row.language == language]
        scores = np.array([mark.score for mark in model.marks([row.text for row in rows], [language] * len(rows))])
        toxic = np.array([row.toxic for row in rows])
        human = np.array([row.source in HUMAN for row in rows])
        threshold = model.threshold(language)
        parts = usable(sentences[language], random)
        clean = [page for lines in parts for page in pages(lines, 300 // len(parts), random)]
        insults = [row.text for row in rows if row.toxic and 15 < len(row.text) < 250]
        dirty = [page for lines in parts for page in pages(lines, 300 // len(parts), random, insults)]
        clean_scores, dirty_scores = (
            np.array([mark.score for mark in model.marks(texts, [language] * len(texts))]) for texts in (clean, dirty)
        )
        sizes = np.array([len(text) for text in clean])
        bins = [clean_scores[(sizes >= low) & (sizes < high)] for low, high in ((0, 1e3), (1e3, 4e3), (4e3, 1e9))]
        area, recall, flagged = None, None, "-"
        if human.any():
            area = auroc(toxic[human], scores[human])
            recall = recall_at(toxic[human], scores[human], 0.05)
            shares = [(scores[human & (toxic == kind)] >= threshold).mean() for kind in (True, False)]
            flagged = " / ".join(f"{share:.1%}" for share in shares)
        long = auroc(np.r_[np.ones(len(dirty)), np.zeros(len(clean))].astype(bool), np.r_[dirty_scores, clean_scores])
        columns.append((area, recall, auroc(toxic, scores), long, (dirty_scores >= threshold).mean()))
        cells = [
            language,
            *("-" if value is None else f"{value:.3f}" for value in (area, recall)),
            flagged,
            f"{columns[-1][2]:.3f}",
            f"{long:.3f}",
            f"{columns[-1][4]:.1%}",
            " / ".join(f"{(part >= threshold).mean():.1%}" for part in bins),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    means = [np.mean([column[place] for column in columns if column[place] is not None]) for place in range(5)]
    lines.append(f"| mean | {means[0]:.3f} | {means[1]:.3f} | | {means[2]:.3f} | {means[3]:.3f} | {means[4]:.1%} | |")
    return [*lines, "", *_functional_table(model)]


def _functional_table(model) -> list[str]:
    """Markdown of the functional tests, see `filters.toxicity_card`."""
    tests = functional(lambda *args: [mark.score for mark in model.marks(*args)], model.threshold)
    functions = sorted({name for test in tests for name in test.flagged})
    head = ["language", "functional AUROC", "identity gap", "spread", *(f"flagged: {name}" for name in functions)]
    rows = [
        [test.language, f"{test.auroc:.3f}", f"{test.gap:+.3f}", f"{test.spread:.3f}"]
        + [f"{test.flagged.get(name, 0):.0%}" for name in functions]
        for test in tests
    ]
    figures = [
        [test.auroc, test.gap, test.spread, *(test.flagged.get(name, 0) for name in functions)] for test in tests
    ]
    means = np.mean(figures, axis=0)
    shares = [f"{share:.0%}" for share in means[3:]]
    rows.append(["mean", f"{means[0]:.3f}", f"{means[1]:+.3f}", f"{means[2]:.3f}", *shares])
    table = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(row)} |" for row in table]


def write_card(path: Path, lines: Sequence[str]) -> None:
    """Replace what stands between the card's markers; a new card starts with the measured part alone."""
    opening, closing = "<!-- measured: written by the training script -->", "<!-- end of measured -->"
    text = path.read_text(encoding="utf-8") if path.exists() else f"{opening}\n{closing}\n"
    before, _, rest = text.partition(opening)
    _, _, after = rest.partition(closing)
    path.write_text(before + opening + "\n" + "\n".join(lines) + "\n" + closing + after, encoding="utf-8")


if __name__ == "__main__":
    main()

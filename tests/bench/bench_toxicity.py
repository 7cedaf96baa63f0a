"""The toxicity model against its bars and against fastText, in one run.

    python -m tests.bench.bench_toxicity [--mb N]

Quality needs the development data and is skipped without it; speed runs on the bench's pages or generated ones. Bars,
exit status 1 if one is missed:
- natural comments (rows labelled by people, development): mean AUROC >= .80, recall at 5% false positives >= .38
- functional tests: mean AUROC >= .65, mean identity gap <= .05 in size
- planted insults in pages of the bench's corpus: AUROC >= .95, and long clean pages (over 4,000 characters) flagged no
  more than 1.5 times as often as short ones, give or take half a percent
- model file <= 4 MB; >= 10 Mchar/s on whole pages; <= 30 CPU ms per MB
The peer is a fastText classifier (tests/bench/toxicity_standin.py) that reads the same pages once, whole.

The spread between groups of people is printed beside and is no bar here: see the card.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from filters import toxicity
from filters.models.train_toxicity import HUMAN
from filters.toxicity_card import auroc, functional, rankings, read_labelled
from tests.bench.generated_corpus import labelled_sentences
from tests.bench.inputs import shared_folder
from tests.bench.toxicity_standin import toxicity_standin

NINE = ("cmn_Hani", "deu_Latn", "eng_Latn", "fra_Latn", "ita_Latn", "nld_Latn", "pol_Latn", "por_Latn", "spa_Latn")
Bar = tuple[str, float, str, float]  # what, measured, relation, wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 if every bar is met, 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=float, default=20.0, help="MB of pages to time (default 20)")
    chosen = parser.parse_args(arguments)
    model = toxicity.embedded(str(toxicity.MODEL))
    bars = [*_functional(model), *_comments(model), *_pages(model), *_speed(model, chosen.mb)]
    bars.append(("model, MB", toxicity.MODEL.stat().st_size / 1e6, "<=", 4.0))
    missed = 0
    for what, measured, relation, wanted in bars:
        met = measured >= wanted if relation == ">=" else measured <= wanted
        missed += not met
        print(f"{'ok    ' if met else 'MISSED'} {what}: {measured:.3f} {relation} {wanted:g}")
    return int(missed > 0)


def _functional(model: toxicity.Embedded) -> list[Bar]:
    tests = functional(lambda *given: [mark.score for mark in model.marks(*given)], model.threshold)
    gap, spread = (float(np.mean([getattr(test, name) for test in tests])) for name in ("gap", "spread"))
    print(f"functional tests, mean of {len(tests)} languages: identity gap {gap:+.3f}, spread {spread:.3f}")
    return [
        ("functional AUROC", float(np.mean([test.auroc for test in tests])), ">=", 0.65),
        ("identity gap, size", abs(gap), "<=", 0.05),
    ]


def _comments(model: toxicity.Embedded) -> list[Bar]:
    path = shared_folder() / "toxicity" / "dev.parquet"
    if not path.exists():
        print(f"natural comments: skipped, {path} is absent")
        return []
    rows = [row for row in read_labelled(path) if row.source in HUMAN and row.language in NINE]
    found = rankings(rows, lambda *given: [mark.score for mark in model.marks(*given)], model.threshold)
    whole = [row for row in found if " " not in row.name]
    for row in whole:
        print(f"comments {row.name}: {row.toxic + row.clean:,} rows, AUROC {row.auroc:.3f}, recall {row.recall:.3f}")
    return [
        ("comments, mean AUROC", float(np.mean([row.auroc for row in whole])), ">=", 0.80),
        ("comments, mean recall at 5% FPR", float(np.mean([row.recall for row in whole])), ">=", 0.38),
    ]


def _pages(model: toxicity.Embedded) -> list[Bar]:
    folder = shared_folder() / "corpus"
    if not (folder / "truth.parquet").exists():
        print(f"pages: skipped, {folder / 'truth.parquet'} is absent")
        return []
    truth = {row["id"]: row for row in pq.read_table(folder / "truth.parquet").to_pylist()}
    scores, flagged, planted, sizes = [], [], [], []
    for file in sorted((folder / "pages").glob("*.parquet")):
        rows = [
            (row["text"] or "", truth[row["id"]]) for row in pq.read_table(file, columns=["id", "text"]).to_pylist()
        ]
        rows = [(text, said) for text, said in rows if model.threshold(said["language"]) is not None]
        languages = [said["language"] for _, said in rows]
        for (text, said), mark in zip(rows, model.marks([text for text, _ in rows], languages), strict=True):
            scores.append(mark.score)
            flagged.append(mark.score >= (model.threshold(said["language"]) or 0))
            planted.append(any(item["kind"] == "toxic" for item in said["injected"]))
            sizes.append(len(text))
    toxic, gone, size = np.array(planted), np.array(flagged), np.array(sizes)
    short, long = gone[~toxic & (size < 1000)].mean(), gone[~toxic & (size >= 4000)].mean()
    print(
        f"pages: {len(scores):,}, {toxic.sum()} with a planted insult, {gone[toxic].mean():.1%} of these flagged; "
        f"clean ones: {short:.2%} of the short, {long:.2%} of the long"
    )
    return [
        ("planted insults, AUROC", auroc(toxic, np.array(scores)), ">=", 0.95),
        ("long clean pages flagged", float(long), "<=", float(1.5 * short + 0.005)),
    ]


def _speed(model: toxicity.Embedded, megabytes: float) -> list[Bar]:
    texts: list[str] = []
    folder = shared_folder() / "corpus" / "pages"
    for file in sorted(folder.glob("*.parquet")):
        texts += [text or "" for text in pq.read_table(file, columns=["text"])["text"].to_pylist()]
    if not texts:
        sentences = [sentence for sentence, _ in labelled_sentences(20_000)]
        texts = [" ".join(sentences[first : first + 40]) for first in range(0, len(sentences), 40)]
    sizes = np.cumsum([len(text.encode("utf-8", "replace")) for text in texts])
    texts = texts[: max(int(np.searchsorted(sizes, megabytes * 1e6)), 1)]
    size, characters = float(sizes[len(texts) - 1]), sum(map(len, texts))
    import fasttext

    peer = fasttext.load_model(str(toxicity_standin()))
    lines = [text.replace("\n", " ") for text in texts]
    ours, theirs = [], []
    for _ in range(2):  # the first round warms up
        started = time.process_time()
        for first in range(0, len(texts), 1000):
            model.model.peaks(texts[first : first + 1000])
        ours.append(time.process_time() - started)
        started = time.process_time()
        for line in lines:
            peer.f.predict(line + "\n", 1, 0.0, "strict")
        theirs.append(time.process_time() - started)
    print(
        f"speed on {size / 1e6:.1f} MB: ours {characters / ours[-1] / 1e6:.1f} Mchar/s, "
        f"fastText over everything {characters / theirs[-1] / 1e6:.1f}, ratio {theirs[-1] / ours[-1]:.2f}"
    )
    return [
        ("Mchar/s on whole pages", characters / ours[-1] / 1e6, ">=", 10.0),
        ("CPU ms per MB", ours[-1] / size * 1e9, "<=", 30.0),
    ]


if __name__ == "__main__":
    sys.exit(main())

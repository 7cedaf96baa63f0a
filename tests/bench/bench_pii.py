"""The PII stage against its bars: accuracy, speed on four kinds of text, the worst texts, and the peers beside it.

    python -m tests.bench.bench_pii

Everything is CPU time of one process, and each figure is the best of some rounds, because other work on the machine can
only slow it. The peers (the published pipeline's three expressions and stock datatrove's `PIIFormatter`) read the same
text in the same minutes: compare ratios. Reads the development data (`FAIRTROVE_SHARED` or the folder `shared` beside
the repository); without it, the labelled sample that ships and generated text, which says less. Exit status: 0 all
bars met, 1 one missed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from filters.pii import language_of
from filters.pii_card import PEERS, Card, Finder, LabelledDocument, measure, ours, read_labelled
from pipeline.sample.labelled import FILE
from tests.bench.generated_corpus import generate
from tests.bench.inputs import shared_folder
from tests.filters.pii_worst import worst_texts

PAGES = 6000
ROUNDS = 3


@dataclass(frozen=True)
class Bar:
    """One promise: `value` against `limit`, `least` when more is better."""

    name: str
    value: float
    limit: float
    least: bool
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the promise holds."""
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        """As `bench_pass` prints bars."""
        sign = ">=" if self.least else "<="
        ratio = self.value / self.limit if self.limit else 0.0
        return (
            f"bar {self.name}: {self.value:.4g} {self.unit} (bar {sign} {self.limit:g}, ratio {ratio:.2f}) "
            f"{'PASS' if self.met else 'FAIL'}"
        )


def main() -> int:
    """Measure, print, and return the exit status."""
    console = Console()
    development = shared_folder() / "pii" / "dev.jsonl.gz"
    documents = read_labelled(development if development.exists() else FILE)
    pages, source = corpus_pages()
    console.print(f"labelled: {development.name if development.exists() else FILE.name}; pages: {source}")
    cards = {name: measure(name, finder, documents) for name, finder in {"fairtrove": ours, **PEERS}.items()}
    texts = {
        "natural": [(one.text, one.language) for one in documents if one.kind == "natural"],
        "dense with PII": [(one.text, one.language) for one in documents if one.labels],
        "look-alikes": [(one.text, one.language) for one in documents if one.kind == "trap"],
        "corpus pages": pages,
    }
    texts["natural"] = texts["natural"] or natural_text(documents)
    speeds = speed_table(console, texts)
    worst = worst_cases(console)
    bars = [
        *accuracy_bars(cards["fairtrove"]),
        Bar("natural text", speeds["natural"], 40, True, "MB/s"),
        Bar("dense text", speeds["dense with PII"], 3, True, "MB/s"),
        Bar("corpus pages", 1000 / speeds["corpus pages"], 13, False, "ms/MB"),
        Bar("worst 20 kB", worst, 50, False, "ms"),
    ]
    for name, card in cards.items():
        console.print(f"{name}: macro-F1 {card.macro_f1():.3f}, perfect {card.perfect / card.with_pii:.1%}")
    for bar in bars:
        console.print(str(bar), highlight=False, soft_wrap=True)
    return int(not all(bar.met for bar in bars))


def accuracy_bars(card: Card) -> list[Bar]:
    """What the labelled file is held to."""
    bars = [
        Bar("macro-F1", card.macro_f1(), 0.97, True),
        Bar("weakest type, F1", card.lowest_f1(), 0.93, True),
        Bar("perfect documents", card.perfect / card.with_pii, 0.92, True),
        Bar("false positives, look-alikes", card.wrong_per_mb("trap"), 25, False, "per MB"),
    ]
    if "natural" in card.bytes_by_kind:
        bars.append(Bar("false positives, natural", card.wrong_per_mb("natural"), 0.5, False, "per MB"))
    return bars


def corpus_pages() -> tuple[list[tuple[str, str]], str]:
    """The first pages of the development corpus, or generated ones, and which."""
    folder = shared_folder() / "corpus" / "pages"
    if folder.is_dir():
        return _pages(sorted(folder.glob("*.parquet"))), f"first {PAGES:,} of {folder.parent.name}"
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch), documents=PAGES)
        return _pages(sorted((Path(scratch) / "pages").glob("*.parquet"))), "generated nonsense words"


def _pages(files: Sequence[Path]) -> list[tuple[str, str]]:
    pages: list[tuple[str, str]] = []
    for file in files:
        if len(pages) < PAGES:
            rows = pq.read_table(file).to_pylist()
            pages += [(row["text"], language_of(row)) for row in rows]
    return pages[:PAGES]


def natural_text(documents: Sequence[LabelledDocument]) -> list[tuple[str, str]]:
    """For want of the development data: the sample's sentences without PII, over and over."""
    lines = [one.text.splitlines()[0] for one in documents]
    return [("\n".join(lines) * 4, "und")] * 400


def speed_table(console: Console, texts: dict[str, list[tuple[str, str]]]) -> dict[str, float]:
    """Print MB per CPU second of each detector on each kind of text; ours as the answer."""
    table = Table(title="MB per CPU second", title_justify="left")
    for column in ("text", "MB", "fairtrove", *PEERS, *(f"ratio to {name}" for name in PEERS)):
        table.add_column(column, justify="left" if column == "text" else "right")
    answer = {}
    for name, pairs in texts.items():
        megabytes = sum(len(text.encode("utf-8", "replace")) for text, _ in pairs) / 1e6
        rates = [megabytes / best_seconds(_over(finder, pairs)) for finder in (ours, *PEERS.values())]
        answer[name] = rates[0]
        ratios = [f"{rates[0] / rate:.1f}" for rate in rates[1:]]
        table.add_row(name, f"{megabytes:.1f}", *(f"{rate:.1f}" for rate in rates), *ratios)
    console.print(table)
    return answer


def worst_cases(console: Console) -> float:
    """Print the slowest of the 20 kB texts made to be slow; milliseconds of the slowest."""
    times = {}
    for unit, text in worst_texts().items():
        find_once = _over(ours, [(text, "deu_Latn")])
        find_once()
        times[unit] = 1000 * best_seconds(find_once, 5)
    slowest = sorted(times.items(), key=lambda item: -item[1])[:5]
    said = ", ".join(f"{unit!r} {milliseconds:.0f}" for unit, milliseconds in slowest)
    console.print(f"slowest of {len(times)} texts of 20 kB, ms: {said}", highlight=False, markup=False, soft_wrap=True)
    return slowest[0][1]


def best_seconds(work: Callable[[], None], rounds: int = ROUNDS) -> float:
    """CPU seconds of the fastest round."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def _over(finder: Finder, pairs: Sequence[tuple[str, str]]) -> Callable[[], None]:
    def work() -> None:
        for text, language in pairs:
            finder(text, language)

    return work


if __name__ == "__main__":
    sys.exit(main())

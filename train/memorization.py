"""Does it recite? Passages planted 1 to 128 times, and what a model says when it is given their beginnings.

    make memorization                                  (python -m train.memorization --out out/memorization)

After the Apertus report (arXiv 2509.14233, section 5.4) and Xu et al. 2025 (arXiv 2505.13171): canaries in frequency
buckets are hidden in the training text at random places, the trained model gets the first 50 tokens of each and writes
50 more, greedily, and these are compared with the true ones: exact match, Rouge-L and the longest common run of words.
Each canary comes in two kinds: all copies equal, or each a near-duplicate in other line breaks, spacing and case. They
are compared as folded words, so that a recital in other clothes counts.

Arms: no mask, a random mask without hash, and Goldfish as published, ours and ours over words. All arms train on the
same number of supervised targets: an arm that drops one in four reads a third more text. The language is invented
(`train.invented`), so nothing is downloaded and nobody's text is recited. Results of finished arms are kept in OUT, so
an interrupted table is taken up.

This is a toy: what it shows is the order of the arms, not figures of a large model.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from manifests.schema import FairtroveError
from train.errors import TrainError
from train.goldfish import IGNORED, keep_mask, reference_keep_mask
from train.invented import Language, dress
from train.model import Apertus, ModelShape
from train.near_duplicate import dropped_tokens, find_words
from train.optim import parameter_groups
from train.publish import publish_text
from train.schedule import WarmupStableDecay
from train.summary import STYLE, line_chart
from train.tokenizer import DocumentTokenizer, train_tokenizer

KINDS = ("exact", "near")


@dataclass(frozen=True)
class Arm:
    """A way to mask: its name, kind, and one target in `k` by windows of `h`."""

    name: str
    mask: str
    k: int = 0
    h: int = 0


ARMS = (
    Arm("standard", "off"),
    Arm("random 4", "random", 4),
    Arm("reference 50/50", "reference", 50, 50),
    Arm("default 50/50", "default", 50, 50),
    Arm("reference 4/13", "reference", 4, 13),
    Arm("default 4/13", "default", 4, 13),
    Arm("near-duplicate 4/13", "near-duplicate", 4, 13),
)


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes:
        steps: of the arm without a mask; others take more, for the same number of supervised targets.
        rows, length: of a step, and targets of a row.
        buckets: how often a canary of each bucket is planted.
        canaries: per bucket and kind.
        layers, dim, ffn, heads: of the model.
        vocabulary: tokens of the tokenizer.
        learning_rate: of the plateau, AdamW.
        prefix, suffix: tokens given, and tokens asked for.
    """

    steps: int = 130
    rows: int = 16
    length: int = 128
    buckets: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    canaries: int = 1
    layers: int = 2
    dim: int = 128
    ffn: int = 256
    heads: int = 4
    vocabulary: int = 640
    learning_rate: float = 1e-2
    prefix: int = 50
    suffix: int = 50


QUICK = Scale(buckets=(1, 128), canaries=2)
"""What `make train` ends with."""


@dataclass(frozen=True)
class Recital:
    """How a continuation compares with the true one.

    Attributes:
        exact: 1 if every word is the same.
        rouge: Rouge-L, the F1 of the longest common subsequence of words.
        longest: words of the longest common run, as a share of the true continuation's.
    """

    exact: float
    rouge: float
    longest: float


@dataclass(frozen=True)
class Outcome:
    """One arm and seed: mean recital by kind and bucket (bucket 0: never planted), and loss on unseen text."""

    arm: str
    seed: int
    validation_loss: float
    drop_rate: float
    supervised: int
    recitals: dict[str, dict[int, Recital]]


def run_arm(arm: Arm, seed: int, scale: Scale, tokenizer: DocumentTokenizer, language: Language) -> Outcome:
    """Plant, train, probe."""
    draw = random.Random(seed)
    plants = {
        kind: {
            bucket: [language.write(draw, scale.prefix + scale.suffix // 2) for _ in range(scale.canaries)]
            for bucket in (0, *scale.buckets)
        }
        for kind in KINDS
    }
    texts = [
        dress(text, draw) if kind == "near" else text
        for kind, buckets in plants.items()
        for bucket, canaries in buckets.items()
        for text in canaries
        for _ in range(bucket)
    ]
    unseen = [language.write(draw, 150) for _ in range(40)]
    reading = scale.steps * scale.rows * scale.length / (1 - (1 / arm.k if arm.k else 0))
    tokens = sum(map(len, tokenizer.encode(texts)))
    while tokens < reading:
        more = [language.write(draw, 150) for _ in range(100)]
        texts += more
        tokens += sum(map(len, tokenizer.encode(more))) + 2 * len(more)
    draw.shuffle(texts)
    model, supervised, candidates = _train(arm, seed, scale, tokenizer, texts)
    recitals = {
        kind: {
            bucket: _mean([_probe(model, tokenizer, text, scale) for text in canaries])
            for bucket, canaries in buckets.items()
        }
        for kind, buckets in plants.items()
    }
    loss = _validate(model, scale, tokenizer, unseen)
    return Outcome(arm.name, seed, loss, 1 - supervised / candidates, supervised, recitals)


def compare(written: Sequence[int], true: Sequence[int]) -> Recital:
    """Hold a continuation against the true one, word by word."""
    if not true:
        return Recital(0.0, 0.0, 0.0)
    common = np.zeros((len(written) + 1, len(true) + 1), dtype=np.int64)
    run = np.zeros_like(common)
    for i, mine in enumerate(written):
        for j, theirs in enumerate(true):
            same = mine == theirs
            common[i + 1, j + 1] = common[i, j] + 1 if same else max(common[i, j + 1], common[i + 1, j])
            run[i + 1, j + 1] = run[i, j] + 1 if same else 0
    rouge = 2 * int(common[-1, -1]) / (len(written) + len(true))
    return Recital(float(list(written) == list(true)), rouge, int(run.max()) / len(true))


def keep_targets(
    arm: Arm, seed: int, texts: Sequence[str], tokenizer: DocumentTokenizer, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Tokens of the texts with their boundaries, each token's document, and which are kept as targets.

    The published mask sees rows of `length` targets, as it did when it was used; ours see documents.
    """
    ids, offsets = tokenizer.encode_with_offsets(list(texts))
    tokens = np.concatenate([[tokenizer.begin, *document, tokenizer.end] for document in ids]).astype(np.int64)
    documents = np.repeat(np.arange(len(ids)), [len(document) + 2 for document in ids])
    keep = np.ones(len(tokens), dtype=bool)
    if arm.mask == "random":
        keep = np.random.default_rng(seed).random(len(tokens)) >= 1 / arm.k
    elif arm.mask == "default":
        boundaries = (tokenizer.begin, tokenizer.end)
        row, numbers = torch.from_numpy(tokens)[None], torch.from_numpy(documents)[None]
        keep = keep_mask(row, arm.k, arm.h, numbers, exempt=boundaries).numpy()[0]
    elif arm.mask == "near-duplicate":
        keep = ~np.concatenate([np.pad(mask, 1) for mask in dropped_tokens(texts, offsets, arm.k, arm.h)])
    elif arm.mask == "reference":
        rows = (len(tokens) - 1) // length
        targets = torch.from_numpy(tokens[1 : rows * length + 1]).view(rows, length)
        keep[1 : rows * length + 1] = reference_keep_mask(targets, arm.k, arm.h).numpy().reshape(-1)
    return tokens, documents, keep


def table_of(outcomes: Sequence[Outcome], scale: Scale, metric: str = "rouge") -> Table:
    """Mean over seeds by arm, kind and bucket, with the loss on unseen text."""
    names = {"rouge": "Rouge-L", "exact": "exact match", "longest": "longest common run"}
    seeds = len({outcome.seed for outcome in outcomes})
    title = f"{names[metric]} of {scale.suffix} tokens by repetitions, {seeds} seeds"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for column in ("arm", "copies", "loss", "dropped", *("unseen" if b == 0 else f"{b}x" for b in (0, *scale.buckets))):
        table.add_column(column, justify="left" if column in ("arm", "copies") else "right")
    for arm in dict.fromkeys(outcome.arm for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.arm == arm]
        loss = statistics.mean(outcome.validation_loss for outcome in mine)
        dropped = statistics.mean(outcome.drop_rate for outcome in mine)
        for kind in KINDS:
            cells = [f"{score(mine, kind, bucket, metric):.2f}" for bucket in (0, *scale.buckets)]
            figures = (arm, f"{loss:.3f}", f"{dropped:.1%}") if kind == KINDS[0] else ("", "", "")
            table.add_row(figures[0], kind, *figures[1:], *cells)
    return table


def score(outcomes: Sequence[Outcome], kind: str, bucket: int, metric: str = "rouge") -> float:
    """Mean of a metric over outcomes."""
    return statistics.mean(getattr(outcome.recitals[kind][bucket], metric) for outcome in outcomes)


def page(outcomes: Sequence[Outcome], scale: Scale) -> str:
    """Two plots, Rouge-L by repetitions for equal and for near-duplicate copies, and the figures as JSON."""
    charts = []
    for kind, title in zip(KINDS, ("Equal copies", "Near-duplicates: other line breaks, spacing, case"), strict=True):
        lines = {
            arm: [
                (bucket, score([outcome for outcome in outcomes if outcome.arm == arm], kind, bucket))
                for bucket in scale.buckets
            ]
            for arm in dict.fromkeys(outcome.arm for outcome in outcomes)
        }
        chart = line_chart(lines, "repetitions", "Rouge-L", logarithmic=True, low=0.0, high=1.0)
        charts.append(f"<h2>{title}</h2>{chart}")
    unseen = statistics.mean(score(outcomes, kind, 0) for kind in KINDS)
    figures = json.dumps([asdict(outcome) for outcome in outcomes])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Memorization</title><style>{STYLE}</style>'
        f"<h1>Memorization by repetitions</h1><p>Rouge-L of unseen text: {unseen:.2f}</p>{''.join(charts)}"
        f'<script type="application/json">{figures}</script></html>\n'
    )


def measure(
    out: Path, scale: Scale, arms: Sequence[Arm], seeds: Sequence[int], console: Console, threads: int = 1
) -> list[Outcome]:
    """Run every arm and seed that `out` has no result of, and publish table and plot."""
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    language = Language(0)
    draw = random.Random(-1)
    sample = [dress(language.write(draw, 150), draw) if n % 4 == 0 else language.write(draw, 150) for n in range(400)]
    tokenizer = train_tokenizer(sample, scale.vocabulary, out / "tokenizer.json")
    outcomes = []
    for seed in seeds:
        for arm in arms:
            key = hashlib.sha256(repr((scale, arm, seed)).encode()).hexdigest()[:16]
            record = out / "arms" / f"{key}.json"
            if not record.exists():
                outcome = run_arm(arm, seed, scale, tokenizer, language)
                publish_text(record, json.dumps(asdict(outcome), indent=1) + "\n")
            outcomes.append(_read(record))
            seen = outcomes[-1]
            most = max(scale.buckets)
            console.print(
                f"{arm.name:20} seed {seed}  loss {seen.validation_loss:.3f}  Rouge-L at {most}x: "
                + ", ".join(f"{kind} {seen.recitals[kind][most].rouge:.2f}" for kind in KINDS),
                highlight=False,
            )
    publish_text(out / "memorization.html", page(outcomes, scale))
    return outcomes


def _train(
    arm: Arm, seed: int, scale: Scale, tokenizer: DocumentTokenizer, texts: Sequence[str]
) -> tuple[Apertus, int, int]:
    tokens, documents, keep = keep_targets(arm, seed, texts, tokenizer, scale.length)
    shape = ModelShape(
        tokenizer.vocab_size, scale.layers, scale.dim, scale.ffn, scale.heads, scale.heads, init_std=0.04
    )
    model = Apertus(shape)
    model.initialize(seed)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=scale.learning_rate, betas=(0.9, 0.98), fused=True)
    rows = (len(tokens) - 1) // scale.length
    steps = math.ceil(scale.steps / (1 - (1 / arm.k if arm.k else 0)))
    steps = min(steps, rows // scale.rows)
    schedule = WarmupStableDecay(scale.learning_rate, steps, steps // 10, steps // 3, 0.1, 0.02)
    inputs, owners = _cut(tokens, rows, scale.length, 0), _cut(documents, rows, scale.length, 0)
    targets, next_owners = _cut(tokens, rows, scale.length, 1), _cut(documents, rows, scale.length, 1)
    candidate = owners == next_owners
    kept = candidate & _cut(keep, rows, scale.length, 1)
    places = torch.arange(scale.length)
    supervised = candidates = 0
    model.train()
    for step in range(steps):
        part = slice(step * scale.rows, (step + 1) * scale.rows)
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(step)
        starts = torch.ones_like(candidate[part])
        starts[:, 1:] = owners[part][:, 1:] != owners[part][:, :-1]
        positions = places - torch.cummax(torch.where(starts, places, 0), dim=1).values
        goal = torch.where(kept[part], targets[part], IGNORED)
        count = int(kept[part].sum())
        loss = model(inputs[part], owners[part], positions, goal) / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        supervised += count
        candidates += int(candidate[part].sum())
    return model.eval(), supervised, candidates


def _cut(values: NDArray, rows: int, length: int, begin: int) -> torch.Tensor:
    return torch.from_numpy(values[begin : begin + rows * length].copy()).view(rows, length)


@torch.no_grad()
def _probe(model: Apertus, tokenizer: DocumentTokenizer, text: str, scale: Scale) -> Recital:
    (ids,) = tokenizer.encode([text])
    given, true = ids[: scale.prefix], ids[scale.prefix : scale.prefix + scale.suffix]
    written = torch.tensor([[tokenizer.begin, *given]])
    for _ in range(scale.suffix):
        written = torch.cat([written, model(written)[:, -1:].argmax(-1)], dim=1)
    continuation = written[0, len(given) + 1 :].tolist()
    if tokenizer.end in continuation:  # what comes after it is another document
        continuation = continuation[: continuation.index(tokenizer.end)]
    return compare(*(find_words(tokenizer.decode(part)).hashes.tolist() for part in (continuation, true)))


@torch.no_grad()
def _validate(model: Apertus, scale: Scale, tokenizer: DocumentTokenizer, texts: Sequence[str]) -> float:
    loss, count = 0.0, 0
    for ids in tokenizer.encode(list(texts)):
        row = torch.tensor([[tokenizer.begin, *ids[: scale.length]]])
        loss += float(model(row[:, :-1], None, None, row[:, 1:]))
        count += row.shape[1] - 1
    return loss / count


def _mean(recitals: Sequence[Recital]) -> Recital:
    return Recital(
        *(statistics.mean(getattr(recital, name) for recital in recitals) for name in ("exact", "rouge", "longest"))
    )


def _read(record: Path) -> Outcome:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        content["recitals"] = {
            kind: {int(bucket): Recital(**recital) for bucket, recital in buckets.items()}
            for kind, buckets in content["recitals"].items()
        }
        return Outcome(**content)
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{record}: damaged ({error}); delete it, the arm will be run again") from error


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m train.memorization --out out/memorization --seeds 1")
def command(
    out: Annotated[Path, typer.Option(help="Folder of the results; finished arms in it are not run again.")],
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions with other canaries and weights.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Two arms, two buckets, one seed: a minute.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    only: Annotated[list[str] | None, typer.Option("--arm", help="Only this arm; may be repeated.")] = None,
) -> None:
    """Plant passages, train an arm per mask, and show how much of them each recites."""
    scale = QUICK if quick else Scale()
    arms: tuple[Arm, ...] = (ARMS[0], ARMS[-1]) if quick else ARMS
    console = Console()
    try:
        if only:
            names = [arm.name for arm in arms]
            if unknown := set(only) - set(names):
                raise TrainError(f"--arm {', '.join(sorted(unknown))}: not one of {', '.join(names)}")
            arms = tuple(arm for arm in arms if arm.name in only)
        outcomes = measure(out, scale, arms, range(1 if quick else seeds), Console(stderr=True), threads)
        for metric in ("rouge",) if quick else ("rouge", "exact", "longest"):
            console.print(table_of(outcomes, scale, metric), width=max(console.width, 110), no_wrap=True)
        console.print(str(out / "memorization.html"), soft_wrap=True, highlight=False)
    except FairtroveError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app()

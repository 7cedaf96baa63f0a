"""`fairtrove pii`: how well PII is found, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.terminal import UsageError, console, exits

if TYPE_CHECKING:
    from filters.pii_card import Card, Tally

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="How well personal data is found, beside other pipelines, and at which speed.",
)


@app.callback()
def _group() -> None:
    """Keeps `card` a command of its own while it is the only one."""


@app.command(epilog="Example: [bold]fairtrove pii card labelled.jsonl.gz --clean novel.txt --compare[/]")
@exits
def card(
    file: Annotated[
        str,
        typer.Argument(help="Labelled JSON Lines, plain or gzipped; or `sample`, which ships.", show_default=False),
    ],
    clean: Annotated[
        list[Path] | None,
        typer.Option("--clean", help="A text file without PII: each finding in it is false. May be repeated."),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also the published regexes and stock datatrove.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")] = False,
) -> None:
    """Precision, recall and F1 by type and language, false positives per MB, MB per CPU second.

    Findings count by exact span. The format of a labelled file is in `filters/pii_card.py`; no value is printed.
    """
    from filters.pii_card import PEERS, CardError, measure, ours, read_clean, read_labelled

    try:
        documents = read_labelled(_labelled_file(file))
        texts = [read_clean(path) for path in clean or ()]
    except CardError as error:
        raise UsageError(str(error)) from error
    finders = {"fairtrove": ours, **(PEERS if compare else {})}
    cards = [measure(name, finder, documents, texts) for name, finder in finders.items()]
    if as_json:
        print(json.dumps([card.to_json() for card in cards], indent=1))
        return
    for table in (_summary(cards), _by_type(cards), _by_language(cards[0])):
        console.print(table)


def _labelled_file(name: str) -> Path:
    if name == "sample" and not Path(name).exists():
        from pipeline.sample.labelled import FILE

        return FILE
    return Path(name)


def _summary(cards: Sequence[Card]) -> Table:
    documents, megabytes = cards[0].documents, cards[0].bytes_by_kind.total() / 1e6
    table = Table(title=f"{documents:,} labelled documents, {megabytes:.2f} MB", title_justify="left")
    table.add_column("")
    for card in cards:
        table.add_column(card.name.replace(" ", "\n"), justify="right")
    table.add_row("macro-F1", *(f"{card.macro_f1():.3f}" for card in cards))
    table.add_row("weakest type, F1", *(f"{card.lowest_f1():.3f}" for card in cards))
    perfect = [f"{card.perfect / card.with_pii:.1%}" if card.with_pii else "" for card in cards]
    table.add_row("perfect documents", *perfect)
    for kind in sorted(cards[0].bytes_by_kind):
        table.add_row(f"false positives/MB, {kind}", *(f"{card.wrong_per_mb(kind):.2f}" for card in cards))
    if cards[0].clean_bytes:
        rates = [f"{card.clean_per_mb() or 0:.2f}" for card in cards]
        table.add_row(f"false positives/MB, {cards[0].clean_bytes / 1e6:.2f} MB clean", *rates)
        table.add_row("MB/CPU s, clean", *(_speed(card.clean_bytes, card.clean_seconds) for card in cards))
    rates = [_speed(card.bytes_by_kind.total(), card.labelled_seconds) for card in cards]
    table.add_row("MB/CPU s, labelled", *rates)
    return table


def _by_type(cards: Sequence[Card]) -> Table:
    table = Table(title="by type", title_justify="left")
    table.add_column("type")
    table.add_column("spans", justify="right")
    for column in ("precision", "recall", "F1"):
        table.add_column(column, justify="right")
    for card in cards[1:]:
        table.add_column("F1 " + card.name.replace(" ", "\n"), justify="right")
    for kind in sorted({kind for card in cards for kind in card.types}):
        tallies = [card.types.get(kind) for card in cards]
        spans = next((tally.found + tally.missed for tally in tallies if tally), 0)
        peers = [_ratios(tally)[2] for tally in tallies[1:]]
        table.add_row(kind, f"{spans:,}", *_ratios(tallies[0]), *peers)
    return table


def _by_language(card: Card) -> Table:
    table = Table(title=f"{card.name} by language", title_justify="left")
    table.add_column("language")
    for column in ("spans", "precision", "recall", "F1", "missed", "wrong"):
        table.add_column(column, justify="right")
    for label, tally in sorted(card.languages.items()):
        table.add_row(
            label, f"{tally.found + tally.missed:,}", *_ratios(tally), f"{tally.missed:,}", f"{tally.wrong:,}"
        )
    return table


def _ratios(tally: Tally | None) -> list[str]:
    ratios = (tally.precision, tally.recall, tally.f1) if tally else (None,) * 3
    return ["" if ratio is None else f"{ratio:.3f}" for ratio in ratios]


def _speed(size: int, seconds: float) -> str:
    return f"{size / 1e6 / seconds:.1f}" if seconds else ""

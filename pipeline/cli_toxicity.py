"""`fairtrove toxicity` and `fairtrove calibrate`: how well it is told, thresholds as data, heads for an encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.terminal import UsageError, console, escaped, exits, stderr

if TYPE_CHECKING:
    from filters.toxicity import Toxicity
    from filters.toxicity_thresholds import Thresholds
    from pipeline.calibration import Band

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="How well toxicity is told from what resembles it, and heads for an encoder of your own.",
)

CALIBRATE_EXAMPLE = "Example: [bold]fairtrove calibrate pages/*.parquet --quantile 0.95 --out thresholds.toml[/]"

ModelOption = Annotated[
    str | None, typer.Option("--model", help="An n-gram or fastText model instead of the embedded one.")
]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", help="A transformers encoder: a folder, or hf://org/name@revision.")
]
HeadsOption = Annotated[str | None, typer.Option("--heads", help="Heads for the encoder, one per language.")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="How the encoder computes: float32, bfloat16, int8.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]


@app.command(epilog="Example: [bold]fairtrove toxicity card --labelled comments.parquet[/]")
@exits
def card(
    labelled: Annotated[
        list[Path] | None,
        typer.Option("--labelled", help="Parquet or JSON Lines with text, label (1 toxic), lang, maybe source."),
    ] = None,
    functional: Annotated[
        Path | None, typer.Option("--functional", help="Functional tests of your own instead of those that ship.")
    ] = None,
    model: ModelOption = None,
    encoder: EncoderOption = None,
    heads: HeadsOption = None,
    precision: PrecisionOption = "float32",
    as_json: JsonOption = False,
) -> None:
    """Functional tests by language, and AUROC and recall on your labelled texts.

    Read the three together: a small identity gap is fairness where the functional AUROC is high, and blindness where it
    is near .5.
    """
    from filters import toxicity_card

    stage = _stage(model, encoder, heads, precision)
    scorer = _loaded(stage)

    def scores(texts: Any, languages: Any) -> list[float]:
        return [mark.score if mark else 0.0 for mark in scorer.marks(texts, languages)]

    try:
        tests = toxicity_card.functional(scores, scorer.threshold, functional or toxicity_card.FUNCTIONAL)
        rows = [row for path in labelled or () for row in toxicity_card.read_labelled(path)]
        ranked = toxicity_card.rankings(rows, scores, scorer.threshold) if rows else []
    except toxicity_card.CardError as error:
        raise UsageError(str(error)) from error
    if as_json:
        parts = {"functional": toxicity_card.to_json(tests), "rankings": toxicity_card.to_json(ranked)}
        print(json.dumps({"model": scorer.detector, "model_sha256": scorer.digest.hex(), **parts}, indent=1))
        return
    console.print(_functional_table(tests, scorer.detector))
    if ranked:
        console.print(_rankings_table(ranked))


@app.command(
    epilog="Example: [bold]fairtrove toxicity train comments.parquet --encoder xlm-r/ --out heads.safetensors[/]"
)
@exits
def train(
    labelled: Annotated[
        list[Path], typer.Argument(help="Parquet or JSON Lines with text, label, lang.", show_default=False)
    ],
    encoder: Annotated[str, typer.Option("--encoder", help="The encoder's folder, or hf://org/name@revision.")],
    out: Annotated[Path, typer.Option("--out", help="The heads, a .safetensors file.", show_default=False)],
    precision: PrecisionOption = "float32",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the texts.")] = 6,
    seed: Annotated[int, typer.Option("--seed", help="Of initial weights and order.")] = 1,
) -> None:
    """Train a two-layer head per language on a frozen encoder; then fit its thresholds with `fairtrove calibrate`.

    A tenth of the texts, by digest, is held out and only reported. Needs the `train` extra.
    """
    from filters.encoder_heads import train_heads
    from filters.scores import ModelError
    from filters.toxicity_card import CardError, read_labelled

    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: heads are written as .safetensors")
    try:
        rows = [row for path in labelled for row in read_labelled(path)]
        trained = train_heads(
            rows, encoder, out, precision, seed, epochs, lambda language: stderr.print(f"training {language}")
        )
    except (CardError, ModelError) as error:
        raise UsageError(str(error)) from error
    table = Table(title=f"{out}", title_justify="left")
    for heading in ("language", "trained on", "held out", "AUROC", "recall at 5% FPR"):
        table.add_column(heading, justify="left" if heading == "language" else "right")
    for head in trained:
        figures = ["-" if value is None else f"{value:.3f}" for value in (head.auroc, head.recall)]
        table.add_row(head.language, f"{head.trained:,}", f"{head.held_out:,}", *figures)
    console.print(table)


@exits
def calibrate(
    sample: Annotated[
        list[Path],
        typer.Argument(help="Parquet or JSON Lines of documents like those to be filtered.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", help="The thresholds, a TOML file.", show_default=False)],
    quantile: Annotated[
        float | None,
        typer.Option("--quantile", help="Score quantile to cut at; 0.95, the paper's, drops the top 5%."),
    ] = None,
    false_positives: Annotated[
        float | None,
        typer.Option("--false-positives", help="Share of clean documents to lose; needs a column `label`."),
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Label of all documents, such as deu_Latn.", show_default=False)
    ] = None,
    text: Annotated[str, typer.Option("--text", help="Name of the text's column.")] = "text",
    size: Annotated[int, typer.Option("--size", min=1, help="Documents per language to score at most.")] = 20_000,
    model: ModelOption = None,
    encoder: EncoderOption = None,
    heads: HeadsOption = None,
    precision: PrecisionOption = "float32",
    cascade: Annotated[
        float | None,
        typer.Option(
            "--cascade",
            help="With an encoder: share of what it excludes that must still reach it, such as 0.99; the embedded "
            "model clears the rest.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit toxicity thresholds per language on a sample, and write them as data with their size and interval.

    Documents need a text, and a language (`language` with `language_script`, or `lang`); where they have none it is
    identified. A recipe then names the file, and every run decides the same: toxicity = { calibration = "FILE" }.
    """
    from filters import toxicity_thresholds
    from filters.scores import ModelError
    from pipeline.calibration import Request, calibrate

    if (quantile is None) == (false_positives is None):
        raise UsageError("give one of --quantile (such as 0.95) and --false-positives (such as 0.01)")
    rate = 1 - quantile if quantile is not None else float(false_positives or 0)
    if not 0 < rate < 1:
        raise UsageError("--quantile and --false-positives lie between 0 and 1")
    if cascade is not None and (not encoder or not 0 < cascade <= 1):
        raise UsageError("--cascade goes with --encoder, and is a share above 0 and up to 1")
    stage = _stage(model, encoder, heads, precision)
    _loaded(stage)
    request = Request(round(rate, 12), quantile is None, size, language, text, cascade)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as progress:
        bar = progress.add_task("reading")
        try:
            thresholds, bands = calibrate(
                sample, stage, request, lambda what, count: progress.update(bar, description=f"{what} {count:,}")
            )
            toxicity_thresholds.write(thresholds, out)
        except ModelError as error:
            raise UsageError(str(error)) from error
        except OSError as error:
            raise UsageError(f"{error.filename or out}: {error.strerror}") from error
    if as_json:
        print(out.read_text(encoding="utf-8"), end="")
        return
    console.print(_thresholds_table(thresholds, bands))
    for name, count in sorted(thresholds.missing.items()):
        console.print(
            f"{escaped(name or 'no language')}: {count:,} documents are too few for a threshold; none written"
        )
    console.print(f'\nIn the recipe: [bold]toxicity = {{ calibration = "{escaped(str(out))}" }}[/]', soft_wrap=True)


def _stage(model: str | None, encoder: str | None, heads: str | None, precision: str) -> Toxicity:
    from filters.toxicity import Toxicity

    try:
        return Toxicity(model=model, encoder=encoder, heads=heads, precision=precision)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _loaded(stage: Toxicity) -> Any:
    from filters.scores import ModelError

    try:
        return stage.scorer()
    except (ModelError, ImportError) as error:
        raise UsageError(str(error)) from error


def _functional_table(tests: Any, detector: str) -> Table:
    from filters.toxicity_card import ABUSE

    table = Table(title=f"functional tests, {detector}", title_justify="left")
    table.add_column("language")
    for heading in ("cases", "AUROC", "gap", "spread", "abuse\nflagged", "other\nflagged"):
        table.add_column(heading, justify="right")
    figures = []
    for test in tests:
        abuse, other = (
            [share for name, share in test.flagged.items() if (name in ABUSE) is kind] or [0.0]
            for kind in (True, False)
        )
        figures.append((test.auroc, test.gap, test.spread, sum(abuse) / len(abuse), sum(other) / len(other)))
        table.add_row(test.language, f"{test.cases:,}", *_figures(figures[-1]))
    table.add_section()
    table.add_row("mean", "", *_figures([sum(column) / len(figures) for column in zip(*figures, strict=True)]))
    return table


def _figures(values: Sequence[float]) -> list[str]:
    auroc, gap, spread, abuse, other = values
    return [f"{auroc:.3f}", f"{gap:+.3f}", f"{spread:.3f}", f"{abuse:.0%}", f"{other:.0%}"]


def _rankings_table(ranked: Any) -> Table:
    table = Table(title="labelled texts", title_justify="left")
    table.add_column("language, source")
    for heading in ("toxic", "clean", "AUROC", "recall at\n5% FPR", "flagged\ntoxic", "flagged\nclean"):
        table.add_column(heading, justify="right")
    for row in ranked:
        shares = ["-" if share is None else f"{share:.1%}" for share in (row.flagged_toxic, row.flagged_clean)]
        table.add_row(row.name, f"{row.toxic:,}", f"{row.clean:,}", f"{row.auroc:.3f}", f"{row.recall:.3f}", *shares)
    return table


def _thresholds_table(thresholds: Thresholds, bands: Mapping[str, Band]) -> Table:
    table = Table(title=f"{thresholds.kind} {thresholds.rate:g}", title_justify="left")
    table.add_column("language")
    headings = ["documents", "threshold", "95% interval", "excluded"]
    for heading in [*headings, *(["clear\nbelow", "asked", "CPU s saved"] if bands else [])]:
        table.add_column(heading, justify="right")
    for language, entry in sorted(thresholds.languages.items()):
        cells = [
            f"{entry.documents:,}",
            f"{entry.threshold:.4f}",
            f"{entry.low:.4f}-{entry.high:.4f}",
            f"{entry.share:.2%}",
        ]
        if language in bands:
            band = bands[language]
            saved = band.encoder_seconds - band.cost()
            cells += [f"{entry.clear:.4f}", f"{band.asked / max(band.documents, 1):.1%}"]
            cells += [f"{saved:.1f} of {band.encoder_seconds:.1f}"]
        table.add_row(language or "(none)", *cells)
    return table
